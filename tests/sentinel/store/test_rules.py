"""Rules: imported, kept, switched, deleted, exported."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from sentinel.errors import NotFound, RuleFileError
from sentinel.model import (
    ActiveHours,
    Extraction,
    FetchProfile,
    QuietHours,
    RulesFile,
    RuleState,
    Schedule,
    Workspace,
)
from sentinel.store import Store
from tests.sentinel.store.things import (
    EUR_90,
    GOOD,
    HOUR,
    NOW,
    a_file,
    a_rule,
    a_verdict,
    an_alert,
    begin,
    every_row,
    finish,
    load,
    raised_alert,
)


def never(_: object) -> float:
    raise AssertionError("asked when a rule is due that has its time already")


async def test_a_rule_comes_back_as_it_went_in(store: Store) -> None:
    await load(store, a_rule(tags=["a", "b"], fetch=FetchProfile(headers={"X": "ž\u2028"})), due=NOW + 5)

    stored = await store.rule("widget")

    assert stored.rule == a_rule(tags=["a", "b"], fetch=FetchProfile(headers={"X": "ž\u2028"}))
    assert stored.workspace == Workspace(id="acme", timezone="Europe/Bratislava")
    assert stored.state == RuleState()
    assert (stored.enabled, stored.next_due) == (True, NOW + 5)


async def test_a_file_that_is_exported_imports_unchanged(store: Store) -> None:
    file = a_file(a_rule("b"), a_rule("a"))
    quiet = Workspace(id="acme", name="Acme", quiet_hours=QuietHours(start="22:00", end="06:00"))
    file = msgspec.structs.replace(file, workspace=quiet)
    await store.import_rules(file, now=NOW, first_due=lambda _: NOW)

    exported = await store.export()
    report = await store.import_rules(exported, now=NOW, first_due=never)

    assert exported.workspace == quiet
    assert [rule.id for rule in exported.rules] == ["a", "b"]
    assert (report.rules.created, report.rules.updated) == ((), ())
    assert set(report.rules.unchanged) == {"a", "b"}
    assert set(report.channels.unchanged) == {"ops", "boss"}


async def test_importing_twice_changes_nothing(store: Store) -> None:
    await load(store)
    before = await every_row(store)
    await store.import_rules(a_file(), now=NOW + HOUR, first_due=never)
    assert await every_row(store) == before


async def test_a_dry_run_tells_the_same_and_writes_nothing(store: Store) -> None:
    await load(store)
    before = await every_row(store)
    changed = a_file(a_rule(url="https://user:pw@shop.example/new?key=1"), a_rule("second"))

    told = await store.import_rules(changed, now=NOW, first_due=never, dry_run=True)

    assert await every_row(store) == before
    assert told.rules.created == ("second",)
    assert told.rules.updated[0].forgets_value
    assert [(field.path, field.after) for field in told.rules.updated[0].fields] == [
        ("url", "https://shop.example/new?***")
    ]
    done = await store.import_rules(changed, now=NOW, first_due=lambda _: NOW)
    assert msgspec.structs.replace(done, dry_run=True) == told


async def test_what_may_hold_a_secret_is_told_as_changed_but_not_shown(store: Store) -> None:
    await load(store, a_rule(fetch=FetchProfile(cookies={"session": "hunter1"})))
    report = await store.import_rules(
        a_file(a_rule(fetch=FetchProfile(cookies={"session": "hunter2"}))),
        now=NOW,
        first_due=lambda _: NOW,  # asked for rules that have backed off: an edit ends that
    )
    assert [field.path for field in report.rules.updated[0].fields] == ["fetch.cookies.session"]
    assert "hunter" not in repr(report)


@pytest.mark.parametrize(
    ("change", "kept"),
    [
        ({"name": "Widget"}, True),
        ({"schedule": Schedule(cron="* * * * *")}, True),
        ({"url": "https://shop.example/other"}, False),
        ({"type": "number"}, False),
        ({"extraction": Extraction(method="css", selector=".other")}, False),
    ],
)
async def test_the_value_is_kept_unless_what_is_watched_is_not_what_it_was(
    store: Store, change: dict[str, Any], kept: bool
) -> None:
    await load(store)
    await finish(store, await begin(store), a_verdict(candidate=EUR_90, candidate_count=1, health=50.0))

    await store.import_rules(a_file(a_rule(**change)), now=NOW, first_due=lambda _: NOW)

    state = (await store.rule("widget")).state
    assert (state.stable, state.candidate) == ((EUR_90, EUR_90) if kept else (None, None))
    assert state.candidate_count == (1 if kept else 0)
    assert state.health == 50.0  # health is told of the rule, whatever it watches


async def test_a_new_schedule_is_due_when_it_says_and_the_old_one_when_it_was(store: Store) -> None:
    await load(store, a_rule("kept"), a_rule("moved"), due=NOW + 5)
    file = a_file(a_rule("kept", name="x"), a_rule("moved", schedule=Schedule(interval_seconds=60)))

    await store.import_rules(file, now=NOW, first_due=lambda _: NOW + 60)

    assert (await store.rule("kept")).next_due == NOW + 5
    assert (await store.rule("moved")).next_due == NOW + 60


async def test_rules_that_go_by_the_workspaces_clock_are_due_anew_when_that_is_another_one(
    store: Store,
) -> None:
    schedules = {
        "nightly": Schedule(cron="0 3 * * *"),
        "office": Schedule(interval_seconds=60, active_hours=[ActiveHours(days=["weekdays"])]),
        "own": Schedule(cron="0 3 * * *", timezone="UTC"),
        "any": Schedule(interval_seconds=60),
    }
    await load(store, *(a_rule(name, schedule=one) for name, one in schedules.items()), due=NOW + 5)
    moved = RulesFile(workspace=Workspace(id="acme", timezone="America/New_York"))

    await store.import_rules(moved, now=NOW, first_due=lambda _: NOW + 60)

    due = {name: (await store.rule(name)).next_due - NOW for name in schedules}
    assert due == pytest.approx({"nightly": 60, "office": 60, "own": 5, "any": 5})


async def test_a_rule_of_another_workspace_is_not_taken_over(store: Store) -> None:
    await load(store)
    before = await every_row(store)
    with pytest.raises(RuleFileError) as caught:
        await store.import_rules(a_file(workspace="rival"), now=NOW, first_due=never)
    assert caught.value.problems[0].path == "rules[0].id"
    assert await every_row(store) == before


async def test_five_thousand_rules_are_one_import(store: Store) -> None:
    many = [a_rule(f"r{number:05}") for number in range(5000)]
    report = await store.import_rules(a_file(*many), now=NOW, first_due=lambda _: NOW)
    assert len(report.rules.created) == 5000
    assert len((await store.import_rules(a_file(*many), now=NOW, first_due=never)).rules.unchanged) == 5000


async def test_rules_are_listed_by_page_state_and_tag(store: Store) -> None:
    await load(store, a_rule("a", tags=["x"]), a_rule("b", enabled=False, tags=["x"]), a_rule("c"))

    async def ids(**wanted: object) -> list[str]:
        return [stored.rule.id for stored in await store.rules(**wanted)]  # type: ignore[arg-type] # by name

    assert await ids() == ["a", "b", "c"]
    assert await ids(enabled=False) == ["b"]
    assert await ids(enabled=True, tag="x") == ["a"]
    assert await ids(limit=1, after="a") == ["b"]
    assert await ids(tag="none") == []


async def test_switching_off_is_kept_in_the_definition_and_switching_twice_is_nothing(store: Store) -> None:
    await load(store)
    assert await store.set_enabled("widget", False, NOW) is True
    assert await store.set_enabled("widget", False, NOW) is False
    assert not (await store.rule("widget")).rule.enabled
    assert not (await store.export()).rules[0].enabled
    with pytest.raises(NotFound):
        await store.set_enabled("none", True, NOW)


async def test_a_deleted_rule_is_gone_and_what_happened_stays(store: Store) -> None:
    await load(store)
    await finish(store, await begin(store), a_verdict(an_alert()))

    await store.delete_rule("widget")

    with pytest.raises(NotFound):
        await store.rule("widget")
    with pytest.raises(NotFound):
        await store.delete_rule("widget")
    with pytest.raises(NotFound):
        await begin(store, "job-2")
    rows = await every_row(store)
    assert (rows["source"], rows["rule_state"]) == ([], [])
    assert len(await store.history("widget")) == 1
    assert len(await store.alerts(rule_id="widget")) == 1


async def test_a_rule_of_the_same_id_made_later_starts_without_a_value(store: Store) -> None:
    await load(store)
    await finish(store, await begin(store), a_verdict())
    await store.delete_rule("widget")
    await load(store)
    assert (await store.rule("widget")).state == RuleState()


async def test_what_no_database_takes_is_replaced(store: Store) -> None:
    await load(store, a_rule(name="nul\x00"))
    ticket = await begin(store)
    hostile = msgspec.structs.replace(GOOD, error_detail="\x00\ud83d")
    await store.finish_run(ticket, hostile, a_verdict(), "raw\x00\ud83d", expected_state_version=0, now=NOW)
    assert (await store.history("widget"))[0].raw == "raw\ufffd\ufffd"
    assert (await store.runs("widget"))[0].result.error_detail == "\ufffd\ufffd"


async def test_exporting_nothing_says_so(store: Store) -> None:
    with pytest.raises(NotFound, match="import a rules file first"):
        await store.export()
    await load(store)
    await store.import_rules(RulesFile(workspace=Workspace(id="b")), now=NOW, first_due=never)
    with pytest.raises(NotFound, match="several workspaces"):
        await store.export()
    assert (await store.export("b")).rules == []


async def test_a_channel_that_is_gone_is_switched_off_until_a_file_says_otherwise(store: Store) -> None:
    await load(store)
    alert_id = await raised_alert(store)
    ticket = await store.claim_delivery(alert_id, "ops", "job-a", 1, NOW)
    await store.record_attempt(ticket, "dead", now=NOW, error="410 Gone", disables=True)
    assert not (await store.channel("acme", "ops")).enabled
    reasons = {one: (await store.find_channel(one)).disabled_reason for one in await store.channel_ids()}
    assert reasons == {"boss": None, "ops": "410 Gone"}
    await load(store)
    assert (await store.channel("acme", "ops")).enabled
    with pytest.raises(NotFound):
        await store.channel("rival", "ops")
