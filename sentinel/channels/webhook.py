"""Alerts to an HTTP endpoint, by Standard Webhooks 1.0.0.

A channel without `secret_env` is sent unsigned, knowingly. One that names a secret is sent signed or
not at all.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Final

import anyio
import httpx

from sentinel.channels import answers
from sentinel.channels.sender import DEADLINE, Sent
from sentinel.channels.signature import SigningKey, sign
from sentinel.errors import CheckFailure, SendLater, SendRefused
from sentinel.model import Channel, Document

#: The value of a secret by the name that a channel gives, or None: there is none.
SecretSource = Callable[[str], str | None]

#: Bytes of an answer that are read, and seconds that its body may take once its status is known.
MAX_ANSWER: Final = 64 * 1024
ANSWER_WAIT: Final = 5.0
#: Seconds that closing the connection may take.
CLOSE_WAIT: Final = 1.0

USER_AGENT: Final = "sentinel-webhook/1"

#: What the guard says of an address that will be as wrong tomorrow.
_NEVER: Final = frozenset(("FETCH_REFUSED_ADDRESS", "FETCH_BAD_URL"))


class WebhookSender:
    """POSTs the JSON of an alert through the client it is given, which must be the guard's."""

    def __init__(
        self,
        client: httpx.AsyncClient,
        secrets: SecretSource,
        to_json: Callable[[Document], bytes],
        now: Callable[[], float],
        *,
        deadline: float = DEADLINE,
    ) -> None:
        """`now` gives seconds since the epoch."""
        self._client = client
        self._secrets = secrets
        self._to_json = to_json
        self._now = now
        self._deadline = deadline

    async def send(self, channel: Channel, document: Document, *, message_id: str) -> Sent:
        """See Sender."""
        request = self._request(channel, self._to_json(document), message_id)
        try:
            with anyio.fail_after(self._deadline):
                return await self._exchange(request)
        except TimeoutError as exc:
            raise SendLater(f"no answer within {self._deadline:g} s") from exc
        except CheckFailure as exc:  # before httpx.HTTPError: the guard's refusals are both
            words = f"{exc.code}: {exc.detail}"
            raise (SendRefused(words) if exc.code in _NEVER else SendLater(words)) from exc
        except httpx.HTTPError as exc:
            raise SendLater(_what_happened(exc)) from exc

    def _request(self, channel: Channel, body: bytes, message_id: str) -> httpx.Request:
        if not channel.url:
            raise SendRefused("the channel has no url")
        timestamp = int(self._now())
        headers = {
            "Content-Type": "application/json",
            "User-Agent": USER_AGENT,
            "Accept-Encoding": "identity",  # an answer is an excerpt for people, and no bomb
            "webhook-id": message_id,
            "webhook-timestamp": str(timestamp),
        }
        if channel.secret_env:
            headers["webhook-signature"] = sign(self._keys(channel.secret_env), message_id, timestamp, body)
        try:
            # Made by hand: the client's own headers and cookies are for pages.
            request = httpx.Request("POST", channel.url, headers=headers, content=body)
        except (httpx.InvalidURL, ValueError) as exc:
            raise SendRefused("the channel's url is not a URL") from exc
        request.extensions["timeout"] = httpx.Timeout(self._deadline).as_dict()
        return request

    def _keys(self, names: str) -> list[SigningKey]:
        """The keys that `names` (separated by commas) stand for: all of them, or SendRefused."""
        keys = []
        for name in names.split(","):
            text = self._secrets(name)
            if not text:
                raise SendRefused(f"the signing secret {name} is not set here; nothing was sent")
            try:
                keys.append(SigningKey.parse(text))
            except ValueError as exc:
                raise SendRefused(f"{name}: {exc}; nothing was sent") from exc
        return keys

    async def _exchange(self, request: httpx.Request) -> Sent:
        response = await self._client.send(request, stream=True, auth=None, follow_redirects=False)
        try:
            if response.is_success:
                # Accepted, whatever becomes of the body: sending it again would be a repetition.
                return Sent(http_status=response.status_code)
            answer = await _beginning(response)
        finally:
            # Shielded: a slow goodbye must not turn what was accepted into a timeout.
            with anyio.move_on_after(CLOSE_WAIT, shield=True):
                await response.aclose()
        raise answers.failure(response.status_code, response.headers, answer, now=self._now())


async def _beginning(response: httpx.Response) -> bytes:
    """The first bytes of the body, as many as come without trouble: the status is what counts."""
    read = bytearray()
    with anyio.move_on_after(ANSWER_WAIT), contextlib.suppress(httpx.HTTPError):
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
            return "no connection could be made"
        case httpx.ProtocolError():
            return "the connection ended early, or the answer is not valid HTTP"
    return "the connection broke"
