"""The visible text of the page or of the part a CSS selector names, or of the main content in there."""

from __future__ import annotations

from sentinel.errors import CheckFailure
from sentinel.extract import content, css, html
from sentinel.extract.page import Page
from sentinel.extract.step import Found, Step


def read(page: Page, step: Step) -> Found:
    """All visible text, a line per block. What is not markup is told as it is.

    Raises CheckFailure EXTRACT_SELECTOR_NOT_FOUND, EXTRACT_EMPTY_VALUE where there is no main content.
    """
    if not page.is_markup:
        return Found(raw=html.printable(page.text).strip())
    root = page.root(step.context)
    if step.selector.strip():
        part = css.first_within(page.tree, root, step.selector)
        if part is None:
            raise CheckFailure("EXTRACT_SELECTOR_NOT_FOUND", f"nothing matches {step.selector!r}")
        root = part
    if step.content == "main":
        told = content.main_text(root)
        if not told:
            raise CheckFailure(
                "EXTRACT_EMPTY_VALUE",
                "all text is around the main content; name the part with `selector`, or say `content: page`",
            )
        return Found(raw=told)
    if step.attribute in ("text", ""):
        return Found(raw=html.visible_text(root)) if not step.money else css.found(root, step)
    return Found(raw=css.of(root, step.attribute, step.selector or "the page"))
