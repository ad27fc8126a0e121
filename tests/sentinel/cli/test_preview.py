"""`channels preview`: what would be sent, and nothing is sent."""

from __future__ import annotations

import email
import json
from pathlib import Path
from typing import Any

import pytest

from sentinel.cli.exits import Exit
from sentinel.render import to_json, to_slack
from sentinel.render.samples import SAMPLES, SampleKind, sample
from tests.end_to_end.shapes import checked
from tests.sentinel.cli.conftest import Run
from tests.support.http import Reply, Site

CHANNELS = {
    "hook": {"type": "webhook", "url": "https://hooks.example.com/in", "secret_env": "HOOK_SECRET"},
    "team": {"type": "slack", "credentials": {"url": {"env": "T"}}},
    "guild": {"type": "discord", "credentials": {"url": {"env": "T"}}},
    "office": {"type": "teams", "credentials": {"url": {"env": "T"}}},
    "night": {"type": "telegram", "chatId": "-5", "credentials": {"bot_token": {"env": "T"}}},
    "phone": {"type": "ntfy", "topic": "acme", "credentials": {"token": {"env": "T"}}},
    "on-call": {"type": "pagerduty", "credentials": {"routing_key": {"env": "T"}}},
    "other": {"type": "apprise", "credentials": {"url": {"env": "T"}}},
    "mail": {"type": "email", "to": ["ops@example.com"], "sender": "a@example.com"},
    "tty": {"type": "console", "template": {"title": "{{ rule }}", "body": "Now {{ severity }}"}},
}


@pytest.fixture
def imported(run: Run, tmp_path: Path) -> Run:
    """The channels above are stored; none of their secrets can be had."""
    listed = [{"id": name, **fields} for name, fields in CHANNELS.items()]
    (tmp_path / "channels.yaml").write_text(json.dumps({"workspace": {"id": "acme"}, "channels": listed}))
    assert run("rules", "import", str(tmp_path / "channels.yaml")).code == Exit.DONE
    return run


def shown(run: Run, *arguments: str) -> dict[str, Any]:
    result = run("channels", "preview", *arguments, "--json")
    assert result.code == Exit.DONE, result.err
    (line,) = result.lines
    checked(line)
    return line


@pytest.mark.parametrize("name", CHANNELS)
def test_every_type_of_channel_shows_every_kind_of_alert_without_its_secrets(
    imported: Run, name: str
) -> None:
    for kind in ("price", "rows", "digest"):
        told = shown(imported, name, "--sample", kind)
        assert told["form"] == {"mail": "eml", "tty": "txt", "other": "txt"}.get(name, "json")
        assert told["body"]
        assert "secret.invalid" not in json.dumps(told)
        assert "AAAAAAAA" not in json.dumps(told)


def test_it_is_what_the_formatter_makes(imported: Run) -> None:
    hook = shown(imported, "hook")

    assert hook["body"] == json.loads(to_json(sample("price")))
    assert hook["url"] == "https://hooks.example.com/in"
    assert hook["headers"]["webhook-id"] == "preview"
    assert hook["headers"]["webhook-signature"] == "***"
    assert shown(imported, "team", "--sample", "health")["body"] == to_slack(sample("health"))
    assert shown(imported, "on-call")["body"]["routing_key"] == "***"
    assert shown(imported, "night")["body"]["chat_id"] == "-5"


def test_a_template_is_seen_at_work(imported: Run) -> None:
    assert "Now warning" in shown(imported, "tty")["body"]


def test_for_people_it_is_the_request_as_it_goes_over_the_wire(imported: Run) -> None:
    out = imported("channels", "preview", "hook").out

    assert out.startswith("POST https://hooks.example.com/in\n")
    assert '\n{\n  "type": "alert.change",' in out
    assert imported("channels", "preview", "team").out.startswith("POST (the address is a secret)\n")


@pytest.mark.parametrize("kind", SAMPLES)
def test_a_mail_can_be_kept_and_looked_at(imported: Run, tmp_path: Path, kind: SampleKind) -> None:
    for suffix in ("eml", "html"):
        path = tmp_path / f"mail.{suffix}"
        result = imported("channels", "preview", "mail", "--sample", kind, "--out", str(path))
        assert result.code == Exit.DONE

    message = email.message_from_bytes((tmp_path / "mail.eml").read_bytes())
    assert message["To"] == "ops@example.com"
    assert (tmp_path / "mail.html").read_text().startswith("<!DOCTYPE html>")


def test_a_form_that_a_channel_does_not_have_is_told(imported: Run, tmp_path: Path) -> None:
    result = imported("channels", "preview", "hook", "--out", str(tmp_path / "x.eml"))

    assert result.code == Exit.USAGE
    assert ".json" in result.err
    assert not (tmp_path / "x.eml").exists()


def test_nothing_is_sent(run: Run, thread_site: Site, tmp_path: Path) -> None:
    url = thread_site.route("/in", Reply())
    channel = {"id": "hook", "type": "webhook", "url": url}
    (tmp_path / "c.yaml").write_text(json.dumps({"channels": [channel]}))
    run("rules", "import", str(tmp_path / "c.yaml"), env={"SENTINEL_ALLOW_PRIVATE_NETWORKS": "true"})

    assert run("channels", "preview", "hook").code == Exit.DONE
    assert thread_site.connections == 0


def test_what_is_not_there_is_told(imported: Run) -> None:
    assert imported("channels", "preview", "nope").code == Exit.NOT_FOUND
    assert imported("channels", "preview", "tty", "--alert", "99").code == Exit.NOT_FOUND
    assert imported("channels", "preview", "tty", "--alert", "1", "--sample", "price").code == Exit.USAGE
