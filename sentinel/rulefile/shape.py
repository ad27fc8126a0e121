"""Plain values to structs, with every mistake noted and not just the first.

msgspec stops at the first error, so the structs are walked here field by field and msgspec judges
the leaves. What is good is kept, so that one mistake does not hide the next.
"""

from __future__ import annotations

import difflib
import re
import types
from decimal import Decimal
from typing import Annotated, Any, Final, Literal, Protocol, Union, get_args, get_origin

import msgspec
from msgspec.structs import FieldInfo

from sentinel.errors import Problem
from sentinel.extract.hints import did_you_mean, shown
from sentinel.rulefile.output import fields_of

# `Any` in this module is a plain value, a type, or what was made of one by the other.

#: Problems told of one file; nobody reads more.
MAX_PROBLEMS: Final = 500


#: What a text of a set form looks like, by its field.
_FORMS: Final = {
    "id": "letters, digits and . _ : - after a letter or digit",
    "start": "HH:MM, as 07:00",
    "end": "HH:MM, as 07:00",
    "chatId": "a number, as -1001234567890, or the @name of a public channel",
    "topic": "letters, digits, _ and -, at most 64",
    "currency": "three capital letters, as EUR",
    "attribute": "text, html, value or attr:NAME",
    "secret_env": "the NAME of the environment variable that holds the secret, not the secret",
    "env": "the NAME of the environment variable that holds the secret, not the secret",
}
#: Where a value may be a secret, or be taken for its name: never told.
_SECRET: Final = re.compile(r"\.(?:secret_env|proxy|credentials)$|\.(?:headers|cookies|credentials)[.\[]")
#: A struct's own complaint names its field.
_ABOUT: Final = re.compile(r"`(\w+)` ")


class _Bad:
    """Could not be read; the problem is noted."""

    def __repr__(self) -> str:
        return "BAD"


BAD: Final = _Bad()


class Judge(Protocol):
    """Asked about each struct as it is read, whether its parts make sense."""

    def judge(self, kind: type[msgspec.Struct], parts: dict[str, Any], path: str, meant: set[str]) -> None:
        """`parts`: the fields understood, by Python name; `meant`: those misspelt, told already."""


class Reader:
    """Reads plain values into structs; what is wrong goes to `problems`."""

    def __init__(self, problems: list[Problem], judge: Judge) -> None:
        self.problems = problems
        self.judge = judge

    def struct(self, kind: type[msgspec.Struct], value: Any, path: str) -> Any:
        """The struct, or BAD."""
        if not isinstance(value, dict):
            if value is None and not path:
                self.note(path, "there is nothing in it", _example(kind))
            else:
                self.note(path, f"expected fields, got {described(value)}", _example(kind))
            return BAD
        fields = {field.encode_name: field for field in fields_of(kind)}
        meant = self._unknown(value, fields, path)
        parts: dict[str, Any] = {}
        before, missing = len(self.problems), False
        for name, field in fields.items():
            where = join(path, name)
            if name not in value:
                if field.required:
                    self._missing(name, path, meant)
                    missing = True
                continue
            made = self.value(field.type, value[name], where)
            if made is not BAD:
                parts[field.name] = made
                continue
            if not isinstance(value[name], dict | list):
                meant.add(name)  # it is told already; that it lacks would be told once more
            missing = missing or field.required
        self.judge.judge(kind, parts, path, meant)
        return BAD if missing else self._made(kind, parts, path, told=len(self.problems) > before)

    def value(self, kind: Any, value: Any, path: str) -> Any:
        """A value of any type a field may have, or BAD."""
        choices = _choices(kind)
        if value is None and type(None) in choices:
            return None
        if isinstance(value, dict) and (struct := _struct(choices)) is not None:
            return self.struct(struct, value, path)
        for choice in choices:
            if _is_struct(choice) and len(choices) - (type(None) in choices) == 1:
                return self.struct(choice, value, path)
            if get_origin(choice) is list and isinstance(value, list):
                return self._list(get_args(choice)[0], value, path)
            if get_origin(choice) is dict and isinstance(value, dict):
                return self._mapping(get_args(choice)[1], value, path)
        return self._leaf(kind, choices, value, path)

    def note(self, path: str, message: str, hint: str = "") -> None:
        """Add a problem."""
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(Problem(path, message, hint))

    def _list(self, kind: Any, values: list[Any], path: str) -> Any:
        # BAD stays in its place, so that what follows keeps its number.
        return [self.value(kind, one, f"{path}[{index}]") for index, one in enumerate(values)]

    def _mapping(self, kind: Any, values: dict[Any, Any], path: str) -> Any:
        made = {}
        for key, one in values.items():
            if not isinstance(key, str):
                self.note(path, f"the name {shown(str(key))} is {described(key)}", "put it in quotes")
                continue
            read = self.value(kind, one, join(path, key))
            if read is not BAD:
                made[key] = read
        return made

    def _leaf(self, kind: Any, choices: list[Any], value: Any, path: str) -> Any:
        try:
            return msgspec.convert(value, kind)
        except msgspec.ValidationError as exc:
            said = str(exc)
        words = _words(choices)
        if words and isinstance(value, str):
            hint = did_you_mean(value, words)
            hint = "" if hint.startswith("one of ") else hint  # they were just named
            self.note(path, f"{shown(value)} is not one of {', '.join(words)}", hint)
        else:
            told = _plainly(said, "..." if _SECRET.search(path) else value)
            self.note(path, told, _range_hint(value, path) or _leaf_hint(choices, value, path, told))
        return BAD

    def _unknown(self, value: dict[Any, Any], fields: dict[str, FieldInfo], path: str) -> set[str]:
        """Note what is no field; the fields they probably were meant to be."""
        free = [name for name in fields if name not in value]
        meant = set()
        for key in value:
            if key in fields:
                continue
            near = _nearest(str(key), free) or _nearest(str(key), list(fields))
            hint = f"did you mean '{near}'?" if near else "fields here are " + ", ".join(fields)
            # `{url: {xoxb-...}}` is a secret in a field's place.
            where = path if _SECRET.search(path) else join(path, str(key))
            self.note(where, "unknown field", hint)
            if near:
                meant.add(near)
        return meant

    def _told_of(self, path: str) -> bool:
        """Whether a problem with what is there is known."""
        return any(f"{problem.path}.".startswith((f"{path}.", f"{path}[")) for problem in self.problems)

    def _missing(self, name: str, path: str, meant: set[str]) -> None:
        if name not in meant:  # a misspelt field is told once, as unknown
            self.note(join(path, name), "missing", "it is required")

    def _made(self, kind: type[msgspec.Struct], parts: dict[str, Any], path: str, *, told: bool) -> Any:
        try:
            return kind(**parts)
        except ValueError as exc:
            about = _ABOUT.match(str(exc))
            where = join(path, about[1]) if about else path
            # Of the whole only where its parts have sense; of a part, where nothing is told of it yet.
            if not told or (about and not self._told_of(where)):
                self.note(where, str(exc))
            return BAD


def join(path: str, name: str) -> str:
    """`rules[2]` and `url` -> `rules[2].url`."""
    name = name if re.fullmatch(r"[\w-]{1,100}", name) else shown(name)
    return f"{path}.{name}" if path else name


def described(value: Any) -> str:
    """A plain value in a person's words."""
    match value:
        case bool():
            return f"the truth value {str(value).lower()}"
        case int() | Decimal():
            return f"the number {str(value)[:40]}"
        case str():
            return f"the text {shown(value)}"
    words = {type(None): "nothing", list: "a list", dict: "fields"}
    return words.get(type(value), f"a {type(value).__name__}")


# --- types ----------------------------------------------------------------------------------------


def _choices(kind: Any) -> list[Any]:
    """The members of a union (or the type alone), without their constraints."""
    if get_origin(kind) is Annotated:
        return _choices(get_args(kind)[0])
    if get_origin(kind) in (Union, types.UnionType):
        return [choice for member in get_args(kind) for choice in _choices(member)]
    return [kind]


def _is_struct(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def _struct(choices: list[Any]) -> type[msgspec.Struct] | None:
    return next((choice for choice in choices if _is_struct(choice)), None)


def _words(choices: list[Any]) -> list[str]:
    return [str(word) for choice in choices if get_origin(choice) is Literal for word in get_args(choice)]


def _example(kind: type[msgspec.Struct]) -> str:
    names = [field.encode_name for field in fields_of(kind)][:4]
    return "fields are " + ", ".join(names) + " ..." if names else ""


# --- words ----------------------------------------------------------------------------------------


def _folded(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _nearest(written: str, names: list[str]) -> str | None:
    """The field somebody meant: `interval_seconds` and `intervalSecond` are intervalSeconds."""
    by_folded = {_folded(name): name for name in names}
    near = difflib.get_close_matches(_folded(written[:100]), list(by_folded), n=1, cutoff=0.6)
    return by_folded[near[0]] if near else None


def _plainly(said: str, value: Any) -> str:
    """A message of msgspec in a person's words."""
    said = re.sub(
        r"text matching regex .*|`str` matching regex .*", "text of another form", said.partition(" - at ")[0]
    )
    said = re.sub(r"`([a-z]+(?: \| [a-z]+)*)`", lambda found: _in_words(found[1]), said)
    said = said.replace(" | ", " or ")
    return f"{said[:1].lower()}{said[1:].split(', got ')[0]}, got {described(value)}"


#: msgspec's names of plain types.
_PLAIN: Final = {
    "str": "text",
    "int": "a whole number",
    "float": "a number",
    "decimal": "a number",
    "bool": "true or false",
    "array": "a list",
    "object": "fields",
}


def _in_words(names: str) -> str:
    """`int | null` as a person says it; that a field may be left out is said elsewhere."""
    return " or ".join(_PLAIN[one] for one in names.split(" | ") if one in _PLAIN) or "nothing"


#: Why a number has the limits it has, by the end of its path.
_RANGES: Final = {
    "digest.every": "seconds: a digest collects for a minute at least and a day at most",
    "escalate.after": "seconds: people need a minute at least; 12 hours at most",
    "incident.within": "seconds, from a minute to a day",
    "flood.within": "seconds, from 10 to an hour",
}


def _range_hint(value: Any, path: str) -> str:
    if not isinstance(value, int | Decimal):
        return ""
    return _RANGES.get(".".join(path.split(".")[-2:]), "")


def _leaf_hint(choices: list[Any], value: Any, path: str, said: str) -> str:
    if isinstance(value, str) and "another form" in said and (name := re.split(r"[.\]]", path)[-1]) in _FORMS:
        return _FORMS[name]
    if str in choices and isinstance(value, bool | int | Decimal):
        return "put it in quotes"
    if isinstance(value, str) and {int, float} & set(choices) and re.fullmatch(r"\s*-?\d+(\.\d+)?\s*", value):
        return "write it without quotes"
    if isinstance(value, str) and {int, float} & set(choices):
        return f"in seconds: {seconds}" if (seconds := _seconds(value)) else ""
    if bool in choices and isinstance(value, str):
        return {"yes": "true", "on": "true", "no": "false", "off": "false"}.get(value.lower(), "")
    return _container_hint(choices, value)


def _container_hint(choices: list[Any], value: Any) -> str:
    if any(get_origin(choice) is list for choice in choices):
        return "each begins with `- `" if isinstance(value, dict) else "write a list: [a, b]"
    if any(get_origin(choice) is dict for choice in choices):
        return "write {name: value}"
    return ""


def _seconds(text: str) -> int:
    """Of `5m` or `2 h`; 0 where it is no such thing."""
    found = re.fullmatch(r"(\d{1,6}) ?(s|sec|m|min|h|d)[a-z]*", text.strip().lower())
    return int(found[1]) * {"s": 1, "m": 60, "h": 3600, "d": 86_400}[found[2][0]] if found else 0
