"""A check is one span with its stages below it, in the trace of whoever asked for it."""

from __future__ import annotations

import pytest

from sentinel.jobs import ALERTS_DISPATCH, RULES_RUN
from tests.sentinel.handlers.checking import Hand, World, page
from tests.support.http import Reply
from tests.support.spans import kept_spans


async def test_a_check_tells_how_long_each_stage_took(checks: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await checks.watch(page("129,99 €"))
    spans = kept_spans(monkeypatch)
    hand = Hand(checks)
    await hand.enqueue()
    await hand.run()
    found = {span.name: span for span in spans.get_finished_spans()}
    check = found[f"process {RULES_RUN}"]
    assert check.context is not None
    stages = [
        name for name, span in found.items() if span.parent and span.parent.span_id == check.context.span_id
    ]
    assert stages == ["fetch", "extract", "store"]
    assert {span.context.trace_id for span in found.values() if span.context} == {check.context.trace_id}


async def test_a_stage_that_fails_says_so_and_no_span_tells_an_address(
    checks: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await checks.watch(Reply(404))
    spans = kept_spans(monkeypatch)
    hand = Hand(checks)
    await hand.enqueue()
    await hand.run()
    (fetched,) = [span for span in spans.get_finished_spans() if span.name == "fetch"]
    assert fetched.status.status_code.name == "ERROR"
    assert checks.site.url not in "".join(span.to_json() for span in spans.get_finished_spans())


async def test_an_alert_is_delivered_in_the_trace_of_the_check_that_raised_it(
    checks: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await checks.watch(page("129,99 €"))
    spans = kept_spans(monkeypatch)
    hand = Hand(checks)
    for price in ("129,99 €", "99,99 €", "99,99 €"):
        checks.site.route("/widget", page(price))
        await hand.enqueue()
        await hand.run()
    found = [span for span in spans.get_finished_spans() if span.name == f"process {RULES_RUN}"]
    traces = {f"{span.context.trace_id:032x}" for span in found if span.context}
    turn = await checks.broker.turn(ALERTS_DISPATCH, "w", sequence=1, free=10)
    assert turn.leases
    for lease in turn.leases:
        assert lease.envelope.headers["traceparent"].split("-")[1] in traces
