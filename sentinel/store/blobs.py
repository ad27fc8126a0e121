"""Page bodies and screenshots, kept by the hash of their content, outside the database.

    blobs/ab/abcdef....zst        the first two digits of the hash, then all of it

In a folder of this machine (`FileBlobs`) or in an S3-compatible store (sentinel.store.object_blobs). Rows
name them (`run.body_blob`, `run.screenshot_blob`, `rule_state.page_blob`); what no row names any more is
swept away, and what is beyond the limit goes oldest first. A blob may therefore be gone at any time: a
reader says so and goes on.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath
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

        Never raises for a store that is full or away: a check does not fail for what it leaves behind.
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
        if not is_hash(digest):
            return None
        return await anyio.to_thread.run_sync(self._get, digest)

    async def sweep(self, in_use: InUse, now: float) -> Swept:
        """See `Blobs.sweep`."""
        return await sweep(self._shards, self._remove, in_use, limit=self._limit, now=now)

    async def _shards(self) -> AsyncIterator[list[Kept]]:
        for shard in _SHARDS:
            yield await anyio.to_thread.run_sync(_files, self._folder / shard)

    async def _remove(self, gone: Sequence[Kept], before: float) -> int:
        return await anyio.to_thread.run_sync(_unlink, gone, before)

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
                unfinished.write_bytes(packed(data, kind))
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
            found = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            log.warning("blob_not_read", extra={"error": error.strerror or str(error)})
            return None
        data = unpacked(found, digest)
        if data is None:
            # Written when the power went, most likely: put again, it will be whole.
            log.warning("blob_damaged", extra={"blob": digest})
            with suppress(OSError):
                path.unlink(missing_ok=True)
            return None
        return data


def _files(folder: Path) -> list[Kept]:
    return list(_look(folder))


def _look(folder: Path) -> Iterator[Kept]:
    """What lies in a shard, what was left unfinished there too (its name is no hash that a row has)."""
    try:
        entries = list(os.scandir(folder))
    except OSError:  # not there yet, most likely
        return
    for entry in entries:
        with suppress(OSError):
            told = entry.stat(follow_symlinks=False)
            yield Kept(entry.path, told.st_size, told.st_mtime)


def _unlink(files: Sequence[Kept], before: float) -> int:
    """Those that nobody has put again since `before`."""
    gone = 0
    for file in files:
        path = Path(file.name)
        with suppress(OSError):
            if path.stat().st_mtime <= before:
                path.unlink()
                gone += 1
    return gone


# --- the same for every store ----------------------------------------------------------------------


class Kept(NamedTuple):
    """A blob as it lies there."""

    #: Where: a path, or an object's key; it ends in its hash and `.zst`.
    name: str
    #: Bytes, as it lies there.
    size: int
    #: When it was put last; seconds since the epoch.
    used_at: float

    @property
    def digest(self) -> str:
        """Its hash."""
        return PurePosixPath(self.name).stem

    @property
    def minute(self) -> int:
        """Since the epoch."""
        return int(self.used_at // 60)


async def sweep(
    pages: Callable[[], AsyncIterator[list[Kept]]],
    remove: Callable[[Sequence[Kept], float], Awaitable[int]],
    in_use: InUse,
    *,
    limit: int,
    now: float,
) -> Swept:
    """Remove what no row names, and the oldest beyond `limit` bytes.

    `pages`: all there is, a part at a time, so that memory does not grow with what is kept; asked for
    twice where there is too much. `remove`: those of some that nobody has put again since a time.
    """
    unused = beyond = 0
    #: Bytes by the minute they were put in.
    sizes: Counter[int] = Counter()
    async for kept in pages():
        old = [one for one in kept if one.used_at < now - GRACE]
        named: set[str] = set()
        for start in range(0, len(old), ASK):
            named |= await in_use([one.digest for one in old[start : start + ASK]])
        gone = [one for one in old if one.digest not in named]
        unused += await remove(gone, now - GRACE)
        for one in set(kept).difference(gone):
            sizes[one.minute] += one.size
    first = _first_that_fits(sizes, limit)
    if first is not None:
        async for kept in pages():
            beyond += await remove([one for one in kept if one.minute < first], first * 60.0)
    left = sum(size for minute, size in sizes.items() if first is None or minute >= first)
    return Swept(unused=unused, beyond=beyond, size=left)


def is_hash(digest: str) -> bool:
    """It may become part of a path."""
    return _HASH.match(digest) is not None


def packed(data: bytes, kind: BlobKind) -> bytes:
    """As they lie there."""
    return zstandard.compress(data, _LEVEL[kind])


def unpacked(found: bytes, digest: str) -> bytes | None:
    """What was put under that hash; None: it is not what it was."""
    try:
        params = zstandard.get_frame_parameters(found)
        if params.content_size > max(MAX_BLOB.values()):  # "not told" is the largest number there is
            return None
        data = zstandard.ZstdDecompressor().decompress(found)
    except zstandard.ZstdError:
        return None
    return data if hashlib.sha256(data).hexdigest() == digest else None


def _first_that_fits(sizes: Counter[int], room: int) -> int | None:
    """The minute from which on everything fits; None: all of it does."""
    for minute in sorted(sizes, reverse=True):
        room -= sizes[minute]
        if room < 0:
            return minute + 1
    return None
