"""Writes docs/api.md from the docstrings: `./dev docs`, or `python -m tests.docs.reference`.

Read from the source, not from the imported objects: signatures are then as their author wrote them.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
PAGE = REPOSITORY / "docs/api.md"

#: Heading -> names, each where it is imported from.
CHAPTERS: dict[str, tuple[str, tuple[str, ...]]] = {
    "Producing": ("streamq", ("Queue", "SyncQueue", "Receipt", "NewJob", "Limit", "Lane", "RedisBroker")),
    "A job's options": ("streamq.queue", ("new_job", "JobOptions")),
    "Handling": ("streamq", ("Handlers", "Job", "Retry", "Retention", "Snooze", "RetryIn", "DeadLetter")),
    "Working": (
        "streamq",
        (
            "Worker",
            "WorkerOptions",
            "WorkerResult",
            "Hooks",
            "Supervisor",
            "SupervisorOptions",
            "SupervisorResult",
        ),
    ),
    "Recurring jobs": ("streamq", ("Every", "Cron", "Recurring", "SyncRecurring", "RecurringJob")),
    "A recurring job's options": ("streamq.schedules", ("Schedule",)),
    "Control": ("streamq", ("Admin",)),
    "What control is told and tells": (
        "streamq.admin",
        (
            "DeadFilter",
            "Load",
            "WorkerView",
            "StreamStats",
            "Sighting",
            "Cancellation",
            "DeadJob",
            "Requeued",
            "WorkerSeen",
            "Order",
        ),
    ),
    "Metrics": ("streamq.metrics", ("Metrics", "QueueGauges", "watch_loop_lag")),
    "Testing": (
        "streamq.testing",
        (
            "drain",
            "Drained",
            "Ran",
            "MemoryBroker",
            "ManualClock",
            "FaultyBroker",
            "WorkerKilled",
            "EndlessDrainError",
        ),
    ),
    "Errors": (
        "streamq",
        (
            "StreamqError",
            "BrokerUnavailable",
            "BrokerFull",
            "BrokerRefused",
            "NotConfirmed",
            "InvalidJob",
            "InvalidPayload",
            "PayloadTooLarge",
            "UnknownStream",
            "ScheduleNotFound",
            "NoResult",
            "LeaseLost",
        ),
    ),
    "The broker's verbs": ("streamq", ("Broker",)),
}

#: They have the broker's verbs, which are told once.
BROKERS = ("RedisBroker", "MemoryBroker", "FaultyBroker")

HEAD = """\
# streamq: reference

```
 Queue, SyncQueue ──▶ Broker (RedisBroker, MemoryBroker) ──▶ Worker(Handlers) ──▶ your function(Job)
                            ▲                                    │
                          Admin                          Hooks, Metrics, spans
```

Made from the docstrings by `./dev docs`; `tests/docs` sees that it is current. Everything is imported from `streamq`, where
nothing else is said. Times are seconds, moments seconds since the epoch, unless a name ends in `_ms`. What each part is for:
[streamq](streamq.md).
"""


@lru_cache
def module(name: str) -> tuple[ast.Module, list[str]]:
    """A module's tree and lines."""
    path = REPOSITORY.joinpath(*name.split("."))
    text = (path / "__init__.py" if path.is_dir() else path.with_suffix(".py")).read_text(encoding="utf-8")
    return ast.parse(text), text.splitlines()


Found = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef | ast.Assign | ast.AnnAssign


def find(where: str, name: str) -> tuple[str, Found]:
    """The module that defines what `where` calls `name`, and the definition."""
    tree, _ = module(where)
    for node in tree.body:
        match node:
            case ast.ClassDef(name=found) | ast.FunctionDef(name=found) | ast.AsyncFunctionDef(name=found):
                pass
            case ast.Assign(targets=[ast.Name(id=found)]) | ast.AnnAssign(target=ast.Name(id=found)):
                pass
            case ast.ImportFrom(module=str(source), names=names):
                if any((one.asname or one.name) == name for one in names):
                    return find(source, name)
                continue
            case _:
                continue
        if found == name:
            assert isinstance(node, Found)
            return where, node
    raise LookupError(f"{where} has no {name}")


def paragraph(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.strip().splitlines())


def signature(node: ast.FunctionDef | ast.AsyncFunctionDef, *, name: str = "") -> str:
    """As it is called: without `self`."""
    arguments = ast.unparse(node.args)
    for own in ("self, ", "cls, ", "self", "cls"):
        if arguments == own.strip(", ") or (own.endswith(" ") and arguments.startswith(own)):
            arguments = arguments[len(own) :]
            break
    arguments = arguments.removeprefix("/, ")
    made = f"{name or node.name}({arguments})"
    if name or node.returns is None:
        return made
    prefix = "await " if isinstance(node, ast.AsyncFunctionDef) else ""
    if prefix and "AsyncIterator" in ast.unparse(node.returns):
        prefix = "async for ... in "
    return f"{prefix}{made} -> {ast.unparse(node.returns)}"


def is_property(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return any(ast.unparse(one).endswith("property") for one in node.decorator_list)


def comment_above(lines: list[str], line: int) -> str:
    """The `#:` lines right above a line (from 1)."""
    found: list[str] = []
    for text in reversed(lines[: line - 1]):
        if not text.strip().startswith("#:"):
            break
        found.insert(0, text.strip()[2:].strip())
    return " ".join(found)


def fields(node: ast.ClassDef, lines: list[str]) -> Iterator[str]:
    """A line for each documented attribute of a class."""
    for one in node.body:
        if (
            not isinstance(one, ast.AnnAssign)
            or not isinstance(one.target, ast.Name)
            or one.target.id[0] == "_"
        ):
            continue
        kind = ast.unparse(one.annotation).replace("|", "\\|")
        default = f" = {ast.unparse(one.value)}" if one.value is not None else ""
        comment = comment_above(lines, one.lineno).replace("|", "\\|")
        yield f"| `{one.target.id}: {kind}{default}` | {comment} |"


@lru_cache
def verbs() -> frozenset[str]:
    """Names of the broker's."""
    _, node = find("streamq", "Broker")
    assert isinstance(node, ast.ClassDef)
    return frozenset(one.name for one in node.body if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef))


def klass(name: str, node: ast.ClassDef, lines: list[str]) -> Iterator[str]:
    bases = [ast.unparse(one) for one in node.bases]
    if any(word in "".join(bases) for word in ("Error", "Signal", "Exception")):
        yield f"A `{bases[0]}`.\n"
    yield paragraph(ast.get_docstring(node) or "")
    rows = list(fields(node, lines))
    if rows:
        yield "\n| field | |\n|---|---|"
        yield from rows
    for one in node.body:
        if not isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if one.name == "__init__":
            yield f"\n#### `{signature(one, name=name)}`\n"
        elif one.name == "__call__":
            yield f"\n#### `{signature(one, name=name.lower())}`\n"
        elif one.name.startswith("_") or (name in BROKERS and one.name in verbs()):
            continue
        elif is_property(one):
            yield f"\n#### `.{one.name}: {ast.unparse(one.returns) if one.returns else ''}`\n"
        else:
            yield f"\n#### `{signature(one)}`\n"
        yield paragraph(ast.get_docstring(one) or "")


def entry(where: str, name: str) -> str:
    """All of one name."""
    source, node = find(where, name)
    _, lines = module(source)
    head = f"### {name}\n"
    if isinstance(node, ast.ClassDef):
        return "\n".join((head, *(part for part in klass(name, node, lines) if part)))
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return "\n".join((head, f"#### `{signature(node)}`\n", paragraph(ast.get_docstring(node) or "")))
    assert node.value is not None
    return f"{head}\n`{ast.unparse(node.value)}` {comment_above(lines, node.lineno)}"


def page() -> str:
    """docs/api.md as it should be."""
    parts = [HEAD]
    for heading, (where, names) in CHAPTERS.items():
        parts.append(f"\n## {heading}\n")
        if where != "streamq":
            parts.append(f"From `{where}`.\n")
        parts += [entry(where, name) + "\n" for name in names]
    return "\n".join(parts).rstrip("\n") + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(f"{PAGE.name}: {len(page().splitlines())} lines")
