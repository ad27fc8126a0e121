"""The bench runs, counts what ran, and tells it right; how fast anything is, no test asks."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import msgspec
import pytest

from bench import aims, summary
from bench.__main__ import main
from bench.engines.face import Tally, payloads
from bench.fleet import PROGRAMS, ROOT, EngineFailed, Program, call
from bench.measure import Measure, Results
from bench.picture import NoPictureError, draw, panels
from bench.scenarios import SCENARIOS
from bench.table import best, render
from tests.support import servers

NAMES = {"streamq": "streamq", "bullmq": "BullMQ", "raw": "limit"}


def results(*measures: Measure) -> Results:
    return Results(
        made="2026-11-24 07:00", form="short", machine={"cores": 2}, engines={}, measures=list(measures)
    )


def drained(engine: str, rate: float | None, **more: object) -> Measure:
    facts = {"scenario": "drain-10", "engine": engine, "round": 1, "jobs": 1000, "rate": rate}
    return msgspec.convert({"missing": 0, "twice": 0, **facts, **more}, Measure)


def row(text: str, start: str) -> list[str]:
    """The cells of a table's line, by wide gaps."""
    line = next(line.strip() for line in text.splitlines() if line.strip().startswith(start))
    return [cell.strip() for cell in line.split("  ") if cell.strip()]


# --- measuring ------------------------------------------------------------------------------------


@pytest.mark.skipif(servers.find_valkey() is None, reason="there is no Valkey here")
def test_every_scenario_runs_on_streamq_and_on_the_raw_loop_and_every_job_ran_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "results.json"

    scenarios = ["drain", "enqueue", "memory", "kept", "processes-2", "appendonly", "backlog-1000"]

    code = main(
        [*scenarios, "--engines", "streamq,raw", "--jobs", "200", "--rounds", "1", "--out", str(file)]
    )

    kept = msgspec.json.decode(file.read_bytes(), type=Results)
    assert (code, [one.trouble for one in kept.measures if one.trouble]) == (0, [])
    ran = {(one.scenario, one.engine) for one in kept.measures}
    measured = {name for name in SCENARIOS if name.startswith(tuple(scenarios)) and name != "backlog-100000"}
    assert ran == {
        (scenario, engine) for scenario in measured - {"backlog-1000000"} for engine in ("streamq", "raw")
    }
    drains = [one for one in kept.measures if one.scenario.startswith("drain")]
    assert [(one.missing, one.twice) for one in drains] == [(0, 0)] * 4
    assert all(one.rate and one.process_us and one.commands and one.reads for one in drains)
    assert all(one.bytes and one.bytes > 100 for one in kept.measures if one.scenario == "memory")
    assert set(kept.engines["raw"]["versions"]) >= {"redis", "hiredis", "python"}
    assert "streamq" in capsys.readouterr().out


@pytest.mark.skipif(servers.find_valkey() is None, reason="there is no Valkey here")
def test_a_drain_that_does_not_end_in_time_tells_how_many_jobs_had_not_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "results.json"
    words = ["drain-10", "--engines", "raw", "--jobs", "5000", "--rounds", "1", "--deadline", "0.01"]

    code = main([*words, "--out", str(file)])

    (one,) = msgspec.json.decode(file.read_bytes(), type=Results).measures
    assert (code, one.rate) == (1, None)
    assert one.missing
    assert f"{one.missing:,} jobs had not run" in capsys.readouterr().out


def test_a_job_that_ran_twice_and_one_that_never_ran_are_counted() -> None:
    sent = [payload["ruleId"] for payload in payloads(30)]

    async def story() -> Tally:
        tally = Tally(30)
        for rule in [*sent[:29], sent[3], sent[3], sent[5]]:
            tally.ran(rule)
        return tally

    tally = asyncio.run(story())
    said = tally.report()

    assert (said["runs"], said["missing"], said["twice"]) == (32, 1, 2)
    assert not tally.all_ran.is_set()


def test_what_runs_after_enough_have_run_is_not_measured() -> None:
    sent = [payload["ruleId"] for payload in payloads(100)]

    async def story() -> Tally:
        tally = Tally(100, enough=50)
        for rule in sent:
            tally.ran(rule)
        return tally

    said = asyncio.run(story()).report()

    assert (said["measured"], said["runs"], said["missing"]) == (45, 100, 0)


def test_the_payload_is_that_of_a_rule_and_about_130_bytes() -> None:
    (one,) = payloads(1)

    assert set(one) == {"ruleId", "trigger", "requestedAt", "debug"}
    assert 120 <= len(json.dumps(one, separators=(",", ":"))) <= 140


def test_both_languages_send_the_same_payload_and_warm_up_alike() -> None:
    node = (ROOT / "bench/engines/bullmq.mjs").read_text()
    (one,) = payloads(1)

    for value in (one["ruleId"][11:], one["trigger"], one["requestedAt"]):
        assert value in node
    for constant in (
        *("SETTLE = 0.5", "WARM_UP = 10", "BULK = 500", "RETRY_DELAY = 1.0", "PACE_AFTER = 3.0"),
        *("TELL_EVERY = 0.02", "AT_ONCE = 50"),
    ):
        assert constant in node
        assert constant in (ROOT / "bench/engines/face.py").read_text()


def test_an_engine_that_fails_is_told_in_its_own_last_words() -> None:
    broken = Program("broken", "broken", ("sh", "-c", "echo first >&2; echo 'no such module' >&2; exit 3"))

    with pytest.raises(EngineFailed, match=r"broken about \(exit 3\): no such module"):
        call(broken, "about")


def test_an_engine_that_says_nothing_readable_has_failed() -> None:
    with pytest.raises(EngineFailed, match="it said nothing"):
        call(Program("mute", "mute", ("sh", "-c", "echo hello")), "about")


def test_what_is_not_installed_or_does_not_exist_is_refused_by_name(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    absent = Program("absent", "Absent", ("sh",), needs=Path("/nowhere"))
    monkeypatch.setattr("bench.__main__.PROGRAMS", {**PROGRAMS, "absent": absent})

    for words, said in (
        (["drain-10", "--engines", "absent"], "Absent is not installed here"),
        (["drain-10", "--engines", "nobody"], "no engine 'nobody'"),
        (["swim"], "no scenario starts with 'swim'"),
    ):
        with pytest.raises(SystemExit):
            main(words)
        assert said in capsys.readouterr().err


# --- telling --------------------------------------------------------------------------------------


def test_the_best_round_counts_and_the_ratio_is_ours_to_theirs() -> None:
    told = results(
        drained("streamq", 9000.0, process_us=40.0),
        drained("streamq", 12000.0, process_us=30.04, server_us=7.0, commands=0.5, reads=0.125),
        drained("bullmq", 8000.0),
        drained("raw", 48000.0),
    )

    text = render(told, {"drain-10": "drain"}, NAMES)

    ours = ["streamq", "1,000", "12,000", "10,500", "1.00 ×", "30.0", "7.0", "0.50", "0.12", "0", "0"]
    assert row(text, "streamq") == ours
    assert row(text, "BullMQ")[:5] == ["BullMQ", "1,000", "8,000", "8,000", "1.50 ×"]
    assert row(text, "limit")[4] == "0.25 ×"
    assert "best of 2" in text


def test_jobs_lost_or_run_twice_in_any_round_are_shown_and_a_round_without_figures_says_why() -> None:
    told = results(
        drained("streamq", 9000.0, twice=2),
        drained("streamq", 9500.0, twice=1),
        drained("bullmq", None, missing=7, trouble="7 jobs had not run after 120 s"),
    )

    text = render(told, {"drain-10": "drain"}, NAMES)

    assert row(text, "streamq")[-2:] == ["0", "3"]
    assert row(text, "BullMQ")[2:5] == ["-", "-", "-"]
    assert row(text, "BullMQ")[-2:] == ["7", "0"]
    assert "BullMQ: 7 jobs had not run after 120 s" in text


def test_memory_is_told_in_bytes_and_less_is_better() -> None:
    small, large = (
        Measure(scenario="memory", engine=engine, round=1, jobs=20_000, bytes=size)
        for engine, size in (("streamq", 150.0), ("bullmq", 600.0))
    )

    text = render(results(small, large), {"memory": "memory"}, NAMES)

    assert row(text, "streamq") == ["streamq", "20,000", "150", "1.00 ×"]
    assert row(text, "BullMQ") == ["BullMQ", "20,000", "600", "0.25 ×"]
    assert best([large, small]) is small


def test_a_results_file_is_shown_without_measuring(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "kept.json"
    file.write_bytes(msgspec.json.encode(results(drained("streamq", 1234.0), drained("raw", 2468.0))))

    code = main(["--show", str(file)])

    assert code == 0
    assert row(capsys.readouterr().out, "raw loop")[4] == "0.50 ×"


# --- the picture ----------------------------------------------------------------------------------


def test_the_picture_shows_every_engine_the_best_first_and_what_failed_last() -> None:
    found = results(
        drained("raw", 900.0),
        drained("bullmq", None, missing=3, trouble="3 jobs did not run"),
        drained("streamq", 300.0),
        drained("streamq", 400.0, round=2),
    )

    (panel,) = panels(found, {"drain-10": "drain", "idle": "not measured"}, NAMES)

    assert (panel["title"], panel["less"]) == ("drain", False)
    assert [(bar["name"], bar["value"], bar["label"], bar["role"]) for bar in panel["bars"]] == [
        ("limit", 900.0, "900 jobs/s", "limit"),
        ("streamq", 400.0, "400 jobs/s", "ours"),
        ("BullMQ", None, "3 not run", "theirs"),
    ]


def test_where_there_is_no_matplotlib_the_picture_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.picture.PYTHON", tmp_path / "none")
    with pytest.raises(NoPictureError, match=r"\./dev bench"):
        draw(results(drained("streamq", 300.0)), {"drain-10": "drain"}, NAMES, tmp_path / "out.svg")


# --- aims -----------------------------------------------------------------------------------------


def test_aims_are_told_beside_the_best_run_and_what_was_not_measured_is_left_out() -> None:
    found = results(
        drained("streamq", 30_000.0, server_us=14.5),
        drained("streamq", 20_000.0, round=2),
        drained("bullmq", 10_000.0),
        drained("saq", None),
    )

    told = [line.split() for line in aims.render(found).splitlines()]

    assert ["drain-10", "jobs/s", "≥", "25,000", "30,000", "met"] in told
    assert ["drain-10", "×", "BullMQ", "(Node)", "≥", "1.5", "3", "met"] in told
    assert ["drain-10", "server", "µs", "≤", "12", "14.5", "not", "met"] in told
    assert {line[0] for line in told[2:]} == {"drain-10"}


def test_a_file_that_is_not_there_or_no_results_is_named_and_nothing_is_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "other.json").write_text("{}")
    for name in ("none.json", "other.json"):
        assert main(["--show", str(tmp_path / name)]) == 2
        told = capsys.readouterr()
        assert (told.out, "cannot show it" in told.err) == ("", True)


# --- the page -------------------------------------------------------------------------------------


def test_the_table_for_a_page_has_streamq_first_and_says_what_went_wrong() -> None:
    found = results(
        drained("raw", 900.0),
        drained("bullmq", 1500.0),
        drained("streamq", 1000.0),
        Measure(scenario="killed", engine="streamq", round=1, jobs=10, seconds=13.4, missing=0),
        Measure(scenario="killed", engine="bullmq", round=1, jobs=10, missing=3, trouble="3 jobs"),
    )

    assert summary.render(found, NAMES).splitlines() == [
        "|  | drain, 10 at once | all ran after SIGKILL |",
        "| --- | --: | --: |",
        "| **streamq** | 1,000/s | 13 s |",
        "| BullMQ | 1,500/s | 3 not run |",
        "| limit | 900/s |  |",
    ]
