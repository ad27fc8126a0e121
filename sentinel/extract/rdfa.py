"""RDFa (`typeof`, `property`) and microformats (`h-product`, `hproduct`) in the shape JSON-LD has.

Of RDFa what shops write: types and properties of schema.org, with or without a prefix. One judge reads
all of them, see `products`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from selectolax.lexbor import LexborNode

from sentinel.extract import html

# `Any` is a property's value: text, an item, or a list of them; as in JSON-LD.

MAX_NODES: Final = 5_000
MAX_PRODUCTS: Final = 50
#: Elements between a property and its item.
MAX_ANCESTORS: Final = 100
_CLASSES: Final = (
    ("name", ".p-name, .fn"),
    ("price", ".p-price, .price"),
    ("sku", ".u-identifier, .identifier"),
    ("brand", ".p-brand, .brand"),
)


def items(root: LexborNode) -> Iterator[dict[str, Any]]:
    """Items of schema.org that are no property of another one, in document order."""
    made: dict[int, dict[str, Any]] = {}
    tops: list[dict[str, Any]] = []
    # Open Graph uses `property` too, on a <meta> in the head; without a type on the page there is no item.
    if root.css_first("[typeof]") is None:
        return
    for node in root.css("[typeof], [property], [rel]")[:MAX_NODES]:
        attributes = node.attributes
        kinds = (attributes.get("typeof") or "").split()
        item: dict[str, Any] | None = (
            {"@type": kinds, "@id": attributes.get("resource") or ""} if kinds else None
        )
        if item is not None:
            made[node.mem_id] = item
        name, owner = _owner(node, made)
        if name and owner is not None:
            # `rel` names the items inside; by itself it holds nothing.
            if item is not None or "property" in attributes:
                _add(owner, name, item if item is not None else _value(node, attributes))
        elif item is not None:
            tops.append(item)
    yield from tops


def microformats(root: LexborNode) -> Iterator[dict[str, Any]]:
    """Products marked by class: `h-product`, and the older `hproduct`."""
    for node in root.css(".h-product, .hproduct")[:MAX_PRODUCTS]:
        item: dict[str, Any] = {"@type": "Product"}
        for name, selector in _CLASSES:
            found = node.css_first(selector)
            if found is not None:
                item[name] = html.tidy(html.form_value(found) or "") or html.visible_text(found)[:200]
        yield item


def _owner(node: LexborNode, made: dict[int, dict[str, Any]]) -> tuple[str | None, dict[str, Any] | None]:
    """The property this node is, and the item it belongs to. A `rel` around an item names it too."""
    name = _property(node.attributes.get("property")) or None
    parent = node.parent
    for _ in range(MAX_ANCESTORS):
        if parent is None:
            break
        item = made.get(parent.mem_id)
        if item is not None:
            return name, item
        name = name or _property(parent.attributes.get("rel")) or None
        parent = parent.parent
    return name, None


def _property(written: str | None) -> str:
    """`schema:price` and `http://schema.org/price` are `price`."""
    first = (written or "").split(" ")[0]
    return first.replace("#", "/").replace(":", "/").rsplit("/", 1)[-1]


def _value(node: LexborNode, attributes: dict[str, str | None]) -> str:
    for place in ("content", "resource", "href", "src", "datetime"):
        if value := attributes.get(place):
            return html.tidy(value)
    return html.visible_text(node)


def _add(owner: dict[str, Any], name: str, value: Any) -> None:
    """A property given twice is a list."""
    if name not in owner:
        owner[name] = value
    elif isinstance(owner[name], list):
        owner[name].append(value)
    else:
        owner[name] = [owner[name], value]
