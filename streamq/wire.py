"""How an envelope looks as the flat fields of a stream entry (docs/wire-format.md).

Everything but `payload` is optional, so `XADD <stream> * payload '{...}'` from any client is a
whole job. Reading never raises: what does not decode becomes the envelope's `defect`, and the
job goes to the dead letters with its bytes kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from streamq.errors import StreamqError
from streamq.job import MAX_TIMEOUT, Envelope, Try
from streamq.keys import MAX_NAME, Lane
from streamq.limits import Limit
from streamq.retry import Retry

#: Version of the layout of keys and fields; raised when an older worker could misread.
FORMAT_VERSION: Final = 1

_retry_decoder = msgspec.json.Decoder(Retry)
_limit_decoder = msgspec.json.Decoder(Limit)
_tries_decoder = msgspec.json.Decoder(tuple[Try, ...])
_headers_decoder = msgspec.json.Decoder(dict[str, str])
_encoder = msgspec.json.Encoder()

#: Characters of a note that are kept: it travels with the job.
NOTE_LIMIT: Final = 300

#: Attempts that are kept, and characters of each one's error.
TRIES_LIMIT: Final = 10
TRY_ERROR_LIMIT: Final = 200

#: The largest attempt, crash count or time that is believed (2^53: exact in Lua's numbers).
_MAX_INT = 2**53


def entry_ms(entry_id: str) -> int:
    """Milliseconds of the server's clock when the entry was added."""
    return int(entry_id.partition("-")[0])


def envelope_of(entry_id: str, lane: Lane, fields: Mapping[bytes, bytes]) -> Envelope:
    """The envelope in a stream entry. Never raises; see `Envelope.defect`."""
    added = entry_ms(entry_id)
    payload = fields.get(b"payload")
    if len(fields) == 2 and payload is not None and b"id" in fields:  # noqa: SIM102 - the hot path: as we produce it
        if 0 < len(fields[b"id"]) <= MAX_NAME:
            job_id = fields[b"id"].decode("utf-8", "replace")
            return Envelope(id=job_id, payload=payload, enqueued_ms=added, eligible_ms=added, lane=lane)
    return _Reader(fields).envelope(entry_id, lane, added)


class _Reader:
    """Reads optional fields one by one and remembers the first that is wrong."""

    def __init__(self, fields: Mapping[bytes, bytes]) -> None:
        self._fields = fields
        self.defect: str | None = None

    def envelope(self, entry_id: str, lane: Lane, added: int) -> Envelope:
        payload = self._fields.get(b"payload")
        if payload is None:
            names = ", ".join(sorted(n.decode("utf-8", "replace")[:40] for n in self._fields)[:8])
            self._wrong(f"the entry has no field 'payload' (it has: {names})")
            payload = b""
        enqueued = self._integer(b"enqueued", added)
        return Envelope(
            id=self._text(b"id") or entry_id,
            payload=payload,
            attempt=max(1, self._integer(b"attempt", 1)),
            crashes=self._integer(b"crashes", 0),
            enqueued_ms=enqueued,
            eligible_ms=self._integer(b"eligible", added if enqueued == added else enqueued),
            lane=lane,
            headers=self._headers(),
            retry=self._retry(),
            timeout=self._timeout(),
            unique=self._text(b"unique") or None,
            replace=self._fields.get(b"replace", b"") == b"1",
            limit=self._limit(),
            note=self._fields.get(b"note", b"").decode("utf-8", "replace")[:NOTE_LIMIT],
            tries=self._tries(),
            defect=self.defect,
        )

    def _wrong(self, what: str) -> None:
        self.defect = self.defect or what

    def _text(self, name: bytes) -> str:
        raw = self._fields.get(name, b"")
        if len(raw) > MAX_NAME * 4:
            self._wrong(f"field '{name.decode()}' is longer than {MAX_NAME} characters")
            raw = raw[:MAX_NAME]
        return raw.decode("utf-8", "replace")

    def _integer(self, name: bytes, default: int) -> int:
        raw = self._fields.get(name)
        if raw is None:
            return default
        if raw.isdigit() and len(raw) <= 16 and int(raw) <= _MAX_INT:
            return int(raw)
        self._wrong(f"field '{name.decode()}' is not a whole number: {raw[:40]!r}")
        return default

    def _timeout(self) -> float | None:
        raw = self._fields.get(b"timeout")
        if raw is None:
            return None
        try:
            seconds = float(raw)
        except ValueError:
            seconds = -1.0
        if 0 < seconds < MAX_TIMEOUT:
            return seconds
        self._wrong(f"field 'timeout' is not a number of seconds above 0: {raw[:40]!r}")
        return None

    def _headers(self) -> dict[str, str]:
        raw = self._fields.get(b"headers")
        if raw is None:
            return {}
        try:
            return _headers_decoder.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            self._wrong(f"field 'headers' is not a JSON object of strings: {error}")
            return {}

    def _limit(self) -> Limit | None:
        raw = self._fields.get(b"limit")
        if raw is None:
            return None
        try:
            return _limit_decoder.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, StreamqError) as error:
            self._wrong(f"field 'limit' is not a limit: {error}")
            return None

    def _tries(self) -> tuple[Try, ...]:
        """For people only: what does not decode is left out, and no job dies of it."""
        raw = self._fields.get(b"tries")
        if raw is None:
            return ()
        try:
            return _tries_decoder.decode(raw)[-TRIES_LIMIT:]
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return ()

    def _retry(self) -> Retry | None:
        raw = self._fields.get(b"retry")
        if raw is None:
            return None
        try:
            return _retry_decoder.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, StreamqError) as error:
            self._wrong(f"field 'retry' is not a retry policy: {error}")
            return None


def whole(said: bytes | None, most: int) -> int | None:
    """The whole number from 1 to `most` that a field of the meta hash says; None where it says none.

    Anybody can write there: see lua/lib/whole.lua.
    """
    if said is None or not said.isdigit() or len(said) > 16:
        return None
    return int(said) if 1 <= int(said) <= most else None


def newer_format(found: str) -> str:
    """What to tell of a stream that is kept in another format than ours."""
    return (
        f"the stream is kept in format {found[:20]}, and this streamq knows formats up to {FORMAT_VERSION}:"
        " bring this program to a version as new as the workers that wrote it"
    )


def fields_of(  # noqa: C901 - one line for each field
    *,
    job_id: str,
    payload: bytes,
    attempt: int = 1,
    crashes: int = 0,
    enqueued_ms: int | None = None,
    headers: Mapping[str, str] | None = None,
    retry: Retry | None = None,
    timeout: float | None = None,
    unique: str | None = None,
    replace: bool = False,
    limit: Limit | None = None,
    note: str = "",
    tries: Sequence[Try] = (),
) -> list[bytes]:
    """Flat field, value, field, value ... of an entry; what has its default is left out."""
    flat = [b"payload", payload, b"id", job_id.encode()]
    if attempt != 1:
        flat += (b"attempt", b"%d" % attempt)
    if crashes:
        flat += (b"crashes", b"%d" % crashes)
    if enqueued_ms is not None:
        flat += (b"enqueued", b"%d" % enqueued_ms)
    if headers:
        flat += (b"headers", _encoder.encode(headers))
    if retry is not None:
        flat += (b"retry", _encoder.encode(retry))
    if timeout is not None:
        flat += (b"timeout", repr(float(timeout)).encode())
    if unique is not None:
        flat += (b"unique", unique.encode())
    if replace:
        flat += (b"replace", b"1")
    if limit is not None:
        flat += (b"limit", _encoder.encode(limit))
    if note:
        flat += (b"note", note[:NOTE_LIMIT].encode("utf-8", "replace"))
    if tries:
        flat += (b"tries", _encoder.encode(tries))
    return flat


def result_fields(result: bytes | None, no_result: str) -> list[bytes]:
    """What a completed record says of the value that the handler returned; nothing where none is kept."""
    if result is not None:
        return [b"result", result]
    return [b"no_result", no_result[:NOTE_LIMIT].encode("utf-8", "replace")] if no_result else []


def tried(envelope: Envelope, entry_id: str, error: str) -> tuple[Try, ...]:
    """The attempts that failed, the one that was delivered as `entry_id` with them."""
    # Half of a character would not encode as JSON.
    words = error[:TRY_ERROR_LIMIT].encode("utf-8", "replace").decode()
    return (*envelope.tries, Try(envelope.attempt, entry_ms(entry_id), words))[-TRIES_LIMIT:]


def fields_again(
    envelope: Envelope, *, attempt: int, crashes: int, note: str = "", tries: Sequence[Try] | None = None
) -> list[bytes]:
    """The fields of a job that goes round once more; its id and first enqueue time stay, and its `tries`
    where no others are given.
    """
    return fields_of(
        job_id=envelope.id,
        payload=envelope.payload,
        attempt=attempt,
        crashes=crashes,
        enqueued_ms=envelope.enqueued_ms,
        headers=envelope.headers,
        retry=envelope.retry,
        timeout=envelope.timeout,
        unique=envelope.unique,
        replace=envelope.replace,
        limit=envelope.limit,
        note=note,
        tries=envelope.tries if tries is None else tries,
    )


def pairs(flat: Sequence[bytes]) -> dict[bytes, bytes]:
    """Flat field, value, ... as a mapping; of a repeated field the first counts, as a reader expects."""
    found: dict[bytes, bytes] = {}
    for index in range(0, len(flat) - 1, 2):
        found.setdefault(flat[index], flat[index + 1])
    return found
