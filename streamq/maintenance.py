"""Judging which workers are dead, by this process's own monotonic clock.

The server's idle times follow its wall clock: an hour's jump would steal live jobs or strand dead
ones (shared/faults.md, finding 6). So a worker is dead when its heartbeat counter has not moved for
a lease *as seen from here*; and the broker takes its jobs only if the counter still has that value.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec


class _Seen(msgspec.Struct):
    beat: int
    #: Monotonic seconds when the beat was first seen.
    since: float


class PeerWatch:
    """What is known of the other workers of one stream."""

    def __init__(self, me: str, *, lease: float) -> None:
        self._me = me
        #: Seconds without a beat after which a worker is dead.
        self._lease = lease
        self._peers: dict[str, _Seen] = {}

    def __repr__(self) -> str:
        return f"<PeerWatch {len(self._peers)} peers>"

    def observe(self, beats: Mapping[str, int], now: float) -> None:
        """Take in the heartbeat counters as of now (monotonic seconds)."""
        for name in self._peers.keys() - beats.keys():
            del self._peers[name]
        for name, beat in beats.items():
            seen = self._peers.get(name)
            if name != self._me and (seen is None or seen.beat != beat):
                self._peers[name] = _Seen(beat, now)

    def dead(self, now: float) -> list[tuple[str, int]]:
        """Workers whose counter has not moved for a lease, with that counter."""
        return [(name, seen.beat) for name, seen in self._peers.items() if now - seen.since >= self._lease]

    def forget(self, name: str) -> None:
        """It was taken care of."""
        self._peers.pop(name, None)

    def next_check(self, now: float) -> float:
        """Seconds until the earliest moment a peer could turn out dead."""
        return max(
            0.0, min((seen.since + self._lease - now for seen in self._peers.values()), default=self._lease)
        )

    @property
    def leads(self) -> bool:
        """Whether this worker has the lowest name of all that beat: the one that speaks for the stream.

        All agree within a heartbeat of a worker's coming, and within a lease of its death.
        """
        return all(self._me <= name for name in self._peers)
