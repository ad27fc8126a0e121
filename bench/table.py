"""A results file as tables a person can read: the best run of each engine, and streamq beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from statistics import median
from typing import Final

import msgspec

from bench.measure import Measure, Results

OURS = "streamq"


def render(results: Results, titles: dict[str, str], names: dict[str, str]) -> str:
    """All tables; `titles` of scenarios and `names` of engines by their short names."""
    machine = ", ".join(f"{key} {value}" for key, value in results.machine.items())
    parts = [f"{results.form} form, {results.made} UTC: {machine}"]
    for scenario, title in titles.items():
        measures = [measure for measure in results.measures if measure.scenario == scenario]
        if measures:
            parts.append(_scenario(title, measures, names))
    return "\n\n".join(parts) + "\n"


def best(measures: Iterable[Measure]) -> Measure:
    """The run that was disturbed least: the fastest, or the smallest, or one that at least ended."""
    return max(measures, key=lambda one: (one.rate or 0.0, -(_less(one) or 0.0), one.trouble is None))


def figure(measure: Measure) -> str:
    """What it came to, in a word."""
    if measure.rate is not None:
        return f"{measure.rate:,.0f} jobs/s"
    if measure.bytes is not None:
        return f"{measure.bytes:,.0f} bytes a job"
    if measure.p50_ms is not None:
        return f"{measure.p50_ms:,.2f} ms, 99 %: {_number(measure.p99_ms, '{:,.2f}')} ms"
    if measure.idle is not None:
        return f"{measure.idle:,.1f} commands a second"
    return f"{_number(measure.seconds, '{:,.1f}')} s"


def value(measure: Measure) -> float | None:
    """The one figure it is judged by."""
    return measure.rate if measure.rate is not None else _less(measure)


def _less(one: Measure) -> float | None:
    """The figure of which less is better, where there is one."""
    return next((v for v in (one.bytes, one.p99_ms, one.seconds, one.idle) if v is not None), None)


class _Column(msgspec.Struct, frozen=True):
    head: str
    #: A cell, of all runs of an engine, its best one and streamq's best.
    cell: Callable[[Sequence[Measure], Measure, Measure | None], str]
    #: Shown where some run has it.
    of: Callable[[Measure], object]


def _plain(head: str, field: str, form: str) -> _Column:
    return _Column(
        head, lambda _, top, __: _number(getattr(top, field), form), lambda one: getattr(one, field)
    )


def _median(found: Sequence[Measure], _: Measure, __: Measure | None) -> str:
    rates = [one.rate for one in found if one.rate is not None]
    return _number(median(rates) if rates else None, "{:,.0f}")


def _ratio(_: Sequence[Measure], top: Measure, ours: Measure | None) -> str:
    mine, its = (ours.rate, top.rate) if ours and ours.rate else (ours and _less(ours), _less(top))
    return _number(mine / its if mine and its else None, "{:.2f} ×")


_COLUMNS: Final = (
    _plain("jobs", "jobs", "{:,}"),
    _plain("jobs/s", "rate", "{:,.0f}"),
    _Column("median", _median, lambda one: one.rate),
    _plain("bytes/job", "bytes", "{:,.0f}"),
    _plain("50 %", "p50_ms", "{:,.2f}"),
    _plain("99 %", "p99_ms", "{:,.2f}"),
    _plain("seconds", "seconds", "{:,.1f}"),
    _plain("commands/s", "idle", "{:,.1f}"),
    _plain("requests/s", "idle_reads", "{:,.1f}"),
    _Column("streamq is", _ratio, lambda _: True),
    _plain("process µs", "process_us", "{:.1f}"),
    _plain("server µs", "server_us", "{:.1f}"),
    _plain("commands", "commands", "{:.2f}"),
    _plain("reads", "reads", "{:.2f}"),
    _plain("early", "early", "{:,}"),
    _Column("lost", lambda found, _, __: _sum([one.missing for one in found]), lambda one: one.missing),
    _Column("twice", lambda found, _, __: _sum([one.twice for one in found]), lambda one: one.twice),
)


def _scenario(title: str, measures: Sequence[Measure], names: dict[str, str]) -> str:
    engines = {name: [one for one in measures if one.engine == name] for name in names}
    runs = {name: found for name, found in engines.items() if found}
    ours = best(runs[OURS]) if OURS in runs else None
    columns = [column for column in _COLUMNS if any(column.of(one) is not None for one in measures)]
    rows = [["engine", *(column.head for column in columns)]]
    rows += [
        [names[name], *(column.cell(found, best(found), ours) for column in columns)]
        for name, found in runs.items()
    ]
    rounds = max(len(found) for found in runs.values())
    counted = f"best of {rounds}" if rounds > 1 else "one round"
    notes = [
        f"  {names[name]}: {one.trouble}" for name, found in runs.items() for one in found if one.trouble
    ]
    return "\n".join([f"{title} ({counted})", *aligned(rows), *notes])


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else form.format(value)


def _sum(counts: Sequence[int | None]) -> str:
    """Over all rounds: a job that is lost once is lost."""
    known = [count for count in counts if count is not None]
    return f"{sum(known):,}" if known else ""


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a table; all columns but the first to the right."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        lines.append(("  " + "  ".join(cells)).rstrip())
    return lines
