"""The supervisor: what it decides, and real families whose members and whose parent are killed."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import anyio
import msgspec
import pytest

from streamq import InvalidJob, Queue, RedisBroker
from streamq.supervisor import (
    Finished,
    GiveUp,
    Life,
    Replace,
    Supervisor,
    SupervisorOptions,
    SupervisorResult,
    family_code,
    next_step,
)

ROOT = Path(__file__).resolve().parents[2]
#: Seconds anything here may take.
DEADLINE = 60.0
TERM, KILL, SEGV = -signal.SIGTERM, -signal.SIGKILL, -signal.SIGSEGV


class TestWhatFollowsADeath:
    OPTIONS = SupervisorOptions(backoff=(0.1, 30.0), young_deaths=12)
    BURST = SupervisorOptions(burst=True)

    @pytest.mark.parametrize("code", [0, 1, 3, 8, KILL, TERM])
    def test_whoever_had_lived_long_is_replaced_at_once(self, code: int) -> None:
        assert next_step(Life(100, code), 0, settled=True, options=self.OPTIONS) == Replace(0.1)

    def test_waits_double_with_each_young_death_up_to_the_longest(self) -> None:
        steps = [next_step(Life(1, KILL), n, settled=True, options=self.OPTIONS) for n in range(1, 12)]

        assert [step.delay for step in steps if isinstance(step, Replace)] == [
            0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30.0, 30.0
        ]  # fmt: skip

    @pytest.mark.parametrize("code", [1, 2, 3, 4])
    def test_who_says_no_before_any_worked_is_believed_at_once(self, code: int) -> None:
        step = next_step(Life(1, code), 1, settled=False, options=self.OPTIONS)

        assert step == GiveUp(f"ended with exit code {code} soon after its start")

    def test_who_says_no_when_others_have_worked_is_tried_again(self) -> None:
        assert next_step(Life(1, 3), 1, settled=True, options=self.OPTIONS) == Replace(0.1)

    @pytest.mark.parametrize("code", [0, KILL, SEGV])
    def test_who_was_killed_or_ended_well_at_its_start_is_tried_again(self, code: int) -> None:
        assert next_step(Life(1, code), 1, settled=False, options=self.OPTIONS) == Replace(0.1)

    @pytest.mark.parametrize("settled", [False, True])
    def test_nobody_is_tried_for_ever(self, settled: bool) -> None:
        step = next_step(Life(1, SEGV), 12, settled=settled, options=self.OPTIONS)

        assert step == GiveUp("was ended by SIGSEGV, dead 12 times in a row soon after its start")

    def test_in_a_burst_who_ends_well_is_done_and_who_is_killed_is_replaced(self) -> None:
        assert next_step(Life(1, 0), 1, settled=False, options=self.BURST) == Finished()
        assert next_step(Life(1, KILL), 1, settled=False, options=self.BURST) == Replace(0.1)

    @pytest.mark.parametrize(
        ("codes", "code"),
        [
            ([], 0),
            ([0, 0], 0),
            ([0, 8, 0], 8),
            ([3, 8], 8),
            ([0, 4, 3], 4),
            ([0, TERM], 0),  # it did not listen yet, so it had nothing
            ([0, KILL, 1], 137),
        ],
    )
    def test_a_family_has_one_exit_code(self, codes: list[int], code: int) -> None:
        assert family_code([Life(1, each) for each in codes]) == code

    def test_options_out_of_range_are_refused(self) -> None:
        with pytest.raises(InvalidJob):
            Supervisor(["true"], processes=0)
        with pytest.raises(InvalidJob):
            SupervisorOptions(backoff=(1.0, 0.5))


QUICK = SupervisorOptions(backoff=(0.01, 0.02), young_deaths=3, stop_timeout=30.0)


def shell(words: str) -> list[str]:
    return ["/bin/sh", "-c", words]


async def supervise(
    words: str, *, processes: int = 1, options: SupervisorOptions = QUICK
) -> SupervisorResult:
    with anyio.fail_after(DEADLINE):
        return await Supervisor(shell(words), processes=processes, options=options).run(handle_signals=False)


async def eventually(condition: Callable[[], bool]) -> None:
    with anyio.fail_after(DEADLINE):
        while not condition():  # noqa: ASYNC110 - another process knows, it tells nobody
            await anyio.sleep(0.01)


class TestStarts:
    async def test_a_no_at_the_start_is_passed_on_at_once_with_the_child_s_words(
        self, capfd: pytest.CaptureFixture[str]
    ) -> None:
        result = await supervise("echo error: no Redis >&2; exit 3", processes=2)

        assert result.exit_code == 3
        assert result.failure.endswith("ended with exit code 3 soon after its start")
        assert "error: no Redis" in capfd.readouterr().err

    async def test_who_dies_again_and_again_is_given_up(self, tmp_path: Path) -> None:
        result = await supervise(f"echo x >> {tmp_path}/starts; kill -SEGV $$")

        assert (result.exit_code, (tmp_path / "starts").read_text()) == (139, "x\n" * 3)
        assert result.failure == "process 0 was ended by SIGSEGV, dead 3 times in a row soon after its start"

    async def test_a_no_of_one_that_had_begun_to_work_is_no_word_on_the_start(self, tmp_path: Path) -> None:
        report = """{"worker": "w", "streams": {}, "lease": 10, "renew": 3}"""
        worked = f"echo '{report}' > /proc/self/fd/$STREAMQ_PARENT_FD; echo x >> {tmp_path}/starts; exit 1"

        result = await supervise(worked)

        assert (result.exit_code, (tmp_path / "starts").read_text()) == (1, "x\n" * 3)

    async def test_ending_well_again_and_again_is_a_failure_outside_a_burst(self) -> None:
        assert (await supervise("exit 0")).exit_code == 1

    async def test_a_burst_is_over_when_every_process_has_done_its_part(self, tmp_path: Path) -> None:
        options = msgspec.structs.replace(QUICK, burst=True)

        result = await supervise(f"echo $$ >> {tmp_path}/starts", processes=3, options=options)

        assert result == SupervisorResult(0)
        pids = {int(pid) for pid in (tmp_path / "starts").read_text().split()}
        assert len(pids) == 3
        await eventually(lambda: not in_sessions(pids))

    async def test_a_command_that_is_not_there_ends_it(self, capfd: pytest.CaptureFixture[str]) -> None:
        with anyio.fail_after(DEADLINE):
            result = await Supervisor(["no-such-command"], processes=2).run(handle_signals=False)

        assert result.exit_code == 1
        assert "no-such-command: No such file or directory" in capfd.readouterr().err


class TestEnds:
    async def test_who_ignores_a_stop_is_killed_when_its_time_is_over(self, tmp_path: Path) -> None:
        options = msgspec.structs.replace(QUICK, stop_timeout=0.2)
        deaf = shell(f"trap '' TERM; echo x > {tmp_path}/deaf; while :; do sleep 1; done")
        supervisor = Supervisor(deaf, processes=1, options=options)
        results: list[SupervisorResult] = []

        async def run() -> None:
            results.append(await supervisor.run(handle_signals=False))

        with anyio.fail_after(DEADLINE):
            async with anyio.create_task_group() as group:
                group.start_soon(run)
                await eventually((tmp_path / "deaf").exists)
                supervisor.stop()

        assert results == [SupervisorResult(137)]

    async def test_a_cancelled_run_leaves_nobody_behind(self) -> None:
        supervisor = Supervisor(shell("exec sleep 600"), processes=2, options=QUICK)

        with anyio.fail_after(DEADLINE):
            async with anyio.create_task_group() as group:
                group.start_soon(lambda: supervisor.run(handle_signals=False))
                await eventually(lambda: all(one.pid is not None for one in supervisor.processes))
                pids = [one.pid for one in supervisor.processes]
                group.cancel_scope.cancel()

        assert not any(is_running(pid) for pid in pids if pid)
        assert repr(supervisor) == "<Supervisor 0 of 2 processes running>"


DEAF = """
import sys, anyio
from streamq import Supervisor, SupervisorOptions
deaf = ["/bin/sh", "-c", "trap '' TERM; echo $$; while :; do sleep 1; done"]
anyio.run(Supervisor(deaf, processes=1, options=SupervisorOptions(stop_timeout=0.3)).run)
"""


async def test_who_is_deaf_does_not_outlive_a_killed_parent_either() -> None:
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    async with await anyio.open_process([sys.executable, "-c", DEAF], stderr=None, env=env) as parent:
        assert parent.stdout is not None
        pid = int(await parent.stdout.receive())
        os.kill(parent.pid, signal.SIGKILL)

    await eventually(lambda: not in_sessions({pid}))


# --- families of real workers -----------------------------------------------------------------------

FAMILY = """
import logging, os, sys
import anyio, msgspec
from streamq import Handlers, RedisBroker, Supervisor, SupervisorOptions, Worker, WorkerOptions

role, url, log, seconds, drain = sys.argv[1:6]

logging.basicConfig(filename=f"{log}.log", level=logging.INFO, format="%(process)d %(message)s")

class Note(msgspec.Struct, frozen=True):
    n: int

handlers = Handlers()

def write(*words):
    fd = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(fd, (" ".join(map(str, words)) + "\\n").encode())
    os.close(fd)

@handlers.on("notes", Note, concurrency=4, crash_budget=1000)
async def note(job):
    write("start", os.getpid(), job.payload.n)
    await anyio.sleep(float(seconds))
    write("end", os.getpid(), job.payload.n)

async def work(name):
    # A lease nobody waits for here: what comes back comes back by name.
    options = WorkerOptions(lease=30.0, renew=0.5, drain_timeout=float(drain))
    async with RedisBroker.from_url(url) as broker:
        result = await Worker(broker, handlers, name=name, options=options).run()
    return 8 if result.handed_back else 0

async def supervise():
    def command(number):
        return [sys.executable, __file__, f"family-{number}", *sys.argv[2:]]
    result = await Supervisor(command, processes=2).run()
    return result.exit_code

sys.exit(anyio.run(supervise) if role == "parent" else anyio.run(work, role))
"""


def is_running(pid: int) -> bool:
    """False for a zombie too: who should collect it is not always there in a container."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        return state not in "ZX"
    return False


def in_sessions(leaders: set[int]) -> list[int]:
    """Processes of the sessions that these have led: themselves, their guards, what they started."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            state, _, _, session = (entry / "stat").read_text().rpartition(")")[2].split()[:4]
            if int(session) in leaders and state not in "ZX":
                found.append(int(entry.name))
    return found


class Family:
    """A parent, two workers, and what the workers wrote down."""

    def __init__(self, folder: Path, url: str, *, seconds: float, drain: float) -> None:
        script = folder / "family.py"
        script.write_text(FAMILY)
        self._log = folder / "log"
        self.parent = subprocess.Popen(
            [sys.executable, str(script), "parent", url, str(self._log), str(seconds), str(drain)],
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )

    def lines(self, word: str) -> list[tuple[int, int]]:
        """(pid, job) of every start or end."""
        if not self._log.exists():
            return []
        lines = [line.split() for line in self._log.read_text().splitlines()]
        return [(int(pid), int(n)) for what, pid, n in lines if what == word]

    def pids(self) -> set[int]:
        """Processes that have started a job."""
        return {pid for pid, _ in self.lines("start")}

    @property
    def logged(self) -> str:
        log = Path(f"{self._log}.log")
        return log.read_text() if log.exists() else ""

    def said(self, event: str) -> set[int]:
        """Processes that logged it."""
        words = (line.split() for line in self.logged.splitlines())
        return {int(one[0]) for one in words if one[1:2] == [event]}

    async def until(self, condition: Callable[[], bool]) -> None:
        """As long as the parent lives."""
        await eventually(lambda: condition() or self.parent.poll() is not None)
        assert condition()

    async def exit_code(self) -> int:
        await eventually(lambda: self.parent.poll() is not None)
        return self.parent.wait()


@pytest.fixture
def family(tmp_path: Path, valkey_url: str) -> Iterator[Callable[..., Family]]:
    families: list[Family] = []

    def start(*, seconds: float, drain: float = 30.0) -> Family:
        families.append(Family(tmp_path, valkey_url, seconds=seconds, drain=drain))
        return families[-1]

    yield start
    for one in families:
        one.parent.kill()
        one.parent.wait()
        deadline = time.monotonic() + DEADLINE
        while any(is_running(pid) for pid in one.pids()) and time.monotonic() < deadline:
            time.sleep(0.01)


async def test_one_that_is_killed_is_replaced_takes_its_jobs_back_and_all_drain_on_term(
    family: Callable[..., Family], valkey_url: str
) -> None:
    # Given two processes that share the work
    one = family(seconds=0.05)
    async with RedisBroker.from_url(valkey_url) as broker:
        await Queue("notes", broker).enqueue_many([{"n": n} for n in range(200)])
        await one.until(lambda: len(one.pids()) == 2)
        # When one is killed with jobs in its hands
        victim = next(iter(one.pids()))
        os.kill(victim, signal.SIGKILL)
        # Then another one takes its place, and its jobs back long before their lease is over
        await one.until(lambda: len({n for _, n in one.lines("end")}) == 200)
        await one.until(lambda: len(one.pids()) == 3)
        one.parent.terminate()
        assert await one.exit_code() == 0
        stats = await broker.stats("notes")
    assert not any(is_running(pid) for pid in one.pids())
    assert (stats.counters["done"], stats.leased, sum(stats.ready.values()), stats.dead) == (200, 0, 0, 0)
    again = len(one.lines("end")) - 200
    print(f"200 jobs, 1 SIGKILL: lost 0, ran again {again}")
    assert again <= 8


async def test_a_stop_lets_every_process_finish_what_it_has(
    family: Callable[..., Family], valkey_url: str
) -> None:
    one = family(seconds=1.0)
    async with RedisBroker.from_url(valkey_url) as broker:
        await Queue("notes", broker).enqueue_many([{"n": n} for n in range(40)])
        await one.until(lambda: len(one.pids()) == 2)
        one.parent.send_signal(signal.SIGINT)
        assert await one.exit_code() == 0
        stats = await broker.stats("notes")
    started, ended = one.lines("start"), one.lines("end")
    assert sorted(started) == sorted(ended)
    assert stats.counters["done"] + sum(stats.ready.values()) == 40
    assert sum(stats.ready.values()) > 0


async def test_a_second_signal_hands_back_at_once_and_says_so(
    family: Callable[..., Family], valkey_url: str
) -> None:
    one = family(seconds=600.0, drain=600.0)
    async with RedisBroker.from_url(valkey_url) as broker:
        await Queue("notes", broker).enqueue_many([{"n": n} for n in range(8)])
        await one.until(lambda: len(one.lines("start")) == 8)
        one.parent.terminate()
        one.parent.send_signal(signal.SIGINT)
        assert await one.exit_code() == 8
        stats = await broker.stats("notes")
    assert (sum(stats.ready.values()), stats.leased, stats.workers) == (8, 0, 0)


async def test_a_killed_parent_takes_its_processes_with_it_and_they_drain(
    family: Callable[..., Family], valkey_url: str
) -> None:
    one = family(seconds=0.5)
    async with RedisBroker.from_url(valkey_url) as broker:
        await Queue("notes", broker).enqueue_many([{"n": n} for n in range(40)])
        await one.until(lambda: len(one.pids()) == 2)
        one.parent.kill()
        await eventually(lambda: not in_sessions(one.pids()))
        stats = await broker.stats("notes")
    assert sorted(one.lines("start")) == sorted(one.lines("end"))
    assert (stats.leased, stats.workers) == (0, 0)


async def test_quiet_reaches_also_who_was_only_starting(
    family: Callable[..., Family], valkey_url: str
) -> None:
    one = family(seconds=0.01)
    # Told before the workers can listen: the parent does as soon as it has children.
    await one.until(lambda: len(children(one.parent.pid)) == 2)
    one.parent.send_signal(signal.SIGTSTP)
    await one.until(lambda: len(one.said("worker_quiet")) == 2)
    async with RedisBroker.from_url(valkey_url) as broker:
        # One job a process may come: a read that slept when it was told.
        await Queue("notes", broker).enqueue_many([{"n": n} for n in range(10)])
        one.parent.terminate()
        assert await one.exit_code() == 0
        stats = await broker.stats("notes")
    assert sum(stats.ready.values()) >= 8


async def test_every_process_is_asked_for_its_stacks(family: Callable[..., Family], valkey_url: str) -> None:
    one = family(seconds=600.0, drain=0.1)
    async with RedisBroker.from_url(valkey_url) as broker:
        await Queue("notes", broker).enqueue_many([{"n": n} for n in range(8)])
        await one.until(lambda: len(one.lines("start")) == 8)
        one.parent.send_signal(signal.SIGUSR1)
        await one.until(lambda: len(one.said("worker_stacks")) == 2)
        one.parent.terminate()
        # What did not finish within the drain timeout was handed back: the family says so.
        assert await one.exit_code() == 8
    assert "await anyio.sleep(float(seconds))" in one.logged


def children(pid: int) -> list[int]:
    with contextlib.suppress(FileNotFoundError):
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []
