"""What a person decides on healed selectors: they become fallbacks of the rule, or are forgotten."""

from __future__ import annotations

from typing import Any

import msgspec
import sqlalchemy as sa

from sentinel.model import Extraction, FallbackSelector, Healed, Remembered, Rule
from sentinel.store.base import Part
from sentinel.store.imports import rule_columns
from sentinel.store.rules import read_rule
from sentinel.store.tables import rule, rule_state


class Healing(Part):
    """Healed selectors of rules."""

    async def settle_healing(self, rule_id: str, *, accept: bool, now: float) -> tuple[Healed, ...]:
        """Keep what healed a rule, as the last of its fallbacks, or forget it; its value stays.

        Forgotten, nothing is healed until the rule's own selectors find something again. Answers what was
        decided on, nothing where nothing was healed. Raises NotFound, StoreUnavailable.
        """
        async with self._database.writing() as connection:
            stored = await read_rule(connection, rule_id, lock=True)
            healed = {name: one.healed for name, one in stored.elements.items() if one.healed is not None}
            if not healed:
                return ()
            # A check under way has judged by what was before: it judges anew.
            # The next one reads the page: a 304 would say "as it was" of what is to be read otherwise.
            values: dict[str, Any] = {
                "version": rule_state.c.version + 1,
                "etag": None,
                "last_modified": None,
            }
            if accept:
                changed = _with_fallbacks(stored.rule, healed)
                await connection.execute(
                    sa.update(rule)
                    .where(rule.c.id == rule_id)
                    .values(**rule_columns(stored.workspace.id, changed, now))
                )
            values["elements"] = {
                name: one if name not in healed else _settled(one, accept=accept)
                for name, one in stored.elements.items()
            }
            await connection.execute(
                sa.update(rule_state).where(rule_state.c.rule_id == rule_id).values(**values)
            )
            return tuple(healed.values())


def _settled(one: Remembered, *, accept: bool) -> Remembered:
    return msgspec.structs.replace(one, healed=None, refused=not accept)


def _with_fallbacks(old: Rule, healed: dict[str, Healed]) -> Rule:
    if old.type != "record" and old.extraction is not None:
        (only,) = healed.values()
        return msgspec.structs.replace(old, extraction=_with_fallback(old.extraction, only))
    fields = {
        name: field
        if name not in healed
        else msgspec.structs.replace(field, extraction=_with_fallback(field.extraction, healed[name]))
        for name, field in old.fields.items()
    }
    return msgspec.structs.replace(old, fields=fields)


def _with_fallback(old: Extraction, healed: Healed) -> Extraction:
    new = FallbackSelector(method="css", selector=healed.selector, attribute=healed.attribute)
    return msgspec.structs.replace(old, fallback_selectors=[*old.fallback_selectors, new])
