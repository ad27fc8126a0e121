"""A forward proxy that a fetch profile names: `http://user:password@proxy.example.com:3128`.

The proxy's own host is looked up, checked and dialled by the guard like any other. What it dials for
us is its own affair: names of pages are looked up over there, so for them only what can be read off
the URL is checked here (scheme, port, name, literal address), for every redirect again.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote_to_bytes

import httpcore
import msgspec

from sentinel.errors import CheckFailure
from sentinel.fetch.guard import GuardBackend, NetworkPolicy, check_url, trusted_context

#: Ports proxies commonly listen at, besides those of the web.
_PROXY_PORTS: Final = frozenset({3128, 8000, 8888})

_PROXY = re.compile(r"(?i)(https?)://(?:([^@/?#\s]{1,1024})@)?([^@/?#\s]+)/?")


def read_proxy(text: str, policy: NetworkPolicy) -> httpcore.Proxy:
    """The proxy `text` names. No I/O.

    Raises CheckFailure (FETCH_BAD_URL, FETCH_REFUSED_ADDRESS), which repeats no user and no password.
    """
    parts = _PROXY.fullmatch(text)
    if parts is None:
        raise CheckFailure(
            "FETCH_BAD_URL", "the proxy of the profile has to be written as http://user:password@host:port"
        )
    scheme, user_info, authority = parts.groups()
    ports = msgspec.structs.replace(policy, extra_ports=policy.extra_ports | _PROXY_PORTS)
    try:
        url = check_url(f"{scheme}://{authority}", ports)
    except CheckFailure as exc:
        raise CheckFailure(exc.code, f"the proxy of the profile is refused: {exc.detail}") from exc
    auth: tuple[bytes, bytes] | None = None
    if user_info is not None:
        user, _, password = user_info.partition(":")
        auth = unquote_to_bytes(user), unquote_to_bytes(password)
    # A context where there is no TLS is an error to httpcore.
    context = trusted_context() if url.scheme == "https" else None
    return httpcore.Proxy(url=str(url), auth=auth, ssl_context=context)


async def connect_through(
    dial: GuardBackend, proxy: httpcore.Proxy, host: str, port: int, seconds: float
) -> httpcore.AsyncNetworkStream:
    """A tunnel to `host` that `proxy` opens. The caller closes it.

    `seconds` bound each step. Raises CheckFailure where the proxy is refused or refuses, httpcore's own
    errors for what the network does.
    """
    asked = httpcore.AsyncHTTPConnection(
        origin=proxy.url.origin, network_backend=dial, ssl_context=proxy.ssl_context, retries=0
    )
    bracketed = f"[{host}]" if ":" in host else host
    target = f"{bracketed}:{port}".encode("ascii")
    headers = [(b"Host", target), *proxy.headers]  # the password is among them
    response = await asked.handle_async_request(
        httpcore.Request(
            "CONNECT",
            httpcore.URL(scheme=proxy.url.scheme, host=proxy.url.host, port=proxy.url.port, target=target),
            headers=headers,
            extensions={"timeout": {"connect": seconds, "read": seconds, "write": seconds}},
        )
    )
    if not 200 <= response.status <= 299:
        await asked.aclose()
        raise CheckFailure("FETCH_CONNECTION", f"the proxy of the profile answered {response.status}")
    stream: httpcore.AsyncNetworkStream = response.extensions["network_stream"]
    return stream
