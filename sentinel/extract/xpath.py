"""XPath 1.0: the first match in document order, or the string, number or truth an expression comes to.

An expression may be built to take hours on a small page, so it only ever runs in the child process
(`sentinel.extract.contained`). HTML is seen as browsers build it (an expression copied from a browser's
tools fits, `tbody` included): the tree is the one that CSS selectors see, copied. XML is parsed without
DTD, entities and network. With a context the tree begins there, so `//` cannot leave it.
"""

from __future__ import annotations

import math
import re
from functools import lru_cache
from typing import Any, Final, NamedTuple

from lxml import etree
from selectolax.lexbor import LexborNode

from sentinel.errors import CheckFailure, Problem
from sentinel.extract import css, html, xml
from sentinel.extract.asked import MAX_OTHERS, first_asked, is_struck
from sentinel.extract.hints import did_you_mean, shown
from sentinel.extract.page import Page
from sentinel.extract.step import Found, Step

# `Any` is what lxml gives: elements, strings, numbers.

#: Characters in an expression.
MAX_EXPRESSION: Final = 2_000
#: Matches that are looked at; the first one is told.
MAX_MATCHES: Final = 50
#: Characters of one attribute that are copied from the page.
MAX_ATTRIBUTE: Final = 1 << 20
#: XPath 1.0's own, https://www.w3.org/TR/1999/REC-xpath-19991116/#corelib
FUNCTIONS: Final = (
    "last", "position", "count", "id", "local-name", "namespace-uri", "name", "string", "concat",
    "starts-with", "contains", "substring-before", "substring-after", "substring", "string-length",
    "normalize-space", "translate", "boolean", "not", "true", "false", "lang", "number", "sum", "floor",
    "ceiling", "round",
)  # fmt: skip
_NODE_TESTS: Final = ("node", "text", "comment", "processing-instruction")
#: What XPath 2.0 and other tools have, and how it is said here.
_FOREIGN: Final = {
    "lower-case": "XPath 1.0 says translate(., 'ABC', 'abc'); or use postprocess: [lowercase]",
    "upper-case": "XPath 1.0 says translate(., 'abc', 'ABC'); or use postprocess: [uppercase]",
    "ends-with": "XPath 1.0 has starts-with() and contains()",
    "matches": "use contains() and a postprocess step regex_extract",
    "replace": "use a postprocess step replace",
    "string-join": "select an element: its text is told as a whole",
}
_STRING: Final = re.compile(r"\"[^\"]*\"|'[^']*'")
_CALL: Final = re.compile(r"([A-Za-z_][\w.-]*)\s*\(")
_PREFIX: Final = re.compile(r"(?<![\w:])([A-Za-z_][\w.-]*):(?!:)[\w*]")
_VARIABLE: Final = re.compile(r"\$\s*[\w:.-]+")
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_NOT_XML: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


class _Tree(NamedTuple):
    """A tree to ask, and the page's own node of each element (none in XML)."""

    root: Any
    nodes: list[LexborNode]


def read(page: Page, step: Step) -> Found:
    """What the expression finds, as the attribute asks for it.

    Raises CheckFailure EXTRACT_SELECTOR_NOT_FOUND, EXTRACT_PARSE_ERROR for XML that is none,
    RULE_INVALID for an expression that is none.
    """
    tree = _tree(page, step.context)
    told = _ask(tree.root, step.selector)
    if isinstance(told, list):
        if not told:
            where = f" inside {step.context!r}" if step.context else ""
            raise CheckFailure("EXTRACT_SELECTOR_NOT_FOUND", f"nothing matches {step.selector!r}{where}")
        return _of(told, tree, step)
    return Found(raw=_words(told, step.selector))


def nodes(page: Page, expression: str, context: str | None = None) -> list[LexborNode]:
    """The page's elements that match, the first MAX_MATCHES; raises as `read`."""
    tree = _tree(page, context)
    told = _ask(tree.root, expression)
    if not isinstance(told, list):
        return []
    found = [_node_of(one, tree) for one in told if isinstance(one, etree._Element)]  # noqa: SLF001 - its only name
    return [node for node in found if node is not None]


def count(page: Page, expression: str, context: str | None = None) -> int | None:
    """How many nodes match; None where the expression comes to no nodes. Raises as `read`."""
    tree = _tree(page, context)
    if not isinstance(_ask(_EMPTY, expression), list):
        return None
    return int(_ask(tree.root, f"count({expression})"))


def trouble(expression: str) -> Problem | None:
    """What is wrong with an expression, in lxml's words and with the place, or None."""
    if not expression.strip():
        return Problem("", "an XPath expression is needed", "for example `//span[@class='price']`")
    if len(expression) > MAX_EXPRESSION or css.nesting(_STRING.sub("", expression)) > css.MAX_NESTING:
        most = f"{MAX_EXPRESSION} characters and nest {css.MAX_NESTING} parentheses"
        return Problem("", f"an expression may have {most}", "")
    bare = _STRING.sub(lambda found: "'" + " " * (len(found[0]) - 2) + "'", expression)
    if problem := _foreign(bare):
        return problem
    try:
        _compiled(expression)(_EMPTY)
    except etree.XPathError as exc:
        place = next((entry.column for entry in exc.error_log), 0)
        near = f" at character {place + 1}" if isinstance(exc, etree.XPathSyntaxError) else ""
        return Problem("", f"{shown(expression)} is not an XPath expression: {exc}{near}", _hint(bare))
    except ValueError as exc:  # control characters
        return Problem("", f"{shown(expression)} is not an XPath expression: {exc}", "")
    return None


def _foreign(bare: str) -> Problem | None:
    if found := _PREFIX.search(bare):
        return Problem(
            "",
            f"no such prefix {found[1]}: at character {found.start() + 1}",
            "write *[local-name()='NAME'] for an element in a namespace",
        )
    for called in _CALL.finditer(bare):
        name = called[1]
        if name in FUNCTIONS or name in _NODE_TESTS or name in ("and", "or", "div", "mod"):
            continue
        hint = _FOREIGN.get(name) or did_you_mean(name, FUNCTIONS)
        return Problem("", f"no such function {name}() at character {called.start() + 1}", hint)
    if found := _VARIABLE.search(bare):
        return Problem("", f"there are no variables, as {found[0]} at character {found.start() + 1}", "")
    return None


def _hint(bare: str) -> str:
    if re.match(r"\s*[.#][\w-]+", bare) and not bare.lstrip().startswith((".//", "./")):
        return "this looks like CSS: use method: css"
    return ""


# --- asking ---------------------------------------------------------------------------------------

_EMPTY: Final = etree.Element("html")


def _ask(root: Any, expression: str) -> Any:
    if problem := trouble(expression):
        raise CheckFailure("RULE_INVALID", f"{problem.message} {problem.hint}".strip())
    # XPath 1.0 is typed by its form: what is a list on an empty tree is one on every tree.
    if isinstance(_compiled(expression)(_EMPTY), list):
        expression = f"({expression})[position() <= {MAX_MATCHES}]"
    try:
        return _compiled(expression)(root)
    except etree.XPathError as exc:
        raise CheckFailure("EXTRACT_PARSE_ERROR", f"the expression could not be evaluated: {exc}") from exc


@lru_cache(maxsize=256)
def _compiled(expression: str) -> Any:
    return etree.XPath(expression, regexp=False, smart_strings=False)


def _of(told: list[Any], tree: _Tree, step: Step) -> Found:
    """The first of the matches: an element as the attribute asks; an attribute or a text as it is."""
    match = told[0]
    if not isinstance(match, etree._Element):  # noqa: SLF001 - its only name
        return Found(raw=html.tidy(str(match)))
    node = _node_of(match, tree)
    if node is None:
        return Found(raw=xml.of(match, step.attribute, step.selector))
    if step.money and is_struck(node):
        others = [_node_of(one, tree) for one in told[:MAX_OTHERS] if isinstance(one, etree._Element)]  # noqa: SLF001 - as above
        node = first_asked([one for one in others if one is not None])
    return css.found(node, step)


def _words(told: Any, expression: str) -> str:
    """A string, number or truth as text."""
    if isinstance(told, bool):
        return "true" if told else "false"
    if isinstance(told, float):
        if not math.isfinite(told):
            raise CheckFailure("EXTRACT_SELECTOR_NOT_FOUND", f"{expression!r} comes to no number")
        return f"{told:.15g}" if not told.is_integer() else f"{told:.0f}"
    return html.tidy(str(told))


# --- trees ----------------------------------------------------------------------------------------


def _tree(page: Page, context: str | None) -> _Tree:
    if page.is_xml:
        if context:
            raise CheckFailure("EXTRACT_SELECTOR_NOT_FOUND", "a context is a CSS selector, and this is XML")
        return _Tree(xml.parse(page.text), [])
    return _copied(page.root(context))


def _copied(root: LexborNode) -> _Tree:
    """The tree of HTML as lxml's: elements, attributes whose names XML allows, text."""
    top: Any = etree.Element(_name(root.tag))
    made: list[LexborNode] = [root]
    _attributes(top, root)
    last: Any = None
    parent, node = top, root.first_child
    while node is not None:
        tag = node.tag or ""
        if tag == "-text":
            words = _NOT_XML.sub("", node.text_content or "")
            if last is None:
                parent.text = (parent.text or "") + words
            else:
                last.tail = (last.tail or "") + words
        elif not tag.startswith(("-", "!")):
            last = etree.SubElement(parent, _name(tag))
            made.append(node)
            _attributes(last, node)
            if (child := node.first_child) is not None:
                parent, last, node = last, None, child
                continue
        while node.next is None:
            above = node.parent
            if above is None or above.mem_id == root.mem_id:
                return _Tree(top, made)
            node, last, parent = above, parent, parent.getparent()
        node = node.next
    return _Tree(top, made)


def _attributes(element: Any, node: LexborNode) -> None:
    for name, value in node.attributes.items():
        if _NAME.fullmatch(name):
            element.set(name, _NOT_XML.sub("", (value or "")[:MAX_ATTRIBUTE]))


def _name(tag: str | None) -> str:
    return tag if tag and _NAME.fullmatch(tag) else "unknown"


def _node_of(element: Any, tree: _Tree) -> LexborNode | None:
    """The page's own node of a copied element: both are in document order."""
    if not tree.nodes:
        return None
    for copied, node in zip(tree.root.iter(), tree.nodes, strict=False):
        if copied is element:
            return node
    return None
