"""The worker's own HTTP endpoint, asked as no client should; there is no dashboard and no API beside it."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable

from tests.hostile.rows import Judge, NotRun, Row, text_of
from tests.hostile.stage import Stage

#: What a row says in words -> what is sent.
SCENES: dict[str, Callable[[], bytes]] = {
    "POST from Origin: null or another origin": lambda: _request("POST", "/metrics", "Origin: null"),
    "websocket without token / with another workspace topic": lambda: _request(
        "GET", "/ws?topic=other", "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13"
    ),
    "header of 20,000 bytes": lambda: _request("GET", "/metrics", "X: " + "a" * 20_000),
    "4,000 header lines": lambda: _request("GET", "/metrics", *["X: y"] * 4000),
    "Content-Length and Transfer-Encoding": lambda: _request(
        "POST", "/metrics", "Content-Length: 5", "Transfer-Encoding: chunked"
    ),
    "Content-Length: -1": lambda: _request("GET", "/metrics", "Content-Length: -1"),
    "a second request smuggled in the body": lambda: (
        _request("POST", "/healthz", "Content-Length: 40") + _request("GET", "/metrics")
    ),
    "TLS ClientHello": lambda: b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200) + b"\r\n\r\n",
    "no Host header": lambda: b"GET /metrics HTTP/1.1\r\n\r\n",
    "absolute-form URI of another host": lambda: b"GET http://169.254.169.254/ HTTP/1.1\r\nHost: a\r\n\r\n",
    "CONNECT": lambda: b"CONNECT 169.254.169.254:80 HTTP/1.1\r\nHost: a\r\n\r\n",
    "TRACE": lambda: _request("TRACE", "/metrics"),
    "DELETE": lambda: _request("DELETE", "/metrics"),
    "NUL bytes": lambda: bytes(20_000),
}
#: Not said by a page that is not there.
_INNER = re.compile(r"root:|Traceback|sqlite|redis://|File \"")
_LINE = re.compile(r"(GET|HEAD|POST|PUT|DELETE|PATCH|OPTIONS) (/\S*)")


def _request(method: str, target: str, *headers: str) -> bytes:
    head = [f"{method} {target} HTTP/1.1", "Host: localhost", *headers]
    return "\r\n".join([*head, "", ""]).encode("utf-8", "surrogateescape")


def http_api(row: Row, stage: Stage) -> Judge:
    """Sent to the running worker; `refuse` is 4xx (or hanging up), and nothing of the machine told."""
    if (scene := SCENES.get(row.input)) is not None:
        data = scene()
    elif found := _LINE.fullmatch(text_of(row.input)):
        data = _request(found[1], found[2])
    else:
        raise NotRun("no such surface: there is no dashboard, no session, no token and no API; only /metrics, "
                     "/healthz and /readyz, which are read")  # fmt: skip
    said: list[bytes] = []
    stage.meanwhile.append(lambda: said.append(_ask(stage.endpoint, data)))

    def judged() -> str:
        (answer,) = said
        if row.is_control:
            return "" if answer.startswith(b"HTTP/1.1 200") else f"it answered {answer[:100]!r}"
        if answer and not answer.startswith(b"HTTP/1.1 4"):
            return f"it answered {answer[:100]!r}"
        found = _INNER.search(answer.decode("utf-8", "replace"))
        return f"it tells {found[0]!r}" if found else ""

    return judged


def _ask(port: int, data: bytes) -> bytes:
    said = b""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        try:
            connection.sendall(data)
            while more := connection.recv(65536):
                said += more
        except ConnectionError:
            pass
    return said
