"""A rule's history, page by page: what its checks found, and those that found nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final, TypeVar

from sentinel.cli.values import iso
from sentinel.decide.values import value_json
from sentinel.store import Observation, RunRecord, Store

Entry = Observation | RunRecord
T = TypeVar("T", Observation, RunRecord)

#: Rows read in one call.
PAGE: Final = 500


async def entries(
    store: Store, rule_id: str, *, limit: int, since: float | None = None, until: float | None = None
) -> AsyncIterator[Entry]:
    """Observations and failed runs, newest first. Raises NotFound.

    Each page goes on where the one before ended, by an index, so the last is as fast as the first.
    """
    page = min(PAGE, limit)
    found = _newest(lambda before: store.history(rule_id, page, before=before), page, until)
    runs = _newest(lambda before: store.runs(rule_id, page, before=before), page, until)
    observation, failed = await anext(found, None), await _next_failed(runs)
    for _ in range(limit):
        if observation is not None and (failed is None or _key(observation) > _key(failed)):
            entry: Entry = observation
            observation = await anext(found, None)
        elif failed is not None:
            entry, failed = failed, await _next_failed(runs)
        else:
            return
        if since is not None and at_of(entry) < since:
            return
        yield entry


async def _newest(
    read: Callable[[float | None], Awaitable[list[T]]], page: int, before: float | None
) -> AsyncIterator[T]:
    while True:
        rows = await read(before)
        for row in rows:
            yield row
        if len(rows) < page:
            return
        before = _cursor(rows[-1])


async def _next_failed(runs: AsyncIterator[RunRecord]) -> RunRecord | None:
    async for run in runs:
        if run.result.error_code is not None:
            return run
    return None


def _cursor(entry: Entry) -> float:
    return entry.at if isinstance(entry, Observation) else entry.started_at


def _key(entry: Entry) -> tuple[float, int]:
    return at_of(entry), entry.run_id


def at_of(entry: Entry) -> float:
    """When it was found, or given up; seconds since the epoch."""
    return entry.at if isinstance(entry, Observation) else entry.finished_at or entry.started_at


def entry_line(entry: Entry) -> dict[str, object]:
    """`sentinel.observation/1`; of a check that found no value, `error_code` says why."""
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
    }
