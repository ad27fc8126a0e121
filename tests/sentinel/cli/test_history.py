"""A rule's history as a list, a difference, a picture and a file, on real SQLite."""

from __future__ import annotations

import csv
import io
import json
import struct
from collections.abc import Callable
from pathlib import Path
from shutil import rmtree
from typing import Any

import anyio
import pytest

from sentinel.cli.chart import chart_of, in_terminal
from sentinel.cli.exits import Exit
from sentinel.decide import judge, judge_failure, normalise
from sentinel.model import Extracted, TextValue
from sentinel.store import Observation, RunResult, Store
from sentinel.store.blobs import FileBlobs
from tests.end_to_end.shapes import checked
from tests.sentinel.cli.conftest import Run

HOUR = 3600.0
#: 2026-01-01 00:00 UTC.
BEGAN = 1_767_225_600.0
RULES = """
channels: [{id: ops, type: console}]
rules:
  - id: price
    url: https://example.com/
    type: price
    extraction: {method: css, selector: .p}
    alertPolicy: {channels: [ops], conditions: [{id: cheap, type: price_below, value: 15}]}
  - {id: stock, url: https://example.com/, type: availability, extraction: {method: css, selector: .s}}
  - {id: text, url: https://example.com/, type: text, extraction: {method: text}}
  - {id: data, url: https://example.com/, type: json_field, extraction: {method: jsonpath, selector: $}}
"""

Check = Callable[..., None]


@pytest.fixture
def check(run: Run, tmp_path: Path, environ: dict[str, str]) -> Check:
    """Have a rule read these texts, one an hour from 2026 on; a text that is an error code fails."""
    (tmp_path / "rules.yaml").write_text(RULES)
    assert run("rules", "import", str(tmp_path / "rules.yaml")).code == Exit.DONE

    async def story(rule_id: str, reads: tuple[str, ...]) -> None:
        async with Store.open(f"sqlite:///{environ['SENTINEL_STATE_DIR']}/sentinel.db") as store:
            for number, read in enumerate(reads):
                now = BEGAN + number * HOUR
                stored = await store.rule(rule_id)
                raw, result = read, RunResult()
                if read.startswith("FETCH_"):
                    verdict = judge_failure(stored.rule, stored.state, read, "", now=now)
                    raw, result = "", RunResult(error_code=read)
                else:
                    value = normalise(Extracted(raw=read), stored.rule.normal).value
                    verdict = judge(stored.rule, stored.state, read, value, now=now)
                ticket = await store.begin_run(rule_id, f"{rule_id}{number}", number + 1, "schedule", now)
                await store.finish_run(
                    ticket, result, verdict, raw, expected_state_version=stored.state.version, now=now
                )

    return lambda rule_id, *reads: anyio.run(story, rule_id, reads)


def runs(run: Run, rule_id: str) -> list[str]:
    """Ids of its runs, oldest first."""
    return [line["run_id"] for line in reversed(run("history", rule_id, "--json").lines)]


class TestList:
    def test_since_and_until_are_bounds_and_newest_comes_first(self, run: Run, check: Check) -> None:
        check("price", "20 EUR", "FETCH_TIMEOUT", "19 EUR", "18 EUR", "17 EUR")

        lines = run(
            "history", "price", "--json", "--since", "2026-01-01T01:00:00Z", "--until", "2026-01-01T04:00:00Z"
        ).lines

        assert [line["value"] and line["value"]["amount"] for line in lines] == ["18", "19", None]
        assert run("history", "price", "--json", "--since", "1h").out == ""
        assert run("history", "price", "--since", "soon").code == Exit.USAGE

    def test_more_than_a_page_comes_in_order_and_whole(
        self, run: Run, check: Check, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("sentinel.cli.entries.PAGE", 3)
        check("price", *("FETCH_TIMEOUT" if n % 4 == 1 else f"{n + 1} EUR" for n in range(11)))

        lines = run("history", "price", "--json").lines

        assert [line["at"] for line in lines] == sorted((line["at"] for line in lines), reverse=True)
        assert len(lines) == 11
        assert sum(line["error_code"] is not None for line in lines) == 3
        assert len(run("history", "price", "--json", "--limit", "7").lines) == 7

    def test_the_next_page_begins_behind_the_last_line_and_every_line_is_on_one(
        self, run: Run, check: Check
    ) -> None:
        check("price", *("FETCH_TIMEOUT" if n % 3 == 1 else f"{n + 1} EUR" for n in range(8)))
        whole = run("history", "price", "--json").lines

        paged = run("history", "price", "--json", "--limit", "3").lines
        while len(
            more := run("history", "price", "--json", "--limit", "3", "--before", paged[-1]["cursor"]).lines
        ):
            paged += more

        assert paged == whole
        assert len(whole) == 8
        assert f"older ones: --before {whole[2]['cursor']}\n" in run("history", "price", "--limit", "3").err
        assert "older" not in run("history", "price").err

    @pytest.mark.parametrize("cursor", ["", "42", "1.2_3", "x_-", "1.2_-\n", "9" * 17 + ".1_-", "-1.1_-"])
    def test_a_cursor_that_is_none_is_told_with_where_to_find_one(
        self, run: Run, check: Check, cursor: str
    ) -> None:
        check("price", "20 EUR")
        told = run("history", "price", f"--before={cursor}")
        assert told.code == Exit.USAGE
        assert "take the `cursor` of the last line" in " ".join(told.err.replace("│", " ").split())


class TestDiff:
    def test_texts_differ_word_by_word_with_colours_on_a_terminal_only(self, run: Run, check: Check) -> None:
        check("text", "Return within 30 days.", "Return within 14 days.\x1b[2J")
        first, second = runs(run, "text")

        plain = run("history", "text", "--diff", first, second)
        shown = run("history", "text", "--diff", first, second, terminal=True)

        assert "Return within [-30-]{+14+} days." in plain.out
        assert "\x1b" not in plain.out
        assert "\x1b[31m[-30-]\x1b[0m\x1b[32m{+14+}\x1b[0m" in shown.out
        assert "\x1b[2J" not in shown.out

    def test_lists_differ_row_by_row(self, run: Run, check: Check) -> None:
        rows = [
            [{"id": "a", "price": 1}, {"id": "b", "price": 2}],
            [{"id": "a", "price": 3}, {"id": "c", "price": 2}],
        ]
        check("data", *map(json.dumps, rows))
        first, second = runs(run, "data")

        shown = run("history", "data", "--diff", first, second).out
        (document,) = run("history", "data", "--diff", first, second, "--json").lines

        assert "  ~ a  price: 1 -> 3" in shown
        assert "  + c  " in shown
        assert "  - b  " in shown
        assert (document["rows"]["changed"], document["rows"]["added"], document["rows"]["removed"]) == (
            1,
            1,
            1,
        )

    def test_the_same_has_no_difference_and_what_is_no_run_is_told(self, run: Run, check: Check) -> None:
        check("price", "20 EUR", "20 EUR", "FETCH_TIMEOUT")
        first, second, failed = runs(run, "price")

        assert "no difference" in run("history", "price", "--diff", first, second).out
        assert run("history", "price", "--diff", first, failed).code == Exit.NOT_FOUND
        assert run("history", "price", "--diff", first, "999999").code == Exit.NOT_FOUND
        assert run("history", "price", "--diff", first, "newest").code == Exit.USAGE
        assert run("history", "text", "--diff", first, second).code == Exit.NOT_FOUND


class TestPlot:
    def test_numbers_are_a_line_with_marks_and_gaps(self, run: Run, check: Check) -> None:
        check("price", "20 EUR", "18 EUR", "FETCH_TIMEOUT", "18 EUR", "12 EUR", "12 EUR")

        lines = run("history", "price", "--plot").out.splitlines()

        assert lines[0] == "price"
        assert lines[1].split()[1] == "EUR"
        assert all(any("⠀" < sign <= "⣿" for sign in line) for line in (lines[2], lines[11]))
        marks = lines[13]
        assert [sign for sign in marks if sign in "▲·x"] == ["·", "x", "▲"]
        assert "2026-01-01 00:00" in lines[14]
        assert "2026-01-01 05:00" in lines[14]

    def test_states_are_a_band_each(self, run: Run, check: Check) -> None:
        check("stock", "In stock", "In stock", "Sold out", "FETCH_TIMEOUT", "Sold out", "In stock")

        lines = run("history", "stock", "--plot").out.splitlines()

        assert [line.split()[0] for line in lines[1:3]] == ["in", "out"]
        assert lines[1].index("█") < lines[2].index("█")

    def test_a_picture_is_a_png_of_its_size(self, run: Run, check: Check, tmp_path: Path) -> None:
        check("price", "20 EUR", "FETCH_TIMEOUT", "12 EUR")
        out = tmp_path / "price.png"

        assert run("history", "price", "--plot", "--out", str(out)).code == Exit.DONE

        head = out.read_bytes()[:24]
        assert head[:8] == b"\x89PNG\r\n\x1a\n"
        assert struct.unpack(">II", head[16:24]) == (1200, 480)

    @pytest.mark.parametrize(
        "reads", [["5 EUR"], ["FETCH_TIMEOUT"], ["5 EUR", "5 EUR"], ["0 EUR", "FETCH_DNS"]]
    )
    def test_little_is_drawn_too(self, run: Run, check: Check, reads: list[str], tmp_path: Path) -> None:
        check("price", *reads)

        assert run("history", "price", "--plot").code == Exit.DONE
        assert run("history", "price", "--plot", "-o", str(tmp_path / "p.png")).code == Exit.DONE

    def test_nothing_is_told(self, run: Run, check: Check) -> None:
        assert "no checks yet" in run("history", "price", "--plot").err

    def test_many_states_share_the_last_row(self) -> None:
        seen = [
            Observation(
                run_id=n, rule_id="r", at=float(n), raw=None, confirmed=True,
                value=TextValue(text=f"state {n % 20}\n", hash=str(n)),
            )
            for n in range(100)
        ]  # fmt: skip

        chart = chart_of("r", seen, [])

        assert len(chart.states) == 8
        assert chart.states[-1] == "(others)"
        assert all(len(line) <= 60 for line in in_terminal(chart, columns=60))


class TestExport:
    def test_csv_is_a_table_without_formulas(self, run: Run, check: Check) -> None:
        check("text", "=HYPERLINK(1)", "plain, with a comma")
        check("price", "-5 EUR", "FETCH_TIMEOUT")

        text = list(csv.DictReader(io.StringIO(run("history", "text", "--export", "csv").out)))
        price = list(csv.DictReader(io.StringIO(run("history", "price", "--export", "csv").out)))

        assert [row["value"] for row in text] == ["plain, with a comma", "'=HYPERLINK(1)"]
        assert text[1]["raw"].startswith("'=")
        assert [(row["value"], row["error_code"]) for row in price] == [("", "FETCH_TIMEOUT"), ("-5", "")]

    def test_both_forms_go_to_files_beside_each_other(self, run: Run, check: Check, tmp_path: Path) -> None:
        check("price", "20 EUR", "18 EUR")

        result = run("history", "price", "--export", "csv,jsonl", "--out", str(tmp_path / "prices"))

        assert result.code == Exit.DONE
        assert len((tmp_path / "prices.csv").read_text().splitlines()) == 3
        lines: list[Any] = [json.loads(line) for line in (tmp_path / "prices.jsonl").read_text().splitlines()]
        assert lines == run("history", "price", "--json").lines

    def test_wrong_calls_are_told(self, run: Run, check: Check) -> None:
        for wrong in (
            ["--export", "xls"], ["--export", "csv,jsonl"], ["--out", "x"], ["--plot", "--export", "csv"],
        ):  # fmt: skip
            assert run("history", "price", *wrong).code == Exit.USAGE


class TestKept:
    """How a check was made, and what was kept of it."""

    @pytest.fixture
    def drawn(self, run: Run, check: Check, environ: dict[str, str]) -> str:
        """The number of a run by a browser with its page, and pictures of page and element."""
        check("price", "20 EUR")

        async def keep() -> str:
            folder = Path(environ["SENTINEL_STATE_DIR"])
            blobs = FileBlobs(folder / "blobs", limit=1 << 20)
            async with Store.open(f"sqlite:///{folder}/sentinel.db") as store:
                stored = await store.rule("price")
                value = normalise(Extracted(raw="18 EUR"), stored.rule.normal).value
                now = BEGAN + HOUR
                ticket = await store.begin_run("price", "drawn", 9, "schedule", now)
                result = RunResult(
                    mode="headless",
                    fallback_reason="an empty shell: little text and much script",
                    body_blob=await blobs.put(b"<p>18 EUR</p>", "body"),
                    screenshot_blob=await blobs.put(b"\x89PNG page", "screenshot"),
                    element_blob=await blobs.put(b"\xff\xd8\xff element", "screenshot"),
                )
                verdict = judge(stored.rule, stored.state, "18 EUR", value, now=now)
                await store.finish_run(
                    ticket, result, verdict, "18 EUR", expected_state_version=stored.state.version, now=now
                )
            return str(ticket.run_id)

        return anyio.run(keep)

    def test_the_list_says_by_which_way_why_and_what_was_kept(self, run: Run, drawn: str) -> None:
        newest, first = run("history", "price", "--json").lines

        assert (newest["run_id"], newest["mode"]) == (drawn, "headless")
        assert newest["fallback_reason"] == "an empty shell: little text and much script"
        assert (newest["has_screenshot"], newest["has_body"]) == (True, True)
        assert (first["mode"], first["has_screenshot"], first["has_body"]) == (None, False, False)
        assert (
            "headless (an empty shell: little text and much script), page, picture"
            in run("history", "price").out
        )

    def test_pictures_and_page_are_written_as_files(
        self, run: Run, drawn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)

        told = run("history", "price", "--screenshot", drawn, "--json")
        assert told.code == Exit.DONE
        assert {checked(line) for line in told.lines} == {"sentinel.kept/1"}
        assert [(line["kind"], line["path"]) for line in told.lines] == [
            ("screenshot", f"price-{drawn}.png"),
            ("screenshot-element", f"price-{drawn}-element.jpg"),
        ]
        assert (tmp_path / f"price-{drawn}.png").read_bytes() == b"\x89PNG page"

        assert run("history", "price", "--body", drawn).code == Exit.DONE
        assert (tmp_path / f"price-{drawn}.html").read_bytes() == b"<p>18 EUR</p>"
        assert run("history", "price", "--body", drawn, "--out", "kept.txt").code == Exit.DONE
        assert (tmp_path / "kept.txt").read_bytes() == b"<p>18 EUR</p>"

    def test_what_was_not_kept_is_told_with_what_is(
        self, run: Run, drawn: str, environ: dict[str, str]
    ) -> None:
        first = run("history", "price", "--json").lines[-1]["run_id"]
        for option, hint in (("--screenshot", "screenshotOnChange"), ("--body", "checks that failed")):
            told = run("history", "price", option, first)
            assert (told.code, hint in told.err) == (Exit.NOT_FOUND, True)
        assert run("history", "price", "--body", "999").code == Exit.NOT_FOUND
        assert run("history", "stock", "--body", drawn).code == Exit.NOT_FOUND  # another rule's
        assert run("history", "price", "--body", "x").code == Exit.USAGE
        assert run("history", "price", "--body", drawn, "--plot").code == Exit.USAGE

        rmtree(Path(environ["SENTINEL_STATE_DIR"]) / "blobs")
        assert "is gone" in run("history", "price", "--body", drawn).err
