"""The fetcher: a URL and a profile in, a page or an error code out.

Chooses the way (http now; a browser is to come), keeps the deadline, inflates and decodes, and says
what the answer means: a page, no change, a refusal, a wall. A `FetchFailure` carries what was known.
"""

from __future__ import annotations

import re
import ssl
import time
from collections.abc import Callable
from http import HTTPStatus
from types import TracebackType
from typing import Final, Literal, Self

import anyio
import anyio.to_thread
import httpcore
import msgspec

from sentinel.errors import CheckFailure, Problem
from sentinel.fetch import charset, http
from sentinel.fetch.blocks import Block, classify
from sentinel.fetch.decoding import bounded_decode, codings_of
from sentinel.fetch.guard import USER_AGENT, GuardTransport, NetworkPolicy, check_url
from sentinel.fetch.http import Answer, Ask, Limits, Trail
from sentinel.fetch.politeness import parse_retry_after
from sentinel.fetch.resolver import Resolve, system_resolve
from sentinel.model import Fetched, FetchProfile

__all__ = ["FetchFailure", "Fetcher", "Limits", "check_profile"]


class FetchFailure(CheckFailure):
    """A fetch ended with an error code."""

    def __init__(
        self, code: str, detail: str = "", *, retry_after: float | None = None, partial: Fetched | None = None
    ) -> None:
        super().__init__(code, detail, retry_after=retry_after)
        #: What was known by then: status (0: no answer came), final URL, bytes, timings; body and text
        #: are empty. None where nothing was dialled.
        self.partial = partial


class Fetcher:
    """Fetches pages for one installation. One per process; close it at the end."""

    def __init__(
        self,
        policy: NetworkPolicy,
        limits: Limits = Limits(),  # noqa: B008 - frozen
        *,
        now: Callable[[], float] = time.time,
        resolve: Resolve = system_resolve,
        backend: httpcore.AsyncNetworkBackend | None = None,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self._policy = policy
        self._limits = limits
        self._now = now
        self._transport = GuardTransport(
            policy,
            dns_seconds=limits.dns_seconds,
            max_read_bytes=limits.wire_bytes + limits.header_bytes + http.FRAMING_BYTES,
            resolve=resolve,
            backend=backend,
            ssl_context=ssl_context,
        )

    async def fetch(
        self,
        url: str,
        profile: FetchProfile,
        *,
        force_mode: Literal["http", "headless"] | None = None,
        etag: str | None = None,
        last_modified: str | None = None,
    ) -> Fetched:
        """The page at `url`, or `not_modified` where it is as `etag` or `last_modified` knew it.

        A wall sent as a good page comes back as a page with `blocked` set. Raises FetchFailure with a
        code of FETCH_*, BLOCK_*, PAGE_*, RULE_INVALID (the profile) or SYSTEM_BROWSER.
        """
        trail = Trail(url)
        began = time.monotonic()
        seconds = min(profile.timeout, self._limits.total_seconds)
        try:
            ask = self._prepare(
                url, profile, force_mode, {"If-None-Match": etag, "If-Modified-Since": last_modified}
            )
        except CheckFailure as exc:
            raise FetchFailure(exc.code, exc.detail) from exc
        try:
            with anyio.fail_after(seconds):
                answer = await http.get(self._transport, ask, self._policy, self._limits, trail)
                return await self._conclude(answer, trail, began, asked_for_change=bool(ask.validators))
        except CheckFailure as exc:
            raise self._failed(exc, trail, began) from exc
        except TimeoutError as exc:
            late = CheckFailure("FETCH_TIMEOUT", f"the page was not there within {seconds:g} s")
            raise self._failed(late, trail, began) from exc

    async def aclose(self) -> None:
        """Close what is open."""
        await self._transport.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def _prepare(
        self, url: str, profile: FetchProfile, force_mode: str | None, validators: dict[str, str | None]
    ) -> Ask:
        """What will be asked. Raises CheckFailure, and nothing was dialled then."""
        target = check_url(url, self._policy)
        if profile.proxy is not None:
            check_url(profile.proxy, self._policy)
            raise CheckFailure(
                "FETCH_BAD_URL", "proxies are not supported yet: remove `proxy` from the profile"
            )
        for problem in check_profile(profile):
            raise CheckFailure("RULE_INVALID", f"{problem.path}: {problem.message}")
        if (force_mode or profile.mode) == "headless":
            raise CheckFailure("SYSTEM_BROWSER", "there is no browser here yet: use mode http or auto")
        public = {**_HEADERS, "User-Agent": profile.user_agent or USER_AGENT}
        private: dict[str, str] = {}
        for name, value in profile.headers.items():
            key = _canonical(name)
            (public if key.lower() in _HARMLESS else private)[key] = value
        return Ask(
            url=target,
            headers=public,
            private_headers=private,
            cookies=profile.cookies,
            validators={
                name: value for name, value in validators.items() if value and _is_field_value(value)
            },
        )

    async def _conclude(
        self, answer: Answer, trail: Trail, began: float, *, asked_for_change: bool
    ) -> Fetched:
        """What the answer means. Raises CheckFailure where it is not a page."""
        if answer.status == 304 and asked_for_change:
            return _fetched(trail, began, not_modified=True)
        digest = _digest_good if answer.status < 300 else _digest_bad
        with trail.stage("body"):
            if len(answer.body) > _WORTH_A_THREAD:
                page = await anyio.to_thread.run_sync(digest, answer, self._limits)
            else:
                page = digest(answer, self._limits)
        if answer.status >= 300:
            raise self._refused(answer, page.block)
        if not page.text.strip():
            raise CheckFailure("PAGE_EMPTY", f"the server answered {answer.status} with nothing in it")
        return _fetched(trail, began, page=page)

    def _refused(self, answer: Answer, block: Block | None) -> CheckFailure:
        """The failure an error status stands for."""
        wait = parse_retry_after(answer.headers.get("retry-after"), now=self._now())
        said = f"the server answered {_status_words(answer.status)}"
        if block is not None:
            return CheckFailure(block.code, f"{said}: {block.detail}", retry_after=wait)
        code = "FETCH_HTTP_5XX" if answer.status >= 500 else "FETCH_HTTP_4XX"
        return CheckFailure(code, said, retry_after=wait)

    def _failed(self, failure: CheckFailure, trail: Trail, began: float) -> FetchFailure:
        # The guard refused the very first address: nothing was dialled, so nothing is known.
        refused = failure.code == "FETCH_REFUSED_ADDRESS" and not trail.status
        partial = None if refused and "connect" not in trail.seconds else _fetched(trail, began)
        return FetchFailure(failure.code, failure.detail, retry_after=failure.retry_after, partial=partial)


#: Bytes of body from which inflating, decoding and judging it would hold up the loop.
_WORTH_A_THREAD: Final = 32 * 1024

#: What every page is asked for with: what a browser says, as far as it is true of us.
_HEADERS: Final = {
    "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,application/json;q=0.9,*/*;q=0.8",
    "Accept-Language": "en-US,en;q=0.9",
}

#: Headers of a profile that follow a redirect to another origin. Any other may carry a credential.
_HARMLESS: Final = frozenset(
    {
        *("accept", "accept-language", "user-agent", "cache-control", "pragma", "dnt", "sec-gpc"),
        *("sec-fetch-dest", "sec-fetch-mode", "sec-fetch-site", "sec-fetch-user"),
        *("sec-ch-ua", "sec-ch-ua-mobile", "sec-ch-ua-platform", "upgrade-insecure-requests"),
    }
)

#: Headers that are the fetcher's own business: framing, compression it must be able to bound, the
#: name it checked, validators it must know of.
_OURS: Final = frozenset(
    {
        *("host", "connection", "keep-alive", "content-length", "transfer-encoding", "te", "trailer"),
        *("upgrade", "expect", "range", "accept-encoding", "proxy-authorization", "proxy-connection"),
        *("if-none-match", "if-modified-since", "if-match", "if-unmodified-since", "if-range"),
    }
)

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}")
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\ud7ff\ue000-\U0010ffff]{0,8192}")
_COOKIE_VALUE = re.compile(r"[\x21-\x2b\x2d-\x3a\x3c-\x7e]{0,4096}")


def check_profile(profile: FetchProfile) -> list[Problem]:
    """What is wrong with a profile's headers and cookies. Paths are relative to the profile."""
    problems = []
    for name, value in profile.headers.items():
        path = f"headers.{name[:60]}"
        if not _TOKEN.fullmatch(name):
            problems.append(Problem(path, "this is not a header name", "letters, digits and hyphens"))
        elif name.lower() in _OURS:
            problems.append(Problem(path, "this header is set by the fetcher", "leave it out"))
        elif not _is_field_value(value):
            problems.append(Problem(path, "the value has characters a header cannot have"))
    for name, value in profile.cookies.items():
        if not _TOKEN.fullmatch(name) or not _COOKIE_VALUE.fullmatch(value):
            problems.append(
                Problem(
                    f"cookies.{name[:60]}", "the cookie has characters it cannot have", "encode them (%20)"
                )
            )
    if profile.user_agent is not None and not _is_field_value(profile.user_agent):
        problems.append(Problem("userAgent", "the value has characters a header cannot have"))
    return problems


def _is_field_value(value: str) -> bool:
    return value == value.strip() and _VALUE.fullmatch(value) is not None


def _canonical(name: str) -> str:
    """`user-agent` as `User-Agent`, so that a profile's header replaces ours."""
    return "-".join(part.capitalize() for part in name.split("-"))


class _Page(msgspec.Struct, frozen=True):
    """A body made readable and judged."""

    body: bytes
    text: str
    block: Block | None


def _digest_good(answer: Answer, limits: Limits) -> _Page:
    """Inflate, decode and judge a page. Raises CheckFailure."""
    codings = codings_of(answer.headers.get_list("content-encoding"))
    body = bounded_decode(answer.body, codings, max_bytes=limits.decoded_bytes, max_ratio=limits.ratio)
    content_type = answer.headers.get("content-type", "")
    if http.looks_binary(body, content_type):
        raise CheckFailure(
            "FETCH_DECODE", f"the body is no text ({content_type[:60] or 'of no named type'!r})"
        )
    text = charset.decode(body, content_type)
    return _Page(body, text, classify(answer.status, answer.headers, text))


def _digest_bad(answer: Answer, limits: Limits) -> _Page:
    """The same for an error: what cannot be read is left out, the status says enough."""
    try:
        codings = codings_of(answer.headers.get_list("content-encoding"))
        body = bounded_decode(answer.body, codings, max_bytes=limits.decoded_bytes, max_ratio=limits.ratio)
    except CheckFailure:
        body = b""
    text = charset.decode(body, answer.headers.get("content-type", ""))
    return _Page(body, text, classify(answer.status, answer.headers, text))


def _fetched(trail: Trail, began: float, *, page: _Page | None = None, not_modified: bool = False) -> Fetched:
    block = page.block if page else None
    timings = {**trail.seconds, "total": time.monotonic() - began}
    return Fetched(
        url=trail.url,
        final_url=trail.final_url,
        status=trail.status,
        headers=trail.headers,
        body=page.body if page else b"",
        text=page.text if page else "",
        not_modified=not_modified,
        wire_bytes=trail.wire_bytes,
        timings={stage: round(seconds, 6) for stage, seconds in timings.items()},
        blocked=block.code if block else None,
        block_detail=block.detail if block else "",
        block_confidence=block.confidence if block else 0.0,
    )


def _status_words(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)
