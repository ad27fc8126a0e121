"""`rules heal`: what healed a rule's selector, old and new side by side; to be kept or undone."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Annotated

import typer

from sentinel.cli.context import Cli, cli_of
from sentinel.cli.exits import Exit
from sentinel.model import Healed


def heal(
    context: typer.Context,
    *,
    rule_id: Annotated[str, typer.Argument(metavar="RULE", help="Rule id.")],
    accept: Annotated[
        bool, typer.Option("--accept", help="Make the new selector a fallback of the rule.")
    ] = False,
    undo: Annotated[bool, typer.Option("--undo", help="Forget it; the rule fails as it is written.")] = False,
) -> int:
    """Show by which selector a rule was healed; keep it or undo it."""
    cli = cli_of(context)
    if accept and undo:
        raise typer.BadParameter("either this or --undo", param_hint="'--accept'")
    return cli.run(lambda: _heal(cli, rule_id, accept=accept, undo=undo))


async def _heal(cli: Cli, rule_id: str, *, accept: bool, undo: bool) -> int:
    async with cli.store() as store:
        stored = await store.rule(rule_id)
        parts = [(name, one.healed) for name, one in stored.elements.items() if one.healed is not None]
        if accept or undo:
            await store.settle_healing(rule_id, accept=accept, now=time.time())
    done = None if not parts else "accepted" if accept else "undone" if undo else None
    if cli.out.json:
        for name, healed in parts:
            cli.out.document(document(rule_id, name, healed) | {"done": done})
    elif not parts:
        cli.out.say(f"{rule_id} works by its own selectors; nothing is healed")
    else:
        _show(cli, parts)
        say = {"accepted": "it is a fallback of the rule now", "undone": "it is forgotten"}
        hint = f"sentinel-worker rules heal {rule_id} --accept, or --undo"
        cli.out.say(hint if done is None else f"{rule_id}: {say[done]}")
    return Exit.DONE


def _show(cli: Cli, parts: Sequence[tuple[str, Healed]]) -> None:
    cli.out.table(
        ("FIELD", "OLD", "NEW", "LIKENESS", "NEXT BEST", "READ"),
        [
            (
                name or "-",
                one.instead_of,
                f"css {one.selector!r}",
                f"{one.score:.2f}",
                f"{one.second:.2f}",
                one.text[:40],
            )
            for name, one in parts
        ],
    )


def document(rule_id: str, name: str, healed: Healed) -> dict[str, object]:
    """`sentinel.healed/1`."""
    return {
        "schema": "sentinel.healed/1",
        "rule_id": rule_id,
        "field": name or None,
        "old": healed.instead_of,
        "new": healed.selector,
        "attribute": healed.attribute,
        "likeness": healed.score,
        "next_best": healed.second,
        "text": healed.text,
    }
