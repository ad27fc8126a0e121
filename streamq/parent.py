"""What a worker tells the process above it: a line of JSON with every heartbeat, over a pipe.

Silence means something then: a process that runs and says nothing has a handler that holds the
interpreter's lock (Python's `re` does), and its heart stands still with everything else.
`streamq.vouching` is the other end.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, MutableMapping
from typing import Final, Self

import msgspec

log = logging.getLogger("streamq.worker")

#: The environment variable that names the writing end.
FD_VARIABLE: Final = "STREAMQ_PARENT_FD"
#: Bytes that a pipe takes whole or not at all (POSIX promises 512, Linux 4,096).
WHOLE: Final = 4096


def child_environment(given: Mapping[str, str] | None, fd: int) -> dict[str, str]:
    """The environment of a process that is to tell us how it is; `given`: None: as ours."""
    return {**(os.environ if given is None else given), FD_VARIABLE: str(fd)}


def is_supervised(environ: Mapping[str, str]) -> bool:
    """A `Supervisor` has started this process."""
    return FD_VARIABLE in environ


class Report(msgspec.Struct, frozen=True, omit_defaults=True):
    """How a worker is, as of when it is sent; seconds throughout."""

    worker: str
    #: Stream -> how long one of its jobs may run at most; None: for ever.
    streams: dict[str, float | None]
    lease: float
    renew: float
    #: Until the first of its jobs is past its hard limit, and which that is.
    left: float | None = None
    job: str = ""
    #: It ends when its jobs have, and wants a successor.
    recycling: bool = False


class Parent:
    """The process above, where it listens."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        os.set_blocking(fd, False)
        os.set_inheritable(fd, False)

    def __repr__(self) -> str:
        return f"<Parent at fd {self._fd}>"

    @classmethod
    def found(cls, environ: MutableMapping[str, str] = os.environ) -> Self | None:
        """None: nobody above listens. The variable is taken out: children of ours have nothing to say."""
        named = environ.pop(FD_VARIABLE, "")
        try:
            return cls(int(named)) if named else None
        except (ValueError, OSError) as error:
            log.warning("parent_not_there", extra={"fd": named[:20], "error": str(error)})
            return None

    def tell(self, report: Report) -> None:
        """Send it, or leave it: a parent that does not read is not waited for. Never raises."""
        line = msgspec.json.encode(report) + b"\n"
        if len(line) > WHOLE:
            line = msgspec.json.encode(msgspec.structs.replace(report, job="")) + b"\n"
        try:
            if len(line) <= WHOLE:
                os.write(self._fd, line)
        except OSError as error:
            log.debug("parent_not_told", extra={"error": str(error)})
