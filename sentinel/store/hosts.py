"""Hosts in trouble: how their checks ended lately, in all workers; a host that is well has no row.

A workspace sees its own checks only: what one of them makes of a host holds up nobody else.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from sentinel.decide import host as decide
from sentinel.decide.endpoint import Endpoint, probing
from sentinel.decide.host import BREAKER, Gone, Host, Wait
from sentinel.model import Rule
from sentinel.store.base import AnyRow, Part
from sentinel.store.records import StoredRule
from sentinel.store.rules import read_rule
from sentinel.store.tables import host_state

_FIELDS: Final = Endpoint.__struct_fields__
#: Seconds for which a host in trouble is remembered though nothing was heard of it.
FORGET_AFTER: Final = 7 * 86400.0


class Hosts(Part):
    """What is known of the hosts that rules look at."""

    async def host(self, workspace_id: str, host: str) -> Host | None:
        """None: nothing is wrong with it. Raises StoreUnavailable."""
        return await self._database.read(lambda connection: _read(connection, workspace_id, host))

    async def rule_and_host(
        self, rule_id: str, host_of: Callable[[Rule], str]
    ) -> tuple[StoredRule, Host | None]:
        """A rule and its host (`host_of`), as `rule` and `host` tell them, for the price of one.

        Raises NotFound, StoreUnavailable.
        """

        async def read(connection: AsyncConnection) -> tuple[StoredRule, Host | None]:
            stored = await read_rule(connection, rule_id)
            return stored, await _read(connection, stored.workspace.id, host_of(stored.rule))

        return await self._database.read(read)

    async def admit_check(
        self, workspace_id: str, host: str, rule_id: str, now: float, *, by_hand: bool = False
    ) -> Wait | Gone | None:
        """Let a check go to its host, as the only probe where that is half open; None: it may go.

        `by_hand`: it goes whatever is answered, and is nobody's probe. Raises StoreUnavailable.
        """
        known = await self.host(workspace_id, host)
        if known is None:
            return None
        answer = decide.admit(known, rule_id, now)
        if answer is not None or by_hand or known.endpoint.open_until is None:
            return answer

        async def probe(connection: AsyncConnection) -> Wait | Gone | None:
            locked = await _read(connection, workspace_id, host, lock=True)
            if locked is None:  # it has come back meanwhile
                return None
            answer = decide.admit(locked, rule_id, now)
            tries = Host(probing(locked.endpoint, rule_id, now, BREAKER), locked.failing)
            if answer is None and tries != locked:
                await _update(connection, workspace_id, host, tries, now)
            return answer

        return await self._database.write(probe)

    async def note_check(
        self,
        workspace_id: str,
        host: str,
        rule_id: str,
        now: float,
        *,
        code: str | None = None,
        detail: str = "",
        retry_after: float | None = None,
    ) -> None:
        """How an attempt at that host ended (`code`: None where all went well). Raises StoreUnavailable."""

        def after(known: Host) -> Host:
            return decide.note(known, rule_id, now, code=code, detail=detail, retry_after=retry_after)

        known = await self.host(workspace_id, host)
        if known is None and decide.is_well(after(Host())):
            return  # nearly all checks: nothing was wrong, and nothing is

        async def write(connection: AsyncConnection) -> None:
            columns = _columns(Host(), now) | {"workspace_id": workspace_id, "host": host}
            await connection.execute(
                self._database.insert(host_state).values(**columns).on_conflict_do_nothing()
            )
            before = await _read(connection, workspace_id, host, lock=True) or Host()
            now_is = after(before)
            if decide.is_well(now_is):
                await connection.execute(sa.delete(host_state).where(*_is(workspace_id, host)))
            elif now_is != before:
                await _update(connection, workspace_id, host, now_is, now)

        await self._database.write(write)


async def _read(
    connection: AsyncConnection, workspace_id: str, host: str, *, lock: bool = False
) -> Host | None:
    row: AnyRow | None = (
        await connection.execute(
            _LOCK if lock else _SELECT, {"its_workspace": workspace_id, "its_host": host}
        )
    ).first()
    if row is None:
        return None
    return Host(Endpoint(**{name: getattr(row, name) for name in _FIELDS}), tuple(row.failing))


async def _update(connection: AsyncConnection, workspace_id: str, host: str, known: Host, now: float) -> None:
    await connection.execute(
        sa.update(host_state).where(*_is(workspace_id, host)).values(**_columns(known, now))
    )


def _is(workspace_id: str, host: str) -> tuple[sa.ColumnElement[bool], sa.ColumnElement[bool]]:
    return host_state.c.workspace_id == workspace_id, host_state.c.host == host


_SELECT: Final = sa.select(host_state).where(
    host_state.c.workspace_id == sa.bindparam("its_workspace"), host_state.c.host == sa.bindparam("its_host")
)
_LOCK: Final = _SELECT.with_for_update()


def _columns(known: Host, now: float) -> dict[str, Any]:
    fields = {name: getattr(known.endpoint, name) for name in _FIELDS}
    return fields | {"failing": known.failing, "updated_at": now}
