"""Everything sentinel raises, and the error codes a run may end with.

    SentinelError
    +-- TemporaryFailure     ours and passing (network of ours, database, browser): the stream retries
    |   +-- StoreUnavailable the database cannot be reached or is locked
    +-- PermanentFailure     needs a person
    |   +-- SettingsError    one or more settings are wrong (all are named)
    |   +-- RuleFileError    a rules file is wrong (path and hint for each)
    |   +-- SchemaNotCurrent the database schema is not at the version of this program
    |   +-- EmbeddedRedisFailed there is no server's program, or it does not start
    +-- StaleWorker          another delivery of the job has written already; this write was refused
    +-- NotFound             no such rule, alert, channel ...
    +-- CheckFailure         a stage of a check ended with an error code: a result, not a failed job

What is the page's own state (404, no match, captcha) is a run with an error code. Each code has a
title, a description, a recommendation, a severity and a word on whether trying again may help
(`ERROR_CODES`).
"""

from __future__ import annotations

from typing import Literal

import msgspec

Severity = Literal["info", "warning", "critical"]


class SentinelError(Exception):
    """sentinel failed."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (type(self).__doc__ or "").strip())


class TemporaryFailure(SentinelError):
    """Something of ours failed for now; the job is retried."""


class StoreUnavailable(TemporaryFailure):
    """The database cannot be reached or is locked."""


class PermanentFailure(SentinelError):
    """Something is wrong that a person must change."""


class SettingsError(PermanentFailure):
    """One or more settings are wrong."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


class Problem(msgspec.Struct, frozen=True):
    """One thing wrong in a rules file."""

    #: Where, as `rules[2].extraction.selector`.
    path: str
    message: str
    hint: str = ""


class RuleFileError(PermanentFailure):
    """A rules file is wrong."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("; ".join(f"{p.path}: {p.message}" for p in problems))
        self.problems = problems


class SchemaNotCurrent(PermanentFailure):
    """The database schema is not current. Run `sentinel-worker migrate`."""


class EmbeddedRedisFailed(PermanentFailure):
    """The embedded Redis did not start."""


class StaleWorker(SentinelError):
    """A newer delivery of the job has the row; this write was refused and nothing was changed."""


class NotFound(SentinelError):
    """No such thing."""


class CheckFailure(SentinelError):
    """A stage of a check ended with an error code."""

    def __init__(self, code: str, detail: str = "", *, retry_after: float | None = None) -> None:
        super().__init__(f"{code}: {detail}" if detail else code)
        #: One of ERROR_CODES.
        self.code = code
        #: For people; never holds a secret.
        self.detail = detail
        #: Seconds the other side asked us to wait, where it did.
        self.retry_after = retry_after


class ErrorCode(msgspec.Struct, frozen=True):
    """One way a check can end without a value, told to people."""

    code: str
    title: str
    description: str
    recommendation: str
    severity: Severity
    #: Trying again later, unchanged, may help.
    retryable: bool
    #: Points a rule's health loses when a run ends with it (0 to 100).
    weight: int
