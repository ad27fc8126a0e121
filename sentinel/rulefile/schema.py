"""The JSON Schema of a rules file, with what the model says of each field, for editors.

Made from the structs that read the file, so it follows them: descriptions are the docstrings and the
`#:` comments of `sentinel.model`.
"""

from __future__ import annotations

import ast
import inspect
from functools import cache
from typing import Any, Final

import msgspec

from sentinel import model
from sentinel.model import RulesFile

# `Any` is JSON.

#: Where the committed schema is found by editors.
NAME: Final = "rules.schema.json"
_DRAFT: Final = "https://json-schema.org/draft/2020-12/schema"


def json_schema() -> dict[str, Any]:
    """A JSON Schema (draft 2020-12) of the file, for editors that complete and check while one types."""
    schema = _as_written(msgspec.json.schema(RulesFile))
    for name, definition in schema["$defs"].items():
        told = _comments().get(name, {})
        kind = getattr(model, name)
        for field in msgspec.structs.fields(kind):
            described = definition["properties"].get(field.encode_name)
            if described is not None and field.name in told:
                described["description"] = told[field.name]
    return {"$schema": _DRAFT, "title": "Sentinel rules file", **schema}


def _as_written(schema: Any) -> Any:
    """Decimals are text in JSON that machines exchange; people write numbers."""
    if isinstance(schema, list):
        return [_as_written(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("format") == "decimal":
        return {**schema, "type": ["number", "string"]}
    return {name: _as_written(value) for name, value in schema.items()}


@cache
def _comments() -> dict[str, dict[str, str]]:
    """Struct -> field, by its Python name -> the `#:` comment above it."""
    try:
        source = inspect.getsource(model)
    except OSError:  # the program came without its source
        return {}
    lines = source.splitlines()
    found: dict[str, dict[str, str]] = {}
    for node in ast.parse(source).body:
        if isinstance(node, ast.ClassDef):
            found[node.name] = {
                field.target.id: comment
                for field in node.body
                if isinstance(field, ast.AnnAssign)
                and isinstance(field.target, ast.Name)
                and (comment := _above(lines, field.lineno - 1))
            }
    return found


def _above(lines: list[str], index: int) -> str:
    """The `#:` lines right above a line, as one text."""
    first = index
    while lines[first - 1].lstrip().startswith("#:"):
        first -= 1
    return " ".join(line.strip().removeprefix("#:").strip() for line in lines[first:index])
