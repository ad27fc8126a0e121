"""Where a command's words go: data to stdout, as JSON Lines or a table; the rest to stderr.

What comes from queues, pages and files is somebody else's text. On its way to a terminal every
control character is shown, not obeyed.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, TextIO

import msgspec

from sentinel.cli.values import brief

#: Spaces between two columns.
GAP: Final = 2
#: Narrowest the last column is cut to.
NARROWEST: Final = 12
#: Widest another column becomes: one job of a stranger with a long id must not push those of all others away.
WIDEST: Final = 64

Document = Mapping[str, object]


class Output:
    """Two streams and what may be written to them."""

    def __init__(
        self, stdout: TextIO, stderr: TextIO, *, json: bool = False, quiet: bool = False, color: bool = True
    ) -> None:
        self.stdout = stdout
        self.stderr = stderr
        self.json = json
        self.quiet = quiet
        self._color = color

    @property
    def to_terminal(self) -> bool:
        """A person looks at stdout."""
        return self.stdout.isatty()

    def document(self, document: Document) -> None:
        """One JSON document, on a line of its own."""
        self.stdout.write(msgspec.json.encode(document).decode() + "\n")
        self.stdout.flush()

    def line(self, text: str = "") -> None:
        """A line of data for people."""
        self.stdout.write(printable(text) + "\n")

    def say(self, text: str) -> None:
        """What was done, for people; not with --quiet."""
        if not self.quiet:
            self.stderr.write(printable(text) + "\n")

    def warn(self, text: str) -> None:
        """Something to look at; not with --quiet."""
        if not self.quiet:
            self.stderr.write(f"{self._styled('warning:', '33', self.stderr)} {printable(text)}\n")

    def error(self, messages: Sequence[str], hint: str = "") -> None:
        """`error: ...` for each message, then `hint: ...`."""
        with contextlib.suppress(OSError):  # nobody to tell: the exit code still says it
            for message in messages:
                self.stderr.write(f"{self._styled('error:', '31', self.stderr)} {printable(message)}\n")
            if hint:
                self.stderr.write(f"{self._styled('hint:', '36', self.stderr)} {printable(hint)}\n")
            self.stderr.flush()

    def table(self, header: Sequence[str], rows: Iterable[Sequence[object]], *, right: str = "") -> None:
        """Columns for people. `right` names the headers of columns that are numbers."""
        numeric = [name in right.split() for name in header]
        cells = [[_cell(value) for value in row] for row in rows]
        every = [list(header), *cells]
        widths = [min(WIDEST, max(len(row[i]) for row in every)) for i in range(len(header))]
        limit = self._room_for_last(widths)
        self.stdout.write(self._styled(_row(header, widths, numeric, limit), "1", self.stdout) + "\n")
        for row in cells:
            self.stdout.write(_row(row, widths, numeric, limit) + "\n")

    def mark(self, *, well: bool) -> str:
        """`ok` or `FAILED`, as wide as each other."""
        return (
            self._styled("ok     ", "32", self.stdout) if well else self._styled("FAILED ", "31", self.stdout)
        )

    def colored(self, text: str, style: str) -> str:
        """`text` in a colour where stdout shows one. For `raw`, which prints what is escaped already."""
        return self._styled(printable(text), style, self.stdout)

    def raw(self, text: str) -> None:
        """A line whose every part came through `colored`."""
        self.stdout.write(text + "\n")

    def clear(self) -> None:
        """Start at the top of the screen again (`--watch`)."""
        if self.to_terminal and self._color:
            self.stdout.write("\x1b[H\x1b[2J")

    def _room_for_last(self, widths: Sequence[int]) -> int | None:
        """Characters the last column may have, so that a row fits a terminal; None: any."""
        if not self.to_terminal:
            return None
        used = sum(widths[:-1]) + GAP * (len(widths) - 1)
        return max(NARROWEST, shutil.get_terminal_size().columns - used)

    def _styled(self, text: str, style: str, stream: TextIO) -> str:
        return f"\x1b[{style}m{text}\x1b[0m" if self._color and stream.isatty() else text


def printable(text: str) -> str:
    """`text` with control characters written out, so that a terminal shows and does not obey them."""
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text)


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return brief(value)
    return printable(str(value)).replace("\n", "\\n")


def _row(cells: Sequence[str], widths: Sequence[int], numeric: Sequence[bool], limit: int | None) -> str:
    *first, last = cells
    if limit is not None:
        first = [_cut(cell, WIDEST) for cell in first]
        last = _cut(last, limit)
    parts = [
        cell.rjust(width) if right else cell.ljust(width)
        for cell, width, right in zip(first, widths, numeric, strict=False)
    ]
    parts.append(last.rjust(widths[-1]) if numeric[-1] else last)
    return (" " * GAP).join(parts).rstrip()


def _cut(cell: str, most: int) -> str:
    return cell if len(cell) <= most else cell[: most - 1] + "…"
