"""What came over from another tool, and what did not."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any, Final, Literal
from urllib.parse import urlsplit

import msgspec

from sentinel.errors import Problem, RuleFileError
from sentinel.extract.hints import shown

# `Any` is a plain value.

#: Rules of one file.
MAX_RULES: Final = 20_000
#: Notes told; nobody reads more.
MAX_NOTES: Final = 20_000

#: carried: but it means something else here; dropped: it is not there; refused: our checks say no.
NoteKind = Literal["carried", "dropped", "refused"]


_PROXY: Final = re.compile(r"(?i)https?://(?:[^@/?#\s]{1,1024}@)?[^@/?#\s]+/?")


class Note(msgspec.Struct, frozen=True):
    """One thing to know about what was carried over."""

    #: The rule's id, a channel's, or the place in the file of what became neither.
    where: str
    #: The setting, by its name there.
    field: str
    kind: NoteKind
    text: str


class Refused(msgspec.Struct, frozen=True):
    """A rule or channel that cannot be as it is."""

    value: dict[str, Any]
    problems: tuple[Problem, ...]


class Carried(msgspec.Struct, frozen=True, kw_only=True):
    """A rules file in the making."""

    #: The plain value of a rules file that loads.
    value: dict[str, Any]
    notes: tuple[Note, ...]
    refused: tuple[Refused, ...]


class Draft:
    """Rules and channels as they are found, with notes."""

    def __init__(self) -> None:
        self.rules: list[dict[str, Any]] = []
        self.channels: list[dict[str, Any]] = []
        self.notes: list[Note] = []
        self._ids: set[str] = set()

    def note(self, where: str, field: str, kind: NoteKind, text: str) -> None:
        """Say something; the same thing is said once."""
        made = Note(where, field, kind, text)
        if len(self.notes) < MAX_NOTES and made not in self.notes[-50:]:
            self.notes.append(made)

    def new_id(self, *words: str) -> str:
        """An id that is free, from the first of some texts that gives one."""
        base = next((made for word in words if (made := slug(word))), "imported")
        found, number = base, 2
        while found in self._ids:
            found, number = f"{base}-{number}", number + 1
        self._ids.add(found)
        return found

    def add(self, rule: dict[str, Any]) -> None:
        """A rule more. Raises RuleFileError where there are too many."""
        if len(self.rules) >= MAX_RULES:
            raise RuleFileError([Problem("", f"more than {MAX_RULES} rules", "split the file")])
        self.rules.append(rule)


class Fields:
    """The settings of one thing, taken one by one, so that what nobody took can be told."""

    def __init__(self, value: Mapping[Any, Any], where: str, draft: Draft) -> None:
        self._left = {str(name): one for name, one in value.items()}
        self.where = where
        self.draft = draft

    def take(self, name: str, default: Any = None) -> Any:
        """A setting, or the default where it is not there."""
        return self._left.pop(name, default)

    def text(self, name: str) -> str:
        """A setting that is a text or a number; '' where it is none."""
        found = self._left.get(name)
        if found is None or isinstance(found, dict | list | bool):
            return ""
        del self._left[name]
        return str(found).strip()

    def texts(self, name: str) -> list[str]:
        """A setting that is a list of texts, or one text."""
        found = self.take(name)
        if isinstance(found, str):
            found = [found]
        if not isinstance(found, list):
            return []
        return [str(one).strip() for one in found if isinstance(one, str | int) and str(one).strip()]

    def flag(self, name: str, *, default: bool = False) -> bool:
        """A setting that is yes or no, also as YAML 1.1 writes it."""
        found = self.take(name, default)
        if isinstance(found, str):
            return found.strip().lower() in ("yes", "on", "true", "y", "1")
        return bool(found)

    def pairs(self, name: str) -> dict[str, str]:
        """A setting that is names and texts."""
        found = self.take(name)
        if not isinstance(found, dict):
            return {}
        return {str(key): str(one) for key, one in found.items() if not isinstance(one, dict | list)}

    def drop(self, why: Mapping[str, str], *, plain: Collection[Any] = ()) -> None:
        """Name each of these that says something, and why it is not carried over."""
        for name, reason in why.items():
            found = self.take(name)
            if not _says_nothing(found) and found not in plain:
                self.note(name, "dropped", reason)

    def ignore(self, names: Collection[str]) -> None:
        """What is state and no setting."""
        for name in names:
            self._left.pop(name, None)

    def rest(self) -> None:
        """Name what is left."""
        for name, found in self._left.items():
            if not _says_nothing(found):
                self.note(
                    name if re.fullmatch(r"[\w.-]{1,60}", name) else shown(name)[:60],
                    "dropped",
                    "not known here",
                )
        self._left.clear()

    def note(self, field: str, kind: NoteKind, text: str) -> None:
        """Say something of this thing."""
        self.draft.note(self.where, field, kind, text)


def proxy_of(fields: Fields, field: str, written: str) -> dict[str, str]:
    """`fetch.proxy` of a proxy as other tools write it, noted; {} where ours cannot ask it."""
    address = written if "://" in written else f"http://{written}"
    if not _PROXY.fullmatch(address):
        fields.note(field, "dropped", "only proxies of http:// and https:// are asked")
        return {}
    fields.note(field, "carried", "as it is: look for a password in it before you share the file")
    return {"proxy": address}


def slug(text: str) -> str:
    """An id from a title or an address; '' where nothing is left."""
    parts = urlsplit(text) if "://" in text[:20] else None
    words = f"{parts.hostname or ''}{parts.path}" if parts else text
    return re.sub(r"[^a-z0-9]+", "-", words.lower()[:200]).strip("-")[:60].strip("-")


def _says_nothing(found: Any) -> bool:
    return found is None or found is False or found in ("", 0) or found in ([], {})
