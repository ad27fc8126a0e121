"""`rules ...`: rules as files and as they are stored, and one check of a rule with nothing kept."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Final

import msgspec
import typer

from sentinel.cli import healing, trying
from sentinel.cli.carried import show_carried
from sentinel.cli.context import Cli, cli_of
from sentinel.cli.exits import CommandError, Exit
from sentinel.cli.host import host_document, host_words
from sentinel.cli.parts import DryRun, Limit, Yes, noun
from sentinel.cli.values import iso
from sentinel.credentials import Keyring
from sentinel.decide.schedule import backoff_reason, first_due, in_zone
from sentinel.decide.values import describe, value_json
from sentinel.errors import Unreadable
from sentinel.fetch.browser_program import find_program
from sentinel.fetch.politeness import host_key
from sentinel.model import Rule, RulesFile
from sentinel.rulefile import dump, json_schema, load
from sentinel.rulefile.foreign import SOURCES, as_yaml, carry
from sentinel.settings import MASK
from sentinel.store import Changes, ImportReport, RunRecord, Store, StoredRule, UnreadableRule

app = noun("rules", "Rules: import, export, look at, switch, try.")
app.command("test")(trying.try_)
app.command()(trying.replay)
app.command()(healing.heal)

#: Rules read in one call.
PAGE: Final = 500

RuleIds = Annotated[list[str], typer.Argument(metavar="RULE...", help="Rule ids.")]
After = Annotated[
    str, typer.Option("--after", metavar="RULE", help="The next page: only those behind this one.")
]
RuleId = Annotated[str, typer.Argument(metavar="RULE", help="Rule id.")]


# --- files ---------------------------------------------------------------------------------------


@app.command("import")
def import_(
    context: typer.Context,
    *,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="YAML; - reads stdin.")],
    dry_run: DryRun = False,
    source_tool: Annotated[
        str | None,
        typer.Option(
            "--from", metavar="|".join(SOURCES), help="Another tool's file; told is what comes over."
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="With --from: write a rules file, import nothing.")
    ] = None,
) -> int:
    """Make workspace, channels and rules as the file says, by id; what it does not name stays."""
    cli = cli_of(context)
    if source_tool is not None:
        return from_other_tool(cli, _tool(source_tool), file, out, dry_run=dry_run)
    if out is not None:
        raise typer.BadParameter("goes with --from", param_hint="'--out'")
    source: Path | str = cli.stdin.read() if str(file) == "-" else file
    return cli.run(lambda: _import(cli, source, dry_run=dry_run))


def _tool(name: str) -> str:
    if name not in SOURCES:
        raise typer.BadParameter(f"{name!r} is none of {', '.join(SOURCES)}", param_hint="'--from'")
    return name


def from_other_tool(cli: Cli, tool: str, file: Path, out: Path | None, *, dry_run: bool) -> int:
    """Import what came over, or write it to a file for a person to look through."""
    carried = carry(tool, file, trying.policy(cli))
    show_carried(cli.out, tool, carried)
    if out is None:
        return cli.run(lambda: _import(cli, as_yaml(carried), dry_run=dry_run))
    if not dry_run:
        _write_new(out, as_yaml(carried))
        cli.out.say(f"{out} written; look it through, then: sentinel-worker rules import {out}")
    return Exit.DONE


def _write_new(path: Path, text: str) -> None:
    """A file for its owner alone, for there may be credentials among headers. Raises CommandError."""
    try:
        with os.fdopen(
            os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8"
        ) as file:
            file.write(text)
    except FileExistsError as error:
        raise CommandError(
            Exit.FAILED, f"{path} is there already", "name another file, or remove it"
        ) from error


async def _import(cli: Cli, source: Path | str, *, dry_run: bool) -> int:
    async with cli.store(create=True) as store:
        known = await store.channel_ids()
        rules = load(source, trying.policy(cli), known_channels=known)
        now = time.time()
        report = await store.import_rules(
            rules,
            now=now,
            first_due=lambda rule: first_due(
                in_zone(rule.schedule, rules.workspace.timezone), now, seed=rule.id
            ),
            keyring=Keyring(cli.settings.secret_keys),
            dry_run=dry_run,
        )
    for warning in _missing_browser(cli, rules):
        cli.out.warn(warning)
    if cli.out.json:
        cli.out.document({"schema": "sentinel.import/1", **msgspec.to_builtins(report)})
    else:
        _show_report(cli, rules, report)
    return Exit.DONE


def _missing_browser(cli: Cli, rules: RulesFile) -> list[str]:
    """What cannot work here without one. No mistake of the file's: the worker may have a browser."""
    program = find_program(cli.settings.browser)
    if program:
        return []
    needs = [rule.id for rule in rules.rules if rule.fetch.mode == "headless"]
    draws = [rule.id for rule in rules.rules if rule.fetch.screenshot_on_change]
    parts = (("need a browser", needs), ("ask for pictures, which a browser draws", draws))
    return [
        f"these rules {words}: {', '.join(ids[:9])}{' ...' if len(ids) > 9 else ''};"
        f" here is none: {program.trouble}"
        for words, ids in parts
        if ids
    ]


def _show_report(cli: Cli, rules: RulesFile, report: ImportReport) -> None:
    kinds = (("workspace", report.workspace), ("channel", report.channels), ("rule", report.rules))
    for kind, changes in kinds:
        _show_changes(cli, kind, changes)
    created, updated = (
        sum(len(part) for part in parts)
        for parts in zip(*((changes.created, changes.updated) for _, changes in kinds), strict=True)
    )
    verb = "would be " if report.dry_run else ""
    unchanged = sum(len(changes.unchanged) for _, changes in kinds)
    counted = f"{created} {verb}created, {updated} {verb}updated, {unchanged} unchanged"
    cli.out.say(f"workspace {rules.workspace.id}: {counted}")


def _show_changes(cli: Cli, kind: str, changes: Changes) -> None:
    for item in changes.created:
        cli.out.line(f"+ {kind} {item}")
    for change in changes.updated:
        forgets = "  (its last value is forgotten)" if change.forgets_value else ""
        cli.out.line(f"~ {kind} {change.id}{forgets}")
        for field in change.fields:
            cli.out.line(f"    {field.path}: {_brief(field.before)} -> {_brief(field.after)}")


def _brief(value: object) -> str:
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return text if len(text) <= 120 else f"{text[:119]}…"


@app.command()
def export(
    context: typer.Context,
    *,
    workspace: Annotated[str | None, typer.Option(help="Which, where there are several.")] = None,
) -> int:
    """Write the rules as YAML that imports unchanged; header values and cookies included."""
    cli = cli_of(context)

    async def run() -> int:
        async with cli.store() as store:
            rules = await store.export(workspace)
        if cli.out.json:
            cli.out.document({"schema": "sentinel.rules_file/1", **msgspec.to_builtins(rules)})
        else:
            cli.out.stdout.write(dump(rules))
        return Exit.DONE

    return cli.run(run)


@app.command()
def schema(context: typer.Context) -> int:
    """Write the JSON Schema of rules files, for editors: `# yaml-language-server: $schema=FILE`."""
    cli_of(context).out.stdout.write(json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n")
    return Exit.DONE


# --- stored --------------------------------------------------------------------------------------


@app.command("list")
def list_(
    context: typer.Context,
    *,
    tag: Annotated[str | None, typer.Option(help="Only rules with this tag.")] = None,
    enabled: Annotated[
        bool | None, typer.Option("--enabled/--disabled", help="Only those that are on, or off.")
    ] = None,
    after: After = "",
    limit: Limit = 1000,
) -> int:
    """Show the rules, by id."""
    cli = cli_of(context)

    async def run() -> int:
        async with cli.store() as store:
            rules = await rules_by_id(store, limit, tag=tag, enabled=enabled, after=after)
        _show_list(cli, rules)
        if len(rules) == limit and not cli.out.json:
            cli.out.say(f"more: --after {rule_id_of(rules[-1])}")
        return Exit.DONE

    return cli.run(run)


async def rules_by_id(
    store: Store, limit: int | None, *, tag: str | None, enabled: bool | None, after: str = ""
) -> list[StoredRule | UnreadableRule]:
    """Those behind `after`; `limit` None: all of them."""
    found: list[StoredRule | UnreadableRule] = []
    while limit is None or len(found) < limit:
        wanted = PAGE if limit is None else min(PAGE, limit - len(found))
        page = await store.all_rules(wanted, enabled=enabled, tag=tag, after=after)
        found += page
        if len(page) < wanted:
            break
        after = rule_id_of(page[-1])
    return found


def rule_id_of(stored: StoredRule | UnreadableRule) -> str:
    """Readable or not."""
    return stored.rule_id if isinstance(stored, UnreadableRule) else stored.rule.id


def _show_list(cli: Cli, rules: Sequence[StoredRule | UnreadableRule]) -> None:
    if cli.out.json:
        for stored in rules:
            cli.out.document(_rule_document(stored))
    elif not rules:
        cli.out.say("no rules; sentinel-worker rules import FILE.yaml")
    else:
        names = ("RULE", "TYPE", "STATE", "VALUE", "LAST RUN", "NEXT DUE", "URL")
        cli.out.table(names, [_row(stored) for stored in rules])
        for stored in rules:
            if isinstance(stored, UnreadableRule):
                cli.out.warn(stored.problem)


def _row(stored: StoredRule | UnreadableRule) -> tuple[str, ...]:
    if isinstance(stored, UnreadableRule):
        due = iso(stored.next_due)[:19] if stored.enabled else "-"
        return (stored.rule_id, "-", "unreadable", "-", "-", due, "-")
    state = stored.state
    return (
        stored.rule.id,
        stored.rule.type,
        state.health_state if stored.enabled else "off",
        "-" if state.stable is None else describe(state.stable)[:24],
        "-" if state.last_run_at is None else iso(state.last_run_at)[:19],
        _due_words(stored),
        stored.rule.url,
    )


def _due_words(stored: StoredRule) -> str:
    """When it is due; where that is later than it should be, after how many failures."""
    if not stored.enabled:
        return "-"
    failures = stored.state.backoff
    late = "" if backoff_reason(failures) is None else f" ({failures} failed)"
    return iso(stored.next_due)[:19] + late


def _rule_document(stored: StoredRule | UnreadableRule) -> dict[str, object]:
    """`sentinel.rule/1`, or `sentinel.rule_unreadable/1`."""
    if isinstance(stored, UnreadableRule):
        return {
            "schema": "sentinel.rule_unreadable/1",
            "rule_id": stored.rule_id,
            "workspace_id": stored.workspace.id,
            "enabled": stored.enabled,
            "next_due_at": iso(stored.next_due) if stored.enabled else None,
            "problem": stored.problem,
        }
    state = stored.state

    def moment(at: float | None) -> str | None:
        return None if at is None else iso(at)

    return {
        "schema": "sentinel.rule/1",
        "rule_id": stored.rule.id,
        "workspace_id": stored.workspace.id,
        "name": stored.rule.title,
        "type": stored.rule.type,
        "url": stored.rule.url,
        "enabled": stored.enabled,
        "tags": stored.rule.tags,
        "health": round(state.health, 1),
        "health_state": state.health_state,
        "fail_streak": state.fail_streak,
        "value": value_json(state.stable),
        "last_run_at": moment(state.last_run_at),
        "last_good_at": moment(state.last_good_at),
        "last_change_at": moment(state.last_change_at),
        "next_due_at": moment(stored.next_due) if stored.enabled else None,
        "next_due_why": backoff_reason(state.backoff) if stored.enabled else None,
    }


@app.command()
def show(context: typer.Context, rule_id: RuleId) -> int:
    """Show a rule as it is written, and how it is; header values and cookies masked."""
    cli = cli_of(context)

    async def run() -> int:
        async with cli.store() as store:
            stored = await store.rule(rule_id)
            runs = await store.runs(rule_id, 1)
            key = host_key(stored.rule.url, stored.rule.fetch.proxy)
            host = host_document(key, await store.host(stored.workspace.id, key), cli.settings)
        rule = _masked(stored.rule)
        document = _rule_document(stored)
        if cli.out.json:
            last = {"last_run": _run_document(runs[0]) if runs else None, "host": host}
            cli.out.document(document | last | {"rule": msgspec.to_builtins(rule)})
            return Exit.DONE
        for name, value in (document | {"last_run": _run_words(runs[0]) if runs else None}).items():
            if name not in ("schema", "rule_id", "name", "type", "url", "tags"):
                cli.out.line(f"# {name}: {_brief(value)}")
        cli.out.line(f"# host: {host_words(host)}")
        cli.out.stdout.write(dump(RulesFile(workspace=stored.workspace, rules=[rule])))
        return Exit.DONE

    return cli.run(run)


def _run_document(run: RunRecord) -> dict[str, object]:
    """How the newest check went; of one under way, what was wrong with the attempt before."""
    return {
        "run_id": str(run.run_id),
        "status": run.status,
        "attempt": run.attempt,
        "started_at": iso(run.started_at),
        "finished_at": None if run.finished_at is None else iso(run.finished_at),
        "error_code": run.result.error_code,
        "error_detail": run.result.error_detail,
        "mode": run.result.mode,
        "fallback_reason": run.result.fallback_reason,
        "screenshot": run.result.screenshot_blob,
        "element_screenshot": run.result.element_blob,
    }


def _run_words(run: RunRecord) -> str:
    """The same for people."""
    result = run.result
    failed = "" if result.error_code is None else f": {result.error_code}  {result.error_detail or ''}"
    if result.error_code is None and result.error_detail:  # a good run that has something to say
        failed = f": {result.error_detail}"
    way = "" if result.mode is None else f", by {result.mode}"
    because = f" ({result.fallback_reason})" if result.fallback_reason else ""
    drawn = f", drawn: {result.screenshot_blob}" if result.screenshot_blob else ""
    return f"{run.status}, attempt {run.attempt}{way}{because}{drawn}{failed}"


def _masked(rule: Rule) -> Rule:
    """The rule without what may be a credential."""
    fetch = msgspec.structs.replace(
        rule.fetch,
        headers=dict.fromkeys(rule.fetch.headers, MASK),
        cookies=dict.fromkeys(rule.fetch.cookies, MASK),
        proxy=MASK if rule.fetch.proxy else None,
    )
    return msgspec.structs.replace(rule, fetch=fetch)


@app.command()
def enable(context: typer.Context, rule_ids: RuleIds) -> int:
    """Switch rules on."""
    return _switch(cli_of(context), rule_ids, enabled=True)


@app.command()
def disable(context: typer.Context, rule_ids: RuleIds) -> int:
    """Switch rules off; what they know is kept."""
    return _switch(cli_of(context), rule_ids, enabled=False)


def _switch(cli: Cli, rule_ids: Sequence[str], *, enabled: bool) -> int:
    async def run() -> int:
        async with cli.store() as store:
            for rule_id in rule_ids:
                changed = await store.set_enabled(rule_id, enabled, time.time())
                cli.out.say(
                    f"{rule_id} {'is now' if changed else 'was already'} {'on' if enabled else 'off'}"
                )
                if cli.out.json:
                    document = {"schema": "sentinel.rule_switch/1", "rule_id": rule_id}
                    cli.out.document(document | {"enabled": enabled, "changed": changed})
        return Exit.DONE

    return cli.run(run)


@app.command()
def delete(context: typer.Context, *, rule_ids: RuleIds, yes: Yes = False) -> int:
    """Forget rules and their last values; what happened stays in the history for a while."""
    cli = cli_of(context)

    async def run() -> int:
        async with cli.store() as store:
            for rule_id in rule_ids:  # all must be there before any is gone
                with suppress(Unreadable):  # there, and a reason to delete it
                    await store.rule(rule_id)
            cli.confirm(
                f"Delete {len(rule_ids)} rule(s): {', '.join(rule_ids)}?",
                yes=yes,
                hint="rules disable keeps what they know",
            )
            for rule_id in rule_ids:
                await store.delete_rule(rule_id)
                cli.out.say(f"{rule_id} deleted")
                if cli.out.json:
                    cli.out.document({"schema": "sentinel.rule_deleted/1", "rule_id": rule_id})
        return Exit.DONE

    return cli.run(run)
