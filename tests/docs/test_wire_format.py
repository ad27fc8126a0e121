"""docs/wire-format.md is what lies in Redis: every field and key, seen in a real one."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest
import redis.asyncio as aioredis

from sentinel.jobs import ALERTS_DISPATCH, RULES_RUN, DispatchAlert, RunRule
from streamq import Every, Recurring, RedisBroker, Retry
from streamq.broker import Again, Bury, Cancel, Done, Lease, Order, Release
from streamq.job import NewJob
from streamq.keys import GROUP, StreamKeys
from streamq.limits import Limit
from streamq.schedules import Cron, Record, Schedule
from streamq.wire import FORMAT_VERSION
from tests.streamq.rig import Hand, Rig
from tests.support.documents import REPOSITORY, cells, table

PAGE = REPOSITORY / "docs/wire-format.md"


def told(heading: str) -> dict[str, list[str]]:
    """First cell of a table -> its row."""
    return {cells(row[0])[0]: row for row in table(PAGE, heading)}


class Seen:
    """What has ever lain in a stream's keys."""

    def __init__(self, client: aioredis.Redis, stream: str) -> None:
        self._client = client
        self._keys = StreamKeys.of(stream)
        self.keys: set[str] = set()
        self.fields: dict[str, set[str]] = defaultdict(set)

    async def look(self) -> None:
        k = self._keys
        self.keys |= {key.decode() for key in await self._client.keys("*")}
        for name, key in (
            ("job", k.high),
            ("job", k.stream),
            ("job", k.low),
            ("done", k.done),
            ("dead", k.dead),
        ):
            for _, fields in await self._client.xrange(key):
                self.fields[name] |= {field.decode() for field in fields}
        self.fields["meta"] |= {field.decode() for field in await self._client.hkeys(k.meta)}


async def every_way_of_a_job(rig: Rig, look: Callable[[], Awaitable[None]]) -> None:
    """Jobs go every way there is; `look` is called at every stop."""
    hand = rig.hand()

    async def new(**options: Any) -> Lease:
        job = NewJob(payload=b"{}", **({"id": "made"} | options))
        await rig.put(job)
        await look()
        return await hand.take_one()

    rich = {"headers": {"a": "b"}, "retry": Retry(delays=(1,)), "timeout": 5.0, "unique": "k"}
    await hand.finish(Done(await new(id="mine", id_is_callers=True, **rich), result=b"{}"))
    await hand.finish(Done(await new(id="unkept"), no_result="it has 70,000 bytes of JSON"))
    await hand.finish(Again(await new(id="again"), delay=0.0, counts=True))
    await look()
    await hand.finish(Again(await hand.take_one(), delay=0.0, counts=False, note="its host is busy"))
    await hand.finish(Release(await hand.take_one()))
    await look()
    await hand.finish(Bury(await hand.take_one(), reason="because", error="E: e", traceback="t"))
    await look()
    (letter,) = await rig.broker.dead(rig.stream)
    await rig.broker.requeue(rig.stream, [letter.entry_id])
    await hand.take_one()
    await rig.kill(hand)
    await look()
    await vanished(rig, hand)
    await controlled(rig, hand, look)
    await Recurring(rig.stream, rig.broker).add("nightly", Every(86400), {})
    await rig.broker.set_paused(rig.stream, paused=True)
    for who in ("first", "second"):
        await rig.broker.limit(rig.stream, "host:shop.test", rate=1, burst=1, who=who)
    await limited(rig)
    await rig.put(NewJob(payload=b"{}", id="later", delay=60, lane="high"))
    low = NewJob(payload=b"{}", id="low", lane="low")
    await rig.broker.enqueue(rig.stream, [low], call_id="of two", partitions=2)
    await look()


async def controlled(rig: Rig, hand: Hand, look: Callable[[], Awaitable[None]]) -> None:
    """Somebody cancels, orders, purges."""
    await rig.broker.set_concurrency(rig.stream, 3)
    await rig.put(NewJob(payload=b"{}", id="unwanted"))
    lease = await hand.take_one()
    await rig.broker.cancel(rig.stream, "unwanted")
    hand.renew(lease)
    await rig.broker.order(rig.stream, hand.name, Order("o1", "trace"))
    await rig.broker.answer(rig.stream, "o1", "no job is running")
    await look()
    await hand.finish(Cancel(lease))
    await rig.put(NewJob(payload=b"{}", id="bad"))
    await hand.finish(Bury(await hand.take_one(), reason="because"))
    (letter,) = await rig.broker.dead(rig.stream)
    await rig.broker.purge(rig.stream, [letter.entry_id])
    await look()


async def limited(rig: Rig) -> None:
    """Some wait for others of their key."""
    await rig.broker.set_paused(rig.stream, paused=False)
    hand = rig.hand("limited")
    await rig.put(NewJob(payload=b"{}", id="first", unique="doc", replace=True))
    lease = next(one for one in await hand.take(10) if one.envelope.id == "first")
    await rig.put(NewJob(payload=b"{}", id="second", unique="doc", replace=True, limit=Limit("t", running=1)))
    await hand.finish(Done(lease))
    for number in range(2):
        await rig.put(NewJob(payload=b"{}", id=f"slow-{number}", limit=Limit("slow", rate=0.01)))
    await hand.take(10)
    await rig.broker.set_paused(rig.stream, paused=True)
    await rig.put(NewJob(payload=b"{}", id="third", unique="doc 2", replace=True))


async def vanished(rig: Rig, hand: Hand) -> None:
    """Somebody deletes an entry that is in hand."""
    lease = await hand.take_one()
    await rig.client.xdel(rig.stream, lease.entry_id)
    await rig.kill(hand)


@pytest.fixture
async def seen(valkey_url: str) -> Seen:
    async with RedisBroker.from_url(valkey_url) as broker, aioredis.Redis.from_url(valkey_url) as client:
        rig = Rig(broker, client)
        seen = Seen(client, rig.stream)
        await every_way_of_a_job(rig, seen.look)
    return seen


async def test_what_lies_in_redis_is_what_the_page_tells(seen: Seen) -> None:
    entry, dead, done = (
        told("Fields of an entry"),
        told("An entry of `{S}:dead`"),
        told("An entry of `{S}:done`"),
    )
    assert seen.fields["job"] == set(entry)
    assert seen.fields["dead"] - set(entry) == set(dead)
    assert seen.fields["done"] == set(done)
    assert seen.fields["meta"] == set(cells(told("Keys")["{S}:meta"][2]))


async def test_every_key_that_was_made_is_told_and_no_other_is(seen: Seen) -> None:
    patterns = {
        name: re.compile(re.sub("<[^>]+>", ".+", re.escape(name).replace("S", "jobs", 1)))
        for name in told("Keys")
    }
    assert {key for key in seen.keys if not any(one.fullmatch(key) for one in patterns.values())} == set()
    assert {
        name for name, one in patterns.items() if not any(one.fullmatch(key) for key in seen.keys)
    } == set()


def test_the_names_of_the_keys_are_the_programs() -> None:
    made = StreamKeys.of("S")
    of_a_name = {
        *(made.unique("<key>"), made.job_id("<job id>"), made.call("<call id>")),
        *(made.limit("<key>"), made.promises("<key>"), made.answer("<order id>")),
    }
    assert set(told("Keys")) == {*msgspec.structs.astuple(made), *of_a_name}


def test_the_record_of_a_recurring_job_is_told_field_by_field() -> None:
    assert set(told("A recurring job")) == set(Record.__struct_fields__)
    (asked,) = [row[1] for row in table(PAGE, "A recurring job") if cells(row[0]) == ["schedule"]]
    assert set(cells(asked)) >= set(Schedule.__struct_fields__)
    for example in (text for text in cells(asked) if text.startswith("{")):
        msgspec.json.decode(example, type=Every | Cron)


def test_version_and_group_are_the_programs() -> None:
    text = PAGE.read_text()
    assert text.startswith(f"# Wire format, version {FORMAT_VERSION}\n")
    assert f"is `{GROUP}`, made at `0`" in text


@pytest.mark.parametrize(
    ("heading", "stream", "payload"),
    [
        ("`rules:run`: check a rule now", RULES_RUN, RunRule),
        ("`alerts:dispatch`: bring an alert to its channels", ALERTS_DISPATCH, DispatchAlert),
    ],
)
def test_the_payloads_have_the_fields_that_are_told(
    heading: str, stream: str, payload: type[msgspec.Struct]
) -> None:
    assert heading.startswith(f"`{stream}`")
    fields = {field.encode_name: field for field in msgspec.structs.fields(payload)}
    rows = told(heading)
    assert list(rows) == list(fields)
    refused = {name for name, row in rows.items() if row[2] == "refused"}
    assert refused == {name for name, field in fields.items() if field.required}
