"""A rule's history, page by page: what its checks found, and those that found nothing."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final, TypeVar

import msgspec

from sentinel.cli.values import iso
from sentinel.decide.values import value_json
from sentinel.store import Observation, Place, RunRecord, RunResult, Store

Entry = Observation | RunRecord
T = TypeVar("T", Observation, RunRecord)

#: Rows read in one call.
PAGE: Final = 500

_MICROSECONDS: Final = 1_000_000
_CURSOR: Final = re.compile(r"(?:(\d{1,16})\.(\d{1,18})|-)_(?:(\d{1,16})\.(\d{1,18})|-)\Z")


class Cursor(msgspec.Struct, frozen=True):
    """Behind which observation, and behind which failed run, a history goes on."""

    observation: Place | None = None
    run: Place | None = None

    def __str__(self) -> str:
        """As a person may hand it back: microseconds and number of both."""
        return f"{_written(self.observation)}_{_written(self.run)}"

    @classmethod
    def read(cls, text: str) -> Cursor:
        """Raises ValueError."""
        match = _CURSOR.match(text)
        if match is None:
            raise ValueError(
                f"{text!r} is no place in a history; take the `cursor` of the last line you have"
            )
        seen_at, seen_id, ran_at, ran_id = match.groups()
        return cls(_place(seen_at, seen_id), _place(ran_at, ran_id))


#: An entry, where to go on behind it, and how its check went (None: its run has been removed).
Told = tuple[Entry, Cursor, RunResult | None]


async def entries(
    store: Store,
    rule_id: str,
    *,
    limit: int,
    since: float | None = None,
    until: float | None = None,
    after: Cursor = Cursor(),  # noqa: B008 - frozen
) -> AsyncIterator[tuple[Entry, Cursor]]:
    """Observations and failed runs, newest first, each with where to go on behind it. Raises NotFound.

    Each page goes on where the one before ended, by an index, so the last is as fast as the first.
    """
    page = min(PAGE, limit)
    found = _newest(
        lambda before, place: store.history(rule_id, page, before=before, after=place),
        page,
        until,
        after.observation,
    )
    runs = _newest(
        lambda before, place: store.runs(rule_id, page, before=before, after=place, failed=True),
        page,
        until,
        after.run,
    )
    observation, failed = await anext(found, None), await anext(runs, None)
    for _ in range(limit):
        if observation is not None and (failed is None or _key(observation) > _key(failed)):
            entry: Entry = observation
            after = Cursor(place_of(observation), after.run)
            observation = await anext(found, None)
        elif failed is not None:
            entry = failed
            after = Cursor(after.observation, place_of(failed))
            failed = await anext(runs, None)
        else:
            return
        if since is not None and at_of(entry) < since:
            return
        yield entry, after


async def with_results(
    store: Store, rule_id: str, found: AsyncIterator[tuple[Entry, Cursor]]
) -> AsyncIterator[Told]:
    """The same entries, and how each check went, asked for page by page."""
    held: list[tuple[Entry, Cursor]] = []
    async for one in found:
        held.append(one)
        if len(held) == PAGE:
            for told in await _results(store, rule_id, held):
                yield told
            held.clear()
    for told in await _results(store, rule_id, held):
        yield told


async def _results(store: Store, rule_id: str, held: list[tuple[Entry, Cursor]]) -> list[Told]:
    asked = [entry.run_id for entry, _ in held if isinstance(entry, Observation)]
    runs = await store.runs_of(rule_id, asked) if asked else {}
    told: list[Told] = []
    for entry, cursor in held:
        run = entry if isinstance(entry, RunRecord) else runs.get(entry.run_id)
        told.append((entry, cursor, None if run is None else run.result))
    return told


async def _newest(
    read: Callable[[float | None, Place | None], Awaitable[list[T]]],
    page: int,
    before: float | None,
    place: Place | None,
) -> AsyncIterator[T]:
    while True:
        rows = await read(before, place)
        for row in rows:
            yield row
        if len(rows) < page:
            return
        place = place_of(rows[-1])


def place_of(entry: Entry) -> Place:
    """Where it is in the list of its kind."""
    return Place(entry.at if isinstance(entry, Observation) else entry.started_at, entry.run_id)


def _written(place: Place | None) -> str:
    return "-" if place is None else f"{round(place.at * _MICROSECONDS)}.{place.id}"


def _place(micros: str | None, number: str) -> Place | None:
    return None if micros is None else Place(int(micros) / _MICROSECONDS, int(number))


def _key(entry: Entry) -> tuple[float, int]:
    return at_of(entry), entry.run_id


def at_of(entry: Entry) -> float:
    """When it was found, or given up; seconds since the epoch."""
    return entry.at if isinstance(entry, Observation) else entry.finished_at or entry.started_at


def entry_line(entry: Entry, cursor: Cursor, result: RunResult | None) -> dict[str, object]:
    """`sentinel.observation/1`; of a check that found no value, `error_code` says why."""
    result = result or RunResult()
    observation = entry if isinstance(entry, Observation) else None
    return {
        "schema": "sentinel.observation/1",
        "rule_id": entry.rule_id,
        "run_id": str(entry.run_id),
        "at": iso(at_of(entry)),
        "raw": observation.raw if observation else None,
        "value": value_json(observation.value) if observation else None,
        "changed": observation.changed if observation else False,
        "change_kind": observation.change_kind if observation else None,
        "confirmed": observation.confirmed if observation else False,
        "error_code": entry.result.error_code if isinstance(entry, RunRecord) else None,
        "mode": result.mode,
        "fallback_reason": result.fallback_reason,
        "has_screenshot": result.screenshot_blob is not None,
        "has_body": result.body_blob is not None,
        "cursor": str(cursor),
    }
