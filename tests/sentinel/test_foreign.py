"""Rules of other tools: files that the tools themselves made or loaded, and files nobody should make.

`foreign/changedetection-backup.zip` was written by changedetection.io 0.60.10 (tokens emptied);
urlwatch 2.29 and webchanges 3.37 list the jobs of the other two.
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinel.errors import RuleFileError
from sentinel.fetch.guard import NetworkPolicy
from sentinel.rulefile import load
from sentinel.rulefile.foreign import Carried, as_yaml, carry
from sentinel.rulefile.foreign.changedetection import jsonpath_of

FILES = Path(__file__).parent / "foreign"
PUBLIC = NetworkPolicy()
# `Any` is a plain value.


def notes(carried: Carried, where: str) -> dict[str, str]:
    return {note.field: f"{note.kind}: {note.text}" for note in carried.notes if note.where == where}


def rules(carried: Carried) -> dict[str, Any]:
    return {rule["id"]: rule for rule in [*carried.value["rules"], *(one.value for one in carried.refused)]}


def of(tool: str, path: Path, text: str) -> Carried:
    path.write_text(text)
    return carry(tool, path, PUBLIC)


@pytest.mark.parametrize(
    ("tool", "name"),
    [
        ("changedetection", "changedetection-backup.zip"),
        ("urlwatch", "urlwatch.yaml"),
        ("webchanges", "webchanges.yaml"),
    ],
)
def test_what_came_over_is_a_rules_file_that_loads(tool: str, name: str) -> None:
    carried = carry(tool, FILES / name, PUBLIC)

    loaded = load(as_yaml(carried), PUBLIC)

    assert [rule.id for rule in loaded.rules] == [rule["id"] for rule in carried.value["rules"]]
    assert loaded.rules


class TestChangedetection:
    @pytest.fixture
    def backup(self) -> Carried:
        return carry("changedetection", FILES / "changedetection-backup.zip", PUBLIC)

    def test_a_watch_keeps_place_name_tags_headers_and_interval(self, backup: Carried) -> None:
        rule = rules(backup)["widget-price"]

        assert rule["url"] == "https://shop.example.com/widget"
        assert rule["extraction"] == {"method": "css", "selector": ".price"}
        assert (rule["name"], rule["tags"]) == ("Widget price", ["shops"])
        assert rule["fetch"]["headers"] == {"Accept-Language": "sk"}
        assert rule["schedule"] == {"intervalSeconds": 900}
        assert rules(backup)["api"]["schedule"] == {"intervalSeconds": 3 * 3600}

    def test_stock_and_price_are_a_rule_each(self, backup: Carried) -> None:
        stock, price = rules(backup)["gadget"], rules(backup)["gadget-price"]

        assert (stock["type"], price["type"]) == ("availability", "price")
        assert stock["alertPolicy"]["conditions"][0]["value"] == "in_stock"
        assert price["alertPolicy"]["conditions"][0] == {
            "id": "drop",
            "type": "price_drop_percent",
            "value": 5,
        }
        assert (stock["enabled"], price["enabled"]) == (False, False)

    def test_notifications_are_channels_without_their_secrets(self, backup: Carried) -> None:
        channels = {one["id"]: one for one in backup.value["channels"]}

        assert rules(backup)["widget-price"]["alertPolicy"]["channels"] == [
            "slack",
            "ntfy",
            "telegram",
            "webhook",
        ]
        assert rules(backup)["api"]["alertPolicy"]["channels"] == ["discord"]  # the settings' own
        assert channels["slack"]["credentials"] == {"url": {"env": "IMPORTED_SLACK"}}
        assert channels["telegram"]["chatId"] == "999"
        assert channels["ntfy"]["topic"] == "acme-alerts"
        told = as_yaml(backup) + repr(backup.notes)
        assert not [secret for secret in ("TokenA", "TokenB", "123456:abc", "abcdef") if secret in told]
        assert "set IMPORTED_SLACK" in notes(backup, "slack")["slack://"]

    def test_triggers_and_patterns_come_over(self, backup: Carried) -> None:
        news, blog = rules(backup)["news-example-com"], rules(backup)["blog-example-com"]

        assert news["alertPolicy"]["conditions"] == [
            {"id": "trigger-1", "type": "text_matches", "value": r"(?i)sold\s+out"}
        ]
        assert news["extraction"] == {"method": "xpath", "selector": '//div[@id="main"]'}
        assert blog["extraction"]["postprocess"] == [
            {"op": "regex_extract", "pattern": "Version ([0-9.]+)", "group": 1}
        ]
        assert rules(backup)["blog-example-com-2"]["extraction"]["selector"] == "h2.title"

    def test_what_does_not_come_over_is_named_with_the_reason(self, backup: Carried) -> None:
        assert set(notes(backup, "news-example-com")) >= {
            "subtractive_selectors", "ignore_text", "filter_text_removed", "trigger_text",
        }  # fmt: skip
        assert set(notes(backup, "blog-example-com")) >= {
            "webdriver_js_execute_code", "text_should_not_be_present", "sort_text_alphabetically",
        }  # fmt: skip
        assert "only GET" in notes(backup, "api")["method"]
        assert rules(backup)["api"]["enabled"] is False
        assert not [note for note in backup.notes if note.text == "not known here"]

    def test_the_text_that_a_restock_watch_never_looked_at_is_told_so(self, tmp_path: Path) -> None:
        watch = {
            "url": "https://example.com/",
            "processor": "restock_diff",
            "trigger_text": "/in stock/i",
            "extract_text": ["a"],
        }

        carried = of("changedetection", tmp_path / "one.json", json.dumps(watch))

        told = notes(carried, next(iter(rules(carried))))
        for name in ("trigger_text", "extract_text"):
            assert "does not look at it there either" in told[name]

    def test_a_setting_nobody_knows_is_named_too(self, tmp_path: Path) -> None:
        watch = {"url": "https://example.com/", "smell_detection": "on", "last_checked": 12}

        carried = of("changedetection", tmp_path / "one.json", json.dumps(watch))

        assert notes(carried, "example-com") == {"smell_detection": "dropped: not known here"}

    def test_older_files_and_answers_of_the_api_are_read(self, tmp_path: Path) -> None:
        watch = {"url": "https://example.com/a", "title": "A", "tag": "x, y"}
        settings = {
            "application": {"tags": {"u": {"title": "named"}}},
            "requests": {"time_between_check": {"days": 1}},
        }
        for value in (
            {"watching": {"1": watch}, "settings": settings}, {"1": watch}, [watch], watch,
        ):  # fmt: skip
            carried = of("changedetection", tmp_path / "watches.json", json.dumps(value))
            assert rules(carried)["a"]["tags"] == ["x", "y"]
        old = of(
            "changedetection",
            tmp_path / "w.json",
            json.dumps({"watching": {"1": watch}, "settings": settings}),
        )
        assert rules(old)["a"]["schedule"] == {"intervalSeconds": 86400}

    def test_its_time_schedule_limit_becomes_active_hours(self, tmp_path: Path) -> None:
        office = {"enabled": True, "start_time": "09:00", "duration": {"hours": "8", "minutes": "30"}}
        night = {"enabled": True, "start_time": "22:00", "duration": {"hours": "8", "minutes": "00"}}
        round_the_clock = {"enabled": True, "start_time": "12:00", "duration": {"hours": "24"}}
        off = {"enabled": False, "start_time": "00:00", "duration": {"hours": "24", "minutes": "00"}}
        week = dict.fromkeys(("wednesday", "thursday", "sunday"), off)
        limit = {
            "enabled": True,
            "timezone": "Europe/Bratislava",
            "monday": office,
            "tuesday": office,
            **week,
        }
        limit |= {"friday": night, "saturday": round_the_clock}
        watch = {"url": "https://example.com/", "time_schedule_limit": limit}

        carried = of("changedetection", tmp_path / "one.json", json.dumps(watch))

        (rule,) = carried.value["rules"]
        assert rule["schedule"]["timezone"] == "Europe/Bratislava"
        assert rule["schedule"]["activeHours"] == [
            {"days": ["monday", "tuesday"], "start": "09:00", "end": "17:30"},
            {"days": ["friday"], "start": "22:00", "end": "06:00"},
            {"days": ["saturday"], "start": "12:00", "end": "24:00"},
            {"days": ["sunday"], "start": "00:00", "end": "12:00"},
        ]

    @pytest.mark.parametrize(
        ("limit", "zone", "told"),
        [
            ({"enabled": False, "monday": {"enabled": True}}, None, None),
            ({"enabled": True, "monday": {"enabled": False}}, None, "dropped: no day of it has hours"),
            (
                {"enabled": True, "timezone": "Mars/Olympus", "monday": {"duration": {"hours": 9}}},
                "UTC",
                "carried: in UTC",
            ),
        ],
    )
    def test_a_limit_that_is_off_or_strange_is_no_hours(
        self, tmp_path: Path, limit: dict[str, object], zone: str | None, told: str | None
    ) -> None:
        watch = {"url": "https://example.com/", "time_schedule_limit": limit}
        carried = of("changedetection", tmp_path / "one.json", json.dumps(watch))
        (rule,) = carried.value["rules"]
        assert rule["schedule"].get("timezone") == zone
        note = notes(carried, "example-com").get("time_schedule_limit")
        assert note == told or (told is not None and note is not None and note.startswith(told))

    def test_a_watch_that_our_own_checks_refuse_is_a_comment_and_costs_no_other(self, tmp_path: Path) -> None:
        watches = [{"url": "http://127.0.0.1/admin"}, {"url": "https://example.com/"}]

        carried = of("changedetection", tmp_path / "w.json", json.dumps(watches))

        assert [rule["id"] for rule in carried.value["rules"]] == ["example-com"]
        assert "# refused: url:" in as_yaml(carried)
        assert "#   url: http://127.0.0.1/admin" in as_yaml(carried)
        assert notes(carried, "127-0-0-1-admin")[""].startswith("refused: url:")

    @pytest.mark.parametrize(
        "content",
        [b"", b"[", b"{}", b"12", b'{"a": 1}', b"[" * 100_000, b"PK\x03\x04 no zip", '{"url": "\ud800"}'.encode("utf-8", "surrogatepass")],
        ids=["empty", "cut", "no watches", "number", "other", "deep", "zip", "surrogate"],
    )  # fmt: skip
    def test_a_file_that_holds_no_watches_is_refused(self, tmp_path: Path, content: bytes) -> None:
        path = tmp_path / "w.json"
        path.write_bytes(content)

        with pytest.raises(RuleFileError):
            carry("changedetection", path, PUBLIC)

    def test_a_backup_that_inflates_without_end_is_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "bomb.zip"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as backup:
            backup.writestr("url-watches.json", b" " * (9 << 20))

        assert path.stat().st_size < 100_000
        with pytest.raises(RuleFileError, match="larger than a watch can be"):
            carry("changedetection", path, PUBLIC)

    def test_only_what_is_named_as_in_a_backup_is_read(self, tmp_path: Path) -> None:
        path = tmp_path / "odd.zip"
        with zipfile.ZipFile(path, "w") as backup:
            backup.writestr("../watch.json", '{"url": "https://evil.example.com/"}')
            backup.writestr("changedetection.json", '{"settings": {}}')

        assert carry("changedetection", path, PUBLIC).value == {"rules": []}

    def test_the_proxy_of_a_watch_or_of_the_settings_comes_over(self, tmp_path: Path) -> None:
        extra = [
            {"proxy_name": "one", "proxy_url": "http://u:p@proxy.example.com:3128"},
            {"proxy_name": "two", "proxy_url": "socks5://proxy.example.com:1080"},
        ]
        chosen = ["ui-0one", "ui-0two", "no-proxy", None, "of-proxies-json"]
        watches = {
            str(at): {"url": "https://example.com/", "title": f"w{at}", "proxy": name}
            for at, name in enumerate(chosen)
        }
        backup = {"watching": watches, "settings": {"requests": {"extra_proxies": extra, "proxy": None}}}

        carried = of("changedetection", tmp_path / "w.json", json.dumps(backup))

        found = [rules(carried)[f"w{at}"]["fetch"].get("proxy") for at in range(5)]
        assert found == [extra[0]["proxy_url"], None, None, extra[0]["proxy_url"], None]
        assert notes(carried, "w1")["proxy"] == "dropped: only proxies of http:// and https:// are asked"
        assert "fetch.proxy" in notes(carried, "w4")["proxy"]


class TestJobs:
    @pytest.mark.parametrize(
        ("written", "proxy"),
        [
            (
                "https_proxy: 'http://u:p@proxy.example.com:3128'\nhttp_proxy: 'http://other.example.com'",
                "http://u:p@proxy.example.com:3128",
            ),
            ("https_proxy: proxy.example.com:3128", "http://proxy.example.com:3128"),
            ("http_proxy: 'http://other.example.com'", None),
            ("https_proxy: 'socks5://proxy.example.com:1080'", None),
            ("https_proxy: [1]", None),
            (
                "proxy: {server: 'http://proxy.example.com:3128', username: 'a@b', password: 'c:d'}",
                "http://a%40b:c%3Ad@proxy.example.com:3128",
            ),
        ],
    )
    def test_the_proxy_for_the_scheme_of_the_page_comes_over(
        self, tmp_path: Path, written: str, proxy: str | None
    ) -> None:
        carried = of("webchanges", tmp_path / "w.yaml", f"url: https://example.com/\n{written}\n")

        assert rules(carried)["example-com"]["fetch"].get("proxy") == proxy

    def test_urlwatch(self) -> None:
        carried = carry("urlwatch", FILES / "urlwatch.yaml", PUBLIC)
        found = rules(carried)

        assert found["widget-price"]["extraction"] == {"method": "css", "selector": ".price"}
        assert found["widget-price"]["fetch"] == {
            "mode": "auto", "headers": {"Accept-Language": "sk"}, "cookies": {"session": "abcdef"}, "timeout": 20.0,
        }  # fmt: skip
        assert (found["releases"]["type"], found["releases"]["extraction"]["selector"]) == (
            "text",
            "$[0].tag_name",
        )
        assert found["rendered"]["extraction"]["postprocess"][0]["pattern"] == "(?m)^.*(?:[Vv]ersion).*$"
        assert found["rendered"]["fetch"]["renderWait"] == 1.5
        assert found["form"]["extraction"]["selector"] == ".result"
        assert [found[one]["enabled"] for one in ("form", "news-example-com")] == [False, False]
        assert notes(carried, "job 4") == {"command": "dropped: no command is run here: Disk"}
        assert "is a pattern" in notes(carried, "rendered")["filter re.sub"]
        assert "diff_filter" in notes(carried, "news-example-com")

    def test_webchanges(self) -> None:
        carried = carry("webchanges", FILES / "webchanges.yaml", PUBLIC)
        found = rules(carried)

        assert found["main-heading"]["extraction"] == {"method": "xpath", "selector": "//h1"}
        assert found["prices"]["fetch"]["waitForSelector"] == "#list"
        assert [step["pattern"] for step in found["prices"]["extraction"]["postprocess"]] == [
            "(?m)^.*(?:EUR).*$", "[0-9.]+",
        ]  # fmt: skip
        assert (found["feed"]["type"], found["feed"]["enabled"]) == ("json_field", False)
        assert set(notes(carried, "prices")) >= {"filter css", "differ", "user_visible_url"}
        assert set(notes(carried, "main-heading")) >= {"additions_only", "note"}

    def test_a_place_within_a_place_has_a_context(self, tmp_path: Path) -> None:
        text = "url: https://example.com/\nfilter: [{element-by-id: main}, {css: .price}, {css: b}]\n"

        rule = rules(of("urlwatch", tmp_path / "u.yaml", text))["example-com"]

        assert rule["extraction"] == {"method": "css", "selector": ".price b", "context": '[id="main"]'}

    def test_a_filter_that_is_not_there_switches_the_rule_off(self, tmp_path: Path) -> None:
        text = "url: https://example.com/\nfilter: [{shellpipe: 'rm -rf /'}]\n"

        carried = of("urlwatch", tmp_path / "u.yaml", text)

        assert rules(carried)["example-com"]["enabled"] is False
        assert "rm -rf" not in as_yaml(carried)
        assert "filter shellpipe" in notes(carried, "example-com")

    @pytest.mark.parametrize(
        "text",
        [
            "", "a: [", "- 1", "x: 1", "a: !!python/object/apply:os.system [id]", "url: &a [*a]",
            "report: {}\ndisplay: {}", "---\n" * 10,
        ],
        ids=["empty", "cut", "list", "other", "tag", "alias", "configuration", "dashes"],
    )  # fmt: skip
    def test_a_file_that_holds_no_jobs_is_refused(self, tmp_path: Path, text: str) -> None:
        with pytest.raises(RuleFileError):
            of("webchanges", tmp_path / "u.yaml", text)


def test_only_plain_paths_of_jq_are_paths() -> None:
    paths = {".": "$", ".a.b": "$.a.b", ".[0].x": "$[0].x", '.a["b c"]': '$.a["b c"]', ".a[]": "$.a[*]"}
    assert {jq: jsonpath_of(jq) for jq in paths} == paths
    assert [jsonpath_of(jq) for jq in (".a | length", "map(.x)", "", ".a[1:2]", "..")] == [None] * 5


PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
WATCH_FIELDS = (
    "url", "title", "tags", "tag", "headers", "include_filters", "trigger_text", "extract_text", "time_between_check",
    "notification_urls", "processor", "price_change_threshold_percent", "fetch_backend", "webdriver_delay", "method",
)  # fmt: skip
JOB_FIELDS = (
    "url", "navigate", "name", "filter", "filters", "timeout", "wait_for", "headers", "cookies", "tags", "enabled",
    "use_browser", "data", "method",
)  # fmt: skip


@given(st.dictionaries(st.sampled_from(WATCH_FIELDS), PLAIN, max_size=4))
def test_any_watch_is_carried_or_refused(
    tmp_path_factory: pytest.TempPathFactory, watch: dict[str, Any]
) -> None:
    path = tmp_path_factory.getbasetemp() / "any-watch.json"
    path.write_bytes(msgspec.json.encode([{"url": "https://example.com/"} | watch]))

    carried = carry("changedetection", path, PUBLIC)

    load(as_yaml(carried), PUBLIC)
    assert carried.value["rules"] or carried.refused


@given(st.dictionaries(st.sampled_from(JOB_FIELDS), PLAIN, max_size=4))
def test_any_job_is_carried_or_refused(tmp_path_factory: pytest.TempPathFactory, job: dict[str, Any]) -> None:
    path = tmp_path_factory.getbasetemp() / "any-job.yaml"
    path.write_bytes(msgspec.json.encode({"url": "https://example.com/"} | job))  # JSON is YAML

    try:
        carried = carry("urlwatch", path, PUBLIC)
    except RuleFileError as refused:
        assert refused.problems[0].message  # noqa: PT017 - half of what is asked
        return

    load(as_yaml(carried), PUBLIC)
    assert carried.notes
