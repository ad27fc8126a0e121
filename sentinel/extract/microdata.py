"""Microdata (`itemscope`, `itemprop`) in the shape JSON-LD has, so that one judge reads both."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from selectolax.lexbor import LexborNode

from sentinel.extract import html
from sentinel.extract.asked import asked

# `Any` is a property's value: text, an item, or a list of them; as in JSON-LD.

MAX_PROPERTIES: Final = 20_000
#: Where HTML keeps the value of a property, by element; elsewhere it is the text.
_VALUE_AT: Final = {
    "meta": "content",
    "link": "href",
    "a": "href",
    "area": "href",
    "img": "src",
    "audio": "src",
    "video": "src",
    "iframe": "src",
    "object": "data",
    "data": "value",
    "meter": "value",
    "time": "datetime",
}


def items(root: LexborNode) -> Iterator[dict[str, Any]]:
    """Items that are no property of another one, in document order."""
    made: dict[int, dict[str, Any]] = {}
    tops: list[dict[str, Any]] = []
    for node in _nodes(root):
        attributes = node.attributes
        name = attributes.get("itemprop")
        item = _item(attributes) if "itemscope" in attributes else None
        if item is not None:
            made[node.mem_id] = item
        owner = _owner(node, made)
        if name and owner is not None:
            value = item if item is not None else _value(node, attributes)
            for one in name.split()[:8]:
                _add(owner, one, value)
        elif item is not None:
            tops.append(item)
    yield from tops


def loose(root: LexborNode, name: str) -> list[str]:
    """Values of a property that belongs to no item at all, as careless templates write it."""
    found = []
    for node in root.css(f'[itemprop~="{name}"]')[:100]:
        parent = node.parent
        while parent is not None and "itemscope" not in parent.attributes:
            parent = parent.parent
        if parent is None:
            found.append(_value(node, node.attributes))
    return [value for value in found if value]


def _nodes(root: LexborNode) -> list[LexborNode]:
    return root.css("[itemscope], [itemprop]")[:MAX_PROPERTIES]


def _item(attributes: dict[str, str | None]) -> dict[str, Any]:
    kinds = (attributes.get("itemtype") or "").split()
    return {"@type": kinds, "@id": attributes.get("itemid") or ""}


def _owner(node: LexborNode, made: dict[int, dict[str, Any]]) -> dict[str, Any] | None:
    parent = node.parent
    while parent is not None:
        if (item := made.get(parent.mem_id)) is not None:
            return item
        parent = parent.parent
    return None


def _value(node: LexborNode, attributes: dict[str, str | None]) -> str:
    # `content` wins everywhere: shops put the bare amount there beside a printed one.
    if content := attributes.get("content"):
        return html.tidy(content)
    place = _VALUE_AT.get(node.tag or "")
    if place is not None and (value := attributes.get(place)):
        return html.tidy(value)
    if (attributes.get("itemprop") or "").lower() in ("price", "lowprice"):
        return asked(node).text
    return html.visible_text(node)


def _add(owner: dict[str, Any], name: str, value: Any) -> None:
    """A property given twice is a list."""
    if name not in owner:
        owner[name] = value
    elif isinstance(owner[name], list):
        owner[name].append(value)
    else:
        owner[name] = [owner[name], value]
