"""Channels as they are stored: found, switched, deleted, and their credentials sealed anew."""

from __future__ import annotations

from typing import Final

import msgspec
import sqlalchemy as sa

from sentinel.credentials import Keyring, Place
from sentinel.errors import CredentialUnreadable, NotFound, Unreadable
from sentinel.model import AlertPolicy, Route, Workspace
from sentinel.store.base import Part
from sentinel.store.imports import RULE_DEFINITION, as_workspace, channel_columns, read_workspace
from sentinel.store.records import Resealed, StoredChannel, Unopened, UnreadableChannel
from sentinel.store.rules import channel_or_not, channels_called, read_channel, read_channels
from sentinel.store.tables import channel, channel_state, rule, workspace

#: Channels whose credentials are sealed anew in one transaction.
BATCH: Final = 100


class ChannelRows(Part):
    """Channels, one at a time."""

    async def find_channel(self, channel_id: str, workspace_id: str | None = None) -> StoredChannel:
        """The channel of that id; without a workspace there must be one only. Raises NotFound, Unreadable."""
        found = await self.find_any_channel(channel_id, workspace_id)
        if isinstance(found, UnreadableChannel):
            raise Unreadable(found.problem)
        return found

    async def find_any_channel(
        self, channel_id: str, workspace_id: str | None = None
    ) -> StoredChannel | UnreadableChannel:
        """As `find_channel`, also of one that cannot be read. Raises NotFound."""
        async with self._database.reading() as connection:
            rows = await channels_called(connection, channel_id, workspace_id)
        match rows:
            case [row]:
                return channel_or_not(row)
            case []:
                raise NotFound(f"no channel {channel_id}")
        spaces = ", ".join(row.workspace_id for row in rows)
        raise NotFound(f"several workspaces have a channel {channel_id} ({spaces}): name one")

    async def workspace(self, workspace_id: str | None = None) -> Workspace | None:
        """A workspace, or the only one there is; None: it is not there, or there is none at all.

        Raises NotFound where there are several and none was named.
        """
        async with self._database.reading() as connection:
            if workspace_id is not None:
                return await read_workspace(connection, workspace_id)
            rows = (await connection.execute(sa.select(workspace).order_by(workspace.c.id).limit(3))).all()
        if len(rows) > 1:
            raise NotFound(f"several workspaces ({', '.join(row.id for row in rows)}): name one")
        return as_workspace(rows[0]) if rows else None

    async def set_channel_enabled(
        self, workspace_id: str, channel_id: str, enabled: bool, now: float
    ) -> bool:
        """Switch a channel on or off, in its definition too. False: it was so already.

        Raises NotFound, Unreadable.
        """
        ours = (channel.c.workspace_id == workspace_id, channel.c.id == channel_id)
        async with self._database.writing() as connection:
            stored = await read_channel(connection, workspace_id, channel_id, lock=True)
            if stored.channel.enabled == enabled:
                return False
            changed = msgspec.structs.replace(stored.channel, enabled=enabled)
            await connection.execute(
                sa.update(channel).where(*ours).values(disabled_reason=None, **channel_columns(changed, now))
            )
            return True

    async def delete_channel(self, workspace_id: str, channel_id: str) -> None:
        """Forget a channel and its credentials; what is still owed to it is dead. Raises NotFound."""
        async with self._database.writing() as connection:
            gone = await connection.execute(
                sa.delete(channel)
                .where(channel.c.workspace_id == workspace_id, channel.c.id == channel_id)
                .returning(channel.c.id)
            )
            if gone.first() is None:
                raise NotFound(f"no channel {channel_id}")
            await connection.execute(
                sa.delete(channel_state).where(
                    channel_state.c.workspace_id == workspace_id, channel_state.c.channel_id == channel_id
                )
            )

    async def named_by(self, workspace_id: str, channel_id: str) -> list[str]:
        """Who names a channel: `rule widget`, `route night`, `channel ops` (whose fallback it is)."""
        rules = sa.select(rule.c.id, RULE_DEFINITION).where(rule.c.workspace_id == workspace_id)
        async with self._database.reading() as connection:
            space = await read_workspace(connection, workspace_id)
            by_rules = [
                f"rule {row.id}"
                for row in await connection.execute(rules.order_by(rule.c.id))
                if not isinstance(row.definition, Unreadable)
                and channel_id in _told(row.definition.alert_policy)
            ]
            by_channels = [
                f"channel {one.channel.id}"
                for one in await read_channels(connection, workspace_id)
                if isinstance(one, StoredChannel) and one.channel.fallback == channel_id
            ]
        by_routes = [
            f"route {route.id or number}"
            for number, route in enumerate(space.routes if space else (), 1)
            if channel_id in _told(route)
        ]
        return [*by_routes, *by_rules, *by_channels]

    async def reseal(
        self, keyring: Keyring, *, after: tuple[str, str] = ("", ""), limit: int = BATCH
    ) -> Resealed:
        """Seal the stored credentials of the next channels under the first key, in one transaction.

        `after`: `last` of the batch before. What is under the first key already stays untouched, and
        so does what opens with none of the keys; that is told. Readers that have both keys never
        notice: a row holds the one or the other.
        """
        position = sa.tuple_(channel.c.workspace_id, channel.c.id)
        wanted = (
            sa.select(channel.c.workspace_id, channel.c.id, channel.c.credentials)
            .where(position > sa.tuple_(*map(sa.literal, after)), channel.c.credentials.is_not(None))
            .order_by(channel.c.workspace_id, channel.c.id)
            .limit(limit)
            .with_for_update()
        )
        resealed = current = 0
        unopened: list[Unopened] = []
        last: tuple[str, str] | None = None
        async with self._database.writing() as connection:
            # An import keeps what it read: it must not have read what is sealed anew meanwhile.
            await self._database.serialise(connection)
            rows = (await connection.execute(wanted)).all()
            for row in rows:
                last = (row.workspace_id, row.id)
                sealed, failed = _under_first_key(keyring, row.workspace_id, row.id, row.credentials)
                unopened += failed
                changed = sum(sealed[name] != row.credentials[name] for name in sealed)
                resealed += changed
                current += len(sealed) - changed - len(failed)
                if changed:
                    ours = (channel.c.workspace_id == row.workspace_id, channel.c.id == row.id)
                    await connection.execute(sa.update(channel).where(*ours).values(credentials=sealed))
        return Resealed(resealed, current, tuple(unopened), last if len(rows) == limit else None)


def _told(source: Route | AlertPolicy) -> list[str]:
    """The channels that a route or a rule names."""
    return [*source.channels, *(source.escalate.channels if source.escalate else ())]


def _under_first_key(
    keyring: Keyring, workspace_id: str, channel_id: str, before: dict[str, str]
) -> tuple[dict[str, str], list[Unopened]]:
    """The credentials of a channel, all under the first key where they can be opened."""
    after: dict[str, str] = {}
    failed: list[Unopened] = []
    for name, sealed in before.items():
        place = Place(workspace_id, channel_id, name)
        try:
            # Opened also where the key is the right one: what does not open is worth knowing today.
            text = keyring.open(sealed, place)
            after[name] = sealed if keyring.is_current(sealed) else keyring.seal(text, place)
        except CredentialUnreadable as error:
            after[name] = sealed
            failed.append(Unopened(workspace_id, channel_id, name, str(error)))
    return after, failed
