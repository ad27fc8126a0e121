from __future__ import annotations

from tests.end_to_end.conftest import redis_port

__all__ = ["redis_port"]
