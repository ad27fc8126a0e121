"""`alerts ...`: what was told and to whom, what was not and why, and where an alert would go."""

from __future__ import annotations

import getpass
import time
from typing import Annotated, Literal

import msgspec
import typer

from sentinel.cli.channels import channel_id_of
from sentinel.cli.context import Cli, cli_of
from sentinel.cli.exits import Exit
from sentinel.cli.parts import Limit, noun
from sentinel.cli.values import iso
from sentinel.decide.alerting import Plan, plan
from sentinel.errors import NotFound, Severity
from sentinel.store import (
    AlertState,
    Attempt,
    Delivery,
    Joined,
    Outlook,
    Place,
    Store,
    StoredAlert,
    Together,
    UnreadableChannel,
)

app = noun("alerts", "Alerts, and what became of them.")

AlertId = Annotated[str, typer.Argument(metavar="ALERT", help="Alert id.")]
#: What a rule can raise; a digest is told where it was collected for.
Kind = Literal["change", "health", "recovery"]


@app.command("list")
def list_(
    context: typer.Context,
    *,
    rule: Annotated[str | None, typer.Option(metavar="RULE", help="Only of this rule.")] = None,
    status: Annotated[AlertState | None, typer.Option(help="Only in this state.")] = None,
    suppressed: Annotated[
        bool, typer.Option("--suppressed", help="Only what was not sent by itself, and why.")
    ] = False,
    before: Annotated[
        str | None, typer.Option(metavar="ALERT", help="The next page: only those older than this one.")
    ] = None,
    limit: Limit = 100,
) -> int:
    """Show alerts with their deliveries, newest first."""
    cli = cli_of(context)

    async def run() -> int:
        async with cli.store() as store:
            alerts = await store.alerts(
                limit,
                rule_id=rule,
                state="suppressed" if suppressed else status,
                after=None if before is None else place_of(await store.alert(before)),
            )
        if cli.out.json:
            for alert in alerts:
                cli.out.document(alert_line(alert))
        elif not alerts:
            cli.out.say("no alerts")
        elif suppressed:
            _list_suppressed(cli, alerts)
        else:
            _list(cli, alerts)
        if len(alerts) == limit and not cli.out.json:
            cli.out.say(f"older ones: --before {alerts[-1].id}")
        return Exit.DONE

    return cli.run(run)


@app.command()
def show(context: typer.Context, alert_id: AlertId) -> int:
    """Show one alert: why it was told, or why not, and each attempt to deliver it."""
    cli = cli_of(context)

    async def run() -> int:
        async with cli.store() as store:
            alert = await store.alert(alert_id)
            together, joined = await store.together(alert_id), await store.joined(alert_id)
        if cli.out.json:
            cli.out.document(alert_line(alert) | _more(alert, together, joined))
        else:
            _show(cli, alert, together, joined)
        return Exit.DONE

    return cli.run(run)


@app.command()
def ack(
    context: typer.Context,
    alert_id: AlertId,
    *,
    by: Annotated[str | None, typer.Option(metavar="NAME", help="Who takes it on.")] = None,
    note: Annotated[str, typer.Option(metavar="TEXT", help="What to remember.")] = "",
) -> int:
    """Acknowledge an alert: nobody else is told of it by escalation."""
    cli = cli_of(context)

    async def run() -> int:
        async with cli.store() as store:
            done = await store.acknowledge(alert_id, time.time(), by=_user() if by is None else by, note=note)
            alert = await store.alert(alert_id)
        if cli.out.json:
            cli.out.document(alert_line(alert))
        elif done:
            cli.out.say(f"acknowledged {alert_id}")
        else:
            cli.out.say(f"{alert_id} was acknowledged before, {_acknowledged(alert)}")
        return Exit.DONE

    return cli.run(run)


@app.command()
def resend(
    context: typer.Context,
    alert_id: AlertId,
    *,
    channel: Annotated[
        list[str] | None,
        typer.Option("--channel", metavar="CHANNEL", help="Only to this one; may be repeated."),
    ] = None,
) -> int:
    """Send an alert again to those of its channels that did not get it."""
    cli = cli_of(context)

    async def run() -> int:
        async with cli.store() as store:
            if channel:
                await _must_exist(store, alert_id, channel)
            jobs = await store.resend(alert_id, time.time(), channels=channel or None)
            alert = await store.alert(alert_id)
        if cli.out.json:
            cli.out.document(alert_line(alert))
        else:
            cli.out.say(f"{len(jobs)} to send" if jobs else "nothing to send: each of its channels has it")
        return Exit.DONE

    return cli.run(run)


@app.command()
def route(
    context: typer.Context,
    rule_id: Annotated[str, typer.Argument(metavar="RULE", help="Rule id.")],
    *,
    severity: Annotated[Severity, typer.Option(help="Of the alert.")] = "warning",
    kind: Annotated[Kind, typer.Option(help="Of the alert.")] = "change",
) -> int:
    """Say where an alert of a rule would go at this moment, line by line, and why."""
    cli = cli_of(context)

    async def run() -> int:
        now = time.time()
        async with cli.store() as store:
            outlook = await store.outlook(rule_id, now, kind=kind, severity=severity)
        decided = plan(outlook.asked, outlook.view, now=now)
        if cli.out.json:
            cli.out.document(_route_line(outlook, decided))
        else:
            _explain(cli, outlook, decided)
        return Exit.DONE

    return cli.run(run)


def place_of(alert: StoredAlert) -> Place:
    """Where it is in the list of alerts."""
    return Place(alert.created_at, alert.id)


# --- for people -----------------------------------------------------------------------------------


def _list(cli: Cli, alerts: list[StoredAlert]) -> None:
    cli.out.table(
        ("AT", "SEVERITY", "STATUS", "ACK", "CHANNELS", "TITLE"),
        [
            (
                iso(alert.created_at)[:19],
                alert.severity,
                alert.suppressed if alert.state == "suppressed" else alert.state,
                "-" if alert.acked_at is None else alert.acked_by or "yes",
                " ".join(f"{d.channel_id}:{d.state}" for d in alert.deliveries) or "-",
                alert.title,
            )
            for alert in alerts
        ],
    )


def _list_suppressed(cli: Cli, alerts: list[StoredAlert]) -> None:
    cli.out.table(
        ("AT", "ALERT", "SEVERITY", "REASON", "UNTIL", "TITLE"),
        [
            (
                iso(alert.created_at)[:19],
                alert.id,
                alert.severity,
                alert.suppressed or "-",
                "-" if alert.suppressed_until is None else iso(alert.suppressed_until)[:19],
                alert.title,
            )
            for alert in alerts
        ],
    )


def _show(cli: Cli, alert: StoredAlert, together: tuple[Together, ...], joined: Joined | None) -> None:
    line = cli.out.line
    line(alert.title.replace("\n", "\\n"))  # a line of the page's must not pass for one of ours
    line(f"  {alert.severity}, {alert.kind} of {alert.rule_id}, {iso(alert.created_at)}")
    line(f"  {alert.state}{f': {alert.suppressed}' if alert.suppressed else ''}, key {alert.dedupe_key}")
    if alert.acked_at is not None:
        line(f"  acknowledged {_acknowledged(alert)}")
    line("why")
    if alert.conditions:
        line(f"  conditions met: {', '.join(alert.conditions)}")
    if alert.run_id is not None:
        line(f"  by the observation of run {alert.run_id}")
    for step in alert.routing:
        line(f"  {step.name}: {step.words}")
    _show_why_not(cli, alert, together, joined)
    for delivery in alert.deliveries:
        line(f"{delivery.channel_id}: {delivery.state} after {delivery.attempts} attempt(s){_due(delivery)}")
        for attempt in delivery.history:
            line(f"  {_words(attempt)}")


def _show_why_not(
    cli: Cli, alert: StoredAlert, together: tuple[Together, ...], joined: Joined | None
) -> None:
    if alert.suppressed is not None:
        until = "" if alert.suppressed_until is None else f", until {iso(alert.suppressed_until)}"
        cli.out.line(f"why not by itself: {alert.suppressed}{until}")
    if alert.undo:
        cli.out.line(f"  what would have let it through: {alert.undo}")
    for digest in together:
        cli.out.line(f"  {_told_in(digest)}")
    if joined is not None:
        cli.out.line(f"  {_told_as(joined)}")


def _acknowledged(alert: StoredAlert) -> str:
    at = "" if alert.acked_at is None else iso(alert.acked_at)
    by = f" by {alert.acked_by}" if alert.acked_by else ""
    return f"{at}{by}{f': {alert.ack_note}' if alert.ack_note else ''}"


def _told_in(digest: Together) -> str:
    if digest.closed_at is None:
        return f"{digest.channel_id} is told with others at {iso(digest.closes_at)}"
    if digest.alert_id is None:
        return f"{digest.channel_id} was not told: all of it was acknowledged by {iso(digest.closed_at)}"
    return f"{digest.channel_id} was told with others at {iso(digest.closed_at)}, in alert {digest.alert_id}"


def _told_as(joined: Joined) -> str:
    if joined.alert_id is not None:
        return f"told as one for {joined.host}, in alert {joined.alert_id}"
    if joined.state == "over":
        return f"{joined.host} turned out to have no incident"
    return f"{joined.host} is being watched: it may be an incident"


def _due(delivery: Delivery) -> str:
    if delivery.fallback_of is not None:
        return f", in place of {delivery.fallback_of}"
    if delivery.next_at is not None:
        return f", again at {iso(delivery.next_at)}"
    if delivery.escalates_at is None:
        return ""
    if delivery.state == "skipped":
        return f", {delivery.error}"
    return f", escalation at {iso(delivery.escalates_at)}"


def _words(attempt: Attempt) -> str:
    latency = "-" if attempt.latency is None else f"{attempt.latency * 1000:.0f} ms"
    answer = "-" if attempt.http_status is None else str(attempt.http_status)
    return (
        f"{iso(attempt.at)}  {attempt.outcome:<6}  {answer:>3}  {latency:>8}  {attempt.error or ''}".rstrip()
    )


def _explain(cli: Cli, outlook: Outlook, decided: Plan) -> None:
    asked = outlook.asked
    cli.out.line(f"{asked.kind} of {asked.rule.id}, {asked.severity}, now")
    for step in decided.steps:
        cli.out.line(f"  {'>' if step.counts else ' '} {step.name}: {step.words}")
    for channel, trouble in _troubles(outlook, decided).items():
        cli.out.line(f"  ! {channel}: {trouble}")
    if decided.undo:
        cli.out.line(f"  what would let it through: {decided.undo}")


def _troubles(outlook: Outlook, decided: Plan) -> dict[str, str]:
    """Channels that it is meant for and that nobody will be told on."""
    known = {channel_id_of(one): one for one in outlook.channels}
    escalated = [channel for one in decided.escalations for channel in one.channels]
    troubles = {}
    for channel_id in (*decided.channels, *escalated):
        stored = known.get(channel_id)
        if stored is None:
            troubles[channel_id] = "there is no such channel"
        elif isinstance(stored, UnreadableChannel):
            troubles[channel_id] = stored.problem
        elif not stored.channel.enabled:
            troubles[channel_id] = (
                f"switched off{f': {stored.disabled_reason}' if stored.disabled_reason else ''}"
            )
    return troubles


# --- JSON -----------------------------------------------------------------------------------------


def alert_line(alert: StoredAlert) -> dict[str, object]:
    """`sentinel.alert/1`."""
    return {
        "schema": "sentinel.alert/1",
        "alert_id": alert.id,
        "rule_id": alert.rule_id,
        "severity": alert.severity,
        "title": alert.title,
        "status": alert.state,
        "suppressed": alert.suppressed,
        "acknowledged": _ack_line(alert),
        "dedupe_key": alert.dedupe_key,
        "deliveries": [_delivery(delivery) for delivery in alert.deliveries],
    }


def _ack_line(alert: StoredAlert) -> dict[str, object] | None:
    if alert.acked_at is None:
        return None
    return {"at": iso(alert.acked_at), "by": alert.acked_by, "note": alert.ack_note}


def _delivery(delivery: Delivery) -> dict[str, object]:
    return {
        "channel": delivery.channel_id,
        "status": delivery.state,
        "attempts": delivery.attempts,
        "http_status": delivery.http_status,
        "error": delivery.error,
    }


def _more(alert: StoredAlert, together: tuple[Together, ...], joined: Joined | None) -> dict[str, object]:
    """What `show` says on top of a line of `list`."""
    return {
        "kind": alert.kind,
        "created_at": iso(alert.created_at),
        "conditions": list(alert.conditions),
        "run_id": alert.run_id,
        "channels": list(alert.channels),
        "why": [_step(step.name, step.words, counts=step.counts) for step in alert.routing],
        "until": None if alert.suppressed_until is None else iso(alert.suppressed_until),
        "undo": alert.undo,
        "told_in": [
            {
                "channel": digest.channel_id,
                "cause": digest.cause,
                "at": iso(digest.closes_at if digest.closed_at is None else digest.closed_at),
                "alert_id": digest.alert_id,
            }
            for digest in together
        ],
        "escalations": [
            {"channel": one.channel_id, "at": iso(one.escalates_at), "status": one.state}
            for one in alert.deliveries
            if one.escalates_at is not None
        ],
        "incident": None if joined is None else msgspec.to_builtins(joined),
        "body": alert.body,
        "attempts": [
            {
                "channel": delivery.channel_id,
                **msgspec.to_builtins(attempt),
                "at": iso(attempt.at),
            }
            for delivery in alert.deliveries
            for attempt in delivery.history
        ],
    }


def _route_line(outlook: Outlook, decided: Plan) -> dict[str, object]:
    """`sentinel.alert_route/1`."""
    asked = outlook.asked
    return {
        "schema": "sentinel.alert_route/1",
        "rule_id": asked.rule.id,
        "severity": asked.severity,
        "kind": asked.kind,
        "steps": [_step(step.name, step.words, counts=step.counts) for step in decided.steps],
        "now": list(decided.now),
        "later": [
            {
                "channel": hold.channel,
                "cause": hold.cause,
                "by": hold.by,
                "group": hold.group,
                "at": iso(hold.until),
            }
            for hold in decided.holds
        ],
        "escalations": [
            {"after_seconds": one.after, "channels": list(one.channels)} for one in decided.escalations
        ],
        "suppressed": decided.reason,
        "until": None if decided.until is None else iso(decided.until),
        "undo": decided.undo or None,
        "troubles": [
            {"channel": channel, "detail": detail} for channel, detail in _troubles(outlook, decided).items()
        ],
    }


def _step(name: str, words: str, *, counts: bool) -> dict[str, object]:
    return {"step": name, "words": words, "counts": counts}


# --- what several need ----------------------------------------------------------------------------


def _user() -> str:
    """Who is at the keyboard, as the system knows them."""
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        return ""


async def _must_exist(store: Store, alert_id: str, channels: list[str]) -> None:
    """Raises NotFound."""
    alert = await store.alert(alert_id)
    known = await store.channel_ids(alert.workspace_id)
    for channel_id in channels:
        if channel_id not in known:
            raise NotFound(f"no channel {channel_id} in workspace {alert.workspace_id}")
