"""From a stored alert to the neutral document: nothing of a stranger gets past here uncleaned."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

from sentinel.errors import Severity
from sentinel.model import Document, DocumentField, DocumentHealth, DocumentMember
from sentinel.render import clean
from sentinel.render.rows import rows_difference
from sentinel.render.rows import summary as rows_summary
from sentinel.render.values import describe, describe_percent

#: Characters of a title, of a name, of a sentence for people.
MAX_TITLE: Final = 300
MAX_NAME: Final = 200
MAX_SENTENCE: Final = 1000
#: Fields and conditions of one alert that are told.
MAX_FIELDS: Final = 50
#: Alerts of one digest that are told; the rest are counted.
MAX_MEMBERS: Final = 50


def document(
    *,
    alert_id: str,
    workspace_id: str,
    rule_id: str,
    kind: Literal["change", "health", "recovery", "digest"],
    severity: Severity,
    title: str,
    body: Mapping[str, Any],  # Any: JSON, as sentinel.decide wrote it and the store kept it
    occurred_at: float,
) -> Document:
    """The document of a stored alert; parts of `body` that are missing or odd are left out.

    `occurred_at` is in seconds since the epoch.
    """
    fields = _fields(body.get("fields"))
    change = body.get("change")
    change = change if isinstance(change, Mapping) else {}
    percent = _words(change.get("percent"), 60) or None
    health = _health(body)
    members, more = _members(body)
    return Document(
        alert_id=alert_id,
        workspace_id=workspace_id,
        rule_id=rule_id,
        kind=kind,
        severity=severity,
        title=clean.line(title, MAX_TITLE),
        rule=_words(body.get("rule"), MAX_NAME) or rule_id,
        link=clean.link(str(body.get("url") or "")),
        occurred_at=occurred_at,
        summary=_summary(fields, percent, health) or _digest_summary(members, more),
        fields=fields,
        change=_words(change.get("kind"), 60) or None,
        percent=percent,
        conditions=_conditions(body.get("conditions")),
        health=health,
        members=members,
        more=more,
    )


def _words(found: object, limit: int) -> str:
    return "" if found is None else clean.line(str(found), limit)


def _fields(found: object) -> tuple[DocumentField, ...]:
    return tuple(
        DocumentField(
            name=_words(entry.get("name"), MAX_NAME) or "value",
            before=clean.value(entry.get("before")),
            after=clean.value(entry.get("after")),
            # Of what is stored: cleaned values are cut, and then no JSON any more.
            rows=rows_difference(
                entry.get("before"), entry.get("after"), ordered=entry.get("ordered") is not False
            ),
        )
        for entry in _entries(found)
        if isinstance(entry, Mapping)
    )


def _members(body: Mapping[str, Any]) -> tuple[tuple[DocumentMember, ...], int]:
    """What a digest tells of, and how many more it only counts."""
    found = body.get("members")
    listed = [entry for entry in found if isinstance(entry, Mapping)] if isinstance(found, list) else []
    members = tuple(
        DocumentMember(
            title=_words(entry.get("title"), MAX_TITLE) or "?",
            rule=_words(entry.get("rule"), MAX_NAME),
            link=clean.link(str(entry.get("url") or "")),
            before=clean.value(entry.get("before")),
            after=clean.value(entry.get("after")),
        )
        for entry in listed[:MAX_MEMBERS]
    )
    more = body.get("more")
    counted = more if isinstance(more, int) and not isinstance(more, bool) and more > 0 else 0
    return members, min(counted, 10**9) + len(listed) - len(members)


def _conditions(found: object) -> tuple[tuple[str, str], ...]:
    """(id, severity) of each, from `{"condition": .., "severity": ..}` or a bare id."""
    met = []
    for entry in _entries(found):
        if isinstance(entry, Mapping):
            name = _words(entry.get("condition") or entry.get("id"), MAX_NAME)
            met.append((name, _words(entry.get("severity"), 20)))
        else:
            met.append((_words(entry, MAX_NAME), ""))
    return tuple(met)


def _entries(found: object) -> list[object]:
    return list(found)[:MAX_FIELDS] if isinstance(found, list | tuple) else []


def _health(body: Mapping[str, Any]) -> DocumentHealth | None:
    code = _words(body.get("code"), 60)
    if not code:
        return None
    return DocumentHealth(
        code=code,
        detail=_words(body.get("detail"), MAX_SENTENCE),
        recommendation=_words(body.get("recommendation"), MAX_SENTENCE),
    )


def _summary(fields: tuple[DocumentField, ...], percent: str | None, health: DocumentHealth | None) -> str:
    """One sentence: what was, what is."""
    if health is not None:
        return clean.clip(f"{health.code}: {health.detail}" if health.detail else health.code, MAX_SENTENCE)
    if not fields:
        return ""
    if len(fields) > 1:
        told = "; ".join(_of_field(field, None) for field in fields)
        return clean.clip(told, MAX_SENTENCE)
    return _of_field(fields[0], percent)


def _of_field(first: DocumentField, percent: str | None) -> str:
    """`price: 129.99 EUR -> 99.99 EUR (-23.1 %)`."""
    if first.rows is not None:
        return f"{first.name}: {rows_summary(first.rows)}"
    if first.before == first.after:
        return f"{first.name}: {clean.line(describe(first.after), 200)}, still"
    before, after = (clean.line(describe(side), 200) for side in (first.before, first.after))
    by = describe_percent(percent)
    return f"{first.name}: {before} -> {after}" + (f" ({by})" if by else "")


def _digest_summary(members: tuple[DocumentMember, ...], more: int) -> str:
    count = len(members) + more
    return f"{count} alert{'s' * (count != 1)}" if members else ""
