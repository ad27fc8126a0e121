"""Exit codes, and which error ends with which.

The one table of the command line: an error is raised where it happens and becomes a code, a line
`error: ...` and a line `hint: ...` here.
"""

from __future__ import annotations

from enum import IntEnum

import msgspec

from sentinel import errors as sentinel_errors


class Exit(IntEnum):
    """What a process's end says to a script."""

    DONE = 0
    #: The operation failed.
    FAILED = 1
    #: Usage or settings.
    USAGE = 2
    #: Redis unreachable or refused.
    REDIS = 3
    #: Database unreachable or schema not current.
    DATABASE = 4
    NOT_FOUND = 5
    #: Destructive without `--yes`, no terminal to ask on.
    UNCONFIRMED = 6
    #: A check said no.
    NO = 7
    #: Drain timeout passed, jobs handed back.
    UNDRAINED = 8


class CommandError(Exception):
    """A command cannot go on; says why, what to do, and how to exit."""

    def __init__(self, code: Exit, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.hint = hint


class Ending(msgspec.Struct, frozen=True):
    """How an error is told."""

    code: Exit
    messages: tuple[str, ...]
    hint: str = ""
    #: Our own mistake: worth a traceback.
    unexpected: bool = False


_REDIS_HINT = "is Redis running there? Name it with --redis-url or REDIS_URL, or use ours with --embedded"
_DATABASE_HINT = "name the database with --database-url or DATABASE_URL"
_FULL_HINT = "nothing was written; give Redis more memory or disk, or let workers drain"
_WHICH_HINT = "sentinel-worker config show tells which {} is meant and where that was said"
_UTF8 = "an argument or a line of input is not UTF-8 text"
#: What is not there -> the command that shows what there is.
_LISTS = {"rule": "rules list", "alert": "alerts list", "channel": "channels list"}


def _table() -> tuple[tuple[type[Exception], Exit, str], ...]:
    """First match wins: subclasses before their bases."""
    from streamq import errors as streamq_errors  # noqa: PLC0415 - brings redis, which --help does without

    return (
        (sentinel_errors.SettingsError, Exit.USAGE, "sentinel-worker config show tells where each was said"),
        (sentinel_errors.RuleFileError, Exit.FAILED, "nothing was changed"),
        (sentinel_errors.EmbeddedRedisFailed, Exit.REDIS, ""),
        (sentinel_errors.SchemaNotCurrent, Exit.DATABASE, _WHICH_HINT.format("database")),
        (sentinel_errors.StoreUnavailable, Exit.DATABASE, _DATABASE_HINT),
        (sentinel_errors.NotFound, Exit.NOT_FOUND, ""),
        (streamq_errors.BrokerUnavailable, Exit.REDIS, _REDIS_HINT),
        (streamq_errors.BrokerFull, Exit.REDIS, _FULL_HINT),
        (streamq_errors.BrokerRefused, Exit.REDIS, _WHICH_HINT.format("server")),
        (streamq_errors.JobNotFound, Exit.NOT_FOUND, ""),
        (streamq_errors.UnknownStream, Exit.USAGE, ""),
        (streamq_errors.InvalidJob, Exit.USAGE, ""),
        (sentinel_errors.SentinelError, Exit.FAILED, ""),
        (streamq_errors.StreamqError, Exit.FAILED, ""),
    )


def ending_of(error: BaseException) -> Ending:
    """How to tell `error` and exit; an ExceptionGroup of one error is that error."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    if isinstance(error, CommandError):
        return Ending(error.code, (str(error),), error.hint)
    for kind, code, hint in _table():
        if isinstance(error, kind):
            return Ending(code, _messages(error), hint or _way_to_others(error))
    if isinstance(error, UnicodeError):
        return Ending(Exit.USAGE, (_UTF8,))
    if isinstance(error, OSError) and error.strerror:  # the disk is full, a file is not ours to write ...
        return Ending(Exit.FAILED, (f"{error.filename}: " * bool(error.filename) + error.strerror,))
    text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return Ending(Exit.FAILED, (text,), "run it again with --verbose for the traceback", unexpected=True)


def _messages(error: Exception) -> tuple[str, ...]:
    if isinstance(error, sentinel_errors.SettingsError):
        return tuple(error.problems)
    if isinstance(error, sentinel_errors.RuleFileError):
        return tuple(
            f"{p.path}{': ' if p.path else ''}{p.message}{f' ({p.hint})' if p.hint else ''}"
            for p in error.problems
        )
    return (str(error),)


def _way_to_others(error: Exception) -> str:
    """For `no rule x`: where to look what rules there are."""
    kind = str(error).removeprefix("no ").partition(" ")[0]
    if not isinstance(error, sentinel_errors.NotFound) or kind not in _LISTS:
        return ""
    return f"sentinel-worker {_LISTS[kind]} shows what there is"
