"""What runs beside a worker goes on after a cancellation that nobody asked for, and ends by one that was."""

from __future__ import annotations

import asyncio
import math

import anyio
import pytest

from sentinel import lasting as module
from sentinel.lasting import lasting


async def test_a_cancellation_by_nobody_is_told_and_what_ran_is_begun_anew(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PAUSE", 0.0)
    begun, again = 0, anyio.Event()

    async def relay() -> None:
        nonlocal begun
        begun += 1
        if begun == 1:
            raise asyncio.CancelledError
        if begun == 2:
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
        else:
            again.set()
        await anyio.sleep(math.inf)

    with anyio.fail_after(10):
        async with anyio.create_task_group() as beside:
            beside.start_soon(lasting, relay)
            await again.wait()
            assert not beside.cancel_scope.cancel_called
            beside.cancel_scope.cancel()
    assert begun == 3, "and our own cancellation ended it"
    assert [record.message for record in caplog.records] == ["cancelled_by_nobody"] * 2
    assert "relay" in caplog.records[0].__dict__["what"]


async def test_what_ends_or_fails_by_itself_is_not_begun_anew() -> None:
    async def burst() -> None:
        return

    async def broken() -> None:
        raise ValueError("a bug")

    await lasting(burst)
    with pytest.raises(ValueError, match="a bug"):
        await lasting(broken)
