"""Words that come from pages, or from who writes templates, on their way to people, logs and metrics."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from email import message_from_bytes, policy
from typing import Any

from prometheus_client.parser import text_string_to_metric_families
from selectolax.lexbor import LexborHTMLParser

from sentinel.cli.main import main
from sentinel.model import Channel, ChannelTemplate
from sentinel.render import document, to_email
from tests.hostile import checks
from tests.hostile.rows import Judge, NotRun, Row, text_of
from tests.hostile.stage import Stage
from tests.support.http import Reply
from tests.support.receivers.telegram import Parsed

#: Controls and what turns the reading direction or is not seen; lines may break, and U+2060 and U+200D join.
_UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
#: In the environment of the worker; no template may ever see it.
SECRET = "t3mpl4te-c4n4ry-s3cr3t"


# --- alerts -----------------------------------------------------------------------------------------


def alert(row: Row, stage: Stage) -> Judge:
    """Told by one kind of channel as title, values and rule; `html` by every kind."""
    text = text_of(row.input)
    kinds = list(_ACTS) if row.kind == "html" else [row.kind.removeprefix("alert_")]
    if unknown := [kind for kind in kinds if kind not in _ACTS]:
        raise NotRun(f"no such surface: there is no channel of type {unknown[0]}")
    sent = {kind: stage.channel(kind) for kind in kinds if kind in stage.receivers}
    key = stage.alert(*sent.values(), title=text) if sent else ""

    def judged() -> str:
        for kind in kinds:
            wrong = _mail(text) if kind == "email" else _chat(stage, kind, sent[kind], key, row)
            if wrong:
                return f"{kind}: {wrong}"
        return ""

    return judged


def _chat(stage: Stage, kind: str, channel: str, key: str, row: Row) -> str:
    (delivery,) = (one for one in stage.alerts[key].deliveries if one.channel_id == channel)
    payloads = stage.payloads(kind, key)
    if delivery.state != "sent" or len(payloads) != 1:
        return f"it is {delivery.state}: {delivery.error}; {stage.receivers[kind].refused[-1:]}"
    for shown in texts(payloads[0]):
        if found := _UNSEEN.search(shown):
            return f"{found[0]!r} reaches people"
    return "" if row.is_control else _ACTS[kind](payloads[0])


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


def _webhook(payload: dict[str, Any]) -> str:
    return "" if payload["type"] == "alert.change" else f"it is of type {payload['type']}"


def _slack(payload: dict[str, Any]) -> str:
    if payload["mrkdwn"] is not False or re.search(r"[<>]|&(?!(amp|lt|gt);)|@\w|://\w", payload["text"]):
        return f"its text may act: {payload['text'][:200]!r}"
    for block in payload["blocks"]:
        match block:
            case {"type": "header", "text": {"type": "plain_text"}}:
                pass
            case {"type": "context", "elements": [{"type": "plain_text"}]}:
                pass
            case {"type": "rich_text", "elements": [{"elements": elements}]}:
                if any(one["type"] != "text" for one in elements):
                    return f"a link nobody made: {elements}"[:300]
            case _:
                return f"a block that is parsed: {block}"[:300]
    return ""


def _discord(payload: dict[str, Any]) -> str:
    if payload["allowed_mentions"] != {"parse": []}:
        return "it may mention people"
    (embed,) = payload["embeds"]
    if "url" in embed:
        return f"a link nobody made: {embed['url']}"
    parts = [embed["title"], embed.get("description", ""), *(one["value"] for one in embed.get("fields", []))]
    for markdown in parts:
        active = re.sub(r"\\[^A-Za-z0-9\s]", "", markdown)
        if re.search(r"[`|<>\[\]()@#:_\\*~]", re.sub(r"\*\*|~~", "", active)):
            return f"markdown acts: {markdown[:200]!r}"
    return ""


def _teams(payload: dict[str, Any]) -> str:
    card = payload["attachments"][0]["content"]
    if {block["type"] for block in card["body"]} != {"RichTextBlock"}:
        return "a block that is parsed"
    if {run["type"] for block in card["body"] for run in block["inlines"]} != {"TextRun"}:
        return "a run that is parsed"
    if card.get("actions"):
        return f"a link nobody made: {card['actions']}"
    return "a function of the card" if any("{{" in text for text in texts(card)) else ""


def _telegram(payload: dict[str, Any]) -> str:
    parsed = Parsed(payload["text"])
    if parsed.problem or {tag for tag, _, _ in parsed.entities} - {"b", "s"}:
        return parsed.problem or f"tags nobody made: {parsed.entities}"[:300]
    found = re.search(r"[@#$/]\w|\w\.[^\W\d_]{2}|://", parsed.text)
    return f"{found[0]!r} becomes a link or a mention" if found else ""


def _ntfy(payload: dict[str, Any]) -> str:
    if "click" in payload or "actions" in payload or payload.get("markdown"):
        return "it may act"
    found = re.search(r"[@#$/]\w|\.[^\W\d_]{2}|://", payload["title"] + payload["message"])
    return f"{found[0]!r} becomes a link or a mention" if found else ""


def _pagerduty(payload: dict[str, Any]) -> str:
    found = re.search(r"[@#$/]\w|://", payload["payload"]["summary"])
    if payload.get("links") or payload.get("images"):
        return "a link or an image nobody made"
    return f"{found[0]!r} becomes a link or a mention" if found else ""


def _mail(text: str) -> str:
    """The mail itself: the worker sends e-mail over TLS alone, to a server the lists do not have."""
    words = document(
        alert_id="7",
        workspace_id="acme",
        rule_id="widget",
        kind="change",
        severity="warning",
        title=text,
        body={"rule": text, "fields": [{"name": text, "before": "before", "after": text}]},
        occurred_at=0.0,
    )
    channel = Channel(id="mail", type="email", to=["ops@example.com"], sender="Sentinel <a@example.com>")
    raw = to_email(channel, words, message_id="job-1:mail", now=1_767_225_901.7).message
    message = message_from_bytes(raw, policy=policy.default)
    if any(name.lower() in ("bcc", "cc") for name in message.keys()) or message["To"] != "ops@example.com":  # noqa: SIM118 - headers repeat
        return f"a header nobody made: {message.keys()}"
    for part in message.walk():
        if part.get_content_maintype() != "text":
            continue
        content = part.get_content().replace("\r\n", "\n")
        if found := _UNSEEN.search(content):
            return f"{found[0]!r} reaches people"
        if part.get_content_subtype() == "html" and (wrong := _markup(content)):
            return wrong
    return ""


def _markup(content: str) -> str:
    """What in the HTML of a mail acts, read as a mail program reads it."""
    for node in LexborHTMLParser(content).css("*"):
        if node.tag in ("script", "img", "iframe", "form", "object", "svg", "a", "base", "link"):
            return f"a <{node.tag}> nobody made"
        if any(name.startswith("on") or name in ("src", "href", "srcdoc") for name in node.attributes):
            return f"an attribute that acts: {node.attributes}"
    return ""


#: Kind of channel -> what in a payload acts; '' where nothing does.
_ACTS: dict[str, Callable[[dict[str, Any]], str]] = {
    "webhook": _webhook,
    "slack": _slack,
    "discord": _discord,
    "teams": _teams,
    "telegram": _telegram,
    "ntfy": _ntfy,
    "pagerduty": _pagerduty,
    "email": lambda _: "",
}


# --- templates --------------------------------------------------------------------------------------


def template(row: Row, stage: Stage) -> Judge:
    """As the template of a channel: held against `rules import`, and rendered by the worker for an alert."""
    written = text_of(row.input)
    stage.environ["HOSTILE_TEMPLATE_SECRET"] = SECRET
    sent = None
    # A longer one is refused by its length alone, and nothing that is stored is so long.
    if checks.is_storable(written) and len(written) <= 8000:
        channel = stage.channel("webhook", template=ChannelTemplate(body=written))
        sent = stage.alert(channel, title="It changed")

    if row.expected not in ("allow", "empty_or_error", "error_clean", "timeout_clean", "refuse", "bounded"):
        raise NotRun(f"no template ends with {row.expected!r}")
    return lambda: _templated(row, stage, written, sent)


def _templated(row: Row, stage: Stage, written: str, sent: str | None) -> str:
    """What is wrong with what came of a template; `sent`: the alert that was rendered by it."""
    problems = checks.import_problems(channel={"template": {"body": written}})
    data: dict[str, Any] = {}
    if sent is not None:
        (delivery,) = stage.alerts[sent].deliveries
        payloads = stage.payloads("webhook", sent)
        if delivery.state != "sent" or len(payloads) != 1:
            return f"the alert is {delivery.state}: {delivery.error}"
        data = payloads[0]["data"]
    text, note = data.get("text") or "", data.get("note") or ""
    if SECRET in json.dumps(data) or re.search(r"<(class|module|function|bound|built)", text):
        return f"it sees what it must not: {text[:200]!r}"
    rendered = f"it rendered {text[:200]!r}"
    match row.expected:
        case "allow":
            wrong = problems or note or ("" if text else "it rendered nothing")
        case "empty_or_error":
            wrong = "" if note or not text.strip(" /\n") else rendered
        case "bounded":
            wrong = "" if len(text) <= 65536 else rendered
        case _ if not problems:
            wrong = "rules import takes it"
        case _:
            wrong = "" if note or sent is None else rendered
    return wrong


# --- logs and metrics -------------------------------------------------------------------------------


def log(row: Row, stage: Stage) -> Judge:
    """As a page's redirect, an alert on the console, a rule's name, a job's id and payload: in logs and listings."""
    text = text_of(row.input)
    rule = stage.rule(stage.page(Reply(body=f"<p>{text}</p>")), name=_named(text))
    sayings = _spread(text, stage)
    line = re.split(r"[\r\n\x0b\x0c\x85\u2028\u2029]+", text)[-1].strip()

    def judged() -> str:
        for line_of_log in stage.log.split("\n"):
            # What it says to people at its start is no line of the log.
            if line_of_log and not line_of_log.startswith("working on "):
                try:
                    json.loads(line_of_log)
                except ValueError:
                    return f"a line of the log is not whole: {line_of_log[:200]!r}"
        shown = [stage.said]
        asked = (
            ("dead", "list", "rules:run"),
            ("history", rule),
            ("rules", "list"),
            ("alerts", "list"),
            ("alerts", "show", stage.alerts[sayings].id),
        )
        shown += [_listed(stage, *words) for words in asked]
        for output in shown:
            if found := re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", output):
                return f"{found[0]!r} reaches a terminal"
            if line != text and len(line) > 4 and any(one.startswith(line) for one in output.splitlines()):
                return f"a line of its own: {line[:100]!r}"
        return ""

    return judged


def metric_label(row: Row, stage: Stage) -> Judge:
    """The same everywhere, and /metrics has neither a new metric nor the text."""
    text = text_of(row.input)
    _spread(text, stage)

    def judged() -> str:
        families = list(text_string_to_metric_families(stage.metrics))
        ours = ("streamq_", "sentinel_", "python_", "process_")
        if strange := [one.name for one in families if not one.name.startswith(ours)]:
            return f"metrics nobody made: {strange}"
        labels = [value for family in families for one in family.samples for value in one.labels.values()]
        if wrong := [one for one in labels if len(text) > 3 and text[:20] in one]:
            return f"it is a label: {wrong[:2]}"
        return "" if len(labels) < 5000 else f"{len(labels)} labels"

    return judged


def _named(text: str) -> str:
    return text[:300].encode("utf-8", "replace").decode()


def _spread(text: str, stage: Stage) -> str:
    """Everything that comes from outside says the text; the key of an alert that says it on the console."""
    raw = text.encode("utf-8", "surrogateescape")
    payload = json.dumps({"ruleId": text, "trigger": text, text: 1})
    stage.job({"id": raw[:500], "payload": payload, "unique": raw[:500], "headers": json.dumps({text: text})})
    stage.job({b"payload": raw, raw[:200] or b"x": raw})
    away = "/" + re.sub("[^\x20-\x7e]", "~", text)
    stage.rule(stage.page(Reply(status=302, headers={"Location": away})), name=_named(text))
    return stage.alert(stage.channel("console"), title=text)


def _listed(stage: Stage, *words: str) -> str:
    streams = {name: io.StringIO() for name in ("stdin", "stdout", "stderr")}
    main(words, environ=stage.settings, streams=streams)
    return streams["stdout"].getvalue() + streams["stderr"].getvalue()
