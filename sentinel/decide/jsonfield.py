"""JSON in one canonical form: sorted keys, exact numbers, so that only a change of meaning is a change."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Final, NoReturn

from sentinel.errors import CheckFailure
from sentinel.model import JsonValue

#: Longest canonical text kept (characters): it is stored with every observation.
MAX_CANONICAL: Final = 64 * 1024
#: Deeper nesting than this is an attack, not data.
MAX_DEPTH: Final = 64
#: Exponents beyond this are written as such: `1e999999999` must not become a gigabyte of zeros.
_MAX_PLAIN: Final = 40

#: What JSON can hold. Numbers are Decimal, so that 0.1 stays 0.1.
Json = None | bool | str | Decimal | list["Json"] | dict[str, "Json"]


def canonical(text: str) -> str:
    """`text` (JSON) in canonical form.

    Raises CheckFailure EXTRACT_PARSE_ERROR for anything that is not strict JSON: duplicate keys (which
    one counts?), NaN and Infinity, too deep, too long.
    """
    return canonical_of(loads(text))


def same_json(one: JsonValue, other: JsonValue) -> bool:
    """Whether they mean the same; with arrays in another order too, unless that matters."""
    if one.canonical == other.canonical:
        return True
    if one.ordered or other.ordered or len(one.canonical) != len(other.canonical):
        return False
    return _in_order(loads(one.canonical)) == _in_order(loads(other.canonical))


def _in_order(value: Json) -> str:
    """The canonical text with every array's elements in the order of theirs."""
    match value:
        case list():
            return f"[{','.join(sorted(map(_in_order, value)))}]"
        case dict():
            return f"{{{','.join(f'{json.dumps(k)}:{_in_order(v)}' for k, v in sorted(value.items()))}}}"
    return _write(value, 0)


def loads(text: str) -> Json:
    """Strict JSON with exact numbers; raises CheckFailure EXTRACT_PARSE_ERROR."""
    try:
        value: Json = json.loads(
            text,
            parse_float=Decimal,
            parse_int=Decimal,
            parse_constant=_refuse_constant,
            object_pairs_hook=_unique,
        )
    except (ValueError, RecursionError, ArithmeticError) as exc:
        detail = "nested too deeply" if isinstance(exc, RecursionError) else str(exc)
        raise CheckFailure("EXTRACT_PARSE_ERROR", f"not valid JSON: {detail[:200]}") from exc
    return value


def canonical_of(value: Json) -> str:
    """The canonical text of parsed JSON: equal meaning, equal text."""
    text = _write(value, 0)
    if len(text) > MAX_CANONICAL:
        raise CheckFailure("EXTRACT_PARSE_ERROR", f"JSON of {len(text)} characters; select a smaller part")
    return text


def _write(value: Json, depth: int) -> str:
    if depth > MAX_DEPTH:
        raise CheckFailure("EXTRACT_PARSE_ERROR", f"JSON nested deeper than {MAX_DEPTH}")
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case str():
            return json.dumps(value, ensure_ascii=False)
        case Decimal():
            return plain(value)
        case list():
            return f"[{','.join(_write(item, depth + 1) for item in value)}]"
        case dict():
            pairs = (
                f"{json.dumps(k, ensure_ascii=False)}:{_write(v, depth + 1)}"
                for k, v in sorted(value.items())
            )
            return f"{{{','.join(pairs)}}}"


def plain(number: Decimal) -> str:
    """A finite Decimal exactly, without trailing zeros: 1.50 and 15e-1 are both `1.5`."""
    sign, digits, exponent = number.as_tuple()
    if not isinstance(exponent, int):
        raise CheckFailure("EXTRACT_PARSE_ERROR", "not a finite number")
    text = "".join(map(str, digits))
    stripped = text.rstrip("0")
    if not stripped.strip("0"):
        return "0"
    exponent += len(text) - len(stripped)
    if -_MAX_PLAIN <= exponent <= _MAX_PLAIN:
        return f"{Decimal((sign, tuple(map(int, stripped)), exponent)):f}"
    return f"{'-' if sign else ''}{stripped.lstrip('0')}e{exponent}"


def _unique(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    found: dict[str, Json] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"key {key[:60]!r} appears twice")
        found[key] = value
    return found


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
