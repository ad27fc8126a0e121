"""`schedule ...`: when rules are due, by their own clock and in UTC, and to have them checked now."""

from __future__ import annotations

import time
from datetime import datetime
from typing import Annotated, Final

import typer

from sentinel.cli import shapes
from sentinel.cli.context import Cli, cli_of
from sentinel.cli.exits import Exit
from sentinel.cli.parts import Limit, noun
from sentinel.cli.rules import After, rule_id_of, rules_by_id
from sentinel.cli.values import iso
from sentinel.decide.schedule import DEFAULT_INTERVAL, backoff_reason, is_allowed, next_due, zone_of
from sentinel.decide.windows import is_active
from sentinel.jobs import RULES_RUN, RunRule, run_rule_policy
from sentinel.model import ActiveHours, Schedule
from sentinel.store import StoredRule, UnreadableRule
from streamq import NewJob
from streamq.queue import Queue, new_job

app = noun("schedule", "When rules are due; have them checked now.")

#: Rules read, and jobs sent, in one call.
PAGE: Final = 500
#: Ticks counted before giving up on counting.
MOST_MISSED: Final = 1000

Tag = Annotated[str | None, typer.Option(help="Only rules with this tag.")]


@app.command("list")
def list_(
    context: typer.Context,
    *,
    tag: Tag = None,
    enabled: Annotated[
        bool | None, typer.Option("--enabled/--disabled", help="Only those that are on, or off.")
    ] = None,
    after: After = "",
    limit: Limit = 1000,
) -> int:
    """Show when each rule is due next, by id, and why not sooner."""
    cli = cli_of(context)

    async def run() -> int:
        async with cli.store() as store:
            rules = await rules_by_id(store, limit, tag=tag, enabled=enabled, after=after)
        now = time.time()
        documents = [_document(stored, now) for stored in rules]
        if cli.out.json:
            for document in documents:
                cli.out.document(document)
        elif not documents:
            cli.out.say("no rules; sentinel-worker rules import FILE.yaml")
        else:
            names = ("rule_id", "schedule", "next_due_local", "next_due_at", "missed", "why")
            cli.out.table(
                ("RULE", "SCHEDULE", "NEXT, LOCAL", "NEXT, UTC", "MISSED", "WHY"),
                [[document[name] for name in names] for document in documents],
                right="MISSED",
            )
            if len(rules) == limit:
                cli.out.say(f"more: --after {rule_id_of(rules[-1])}")
        return Exit.DONE

    return cli.run(run)


@app.command("next")
def next_(
    context: typer.Context,
    *,
    rule_id: Annotated[str, typer.Argument(metavar="RULE", help="Rule id.")],
    count: Annotated[int, typer.Option(min=1, max=MOST_MISSED, help="So many.")] = 5,
) -> int:
    """Show the next times a rule is due, should its checks go well."""
    cli = cli_of(context)

    async def run() -> int:
        async with cli.store() as store:
            stored = await store.rule(rule_id)
        if not stored.enabled:
            cli.out.warn(f"{rule_id} is off: none of this happens until rules enable {rule_id}")
        rows = []
        now = time.time()
        at = max(stored.next_due, now)  # what is overdue is due now
        if not is_allowed(stored.schedule, stored.next_due, at):
            at = next_due(stored.schedule, at, seed=rule_id)
        for _ in range(count):
            document = {"schema": "sentinel.schedule_tick/1", "rule_id": rule_id, "at": iso(at)}
            rows.append(document | {"local": _local(_zone(stored), at)})
            at = next_due(stored.schedule, at, seed=rule_id)
        if cli.out.json:
            for row in rows:
                cli.out.document(row)
        else:
            cli.out.table(("LOCAL", "UTC"), [(row["local"], row["at"]) for row in rows])
        return Exit.DONE

    return cli.run(run)


@app.command()
def trigger(
    context: typer.Context,
    *,
    rule_ids: Annotated[
        list[str] | None, typer.Argument(metavar="[RULE...]", help="Rule ids.", show_default=False)
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="All rules that are on.")] = False,
    tag: Tag = None,
) -> int:
    """Have rules checked now, before all that their schedules call for.

    One that waits or runs already is answered with the id of that job.
    """
    cli = cli_of(context)
    if bool(rule_ids) == (every or tag is not None):
        raise typer.BadParameter("name rules, or say --all or --tag TAG")
    return cli.run(lambda: _trigger(cli, rule_ids or [], tag))


async def _trigger(cli: Cli, rule_ids: list[str], tag: str | None) -> int:
    async with cli.store() as store:
        if rule_ids:  # all must be there before any is checked
            ids = [(await store.rule(rule_id)).rule.id for rule_id in rule_ids]
        else:
            found = await rules_by_id(store, None, tag=tag, enabled=True)
            ids = [stored.rule.id for stored in found if isinstance(stored, StoredRule)]
            for stored in found:
                if isinstance(stored, UnreadableRule):
                    cli.out.warn(stored.problem)
    jobs = [_manual(rule_id) for rule_id in ids]
    created = 0
    async with cli.broker() as broker:
        queue = Queue(RULES_RUN, broker)
        for first in range(0, len(jobs), PAGE):
            for receipt in await queue.enqueue_jobs(jobs[first : first + PAGE]):
                created += receipt.created
                if cli.out.json:
                    cli.out.document(shapes.receipt_line(RULES_RUN, receipt))
                else:
                    cli.out.line(receipt.job_id)
    waiting = len(jobs) - created
    cli.out.say(f"{created} enqueued" + (f", {waiting} wait or run already" if waiting else ""))
    return Exit.DONE


def _manual(rule_id: str) -> NewJob:
    payload = RunRule(rule_id=rule_id, trigger="manual_test", requested_at=iso(time.time()))
    policy = run_rule_policy(payload)
    return new_job(payload, lane=policy.lane, unique=policy.unique, unique_for=policy.unique_for)


def _document(stored: StoredRule | UnreadableRule, now: float) -> dict[str, object]:
    """`sentinel.schedule/1`."""
    due = stored.next_due if stored.enabled else None
    if isinstance(stored, UnreadableRule):
        said, zone, missed = "unreadable", stored.workspace.timezone, 0
        why: str | None = stored.problem
    else:
        said, zone, missed = words(stored.schedule), _zone(stored), _missed(stored, now)
        why = _why(stored, missed, now)
    return {
        "schema": "sentinel.schedule/1",
        "rule_id": rule_id_of(stored),
        "workspace_id": stored.workspace.id,
        "schedule": said,
        "enabled": stored.enabled,
        "next_due_at": None if due is None else iso(due),
        "next_due_local": None if due is None else _local(zone, due),
        "missed": missed,
        "why": why,
    }


def _why(stored: StoredRule, missed: int, now: float) -> str | None:
    """Why it is not due sooner, or was not checked when it was; None: nothing of the kind."""
    if not stored.enabled:
        return "off"
    if missed:
        return "overdue: more wait than workers take, or no worker runs"
    zone = zone_of(stored.schedule.timezone)
    if not is_active(stored.schedule.active_hours, zone, now):
        return "outside of its active hours"
    return backoff_reason(stored.state.backoff)


def _missed(stored: StoredRule, now: float) -> int:
    """Ticks that have passed unclaimed, the first of them included; 1,000 at most. They become one check."""
    count, at = 0, stored.next_due
    while stored.enabled and at < now and count < MOST_MISSED:
        count += 1
        at = next_due(stored.schedule, at, seed=stored.rule.id)
    return count


def _zone(stored: StoredRule) -> str:
    """The schedule's, else the workspace's."""
    return stored.rule.schedule.timezone or stored.workspace.timezone


def _local(zone: str, at: float) -> str:
    """By the clock of that zone, with its offset from UTC."""
    return datetime.fromtimestamp(at, zone_of(zone)).isoformat(timespec="seconds")


def words(schedule: Schedule) -> str:
    """A schedule as people say it."""
    zone = schedule.timezone or "UTC"
    if schedule.cron is not None:
        said = f"cron {schedule.cron} ({zone})"
    else:
        said = f"every {_span(schedule.interval_seconds or DEFAULT_INTERVAL)}"
    if schedule.jitter_seconds:
        said += f", up to {_span(schedule.jitter_seconds)} later"
    if schedule.active_hours:
        said += ", " + " and ".join(map(_hours, schedule.active_hours))
        said += "" if schedule.cron is not None else f" ({zone})"
    return said


def _hours(hours: ActiveHours) -> str:
    """`weekdays 08:00-18:00`."""
    days = " ".join(day if day in ("weekdays", "weekend") else day[:3] for day in hours.days) or "daily"
    whole = (hours.start, hours.end) == ("00:00", "24:00")
    return days if whole else f"{days} {hours.start}-{hours.end}"


def _span(seconds: int) -> str:
    """`90s`, `5m`, `1h`, `2d`: the largest unit that divides it."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds % size == 0:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"
