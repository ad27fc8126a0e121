"""`rules test` and `rules replay`: what a rule makes of a page, and of what was checked before."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Annotated, get_args

import msgspec
import typer

from sentinel.backing import blobs_of, fetcher_of
from sentinel.cli import trial
from sentinel.cli.context import Cli, cli_of
from sentinel.cli.exits import CommandError, Exit
from sentinel.cli.replay import Bodies, believed_before, replay_document, replay_rule, show_replay
from sentinel.decide.conditions import Before
from sentinel.extract import open_extractor
from sentinel.fetch import charset
from sentinel.fetch.fetcher import Fetcher
from sentinel.fetch.guard import NetworkPolicy
from sentinel.fetch.modes import css_of
from sentinel.model import Fetched, FetchModeName, Rule, RulesFile, RuleState
from sentinel.rulefile import load
from sentinel.store import RunRecord, Store, StoredRule

#: Days that `replay` looks back at most.
MAX_DAYS = 3660


def policy(cli: Cli) -> NetworkPolicy:
    """Where rules may go."""
    return NetworkPolicy(allow_private=cli.settings.allow_private_networks)


class Wanted(msgspec.Struct, frozen=True):
    """What `rules test` was asked for."""

    #: A stored rule's id; None: `file` is meant.
    rule_id: str | None
    file: Path
    only: str | None
    url: str | None
    html: Path | None
    against: Path | None
    modes: tuple[FetchModeName, ...]


def try_(
    context: typer.Context,
    *,
    rule: Annotated[str, typer.Argument(metavar="RULE|FILE", help="A stored rule's id, or a rules file.")],
    only: Annotated[str | None, typer.Option("--rule", help="Only this rule of the file.")] = None,
    url: Annotated[str | None, typer.Option(help="Instead of the rule's.")] = None,
    html: Annotated[Path | None, typer.Option(help="Read this page instead of fetching one.")] = None,
    against: Annotated[Path | None, typer.Option(help="Compare with the value on this page.")] = None,
    mode: Annotated[
        str | None, typer.Option(metavar="http,headless", help="Ways to fetch, each tried.")
    ] = None,
) -> int:
    """Check a rule step by step; store and send nothing. Exit 7 where a step fails."""
    cli = cli_of(context)
    path = Path(rule)
    is_file = path.suffix.lower() in (".yaml", ".yml") or path.is_file()
    wanted = Wanted(None if is_file else rule, path, only, url, html, against, _modes(mode))
    return cli.run(lambda: _test(cli, wanted))


def _modes(text: str | None) -> tuple[FetchModeName, ...]:
    if text is None:
        return ()
    names: dict[str, FetchModeName] = {name: name for name in get_args(FetchModeName)}
    try:
        return tuple(names[part.strip()] for part in text.split(","))
    except KeyError:
        raise typer.BadParameter(f"{text!r} is none of {', '.join(names)}", param_hint="'--mode'") from None


async def _test(cli: Cli, wanted: Wanted) -> int:
    rules, past = await _rules_to_try(cli, wanted)
    well = True
    async with AsyncExitStack() as stack:
        extractor = await stack.enter_async_context(open_extractor(1))
        fetcher = await stack.enter_async_context(fetcher_of(cli.settings))
        for stored in rules:
            for mode in wanted.modes or (stored.rule.fetch.mode,):
                fetch = msgspec.structs.replace(stored.rule.fetch, mode=mode)
                rule = msgspec.structs.replace(stored.rule, fetch=fetch, url=wanted.url or stored.rule.url)
                found = await trial.try_rule(
                    rule,
                    lambda rule=rule: _bring(fetcher, rule, wanted.html),  # type: ignore[misc]  # binds this rule
                    extractor,
                    state=stored.state,
                    again=lambda page, code, rule=rule: _again(fetcher, rule, wanted.html, page, code),  # type: ignore[misc]  # binds this rule
                    earlier=None if wanted.against is None else trial.page_of(wanted.against, rule.url),
                    past=past if wanted.against is None else (),
                    now=time.time(),
                    timezone=stored.workspace.timezone,
                )
                well = well and found.error_code is None
                _show_trial(cli, found, mode if wanted.modes else None)
    return Exit.DONE if well else Exit.NO


async def _bring(fetcher: Fetcher, rule: Rule, html: Path | None) -> Fetched:
    if html is not None:
        return trial.page_of(html, rule.url)
    return await fetcher.fetch(rule.url, rule.fetch, hope_for=css_of(rule.extraction))


async def _again(fetcher: Fetcher, rule: Rule, html: Path | None, page: Fetched, code: str) -> Fetched | None:
    """By a browser, as a check would."""
    if html is not None:
        return None
    return await fetcher.look_again(page, rule.fetch, code, hope_for=css_of(rule.extraction))


def _as_new(rule: Rule, file: RulesFile) -> StoredRule:
    """A rule of a file, as it would be stored."""
    return StoredRule(
        rule=rule, workspace=file.workspace, state=RuleState(), next_due=0.0, created_at=0.0, updated_at=0.0
    )


async def _rules_to_try(cli: Cli, wanted: Wanted) -> tuple[Sequence[StoredRule], Sequence[Before]]:
    """The stored rule with what it believed before, or the file's rules as if they were new.

    Raises NotFound, RuleFileError.
    """
    if wanted.rule_id is not None:
        async with cli.store() as store:
            stored = await store.rule(wanted.rule_id)
            return [stored], await believed_before(store, stored.rule, time.time())
    file = load(wanted.file, policy(cli))
    rules = [rule for rule in file.rules if wanted.only in (None, rule.id)]
    if not rules:
        raise CommandError(Exit.NOT_FOUND, f"no rule {wanted.only or ''} in {wanted.file}".replace("  ", " "))
    return [_as_new(rule, file) for rule in rules], ()


def _show_trial(cli: Cli, found: trial.Trial, mode: str | None) -> None:
    if cli.out.json:
        cli.out.document(trial.trial_document(found))
        return
    cli.out.line(f"{found.rule.id}{f' ({mode})' if mode else ''}")
    for step in found.steps:
        first, *rest = step.detail.split("; ") if step.name == "extract" else [step.detail]
        cli.out.line(f"  {step.name:<11} {cli.out.mark(well=step.ok)} {first}")
        for line in rest:
            cli.out.line(f"  {'':<19} {line}")


# --- before --------------------------------------------------------------------------------------


def replay(
    context: typer.Context,
    *,
    rule_id: Annotated[str, typer.Argument(metavar="RULE", help="A stored rule's id.")],
    file: Annotated[Path | None, typer.Option(help="The rule as this file has it.")] = None,
    days: Annotated[float, typer.Option(min=0.001, max=MAX_DAYS, help="How far back.")] = 60,
) -> int:
    """Say what a rule would have told of the checks that were made; store and send nothing."""
    cli = cli_of(context)
    return cli.run(lambda: _replay(cli, rule_id, file, days))


async def _replay(cli: Cli, rule_id: str, file: Path | None, days: float) -> int:
    async with cli.store() as store, open_extractor(1) as extractor:
        stored = await store.rule(rule_id)
        rule = stored.rule if file is None else await _edited(cli, store, rule_id, file)
        found = await replay_rule(store, stored, rule, extractor, _kept_page(cli), days=days, now=time.time())
    if cli.out.json:
        cli.out.document(replay_document(found))
    else:
        show_replay(cli.out, found, edited=file is not None)
    return Exit.DONE


async def _edited(cli: Cli, store: Store, rule_id: str, file: Path) -> Rule:
    """The rule of that id in the file. Raises CommandError, RuleFileError."""
    known = await store.channel_ids()
    rules = {rule.id: rule for rule in load(file, policy(cli), known_channels=known).rules}
    if rule_id not in rules:
        raise CommandError(
            Exit.NOT_FOUND, f"no rule {rule_id} in {file}", f"it has {', '.join(rules) or 'none'}"
        )
    return rules[rule_id]


def _kept_page(cli: Cli) -> Bodies:
    """Pages by the runs that fetched them."""
    blobs = blobs_of(cli.settings)

    async def page(run: RunRecord, rule: Rule) -> Fetched | None:
        body = await blobs.get(run.result.body_blob or "")
        if body is None:
            return None
        return Fetched(
            url=rule.url,
            final_url=run.result.final_url or rule.url,
            status=run.result.http_status or 200,
            headers={},  # of what was answered then, only the body is kept
            body=body,
            text=charset.decode(body, ""),
        )

    return page
