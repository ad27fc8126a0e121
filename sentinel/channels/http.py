"""One POST to an endpoint that somebody named: through the guard, within a deadline, to an answer."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Callable, Mapping
from typing import Any, Final

import anyio
import httpx
import msgspec

from sentinel.channels import answers
from sentinel.channels.sender import DEADLINE
from sentinel.errors import CheckFailure, EndpointGone, SendFailed, SendLater, SendRefused

#: Bytes of an answer that are read, and seconds that its body may take once its status is known.
MAX_ANSWER: Final = 64 * 1024
ANSWER_WAIT: Final = 5.0
#: Characters of the other side's name for a message.
MAX_NAME: Final = 120
#: Seconds that closing the connection may take.
CLOSE_WAIT: Final = 1.0

#: What the guard says of an address that will be as wrong tomorrow.
_NEVER: Final = frozenset(("FETCH_REFUSED_ADDRESS", "FETCH_BAD_URL"))


class Answer(msgspec.Struct, frozen=True):
    """What the other side said."""

    status: int
    #: Looked up in lower case.
    headers: Mapping[str, str]
    #: Its beginning, as much as came without trouble; b"" where nobody asked for it.
    body: bytes

    @property
    def accepted(self) -> bool:
        """2xx, and nothing else."""
        return 200 <= self.status < 300

    @property
    def json(self) -> dict[str, Any]:
        """The body where it is a JSON object, else {}."""
        try:
            found = msgspec.json.decode(self.body)
        except (msgspec.DecodeError, RecursionError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def name_of(self, found: object) -> str | None:
        """The other side's name for a message, fit to be kept: short text or a number, or None."""
        if isinstance(found, bool) or not isinstance(found, str | int):
            return None
        if isinstance(found, int) and found.bit_length() > 64:
            return None
        return answers.excerpt(str(found)[:MAX_NAME].encode()) or None


class HttpExchange:
    """Asks once through the client it is given, which must be the guard's: no redirects, no cookies."""

    def __init__(
        self, client: httpx.AsyncClient, now: Callable[[], float], *, deadline: float = DEADLINE
    ) -> None:
        """`now` gives seconds since the epoch; `deadline` is for the whole exchange, in seconds."""
        self._client = client
        self._now = now
        self._deadline = deadline

    async def post(
        self, url: str, body: bytes, headers: Mapping[str, str], *, read_accepted: bool = False
    ) -> Answer:
        """The answer, whatever its status; the body of a 2xx only if `read_accepted`.

        Raises SendLater, SendRefused when there is no answer; neither quotes `url`, which may be a secret.
        """
        request = self._request(url, body, headers)
        try:
            with anyio.fail_after(self._deadline) as scope:
                return await self._exchange(request, scope, read_accepted=read_accepted)
        except TimeoutError as exc:
            raise SendLater(f"no answer within {self._deadline:g} s") from exc
        except CheckFailure as exc:  # before httpx.HTTPError: the guard's refusals are both
            words = f"{exc.code}: {exc.detail}"
            raise (SendRefused(words) if exc.code in _NEVER else SendLater(words)) from exc
        except httpx.HTTPError as exc:
            raise SendLater(_what_happened(exc)) from exc

    def failure(self, answer: Answer, *, asked: float | None = None, gone: bool = False) -> SendFailed:
        """What an answer that is not 2xx means.

        `asked` is the wait (seconds) that the body asks for, which wins over the header; `gone` that the
        body says the endpoint is no more.
        """
        failed = answers.failure(answer.status, answer.headers, answer.body, now=self._now())
        if gone:
            return EndpointGone(failed.detail, http_status=answer.status)
        if asked is not None and isinstance(failed, SendLater):
            return SendLater(failed.detail, http_status=answer.status, retry_after=asked)
        return failed

    def _request(self, url: str, body: bytes, headers: Mapping[str, str]) -> httpx.Request:
        if not url:
            raise SendRefused("the channel has no url")
        # An answer is an excerpt for people, and no bomb.
        sent = {"Accept-Encoding": "identity", **headers}
        try:
            # Made by hand: the client's own headers and cookies are for pages.
            request = httpx.Request("POST", url, headers=sent, content=body)
        except (httpx.InvalidURL, ValueError):
            # Not `from`: the foreign error quotes parts of the URL.
            raise SendRefused("the channel's url is not a URL") from None
        request.extensions["timeout"] = httpx.Timeout(self._deadline).as_dict()
        return request

    async def _exchange(
        self, request: httpx.Request, scope: anyio.CancelScope, *, read_accepted: bool
    ) -> Answer:
        response = await self._client.send(request, stream=True, auth=None, follow_redirects=False)
        body = b""
        try:
            # Accepted is accepted, whatever becomes of the body: sending it again would be a repetition.
            if read_accepted or not response.is_success:
                body = await _beginning(response, until=scope.deadline)
        finally:
            # Shielded: a slow goodbye must not turn what was accepted into a timeout.
            with anyio.move_on_after(CLOSE_WAIT, shield=True):
                await response.aclose()
        return Answer(response.status_code, response.headers, body)


async def _beginning(response: httpx.Response, *, until: float) -> bytes:
    """The first bytes of the body, as many as come without trouble: the status is what counts.

    `until` (of the loop's clock) is when the exchange must be over.
    """
    read = bytearray()
    # A little before the exchange's own deadline, which would take the status away too.
    wait = min(ANSWER_WAIT, 0.9 * max(0.0, until - anyio.current_time()))
    with anyio.move_on_after(wait), contextlib.suppress(httpx.HTTPError):
        async for chunk in response.aiter_raw():
            read += chunk
            if len(read) >= MAX_ANSWER:
                break
    return bytes(read[:MAX_ANSWER])


def _what_happened(error: httpx.HTTPError) -> str:
    """In words of ours: httpx's own may quote the URL."""
    match error:
        case httpx.TimeoutException():
            return "no answer in time"
        case httpx.ConnectError():
            return _why_unsafe(error) or "no connection could be made"
        case httpx.ProtocolError():
            return "the connection ended early, or the answer is not valid HTTP"
    return "the connection broke"


def _why_unsafe(error: BaseException) -> str | None:
    """What is wrong with the other side's TLS, where that is what it was."""
    link: BaseException | None = error
    while link is not None:
        if isinstance(link, ssl.SSLError):
            why = getattr(link, "verify_message", "") or "it is not TLS, or none that we take"
            return f"no secure connection could be made: {why}"[:200]
        link = link.__cause__ or link.__context__
    return None
