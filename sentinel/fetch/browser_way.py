"""The way out of a browser: the filtering proxy, with a budget for each page."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Final

import httpcore

from sentinel.errors import CheckFailure
from sentinel.fetch.browser_ground import OpenProxy, Proxy, Ticket
from sentinel.fetch.guard import NetworkPolicy
from sentinel.fetch.proxy import Budget, FilteringProxy
from sentinel.fetch.proxy import Ticket as FilteringTicket
from sentinel.fetch.resolver import Resolve, system_resolve

#: Bytes of one page with all that it asks for, and connections.
PAGE_BYTES: Final = 40 * 1024 * 1024
PAGE_CONNECTIONS: Final = 300
#: Seconds a ticket is good beyond its page's deadline: it is closed with the page, by whichever end.
GRACE: Final = 10.0


def way_out(policy: NetworkPolicy, *, resolve: Resolve = system_resolve) -> OpenProxy:
    """Opens a proxy that goes where `policy` lets it."""

    @contextlib.asynccontextmanager
    async def open_proxy() -> AsyncIterator[Proxy]:
        async with FilteringProxy(policy, resolve=resolve) as proxy:
            yield _Way(proxy)

    return open_proxy


class _Way:
    """The proxy, as the browser sees it."""

    def __init__(self, proxy: FilteringProxy) -> None:
        self._proxy = proxy

    @property
    def server(self) -> str:
        return self._proxy.server

    def admit(self, *, seconds: float, upstream: httpcore.Proxy | None = None) -> Ticket:
        budget = Budget(bytes=PAGE_BYTES, connections=PAGE_CONNECTIONS, seconds=seconds + GRACE)
        return _PageTicket(self._proxy.admit(budget, upstream=upstream))


class _PageTicket:
    """A ticket of the proxy, as the browser sees it."""

    def __init__(self, ticket: FilteringTicket) -> None:
        self._ticket = ticket
        self.username = ticket.username
        self.password = ticket.password

    @property
    def bytes(self) -> int:
        return self._ticket.bytes

    def refusal(self, host: str) -> CheckFailure | None:
        return self._ticket.refusal(host)

    def last_refusal(self) -> CheckFailure | None:
        met = self._ticket.refused
        return CheckFailure(met[-1].code, met[-1].reason) if met else None

    def close(self) -> None:
        self._ticket.close()
