"""The JSON a webhook gets: one shape for every kind of alert, at most 64 KiB."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

import msgspec

from sentinel.model import Document, DocumentField, DocumentMember, DocumentRows

#: Bytes of the body: receivers refuse larger ones, and a page must not decide how large ours are.
MAX_BODY: Final = 64 * 1024

#: Characters that each text of a field may keep, tried in turn until the body fits; the last one drops
#: the fields and the members, and what is left has limits of its own that fit.
_TEXT_LIMITS: Final = (None, 4096, 1024, 256, 64)


def to_json(document: Document) -> bytes:
    """The body, the same bytes for the same document, so that retries are the same message.

    Where it was cut to fit, `data.truncated` is true and each cut text says how long it was.
    """
    for limit in _TEXT_LIMITS:
        fields = [_field(field, limit) for field in document.fields]
        members = [_member(member, limit) for member in document.members]
        body = _encode(document, fields, members, truncated=limit is not None)
        if len(body) <= MAX_BODY:
            return body
    return _encode(document, [], [], truncated=True)


def iso(seconds: float) -> str:
    """UTC ISO 8601, to the millisecond, of seconds since the epoch."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _encode(document: Document, fields: list[object], members: list[object], *, truncated: bool) -> bytes:
    change = None
    if document.change is not None:
        change = {"kind": document.change, "percent": document.percent}
    health = None
    if document.health is not None:
        health = msgspec.to_builtins(document.health)
    data = {
        "alertId": document.alert_id,
        "workspaceId": document.workspace_id,
        "ruleId": document.rule_id,
        "rule": document.rule,
        "severity": document.severity,
        "title": document.title,
        "summary": document.summary,
        "url": document.link,
        "change": change,
        "fields": fields,
        "conditions": [{"id": name, "severity": severity} for name, severity in document.conditions],
        "health": health,
        "occurredAt": iso(document.occurred_at),
        "truncated": truncated,
    }
    if document.kind == "digest":
        data["members"] = members
        data["more"] = document.more + len(document.members) - len(members)
    if document.words:
        data["text"] = document.words
    if document.note:
        data["note"] = document.note
    # The time of the alert, not of the attempt: that one is in the header `webhook-timestamp`.
    event = {"type": f"alert.{document.kind}", "timestamp": iso(document.occurred_at), "data": data}
    return msgspec.json.encode(event)


def _field(field: DocumentField, limit: int | None) -> object:
    return {
        "name": field.name,
        "before": _cut(field.before, limit),
        "after": _cut(field.after, limit),
    } | ({} if field.rows is None else {"rows": _rows(field.rows, limit)})


def _member(member: DocumentMember, limit: int | None) -> object:
    return {
        "title": member.title,
        "rule": member.rule,
        "url": member.link,
        "before": _cut(member.before, limit),
        "after": _cut(member.after, limit),
    }


def _rows(rows: DocumentRows, limit: int | None) -> object:
    """The counts, and as many rows as there is room for."""
    told = rows.changes if limit is None else rows.changes[: max(limit // 64, 4)]
    return {
        "changed": rows.changed,
        "added": rows.added,
        "removed": rows.removed,
        "moved": rows.moved,
        "new_columns": list(rows.new_columns),
        "gone_columns": list(rows.gone_columns),
        "changes": [
            {
                "kind": row.kind,
                "key": row.key,
                "cells": msgspec.to_builtins(row.cells),
            }
            for row in told
        ],
    }


def _cut(value: object, limit: int | None) -> object:
    match value:
        case str() if limit is not None and len(value) > limit:
            return f"{value[:limit]}… [truncated, {len(value)} characters in all]"
        case list():
            return [_cut(item, limit) for item in value]
        case dict():
            return {key: _cut(item, limit) for key, item in value.items()}
    return value
