"""What holds for every command: options, errors, exit codes, output, logging."""

from __future__ import annotations

import io
import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from sentinel import errors as sentinel_errors
from sentinel.cli import logs
from sentinel.cli.exits import CommandError, Exit, ending_of
from sentinel.cli.main import COMMANDS, FLAGS, WITH_VALUE, hoist, load
from sentinel.cli.output import Output, printable
from sentinel.cli.values import brief, duration, iso, moment, pair
from streamq import errors as streamq_errors
from tests.sentinel.cli.conftest import Run, Terminal

MODULE = [sys.executable, "-m", "sentinel.cli.main"]


class TestGlobalOptions:
    @pytest.mark.parametrize(
        ("given", "hoisted"),
        [
            (["stats", "--json"], ["--json", "stats"]),
            (["--json", "stats"], ["--json", "stats"]),
            (
                ["stats", "--redis-url", "redis://h", "--watch", "2"],
                ["--redis-url", "redis://h", "stats", "--watch", "2"],
            ),
            (["stats", "--redis-url=redis://h"], ["--redis-url=redis://h", "stats"]),
            (["rules", "list", "--json", "--quiet"], ["--json", "--quiet", "rules", "list"]),
            (["enqueue", "s", "--", "--json"], ["enqueue", "s", "--", "--json"]),
            (["fetch", "-"], ["fetch", "-"]),
        ],
    )
    def test_they_may_stand_anywhere(self, given: list[str], hoisted: list[str]) -> None:
        assert hoist(given) == hoisted

    def test_one_without_its_value_is_a_usage_error_and_swallows_nothing(self, run: Run) -> None:
        result = run("config", "show", "--redis-url")

        assert result.code == Exit.USAGE
        assert result.err.startswith("error: --redis-url needs a value\nhint: ")

    def test_a_flag_wins_over_the_environment(self, run: Run) -> None:
        result = run(
            "--redis-url", "redis://flag", "config", "show", "--json", env={"REDIS_URL": "redis://env"}
        )

        settings = {s["name"]: s for s in result.lines[0]["settings"]}
        assert settings["REDIS_URL"]["value"] == "redis://flag"
        assert settings["REDIS_URL"]["source"] == "flag"
        assert settings["SENTINEL_JSON"]["source"] == "flag"

    def test_the_config_file_is_read_from_a_flag_or_the_environment(self, run: Run, tmp_path: Path) -> None:
        config = tmp_path / "c.toml"
        config.write_text("worker_concurrency_rules = 77\n")

        by_flag = run("config", "show", "--config", str(config))
        by_environment = run("config", "show", env={"SENTINEL_CONFIG": str(config)})

        assert "77" in by_flag.out
        assert "77" in by_environment.out

    def test_config_show_tells_where_wrong_settings_were_said(self, run: Run, tmp_path: Path) -> None:
        config = tmp_path / "c.toml"
        config.write_text("worker_concurrency_rules = 77\n")
        wrong = {
            "REDIS_URL": "redis+magic://:hunter2@h",
            "REDIS_HOST": "me:hunter2@h",
            "WORKER_CONCURRENCY_ALERTS": "many",
        }

        result = run("config", "show", "--json", "--config", str(config), env=wrong)

        assert result.code == Exit.USAGE
        rows = {line.split()[0]: line.split() for line in result.out.splitlines()}
        assert rows["WORKER_CONCURRENCY_RULES"][1:] == ["config", "77"]
        assert all(rows[name][1:] == ["environment", "***", "(wrong)"] for name in wrong)
        assert len(result.err.splitlines()) == len(wrong)
        assert "hunter2" not in result.out + result.err

    def test_every_command_s_own_options_are_none_of_the_global_ones(self) -> None:
        for name in COMMANDS:
            command = load(name)
            for one in (command, *getattr(command, "commands", {}).values()):
                own = {option for param in one.params for option in param.opts}
                assert not own & (FLAGS | WITH_VALUE), name


class TestHelp:
    def test_every_command_loads_and_its_help_line_is_the_table_s(self) -> None:
        for name, (_, line) in COMMANDS.items():
            assert load(name).help.splitlines()[0].split("\n")[0].startswith(line.rstrip(".")), name

    def test_help_imports_neither_redis_nor_sql(self) -> None:
        code = (
            "import sys; from sentinel.cli.main import main; main(['--help']);"
            "print([m for m in ('redis', 'sqlalchemy', 'httpx', 'prometheus_client') if m in sys.modules])"
        )

        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
        )

        assert done.stdout.splitlines()[-1] == "[]"

    def test_a_typo_is_a_usage_error_with_a_guess(self, run: Run) -> None:
        result = run("stast")

        assert (result.code, result.out) == (Exit.USAGE, "")
        assert "Did you mean 'stats'?" in result.err
        assert "hint: sentinel-worker --help" in result.err

    def test_no_command_shows_the_help_and_is_a_usage_error(self, run: Run) -> None:
        result = run()

        assert result.code == Exit.USAGE
        assert "Commands:" in result.err


class TestErrors:
    @pytest.mark.parametrize(
        ("error", "code"),
        [
            (sentinel_errors.SettingsError(["X is wrong"]), 2),
            (sentinel_errors.RuleFileError([]), 1),
            (sentinel_errors.NotFound(), 5),
            (sentinel_errors.StoreUnavailable(), 4),
            (sentinel_errors.SchemaNotCurrent(), 4),
            (sentinel_errors.EmbeddedRedisFailed(), 3),
            (streamq_errors.BrokerUnavailable(), 3),
            (streamq_errors.BrokerRefused(), 3),
            (streamq_errors.BrokerFull(), 3),
            (streamq_errors.JobNotFound(), 5),
            (streamq_errors.UnknownStream(), 2),
            (CommandError(Exit.UNCONFIRMED, "no"), 6),
            (ExceptionGroup("many", [streamq_errors.BrokerUnavailable()]), 3),
            (ZeroDivisionError(), 1),
        ],
    )
    def test_each_error_has_its_exit_code(self, error: Exception, code: int) -> None:
        assert ending_of(error).code == code

    def test_all_bad_settings_are_named_at_once_and_no_secret(self, run: Run) -> None:
        result = run("stats", env={"REDIS_URL": "hunter2", "WORKER_CONCURRENCY_RULES": "x"})

        assert result.code == Exit.USAGE
        assert result.err.count("error: ") == 2
        assert result.err.count("hint: ") == 1
        assert "hunter2" not in result.err

    def test_an_unreachable_redis_is_code_3_and_its_password_is_not_shown(self, run: Run) -> None:
        result = run("stats", "--redis-url", "redis://:hunter2@127.0.0.1:1", "--verbose")

        assert result.code == Exit.REDIS
        assert "Traceback" in result.err
        assert "hunter2" not in result.err

    def test_no_traceback_without_verbose(self, run: Run) -> None:
        result = run("stats", "--redis-url", "redis://127.0.0.1:1")

        assert (result.code, result.out) == (Exit.REDIS, "")
        assert result.err.splitlines()[0].startswith("error: ")
        assert result.err.splitlines()[1].startswith("hint: ")
        assert "Traceback" not in result.err


class TestAsAProcess:
    def test_the_exit_code_reaches_the_shell(self, environ: dict[str, str]) -> None:
        done = subprocess.run(
            [*MODULE, "stats", "--redis-url", "redis://127.0.0.1:1"],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            env=os.environ | environ,
        )

        assert (done.returncode, done.stdout) == (3, "")

    def test_a_closed_pipe_ends_it_without_a_word(self, environ: dict[str, str]) -> None:
        reader, writer = os.pipe()
        os.close(reader)

        done = subprocess.run(
            [*MODULE, "config", "show"], stdout=writer, stderr=subprocess.PIPE, check=False, timeout=60,
            env=os.environ | environ | {"PYTHONUNBUFFERED": ""},
        )  # fmt: skip
        os.close(writer)

        assert done.stderr == b""
        assert done.returncode == 1


class TestValues:
    @pytest.mark.parametrize(
        ("text", "seconds"),
        [
            ("30s", 30),
            ("5m", 300),
            ("1h30m", 5400),
            ("2d", 172_800),
            ("250ms", 0.25),
            ("90", 90),
            ("1.5h", 5400),
        ],
    )
    def test_durations_are_read(self, text: str, seconds: float) -> None:
        assert duration(text) == seconds

    @pytest.mark.parametrize("text", ["", "s", "5x", "-3s", "5 m", "1h30", "nan", "1e3"])
    def test_what_is_no_duration_is_refused(self, text: str) -> None:
        with pytest.raises(typer.BadParameter):
            duration(text)

    def test_moments_without_an_offset_are_utc_and_come_back_as_iso(self) -> None:
        assert iso(moment("2026-01-31T12:00:00")) == "2026-01-31T12:00:00.000Z"
        assert iso(moment("2026-01-31T13:00:00+01:00")) == "2026-01-31T12:00:00.000Z"
        with pytest.raises(typer.BadParameter):
            moment("yesterday")

    def test_pairs_split_at_the_first_sign(self) -> None:
        assert pair("a.b=c=d") == ("a.b", "c=d")
        with pytest.raises(typer.BadParameter):
            pair("abc")

    @pytest.mark.parametrize(
        ("seconds", "shown"),
        [(None, "-"), (0.25, "250ms"), (4.9, "4s"), (200.0, "3m"), (9000.0, "2h"), (4e5, "4d")],
    )
    def test_durations_are_brief(self, seconds: float | None, shown: str) -> None:
        assert brief(seconds) == shown


class TestOutput:
    def test_control_characters_of_others_are_shown_and_not_obeyed(self) -> None:
        assert printable("a\x1b[31mb\x9bc\u202ed") == "a\\x1b[31mb\\x9bc\\u202ed"

    def test_a_row_fits_the_terminal_and_is_whole_elsewhere(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("COLUMNS", "40")
        terminal, file = Terminal(), io.StringIO()

        for stream in (terminal, file):
            Output(stream, io.StringIO(), color=False).table(("A", "TEXT"), [("x", "y" * 100)])

        assert max(map(len, terminal.getvalue().splitlines())) == 40
        assert "y" * 100 in file.getvalue()

    def test_one_long_cell_does_not_push_away_the_columns_of_other_rows(self) -> None:
        terminal, file = Terminal(), io.StringIO()

        for stream in (terminal, file):
            rows = [("j" * 500, "dead", "why"), ("short", "dead", "why")]
            Output(stream, io.StringIO(), color=False).table(("ID", "STATE", "WHY"), rows)

        shown, whole = terminal.getvalue().splitlines(), file.getvalue().splitlines()
        assert shown[2] == whole[2] == f"{'short':64}  dead   why"
        assert shown[1] == f"{'j' * 63}…  dead   why"
        assert whole[1] == f"{'j' * 500}  dead   why"

    def test_colours_are_for_terminals_that_want_them(self) -> None:
        terminal, plain, file = Terminal(), Terminal(), io.StringIO()

        Output(io.StringIO(), terminal).error(["no"])
        Output(io.StringIO(), plain, color=False).error(["no"])
        Output(io.StringIO(), file).error(["no"])

        assert "\x1b[31m" in terminal.getvalue()
        assert "\x1b" not in plain.getvalue() + file.getvalue()


class TestLogging:
    @pytest.fixture
    def record(self) -> logging.LogRecord:
        record = logging.LogRecord("streamq.worker", logging.INFO, "f", 1, "job_done", (), None)
        record.__dict__ |= {"job_id": "j1", "payload": "hunter2", "password": "hunter2", "seconds": 0.25}
        record.__dict__ |= {"where": "redis://:hunter2@h/0", "why": 'a "b"'}
        return record

    def test_json_has_the_event_and_its_fields_without_secrets(self, record: logging.LogRecord) -> None:
        line = json.loads(logs.JsonFormatter().format(record))

        assert (line["event"], line["level"], line["job_id"], line["seconds"]) == (
            "job_done",
            "info",
            "j1",
            0.25,
        )
        assert line["where"] == "redis://:***@h/0"
        assert line["at"].endswith("Z")
        assert "hunter2" not in str(line)

    def test_the_console_has_the_same_on_one_line(self, record: logging.LogRecord) -> None:
        line = logs.ConsoleFormatter().format(record)

        assert "job_done job_id=j1 payload=***" in line
        assert "seconds=0.25" in line
        assert "\n" not in line
        assert "hunter2" not in line

    def test_it_is_json_where_nobody_looks(self) -> None:
        terminal, file = Terminal(), io.StringIO()

        for stream in (terminal, file):
            logs.set_up(stream, log_format=None, level=logging.INFO)
            logging.getLogger("sentinel.test").info("hello", extra={"n": 1})

        assert "hello n=1" in terminal.getvalue()
        assert json.loads(file.getvalue())["n"] == 1
