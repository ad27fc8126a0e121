"""Text of strangers made fit to be shown: nothing in it acts on a terminal, a log or a reader's eye."""

from __future__ import annotations

import re
from typing import Final

#: Characters of one text that are looked at; the rest is cut before anything else is done.
MAX_TEXT: Final = 16_384
#: Depth and entries of a JSON value that are kept.
MAX_DEPTH: Final = 8
MAX_ENTRIES: Final = 200

#: Terminal escapes: CSI (also as the single byte C1), closed OSC (titles, links, clipboard), two-byte ones.
_ESCAPE: Final = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]|(?:\x1b\]|\x9d)[^\x07\x1b\x9c\x9d]*(?:\x07|\x1b\\|\x9c)|\x1b[@-_]"
)
#: What some reader takes for the end of a line (str.splitlines knows them all).
_LINE_END: Final = re.compile("\r\n|[\r\v\f\x1c\x1d\x1e\x85\u2028\u2029]")
#: Unseen, or turns the direction of what follows: "\u202etxt.exe" reads as "exe.txt".
_UNSEEN: Final = re.compile(
    "[\u00ad\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]"
)
_CONTROL: Final = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
_LINK: Final = re.compile(r"https?://[^\s\x00-\x20<>\"'`\\^{|}]+", re.IGNORECASE)


def block(text: str, limit: int = MAX_TEXT) -> str:
    """`text` with only its own characters, line ends and tabs left, at most `limit` characters."""
    text = _ESCAPE.sub("", text[:MAX_TEXT])
    text = _UNSEEN.sub("", _LINE_END.sub("\n", text))
    return clip(_CONTROL.sub("\ufffd", text), limit)


def line(text: str, limit: int) -> str:
    """`text` on one line (so that it cannot forge a second one), at most `limit` characters."""
    return clip(" ".join(block(text).split()), limit)


def clip(text: str, limit: int) -> str:
    """`text`, cut with an ellipsis where it is longer than `limit` characters."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def link(url: str) -> str:
    """`url` where it is a plain http(s) address, else '': no `javascript:`, nothing that breaks out."""
    return url if len(url) <= 8192 and _LINK.fullmatch(url) and block(url) == url else ""


def value(found: object, *, depth: int = MAX_DEPTH) -> object:
    """A JSON value with every text in it cleaned, its depth and size bounded."""
    match found:
        case None | bool() | float():
            return found
        case int():
            # JSON readers disagree on larger ones, and their digits may be many.
            return found if found.bit_length() < 64 else hex(found)[:200]
        case str():
            return block(found)
        case list() | tuple() if depth:
            return [value(item, depth=depth - 1) for item in found[:MAX_ENTRIES]]
        case dict() if depth:
            entries = list(found.items())[:MAX_ENTRIES]
            return {block(str(key), 200): value(item, depth=depth - 1) for key, item in entries}
    return "…" if isinstance(found, list | tuple | dict) else block(str(found), 200)
