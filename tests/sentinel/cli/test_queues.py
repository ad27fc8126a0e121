"""The commands on streams, on a real server."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest

from sentinel.cli.exits import Exit
from streamq import Limit, RedisBroker
from streamq.broker import Bury, Lease
from streamq.job import NewJob
from streamq.partitions import partition_names
from tests.end_to_end.shapes import checked
from tests.sentinel.cli.conftest import Run

S = "rules:run"


def payload(rule: str = "r1", trigger: str = "schedule") -> str:
    return json.dumps({"ruleId": rule, "trigger": trigger, "requestedAt": "2026-01-31T12:00:00Z"})


@pytest.fixture
def environ(environ: dict[str, str], valkey_url: str) -> dict[str, str]:
    return environ | {"REDIS_URL": valkey_url}


@pytest.fixture
def on_broker(valkey_url: str) -> Callable[[Callable[[RedisBroker], Awaitable[Any]]], Any]:
    """Do something to the streams behind the command line's back."""

    def call(what: Callable[[RedisBroker], Awaitable[Any]]) -> Any:
        async def inside() -> Any:
            async with RedisBroker.from_url(valkey_url) as broker:
                return await what(broker)

        return anyio.run(inside)

    return call


OnBroker = Callable[[Callable[[RedisBroker], Awaitable[Any]]], Any]


async def take(broker: RedisBroker, count: int, *, worker: str = "w1") -> tuple[Lease, ...]:
    return (await broker.turn(S, worker, sequence=1, free=count)).leases


async def bury(broker: RedisBroker, *reasons: str) -> None:
    """One dead letter a reason: j0, j1 ..., of rules r0, r1 ..."""
    jobs = [NewJob(payload=payload(f"r{n}").encode(), id=f"j{n}") for n in range(len(reasons))]
    await broker.enqueue(S, jobs, call_id="bury")
    leases = await take(broker, len(reasons))
    finished = [
        Bury(lease, reason=reason, error=f"Boom: {reason} in {lease.envelope.id}", traceback="Traceback ...")
        for lease, reason in zip(leases, reasons, strict=True)
    ]
    await broker.turn(S, "w1", sequence=2, finished=finished)


class TestStats:
    def test_the_json_line_is_the_contract_s(self, run: Run) -> None:
        result = run("stats", "--json")

        assert result.code == Exit.DONE
        assert [line["stream"] for line in result.lines] == ["rules:run", "alerts:dispatch"]
        assert result.lines[0] == {
            "schema": "streamq.stats/1",
            "stream": "rules:run",
            "ready": 0,
            "leased": 0,
            "delayed": 0,
            "dead": 0,
            "done": 0,
            "oldest_seconds": None,
            "workers": 0,
            "paused": False,
        }

    def test_it_counts_and_shows_lanes(self, run: Run, on_broker: OnBroker) -> None:
        run("enqueue", S, payload("a", "manual_test"))
        run("enqueue", S, payload("b"), "--delay", "1h")
        run("enqueue", S, payload("c"))
        on_broker(lambda broker: take(broker, 1))

        line = run("stats", "--json", "--stream", S).lines[0]
        shown = run("stats").out

        assert (line["ready"], line["leased"], line["delayed"], line["workers"]) == (1, 1, 1, 1)
        assert shown.splitlines()[0].split()[:3] == ["STREAM", "READY", "LEASED"]
        assert max(map(len, shown.splitlines())) <= 80

    @pytest.mark.parametrize(
        ("check", "code"), [("ready>0", 7), ("ready>1", 0), ("oldest>60s", 0), ("workers<1", 7)]
    )
    def test_fail_if_says_no_by_exit_code(self, run: Run, check: str, code: int) -> None:
        run("enqueue", S, payload())

        result = run("stats", "--stream", S, "--fail-if", check)

        assert result.code == code
        assert (f"{S}: {check}" in result.err) == (code == 7)

    def test_a_check_it_cannot_read_is_a_usage_error(self, run: Run) -> None:
        assert run("stats", "--fail-if", "mood>3").code == Exit.USAGE

    def test_watch_goes_on_until_the_check_fails(self, run: Run) -> None:
        run("enqueue", S, payload())

        result = run("stats", "--stream", S, "--watch", "0.1", "--fail-if", "oldest>2s", "--json")

        assert result.code == Exit.NO
        assert len(result.lines) > 1

    def test_a_watch_without_a_pause_is_a_usage_error(self, run: Run) -> None:
        result = run("stats", "--watch", "0")

        assert result.code == Exit.USAGE
        assert "shorter than 0.1 s" in result.err

    def test_a_stream_nobody_has_used_is_not_found_with_a_guess(self, run: Run) -> None:
        result = run("stats", "--stream", "rules:rum")

        assert result.code == Exit.NOT_FOUND
        assert "hint: did you mean rules:run?" in result.err

    def test_a_foreign_stream_that_exists_is_shown(self, run: Run, on_broker: OnBroker) -> None:
        on_broker(lambda b: b.enqueue("images", [NewJob(payload=b"{}", id="i")], call_id="c"))

        assert run("stats", "--stream", "images", "--json").lines[0]["ready"] == 1


class TestEnqueue:
    def test_a_job_is_in_the_stream_and_its_id_on_stdout(self, run: Run, on_broker: OnBroker) -> None:
        result = run("enqueue", S, payload("r9", "manual_test"))

        (lease,) = on_broker(lambda broker: take(broker, 1))
        assert (result.code, result.out.strip()) == (Exit.DONE, lease.envelope.id)
        assert lease.envelope.lane == "high"
        assert lease.envelope.unique == "rule:r9"
        assert json.loads(lease.envelope.payload)["ruleId"] == "r9"

    def test_a_second_check_of_a_rule_is_a_duplicate(self, run: Run) -> None:
        first = run("enqueue", S, payload(), "--json").lines[0]
        second = run("enqueue", S, payload(), "--json").lines[0]

        assert (first["created"], second["created"]) == (True, False)
        assert first["job_id"] == second["job_id"]

    def test_an_empty_unique_key_means_none(self, run: Run) -> None:
        for _ in range(2):
            run("enqueue", S, payload(), "--unique", "")

        assert run("stats", "--json").lines[0]["ready"] == 2

    def test_alerts_are_unique_by_their_dedupe_key(self, run: Run) -> None:
        alert = '{"alertId":"a%d","workspaceId":"w","ruleId":"r","channels":["ops"],"dedupeKey":"k"}'

        created = [run("enqueue", "alerts:dispatch", alert % n, "--json").lines[0]["created"] for n in (1, 2)]

        assert created == [True, False]

    def test_json_lines_come_from_stdin(self, run: Run) -> None:
        lines = "\n".join(payload(f"r{n}") for n in range(1200)) + "\n\n"

        result = run("enqueue", S, "-", "--json", stdin=lines)

        assert len(result.lines) == 1200
        assert "1200 enqueued" in result.err

    def test_a_stream_of_another_program_takes_any_json_once_it_is_in_use(
        self, run: Run, on_broker: OnBroker
    ) -> None:
        unknown = run("enqueue", "images", '{"url":"a.png"}')
        on_broker(lambda b: b.enqueue("images", [NewJob(payload=b"{}", id="i")], call_id="c"))
        known = run("enqueue", "images", '{"url":"a.png"}', "--lane", "high", "--json")
        bad = run("enqueue", "images", "a.png")

        assert (unknown.code, bad.code) == (Exit.USAGE, Exit.FAILED)
        assert "there is no stream 'images'" in unknown.err
        assert "not a payload of images" in bad.err
        seen = run("jobs", "list", "--stream", "images", "--state", "ready", "--json").lines[0]
        assert (seen["job_id"], seen["payload"]) == (known.lines[0]["job_id"], {"url": "a.png"})

    def test_a_bad_line_is_named_and_nothing_is_enqueued(self, run: Run) -> None:
        lines = "\n".join([payload("ok"), '{"ruleId": 7}', "not json", '{"ruleId":"x"}'])

        result = run("enqueue", S, "-", stdin=lines)

        assert result.code == Exit.FAILED
        assert "line 2: " in result.err
        assert "line 3: " in result.err
        assert "line 4: " in result.err
        assert run("stats", "--json").lines[0]["ready"] == 0

    @pytest.mark.parametrize(
        "bad", ["{}", "[]", "null", '{"ruleId":"r","trigger":"never","requestedAt":"x"}', "{"]
    )
    def test_a_payload_of_the_wrong_shape_is_refused(self, run: Run, bad: str) -> None:
        result = run("enqueue", S, bad)

        assert result.code == Exit.FAILED
        assert "hint: nothing was enqueued" in result.err

    def test_an_unknown_stream_is_a_usage_error_with_a_guess(self, run: Run) -> None:
        result = run("enqueue", "rule:run", payload())

        assert result.code == Exit.USAGE
        assert "did you mean rules:run?" in result.err

    def test_at_and_delay_make_a_delayed_job(self, run: Run) -> None:
        assert run("enqueue", S, payload("a"), "--at", "2999-01-01T00:00:00Z").code == Exit.DONE
        assert run("enqueue", S, payload("b"), "--delay", "5m").code == Exit.DONE
        assert run("enqueue", S, payload("c"), "--delay", "5m", "--at", "2999-01-01").code == Exit.USAGE

        assert run("stats", "--json").lines[0]["delayed"] == 2

    def test_jobs_of_one_limit_start_one_after_the_other(self, run: Run, on_broker: OnBroker) -> None:
        terms = ("--limit", "shop", "--running", "1", "--rate", "30/m", "--burst", "2")

        result = run("enqueue", S, "-", *terms, stdin=f"{payload('a')}\n{payload('b')}\n")

        assert result.code == Exit.DONE
        (first,) = on_broker(lambda broker: take(broker, 2))
        assert first.envelope.limit == Limit("shop", running=1, rate=0.5, burst=2)
        (waits,) = on_broker(lambda broker: broker.parked(S))
        assert "waits for a slot of key shop: 1 of 1 running" in run("jobs", "why", waits.id).out

    def test_the_last_payload_wins_where_the_first_one_waits(self, run: Run, on_broker: OnBroker) -> None:
        wish = ("--replace", "--delay", "5m", "--max-wait", "6m", "--json")
        first = run("enqueue", S, payload(trigger="schedule"), *wish).lines[0]
        second = run("enqueue", S, payload(trigger="retry"), *wish)

        assert checked(second.lines[0]) == "streamq.receipt/1"
        assert second.lines[0] == first | {"created": False, "replaced": True}
        assert "0 enqueued, 1 replaced in rules:run" in second.err
        ((job, _),) = on_broker(lambda broker: broker.delayed(S))
        assert (json.loads(job.payload)["trigger"], job.unique) == ("retry", "rule:r1")

    def test_an_alert_s_key_is_held_until_it_has_ended_where_it_may_be_replaced(self, run: Run) -> None:
        alert = '{"alertId":"a%d","workspaceId":"w","ruleId":"r","channels":["ops"],"dedupeKey":"k"}'

        made = [run("enqueue", "alerts:dispatch", alert % n, "--replace", "--json").lines[0] for n in (1, 2)]

        assert made[1] == made[0] | {"created": False, "replaced": True}

    def test_what_cannot_be_made_so_safe_ends_with_words_and_without_a_job(self, run: Run) -> None:
        result = run("enqueue", S, payload(), "--durability", "fsync")

        assert (result.code, result.out) == (Exit.REDIS, "")
        assert "durability fsync needs" in result.err
        assert run("stats", "--json").lines[0]["ready"] == 0

    def test_what_is_not_confirmed_is_there_and_told(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("streamq.redis_broker.CONFIRM_TIMEOUT", 0.01)

        result = run("enqueue", S, payload(), "--durability", "replicas:1")

        assert (result.code, result.out) == (Exit.REDIS, "")
        assert "1 in rules:run from job " in result.err
        assert "written, but known to 0 of 1 replicas" in result.err
        assert "hint: what was told before is confirmed, these will run as well" in result.err
        assert run("stats", "--json").lines[0]["ready"] == 1
        assert run("enqueue", S, payload("r2"), "--durability", "none").code == Exit.DONE


class TestPending:
    def test_the_json_line_is_the_contract_s(self, run: Run, on_broker: OnBroker) -> None:
        job_id = run("enqueue", S, payload("r9")).out.strip()
        (lease,) = on_broker(lambda broker: take(broker, 1))

        (line,) = run("pending", "--stream", S, "--json").lines

        assert list(line) == [
            "schema", "stream", "entry_id", "job_id", "worker", "idle_seconds", "deliveries", "attempt", "crashes",
            "payload",
        ]  # fmt: skip
        assert line["schema"] == "streamq.pending/1"
        assert (line["entry_id"], line["job_id"], line["worker"]) == (lease.entry_id, job_id, "w1")
        assert (line["deliveries"], line["attempt"], line["crashes"]) == (1, 1, 0)
        assert line["payload"]["ruleId"] == "r9"

    def test_people_see_what_it_is_about(self, run: Run, on_broker: OnBroker) -> None:
        run("enqueue", S, payload("r9"))
        on_broker(lambda broker: take(broker, 1))

        result = run("pending", "--stream", S)

        assert "r9" in result.out
        assert "w1" in result.out

    def test_it_is_filtered_by_worker_and_idle_time(self, run: Run, on_broker: OnBroker) -> None:
        run("enqueue", S, payload())
        on_broker(lambda broker: take(broker, 1))

        assert run("pending", "--stream", S, "--consumer", "other", "--json").out == ""
        assert run("pending", "--stream", S, "--idle-over", "1h", "--json").out == ""
        assert len(run("pending", "--stream", S, "--consumer", "w1", "--json").lines) == 1

    def test_claim_hands_back_what_a_silent_worker_holds(self, run: Run, on_broker: OnBroker) -> None:
        quick = {"STREAMQ_LEASE_SECONDS": "0.02", "STREAMQ_RENEW_SECONDS": "0.01"}
        run("enqueue", S, payload())
        on_broker(lambda broker: take(broker, 1))

        async def until_silent(broker: RedisBroker) -> None:
            while not await broker.pending(S, idle_over=0.04):  # noqa: ASYNC110 - the server tells no event
                await anyio.sleep(0.01)

        on_broker(until_silent)
        (line,) = run("pending", "--stream", S, "--claim", "--json", env=quick).lines

        assert line == {"schema": "streamq.claimed/1", "stream": S, "worker": "w1", "ready": 1, "dead": 0}
        assert run("stats", "--json").lines[0]["ready"] == 1

    def test_claim_leaves_a_living_worker_alone(self, run: Run, on_broker: OnBroker) -> None:
        run("enqueue", S, payload())
        on_broker(lambda broker: take(broker, 1))

        result = run("pending", "--stream", S, "--claim", "--consumer", "w1")

        assert result.code == Exit.FAILED
        assert "it is alive" in result.err
        assert run("stats", "--json").lines[0]["leased"] == 1

    @pytest.mark.parametrize(("stream", "ready"), [(S, 9), (f"{S}.2", 3)])
    def test_claim_hands_back_from_every_partition_that_is_meant(
        self, run: Run, on_broker: OnBroker, stream: str, ready: int
    ) -> None:
        quick = {"STREAMQ_LEASE_SECONDS": "0.02", "STREAMQ_RENEW_SECONDS": "0.01"}

        async def silent_in_all(broker: RedisBroker) -> None:
            await broker.set_partitions(S, 3)
            for name in partition_names(S, 3):
                jobs = [NewJob(payload=payload().encode(), id=f"{name}-{n}") for n in range(3)]
                await broker.enqueue(name, jobs, call_id=name)
                assert len((await broker.turn(name, "w1", sequence=1, free=3)).leases) == 3
            while len(await broker.pending(S, idle_over=0.04)) < 9:  # noqa: ASYNC110 - the server tells no event
                await anyio.sleep(0.01)

        on_broker(silent_in_all)
        held = run("pending", "--stream", S, "--json").lines
        assert {checked(line) for line in held} == {"streamq.pending/1"}
        assert len({line["entry_id"].partition(".")[2] for line in held}) == 3

        (line,) = run("pending", "--stream", stream, "--claim", "--json", env=quick).lines

        told = {"schema": "streamq.claimed/1", "stream": stream, "worker": "w1", "ready": ready, "dead": 0}
        assert line == told
        (stats,) = run("stats", "--stream", S, "--json").lines
        assert (stats["ready"], stats["leased"]) == (ready, 9 - ready)
        # The crash was counted, and those who wait may take them.
        jobs = run("jobs", "list", "--stream", stream, "--state", "ready", "--json").lines
        assert [job["crashes"] for job in jobs] == [1] * ready

    def test_a_payload_that_is_not_json_is_shown_as_text(self, run: Run, on_broker: OnBroker) -> None:
        on_broker(lambda b: b.enqueue(S, [NewJob(payload=b"\xff\x1b[2J", id="x")], call_id="c"))
        on_broker(lambda broker: take(broker, 1))

        assert run("pending", "--stream", S, "--json").lines[0]["payload"] == "\ufffd\x1b[2J"
        assert "\x1b" not in run("pending", "--stream", S).out


class TestPause:
    def test_pause_and_resume_are_kept_and_told(self, run: Run) -> None:
        paused = run("pause", "--stream", S)
        state = run("stats", "--json").lines[0]["paused"]
        again = run("pause", "--stream", S)
        resumed = run("resume", "--stream", S, "--json")

        assert (paused.code, state) == (Exit.DONE, True)
        assert "is now paused" in paused.err
        assert "was already paused" in again.err
        assert resumed.lines == [{"schema": "streamq.paused/1", "stream": S, "paused": False}]

    def test_a_stream_that_is_not_there_is_not_found(self, run: Run) -> None:
        assert run("pause", "--stream", "nope").code == Exit.NOT_FOUND
        assert run("pause").code == Exit.USAGE


class TestPartitions:
    def test_a_stream_is_given_more_of_them_for_good(self, run: Run) -> None:
        run("enqueue", S, payload())

        assert run("partitions", "--stream", S).out == f"{S} has 1 partition\n"
        assert run("partitions", "--stream", S, "--set", "3").code == Exit.UNCONFIRMED
        (grown,) = run("partitions", "--stream", S, "--set", "3", "--yes", "--json").lines
        same = run("partitions", "--stream", S, "--set", "3")
        fewer = run("partitions", "--stream", S, "--set", "2", "--yes")

        assert (grown["partitions"], checked(grown)) == (3, "streamq.partitions/1")
        assert (same.code, same.out) == (Exit.DONE, f"{S} has 3 partitions\n")
        assert (fewer.code, f"{S} has 3 partitions; there can be more of them" in fewer.err) == (
            Exit.USAGE,
            True,
        )
        assert run("stats", "--stream", S, "--json").lines[0]["ready"] == 1

    def test_what_cannot_be_is_told_and_nothing_is_changed(self, run: Run) -> None:
        run("partitions", "--stream", S, "--set", "3", "--yes")
        for rule in "abcdef":
            run("enqueue", S, payload(rule))

        of_a_part = run("partitions", "--stream", f"{S}.1", "--set", "4", "--yes")
        too_many = run("partitions", "--stream", S, "--set", "65", "--yes")

        assert (of_a_part.code, too_many.code) == (Exit.USAGE, Exit.USAGE)
        assert f"{S}.1 is a partition of {S}" in of_a_part.err
        assert run("partitions", "--stream", "nope", "--set", "2", "--yes").code == Exit.NOT_FOUND
        assert run("partitions", "--stream", S).out == f"{S} has 3 partitions\n"

    def test_another_stream_is_not_made_a_partition(self, run: Run, on_broker: OnBroker) -> None:
        on_broker(lambda b: b.enqueue(f"{S}.1", [NewJob(payload=b"1", id="x")], call_id="c"))

        refused = run("partitions", "--stream", S, "--set", "2", "--yes")

        assert (refused.code, run("partitions", "--stream", S).out) == (Exit.USAGE, f"{S} has 1 partition\n")
        assert f"there is a stream '{S}.1' already" in refused.err


class TestDead:
    def test_the_json_line_is_the_contract_s(self, run: Run, on_broker: OnBroker) -> None:
        on_broker(lambda broker: bury(broker, "exhausted"))

        (line,) = run("dead", "list", "--json").lines

        assert list(line) == [
            "schema", "stream", "job_id", "reason", "error", "attempts", "crashes", "enqueued_at", "died_at", "payload",
        ]  # fmt: skip
        assert (line["schema"], line["stream"], line["job_id"]) == ("streamq.dead/1", S, "j0")
        assert (line["reason"], line["error"]) == ("exhausted", "Boom: exhausted in j0")
        assert (line["attempts"], line["crashes"]) == (1, 0)
        assert line["died_at"].endswith("Z")
        assert line["payload"]["ruleId"] == "r0"

    def test_people_see_the_reasons_counted_first(self, run: Run, on_broker: OnBroker) -> None:
        on_broker(lambda broker: bury(broker, "exhausted", "invalid_payload", "exhausted"))

        lines = run("dead", "list").out.splitlines()

        assert lines[0].split() == ["STREAM", "REASON", "COUNT"]
        assert lines[1].split() == [S, "exhausted", "2"]
        assert lines[2].split() == [S, "invalid_payload", "1"]

    @pytest.mark.parametrize(
        ("options", "jobs"),
        [
            (["--reason", "crashed"], ["j1"]),
            (["--reason", "crashed", "--reason", "exhausted"], ["j0", "j1", "j2"]),
            (["--error", "BOOM: exh"], ["j0", "j2"]),
            (["--match", "ruleId=r2"], ["j2"]),
            (["--match", "trigger=schedule", "--reason", "exhausted"], ["j0", "j2"]),
            (["--match", "ruleId.deeper=r2"], []),
            (["--since", "1h"], ["j0", "j1", "j2"]),
            (["--until", "1h"], []),
            (["--since", "2999-01-01"], []),
            (["--limit", "1"], ["j2"]),
        ],
    )
    def test_it_is_filtered(self, run: Run, on_broker: OnBroker, options: list[str], jobs: list[str]) -> None:
        on_broker(lambda broker: bury(broker, "exhausted", "crashed", "exhausted"))

        found = [line["job_id"] for line in run("dead", "list", "--json", *options).lines]

        assert sorted(found) == jobs

    def test_show_has_the_traceback_and_not_found_is_5(self, run: Run, on_broker: OnBroker) -> None:
        on_broker(lambda broker: bury(broker, "exhausted"))

        assert "Traceback ..." in run("dead", "show", "j0").out
        assert run("dead", "show", "j0", "--json").lines[0]["traceback"] == "Traceback ..."
        assert run("dead", "show", "nope").code == Exit.NOT_FOUND

    def test_a_dry_run_changes_nothing(self, run: Run, on_broker: OnBroker) -> None:
        on_broker(lambda broker: bury(broker, "exhausted", "crashed"))

        result = run("dead", "requeue", "--stream", S, "--reason", "crashed", "--dry-run", "--json")

        assert result.lines[0] == {
            "schema": "streamq.requeued/1", "stream": S, "matched": 1, "ready": 0, "duplicate": 0, "dry_run": True,
        }  # fmt: skip
        assert run("stats", "--json").lines[0]["dead"] == 2

    def test_requeued_jobs_are_ready_again_under_their_ids(self, run: Run, on_broker: OnBroker) -> None:
        on_broker(lambda broker: bury(broker, "exhausted", "crashed"))

        by_id = run("dead", "requeue", "--stream", S, "j1")
        by_filter = run("dead", "requeue", "--stream", S, "--reason", "exhausted")

        leases = on_broker(lambda broker: take(broker, 5, worker="w2"))
        assert (by_id.code, by_filter.code) == (Exit.DONE, Exit.DONE)
        assert [lease.envelope.id for lease in leases] == ["j1", "j0"]

    def test_everything_at_once_is_confirmed_first(self, run: Run, on_broker: OnBroker) -> None:
        on_broker(lambda broker: bury(broker, "exhausted", "crashed"))

        nobody_to_ask = run("dead", "requeue", "--stream", S)
        said_no = run("dead", "requeue", "--stream", S, stdin="n\n", terminal=True)
        said_yes = run("dead", "requeue", "--stream", S, "--yes")

        assert (nobody_to_ask.code, said_no.code, said_yes.code) == (Exit.UNCONFIRMED, Exit.FAILED, Exit.DONE)
        assert run("stats", "--json").lines[0]["ready"] == 2

    def test_an_id_that_is_not_dead_is_not_found(self, run: Run) -> None:
        assert run("dead", "requeue", "--stream", S, "nope").code == Exit.NOT_FOUND


class TestHealth:
    def test_a_working_redis_is_ok(self, run: Run) -> None:
        result = run("health", "--json")

        parts = {part["name"]: part for part in result.lines[0]["parts"]}
        assert parts["redis"]["ok"] is True
        assert "noeviction" in parts["redis"]["detail"]

    def test_an_unreachable_redis_is_told_and_exits_7(self, run: Run) -> None:
        result = run("health", "--json", "--redis-url", "redis://:hunter2@127.0.0.1:1")

        assert result.code == Exit.NO
        assert result.lines[0]["ok"] is False
        assert "hunter2" not in result.out + result.err


def test_the_embedded_redis_keeps_its_jobs_between_two_calls(run: Run) -> None:
    none = {"REDIS_URL": ""}

    first = run("enqueue", S, payload(), "--embedded", env=none)
    second = run("stats", "--json", env=none)  # the folder is there: no flag needed

    assert first.code == Exit.DONE
    assert second.lines[0]["ready"] == 1
