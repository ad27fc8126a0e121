"""The store's front: one database, and the nouns that are kept in it."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from sentinel.store.alerts import Alerts
from sentinel.store.channels import ChannelRows
from sentinel.store.database import Database, parse_url
from sentinel.store.digests import Digests
from sentinel.store.healing import Healing
from sentinel.store.hosts import Hosts
from sentinel.store.imports import Imports
from sentinel.store.incidents import Incidents
from sentinel.store.outbox import Outbox
from sentinel.store.rules import Rules
from sentinel.store.runs import Runs
from sentinel.store.schema import Schema
from sentinel.store.stories import Stories
from sentinel.store.upkeep import Upkeep
from sentinel.store.watches import Watches


class Store(
    Schema,
    Imports,
    Rules,
    ChannelRows,
    Healing,
    Hosts,
    Runs,
    Alerts,
    Digests,
    Incidents,
    Stories,
    Outbox,
    Upkeep,
    Watches,
):
    """Everything sentinel remembers. Frozen structs go in and come out; times are UTC seconds.

    Every method is one transaction of bounded length (30 s, usually a millisecond) that is
    committed whole or not at all, and raises StoreUnavailable when the database cannot be reached,
    is locked or full, and SchemaNotCurrent when a table is missing.
    """

    @classmethod
    def open(cls, url: str, *, read_only: bool = False) -> Store:
        """A store on `sqlite:///file` or `postgresql://...`; connects when first used.

        `read_only` refuses every write (`rules test`, dashboards). Raises SettingsError, without
        the password.
        """
        return cls(Database(parse_url(url), read_only=read_only))

    async def close(self) -> None:
        """Give every connection back."""
        await self._database.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"Store({self._database.name!r})"
