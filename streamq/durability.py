"""How safe a job is to be before its producer goes on.

none         the server has it in memory (and in its file, as its own settings say)
replicas:N   N replicas have it as well (WAIT)
fsync        it is on the server's disk (WAITAOF; Redis 7.2 or newer, with appendonly yes)
"""

from __future__ import annotations

import re

import msgspec

from streamq.errors import InvalidJob


class Durability(msgspec.Struct, frozen=True):
    """What has to be confirmed."""

    replicas: int = 0
    fsync: bool = False

    def __str__(self) -> str:
        return f"replicas:{self.replicas}" if self.replicas else "fsync" if self.fsync else "none"

    def __bool__(self) -> bool:
        return bool(self.replicas or self.fsync)


def durability_of(text: str) -> Durability:
    """From its name; raises InvalidJob."""
    if text in ("none", ""):
        return Durability()
    if text == "fsync":
        return Durability(fsync=True)
    found = re.fullmatch(r"replicas:([1-9]\d{0,2})", text)
    if found is None:
        raise InvalidJob(f"durability is none, replicas:N or fsync; not {text[:40]!r}")
    return Durability(replicas=int(found[1]))
