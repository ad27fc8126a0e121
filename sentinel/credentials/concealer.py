"""Known secrets masked in what is told: logs, errors, what an endpoint repeats.

The last line of defence. Nothing is meant to tell a secret; but other libraries put URLs into their
errors, and many a server answers with what it was asked.
"""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Iterator
from typing import Final
from urllib.parse import parse_qsl, quote, quote_plus, unquote, urlsplit

from sentinel.settings import MASK

#: Shorter texts would be masked wherever chance has them.
MIN_SECRET: Final = 4
#: Parts of a URL's path and query that are shorter are words (`services`), not secrets.
MIN_PART: Final = 12
#: Characters of a secret at the end of a text, cut off there, that are masked.
MIN_REMAINS: Final = 6
#: Forms of secrets that are remembered; the oldest give way, for a process that lives for ever.
MAX_FORMS: Final = 50_000

_HEAD: Final = MIN_SECRET


class Concealer:
    """Remembers, in memory alone, what must not be told; masks it in texts."""

    __slots__ = ("_by_head", "_forms", "_known")

    def __init__(self) -> None:
        #: What was learned already: most calls bring nothing new.
        self._known: dict[str, None] = {}
        #: In the order they were learned.
        self._forms: dict[str, None] = {}
        #: First characters -> forms that begin so, the longest first.
        self._by_head: dict[str, list[str]] = {}

    def learn(self, *secrets: str | None) -> None:
        """Mask these from now on, also as URLs, JSON, HTML and base64 write them.

        Of a URL its secrets are learned (password, path, query values), not its host.
        """
        for secret in secrets:
            if secret and secret not in self._known:
                self._known[secret] = None
                for form in _forms(secret):
                    self._remember(form)

    def learn_login(self, url: str | None) -> None:
        """Mask the password of an address that is otherwise no secret (Redis, a database)."""
        if url and "@" in url and url not in self._known:
            self._known[url] = None
            user, colon, password = url.partition("://")[2].rpartition("@")[0].partition(":")
            for part in (password if colon else user, unquote(password if colon else user)):
                for form in _spelled(part):
                    self._remember(form)

    def learn_query(self, url: str | None) -> None:
        """Mask what stands in the query of an address that is no secret itself."""
        if url and "?" in url and url not in self._known:
            self._known[url] = None
            for part in _query_of(url):
                for form in _spelled(part):
                    self._remember(form)

    def conceal(self, text: str) -> str:
        """`text` with every known secret as `***`, also one that the end of `text` cuts off."""
        if not self._by_head:
            return text
        kept: list[str] = []
        start = place = 0
        while place <= len(text) - _HEAD:
            end = self._end_of_secret(text, place)
            if end is None:
                place += 1
                continue
            kept += (text[start:place], MASK)
            start = place = end
        return "".join((*kept, text[start:]))

    def _end_of_secret(self, text: str, place: int) -> int | None:
        """Where the secret that begins at `place` ends; None: none does."""
        begun = self._by_head.get(text[place : place + _HEAD], ())
        for form in begun:
            if text.startswith(form, place):
                return place + len(form)
        rest = len(text) - place
        if begun and rest >= MIN_REMAINS and any(form.startswith(text[place:]) for form in begun):
            return len(text)
        return None

    def _remember(self, form: str) -> None:
        if len(form) < MIN_SECRET or form in self._forms:
            return
        self._forms[form] = None
        group = self._by_head.setdefault(form[:_HEAD], [])
        group.append(form)
        group.sort(key=len, reverse=True)
        if len(self._forms) > MAX_FORMS:
            self._forget(next(iter(self._forms)))

    def _forget(self, form: str) -> None:
        del self._forms[form]
        group = self._by_head[form[:_HEAD]]
        group.remove(form)
        if not group:
            del self._by_head[form[:_HEAD]]
        self._known.clear()  # learned anew when it is used again

    def __repr__(self) -> str:
        return f"<Concealer of {len(self._forms)} forms>"

    def __reduce__(self) -> str:
        raise TypeError("a Concealer is not pickled")


def _forms(secret: str) -> Iterator[str]:
    """Every text that gives `secret` away."""
    for part in _parts(secret):
        yield from _spelled(part)


def _parts(secret: str) -> Iterator[str]:
    if "://" not in secret:
        yield secret
        yield secret.removeprefix("whsec_")
        return
    try:
        url = urlsplit(secret)
        user, password = unquote(url.username or ""), unquote(url.password or "")
    except ValueError:
        yield secret
        return
    place = secret.partition("://")[2].rpartition("@")[2]
    if len(path := place[len(place.partition("/")[0]) :]) >= MIN_PART:
        yield path
    yield from (part for part in url.path.split("/") if len(part) >= MIN_PART)
    yield from _query_of(secret)
    if password:
        yield url.password or ""
        yield password
        # As HTTP's Basic and SMTP's PLAIN and LOGIN send it.
        for joined in (f"{user}:{password}", f"\0{user}\0{password}"):
            yield base64.b64encode(joined.encode()).decode()
    elif len(user) >= MIN_PART:
        yield user


def _query_of(url: str) -> Iterator[str]:
    query = url.partition("?")[2].partition("#")[0]
    for _, value in parse_qsl(query, keep_blank_values=False):
        if len(value) >= MIN_PART:
            yield value


def _spelled(part: str) -> Iterator[str]:
    """A text as the places that may repeat it write it."""
    if len(part) < MIN_SECRET:
        return
    yield part
    yield quote(part, safe="")
    yield quote(part)
    yield quote_plus(part)
    yield html.escape(part)
    for escaped in (json.dumps(part)[1:-1], json.dumps(part, ensure_ascii=False)[1:-1], repr(part)[1:-1]):
        yield escaped
        yield escaped.replace("/", "\\/")
    yield base64.b64encode(part.encode("utf-8", "surrogatepass")).decode().rstrip("=")
