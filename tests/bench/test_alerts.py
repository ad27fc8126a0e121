"""The bench of alerts runs, and says of both beginnings how long a change took."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from bench import alerts


def test_every_change_arrives_and_both_rows_are_printed(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    out = tmp_path / "times.json"

    assert alerts.main(["--changes", "3", "--out", str(out)]) == 0

    printed = capsys.readouterr().out
    assert "3 changes, each to one webhook" in printed
    assert "page served to accepted" in printed
    assert "check asked to accepted" in printed
    times = msgspec.json.decode(out.read_bytes(), type=alerts.Times)
    assert len(times.seen) == len(times.asked) == 3
    # Whoever asked did so before the page was served.
    assert all(0 < seen < asked for seen, asked in zip(times.seen, times.asked, strict=True))
