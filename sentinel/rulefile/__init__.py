"""Rules as files: YAML in with every problem named at once, YAML out, a JSON Schema for editors.

    load(text or path, policy) -> RulesFile     raises RuleFileError(problems)
    build(plain value, policy) -> RulesFile   the same of what the YAML stands for
    dump(rules_file) -> str                     loads again to the same
    json_schema() -> dict

Three layers, each knowing nothing of the next: `document` makes plain values of YAML within limits,
`shape` makes structs of plain values, `sense` asks whether what was written can work.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import msgspec

from sentinel.errors import Problem, RuleFileError
from sentinel.extract.hints import did_you_mean
from sentinel.fetch.guard import NetworkPolicy
from sentinel.model import RulesFile
from sentinel.rulefile import document
from sentinel.rulefile.output import plain
from sentinel.rulefile.schema import json_schema
from sentinel.rulefile.sense import Sense
from sentinel.rulefile.shape import BAD, Reader

__all__ = ["build", "dump", "json_schema", "load"]


def load(source: Path | str, policy: NetworkPolicy, *, known_channels: Collection[str] = ()) -> RulesFile:
    """Read a rules file: a path, or the YAML itself as text.

    `policy` says which addresses rules and webhooks may name; `known_channels`: ids of channels that
    exist already and need not be in the file. Raises RuleFileError with every problem found.
    """
    return build(document.read(source), policy, known_channels=known_channels)


def build(value: Any, policy: NetworkPolicy, *, known_channels: Collection[str] = ()) -> RulesFile:
    """The same of the plain value that a file would hold."""
    if value is not None and not _is_of_rules(value):
        kinds: dict[type, str] = {dict: "fields of something else", list: "a list", str: "a text"}
        got = kinds.get(type(value), "a value")
        raise RuleFileError(
            [Problem("", f"this is no rules file: got {got}", f"fields are {', '.join(_FIELDS)}")]
        )
    problems: list[Problem] = []
    sense = Sense(problems, policy, known_channels)
    made = Reader(problems, sense).struct(RulesFile, value, "")
    sense.references(value)
    if problems or made is BAD:
        raise RuleFileError(problems)
    return made  # type: ignore[no-any-return] # struct() gives what it was asked for, or BAD


_FIELDS = tuple(field.encode_name for field in msgspec.structs.fields(RulesFile))


def _is_of_rules(value: Any) -> bool:
    """Whether any of it was meant as rules. Of another file, which may hold secrets, nothing is quoted."""
    return isinstance(value, dict) and (
        not value or any(did_you_mean(str(name), _FIELDS).startswith("did you mean") for name in value)
    )


def dump(rules: RulesFile) -> str:
    """The rules as YAML, what is left at its default left out. `load` gives the same rules again."""
    return document.write(plain(rules))
