"""Blobs in any S3-compatible store, through obstore; workers of several machines then share them.

    s3://bucket/prefix/ab/abcdef....zst

Credentials are the library's business: it reads AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN
and what else it knows (a role of the machine) from the environment. We never hold them, and of an error we
tell its kind, never its text, which repeats what the server said of the request.
"""

from __future__ import annotations

import hashlib
import logging
import secrets
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import anyio
import obstore
from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError
from obstore.store import S3Store

from sentinel.store.blobs import MAX_BLOB, BlobKind, InUse, Kept, Swept, is_hash, packed, sweep, unpacked

if TYPE_CHECKING:
    from obstore.store import ClientConfig

log = logging.getLogger("sentinel.blobs")

#: Seconds: to connect, for one request, and for one with all its tries.
CONNECT_WAIT: Final = 3.0
REQUEST_WAIT: Final = 10.0
PATIENCE: Final = 15.0
#: Tries after the first.
RETRIES: Final = 2
#: Seconds for which nothing is put after a failure: a store that is away does not hold up every check.
REST: Final = 30.0
#: Objects told, and removed, at once.
PAGE: Final = 1_000
REMOVED_AT_ONCE: Final = 20
#: Bytes of an object that are read at most: what cannot be compressed grows a little.
MAX_OBJECT: Final = max(MAX_BLOB.values()) + (1 << 20)

#: Whatever the library raises: its own, and FileNotFoundError and the like.
_FAILURES: Final = (BaseError, OSError)


class ObjectBlobs:
    """Blobs as objects of a bucket."""

    def __init__(
        self,
        bucket: str,
        prefix: str,
        *,
        endpoint: str | None,
        limit: int,
        keeps: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`endpoint`: of a store that is not Amazon's; `limit`, `keeps`: as of FileBlobs."""
        self._name = f"s3://{bucket}/{prefix}".rstrip("/")
        options: ClientConfig = {
            "connect_timeout": timedelta(seconds=CONNECT_WAIT),
            "timeout": timedelta(seconds=REQUEST_WAIT),
            "allow_http": endpoint is not None and endpoint.startswith("http://"),
        }
        self._bucket = S3Store(
            bucket,
            prefix=prefix or None,
            client_options=options,
            retry_config={"max_retries": RETRIES, "retry_timeout": timedelta(seconds=REQUEST_WAIT)},
            config={} if endpoint is None else {"endpoint": endpoint},
        )
        self._limit = limit
        self._keeps = keeps
        self._clock = clock
        self._rests_until = 0.0

    def __repr__(self) -> str:
        return f"ObjectBlobs({self._name!r})"

    async def put(self, data: bytes, kind: BlobKind) -> str | None:
        """See `Blobs.put`. What is there is put again: it is young then, and a sweep leaves it alone."""
        if not self._keeps or len(data) > MAX_BLOB[kind] or self._clock() < self._rests_until:
            return None
        digest = hashlib.sha256(data).hexdigest()
        try:
            with anyio.fail_after(PATIENCE):
                await obstore.put_async(self._bucket, _key(digest), packed(data, kind))
        except _FAILURES as error:
            self._rests_until = self._clock() + REST
            log.warning("blob_not_kept", extra={"error": _words(error)})
            return None
        return digest

    async def get(self, digest: str) -> bytes | None:
        """See `Blobs.get`."""
        if not is_hash(digest):
            return None
        try:
            with anyio.fail_after(PATIENCE):
                found = await obstore.get_async(self._bucket, _key(digest))
                small = found.meta["size"] <= MAX_OBJECT
                data = unpacked(bytes(await found.bytes_async()), digest) if small else None
        except FileNotFoundError:
            return None
        except _FAILURES as error:
            log.warning("blob_not_read", extra={"error": _words(error)})
            return None
        if data is None:
            log.warning("blob_damaged", extra={"blob": digest})  # put again, it will be whole
        return data

    async def probe(self) -> str | None:
        """Put a few bytes, read them, delete them: what is wrong with the bucket, or None."""
        data = secrets.token_bytes(16)
        # As of a blob that nothing names: should the delete fail, a sweep takes it.
        key = _key(hashlib.sha256(data).hexdigest())
        try:
            with anyio.fail_after(PATIENCE):
                await obstore.put_async(self._bucket, key, data)
                found = bytes(await (await obstore.get_async(self._bucket, key)).bytes_async())
                await obstore.delete_async(self._bucket, key)
        except _FAILURES as error:
            return _words(error)
        return None if found == data else "it answers with other bytes than were put"

    async def sweep(self, in_use: InUse, now: float) -> Swept:
        """See `Blobs.sweep`; what could not be reached is left for another time."""
        try:
            return await sweep(self._pages, self._remove, in_use, limit=self._limit, now=now)
        except _FAILURES as error:
            log.warning("blobs_not_swept", extra={"error": _words(error)})
            return Swept()

    async def _pages(self) -> AsyncIterator[list[Kept]]:
        listed = obstore.list(self._bucket, chunk_size=PAGE)
        async for page in listed:
            yield [Kept(one["path"], one["size"], one["last_modified"].timestamp()) for one in page]

    async def _remove(self, gone: Sequence[Kept], before: float) -> int:
        """Looked at once more, a few at a time: what is put again in the moment between is lost."""
        removed = 0
        for start in range(0, len(gone), REMOVED_AT_ONCE):
            old: list[str] = []
            async with anyio.create_task_group() as looks:
                for one in gone[start : start + REMOVED_AT_ONCE]:
                    looks.start_soon(self._look, one.name, before, old)
            if old:
                await obstore.delete_async(self._bucket, old)
            removed += len(old)
        return removed

    async def _look(self, key: str, before: float, old: list[str]) -> None:
        with suppress(*_FAILURES):  # left for another time
            told = await obstore.head_async(self._bucket, key)
            if told["last_modified"].timestamp() <= before:
                old.append(key)


def _key(digest: str) -> str:
    return f"{digest[:2]}/{digest}.zst"


def _words(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, FileNotFoundError):
        return "no such bucket"
    if isinstance(error, PermissionDeniedError | UnauthenticatedError | PermissionError):
        return "the store refuses the credentials"
    return "the store does not answer as it should"
