"""Templates where they can do no harm: rendered in a child process with limits of memory and time.

Fuel pays for steps and for what is made, but not for printing a list that holds itself many times over:
four lines of a template can ask for gigabytes, and an allocation that fails ends the process it is in.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import anyio
import msgspec

from sentinel.child import GONE, LimitedChild, ask_once, serve
from sentinel.model import Channel, ChannelTemplate, Document
from sentinel.render.template import TemplateFailed, in_the_words, render, trouble, with_note

#: Seconds a template may take by the clock, and of processor time; faults.md 4.3.
SECONDS: Final = 1.0
#: Bytes it may ask for, beyond what the child has when it begins.
MEMORY: Final = 64 << 20
#: Seconds in which a child is up.
START_SECONDS: Final = 20.0

_TOO_MUCH: Final = "it takes too long, or makes too much"
_NO_START: Final = "the process that renders templates does not start"
_PROGRAM: Final = "from sentinel.render.contained import main; main()"


class _Question(msgspec.Struct, frozen=True, array_like=True):
    """A template, and the alert that is to be in its words; without one, what is wrong with it is asked."""

    template: ChannelTemplate | None = None
    document: Document | None = None


class _Answer(msgspec.Struct, frozen=True, array_like=True):
    """Title and body; or why there are none; or what is wrong, by the names of a template's parts."""

    title: str = ""
    body: str = ""
    failed: str = ""
    troubles: dict[str, str] = {}


class Templates:
    """Puts alerts into the words of their channels; open one per process with `open_templates`."""

    def __init__(self) -> None:
        self._child: LimitedChild | None = None
        self._turn = anyio.Lock()

    async def words(self, channel: Channel, document: Document) -> Document:
        """`document` in the words of the channel's template, if it has one; never fails.

        Where the template does, the document stays as it is and says so: no alert is lost to a template.
        """
        if channel.template is None:
            return document
        question = _Question(channel.template, document)
        async with self._turn:
            answer = await self._ask(msgspec.msgpack.encode(question))
        return _applied(document, answer)

    async def _ask(self, frame: bytes) -> _Answer:
        child: LimitedChild | None = self._child
        self._child = None
        try:
            if child is None:
                child = await LimitedChild.start(_PROGRAM)
                with anyio.fail_after(START_SECONDS):
                    await child.ask(msgspec.msgpack.encode(_Question()))
            with anyio.fail_after(SECONDS):
                answer = msgspec.msgpack.decode(await child.ask(frame), type=_Answer)
        except (*GONE, TimeoutError):
            if child is None:
                return _Answer(failed=_NO_START)
            await child.end()
            return _Answer(failed=_NO_START if child.never_spoke else _TOO_MUCH)
        except BaseException:
            if child is not None:  # cancelled in the middle: its answer would be taken for the next one's
                await child.end()
            raise
        self._child = child
        return answer

    async def aclose(self) -> None:
        """End the child."""
        if self._child is not None:
            await self._child.end()
            self._child = None


@asynccontextmanager
async def open_templates() -> AsyncIterator[Templates]:
    """Its child is started by the first template."""
    templates = Templates()
    try:
        yield templates
    finally:
        await templates.aclose()


def troubles(template: ChannelTemplate) -> dict[str, str]:
    """What is wrong with `title` and `body`, tried on a made-up alert of every kind; {} if nothing.

    In a child of its own, for commands; blocks.
    """
    frame = ask_once(_PROGRAM, msgspec.msgpack.encode(_Question(template)), START_SECONDS)
    if frame is not None:
        return msgspec.msgpack.decode(frame, type=_Answer).troubles
    # Which of the two it was is found by trying each by itself.
    parts = {"title": template.title, "body": template.body}
    given = {name: text for name, text in parts.items() if text is not None}
    if len(given) == 1:
        return dict.fromkeys(given, _TOO_MUCH)
    return {
        name: problem for name, text in given.items()
        for problem in troubles(ChannelTemplate(**{name: text})).values()
    }  # fmt: skip


# --- in the child -----------------------------------------------------------------------------------


def main() -> None:
    """Answer until stdin ends."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    memory = pages * os.sysconf("SC_PAGE_SIZE") + MEMORY
    serve(lambda frame: msgspec.msgpack.encode(_answer(frame)), memory=memory, cpu=int(SECONDS))


def _answer(frame: bytes) -> _Answer:
    try:
        question = msgspec.msgpack.decode(frame, type=_Question)
        if question.template is None:
            return _Answer()
        if question.document is None:
            return _Answer(troubles=trouble(question.template))
        title, body = render(question.template, question.document)
    except TemplateFailed as failed:
        return _Answer(failed=str(failed))
    except (MemoryError, RecursionError, msgspec.DecodeError) as exc:
        return _Answer(failed=f"{_TOO_MUCH} ({type(exc).__name__})")
    return _Answer(title, body)


def _applied(document: Document, answer: _Answer) -> Document:
    if answer.failed:
        return with_note(document, answer.failed)
    return in_the_words(document, answer.title, answer.body)
