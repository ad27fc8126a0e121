"""The policy of `rules:run`: when a check is tried again, what the run says meanwhile, how it is given up."""

from __future__ import annotations

import asyncio
import itertools
from typing import get_type_hints

import anyio
import pytest

from sentinel.app import CHECK_TIMEOUT
from sentinel.errors import StateConflict, TemporaryFailure
from sentinel.extract.contained import DEADLINE
from sentinel.handlers.check_rule import FetchFailed
from sentinel.jobs import RULES_RUN, RunRule
from sentinel.model import Extracted, FetchProfile
from streamq import Handlers, Queue, RedisBroker, Retry, RetryIn, Worker, WorkerOptions
from tests.sentinel.handlers.checking import WIDGET, Hand, World, page
from tests.support.http import Reply

DOWN = Reply(status=503, body="<h1>Back soon</h1>")
CRASH_BUDGET = 3


async def test_a_server_that_is_down_is_asked_at_0_30_and_150_seconds_then_the_check_is_a_dead_letter(
    checks: World,
) -> None:
    await checks.watch(page())
    await checks.check()
    checks.site.route("/widget", Reply(status=500, body="on fire"))
    hand = Hand(checks)
    await hand.enqueue(job_id="tick")

    waits = await hand.run()

    moments = list(itertools.accumulate(waits))
    print("rules:run, manual clock: attempts at", *(f"{moment:g} s" for moment in moments))
    assert moments == [0.0, 30.0, 150.0]
    assert len(checks.site.requests_to("/widget")) == 1 + 3
    (dead,) = await checks.broker.dead(RULES_RUN)
    assert (dead.reason, dead.attempts, dead.envelope.crashes) == ("exhausted", 3, 0)
    assert dead.error == "FetchFailed: FETCH_HTTP_5XX: the server answered 500 Internal Server Error"
    run = await checks.store.run_of("tick")
    assert (run.status, run.attempt, run.result.error_code) == ("error", 3, "FETCH_HTTP_5XX")
    assert run.finished_at == checks.clock.time()
    assert len(await checks.store.runs(WIDGET)) == 2
    assert (await checks.state()).fail_streak == 1, "three attempts are one failed check"


async def test_in_real_time_too_no_attempt_comes_early_and_none_too_many(
    checks: World, server_url: str
) -> None:
    delays = (0.3, 0.9)
    await checks.watch(Reply(status=500))
    handlers = Handlers()
    handlers.on(RULES_RUN, RunRule, retry=Retry(delays=delays))(checks.handler)
    async with RedisBroker.from_url(server_url) as broker:
        payload = RunRule(rule_id=WIDGET, trigger="schedule", requested_at="2026-01-31T12:00:00Z")
        await Queue(RULES_RUN, broker).enqueue(payload, job_id="tick")

        await Worker(broker, handlers, options=WorkerOptions(burst_wait=5.0)).run(handle_signals=False)

        (dead,) = await broker.dead(RULES_RUN)
    moments = [request.at for request in checks.site.requests]
    gaps = [after - before for before, after in itertools.pairwise(moments)]
    print(
        f"rules:run, {server_url.partition(':')[0]}, delays {delays}: attempts after",
        *(f"{gap:.3f} s" for gap in gaps),
    )
    assert len(moments) == 3
    assert all(gap >= delay for gap, delay in zip(gaps, delays, strict=True))
    assert (dead.reason, dead.attempts) == ("exhausted", 3)
    run = await checks.store.run_of("tick")
    assert (run.status, run.attempt) == ("error", 3)


async def test_a_check_that_comes_good_at_the_last_attempt_is_one_good_run(checks: World) -> None:
    await checks.watch([DOWN, DOWN, page("99,00 €")])
    hand = Hand(checks)
    await hand.enqueue(job_id="tick")

    await hand.run()

    assert (await checks.broker.stats(RULES_RUN)).done == 1
    run = await checks.store.run_of("tick")
    assert (run.status, run.attempt, run.result.error_code) == ("ok", 3, None)
    assert await checks.stable() == "99,00 €"
    assert (await checks.state()).fail_streak == 0


async def test_a_server_says_itself_when_to_come_back_within_an_hour(checks: World) -> None:
    asked = [Reply(status=503, headers={"Retry-After": seconds}) for seconds in ("7", "999999")]
    await checks.watch([*asked, page()])
    hand = Hand(checks)
    await hand.enqueue()
    assert await hand.run() == [0.0, 7.0, 3600.0]


async def test_while_it_is_tried_again_the_open_run_says_what_was_wrong_the_last_time(checks: World) -> None:
    await checks.watch([Reply(status=500, body="on fire"), page(cut_after=9), page()])
    with pytest.raises(FetchFailed):
        await checks.check(checks.job(job_id="tick"))

    first = await checks.store.run_of("tick")
    assert (first.status, first.attempt, first.finished_at) == ("running", 1, None)
    assert (first.result.error_code, first.result.http_status) == ("FETCH_HTTP_5XX", 500)
    assert first.result.timings["total"] > 0

    with pytest.raises(FetchFailed):
        await checks.check(checks.job(job_id="tick", attempt=2))

    second = await checks.store.run_of("tick")
    assert (second.status, second.attempt) == ("running", 2)
    assert second.result.error_code == "FETCH_CONNECTION"

    await checks.check(checks.job(job_id="tick", attempt=3, last=True))

    third = await checks.store.run_of("tick")
    assert (third.status, third.result.error_code, third.result.error_detail) == ("ok", None, None)
    assert len(await checks.store.runs(WIDGET)) == 1


def test_a_check_has_the_time_that_the_slowest_page_and_its_reading_may_take() -> None:
    longest = next(
        meta.le
        for meta in get_type_hints(FetchProfile, include_extras=True)["timeout"].__metadata__
        if meta.le is not None
    )
    assert longest + DEADLINE < CHECK_TIMEOUT


# --- a dead letter that comes back --------------------------------------------------------------


async def test_a_check_that_is_requeued_is_made_and_not_taken_for_done(checks: World) -> None:
    await checks.watch([DOWN, DOWN, DOWN, page("99,00 €")])
    hand = Hand(checks)
    await hand.enqueue(job_id="tick")
    await hand.run()
    (dead,) = await checks.broker.dead(RULES_RUN)

    await checks.broker.requeue(RULES_RUN, [dead.entry_id])
    await hand.run()

    assert await checks.stable() == "99,00 €"
    assert (await checks.store.run_of("tick")).status == "ok"
    assert await checks.broker.dead(RULES_RUN) == []


async def test_a_second_delivery_of_a_check_that_was_given_up_is_given_up_too(checks: World) -> None:
    await checks.watch(DOWN)
    for fence in (1, 2):
        with pytest.raises(FetchFailed):
            await checks.check(checks.job(job_id="tick", attempt=3, last=True, fence=fence))
    assert len(checks.site.requests) == 1
    assert (await checks.state()).fail_streak == 1


# --- faults of ours -----------------------------------------------------------------------------


class BrokenExtractor:
    """As a bug in our own code."""

    async def read(self, *_: object, **__: object) -> Extracted:
        raise ZeroDivisionError("hunter2")


async def test_a_fault_of_ours_is_told_by_the_run_without_its_words_and_ends_it_at_last(
    checks: World,
) -> None:
    await checks.watch(page())
    hand = Hand(checks, extractor=BrokenExtractor())
    await hand.enqueue(job_id="tick")

    assert await hand.run() == [0.0, 30.0, 120.0]

    run = await checks.store.run_of("tick")
    assert (run.status, run.result.error_code) == ("error", "SYSTEM_WORKER_CRASH")
    assert run.result.error_detail == "a fault of ours: ZeroDivisionError"
    state = await checks.state()
    assert (state.health, state.fail_streak) == (100.0, 0), "the rule is not to blame"


async def test_a_database_that_does_not_take_the_result_is_tried_again_and_told(
    checks: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def conflict(*_: object, **__: object) -> None:
        raise StateConflict

    await checks.watch(page())
    with monkeypatch.context() as patched:
        patched.setattr(checks.store, "finish_run", conflict)
        with pytest.raises(TemporaryFailure, match="again and again"):
            await checks.check(checks.job(job_id="tick"))

    run = await checks.store.run_of("tick")
    assert (run.status, run.result.error_code) == ("running", "SYSTEM_STORE")
    await checks.check(checks.job(job_id="tick", attempt=2))
    assert (await checks.store.run_of("tick")).status == "ok"


async def test_a_check_that_kills_its_worker_is_a_dead_letter_and_its_run_ends_as_a_crash(
    checks: World,
) -> None:
    await checks.watch(page("99,00 €"))
    hand = Hand(checks)
    await hand.enqueue(job_id="tick")
    for _ in range(CRASH_BUDGET):
        (lease,) = await hand.take()
        # The handler has begun, and its process is gone.
        job = checks.job(job_id=lease.envelope.id, fence=lease.fence)
        await checks.store.begin_run(WIDGET, job.id, job.fence, "schedule", checks.clock.time())
        await checks.broker.reclaim(RULES_RUN, "hand", beat=None, crash_budget=CRASH_BUDGET)
    (dead,) = await checks.broker.dead(RULES_RUN)
    assert (dead.reason, dead.attempts, dead.envelope.crashes) == ("crashed", 1, CRASH_BUDGET)
    assert (await checks.store.run_of("tick")).status == "running"

    checks.clock.advance(7200)
    now = checks.clock.time()
    assert await checks.store.abandon_runs(before=now - 3600, now=now) == 1

    run = await checks.store.run_of("tick")
    assert (run.status, run.result.error_code, run.finished_at) == ("error", "SYSTEM_WORKER_CRASH", now)
    assert (await checks.state()).health == 100.0

    await checks.broker.requeue(RULES_RUN, [dead.entry_id])
    await hand.run()
    assert (await checks.store.run_of("tick")).status == "ok"
    assert await checks.stable() == "99,00 €"


async def test_a_check_cancelled_half_way_is_finished_by_its_next_delivery(checks: World) -> None:
    await checks.watch([page(hold=asyncio.Event()), page("99,00 €")])
    async with anyio.create_task_group() as beside:
        beside.start_soon(checks.handler, checks.job(job_id="tick"))
        await checks.site.requests_arrived(1)
        beside.cancel_scope.cancel()

    await checks.check(checks.job(job_id="tick"))

    run = await checks.store.run_of("tick")
    assert (run.status, run.attempt) == ("ok", 1)
    assert await checks.stable() == "99,00 €"


async def test_a_wait_that_a_server_asks_for_counts_as_an_attempt(checks: World) -> None:
    await checks.watch(Reply(status=503, headers={"Retry-After": "5"}))
    with pytest.raises(RetryIn):
        await checks.check(checks.job())
    with pytest.raises(FetchFailed):
        await checks.check(checks.job(last=True))
