"""Whose turn it is when more rules are due than are claimed at once: workspaces in turn, their hosts in turn.

    due:  acme/shop-a ×10,000   acme/shop-b ×2   zoo/page ×1
    turn: acme/shop-a, zoo/page, acme/shop-b, acme/shop-a, acme/shop-b, acme/shop-a ...

Ten thousand rules of one workspace that were overdue since the night do not keep the one rule of another from
its minute.
"""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from sentinel.store.tables import rule

_IS_DUE: Final = (
    # In the words of the partial index: SQLite does not see that `enabled = 1`, SQLAlchemy's way to ask for a
    # boolean, is what the index is for, and reads every rule.
    sa.text("rule.enabled"),
    rule.c.next_due_at <= sa.bindparam("now", type_=rule.c.next_due_at.type),
)

_OLDEST: Final = sa.select(rule.c.id).where(*_IS_DUE).order_by(rule.c.next_due_at).limit(sa.bindparam("most"))

_BY_HOST: Final = (
    sa.select(
        rule.c.id,
        rule.c.workspace_id,
        rule.c.next_due_at,
        sa.func.row_number()
        .over(partition_by=(rule.c.workspace_id, rule.c.host), order_by=rule.c.next_due_at)
        .label("of_host"),
    )
    .where(*_IS_DUE)
    .subquery()
)
_BY_WORKSPACE: Final = sa.select(
    _BY_HOST.c.id,
    _BY_HOST.c.next_due_at,
    sa.func.row_number()
    .over(partition_by=_BY_HOST.c.workspace_id, order_by=(_BY_HOST.c.of_host, _BY_HOST.c.next_due_at))
    .label("of_workspace"),
).subquery()
_IN_TURN: Final = (
    sa.select(_BY_WORKSPACE.c.id)
    .order_by(_BY_WORKSPACE.c.of_workspace, _BY_WORKSPACE.c.next_due_at)
    .limit(sa.bindparam("most"))
)


async def fair_turn(connection: AsyncConnection, now: float, most: int) -> list[str]:
    """Ids of up to `most` rules that are due at `now`, in the caller's transaction.

    Where no more are due than that, it is all of them, by one look into the index of due times: what it costs
    does not grow with the rules that are not due. Only else are those that are due ranked.
    """
    oldest = list((await connection.execute(_OLDEST, {"now": now, "most": most + 1})).scalars())
    if len(oldest) <= most:
        return oldest
    return list((await connection.execute(_IN_TURN, {"now": now, "most": most})).scalars())
