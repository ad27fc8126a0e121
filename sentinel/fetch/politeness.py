"""What we owe the servers we visit: which of them share a budget, and how long one asked us to wait."""

from __future__ import annotations

import hashlib
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


def host_key(url: str, proxy: str | None = None) -> str:
    """What answers as one, and so is left alone as one: a host, by its port where that is no usual one.

    A rule's own `proxy` asks from another address, and may itself be what does not answer.
    """
    key = rate_key(url)
    if key != "invalid" and (port := check_url(url, _ANY).port) not in (None, 80, 443):
        key = f"{key}:{port}"
    if proxy is None:
        return key
    return f"{key} by proxy {hashlib.sha256(proxy.encode(errors='replace')).hexdigest()[:12]}"


def are_kin(one: str, other: str) -> bool:
    """Whether two URLs are of one host, or one of what lies under the other's: www.example.com."""
    first, second = rate_key(one), rate_key(other)
    return first == second or first.endswith(f".{second}") or second.endswith(f".{first}")


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
