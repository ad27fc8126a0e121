"""Credentials in the database: sealed, kept over imports, opened only where they belong."""

from __future__ import annotations

from typing import Any

import anyio
import msgspec
import pytest
import sqlalchemy as sa

from sentinel.credentials import ChannelCredentials, Keyring
from sentinel.errors import NotFound, RuleFileError, SendFailed, SendRefused
from sentinel.model import Channel, Credential, CredentialRef, RulesFile, Workspace
from sentinel.store import FieldChange, ImportReport, Store
from sentinel.store.tables import channel as channels
from tests.sentinel.store.things import NOW, every_row

OLD, NEW = Keyring([bytes(32)]), Keyring([bytes(range(32))])
SECRET, OTHER = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
STORED = CredentialRef(stored=True)


def a_file(*credentials: Credential | None, workspace: str = "acme", **fields: Any) -> RulesFile:
    made = [
        Channel(
            id=f"c{n}",
            type="webhook",
            url="https://hooks.example.com/",
            credentials={} if c is None else {"signing_secret": c},
            **fields,
        )
        for n, c in enumerate(credentials)
    ]
    return RulesFile(workspace=Workspace(id=workspace), channels=made)


async def put(store: Store, file: RulesFile, keyring: Keyring | None = OLD, **options: Any) -> ImportReport:
    return await store.import_rules(file, now=NOW, first_due=lambda _: NOW, keyring=keyring, **options)


async def value(
    store: Store, keyring: Keyring = OLD, channel_id: str = "c0", workspace: str = "acme"
) -> tuple[str, ...]:
    return ChannelCredentials({}, keyring).get(await store.channel(workspace, channel_id), "signing_secret")


async def test_a_value_is_kept_sealed_and_comes_back_when_it_is_asked_for(store: Store) -> None:
    report = await put(store, a_file(SECRET))

    assert report.channels.created == ("c0",)
    assert await value(store) == (SECRET,)
    assert SECRET not in repr(await every_row(store))
    assert SECRET.removeprefix("whsec_") not in msgspec.json.encode(await store.export()).decode()


async def test_the_same_value_again_changes_nothing(store: Store) -> None:
    await put(store, a_file(SECRET))
    before = await every_row(store)

    report = await put(store, a_file(SECRET))

    assert report.channels.unchanged == ("c0",)
    assert await every_row(store) == before


async def test_another_value_is_a_change_that_is_told_without_it(store: Store) -> None:
    await put(store, a_file(SECRET))

    dry = await put(store, a_file(OTHER), dry_run=True)
    assert await value(store) == (SECRET,)
    report = await put(store, a_file(OTHER))

    assert dry.channels == report.channels
    assert report.channels.updated[0].fields == (FieldChange("credentials.signing_secret", "***", "***"),)
    assert await value(store) == (OTHER,)


async def test_an_export_is_imported_again_and_keeps_what_is_stored(store: Store) -> None:
    await put(store, a_file(SECRET, CredentialRef(env="A"), CredentialRef(file="/run/secrets/a"), None))
    exported = await store.export()

    report = await put(store, exported, keyring=None)

    assert exported.channels[0].credentials == {"signing_secret": STORED}
    assert len(report.channels.unchanged) == 4
    assert await value(store) == (SECRET,)


async def test_a_reference_in_the_place_of_a_value_takes_the_value_away(store: Store) -> None:
    await put(store, a_file(SECRET, SECRET))

    await put(store, a_file(CredentialRef(env="A"), None))

    async with store._database.reading() as connection:
        assert list(await connection.scalars(sa.select(channels.c.credentials))) == [None, None]


async def test_without_a_key_a_value_is_refused_and_nothing_changes(store: Store) -> None:
    with pytest.raises(RuleFileError) as caught:
        await put(store, a_file(SECRET, OTHER), keyring=None)

    assert [problem.path for problem in caught.value.problems] == [
        "channels[0].credentials.signing_secret",
        "channels[1].credentials.signing_secret",
    ]
    assert "SENTINEL_SECRET_KEY" in caught.value.problems[0].message
    assert "{env: NAME}" in caught.value.problems[0].hint
    assert SECRET not in str(caught.value)
    assert await store.channels() == []


async def test_what_is_said_to_be_stored_must_be(store: Store) -> None:
    with pytest.raises(RuleFileError, match="no value is stored"):
        await put(store, a_file(STORED))


async def test_a_row_that_was_copied_to_another_channel_opens_nothing(store: Store) -> None:
    await put(store, a_file(SECRET, OTHER))
    await put(store, a_file(OTHER, workspace="evil"))
    async with store._database.writing() as connection:
        ours = await connection.scalar(
            sa.select(channels.c.credentials).where(channels.c.workspace_id == "acme", channels.c.id == "c0")
        )
        theirs = sa.or_(channels.c.id != "c0", channels.c.workspace_id != "acme")
        await connection.execute(sa.update(channels).where(theirs).values(credentials=ours))

    assert await value(store) == (SECRET,)
    for channel_id, workspace in (("c1", "acme"), ("c0", "evil")):
        with pytest.raises(SendRefused, match="another channel"):
            await value(store, channel_id=channel_id, workspace=workspace)


async def test_with_a_lost_key_the_value_is_simply_given_again(store: Store) -> None:
    await put(store, a_file(SECRET))

    report = await put(store, a_file(SECRET), keyring=NEW)

    assert len(report.channels.updated) == 1
    assert await value(store, NEW) == (SECRET,)


async def test_switching_a_channel_off_and_on_keeps_its_credentials(store: Store) -> None:
    await put(store, a_file(SECRET))
    await put(store, a_file(STORED, enabled=False))
    await put(store, a_file(STORED))

    assert await value(store) == (SECRET,)


# --- one channel at a time ------------------------------------------------------------------------


async def test_a_channel_is_found_by_its_id_where_one_workspace_has_it(store: Store) -> None:
    await put(store, a_file(SECRET, None))
    await put(store, a_file(OTHER, workspace="beta"))

    assert (await store.find_channel("c1")).workspace_id == "acme"
    assert (await store.find_channel("c0", "beta")).workspace_id == "beta"
    for wrong in (("c0", None), ("c1", "beta"), ("c9", None)):
        with pytest.raises(NotFound, match=wrong[0]):
            await store.find_channel(*wrong)


async def test_a_switched_channel_keeps_its_credentials(store: Store) -> None:
    await put(store, a_file(SECRET))

    assert await store.set_channel_enabled("acme", "c0", False, NOW)
    assert not await store.set_channel_enabled("acme", "c0", False, NOW)
    assert not (await store.channel("acme", "c0")).enabled
    assert await store.set_channel_enabled("acme", "c0", True, NOW)
    assert await value(store) == (SECRET,)
    with pytest.raises(NotFound):
        await store.set_channel_enabled("acme", "c9", True, NOW)


async def test_a_deleted_channel_takes_its_credentials_along(store: Store) -> None:
    await put(store, a_file(SECRET))

    await store.delete_channel("acme", "c0")

    assert (await every_row(store))["channel"] == []
    with pytest.raises(NotFound):
        await store.delete_channel("acme", "c0")


# --- rotation -------------------------------------------------------------------------------------

BOTH = Keyring([bytes(range(32)), bytes(32)])


async def test_rotation_goes_batch_by_batch_and_twice_is_once(store: Store) -> None:
    await put(store, a_file(SECRET, None, OTHER, SECRET, CredentialRef(env="A")))
    await put(store, a_file(SECRET, workspace="beta"))

    batches, after = [], ("", "")
    while True:
        batch = await store.reseal(BOTH, after=after, limit=2)
        batches.append((batch.resealed, batch.current, batch.last))
        if batch.last is None:
            break
        after = batch.last

    assert batches == [(2, 0, ("acme", "c2")), (2, 0, ("beta", "c0")), (0, 0, None)]
    assert await value(store, NEW) == (SECRET,)
    assert await value(store, NEW, channel_id="c2") == (OTHER,)
    with pytest.raises(SendFailed):
        await value(store, OLD)
    before = await every_row(store)
    again = await store.reseal(BOTH)
    assert (again.resealed, again.current, again.unopened) == (0, 4, ())
    assert await every_row(store) == before


async def test_what_none_of_the_keys_opens_stays_and_is_told(store: Store) -> None:
    await put(store, a_file(SECRET, OTHER))
    await put(store, a_file(SECRET, workspace="beta"), keyring=Keyring([bytes([7]) * 32]))

    found = await store.reseal(BOTH)

    assert found.resealed == 2
    assert [(one.workspace_id, one.channel_id, one.name) for one in found.unopened] == [
        ("beta", "c0", "signing_secret")
    ]
    assert await value(store, Keyring([bytes([7]) * 32]), workspace="beta") == (SECRET,)


async def test_a_value_that_is_imported_while_keys_are_rotated_is_not_lost(
    store: Store, other: Store
) -> None:
    await put(store, a_file(*[SECRET] * 20))

    async def rotate() -> None:
        after: tuple[str, str] | None = ("", "")
        while after is not None:
            after = (await store.reseal(BOTH, after=after, limit=1)).last

    async with anyio.create_task_group() as group:
        group.start_soon(rotate)
        for _ in range(5):
            await put(other, a_file(*[OTHER] * 20), keyring=BOTH)
            await put(other, a_file(*[SECRET] * 20), keyring=BOTH)

    for number in range(20):
        assert await value(store, BOTH, channel_id=f"c{number}") == (SECRET,)
