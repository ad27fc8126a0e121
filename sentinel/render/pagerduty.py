"""An alert as an event of PagerDuty's Events API v2: trouble triggers, recovery resolves.

https://developer.pagerduty.com/docs/send-alert-event
"""

from __future__ import annotations

import hashlib
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from sentinel.model import Document
from sentinel.render.fit import cut, utf16
from sentinel.render.lines import headline, inert, link_of
from sentinel.render.payload import iso, to_json

# `Any` is JSON.

#: Characters of a summary and of a dedup key. A whole event may have 512 KB; ours has the details of
#: a webhook, which are at most 64 KiB.
MAX_SUMMARY: Final = 1024
MAX_KEY: Final = 255


def to_pagerduty(document: Document) -> dict[str, Any]:
    """The event without the routing key."""
    event: dict[str, Any] = {
        "event_action": "resolve" if document.kind == "recovery" else "trigger",
        "dedup_key": dedup_key(document),
        "client": "Sentinel",
        "payload": {
            "summary": inert(cut(headline(document), MAX_SUMMARY, lambda text: utf16(inert(text)))),
            "source": urlsplit(document.link).hostname or document.rule_id,
            "severity": document.severity,
            "timestamp": iso(document.occurred_at),
            "component": document.rule_id,
            "group": document.workspace_id,
            "class": document.change or document.kind,
            "custom_details": _details(document),
        },
    }
    if link := link_of(document):
        event["links"] = [{"href": link, "text": "Open the page"}]
    return event


def dedup_key(document: Document) -> str:
    """What PagerDuty knows the trouble by.

    One a rule for trouble with the rule itself, so that its recovery closes what was opened and a
    reminder opens nothing new; one an alert for a change, so that only a repetition is one.
    """
    trouble = document.kind in ("health", "recovery")
    parts = (document.workspace_id, document.rule_id, "health" if trouble else f"alert/{document.alert_id}")
    key = "sentinel/" + "/".join(parts)
    return key if len(key) <= MAX_KEY else f"sentinel/{hashlib.sha256(key.encode()).hexdigest()}"


def _details(document: Document) -> dict[str, Any]:
    """The data of the webhook's body (docs/webhooks.md), with the page's words inert."""
    data: dict[str, Any] = msgspec.json.decode(to_json(document))["data"]
    for name in ("title", "summary", "fields", "health"):
        data[name] = _inert(data[name])
    return data


def _inert(value: Any) -> Any:
    match value:
        case str():
            return inert(value)
        case list():
            return [_inert(one) for one in value]
        case dict():
            return {key: _inert(one) for key, one in value.items()}
    return value
