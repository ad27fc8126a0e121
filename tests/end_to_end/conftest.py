from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from sentinel.embedded import EmbeddedRedis
from tests.support.servers import find_valkey


@pytest.fixture
def redis_port(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[int]:
    """The loopback port of an empty Redis, for programs that know hosts and ports only."""
    program = find_valkey()
    if program is None:
        pytest.skip("Valkey (bundled) was not found")
    request.node.user_properties.append(("server", "valkey"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with EmbeddedRedis(tmp_path / "redis", binary=program, appendonly=False, port=port):
        yield port
