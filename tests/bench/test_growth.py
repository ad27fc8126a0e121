"""The bench of costs as they grow makes its states, and tells what grows."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from bench import growth
from bench.growth import Costs, Results, State
from tests.support import servers


@pytest.mark.skipif(servers.find_valkey() is None, reason="there is no Valkey here")
def test_every_state_is_made_and_each_call_in_it_is_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(growth, "BATCHES", 1)
    monkeypatch.setattr(growth, "CALLS", 2)
    monkeypatch.setattr(growth, "USED", 40)
    monkeypatch.setattr(
        growth, "STATES", (State(), State(ready=30, delayed=30, held=30, dead_workers=30, foreign_keys=30))
    )
    file = tmp_path / "growth.json"

    assert growth.main(["--jobs", "50", "--rounds", "1", "--most", "5", "--out", str(file)]) == 0

    printed = capsys.readouterr().out
    kept = msgspec.json.decode(file.read_bytes(), type=Results)
    assert [one.state for one in kept.costs] == [State(), State(5, 5, 5, 5, 5)]
    for one in kept.costs:
        figures = [getattr(one, name) for name in growth.HEADS]
        assert all(figure > 0 for figure in figures), one
    assert [one.bytes_beside > 0 for one in kept.costs] == [False, True]
    assert growth.main(["--show", str(file)]) == 0
    assert capsys.readouterr().out == printed


def costs(state: State, of_round: int, *, rate: float = 1, sweep: float = 1, heartbeat: float = 1) -> Costs:
    return Costs(
        state=state, round=of_round, rate=rate, cpu=1, job=1, turn=1, enqueue=1, heartbeat=heartbeat, reclaim=1,
        sweep=sweep, stats=1, bytes=1, bytes_beside=0,
    )  # fmt: skip


def test_what_as_many_living_workers_would_cost_is_told() -> None:
    crowd = State(dead_workers=1_000)
    rows = [costs(State(), 1), costs(crowd, 1, heartbeat=600), costs(crowd, 2, heartbeat=300)]

    text = growth.render(Results(made="2026-11-24 07:00", machine={"cores": 2}, jobs=100, costs=rows))

    assert "hearts of 1,000 living workers, every 3 s: 10.00% of the server\n" in text


def test_what_is_a_third_dearer_than_beside_nothing_is_marked_and_the_best_round_counts() -> None:
    held = State(held=10)
    text = growth.render(
        Results(
            made="2026-11-24 07:00",
            machine={"cores": 2},
            jobs=100,
            costs=[
                costs(State(), 1, rate=900, sweep=20),
                costs(held, 1, rate=500, sweep=50),
                costs(State(), 2, rate=1000, sweep=30),
                costs(held, 2, rate=800, sweep=40),
            ],
        )
    )

    (ratios,) = (line.replace(" ×", "×").split() for line in text.splitlines() if line.count("×") > 3)
    assert (ratios[0], ratios[7], ratios[8]) == ("1.25×", "2.00×!", "1.00×")
