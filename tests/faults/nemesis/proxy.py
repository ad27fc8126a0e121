"""A proxy that knows Redis's protocol: it may cut a connection before or after a command, answer instead, or kill.

One thread per connection, one command at a time: the next is read when the reply of the last has gone back.
"""

from __future__ import annotations

import contextlib
import select
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from streamq import scripts

#: What may be done with a command: send it on; close without sending it; send it on and close when the reply
#: has come, unseen; or these bytes as the reply, unsent.
Action = Literal["pass", "cut before", "cut after"] | bytes
#: Asked for every command: its number (from 1, of all connections) and its name.
Decide = Callable[[int, str], Action]

_SHORT = 1 << 16


def _sites() -> dict[bytes, str]:
    folder = Path(scripts.__file__).parent / "lua"
    return {scripts.script(file.stem).sha.encode(): file.stem for file in folder.glob("*.lua")}


class Proxy:
    """Listens on a loopback port until it is closed."""

    def __init__(self, upstream: str, decide: Decide, *, on_cut: Callable[[], None] = lambda: None) -> None:
        """`upstream`: the server's Unix socket. `on_cut`: called when a reply that nobody will see has come."""
        self._on_cut = on_cut
        self._upstream = upstream
        self._decide = decide
        self._sites = _sites()
        self._lock = threading.Lock()
        #: Commands that came, of all connections.
        self.commands = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: set[socket.socket] = set()
        threading.Thread(target=self._accept, name="proxy", daemon=True).start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self._listener.getsockname()[1]}/0"

    def close(self) -> None:
        # A listener that another thread waits on is only woken by this.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut_all()

    def cut_all(self) -> None:
        """Reset every connection that is open now."""
        for one in list(self._open):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        server = socket.socket(socket.AF_UNIX)
        self._open.add(client)
        try:
            server.connect(self._upstream)
            requests, replies = _Reader(client), _Reader(server)
            while (request := requests.command()) is not None:
                raw, words = request
                with self._lock:
                    self.commands += 1
                    action = self._decide(self.commands, self._name(words))
                if action == "cut before":
                    return
                if isinstance(action, bytes):
                    client.sendall(action)
                    continue
                server.sendall(raw)
                reply = replies.reply(client)
                if reply is None:
                    return
                if action == "cut after":
                    self._on_cut()
                    return
                client.sendall(reply)
        except OSError:
            return  # one of the two has gone: so has the conversation
        finally:
            self._open.discard(client)
            client.close()
            server.close()

    def _name(self, words: list[bytes]) -> str:
        """The script's name, or the command's."""
        if words[0].upper().startswith(b"EVALSHA"):  # also the one that only reads
            return self._sites.get(words[1], "another script")
        return words[0].decode().upper()


class _Reader:
    """Whole commands and whole replies out of a socket."""

    def __init__(self, source: socket.socket) -> None:
        self._source = source
        self._bytes = bytearray()
        self._at = 0

    def command(self) -> tuple[bytes, list[bytes]] | None:
        """As it came, and its first words; None: the connection has ended."""
        words: list[bytes] = []
        if not self._value(words, None):
            return None
        return self._taken(), words

    def reply(self, other: socket.socket) -> bytes | None:
        """As it came; None: the connection, or `other` meanwhile, has ended."""
        return self._taken() if self._value([], other) else None

    def _taken(self) -> bytes:
        raw = bytes(self._bytes[: self._at])
        del self._bytes[: self._at]
        self._at = 0
        return raw

    def _value(self, words: list[bytes], other: socket.socket | None) -> bool:
        left = 1
        while left:
            line = self._line(other)
            if line is None:
                return False
            left -= 1
            kind, rest = line[:1], line[1:]
            if kind == b"*":
                left += max(0, int(rest))
            elif kind == b"$" and int(rest) >= 0:
                body = self._exactly(int(rest) + 2, other)
                if body is None:
                    return False
                if len(words) < 2:
                    words.append(body[:-2])
        return True

    def _line(self, other: socket.socket | None) -> bytes | None:
        while (end := self._bytes.find(b"\r\n", self._at)) < 0:
            if not self._more(other):
                return None
        line = bytes(self._bytes[self._at : end])
        self._at = end + 2
        return line

    def _exactly(self, count: int, other: socket.socket | None) -> bytes | None:
        while len(self._bytes) < self._at + count:
            if not self._more(other):
                return None
        body = bytes(self._bytes[self._at : self._at + min(count, 200)])
        self._at += count
        return body if count <= 200 else body + b"\r\n"

    def _more(self, other: socket.socket | None) -> bool:
        if other is not None:
            # Who waits for a reply may go: then its blocked read must end at the server too.
            while True:
                ready, _, _ = select.select([self._source, other], [], [])
                if self._source in ready:
                    break
                if not other.recv(1, socket.MSG_PEEK):
                    return False
                # It sends the next command already; the reply comes first.
                select.select([self._source], [], [])
                break
        some = self._source.recv(_SHORT)
        self._bytes += some
        return bool(some)
