"""Rows of an HTML table, or of elements that repeat (cards, list entries).

    selector: where the table, or what repeats, is      row: CSS of one row within it
    key: the column that names a row                    columns: which are told, and where they are

A table without `row` and without places for its columns is read as a grid: spans are spread, the first
row of headings names the columns, tables inside cells are text. With them each row is asked by CSS.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from typing import Final

from selectolax.lexbor import LexborNode

from sentinel.errors import CheckFailure
from sentinel.extract import css, html, rows
from sentinel.extract.page import Page
from sentinel.extract.step import Found, Step

#: Columns or rows that one cell may span (HTML's own limit is 1,000 and 65,534).
MAX_SPAN: Final = 1_000
#: A name that is only a heading, not a place: has neither CSS's signs nor `@`.
_PLAIN: Final = re.compile(r"[\w %()/€$£#-]+")


def read(page: Page, step: Step) -> Found:
    """The rows, in the page's order.

    Raises CheckFailure EXTRACT_SELECTOR_NOT_FOUND where the table, a row or a column is not there,
    EXTRACT_PARSE_ERROR for more than may be, RULE_INVALID for a selector that is none.
    """
    part = page.root(step.context)
    if step.selector.strip():
        within = css.first_within(page.tree, part, step.selector)
        if within is None:
            raise CheckFailure("EXTRACT_SELECTOR_NOT_FOUND", f"nothing matches {step.selector!r}")
        part = within
    if step.row is None:
        table = part if part.tag == "table" else part.css_first("table")
        if table is None:
            raise CheckFailure(
                "EXTRACT_SELECTOR_NOT_FOUND", f"there is no table in {step.selector or 'the page'!r}"
            )
        return rows.found(_of_table(table, step))
    return rows.found(_of_elements(page, part, step))


# --- elements that repeat -------------------------------------------------------------------------


def _of_elements(page: Page, part: LexborNode, step: Step) -> Iterator[rows.Row]:
    if problem := css.trouble(step.row or ""):
        raise CheckFailure("RULE_INVALID", f"{problem.message} {problem.hint}".strip())
    elements = part.css(step.row or "")
    if not elements:
        raise CheckFailure("EXTRACT_SELECTOR_NOT_FOUND", f"nothing matches the row {step.row!r}")
    columns = step.columns if isinstance(step.columns, dict) else {name: name for name in step.columns}
    seen: set[str] = set()
    for element in elements[: rows.MAX_ROWS + 1]:
        cells = {name: _place(page, element, where) for name, where in columns.items()}
        told = {name: text for name, text in cells.items() if text is not None}
        seen.update(told)
        text = html.visible_text(element)
        if step.key is None:
            key = next(iter(told.values()), text)
        elif step.key in columns:
            key = told.get(step.key, "")
        else:
            key = _place(page, element, step.key) or ""
        # A column that one row lacks is empty there: a card without an old price is still that card.
        yield key or text, {name: told.get(name, "") for name in columns} if columns else {"text": text}
    if missing := [name for name in columns if name not in seen]:
        raise CheckFailure(
            "EXTRACT_SELECTOR_NOT_FOUND", f"no row has the column {missing[0]!r} ({columns[missing[0]]!r})"
        )


def _place(page: Page, element: LexborNode, where: str) -> str | None:
    """The text at CSS within a row, `@NAME` an attribute of it, `CSS@NAME` of the element there."""
    selector, at, attribute = where.rpartition("@") if "@" in where else (where, "", "")
    if at and not re.fullmatch(r"[A-Za-z_][\w:.-]*", attribute):
        selector, at = where, ""
    node: LexborNode | None = element
    if selector.strip():
        node = css.first_within(page.tree, element, selector.strip())
    if node is None:
        return None
    if not at:
        return html.visible_text(node)
    value = node.attributes.get(attribute.lower())
    return None if value is None else html.tidy(value)


# --- a table --------------------------------------------------------------------------------------


def _of_table(table: LexborNode, step: Step) -> Iterator[rows.Row]:
    lines = list(_grid(table))
    if not lines:
        return
    count = _headings(lines)
    width = max(len(line) for line in lines)
    names = _names(lines[:count], width)
    body = [line for line in lines[count:] if any(text for text, _ in line)]
    asked = _asked(step)
    told = {name: rows.column(where, names) for name, where in asked.items()} or {n: n for n in names}
    place = {name: index for index, name in enumerate(names)}
    key = place[rows.column(told.get(step.key, step.key), names)] if step.key else 0
    for line in body:
        cells = [text for text, _ in line] + [""] * (width - len(line))
        yield cells[key], {name: cells[place[where]] for name, where in told.items()}


def _asked(step: Step) -> dict[str, str]:
    return step.columns if isinstance(step.columns, dict) else {name: name for name in step.columns}


def _grid(table: LexborNode) -> Iterator[list[tuple[str, bool]]]:
    """Lines of (text, is a heading), spans spread over the cells they cover."""
    hanging: dict[int, tuple[int, tuple[str, bool]]] = {}  # column -> rows to come, cell
    for line in islice(_lines(table), rows.MAX_ROWS + 2):
        cells: list[tuple[str, bool]] = []
        _take_hanging(cells, hanging)
        for node in _cells(line):
            cell = (html.visible_text(node), node.tag == "th")
            down = _span(node, "rowspan")
            for _ in range(_span(node, "colspan")):
                if down > 1:
                    hanging[len(cells)] = (down - 1, cell)
                cells.append(cell)
                if len(cells) > rows.MAX_COLUMNS:
                    raise CheckFailure(
                        "EXTRACT_PARSE_ERROR", f"the table has more than {rows.MAX_COLUMNS} columns"
                    )
            _take_hanging(cells, hanging)
        if cells:
            yield cells


def _take_hanging(cells: list[tuple[str, bool]], hanging: dict[int, tuple[int, tuple[str, bool]]]) -> None:
    """Put in what cells of earlier lines reach down into this one."""
    while (waiting := hanging.pop(len(cells), None)) is not None:
        left, cell = waiting
        if left > 1:
            hanging[len(cells)] = (left - 1, cell)
        cells.append(cell)


def _lines(table: LexborNode) -> Iterator[LexborNode]:
    """The table's own `tr`, not those of tables inside it."""
    child = table.first_child
    while child is not None:
        if child.tag == "tr":
            yield child
        elif child.tag in ("thead", "tbody", "tfoot"):
            inner = child.first_child
            while inner is not None:
                if inner.tag == "tr":
                    yield inner
                inner = inner.next
        child = child.next


def _cells(line: LexborNode) -> Iterator[LexborNode]:
    child = line.first_child
    while child is not None:
        if child.tag in ("td", "th"):
            yield child
        child = child.next


def _span(node: LexborNode, name: str) -> int:
    written = (node.attributes.get(name) or "1").strip()
    return max(1, min(int(written), MAX_SPAN)) if re.fullmatch(r"[0-9]{1,6}", written) else 1


def _headings(lines: list[list[tuple[str, bool]]]) -> int:
    """How many lines at the top are headings: those of `th` alone."""
    count = 0
    for line in lines:
        if not all(heading or not text for text, heading in line) or not any(h for _, h in line):
            break
        count += 1
    return 0 if count == len(lines) else count


def _names(lines: list[list[tuple[str, bool]]], width: int) -> list[str]:
    """A name for every column: its headings from top to bottom, its number where there is none."""
    names: list[str] = []
    for index in range(width):
        parts = [line[index][0] for line in lines if index < len(line)]
        said = " ".join(part for n, part in enumerate(parts) if part and part not in parts[:n])
        name = " ".join(said.split()) or str(index + 1)
        while name in names:
            name += f" ({index + 1})"
        names.append(name)
    return names
