"""The servers of a broker, and calls that find the right one.

Every call names a key (all keys of a stream are on one server). A call that was answered with "it is
elsewhere" was not carried out, so it is repeated there; any other failure is the caller's to repeat, who
knows why that is safe. Nothing else is retried here, and the client library retries nothing.
"""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, Self, TypeVar

import anyio
import anyio.to_thread
import redis
import redis.asyncio as aioredis
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.retry import Retry as SyncRetry

from streamq import address as addresses
from streamq.address import Address, Place
from streamq.connections import Connections
from streamq.directory import Directory, directory_of
from streamq.errors import BrokerRefused

A = TypeVar("A")

#: Seconds a call may take before the connection is given up.
CALL_TIMEOUT: Final = 5.0
#: The client's own limit is 100; a worker has one connection per sleeping read and one per turn, and
#: one that waits for a connection for ever takes no jobs. The server's limit (`maxclients`) is what counts.
MAX_CONNECTIONS: Final = 100_000
#: Times a call is sent elsewhere before that is an error: in a cluster at rest once is enough.
REDIRECTS: Final = 5

#: How a server fails that does not, or not now, serve what was asked; and a blocked read of one that has
#: become a replica meanwhile: UNBLOCKED.
NOT_SERVING: Final = (
    redis.ConnectionError,  # LOADING is one
    redis.TimeoutError,
    OSError,
    redis.ReadOnlyError,
    redis.exceptions.ClusterDownError,  # MASTERDOWN is one
)

_ASKING: Final = ("ASKING",)


class Node:
    """One server: an asynchronous client, connections beside its pool, and a blocking client."""

    def __init__(self, url: str, options: dict[str, Any]) -> None:
        self._open = functools.partial(
            aioredis.Redis.from_url, url, retry=AsyncRetry(NoBackoff(), 0), **options
        )
        self.client: aioredis.Redis = self._open()
        self.blocking = redis.Redis.from_url(url, retry=SyncRetry(NoBackoff(), 0), **options)
        # Made and dropped, not dialled: an option that does not exist is told now, not at the first call.
        self.blocking.connection_pool.connection_class(**self.blocking.connection_pool.connection_kwargs)
        self.connections = Connections(self.client)
        #: What the asynchronous connections are bound to.
        self._loop: asyncio.AbstractEventLoop | None = None

    def __repr__(self) -> str:
        return f"<Node {self.name}>"

    @property
    def name(self) -> str:
        """Where it is, without credentials."""
        where = self.client.connection_pool.connection_kwargs
        name = where.get("path") or f"{where.get('host', 'localhost')}:{where.get('port', 6379)}"
        return f"{name}/{where.get('db') or 0}"

    def on_this_loop(self) -> Self:
        """Begin anew where the loop of the connections has ended: a program may call `asyncio.run` again."""
        loop = asyncio.get_running_loop()
        if self._loop is not loop and (self._loop is None or self._loop.is_closed()):
            if self._loop is not None:
                self.client = self._open()
                self.connections = Connections(self.client)
            self._loop = loop
        return self

    async def close(self) -> None:
        """Close every connection."""
        self.on_this_loop()
        with anyio.CancelScope(shield=True), anyio.move_on_after(CALL_TIMEOUT):
            await self.client.aclose()
        self.blocking.close()


class Nodes:
    """All servers of a broker."""

    def __init__(self, address: Address, directory: Directory, *, client_name: str) -> None:
        """Nothing is dialled yet. Raises BrokerRefused for options that do not exist."""
        self._address = address
        self._directory = directory
        self._nodes: dict[Place | None, Node] = {}
        self._lock = threading.Lock()
        self._options: dict[str, Any] = {
            "socket_timeout": CALL_TIMEOUT,
            "client_name": client_name,
            "health_check_interval": 0,
            "decode_responses": False,
            # Replies as flat lists, the same from every server this runs on.
            "protocol": 2,
            "max_connections": MAX_CONNECTIONS,
        }
        if not address.url.startswith("unix:"):
            self._options |= {"socket_connect_timeout": CALL_TIMEOUT, "socket_keepalive": True}
        try:
            first = self._node(None if directory.fixed else address.places[0])
        except (ValueError, TypeError) as error:
            raise BrokerRefused(f"the broker's URL is not valid: {error}") from error
        #: Where they are, without credentials.
        self.name = address.name or first.name
        directory.on_gone(self._cut)

    @classmethod
    def at(cls, url: str, *, client_name: str) -> Self:
        """The servers a URL names. Raises BrokerRefused for one that is none."""
        address = addresses.read(url)
        return cls(address, directory_of(address), client_name=client_name)

    def __repr__(self) -> str:
        return f"<Nodes {self.name}>"

    # --- calls ------------------------------------------------------------------------------------

    async def call(self, key: str, *command: Any) -> Any:
        """One command, from the pool: a connection that the server has closed meanwhile is noticed."""

        async def run(node: Node, *, asking: bool) -> Any:
            if asking:
                return (await node.connections.converse((_ASKING, command), timeout=5, then=CALL_TIMEOUT))[1]
            return await node.client.execute_command(*command)  # type: ignore[no-untyped-call]

        return await self._routed(key, run)

    async def ask(self, key: str, *command: Any) -> Any:
        """One command, on a connection that is kept (`Connections.ask`)."""

        async def run(node: Node, *, asking: bool) -> Any:
            if asking:
                return (await node.connections.converse((_ASKING, command), timeout=5, then=CALL_TIMEOUT))[1]
            return await node.connections.ask(*command)

        return await self._routed(key, run)

    async def converse(
        self,
        key: str,
        commands: Sequence[Sequence[Any]],
        *,
        timeout: float,  # noqa: ASYNC109 - of the first reply, kept by the connection
        then: float,
    ) -> list[Any]:
        """Several commands in one write (`Connections.converse`), all on the server that has `key`."""

        async def run(node: Node, *, asking: bool) -> list[Any]:
            if not asking:
                return await node.connections.converse(commands, timeout=timeout, then=then)
            told = [part for command in commands for part in (_ASKING, command)]
            return (await node.connections.converse(told, timeout=CALL_TIMEOUT, then=timeout + then))[1::2]

        return await self._routed(key, run)

    def call_blocking(self, key: str, *commands: Sequence[Any]) -> list[Any]:
        """Commands in one write on one connection, for threads; their replies."""
        target: Place | None = None
        for _ in range(REDIRECTS):
            asking = target is not None
            place = target if target is not None else self._directory.place(key)
            node, target = self._node(place), None
            try:
                return _blocking(node, commands, asking=asking)
            except redis.exceptions.MovedError as error:
                self._directory.moved(error.slot_id, _place_of(error, place))
            except redis.exceptions.AskError as error:
                target = _place_of(error, place)
            except (redis.RedisError, OSError) as error:
                self._doubt(place, error)
                raise
        raise redis.ConnectionError("the servers send the call from one to the other")

    async def _routed(self, key: str, run: Callable[..., Awaitable[A]]) -> A:
        target: Place | None = None
        for _ in range(REDIRECTS):
            asking = target is not None
            place = target if target is not None else await self._place(key)
            node, target = self._node(place).on_this_loop(), None
            try:
                return await run(node, asking=asking)
            except redis.exceptions.MovedError as error:
                self._directory.moved(error.slot_id, _place_of(error, place))
            except redis.exceptions.AskError as error:
                target = _place_of(error, place)
            except (redis.RedisError, OSError) as error:
                self._doubt(place, error)
                raise
        raise redis.ConnectionError("the servers send the call from one to the other")

    # --- servers ----------------------------------------------------------------------------------

    async def every(self) -> list[Node]:
        """The servers that hold keys. Raises redis.RedisError, OSError."""
        if self._directory.fixed:
            return [self._node(None).on_this_loop()]
        return [
            self._node(place).on_this_loop()
            for place in await anyio.to_thread.run_sync(self._directory.every)
        ]

    def doubt_all(self, nodes: Sequence[Node]) -> None:
        """They did not answer."""
        for place, node in list(self._nodes.items()):
            if node in nodes:
                self._directory.doubt(place)

    async def close(self) -> None:
        """Close every connection to every one."""
        for node in list(self._nodes.values()):
            await node.close()

    async def _place(self, key: str) -> Place | None:
        if self._directory.fixed:
            return None
        known = self._directory.known(key)
        return known or await anyio.to_thread.run_sync(self._directory.place, key)

    def _node(self, place: Place | None) -> Node:
        node = self._nodes.get(place)
        if node is None:
            with self._lock:
                node = self._nodes.get(place) or Node(self._address.url_of(place), self._options)
                self._nodes[place] = node
        return node

    def _doubt(self, place: Place | None, error: redis.RedisError | OSError) -> None:
        if isinstance(error, NOT_SERVING) or str(error).startswith("UNBLOCKED"):
            self._directory.doubt(place)

    def _cut(self, place: Place) -> None:
        node = self._nodes.get(place)
        if node is not None:
            node.connections.cut()


def _place_of(error: redis.exceptions.AskError, place: Place | None) -> Place:
    """Where an answer sends us; a server that does not know its own name leaves the host out."""
    return error.host or (place[0] if place else "localhost"), error.port


def _blocking(node: Node, commands: Sequence[Sequence[Any]], *, asking: bool) -> list[Any]:
    if len(commands) == 1 and not asking:
        return [node.blocking.execute_command(*commands[0])]  # type: ignore[no-untyped-call]
    with node.blocking.pipeline(transaction=False) as pipe:
        for command in commands:
            if asking:
                pipe.execute_command(*_ASKING)  # type: ignore[no-untyped-call]
            pipe.execute_command(*command)  # type: ignore[no-untyped-call]
        replies = pipe.execute()
    return replies[1::2] if asking else replies
