"""Page bodies and screenshots, kept by the hash of their content, outside the database.

    blobs/ab/abcdef....zst        the first two digits of the hash, then all of it

Rows name them (`run.body_blob`, `run.screenshot_blob`, `rule_state.page_blob`); what no row names any
more is swept away, and what is beyond the limit goes oldest first. A blob may therefore be gone at any
time: a reader says so and goes on.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final, Literal, NamedTuple, Protocol

import anyio.to_thread
import msgspec
import zstandard

log = logging.getLogger("sentinel.blobs")

BlobKind = Literal["body", "screenshot"]

#: Bytes of one blob that is kept, before compression; a larger one is not.
MAX_BLOB: Final[dict[BlobKind, int]] = {"body": 5 << 20, "screenshot": 10 << 20}
#: zstd's levels: 3 makes a fifth of a page in a quarter of a millisecond; a PNG does not get smaller.
_LEVEL: Final[dict[BlobKind, int]] = {"body": 3, "screenshot": 1}
#: Seconds for which what no row names is left alone: the row may be about to be written.
GRACE: Final = 3600.0
#: Hashes that are asked about at once.
ASK: Final = 500

_HASH: Final = re.compile(r"[0-9a-f]{64}\Z")
_SHARDS: Final = tuple(f"{number:02x}" for number in range(256))

#: Of some hashes those that a row names.
InUse = Callable[[list[str]], Awaitable[set[str]]]


class Swept(msgspec.Struct, frozen=True, kw_only=True):
    """What sweeping found and did."""

    #: Removed: named by no row, or beyond the limit.
    unused: int = 0
    beyond: int = 0
    #: Bytes that are kept.
    size: int = 0


class Blobs(Protocol):
    """Where bytes are kept by the hash of their content."""

    async def put(self, data: bytes, kind: BlobKind) -> str | None:
        """Keep them; their SHA-256, hex. None: not kept (too large, not wanted, no room).

        Never raises for a disk that is full or away: a check does not fail for what it leaves behind.
        """
        ...

    async def get(self, digest: str) -> bytes | None:
        """What was put; None: it is not there, or not what it was."""
        ...

    async def sweep(self, in_use: InUse, now: float) -> Swept:
        """Remove what no row names, and what is beyond the limit."""
        ...


class FileBlobs:
    """Blobs in a folder of this machine."""

    def __init__(self, folder: Path, *, limit: int, keeps: bool = True) -> None:
        """`limit`: bytes of all files together, as they lie there. `keeps`: False puts nothing more."""
        self._folder = folder
        self._limit = limit
        self._keeps = keeps

    def __repr__(self) -> str:
        return f"FileBlobs({str(self._folder)!r})"

    async def put(self, data: bytes, kind: BlobKind) -> str | None:
        """See `Blobs.put`."""
        if not self._keeps or len(data) > MAX_BLOB[kind]:
            return None
        return await anyio.to_thread.run_sync(self._put, data, kind)

    async def get(self, digest: str) -> bytes | None:
        """See `Blobs.get`."""
        if _HASH.match(digest) is None:  # it becomes part of a path
            return None
        return await anyio.to_thread.run_sync(self._get, digest)

    async def sweep(self, in_use: InUse, now: float) -> Swept:
        """See `Blobs.sweep`; a shard at a time, so that memory does not grow with what is kept."""
        unused = beyond = 0
        #: Bytes by the minute they were put in.
        sizes: Counter[int] = Counter()
        async for files in self._shards():
            old = [file for file in files if file.used_at < now - GRACE]
            named: set[str] = set()
            for start in range(0, len(old), ASK):
                named |= await in_use([file.digest for file in old[start : start + ASK]])
            gone = [file for file in old if file.digest not in named]
            unused += await anyio.to_thread.run_sync(_remove, gone, now - GRACE)
            left = set(files).difference(gone)
            for file in left:
                sizes[file.minute] += file.size
        first = _first_that_fits(sizes, self._limit)
        if first is not None:
            async for files in self._shards():
                gone = [file for file in files if file.minute < first]
                beyond += await anyio.to_thread.run_sync(_remove, gone, first * 60.0)
        kept = sum(size for minute, size in sizes.items() if first is None or minute >= first)
        return Swept(unused=unused, beyond=beyond, size=kept)

    async def _shards(self) -> AsyncIterator[list[_File]]:
        for shard in _SHARDS:
            yield await anyio.to_thread.run_sync(_files, self._folder / shard)

    def _path(self, digest: str) -> Path:
        return self._folder / digest[:2] / f"{digest}.zst"

    def _put(self, data: bytes, kind: BlobKind) -> str | None:
        digest = hashlib.sha256(data).hexdigest()
        path = self._path(digest)
        try:
            if path.exists():
                os.utime(path)  # a sweep that is under way leaves it alone
                return digest
            path.parent.mkdir(parents=True, exist_ok=True)
            unfinished = path.with_name(f".{secrets.token_hex(8)}")
            try:
                unfinished.write_bytes(zstandard.compress(data, _LEVEL[kind]))
                unfinished.replace(path)
            except BaseException:
                unfinished.unlink(missing_ok=True)
                raise
        except OSError as error:
            log.warning("blob_not_kept", extra={"error": error.strerror or str(error)})
            return None
        return digest

    def _get(self, digest: str) -> bytes | None:
        path = self._path(digest)
        try:
            packed = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            log.warning("blob_not_read", extra={"error": error.strerror or str(error)})
            return None
        data = _unpacked(packed)
        if data is None or hashlib.sha256(data).hexdigest() != digest:
            # Written when the power went, most likely: put again, it will be whole.
            log.warning("blob_damaged", extra={"blob": digest})
            with suppress(OSError):
                path.unlink(missing_ok=True)
            return None
        return data


class _File(NamedTuple):
    """A blob as it lies there."""

    path: Path
    size: int
    used_at: float

    @property
    def digest(self) -> str:
        return self.path.stem

    @property
    def minute(self) -> int:
        """Since the epoch."""
        return int(self.used_at // 60)


def _unpacked(packed: bytes) -> bytes | None:
    try:
        params = zstandard.get_frame_parameters(packed)
        if params.content_size > max(MAX_BLOB.values()):  # "not told" is the largest number there is
            return None
        return zstandard.ZstdDecompressor().decompress(packed)
    except zstandard.ZstdError:
        return None


def _files(folder: Path) -> list[_File]:
    return list(_look(folder))


def _look(folder: Path) -> Iterator[_File]:
    """What lies in a shard, what was left unfinished there too (its name is no hash that a row has)."""
    try:
        entries = list(os.scandir(folder))
    except OSError:  # not there yet, most likely
        return
    for entry in entries:
        with suppress(OSError):
            told = entry.stat(follow_symlinks=False)
            yield _File(Path(entry.path), told.st_size, told.st_mtime)


def _first_that_fits(sizes: Counter[int], room: int) -> int | None:
    """The minute from which on everything fits; None: all of it does."""
    for minute in sorted(sizes, reverse=True):
        room -= sizes[minute]
        if room < 0:
            return minute + 1
    return None


def _remove(files: list[_File], before: float) -> int:
    """Unlink those that nobody has put again since `before`."""
    gone = 0
    for file in files:
        with suppress(OSError):
            if file.path.stat().st_mtime <= before:
                file.path.unlink()
                gone += 1
    return gone
