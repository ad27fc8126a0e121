from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from sentinel.errors import Problem, RuleFileError
from sentinel.fetch.guard import NetworkPolicy
from sentinel.model import (
    AlertPolicy,
    Channel,
    Condition,
    Extraction,
    FallbackSelector,
    FetchProfile,
    Normalization,
    Postprocess,
    Rule,
    RulesFile,
    Schedule,
    Workspace,
)
from sentinel.rulefile import document, dump, json_schema, load

PUBLIC = NetworkPolicy()
PRIVATE = NetworkPolicy(allow_private=True)

#: As in domain.md.
EXAMPLE = """\
workspace: {id: acme, timezone: Europe/Bratislava}
channels:
  - {id: ops, type: webhook, url: https://hooks.example.com/in, secret_env: OPS_WEBHOOK_SECRET}
rules:
  - id: widget-price
    url: https://shop.example.com/widget
    type: price
    fetch: {mode: auto}
    extraction: {method: css, selector: ".price", fallbackSelectors: [{method: schema, selector: price}]}
    normalization: {kind: price, currency: EUR}
    schedule: {intervalSeconds: 300, jitterSeconds: 30}      # or {cron: "*/5 8-18 * * 1-5", timezone: ...}
    alertPolicy:
      requireConsecutive: 2
      cooldownSeconds: 3600
      channels: [ops]
      conditions: [{id: drop, type: price_drop_percent, value: 10, severity: warning}]
"""


def problems(text: str, policy: NetworkPolicy = PUBLIC) -> dict[str, Problem]:
    """What is wrong with a file, by place."""
    with pytest.raises(RuleFileError) as refused:
        load(text, policy)
    return {problem.path: problem for problem in refused.value.problems}


def rule(**fields: Any) -> str:
    """A file with one rule, good but for the fields given; None takes one out."""
    base = {
        "id": "r",
        "url": "https://shop.example.com/",
        "type": "price",
        "extraction": {"method": "css", "selector": ".price"},
    }
    merged = {name: value for name, value in {**base, **fields}.items() if value is not None}
    return yaml.safe_dump({"channels": [{"id": "out", "type": "console"}], "rules": [merged]})


# --- reading --------------------------------------------------------------------------------------


def test_the_example_of_the_documentation_loads() -> None:
    rules = load(EXAMPLE, PUBLIC)
    assert rules.workspace == Workspace(id="acme", timezone="Europe/Bratislava")
    assert rules.channels[0].secret_env == "OPS_WEBHOOK_SECRET"
    (read,) = rules.rules
    assert read.extraction.fallback_selectors == [FallbackSelector(method="schema", selector="price")]
    assert read.schedule == Schedule(interval_seconds=300, jitter_seconds=30)
    assert read.alert_policy.conditions == [
        Condition(id="drop", type="price_drop_percent", value=Decimal(10))
    ]


def test_a_file_is_read_from_its_path(tmp_path: Path) -> None:
    file = tmp_path / "rules.yaml"
    file.write_text("\ufeff" + EXAMPLE, encoding="utf-8")
    assert load(file, PUBLIC) == load(EXAMPLE, PUBLIC)


def test_a_file_that_is_not_there_or_not_text_is_told(tmp_path: Path) -> None:
    with pytest.raises(RuleFileError, match="cannot be read: No such file"):
        load(tmp_path / "none.yaml", PUBLIC)
    (tmp_path / "latin.yaml").write_bytes(b"rules: [\xe9]")
    with pytest.raises(RuleFileError, match="not UTF-8"):
        load(tmp_path / "latin.yaml", PUBLIC)


def test_numbers_stay_what_was_written() -> None:
    text = rule(alertPolicy={"conditions": [{"id": "c", "type": "price_below", "value": 1}]})
    read = load(text.replace("value: 1", "value: 19.90"), PUBLIC).rules[0]
    assert str(read.alert_policy.conditions[0].value) == "19.90"


@pytest.mark.parametrize("text", ["no", "on", "22:00", "2026-01-01", "0o17", "1_000", "0x1F"])
def test_what_only_old_yaml_takes_for_more_than_text_is_text(text: str) -> None:
    assert document.read(f"a: {text}") == {"a": text}


def test_anchors_and_merges_work() -> None:
    text = """
defaults: &d {mode: http}
"""
    assert document.read(text + "a: {<<: *d, timeout: 5}\nb: *d") == {
        "defaults": {"mode": "http"},
        "a": {"mode": "http", "timeout": 5},
        "b": {"mode": "http"},
    }


@pytest.mark.parametrize(
    ("text", "path", "says"),
    [
        ("", "", "there is nothing in it"),
        ("- a", "", "got a list"),
        ("a: [", "line 2, column 1", "not YAML"),
        ("a: b: c", "line 1, column 5", "mapping values"),
        ("rules:\n\t- id: a", "line 2, column 1", "token"),
        ("rules: []\nrules: []", "line 2, column 1", "given twice"),
        ("a: !!python/object/apply:os.system [id]", "line 1, column 4", "constructor"),
        ("a: *nobody", "line 1, column 4", "undefined alias"),
        ("a: &a [*a]", "line 1", "too large"),
        ("--- {}\n--- {}", "line 2, column 1", "another document"),
        ("[" * 10_000, "line 1", "nested deeper"),
        ("{" * 10_000, "line 1", "nested deeper"),
        ("a: \x00", "", "not YAML"),
    ],
)
def test_what_is_no_rules_file_is_refused_with_its_place(text: str, path: str, says: str) -> None:
    (problem,) = problems(text).values()
    assert problem.path == path
    assert says in problem.message


@pytest.mark.parametrize(
    "text",
    [
        "hunter2",
        "- hunter2",
        "- password: hunter2",
        "hunter2:x:0:0\nroot",
        "hunter2: {a: b}",
        "hunter2: 1\n3: x",
        "12345",
    ],
)
def test_nothing_of_a_file_that_is_no_rules_file_is_told(text: str) -> None:
    with pytest.raises(RuleFileError) as caught:
        load(text, PUBLIC)
    told = str(caught.value)
    assert "no rules file" in told
    assert "hunter2" not in told
    assert "12345" not in told


def test_a_billion_laughs_are_not_laughed() -> None:
    lines = ["a0: &a0 [ha, ha, ha, ha, ha, ha, ha, ha, ha, ha]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    (problem,) = problems("\n".join(lines)).values()
    assert "aliases" in problem.message
    merges = ["a0: &a0 {x: 1}"]
    merges += [f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 10)}]}}" for n in range(1, 10)]
    assert "aliases" in str(problems("\n".join(merges)))


# --- every mistake at once ------------------------------------------------------------------------


def test_mistakes_in_several_rules_and_several_in_one_are_all_told() -> None:
    found = problems("""
workspace: {id: acme, timezone: Europe/Bratislawa, quietHours: {start: 22:00, end: 7:00}}
chanels: []
rules:
  - id: a
    url: http://127.0.0.1/
    type: text
    extraction: {method: css, selektor: .price}
    schedule: {intervalSeconds: 300, cron: "* * * *"}
    alertPolicy:
      channels: [opz]
      conditions:
        - {id: x, type: price_below, value: cheap}
        - {id: x, type: text_match, value: "("}
        - {id: z, type: number_below, value: 1}
  - id: a
    type: prices
    extraction: {method: regex, selector: "(?=a)", postprocess: [trimm, {op: regex_extract, pattern: (a), group: 3}]}
    fetch: {mode: headless, timeout: soon}
    enabled: yes
  - {id: c, url: https://example.com/, type: price, schedule: {interval_seconds: 3},
     extraction: {method: css, selector: "a[", context: "div["}}
  - 5
""")
    assert {path: problem.hint for path, problem in found.items() if "did you mean" in problem.hint} == {
        "chanels": "did you mean 'channels'?",
        "rules[0].extraction.selektor": "did you mean 'selector'?",
        "rules[0].alertPolicy.conditions[1].type": "did you mean 'text_matches'?",
        "rules[1].type": "did you mean 'price'?",
        "rules[1].extraction.postprocess[0]": "did you mean 'trim'?",
        "rules[2].schedule.interval_seconds": "did you mean 'intervalSeconds'?",
    }
    assert set(found) == {
        "workspace.timezone",
        "workspace.quietHours.end",
        "chanels",
        "rules[0].url",
        "rules[0].extraction.selektor",
        "rules[0].schedule",
        "rules[0].schedule.cron",
        "rules[0].alertPolicy.channels[0]",
        "rules[0].alertPolicy.conditions[0].value",
        "rules[0].alertPolicy.conditions[1].type",
        "rules[0].alertPolicy.conditions[1].id",
        "rules[0].alertPolicy.conditions[2].type",
        "rules[1].id",
        "rules[1].url",
        "rules[1].type",
        "rules[1].extraction.selector",
        "rules[1].extraction.postprocess[0]",
        "rules[1].extraction.postprocess[1].group",
        "rules[1].fetch.timeout",
        "rules[1].enabled",
        "rules[2].schedule.interval_seconds",
        "rules[2].extraction.selector",
        "rules[2].extraction.context",
        "rules[3]",
    }


@pytest.mark.parametrize(
    ("fields", "path", "says"),
    [
        ({"id": 5}, "rules[0].id", "expected text, got the number 5"),
        ({"id": "a b"}, "rules[0].id", "another form"),
        ({"url": None}, "rules[0].url", "missing"),
        ({"extraction": ".price"}, "rules[0].extraction", "expected fields"),
        ({"extraction": {"selector": ".a"}}, "rules[0].extraction.method", "missing"),
        ({"extraction": {"method": "cs", "selector": "a"}}, "rules[0].extraction.method", "not one of"),
        (
            {"extraction": {"method": "xpath", "selector": "//a["}},
            "rules[0].extraction.selector",
            "Invalid expression at character 5",
        ),
        (
            {"extraction": {"method": "css", "selector": "a", "attribute": "txt"}},
            "rules[0].extraction.attribute",
            "another form",
        ),
        (
            {"extraction": {"method": "css", "selector": "a", "fallbackSelectors": [{}, {"selector": "b["}]}},
            "rules[0].extraction.fallbackSelectors[1].selector",
            "not a CSS selector",
        ),
        ({"tags": "a, b"}, "rules[0].tags", "expected a list"),
        ({"type": "record"}, "rules[0].fields", "must be one at least"),
        ({"fields": {}, "type": "dates"}, "rules[0].type", "not one of"),
        ({"fields": {"a": {"type": "price"}}, "type": "record"}, "rules[0].fields.a.extraction", "missing"),
        (
            {
                "type": "text",
                "alertPolicy": {"conditions": [{"id": "a", "any": [{"type": "price_above", "value": 1}]}]},
            },
            "rules[0].alertPolicy.conditions[0].any[0].type",
            "cannot be asked of a text rule",
        ),
        (
            {"alertPolicy": {"conditions": [{"id": "a"}]}},
            "rules[0].alertPolicy.conditions[0].type",
            "says nothing",
        ),
        (
            {
                "alertPolicy": {
                    "conditions": [{"id": "a", "type": "value_changed", "not": {"type": "value_changed"}}]
                }
            },
            "rules[0].alertPolicy.conditions[0].type",
            "type and not",
        ),
        (
            {"alertPolicy": {"conditions": [{"id": "a", "type": "value_changed", "field": "price"}]}},
            "rules[0].alertPolicy.conditions[0].field",
            "no fields",
        ),
        (
            {
                "alertPolicy": {
                    "conditions": [
                        {"id": "a", "type": "value_increased", "mode": "level", "repeatSeconds": 60}
                    ]
                }
            },
            "rules[0].alertPolicy.conditions[0].mode",
            "cannot stay so",
        ),
        (
            {
                "alertPolicy": {
                    "conditions": [{"id": "a", "type": "price_below", "value": 5, "mode": "level"}]
                }
            },
            "rules[0].alertPolicy.conditions[0].repeatSeconds",
            "how often",
        ),
        (
            {"alertPolicy": {"conditions": [{"id": "a", "type": "price_below", "value": 5, "rearm": 4}]}},
            "rules[0].alertPolicy.conditions[0].rearm",
            "under the limit",
        ),
        (
            {"alertPolicy": {"conditions": [{"id": "a", "type": "value_below", "value": "2026-01-31"}]}},
            "rules[0].alertPolicy.conditions[0].value",
            "needs a number",
        ),
        (
            {"type": "date", "alertPolicy": {"conditions": [{"id": "a", "type": "value_below", "value": 5}]}},
            "rules[0].alertPolicy.conditions[0].value",
            "needs a date",
        ),
        (
            {"alertPolicy": {"conditions": [{"id": "a", "type": "lowest_in_days", "value": 0}]}},
            "rules[0].alertPolicy.conditions[0].value",
            "cannot be looked back on",
        ),
        (
            {
                "type": "list",
                "alertPolicy": {"conditions": [{"id": "a", "type": "rows_added", "value": 1.5}]},
            },
            "rules[0].alertPolicy.conditions[0].value",
            "no number of rows",
        ),
        ({"tags": [1]}, "rules[0].tags[0]", "expected text"),
        ({"fetch": {"headers": {"A": 1}}}, "rules[0].fetch.headers.A", "expected text"),
        ({"fetch": {"headers": {"X-A": "1\r\nHost: b"}}}, "rules[0].fetch.headers.X-A", "cannot be sent"),
        ({"fetch": {"headers": {"X A": "1"}}}, "rules[0].fetch.headers.'X A'", "cannot be sent"),
        ({"fetch": {"timeout": 0}}, "rules[0].fetch.timeout", "> 0"),
        ({"schedule": {"jitterSeconds": 3}}, "rules[0].schedule", "neither"),
        ({"schedule": {"cron": "61 * * * *"}}, "rules[0].schedule.cron", "not a cron expression"),
        ({"schedule": {"cron": "0 0 30 2 *"}}, "rules[0].schedule.cron", "not a cron expression"),
        (
            {"schedule": {"cron": "0 0 * * *", "timezone": "Mars"}},
            "rules[0].schedule.timezone",
            "no such time zone",
        ),
        ({"schedule": {"intervalSeconds": "60"}}, "rules[0].schedule.intervalSeconds", "got the text '60'"),
        (
            {"normalization": {"kind": "text"}},
            "rules[0].normalization.kind",
            "price cannot have values of kind text",
        ),
        ({"normalization": {"kind": "price", "currency": "eur"}}, "rules[0].normalization.currency", "form"),
        ({"normalization": {"kind": "price", "min": 5, "max": 1}}, "rules[0].normalization.min", "over max"),
        ({"url": "ftp://example.com/"}, "rules[0].url", "http"),
        ({"url": "https://user:pw@example.com/"}, "rules[0].url", ""),
    ],
)
def test_a_mistake_is_told_with_its_place(fields: dict[str, Any], path: str, says: str) -> None:
    found = problems(rule(**fields))
    assert path in found
    assert says in found[path].message


@pytest.mark.parametrize(
    ("kind", "condition", "field", "says"),
    [
        ("text", {"type": "price_below", "value": 5}, "type", "cannot be asked of a text rule"),
        (
            "price",
            {"type": "availability_is", "value": "in_stock"},
            "type",
            "cannot be asked of a price rule",
        ),
        ("availability", {"type": "value_above", "value": 1}, "type", "cannot be asked"),
        ("price", {"type": "price_below"}, "value", "needs a value"),
        ("price", {"type": "price_below", "value": "cheap"}, "value", "must be a number"),
        ("price", {"type": "price_below", "value": True}, "value", "must be a number or a text"),
        ("price", {"type": "price_drop_percent", "value": 0}, "value", "cannot happen"),
        ("price", {"type": "price_drop_percent", "value": 110}, "value", "cannot happen"),
        ("availability", {"type": "availability_is", "value": "instock"}, "value", "not an availability"),
        ("text", {"type": "text_matches", "value": "(?=a)"}, "value", "not a pattern"),
        ("text", {"type": "text_contains", "value": ""}, "value", "needs a value"),
        ("number", {"type": "number_below", "value": 1, "severity": "bad"}, "severity", "not one of"),
    ],
)
def test_a_condition_that_cannot_be_asked_is_refused(
    kind: str, condition: dict[str, Any], field: str, says: str
) -> None:
    found = problems(rule(type=kind, alertPolicy={"conditions": [{"id": "c", **condition}]}))
    place = f"rules[0].alertPolicy.conditions[0].{field}"
    assert list(found) == [place]
    assert says in found[place].message


def test_channels_need_what_they_need() -> None:
    found = problems("""
channels:
  - {id: a, type: webhook}
  - {id: b, type: webhook, url: "http://10.0.0.1/hook"}
  - {id: b, type: mail}
  - {id: c, type: webhook, url: "https://hooks.example.com/", secret_env: "whsec_abc+/="}
""")
    assert set(found) == {
        "channels[0].url",
        "channels[1].url",
        "channels[2].id",
        "channels[2].type",
        "channels[3].secret_env",
    }
    assert "the NAME of the environment variable" in found["channels[3].secret_env"].hint


@pytest.mark.parametrize(
    ("channel", "field", "says"),
    [
        ("type: slack", "credentials.url", "a slack channel needs it"),
        ('type: slack, url: "https://hooks.slack.com/services/T/B/x"', "url", "is a secret"),
        ("type: discord, credentials: {url: hunter2hunter2}", "credentials.url", "not an address"),
        ("type: teams, credentials: {token: {env: T}}", "credentials.token", "no credential of that name"),
        ("type: telegram, credentials: {bot_token: {env: T}}", "chatId", "needs chatId"),
        ('type: telegram, chatId: "a b", credentials: {bot_token: {env: T}}', "chatId", "form"),
        (
            'type: telegram, chatId: "-5", credentials: {bot_token: hunter2hunter2}',
            "credentials.bot_token",
            "look",
        ),
        ("type: ntfy", "topic", "needs topic"),
        ("type: ntfy, topic: a/b", "topic", "form"),
        ("type: ntfy, topic: a, chatId: '5'", "chatId", "has no chatId"),
        ("type: pagerduty", "credentials.routing_key", "needs it"),
        ("type: pagerduty, credentials: {routing_key: hunter2hunter2}", "credentials.routing_key", "look"),
        ("type: console, topic: a", "topic", "has no topic"),
        ("type: console, template: {title: '{{ nope }}'}", "template.title", "line 1: `nope` is undefined"),
        ("type: console, template: {body: '{{ health.code }}'}", "template.body", "kind price"),
        ("type: console, template: {body: '{{ \"x\" * 100000000000 }}'}", "template.body", "takes too long"),
        ("type: console, template: {}", "template", "a title, a body, or both"),
        ("type: email, sender: a@example.com", "to", "needs to"),
        ("type: email, to: [a@example.com]", "sender", "needs sender"),
        ("type: email, to: [a@example.com, ann], sender: a@example.com", "to[1]", "there is no @"),
        ("type: email, to: [a@example.com], sender: a@localhost", "sender", "not a domain"),
        ("type: console, to: [a@example.com]", "to", "has no to"),
        (
            "type: email, to: [a@example.com], sender: a@example.com, credentials: {smtp_url: 'https://u:hunter2hunter2@x'}",
            "credentials.smtp_url",
            "smtp://",
        ),
    ],
)
def test_a_channel_says_where_and_by_which_credential(channel: str, field: str, says: str) -> None:
    found = problems(f"channels: [{{id: a, {channel}}}]")
    problem = found[f"channels[0].{field}"]
    assert says in problem.message
    assert problem.hint
    assert "hunter2" not in str(list(found.values()))


def test_every_type_of_channel_can_be_written() -> None:
    rules = load(
        """
channels:
  - {id: s, type: slack, credentials: {url: "https://hooks.slack.com/services/T0/B0/x"}}
  - {id: d, type: discord, credentials: {url: {env: D}}}
  - {id: t, type: teams, credentials: {url: {file: /run/secrets/teams}}}
  - {id: g, type: telegram, chatId: "@acme_alerts", credentials: {bot_token: {env: G}}}
  - {id: n, type: ntfy, topic: acme, url: "https://ntfy.example.com"}
  - {id: p, type: pagerduty, credentials: {routing_key: {env: P}}}
  - {id: m, type: email, to: [a@example.com], sender: A <a@example.com>, credentials: {smtp_url: {env: M}}}
""",
        PUBLIC,
    )
    assert [channel.type for channel in rules.channels] == [
        "slack",
        "discord",
        "teams",
        "telegram",
        "ntfy",
        "pagerduty",
        "email",
    ]
    assert (rules.channels[3].chat_id, rules.channels[4].topic) == ("@acme_alerts", "acme")


def test_a_private_address_names_the_setting_and_is_taken_where_it_is_allowed() -> None:
    found = problems(rule(url="http://192.168.1.5/"))
    assert "SENTINEL_ALLOW_PRIVATE_NETWORKS" in found["rules[0].url"].hint
    assert load(rule(url="http://192.168.1.5/"), PRIVATE).rules[0].url == "http://192.168.1.5/"


def test_a_channel_that_exists_already_need_not_be_in_the_file() -> None:
    text = rule(alertPolicy={"channels": ["ops"]})
    assert list(problems(text)) == ["rules[0].alertPolicy.channels[0]"]
    assert load(text, PUBLIC, known_channels=["ops"]).rules[0].alert_policy.channels == ["ops"]


def test_no_secret_is_told_that_was_put_where_its_name_belongs() -> None:
    found = problems(
        "channels: [{id: a, type: console, secret_env: 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw'}]"
    )
    assert "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw" not in str(found)


def test_a_channel_says_where_its_credentials_are() -> None:
    key = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    for written in ({"env": "NEW,OLD"}, {"file": "/run/secrets/a"}, {"stored": True}, key, f"{key}\n{key}"):
        channel = {
            "id": "a",
            "type": "webhook",
            "url": "https://h.example.com/",
            "credentials": {"signing_secret": written},
        }
        (read,) = load(json.dumps({"channels": [channel]}), PUBLIC).channels
        assert msgspec.to_builtins(read.credentials["signing_secret"]) == written


@pytest.mark.parametrize(
    ("credentials", "place", "says"),
    [
        ({"signing_secret": "hunter2"}, ".signing_secret", "signing secret"),
        ({"signing_secret": " "}, ".signing_secret", "empty"),
        ({"signing_secret": "hunter2\x07"}, ".signing_secret", "cannot be sent"),
        ({"signing_secret": {"env": "hunter2-hunter2"}}, ".signing_secret.env", "another form"),
        ({"signing_secret": {"env": "DATABASE_URL"}}, ".signing_secret.env", "a setting of sentinel's own"),
        ({"signing_secret": {"file": "hunter2"}}, ".signing_secret.file", "absolute path"),
        ({"signing_secret": {"file": "/proc/self/environ"}}, ".signing_secret.file", "/proc"),
        ({"signing_secret": {"env": "A", "stored": True}}, ".signing_secret", "has one of"),
        ({"signing_secret": {}}, ".signing_secret", "has one of"),
        ({"signing_secret": {"hunter2": None, "env": "A"}}, ".signing_secret", "unknown field"),
        ({"signing_secret": 123456}, ".signing_secret", "expected"),
        ({"signing_secret": ["hunter2"]}, ".signing_secret", "expected"),
        ({"token": "hunter2"}, ".token", "no credential of that name"),
        ({"hunter2-hunter2": "a"}, "", "no credential of that name"),
        ("hunter2", "", "expected"),
    ],
)
def test_credentials_that_cannot_work_are_refused_and_not_told(
    credentials: Any, place: str, says: str
) -> None:
    channel = {"id": "a", "type": "webhook", "url": "https://h.example.com/", "credentials": credentials}
    found = problems(json.dumps({"channels": [channel]}))
    assert list(found) == [f"channels[0].credentials{place}"]
    assert says in found[f"channels[0].credentials{place}"].message
    assert "hunter2" not in str(found)
    assert "123456" not in str(found)


def test_a_webhook_s_address_is_a_field_or_a_secret() -> None:
    secret = '{id: a, type: webhook, credentials: {url: "https://h.example.com/in?key=hunter2"}}'
    assert load(f"channels: [{secret}]", PUBLIC).channels[0].url is None

    both = secret.replace("type: webhook", "type: webhook, url: 'https://h.example.com/'")
    assert list(problems(f"channels: [{both}]")) == ["channels[0].url"]
    private = problems(f"channels: [{secret.replace('h.example.com', '10.0.0.1')}]")
    assert list(private) == ["channels[0].credentials.url"]
    assert "hunter2" not in str(private)


def test_a_credential_is_said_once() -> None:
    text = "channels: [{id: a, type: webhook, url: 'https://h.example.com/', secret_env: A, credentials: {signing_secret: {env: B}}}]"
    assert list(problems(text)) == ["channels[0].credentials.signing_secret"]


@pytest.mark.parametrize(
    "written",
    ["!hunter2", "*hunter2", "&hunter2", "%hunter2", "@hunter2", "`hunter2", "'hunter2", "{hunter2"],
)
def test_a_value_that_is_not_yaml_is_not_told(written: str) -> None:
    text = (
        "channels: [{id: a, type: webhook, url: 'https://h.example.com/', credentials: {signing_secret: "
        + written
        + "}}]"
    )
    assert "hunter2" not in str(problems(text))


# --- writing --------------------------------------------------------------------------------------


def test_what_is_written_loads_to_the_same() -> None:
    rules = load(EXAMPLE, PUBLIC)
    assert load(dump(rules), PUBLIC) == rules


def test_what_is_at_its_default_is_not_written() -> None:
    assert yaml.safe_load(dump(load(EXAMPLE, PUBLIC)))["rules"][0]["extraction"] == {
        "method": "css",
        "selector": ".price",
        "fallbackSelectors": [{"selector": "price", "method": "schema"}],
    }


AMOUNTS = st.decimals(allow_nan=False, allow_infinity=False, places=2, min_value=1, max_value=99)
IDS = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,10}", fullmatch=True)
TEXTS = st.text(alphabet=st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), max_size=20)
RULES = st.builds(
    Rule,
    id=IDS,
    url=st.just("https://shop.example.com/a?b=1#c"),
    type=st.just("price"),
    name=TEXTS,
    fetch=st.builds(
        FetchProfile, mode=st.sampled_from(["http", "auto"]), headers=st.dictionaries(st.just("X-A"), TEXTS)
    ),
    extraction=st.builds(
        Extraction,
        method=st.just("css"),
        selector=st.sampled_from([".price", "a[href='yes']", "#no", "123 > a"]).filter(lambda s: s[0] != "1"),
        postprocess=st.lists(
            st.sampled_from(["trim", Postprocess(op="replace", pattern="no", replacement="12:30")])
        ),
        fallback_selectors=st.lists(st.just(FallbackSelector(method="schema", selector="price")), max_size=2),
    ),
    normalization=st.none() | st.builds(Normalization, kind=st.just("price"), min=st.none() | AMOUNTS),
    schedule=st.sampled_from(
        [Schedule(interval_seconds=60), Schedule(cron="*/5 8-18 * * 1-5", timezone="UTC")]
    ),
    alert_policy=st.builds(
        AlertPolicy,
        channels=st.just(["out"]),
        conditions=st.lists(
            st.builds(Condition, id=IDS, type=st.just("price_below"), value=AMOUNTS),
            unique_by=lambda c: c.id,
            max_size=2,
        ),
    ),
    tags=st.lists(TEXTS, max_size=2),
)


@given(st.lists(RULES, unique_by=lambda one: one.id, max_size=3))
def test_any_rules_survive_writing_and_reading(rules: list[Rule]) -> None:
    file = RulesFile(channels=[Channel(id="out", type="console")], rules=rules)
    assert load(dump(file), PUBLIC) == file


@given(st.text(max_size=200) | st.text(alphabet="&*a:[]{}-, \n\"'!<|>%#\t", max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        load(text, PUBLIC)
    except RuleFileError as refused:
        assert refused.problems  # noqa: PT017 - reading it would be as right


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5) | st.integers(), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(st.sampled_from(["workspace", "channels", "rules"]), st.sampled_from(sorted(
    {"id", "url", "type", "fetch", "extraction", "normalization", "schedule", "alertPolicy", "tags", "enabled"}
)), PLAIN)  # fmt: skip
def test_any_value_in_any_place_is_read_or_refused(where: str, field: str, value: Any) -> None:
    inside = {"id": "a", field: value}
    text = yaml.safe_dump({where: inside if where == "workspace" else [inside, value]})
    try:
        load(text, PUBLIC)
    except RuleFileError as refused:
        assert all(problem.message for problem in refused.problems)  # noqa: PT017 - as above


def test_the_json_schema_names_every_field_and_refuses_others() -> None:
    schema = json_schema()
    json.dumps(schema)
    rule_schema = schema["$defs"]["Rule"]
    assert rule_schema["additionalProperties"] is False
    assert {"id", "url", "extraction", "alertPolicy", "expectedChangeEvery"} <= set(rule_schema["properties"])
    assert schema["$schema"].endswith("2020-12/schema")


@pytest.mark.parametrize(
    ("written", "path", "message", "hint"),
    [
        ("schedule: {intervalSeconds: 5m}", "schedule.intervalSeconds", "expected a whole number", "in seconds: 300"),
        ("schedule: {intervalSeconds: '60'}", "schedule.intervalSeconds", "expected a whole number", "write it without quotes"),
        ("enabled: yes", "enabled", "expected true or false", "true"),
        ("tags: sale", "tags", "expected a list", "write a list: [a, b]"),
        ("alertPolicy: {conditions: {id: c}}", "alertPolicy.conditions", "expected a list", "each begins with `- `"),
        ("fetch: {headers: [a]}", "fetch.headers", "expected fields", "write {name: value}"),
        ("fetch: {mode: quick}", "fetch.mode", "'quick' is not one of http, headless, auto", ""),
    ],
)  # fmt: skip
def test_a_value_of_the_wrong_kind_is_one_problem_with_what_to_write(
    written: str, path: str, message: str, hint: str
) -> None:
    rule = "rules: [{id: a, url: 'https://example.com/', type: text, extraction: {method: text}, %s}]"
    (problem,) = problems(rule % written).values()
    assert (problem.path, problem.hint) == (f"rules[0].{path}", hint)
    assert message in problem.message


def test_the_json_schema_tells_what_the_model_says_of_a_field() -> None:
    definitions = json_schema()["$defs"]
    assert definitions["FetchProfile"]["properties"]["timeout"]["description"].startswith(
        "Seconds for the whole"
    )
    assert definitions["AlertPolicy"]["properties"]["requireConsecutive"]["description"].startswith(
        "Equal readings"
    )
    assert definitions["Rule"]["description"].startswith("A rule: watches")
    assert definitions["Normalization"]["properties"]["min"]["anyOf"][0]["type"] == ["number", "string"]


def test_the_committed_json_schema_is_the_model_s() -> None:
    committed = json.loads((Path(__file__).parents[2] / "docs/rules.schema.json").read_text())
    assert committed == json_schema(), "sentinel-worker rules schema > docs/rules.schema.json"
