"""What a person decides on a healed selector: kept it is the last fallback, forgotten nothing is left of it."""

from __future__ import annotations

import pytest

from sentinel.errors import NotFound, StateConflict
from sentinel.model import Extraction, FallbackSelector, Field, Fingerprint, Healed, Remembered, Rule
from sentinel.store import Store
from tests.sentinel.store.things import NOW, a_rule, a_verdict, begin, every_row, finish, load

PRINT = Fingerprint(tag="span", shape="price", text="99,99 €")
HEALED = Healed(selector="span.amount", instead_of="css '.price'", score=0.9)
OWN = Extraction(
    method="css", selector=".price", fallback_selectors=[FallbackSelector(method="css", selector="b")]
)
SIMPLE = a_rule(extraction=OWN)
RECORD = Rule(
    id="widget",
    url="https://shop.example/widget",
    type="record",
    fields={name: Field(type="price", extraction=OWN) for name in ("new", "old")},
)


async def heal(store: Store, rule: Rule, **healed: Healed | None) -> None:
    """The rule, and what is remembered of each of its parts."""
    await load(store, rule)
    elements = {name: Remembered(".price", PRINT, one) for name, one in healed.items()}
    await finish(store, await begin(store), a_verdict(), elements=elements)


async def test_what_is_kept_becomes_the_last_fallback(store: Store) -> None:
    await load(store, SIMPLE)
    await finish(store, await begin(store), a_verdict(), elements={"": Remembered(".price", PRINT, HEALED)})
    before = await store.rule("widget")

    assert await store.settle_healing("widget", accept=True, now=NOW + 9) == (HEALED,)

    after = await store.rule("widget")
    assert after.rule.extraction is not None
    assert [one.selector for one in after.rule.extraction.fallback_selectors] == ["b", "span.amount"]
    assert after.elements == {"": Remembered(".price", PRINT)}
    assert (after.state.stable, after.state.version) == (before.state.stable, before.state.version + 1)
    assert (after.next_due, after.updated_at) == (before.next_due, NOW + 9)


async def test_what_is_forgotten_is_not_tried_again_and_the_rule_stays(store: Store) -> None:
    await heal(store, RECORD, new=HEALED, old=None)

    assert await store.settle_healing("widget", accept=False, now=NOW + 9) == (HEALED,)

    after = await store.rule("widget")
    assert after.rule == RECORD
    assert after.elements == {
        "new": Remembered(".price", PRINT, refused=True),
        "old": Remembered(".price", PRINT),
    }


async def test_of_a_record_only_the_field_that_was_healed_is_changed(store: Store) -> None:
    await heal(store, RECORD, new=HEALED, old=None)
    await store.settle_healing("widget", accept=True, now=NOW + 9)
    fields = (await store.rule("widget")).rule.fields
    assert [one.selector for one in fields["new"].extraction.fallback_selectors] == ["b", "span.amount"]
    assert fields["old"] == RECORD.fields["old"]


async def test_where_nothing_was_healed_nothing_changes(store: Store) -> None:
    await heal(store, RECORD, new=None)
    before = await every_row(store)
    assert await store.settle_healing("widget", accept=True, now=NOW + 9) == ()
    assert await every_row(store) == before
    with pytest.raises(NotFound):
        await store.settle_healing("nobody", accept=True, now=NOW)


async def test_a_check_that_was_under_way_judges_anew(store: Store) -> None:
    await heal(store, RECORD, new=HEALED)
    ticket = await begin(store, "job-2")
    await store.settle_healing("widget", accept=True, now=NOW + 9)
    with pytest.raises(StateConflict):
        await finish(store, ticket, a_verdict())
