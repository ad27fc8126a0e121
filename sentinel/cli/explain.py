"""`explain`: what an error code means, and what to do about it."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from sentinel.cli.context import cli_of
from sentinel.cli.exits import CommandError, Exit
from sentinel.cli.parts import verbs
from sentinel.errors import ERROR_CODES, ErrorCode

app = verbs()


@app.command()
def explain(
    context: typer.Context,
    *,
    code: Annotated[str | None, typer.Argument(metavar="CODE", help="An error code; else all.")] = None,
) -> int:
    """Say what an error code means, and what to do about it."""
    out = cli_of(context).out
    found = list(ERROR_CODES.values()) if code is None else [_known(code)]
    if out.json:
        for one in found:
            out.document(document(one))
    elif code is None:
        out.table(("CODE", "SEVERITY", "TITLE"), [(one.code, one.severity, one.title) for one in found])
    else:
        (one,) = found
        retry = "trying again may help" if one.retryable else "trying again does not help"
        out.line(f"{one.code}: {one.title}")
        out.line(one.description)
        out.line(one.recommendation)
        out.line(f"{one.severity}; {retry}; health -{one.weight}")
    return Exit.DONE


def document(one: ErrorCode) -> Mapping[str, Any]:  # Any: JSON
    """A code as `--json` tells it."""
    return {
        "schema": "sentinel.error_code/1",
        "code": one.code,
        "title": one.title,
        "description": one.description,
        "recommendation": one.recommendation,
        "severity": one.severity,
        "retryable": one.retryable,
        "weight": one.weight,
    }


def page() -> str:
    """docs/error-codes.md."""
    head = """# Error codes

```
  FETCH_ the way there   BLOCK_ PAGE_ what stands in the way   EXTRACT_ SELECTOR_ VALUE_ what is read
  RULE_ the rule itself   SYSTEM_ our own side
```

Every way a check can end without a value, what is doubtful about a value that one brought, and what the
watchdog tells; as `sentinel-worker explain` says it: `--json` gives one document per code.

Three are no end of a check. `SELECTOR_HEALED` and `VALUE_IMPLAUSIBLE` stand before the `error_detail` of a
good run, whose `error_code` is empty; `EXTRACT_UNSTABLE` is the code of a health alert.

`weight`: points of [health](health.md) that a failed check takes. `again`: a second try may help.
"""
    parts = [
        f"\n## {one.code}\n\n**{one.title}.** {one.description}\n\n{one.recommendation}\n\n"
        f"{one.severity} · again: {'yes' if one.retryable else 'no'} · weight {one.weight}\n"
        for one in ERROR_CODES.values()
    ]
    return head + "".join(parts)


def _known(code: str) -> ErrorCode:
    found = ERROR_CODES.get(code.upper())
    if found is None:
        near = difflib.get_close_matches(code.upper(), ERROR_CODES, 1, 0.5)
        hint = f"sentinel-worker explain {near[0]}" if near else "sentinel-worker explain"
        raise CommandError(Exit.NOT_FOUND, f"{code[:60]!r} is no error code", hint)
    return found
