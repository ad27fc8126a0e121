"""What a visitor from somewhere says of themselves: language, clock and place of a `fetch.geo` (`de-AT`).

A site that goes by the address of the connection sees the worker's, or that of `fetch.proxy`.
"""

from __future__ import annotations

import importlib.resources
import re
from functools import lru_cache
from typing import Final

import msgspec

from sentinel.errors import Problem

#: Of countries whose first zone in the list is not where most people live.
_ZONES: Final = {
    "AU": "Australia/Sydney",
    "BR": "America/Sao_Paulo",
    "CA": "America/Toronto",
    "RU": "Europe/Moscow",
    "UA": "Europe/Kyiv",
    "UZ": "Asia/Tashkent",
}
#: ISO 6709: degrees and minutes, seconds sometimes.
_PLACE: Final = re.compile(r"([+-]\d{2})(\d{2})(\d{2})?([+-]\d{3})(\d{2})(\d{2})?")


class Geo(msgspec.Struct, frozen=True):
    """A language, and where it is spoken."""

    #: `de-AT`
    locale: str
    #: IANA name.
    timezone: str
    #: Degrees.
    latitude: float
    longitude: float

    @property
    def accept_language(self) -> str:
        """The header: this language as spoken there, then anywhere, then English."""
        language = self.locale.partition("-")[0]
        return f"{self.locale},{language};q=0.9" + ("" if language == "en" else ",en;q=0.5")


def read_geo(written: str) -> Geo | None:
    """None: there is no such country."""
    place = _places().get(written.partition("-")[2])
    return None if place is None else Geo(written, *place)


def trouble(written: str) -> Problem | None:
    """What is wrong with a `geo`, with a hint, or None."""
    if read_geo(written) is not None:
        return None
    country = written.partition("-")[2]
    return Problem("geo", f"there is no country {country[:10]!r}", "language and country: de-AT, en-GB")


@lru_cache(maxsize=1)
def _places() -> dict[str, tuple[str, float, float]]:
    """By country (ISO 3166): a zone, latitude and longitude of its first place in tzdata's zone.tab."""
    listed = (importlib.resources.files("tzdata") / "zoneinfo" / "zone.tab").read_text("utf-8")
    found: dict[str, tuple[str, float, float]] = {}
    for line in listed.splitlines():
        if line.startswith("#"):
            continue
        country, place, zone, *_ = line.split("\t")
        at = _PLACE.fullmatch(place)
        if at is not None and (_ZONES.get(country, zone) == zone) and country not in found:
            found[country] = (zone, _degrees(at[1], at[2], at[3]), _degrees(at[4], at[5], at[6]))
    return found


def _degrees(whole: str, minutes: str, seconds: str | None) -> float:
    size = abs(int(whole)) + int(minutes) / 60 + int(seconds or 0) / 3600
    return round(-size if whole.startswith("-") else size, 4)
