"""What the chat services are given: within their limits whatever the page says, and nothing in it acts."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinel.model import Document
from sentinel.render import (
    document,
    to_discord,
    to_ntfy,
    to_pagerduty,
    to_plain,
    to_slack,
    to_teams,
    to_telegram,
)
from sentinel.render.fit import ELLIPSIS, cut, utf8, utf16
from sentinel.render.lines import inert
from tests.support.http import Site
from tests.support.receivers import RECEIVERS, Teams
from tests.support.receivers.teams import MAX_MESSAGE, size_of
from tests.support.receivers.telegram import Parsed

#: As the senders complete them.
PAYLOADS: dict[str, Callable[[Document], dict[str, Any]]] = {
    "slack": to_slack,
    "discord": to_discord,
    "teams": to_teams,
    "telegram": lambda words: {"chat_id": "-100", **to_telegram(words)},
    "ntfy": lambda words: {"topic": "ops", **to_ntfy(words)},
    "pagerduty": lambda words: {"routing_key": "k" * 32, **to_pagerduty(words)},
}

#: What pages are full of, and what they could be full of.
TEXT = st.one_of(
    st.text(max_size=400),
    st.sampled_from(
        ["<!channel>", "@everyone", "</b>", "[x](javascript:a)", "{{DATE(2017)}}", "\u202e", "🇸🇰" * 50]
    ),
    st.text(alphabet="*_`~|<>&\\[]()@#:{}\"'", max_size=5000),
    st.text(alphabet="🧑\u200d🤝\u0301e\U0001f3fd🇸🇰￼", max_size=9000),
    st.integers(1, 16_000).map(lambda n: "old words and new " * (n // 18)),
)
VALUE = st.one_of(
    st.none(),
    TEXT,
    st.lists(st.one_of(TEXT, st.fixed_dictionaries({"id": TEXT, "price": TEXT})), max_size=20),
    st.floats(allow_nan=False),
)
BODY = st.fixed_dictionaries(
    {
        "rule": TEXT,
        "url": st.one_of(
            TEXT, st.text(alphabet="ab/%?&=", max_size=9000).map(lambda text: f"https://a.example/{text}")
        ),
        "fields": st.lists(
            st.fixed_dictionaries({"name": TEXT, "before": VALUE, "after": VALUE}), max_size=14
        ),
        "change": st.fixed_dictionaries(
            {"kind": TEXT, "percent": st.sampled_from(["-13.3", "1e99", "x", None])}
        ),
        "conditions": st.lists(st.fixed_dictionaries({"condition": TEXT, "severity": TEXT}), max_size=50),
    },
    optional={
        "members": st.lists(st.fixed_dictionaries({"title": TEXT, "rule": TEXT}), max_size=60),
        "more": st.integers(0, 10**12),
        "code": TEXT,
        "detail": TEXT,
        "recommendation": TEXT,
    },
)
DOCUMENTS = st.builds(
    document,
    alert_id=st.sampled_from(["7", "a" * 120]),
    workspace_id=st.sampled_from(["acme", "w" * 120]),
    rule_id=st.sampled_from(["widget", "r" * 120]),
    kind=st.sampled_from(["change", "health", "recovery", "digest"]),
    severity=st.sampled_from(["info", "warning", "critical"]),
    title=TEXT,
    body=BODY,
    occurred_at=st.sampled_from([0.0, 1_764_000_000.25]),
)


@pytest.mark.parametrize("kind", PAYLOADS)
@given(words=DOCUMENTS)
def test_a_payload_is_within_the_documented_schema_and_limits_for_any_input(
    kind: str, words: Document
) -> None:
    payload = json.loads(json.dumps(PAYLOADS[kind](words)))

    assert RECEIVERS[kind](Site()).problem(payload) == ""


@given(words=DOCUMENTS)
def test_a_card_fits_however_its_size_is_counted(words: Document) -> None:
    payload = PAYLOADS["teams"](words)

    assert size_of(json.dumps(payload, ensure_ascii=False).encode()) <= MAX_MESSAGE
    assert Teams(Site()).problem(payload) == ""


# --- nothing of a page acts -------------------------------------------------------------------------

HOSTILE = [
    "<!channel> <!here> <@U123> <#C123> @channel @everyone @here #general",
    "[x](javascript:alert(1)) [bank](https://evil.example) https://evil.example/login www.evil.example evil.com",
    "</b><a href='https://evil.example'>x</a><script>a</script> &lt;b&gt; &amp;",
    "*bold* _italic_ ~strike~ `code` ```pre``` **b** __u__ ~~s~~ ||spoiler|| > quote\n# head\n- item\n1. one",
    "{{DATE(2017-02-14T06:00:00Z, SHORT)}} ${secret} <t:1> :smile: /start $TICK tg://resolve a@b.com \\",
    "\u202etxt.exe\u202c a\u200bb \u2066x\u2069 \x1b[31mred\x1b[0m \x07",
]


def hostile(text: str) -> Document:
    body = {
        "rule": text,
        "url": "https://shop.example.com/widget?a=1&b=2",
        "fields": [
            {"name": text, "before": "old " * 40 + text, "after": "new " * 40 + text},
            {"name": "short", "before": text[:20], "after": text[-20:]},
        ],
        "change": {"kind": "text_diff"},
        "conditions": [{"condition": text, "severity": "warning"}],
        "code": "EXTRACT_EMPTY_VALUE",
        "detail": text,
        "recommendation": text,
    }
    return document(
        alert_id="7",
        workspace_id="acme",
        rule_id="widget",
        kind="change",
        severity="warning",
        title=text,
        body=body,
        occurred_at=0.0,
    )


def texts(part: Any) -> list[str]:
    """Every text in a payload."""
    match part:
        case str():
            return [part]
        case list():
            return [text for one in part for text in texts(one)]
        case dict():
            return [text for one in part.values() for text in texts(one)]
    return []


@pytest.mark.parametrize("text", HOSTILE)
def test_no_payload_holds_controls_or_what_turns_the_reading_direction(text: str) -> None:
    for payload in PAYLOADS.values():
        for shown in texts(payload(hostile(text))):
            assert not re.search(
                "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u200e\u200f\u202a-\u202e\u2066-\u2069]", shown
            )


@pytest.mark.parametrize("text", HOSTILE)
def test_slack_parses_nothing_of_a_page(text: str) -> None:
    payload = to_slack(hostile(text))

    # The one text that is parsed: no control sequence, no bare address or mention.
    assert not re.search(r"[<>]|&(?!(amp|lt|gt);)|@\w|://\w", payload["text"])
    assert payload["mrkdwn"] is False
    links = []
    for block in payload["blocks"]:
        match block:
            case {"type": "header", "text": {"type": "plain_text"}}:
                pass
            case {"type": "context", "elements": [{"type": "plain_text"}]}:
                pass
            case {"type": "rich_text", "elements": [{"elements": elements}]}:
                links = [one for one in elements if one["type"] != "text"]
            case _:
                pytest.fail(f"a block that may parse: {block}")
    assert links == [
        {"type": "link", "url": "https://shop.example.com/widget?a=1&b=2", "text": "Open the page"}
    ]


@pytest.mark.parametrize("text", HOSTILE)
def test_discord_sees_only_our_own_bold_and_strike(text: str) -> None:
    payload = to_discord(hostile(text))

    assert payload["allowed_mentions"] == {"parse": []}
    (embed,) = payload["embeds"]
    assert embed["url"] == "https://shop.example.com/widget?a=1&b=2"
    parsed = [embed["title"], embed["description"], *(field["value"] for field in embed["fields"])]
    for markdown in parsed:
        active = re.sub(r"\\[^A-Za-z0-9\s]", "", markdown)
        assert not re.search(r"[`|<>\[\]()@#:_\\*~]", re.sub(r"\*\*|~~", "", active))
        assert active.count("**") % 2 == active.count("~~") % 2 == 0


@pytest.mark.parametrize("text", HOSTILE)
def test_a_card_of_teams_has_no_text_that_is_markdown(text: str) -> None:
    card = to_teams(hostile(text))["attachments"][0]["content"]

    assert {block["type"] for block in card["body"]} == {"RichTextBlock"}
    assert {run["type"] for block in card["body"] for run in block["inlines"]} == {"TextRun"}
    assert card["actions"][0]["url"] == "https://shop.example.com/widget?a=1&b=2"
    assert not any("{{" in shown for shown in texts(card))


@pytest.mark.parametrize("text", HOSTILE)
def test_telegram_finds_only_our_own_tags_and_the_one_link(text: str) -> None:
    parsed = Parsed(to_telegram(hostile(text))["text"])

    assert parsed.problem == ""
    assert {tag for tag, _, _ in parsed.entities} <= {"b", "s", "a"}
    links = [(attributes, shown) for tag, attributes, shown in parsed.entities if tag == "a"]
    assert links == [({"href": "https://shop.example.com/widget?a=1&b=2"}, "Open the page")]
    assert not re.search(r"[@#$/]\w|\w\.[^\W\d_]{2}|://", parsed.text)


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("kind", ["ntfy", "pagerduty", "plain"])
def test_where_text_is_plain_no_app_makes_a_link_or_a_mention_of_it(kind: str, text: str) -> None:
    words = hostile(text)
    if kind == "ntfy":
        parts = [to_ntfy(words)["title"], to_ntfy(words)["message"]]
    elif kind == "pagerduty":
        details = to_pagerduty(words)["payload"]
        parts = [details["summary"], *texts(details["custom_details"]["fields"])]
    else:
        title, message = to_plain(words)
        parts = [title, message.replace("https://shop.example.com/widget?a=1&b=2", "")]
    for part in parts:
        assert not re.search(r"[@#$/]\w|\.[^\W\d_]{2}|://", part)


# --- what they say --------------------------------------------------------------------------------------


def change(**other: Any) -> Document:
    body = {
        "rule": "Widget",
        "url": "https://shop.example.com/widget",
        "fields": [
            {
                "name": "price",
                "before": {"amount": "149.99", "currency": "EUR"},
                "after": {"amount": "129.99", "currency": "EUR"},
            }
        ],
        "change": {"kind": "decreased", "percent": "-13.33"},
        "conditions": [{"condition": "drop", "severity": "warning"}],
    }
    columns: dict[str, Any] = {
        "alert_id": "7",
        "workspace_id": "acme",
        "rule_id": "widget",
        "kind": "change",
        "severity": "warning",
        "title": "Widget: 149.99 EUR -> 129.99 EUR",
        "occurred_at": 1_764_000_000.25,
    }
    return document(**columns | other, body=body)


def test_telegram_says_what_was_what_is_why_and_where() -> None:
    assert to_telegram(change())["text"] == (
        "<b>Alert (warning): Widget: 149.99 EUR -&gt; 129.99 EUR</b>\n"
        "<b>price</b>: <s>149.99 EUR</s> → <b>129.99 EUR</b> (-13.3 %)\n"
        "<b>Because</b>: drop (warning)\n"
        "<b>Rule</b>: Widget\n"
        "<b>At</b>: 2025-11-24T16:00:00.250Z\n"
        '<a href="https://shop.example.com/widget">Open the page</a>\n'
        "alert 7 · acme"
    )


def test_ntfy_says_it_in_plain_words_with_a_priority_by_severity() -> None:
    payload = to_ntfy(change())

    assert payload["title"] == "Alert (warning): Widget: 149.99 EUR -> 129.99 EUR"
    assert payload["message"].startswith(
        "price: 149.99 EUR → 129.99 EUR (-13.3 %)\nBecause: drop (warning)\n"
    )
    assert payload["click"] == "https://shop.example.com/widget"
    priorities = {
        level: to_ntfy(change(severity=level))["priority"] for level in ("info", "warning", "critical")
    }
    assert priorities == {"info": 3, "warning": 4, "critical": 5}


def test_a_long_text_is_told_by_its_difference() -> None:
    before = "The warranty lasts two years from the day of purchase and covers parts and labour in full."
    words = change()
    after = before.replace("two years", "one year")
    field = {"name": "terms", "before": before, "after": after}
    words = document(
        alert_id="7",
        workspace_id="acme",
        rule_id="terms",
        kind="change",
        severity="info",
        title="Terms changed",
        body={"fields": [field]},
        occurred_at=0.0,
    )

    assert "lasts [-two-]{+one+} [-years-]{+year+} from the day" in to_ntfy(words)["message"]
    assert "<s>two</s><b>one</b> <s>years</s><b>year</b>" in to_telegram(words)["text"]


@pytest.mark.parametrize("kind", PAYLOADS)
def test_severity_is_told_in_words(kind: str) -> None:
    for severity in ("info", "warning", "critical"):
        assert any(severity in text for text in texts(PAYLOADS[kind](change(severity=severity))))


def test_recovery_resolves_what_trouble_opened_and_a_change_is_an_alert_of_its_own() -> None:
    trouble = to_pagerduty(change(kind="health", severity="critical"))
    again = to_pagerduty(change(kind="health", severity="critical", alert_id="8"))
    recovery = to_pagerduty(change(kind="recovery", severity="info", alert_id="9"))
    one, two = to_pagerduty(change()), to_pagerduty(change(alert_id="8"))

    assert (trouble["event_action"], recovery["event_action"]) == ("trigger", "resolve")
    assert trouble["dedup_key"] == again["dedup_key"] == recovery["dedup_key"]
    assert len({trouble["dedup_key"], one["dedup_key"], two["dedup_key"]}) == 3
    assert one["payload"]["custom_details"]["fields"][0]["after"] == {"amount": "129.99", "currency": "EUR"}


def test_rows_are_told_one_by_one_and_the_rest_is_counted() -> None:
    before = [{"sku": f"a{n}", "price": n} for n in range(30)]
    after = [{"sku": f"a{n}", "price": n + 1} for n in range(30)]
    words = document(
        alert_id="7",
        workspace_id="acme",
        rule_id="list",
        kind="change",
        severity="info",
        title="The list changed",
        body={"fields": [{"name": "items", "before": before, "after": after}]},
        occurred_at=0.0,
    )

    message = to_ntfy(words)["message"]
    assert message.startswith("items: 30 rows changed\nchanged a0: price 0 → 1\nchanged a1: price 1 → 2\n")
    assert "\nand 20 more rows\n" in message


def test_a_digest_lists_its_alerts_and_counts_the_rest() -> None:
    members = [{"title": f"Widget {n} fell", "rule": f"w{n}"} for n in range(20)]
    words = document(
        alert_id="7",
        workspace_id="acme",
        rule_id="-",
        kind="digest",
        severity="warning",
        title="20 alerts",
        body={"members": members, "more": 5},
        occurred_at=0.0,
    )

    message = to_ntfy(words)["message"]
    assert message.startswith("• Widget 0 fell (w0)\n• Widget 1 fell (w1)\n")
    assert "\nand 10 more alerts\n" in message


def test_what_a_template_made_is_told_in_place_of_the_fields() -> None:
    words = msgspec.structs.replace(
        change(), words="Now 129.99 EUR\n@channel come", note="made by a template"
    )

    text = to_telegram(words)["text"]
    assert "Now 129.99 EUR\n@\u2060channel come\n" in text
    assert "<b>Note</b>: made by a template" in text
    assert "149.99 EUR</s>" not in text


# --- cutting -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "limit", "kept"),
    [
        ("short", 5, "short"),
        ("longer", 5, "long…"),
        ("two words", 5, "two…"),
        ("ab🧑‍🤝‍🧑cd", 6, "ab…"),  # a family of five code points is kept whole or not at all
        ("ae\u0301\u0301b", 3, "a…"),  # letters keep their accents
        ("🇸🇰🇨🇿", 7, "🇸🇰…"),  # a flag is two letters
        ("👍🏽👍🏽", 7, "👍🏽…"),
        ("🙂🙂", 3, "🙂…"),  # two units each
        ("🙂", 1, "…"),
        ("anything", 0, ""),
    ],
)
def test_text_is_cut_between_characters_as_people_see_them(text: str, limit: int, kept: str) -> None:
    assert cut(text, limit) == kept


@given(text=st.text(), limit=st.integers(0, 60), measure=st.sampled_from([len, utf8, utf16]))
def test_a_cut_text_is_a_beginning_with_an_ellipsis_and_fits(
    text: str, limit: int, measure: Callable[[str], int]
) -> None:
    kept = cut(text, limit, measure)

    assert measure(kept) <= limit
    assert kept in (text, "") or (kept.endswith(ELLIPSIS) and text.startswith(kept[:-1]))


@given(text=st.text())
def test_inert_text_reads_the_same(text: str) -> None:
    assert inert(text).replace("\u2060", "") == text.replace("\u2060", "")


@pytest.mark.parametrize("text", ["129.99 EUR", "1.234,50", "a: b", "5 $", "50 / 50", "e.g. 5"])
def test_ordinary_values_stay_as_they_are(text: str) -> None:
    assert inert(text) == text
