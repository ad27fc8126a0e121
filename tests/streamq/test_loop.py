"""The event loop that a worker program is run on."""

from __future__ import annotations

import asyncio
import importlib.util

import pytest

from streamq import loop


async def _loop_of_this() -> str:
    return type(asyncio.get_running_loop()).__module__


def test_a_worker_runs_on_uvloop_where_it_is_installed() -> None:
    pytest.importorskip("uvloop")
    assert loop.run(_loop_of_this).startswith("uvloop")


def test_without_uvloop_it_runs_on_asyncios_own(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(loop, "find_spec", lambda name: None if name == "uvloop" else find(name))
    assert loop.run(_loop_of_this).startswith("asyncio")
