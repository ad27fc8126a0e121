"""Names to addresses, with a deadline and in threads of its own.

`getaddrinfo` cannot be cancelled and may hang for as long as a name server likes. It runs in daemon
threads of its own, a bounded number of them, so that a dead name server neither starves the default
thread pool nor holds up the end of the process.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from sentinel.errors import CheckFailure

#: (host, port) -> addresses as text. Raises OSError where there are none.
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]

#: Lookups that may hang at the same time before further ones are refused.
_MAX_LOOKUPS: Final = 32

_slots = threading.BoundedSemaphore(_MAX_LOOKUPS)


async def system_resolve(host: str, port: int) -> Sequence[str]:
    """Every address the machine's resolver has for `host`, in its order of preference.

    Raises OSError (`socket.gaierror`) where it has none, CheckFailure FETCH_DNS where too many
    lookups hang already. Safe to cancel: the thread ends when the name server answers.
    """
    if not _slots.acquire(blocking=False):
        raise CheckFailure("FETCH_DNS", f"{_MAX_LOOKUPS} lookups are waiting already: the name server hangs")
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[Sequence[str]] = loop.create_future()

    def deliver(result: Sequence[str] | OSError) -> None:
        if answer.done():
            return
        if isinstance(result, OSError):
            answer.set_exception(result)
        else:
            answer.set_result(result)

    def look_up() -> None:
        result: Sequence[str] | OSError
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            result = list(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found))
        except OSError as exc:
            result = exc
        except UnicodeError as exc:  # a label the IDNA codec of the C library's wrapper does not take
            result = socket.gaierror(socket.EAI_NONAME, str(exc))
        finally:
            _slots.release()
        # The loop may be gone by the time a slow name server answers.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(deliver, result)

    threading.Thread(target=look_up, name=f"lookup {host[:40]}", daemon=True).start()
    return await answer


def is_own(address: str) -> bool:
    """Whether `address` is one of this machine's: the kernel lets only those be bound to.

    A server with a public address would otherwise be reachable by a rule that names it, with all
    that listens there and trusts "the local machine". Nothing is sent.
    """
    family, nobodys = (socket.AF_INET6, "2001:db8::1") if ":" in address else (socket.AF_INET, "192.0.2.1")
    # Where the kernel binds anything (ip_nonlocal_bind), the question has no answer.
    return _can_bind(family, address) and not _can_bind(family, nobodys)


def _can_bind(family: socket.AddressFamily, address: str) -> bool:
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((address, 0))
    except OSError:
        return False
    return True
