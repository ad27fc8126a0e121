"""A results file as tables a person can read: the best run of each engine, and streamq beside it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import median

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
    return max(measures, key=lambda one: (one.rate or 0.0, -(one.bytes or 0.0), one.trouble is None))


def _scenario(title: str, measures: Sequence[Measure], names: dict[str, str]) -> str:
    engines = {name: [one for one in measures if one.engine == name] for name in names}
    runs = {name: found for name, found in engines.items() if found}
    in_bytes = any(one.bytes is not None for one in measures)
    ours = best(runs[OURS]) if OURS in runs else None
    rows = [_memory_head() if in_bytes else _rate_head()]
    for name, found in runs.items():
        rows.append(
            _memory_row(names[name], found, ours) if in_bytes else _rate_row(names[name], found, ours)
        )
    rounds = max(len(found) for found in runs.values())
    counted = f"best of {rounds}" if rounds > 1 else "one round"
    notes = [
        f"  {names[name]}: {one.trouble}" for name, found in runs.items() for one in found if one.trouble
    ]
    return "\n".join([f"{title} ({counted})", *_aligned(rows), *notes])


def _rate_head() -> list[str]:
    head = [
        "engine",
        "jobs",
        "jobs/s",
        "median",
        "streamq is",
        "process µs",
        "server µs",
        "commands",
        "reads",
    ]
    return [*head, "lost", "twice"]


def _rate_row(name: str, found: Sequence[Measure], ours: Measure | None) -> list[str]:
    top = best(found)
    rates = [one.rate for one in found if one.rate is not None]
    ratio = ours.rate / top.rate if ours and ours.rate and top.rate else None
    return [
        name,
        f"{top.jobs:,}",
        _number(top.rate, "{:,.0f}"),
        _number(median(rates) if rates else None, "{:,.0f}"),
        _number(ratio, "{:.2f} ×"),
        _number(top.process_us, "{:.1f}"),
        _number(top.server_us, "{:.1f}"),
        _number(top.commands, "{:.2f}"),
        _number(top.reads, "{:.2f}"),
        _sum([one.missing for one in found]),
        _sum([one.twice for one in found]),
    ]


def _memory_head() -> list[str]:
    return ["engine", "jobs", "bytes/job", "streamq is"]


def _memory_row(name: str, found: Sequence[Measure], ours: Measure | None) -> list[str]:
    top = best(found)
    ratio = ours.bytes / top.bytes if ours and ours.bytes and top.bytes else None
    return [name, f"{top.jobs:,}", _number(top.bytes, "{:,.0f}"), _number(ratio, "{:.2f} ×")]


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else form.format(value)


def _sum(counts: Sequence[int | None]) -> str:
    """Over all rounds: a job that is lost once is lost."""
    known = [count for count in counts if count is not None]
    return f"{sum(known):,}" if known else ""


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        lines.append(("  " + "  ".join(cells)).rstrip())
    return lines
