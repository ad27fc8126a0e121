"""Whose turn it is when more rules are due than are claimed at once: workspaces in turn, their hosts in turn.

    due:  acme/shop-a ×10,000   acme/shop-b ×2   zoo/page ×1
    turn: acme/shop-a, zoo/page, acme/shop-b, acme/shop-a, acme/shop-b, acme/shop-a ...

Among those of one host the most overdue goes first, measured by its own pace: two minutes are more to a rule
of every minute than half an hour is to one of every hour. An hour is the most that counts as a pace, so that
a daily rule is not put off for days.

Ten thousand rules of one workspace that were overdue since the night do not keep the one rule of another from
its minute.
"""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from sentinel.store.database import Database
from sentinel.store.tables import rule

#: Seconds; what is checked less often is not put off the longer for it.
SLOWEST: Final = 3600.0
#: Claims that one ranking is good for, and for how long; seconds. What becomes due meanwhile waits so long.
AHEAD: Final = 5
KEPT: Final = 5.0

_NOW: Final = sa.bindparam("now", type_=rule.c.next_due_at.type)
_IS_DUE: Final = (
    # In the words of the partial index: SQLite does not see that `enabled = 1`, SQLAlchemy's way to ask for a
    # boolean, is what the index is for, and reads every rule.
    sa.text("rule.enabled"),
    rule.c.next_due_at <= _NOW,
)
#: How many times its own pace a rule is late, but for a factor.
_LATENESS: Final = sa.cast(
    sa.type_coerce(_NOW, sa.BigInteger) - sa.type_coerce(rule.c.next_due_at, sa.BigInteger), sa.Float
) / sa.case((rule.c.pace < SLOWEST, rule.c.pace), else_=SLOWEST)

_OLDEST: Final = sa.select(rule.c.id).where(*_IS_DUE).order_by(rule.c.next_due_at).limit(sa.bindparam("most"))

_BY_HOST: Final = (
    sa.select(
        rule.c.id,
        rule.c.workspace_id,
        _LATENESS.label("lateness"),
        sa.func.row_number()
        .over(partition_by=(rule.c.workspace_id, rule.c.host), order_by=_LATENESS.desc())
        .label("of_host"),
    )
    .where(*_IS_DUE)
    .subquery()
)
_BY_WORKSPACE: Final = sa.select(
    _BY_HOST.c.id,
    _BY_HOST.c.lateness,
    sa.func.row_number()
    .over(partition_by=_BY_HOST.c.workspace_id, order_by=(_BY_HOST.c.of_host, _BY_HOST.c.lateness.desc()))
    .label("of_workspace"),
).subquery()
_IN_TURN: Final = (
    sa.select(_BY_WORKSPACE.c.id)
    .order_by(_BY_WORKSPACE.c.of_workspace, _BY_WORKSPACE.c.lateness.desc())
    .limit(sa.bindparam("most"))
)


class Turns:
    """Whose turn it is. What a ranking told is kept for a few claims: it looks at all that is due."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._ranked: list[str] = []
        self._ranked_at = 0.0

    async def next(self, now: float, most: int) -> tuple[list[str], bool]:
        """Ids of up to `most` rules that are due at `now`, and whether they were ranked before.

        Those may be somebody else's by now, and others be due. Raises StoreUnavailable.
        """
        if len(self._ranked) >= most and 0 <= now - self._ranked_at <= KEPT:
            chosen, self._ranked = self._ranked[:most], self._ranked[most:]
            return chosen, True
        # Readers do not queue for SQLite's one writer.
        chosen = await self._database.read(lambda connection: _fair_turn(connection, now, most))
        self._ranked, self._ranked_at = chosen[most:], now
        return chosen[:most], False

    def forget(self) -> None:
        """Others are faster: rank anew."""
        self._ranked = []


async def _fair_turn(connection: AsyncConnection, now: float, most: int) -> list[str]:
    """Ids of rules that are due at `now`, `AHEAD` times `most` at most.

    Where no more are due than `most`, it is all of them, by one look into the index of due times: what it
    costs does not grow with the rules that are not due. Only else are those that are due ranked.
    """
    oldest = list((await connection.execute(_OLDEST, {"now": now, "most": most + 1})).scalars())
    if len(oldest) <= most:
        return oldest
    return list((await connection.execute(_IN_TURN, {"now": now, "most": AHEAD * most})).scalars())
