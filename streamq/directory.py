"""Which server has a stream's keys: the one there is, the primary that Redis Sentinels name, or the master
of the key's slot in a Redis Cluster.

Asked before every call, which costs nothing while the answer is known. Whoever meets trouble says so
(`doubt`), and the next to ask makes it look anew. Looking up blocks, for a second a server at most, and is
shared by the threads and the event loop of a process: what a heartbeat has found out a sleeping read knows.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, Final

import redis
from redis.backoff import NoBackoff
from redis.crc import key_slot
from redis.retry import Retry

from streamq.address import Address, Place

#: Seconds a server may take to say where the keys are, before the next one is asked.
ASK_TIMEOUT: Final = 1.0
_SLOTS: Final = 16384


class Directory:
    """One server: nothing to look up."""

    #: Which servers may hold keys is known without asking.
    fixed: bool = True

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"

    def place(self, key: str) -> Place | None:  # noqa: ARG002 - the others need it
        """The server that has `key`, looked up where that is not known. Blocking.

        None: the only one there is. Raises redis.ConnectionError where nobody says.
        """
        return None

    def known(self, key: str) -> Place | None:  # noqa: ARG002 - the others need it
        """The same, where it need not be looked up; None: it must."""
        return None

    def every(self) -> Sequence[Place | None]:
        """All servers that hold keys. Blocking. Raises redis.ConnectionError."""
        return [None]

    def doubt(self, place: Place | None) -> None:
        """It did not answer, or said that it is no primary: look anew before it is asked again."""

    def moved(self, slot: int, place: Place) -> None:
        """A server said that another one has the slot now."""

    def on_gone(self, told: Callable[[Place], None]) -> None:
        """Call `told`, in any thread, for each server found to hold keys no more."""


class _Watched(Directory):
    """What Sentinels and Cluster have in common: servers come and go."""

    fixed = False

    def __init__(self, address: Address) -> None:
        self._address = address
        self._lock = threading.Lock()
        self._told: list[Callable[[Place], None]] = []

    def on_gone(self, told: Callable[[Place], None]) -> None:
        """See `Directory.on_gone`."""
        self._told.append(told)

    def _tell_gone(self, gone: set[Place]) -> None:
        for place in gone:
            for told in self._told:
                told(place)

    def _first_answer(self, urls: list[str], *command: str) -> tuple[int, Any]:
        """The first that answers, by its index, and what it said. Raises redis.ConnectionError."""
        trouble: Exception | None = None
        for index, url in enumerate(urls):
            try:
                with redis.Redis.from_url(
                    url,
                    socket_timeout=ASK_TIMEOUT,
                    socket_connect_timeout=ASK_TIMEOUT,
                    retry=Retry(NoBackoff(), 0),
                    protocol=2,
                ) as client:
                    # The client would make objects of the reply, its own way for each version.
                    connection = client.connection_pool.get_connection()
                    try:
                        connection.send_command(*command)
                        reply = connection.read_response()
                    finally:
                        client.connection_pool.release(connection)
            except redis.AuthenticationError:
                raise
            except (redis.RedisError, OSError) as error:
                trouble = error
                continue
            if reply is not None:
                return index, reply
        raise redis.ConnectionError(
            f"none of {self._address.name} says where the primary is"
            + (f" (the last one: {trouble})" if trouble else "")
        )


class SentinelDirectory(_Watched):
    """The primary that Sentinels name."""

    def __init__(self, address: Address) -> None:
        super().__init__(address)
        #: The one that answered last comes first.
        self._sentinels = list(address.places)
        self._primary: Place | None = None
        #: The last one that was known.
        self._before: Place | None = None

    def known(self, key: str) -> Place | None:  # noqa: ARG002 - one primary for all
        """See `Directory.known`."""
        return self._primary

    def place(self, key: str) -> Place | None:  # noqa: ARG002 - one primary for all
        """See `Directory.place`."""
        with self._lock:
            if self._primary is not None:
                return self._primary
            urls = [self._address.url_of_sentinel(place) for place in self._sentinels]
            index, reply = self._first_answer(
                urls, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._address.service
            )
            self._sentinels.insert(0, self._sentinels.pop(index))
            found = (reply[0].decode(), int(reply[1]))
            before, self._before, self._primary = self._before, found, found
        if before is not None and before != found:
            self._tell_gone({before})
        return found

    def every(self) -> Sequence[Place | None]:
        """See `Directory.every`."""
        return [self.place("")]

    def doubt(self, place: Place | None) -> None:
        """See `Directory.doubt`."""
        with self._lock:
            if self._primary == place:
                self._primary = None


class ClusterDirectory(_Watched):
    """The master of each slot, as any server of the cluster tells."""

    def __init__(self, address: Address) -> None:
        super().__init__(address)
        self._slots: list[Place | None] = [None] * _SLOTS
        #: Of the last answer: masters, and who may be asked the next time.
        self._masters: set[Place] = set()
        self._servers: set[Place] = set()

    def known(self, key: str) -> Place | None:
        """See `Directory.known`."""
        return self._slots[key_slot(key.encode())]

    def place(self, key: str) -> Place | None:
        """See `Directory.place`."""
        slot = key_slot(key.encode())
        if self._slots[slot] is None:
            self._look_up()
        found = self._slots[slot]
        if found is None:
            raise redis.ConnectionError(f"no server of {self._address.name} has slot {slot}")
        return found

    def every(self) -> Sequence[Place | None]:
        """See `Directory.every`."""
        self._look_up()
        return sorted({place for place in self._slots if place is not None})

    def doubt(self, place: Place | None) -> None:
        """See `Directory.doubt`."""
        with self._lock:
            self._slots = [None if one == place else one for one in self._slots]
            self._servers = {one for one in self._servers if one != place}  # the others are asked first

    def moved(self, slot: int, place: Place) -> None:
        """See `Directory.moved`. The rest of the map may have changed as well; that shows when it is met."""
        self._slots[slot] = place

    def _look_up(self) -> None:
        with self._lock:
            places = [*self._servers, *(one for one in self._address.places if one not in self._servers)]
            index, reply = self._first_answer(
                [self._address.url_of(one) for one in places], "CLUSTER", "SLOTS"
            )
            slots: list[Place | None] = [None] * _SLOTS
            servers: set[Place] = set()
            for first, last, *nodes in reply:
                # A server that does not know its own name leaves it out: it is where we asked.
                found = [((host or b"").decode() or places[index][0], int(port)) for host, port, *_ in nodes]
                servers.update(found)
                slots[first : last + 1] = [found[0]] * (last + 1 - first)
            masters = {place for place in slots if place is not None}
            gone = self._masters - masters
            self._slots, self._masters, self._servers = slots, masters, servers
        self._tell_gone(gone)


def directory_of(address: Address) -> Directory:
    """The directory for that form of address."""
    if address.form == "sentinel":
        return SentinelDirectory(address)
    return ClusterDirectory(address) if address.form == "cluster" else Directory()
