from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.scratch import DISK


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """Not where the others lie: a credential's file may not be under /dev."""
    with tempfile.TemporaryDirectory(prefix="sq-", dir=DISK) as name:
        yield Path(name)
