"""Logging: an event name and its fields, one line each, for a terminal or for a machine.

streamq and sentinel log through the standard library with `extra`; everything that is an `extra`
is a field here. Payloads and secrets are not logged: a field of such a name is masked, whoever
passed it.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final, TextIO

import msgspec

from sentinel.cli.output import printable
from sentinel.settings import MASK, LogFormat

#: Fields that are masked wherever they come from.
MASKED_FIELDS: Final = frozenset(
    ("payload", "password", "secret", "token", "authorization", "cookie", "cookies", "credentials", "headers")
)
#: Characters of a traceback that are kept.
MAX_TRACEBACK: Final = 8000

_STANDARD: Final = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}
_URL_PASSWORD: Final = re.compile(r"(\b[a-z][a-z0-9+.-]*://[^\s:/@]*:)[^\s@]+@", re.IGNORECASE)
#: They log every request with its URL, which may hold a token.
_CHATTY: Final = ("httpx", "httpcore", "asyncio", "aiosqlite", "sqlalchemy", "alembic")


def redact(text: str) -> str:
    """`text` with the passwords of URLs masked."""
    return _URL_PASSWORD.sub(rf"\1{MASK}@", text)


def set_up(
    stream: TextIO, *, log_format: LogFormat | None, level: int, conceal: Callable[[str], str] = redact
) -> None:
    """Send all logging to `stream`. Without a format: console on a terminal, JSON elsewhere.

    `conceal` masks in every text what must not be told.
    """
    chosen = log_format or ("console" if stream.isatty() else "json")
    handler = _OurHandler(stream)
    handler.setFormatter(JsonFormatter(conceal) if chosen == "json" else ConsoleFormatter(conceal))
    root = logging.getLogger()
    for old in [h for h in root.handlers if isinstance(h, _OurHandler)]:
        root.removeHandler(old)  # of a call before, in the same process
    root.addHandler(handler)
    root.setLevel(level)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(max(level, logging.WARNING))


class _OurHandler(logging.StreamHandler[TextIO]):
    """Told apart from what others hang on the root logger."""


def fields_of(record: logging.LogRecord) -> dict[str, object]:
    """What was passed as `extra`, masked where its name says so."""
    return {
        name: MASK if name.lower() in MASKED_FIELDS else value
        for name, value in record.__dict__.items()
        if name not in _STANDARD
    }


class _Formatter(logging.Formatter):
    """What both have in common."""

    def __init__(self, conceal: Callable[[str], str] = redact) -> None:
        super().__init__()
        self.conceal = conceal

    def traceback(self, record: logging.LogRecord) -> str:
        """The end of the traceback, '' where there is none. Masked before it is cut."""
        if not record.exc_info:
            return ""
        return self.conceal(self.formatException(record.exc_info))[-MAX_TRACEBACK:]


class JsonFormatter(_Formatter):
    """One JSON object a line: at, level, event, logger, then the fields."""

    def format(self, record: logging.LogRecord) -> str:
        """The line without its end."""
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line: dict[str, object] = {
            "at": at.replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "event": self.conceal(record.getMessage()),
            "logger": record.name,
        }
        line |= {name: self._plain(value) for name, value in fields_of(record).items() if name not in line}
        if traceback := self.traceback(record):
            line["traceback"] = traceback
        return msgspec.json.encode(line).decode()

    def _plain(self, value: object) -> object:
        """A value JSON can hold; a number stays one."""
        if value is None or isinstance(value, bool | int | float):
            return value
        if isinstance(value, list | tuple | set | frozenset):
            return [self._plain(part) for part in value]
        return self.conceal(str(value))


class ConsoleFormatter(_Formatter):
    """Time, level, event and `name=value`, for people."""

    def format(self, record: logging.LogRecord) -> str:
        """The line without its end."""
        at = time.strftime("%H:%M:%S", time.localtime(record.created))
        fields = " ".join(f"{name}={self._shown(value)}" for name, value in fields_of(record).items())
        event = printable(self.conceal(record.getMessage()))
        line = f"{at} {record.levelname.lower():<7} {event} {fields}".rstrip()
        if traceback := self.traceback(record):
            line += "\n" + traceback
        return line

    def _shown(self, value: object) -> str:
        text = f"{value:.3g}" if isinstance(value, float) else printable(self.conceal(str(value)))
        return repr(text) if not text or any(c.isspace() or c in "\"'=" for c in text) else text
