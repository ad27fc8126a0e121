from __future__ import annotations

import pytest

from sentinel.jobs import (
    DispatchAlert,
    RunRule,
    Trigger,
    alert_job_id,
    delivery_job_id,
    delivery_policy,
    dispatch_alert_policy,
    run_rule_policy,
)
from streamq import NewJob


def run_rule(trigger: Trigger = "schedule") -> RunRule:
    return RunRule(rule_id="r1", trigger=trigger, requested_at="2026-01-31T12:00:00Z")


def test_one_check_of_a_rule_waits_or_runs_until_it_is_done() -> None:
    policy = run_rule_policy(run_rule())

    assert (policy.unique, policy.unique_for, policy.lane) == ("rule:r1", None, "normal")


def test_what_a_person_asked_for_goes_first() -> None:
    assert run_rule_policy(run_rule("manual_test")).lane == "high"


def test_a_confirming_check_does_not_wait_for_the_key_of_the_one_it_confirms() -> None:
    assert run_rule_policy(run_rule(), confirms=True).unique == "rule:r1:confirm"


def an_alert(*channels: str, alert_id: str = "a", dedupe_key: str = "k") -> DispatchAlert:
    return DispatchAlert(
        alert_id=alert_id, workspace_id="w", rule_id="r1", channels=channels, dedupe_key=dedupe_key
    )


def test_an_alert_is_unique_for_five_minutes_and_a_critical_one_goes_first() -> None:
    alert = an_alert("ops")

    usual, critical = dispatch_alert_policy(alert), dispatch_alert_policy(alert, severity="critical")

    assert (usual.unique, usual.unique_for, usual.lane) == ("k", 300.0, "normal")
    assert critical.lane == "high"


def test_a_delivery_is_unique_for_five_minutes_by_alert_and_channel() -> None:
    policy = delivery_policy(an_alert("ops", "boss"), "ops", lane="high")
    others = {
        delivery_policy(alert, channel, lane="high").unique
        for alert, channel in (
            (an_alert("ops"), "boss"),
            (an_alert("ops", alert_id="b"), "ops"),
            (an_alert("ops", dedupe_key="l"), "ops"),
        )
    }

    assert (policy.unique_for, policy.lane) == (300.0, "high")
    assert policy == delivery_policy(an_alert("ops"), "ops", lane="high")
    assert len(others | {policy.unique}) == 4


@pytest.mark.parametrize("job_id", ["alert-1", "x" * 512, ":", "a:ops"])
def test_a_delivery_has_a_job_id_of_its_own_that_says_what_it_is_part_of(job_id: str) -> None:
    name = delivery_job_id(job_id, "c" * 120)
    unique = delivery_policy(an_alert(dedupe_key=job_id), "c" * 120, lane="normal").unique

    NewJob(payload=b"{}", id=name, unique=unique)  # raises where one is too long
    assert name == delivery_job_id(job_id, "c" * 120)
    whole = alert_job_id(name, an_alert("c" * 120))
    assert whole
    assert delivery_job_id(whole, "c" * 120) == name


@pytest.mark.parametrize(
    ("job_id", "channels"),
    [("a:ops", ("ops", "boss")), ("a:ops", ()), ("a", ("ops",)), (":ops", ("ops",)), ("a:xops", ("ops",))],
)
def test_a_job_that_is_not_one_deliverys_own_is_told_apart(job_id: str, channels: tuple[str, ...]) -> None:
    assert alert_job_id(job_id, an_alert(*channels)) is None
