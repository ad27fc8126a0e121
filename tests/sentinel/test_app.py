"""What is built around the worker, where a real process would be a long way round."""

from __future__ import annotations

from sentinel.app import outbox_waits
from sentinel.store import Store
from streamq.clock import SystemClock


async def test_a_burst_goes_on_while_the_database_is_away(free_tcp_port: int) -> None:
    """It has not said that nothing is left; ending there would cancel checks that run."""
    async with Store.open(f"postgresql://nobody@127.0.0.1:{free_tcp_port}/none") as store:
        assert await outbox_waits(store, SystemClock())


async def test_a_burst_may_end_when_the_outbox_is_empty(store: Store) -> None:
    assert not await outbox_waits(store, SystemClock())
