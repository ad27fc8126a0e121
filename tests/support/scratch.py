"""Where tests keep their files: in memory, where there is room.

What a test writes it throws away, and no test cuts the machine's power: on a disk every commit would wait
for it, which is most of the time that the tests of the store take.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

#: Where they lie otherwise, and where some tests want them: a folder that is not under /dev.
DISK = Path(tempfile.gettempdir())
#: Linux's, a file system in memory.
MEMORY = Path("/dev/shm")  # noqa: S108 - what is made in it has unguessable names, as in /tmp
#: Bytes that must be free: several times what a run leaves there at a time.
ROOM = 4 << 30


def keep_in_memory() -> None:
    """This process makes its temporary files there; TMPDIR, where somebody set it, wins."""
    if "TMPDIR" not in os.environ and has_room(MEMORY):
        tempfile.tempdir = str(MEMORY)


def has_room(folder: Path) -> bool:
    """Whether programs can be kept and run there, as some tests do, and whether there is enough of it."""
    try:
        found = os.statvfs(folder)
    except OSError:
        return False
    noexec = bool(found.f_flag & getattr(os, "ST_NOEXEC", 0))
    return os.access(folder, os.W_OK) and not noexec and found.f_bavail * found.f_frsize >= ROOM
