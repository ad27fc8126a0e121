"""`history`: what a rule's checks found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from sentinel.cli.context import Cli, cli_of
from sentinel.cli.exits import Exit
from sentinel.cli.parts import Limit, verbs
from sentinel.cli.values import iso
from sentinel.decide.values import describe, value_json
from sentinel.store import Observation, RunRecord

app = verbs()

Entry = Observation | RunRecord


@app.command()
def history(
    context: typer.Context,
    *,
    rule_id: Annotated[str, typer.Argument(metavar="RULE", help="Rule id.")],
    limit: Limit = 100,
) -> int:
    """Show what a rule's checks found, newest first: values, changes, and errors."""
    cli = cli_of(context)

    async def run() -> int:
        async with cli.store() as store:
            observations = await store.history(rule_id, limit)
            runs = await store.runs(rule_id, limit)
        failed = [run for run in runs if run.result.error_code is not None]
        entries: list[Entry] = [*observations, *failed]
        entries.sort(key=lambda entry: (_at(entry), entry.run_id), reverse=True)
        _show(cli, entries[:limit])
        return Exit.DONE

    return cli.run(run)


def _at(entry: Entry) -> float:
    return entry.at if isinstance(entry, Observation) else entry.finished_at or entry.started_at


def _show(cli: Cli, entries: Sequence[Entry]) -> None:
    if cli.out.json:
        for entry in entries:
            cli.out.document(entry_line(entry))
    elif not entries:
        cli.out.say("no checks yet")
    else:
        rows = [(iso(_at(entry))[:19], *_words(entry)) for entry in entries]
        cli.out.table(("AT", "RUN", "CHANGE", "VALUE"), rows, right="RUN")


def _words(entry: Entry) -> tuple[object, str, str]:
    if isinstance(entry, RunRecord):
        detail = entry.result.error_detail or ""
        kind = "trying again" if entry.status == "running" else "error"
        return entry.run_id, kind, f"{entry.result.error_code}  {detail}".rstrip()
    change = entry.change_kind or ("" if entry.confirmed else "not confirmed")
    before = f"  (was {describe(entry.before)})" if entry.before is not None else ""
    return entry.run_id, change, f"{describe(entry.value)}{before}"


def entry_line(entry: Entry) -> dict[str, object]:
    """`sentinel.observation/1`; of a check that found no value, `error_code` says why."""
    observation = entry if isinstance(entry, Observation) else None
    return {
        "schema": "sentinel.observation/1",
        "rule_id": entry.rule_id,
        "run_id": str(entry.run_id),
        "at": iso(_at(entry)),
        "raw": observation.raw if observation else None,
        "value": value_json(observation.value) if observation else None,
        "changed": observation.changed if observation else False,
        "change_kind": observation.change_kind if observation else None,
        "confirmed": observation.confirmed if observation else False,
        "error_code": entry.result.error_code if isinstance(entry, RunRecord) else None,
    }
