"""Whether, when and to whom: tables of cases for the decision about an alert."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from sentinel.decide.alerting import Asked, Plan, View, incident_step, pattern_of, plan
from sentinel.decide.routing import covers, host_of, under
from sentinel.model import (
    AlertPolicy,
    Digest,
    Escalation,
    Extraction,
    Flood,
    Incident,
    QuietHours,
    Route,
    Rule,
    Workspace,
)

ZONE = "Europe/Bratislava"


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(ZONE)).timestamp()


NOON = at("2026-01-10 12:20")
NIGHT = at("2026-01-10 23:20")
MORNING = at("2026-01-11 07:00")
QUIET = QuietHours(start="22:00", end="07:00")


def decided(
    *routes: Route,
    now: float = NOON,
    view: View = View(),  # noqa: B008 - frozen
    own: tuple[str, ...] = (),
    asked: dict[str, Any] | None = None,
    policy: AlertPolicy = AlertPolicy(),  # noqa: B008 - frozen
    **space: Any,
) -> Plan:
    rule = Rule(
        id="widget",
        url="https://www.shop.example:8443/widget?a=1",
        type="price",
        extraction=Extraction(method="css", selector="p"),
        tags=["checkout", "eu"],
        alert_policy=policy,
    )
    question = {
        "kind": "change",
        "severity": "warning",
        "title": "widget 7: 5 EUR -> 4 EUR",
        "rule": rule,
        "own": own,
        "workspace": Workspace(id="acme", timezone=ZONE, routes=list(routes), **space),
        **(asked or {}),
    }
    return plan(Asked(**question), view, now=now)


# --- routes -------------------------------------------------------------------------------------


REST = Route(channels=["rest"])


@pytest.mark.parametrize(
    ("route", "asked", "fits"),
    [
        ({"severity": "warning"}, {"severity": "warning"}, True),
        ({"severity": "warning"}, {"severity": "critical"}, True),
        ({"severity": "critical"}, {"severity": "warning"}, False),
        ({"severity": "info"}, {"severity": "info"}, True),
        ({"tags": ["eu"]}, {}, True),
        ({"tags": ["us", "eu"]}, {}, True),
        ({"tags": ["us"]}, {}, False),
        ({"kinds": ["price"]}, {}, True),
        ({"kinds": ["text"]}, {}, False),
        ({"kinds": ["change"]}, {}, True),
        ({"kinds": ["health", "recovery"]}, {}, False),
        ({"kinds": ["health", "recovery"]}, {"kind": "recovery"}, True),
        ({"kinds": ["price", "health"]}, {}, False),
        ({"kinds": ["price", "health"]}, {"kind": "health"}, True),
        ({"hosts": ["shop.example"]}, {}, True),
        ({"hosts": [".Shop.Example"]}, {}, True),
        ({"hosts": ["www.shop.example"]}, {}, True),
        ({"hosts": ["op.example"]}, {}, False),
        ({"hosts": ["other.example", "shop.example"]}, {}, True),
        ({"severity": "warning", "tags": ["eu"], "hosts": ["other.example"]}, {}, False),
        ({}, {"kind": "health", "severity": "info"}, True),
    ],
)
def test_a_route_fits_where_all_that_it_names_does(
    route: dict[str, Any], asked: dict[str, Any], fits: bool
) -> None:
    assert decided(Route(channels=["hit"], **route), REST, asked=asked).now == (
        ("hit",) if fits else ("rest",)
    )


@pytest.mark.parametrize(
    ("routes", "own", "told"),
    [
        ([Route(channels=["a"]), Route(channels=["b"])], (), ("a",)),
        ([Route(channels=["a"], go_on=True), Route(channels=["b"])], (), ("a", "b")),
        ([Route(channels=["a", "b"], go_on=True), Route(channels=["b", "c"])], (), ("a", "b", "c")),
        ([Route(channels=["a"], severity="critical", go_on=True), Route(channels=["b"])], (), ("b",)),
        ([Route(channels=["a"])], ("own", "own"), ("own",)),
        ([], ("own",), ("own",)),
    ],
)
def test_the_first_route_decides_unless_it_goes_on_and_the_rule_itself_wins(
    routes: list[Route], own: tuple[str, ...], told: tuple[str, ...]
) -> None:
    assert decided(*routes, own=own).now == told


def test_where_no_route_fits_nobody_is_told_and_it_is_said_why() -> None:
    found = decided(Route(channels=["a"], severity="critical"))
    assert (found.reason, found.now, found.channels) == ("no_channels", (), ())
    assert [step.words for step in found.steps] == [
        "it names no channels of its own: routes are asked",
        "route 1: no, warning is less than critical",
        "it is meant for nobody",
    ]
    assert "route that fits" in found.undo


@pytest.mark.parametrize(
    ("first", "later", "takes"),
    [
        ({}, {}, True),
        ({}, {"severity": "critical"}, True),
        ({"severity": "critical"}, {}, False),
        ({"severity": "warning"}, {"severity": "critical"}, True),
        ({"tags": ["a", "b"]}, {"tags": ["a"]}, True),
        ({"tags": ["a"]}, {"tags": ["a", "b"]}, False),
        ({"tags": ["a"]}, {}, False),
        ({"kinds": ["price"]}, {"kinds": ["price", "change"]}, True),
        ({"kinds": ["price"]}, {"kinds": ["change"]}, False),
        ({"hosts": ["example"]}, {"hosts": ["a.example", "example"]}, True),
        ({"hosts": ["a.example"]}, {"hosts": ["example"]}, False),
        ({"hosts": ["a.example"]}, {"tags": ["x"]}, False),
    ],
)
def test_a_route_that_nothing_can_reach_is_recognised(
    first: dict[str, Any], later: dict[str, Any], takes: bool
) -> None:
    assert covers(Route(**first), Route(**later)) is takes


def test_hosts() -> None:
    assert [host_of(url) for url in ("https://A.b:1/x", "http://[::1]/", "nonsense", "http://[", "")] == [
        "a.b", "::1", "", "", "",
    ]  # fmt: skip
    assert under("a.b", "b")
    assert not under("ab", "b")


# --- where it stops -----------------------------------------------------------------------------

HOURLY = Digest(by="host", every=3600)
ELSE: dict[str, Any] = {"quiet_hours": QUIET, "digest": HOURLY, "flood": Flood(alerts=3, within=60)}


@pytest.mark.parametrize(
    ("view", "asked", "now", "reason", "until"),
    [
        (View(duplicate_of="7"), {"cooling_until": NOON + 5}, NOON, "duplicate", at("2026-01-11 00:00")),
        (View(incident="i"), {"cooling_until": NOON + 5}, NOON, "cooldown", NOON + 5),
        (View(incident="i", incident_told=True, like_rule=3), {}, NIGHT, "incident", None),
        (View(incident="i", incident_until=NOON + 9), {}, NOON, "incident", NOON + 9),
        (View(like_rule=3), {}, NOON, "flood", at("2026-01-10 12:25")),
        (View(like_rule=3), {"severity": "critical"}, NOON, "flood", at("2026-01-10 12:25")),
        (View(like_rule=3), {}, NIGHT, "flood", MORNING),
        (View(like_pattern=3), {}, NOON, "flood", at("2026-01-10 12:25")),
        (View(like_pattern=3), {"severity": "critical"}, NOON, None, None),
        (View(like_rule=2, like_pattern=2), {}, NIGHT, "quiet_hours", MORNING),
        (View(), {"severity": "critical"}, NIGHT, None, None),
        (View(), {"kind": "recovery", "severity": "info"}, NIGHT, "quiet_hours", MORNING),
        (View(), {}, NOON, "digest", at("2026-01-10 13:00")),
        (View(), {"severity": "critical"}, NOON, None, None),
        # A window that would close in the quiet hours closes when they end.
        (View(), {}, at("2026-01-10 21:30"), "digest", MORNING),
    ],
)
def test_the_first_reason_in_order_decides(
    view: View, asked: dict[str, Any], now: float, reason: str | None, until: float | None
) -> None:
    found = decided(own=("ops",), view=view, asked=asked, now=now, **ELSE)
    assert (found.reason, found.until) == (reason, until)
    assert bool(found.now) is (reason is None)
    assert found.channels == ("ops",), "what it was meant for is remembered"
    assert bool(found.undo) is (reason is not None)
    assert found.steps[-1].counts


def test_a_channel_that_collects_does_not_hold_up_one_that_does_not() -> None:
    found = decided(
        Route(channels=["chat"], go_on=True),
        Route(channels=["mail", "chat"], digest=Digest(by="tag", every=60)),
    )
    assert (found.reason, found.now) == (None, ("chat",))
    assert [(hold.channel, hold.by, hold.group) for hold in found.holds] == [("mail", "tag", "checkout")]


@pytest.mark.parametrize(
    ("by", "group"), [("workspace", ""), ("host", "www.shop.example"), ("tag", "checkout")]
)
def test_a_digest_collects_by_workspace_host_or_tag(by: Any, group: str) -> None:
    (hold,) = decided(REST, digest=Digest(by=by, every=60)).holds
    assert (hold.cause, hold.by, hold.group, hold.channel) == ("digest", by, group, "rest")


def test_the_digest_of_a_route_wins_over_that_of_the_workspace() -> None:
    (hold,) = decided(Route(channels=["a"], digest=Digest(by="tag", every=60)), digest=HOURLY).holds
    assert hold.by == "tag"


# --- escalation ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "own", "told"),
    [
        (None, (), [(900, ["boss"])]),
        (Escalation(after=60, channels=["cto"]), (), [(60, ["cto"])]),
        (Escalation(after=60, channels=["cto"]), ("ops",), [(60, ["cto"])]),
        (None, ("ops",), []),
    ],
)
def test_the_escalation_of_the_rule_wins_over_that_of_the_route(
    policy: Escalation | None, own: tuple[str, ...], told: list[tuple[int, list[str]]]
) -> None:
    route = Route(channels=["ops"], escalate=Escalation(after=900, channels=["boss", "ops", "boss"]))
    found = decided(route, own=own, policy=AlertPolicy(escalate=policy))
    assert [(one.after, one.channels) for one in found.escalations] == told


def test_nobody_is_told_by_escalation_of_what_is_told_with_others() -> None:
    route = Route(channels=["ops"], escalate=Escalation(after=900, channels=["boss"]), digest=HOURLY)
    assert decided(route).escalations == ()


# --- floods and incidents -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("title", "other"),
    [
        ("Widget 17: 149.99 EUR -> 129.99 EUR", "widget 4: 1,299 EUR -> 9 EUR"),
        ("page-0001: in_stock -> out_of_stock", "page-0999: in_stock -> out_of_stock"),
        ("at 12:30 on 2026-01-10", "at 1:05 on 2025-12-31"),
    ],
)
def test_titles_that_differ_in_numbers_only_are_alike(title: str, other: str) -> None:
    assert pattern_of(title) == pattern_of(other)


def test_other_titles_are_not() -> None:
    assert pattern_of("shop a: 5 -> 4") != pattern_of("shop b: 5 -> 4")


@pytest.mark.parametrize(
    ("broken", "failing", "step"),
    [(1, 0, "none"), (7, 2, "none"), (1, 9, "watch"), (9, 1, "watch"), (10, 0, "open"), (12, 5, "open")],
)
def test_an_incident_is_waited_for_only_where_enough_rules_fail(broken: int, failing: int, step: str) -> None:
    assert incident_step(Incident(), broken=broken, failing=failing) == step
