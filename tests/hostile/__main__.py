"""`python -m tests.hostile`: the rows, and the counts of what became of them. Exit 1 where one is wrong."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.hostile.kinds import runner
from tests.hostile.rows import OWN, SHARED, Judge, NotRun, Row, read
from tests.hostile.stage import Stage, opened


@dataclass
class Result:
    """What became of all rows."""

    rows: Sequence[Row]
    #: Row number -> what is wrong; '' where it is as expected.
    judged: dict[int, str] = field(default_factory=dict)
    not_run: dict[int, str] = field(default_factory=dict)
    #: What is wrong with the worker itself.
    complaints: list[str] = field(default_factory=list)
    peak_mib: float = 0.0
    seconds: float = 0.0
    #: What the worker logged.
    log: str = ""

    @property
    def wrong(self) -> list[str]:
        """Everything that is not as expected, a line each."""
        rows = [f"{row}: {self.judged[row.number]}" for row in self.rows if self.judged.get(row.number)]
        return [*rows, *self.complaints]

    def table(self) -> str:
        """The counts by kind, for people."""
        kinds = list(dict.fromkeys(row.kind for row in self.rows))
        lines = [("kind", "rows", "as expected", "controls allowed", "wrong", "not run")]
        for kind in [*kinds, "all"]:
            rows = [row for row in self.rows if kind in (row.kind, "all")]
            run = [row for row in rows if row.number in self.judged]
            right = [row for row in run if not self.judged[row.number]]
            controls = [row for row in rows if row.is_control]
            allowed = sum(row.is_control for row in right)
            lines.append(
                (
                    kind,
                    str(len(rows)),
                    str(len(right)),
                    f"{allowed}/{len(controls)}" if controls else "-",
                    str(len(run) - len(right)),
                    str(len(rows) - len(run)),
                )
            )
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        told = [
            f"{line[0]:<{widths[0]}}  "
            + "  ".join(f"{one:>{w}}" for one, w in zip(line[1:], widths[1:], strict=True))
            for line in lines
        ]
        return "\n".join([*told[:-1], "-" * len(told[0]), told[-1]])

    def reasons(self) -> str:
        """Why rows were not run."""
        by_reason: Counter[tuple[str, str]] = Counter()
        inputs: dict[tuple[str, str], str] = {}
        for row in self.rows:
            if row.number in self.not_run:
                key = (row.kind, self.not_run[row.number])
                by_reason[key] += 1
                inputs.setdefault(key, row.input[:60])
        return "\n".join(
            f"not run: {count} {kind} ({inputs[kind, why]!r}{' ...' if count > 1 else ''}): {why}"
            for (kind, why), count in by_reason.items()
        )


def play(paths: Sequence[Path]) -> Result:
    """All rows of some lists, through one worker. Raises LookupError without a Redis."""
    result = Result(read(paths))
    with opened() as stage:
        judges = _brought(result, stage)
        stage.play()
        for number, judge in judges.items():
            try:
                result.judged[number] = judge()
            except Exception as error:  # noqa: BLE001 - a judge that breaks is no verdict: it is told
                result.judged[number] = f"could not be judged: {error!r}"
        result.complaints = stage.complaints + [f"the guard dialled {one}" for one in stage.breaches]
        result.peak_mib, result.seconds, result.log = stage.peak_mib, stage.seconds, stage.log
    return result


def _brought(result: Result, stage: Stage) -> dict[int, Judge]:
    judges = {}
    for row in result.rows:
        try:
            judges[row.number] = runner(row.kind)(row, stage)
        except NotRun as why:
            result.not_run[row.number] = str(why)
    return judges


def main(arguments: Sequence[str]) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.hostile", description=__doc__)
    parser.add_argument(
        "--csv",
        type=Path,
        action="append",
        metavar="FILE",
        help="a list of the columns kind,input,expected,why; its py: inputs are evaluated (default: both of ours)",
    )
    parser.add_argument("--log", type=Path, metavar="FILE", help="write what the worker logged there")
    given = parser.parse_args(arguments)
    result = play(given.csv or [SHARED, OWN])
    if given.log is not None:
        given.log.write_text(result.log, encoding="utf-8")
    print(result.table())
    print(result.reasons())
    print(
        f"worker alive: {'; '.join(result.complaints) or 'yes, one process, which did a good check after all of it'};"
        f" at most {result.peak_mib:.0f} MiB; {result.seconds:.0f} s"
    )
    for line in result.wrong:
        print(f"WRONG {line}")
    return 1 if result.wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
