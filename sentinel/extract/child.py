"""The process that reads pages nobody vouches for, and what it is asked and answers.

    python -c "from sentinel.extract.child import main; main()"

Frames on stdin and stdout: four bytes of length, most significant first, then MessagePack of a
`Question` or an `Answer`. It ends when stdin does, so it never outlives the process that started it.
The kernel holds its limits: memory for all of its life, processor time for each question.
"""

from __future__ import annotations

import os
import resource
import sys
from typing import BinaryIO, Final

import msgspec

from sentinel.errors import CheckFailure
from sentinel.extract.reading import extract
from sentinel.model import Extracted, Extraction, Fetched, Lost

#: Bytes of address space.
MAX_MEMORY: Final = 512 << 20
#: Seconds of processor time for one question.
MAX_CPU: Final = 10
#: Bytes in a frame: a page of 20 MiB and its rule.
MAX_FRAME: Final = 64 << 20

LENGTH_BYTES: Final = 4


class Question(msgspec.Struct, frozen=True, array_like=True):
    """A page and what to read there."""

    url: str
    content_type: str
    text: str
    extraction: Extraction
    allow_empty: bool = False
    lost: Lost | None = None


class Answer(msgspec.Struct, frozen=True, array_like=True):
    """What was read, or the code and detail of a CheckFailure."""

    extracted: Extracted | None
    code: str = ""
    detail: str = ""


def main() -> None:
    """Answer questions until stdin ends."""
    # Nothing that prints may end up between the frames.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY, MAX_MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    questions = sys.stdin.buffer
    while (frame := _take(questions)) is not None:
        _grant_processor_time()
        answers.write(framed(msgspec.msgpack.encode(answer(frame))))
        answers.flush()


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
        return Answer(
            extract(page, question.extraction, allow_empty=question.allow_empty, lost=question.lost)
        )
    except CheckFailure as failure:
        return Answer(None, failure.code, failure.detail)
    except (MemoryError, RecursionError) as exc:
        return Answer(None, "EXTRACT_PARSE_ERROR", f"the page asks for too much: {type(exc).__name__}")


def framed(payload: bytes) -> bytes:
    """A payload with its length before it."""
    return len(payload).to_bytes(LENGTH_BYTES, "big") + payload


def _take(stream: BinaryIO) -> bytes | None:
    head = stream.read(LENGTH_BYTES)
    if len(head) < LENGTH_BYTES:
        return None
    length = int.from_bytes(head, "big")
    payload = stream.read(length)
    return payload if len(payload) == length else None


def _grant_processor_time() -> None:
    """The limit counts from the start of the process, so it moves on with every question."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    limit = int(used.ru_utime + used.ru_stime) + MAX_CPU + 1
    resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.RLIM_INFINITY))
