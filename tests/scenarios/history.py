"""A scripted history of one page: what it shows at each check, and what a person should be told then.

A step is a reply and its truth. `says` is told at that step, or `by` so many steps later where several
bad checks must come together first; nothing else is ever told. `code` is the error code its run must end
with; none: a good run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from tests.support.http import Reply, Route

Telling = Literal["change", "health", "recovery"]


@dataclass(frozen=True)
class Step:
    """The page at one check."""

    shows: Route
    says: Telling | None = None
    code: str | None = None
    by: int = 0


@dataclass(frozen=True)
class History:
    """One rule and the life of its page."""

    name: str
    #: What it stands for: change, noise, blip, break, browser.
    cause: str
    rule: Mapping[str, Any]
    steps: Sequence[Step]
    #: Only where a Chromium is.
    browser: bool = False

    def truth(self, telling: Telling) -> int:
        """How often it should be told."""
        return sum(step.says == telling for step in self.steps)


# --- steps ------------------------------------------------------------------------------------------


def quiet(*pages: Route) -> list[Step]:
    """Pages of which nothing is told."""
    return [Step(page) for page in pages]


def tells(page: Route, says: Telling = "change") -> Step:
    """The check at which it must be told."""
    return Step(page, says)


def seen_twice(page: Route) -> list[Step]:
    """A new value under `requireConsecutive: 2`: believed, and told, at the second look."""
    return [Step(page), Step(page, "change")]


def broken(page: Route, code: str, *, steps: int = 6) -> list[Step]:
    """Failing checks: told once, while they last."""
    return [Step(page, "health", code, by=steps - 1), *[Step(page, None, code)] * (steps - 1)]


def well_again(page: Route, *, steps: int = 4) -> list[Step]:
    """Good checks after a break: told once that it is over."""
    return [Step(page, "recovery", by=steps - 1), *[Step(page)] * (steps - 1)]


# --- pages ------------------------------------------------------------------------------------------


def html(body: str, *, head: str = "", status: int = 200, **reply: Any) -> Reply:
    """A page."""
    text = f"<!doctype html><html><head><title>Widget | Shop</title>{head}</head><body>{body}</body></html>"
    return Reply(status=status, body=text, **reply)


def shop(price: str, *, stock: str = "In stock", around: str = "", head: str = "", **reply: Any) -> Reply:
    """A shop's page of one product, with what every shop has around it."""
    return html(
        "<header><nav><a href='/'>Home</a> <a href='/widgets'>Widgets</a> <a href='/cart'>Cart (0)</a></nav></header>"
        f"<main><h1>Widget</h1><p>A widget of the best kind, made of steel, in three sizes and two colours.</p>"
        f"<p class='price'>{price}</p><p class='stock'>{stock}</p><button>Add to cart</button></main>"
        f"{around}<footer>Shipping and returns. All prices include VAT.</footer>",
        head=head,
        **reply,
    )


#: Where one is sent who has no session; its price is of something else.
SIGNIN = html(
    "<h1>Welcome back</h1><form><label>Email<input name=email></label><label>Password<input type=password></label>"
    "<button>Continue</button></form><p>Members have free delivery for <b class=price>9,99 €</b> a month.</p>"
)


def json(text: str, **reply: Any) -> Reply:
    """An API's answer."""
    return Reply(body=text, content_type="application/json", **reply)


# --- rules ------------------------------------------------------------------------------------------


def rule(kind: str, extraction: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """A rule file's entry; `policy` and `normalization` are the parts of the same names."""
    policy = {"channels": ["told"], **more.pop("policy", {})}
    normal = more.pop("normalization", None)
    parts = {"normalization": {"kind": kind, **normal}} if normal is not None else {}
    return {"type": kind, "extraction": dict(extraction), "alertPolicy": policy, **parts, **more}


def css(selector: str, **more: Any) -> dict[str, Any]:
    """By selector."""
    return {"method": "css", "selector": selector, **more}


PRICE = rule("price", css(".price"))
#: Most people's: a value is believed when two checks in a row saw it.
CAREFUL_PRICE = rule("price", css(".price"), policy={"requireConsecutive": 2})
STOCK = rule("availability", css(".stock"))


def with_status(page: Reply, status: int) -> Reply:
    """The same page under another status."""
    return replace(page, status=status)
