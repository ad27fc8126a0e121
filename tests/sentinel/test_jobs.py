from __future__ import annotations

from sentinel.jobs import DispatchAlert, RunRule, Trigger, dispatch_alert_policy, run_rule_policy


def run_rule(trigger: Trigger = "schedule") -> RunRule:
    return RunRule(rule_id="r1", trigger=trigger, requested_at="2026-01-31T12:00:00Z")


def test_one_check_of_a_rule_waits_or_runs_until_it_is_done() -> None:
    policy = run_rule_policy(run_rule())

    assert (policy.unique, policy.unique_for, policy.lane) == ("rule:r1", None, "normal")


def test_what_a_person_asked_for_goes_first() -> None:
    assert run_rule_policy(run_rule("manual_test")).lane == "high"


def test_a_confirming_check_does_not_wait_for_the_key_of_the_one_it_confirms() -> None:
    assert run_rule_policy(run_rule(), confirms=True).unique == "rule:r1:confirm"


def test_an_alert_is_unique_for_five_minutes_and_a_critical_one_goes_first() -> None:
    alert = DispatchAlert(alert_id="a", workspace_id="w", rule_id="r1", channels=("ops",), dedupe_key="k")

    usual, critical = dispatch_alert_policy(alert), dispatch_alert_policy(alert, severity="critical")

    assert (usual.unique, usual.unique_for, usual.lane) == ("k", 300.0, "normal")
    assert critical.lane == "high"
