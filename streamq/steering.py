"""What a person asks of streams, looked at before a server is: an error in words, and nothing was done."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, get_args

from streamq.broker import Order, Verb
from streamq.errors import InvalidJob

#: Jobs of a stream that every worker may be asked to run at once.
MOST_AT_ONCE: Final = 10_000
#: What a worker can be asked for.
VERBS: Final = frozenset(get_args(Verb))

_ENTRY_ID: Final = re.compile(r"([0-9]{1,20})-([0-9]{1,20})")
_LARGEST: Final = 2**64 - 1


def check_concurrency(jobs: object) -> None:
    """Raises InvalidJob for what is neither None nor a number of jobs that a worker can run at once."""
    if jobs is not None and (type(jobs) is not int or not 1 <= jobs <= MOST_AT_ONCE):
        raise InvalidJob(
            f"a worker can be asked to run 1 to {MOST_AT_ONCE:,} jobs at once, or None (as many as it was"
            f" made for); not {jobs!r}"
        )


def check_entry_ids(entry_ids: Iterable[object]) -> None:
    """Raises InvalidJob where one is no entry id of Redis: half of one would mean several entries."""
    for entry_id in entry_ids:
        found = _ENTRY_ID.fullmatch(entry_id) if isinstance(entry_id, str) else None
        if found is None or max(int(found[1]), int(found[2])) > _LARGEST:
            shown = repr(entry_id)[:80]
            raise InvalidJob(f"an entry id is a time in ms and a number, as in 1767225600000-0; not {shown}")


def check_order(order: object) -> None:
    """Raises InvalidJob for what no worker can be asked for."""
    if not isinstance(order, Order) or order.verb not in VERBS:
        verb = order.verb if isinstance(order, Order) else order
        raise InvalidJob(
            f"a worker can be asked to {', '.join(sorted(VERBS))} (an Order); not {repr(verb)[:80]}"
        )
