"""What we owe the servers we visit: which of them share a budget, and how long one asked us to wait."""

from __future__ import annotations

import re
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final

from sentinel.errors import CheckFailure
from sentinel.fetch.guard import NetworkPolicy, check_url

#: Seconds; a server that asks for more is looked at again after this.
MAX_RETRY_AFTER: Final = 86400.0

_ANY: Final = NetworkPolicy(allow_private=True)


def rate_key(url: str) -> str:
    """The host whose budget a fetch of `url` is charged to: every spelling of one host is one key.

    Never raises: what the guard would refuse anyway shares the key `invalid`.
    """
    try:
        return check_url(url, _ANY).raw_host.decode("ascii")
    except CheckFailure:
        return "invalid"


def parse_retry_after(value: str | None, *, now: float) -> float | None:
    """Seconds to wait from `now` (epoch seconds), clamped to 0 .. a day; None where it says nothing.

    Takes both forms of RFC 9110, 10.2.3: seconds and a date.
    """
    text = (value or "").strip()
    if re.fullmatch(r"[0-9]+", text, re.ASCII):
        # More digits than a day of seconds can have: no need to read them, and int() is quadratic.
        return MAX_RETRY_AFTER if len(text.lstrip("0")) > 5 else _clamped(float(text))
    if not 20 <= len(text) <= 60:
        return None
    try:
        at = parsedate_to_datetime(text)
        return _clamped((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() - now)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


def _clamped(seconds: float) -> float:
    return min(max(seconds, 0.0), MAX_RETRY_AFTER)
