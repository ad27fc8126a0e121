"""What streamq costs while more and more lies in it.

    python -m bench.growth [--jobs 4000] [--rounds 3] [--keep]
    python -m bench.growth --show bench/results/DATE-growth.json

Each state is made on an empty server, and in it the same is done: a few hundred of each call, then one worker
process (concurrency 10) runs so many jobs. "server us" are microseconds that the server spent in streamq's
scripts, as its command statistics count them: a wall clock, so the best of the rounds counts. Below each
figure is how many times as dear it is as with nothing else there, in the same run; over LIMIT it is marked.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import anyio
import msgspec
import redis

from bench import machine, table
from bench.engines.face import payload
from bench.engines.streamq import STREAM
from bench.fleet import PROGRAMS, ROOT, call
from bench.scenarios.scenario import per_job, rate
from bench.server import Server, find
from streamq import Queue, RedisBroker, WorkerOptions
from streamq.broker import Done, Lease
from streamq.keys import GROUP, StreamKeys

RESULTS = ROOT / "bench/results"
#: Times dearer than beside nothing from which on a cost is said to grow.
LIMIT: Final = 1.3
#: Jobs that a worker takes and ends with one turn, and holds while its heart beats.
AT_ONCE: Final = 10
#: Calls of each kind: so many batches of so many; the best batch counts. Short ones, for other programs come
#: between; ten, for every tenth heartbeat also counts what is in hand.
BATCHES: Final = 18
CALLS: Final = 10
#: Ready jobs that those calls use up, with some to spare.
USED: Final = 2 * BATCHES * CALLS * AT_ONCE
#: Seconds until the delayed ones are due.
FAR: Final = 30 * 86400.0
#: Jobs a call while a state is made, and jobs that each of the other workers holds.
BULK: Final = 500
HELD_EACH: Final = 1_000
#: As a worker's own, see WorkerOptions.
IDLE: Final = 20.0
CRASH_BUDGET: Final = 3

#: Figures in the order of the table, and how they are headed.
HEADS: Final = {
    "rate": "jobs/s",
    "cpu": "CPU a job",
    "job": "scripts a job",
    "turn": "turn",
    "enqueue": "enqueue",
    "heartbeat": "heartbeat",
    "reclaim": "reclaim",
    "sweep": "sweep",
    "stats": "stats",
    "bytes": "bytes a job",
}


class State(msgspec.Struct, frozen=True):
    """What lies there: of one of these, so many."""

    ready: int = 0
    delayed: int = 0
    held: int = 0
    dead_workers: int = 0
    #: Somebody else's, of about a job's size: what it costs that the server's memory is larger.
    foreign_keys: int = 0

    @property
    def name(self) -> str:
        """For people."""
        said = [
            f"{many:,} {field.replace('_', ' ')}"
            for field, many in msgspec.structs.asdict(self).items()
            if many
        ]
        return ", ".join(said) or "nothing else"


#: The first is what the others are compared with.
STATES: Final = (
    State(),
    State(ready=1_000),
    State(ready=100_000),
    State(ready=1_000_000),
    State(delayed=100_000),
    State(held=10_000),
    State(dead_workers=1_000),
    State(foreign_keys=400_000),
)
#: Makes ARGV[2] of them, numbered from ARGV[1] on.
FOREIGN: Final = (
    "for i = 1, ARGV[2] do redis.call('SET', 'foreign:' .. (ARGV[1] + i), string.rep('x', 80)) end"
)


class Costs(msgspec.Struct, frozen=True):
    """One state in one round."""

    state: State
    round: int
    #: Jobs a second of the worker.
    rate: float
    #: Server us of CPU and of scripts per job that worker ran.
    cpu: float
    job: float
    #: Server us of one of each: of a turn that ends ten jobs and takes ten; of a heartbeat with ten in hand;
    #: of taking ten jobs from a dead worker; of a sweep that finds nothing.
    turn: float
    enqueue: float
    heartbeat: float
    reclaim: float
    sweep: float
    stats: float
    #: Bytes the server's memory grew per ready job, and per each of what else there is (0: nothing else).
    bytes: float
    bytes_beside: float


class Results(msgspec.Struct, frozen=True):
    """A file in bench/results/."""

    #: `YYYY-MM-DD HH:MM` UTC.
    made: str
    machine: dict[str, Any]
    #: Jobs the worker ran in each state and round.
    jobs: int
    costs: list[Costs]


# --- making a state -------------------------------------------------------------------------------


class Hand:
    """A worker that the bench plays itself, call by call."""

    def __init__(self, broker: RedisBroker, name: str) -> None:
        self._broker, self.name = broker, name
        self._sequence = 0
        self.held: tuple[Lease, ...] = ()

    async def turn(self, free: int = AT_ONCE) -> None:
        """End what is in hand, take as many."""
        self._sequence += 1
        done = [Done(lease, 0.001) for lease in self.held]
        turn = await self._broker.turn(STREAM, self.name, sequence=self._sequence, finished=done, free=free)
        self.held = turn.leases

    async def take(self, jobs: int) -> None:
        """That many more."""
        while len(self.held) < jobs:
            self._sequence += 1
            free = min(BULK, jobs - len(self.held))
            turn = await self._broker.turn(STREAM, self.name, sequence=self._sequence, free=free)
            if not turn.leases:
                raise RuntimeError(f"{len(self.held)} jobs were there of {jobs}")
            self.held += turn.leases

    async def beat(self) -> None:
        """As the heart of a worker does, from its thread."""
        self._broker.renew(STREAM, self.name, self.held)


async def make(state: State, broker: RedisBroker, client: redis.Redis) -> None:
    """All but the ready jobs."""
    queue = Queue(STREAM, broker)
    for first in range(0, state.delayed, BULK):
        many = range(first, min(state.delayed, first + BULK))
        await queue.enqueue_many([payload(number) for number in many], delay=FAR)
    if state.held:
        await queue.enqueue_many([payload(number) for number in range(state.held)])
        for first in range(0, state.held, HELD_EACH):
            other = Hand(broker, f"other-{first}")
            await other.take(min(HELD_EACH, state.held - first))
            await other.beat()
    k = StreamKeys.of(STREAM)
    for number in range(state.dead_workers):
        dead = Hand(broker, f"dead-{number}")
        await dead.turn(free=1)  # nothing is there; the first makes the group
        await dead.beat()
        for key in (*k.lanes, k.wake):
            client.xgroup_createconsumer(key, GROUP, dead.name)
    for first in range(0, state.foreign_keys, BULK):
        client.eval(FOREIGN, 0, str(first), str(min(state.foreign_keys - first, BULK)))


# --- measuring ------------------------------------------------------------------------------------


def script_us(client: redis.Redis) -> int:
    """Microseconds spent in scripts so far, what they call included."""
    # Not typed by the client library: asynchronous or not is one signature there.
    info: Any = client.info("commandstats")
    return sum(
        info.get(f"cmdstat_{name}", {"usec": 0})["usec"]
        for name in ("eval", "evalsha", "eval_ro", "evalsha_ro")
    )


class Calls:
    """What one call of each kind costs the server, in the state that it is in."""

    def __init__(self, broker: RedisBroker, client: redis.Redis, first_number: int) -> None:
        self._broker, self._client = broker, client
        self._queue = Queue(STREAM, broker)
        self._number = first_number

    async def all(self) -> dict[str, float]:
        """By the names of HEADS."""
        hand = Hand(self._broker, "hand")
        await hand.turn()
        costs = {
            "turn": await self._best(hand.turn),
            "enqueue": await self._best(self._enqueue),
            "heartbeat": await self._best(hand.beat),
            "sweep": await self._best(self._sweep),
            "stats": await self._best(self._stats),
            "reclaim": await self._reclaim(),
        }
        await hand.turn(free=0)
        await self._broker.retire(STREAM, hand.name)
        return costs

    async def _best(self, one: Callable[[], Awaitable[object]]) -> float:
        batches = []
        for _ in range(BATCHES):
            before = script_us(self._client)
            for _ in range(CALLS):
                await one()
            batches.append((script_us(self._client) - before) / CALLS)
        return min(batches)

    async def _enqueue(self) -> None:
        self._number += 1
        await self._queue.enqueue(payload(self._number))

    async def _sweep(self) -> None:
        await self._broker.sweep(STREAM, idle=IDLE, crash_budget=CRASH_BUDGET)

    async def _stats(self) -> None:
        await self._broker.stats(STREAM)

    async def _reclaim(self) -> float:
        costs = []
        for number in range(BATCHES):
            gone = Hand(self._broker, f"gone-{number}")
            await gone.take(AT_ONCE)
            await gone.beat()
            before = script_us(self._client)
            await self._broker.reclaim(STREAM, gone.name, beat=None, crash_budget=CRASH_BUDGET)
            costs.append(script_us(self._client) - before)
        return min(costs)


async def measure(state: State, server: Server, *, jobs: int, round_number: int) -> Costs:
    """One state, on a server that holds nothing."""
    server.empty()
    waiting = jobs + USED + state.ready
    beside = state.delayed or state.held or state.dead_workers or state.foreign_keys
    with redis.Redis.from_url(server.url) as client:
        async with RedisBroker.from_url(server.url) as broker:
            nothing = server.counters().memory
            await make(state, broker, client)
            made = server.counters().memory
            queue = Queue(STREAM, broker)
            for first in range(0, waiting, BULK):
                many = range(first, min(waiting, first + BULK))
                await queue.enqueue_many([payload(number) for number in many])
            full = server.counters().memory
            costs = await Calls(broker, client, waiting).all()
        before, cpu = script_us(client), server.counters().cpu
        words = ["--url", server.url, "--jobs", str(waiting + USED), "--enough", str(jobs)]
        said = await anyio.to_thread.run_sync(lambda: call(PROGRAMS["streamq"], "work", *words))
        spent, cpu = script_us(client) - before, server.counters().cpu - cpu
    if said["missing"]:
        raise RuntimeError(f"{state.name}: {said['missing']:,} of {jobs:,} jobs did not run")
    return Costs(
        state=state,
        round=round_number,
        rate=rate(said),
        cpu=per_job(cpu, said["runs"]),
        job=spent / said["runs"],
        bytes=(full - made) / waiting,
        bytes_beside=(made - nothing) / beside if beside else 0.0,
        **costs,
    )


async def measure_all(options: argparse.Namespace) -> Results:
    """Round by round, so that a noisy minute hits every state alike."""
    with Server(find(options.server)) as server:
        facts = machine.facts(server.name)
        await measure(State(), server, jobs=100, round_number=0)  # scripts are loaded
        costs = []
        for round_number in range(1, options.rounds + 1):
            for state in _states(options.most):
                costs.append(await measure(state, server, jobs=options.jobs, round_number=round_number))
                _say(f"round {round_number}: {state.name:20} {costs[-1].rate:,.0f} jobs/s")
    return Results(made=f"{datetime.now(UTC):%Y-%m-%d %H:%M}", machine=facts, jobs=options.jobs, costs=costs)


def _states(most: int) -> list[State]:
    """Each with so many of a thing at most, and none twice."""
    bounded = (State(*(min(many, most) for many in msgspec.structs.astuple(state))) for state in STATES)
    return list(dict.fromkeys(bounded))


# --- telling --------------------------------------------------------------------------------------


def best(costs: Sequence[Costs]) -> dict[str, float]:
    """The least of each figure over all rounds; of jobs a second the most."""
    rows = [msgspec.structs.asdict(one) for one in costs]
    return {name: (max if name == "rate" else min)(row[name] for row in rows) for name in HEADS}


def dearer(name: str, one: float, empty: float) -> float:
    """How many times what it costs beside nothing: over 1 is dearer, of jobs a second too."""
    return empty / max(1e-9, one) if name == "rate" else one / max(1e-9, empty)


def render(results: Results) -> str:
    """The table."""
    states = list(dict.fromkeys(one.state for one in results.costs))
    by_state = {state: best([one for one in results.costs if one.state == state]) for state in states}
    empty = by_state[states[0]]
    rows = [["beside", *HEADS.values()]]
    for state, row in by_state.items():
        rows.append([state.name, *(f"{row[name]:,.0f}" for name in HEADS)])
        if row is not empty:
            ratios = [dearer(name, row[name], empty[name]) for name in HEADS]
            rows.append(["", *(f"{ratio:.2f} ×{'!' if ratio > LIMIT else ' '}" for ratio in ratios)])
    head = (
        f"{results.jobs:,} jobs by one worker, concurrency {AT_ONCE}; server us; ×: as dear as beside nothing"
        f" else, ! over {LIMIT}"
    )
    parts = [
        f"{results.made} UTC: " + ", ".join(f"{key} {value}" for key, value in results.machine.items()),
        head,
        "",
        *table.aligned(rows),
        "",
    ]
    for state in states:
        least = min(one.bytes_beside for one in results.costs if one.state == state)
        if least:
            parts.append(f"each of the {state.name} takes {least:,.0f} bytes")
    renew = WorkerOptions().renew
    for state, row in by_state.items():
        if state.dead_workers:
            share = state.dead_workers * row["heartbeat"] / 1e6 / renew
            living = f"{state.dead_workers:,} living workers"
            parts.append(f"hearts of {living}, every {renew:g} s: {share:.2%} of the server")
    return "\n".join(parts) + "\n"


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.growth",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--jobs", type=int, default=4_000, help="that the worker runs in each state")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--most", type=int, default=1_000_000, help="of anything, in any state")
    parser.add_argument("--server", default="valkey", help="valkey (bundled), redis (on PATH) or a program")
    parser.add_argument("--out", type=Path, help="write the results here (JSON)")
    parser.add_argument("--keep", action="store_true", help="write them to bench/results/DATE-growth.json")
    parser.add_argument("--show", type=Path, help="measure nothing: print the table of this file")
    options = parser.parse_args(argv)
    if options.show:
        results = msgspec.json.decode(options.show.read_bytes(), type=Results)
    else:
        results = anyio.run(measure_all, options)
        out = RESULTS / f"{datetime.now(UTC):%Y-%m-%d}-growth.json" if options.keep else options.out
        if out is not None:
            out.write_bytes(msgspec.json.format(msgspec.json.encode(results), indent=1) + b"\n")
            _say(f"written to {out}")
    print(render(results))
    return 0


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
