"""Inflates a body without letting it grow past what was agreed.

httpx hands out whatever a small compressed body inflates to, in one piece. Here every step has an
upper bound: a bomb costs a few MiB and one error.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Final

import brotli
import zstandard

from sentinel.errors import CheckFailure

#: What we say we take, in the order we like it.
ACCEPT_ENCODING: Final = "gzip, deflate, br, zstd"

#: Bytes inflated in one step.
_STEP: Final = 256 * 1024

#: Bytes below which a body may be as dense as it likes: small pages of one repeated line are real.
_RATIO_FLOOR: Final = 1024 * 1024

#: RFC 9659: the largest window of zstd on the web.
_ZSTD_WINDOW: Final = 8 * 1024 * 1024

#: Bytes of zstd taken at a time. A block of 128 KiB takes 4 bytes at least, so a step is 4 MiB at most.
_ZSTD_SLICE: Final = 128

#: Members of one gzip body, frames of one zstd body. Each costs a set-up; nobody sends thousands.
_MAX_MEMBERS: Final = 256

_MAX_CODINGS: Final = 2


def codings_of(values: Sequence[str]) -> list[str]:
    """The codings of Content-Encoding headers, in the order they were applied.

    Raises CheckFailure FETCH_DECODE for an unknown one or for more than two.
    """
    named = [part.strip().lower() for value in values for part in value.split(",")]
    codings = [name.removeprefix("x-") if name == "x-gzip" else name for name in named]
    codings = [name for name in codings if name not in ("", "identity")]
    unknown = [name for name in codings if name not in _DECODERS]
    if unknown:
        raise CheckFailure("FETCH_DECODE", f"the body is compressed in an unknown way ({unknown[0][:40]!r})")
    if len(codings) > _MAX_CODINGS:
        raise CheckFailure("FETCH_DECODE", f"the body is compressed {len(codings)} times over")
    return codings


def bounded_decode(body: bytes, codings: Sequence[str], *, max_bytes: int, max_ratio: float) -> bytes:
    """`body` inflated through `codings` (as `codings_of` gives them), the last applied first.

    Raises CheckFailure FETCH_TOO_LARGE past `max_bytes` or past `max_ratio` times the bytes that came
    over the wire, FETCH_DECODE where the data is broken or cut short.
    """
    if not body:
        return body
    limit = min(max_bytes, max(int(len(body) * max_ratio), _RATIO_FLOOR))
    for coding in reversed(codings):
        body = _collect(_DECODERS[coding](body), limit, coding)
    if len(body) > max_bytes:
        raise CheckFailure("FETCH_TOO_LARGE", f"the body has more than {max_bytes:,} bytes")
    return body


def _collect(pieces: Iterator[bytes], limit: int, coding: str) -> bytes:
    kept: list[bytes] = []
    size = 0
    try:
        for piece in pieces:
            size += len(piece)
            if size > limit:
                raise CheckFailure("FETCH_TOO_LARGE", f"the body inflates to more than {limit:,} bytes")
            kept.append(piece)
    except (zlib.error, brotli.error, zstandard.ZstdError) as exc:
        raise CheckFailure("FETCH_DECODE", f"the {coding} body is broken") from exc
    return b"".join(kept)


def _gunzip(data: bytes) -> Iterator[bytes]:
    for _ in range(_MAX_MEMBERS):
        member = zlib.decompressobj(16 + zlib.MAX_WBITS)
        yield from _inflate(member, data)
        # Further members follow; padding and other rubbish after the last one is common, and ignored.
        data = member.unused_data
        if not data.startswith(b"\x1f\x8b"):
            return
    raise zlib.error("too many members")


def _undeflate(data: bytes) -> Iterator[bytes]:
    # "deflate" means zlib, but some servers send it raw; the first two bytes tell (RFC 1950, 2.2).
    is_zlib = len(data) >= 2 and data[0] & 0x0F == 8 and (data[0] << 8 | data[1]) % 31 == 0
    yield from _inflate(zlib.decompressobj(zlib.MAX_WBITS if is_zlib else -zlib.MAX_WBITS), data)


def _inflate(stream: zlib._Decompress, data: bytes) -> Iterator[bytes]:
    while not stream.eof:
        piece = stream.decompress(data, _STEP)
        yield piece
        ended = not piece and not stream.unconsumed_tail
        if ended and not stream.eof:
            raise zlib.error("cut short")
        data = stream.unconsumed_tail


def _unbrotli(data: bytes) -> Iterator[bytes]:
    stream = brotli.Decompressor()
    while not stream.is_finished():
        piece = stream.process(data, output_buffer_limit=_STEP)
        data = b""
        if not piece and not stream.is_finished():
            raise brotli.error("cut short")
        yield piece


def _unzstd(data: bytes) -> Iterator[bytes]:
    # The bounded reader of the library takes a body cut short for a whole one; the object that knows
    # the end of a frame has no bound of its own. So it is fed in slices that cannot grow far.
    decompressor = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW)
    at = 0
    for _ in range(_MAX_MEMBERS):
        frame = decompressor.decompressobj()
        while not frame.eof and at < len(data):
            yield frame.decompress(data[at : at + _ZSTD_SLICE])
            at += _ZSTD_SLICE
        if not frame.eof:
            raise zstandard.ZstdError("cut short")
        at = min(at, len(data)) - len(frame.unused_data)
        if at >= len(data):
            return
    raise zstandard.ZstdError("too many frames")


_DECODERS: Final[dict[str, Callable[[bytes], Iterator[bytes]]]] = {
    "gzip": _gunzip,
    "deflate": _undeflate,
    "br": _unbrotli,
    "zstd": _unzstd,
}
