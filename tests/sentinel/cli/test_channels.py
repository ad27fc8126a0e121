"""Channels by command, on real SQLite and real endpoints."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
import yaml
from standardwebhooks import Webhook

from sentinel.cli.exits import Exit
from tests.end_to_end.shapes import checked
from tests.sentinel.cli.conftest import Run
from tests.support.http import Reply, Site

SECRET, OTHER = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
OLD, NEW = (base64.b64encode(bytes([n]) * 32).decode() for n in (1, 2))
ALLOWED = {"SENTINEL_ALLOW_PRIVATE_NETWORKS": "true"}


@pytest.fixture
def environ(environ: dict[str, str]) -> dict[str, str]:
    return environ | ALLOWED | {"SENTINEL_SECRET_KEY": OLD}


def add(run: Run, site: Site, name: str = "ops", path: str = "/in", **options: Any) -> None:
    url = site.route(path, options.pop("reply", Reply(status=204)))
    result = run(
        "channels",
        "add",
        name,
        "--type",
        "webhook",
        "--url",
        url,
        "--secret",
        "signing_secret",
        stdin=f"{SECRET}\n",
    )
    assert result.code == Exit.DONE, result.err


class TestAdd:
    def test_a_secret_comes_from_stdin_and_is_kept_encrypted(
        self, run: Run, thread_site: Site, tmp_path: Path
    ) -> None:
        add(run, thread_site)

        (shown,) = run("channels", "show", "ops", "--json").lines
        assert shown["credentials"] == {"signing_secret": {"stored": True}}
        assert SECRET.encode() not in b"".join(
            p.read_bytes() for p in (tmp_path / "state").rglob("*") if p.is_file()
        )

    def test_a_person_is_asked_for_it(self, run: Run) -> None:
        result = run(
            "channels", "add", "ops", "--type", "webhook", "--url", "https://h.example.com/", "--secret", "signing_secret",
            stdin=f"{SECRET}\n", terminal=True,
        )  # fmt: skip

        assert result.code == Exit.DONE
        assert SECRET not in result.out + result.err

    def test_fields_and_references_are_options(self, run: Run) -> None:
        result = run(
            "channels", "add", "phone", "--type", "telegram", "--env", "bot_token=BOT_TOKEN", "--set", "chatId=-100123",  "--set", "enabled=false", "--json",
        )  # fmt: skip

        (document,) = result.lines
        assert document["credentials"] == {"bot_token": {"env": "BOT_TOKEN"}}
        assert document["options"]["chatId"] == "-100123"
        assert document["enabled"] is False

    @pytest.mark.parametrize(
        ("arguments", "stdin", "code", "says"),
        [
            (["--url", "https://h.example.com/", "--secret", "signing_secret"], "", Exit.USAGE, "a secret is missing"),
            (["--url", "https://h.example.com/", "--secret", "signing_secret"], "hunter2\n", Exit.FAILED, "signing secret"),
            (["--url", "https://h.example.com/", "--secret", "token"], "hunter2\n", Exit.FAILED, "no credential of that name"),
            (["--url", "https://h.example.com/", "--file", "signing_secret=hunter2"], "", Exit.FAILED, "absolute path"),
            (["--url", "https://h.example.com/", "--set", "hats=1"], "", Exit.FAILED, "unknown field"),
            (["--url", "https://h.example.com/", "--set", "url=1"], "", Exit.USAGE, "option of its own"),
            (["--url", "https://h.example.com/", "--env", "hunter2"], "", Exit.USAGE, "--env"),
            ([], "", Exit.FAILED, "needs a url"),
        ],
    )  # fmt: skip
    def test_what_cannot_work_is_refused(
        self, run: Run, arguments: list[str], stdin: str, code: int, says: str
    ) -> None:
        result = run("channels", "add", "ops", "--type", "webhook", *arguments, stdin=stdin)

        assert (result.code, says in result.err) == (code, True), result.err
        assert run("channels", "list", "--json").lines == []
        assert "hunter2" not in result.err.replace("'hunter2' is not field=value", "")

    def test_without_a_key_it_says_what_to_do(self, run: Run) -> None:
        result = run(
            "channels", "add", "ops", "--type", "webhook", "--url", "https://h.example.com/", "--secret", "signing_secret",
            stdin=f"{SECRET}\n", env={"SENTINEL_SECRET_KEY": ""},
        )  # fmt: skip

        assert result.code == Exit.FAILED
        assert "no SENTINEL_SECRET_KEY is set" in result.err
        assert "{env: NAME}" in result.err
        assert SECRET not in result.err

    def test_one_that_is_there_is_replaced_only_when_asked(self, run: Run, thread_site: Site) -> None:
        add(run, thread_site)
        again = ("channels", "add", "ops", "--type", "webhook", "--url", "https://h.example.com/")

        assert run(*again).code == Exit.FAILED
        assert "would be changed" in run(*again, "--replace", "--dry-run").err
        assert run(*again, "--replace").code == Exit.DONE
        assert run("channels", "list", "--json").lines[0]["credentials"] == {}

    def test_the_workspace_and_other_channels_stay_as_they_are(self, run: Run, tmp_path: Path) -> None:
        (tmp_path / "rules.yaml").write_text(
            "workspace: {id: acme, name: Acme, timezone: Europe/Bratislava}\nchannels: [{id: tty, type: console}]"
        )
        run("rules", "import", str(tmp_path / "rules.yaml"))

        run("channels", "add", "more", "--type", "console")

        exported = yaml.safe_load(run("rules", "export").out)
        assert exported["workspace"] == {"id": "acme", "name": "Acme", "timezone": "Europe/Bratislava"}
        assert [one["id"] for one in exported["channels"]] == ["more", "tty"]


class TestShow:
    def test_neither_secrets_nor_queries_are_shown(self, run: Run) -> None:
        url = "https://h.example.com/in?key=hunter2"
        run(
            "channels",
            "add",
            "ops",
            "--type",
            "webhook",
            "--url",
            url,
            "--secret",
            "signing_secret",
            stdin=SECRET,
        )

        for command in (["list"], ["list", "--json"], ["show", "ops"], ["show", "ops", "--json"]):
            result = run("channels", *command)
            assert result.code == Exit.DONE
            assert "ops" in result.out
            assert "stored" in result.out
            assert "hunter2" not in result.out + result.err
            assert "MfKQ9r8" not in result.out + result.err

    def test_an_export_is_imported_again_and_nothing_changes(
        self, run: Run, thread_site: Site, tmp_path: Path
    ) -> None:
        add(run, thread_site)
        (tmp_path / "e.yaml").write_text(run("rules", "export").out)

        (report,) = run("rules", "import", str(tmp_path / "e.yaml"), "--json").lines

        assert report["channels"]["unchanged"] == ["ops"]
        assert run("channels", "test", "ops").code == Exit.DONE

    def test_an_unknown_channel_names_the_way_to_the_known_ones(self, run: Run) -> None:
        for command in ("show", "test", "enable", "delete"):
            result = run("channels", command, "nowhere")
            assert result.code == Exit.NOT_FOUND
            assert "channels list" in result.err


class TestTry:
    def test_a_labelled_message_goes_out_signed_and_nothing_is_stored(
        self, run: Run, thread_site: Site
    ) -> None:
        add(run, thread_site)

        result = run("channels", "test", "ops", "--json")

        assert result.code == Exit.DONE
        (document,) = result.lines
        assert checked(document) == "sentinel.channel_test/1"
        assert (document["status"], document["http_status"]) == ("sent", 204)
        (request,) = thread_site.requests
        sent = Webhook(SECRET).verify(request.body, dict(request.headers))
        assert sent["type"] == "alert.test"
        assert "Test message" in sent["data"]["title"]
        assert run("alerts", "list", "--json").lines == []

    @pytest.mark.parametrize(
        ("reply", "status", "says"),
        [
            (Reply(status=404, body="no such hook"), "refused", "HTTP 404: no such hook"),
            (Reply(status=410), "gone", "HTTP 410"),
            (Reply(status=429, headers={"Retry-After": "7"}), "later", "HTTP 429"),
        ],
    )
    def test_what_the_other_side_says_is_told_with_exit_7(
        self, run: Run, thread_site: Site, reply: Reply, status: str, says: str
    ) -> None:
        add(run, thread_site, reply=reply)

        result = run("channels", "test", "ops", "--json")

        assert result.code == Exit.NO
        (document,) = result.lines
        assert (document["status"], document["detail"]) == (status, says)
        assert document["retry_after_seconds"] == (7.0 if status == "later" else None)
        assert says in run("channels", "test", "ops").out
        assert run("channels", "list", "--json").lines[0]["enabled"], "a test switches nothing off"

    def test_a_credential_that_is_not_set_is_named(self, run: Run, thread_site: Site) -> None:
        url = thread_site.route("/in", Reply())
        run("channels", "add", "ops", "--type", "webhook", "--url", url, "--env", "signing_secret=OPS_SECRET")

        result = run("channels", "test", "ops")

        assert result.code == Exit.NO
        assert "the credential signing_secret (environment variable OPS_SECRET) is not set here" in result.out
        assert thread_site.requests == []
        assert run("channels", "test", "ops", env={"OPS_SECRET": SECRET}).code == Exit.DONE

    def test_a_console_channel_writes_here(self, run: Run) -> None:
        run("channels", "add", "tty", "--type", "console")

        plain, json = run("channels", "test", "tty"), run("channels", "test", "tty", "--json")

        assert "TEST info: Test message for the channel tty" in plain.out
        assert "TEST info" in json.err
        assert json.lines[0]["status"] == "sent"

    def test_one_that_is_off_can_be_tried(self, run: Run, thread_site: Site) -> None:
        add(run, thread_site)
        run("channels", "disable", "ops")

        result = run("channels", "test", "ops")

        assert result.code == Exit.DONE
        assert "ops is off" in result.err


class TestSwitch:
    def test_off_and_on_again_keeps_the_secret(self, run: Run, thread_site: Site) -> None:
        add(run, thread_site)

        (off,) = run("channels", "disable", "ops", "--json").lines
        again = run("channels", "disable", "ops")
        (on,) = run("channels", "enable", "ops", "--json").lines

        assert (off["enabled"], on["enabled"]) == (False, True)
        assert "already off" in again.err
        assert run("channels", "test", "ops").code == Exit.DONE

    def test_deleting_asks_and_says_who_names_it(self, run: Run, thread_site: Site, tmp_path: Path) -> None:
        add(run, thread_site)
        rule = {"id": "r", "url": "https://e.example.com/", "type": "text", "extraction": {"method": "text"}}
        file = {
            "workspace": {"id": "default", "routes": [{"id": "night", "channels": ["ops"]}]},
            "channels": [{"id": "more", "type": "console", "fallback": "ops"}],
            "rules": [rule | {"alertPolicy": {"channels": ["ops"]}}],
        }
        (tmp_path / "r.yaml").write_text(yaml.safe_dump(file))
        assert run("rules", "import", str(tmp_path / "r.yaml")).code == Exit.DONE

        refused = run("channels", "delete", "ops")
        done = run("channels", "delete", "ops", "--yes", "--json")

        assert refused.code == Exit.UNCONFIRMED
        assert "named by route night, rule r, channel more" in refused.err
        assert done.lines == [
            {"schema": "sentinel.channel_deleted/1", "channel_id": "ops", "workspace_id": "default"}
        ]
        assert run("channels", "show", "ops").code == Exit.NOT_FOUND


class TestRotation:
    def test_after_it_the_new_key_alone_is_enough(self, run: Run, thread_site: Site) -> None:
        add(run, thread_site)
        both, new = {"SENTINEL_SECRET_KEY": f"{NEW},{OLD}"}, {"SENTINEL_SECRET_KEY": NEW}

        assert run("channels", "test", "ops", env=new).code == Exit.NO
        (first,) = run("channels", "rotate-key", "--json", env=both).lines
        (again,) = run("channels", "rotate-key", "--json", env=both).lines

        assert (first["encrypted_anew"], first["unchanged"]) == (1, 0)
        assert (again["encrypted_anew"], again["unchanged"]) == (0, 1)
        assert run("channels", "test", "ops", env=new).code == Exit.DONE

    def test_a_lost_key_is_told_and_nothing_is_lost(self, run: Run, thread_site: Site) -> None:
        add(run, thread_site)

        result = run("channels", "rotate-key", "--json", env={"SENTINEL_SECRET_KEY": NEW})

        assert result.code == Exit.FAILED
        unreadable = {"workspace_id": "default", "channel_id": "ops", "credential": "signing_secret"}
        assert result.lines[0]["unreadable"] == [unreadable]
        assert run("channels", "test", "ops").code == Exit.DONE

    def test_without_a_key_there_is_nothing_to_rotate_to(self, run: Run) -> None:
        assert run("channels", "rotate-key", env={"SENTINEL_SECRET_KEY": ""}).code == Exit.USAGE
