"""Runs: begun by one delivery of a job, finished in one transaction, refused to a stale worker."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from decimal import Decimal
from types import MappingProxyType
from typing import Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from sentinel.decide.alerting import HELD
from sentinel.decide.schedule import FREE_FAILURES, backed_off
from sentinel.errors import NotFound, PermanentFailure, Severity, StaleWorker, StateConflict
from sentinel.jobs import OURS_FOR_NOW, Trigger
from sentinel.model import Remembered, Value, Verdict
from sentinel.store.base import AnyRow, behind
from sentinel.store.imports import state_columns
from sentinel.store.incidents import add_alert
from sentinel.store.months import Months, lacks_month
from sentinel.store.outbox import add_jobs
from sentinel.store.raising import Raising, Scene
from sentinel.store.records import (
    FinishedRun,
    NewOutboxJob,
    Observation,
    Place,
    RunRecord,
    RunResult,
    RunStatus,
    RunTicket,
    StoredRule,
)
from sentinel.store.rules import read_rule
from sentinel.store.tables import IS_RUNNING, alert, observation, rule, rule_state, run

#: Characters of a raw reading that are kept: a whole page is not a reading.
MAX_RAW: Final = 20_000
#: Changes that are looked back on: a month of one every ten minutes.
MAX_REPLACED: Final = 5_000
#: Characters of a detail that are kept.
MAX_DETAIL: Final = 2_000

_RESULT_FIELDS: Final = RunResult.__struct_fields__

# Statements that every check makes are made once: building one costs more than SQLite takes for it.
_INSERT_ON_SQLITE: Final = (
    sqlite.insert(run).on_conflict_do_nothing(index_elements=[run.c.job_id]).returning(run.c.id)
)
_INSERT_ON_POSTGRES: Final = (
    postgresql.insert(run).on_conflict_do_nothing(index_elements=[run.c.job_id]).returning(run.c.id)
)
_HELD: Final = sa.update(run).where(
    run.c.id == sa.bindparam("its_id"), run.c.fence == sa.bindparam("its_fence"), run.c.status == "running"
)
_STATE: Final = sa.update(rule_state).where(
    rule_state.c.rule_id == sa.bindparam("its_rule"), rule_state.c.version == sa.bindparam("its_version")
)
_OBSERVE: Final = sa.insert(observation)


class Runs(Months):
    """Checks and what they found."""

    async def begin_run(
        self,
        rule_id: str,
        job_id: str,
        fence: int,
        trigger: Trigger,
        now: float,
        *,
        attempt: int = 1,
        stored: StoredRule | None = None,
    ) -> RunTicket:
        """Begin the run of a job, or take it over from a delivery that failed or did not come back.

        `stored`: the rule as it was read a moment ago, so that it is not read once more; should it have
        been changed or deleted since, `finish_run` says so.

        `ticket.finished` is set where the job's run is finished already: the check was made, only
        the acknowledgement was lost. A run that was given up (its last attempt failed by no fault of
        the page, or its job did not come back) begins anew where the job comes again all the same:
        a person has requeued it. Raises NotFound (no such rule), StaleWorker (a later delivery
        has begun it), PermanentFailure (the job id is another rule's), StoreUnavailable.
        """

        async def begin(connection: AsyncConnection) -> RunTicket:
            known = stored or await read_rule(connection, rule_id)
            run_id = await self._insert_run(
                connection,
                workspace_id=known.workspace.id,
                rule_id=rule_id,
                job_id=job_id,
                trigger=trigger,
                fence=fence,
                attempt=attempt,
                started_at=now,
            )
            if run_id is not None:
                return RunTicket(
                    run_id=run_id, rule_id=rule_id, job_id=job_id, fence=fence, started_at=now, stored=known
                )
            row = await _take_over(connection, job_id, fence, attempt, now)
            if row.rule_id != rule_id:
                raise PermanentFailure(f"job {job_id} is a run of rule {row.rule_id}, not of {rule_id}")
            finished = None
            if row.status != "running":
                finished = await _finished(connection, row)
            elif row.fence != fence:
                raise StaleWorker
            return RunTicket(
                run_id=row.id,
                rule_id=rule_id,
                job_id=job_id,
                fence=fence,
                started_at=row.started_at,
                stored=known,
                finished=finished,
                taken_over=finished is None,
            )

        return await self._database.write(begin)

    async def note_failure(
        self, rule_id: str, job_id: str, fence: int, result: RunResult, *, ended_at: float | None = None
    ) -> bool:
        """An attempt failed with nothing to judge: the open run of the job tells what happened.

        It stays open for the attempts to come; with `ended_at` none will, and it ends. Neither the
        rule's state nor its health is touched. False: the job has no open run of the rule, or a
        later delivery has it. Raises StoreUnavailable.
        """
        held = sa.update(run).where(
            run.c.job_id == job_id, run.c.rule_id == rule_id, run.c.fence <= fence, run.c.status == "running"
        )
        status: RunStatus = "running" if ended_at is None else "error"

        async def note(connection: AsyncConnection) -> bool:
            return await _write_run(connection, held, result, status=status, finished_at=ended_at)

        return await self._database.write(note)

    async def finish_run(
        self,
        ticket: RunTicket,
        result: RunResult,
        verdict: Verdict,
        raw: str | None,
        *,
        expected_state_version: int,
        now: float,
        outbox: Sequence[NewOutboxJob] = (),
        page_blob: str | None = None,
        elements: dict[str, Remembered] | None = None,
    ) -> FinishedRun:
        """Write what a check came to, all of it in one transaction or none of it.

        `page_blob`: the hash of its page, where that is the last good one that is kept from here on.
        `elements`: what is known of its elements, where that is otherwise than before.

        The run, the observation (where a value was read), the rule's state, the alerts with a
        delivery per channel, an `alerts:dispatch` job for each of these and the caller's own jobs. An
        alert whose dedupe key is taken, or that has no channel, is recorded as suppressed.

        Finishing twice with the same ticket answers as the first time. Raises, with nothing
        written: StaleWorker (a later delivery has the run), StateConflict (another check of the
        rule wrote its state since `expected_state_version` was read: read, judge and finish
        again), NotFound (the rule was deleted), StoreUnavailable.
        """
        kept: dict[str, object] = {} if page_blob is None else {"page_blob": page_blob, "page_blob_at": now}
        if elements is not None:
            kept["elements"] = elements

        async def finish(connection: AsyncConnection) -> FinishedRun:
            if not await _write_state(connection, ticket, verdict, expected_state_version, kept):
                return await _explain(connection, ticket)
            await _put_off(connection, ticket, verdict, now)
            status = _status(result)
            if not await _write_run(
                connection,
                _HELD,
                result,
                status=status,
                finished_at=now,
                more={
                    "its_id": ticket.run_id,
                    "its_fence": ticket.fence,
                    "observed": verdict.value is not None,
                },
            ):
                raise StaleWorker
            await _write_observation(connection, ticket, verdict, raw, now)
            raising = await self._raise(connection, ticket, verdict, now)
            jobs = [*raising.jobs, *outbox]
            await add_jobs(self._database, connection, ticket.stored.workspace.id, jobs, now)
            return FinishedRun(
                run_id=ticket.run_id,
                status=status,
                error_code=result.error_code,
                alerts=tuple(raising.raised),
                suppressed=raising.suppressed,
                severities=raising.severities,
            )

        try:
            return await self._database.write(finish)
        except IntegrityError as error:
            if not lacks_month(error):
                raise
        # Upkeep was away, or the clock has leapt: no reason to lose the check.
        await self.make_months(now)
        return await self._database.write(finish)

    async def _raise(
        self, connection: AsyncConnection, ticket: RunTicket, verdict: Verdict, now: float
    ) -> Raising:
        """The alerts of a run, and what comes of each."""
        stored = ticket.stored
        scene = Scene(workspace=stored.workspace, rule=stored.rule, run_id=ticket.run_id, now=now)
        raising = Raising(self._database, connection)
        for draft in verdict.alerts:
            alert_id = await add_alert(raising, scene, draft)
            reason = raising.suppressed.get(alert_id)
            if draft.kind == "change" and (reason is None or reason in HELD):
                await _start_cooldown(connection, ticket, now, draft.severity)
        return raising

    async def abandon_runs(self, *, before: float, now: float, detail: str = "") -> int:
        """End runs begun before `before` whose job never came back, as SYSTEM_WORKER_CRASH.

        `before` must lie further back than a job can still be retried. Answers how many.
        """
        async with self._database.writing() as connection:
            ended = await connection.execute(
                sa.update(run)
                .where(IS_RUNNING, run.c.started_at < before)
                .values(
                    status="error",
                    finished_at=now,
                    error_code="SYSTEM_WORKER_CRASH",
                    error_detail=detail or "its job did not come back",
                )
            )
            return ended.rowcount

    async def run_of(self, job_id: str) -> RunRecord:
        """The run of a job. Raises NotFound."""
        async with self._database.reading() as connection:
            row = (await connection.execute(sa.select(run).where(run.c.job_id == job_id))).first()
        if row is None:
            raise NotFound(f"no run of job {job_id}")
        return _record(row)

    async def runs(
        self,
        rule_id: str,
        limit: int = 100,
        *,
        before: float | None = None,
        after: Place | None = None,
        failed: bool = False,
    ) -> list[RunRecord]:
        """Runs of a rule, newest first; `before`: started earlier than that; `after`: behind that one.

        `failed`: only those with an error code.
        """
        wanted = (
            sa.select(run)
            .where(run.c.rule_id == rule_id)
            .order_by(run.c.started_at.desc(), run.c.id.desc())
            .limit(limit)
        )
        if before is not None:
            wanted = wanted.where(run.c.started_at < before)
        if after is not None:
            wanted = wanted.where(behind(run.c.started_at, run.c.id, after))
        if failed:
            wanted = wanted.where(run.c.error_code.is_not(None))

        async def look(connection: AsyncConnection) -> list[RunRecord]:
            return [_record(row) for row in await connection.execute(wanted)]

        return await self._database.read(look)

    async def runs_of(self, rule_id: str, run_ids: Collection[int]) -> dict[int, RunRecord]:
        """Of some runs of a rule those that are there, by number. Raises StoreUnavailable."""
        wanted = sa.select(run).where(run.c.id.in_(run_ids), run.c.rule_id == rule_id)

        async def look(connection: AsyncConnection) -> dict[int, RunRecord]:
            return {row.id: _record(row) for row in await connection.execute(wanted)}

        return await self._database.read(look)

    async def history(
        self,
        rule_id: str,
        limit: int = 100,
        *,
        before: float | None = None,
        after: Place | None = None,
    ) -> list[Observation]:
        """Observations of a rule, newest first; `before`: made earlier than that; `after`: behind that one.

        A rule that is gone keeps its history for a while. Raises NotFound where there is neither.
        """
        wanted = (
            sa.select(observation)
            .where(observation.c.rule_id == rule_id)
            .order_by(observation.c.at.desc(), observation.c.run_id.desc())
            .limit(limit)
        )
        if before is not None:
            wanted = wanted.where(observation.c.at < before)
        if after is not None:
            wanted = wanted.where(behind(observation.c.at, observation.c.run_id, after))

        async def look(connection: AsyncConnection) -> list[Observation]:
            found = [_observation(row) for row in await connection.execute(wanted)]
            if not found:
                await _must_be_known(connection, rule_id)
            return found

        return await self._database.read(look)

    async def replaced_values(self, rule_id: str, since: float) -> list[tuple[float, Value]]:
        """Values that were believed until a confirmed change later than `since`, and when that was.

        The newest, at most MAX_REPLACED of them. Raises StoreUnavailable.
        """
        wanted = (
            sa.select(observation.c.at, observation.c.before)
            .where(
                observation.c.rule_id == rule_id,
                observation.c.at >= since,
                observation.c.change_kind.is_not(None),
                observation.c.before.is_not(None),
            )
            .order_by(observation.c.at.desc())
            .limit(MAX_REPLACED)
        )
        async with self._database.reading() as connection:
            return [(row.at, row.before) for row in await connection.execute(wanted)]

    async def observation(self, rule_id: str, run_id: int) -> Observation:
        """What a run of the rule found. Raises NotFound."""
        wanted = sa.select(observation).where(
            observation.c.rule_id == rule_id, observation.c.run_id == run_id
        )
        async with self._database.reading() as connection:
            row = (await connection.execute(wanted)).first()
            if row is None:
                await _must_be_known(connection, rule_id)
                raise NotFound(f"no observation of run {run_id} of {rule_id}")
        return _observation(row)

    async def _insert_run(self, connection: AsyncConnection, **columns: object) -> int | None:
        """The id of the new run, or None: the job has one."""
        insert = _INSERT_ON_SQLITE if self._database.is_sqlite else _INSERT_ON_POSTGRES
        inserted = await connection.execute(insert, {"status": "running", "not_modified": False, **columns})
        run_id: int | None = inserted.scalar()
        return run_id


# --- beginning ------------------------------------------------------------------------------------


async def _take_over(
    connection: AsyncConnection, job_id: str, fence: int, attempt: int, now: float
) -> AnyRow:
    """The job's run, held by `fence` from here on unless it is finished or a later fence has it."""
    wanted = sa.select(run).where(run.c.job_id == job_id)
    row = (await connection.execute(wanted)).one()
    values: dict[str, object] = {"fence": fence, "attempt": attempt}
    if row.status != "running":
        if row.fence >= fence or not _was_given_up(row, attempt):
            return row
        values |= {"status": "running", "started_at": now, "finished_at": None}
    raised = await connection.execute(
        sa.update(run)
        .where(run.c.id == row.id, run.c.status == row.status, run.c.fence <= fence)
        .values(**values)
        .returning(run)
    )
    return raised.first() or (await connection.execute(wanted)).one()


def _was_given_up(row: AnyRow, attempt: int) -> bool:
    """The check was not made, and this is not the delivery that said so: its attempts start anew."""
    if row.error_code == "SYSTEM_WORKER_CRASH":
        return True
    return row.error_code in OURS_FOR_NOW and attempt < row.attempt


async def _finished(connection: AsyncConnection, row: AnyRow) -> FinishedRun:
    """What a finished run came to."""
    wanted = (
        sa.select(alert.c.id, alert.c.severity, alert.c.suppressed)
        .where(alert.c.run_id == row.id)
        .order_by(alert.c.id)
    )
    alerts = (await connection.execute(wanted)).all()
    return FinishedRun(
        run_id=row.id,
        status=row.status,
        error_code=row.error_code,
        alerts=tuple(found.id for found in alerts if found.suppressed is None),
        suppressed={found.id: found.suppressed for found in alerts if found.suppressed is not None},
        severities={found.id: found.severity for found in alerts},
    )


# --- finishing ------------------------------------------------------------------------------------


async def _write_state(
    connection: AsyncConnection,
    ticket: RunTicket,
    verdict: Verdict,
    expected: int,
    kept: Mapping[str, object],
) -> bool:
    """False: the state is not at the expected version, or a later delivery has written it."""
    columns = state_columns(verdict.state) | {"version": expected + 1, "fence": ticket.fence, **kept}
    # An alert that turns out to be a duplicate, or to have nobody to go to, starts no cooldown.
    if any(draft.kind == "change" for draft in verdict.alerts):
        del columns["last_alert_at"], columns["last_alert_severity"]
    done = await connection.execute(_STATE, {"its_rule": ticket.rule_id, "its_version": expected, **columns})
    return done.rowcount == 1


async def _put_off(connection: AsyncConnection, ticket: RunTicket, verdict: Verdict, now: float) -> None:
    """A rule that keeps failing is due later, and as its schedule says once it does not."""
    before, failures = ticket.stored.state.backoff, verdict.state.backoff
    if max(before, failures) <= FREE_FAILURES:
        return
    due = backed_off(ticket.stored.schedule, now, failures, seed=ticket.rule_id)
    await connection.execute(sa.update(rule).where(rule.c.id == ticket.rule_id).values(next_due_at=due))


async def _start_cooldown(
    connection: AsyncConnection, ticket: RunTicket, now: float, severity: Severity
) -> None:
    """Somebody is told of a change, now or with others."""
    await connection.execute(
        sa.update(rule_state)
        .where(rule_state.c.rule_id == ticket.rule_id)
        .values(last_alert_at=now, last_alert_severity=severity)
    )


async def _explain(connection: AsyncConnection, ticket: RunTicket) -> FinishedRun:
    """Why the state was not written: it was, by this ticket, or one of three refusals."""
    row = (await connection.execute(sa.select(run).where(run.c.id == ticket.run_id))).first()
    if row is None or row.fence != ticket.fence:
        raise StaleWorker
    if row.status != "running":
        return await _finished(connection, row)
    await read_rule(connection, ticket.rule_id)  # NotFound: it was deleted meanwhile
    raise StateConflict


async def _write_run(
    connection: AsyncConnection,
    update: sa.Update,
    result: RunResult,
    *,
    status: RunStatus,
    finished_at: float | None = None,
    more: Mapping[str, object] = MappingProxyType({}),
) -> bool:
    """`more`: what `update` asks for, and other columns. False: the run is not open, or not ours any more."""
    columns = {name: getattr(result, name) for name in _RESULT_FIELDS}
    if result.error_detail is not None:
        columns["error_detail"] = result.error_detail[:MAX_DETAIL]
    done = await connection.execute(update, {**more, "status": status, "finished_at": finished_at, **columns})
    return done.rowcount == 1


async def _write_observation(
    connection: AsyncConnection, ticket: RunTicket, verdict: Verdict, raw: str | None, now: float
) -> None:
    if verdict.value is None:
        return
    change = verdict.change
    percent = None if change is None or change.percent is None else str(change.percent)
    await connection.execute(
        _OBSERVE,
        {
            "run_id": ticket.run_id,
            "at": now,
            "workspace_id": ticket.stored.workspace.id,
            "rule_id": ticket.rule_id,
            "raw": None if raw is None else raw[:MAX_RAW],
            "value": verdict.value,
            "confirmed": verdict.confirmed,
            "change_kind": None if change is None else change.kind,
            "before": None if change is None else change.before,
            "percent": percent,
        },
    )


def _status(result: RunResult) -> RunStatus:
    return "ok" if result.error_code is None else "error"


# --- reading --------------------------------------------------------------------------------------


async def _must_be_known(connection: AsyncConnection, rule_id: str) -> None:
    ran = await connection.execute(sa.select(run.c.id).where(run.c.rule_id == rule_id).limit(1))
    if ran.first() is None:
        await read_rule(connection, rule_id)


def _record(row: AnyRow) -> RunRecord:
    result = {name: getattr(row, name) for name in _RESULT_FIELDS}
    return RunRecord(
        run_id=row.id,
        workspace_id=row.workspace_id,
        rule_id=row.rule_id,
        job_id=row.job_id,
        trigger=row.trigger,
        status=row.status,
        attempt=row.attempt,
        started_at=row.started_at,
        finished_at=row.finished_at,
        result=RunResult(**result | {"timings": row.timings or {}}),
    )


def _observation(row: AnyRow) -> Observation:
    return Observation(
        run_id=row.run_id,
        rule_id=row.rule_id,
        at=row.at,
        raw=row.raw,
        value=row.value,
        confirmed=row.confirmed,
        change_kind=row.change_kind,
        before=row.before,
        percent=None if row.percent is None else Decimal(row.percent),
    )
