"""What a person who types something wrong reads: what it was, which one, and what now."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sentinel.cli.exits import Exit
from tests.sentinel.cli.conftest import Run

MODULE = [sys.executable, "-m", "sentinel.cli.main"]
RULE = """
rules:
  - {id: a, url: "https://shop.example.com/x", type: price, extraction: {method: css, selector: ".p"}}
"""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["enqueue", "rules:run", "{}", "--at", "yesterday"], "Invalid value for '--at': 'yesterday' is not a time"),
        (["enqueue", "rules:run", "{}", "--lane", "top"], "Invalid value for '--lane': 'top' is not one of"),
        (["enqueue", "jobs", "{}", "--limit", "k"], "Invalid value: --limit 'k' limits nothing: it needs --running N"),
        (["enqueue", "jobs", "{}", "--limit", "", "--running", "1"], "Invalid value: a limit's key has 1 to 512"),
        (["enqueue", "jobs", "{}", "--running", "3"], "Invalid value: --running is said of a key: --limit KEY is"),
        (["enqueue", "jobs", "{}", "--rate", "3/s"], "Invalid value: --rate is said of a key: --limit KEY is"),
        (["enqueue", "jobs", "{}", "--limit", "k", "--running", "0"], "Invalid value for '--running': Input should be greater"),
        (["enqueue", "jobs", "{}", "--limit", "k", "--rate", "fast"], "Invalid value for '--rate': 'fast' is not a rate"),
        (["enqueue", "jobs", "{}", "--limit", "k", "--rate", "9999999/s"], "Invalid value: rate=9999999.0 of key 'k' is"),
        (["enqueue", "jobs", "{}", "--limit", "k", "--running", "1", "--burst", "2"], "Invalid value: --burst is said of"),
        (["enqueue", "jobs", "{}", "--replace"], "Invalid value: --replace is said of a uniqueness key: --unique KEY"),
        (["enqueue", "jobs", "{}", "--unique", "k", "--replace", "--unique-for", "1h"], "Invalid value: --replace and"),
        (["enqueue", "jobs", "{}", "--unique", "k", "--max-wait", "1h"], "Invalid value: --max-wait is said of what is"),
        (["enqueue", "jobs", "{}", "--durability", "raid"], "Invalid value for '--durability': durability is none, repl"),
        (["dead", "list", "--since", "soon"], "Invalid value for '--since': 'soon' is not a time"),
        (["dead", "list", "--until", "soon"], "Invalid value for '--until': 'soon' is not a time"),
        (["dead", "list", "--match", "x"], "Invalid value for '--match': 'x' is not field=value"),
        (["stats", "--fail-if", "full"], "Invalid value for '--fail-if': 'full' is not such as 'oldest>60s'"),
        (["stats", "--fail-if", "dead>x"], "Invalid value for '--fail-if': 'x' is not a duration"),
        (["rules", "test", "a", "--mode", "x"], "Invalid value for '--mode': 'x' is none of http, headless, auto"),
    ],
)  # fmt: skip
def test_a_wrong_option_is_named_with_its_value(run: Run, arguments: list[str], said: str) -> None:
    result = run(*arguments)

    assert (result.code, result.out) == (Exit.USAGE, "")
    assert result.err.splitlines()[0].startswith(f"error: {said}")


@pytest.mark.parametrize(
    ("arguments", "command"),
    [(["pending", "--stream"], "pending"), (["dead", "list", "--limit"], "dead list"), (["--nosuch"], "")],
)
def test_the_hint_of_a_missing_value_is_the_command_s_help(
    run: Run, arguments: list[str], command: str
) -> None:
    result = run(*arguments)

    assert result.code == Exit.USAGE
    assert result.err.splitlines()[-1] == " ".join(f"hint: sentinel-worker {command} --help".split())


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "rules.yaml cannot be read: No such file or directory"),
        (b"", "there is nothing in it (fields are workspace, channels, rules ...)"),
        (b"\xff\xfe", "rules.yaml is not UTF-8 (byte 0) (save it as UTF-8)"),
    ],
)
def test_a_file_that_is_wrong_as_a_whole_is_told_without_a_path_into_it(
    run: Run, tmp_path: Path, content: bytes | None, said: str
) -> None:
    file = tmp_path / "rules.yaml"
    if content is not None:
        file.write_bytes(content)

    result = run("rules", "import", str(file))

    assert result.code == Exit.FAILED
    assert result.err.replace(f"{tmp_path}/", "").splitlines()[-2] == f"error: {said}"


def test_rules_on_stdin_that_are_not_utf_8_are_told_so(run: Run) -> None:
    result = run("rules", "import", "-", stdin="rules: \udcff")

    assert result.code == Exit.FAILED
    assert "error: the text is not UTF-8 (save it as UTF-8)" in result.err


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["rules", "show", "x"], "sentinel-worker rules list shows what there is"),
        (["history", "x"], "sentinel-worker rules list shows what there is"),
        (["alerts", "show", "x"], "sentinel-worker alerts list shows what there is"),
    ],
)
def test_what_is_not_there_comes_with_the_way_to_what_is(run: Run, arguments: list[str], hint: str) -> None:
    result = run(*arguments)

    assert result.code == Exit.NOT_FOUND
    assert result.err.splitlines()[-1] == f"hint: {hint}"


def test_deleting_without_a_terminal_names_no_option_that_is_not_there(run: Run) -> None:
    run("rules", "import", "-", stdin=RULE)

    result = run("rules", "delete", "a")

    assert result.code == Exit.UNCONFIRMED
    assert result.err.splitlines()[-1] == "hint: rules disable keeps what they know"


def test_an_empty_database_is_told_once_what_to_do_with_it(run: Run, tmp_path: Path) -> None:
    result = run("rules", "list", "--database-url", f"sqlite:///{tmp_path}/new.db")

    assert result.code == Exit.DATABASE
    assert result.err.count("migrate") == 1
    assert "config show" in result.err


def test_the_home_of_nobody_is_a_wrong_setting(run: Run) -> None:
    result = run("rules", "list", "--state-dir", "~nobody-is-called-so/x")

    assert result.code == Exit.USAGE
    assert result.err.startswith("error: SENTINEL_STATE_DIR ")


def test_a_password_in_an_address_is_not_printed_back(run: Run) -> None:
    for json in ([], ["--json"]):
        result = run("fetch", "http://me:hunter2@127.0.0.1/", *json)

        assert result.code == Exit.FAILED
        assert "http://me:***@127.0.0.1/" in result.out
        assert "hunter2" not in result.out + result.err


def test_an_argument_that_is_not_utf_8_is_told_so(run: Run) -> None:
    for arguments in (["rules", "show", "\udcff"], ["fetch", "http://\udcff/", "--json"]):
        result = run(*arguments)

        assert result.code == Exit.USAGE
        assert "error: an argument or a line of input is not UTF-8 text" in result.err


@pytest.mark.parametrize(
    ("redirection", "code", "said"),
    [
        (">&-", 0, ""),
        ("<&- 2>&-", 0, ""),
        (">/dev/full", 1, "error: No space left on device"),
    ],
)
def test_streams_that_are_closed_or_full_end_no_command_in_a_strange_way(
    environ: dict[str, str], redirection: str, code: int, said: str
) -> None:
    done = subprocess.run(
        ["/bin/sh", "-c", f'exec "$@" {redirection}', "sh", *MODULE, "config", "show"],
        capture_output=True, text=True, check=False, timeout=60,
        env=os.environ | environ,
    )  # fmt: skip

    assert (done.returncode, done.stderr.strip()) == (code, said)
