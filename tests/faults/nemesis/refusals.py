"""What the server may answer instead of doing what it was asked: every code at every call, each once.

A worker and a producer are behind the proxy, which answers one command with the code; then everything must go on
by itself, or end with a clear refusal where waiting would not help.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Final

import anyio
import msgspec

from sentinel.embedded import EmbeddedRedis
from streamq import Handlers, Job, Queue, RedisBroker, Worker, WorkerOptions
from streamq.errors import BrokerRefused, BrokerUnavailable, StreamqError
from tests.faults.nemesis import crew
from tests.faults.nemesis.crew import RETRY
from tests.faults.nemesis.proxy import Action, Proxy

#: Codes as servers word them, and whether waiting may help.
CODES: Final = {
    "LOADING Redis is loading the dataset in memory": True,
    "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.": True,
    "READONLY You can't write against a read only replica.": True,
    "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.": True,
    "NOREPLICAS Not enough good replicas to write.": True,
    "MISCONF Errors writing to the AOF file: No space left on device": True,
    "OOM command not allowed when used memory > 'maxmemory'.": True,
    "CLUSTERDOWN The cluster is down": True,
    "TRYAGAIN Multiple keys request during rehashing of slot": True,
    "NOSCRIPT No matching script. Please use EVAL.": True,
    "NOGROUP No such key 'x' or consumer group 'workers' in XREADGROUP with GROUP option": True,
    "UNBLOCKED the stream key no longer exists": True,
    "NOAUTH Authentication required.": False,
    "NOPERM User default has no permissions to run the 'evalsha' command": False,
    "WRONGPASS invalid username-password pair or user is disabled.": False,
    "ERR max number of clients reached": True,
}
#: Where calls are made in the life of a worker and its producer.
SITES: Final = ("enqueue", "turn", "XREADGROUP", "renew", "groups", "stats", "retire")
#: What a server cannot answer there: these run no script, and these know of no group.
_NEVER: Final = {
    ("NOSCRIPT", "XREADGROUP"),
    ("NOGROUP", "enqueue"),
    ("NOGROUP", "groups"),
}
#: Jobs of one life: done, failing once, delayed.
_JOBS = 3


class Cell(msgspec.Struct, frozen=True):
    """One code at one call."""

    code: str
    site: str
    #: goes on, refused (by BrokerRefused), or what went wrong.
    came_to: str

    @property
    def good(self) -> bool:
        return self.came_to in ("goes on", "refused")


async def _life(server: EmbeddedRedis, text: str, site: str, stream: str) -> Cell:  # noqa: C901 - one clause per end
    code = text.partition(" ")[0]
    hit = [0]

    def decide(_: int, name: str) -> Action:
        if name != site or hit[0]:
            return "pass"
        hit[0] = 1
        return f"-{text}\r\n".encode()

    ran: set[int] = set()
    handlers = Handlers()

    @handlers.on(stream, int, concurrency=2, retry=RETRY)
    async def run(job: Job[int]) -> None:
        if job.payload == 1 and job.attempt == 1:
            raise crew.Kicked
        ran.add(job.payload)

    proxy = Proxy(str(server.socket), decide)
    try:
        with anyio.fail_after(20):
            async with RedisBroker.from_url(proxy.url) as broker:
                queue = Queue(stream, broker)
                for number in range(_JOBS):
                    await _enqueued(queue, number)
                options = WorkerOptions(lease=1.0, renew=0.05, burst_wait=1.0)
                await Worker(broker, handlers, options=options).run(handle_signals=False)
    except* BrokerRefused:
        came_to = "refused"
    except* (StreamqError, TimeoutError) as group:
        came_to = f"ended: {_words(group)}"
    except* Exception as group:  # noqa: BLE001 - that is what is looked for
        came_to = f"crashed: {_words(group)}"
    else:
        missing = _JOBS - len(ran)
        came_to = f"{missing} jobs not done" if missing else "goes on" if hit[0] else "not called"
    finally:
        proxy.close()
    helps = CODES[text]
    if came_to == "refused" and helps:
        came_to = "gave up, though waiting helps"
    return Cell(code, site, came_to)


async def _enqueued(queue: Queue, number: int) -> None:
    """As a producer does that is told to come again: the same job id."""
    for _ in range(5):
        try:
            await queue.enqueue(number, job_id=f"{queue.stream}-{number}", delay=0.05 if number == 2 else 0.0)
        except BrokerRefused:
            raise
        except StreamqError:
            continue
        return
    raise BrokerUnavailable


def _words(group: BaseExceptionGroup[BaseException]) -> str:
    first = group.exceptions[0]
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    return f"{type(first).__name__}: {first}"[:80]


async def refuse(server: EmbeddedRedis, codes: Sequence[str], sites: Sequence[str]) -> list[Cell]:
    """Every code of the first words `codes` at every one of `sites`."""
    texts = [text for text in CODES if text.partition(" ")[0] in codes]
    cells = []
    for number, (text, site) in enumerate((text, site) for text in texts for site in sites):
        if (text.partition(" ")[0], site) in _NEVER:
            continue
        for life in range(3):  # one may end before it makes that call
            cell = await _life(server, text, site, f"refused-{number}-{life}")
            if cell.came_to != "not called":
                break
        cells.append(cell)
    return cells


def matrix(cells: Sequence[Cell]) -> str:
    """Codes down, calls across."""
    sites = list(dict.fromkeys(cell.site for cell in cells))
    by_place = defaultdict(lambda: "-", {(cell.code, cell.site): cell.came_to for cell in cells})
    codes = list(dict.fromkeys(cell.code for cell in cells))
    width = max(map(len, [*codes, "code"]))
    across = [max(len(site), *(len(by_place[code, site]) for code in codes)) for site in sites]
    lines = ["  ".join([" " * width, *(site.ljust(wide) for site, wide in zip(sites, across, strict=True))])]
    for code in codes:
        words = (by_place[code, site].ljust(wide) for site, wide in zip(sites, across, strict=True))
        lines.append("  ".join([code.ljust(width), *words]))
    return "\n".join(line.rstrip() for line in lines)
