"""The payload as a type, for the engines that take one."""

from __future__ import annotations

import msgspec


class RunRule(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """The payload of `rules:run`, as far as it is sent here."""

    rule_id: str
    trigger: str
    requested_at: str
    debug: bool = False
