"""Which way to fetch, and whether what came calls for a second look by a browser: decisions, no I/O.

`auto` asks by HTTP first. A browser looks again where a wall stands there that only stops programs, where
the page is a shell that scripts fill, or where the rule found nothing in it. That it worked is remembered
for a week; then HTTP is tried again.
"""

from __future__ import annotations

import re
from typing import Final, Literal

import msgspec

from sentinel.fetch.blocks import has_wares, visible_text
from sentinel.model import Extraction, Fetched, FetchModeName

Mode = Literal["http", "headless"]

#: Seconds for which a browser is asked at once where HTTP was not enough.
REMEMBERED: Final = 7 * 86400.0

#: Seconds for which no browser is started where one did not help: at least, at most, and for a rule that
#: was never good.
SHORTEST_REST: Final = 600.0
LONGEST_REST: Final = 86400.0
NEVER_GOOD_REST: Final = 3600.0

_FROM_MEMORY: Final = "remembered:"

#: Walls that stop what is no browser. Not a rate limit (it would be one request more), not a login.
_WALLS: Final = frozenset(
    {"BLOCK_CAPTCHA_SUSPECTED", "BLOCK_CLOUDFLARE_SUSPECTED", "BLOCK_FORBIDDEN_403", "PAGE_CONSENT"}
)
#: Of these, what a solver is for.
_SOLVABLE: Final = frozenset(wall for wall in _WALLS if wall.startswith("BLOCK_"))
#: How a rule that found nothing on a page ends.
_NOTHING_FOUND: Final = frozenset(
    {
        *("EXTRACT_SELECTOR_NOT_FOUND", "EXTRACT_SCHEMA_NOT_FOUND", "EXTRACT_EMPTY_VALUE"),
        *("EXTRACT_PARSE_ERROR", "PAGE_EMPTY"),
    }
)
#: Characters a reader sees of a shell at most, and characters of script in it at least.
_LITTLE_TEXT: Final = 200
_MUCH_SCRIPT: Final = 500
#: A script from elsewhere is worth this many characters.
_LINKED_SCRIPT: Final = 500
#: A longer document is no shell.
_LONG: Final = 500_000

# In any case, by ASCII: putting the whole page in lower case first costs more than all the rest.
_SCRIPT: Final = re.compile(r"<(?ai:script)\b([^<>]*)>")
_SCRIPT_END: Final = re.compile(r"</(?ai:script)")


class Worked(msgspec.Struct, frozen=True):
    """What is remembered of a rule: the mode that brought a value, or that neither did, and since when."""

    mode: Mode | Literal["neither"] | None = None
    #: Seconds since HTTP was last asked first, or of `neither` since a browser last looked.
    age: float = 0.0
    #: Of `neither`: seconds since the last good check, when that browser looked; None: there was none.
    failing: float | None = None

    @property
    def rests(self) -> float:
        """Seconds for which no browser looks, for it did not help either when it looked last; 0: it may.

        As long as there had been nothing good when it looked (so twice as long each time); ten minutes at
        least, a day at most.
        """
        if self.mode != "neither" or self.age < 0:
            return 0.0
        failing = NEVER_GOOD_REST if self.failing is None else self.failing
        return max(0.0, min(max(failing, SHORTEST_REST), LONGEST_REST) - self.age)


def first_mode(
    wanted: FetchModeName, forced: Mode | None, worked: Worked, *, browser: bool
) -> tuple[Mode, str | None]:
    """How to fetch first, and why not by HTTP where `auto` leaves it out. `browser`: there is one."""
    if forced is not None:
        return forced, None
    if wanted != "auto":
        return wanted, None
    if worked.mode == "headless" and browser and 0 <= worked.age < REMEMBERED:
        days = (REMEMBERED - worked.age) / 86400.0
        return "headless", f"{_FROM_MEMORY} http was not enough; it is tried again in {days:.1f} days"
    return "http", None


def was_remembered(page: Fetched) -> bool:
    """HTTP was not asked this time, so nothing new is known of it."""
    return (page.fallback_reason or "").startswith(_FROM_MEMORY)


def wall(code: str | None, detail: str) -> str | None:
    """Why a browser should look where HTTP ended with this error code, or None: it should not."""
    return f"{code}: {detail}" if code in _WALLS else None


def solvable(code: str | None, detail: str) -> str | None:
    """Why a solver should look where a fetch ended with this error code, or None: it is not for that."""
    return f"{code}: {detail}" if code in _SOLVABLE else None


def shell(page: Fetched) -> str | None:
    """Why a browser should look at a page that came, or None."""
    empty = "html" in page.content_type and is_empty_shell(page.text)
    return "an empty shell: little text and much script" if empty else None


def nothing_found(code: str, page: Fetched) -> str | None:
    """Why a browser should look where the rule ended with this error code on a page, or None."""
    made_by_scripts = "html" in page.content_type and _SCRIPT.search(page.text) is not None
    return f"over http: {code}" if code in _NOTHING_FOUND and made_by_scripts else None


def neither_helped(page: Fetched | None, code: str) -> bool:
    """Whether a browser looked where HTTP was not enough, and the page's own state ended that check too."""
    if page is None or page.mode != "headless" or page.fallback_reason is None or was_remembered(page):
        return False
    return code in _NOTHING_FOUND or code in _WALLS


def css_of(extraction: Extraction | None) -> str | None:
    """The CSS selector of what a rule reads, where it has one."""
    return extraction.selector or None if extraction is not None and extraction.method == "css" else None


def is_empty_shell(markup: str) -> bool:
    """Whether a document says next to nothing before its scripts have run."""
    if len(markup) > _LONG:
        return False
    script = _script(markup)  # what costs least comes first: every page is asked
    if script < _MUCH_SCRIPT:
        return False
    text = len(visible_text(markup))
    return text <= _LITTLE_TEXT and script >= 3 * text and not has_wares(markup)


def _script(markup: str) -> int:
    """Characters of script, those that are elsewhere by a guess."""
    total = at = 0
    for match in _SCRIPT.finditer(markup):
        if match.start() < at:
            continue
        end = _SCRIPT_END.search(markup, match.end())
        at = len(markup) if end is None else end.start()
        total += _LINKED_SCRIPT if "src" in match[1].lower() else at - match.end()
    return total
