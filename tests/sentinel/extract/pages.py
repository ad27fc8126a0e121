"""Pages and readings for the tests of this folder."""

from __future__ import annotations

from typing import Any

from sentinel.errors import CheckFailure
from sentinel.extract import extract
from sentinel.model import Extraction, Fetched


def page(text: str, *, url: str = "https://shop.example.com/widget", kind: str = "text/html") -> Fetched:
    return Fetched(
        url=url,
        final_url=url,
        status=200,
        headers={"content-type": f"{kind}; charset=utf-8"},
        body=text.encode("utf-8", "replace"),
        text=text,
    )


def raw(text: str, **extraction: Any) -> str:
    """What an extraction reads; `kind` and `url` are the page's."""
    about = {name: extraction.pop(name) for name in ("kind", "url") if name in extraction}
    return extract(page(text, **about), Extraction(**extraction)).raw


def code(text: str, **extraction: Any) -> str:
    """The error code an extraction ends with, or `read: ...` where it reads something."""
    try:
        return f"read: {raw(text, **extraction)}"
    except CheckFailure as failure:
        return failure.code
