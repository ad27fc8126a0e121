"""Recurring jobs from programs without an event loop: the same records as by `Recurring`, from threads too."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from streamq import (
    Cron,
    Every,
    InvalidPayload,
    Limit,
    PayloadTooLarge,
    Recurring,
    RecurringJob,
    RedisBroker,
    ScheduleNotFound,
    SyncRecurring,
)
from streamq.broker import ScheduleChange
from streamq.errors import BrokerUnavailable
from streamq.job import Receipt
from streamq.partitions import partition_names, partition_of


async def test_what_it_adds_alters_and_removes_the_other_sees(server_url: str) -> None:
    async with RedisBroker.from_url(server_url) as broker:
        blocking, other = SyncRecurring("reports", broker), Recurring("reports", broker)

        added = blocking.add("nightly", Cron("0 3 * * *", timezone="Europe/Bratislava"), {"n": 1}, max_runs=5)
        assert await other.get("nightly") == added == blocking.get("nightly")
        assert blocking.pause("nightly").next_due is None
        assert (await other.get("nightly")).paused
        assert blocking.resume("nightly").next_due == added.next_due
        later = await other.add("later", Every(10**6), None)
        assert blocking.list() == await other.list() == [blocking.get("nightly"), later]
        assert (blocking.remove("nightly"), blocking.remove("nightly")) == (True, False)
        assert await other.list() == [later]


async def test_one_that_is_not_there_and_what_cannot_be_is_told(server_url: str) -> None:
    async with RedisBroker.from_url(server_url) as broker:
        blocking = SyncRecurring("reports", broker, payload_type=dict[str, int])
        for verb in (blocking.pause, blocking.resume, blocking.trigger, blocking.get):
            with pytest.raises(ScheduleNotFound, match="no recurring job 'weekly' in reports"):
                verb("weekly")
        with pytest.raises(InvalidPayload):
            blocking.add("weekly", Every(60), {"n": "one"})
        with pytest.raises(PayloadTooLarge):
            SyncRecurring("reports", broker).add("weekly", Every(60), "x" * 2**20)
        assert blocking.list() == []


async def test_a_job_that_is_triggered_is_where_those_of_its_ticks_are(server_url: str) -> None:
    async with RedisBroker.from_url(server_url) as broker:
        await broker.set_partitions("reports", 3)
        names, blocking = partition_names("reports", 3), SyncRecurring("reports", broker)
        key = next(key for key in "abcdef" if partition_of(key, 3) == 2)
        blocking.add("free", Every(10**6), 1)
        blocking.add("held", Every(10**6), 2, limit=Limit(key, running=1))
        blocking.add("alone", Every(10**6), 3, overlap="skip")

        first, second = blocking.trigger("alone"), blocking.trigger("alone")
        assert blocking.trigger("free").created
        assert blocking.trigger("held").created

        assert (first.created, second.created, second.job_id) == (True, False, first.job_id)
        waiting = {name: len(await broker.waiting(name)) for name in names}
        assert waiting == {names[0]: 3, names[1]: 0, names[2]: 1}, "by the stream's name: in all of them"


async def test_threads_that_change_one_at_once_each_have_their_turn(server_url: str) -> None:
    async with RedisBroker.from_url(server_url) as broker:
        blocking = SyncRecurring("reports", broker)

        def add(n: int) -> RecurringJob:
            return blocking.add("one", Every(60), n)

        with ThreadPoolExecutor(4) as threads:
            seen = list(threads.map(add, range(8)))

        assert [bytes(job.schedule.payload) for job in seen] == [b"%d" % n for n in range(8)]
        (last,) = blocking.list()
        assert bytes(last.schedule.payload) in {b"%d" % n for n in range(8)}


async def test_a_change_whose_reply_was_lost_is_made_once(
    server_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    change = RedisBroker.change_schedule_blocking
    asked: list[str] = []

    def lossy(broker: RedisBroker, stream: str, what: ScheduleChange) -> list[Receipt] | None:
        asked.append(what.schedule_id)
        made = change(broker, stream, what)
        if len(asked) == 1:
            raise BrokerUnavailable
        return made

    monkeypatch.setattr(RedisBroker, "change_schedule_blocking", lossy)
    async with RedisBroker.from_url(server_url) as broker:
        added = SyncRecurring("reports", broker).add("one", Every(60), 1)

        assert asked == ["one"], "it was seen that it is so already"
        assert await Recurring("reports", broker).list() == [added]


def test_both_have_the_same_verbs() -> None:
    def verbs(kind: type) -> set[str]:
        return {name for name in vars(kind) if not name.startswith("_")}

    assert verbs(Recurring) - verbs(SyncRecurring) == {"declare", "put"}, "which workers use"
    assert verbs(SyncRecurring) <= verbs(Recurring)
