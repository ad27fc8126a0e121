"""Structs to plain values, as short as a person would write them."""

from __future__ import annotations

from functools import cache
from typing import Any

import msgspec
from msgspec.structs import FieldInfo

# `Any` is a plain value or a struct's field.


def plain(value: Any) -> Any:
    """Plain values of a struct; what is at its default is left out."""
    if isinstance(value, msgspec.Struct):
        made = {}
        for field in fields_of(type(value)):
            content = getattr(value, field.name)
            if field.required or content != default(field):
                made[field.encode_name] = plain(content)
        return made
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items()}
    return value


def default(field: FieldInfo) -> Any:
    """What a field holds when nothing was written."""
    if field.default_factory is not msgspec.NODEFAULT:
        return field.default_factory()
    return field.default


@cache
def fields_of(kind: type[msgspec.Struct]) -> tuple[FieldInfo, ...]:
    """The fields of a struct; msgspec evaluates every annotation anew each time it is asked."""
    return msgspec.structs.fields(kind)
