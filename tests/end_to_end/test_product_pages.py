"""Price and availability rules over real product pages, the whole way, by real processes.

The committed pages always; the whole corpus by hand (it prints the counts):

    SENTINEL_TEST_PAGES=FOLDER python -m pytest -s tests/end_to_end/test_product_pages.py
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from sentinel.errors import ERROR_CODES
from tests.end_to_end import pages as shop
from tests.end_to_end.programs import Program, wait_until
from tests.support.http import Reply, Site

#: A folder with a corpus to run on instead of the committed pages.
FOLDER = os.environ.get("SENTINEL_TEST_PAGES")
STREAMS = ("rules:run", "alerts:dispatch")
KEYS = [
    "schema", "rule_id", "run_id", "at", "raw", "value", "changed", "change_kind", "confirmed", "error_code",
    "mode", "fallback_reason", "has_screenshot", "has_body", "cursor",
]  # fmt: skip
VALUES = {"price": {"amount", "currency"}, "availability": {"status", "lead_time_days"}}


@dataclass
class Street:
    """Every shop of the corpus, the rules on them, and the receiver that is told."""

    site: Site
    program: Program
    pages: Sequence[shop.Page]
    rules: Sequence[shop.Watch]
    #: Page -> what it shows now.
    shown: dict[str, bytes] = field(default_factory=dict)

    def show(self, bodies: dict[str, bytes]) -> None:
        self.shown |= bodies
        for name, body in bodies.items():
            self.site.route(f"/{name}", Reply(body=body))

    def burst(self) -> None:
        """Every rule is checked once, and all that follows from it is done."""
        wait_until([line["next_due_at"] for line in self.program.here("rules", "list", "--json").lines])
        self.program("run", "--burst", "--embedded")

    def told(self, kind: str = "alert.change") -> Counter[str]:
        """Rule -> webhooks of a kind that arrived for it."""
        bodies = [json.loads(request.body) for request in self.site.requests_to("/hook")]
        return Counter(body["data"]["ruleId"] for body in bodies if body["type"] == kind)

    def history(self, rule: str) -> list[dict[str, Any]]:
        """`history RULE --json`, oldest first."""
        return self.program.here("history", rule, "--json").lines[::-1]


@pytest.fixture
def street(thread_site: Site, tmp_path: Path, request: pytest.FixtureRequest) -> Street:
    """Every nth page as the test's parameter says, from the last: each nation and kind of page stays."""
    nth, database = request.param
    environ = {"SENTINEL_ALLOW_PRIVATE_NETWORKS": "true", "RATE_LIMITING_ENABLED": "false"}
    if database == "postgresql":
        environ["DATABASE_URL"] = request.getfixturevalue("postgres_url")
    pages = shop.load(Path(FOLDER)) if FOLDER else shop.load()[::-nth]
    gone = shop.Watch("gone", "price", {"method": "auto", "selector": "price"})  # a page that nobody serves
    street = Street(thread_site, Program(tmp_path, environ), pages, [*shop.watches(pages), gone])
    thread_site.route("/hook", Reply(status=204))
    street.show({page.name: page.body for page in pages})
    file = tmp_path / "rules.yaml"
    file.write_text(shop.rules_file(street.rules, site=thread_site.url, webhook=f"{thread_site.url}/hook"))
    if "DATABASE_URL" in environ:
        street.program("migrate")
    street.program("rules", "import", str(file))
    return street


@pytest.mark.timeout(1800 if FOLDER else 300)
@pytest.mark.parametrize(
    "street",
    [
        pytest.param((5, "sqlite"), id="sqlite"),
        pytest.param(
            (11, "postgresql"), id="postgresql", marks=[pytest.mark.needs_postgres, pytest.mark.soak]
        ),
        pytest.param((1, "sqlite"), id="sqlite-all", marks=pytest.mark.soak),
    ],
    indirect=True,
)
def test_every_rule_ends_with_a_value_or_an_error_and_exactly_the_changed_pages_are_told(
    street: Street,
) -> None:
    street.burst()
    changes = {
        **every(2, street.pages, shop.with_new_price),
        **every(3, street.pages, shop.with_other_availability),
    }
    for_one_check = every(1, [page for page in street.pages if page.name not in changes], shop.with_new_price)
    expected = {rule.id for rule in street.rules if changed(rule, street.pages, changes)}
    assert expected, "none of the changes is one that a rule reads"

    street.show({**changes, **for_one_check})
    street.burst()
    assert street.told() == {}, "one reading is not believed"

    street.show({page.name: page.body for page in street.pages if page.name in for_one_check})
    street.burst()
    assert street.told() == dict.fromkeys(expected, 1)

    street.burst()
    assert street.told() == dict.fromkeys(expected, 1), "told once"

    histories = {rule.id: street.history(rule.id) for rule in street.rules}
    broken = {rule for rule, lines in histories.items() if all(line["error_code"] for line in lines)}
    assert street.told("alert.health") == dict.fromkeys(broken, 1), "a rule that does not work is told, once"
    nothing_is_lost(street, histories, checks=4)
    the_database_says_what_the_receiver_saw(street, [*expected, *broken])
    for rule in street.rules:
        a_history_tells_the_story(rule, histories[rule.id], street, changes, for_one_check)
    print("\n" + counts(street, histories, expected))


def every(
    nth: int,
    pages: Sequence[shop.Page],
    change: Any,  # Any: Callable[[Page], bytes | None]
) -> dict[str, bytes]:
    """Every nth of the pages, changed; those that cannot be changed that way are left out."""
    found = {page.name: change(page) for page in pages[::nth]}
    return {name: body for name, body in found.items() if body is not None}


def changed(rule: shop.Watch, pages: Iterable[shop.Page], changes: dict[str, bytes]) -> bool:
    """Whether the rule reads another good value from the changed page."""
    if rule.page not in changes:
        return False
    body = next(page.body for page in pages if page.name == rule.page)
    before, after = shop.reading(rule, body), shop.reading(rule, changes[rule.page])
    return before != after and not isinstance(before, str) and not isinstance(after, str)


def nothing_is_lost(street: Street, histories: dict[str, list[dict[str, Any]]], *, checks: int) -> None:
    """Each check of each rule is a line of its history, and no job lies anywhere."""
    assert {rule: len(lines) for rule, lines in histories.items()} == {
        rule.id: checks for rule in street.rules
    }
    stats = street.program.stats()
    for stream in STREAMS:
        left = {state: stats[stream][state] for state in ("ready", "leased", "delayed", "dead")}
        assert left == {"ready": 0, "leased": 0, "delayed": 0, "dead": 0}
    assert stats["rules:run"]["done"] == min(1000, checks * len(street.rules))


def the_database_says_what_the_receiver_saw(street: Street, told: list[str]) -> None:
    alerts = street.program.here("alerts", "list", "--json", "--limit", "1000").lines
    assert sorted(alert["rule_id"] for alert in alerts) == sorted(told)
    sent = [{"channel": "ops", "status": "sent", "attempts": 1, "http_status": 204, "error": None}]
    assert all(alert["status"] == "sent" and alert["deliveries"] == sent for alert in alerts)
    ids = {request.headers["webhook-id"] for request in street.site.requests_to("/hook")}
    assert len(ids) == len(told)


def a_history_tells_the_story(
    rule: shop.Watch,
    lines: list[dict[str, Any]],
    street: Street,
    changes: dict[str, bytes],
    for_one_check: dict[str, bytes],
) -> None:
    """Each line has its shape, and says what the page showed at that check."""
    for line in lines:
        is_an_observation(rule, line)
    if rule.page == "gone":
        assert [line["error_code"] for line in lines] == ["FETCH_HTTP_4XX"] * len(lines)
        return
    first = next(page.body for page in street.pages if page.name == rule.page)
    second = changes.get(rule.page) or for_one_check.get(rule.page) or first
    later = changes.get(rule.page, first)
    shown = [shop.reading(rule, body) for body in (first, second, later, later)]
    assert [line["error_code"] or line["value"] for line in lines] == shown
    is_told = changed(rule, street.pages, changes)
    assert [line["changed"] for line in lines] == [False, False, is_told, False]


def is_an_observation(rule: shop.Watch, line: dict[str, Any]) -> None:
    assert list(line) == KEYS
    assert (line["schema"], line["rule_id"]) == ("sentinel.observation/1", rule.id)
    if line["error_code"] is None:
        assert set(line["value"]) == VALUES[rule.type]
        assert isinstance(line["raw"], str)
    else:
        assert line["error_code"] in ERROR_CODES
        assert (line["value"], line["changed"], line["confirmed"]) == (None, False, False)


def counts(street: Street, histories: dict[str, list[dict[str, Any]]], expected: set[str]) -> str:
    """The whole run in a line."""
    last = {rule.id: histories[rule.id][0] for rule in street.rules}
    by_name = {page.name: page for page in street.pages}
    values = [rule for rule in street.rules if last[rule.id]["error_code"] is None]
    right = Counter(shop.is_right(rule, by_name[rule.page], last[rule.id]["value"]) for rule in values)
    codes = Counter(line["error_code"] for line in last.values() if line["error_code"] is not None)
    checks = sum(map(len, histories.values()))
    return (
        f"{len(street.pages)} pages, {len(street.rules)} rules: {len(values)} values ({right[True]} right, "
        f"{right[False]} wrong, {right[None]} unjudged), {sum(codes.values())} error codes ({dict(codes)}), 0 lost; "
        f"{checks} checks; {len(expected)} rules changed, {street.told().total()} webhooks of changes, "
        f"{street.told('alert.health').total()} of rules that do not work, 0 others"
    )
