"""What an endpoint's answer means: accepted, later, never, never again."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

from sentinel.errors import EndpointGone, SendFailed, SendLater, SendRefused

#: Longest wait an endpoint may ask for (seconds): beyond it, the absurd and the hostile begin.
MAX_RETRY_AFTER: Final = 3600.0
#: Characters of an answer that are kept as the reason.
MAX_EXCERPT: Final = 200

#: 4xx that pass: timeout, too early, too many.
_PASSING: Final = frozenset((408, 425, 429))
#: C0, C1, bidi and other characters that must not reach a log or a terminal.
_UNPRINTABLE: Final = re.compile(
    "[\x00-\x20\x7f-\xa0\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]+"
)


def failure(status: int, headers: Mapping[str, str], answer: bytes, *, now: float) -> SendFailed:
    """The failure that a status other than 2xx is.

    `answer` is the beginning of the body, `now` seconds since the epoch (a Retry-After may be a date).
    """
    said = excerpt(answer) if headers.get("content-encoding", "identity") == "identity" else ""
    detail = f"HTTP {status}: {said}" if said else f"HTTP {status}"
    if status == 410:
        return EndpointGone(detail, http_status=status)
    if status in _PASSING or status >= 500:
        return SendLater(
            detail, http_status=status, retry_after=retry_after(headers.get("retry-after"), now=now)
        )
    if 300 <= status < 400:
        return SendRefused(f"HTTP {status}: redirects are not followed", http_status=status)
    return SendRefused(detail, http_status=status)


def retry_after(text: str | None, *, now: float) -> float | None:
    """Seconds that a Retry-After header asks for, 0 to an hour; None: none, or not understood."""
    text = (text or "").strip()[:100]
    if text.isascii() and text.isdigit():
        # More digits than any sane wait: not worth reading.
        return min(float(text), MAX_RETRY_AFTER) if len(text) <= 10 else MAX_RETRY_AFTER
    try:
        when = parsedate_to_datetime(text)
        when = when if when.tzinfo else when.replace(tzinfo=UTC)
        seconds = (when - datetime.fromtimestamp(now, UTC)).total_seconds()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    return min(max(seconds, 0.0), MAX_RETRY_AFTER)


def seconds_of(found: object) -> float | None:
    """Seconds that the JSON of an answer asks for, 0 to an hour; None: no such number."""
    if isinstance(found, bool) or not isinstance(found, int | float) or found != found or found < 0:  # noqa: PLR0124 - NaN
        return None
    return min(float(found), MAX_RETRY_AFTER)


def excerpt(answer: bytes) -> str:
    """The beginning of an answer as one harmless line."""
    text = answer[: MAX_EXCERPT * 4].decode("utf-8", "replace")
    return _UNPRINTABLE.sub(" ", text).strip()[:MAX_EXCERPT]
