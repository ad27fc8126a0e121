"""A CSS selector for an element: short, and of what is likely to stay.

Tried in this order, each alone and then below an element above that has a name: an id, a `data-*` or
`itemprop` attribute, stable classes; at last the place among its siblings. Taken is the first whose
first match is the element.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from typing import Final

from selectolax.lexbor import LexborHTMLParser, LexborNode

from sentinel.errors import CheckFailure
from sentinel.extract import css, fingerprint

#: Levels above that may be named; selectors that are tried.
MAX_LEVELS: Final = 6
MAX_TRIES: Final = 60
#: Levels of a selector by place alone.
MAX_PLACES: Final = 8
_PLAIN: Final = re.compile(r"-?[A-Za-z_][A-Za-z0-9_-]{0,60}")
_TELLING: Final = ("itemprop", "data-testid", "data-test", "data-qa", "data-role", "name", "property", "rel")


def selector_for(tree: LexborHTMLParser, root: LexborNode, node: LexborNode) -> str | None:
    """A selector whose first match inside of `root` is `node`, or None."""
    for selector in islice(_ideas(node), MAX_TRIES):
        if finds(tree, root, selector, node):
            return selector
    placed = _place(node, root)
    return placed if placed is not None and finds(tree, root, placed, node) else None


def finds(tree: LexborHTMLParser, root: LexborNode, selector: str, node: LexborNode) -> bool:
    """Whether the selector's first match is the node."""
    try:
        found = css.first_within(tree, root, selector)
    except CheckFailure:
        return False
    return found is not None and found.mem_id == node.mem_id


def _ideas(node: LexborNode) -> Iterator[str]:
    own = list(_names(node))
    yield from own
    last = [*own, node.tag or "*"]
    parent, level = node.parent, 0
    while parent is not None and level < MAX_LEVELS:
        for above in _names(parent):
            for name in last[:4]:
                yield f"{above} > {name}" if level == 0 else f"{above} {name}"
        parent, level = parent.parent, level + 1


def _names(node: LexborNode) -> Iterator[str]:
    """What an element may be called by, the most lasting first."""
    attributes = node.attributes
    if (own := attributes.get("id")) and _PLAIN.fullmatch(own) and _is_stable(own):
        yield f"#{own}"
    for name in _TELLING:
        value = attributes.get(name)
        if value and _PLAIN.fullmatch(value):
            yield f"{node.tag}[{name}={value}]"
    classes = [
        one
        for one in (attributes.get("class") or "").split()[:8]
        if _PLAIN.fullmatch(one) and _is_stable(one)
    ]
    for one in classes:
        yield f"{node.tag}.{one}"
    if len(classes) > 1:
        yield f"{node.tag}." + ".".join(classes[:3])


def _is_stable(name: str) -> bool:
    return not any(fingerprint.is_hash(part) for part in re.split(r"[-_]+", name) if part)


def _place(node: LexborNode, root: LexborNode) -> str | None:
    """By place alone, from the nearest element with an id or from the top."""
    steps: list[str] = []
    here: LexborNode | None = node
    while here is not None and here.mem_id != root.mem_id and len(steps) < 40:
        if (here.tag or "-").startswith(("-", "#")):
            break
        own = here.attributes.get("id")
        if steps and own and _PLAIN.fullmatch(own) and _is_stable(own):
            steps.append(f"#{own}")
            break
        if len(steps) >= MAX_PLACES and (named := next(_names(here), None)) is not None:
            steps.append(named)
            break
        steps.append(_nth(here))
        here = here.parent
    return " > ".join(reversed(steps)) if steps else None


def _nth(node: LexborNode) -> str:
    count, sibling, alone = 1, node.prev, True
    while sibling is not None:
        if sibling.tag == node.tag:
            count += 1
            alone = False
        sibling = sibling.prev
    sibling = node.next
    while alone and sibling is not None:
        alone = sibling.tag != node.tag
        sibling = sibling.next
    return f"{node.tag}" if alone else f"{node.tag}:nth-of-type({count})"
