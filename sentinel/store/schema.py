"""The version of the database's schema: read, compared, brought up to date by Alembic.

Alembic is imported where something is to be migrated: it is 11 MiB, and a worker that finds all as it
should be has no use for it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import sqlalchemy as sa

from sentinel.errors import SchemaNotCurrent, StoreUnavailable
from sentinel.store.base import Part
from sentinel.store.records import SchemaStatus

_FOLDER: Final = Path(__file__).parent / "migrations"


class Schema(Part):
    """The schema's version."""

    async def migrate(self) -> SchemaStatus:
        """Bring the schema to this program's version, all of it or nothing; no change if it is there.

        Several processes may call it at once: one migrates, the others wait and find it done.
        Raises StoreUnavailable.
        """
        await self._database.make_file()
        async with self._database.writing() as connection:
            await self._database.serialise(connection)
            await connection.run_sync(_upgrade)
            return SchemaStatus(await connection.run_sync(_current), _head())

    async def schema_status(self) -> SchemaStatus:
        """Which version there is and which is needed. Raises StoreUnavailable."""
        if self._database.is_missing_file():
            return SchemaStatus(None, _head())
        async with self._database.reading() as connection:
            return SchemaStatus(await connection.run_sync(_current), _head())

    async def check_schema(self) -> None:
        """Raises SchemaNotCurrent (the text says what to run), StoreUnavailable."""
        status = await self.schema_status()
        if status.is_current:
            return
        if status.current is None:
            raise SchemaNotCurrent("The database is empty. Run `sentinel-worker migrate`.")
        if status.current not in _known():
            raise SchemaNotCurrent(
                f"The database schema ({status.current}) is newer than this program. Update the program."
            )
        raise SchemaNotCurrent(
            f"The database schema is at {status.current}, this program needs {status.head}."
            " Run `sentinel-worker migrate`."
        )

    async def ping(self) -> None:
        """The database answers. Raises StoreUnavailable."""
        if self._database.is_missing_file():
            raise StoreUnavailable(f"{self._database!r}: no such file")
        async with self._database.reading() as connection:
            await connection.execute(sa.select(1))


def _known() -> list[str]:
    """The versions this program knows, oldest first: each file of the folder begins with its own."""
    return sorted(file.name.partition("_")[0] for file in (_FOLDER / "versions").glob("[0-9]*.py"))


def _head() -> str:
    return _known()[-1]


def _current(connection: sa.Connection) -> str | None:
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    found: str | None = connection.scalar(sa.text("SELECT version_num FROM alembic_version"))
    return found


def _upgrade(connection: sa.Connection) -> None:
    if _current(connection) == _head():
        return
    from alembic import command  # noqa: PLC0415 - see the module
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(_FOLDER).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
