"""The fetcher: a URL and a profile in, a page or an error code out.

Chooses the way (`modes`: HTTP, a browser, or one after the other), keeps the deadline, inflates and decodes,
and says what the answer means: a page, no change, a refusal, a wall. A `FetchFailure` carries what was known.
"""

from __future__ import annotations

import functools
import re
import ssl
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from types import TracebackType
from typing import Final, Self
from urllib.parse import urljoin

import anyio
import anyio.to_thread
import httpcore
import httpx
import msgspec

from sentinel.errors import CheckFailure, Problem
from sentinel.fetch import charset, geo, http, modes
from sentinel.fetch.blocks import Block, classify, visible_text
from sentinel.fetch.browser import BrowserPool
from sentinel.fetch.browser_page import PageAsk, PageFound, Pictures
from sentinel.fetch.decoding import bounded_decode, codings_of
from sentinel.fetch.guard import USER_AGENT, GuardBackend, GuardTransport, NetworkPolicy, check_url
from sentinel.fetch.http import Answer, Ask, Limits, Trail
from sentinel.fetch.modes import Mode, Worked
from sentinel.fetch.politeness import parse_retry_after
from sentinel.fetch.refresh import LONGEST, refresh_of
from sentinel.fetch.resolver import Resolve, system_resolve
from sentinel.fetch.solver import Solution, Solver, Unsolved
from sentinel.fetch.upstream import read_proxy
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
        browser: BrowserPool | None = None,
        solver_url: str | None = None,
        now: Callable[[], float] = time.time,
        resolve: Resolve = system_resolve,
        backend: httpcore.AsyncNetworkBackend | None = None,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        """`solver_url`: of a solver that rules may ask (see `solver`); CheckFailure where it is none."""
        self._policy = policy
        self._limits = limits
        self._browser = browser
        self._now = now
        self._open_transport = functools.partial(
            GuardTransport,
            policy,
            dns_seconds=limits.dns_seconds,
            max_read_bytes=limits.wire_bytes + limits.header_bytes + http.FRAMING_BYTES,
            resolve=resolve,
            backend=backend,
            ssl_context=ssl_context,
        )
        self._transport = self._open_transport()
        names = GuardBackend(policy, resolve=resolve, dns_seconds=limits.dns_seconds)
        self._solver = (
            None if solver_url is None else Solver(solver_url, policy, names, max_length=limits.decoded_bytes)
        )

    async def fetch(
        self,
        url: str,
        profile: FetchProfile,
        *,
        force_mode: Mode | None = None,
        etag: str | None = None,
        last_modified: str | None = None,
        worked: Worked = Worked(),  # noqa: B008 - frozen
        hope_for: str | None = None,
    ) -> Fetched:
        """The page at `url`, or `not_modified` where it is as `etag` or `last_modified` knew it.

        `worked` is what is remembered of the mode; `hope_for` a CSS selector that a browser waits for a
        little. A wall sent as a good page comes back as a page with `blocked` set. Raises FetchFailure
        with a code of FETCH_*, BLOCK_*, PAGE_*, RULE_INVALID (the profile), SYSTEM_BROWSER or SYSTEM_SOLVER.
        """
        asked = functools.partial(self._fetch, worked=worked, hope_for=hope_for)
        try:
            page = await asked(url, profile, force_mode, etag=etag, last_modified=last_modified)
        except FetchFailure as failure:
            wall = self._to_be_solved(profile, force_mode, failure.code, failure.detail)
            if wall is None:
                raise
        else:
            wall = self._to_be_solved(profile, force_mode, page.blocked, page.block_detail)
            if wall is None:
                return page
        return await self._by_solver(url, profile, wall)

    async def _fetch(
        self,
        url: str,
        profile: FetchProfile,
        force_mode: Mode | None,
        *,
        etag: str | None,
        last_modified: str | None,
        worked: Worked,
        hope_for: str | None,
    ) -> Fetched:
        """By HTTP, a browser, or one after the other. Raises FetchFailure."""
        mode, reason = modes.first_mode(profile.mode, force_mode, worked, browser=not self.browser_trouble)
        if mode == "http":
            try:
                page = await self._by_http(url, profile, etag=etag, last_modified=last_modified)
                code = page.blocked
                reason = modes.wall(code, page.block_detail) or modes.shell(page)
            except FetchFailure as failure:
                reason = modes.wall(failure.code, failure.detail)
                if reason is None or not self._may_look_again(profile, force_mode, failure.code, worked):
                    raise
            else:
                if reason is None or not self._may_look_again(profile, force_mode, code, worked):
                    return page
        return await self._by_browser(url, profile, reason, hope_for)

    async def fetch_file(self, url: str, profile: FetchProfile, *, most: int) -> tuple[int, bytes]:
        """Status and body of what lies at `url`, as it is: robots.txt. No credential of the profile goes.

        Raises CheckFailure, also where it has more than `most` bytes.
        """
        plain = FetchProfile(proxy=profile.proxy, user_agent=profile.user_agent)
        proxy = self._proxy_of(plain)
        transport = self._transport if proxy is None else self._open_transport(through=proxy)
        limits = msgspec.structs.replace(self._limits, wire_bytes=most, decoded_bytes=most)
        with anyio.move_on_after(min(profile.timeout, self._limits.total_seconds)):
            answer = await http.get(
                transport, self._prepare(url, plain, {}), self._policy, limits, Trail(url)
            )
            codings = codings_of(answer.headers.get_list("content-encoding"))
            good = answer.status < 300
            return answer.status, bounded_decode(
                answer.body, codings, max_bytes=most, max_ratio=limits.ratio
            ) if good else b""
        raise CheckFailure("FETCH_TIMEOUT", "it was not there in time")

    async def look_again(
        self,
        page: Fetched,
        profile: FetchProfile,
        code: str,
        *,
        force_mode: Mode | None = None,
        worked: Worked = Worked(),  # noqa: B008 - frozen
        hope_for: str | None = None,
    ) -> Fetched | None:
        """The page by a browser, where a rule ended with `code` on what HTTP brought; None: no use.

        Raises FetchFailure.
        """
        reason = modes.nothing_found(code, page)
        allowed = self._may_look_again(profile, force_mode, None, worked)
        if page.mode != "http" or reason is None or not allowed:
            return None
        return await self._by_browser(page.url, profile, reason, hope_for)

    async def draw(self, url: str, profile: FetchProfile, element: str | None = None) -> Pictures:
        """What the page looks like in a browser, and its first element of a CSS selector.

        Raises FetchFailure.
        """
        browser, ask = self._ask_browser(url, profile, element)
        try:
            return await browser.draw(ask, element)
        except CheckFailure as exc:
            raise FetchFailure(exc.code, exc.detail) from exc

    @property
    def browser_trouble(self) -> str:
        """Why no browser can be used here, for people; '' where one can."""
        return "there is no browser here" if self._browser is None else self._browser.trouble

    def _may_look_again(
        self, profile: FetchProfile, force_mode: Mode | None, code: str | None, worked: Worked
    ) -> bool:
        """Whether a browser may look. A wall (`code`) that a solver is for is not the browser's."""
        if worked.rests:
            return False
        mine = self._to_be_solved(profile, force_mode, code, "") is None
        return force_mode is None and profile.mode == "auto" and not self.browser_trouble and mine

    # --- by a solver --------------------------------------------------------------------------------

    def _to_be_solved(
        self, profile: FetchProfile, force_mode: Mode | None, code: str | None, detail: str
    ) -> str | None:
        """Why the solver should look where a fetch ended with this code; None: it is not, or may not."""
        allowed = force_mode is None and profile.mode == "auto" and profile.solver
        return modes.solvable(code, detail) if allowed and self._solver is not None else None

    async def _by_solver(self, url: str, profile: FetchProfile, reason: str) -> Fetched:
        """`reason`: the wall, code first: how it ends where nobody lifts it. Raises FetchFailure."""
        if self._solver is None:
            raise FetchFailure("SYSTEM_SOLVER", "there is no solver here")
        began = time.monotonic()
        found: Solution | None = None
        given = next((v for name, v in profile.headers.items() if name.lower() == "cookie"), "")
        code, _, wall = reason.partition(": ")
        try:
            found = await self._solver.solve(
                url,
                cookies={**_cookies_of(given), **profile.cookies},
                proxy=self._proxy_of(profile),
                seconds=profile.timeout,
            )
            block = await anyio.to_thread.run_sync(_judge, url, found)
            if found.status >= 300:
                raise self._refused(found.status, found.headers, block)
            if not found.text or (len(found.text) < _BLANK and not visible_text(found.text)):
                raise CheckFailure("PAGE_EMPTY", "the solver shows an empty page")  # noqa: TRY301
        except Unsolved as exc:
            partial = _solved(url, _UNSOLVED, began, reason=reason)
            raise FetchFailure(code, f"{wall}; the solver: {exc}", partial=partial) from exc
        except CheckFailure as exc:
            partial = _solved(url, found or _UNSOLVED, began, reason=reason)
            raise FetchFailure(exc.code, exc.detail, partial=partial) from exc
        return _solved(url, found, began, reason=reason, block=block, whole=True)

    # --- by browser ---------------------------------------------------------------------------------

    async def _by_browser(
        self, url: str, profile: FetchProfile, reason: str | None, hope_for: str | None
    ) -> Fetched:
        """`reason`: why not by HTTP. Raises FetchFailure."""
        browser, ask = self._ask_browser(url, profile, hope_for)
        began = time.monotonic()
        found = _NOTHING_FOUND
        size = 0
        block: Block | None = None
        try:
            waits = ask.wait_for or hope_for or ask.render_wait
            found, size = await browser.fetch(ask, _no_wall if waits else _settled)
            block = await anyio.to_thread.run_sync(_judge, url, found)
            if found.status >= 300:
                raise self._refused(found.status, found.headers, block)
            if found.absent and block is None:
                raise CheckFailure(  # noqa: TRY301 - one way out for every stage
                    "EXTRACT_SELECTOR_NOT_FOUND",
                    f"what fetch.waitForSelector names did not appear within {ask.seconds:g} s",
                )
            if not found.text or (len(found.text) < _BLANK and not visible_text(found.text)):
                raise CheckFailure("PAGE_EMPTY", "the browser shows an empty page")  # noqa: TRY301
        except CheckFailure as exc:
            partial = _rendered(url, found, began, reason=reason, size=size)
            nothing = exc.code == "FETCH_REFUSED_ADDRESS" and not found.status
            raise FetchFailure(
                exc.code, exc.detail, retry_after=exc.retry_after, partial=None if nothing else partial
            ) from exc
        return _rendered(url, found, began, reason=reason, size=size, block=block, whole=True)

    def _ask_browser(
        self, url: str, profile: FetchProfile, hope_for: str | None
    ) -> tuple[BrowserPool, PageAsk]:
        """What a browser will be asked. Raises FetchFailure, and nothing was dialled then."""
        try:
            target = self._check(url, profile)
            proxy = self._proxy_of(profile)
        except CheckFailure as exc:
            raise FetchFailure(exc.code, exc.detail) from exc
        if self._browser is None or self._browser.trouble:
            raise FetchFailure("SYSTEM_BROWSER", self.browser_trouble)
        given = {name.lower(): value for name, value in profile.headers.items()}
        language = given.get("accept-language", "").partition(",")[0].partition(";")[0].strip()
        place = None if profile.geo is None else geo.read_geo(profile.geo)
        return self._browser, PageAsk(
            url=str(target),
            headers={name: value for name, value in given.items() if name in _HARMLESS - _BROWSERS_OWN},
            private_headers={
                name: value for name, value in given.items() if name not in _HARMLESS | {"cookie"}
            },
            cookies={**_cookies_of(given.get("cookie", "")), **profile.cookies},
            proxy=proxy,
            user_agent=profile.user_agent or given.get("user-agent"),
            locale=language if _LANGUAGE.fullmatch(language) else profile.geo or "en-US",
            place=place,
            render_wait=profile.render_wait,
            wait_for=profile.wait_for_selector,
            hope_for=hope_for,
            seconds=min(profile.timeout, _BROWSER_SECONDS),
            max_length=self._limits.decoded_bytes,
        )

    # --- by HTTP ------------------------------------------------------------------------------------

    async def _by_http(
        self, url: str, profile: FetchProfile, *, etag: str | None, last_modified: str | None
    ) -> Fetched:
        """Raises FetchFailure."""
        trail = Trail(url)
        began = time.monotonic()
        seconds = min(profile.timeout, self._limits.total_seconds)
        try:
            proxy = self._proxy_of(profile)
            ask = self._prepare(url, profile, {"If-None-Match": etag, "If-Modified-Since": last_modified})
        except CheckFailure as exc:
            raise FetchFailure(exc.code, exc.detail) from exc
        # No connection is kept, so a transport of its own costs nothing and leaves nothing open.
        transport = self._transport if proxy is None else self._open_transport(through=proxy)
        try:
            with anyio.fail_after(seconds):
                answer = await http.get(
                    transport, ask, self._policy, self._limits, trail, sends_on=self._sends_on
                )
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

    def _check(self, url: str, profile: FetchProfile) -> httpx.URL:
        """Where to go, if it may be gone to. Raises CheckFailure."""
        target = check_url(url, self._policy)
        for problem in check_profile(profile):
            raise CheckFailure("RULE_INVALID", f"{problem.path}: {problem.message}")
        return target

    def _proxy_of(self, profile: FetchProfile) -> httpcore.Proxy | None:
        """Raises CheckFailure."""
        return None if profile.proxy is None else read_proxy(profile.proxy, self._policy)

    def _prepare(self, url: str, profile: FetchProfile, validators: dict[str, str | None]) -> Ask:
        """What will be asked. Raises CheckFailure, and nothing was dialled then."""
        target = self._check(url, profile)
        public = {**_HEADERS, "User-Agent": profile.user_agent or USER_AGENT}
        if profile.geo is not None and (place := geo.read_geo(profile.geo)) is not None:
            public["Accept-Language"] = place.accept_language
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
            if _is_much(answer):
                page = await anyio.to_thread.run_sync(digest, answer, self._limits, trail)
            else:
                page = digest(answer, self._limits, trail)
        if answer.status >= 300:
            raise self._refused(answer.status, answer.headers, page.block)
        if not page.text.strip():
            raise CheckFailure("PAGE_EMPTY", f"the server answered {answer.status} with nothing in it")
        way = refresh_of(answer.headers, page.text) if page.block is None and _is_html(answer) else None
        if way is not None and way.empty:
            raise CheckFailure("PAGE_EMPTY", f"the page is empty, another follows after {way.seconds} s")
        return _fetched(trail, began, page=page)

    def _sends_on(self, answer: Answer, url: str) -> str | None:
        """Where a page that says nothing leads on at once; only to another address, or it would go round."""
        if answer.status != 200 or len(answer.body) > LONGEST or not _is_html(answer):
            return None
        try:
            text = _text_of(answer, self._limits)[1]
        except CheckFailure:
            return None  # told by whoever reads it
        way = refresh_of(answer.headers, text)
        return way.location if way is not None and way.at_once and urljoin(url, way.location) != url else None

    def _refused(self, status: int, headers: Mapping[str, str], block: Block | None) -> CheckFailure:
        """The failure an error status stands for."""
        wait = parse_retry_after(headers.get("retry-after"), now=self._now())
        said = f"the server answered {_status_words(status)}"
        if block is not None:
            return CheckFailure(block.code, f"{said}: {block.detail}", retry_after=wait)
        code = "FETCH_HTTP_5XX" if status >= 500 else "FETCH_HTTP_4XX"
        return CheckFailure(code, said, retry_after=wait)

    def _failed(self, failure: CheckFailure, trail: Trail, began: float) -> FetchFailure:
        # The guard refused the very first address: nothing was dialled, so nothing is known.
        refused = failure.code == "FETCH_REFUSED_ADDRESS" and not trail.status
        partial = None if refused and "connect" not in trail.seconds else _fetched(trail, began)
        return FetchFailure(failure.code, failure.detail, retry_after=failure.retry_after, partial=partial)


#: Bytes of body from which inflating, decoding and judging it would hold up the loop for some milliseconds,
#: plain and compressed. Below that the way to a thread and back costs more than the work.
_MUCH_PLAIN: Final = 256 * 1024
_MUCH_CODED: Final = 32 * 1024

#: Seconds of one page in a browser, whatever the profile says.
_BROWSER_SECONDS: Final = 60.0
#: Characters of a document in which there is nothing at all.
_BLANK: Final = 120

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

#: What a browser says of itself, request by request.
_BROWSERS_OWN: Final = frozenset(
    name for name in _HARMLESS if name.startswith("sec-") and name != "sec-gpc"
) | {"accept", "user-agent", "upgrade-insecure-requests", "accept-language"}

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
_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8}){0,2}")
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
    if profile.geo is not None and (problem := geo.trouble(profile.geo)):
        problems.append(problem)
    if profile.user_agent is not None and not _is_field_value(profile.user_agent):
        problems.append(Problem("userAgent", "the value has characters a header cannot have"))
    return problems


def _is_field_value(value: str) -> bool:
    return value == value.strip() and _VALUE.fullmatch(value) is not None


def _canonical(name: str) -> str:
    """`user-agent` as `User-Agent`, so that a profile's header replaces ours."""
    return "-".join(part.capitalize() for part in name.split("-"))


def _cookies_of(header: str) -> dict[str, str]:
    """The cookies of a Cookie header: a browser wants them one by one."""
    pairs = (part.strip().partition("=") for part in header.split(";"))
    return {name: value for name, _, value in pairs if name}


def _no_wall(status: int, headers: Mapping[str, str], text: str) -> bool:
    """Whether a document is no challenge that may yet solve itself."""
    block = classify(status, headers, text)
    return block is None or modes.wall(block.code, "") is None or "<script" not in text.lower()


def _settled(status: int, headers: Mapping[str, str], text: str) -> bool:
    """The same, and no shell that is being filled."""
    return _no_wall(status, headers, text) and not modes.is_empty_shell(text)


_NOTHING_FOUND: Final = PageFound(url="", status=0, headers={}, text="", timings={})


def _rendered(
    url: str,
    found: PageFound,
    began: float,
    *,
    reason: str | None,
    size: int,
    block: Block | None = None,
    whole: bool = False,
) -> Fetched:
    """What a browser brought; `whole`: with the document."""
    timings = {**found.timings, "total": time.monotonic() - began}
    return Fetched(
        url=url,
        final_url=found.url or url,
        status=found.status,
        headers=found.headers,
        body=found.text.encode(errors="replace") if whole else b"",
        text=found.text if whole else "",
        mode="headless",
        fallback_reason=reason,
        wire_bytes=size,
        timings={stage: round(seconds, 6) for stage, seconds in timings.items()},
        blocked=block.code if block else None,
        block_detail=block.detail if block else "",
        block_confidence=block.confidence if block else 0.0,
        block_by_words=block is not None and block.by_words,
    )


_UNSOLVED: Final = Solution(url="", status=0, text="", headers={}, size=0)


def _solved(
    url: str,
    found: Solution,
    began: float,
    *,
    reason: str,
    block: Block | None = None,
    whole: bool = False,
) -> Fetched:
    """What a solver brought; `whole`: with the document."""
    return Fetched(
        url=url,
        final_url=found.url or url,
        status=found.status,
        headers=found.headers,
        body=found.text.encode(errors="replace") if whole else b"",
        text=found.text if whole else "",
        mode="solver",
        fallback_reason=reason,
        wire_bytes=found.size,
        timings={"total": round(time.monotonic() - began, 6)},
        blocked=block.code if block else None,
        block_detail=block.detail if block else "",
        block_confidence=block.confidence if block else 0.0,
        block_by_words=block is not None and block.by_words,
    )


class _Page(msgspec.Struct, frozen=True):
    """A body made readable and judged."""

    body: bytes
    text: str
    block: Block | None


def _is_much(answer: Answer) -> bool:
    """Whether making a page of it is work for a thread."""
    return len(answer.body) > (_MUCH_CODED if "content-encoding" in answer.headers else _MUCH_PLAIN)


def _judge(asked: str, found: PageFound | Solution) -> Block | None:
    """What stands in the way of a page that a browser or a solver brought."""
    return classify(found.status, found.headers, found.text, asked=asked, came_to=found.url)


def _is_html(answer: Answer) -> bool:
    return "html" in answer.headers.get("content-type", "text/html").lower()


def _text_of(answer: Answer, limits: Limits) -> tuple[bytes, str]:
    """Inflate and decode a page. Raises CheckFailure."""
    codings = codings_of(answer.headers.get_list("content-encoding"))
    body = bounded_decode(answer.body, codings, max_bytes=limits.decoded_bytes, max_ratio=limits.ratio)
    content_type = answer.headers.get("content-type", "")
    if http.looks_binary(body, content_type):
        raise CheckFailure(
            "FETCH_DECODE", f"the body is no text ({content_type[:60] or 'of no named type'!r})"
        )
    text = charset.decode(body, content_type)
    if charset.is_garbled(text):
        raise CheckFailure("FETCH_DECODE", "much of the body is no text in any encoding")
    return body, text


def _digest_good(answer: Answer, limits: Limits, trail: Trail) -> _Page:
    """The same, and judge it. Raises CheckFailure."""
    body, text = _text_of(answer, limits)
    return _Page(body, text, _classified(answer, text, trail))


def _classified(answer: Answer, text: str, trail: Trail) -> Block | None:
    return classify(answer.status, answer.headers, text, asked=trail.url, came_to=trail.final_url)


def _digest_bad(answer: Answer, limits: Limits, trail: Trail) -> _Page:
    """The same for an error: what cannot be read is left out, the status says enough."""
    try:
        codings = codings_of(answer.headers.get_list("content-encoding"))
        body = bounded_decode(answer.body, codings, max_bytes=limits.decoded_bytes, max_ratio=limits.ratio)
    except CheckFailure:
        body = b""
    text = charset.decode(body, answer.headers.get("content-type", ""))
    return _Page(body, text, _classified(answer, text, trail))


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
        block_by_words=block is not None and block.by_words,
    )


def _status_words(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)
