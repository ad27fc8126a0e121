"""The bench of schedules runs on real processes, and its ticks are those of the rules."""

from __future__ import annotations

import pytest

from bench import lateness, schedule


def test_every_tick_is_told_as_a_check_or_as_missing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lateness, "GRACE", 2.0)
    found: list[lateness.Result] = []
    measure = lateness.measure
    monkeypatch.setattr(lateness, "measure", lambda asked: found.append(measure(asked)) or found[0])

    assert schedule.main(["--lateness", "--rules", "80", "--interval", "2", "--minutes", "0.04"]) == 0

    (result,) = found
    # 2.4 s: each rule ticks once, and a fifth of them twice.
    assert 80 <= result.expected <= 112
    assert 0 < result.ran <= result.expected
    assert len(result.late) == result.ran
    assert min(result.late) >= 0  # a check never begins before it is due
    printed = capsys.readouterr().out.splitlines()
    assert "80" in printed[-1]
    assert printed[-1].endswith(result.limit)


def test_a_look_is_measured_with_and_without_rules_that_are_due(capsys: pytest.CaptureFixture[str]) -> None:
    assert schedule.main(["--rules", "60", "--due", "0,20"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines[2:]] == [["0", "0"], ["20", "20"]]


def test_what_held_it_up_is_told() -> None:
    result = lateness.Result(
        rules=1, interval=1, workers=1, seconds=1.0, expected=100, ran=90, late=[0.5] * 90, rate=9.0,
        cpu_ms=1.0, memory=1.0, worker_busy=0.95, machine_busy=0.6, processors=2,
    )  # fmt: skip
    assert result.missed == 10
    assert "a worker had 95% of a processor" in result.limit
