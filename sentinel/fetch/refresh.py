"""Where an empty page sends on by `Refresh`, as a header or a `<meta>`: a redirect by another name.

https://html.spec.whatwg.org/#attr-meta-http-equiv-refresh. Followed at once where it would be within seconds:
who looks sees the other page.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from typing import Final

import msgspec

from sentinel.fetch.blocks import has_wares, visible_text

#: Characters of a document that may be nothing but a way on, and of what it says to a reader meanwhile.
LONGEST: Final = 16_384
_SAYS: Final = 120
#: Seconds after which an empty page is one to a reader, and after which what little it says was read.
_SOON: Final = 5
_AT_ONCE: Final = 1

_NOT_FOR_US: Final = re.compile(
    r"<!--.*?(?:-->|\Z)|<noscript\b.*?(?:</noscript|\Z)", re.IGNORECASE | re.DOTALL
)
_META: Final = re.compile(r"<meta\s[^<>]{1,2000}>", re.IGNORECASE)
_IS_REFRESH: Final = re.compile(r"http-equiv\s*=\s*[\"']?refresh\b", re.IGNORECASE)
_CONTENT: Final = re.compile(r"\scontent\s*=\s*(?:\"([^\"]*)\"|'([^']*)'|([^\s\"'<>]+))", re.IGNORECASE)
_VALUE: Final = re.compile(
    r"\s*(\d{1,9})(?:\.\d{0,9})?(?:\s*[;,\s]\s*(?:url\s*=\s*)?(?:\"([^\"]+).*|'([^']+).*|([^\"'\s].*))?|\s*)\Z",
    re.IGNORECASE,
)


class Refresh(msgspec.Struct, frozen=True):
    """Where to ("": the same again), and after how many seconds."""

    seconds: int
    location: str
    #: Nothing is to be seen meanwhile.
    empty: bool

    @property
    def at_once(self) -> bool:
        """Whether it is as good as a redirect."""
        return bool(self.location) and self.seconds <= (_SOON if self.empty else _AT_ONCE)


def refresh_of(headers: Mapping[str, str], text: str) -> Refresh | None:
    """Where a page sends on that says next to nothing itself; None: it does not, or is a page.

    `headers` have lower-case names.
    """
    if len(text) > LONGEST:
        return None
    written = headers.get("refresh", "") or _written(text)
    found = _VALUE.match(html.unescape(written[:4000])) if written else None
    says = 0 if found is None else len(visible_text(text))
    if found is None or says > _SAYS or has_wares(text):
        return None
    return Refresh(int(found[1]), next((one for one in found.groups()[1:] if one), "").strip(), not says)


def _written(text: str) -> str:
    if _IS_REFRESH.search(text) is None:  # as nearly always
        return ""
    for tag in _META.findall(_NOT_FOR_US.sub(" ", text)):
        content = _CONTENT.search(tag) if _IS_REFRESH.search(tag) else None
        if content is not None:
            return next((one for one in content.groups() if one), "")
    return ""
