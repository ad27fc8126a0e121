"""A real change as it arrives by webhook, Slack and e-mail, and the e-mail as a browser draws it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from anyio.from_thread import start_blocking_portal

from bench.pictures import draw, find_chromium
from sentinel.embedded import EmbeddedRedis
from tests.end_to_end.programs import Program, wait_until
from tests.support import receivers
from tests.support.http import Reply, Site
from tests.support.receivers.smtp import Mailroom, mail_server
from tests.support.servers import find_valkey

PAGE = """<h1>Widget</h1><p class=price>{price} &euro;</p><script>alert("<b>")</script>
<div class=terms>Return it within {days} days. <b>Free</b> shipping &lt;over&gt; {free} EUR.
Parcels leave our warehouse within two working days.</div>"""
PRODUCTS = [{"sku": "W-1", "price": 149.99}, {"sku": "W-2", "price": 219}]
RULES = """
workspace: {{id: acme}}
channels:
  - {{id: hook, type: webhook, url: "{site}/hook"}}
  - {{id: team, type: slack, credentials: {{url: {{env: SLACK_URL}}}}}}
  - {{id: mail, type: email, to: [ops@example.com], sender: Acme Alerts <alerts@example.com>, credentials: {{smtp_url: {{env: SMTP_URL}}}}}}
rules:
  - &rule
    id: price
    name: Widget at Example
    url: {site}/page
    type: price
    extraction: {{method: css, selector: .price}}
    schedule: {{intervalSeconds: 1}}
    alertPolicy: {{channels: [hook, team, mail], conditions: [{{id: moved, type: value_changed}}]}}
  - {{<<: *rule, id: terms, name: Terms of Example, type: text, extraction: {{method: css, selector: .terms}}}}
  - {{<<: *rule, id: products, name: Products of Example, type: json_field, url: "{site}/api", extraction: {{method: jsonpath, selector: "$.products"}}}}
"""


@pytest.fixture(scope="module")
def room() -> Iterator[Mailroom]:
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(mail_server()) as room:
        yield room


def show(site: Site, price: str, days: int, products: list[dict[str, object]]) -> None:
    site.route("/page", Reply(body=PAGE.format(price=price, days=days, free=50 if days == 30 else 75)))
    site.route("/api", Reply(body=json.dumps({"products": products}), content_type="application/json"))


def test_a_real_change_is_read_as_a_person_would(room: Mailroom, thread_site: Site, tmp_path: Path) -> None:
    program_of_redis = find_valkey()
    if program_of_redis is None:
        pytest.skip("Valkey (bundled) was not found")
    # Given three rules whose first values are known
    thread_site.route("/hook", Reply(status=204))
    with (
        receivers.opened_in_thread(receivers.Slack) as slack,
        EmbeddedRedis(tmp_path / "redis", binary=program_of_redis, appendonly=False) as server,
    ):
        environ = {
            "REDIS_URL": server.url,
            "SENTINEL_ALLOW_PRIVATE_NETWORKS": "true",
            "RATE_LIMITING_ENABLED": "false",
            "SLACK_URL": slack.credentials["url"],
            "SMTP_URL": room.url(query="?tls=none"),
        }
        program = Program(tmp_path, environ)
        (tmp_path / "rules.yaml").write_text(RULES.format(site=thread_site.url))
        program("rules", "import", str(tmp_path / "rules.yaml"))
        show(thread_site, "149.99", 30, PRODUCTS)
        burst(program)

        # When the pages change
        show(thread_site, "129.99", 14, [{"sku": "W-1", "price": 129.99}, {"sku": "W-4", "price": 349}])
        burst(program)

        # Then each is told on each channel, once, in words that say what was and what is
        bodies = [json.loads(request.body) for request in thread_site.requests_to("/hook")]
        assert sorted(body["data"]["ruleId"] for body in bodies) == ["price", "products", "terms"]
        webhook(next(body for body in bodies if body["data"]["ruleId"] == "products"))
        assert len(slack.accepted) == 3
        assert slack.refused == []
        chat = json.dumps([message.payload for message in slack.accepted], ensure_ascii=False)
        assert "149.99 EUR" in chat
        assert "129.99 EUR" in chat
        mails(room, tmp_path)


def burst(program: Program) -> None:
    wait_until([line["next_due_at"] for line in program.here("rules", "list", "--json").lines])
    program("run", "--burst")


def webhook(body: dict[str, dict[str, object]]) -> None:
    assert body["type"] == "alert.change"
    (field,) = body["data"]["fields"]  # type: ignore[misc]  # JSON
    rows = field["rows"]
    assert (rows["changed"], rows["added"], rows["removed"]) == (1, 1, 1)
    assert rows["changes"][0] == {
        "kind": "changed",
        "key": "W-1",
        "cells": [{"name": "price", "before": "149.99", "after": "129.99"}],
    }


def mails(room: Mailroom, folder: Path) -> None:
    by_rule = {post.message["Subject"].partition(": ")[0]: post.message for post in room.posts}
    assert set(by_rule) == {
        "[warning] Widget at Example",
        "[warning] Terms of Example",
        "[warning] Products of Example",
    }
    terms = by_rule["[warning] Terms of Example"]
    plain, html = (part.get_content() for part in terms.iter_parts())
    assert "within [-30-]{+14+} days" in plain
    assert "&lt;over&gt;" in html
    pages = {name: list(message.iter_parts())[1].get_content() for name, message in by_rule.items()}
    if find_chromium() is None:
        print("\nno chromium on this machine: the mails were read, not drawn")
        return
    for number, page in enumerate(pages.values()):
        for width, dark in ((360, True), (640, False)):
            png = folder / f"mail-{number}-{width}-{'dark' if dark else 'light'}.png"
            draw(page, png, width=width, height=600, dark=dark)
            assert png.read_bytes().startswith(b"\x89PNG")
            assert png.stat().st_size > 10_000, "something is on it"
    print(f"\nthe mails were drawn into {folder}")
