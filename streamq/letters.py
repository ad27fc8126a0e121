"""Which dead letters are meant: by job, reason, error, age, or what their payload says."""

from __future__ import annotations

from typing import Any

import msgspec

from streamq.broker import DeadJob


class DeadFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that is given must hold; nothing given means every dead letter."""

    job_ids: frozenset[str] = frozenset()
    #: `exhausted`, `crashed`, `invalid_payload`, or what a handler said.
    reasons: frozenset[str] = frozenset()
    #: A part of the error, in any case.
    error: str = ""
    #: Died at this moment or later, ms of the server's clock; before this moment.
    since_ms: float | None = None
    until_ms: float | None = None
    #: Paths into the payload (`a.b`) and what is there, as text: `3`, `true`, `null` as JSON has them.
    fields: tuple[tuple[str, str], ...] = ()

    @property
    def is_everything(self) -> bool:
        """Nothing was asked for in particular."""
        return self == DeadFilter()

    def accepts(self, letter: DeadJob) -> bool:
        """This one is meant."""
        return (
            (not self.job_ids or letter.envelope.id in self.job_ids)
            and (not self.reasons or letter.reason in self.reasons)
            and self.error.lower() in letter.error.lower()
            and (self.since_ms is None or letter.died_ms >= self.since_ms)
            and (self.until_ms is None or letter.died_ms < self.until_ms)
            and (not self.fields or self._says(letter.envelope.payload))
        )

    def ends_at(self, letter: DeadJob) -> bool:
        """No older letter than this one is meant either."""
        return self.since_ms is not None and letter.died_ms < self.since_ms

    def _says(self, payload: bytes) -> bool:
        try:
            document = msgspec.json.decode(payload)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return False
        return all(_at(document, path) == value for path, value in self.fields)


def _at(document: Any, path: str) -> str | None:  # Any: whatever JSON there is
    """What is at `path`, as text; None: nothing."""
    for name in path.split("."):
        if not isinstance(document, dict) or name not in document:
            return None
        document = document[name]
    return document if isinstance(document, str) else msgspec.json.encode(document).decode()
