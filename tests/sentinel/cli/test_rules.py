"""Rules as files and in the database, on real SQLite and real pages."""

from __future__ import annotations

import sqlite3
import time
from decimal import Decimal
from functools import partial
from pathlib import Path

import anyio
import pytest
import yaml

from sentinel.cli.exits import Exit
from sentinel.cli.values import iso
from sentinel.decide.judge import judge, judge_failure
from sentinel.fetch.politeness import host_key
from sentinel.model import PriceValue, Verdict
from sentinel.store import RunResult, Store
from tests.end_to_end.shapes import checked
from tests.sentinel.cli.conftest import Run
from tests.support.http import Reply, Site

ALLOWED = {"SENTINEL_ALLOW_PRIVATE_NETWORKS": "true"}

RULES = """
workspace: {{id: acme, timezone: Europe/Bratislava}}
channels:
  - {{id: ops, type: console}}
rules:
  - id: widget-price
    url: {url}
    type: price
    fetch: {{headers: {{X-Api-Key: hunter2}}}}
    extraction: {{method: css, selector: ".price"}}
    normalization: {{kind: price, currency: EUR}}
    schedule: {{intervalSeconds: 300}}
    alertPolicy:
      requireConsecutive: 2
      cooldownSeconds: 3600
      channels: [ops]
      conditions: [{{id: drop, type: price_drop_percent, value: 10, severity: critical}}]
  - id: nightly
    url: {url}
    type: text
    extraction: {{method: text}}
    schedule: {{cron: "0 3 * * *"}}
    tags: [night]
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "rules.yaml"
    path.write_text(RULES.format(url="https://shop.example.com/widget"))
    return path


@pytest.fixture
def imported(run: Run, file: Path) -> Path:
    assert run("rules", "import", str(file)).code == Exit.DONE
    return file


class TestImport:
    def test_the_first_import_makes_the_database_and_says_what_it_did(self, run: Run, file: Path) -> None:
        result = run("rules", "import", str(file))

        assert result.code == Exit.DONE
        assert "+ rule widget-price" in result.out
        assert "4 created, 0 updated, 0 unchanged" in result.err

    def test_the_second_changes_nothing(self, run: Run, imported: Path) -> None:
        result = run("rules", "import", str(imported), "--json")

        (document,) = result.lines
        assert document["schema"] == "sentinel.import/1"
        assert sorted(document["rules"]["unchanged"]) == ["nightly", "widget-price"]
        assert document["rules"]["updated"] == []

    def test_a_dry_run_prints_the_difference_and_changes_nothing(self, run: Run, imported: Path) -> None:
        imported.write_text(imported.read_text().replace("value: 10", "value: 25"))

        result = run("rules", "import", str(imported), "--dry-run")

        assert "~ rule widget-price" in result.out
        assert "10 -> 25" in result.out
        assert "1 would be updated" in result.err
        assert run("rules", "show", "widget-price", "--json").lines[0]["rule"]["alertPolicy"]["conditions"][
            0
        ]["value"] in (10, "10")

    def test_stdin_is_a_file_too(self, run: Run, file: Path) -> None:
        assert run("rules", "import", "-", stdin=file.read_text()).code == Exit.DONE

    def test_every_mistake_is_told_with_its_place_and_nothing_is_imported(self, run: Run, file: Path) -> None:
        wrong = (
            file.read_text()
            .replace("selector:", "selctor:")
            .replace("https://shop.example.com", "http://10.0.0.1")
        )
        file.write_text(wrong)

        result = run("rules", "import", str(file))

        assert result.code == Exit.FAILED
        assert "rules[0].extraction" in result.err
        assert "selector" in result.err
        assert "rules[1].url" in result.err
        assert result.err.rstrip().endswith("hint: nothing was changed")
        assert run("rules", "list", "--json").out == ""

    def test_a_file_that_is_not_there_is_told(self, run: Run) -> None:
        result = run("rules", "import", "nowhere.yaml")

        assert result.code in (Exit.FAILED, Exit.NOT_FOUND)
        assert "nowhere.yaml" in result.err

    def test_a_rule_on_an_interval_is_due_at_once_and_a_cron_one_at_its_time(
        self, run: Run, imported: Path
    ) -> None:
        rules = {line["rule_id"]: line for line in run("rules", "list", "--json").lines}

        assert rules["nightly"]["next_due_at"][11:16] in ("01:00", "02:00", "03:00")
        assert rules["widget-price"]["next_due_at"] < rules["nightly"]["next_due_at"]


class TestStored:
    def test_list_shows_and_filters(self, run: Run, imported: Path) -> None:
        run("rules", "disable", "nightly")

        listed = run("rules", "list", "--json").lines
        assert [line["rule_id"] for line in listed] == ["nightly", "widget-price"]
        assert listed[1]["schema"] == "sentinel.rule/1"
        assert (listed[0]["enabled"], listed[1]["enabled"]) == (False, True)
        assert [x["rule_id"] for x in run("rules", "list", "--json", "--tag", "night").lines] == ["nightly"]
        assert [x["rule_id"] for x in run("rules", "list", "--json", "--enabled").lines] == ["widget-price"]
        assert "widget-price" in run("rules", "list").out

    def test_a_list_goes_on_where_the_last_page_ended(self, run: Run, imported: Path) -> None:
        first = run("rules", "list", "--limit", "1")
        assert "nightly" in first.out
        assert "more: --after nightly" in first.err
        (line,) = run("rules", "list", "--after", "nightly", "--json").lines
        assert line["rule_id"] == "widget-price"
        assert "more: --after nightly" in run("schedule", "list", "--limit", "1").err
        assert "nightly" not in run("schedule", "list", "--after", "nightly").out

    def test_what_cannot_be_read_is_named_and_hides_nothing(
        self, run: Run, imported: Path, tmp_path: Path
    ) -> None:
        assert run("channels", "add", "other", "--type", "console").code == Exit.DONE
        database = sqlite3.connect(tmp_path / "state" / "sentinel.db")
        with database:
            database.execute("""UPDATE rule SET definition = '{"colour": 1}' WHERE id = 'nightly'""")
            database.execute("""UPDATE channel SET definition = '{"colour": 1}' WHERE id = 'ops'""")
        database.close()

        rules, channels = run("rules", "list", "--json").lines, run("channels", "list", "--json").lines
        assert [checked(line) for line in rules] == [
            "sentinel.rule_unreadable/1",
            "sentinel.rule/1",
        ]
        assert "import it again, or delete it" in rules[0]["problem"]
        assert [(line["channel_id"], checked(line)) for line in channels] == [
            ("ops", "sentinel.channel_unreadable/1"),
            ("other", "sentinel.channel/1"),
        ]
        for noun, name in (("rules", "nightly"), ("channels", "ops")):
            listed = run(noun, "list")
            assert "unreadable" in listed.out
            assert f"{name} is stored in a form" in listed.err
        parts = [
            (one["name"], one["state"], one["detail"]) for one in run("doctor", "--json").lines[0]["parts"]
        ]
        bad = [
            (name, detail[:15]) for name, state, detail in parts if state == "bad" and "in a form" in detail
        ]
        assert bad == [("rules", "rule nightly is"), ("channels", "channel ops is ")]
        assert "channel ops" in run("alerts", "route", "widget-price").out
        assert "channel ops is stored" in run("channels", "show", "ops").err

        assert run("rules", "import", str(imported)).code == Exit.DONE
        assert "unreadable" not in run("rules", "list").out + run("channels", "list").out

    def test_export_imports_unchanged_and_show_hides_credentials(self, run: Run, imported: Path) -> None:
        exported, shown = run("rules", "export"), run("rules", "show", "widget-price")

        assert yaml.safe_load(exported.out)["rules"][1]["fetch"]["headers"] == {"X-Api-Key": "hunter2"}
        again = run("rules", "import", "-", "--json", stdin=exported.out).lines[0]
        assert sorted(again["rules"]["unchanged"]) == ["nightly", "widget-price"]
        assert "widget-price" in shown.out
        assert "hunter2" not in shown.out + run("rules", "show", "widget-price", "--json").out

    def test_switching_says_what_changed(self, run: Run, imported: Path) -> None:
        first, second = run("rules", "disable", "nightly"), run("rules", "disable", "nightly")
        third = run("rules", "enable", "nightly", "--json")

        assert "is now off" in first.err
        assert "was already off" in second.err
        assert third.lines[0] == {
            "schema": "sentinel.rule_switch/1", "rule_id": "nightly", "enabled": True, "changed": True,
        }  # fmt: skip

    def test_delete_asks_first(self, run: Run, imported: Path) -> None:
        assert run("rules", "delete", "nightly").code == Exit.UNCONFIRMED
        assert run("rules", "delete", "nightly", "--yes").code == Exit.DONE
        assert run("rules", "show", "nightly").code == Exit.NOT_FOUND

    def test_nothing_is_deleted_when_one_is_not_there(self, run: Run, imported: Path) -> None:
        assert run("rules", "delete", "nightly", "nope", "--yes").code == Exit.NOT_FOUND
        assert run("rules", "show", "nightly").code == Exit.DONE

    @pytest.mark.parametrize("command", [["show"], ["enable"], ["disable"], ["test"]])
    def test_a_rule_that_is_not_there_is_not_found(
        self, run: Run, imported: Path, command: list[str]
    ) -> None:
        assert run("rules", *command, "nope").code == Exit.NOT_FOUND


class TestSchema:
    def test_a_named_database_that_is_empty_is_code_4_with_the_cure(self, run: Run, tmp_path: Path) -> None:
        result = run("rules", "list", "--database-url", f"sqlite:///{tmp_path}/named.db")

        assert result.code == Exit.DATABASE
        assert "sentinel-worker migrate" in result.err

    def test_a_database_nobody_named_is_ours_and_is_made(self, run: Run) -> None:
        result = run("rules", "list")

        assert result.code == Exit.DONE
        assert "made the database" in result.err

    def test_migrate_makes_it_current_and_says_so_once(self, run: Run) -> None:
        before, first = run("migrate", "status", "--json"), run("migrate")
        second, after = run("migrate", "--json"), run("migrate", "status")

        assert (before.code, before.lines[0]["is_current"]) == (Exit.DATABASE, False)
        assert "migrated from empty" in first.err
        assert "nothing to do" in second.err
        assert second.lines[0]["schema"] == "sentinel.migration/1"
        assert (first.code, after.code) == (Exit.DONE, Exit.DONE)

    def test_an_unreachable_database_is_code_4_and_its_password_is_not_shown(self, run: Run) -> None:
        result = run("rules", "list", "--database-url", "postgresql://me:hunter2@127.0.0.1:1/x", "--verbose")

        assert result.code == Exit.DATABASE
        assert "hunter2" not in result.err

    def test_health_tells_of_the_schema(self, run: Run, valkey_url: str) -> None:
        before = run("health", "--json", "--redis-url", valkey_url)
        run("migrate")
        after = run("health", "--json", "--redis-url", valkey_url)

        parts = {part["name"]: part["ok"] for part in before.lines[0]["parts"]}
        assert (before.code, parts["schema"]) == (Exit.NO, False)
        assert (after.code, after.lines[0]["ok"]) == (Exit.DONE, True)


class TestTry:
    @pytest.fixture
    def pages(self, thread_site: Site, file: Path) -> Site:
        url = thread_site.route("/widget", Reply(body='<p class="price">17,50 €</p>'))
        file.write_text(RULES.format(url=url))
        return thread_site

    def test_the_json_document_is_the_contract_s(
        self, run: Run, pages: Site, file: Path, tmp_path: Path
    ) -> None:
        old = tmp_path / "old.html"
        old.write_text('<p class="price">20,00 €</p>')

        result = run(
            "rules", "test", str(file), "--rule", "widget-price", "--against", str(old), "--json", env=ALLOWED
        )

        (document,) = result.lines
        assert [step["name"] for step in document.pop("steps")] == [
            "fetch", "classify", "extract", "normalise", "confirm", "compare", "conditions",
        ]  # fmt: skip
        assert document == {
            "schema": "sentinel.rule_test/1",
            "rule_id": "widget-price",
            "warnings": [],
            "raw": "17,50 €",
            "value": {"amount": "17.5", "currency": "EUR"} | document["value"],
            "error_code": None,
            "changed": True,
            "change_kind": "decreased",
            "would_alert": [{"condition": "drop", "severity": "critical"}],
        }
        assert float(document["value"]["amount"]) == 17.5
        assert result.code == Exit.DONE

    def test_a_page_from_a_file_needs_no_network(self, run: Run, file: Path, tmp_path: Path) -> None:
        page = tmp_path / "new.html"
        page.write_text('<p class="price">99 €</p>')

        result = run("rules", "test", str(file), "--rule", "widget-price", "--html", str(page))

        assert result.code == Exit.DONE
        assert "99" in result.out
        assert "first good value is no change" in result.out

    def test_a_step_that_fails_is_the_last_one_and_exits_7(
        self, run: Run, file: Path, tmp_path: Path
    ) -> None:
        page = tmp_path / "new.html"
        page.write_text("<p>sold out</p>")

        result = run("rules", "test", str(file), "--rule", "widget-price", "--html", str(page), "--json")

        (document,) = result.lines
        assert result.code == Exit.NO
        assert document["error_code"] == "EXTRACT_SELECTOR_NOT_FOUND"
        assert [step["ok"] for step in document["steps"]] == [True, True, False]
        assert (document["value"], document["changed"], document["would_alert"]) == (None, False, [])

    @pytest.mark.parametrize(
        ("saved", "code"),
        [
            (
                "<title>Just a moment...</title><script>window._cf_chl_opt={}</script><p class=price>9 €</p>",
                "BLOCK_CLOUDFLARE_SUSPECTED",
            ),
            ("<h1>Sign in</h1><input type=password><p class=price>9 €</p>", "PAGE_LOGIN"),
            ("<h1>We'll be back soon</h1><p>Down for maintenance.</p>", "PAGE_MAINTENANCE"),
        ],
    )
    def test_a_wall_that_was_saved_is_a_wall(
        self, run: Run, file: Path, tmp_path: Path, saved: str, code: str
    ) -> None:
        page = tmp_path / "new.html"
        page.write_text(saved)

        result = run("rules", "test", str(file), "--rule", "widget-price", "--html", str(page), "--json")

        (document,) = result.lines
        assert (result.code, document["error_code"]) == (Exit.NO, code)
        assert document["would_alert"] == []

    def test_a_page_that_reads_like_a_wall_is_none_where_the_rule_finds_its_value(
        self, run: Run, file: Path, tmp_path: Path
    ) -> None:
        page = tmp_path / "new.html"
        page.write_text("<h2>Scheduled maintenance</h2><p>Server room.</p><p class=price>99</p>")

        result = run("rules", "test", str(file), "--rule", "widget-price", "--html", str(page))

        assert result.code == Exit.DONE
        assert "PAGE_MAINTENANCE" in result.out
        assert "by its words alone" in result.out

    def test_a_saved_page_is_read_in_its_own_encoding(self, run: Run, file: Path, tmp_path: Path) -> None:
        page = tmp_path / "new.html"
        page.write_bytes("<meta charset=windows-1251><p class=price>1 299 руб.</p>".encode("cp1251"))

        result = run("rules", "test", str(file), "--rule", "widget-price", "--html", str(page), "--json")

        assert result.lines[0]["raw"] == "1 299 руб."

    def test_two_saved_pages_are_compared_without_network_or_database(
        self, run: Run, file: Path, tmp_path: Path, environ: dict[str, str]
    ) -> None:
        for name, price in (("old", "20,00"), ("new", "15,00")):
            (tmp_path / f"{name}.html").write_text(f'<p class="price">{price} €</p>')

        result = run(
            "rules", "test", str(file), "--rule", "widget-price",
            "--html", str(tmp_path / "new.html"), "--against", str(tmp_path / "old.html"),
        )  # fmt: skip

        assert "decreased: 20 EUR -> 15 EUR (-25.0 %)" in result.out
        assert "reading 1 of 2" in result.out
        assert "drop (critical); would tell ops" in result.out
        assert not Path(environ["SENTINEL_STATE_DIR"]).exists()

    def test_each_selector_that_was_tried_is_told_with_what_it_matched_and_how_often(
        self, run: Run, file: Path, tmp_path: Path
    ) -> None:
        fallbacks = 'selector: ".cost", fallbackSelectors: [{method: regex, selector: "([0-9]+) EUR"}, {selector: .price}]'
        file.write_text(file.read_text().replace('selector: ".price"', fallbacks))
        page = tmp_path / "new.html"
        page.write_text('<p class="price">99 €</p><p class="price">89 €</p>')

        result = run("rules", "test", str(file), "--rule", "widget-price", "--html", str(page))

        extract = result.out.partition("  extract")[2].partition("  normalise")[0]
        assert [line.strip() for line in extract.splitlines()] == [
            "ok      css '.cost': no match",
            "regex '([0-9]+) EUR': no match",
            "css '.price': 2 matches, first '99 €'",
            "warning: 2 elements match '.price' and the first is read: say more, or give a context",
        ]

    @pytest.mark.parametrize(
        ("extraction", "warned"),
        [
            ('{method: css, selector: ".price"}', ["2 elements match '.price' and the first is read"]),
            ('{method: css, selector: "#one .price"}', []),
            ('{method: css, selector: ".price", context: "#one"}', []),
            (
                "{method: xpath, selector: \"//*[@class='price']\"}",
                ["2 elements match \"//*[@class='price']\""],
            ),
            ("{method: xpath, selector: \"//div[1]/*[@class='price']\"}", []),
            ("{method: xpath, selector: \"string(//*[@class='price'])\"}", []),
        ],
    )
    def test_a_selector_that_matches_several_elements_is_warned_of_on_a_large_page_too(
        self, run: Run, file: Path, tmp_path: Path, extraction: str, warned: list[str]
    ) -> None:
        file.write_text(file.read_text().replace('{method: css, selector: ".price"}', extraction))
        page = tmp_path / "new.html"
        page.write_text(
            f"<div id=one><b class=price>99 €</b></div>{'<p>x</p>' * 3_000}<div><b class=price>89 €</b></div>"
        )
        (found,) = run(
            "rules", "test", str(file), "--rule", "widget-price", "--html", str(page), "--json"
        ).lines
        assert [one.partition(":")[0] for one in found["warnings"]] == [
            f"{one}{'' if 'first' in one else ' and the first is read'}" for one in warned
        ]

    def test_a_wall_is_a_step_of_its_own(self, run: Run, thread_site: Site, file: Path) -> None:
        wall = "<title>Just a moment...</title><p>Checking your browser</p>"
        url = thread_site.route(
            "/wall",
            Reply(status=403, body=wall, headers={"cf-mitigated": "challenge", "server": "cloudflare"}),
        )
        file.write_text(RULES.format(url=url))

        (document,) = run("rules", "test", str(file), "--rule", "widget-price", "--json", env=ALLOWED).lines

        assert document["error_code"] == "BLOCK_CLOUDFLARE_SUSPECTED"
        assert document["steps"][-1]["ok"] is False

    def test_a_stored_rule_is_tried_and_nothing_is_stored(self, run: Run, pages: Site, file: Path) -> None:
        run("rules", "import", str(file), env=ALLOWED)

        result = run("rules", "test", "widget-price", "--json", env=ALLOWED)

        assert float(result.lines[0]["value"]["amount"]) == 17.5
        assert run("history", "widget-price", "--json").out == ""

    def test_each_mode_is_tried(self, run: Run, pages: Site, file: Path) -> None:
        result = run(
            "rules",
            "test",
            str(file),
            "--rule",
            "widget-price",
            "--mode",
            "http,headless",
            "--json",
            env={**ALLOWED, "SENTINEL_BROWSER": "none"},
        )

        assert [line["error_code"] for line in result.lines] == [None, "SYSTEM_BROWSER"]
        assert result.code == Exit.NO
        assert run("rules", "test", str(file), "--mode", "telepathy").code == Exit.USAGE

    def test_the_guard_applies(self, run: Run, pages: Site, file: Path) -> None:
        result = run("rules", "test", str(file), "--rule", "widget-price")

        assert result.code == Exit.FAILED
        assert pages.connections == 0

    def test_a_rule_that_is_not_in_the_file_is_not_found(self, run: Run, file: Path) -> None:
        assert run("rules", "test", str(file), "--rule", "nope").code == Exit.NOT_FOUND


class TestHistoryAndAlerts:
    @pytest.fixture
    def checked(self, run: Run, imported: Path, environ: dict[str, str]) -> None:
        """20 EUR, an error, then 17.50 EUR confirmed, with an alert that a channel got."""
        url = f"sqlite:///{environ['SENTINEL_STATE_DIR']}/sentinel.db"

        async def check(
            store: Store, number: int, verdict: Verdict, raw: str | None, code: str | None
        ) -> None:
            ticket = await store.begin_run("widget-price", f"j{number}", number, "schedule", 1000.0 * number)
            result = RunResult(
                mode="http", http_status=200, error_code=code, error_detail=code and "no such element"
            )
            finished = await store.finish_run(
                ticket, result, verdict, raw, expected_state_version=ticket.stored.state.version,
                now=1000.0 * number + 1,
            )  # fmt: skip
            for alert_id in finished.alerts:
                delivery = await store.claim_delivery(alert_id, "ops", "d", 1, 5000.0)
                await store.record_attempt(delivery, "sent", now=5001.0, http_status=204, latency=0.05)

        async def story() -> None:
            async with Store.open(url) as store:
                for number, amount in ((1, "20"), (2, None), (3, "17.50"), (4, "17.50")):
                    stored = await store.rule("widget-price")
                    if amount is None:
                        verdict = judge_failure(
                            stored.rule, stored.state, "EXTRACT_SELECTOR_NOT_FOUND", "", now=2000.0
                        )
                        await check(store, number, verdict, None, "EXTRACT_SELECTOR_NOT_FOUND")
                        continue
                    value = PriceValue(amount=Decimal(amount), currency="EUR")
                    verdict = judge(stored.rule, stored.state, amount, value, now=1000.0 * number)
                    await check(store, number, verdict, amount, None)

        anyio.run(story)

    def test_history_lines_are_the_contract_s_newest_first_with_errors(self, run: Run, checked: None) -> None:
        lines = run("history", "widget-price", "--json").lines

        assert list(lines[0])[:9] == [
            "schema", "rule_id", "run_id", "at", "raw", "value", "changed", "change_kind", "confirmed",
        ]  # fmt: skip
        assert lines[0]["schema"] == "sentinel.observation/1"
        assert [line["changed"] for line in lines] == [True, False, False, False]
        assert lines[0]["change_kind"] == "decreased"
        assert [line["confirmed"] for line in lines] == [True, False, False, True]
        assert [line["error_code"] for line in lines] == [None, None, "EXTRACT_SELECTOR_NOT_FOUND", None]
        assert lines[3]["value"] == {"amount": "20", "currency": "EUR"}
        assert isinstance(lines[0]["run_id"], str)
        assert lines[3]["at"] == "1970-01-01T00:16:41.000Z"

    def test_history_is_limited_and_readable(self, run: Run, checked: None) -> None:
        assert len(run("history", "widget-price", "--json", "--limit", "2").lines) == 2
        shown = run("history", "widget-price").out
        assert "decreased" in shown
        assert "EXTRACT_SELECTOR_NOT_FOUND" in shown
        assert run("history", "nope").code == Exit.NOT_FOUND

    def test_a_check_that_is_tried_again_is_told_meanwhile(
        self, run: Run, checked: None, environ: dict[str, str]
    ) -> None:
        async def fail() -> None:
            async with Store.open(f"sqlite:///{environ['SENTINEL_STATE_DIR']}/sentinel.db") as store:
                await store.begin_run("widget-price", "j9", 9, "schedule", 9000.0, attempt=2)
                failed = RunResult(error_code="FETCH_HTTP_5XX", error_detail="the server answered 500")
                await store.note_failure("widget-price", "j9", 9, failed)

        before = run("rules", "show", "widget-price", "--json").lines[0]["last_run"]
        anyio.run(fail)
        line = run("history", "widget-price", "--json").lines[0]
        shown = run("rules", "show", "widget-price", "--json").lines[0]["last_run"]

        assert (before["status"], before["error_code"]) == ("ok", None)
        assert (line["error_code"], line["value"], line["at"]) == (
            "FETCH_HTTP_5XX",
            None,
            "1970-01-01T02:30:00.000Z",
        )
        assert (shown["status"], shown["attempt"], shown["error_code"]) == ("running", 2, "FETCH_HTTP_5XX")
        assert "trying again" in run("history", "widget-price").out
        assert "the server answered 500" in run("rules", "show", "widget-price").out
        assert run("rules", "show", "nightly", "--json").lines[0]["last_run"] is None

    def test_a_host_that_is_left_alone_is_told(
        self, run: Run, checked: None, environ: dict[str, str]
    ) -> None:
        now = time.time()

        async def fail(code: str, *rules: str, wait: float | None = None) -> None:
            async with Store.open(f"sqlite:///{environ['SENTINEL_STATE_DIR']}/sentinel.db") as store:
                stored = await store.rule("widget-price")
                host = host_key(stored.rule.url)
                for rule in rules:
                    await store.note_check(
                        stored.workspace.id, host, rule, now, code=code, detail="no answer", retry_after=wait
                    )

        def host() -> dict[str, object]:
            return run("rules", "show", "widget-price", "--json").lines[0]["host"]  # type: ignore[no-any-return] # JSON

        assert (host()["breaker"], host()["last_error"], host()["rate_per_second"]) == ("closed", None, 3.0)
        assert "at most 3 fetches a second" in run("rules", "show", "widget-price").out

        anyio.run(partial(fail, "BLOCK_RATE_LIMIT_429", "a", wait=600.0))
        asked = host()
        assert (asked["breaker"], asked["retry_after_until"]) == ("closed", iso(now + 600))
        assert "it asked to be left alone until" in run("rules", "show", "widget-price").out

        anyio.run(fail, "FETCH_TIMEOUT", "a", "b", "c")
        opened = host()
        assert (opened["breaker"], opened["failing_rules"]) == ("open", ["a", "b", "c"])
        assert opened["breaker_open_until"] == iso(now + 30)
        assert "it does not answer, and one check tries it at" in run("rules", "show", "widget-price").out

    def test_alert_lines_are_the_contract_s(self, run: Run, checked: None) -> None:
        (line,) = run("alerts", "list", "--json").lines

        assert set(line) >= {
            "schema", "alert_id", "rule_id", "severity", "title", "status", "dedupe_key", "deliveries",
        }  # fmt: skip
        assert (line["schema"], line["rule_id"], line["severity"]) == (
            "sentinel.alert/1",
            "widget-price",
            "critical",
        )
        assert line["status"] == "sent"
        assert line["deliveries"] == [
            {"channel": "ops", "status": "sent", "attempts": 1, "http_status": 204, "error": None}
        ]

    def test_one_alert_is_shown_with_its_attempts(self, run: Run, checked: None) -> None:
        alert_id = run("alerts", "list", "--json").lines[0]["alert_id"]

        shown, document = run("alerts", "show", alert_id), run("alerts", "show", alert_id, "--json").lines[0]

        assert "204" in shown.out
        assert "50 ms" in shown.out
        assert document["attempts"][0]["outcome"] == "sent"
        assert run("alerts", "show", "nope").code == Exit.NOT_FOUND

    def test_alerts_are_filtered(self, run: Run, checked: None) -> None:
        assert run("alerts", "list", "--json", "--status", "failed").out == ""
        assert run("alerts", "list", "--json", "--rule", "nightly").out == ""
        assert "widget-price" in run("alerts", "list").out
        assert run("alerts", "list", "--status", "moody").code == Exit.USAGE


class TestFromOtherTools:
    JOBS = (
        "name: Widget\nurl: https://shop.example.com/widget\nfilter: [{css: .price}]\nadditions_only: true\n"
    )

    @pytest.fixture
    def jobs(self, tmp_path: Path) -> Path:
        path = tmp_path / "urls.yaml"
        path.write_text(self.JOBS)
        return path

    def test_a_file_is_written_for_its_owner_and_never_over_another(
        self, run: Run, jobs: Path, tmp_path: Path
    ) -> None:
        out = tmp_path / "rules.yaml"

        first = run("rules", "import", "--from", "urlwatch", str(jobs), "--out", str(out))
        again = run("rules", "import", "--from", "urlwatch", str(jobs), "--out", str(out))

        assert (first.code, again.code) == (Exit.DONE, Exit.FAILED)
        assert "+ rule widget" in first.out
        assert "- additions_only: every change" in first.out
        assert out.stat().st_mode & 0o777 == 0o600
        assert yaml.safe_load(out.read_text())["rules"][0]["extraction"]["selector"] == ".price"
        assert run("rules", "list", "--json").out == ""

    def test_it_is_imported_at_once_where_no_file_is_asked_for(self, run: Run, jobs: Path) -> None:
        come, imported = run("rules", "import", "--from", "urlwatch", str(jobs), "--json").lines

        assert (come["schema"], come["rules"]) == ("sentinel.carried/1", ["widget"])
        assert imported["rules"]["created"] == ["widget"]

    def test_wrong_calls_are_told(self, run: Run, jobs: Path, tmp_path: Path) -> None:
        assert run("rules", "import", "--from", "wget", str(jobs)).code == Exit.USAGE
        assert run("rules", "import", str(jobs), "--out", str(tmp_path / "x.yaml")).code == Exit.USAGE
        assert run("rules", "import", "--from", "urlwatch", "nowhere.yaml").code == Exit.FAILED
