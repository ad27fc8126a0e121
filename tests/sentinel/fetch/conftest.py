"""What the fetch tests stand on: a server, public names that lead to it, fetchers."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from sentinel.fetch.fetcher import Fetcher
from sentinel.fetch.guard import NetworkPolicy
from sentinel.fetch.http import Limits
from tests.sentinel.fetch.world import OTHER_PUBLIC, PUBLIC, Names, Switchboard
from tests.support.http import Site


@pytest.fixture
def names() -> Names:
    names = Names()
    for name in ("shop.example.org", "example.com"):
        names.set(name, [PUBLIC])
    names.set("other.example.com", [OTHER_PUBLIC])
    return names


@pytest.fixture
def switchboard(site: Site) -> Switchboard:
    """Both public addresses lead to `site`."""
    switchboard = Switchboard()
    switchboard.connect(PUBLIC, site.port)
    switchboard.connect(OTHER_PUBLIC, site.port)
    return switchboard


@pytest.fixture
async def fetcher(names: Names, switchboard: Switchboard) -> AsyncIterator[Fetcher]:
    """Strict, on the small internet: http://shop.example.org/ is `site`."""
    async with Fetcher(NetworkPolicy(), resolve=names, backend=switchboard) as fetcher:
        yield fetcher


@pytest.fixture
async def inner_fetcher() -> AsyncIterator[Fetcher]:
    """Allowed to reach private networks, so `site.url` itself, with limits a test reaches quickly."""
    limits = Limits(wire_bytes=256 * 1024, decoded_bytes=2 * 1024 * 1024, read_seconds=5.0)
    async with Fetcher(NetworkPolicy(allow_private=True), limits) as fetcher:
        yield fetcher
