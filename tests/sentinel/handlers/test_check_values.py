"""Records, lists and conditions that remember, through a whole check: page, database, alert."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest

from sentinel.fetch.fetcher import Fetcher
from sentinel.model import (
    AlertPolicy,
    Clause,
    Condition,
    Confirm,
    Extraction,
    Field,
    FieldsValue,
    RowsValue,
)
from tests.sentinel.handlers.checking import World, page
from tests.support.http import Reply


def css(selector: str) -> Extraction:
    return Extraction(method="css", selector=selector)


def offer(price: str, stock: str = "<p class=stock>In stock</p>", sizes: str = "<li>S") -> Reply:
    return Reply(body=f"<h1>Widget</h1><p class=price>{price}</p>{stock}<ul>{sizes}</ul>")


async def titles(checks: World) -> list[str]:
    return [alert.title for alert in (await checks.store.alerts(limit=20))[::-1]]


async def test_a_record_is_one_value_and_its_alert_tells_the_fields_that_changed(checks: World) -> None:
    both = [
        Clause(field="price", type="price_below", value=Decimal(100)),
        Clause(field="stock", type="availability_is", value="in_stock"),
    ]
    await checks.watch(
        offer("120 €", "<p class=stock>Sold out</p>"),
        type="record",
        extraction=None,
        fields={
            "price": Field(type="price", extraction=css(".price")),
            "stock": Field(type="availability", extraction=css(".stock"), optional=True),
        },
        alert_policy=AlertPolicy(channels=["ops"], conditions=[Condition(id="buy", all=both)]),
    )
    await checks.check_each(
        offer("120 €", "<p class=stock>Sold out</p>"), offer("90 €", ""), offer("90 €"), offer("soon")
    )

    seen = await checks.seen()
    assert [list(one.value.fields) for one in seen if isinstance(one.value, FieldsValue)] == [
        ["price", "stock"]
    ] * 3
    assert [one.change_kind for one in seen] == [None, "value_changed", "value_appeared"]
    assert await titles(checks) == ["widget: stock nothing -> in stock"]
    ended = (await checks.last_run()).result
    assert (ended.error_code, (ended.error_detail or "")[:12]) == ("EXTRACT_PARSE_ERROR", "field price:")


async def test_a_list_in_another_order_is_no_change_and_new_rows_are_told_by_name(checks: World) -> None:
    await checks.watch(
        offer("1"),
        type="list",
        extraction=css("ul"),
        alert_policy=AlertPolicy(channels=["ops"], conditions=[Condition(id="new", type="rows_added")]),
    )
    await checks.check_each(
        offer("1", sizes="<li>S<li>M"), offer("1", sizes="<li>M<li>S"), offer("1", sizes="<li>L<li>M<li>S")
    )

    assert [one.change_kind for one in await checks.seen()] == [None, None, "rows_changed"]
    assert (await checks.state()).stable == RowsValue({"L": {}, "M": {}, "S": {}})
    (alert,) = await checks.store.alerts(limit=5)
    assert alert.title == "widget: 1 row added"


async def test_the_lowest_in_days_is_asked_of_the_history(checks: World) -> None:
    lowest = Condition(id="best", type="lowest_in_days", value=Decimal(2))
    await checks.watch(page("100 €"), alert_policy=AlertPolicy(channels=["ops"], conditions=[lowest]))
    await checks.check_each(page("100 €"), page("80 €"), page("95 €"), page("90 €"), page("79 €"))
    assert await titles(checks) == ["widget: 100 EUR -> 80 EUR", "widget: 90 EUR -> 79 EUR"]

    checks.clock.advance(3 * 86400)
    await checks.check_each(page("99 €"), page("90 €"))
    assert (await titles(checks))[2:] == []  # 79 was believed until a minute ago

    checks.clock.advance(3 * 86400)
    await checks.check_each(page("89 €"))
    assert (await titles(checks))[2:] == ["widget: 90 EUR -> 89 EUR"]


async def test_what_level_and_rearm_remember_lives_in_the_database(checks: World) -> None:
    low = Condition(id="low", type="price_below", value=Decimal(100), mode="level", repeat_seconds=120)
    once = Condition(id="once", type="price_below", value=Decimal(100), rearm=Decimal(110))
    await checks.watch(page("120 €"), alert_policy=AlertPolicy(channels=["ops"], conditions=[low, once]))
    await checks.check_each(*map(page, ("120 €", "90 €", "90 €", "90 €", "105 €", "95 €")))

    met = [alert.conditions for alert in (await checks.store.alerts(limit=9))[::-1]]
    assert met == [("low", "once"), ("low",), ("low",)]
    state = await checks.state()
    assert (list(state.told), state.disarmed) == (["low"], ("once",))


async def test_half_a_page_is_looked_at_twice_before_it_is_believed(checks: World) -> None:
    whole = "<p>" + "word " * 1000
    await checks.watch(
        Reply(body=whole + "<b class=price>100 €</b>"),
        alert_policy=AlertPolicy(channels=["ops"], confirm=Confirm(within=30)),
    )
    await checks.check()
    await checks.check_each(page("90 €"))
    doubted = await checks.state()
    assert doubted.candidate_doubt is not None
    assert doubted.candidate_doubt.startswith("the page shrank from 5")
    run = await checks.last_run()
    assert (run.status, run.result.error_code) == ("ok", None)
    assert (run.result.error_detail or "").startswith("VALUE_IMPLAUSIBLE: the page shrank")
    assert len([job for job in await checks.waiting() if job.endswith("+")]) == 1

    await checks.check()
    assert (await titles(checks)) == ["widget: 100 EUR -> 90 EUR"]


async def test_a_new_value_that_http_brought_is_looked_at_again_by_a_browser_where_there_is_one(
    checks: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = AlertPolicy(channels=["ops"], require_consecutive=2, confirm=Confirm(within=30))
    await checks.watch(page("100 €"), alert_policy=policy)
    await checks.check_each(page("100 €"), page("90 €"))
    without = await checks.store.unsent(9, checks.clock.time() + 60, lease=0.0)

    monkeypatch.setattr(Fetcher, "browser_trouble", "")
    await checks.check_each(page("80 €"))
    both = await checks.store.unsent(9, checks.clock.time() + 60, lease=0.0)

    modes = [msgspec.json.decode(job.payload)["forceMode"] for job in both]
    assert [msgspec.json.decode(job.payload)["forceMode"] for job in without] == [None]
    assert modes == [None, "headless"]
