"""When an endpoint is left alone, and who may ask it all the same."""

from __future__ import annotations

import pytest

from sentinel.decide.endpoint import (
    MISSING_AFTER,
    Breaker,
    Endpoint,
    Hold,
    accepted,
    failed,
    hold,
    is_missing,
    probing,
    refused,
)

NOW = 1_000_000.0
BREAKER = Breaker(after=3, first=10.0, cap=40.0, probe=30.0, look=2.0)


def after_failures(*alerts: str, endpoint: Endpoint = Endpoint(), wait: float | None = None) -> Endpoint:  # noqa: B008 - frozen
    """Each alert's first failure, at the same moment."""
    for alert in alerts:
        endpoint = failed(endpoint, alert, NOW, BREAKER, first=True, wait=wait, error="no")
    return endpoint


OPEN = after_failures("a", "b", "c")


def test_it_is_left_alone_when_enough_different_deliveries_failed_in_a_row() -> None:
    assert hold(after_failures("a", "b"), "d", NOW, BREAKER) is None
    assert hold(OPEN, "d", NOW, BREAKER) == Hold("breaker", NOW + 10)
    assert (OPEN.failures, OPEN.opened, OPEN.last_error) == (3, 1, "no")


def test_the_failures_of_one_delivery_count_once() -> None:
    endpoint = after_failures("a")
    for number in range(6):
        endpoint = failed(endpoint, "a", NOW + number, BREAKER, first=False, wait=None, error="no")

    assert (endpoint.failures, endpoint.failing_since) == (1, NOW)
    assert hold(endpoint, "b", NOW, BREAKER) is None


def test_one_success_in_between_starts_the_count_anew() -> None:
    endpoint = after_failures("c", endpoint=accepted(after_failures("a", "b"), NOW))
    assert (endpoint.failures, endpoint.last_ok_at) == (1, NOW)


def test_the_delivery_whose_failure_opened_it_may_come_at_its_own_time() -> None:
    assert hold(OPEN, "c", NOW + 1, BREAKER) is None
    assert hold(OPEN, "a", NOW + 1, BREAKER) is not None

    again = failed(
        probing(OPEN, "c", NOW + 1, BREAKER), "c", NOW + 2, BREAKER, first=False, wait=None, error="no"
    )
    assert (again.open_until, again.opened) == (OPEN.open_until, 1), "and keeps the others away no longer"


def test_half_open_one_tries_and_the_others_look_again_soon() -> None:
    then = NOW + 10
    assert hold(OPEN, "d", then, BREAKER) is None
    tried = probing(OPEN, "d", then, BREAKER)

    assert hold(tried, "d", then + 1, BREAKER) is None, "it comes again after a crash"
    assert hold(tried, "e", then + 1, BREAKER) == Hold("breaker", then + 3)
    assert hold(tried, "e", then + 31, BREAKER) is None, "the probe is lost"


def test_each_failed_probe_doubles_the_time_up_to_the_cap_and_a_success_closes() -> None:
    endpoint, now, waits = OPEN, NOW, []
    for number in range(4):
        assert endpoint.open_until is not None
        waits.append(endpoint.open_until - now)
        now = endpoint.open_until
        endpoint = probing(endpoint, f"probe{number}", now, BREAKER)
        endpoint = failed(endpoint, f"probe{number}", now, BREAKER, first=True, wait=None, error="no")

    assert waits == [10, 20, 40, 40]
    assert accepted(endpoint, now) == Endpoint(last_ok_at=now)


def test_what_was_on_its_way_when_it_opened_changes_nothing_but_the_count() -> None:
    late = failed(OPEN, "late", NOW + 1, BREAKER, first=True, wait=None, error="no")
    assert (late.open_until, late.opened, late.probe) == (OPEN.open_until, 1, "c")


def test_nobody_asks_before_the_time_that_was_named_not_even_after_a_success() -> None:
    endpoint = accepted(after_failures("a", wait=60), NOW + 1)
    for alert in ("a", "b"):
        assert hold(endpoint, alert, NOW + 59.9, BREAKER) == Hold("retry_after", NOW + 60)
        assert hold(endpoint, alert, NOW + 60, BREAKER) is None


def test_the_latest_time_that_was_named_holds() -> None:
    endpoint = after_failures("b", endpoint=after_failures("a", wait=60), wait=5)
    assert endpoint.retry_at == NOW + 60


@pytest.mark.parametrize("answered", [True, False])
def test_a_refusal_shows_that_it_is_there_only_if_it_came_from_there(answered: bool) -> None:
    probe = probing(OPEN, "d", NOW + 10, BREAKER)
    after = refused(probe, "d", NOW + 11, answered=answered, error="HTTP 400")

    assert (after.open_until is None) is answered
    assert hold(after, "e", NOW + 11, BREAKER) is None, "the next one tries"
    assert after.last_error == "HTTP 400"


def test_nothing_but_404_for_five_days_is_gone() -> None:
    assert not is_missing(None, NOW)
    assert not is_missing(NOW, NOW + MISSING_AFTER - 1)
    assert is_missing(NOW, NOW + MISSING_AFTER)
