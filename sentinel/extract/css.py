"""CSS selectors: the first match in document order."""

from __future__ import annotations

import math
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from selectolax.lexbor import LexborHTMLParser, LexborNode, SelectolaxError

from sentinel.errors import CheckFailure, Problem
from sentinel.extract import html
from sentinel.extract.asked import MAX_OTHERS, asked, first_asked, is_struck
from sentinel.extract.hints import shown
from sentinel.extract.step import Found, Step

if TYPE_CHECKING:
    from sentinel.extract.page import Page  # page searches its context with this module

#: Parentheses inside parentheses. lexbor takes 2,000 of `:not(` without a word; a person needs three.
MAX_NESTING: Final = 8
_EMPTY: Final = "<!doctype html><title></title>"
_STRING: Final = re.compile(r"\\.|\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'", re.DOTALL)
#: What other tools take and CSS does not.
_FOREIGN: Final = (
    (re.compile(r"^\s*\(?\.?//"), "this looks like XPath: use method: xpath"),
    (
        re.compile(r"::(?:text|attr)\b"),
        "use `attribute: text` or `attribute: attr:NAME` instead of ::text and ::attr",
    ),
    (re.compile(r":contains\("), "`:contains()` is not CSS; `:lexbor-contains('text')` does it here"),
    (
        re.compile(r":(?:eq|first|last|gt|lt|visible)\b(?!-)"),
        "this is jQuery; CSS has :nth-child() and :first-child",
    ),
    (re.compile(r"^\s*\$"), "this looks like a JSONPath: use method: jsonpath"),
)


def read(page: Page, step: Step) -> Found:
    """The first match, as the attribute asks for it.

    Raises CheckFailure EXTRACT_SELECTOR_NOT_FOUND, RULE_INVALID for a selector that is not CSS.
    """
    root = page.root(step.context)
    node = first_within(page.tree, root, step.selector)
    if node is None:
        where = f" inside {step.context!r}" if step.context else ""
        raise CheckFailure("EXTRACT_SELECTOR_NOT_FOUND", f"nothing matches {step.selector!r}{where}")
    if step.money and is_struck(node):
        node = first_asked(root.css(step.selector)[:MAX_OTHERS])
    return found(node, step)


def found(node: LexborNode, step: Step) -> Found:
    """What the step's attribute says of an element; as a price without what was asked before."""
    if not step.money or step.attribute != "text" or node.first_child is None:
        return Found(raw=of(node, step.attribute, step.selector), node=node)
    now = asked(node)
    return Found(raw=now.text, currency=now.currency, joined=now.joined, node=node)


def of(node: LexborNode, attribute: str, selector: str) -> str:
    """What `attribute` (text, html, value, attr:NAME) says of an element.

    Raises CheckFailure EXTRACT_SELECTOR_NOT_FOUND where the element has no such attribute.
    """
    match attribute:
        case "text":
            return html.visible_text(node)
        case "html":
            return html.inner_html(node)
        case "value":
            value = html.form_value(node)
        case _:
            name = attribute.removeprefix("attr:").lower()
            attributes = node.attributes
            value = (attributes[name] or "") if name in attributes else None
    if value is None:
        raise CheckFailure("EXTRACT_SELECTOR_NOT_FOUND", f"the match of {selector!r} has no {attribute}")
    return html.tidy(value)


def first(tree: LexborHTMLParser, selector: str) -> LexborNode | None:
    """The first match on the whole page. Raises CheckFailure RULE_INVALID."""
    if problem := trouble(selector):
        raise CheckFailure("RULE_INVALID", f"{problem.message} {problem.hint}".strip())
    try:
        return tree.css_first(selector)
    except SelectolaxError as exc:
        raise CheckFailure("RULE_INVALID", f"{selector!r} is not a CSS selector") from exc


def first_within(tree: LexborHTMLParser, root: LexborNode, selector: str) -> LexborNode | None:
    """The first match below `root`; the selector may name elements above it, as in browsers."""
    whole = tree.root
    if whole is None or root.mem_id == whole.mem_id:
        return first(tree, selector)
    if problem := trouble(selector):
        raise CheckFailure("RULE_INVALID", f"{problem.message} {problem.hint}".strip())
    try:
        return root.css_first(selector)
    except SelectolaxError as exc:
        raise CheckFailure("RULE_INVALID", f"{selector!r} is not a CSS selector") from exc


@lru_cache(maxsize=512)  # asked for every check, and a parser is made to answer
def trouble(selector: str) -> Problem | None:
    """What is wrong with a selector, with a hint, or None. Its path is empty: the caller knows it."""
    if not selector.strip():
        return Problem("", "a CSS selector is needed", "for example `.price` or `#stock span`")
    bare = _STRING.sub("", selector)
    if nesting(bare) > MAX_NESTING:
        return Problem(
            "", f"a selector may nest {MAX_NESTING} parentheses", "name the element by class or id instead"
        )
    for pattern, hint in _FOREIGN:
        if pattern.search(bare):
            return Problem("", f"{shown(selector)} is not a CSS selector", hint)
    if guess := _unfinished(bare):
        return Problem("", f"{shown(selector)} is not a CSS selector", guess)
    try:
        LexborHTMLParser(_EMPTY).css_first(selector)
    except (SelectolaxError, ValueError, UnicodeError):
        unknown = re.search(r"::?[a-z-]+", bare)
        hint = f"perhaps `{unknown[0]}` is not known here" if unknown else ""
        return Problem("", f"{shown(selector)} is not a CSS selector", hint)
    return None


def cost(selector: str, tags: int, depth: int) -> float:
    """Comparisons a selector may need at worst on a page of so many tags, so deeply nested.

    The engine goes back at every combinator: one over ancestors costs the depth, one over siblings
    (`~`, `+`) and every `:has` or `:nth` the number of tags, each times the others.
    """
    ancestors, siblings, places = _combined(selector)
    upwards = float(max(depth, 2)) ** ancestors / math.factorial(min(ancestors, 20))
    return tags * upwards * float(max(tags, 2)) ** siblings * max(tags / 4, 1.0) ** places


@lru_cache(maxsize=1024)
def _combined(selector: str) -> tuple[int, int, int]:
    """Combinators over ancestors, those over siblings with every `:has`, and every `:nth`."""
    bare = _STRING.sub("", selector)
    bare = re.sub(r"\s*([>+~,])\s*", r"\1", re.sub(r"\[[^\]]*\]", "[]", bare).strip())
    siblings = len(re.findall(r"[~+]", bare)) + bare.count(":has")
    return len(re.findall(r"[\s>]", bare)), siblings, bare.count(":nth")


def nesting(text: str) -> int:
    """How deep parentheses go."""
    depth = deepest = 0
    for char in text:
        if char == "(":
            depth += 1
            deepest = max(deepest, depth)
        elif char == ")":
            depth -= 1
    return deepest


def _unfinished(bare: str) -> str:
    """What looks cut off; CSS closes open brackets at the end by itself, a person did not mean that."""
    for opening, closing in ("[]", "()"):
        if bare.count(opening) != bare.count(closing):
            return f"`{opening}` and `{closing}` do not match"
    if '"' in bare or "'" in bare:
        return "a quote is not closed"
    if bare.rstrip().endswith((">", "+", "~", ",")):
        return "it ends with a combinator"
    return ""
