"""A page by way of a solver that speaks FlareSolverr's API: the operator's own, asked where a wall stands.

One `POST /v1` with `cmd: request.get`; what its browser shows becomes the page. The solver may stand on
a private address, for the operator named it. It looks names up and follows redirects by itself: where
it was asked to go and where it ended are checked here, name and address, what lies between is not.
Source of the format: FlareSolverr's README and src/dtos.py.
"""

from __future__ import annotations

from typing import Final

import anyio
import httpcore
import httpx
import msgspec

from sentinel.errors import CheckFailure
from sentinel.fetch.guard import GuardBackend, NetworkPolicy, check_url, open_client, translate

#: Seconds a solver is given at most, and what it gets on top for its own start and end.
MAX_SECONDS: Final = 120.0
_GRACE: Final = 5.0
#: Bytes of its answer over those of the document: cookies, headers, and what JSON escapes.
_AROUND: Final = 256 * 1024
#: Characters of its message that are told.
_MESSAGE: Final = 200
#: FlareSolverr says a wall is lifted by a page, so a status that is none of HTTP's is taken for 200.
_GOOD: Final = 200

#: The operator's own service: private addresses and any port, link-local and metadata ones never.
_OWN: Final = NetworkPolicy(allow_private=True)


class Solution(msgspec.Struct, frozen=True):
    """What stood in the solver's browser at the end."""

    url: str
    status: int
    text: str
    #: Lower-case names.
    headers: dict[str, str]
    #: Bytes of the solver's answer.
    size: int


class Unsolved(Exception):  # noqa: N818 - it is an answer, not a fault
    """The solver works and says it could not; the text is its reason."""


class Solver:
    """One solver at a URL, and the rules its answers are held to."""

    def __init__(self, url: str, policy: NetworkPolicy, names: GuardBackend, *, max_length: int) -> None:
        """`names` looks up and checks hosts; `max_length`: characters of a document.

        Raises CheckFailure for a URL that cannot be asked.
        """
        self._url = str(check_url(url.rstrip("/").removesuffix("/v1") + "/v1", _OWN))
        self._policy = policy
        self._names = names
        self._max_length = max_length

    async def solve(
        self, url: str, *, cookies: dict[str, str], proxy: httpcore.Proxy | None, seconds: float
    ) -> Solution:
        """The page at `url`. Nothing is asked where the guard refuses it.

        Raises Unsolved, CheckFailure SYSTEM_SOLVER (it does not work), FETCH_TOO_LARGE, and what the guard
        says of `url` and of where the solver ended.
        """
        if proxy is None:
            await self._allowed(url)
        else:
            check_url(url, self._policy)  # its name is the proxy's to look up
        seconds = min(seconds, MAX_SECONDS)
        ask: dict[str, object] = {"cmd": "request.get", "url": url, "maxTimeout": round(seconds * 1000)}
        if cookies:
            ask["cookies"] = [{"name": name, "value": value} for name, value in cookies.items()]
        if proxy is not None:
            ask["proxy"] = _told(proxy)
        said = await self._post(msgspec.json.encode(ask), seconds + _GRACE)
        return await self._read(said, by_proxy=proxy is not None)

    async def _read(self, said: bytes, *, by_proxy: bool) -> Solution:
        """What an answer says. Raises as `solve`."""
        try:
            answer = msgspec.json.decode(said, type=_Answer)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
            raise CheckFailure("SYSTEM_SOLVER", "the solver's answer is not FlareSolverr's JSON") from exc
        if answer.status != "ok":
            raise Unsolved(_printable(answer.message) or "it gave no reason")
        found = answer.solution
        if found is None or not isinstance(found.response, str):
            raise CheckFailure("SYSTEM_SOLVER", "the solver says ok, and has no document")
        if len(found.response) > self._max_length:
            raise CheckFailure(
                "FETCH_TOO_LARGE", f"the document has more than {self._max_length:,} characters"
            )
        try:
            if by_proxy:
                check_url(found.url, self._policy)
            else:
                await self._allowed(found.url)
        except CheckFailure as exc:
            raise CheckFailure(
                exc.code, f"the solver ended at an address that is refused: {exc.detail}"
            ) from exc
        status = found.status if isinstance(found.status, int) and 100 <= found.status <= 599 else _GOOD
        return Solution(found.url, status, found.response, _headers(found.headers), len(said))

    async def _allowed(self, url: str) -> None:
        """Raises CheckFailure where the guard would not go to `url`, its addresses included."""
        target = check_url(url, self._policy)
        port = target.port or (443 if target.scheme == "https" else 80)
        await self._names.checked_addresses(target.raw_host.decode("ascii").strip("[]"), port)

    async def _post(self, body: bytes, seconds: float) -> bytes:
        """The solver's answer, whatever its status: errors come as JSON too. Raises CheckFailure."""
        headers = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
        try:
            with anyio.fail_after(seconds):
                async with (
                    open_client(_OWN, timeout_seconds=seconds) as client,
                    client.stream("POST", self._url, content=body, headers=headers) as response,
                ):
                    return await self._read_all(response)
        except TimeoutError as exc:
            raise CheckFailure("SYSTEM_SOLVER", f"the solver did not answer within {seconds:g} s") from exc
        except CheckFailure as exc:
            if exc.code in ("SYSTEM_SOLVER", "FETCH_TOO_LARGE"):
                raise
            raise CheckFailure("SYSTEM_SOLVER", f"the solver cannot be reached: {exc.detail}") from exc
        except httpx.HTTPError as exc:
            raise CheckFailure(
                "SYSTEM_SOLVER", f"the solver cannot be reached: {translate(exc).detail}"
            ) from exc

    async def _read_all(self, response: httpx.Response) -> bytes:
        """Raises CheckFailure."""
        if response.status_code not in (200, 500):
            raise CheckFailure("SYSTEM_SOLVER", f"the solver answered {response.status_code} to POST /v1")
        most = 2 * self._max_length + _AROUND
        chunks: list[bytes] = []
        size = 0
        async for chunk in response.aiter_raw():
            chunks.append(chunk)
            size += len(chunk)
            if size > most:
                raise CheckFailure("FETCH_TOO_LARGE", f"the solver's answer has more than {most:,} bytes")
        return b"".join(chunks)


# --- its format: every field may be missing, null or of another type, save what is asked for ------


class _Solution(msgspec.Struct):
    url: str = ""
    status: object = None
    response: object = None
    headers: object = None


class _Answer(msgspec.Struct):
    status: str = ""
    message: str = ""
    solution: _Solution | None = None


def _headers(given: object) -> dict[str, str]:
    """The page's headers where it tells them (current versions tell none): text only, and not cookies."""
    pairs = given.items() if isinstance(given, dict) else ()
    told = {str(name).lower()[:200]: value for name, value in pairs if isinstance(value, str)}
    kept = {name: value[:8192] for name, value in list(told.items())[:100] if name != "set-cookie"}
    return {"content-type": "text/html; charset=utf-8", **kept}


def _told(proxy: httpcore.Proxy) -> dict[str, str]:
    url = proxy.url
    host = url.host.decode("ascii")
    told = {"url": f"{url.scheme.decode('ascii')}://{f'[{host}]' if ':' in host else host}:{url.port or 80}"}
    if proxy.auth is not None:
        user, password = proxy.auth
        told |= {"username": user.decode("utf-8", "replace"), "password": password.decode("utf-8", "replace")}
    return told


def _printable(text: str) -> str:
    return "".join(one if one.isprintable() else " " for one in text[:_MESSAGE]).strip()
