"""Whether a rule has found its value behind what only reads like a wall.

A status page says "Scheduled maintenance" and means a Sunday to come; a wall says it and nothing else. Its
words do not tell the two apart, but the rule does: what it names is on the one and not on the other.
"""

from __future__ import annotations

from itertools import islice
from typing import Final

from sentinel.extract.matches import each_alone
from sentinel.fetch.blocks import says
from sentinel.model import AvailabilityValue, Extracted, Fetched, Rule, Value

#: Methods that name a place on the page. The others take what a page has, and a wall has something.
_NAMES_A_PLACE: Final = frozenset({"css", "xpath", "schema", "table"})
#: Kinds that not every text is one of.
_TYPED: Final = frozenset({"price", "number", "date"})
#: What makes a selector say more than a tag's name, which walls have too.
_SAYS_MORE: Final = frozenset("#.[@")


def stands(page: Fetched) -> bool:
    """Whether a wall is before the page, whatever a rule could find on it."""
    return page.blocked is not None and not page.block_by_words


def is_behind(page: Fetched, rule: Rule, extracted: Extracted, value: Value) -> bool:
    """Whether what the rule read is its own value, though the page reads like a wall (`block_by_words`)."""
    code, extraction = page.blocked, rule.extraction
    if code is None:
        return True
    if extraction is None or extracted.healed is not None or not extracted.raw.strip():
        return False
    step = next(islice(each_alone(extraction), extracted.selector_index, None), None)
    if step is None or step.method not in _NAMES_A_PLACE:
        return False
    if isinstance(value, AvailabilityValue):  # "temporarily unavailable" is what it asks for
        return value.status != "unknown"
    if code.startswith("FETCH_") or says(
        code, extracted.raw
    ):  # a page that is not has prices of other things
        return False
    return rule.normal.kind in _TYPED or step.method == "table" or not _SAYS_MORE.isdisjoint(step.selector)
