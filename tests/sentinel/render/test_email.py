"""An alert as an e-mail, read as a mail program reads it."""

from __future__ import annotations

import email
import re
from email import policy
from email.message import EmailMessage
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from selectolax.lexbor import LexborHTMLParser

from sentinel.model import Channel, Document, DocumentRows
from sentinel.render import document, mailbox, to_email
from sentinel.render.email import MAX_SUBJECT
from sentinel.render.email_html import MAX_HTML, to_html
from sentinel.render.email_plain import to_plain_part
from sentinel.render.samples import SAMPLES, SampleKind, sample

CHANNEL = Channel(id="mail", type="email", to=["ops@example.com"], sender="Sentinel <a@example.com>")
HOSTILE = (
    "</td></table><script>alert(1)</script><img src=x onerror=y><style>*{display:none}</style>"
    "\r\nBcc: all@example.com =?utf-8?q?=0D=0ABcc:_x@example.com?= \u202e\x1b[31m \"'`&amp;"
)


def mail(alert: Document, channel: Channel = CHANNEL) -> EmailMessage:
    raw = to_email(channel, alert, message_id="job-1:mail", now=1_767_225_901.7).message
    assert raw.isascii()
    assert max(map(len, raw.split(b"\r\n"))) < 998
    message = email.message_from_bytes(raw, policy=policy.default)
    assert isinstance(message, EmailMessage)
    return message


def hostile(kind: str = "change", **fields: Any) -> Document:
    body = {
        "rule": HOSTILE,
        "url": "https://shop.example.com/?a=1&b=%22",
        "code": HOSTILE if kind == "health" else None,
        "detail": HOSTILE,
        "recommendation": HOSTILE,
        "fields": [
            {"name": HOSTILE, "before": HOSTILE, "after": HOSTILE * 9},
            {"name": "rows", "before": [{"id": HOSTILE, "x": 1}], "after": [{"id": HOSTILE, "x": HOSTILE}]},
            {"name": "short", "before": None, "after": "<b>"},
        ],
        "conditions": [{"condition": HOSTILE, "severity": HOSTILE}],
        "members": [{"title": HOSTILE, "url": "javascript:alert(1)", "before": HOSTILE, "after": HOSTILE}],
        "more": 2,
    }
    made: dict[str, Any] = {
        "alert_id": "7",
        "workspace_id": "acme",
        "rule_id": "widget",
        "kind": kind,
        "severity": "critical",
        "title": HOSTILE,
        "body": body,
        "occurred_at": 0.0,
    }
    return document(**made | fields)


# --- headers ----------------------------------------------------------------------------------------


def test_the_headers_say_what_rule_and_machine_it_is_from() -> None:
    message = mail(sample("price"))

    assert message["Subject"] == "[warning] Widget at Example: 149.99 EUR -> 129.99 EUR"
    assert message["Date"] == "Thu, 01 Jan 2026 00:05:01 +0000"
    assert re.fullmatch(r"<alert-[0-9a-f]{32}@example\.com>", message["Message-ID"])
    assert message["List-Id"] == "<widget.acme.sentinel.example.com>"
    assert message["Auto-Submitted"] == "auto-generated"


@settings(deadline=None, max_examples=100)
@given(st.text(st.characters(exclude_categories=[]), max_size=300) | st.just(HOSTILE))
def test_no_title_or_rule_adds_a_header(text: str) -> None:
    alert = hostile(title=text or "x", rule_id="widget", body={"rule": text})

    message = mail(alert)

    assert sorted(message.keys()) == sorted(mail(sample("price")).keys())
    assert message["To"] == "ops@example.com"
    subject = str(message["Subject"])
    assert len(subject) <= MAX_SUBJECT + 9
    assert not re.search(r"[\x00-\x1f\x7f]", subject)


@settings(deadline=None)
@given(st.text(max_size=60))
def test_no_name_of_a_person_adds_a_header(name: str) -> None:
    try:
        mailbox(f"{name} <ann@example.com>")
    except ValueError:
        return
    message = mail(sample("price"), msgspec.structs.replace(CHANNEL, to=[f"{name} <ann@example.com>"]))

    assert [one.addr_spec for one in message["To"].addresses] == ["ann@example.com"]
    assert "Bcc" not in message


@pytest.mark.parametrize(
    ("written", "address"),
    [
        ("ann@example.com", "ann@example.com"),
        (" Ann Smith <ann.s+x@Example.COM> ", "ann.s+x@example.com"),
        ('"Smith, Ann" <ann@example.com>', "ann@example.com"),
        ("jürgen@müller.example", "jürgen@xn--mller-kva.example"),
    ],
)
def test_addresses_are_read_as_people_write_them(written: str, address: str) -> None:
    assert mailbox(written).address == address


@pytest.mark.parametrize(
    "written",
    [
        "", "ann", "@example.com", "ann@", "ann@localhost", "ann@[127.0.0.1]", "ann@-x.example", "a b@example.com",
        "ann@example.com, bob@example.com", "<ann@example.com", "ann@exa mple.com", "ann@example.com\n", "ann..s@example.com",
        '"a b"@example.com', "a" * 65 + "@example.com", "a@" + "x" * 64 + ".example", "ann@example.com\u202e", "ann@xn--.example.",
    ],
)  # fmt: skip
def test_what_is_no_address_is_refused(written: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        mailbox(written)


# --- both parts -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", SAMPLES)
def test_both_parts_tell_the_same(kind: SampleKind) -> None:
    alert = sample(kind)
    page = LexborHTMLParser(to_html(alert))
    assert page.body is not None
    seen = " ".join(page.body.text(separator=" ").split())
    plain = to_plain_part(alert)

    told = [alert.title, alert.rule, alert.alert_id, *(member.title for member in alert.members)]
    if alert.health is not None:
        told += [alert.health.code, alert.health.detail, alert.health.recommendation]
    for field in alert.fields:
        rows = field.rows or DocumentRows(changes=())
        told += [row.key for row in rows.changes]
        told += [
            text for row in rows.changes for cell in row.cells for text in (cell.before, cell.after) if text
        ]
    for words in filter(None, told):
        assert words in seen
        assert words in plain


def test_a_change_is_told_by_words_and_marks_besides_colour() -> None:
    page = LexborHTMLParser(to_html(sample("price")))
    cells = [" ".join(cell.text().split()) for cell in page.css("td.was, td.now")]
    assert cells == ["− was", "149.99 EUR", "+ now", "129.99 EUR (-13.3 %)"]

    text = LexborHTMLParser(to_html(sample("text")))
    assert [node.text() for node in text.css("div.line del")][:2] == ["30", "50"]
    assert all("line-through" in (node.attributes["style"] or "") for node in text.css("del.was"))
    assert all("underline" in (node.attributes["style"] or "") for node in text.css("ins"))
    assert "within [-30-]{+14+} days" in to_plain_part(sample("text"))

    rows = [
        " ".join(cell.text().split())
        for cell in LexborHTMLParser(to_html(sample("rows"))).css("tr td:first-child")
    ]
    assert {"± changed", "+ added", "− removed"} <= set(rows)


@pytest.mark.parametrize("kind", ["change", "health", "recovery", "digest"])
def test_text_of_a_page_is_text_in_the_mail(kind: str) -> None:
    html = to_html(hostile(kind))
    page = LexborHTMLParser(html)

    assert {node.tag for node in page.css("*")} <= {
        *("html", "head", "meta", "title", "style", "body", "table", "tbody", "tr", "td"),
        *("div", "span", "h1", "p", "b", "a", "del", "ins"),
    }
    assert len(page.css("style")) == 1
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f\u202e]", html)
    for node in page.css("*"):
        assert not any(name.startswith("on") for name in node.attributes)
    assert {node.attributes["href"] for node in page.css("a")} <= {"https://shop.example.com/?a=1&b=%22"}


@pytest.mark.parametrize("kind", SAMPLES)
def test_nothing_is_fetched_by_who_reads_it(kind: SampleKind) -> None:
    page = LexborHTMLParser(to_html(sample(kind)))

    assert page.css("[src], link, img, script, iframe, form, [background]") == []
    assert "url(" not in to_html(sample(kind))
    assert "@import" not in to_html(sample(kind))


def test_what_a_template_made_stands_in_place_of_the_fields_and_its_failure_is_noted() -> None:
    alert = msgspec.structs.replace(sample("price"), words="One <b>line</b>\nand another", note="a note")

    for part in (to_plain_part(alert), LexborHTMLParser(to_html(alert)).text()):
        assert "One <b>line</b>\nand another" in part
        assert "(a note)" in part
    assert "was: 149.99" not in to_plain_part(alert)
    assert "- was" not in to_html(alert)


def test_the_largest_alert_is_not_cut_by_gmail() -> None:
    rows = [{"id": n, **{f"column {c}": "<&\"'>" * 60 for c in range(12)}} for n in range(200)]
    fields = [{"name": f"f{n}", "before": rows[:100], "after": rows[100:]} for n in range(22)]
    fields += [{"name": "<" * 500, "before": "<a " * 9999, "after": "<b " * 9999}]
    members = [{"title": "<" * 999, "rule": "<" * 999, "before": "<" * 999, "after": "&" * 999}] * 60

    for body in ({"fields": fields[:1]}, {"fields": fields}, {"fields": fields[::-1]}, {"members": members}):
        html = to_html(hostile(title="<" * 999, body=body))
        assert len(html) < MAX_HTML + 8_000
        assert "https://" in html or "Alert" in html
        page = LexborHTMLParser(html)
        assert page.css("td.soft")[-1].text() == "Alert", "the end is there"
