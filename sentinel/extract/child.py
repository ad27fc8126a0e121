"""The process that reads pages nobody vouches for, and what it is asked and answers.

    python -c "from sentinel.extract.child import main; main()"

A frame (`sentinel.child`) is MessagePack of a `Question` or an `Answer`.
"""

from __future__ import annotations

from typing import Final

import msgspec

from sentinel.child import serve
from sentinel.errors import CheckFailure
from sentinel.extract.matches import matches
from sentinel.extract.reading import extract
from sentinel.model import Extracted, Extraction, Fetched, Lost

#: Bytes of address space.
MAX_MEMORY: Final = 512 << 20
#: Seconds of processor time for one question.
MAX_CPU: Final = 10


class Question(msgspec.Struct, frozen=True, array_like=True):
    """A page and what to read there."""

    url: str
    content_type: str
    text: str
    extraction: Extraction
    allow_empty: bool = False
    lost: Lost | None = None
    #: How often the selector matches is all that is asked.
    count: bool = False
    money: bool = False


class Answer(msgspec.Struct, frozen=True, array_like=True):
    """What was read, or the code and detail of a CheckFailure."""

    extracted: Extracted | None
    code: str = ""
    detail: str = ""
    count: int | None = None


def main() -> None:
    """Answer questions until stdin ends."""
    serve(lambda frame: msgspec.msgpack.encode(answer(frame)), memory=MAX_MEMORY, cpu=MAX_CPU)


def answer(frame: bytes) -> Answer:
    """Read the page of a `Question`; what goes wrong is part of the answer."""
    try:
        question = msgspec.msgpack.decode(frame, type=Question)
        page = Fetched(
            url=question.url,
            final_url=question.url,
            status=200,
            headers={"content-type": question.content_type},
            body=b"",
            text=question.text,
        )
        if question.count:
            return Answer(None, count=matches(page, question.extraction))
        return Answer(
            extract(
                page,
                question.extraction,
                allow_empty=question.allow_empty,
                money=question.money,
                lost=question.lost,
            )
        )
    except CheckFailure as failure:
        return Answer(None, failure.code, failure.detail)
    except (MemoryError, RecursionError) as exc:
        return Answer(None, "EXTRACT_PARSE_ERROR", f"the page asks for too much: {type(exc).__name__}")
