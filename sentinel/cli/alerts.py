"""`alerts list`, `alerts show`: what was told, to whom, and how that went."""

from __future__ import annotations

from typing import Annotated

import msgspec
import typer

from sentinel.cli.context import Cli, cli_of
from sentinel.cli.exits import Exit
from sentinel.cli.parts import Limit, noun
from sentinel.cli.values import iso
from sentinel.store import AlertState, Attempt, Delivery, StoredAlert

app = noun("alerts", "Alerts, and what became of them.")


@app.command("list")
def list_(
    context: typer.Context,
    *,
    rule: Annotated[str | None, typer.Option(metavar="RULE", help="Only of this rule.")] = None,
    status: Annotated[AlertState | None, typer.Option(help="Only in this state.")] = None,
    limit: Limit = 100,
) -> int:
    """Show alerts with their deliveries, newest first."""
    cli = cli_of(context)

    async def run() -> int:
        async with cli.store() as store:
            alerts = await store.alerts(limit, rule_id=rule, state=status)
        if cli.out.json:
            for alert in alerts:
                cli.out.document(alert_line(alert))
        elif not alerts:
            cli.out.say("no alerts")
        else:
            cli.out.table(
                ("AT", "SEVERITY", "STATUS", "CHANNELS", "TITLE"),
                [
                    (
                        iso(alert.created_at)[:19],
                        alert.severity,
                        alert.suppressed or alert.state,
                        " ".join(f"{d.channel_id}:{d.state}" for d in alert.deliveries) or "-",
                        alert.title,
                    )
                    for alert in alerts
                ],
            )
        return Exit.DONE

    return cli.run(run)


@app.command()
def show(
    context: typer.Context, alert_id: Annotated[str, typer.Argument(metavar="ALERT", help="Alert id.")]
) -> int:
    """Show one alert with each attempt to deliver it."""
    cli = cli_of(context)

    async def run() -> int:
        async with cli.store() as store:
            alert = await store.alert(alert_id)
        if cli.out.json:
            cli.out.document(alert_line(alert) | _more(alert))
        else:
            _show(cli, alert)
        return Exit.DONE

    return cli.run(run)


def _show(cli: Cli, alert: StoredAlert) -> None:
    cli.out.line(alert.title)
    cli.out.line(f"  {alert.severity}, {alert.kind} of {alert.rule_id}, {iso(alert.created_at)}")
    cli.out.line(
        f"  {alert.state}{f': {alert.suppressed}' if alert.suppressed else ''}, key {alert.dedupe_key}"
    )
    for delivery in alert.deliveries:
        cli.out.line(f"  {delivery.channel_id}: {delivery.state} after {delivery.attempts} attempt(s)")
        for attempt in delivery.history:
            cli.out.line(f"    {_words(attempt)}")


def _words(attempt: Attempt) -> str:
    latency = "-" if attempt.latency is None else f"{attempt.latency * 1000:.0f} ms"
    answer = "-" if attempt.http_status is None else str(attempt.http_status)
    return (
        f"{iso(attempt.at)}  {attempt.outcome:<6}  {answer:>3}  {latency:>8}  {attempt.error or ''}".rstrip()
    )


def alert_line(alert: StoredAlert) -> dict[str, object]:
    """`sentinel.alert/1`."""
    return {
        "schema": "sentinel.alert/1",
        "alert_id": alert.id,
        "rule_id": alert.rule_id,
        "severity": alert.severity,
        "title": alert.title,
        "status": alert.state,
        "dedupe_key": alert.dedupe_key,
        "deliveries": [_delivery(delivery) for delivery in alert.deliveries],
    }


def _delivery(delivery: Delivery) -> dict[str, object]:
    return {
        "channel": delivery.channel_id,
        "status": delivery.state,
        "attempts": delivery.attempts,
        "http_status": delivery.http_status,
        "error": delivery.error,
    }


def _more(alert: StoredAlert) -> dict[str, object]:
    """What `show` says on top of a line of `list`."""
    return {
        "kind": alert.kind,
        "suppressed": alert.suppressed,
        "created_at": iso(alert.created_at),
        "conditions": list(alert.conditions),
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
