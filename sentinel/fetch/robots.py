"""robots.txt (RFC 9309): read, asked about one path, kept per origin for a day.

A matcher of its own and no regular expressions: the patterns are a stranger's, and are matched in one pass.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Final
from urllib.parse import quote

import httpx
import msgspec

from sentinel.errors import CheckFailure

#: What a robots.txt calls us.
PRODUCT: Final = "sentinel"
#: Bytes that are read of one; a larger one is none that can be obeyed.
MAX_BYTES: Final = 512 * 1024
#: Lines that are heeded for us.
MAX_LINES: Final = 5_000
#: Seconds for which one is kept, and for which one that cannot be read forbids everything.
KEEP: Final = 86400.0
KEEP_TROUBLE: Final = 600.0
#: Origins remembered, per process.
ORIGINS: Final = 1_000
#: Seconds between two fetches that a site may ask for at most.
MAX_DELAY: Final = 3600.0

#: Status and body of what lies at a URL. Raises CheckFailure.
Get = Callable[[str], Awaitable[tuple[int, bytes]]]


class Line(msgspec.Struct, frozen=True):
    """One rule of it, as `Disallow: /private*`."""

    allow: bool
    pattern: str

    def __str__(self) -> str:
        return f"{'Allow' if self.allow else 'Disallow'}: {self.pattern}"


class Robots(msgspec.Struct, frozen=True):
    """What a robots.txt says to us."""

    lines: tuple[Line, ...] = ()
    #: Crawl-delay, seconds.
    delay: float | None = None

    def forbids(self, path: str) -> Line | None:
        """The line that forbids `path` (with its query): the longest that fits, and none that allows it."""
        wanted = _normal(path or "/")
        best: Line | None = None
        for line in self.lines:
            longer = best is None or (len(line.pattern), line.allow) > (len(best.pattern), best.allow)
            if longer and _fits(line.pattern, wanted):
                best = line
        return None if best is None or best.allow else best


def parse(text: str, product: str = PRODUCT) -> Robots:
    """The groups for `product`, or else those for `*`. Never raises."""
    groups: dict[str, list[tuple[str, str]]] = {}
    agents: list[str] = []
    begun = False
    for raw in text.removeprefix("\ufeff").splitlines():
        key, colon, value = raw.partition("#")[0].partition(":")
        key, value = key.strip().lower(), value.strip()
        if not colon:
            continue
        if key == "user-agent":
            agents = [value.lower()] if begun else [*agents, value.lower()]
            begun = False
            groups.setdefault(value.lower(), [])
        elif key in ("allow", "disallow", "crawl-delay"):
            begun = True
            for agent in agents:
                if agent in (product, "*"):
                    groups[agent].append((key, value))
    ours = groups.get(product, groups.get("*", []))[:MAX_LINES]
    delays = [
        value for key, value in ours if key == "crawl-delay" and re.fullmatch(r"\d{1,6}(\.\d{1,6})?", value)
    ]
    return Robots(
        tuple(Line(key == "allow", _normal(value)) for key, value in ours if key != "crawl-delay" and value),
        min(float(delays[0]), MAX_DELAY) if delays else None,
    )


class RobotsFiles:
    """What the sites say, remembered."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._kept: OrderedDict[str, tuple[float, Robots | CheckFailure]] = OrderedDict()

    async def of(self, url: httpx.URL, get: Get, *, by: str = "") -> Robots:
        """What the origin of `url` says; `by`: who is asked in between, a proxy, say.

        Raises CheckFailure (FETCH_ROBOTS) where it cannot be had, which forbids everything for a while.
        """
        place = str(url.copy_with(raw_path=b"/robots.txt", fragment=None))
        key = f"{by} {place}"
        kept = self._kept.get(key)
        if kept is None or kept[0] <= self._now():
            kept = self._kept[key] = await self._look(place, get)
            if len(self._kept) > ORIGINS:
                self._kept.popitem(last=False)
        if isinstance(kept[1], CheckFailure):
            raise kept[1]
        return kept[1]

    async def _look(self, place: str, get: Get) -> tuple[float, Robots | CheckFailure]:
        try:
            status, body = await get(place)
        except CheckFailure as failure:
            trouble = str(failure)
        else:
            if status < 300:
                return self._now() + KEEP, parse(body[:MAX_BYTES].decode(errors="replace"))
            if status < 500:
                return self._now() + KEEP, Robots()
            trouble = f"the server answered {status}"
        words = (
            f"{place} cannot be read ({trouble}), which forbids everything for {KEEP_TROUBLE / 60:.0f} min"
        )
        return self._now() + KEEP_TROUBLE, CheckFailure("FETCH_ROBOTS", words)


_ESCAPE: Final = re.compile(r"%([0-9A-Fa-f]{2})")


def _normal(text: str) -> str:
    """One spelling of what is the same: octets beyond ASCII escaped, escapes in capitals, letters plain."""

    def plain(match: re.Match[str]) -> str:
        character = chr(int(match[1], 16))
        known = character.isascii() and (character.isalnum() or character in "-._~")
        return character if known else match[0].upper()

    return _ESCAPE.sub(plain, quote(text, safe="/?#[]@!$&'()*+,;=:%-._~"))


def _fits(pattern: str, path: str) -> bool:
    """`*` is anything, a `$` at the end is the end; else it is a beginning."""
    to_end = pattern.endswith("$")
    first, *others = (pattern[:-1] if to_end else pattern).split("*")
    if not path.startswith(first):
        return False
    at = len(first)
    if not others:
        return not to_end or at == len(path)
    last = others.pop() if to_end else ""
    for part in others:
        found = path.find(part, at)
        if found < 0:
            return False
        at = found + len(part)
    return len(path) - at >= len(last) and path.endswith(last)
