"""Rules files into the database: what is new, what differs, what stays; idempotent by id."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Final, Generic, TypeVar

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from sentinel.credentials import Keyring, Place, defined
from sentinel.decide import fallbacks
from sentinel.decide.routing import host_of
from sentinel.decide.schedule import in_zone, pace_of
from sentinel.errors import CredentialUnreadable, Problem, RuleFileError, Unreadable
from sentinel.model import Channel, CredentialRef, Rule, RulesFile, RuleState, Workspace
from sentinel.settings import MASK
from sentinel.store.base import AnyRow, Part
from sentinel.store.columns import Document, Perhaps
from sentinel.store.records import Changes, FieldChange, ImportReport, ItemChange
from sentinel.store.tables import channel, channel_state, rule, rule_state, rule_tag, source, workspace

_Item = TypeVar("_Item", Rule, Channel)

#: Ids in one IN list: SQLite and asyncpg limit the values of a statement.
CHUNK: Final = 500
#: Fields that may hold credentials: told as changed, never shown.
SECRET_FIELDS: Final = ("fetch.headers", "fetch.cookies", "fetch.proxy")

#: A rule's definition, or what is wrong with it.
RULE_DEFINITION: Final = sa.type_coerce(rule.c.definition, Perhaps(Document(Rule))).label("definition")
#: The same of a channel.
CHANNEL_DEFINITION: Final = sa.type_coerce(channel.c.definition, Perhaps(Document(Channel))).label(
    "definition"
)

_NEW: Final = RuleState()
#: What is forgotten when what is watched is not what it was ...
_VALUE_FIELDS: Final = (
    "stable",
    "stable_raw",
    "candidate",
    "candidate_count",
    "candidate_raw",
    "candidate_doubt",
    "decimal_separator",
    "unsettled",
    "unstable_told_at",
    "page_size",
    "told",
    "disarmed",
    "owed",
    "told_value",
)
#: ... and when it is fetched otherwise.
_FETCH_FIELDS: Final = ("etag", "last_modified", "conditional_count", "mode_that_worked", "mode_since")


class Imports(Part):
    """Rules files."""

    async def import_rules(
        self,
        file: RulesFile,
        *,
        now: float,
        first_due: Callable[[Rule], float],
        keyring: Keyring | None = None,
        dry_run: bool = False,
    ) -> ImportReport:
        """Make the workspace, its channels and its rules as the file says, in one transaction.

        By id: what is not in the file stays as it is. A rule keeps its state and its next due time,
        except that a changed url, extraction, type or normalization forgets the value (`first good
        value becomes stable without alert`), a changed url or fetch forgets what was learned of
        fetching, and a changed schedule (or zone, where the workspace's counts) is due at
        `first_due(rule)` (seconds since the epoch).
        The values of credentials are taken out of the channels and kept sealed by `keyring`; one
        that is stored already stays as it is. `dry_run` answers the same and writes nothing. Raises
        RuleFileError (an id belongs to another workspace, a credential cannot be stored or is not),
        StoreUnavailable.
        """
        transaction = self._database.reading() if dry_run else self._database.writing()
        async with transaction as connection:
            if not dry_run:
                await self._database.serialise(connection)
            plan = await _Plan.make(connection, file, keyring or Keyring())
            report = plan.report(dry_run=dry_run)
            if not dry_run:
                await plan.carry_out(connection, now, first_due)
            return report


class _Plan:
    """What a file changes, found out before anything is written."""

    def __init__(self, file: RulesFile) -> None:
        self.workspace = file.workspace
        self.workspace_before: Workspace | None = None
        self.rules: _Difference[Rule] = _Difference()
        self.channels: _Difference[Channel] = _Difference()
        #: By channel.
        self.sealed: dict[str, Sealed] = {}

    @classmethod
    async def make(cls, connection: AsyncConnection, file: RulesFile, keyring: Keyring) -> _Plan:
        """Raises RuleFileError."""
        plan = cls(file)
        plan.workspace_before = await read_workspace(connection, file.workspace.id)
        columns = sa.select(channel.c.id, CHANNEL_DEFINITION, channel.c.credentials)
        rows = await connection.execute(columns.where(channel.c.workspace_id == file.workspace.id))
        before = {row.id: (row.definition, row.credentials or {}) for row in rows}
        plan.sealed = seal_all(file, {name: kept for name, (_, kept) in before.items()}, keyring)
        plan.channels = _Difference.between(
            [defined(item) for item in file.channels],
            {name: definition for name, (definition, _) in before.items()},
            changed={name for name, sealed in plan.sealed.items() if sealed.changed},
        )
        _check_fallbacks(file, {name: definition for name, (definition, _) in before.items()})
        plan.rules = _Difference.between(file.rules, await _stored_rules(connection, file))
        return plan

    def report(self, *, dry_run: bool) -> ImportReport:
        return ImportReport(
            workspace=self._workspace_changes(),
            channels=self.channels.report(
                others=lambda item: [
                    FieldChange(f"credentials.{name}", MASK, MASK) for name in self.sealed[item.id].replaced
                ]
            ),
            rules=self.rules.report(_forgets_value),
            dry_run=dry_run,
        )

    async def carry_out(
        self, connection: AsyncConnection, now: float, first_due: Callable[[Rule], float]
    ) -> None:
        await self._write_workspace(connection, now)
        await self._write_channels(connection, now)
        await self._write_sources(connection, now)
        if self.rules.created:
            await self._create_rules(connection, now, first_due)
        for before, after in self.rules.updated:
            values = rule_columns(self.workspace.id, after, now)
            if before is None or after.schedule != before.schedule:
                values["next_due_at"] = first_due(after)
            await forget_backoff(connection, after.id, first_due(after))
            await _update_rule(connection, self.workspace.id, before, after, values)
        if self.rules.updated:
            await _drop_unused_sources(connection, self.workspace.id)
        space = self.workspace_before
        if space is not None and space.timezone != self.workspace.timezone:
            await _set_clocks(connection, self.workspace, first_due)

    def _workspace_changes(self) -> Changes:
        if self.workspace_before is None:
            return Changes(created=(self.workspace.id,))
        fields = differences(self.workspace_before, self.workspace)
        if fields:
            return Changes(updated=(ItemChange(self.workspace.id, fields),))
        return Changes(unchanged=(self.workspace.id,))

    async def _write_workspace(self, connection: AsyncConnection, now: float) -> None:
        space = self.workspace
        values = {
            "name": space.name,
            "timezone": space.timezone,
            "quiet_hours": space.quiet_hours,
            "routes": space.routes,
            "digest": space.digest,
            "incident": space.incident,
            "flood": space.flood,
            "robots": space.robots,
            "updated_at": now,
        }
        if self.workspace_before is None:
            await connection.execute(sa.insert(workspace).values(id=space.id, created_at=now, **values))
        elif self.workspace_before != space:
            await connection.execute(sa.update(workspace).where(workspace.c.id == space.id).values(**values))

    async def _write_channels(self, connection: AsyncConnection, now: float) -> None:
        created = [
            {
                "workspace_id": self.workspace.id,
                "id": item.id,
                "created_at": now,
                "credentials": self.sealed[item.id].kept or None,
                **channel_columns(item, now),
            }
            for item in self.channels.created
        ]
        if created:
            await connection.execute(sa.insert(channel), created)
        for _, item in self.channels.updated:
            await connection.execute(
                sa.update(channel)
                .where(channel.c.workspace_id == self.workspace.id, channel.c.id == item.id)
                .values(
                    disabled_reason=None,
                    credentials=self.sealed[item.id].kept or None,
                    **channel_columns(item, now),
                )
            )
        # How another endpoint answered says nothing of the one that it is now.
        moved = [
            item.id
            for before, item in self.channels.updated
            if before is None or _goes_elsewhere(before, item) or self.sealed[item.id].changed
        ]
        for ids in chunks(moved):
            await connection.execute(
                sa.delete(channel_state).where(
                    channel_state.c.workspace_id == self.workspace.id, channel_state.c.channel_id.in_(ids)
                )
            )

    async def _write_sources(self, connection: AsyncConnection, now: float) -> None:
        touched = [*self.rules.created, *(after for _, after in self.rules.updated)]
        wanted = {source_id(self.workspace.id, item): item for item in touched}
        known: set[str] = set()
        for ids in chunks(list(wanted)):
            known.update(await connection.scalars(sa.select(source.c.id).where(source.c.id.in_(ids))))
        rows = [
            {
                "id": key,
                "workspace_id": self.workspace.id,
                "url": item.url,
                "fetch_profile": item.fetch,
                "created_at": now,
            }
            for key, item in wanted.items()
            if key not in known
        ]
        if rows:
            await connection.execute(sa.insert(source), rows)

    async def _create_rules(
        self, connection: AsyncConnection, now: float, first_due: Callable[[Rule], float]
    ) -> None:
        space = self.workspace.id
        rows = [
            {
                "id": item.id,
                "workspace_id": space,
                "next_due_at": first_due(item),
                "created_at": now,
                **rule_columns(space, item, now),
            }
            for item in self.rules.created
        ]
        states = [
            {"rule_id": item.id, "workspace_id": space, "fence": 0, **state_columns(_NEW)}
            for item in self.rules.created
        ]
        await connection.execute(sa.insert(rule), rows)
        await connection.execute(sa.insert(rule_state), states)
        await _write_tags(connection, space, self.rules.created)


class _Difference(Generic[_Item]):
    """The file's items against the stored ones."""

    def __init__(self) -> None:
        self.created: list[_Item] = []
        #: Before (None: it could not be read) and after.
        self.updated: list[tuple[_Item | None, _Item]] = []
        self.unchanged: list[_Item] = []

    @classmethod
    def between(
        cls,
        items: Iterable[_Item],
        stored: Mapping[str, _Item | Unreadable],
        *,
        changed: Collection[str] = (),
    ) -> _Difference[_Item]:
        """`changed`: ids of items that differ beyond what is compared here."""
        found = cls()
        for item in items:
            before = stored.get(item.id)
            if before is None:
                found.created.append(item)
            elif isinstance(before, Unreadable):
                found.updated.append((None, item))
            elif before == item and item.id not in changed:
                found.unchanged.append(item)
            else:
                found.updated.append((before, item))
        return found

    def report(
        self,
        forgets: Callable[[_Item | None, _Item], bool] = lambda _before, _after: False,
        *,
        others: Callable[[_Item], Iterable[FieldChange]] = lambda _: (),
    ) -> Changes:
        """`others` tells what changes of an item beyond its fields."""

        def change(before: _Item | None, after: _Item) -> ItemChange:
            fields = (*differences(before, after), *others(after))
            return ItemChange(after.id, fields, forgets(before, after))

        return Changes(
            created=tuple(item.id for item in self.created),
            updated=tuple(change(*pair) for pair in self.updated),
            unchanged=tuple(item.id for item in self.unchanged),
        )


# --- channels -------------------------------------------------------------------------------------


def _goes_elsewhere(before: Channel, after: Channel) -> bool:
    """Something other is asked than before; how often, and what comes in its place, is not that."""
    same = {"rate_per_minute": after.rate_per_minute, "fallback": after.fallback, "enabled": after.enabled}
    return msgspec.structs.replace(before, **same) != after


def _check_fallbacks(file: RulesFile, stored: Mapping[str, Channel | Unreadable]) -> None:
    """Among all channels that the workspace will have. Raises RuleFileError."""
    readable = [one for one in stored.values() if isinstance(one, Channel)]
    ways = {one.id: one.fallback for one in [*readable, *file.channels]}
    problems = []
    for place, item in enumerate(file.channels):
        where = f"channels[{place}].fallback"
        if item.fallback is not None and item.fallback not in ways and item.fallback not in stored:
            problems.append(Problem(where, f"there is no channel {item.fallback}"))
        elif problem := fallbacks.trouble(item.id, ways):
            problems.append(Problem(where, problem))
    if problems:
        raise RuleFileError(problems)


# --- credentials ----------------------------------------------------------------------------------


class Sealed(msgspec.Struct, frozen=True):
    """What is to be kept of a channel's credentials."""

    #: Name -> sealed value.
    kept: dict[str, str]
    #: There is a difference to what is stored.
    changed: bool
    #: Names that are kept before and after, with another value.
    replaced: tuple[str, ...]


def seal_all(file: RulesFile, stored: Mapping[str, Mapping[str, str]], keyring: Keyring) -> dict[str, Sealed]:
    """The sealed values of each channel of a file; `stored` are those of now, by channel.

    Sealing gives another text each time, so that equal values are told by opening what is stored.
    Raises RuleFileError, which names every credential that cannot be kept and quotes none.
    """
    problems: list[Problem] = []
    found: dict[str, Sealed] = {}
    for place, item in enumerate(file.channels):
        before = stored.get(item.id, {})
        kept: dict[str, str] = {}
        for name, credential in item.credentials.items():
            where = f"channels[{place}].credentials.{name}"
            belongs = Place(file.workspace.id, item.id, name)
            match credential:
                case str() if not keyring:
                    problems.append(Problem(where, _NO_KEY, _KEY_HINT))
                case str():
                    same = name in before and _opens_to(keyring, before[name], belongs, credential)
                    kept[name] = before[name] if same else keyring.seal(credential, belongs)
                case CredentialRef(stored=True) if name in before:
                    kept[name] = before[name]
                case CredentialRef(stored=True):
                    problems.append(Problem(where, "no value is stored for it", _STORED_HINT))
        replaced = tuple(name for name in kept if name in before and kept[name] != before[name])
        found[item.id] = Sealed(kept, kept != before, replaced)
    if problems:
        raise RuleFileError(problems)
    return found


def _opens_to(keyring: Keyring, sealed: str, place: Place, text: str) -> bool:
    try:
        return keyring.open(sealed, place) == text
    except CredentialUnreadable:
        return False


_NO_KEY: Final = "a value cannot be stored: no SENTINEL_SECRET_KEY is set"
_KEY_HINT: Final = (
    "set it to base64 of 32 random bytes, or say where the value is: {env: NAME} or {file: PATH}"
)
_STORED_HINT: Final = "write the value in its place, or {env: NAME}, or {file: PATH}"


# --- rules ----------------------------------------------------------------------------------------


async def _stored_rules(connection: AsyncConnection, file: RulesFile) -> dict[str, Rule | Unreadable]:
    """The stored rules of the file's ids. Raises RuleFileError."""
    places = {item.id: place for place, item in enumerate(file.rules)}
    found: dict[str, Rule | Unreadable] = {}
    problems: list[Problem] = []
    for ids in chunks(list(places)):
        columns = sa.select(rule.c.id, rule.c.workspace_id, RULE_DEFINITION).where(rule.c.id.in_(ids))
        for row in await connection.execute(columns):
            found[row.id] = row.definition
            if row.workspace_id != file.workspace.id:
                problems.append(
                    Problem(
                        f"rules[{places[row.id]}].id",
                        f"{row.id} is a rule of workspace {row.workspace_id}",
                        "rule ids are unique over all workspaces: choose another one",
                    )
                )
    if problems:
        raise RuleFileError(problems)
    return found


async def _set_clocks(
    connection: AsyncConnection, space: Workspace, first_due: Callable[[Rule], float]
) -> None:
    """The workspace has another zone: what goes by its clock, in the file or not, is due by the new one."""
    rows = await connection.execute(
        sa.select(rule.c.id, RULE_DEFINITION).where(rule.c.workspace_id == space.id)
    )
    due = [
        {"its_id": row.id, "its_due": first_due(row.definition)}
        for row in rows
        if isinstance(row.definition, Rule)
        and in_zone(row.definition.schedule, space.timezone) is not row.definition.schedule
    ]
    if due:
        moved = sa.update(rule).where(rule.c.id == sa.bindparam("its_id"))
        await connection.execute(moved.values(next_due_at=sa.bindparam("its_due")), due)


async def _update_rule(
    connection: AsyncConnection, workspace_id: str, before: Rule | None, after: Rule, values: dict[str, Any]
) -> None:
    forgotten = _forgotten(before, after)
    if forgotten:
        # The version rises, so that a check of the old definition under way is judged again.
        await connection.execute(
            sa.update(rule_state)
            .where(rule_state.c.rule_id == after.id)
            .values(version=rule_state.c.version + 1, **{name: getattr(_NEW, name) for name in forgotten})
        )
    await connection.execute(sa.update(rule).where(rule.c.id == after.id).values(**values))
    if before is None or after.tags != before.tags:
        await connection.execute(sa.delete(rule_tag).where(rule_tag.c.rule_id == after.id))
        await _write_tags(connection, workspace_id, [after])


async def forget_backoff(connection: AsyncConnection, rule_id: str, due: float) -> None:
    """A person has done something about a rule that kept failing: it is due then, and begins anew."""
    forgotten = await connection.execute(
        sa.update(rule_state)
        .where(rule_state.c.rule_id == rule_id, rule_state.c.backoff > 0)
        .values(backoff=0, version=rule_state.c.version + 1)
    )
    if forgotten.rowcount:
        await connection.execute(sa.update(rule).where(rule.c.id == rule_id).values(next_due_at=due))


def _forgets_value(before: Rule | None, after: Rule) -> bool:
    return before is None or (before.url, before.type, before.parts) != (after.url, after.type, after.parts)


def _forgotten(before: Rule | None, after: Rule) -> tuple[str, ...]:
    """The fields of the state that no longer say anything about the rule as it is now."""
    if before is None or _forgets_value(before, after):
        # A 304 would say "as it was" of a value that is forgotten: the next fetch is a full one.
        return (*_VALUE_FIELDS, *_FETCH_FIELDS)
    refetched = (before.url, before.fetch) != (after.url, after.fetch)
    return _FETCH_FIELDS if refetched else ()


async def _write_tags(connection: AsyncConnection, workspace_id: str, rules: Sequence[Rule]) -> None:
    rows = [
        {"rule_id": item.id, "tag": tag, "workspace_id": workspace_id}
        for item in rules
        for tag in dict.fromkeys(item.tags)
    ]
    if rows:
        await connection.execute(sa.insert(rule_tag), rows)


async def _drop_unused_sources(connection: AsyncConnection, workspace_id: str) -> None:
    used = sa.select(rule.c.source_id).where(rule.c.workspace_id == workspace_id)
    await connection.execute(
        sa.delete(source).where(source.c.workspace_id == workspace_id, source.c.id.not_in(used))
    )


# --- rows -----------------------------------------------------------------------------------------


def source_id(workspace_id: str, item: Rule) -> str:
    """Rules of one workspace with the same URL and fetch profile have the same source."""
    what = msgspec.json.encode((workspace_id, item.url, item.fetch), order="deterministic")
    return hashlib.sha256(what).hexdigest()[:32]


def rule_columns(workspace_id: str, item: Rule, now: float) -> dict[str, Any]:
    """The columns of `rule` that follow from its definition."""
    return {
        "source_id": source_id(workspace_id, item),
        "name": item.name,
        "type": item.type,
        "host": host_of(item.url),
        "definition": item,
        "enabled": item.enabled,
        "expected_change_every": item.expected_change_every,
        "pace": pace_of(item.schedule),
        "updated_at": now,
    }


def state_columns(state: RuleState) -> dict[str, Any]:
    """A state as columns of `rule_state`: one per field, under its name."""
    return {name: getattr(state, name) for name in RuleState.__struct_fields__}


def channel_columns(item: Channel, now: float) -> dict[str, Any]:
    """The columns of `channel` that follow from its definition, which never holds a credential's value."""
    return {"type": item.type, "definition": defined(item), "enabled": item.enabled, "updated_at": now}


async def read_workspace(connection: AsyncConnection, workspace_id: str) -> Workspace | None:
    """A workspace, or None."""
    row = (await connection.execute(sa.select(workspace).where(workspace.c.id == workspace_id))).first()
    return None if row is None else as_workspace(row)


def as_workspace(row: AnyRow) -> Workspace:
    """A row with the columns of `workspace` as the struct."""
    values = row._mapping  # noqa: SLF001 - SQLAlchemy's public name for a row by column
    return Workspace(
        id=values[workspace.c.id],
        name=values[workspace.c.name],
        timezone=values[workspace.c.timezone],
        quiet_hours=values[workspace.c.quiet_hours],
        routes=values[workspace.c.routes],
        digest=values[workspace.c.digest],
        incident=values[workspace.c.incident],
        flood=values[workspace.c.flood],
        robots=values[workspace.c.robots],
    )


def chunks(items: Sequence[str]) -> Iterable[Sequence[str]]:
    """Pieces short enough for an IN list."""
    for start in range(0, len(items), CHUNK):
        yield items[start : start + CHUNK]


# --- differences ----------------------------------------------------------------------------------


def differences(before: msgspec.Struct | None, after: msgspec.Struct) -> tuple[FieldChange, ...]:
    """Field by field, under the names of the file; what may hold credentials reads `***`."""
    if before is None:
        return (FieldChange("", "not readable", "as in the file"),)
    return tuple(
        _masked(path, one, other)
        for path, one, other in _compare("", msgspec.to_builtins(before), msgspec.to_builtins(after))
    )


def _compare(path: str, before: Any, after: Any) -> Iterable[tuple[str, Any, Any]]:  # Any: JSON
    if isinstance(before, dict) and isinstance(after, dict):
        for key in dict.fromkeys([*before, *after]):
            yield from _compare(f"{path}.{key}" if path else str(key), before.get(key), after.get(key))
    elif isinstance(before, list) and isinstance(after, list):
        for place in range(max(len(before), len(after))):
            one = before[place] if place < len(before) else None
            other = after[place] if place < len(after) else None
            yield from _compare(f"{path}[{place}]", one, other)
    elif before != after:
        yield path, before, after


def _masked(path: str, before: Any, after: Any) -> FieldChange:  # Any: JSON
    if path.startswith(SECRET_FIELDS):
        return FieldChange(path, None if before is None else "***", None if after is None else "***")
    if path == "url":
        return FieldChange(path, _without_secrets(before), _without_secrets(after))
    return FieldChange(path, before, after)


def _without_secrets(url: Any) -> Any:  # Any: JSON
    """A URL without user and query: pages' and webhooks' addresses carry keys there."""
    if not isinstance(url, str):
        return url
    address = url.partition("?")[0]
    scheme, slashes, rest = address.partition("://")
    host, slash, path = rest.partition("/")
    shown = f"{scheme}{slashes}{host.rpartition('@')[2]}{slash}{path}"
    return shown if "?" not in url else f"{shown}?***"
