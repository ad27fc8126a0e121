"""What users must not write: each line that says so is refused by mypy with that code, and no other (test_types.py)."""

from __future__ import annotations

import msgspec

from streamq import Admin, Handlers, Job, Limit, Queue, RedisBroker, Retry, SyncQueue, Worker, WorkerOptions


class Resize(msgspec.Struct, frozen=True):
    url: str
    width: int


class Other(msgspec.Struct, frozen=True):
    name: str


handlers = Handlers()


@handlers.on("images", Resize)  # E: arg-type
async def of_another_type(job: Job[Other]) -> None:
    print(job.payload.name)


@handlers.on("thumbnails", Resize, concurency=5)  # E: call-arg
async def misspelt(job: Job[Resize]) -> None:
    print(job.payload.height)  # E: attr-defined


async def produce(broker: RedisBroker) -> None:
    queue = Queue("images", broker)
    await queue.enqueue(Resize("a", 1), uniqe="k")  # E: call-arg
    await queue.enqueue(Resize("a", 1), lane="urgent")  # E: arg-type
    await queue.enqueue(Resize("a", 1), delay="30")  # E: arg-type
    await queue.enqueue(Resize("a", 1), limit="tenant-7")  # E: arg-type
    await queue.enqueue_many([Resize("a", 1)], retry=3)  # E: arg-type
    await queue.enqueue_many(5)  # E: arg-type
    print(queue.enqueue(Resize("a", 1)).created)  # E: attr-defined
    Limit("tenant-7", runing=3)  # E: call-arg
    Retry(delays=30)  # E: arg-type


def produce_in_a_view(broker: RedisBroker) -> None:
    queue = SyncQueue("images", broker)
    queue.enqueue(Resize("a", 1), headers={"n": 1})  # E: dict-item
    queue.enqueue(Resize("a", 1), call_id="x")  # E: call-arg


async def work(broker: RedisBroker) -> None:
    await Worker(handlers, broker).run()  # E: arg-type
    Worker(broker, handlers, options=WorkerOptions(lease="10s"))  # E: arg-type
    wide: int = (await Admin(broker, ["images"]).find("1")).result(str)  # E: assignment
    print(wide)
