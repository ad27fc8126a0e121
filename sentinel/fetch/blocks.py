"""Tells a page from what stands in its way: challenges, captchas, walls, maintenance, pages that are not.

Signs (`wall_signs`) are weighed, never believed alone: a page that merely mentions a captcha, carries a
bot-check script or shows a cookie banner is a page. Three things decide: what a sign is worth, how much else
the page has to say (a wall is short; a long page is a page), and whether it shows a product or a
price (a wall does not, as a rule).
Under `_BELIEVED` it is a page: a missed wall ends in "selector not found", a false one hides a value. So a
wall that is told by its words alone is only believed where the rule finds nothing (`Block.by_words`).
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from typing import Final

import msgspec

from sentinel.fetch.wall_signs import (
    CAPTCHA,
    CLOUDFLARE,
    CONSENT,
    DENIED,
    FAILED,
    LIMITED,
    LOGIN,
    MAINTENANCE,
    MISSING,
    SIGNS,
    Place,
    Sign,
    may_have,
)


class Block(msgspec.Struct, frozen=True):
    """What stands in the way."""

    #: A code of BLOCK_* or PAGE_*; FETCH_HTTP_4XX for a "not found" that was sent as 200, FETCH_HTTP_5XX for
    #: a server's failure that was.
    code: str
    #: 0 to 1.
    confidence: float
    #: For people.
    detail: str
    #: Told by what a good page says, and nothing else: short pages say such things too.
    by_words: bool = False


_DETAILS: Final = {
    CLOUDFLARE: "Cloudflare asks for proof of a browser",
    CAPTCHA: "the page is a captcha",
    DENIED: "the server denies access",
    LIMITED: "the server says there are too many requests",
    LOGIN: "the page is a login form",
    CONSENT: "the page asks for consent before it shows anything",
    MAINTENANCE: "the site is being maintained",
    MISSING: 'the page says "not found", though sent as a good one',
    FAILED: "the page says that the server failed, though sent as a good one",
}

#: What a page may say beyond an error status of that class; the rest is in the status itself.
_AS_ERROR: Final = {4: (CLOUDFLARE, CAPTCHA), 5: (CLOUDFLARE, CAPTCHA, MAINTENANCE)}

#: The weight from which a page is a wall.
_BELIEVED: Final = 0.6
#: Of which this is about half.
_HALF: Final = 0.3

#: Characters of visible text of a wall, and of what could still be one.
_SHORT: Final = 1500
_MIDDLING: Final = 4000

#: Characters of markup in which signs are looked for; a wall says what it is at the top.
_MARKUP_READ: Final = 200_000

#: Characters of markup in which most pages have said more than a wall does.
_TOP: Final = 16_000

#: Characters of markup whose visible text is measured. Beyond this it is certainly not a wall.
_MARKUP_MEASURED: Final = 2_000_000


#: A document that tells machines of anything.
_WARES = re.compile(
    r"application/ld\+json|itemprop=[\"']?(?:price|offers)|property=[\"']?(?:og:price|product:price)",
    re.IGNORECASE,
)
#: A product or a price: walls have none, but for what tells machines of the site.
_GOODS = re.compile(
    r"[\"']@?type[\"']\s*:\s*\[?\s*[\"'](?:https?://schema\.org/)?"
    r"(?:Product|Offer|AggregateOffer|\w{0,20}Article|BlogPosting|Event|JobPosting|Recipe|Book|Movie|Vehicle|Car|Dataset)"
    r"|itemprop=[\"']?(?:price|offers)|property=[\"']?(?:og:price|product:price)",
    re.IGNORECASE,
)
_PRICE = re.compile(r"[€$£¥₹]\s?\d|\d\s?(?:€|eur\b|usd\b|gbp\b|kr\b|zł|kč|lei\b|лв|руб|₽|₴)", re.IGNORECASE)


# Tags in any case, by ASCII: a copy of the page in lower case would cost more than all the rest.
_UNSEEN: Final = re.compile(r"<(?ai:(script|style|noscript|svg|template|title|!--))")
_UNSEEN_END: Final = {
    "!--": re.compile("-->"),
    **{
        tag: re.compile(f"</(?ai:{tag})")
        for tag in ("script", "style", "noscript", "svg", "template", "title")
    },
}
_HEAD: Final = re.compile(r"<(?ai:(title|h1|h2))\b[^<>]*>")
_HEAD_END: Final = {tag: re.compile(f"</(?ai:{tag})") for tag in ("title", "h1", "h2")}
_ANY_TAG: Final = re.compile(r"<[^<>]*>")
#: A field for a password, an address or a name.
_FIELD: Final = re.compile(
    r"type=[\"']?(?:password|email)\b|name=[\"']?(?:user(?:name)?|e?-?mail|login)\b", re.IGNORECASE
)


def classify(
    status: int, headers: Mapping[str, str], text: str, *, asked: str = "", came_to: str = ""
) -> Block | None:
    """What stands in the way of the page, or None where it is one.

    `headers` have lower-case names. `text` is the decoded body. `asked` is the URL that was asked for,
    `came_to` the one at which redirects ended. 403 and 429 are always a Block; other error statuses only
    where the page says more than the status does.
    """
    if headers.get("cf-mitigated", "").lower() == "challenge":
        return Block(CLOUDFLARE, 1.0, _DETAILS[CLOUDFLARE])
    if headers.get("x-amzn-waf-action", "").lower() in ("captcha", "challenge"):
        return Block(CAPTCHA, 1.0, _DETAILS[CAPTCHA])
    if status == 429:
        return Block(LIMITED, 1.0, _DETAILS[LIMITED])
    block = None
    if _is_html(headers, text):
        block = _by_content(status, text, _Way(asked, came_to))
    elif _is_plain(headers):
        block = _by_lines(status, text)
    if status == 403 and (block is None or block.code not in _AS_ERROR[4]):
        return Block(DENIED, 0.95, _DETAILS[DENIED])
    allowed = _AS_ERROR.get(status // 100)
    return block if block is None or allowed is None or block.code in allowed else None


def says(code: str, words: str) -> bool:
    """Whether a text has anything in it that a wall of this code says."""
    return any(
        sign.pattern.search(words) for sign in SIGNS if sign.code == code and sign.where in ("head", "text")
    )


def has_wares(markup: str) -> bool:
    """Whether a document tells machines of a product or a price."""
    return _WARES.search(markup) is not None


class _Way(msgspec.Struct, frozen=True):
    """Where a fetch was to go, and where it ended."""

    asked: str
    came_to: str

    def shows(self, sign: Sign) -> bool:
        """Whether it was sent to such a place from another."""
        sent = bool(self.asked) and self.came_to != self.asked
        return sent and bool(sign.pattern.search(self.came_to)) and not sign.pattern.search(self.asked)


class _Seen(msgspec.Struct, frozen=True):
    """What signs are looked for in."""

    heads: tuple[str, ...]
    visible: str
    markup: str = ""
    way: _Way = _Way("", "")

    def times(self, sign: Sign) -> int:
        """How often a sign is there: in how many headings, or at all."""
        match sign.where:
            case "head":
                return sum(bool(sign.pattern.search(head)) for head in self.heads)
            case "text":
                return bool(sign.pattern.search(self.visible))
            case "form":
                return bool(sign.pattern.search(self.visible) and _FIELD.search(self.markup))
            case "markup":
                return bool(sign.pattern.search(self.markup))
            case "way":
                return self.way.shows(sign)


def _kind(headers: Mapping[str, str]) -> str:
    return headers.get("content-type", "").partition(";")[0].strip().lower()


def _is_html(headers: Mapping[str, str], text: str) -> bool:
    kind = _kind(headers)
    return "html" in kind or (not kind and text.lstrip()[:1] == "<")


def _is_plain(headers: Mapping[str, str]) -> bool:
    return _kind(headers) in ("text/plain", "")


def _by_lines(status: int, text: str) -> Block | None:
    """What stands in a few lines of plain text: proxies write their errors so."""
    if len(text) > _SHORT or not any(char.isalpha() for char in text):
        return None
    first = text.strip().partition("\n")[0]
    return _weigh(status, _Seen((_tidy(first),), _tidy(text)))


def _by_content(status: int, text: str, way: _Way) -> Block | None:
    if len(text) > _MARKUP_MEASURED or _says_much(text):
        return None
    visible = visible_text(text)
    if len(visible) > _MIDDLING:
        return None
    markup = text[:_MARKUP_READ]
    if "&" in visible:
        visible = _tidy(html.unescape(visible))
    return _weigh(status, _Seen(_heads(markup), visible, markup, way))


def _weigh(status: int, seen: _Seen) -> Block | None:
    places: dict[Place, tuple[str, ...]] = {
        "head": seen.heads,
        "text": (seen.visible,),
        "markup": (seen.markup,),
    }
    none = {place for place, texts in places.items() if not may_have(place, *texts)}
    found = [(sign, times) for sign in SIGNS if sign.where not in none and (times := seen.times(sign))]
    if not found:
        return None
    share = 1.0 if status >= 400 or len(seen.visible) <= _SHORT else 0.6
    sells = status < 400 and bool(_GOODS.search(seen.markup) or _PRICE.search(seen.visible))
    firm = _firm(found)
    scores: dict[str, float] = {}
    for sign, _ in found:
        counts = 1.0 if sign.where == "way" else share * (0.4 if sells and sign.code not in firm else 1.0)
        scores[sign.code] = scores.get(sign.code, 0.0) + sign.weight * counts
    if status == 503 and MAINTENANCE in scores:
        scores[MAINTENANCE] += 0.3
    # Of equal ones the first named: a Cloudflare captcha is Cloudflare's.
    code = max(scores, key=lambda code: min(scores[code], 1.0))
    if round(scores[code], 6) < _BELIEVED:
        return None
    by_words = status < 300 and all(sign.where in ("head", "text") for sign, _ in found if sign.code == code)
    return Block(code, round(min(scores[code], 0.99), 2), _DETAILS[code], by_words)


def _firm(found: list[tuple[Sign, int]]) -> set[str]:
    """Walls that show prices too: what one could buy instead, what a member pays.

    A challenge by what only challenges are made of; a login by its heading, its address or its greeting, and
    with a password to type; "not found" both in the title and above the page.
    """
    firm = {
        sign.code
        for sign, times in found
        if (sign.where == "markup" and sign.weight >= _BELIEVED)
        or (sign.where == "head" and times > 1 and sign.code in (MISSING, FAILED))
    }
    places = {sign.where for sign, _ in found if sign.code == LOGIN and sign.weight >= _HALF}
    greets = any(sign.code == LOGIN and sign.where == "form" and sign.weight > _HALF for sign, _ in found)
    return firm | {LOGIN} if "markup" in places and (greets or places & {"head", "way"}) else firm


def _heads(markup: str) -> tuple[str, ...]:
    """Title and first headings, as a reader sees them; those of second rank where there is none of first.

    Below a heading of the page's own they are about a part of it.
    """
    found: list[tuple[str, str]] = []
    for match in list(_HEAD.finditer(markup))[:8]:
        tag = match[1].lower()
        end = _HEAD_END[tag].search(markup, match.end(), match.end() + 2000)
        inner = markup[match.end() : end.start() if end is not None else match.end() + 200]
        if words := _tidy(html.unescape(_ANY_TAG.sub(" ", inner))):
            found.append((tag, words))
    first = any(tag == "h1" for tag, _ in found)
    return tuple(words for tag, words in found if not (first and tag == "h2"))[:4]


def visible_text(markup: str) -> str:
    """What a reader sees of `markup`, roughly and in linear time: no scripts, styles, tags, extra space."""
    kept: list[str] = []
    at = 0
    for match in _UNSEEN.finditer(markup):
        if match.start() < at:
            continue
        kept.append(markup[at : match.start()])
        # From the closing tag (or the comment's end) on to its ">".
        end = _UNSEEN_END[match[1].lower()].search(markup, match.end())
        at = markup.find(">", end.start()) + 1 if end is not None else 0
        if at == 0:
            at = len(markup)
            break
    kept.append(markup[at:])
    return _tidy(_ANY_TAG.sub(" ", " ".join(kept)))


def _says_much(markup: str) -> bool:
    """Whether the top alone has more text than a wall: so it is with most pages, and costs little to see.

    Cut at a tag's beginning, so that no piece of a tag is taken for text.
    """
    top = markup.rfind("<", 0, _TOP)
    return top > 0 and len(markup) > _TOP and len(visible_text(markup[:top])) > _MIDDLING


def _tidy(text: str) -> str:
    plain = text.replace("&nbsp;", " ").replace("&#39;", "'").replace("&rsquo;", "'").replace("\u2019", "'")
    return " ".join(plain.split())
