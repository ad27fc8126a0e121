"""Words for messages: what somebody wrote, and what they may have meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def shown(text: str) -> str:
    """What somebody wrote: quoted, on one line, not longer than a line."""
    return repr(text if len(text) <= 80 else text[:77] + "...")


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """A hint that names the nearest choice, or all of them where none is near."""
    known = list(choices)
    by_folded = {choice.lower(): choice for choice in known}
    near = difflib.get_close_matches(word[:100].lower(), list(by_folded), n=1, cutoff=0.6)
    if near:
        return f"did you mean '{by_folded[near[0]]}'?"
    return "one of " + ", ".join(known) if known else ""
