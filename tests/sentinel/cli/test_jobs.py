"""`jobs`, `workers`, `drain` and the surgery on dead letters, on a real server."""

from __future__ import annotations

import json
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from sentinel.cli.exits import Exit
from streamq import Handlers, Job, Limit, NewJob, RedisBroker, Worker, WorkerOptions
from streamq.broker import Again, Bury, Done, Lease
from tests.end_to_end.shapes import checked
from tests.sentinel.cli.conftest import Run

S = "rules:run"
OnBroker = Callable[[Callable[[RedisBroker], Awaitable[Any]]], Any]


def payload(rule: str = "r1") -> str:
    return json.dumps({"ruleId": rule, "trigger": "schedule", "requestedAt": "2026-01-31T12:00:00Z"})


@pytest.fixture
def environ(environ: dict[str, str], valkey_url: str) -> dict[str, str]:
    return environ | {"REDIS_URL": valkey_url}


@pytest.fixture
def on_broker(valkey_url: str) -> OnBroker:
    """Do something to the streams behind the command line's back."""

    def call(what: Callable[[RedisBroker], Awaitable[Any]]) -> Any:
        async def inside() -> Any:
            async with RedisBroker.from_url(valkey_url) as broker:
                return await what(broker)

        return anyio.run(inside)

    return call


async def take(broker: RedisBroker, count: int) -> tuple[Lease, ...]:
    return (await broker.turn(S, "w1", sequence=1, free=count)).leases


async def bury(broker: RedisBroker, *reasons: str) -> None:
    """One dead letter a reason: j0, j1 ..., of rules r0, r1 ..."""
    jobs = [NewJob(payload=payload(f"r{n}").encode(), id=f"j{n}") for n in range(len(reasons))]
    await broker.enqueue(S, jobs, call_id="bury")
    leases = await take(broker, len(reasons))
    finished = [
        Bury(lease, reason=reason, error=f"Boom: {reason}", traceback="Traceback ...")
        for lease, reason in zip(leases, reasons, strict=True)
    ]
    await broker.turn(S, "w1", sequence=2, finished=finished)


def enqueued(run: Run, *options: str, rule: str = "r1") -> str:
    job_id: str = run("enqueue", S, payload(rule), *options, "--json").lines[0]["job_id"]
    return job_id


# --- jobs -------------------------------------------------------------------------------------------------


class TestJobs:
    def test_a_waiting_job_is_shown_whole_with_why(self, run: Run) -> None:
        enqueued(run, rule="first")
        job_id = enqueued(run)

        shown = run("jobs", "show", job_id)
        why = run("jobs", "why", job_id)
        line = run("jobs", "show", job_id, "--json").lines[0]

        assert why.out == "no worker is up for rules:run; 1 job is before it in the normal lane\n"
        assert why.out.strip() in shown.out
        assert '"ruleId":"r1"' in shown.out
        assert line.pop("why") == why.out.strip()
        assert checked(line) == "streamq.job/1"
        assert (line["state"], line["before"], line["payload"]["ruleId"]) == ("ready", 1, "r1")

    def test_a_job_that_waits_for_its_retry_says_which_and_why(self, run: Run, on_broker: OnBroker) -> None:
        job_id = enqueued(run)

        async def fail(broker: RedisBroker) -> None:
            (lease,) = await take(broker, 1)
            again = Again(lease, delay=100, counts=True, note="FetchFailed: FETCH_TIMEOUT")
            await broker.turn(S, "w1", sequence=2, finished=[again])

        on_broker(fail)
        why = run("jobs", "why", job_id).out

        assert why.startswith("due in 1 m ")
        assert why.endswith(", attempt 2 of 3, after FetchFailed: FETCH_TIMEOUT\n")

    def test_what_a_handler_returned_is_shown_where_it_was_kept(self, run: Run, on_broker: OnBroker) -> None:
        kept, unkept, plain = enqueued(run), enqueued(run, rule="r2"), enqueued(run, rule="r3")

        async def end(broker: RedisBroker) -> None:
            a, b, c = await take(broker, 3)
            finished = [Done(a, result=b'{"n":[1]}'), Done(b, no_result="it has 9 bytes of JSON"), Done(c)]
            await broker.turn(S, "w1", sequence=2, finished=finished)

        on_broker(end)
        documents = {
            line["job_id"]: line
            for line in run("jobs", "list", "--stream", S, "--state", "done", "--json").lines
        }

        assert all(checked(document) == "streamq.job/1" for document in documents.values())
        assert documents[kept]["result"] == {"n": [1]}
        assert documents[unkept]["no_result"] == "it has 9 bytes of JSON"
        assert "result" not in documents[unkept]
        assert not {"result", "no_result"} & set(documents[plain])
        assert 'result         {"n":[1]}\n' in run("jobs", "show", kept).out
        assert "no_result      it has 9 bytes of JSON\n" in run("jobs", "show", unkept).out

    def test_a_job_nobody_knows_is_not_found(self, run: Run) -> None:
        for command in (("show",), ("why",), ("cancel", "--yes")):
            result = run("jobs", command[0], "nobody", *command[1:])
            assert result.code == Exit.NOT_FOUND
        enqueued(run)
        far = run("jobs", "why", "nobody", "--look", "0")
        assert "not looked further" in far.err
        assert "--look" in far.err

    def test_what_hostile_bytes_a_job_holds_a_terminal_does_not_obey(
        self, run: Run, on_broker: OnBroker
    ) -> None:
        job = NewJob(payload=b'{"ruleId":"\\u001b[2J"}', id="\x1b]0;x\x07")
        on_broker(lambda broker: broker.enqueue(S, [job], call_id="c"))

        shown = run("jobs", "show", job.id)
        listed = run("jobs", "list", "--stream", S, "--state", "ready")

        assert "\x1b" not in shown.out + listed.out

    def test_cancel_asks_and_says_what_it_found(self, run: Run, on_broker: OnBroker) -> None:
        running = enqueued(run, rule="a")
        on_broker(lambda broker: take(broker, 1))
        waiting, delayed = enqueued(run, rule="b"), enqueued(run, "--delay", "1h", rule="c")

        refused = run("jobs", "cancel", waiting)
        asked = run("jobs", "cancel", waiting, terminal=True, stdin="y\n")
        found = [
            run("jobs", "cancel", one, "--yes", "--json").lines[0] for one in (running, delayed, waiting)
        ]

        assert (refused.code, asked.code) == (Exit.UNCONFIRMED, Exit.DONE)
        assert "no worker is up" in refused.err or "before it" in refused.err
        assert "was waiting and is cancelled" in asked.err
        assert [line["found"] for line in found] == ["running", "delayed", "ended"]
        assert (found[0]["worker"], found[2]["state"]) == ("w1", "cancelled")
        assert {checked(line) for line in found} == {"streamq.cancelled/1"}
        assert run("jobs", "show", running, "--json").lines[0]["cancel_asked"]
        assert "a person cancelled it" in run("jobs", "why", waiting).out
        assert enqueued(run, rule="b") != waiting, "its key is free"

    def test_the_stream_a_job_is_in_is_found(self, run: Run) -> None:
        alert = {"alertId": "a1", "workspaceId": "w", "ruleId": "r", "channels": ["ops"], "dedupeKey": "d"}
        enqueued(run)
        (receipt,) = run("enqueue", "alerts:dispatch", json.dumps(alert), "--json").lines

        assert run("jobs", "show", receipt["job_id"], "--json").lines[0]["stream"] == "alerts:dispatch"
        assert run("jobs", "cancel", receipt["job_id"], "--yes", "--json").lines[0]["found"] == "waiting"
        assert run("jobs", "show", receipt["job_id"], "--stream", S).code == Exit.NOT_FOUND

    def test_jobs_of_each_state_are_listed(self, run: Run, on_broker: OnBroker) -> None:
        on_broker(lambda broker: bury(broker, "x"))
        enqueued(run, rule="a")
        on_broker(lambda broker: broker.turn(S, "w2", sequence=1, free=1))
        enqueued(run, rule="b")
        enqueued(run, "--delay", "1h", rule="c")
        run("jobs", "cancel", enqueued(run, rule="d"), "--yes")

        found = {
            state: run("jobs", "list", "--stream", S, "--state", state, "--json").lines
            for state in ("ready", "leased", "delayed", "dead", "done")
        }

        assert {state: [line["state"] for line in lines] for state, lines in found.items()} == {
            "ready": ["ready"],
            "leased": ["leased"],
            "delayed": ["delayed"],
            "dead": ["dead"],
            "done": ["cancelled"],
        }
        assert all(checked(line) == "streamq.job/1" for lines in found.values() for line in lines)
        shown = run("jobs", "list", "--stream", S, "--state", "delayed").out
        assert shown.splitlines()[1].split()[1:4] == ["normal", "1", "0"]
        none = run("jobs", "list", "--stream", "alerts:dispatch", "--state", "ready")
        assert "no job of alerts:dispatch is ready" in none.err

    def test_a_job_that_waits_for_others_of_its_key_says_so(self, run: Run, on_broker: OnBroker) -> None:
        limit = Limit("shop.test", running=1)
        jobs = [NewJob(payload=payload(f"r{n}").encode(), id=f"l{n}", limit=limit) for n in range(3)]
        on_broker(lambda broker: broker.enqueue(S, jobs, call_id="limited"))
        on_broker(lambda broker: take(broker, 5))

        why = run("jobs", "why", "l2").out.strip()
        listed = run("jobs", "list", "--stream", S, "--state", "parked", "--json").lines
        (line,) = run("stats", "--stream", S, "--json").lines

        assert why == "waits for a slot of key shop.test: 1 of 1 running; 1 job is before it"
        assert [(one["job_id"], one["state"], checked(one)) for one in listed] == [
            ("l1", "parked", "streamq.job/1"),
            ("l2", "parked", "streamq.job/1"),
        ]
        assert (line["leased"], line["ready"], line["parked"]) == (1, 0, 2)
        assert "parked" in run("stats", "--stream", S).out
        cancelled = run("jobs", "cancel", "l1", "--yes", "--json").lines
        assert [one["found"] for one in cancelled] == ["waiting"]


# --- dead letters -----------------------------------------------------------------------------------------


class TestDeadLetters:
    def test_purge_asks_deletes_what_matches_and_nothing_else(self, run: Run, on_broker: OnBroker) -> None:
        on_broker(lambda broker: bury(broker, "a", "b", "a"))

        dry = run("dead", "purge", "--stream", S, "--reason", "a", "--dry-run", "--json")
        refused = run("dead", "purge", "--stream", S, "--reason", "a")
        made = run("dead", "purge", "--stream", S, "--reason", "a", "--yes", "--json")

        assert (dry.lines[0]["matched"], dry.lines[0]["purged"]) == (2, 0)
        assert refused.code == Exit.UNCONFIRMED
        assert (made.lines[0]["purged"], checked(made.lines[0])) == (2, "streamq.purged/1")
        assert [line["job_id"] for line in run("dead", "list", "--json").lines] == ["j1"]
        assert run("dead", "purge", "--stream", S, "nobody", "--yes").code == Exit.NOT_FOUND

    def test_letters_are_exported_edited_and_requeued(
        self, run: Run, on_broker: OnBroker, tmp_path: Path
    ) -> None:
        on_broker(lambda broker: bury(broker, "a", "b", "c"))
        exported = run("dead", "export", "--stream", S).lines
        assert [line["traceback"] for line in exported] == ["Traceback ..."] * 3
        for line in exported[:2]:
            line["payload"]["ruleId"] = "mended"
        file = tmp_path / "letters.jsonl"
        file.write_text("\n".join(json.dumps(line) for line in exported[:2]))

        made = run("dead", "requeue", "--stream", S, "--edit", str(file), "--rate", "100/s", "--json").lines[
            0
        ]

        assert (made["matched"], made["ready"]) == (2, 2)
        waiting = run("jobs", "list", "--stream", S, "--state", "ready", "--json").lines
        assert [(line["job_id"], line["payload"]["ruleId"]) for line in waiting] == [
            ("j1", "mended"),
            ("j2", "mended"),
        ]

    def test_one_letter_gets_one_payload(self, run: Run, on_broker: OnBroker) -> None:
        on_broker(lambda broker: bury(broker, "a", "b"))

        several = run("dead", "requeue", "--stream", S, "--edit", "-", "--yes", stdin=payload("new"))
        one = run("dead", "requeue", "--stream", S, "j0", "--edit", "-", stdin=payload("new"))

        assert (several.code, one.code) == (Exit.USAGE, Exit.DONE)
        (waiting,) = run("jobs", "list", "--stream", S, "--state", "ready", "--json").lines
        assert (waiting["job_id"], waiting["payload"]["ruleId"]) == ("j0", "new")

    @pytest.mark.parametrize(
        "edit",
        [
            '{"ruleId":"r1"}',
            "not json",
            "",
            json.dumps(
                {"schema": "streamq.dead/1", "stream": "alerts:dispatch", "job_id": "j0", "payload": {}}
            ),
            json.dumps({"schema": "streamq.dead/1", "stream": S, "job_id": "j0", "payload": {"ruleId": 1}}),
        ],
    )
    def test_a_payload_the_worker_would_not_read_changes_nothing(
        self, run: Run, on_broker: OnBroker, edit: str
    ) -> None:
        on_broker(lambda broker: bury(broker, "a"))

        result = run("dead", "requeue", "--stream", S, "--edit", "-", "--yes", stdin=edit)

        assert result.code == Exit.FAILED
        assert "hint: nothing was changed" in result.err
        assert run("stats", "--stream", S, "--json").lines[0]["dead"] == 1

    def test_a_rate_that_is_none_is_a_usage_error(self, run: Run) -> None:
        for rate in ("fast", "0/s", "10"):
            assert run("dead", "requeue", "--stream", S, "--rate", rate).code == Exit.USAGE


# --- workers, drain -----------------------------------------------------------------------------------------


@pytest.fixture
def hold() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


@pytest.fixture
def worker(valkey_url: str, hold: threading.Event) -> Iterator[Worker]:
    """A worker with one slot in a thread of its own; its jobs end when `hold` is set."""
    handlers = Handlers()

    @handlers.on(S, dict, concurrency=1)
    async def handler(_: Job[dict[str, Any]]) -> None:
        while not hold.is_set():  # noqa: ASYNC110 - it is set by another thread
            await anyio.sleep(0.01)

    made: list[Worker] = []
    ready = threading.Event()
    portal: list[Any] = []

    async def work() -> None:
        async with RedisBroker.from_url(valkey_url) as broker:
            made.append(Worker(broker, handlers, options=WorkerOptions(lease=30.0, renew=0.1)))
            async with anyio.create_task_group() as group, anyio.from_thread.BlockingPortal() as own:
                portal.append(own)
                ready.set()
                await made[0].run(handle_signals=False)
                group.cancel_scope.cancel()

    thread = threading.Thread(target=anyio.run, args=[work])
    thread.start()
    ready.wait()
    yield made[0]
    hold.set()
    portal[0].call(made[0].stop)
    thread.join()


def up(run: Run) -> dict[str, Any]:
    """The worker's line, once its heartbeat has been heard."""
    while True:
        lines = run("workers", "list", "--stream", S, "--json").lines
        if lines and lines[0]["heard_seconds"] is not None:
            return lines[0]


class TestWorkers:
    def test_they_are_listed_with_what_they_do(self, run: Run, worker: Worker) -> None:
        line = up(run)

        assert checked(line) == "streamq.worker/1"
        assert (line["worker"], line["state"], line["slots"]) == (worker.name, "up", 1)
        assert worker.name in run("workers", "list").out

    def test_one_is_made_quiet_and_takes_again(self, run: Run, worker: Worker) -> None:
        up(run)

        made = run("workers", "quiet", worker.name, "--json").lines[0]
        assert (made["answer"], checked(made)) == ("quiet", "streamq.worker_answer/1")
        assert worker.consumers[0].quiet
        assert run("workers", "resume", worker.name[:-2]).code == Exit.DONE
        assert not worker.consumers[0].quiet

    def test_one_tells_where_its_jobs_stand(self, run: Run, worker: Worker) -> None:
        job_id = enqueued(run)
        up(run)
        while worker.consumers[0].busy == 0:
            up(run)

        told = run("workers", "trace", worker.name)

        assert job_id in told.out
        assert "await anyio.sleep(0.01)" in told.out

    def test_nobody_of_that_name_and_nobody_who_answers(self, run: Run, on_broker: OnBroker) -> None:
        async def old(broker: RedisBroker) -> None:
            for name in ("gone:1", "gone:2"):
                await anyio.to_thread.run_sync(broker.renew, S, name, [])

        on_broker(old)

        assert run("workers", "quiet", "nobody").code == Exit.NOT_FOUND
        assert run("workers", "quiet", "gone").code == Exit.USAGE
        silent = run("workers", "trace", "gone:1", "--timeout", "0.1")
        assert silent.code == Exit.FAILED
        assert "has not answered" in silent.err

    def test_the_number_of_jobs_at_once_is_changed_and_reset(self, run: Run, worker: Worker) -> None:
        up(run)

        result = run("workers", "concurrency", "--stream", S, "3")
        while worker.consumers[0].concurrency != 3:
            up(run)
        reset = run("workers", "concurrency", "--stream", S, "--reset", "--json").lines[0]
        while worker.consumers[0].concurrency != 1:
            up(run)

        assert "3 jobs at once; 1 up now" in result.err
        assert (reset["concurrency"], checked(reset)) == (None, "streamq.concurrency/1")
        assert run("workers", "concurrency", "--stream", S).code == Exit.USAGE
        assert run("workers", "concurrency", "--stream", S, "0").code == Exit.USAGE

    def test_drain_waits_until_nothing_waits_or_runs(
        self, run: Run, worker: Worker, hold: threading.Event
    ) -> None:
        enqueued(run, rule="a")
        enqueued(run, "--delay", "1h", rule="b")
        up(run)

        not_yet = run("drain", "--stream", S, "--timeout", "0.1")
        hold.set()
        done = run("drain", "--stream", S, "--json").lines[0]

        assert not_yet.code == Exit.NO
        assert (done["drained"], done["delayed"], checked(done)) == (True, 1, "streamq.drained/1")

    def test_drain_says_why_it_may_never_end(self, run: Run) -> None:
        enqueued(run)

        assert "no worker is up" in run("drain", "--stream", S, "--timeout", "0").err
        run("pause", "--stream", S)
        assert "is paused" in run("drain", "--stream", S, "--timeout", "0").err

    def test_drain_with_pause_waits_for_what_is_in_hand_only(
        self, run: Run, worker: Worker, hold: threading.Event
    ) -> None:
        for rule in "abc":
            enqueued(run, rule=rule)
        up(run)

        not_yet = run("drain", "--stream", S, "--pause", "--timeout", "0.1")
        hold.set()
        done = run("drain", "--stream", S, "--pause", "--json").lines[0]

        assert not_yet.code == Exit.NO
        assert "still run" in not_yet.err
        assert (done["drained"], done["leased"], checked(done)) == (True, 0, "streamq.drained/1")
        assert done["ready"] >= 1
        assert "wait until it is resumed" in run("drain", "--stream", S, "--pause").err
        assert run("stats", "--stream", S, "--json").lines[0]["paused"] is True
