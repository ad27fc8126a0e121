"""Conversations with the server on connections of our own: blocking reads, and the worker's turns.

A turn through the client's public way (pool, retries, hooks, a Python packer) costs the process two to
three times what the turn itself needs; and a blocking read must not share a connection with anybody.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import Any, Final

import anyio
import redis
import redis.asyncio as aioredis

_fast_pack: Callable[[Any], bytes] | None
try:
    from hiredis import pack_command as _fast_pack
except ImportError:  # an extra; producers do without
    _fast_pack = None

#: A read's limit that is never reached, where the limit is ours (seconds).
_NEVER: Final = 86400.0
#: Not typed by the client library.
Connection = Any


class Connections:
    """Connections out of a client's pool, each in one conversation at a time."""

    def __init__(self, client: aioredis.Redis) -> None:
        """The client's pool makes them (TLS, credentials, database, name) and ends them when it is closed."""
        self._pool = client.connection_pool
        #: Seconds that a call may take.
        self._limit: float | None = self._pool.connection_kwargs.get("socket_timeout")
        #: Kept open between conversations, last used last.
        self._idle: list[Connection] = []
        #: Conversations that go on, with the loop they are on.
        self._open: dict[anyio.CancelScope, asyncio.AbstractEventLoop] = {}

    def __repr__(self) -> str:
        return f"<Connections {len(self._idle)} idle>"

    async def ask(self, *command: Any) -> Any:
        """One command, its reply as the wire has it, on a connection that is kept.

        For callers that may repeat what failed: that the server has closed the connection meanwhile (a
        restart) is noticed before the call only where the loop has heard of it. Raises redis.RedisError,
        OSError.
        """
        while self._idle and _is_over(self._idle[-1]):
            await self._drop(self._idle.pop())
        connection = self._idle.pop() if self._idle else await self._new()
        try:
            async with asyncio.timeout(self._limit):
                await connection.send_packed_command(_packed(connection, command), check_health=False)
                reply = await connection.read_response(disable_decoding=True)
        except TimeoutError as error:
            await self._drop(connection)
            raise redis.TimeoutError(f"no reply within {self._limit} seconds") from error
        except redis.ResponseError:
            self._idle.append(connection)  # an answer, if a bad one: the connection is as good as before
            raise
        except BaseException:
            await self._drop(connection)
            raise
        self._idle.append(connection)
        return reply

    async def _new(self) -> Connection:
        """One to keep. It has no time limits of its own: the client makes a task to limit each write."""
        connection: Connection = await self._pool.get_connection()  # type: ignore[no-untyped-call]
        connection.socket_timeout = None
        return connection

    async def converse(
        self,
        commands: Sequence[Sequence[Any]],
        *,
        timeout: float,  # noqa: ASYNC109 - of the first reply, kept by the connection
        then: float,
    ) -> list[Any]:
        """Several commands in one write; their replies as the wire has them.

        `timeout`: seconds until the first reply, `then` until each of the others. Raises
        redis.RedisError, OSError.
        """
        connection: Connection = await self._pool.get_connection()  # type: ignore[no-untyped-call]
        replies: list[Any] = []
        try:
            with anyio.CancelScope() as scope:
                self._open[scope] = asyncio.get_running_loop()
                await connection.send_packed_command(connection.pack_commands(commands), check_health=False)
                replies.append(await _reply(connection, timeout))
                for _ in commands[1:]:
                    replies.append(await _reply(connection, then))  # noqa: PERF401 - each awaits
            if scope.cancelled_caught:
                raise redis.ConnectionError("the keys are on another server now")  # noqa: TRY301 - dropped below
        except BaseException:
            await self._drop(connection)
            raise
        finally:
            self._open.pop(scope, None)
        await self._pool.release(connection)
        return replies

    def cut(self) -> None:
        """End the conversations that go on: what they wait for is elsewhere now. From any thread."""
        for scope, loop in list(self._open.items()):
            with contextlib.suppress(RuntimeError):  # that loop has closed
                loop.call_soon_threadsafe(scope.cancel)

    async def _drop(self, connection: Connection) -> None:
        """A half-read connection would give the next caller our answer."""
        connection.socket_timeout = self._limit
        with anyio.CancelScope(shield=True):
            await connection.disconnect(nowait=True)
            await self._pool.release(connection)


async def _reply(connection: Connection, seconds: float) -> Any:
    """The next reply. Raises TimeoutError when there is none within `seconds`.

    The client's own time limit answers None when it has passed, and that is what "nothing there" looks
    like: a server that hangs would seem to be one that has nothing to do.
    """
    with anyio.fail_after(seconds):
        return await connection.read_response(timeout=_NEVER)


def _is_over(connection: Connection) -> bool:
    """Whether the server has closed it, as far as the loop has heard; unknown is no."""
    reader = getattr(connection, "_reader", None)
    return reader is not None and reader.at_eof()


def _packed(connection: Connection, command: tuple[Any, ...]) -> Sequence[bytes] | bytes:
    if _fast_pack is not None:
        return _fast_pack(command)
    packed: Sequence[bytes] = connection.pack_command(*command)
    return packed
