"""The limit: the least a Python worker on a Redis stream can do, with no promise but the stream's own.

One pipeline per turn acknowledges and deletes the last batch and reads the next; one task per job.
No retries, no leases, no dead letters, no metrics.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, ClassVar

import msgspec
import redis.asyncio as aioredis
from redis.exceptions import ResponseError

from bench.engines.face import Payload, Producer, Ran, run
from bench.engines.rule import RunRule

STREAM = "raw"
GROUP = "workers"
#: Milliseconds of a read when there is nothing.
BLOCK = 1000


class _Producer:
    def __init__(self, client: aioredis.Redis) -> None:
        self._client: Any = client  # `execute_command` is not typed there

    async def one(self, payload: Payload) -> None:
        await self._client.execute_command("XADD", STREAM, "*", "payload", msgspec.json.encode(payload))

    async def many(self, payloads: Sequence[Payload]) -> None:
        async with self._client.pipeline(transaction=False) as pipe:
            for payload in payloads:
                pipe.execute_command("XADD", STREAM, "*", "payload", msgspec.json.encode(payload))
            await pipe.execute()

    async def later(self, payload: Payload, seconds: float) -> None:
        raise SystemExit("the raw loop has no delayed jobs")


class Raw:
    """See the module."""

    packages = ("redis", "hiredis", "uvloop", "msgspec")
    loop = "uvloop"
    settings: ClassVar = {"turn": "XACK + XDEL + XREADGROUP COUNT concurrency, one pipeline"}

    @asynccontextmanager
    async def producer(self, url: str, retries: bool) -> AsyncIterator[Producer]:
        async with aioredis.Redis.from_url(url, protocol=2) as client:
            yield _Producer(client)

    async def work(self, url: str, concurrency: int, ran: Ran) -> None:
        decoder = msgspec.json.Decoder(RunRule)

        async def count(payload: bytes) -> None:
            rule_id = decoder.decode(payload).rule_id
            if ran.slow:
                await ran.pause(rule_id)
            ran(rule_id)

        client: Any = aioredis.Redis.from_url(url, protocol=2)
        async with client:
            with contextlib.suppress(ResponseError):  # it is there when a second worker starts
                await client.xgroup_create(STREAM, GROUP, id="0", mkstream=True)
            # A connection, not the client: the client would make dicts of what it reads.
            connection = await client.connection_pool.get_connection()
            done: list[bytes] = []
            while True:
                entries = await _turn(connection, done, concurrency)
                await asyncio.gather(*(asyncio.create_task(count(fields[1])) for _, fields in entries))
                done = [entry_id for entry_id, _ in entries]


async def _turn(connection: Any, done: Sequence[bytes], count: int) -> Any:
    """Entries as (id, flat fields)."""
    commands: list[tuple[Any, ...]] = []
    if done:
        commands += [("XACK", STREAM, GROUP, *done), ("XDEL", STREAM, *done)]
    commands.append(
        ("XREADGROUP", "GROUP", GROUP, "w", "COUNT", count, "BLOCK", BLOCK, "STREAMS", STREAM, ">")
    )
    await connection.send_packed_command(connection.pack_commands(commands))
    replies = [await connection.read_response() for _ in commands]
    return replies[-1][0][1] if replies[-1] else ()


if __name__ == "__main__":
    run(Raw())
