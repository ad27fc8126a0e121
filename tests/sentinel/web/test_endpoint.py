from __future__ import annotations

import asyncio
import contextlib
import shutil
import time
from collections.abc import AsyncIterator, Callable

import anyio
import httpx
import pytest
from prometheus_client import CollectorRegistry, generate_latest

from sentinel.errors import StoreUnavailable
from sentinel.events import AlertRecorded, ChangeConfirmed, DeliveryEnded, RunEnded
from sentinel.model import Health
from sentinel.web import endpoint
from sentinel.web.endpoint import MAX_CONNECTIONS, Check, Pages, serving
from sentinel.web.metrics import RuleGauges, SentinelMetrics

HEALTH = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"


class Worker:
    """What the pages are told about."""

    redis = Check(ok=True)
    broken = False
    hung = False
    #: Checks that hang, until `go`.
    hanging = 0
    #: What is asked has a timeout of its own, which runs out in the moment of the endpoint's.
    late = False
    was_late = False
    failure: Exception | None = None
    page = b"# metrics\n"

    def __init__(self) -> None:
        self.go = anyio.Event()

    async def metrics(self) -> bytes:
        if self.broken:
            raise RuntimeError("a collector failed")
        await self._wait()
        return self.page

    async def _wait(self) -> None:
        if self.hung:
            self.hanging += 1
            await self.go.wait()
        if self.late:
            deadline = anyio.current_effective_deadline()
            loop = asyncio.get_running_loop()
            async with asyncio.timeout(None) as timeout:
                run_out: Callable[[], None] = timeout._on_timeout  # type: ignore[attr-defined] # as the loop does
                loop.call_at(deadline + 1e-6, run_out)
                time.sleep(deadline - loop.time() + 0.01)  # noqa: ASYNC251 - both are due when the loop goes on
                self.was_late = True
                while True:  # noqa: ASYNC110 - it must be about to go on
                    await asyncio.sleep(0)

    async def check_redis(self) -> Check:
        if self.broken:
            raise RuntimeError("a check failed")
        if self.failure is not None:
            raise self.failure
        await self._wait()
        return self.redis


@pytest.fixture
def worker() -> Worker:
    return Worker()


@pytest.fixture
async def url(worker: Worker) -> AsyncIterator[str]:
    pages = Pages(metrics=worker.metrics, checks={"redis": worker.check_redis})
    async with serving(pages) as port:
        yield f"http://127.0.0.1:{port}"


async def get(url: str, method: str = "GET") -> httpx.Response:
    async with httpx.AsyncClient(timeout=20) as client:
        return await client.request(method, url)


async def send_raw(url: str, data: bytes) -> bytes:
    """Everything the endpoint says to `data`, until it closes."""
    said = b""
    async with await anyio.connect_tcp("127.0.0.1", int(url.rpartition(":")[2])) as stream:
        with anyio.fail_after(20):
            try:
                await stream.send(data)
                while True:
                    said += await stream.receive()
            except (anyio.EndOfStream, anyio.BrokenResourceError):
                return said


async def test_the_three_pages_are_served(url: str) -> None:
    metrics, health, ready = [await get(f"{url}/{page}") for page in ("metrics", "healthz", "readyz")]

    assert (metrics.status_code, metrics.text) == (200, "# metrics\n")
    assert metrics.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert (health.status_code, health.json()) == (200, {"status": "ok"})
    assert (ready.status_code, ready.json()["status"]) == (200, "ready")


async def test_not_ready_says_which_part_and_why(url: str, worker: Worker) -> None:
    worker.redis = Check(ok=False, detail="no read for 40 s")

    answer = await get(f"{url}/readyz")

    assert answer.status_code == 503
    assert answer.json() == {
        "status": "not ready",
        "checks": {"redis": {"ok": False, "detail": "no read for 40 s"}},
    }


async def test_a_check_that_hangs_is_not_ready_and_health_still_answers(url: str, worker: Worker) -> None:
    worker.hung = True

    ready, health = await get(f"{url}/readyz"), await get(f"{url}/healthz")

    assert ready.status_code == 503
    assert "no answer" in ready.json()["checks"]["redis"]["detail"]
    assert health.status_code == 200


async def test_a_page_or_check_that_fails_does_not_take_the_endpoint_down(url: str, worker: Worker) -> None:
    worker.broken = True

    metrics, ready = await get(f"{url}/metrics"), await get(f"{url}/readyz")
    health = await get(f"{url}/healthz")

    assert (metrics.status_code, ready.status_code, health.status_code) == (500, 503, 200)
    assert "collector" not in metrics.text


async def test_what_is_known_to_go_wrong_is_told_in_its_own_words(url: str, worker: Worker) -> None:
    worker.failure = StoreUnavailable("sqlite:///x.db: no such file")

    answer = await get(f"{url}/readyz")

    assert answer.status_code == 503
    assert answer.json()["checks"]["redis"]["detail"] == "sqlite:///x.db: no such file"


async def test_other_paths_and_methods_are_refused_and_a_query_is_left_aside(url: str) -> None:
    assert (await get(f"{url}/etc/passwd")).status_code == 404
    assert (await get(f"{url}/metrics", "POST")).status_code == 405
    assert (await get(f"{url}/metrics?x=1")).status_code == 200


async def test_head_has_the_length_and_no_body(url: str) -> None:
    answer = await get(f"{url}/metrics", "HEAD")

    assert (answer.status_code, answer.headers["content-length"], answer.content) == (200, "10", b"")


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 200 + b"\r\n\r\n",
        b"GET /metrics\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 20_000 + b"\r\n\r\n",
        b"\x00" * 20_000,
        b"GET /metrics HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
        b"GET \xff\xfe HTTP/1.1\r\nHost: a\r\n\r\n",
        b"\r\n" * 9000,
    ],
)
async def test_garbage_ends_its_own_connection_only(url: str, garbage: bytes) -> None:
    said = await send_raw(url, garbage)

    assert said == b"" or said.startswith(b"HTTP/1.1 4")
    assert (await get(f"{url}/healthz")).status_code == 200


async def test_connections_above_the_bound_are_closed_unread(url: str, worker: Worker) -> None:
    worker.hung = True
    async with anyio.create_task_group() as group:
        for _ in range(MAX_CONNECTIONS):
            group.start_soon(send_raw, url, b"GET /readyz HTTP/1.1\r\nHost: a\r\n\r\n")
        with anyio.fail_after(20):
            while worker.hanging < MAX_CONNECTIONS:  # noqa: ASYNC110 - of the checks' own count
                await anyio.sleep(0.001)

        assert await send_raw(url, HEALTH) == b""

        worker.hung = False
        worker.go.set()
    assert (await send_raw(url, HEALTH)).startswith(b"HTTP/1.1 200")


async def test_who_has_not_asked_makes_room_for_who_comes(url: str) -> None:
    port = int(url.rpartition(":")[2])
    async with contextlib.AsyncExitStack() as held:
        first, *others = [
            await held.enter_async_context(await anyio.connect_tcp("127.0.0.1", port))
            for _ in range(MAX_CONNECTIONS)
        ]
        await first.send(b"GET /healthz HTTP/1.1\r\n")

        said = await send_raw(url, HEALTH)

        assert said.startswith(b"HTTP/1.1 200")
        with pytest.raises((anyio.EndOfStream, anyio.BrokenResourceError)), anyio.fail_after(20):
            await first.receive()  # the longest open
        await others[-1].send(HEALTH)
        assert (await others[-1].receive()).startswith(b"HTTP/1.1 200")


async def test_a_client_that_never_asks_is_not_waited_for(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "HEAD_TIMEOUT", 0.05)

    assert await send_raw(url, b"GET /healthz HTTP/1.1\r\n") == b""


async def test_a_page_that_takes_too_long_is_told_not_cut(
    url: str, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoint, "PAGE_TIMEOUT", 0.05)
    worker.hung = True

    response = await get(f"{url}/metrics")

    assert (response.status_code, response.text) == (503, "no answer within 0.05 s\n")


async def test_a_client_that_does_not_read_is_cut_and_one_that_reads_is_not(
    url: str, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker.page = b"# " + b"x" * 8_000_000 + b"\n"  # more than the buffers between hold
    request = b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n"

    whole = await send_raw(url, request)
    monkeypatch.setattr(endpoint, "SEND_TIMEOUT", 0.05)
    async with await anyio.connect_tcp("127.0.0.1", int(url.rpartition(":")[2])) as stream:
        await stream.send(request)
        started = await stream.receive(100)
        await anyio.sleep(0.1)
        rest = len(started)
        with contextlib.suppress(anyio.EndOfStream, anyio.BrokenResourceError), anyio.fail_after(20):
            while True:
                rest += len(await stream.receive())

    assert whole.endswith(worker.page)
    assert started.startswith(b"HTTP/1.1 200")
    assert rest < len(whole)
    assert (await get(f"{url}/healthz")).status_code == 200


async def test_a_timeout_inside_in_the_moment_of_ours_ends_nothing_else(
    url: str, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """asyncio makes one cancellation of both, in the timeout's name: anyio does not know it as its own."""
    monkeypatch.setattr(endpoint, "PAGE_TIMEOUT", 0.05)
    worker.late = True

    with contextlib.suppress(httpx.RemoteProtocolError):
        await get(f"{url}/metrics")
    worker.late = False

    assert worker.was_late
    assert (await get(f"{url}/healthz")).status_code == 200


async def test_a_taken_port_is_told(url: str, worker: Worker) -> None:
    pages = Pages(metrics=worker.metrics, checks={})

    with pytest.raises(OSError, match="in use"):
        async with serving(pages, port=int(url.rpartition(":")[2])):
            pass


def test_runs_alerts_and_deliveries_are_counted_under_few_words() -> None:
    registry = CollectorRegistry()
    metrics = SentinelMetrics(registry)

    metrics(RunEnded(rule_id="r", mode="http", outcome="ok", fetch_seconds=0.2, fetch_bytes=70_000))
    metrics(RunEnded(rule_id="r", mode="http", outcome="FETCH_TIMEOUT", fetch_seconds=30.0))
    metrics(RunEnded(rule_id="r", mode="http", outcome="https://hostile.example/"))
    metrics(ChangeConfirmed(rule_id="r", kind="decreased"))
    metrics(AlertRecorded(alert_id="a", severity="warning", result="queued"))
    metrics(DeliveryEnded(alert_id="a", channel_kind="webhook", outcome="sent", seconds=1.5))

    def value(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(name, labels)

    assert value("sentinel_runs_total", mode="http", outcome="ok") == 1
    assert value("sentinel_runs_total", mode="http", outcome="FETCH_TIMEOUT") == 1
    assert value("sentinel_runs_total", mode="http", outcome="other") == 1
    assert value("sentinel_fetch_duration_seconds_count", mode="http") == 2
    assert value("sentinel_fetch_bytes_sum", mode="http") == 70_000
    assert value("sentinel_changes_total", kind="decreased") == 1
    assert value("sentinel_alerts_total", severity="warning", result="queued") == 1
    assert value("sentinel_deliveries_total", channel_kind="webhook", outcome="sent") == 1
    assert value("sentinel_delivery_seconds_bucket", channel_kind="webhook", le="2.5") == 1


async def test_rules_are_told_by_health_where_the_place_leads() -> None:
    registry = CollectorRegistry()
    leads = [True]

    async def count() -> dict[Health, int]:
        return {"ok": 7, "broken": 1}

    gauges = RuleGauges(registry, count, leads=lambda: leads[0])
    await gauges.refresh()

    found = {
        h: registry.get_sample_value("sentinel_rules", {"health": h}) for h in ("ok", "degraded", "broken")
    }
    assert found == {"ok": 7, "degraded": 0, "broken": 1}


async def test_promtool_accepts_every_name() -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("no promtool found")
    registry = CollectorRegistry()
    metrics = SentinelMetrics(registry)
    metrics(RunEnded(rule_id="r", mode="http", outcome="ok", fetch_seconds=0.2, fetch_bytes=70_000))
    metrics(DeliveryEnded(alert_id="a", channel_kind="webhook", outcome="sent", seconds=1.5))

    with anyio.fail_after(60):
        checked = await anyio.run_process(
            [promtool, "check", "metrics"], input=generate_latest(registry), check=False
        )

    assert (checked.returncode, checked.stdout + checked.stderr) == (0, b"")
