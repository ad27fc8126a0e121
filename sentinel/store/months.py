"""Observations lie by month on PostgreSQL: made ahead, made when missed, dropped whole when all of it is old.

    observation ─┬─ observation_2026_10   dropped: a file less, not a million deletes
                 ├─ observation_2026_11   now
                 └─ observation_2026_12   made ahead; a value of a month that nobody made makes it

A month is made beside the table and then attached, which lets checks go on; there is no default partition,
whose rows would be in the way of the month they belong to. SQLite has one plain table and none of this.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final, NamedTuple, Self

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from sentinel.store.base import Part
from sentinel.store.columns import to_micros
from sentinel.store.tables import observation

#: Months that are there before they begin: upkeep may be away for one.
AHEAD: Final = 2
#: Seconds that dropping waits for the table: checks that end meanwhile queue behind it.
DROP_WAIT: Final = 1.0

#: PostgreSQL's advisory lock; not that of imports, for which a check would have to wait.
_ONE_AT_A_TIME: Final = 0x4D4F4E54
_NAME: Final = re.compile(r"observation_(\d{4})_(\d{2})\Z")
_THERE: Final = sa.text(
    "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid"
    " WHERE i.inhparent = 'observation'::regclass"
)


class Month(NamedTuple):
    """A month of UTC, as its partition."""

    year: int
    month: int

    @classmethod
    def of(cls, seconds: float) -> Self:
        """That of a time, in seconds since the epoch."""
        at = datetime.fromtimestamp(seconds, UTC)
        return cls(at.year, at.month)

    @property
    def following(self) -> Month:
        """The one after it."""
        return Month(self.year + self.month // 12, self.month % 12 + 1)

    @property
    def begins(self) -> float:
        """Seconds since the epoch."""
        return datetime(self.year, self.month, 1, tzinfo=UTC).timestamp()

    @property
    def name(self) -> str:
        """Of its table."""
        return f"{observation.name}_{self.year:04}_{self.month:02}"


class Months(Part):
    """The months in which observations lie."""

    async def make_months(self, now: float) -> None:
        """That of `now` and those that follow, where they are not there yet. Raises StoreUnavailable."""
        if self._database.is_sqlite:
            return
        wanted = [Month.of(now)]
        for _ in range(AHEAD):
            wanted.append(wanted[-1].following)
        async with self._database.reading() as connection:
            missing = set(wanted) - await _months(connection)
        for month in sorted(missing):
            await self._make(month)

    async def _make(self, month: Month) -> None:
        """Several processes may: one makes it, the others find it there."""
        async with self._database.writing() as connection:
            await connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_ONE_AT_A_TIME)))
            if month in await _months(connection):
                return
            first, end = to_micros(month.begins), to_micros(month.following.begins)
            await connection.execute(
                sa.text(f"CREATE TABLE {month.name} (LIKE {observation.name} INCLUDING DEFAULTS)")
            )
            await connection.execute(
                sa.text(
                    f"ALTER TABLE {observation.name} ATTACH PARTITION {month.name}"
                    f" FOR VALUES FROM ({first}) TO ({end})"
                )
            )

    async def _drop_months(self, before: float) -> int:
        """Those that were over by then; how many. Raises StoreUnavailable: one is in use for too long."""
        if self._database.is_sqlite:
            return 0
        async with self._database.reading() as connection:
            old = [month for month in await _months(connection) if month.following.begins <= before]
        for month in sorted(old):
            async with self._database.writing() as connection:
                await connection.execute(sa.text(f"SET LOCAL lock_timeout = {int(DROP_WAIT * 1000)}"))
                await connection.execute(sa.text(f"DROP TABLE IF EXISTS {month.name}"))
        return len(old)


def lacks_month(error: sa.exc.IntegrityError) -> bool:
    """A value of a month that nobody made (a check is violated, and no table has one of ours)."""
    return getattr(error.orig, "sqlstate", None) == "23514"


async def _months(connection: AsyncConnection) -> set[Month]:
    found = (_NAME.match(name) for (name,) in (await connection.execute(_THERE)).all())
    return {Month(int(match[1]), int(match[2])) for match in found if match is not None}
