"""What came over from another tool, for people and as JSON."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Final

from sentinel.cli.output import Output
from sentinel.rulefile.foreign import Carried, Note

_SIGNS: Final = {"carried": "~", "dropped": "-", "refused": "!"}


def show_carried(out: Output, tool: str, carried: Carried) -> None:
    """Each rule and channel, with what is otherwise, missing or refused; then how many."""
    if out.json:
        out.document(carried_document(tool, carried))
        return
    notes: dict[str, list[Note]] = defaultdict(list)
    for note in carried.notes:
        notes[note.where].append(note)
    for kind in ("channel", "rule"):
        for one in carried.value.get(f"{kind}s", []):
            out.line(f"+ {kind} {one['id']}")
            _show_notes(out, notes.pop(one["id"], []))
    for where, left in notes.items():
        out.line(where or f"all of {tool}")
        _show_notes(out, left)
    counts = Counter(note.kind for note in carried.notes)
    made = f"{len(carried.value['rules'])} rules, {len(carried.value.get('channels', []))} channels"
    told = f"{counts['carried']} with another meaning, {counts['dropped']} left behind"
    out.say(f"from {tool}: {made}; settings: {told}; {len(carried.refused)} refused")


def _show_notes(out: Output, notes: list[Note]) -> None:
    for note in notes:
        field = f"{note.field}: " if note.field else ""
        out.line(f"    {_SIGNS[note.kind]} {field}{note.text}")


def carried_document(tool: str, carried: Carried) -> dict[str, object]:
    """`sentinel.carried/1`."""
    return {
        "schema": "sentinel.carried/1",
        "source": tool,
        "channels": [one["id"] for one in carried.value.get("channels", [])],
        "rules": [one["id"] for one in carried.value["rules"]],
        "refused": [one.value["id"] for one in carried.refused],
        "notes": [
            {"where": note.where, "field": note.field, "kind": note.kind, "text": note.text}
            for note in carried.notes
        ],
    }
