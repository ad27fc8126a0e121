"""One row of a list of hostile inputs, and what its input spells."""

from __future__ import annotations

import csv
import gzip
import json
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import brotli
import zstandard

if TYPE_CHECKING:
    from tests.hostile.stage import Stage

OWN = Path(__file__).with_name("own.csv")
#: The list that others have too.
SHARED = Path(__file__).parents[1] / "sentinel" / "fetch" / "data" / "hostile-inputs-dev.csv"

_SPACE = {"gzip": gzip, "zlib": zlib, "json": json, "brotli": brotli, "zstandard": zstandard}


@dataclass(frozen=True)
class Row:
    """One hostile input."""

    kind: str
    input: str
    expected: str
    why: str
    #: Of all rows of a run, from 0.
    number: int

    @property
    def is_control(self) -> bool:
        """An honest input, which must be let through."""
        return self.expected == "allow"

    def __str__(self) -> str:
        return f"{self.kind} {self.input[:90]!r} ({self.expected})"


#: Says what is wrong with what became of a row; '' where it is as expected.
Judge = Callable[[], str]
#: Brings a row onto the stage. Raises NotRun.
Runner = Callable[[Row, "Stage"], Judge]


class NotRun(Exception):  # noqa: N818 - it is no error
    """Nothing here can be given the row; the reason, for people."""


def read(paths: Sequence[Path]) -> list[Row]:
    """The rows of some lists, in order."""
    found: list[Row] = []
    for path in paths:
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                found.append(
                    Row(row["kind"], row["input"], row["expected"], row.get("why") or "", len(found))
                )
    return found


def spelt(text: str) -> str | bytes:
    """`py:` before an input makes it a Python expression; the lists are ours."""
    if not text.startswith("py:"):
        return text
    made = eval(text[3:], dict(_SPACE))  # noqa: S307 - see above
    return made if isinstance(made, str | bytes) else str(made)


def text_of(text: str) -> str:
    """The same as text."""
    made = spelt(text)
    return made if isinstance(made, str) else made.decode("utf-8", "surrogateescape")


def applied(row: Row) -> tuple[str, str]:
    """Of `SELECTOR ON PAGE`: both; the page is '' where the row has none."""
    written, _, page = row.input.partition(" ON ")
    return text_of(written), text_of(page)
