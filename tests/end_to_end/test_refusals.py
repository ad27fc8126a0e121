"""What a worker does not start on."""

from __future__ import annotations

from pathlib import Path

from tests.end_to_end.programs import Program
from tests.support.servers import OwnServers


def test_a_worker_refuses_a_redis_that_may_delete_jobs_unless_told_to(
    own_server: OwnServers, tmp_path: Path
) -> None:
    server = own_server(appendonly=False, config={"maxmemory-policy": "allkeys-lru"})
    program = Program(tmp_path, {"REDIS_URL": server.url})

    refused = program.here("run", "--burst", code=3)
    Program(tmp_path, program.environ | {"STREAMQ_ALLOW_EVICTION": "true"}).here("run", "--burst")

    assert "allkeys-lru" in refused.err
    assert "noeviction" in refused.err
