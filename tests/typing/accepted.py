"""What users may write: mypy has nothing to say of it (test_types.py)."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from streamq import (
    Admin,
    DeadLetter,
    Handlers,
    Hooks,
    Job,
    JobOptions,
    Limit,
    Queue,
    Receipt,
    RedisBroker,
    Retry,
    Snooze,
    SyncQueue,
    Worker,
    WorkerOptions,
)
from streamq.testing import MemoryBroker, drain


class Resize(msgspec.Struct, frozen=True):
    url: str
    width: int


handlers = Handlers()


@handlers.on("images", Resize, concurrency=5, retry=Retry(delays=(30, 120), jitter=0.1), timeout=60)
async def resize(job: Job[Resize]) -> None:
    if job.payload.width > 4000:
        raise DeadLetter("too_wide")
    if not job.payload.url:
        raise Snooze(10)


@handlers.on("thumbnails", Resize, max_result=4096)
def in_a_thread(job: Job[Resize]) -> str:
    return f"{job.id} {job.fence} {job.payload.url}"


@handlers.on("anything", dict)
async def anything(job: Job[dict[str, object]]) -> Mapping[str, object]:
    return job.payload


async def produce(broker: RedisBroker | MemoryBroker) -> Receipt:
    queue = Queue("images", broker, durability="replicas:1")
    options: JobOptions = {"lane": "high", "unique": "a.png@640"}
    await queue.enqueue_many([Resize("a.png", 1), {"url": "b.png", "width": 2}], **options)
    limit = Limit("tenant-7", running=3, rate=0.5)
    await queue.enqueue(b"{}", at=1767225600.0, limit=limit, headers={"a": "b"}, durability="fsync")
    return await queue.enqueue(Resize("a.png", 640), delay=30, unique="k", replace=True, max_wait=60)


def produce_in_a_view(broker: RedisBroker) -> bool:
    queue = SyncQueue("images", broker, observer=print)
    queue.enqueue_jobs([], partition=1)
    return queue.enqueue(Resize("a.png", 640), job_id="1", retry=Retry(delays=(1,)), timeout=5).created


async def work(broker: RedisBroker) -> int:
    hooks = Hooks(on_dead=lambda ended: print(ended.job_id))
    options = WorkerOptions(lease=10, renew=3, max_jobs=1000)
    result = await Worker(broker, handlers, options=options, observers=[hooks]).run()
    thumbnail = (await Admin(broker, ["thumbnails"]).find("1")).result(str)
    return result.handed_back + len(thumbnail)


async def test_of_a_user() -> None:
    broker = MemoryBroker()
    await produce(broker)
    assert (await drain(broker, handlers)).dead == ()
