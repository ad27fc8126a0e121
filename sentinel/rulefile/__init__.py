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

from sentinel.errors import Problem, RuleFileError
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
    problems: list[Problem] = []
    sense = Sense(problems, policy, known_channels)
    made = Reader(problems, sense).struct(RulesFile, value, "")
    sense.references(value)
    if problems or made is BAD:
        raise RuleFileError(problems)
    return made  # type: ignore[no-any-return] # struct() gives what it was asked for, or BAD


def dump(rules: RulesFile) -> str:
    """The rules as YAML, what is left at its default left out. `load` gives the same rules again."""
    return document.write(plain(rules))
