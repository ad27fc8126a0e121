"""`python -m tests.faults peers`: other queues under kills. Loss is seen where there is one, and told of nobody else."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from bench.fleet import PROGRAMS, Program
from tests.faults.__main__ import main
from tests.faults.nemesis import peers, report
from tests.support.servers import find_valkey

needs_valkey = pytest.mark.skipif(find_valkey() is None, reason="no Valkey was found")


@pytest.fixture(autouse=True)
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the tables go: not beside those of whole runs."""
    monkeypatch.setattr(report, "RESULTS", tmp_path)
    return tmp_path


@needs_valkey
def test_jobs_that_nobody_gives_back_are_counted_and_would_be_a_fault_of_streamq(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # The raw loop never looks at what another worker has read.
    monkeypatch.setitem(PROGRAMS, "streamq", PROGRAMS["raw"])
    monkeypatch.setattr(peers, "TAKES", 0.5)  # a batch is hardly over between the look and the kill

    words = ["peers", "--engines", "streamq", "--jobs", "60", "--kills", "2", "--patience", "1"]
    assert main(words) == 1

    printed = capsys.readouterr().out
    assert "BROKEN" in printed
    figures = re.search(r" (\d+) not ended, +0 twice, all done after > +1 s .* 2 kills hit (\d+)", printed)
    assert figures, printed
    lost, hit = map(int, figures.groups())
    assert lost >= hit > 0


@needs_valkey
def test_a_worker_of_streamq_is_killed_and_all_its_jobs_end(
    kept: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["peers", "--engines", "streamq", "--jobs", "60", "--kills", "1"]) == 0

    printed = capsys.readouterr().out
    assert " 0 not ended" in printed
    assert "60 jobs, 1 kills hit" in printed
    assert "lease of 10 s" in printed
    (file,) = kept.iterdir()
    assert file.name.endswith("-faults-peers.txt")
    assert printed.strip() in file.read_text()


@needs_valkey
def test_an_engine_that_is_not_installed_is_left_out_and_one_that_does_not_run_is_told_of(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    broken = (sys.executable, "-c", "raise SystemExit('it has a bad day')")
    monkeypatch.setitem(PROGRAMS, "saq", Program("saq", "SAQ", broken))
    monkeypatch.setitem(PROGRAMS, "arq", Program("arq", "arq", broken, needs=tmp_path / "nowhere"))

    assert main(["peers", "--engines", "saq,arq"]) == 0  # what becomes of others is told, not judged

    printed, said = capsys.readouterr()
    assert "did not run: saq enqueue (exit 1): it has a bad day" in printed
    assert "arq is not installed here: left out" in said
    assert "arq" not in printed


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["peers", "--engines", "streamq,sidekiq"], "there is no engine sidekiq; there are streamq,"),
        (["pears"], "there is no part pears; there are storm,"),
        (["peers", "--patience", "long"], "argument --patience: invalid float value: 'long'"),
    ],
)
def test_what_is_not_known_is_refused_by_name(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)

    assert ended.value.code == 2
    assert said in capsys.readouterr().err


def test_the_help_names_the_part_and_every_engine_of_the_bench(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])

    assert ended.value.code == 0
    engines = PROGRAMS.keys() - {"raw"}
    assert engines == peers.BY_DEFAULT.keys()
    words = "".join(capsys.readouterr().out.split())  # argparse breaks lines where it likes
    assert "peers" in words
    assert ",".join(peers.BY_DEFAULT) in words
