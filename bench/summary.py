"""A results file as one table for a page: python -m bench --show FILE --markdown

tests/docs holds the README's table to the file it names.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from bench import table
from bench.aims import Run
from bench.measure import Measure, Results

#: Scenario, what is written over its column, and what of a run stands there.
_COLUMNS: Final[tuple[tuple[str, str, Callable[[Measure], str]], ...]] = (
    ("drain-10", "drain, 10 at once", lambda one: f"{one.rate:,.0f}/s"),
    ("drain-100", "100 at once", lambda one: f"{one.rate:,.0f}/s"),
    ("processes-2", "two processes", lambda one: f"{one.rate:,.0f}/s"),
    ("enqueue-one", "enqueue, one by one", lambda one: f"{one.rate:,.0f}/s"),
    ("enqueue-bulk", "in bulk", lambda one: f"{one.rate:,.0f}/s"),
    ("pickup", "pickup 50 / 99 %", lambda one: f"{one.p50_ms:.2g} / {one.p99_ms:.2g} ms"),
    ("delayed", "delayed: late 50 / 99 %", lambda one: f"{one.p50_ms:,.0f} / {one.p99_ms:,.0f} ms"),
    ("retries", "retry storm", lambda one: f"{one.seconds:.1f} s"),
    ("memory", "bytes a waiting job", lambda one: f"{one.bytes:,.0f}"),
    ("killed", "all ran after SIGKILL", lambda one: f"{one.seconds:.0f} s"),
)


def render(results: Results, names: dict[str, str]) -> str:
    """Markdown: a row for every engine, streamq first, then by how it drains; the best run of each."""
    run = Run(results)
    columns = [column for column in _COLUMNS if any(run.best(column[0], name) for name in names)]
    engines = [name for name in names if any(run.best(column[0], name) for column in columns)]
    engines.sort(key=lambda name: (name != table.OURS, -(run.rate("drain-10", name) or 0.0)))
    rows = [["", *(head for _, head, _ in columns)], ["---", *("--:" for _ in columns)]]
    for engine in engines:
        cells = [_cell(run.best(scenario, engine), form) for scenario, _, form in columns]
        name = f"**{names[engine]}**" if engine == table.OURS else names[engine]
        rows.append([name, *cells])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n"


def _cell(one: Measure | None, form: Callable[[Measure], str]) -> str:
    if one is None:
        return ""
    if one.early:
        return f"{one.early:,} early"
    if table.value(one) is None:
        return f"{one.missing:,} not run" if one.missing else "failed"
    return form(one)
