"""Answers of servers: bombs, framing, headers, charsets, drips."""

from __future__ import annotations

import asyncio
import gzip
import re
import zlib
from collections.abc import Callable
from pathlib import Path

import brotli
import zstandard

from sentinel.model import FetchProfile
from tests.hostile import checks
from tests.hostile.rows import Judge, NotRun, Row
from tests.hostile.stage import FINE, PAGE, Stage
from tests.support.http import RawHandler, Reply, Request, Route

OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n"
BODY = PAGE.encode()
MIB = 1 << 20
#: Of rules on pages that take their time: seconds.
SHORT = FetchProfile(mode="http", timeout=4.0)


def raw(*parts: bytes) -> RawHandler:
    """Sends the bytes as they are, and closes."""

    async def send(request: Request, writer: asyncio.StreamWriter) -> None:
        for part in parts:
            writer.write(part)
            await writer.drain()

    return send


def forever(head: bytes, piece: bytes, *, pause: float = 0.0) -> RawHandler:
    """Sends the head, then the piece again and again until the client goes."""

    async def send(request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(head)
        while not writer.is_closing():
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(pause)

    return send


def zeros(mebibytes: int) -> bytes:
    """A gzip member of so many zeros. Every full flush resets the coder, so its piece repeats."""
    coder = zlib.compressobj(9, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    one = bytes(MIB)
    first = coder.compress(one) + coder.flush(zlib.Z_FULL_FLUSH)
    piece = coder.compress(one) + coder.flush(zlib.Z_FULL_FLUSH)
    return first + piece * (mebibytes - 1)


def coded(body: bytes, *codings: str) -> Reply:
    return Reply(body=body, headers=[("Content-Encoding", coding) for coding in codings])


def typed(body: str | bytes, content_type: str) -> Reply:
    return Reply(body=body, content_type=content_type)


def chunked(chunks: bytes) -> RawHandler:
    return raw(OK + b"Transfer-Encoding: chunked\r\n\r\n" + chunks)


def _cookies() -> Reply:
    return Reply(body=PAGE, headers=[("Set-Cookie", f"c{n}=v; Path=/") for n in range(90)])


#: What a row says in words -> what the server does.
SCENES: dict[str, Callable[[], Route]] = {
    'py:gzip.compress(b"\\0"*(1<<30))': lambda: coded(zeros(1024), "gzip"),
    'py:gzip.compress(gzip.compress(b"\\0"*(256<<20))) with Content-Encoding: gzip, gzip': lambda: coded(
        gzip.compress(zeros(256)), "gzip, gzip"
    ),
    "brotli of 64 MiB zeros": lambda: coded(brotli.compress(bytes(64 * MIB), quality=1), "br"),
    "zstd of 128 MiB zeros": lambda: coded(zstandard.compress(bytes(128 * MIB)), "zstd"),
    "zstd with a window of 128 MiB": lambda: coded(_wide_zstd(), "zstd"),
    "deflate of 64 MiB zeros": lambda: coded(zlib.compress(bytes(64 * MIB)), "deflate"),
    "gzip of zstd of 128 MiB zeros": lambda: coded(
        gzip.compress(zstandard.compress(bytes(128 * MIB))), "zstd, gzip"
    ),
    "three codings": lambda: coded(gzip.compress(gzip.compress(gzip.compress(BODY))), "gzip, gzip, gzip"),
    "100,000 empty gzip members": lambda: coded(gzip.compress(b"") * 100_000, "gzip"),
    "gzip cut short": lambda: coded(gzip.compress(BODY * 99)[:-20], "gzip"),
    "Content-Encoding: gzip on a plain body": lambda: coded(BODY, "gzip"),
    "gzip twice in two header lines, honest": lambda: coded(gzip.compress(gzip.compress(BODY)), "gzip", "gzip"),
    "no Content-Length, endless body at full speed": lambda: forever(OK + b"\r\n", b"x" * 65536),
    "endless chunks": lambda: forever(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1000\r\n" + b"x" * 4096 + b"\r\n"),
    "endless chunk extension": lambda: forever(OK + b"Transfer-Encoding: chunked\r\n\r\n1;", b"x" * 65536),
    "endless trailers": lambda: forever(
        OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n", b"X: " + b"y" * 4000 + b"\r\n"
    ),
    "endless 100 Continue": lambda: forever(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 1000),
    "endless header line": lambda: forever(b"HTTP/1.1 200 OK\r\nX: ", b"x" * 65536),
    "endless header lines": lambda: forever(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n" * 5000),
    "101 header lines": lambda: Reply(body=PAGE, headers=[("X", "y")] * 101),
    "90 cookies": _cookies,
    "one byte of the body each half second": lambda: forever(OK + b"\r\n", b"x", pause=0.5),
    "one byte of the head each half second": lambda: forever(b"", b"H", pause=0.5),
    "accepts, says nothing": lambda: forever(b"", b"", pause=0.2),
    "Content-Length and Transfer-Encoding: chunked": lambda: raw(
        OK + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"%x\r\n" % len(BODY) + BODY + b"\r\n0\r\n\r\n",
    ),
    "Content-Length: 10 twice, differing": lambda: raw(OK + b"Content-Length: 10\r\nContent-Length: 11\r\n\r\n"),
    "Content-Length: -1": lambda: raw(OK + b"Content-Length: -1\r\n\r\n" + BODY),
    "Content-Length larger than the body": lambda: raw(OK + b"Content-Length: 9999\r\n\r\n" + BODY),
    "Content-Length smaller than the body": lambda: raw(
        OK + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY + b"HTTP/1.1 200 OK\r\n\r\nsmuggled"
    ),
    "Content-Length: 5368709120": lambda: raw(OK + b"Content-Length: 5368709120\r\n\r\n" + BODY),
    "chunk size ZZ": lambda: chunked(b"ZZ\r\nhello\r\n0\r\n\r\n"),
    "chunk size -5": lambda: chunked(b"-5\r\nhello\r\n0\r\n\r\n"),
    "chunk size ffffffffffffffffff": lambda: chunked(b"ffffffffffffffffff\r\nhello"),
    "chunked cut short": lambda: chunked(b"ff\r\nhello"),
    "HTTP/0.9 body without a head": lambda: raw(BODY),
    "an SSH banner": lambda: raw(b"SSH-2.0-OpenSSH_9.2\r\n"),
    "closes at once": lambda: raw(b""),
    "HTTP/1.1 101 Switching Protocols": lambda: raw(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
    ),
    "charset=no-such-charset": lambda: typed(PAGE, "text/html; charset=no-such-charset"),
    "charset=zlib_codec": lambda: typed(PAGE, "text/html; charset=zlib_codec"),
    "charset=punycode, 1 MB": lambda: typed(PAGE + "<!--" + "ab-" * 350_000, "text/html; charset=punycode"),
    "charset=utf-7 with +ADw-": lambda: typed("<p id=v>+ADw-fine</p>", "text/html; charset=utf-7"),
    "charset=utf-16 on a UTF-8 page": lambda: typed(PAGE, "text/html; charset=utf-16"),
    "charset of 1 MB": lambda: typed(PAGE, "text/html; charset=" + "x" * 60_000),
    "NUL bytes in the text": lambda: typed(b"<p id=v>fi\0ne</p>", "text/html; charset=utf-8"),
    "CESU-8 surrogates in the text": lambda: typed(b"<p id=v>\xed\xa0\x80fine\xed\xb0\x80</p>", "text/html; charset=utf-8"),
    "invalid UTF-8": lambda: typed(b"<p id=v>fine</p>\xff\xfe\xfd", "text/html; charset=utf-8"),
    "Content-Type: image/png with an HTML body": lambda: typed(PAGE, "image/png"),
    "Content-Type: text/html with a PNG body": lambda: typed(b"\x89PNG\r\n\x1a\n" + BODY, "text/html"),
    "Content-Type: application/octet-stream with NULs": lambda: typed(b"ab\0cd", "application/octet-stream"),
    "Content-Disposition: attachment; filename=../../x": lambda: Reply(
        body=PAGE, headers={"Content-Disposition": "attachment; filename=../../x"}
    ),
    "Set-Cookie with a control character": lambda: raw(OK + b"Set-Cookie: a=b\x01c\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY),
    "a header with a bare LF": lambda: raw(OK + b"X: a\nY: b\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY),
    "429 with Retry-After: 99999999999999999999": lambda: Reply(
        status=429, body="no", headers={"Retry-After": "9" * 20}
    ),
    "503 with Retry-After: -1": lambda: Reply(status=503, body="no", headers={"Retry-After": "-1"}),
    "200 with a body of 6 MiB": lambda: Reply(body="x" * (6 * MIB)),
}  # fmt: skip
#: Those that end when the rule's time is over.
SLOW = ("each half second", "says nothing", "endless 100")
_STATUS = re.compile(r"HTTP/1\.[01] (\d+)( .*)?")
_HEADER = re.compile(r"([A-Za-z][A-Za-z-]*): (.*)", re.DOTALL)


def _wide_zstd() -> bytes:
    parameters = zstandard.ZstdCompressionParameters.from_level(3, window_log=27, enable_ldm=True)
    packer = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    return packer.compress(BODY * 9000) + packer.flush()


def _scene(words: str) -> Route:
    """What the server does; a header or a status line that no scene knows is sent with a good page."""
    if (scene := SCENES.get(words)) is not None:
        return scene()
    if found := _STATUS.fullmatch(words):
        return raw(f"{words}\r\nContent-Length: {len(BODY)}\r\n\r\n".encode() + BODY)
    if found := _HEADER.fullmatch(words):
        return Reply(body=PAGE, headers={found[1]: found[2]})
    raise NotRun("no server here does what it says in words")


def response(row: Row, stage: Stage) -> Judge:
    """A page that answers so; its rule is checked."""
    scene = _scene(row.input)
    slow = any(word in row.input for word in SLOW)
    fetch = SHORT if slow else FetchProfile(mode="http")
    rule = stage.rule(stage.page(scene), fetch=fetch)
    if row.expected == "record_as_typed":
        # An image to us: nothing was read out of it.
        return lambda: "" if checks.code_of(stage, rule) == "FETCH_DECODE" else checks.told(stage, rule)
    judge = checks.judge(stage, rule, row.expected, value=_value(row))
    if judge is None:
        raise NotRun(f"no answer ends with {row.expected!r}")
    if row.expected != "no_file_written":
        return judge

    places = [one / "x" for one in (stage.folder, stage.folder.parent, stage.folder.parent.parent, Path("/"))]
    before = [one for one in places if one.exists()]

    def written() -> str:
        return judge() or ", ".join(str(one) for one in places if one.exists() and one not in before)

    return written


def _value(row: Row) -> str:
    if "utf-7" in row.input:
        return "+ADw-fine"
    if "surrogates" in row.input:
        return "\N{REPLACEMENT CHARACTER}" * 3 + FINE + "\N{REPLACEMENT CHARACTER}" * 3
    return FINE
