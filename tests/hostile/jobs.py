"""Jobs that no producer of ours would make, and handlers that no worker would like."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from tests.hostile import handling
from tests.hostile.rows import Judge, NotRun, Row, text_of
from tests.hostile.stage import Stage

_GOOD: dict[str, Any] = {"ruleId": "good", "trigger": "schedule", "requestedAt": "2026-01-31T12:00:00Z"}


def _forged(**fields: str) -> dict[str, str | bytes]:
    return {"payload": json.dumps({"name": "os.system", "args": ["true"]}), **fields}


#: What a row says in words -> the fields of the entry.
SCENES: dict[str, Callable[[], dict[str, str | bytes]]] = {
    'job name "__import__" or "os.system"': lambda: _forged(name="__import__", task="os.system", job="os.system"),
    "schema version 999": lambda: {"payload": json.dumps({"schema": 999, "version": 999, "rule": "good"})},
    "no payload at all": lambda: {"x": "y"},
    "payload of another field's name": lambda: {"Payload": json.dumps(_GOOD)},
    "pickle bytes": lambda: {"payload": b"\x80\x04\x95\x1d\x00\x00\x00\x8c\x05posix\x8c\x06system\x93\x8c\x04true\x85R."},
    "not UTF-8": lambda: {"payload": b'{"ruleId": "\xff\xfe"}'},
    "attempt -1": lambda: {"payload": json.dumps(_GOOD), "attempt": "-1"},
    "attempt 10^30": lambda: {"payload": json.dumps(_GOOD), "attempt": "1" + "0" * 30},
    "crashes NaN": lambda: {"payload": json.dumps(_GOOD), "crashes": "NaN"},
    "timeout NaN": lambda: {"payload": json.dumps(_GOOD), "timeout": "nan"},
    "timeout 1e308": lambda: {"payload": json.dumps(_GOOD), "timeout": "1e308"},
    "headers a list": lambda: {"payload": json.dumps(_GOOD), "headers": "[1]"},
    "headers nested 100,000 deep": lambda: {"payload": json.dumps(_GOOD), "headers": '{"a":' * 100_000},
    "retry with a delay of -5": lambda: {"payload": json.dumps(_GOOD), "retry": '{"delays": [-5]}'},
    "id of 100,000 characters": lambda: {"payload": json.dumps(_GOOD), "id": "i" * 100_000},
    "500 unknown fields and no payload": lambda: {f"f{n}": "x" for n in range(500)},
}  # fmt: skip


def job(row: Row, stage: Stage) -> Judge:
    """An entry of `rules:run` as any client may add one; `handler: ...` is the engine's (see `handling`)."""
    if row.input.startswith("handler: "):
        return handling.judge(row)
    if (scene := SCENES.get(row.input)) is not None:
        fields = scene()
    elif row.input.startswith(("py:", "{", "[", '"')) or row.is_control:
        fields = {"payload": text_of(row.input)}
    else:
        raise NotRun("no job here is what it says in words")
    payload = fields.get("payload")
    known_by = stage.job(
        fields if "id" in fields or payload is None else fields | {"id": f"row-{row.number}"}
    )

    def judged() -> str:
        letters = [
            one
            for one in stage.dead
            if one.envelope.id == known_by or (payload is None and one.envelope.id == known_by)
        ]
        if "id" in fields:
            letters = [one for one in stage.dead if one.envelope.id.startswith(str(fields["id"])[:100])]
        if row.expected != "dlq":
            return f"it is dead: {letters[0].error}" if letters else ""
        if len(letters) != 1:
            return f"{len(letters)} dead letters"
        (letter,) = letters
        told = re.sub(r"[\x20-\x7e]", "", letter.error)
        if letter.attempts > 1:
            return f"it was tried {letter.attempts} times"
        return (
            ""
            if letter.error and told.isprintable()
            else f"the reason is not fit for people: {letter.error!r}"
        )

    return judged
