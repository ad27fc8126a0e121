"""The jobs at once that a worker may run of a stream, shared by its partitions.

Each partition is read on its own, and what is taken is counted together. A partition that may have more than
it was allowed to take is hungry; a slot that becomes free goes to the hungry one with the fewest in hand, so
that a backlog in one keeps no other waiting.
"""

from __future__ import annotations

import heapq
from typing import Protocol


class Member(Protocol):
    """What a share needs to know of the consumer of a partition."""

    #: Jobs asked for in a turn that has not been answered.
    asked: int
    #: There may be more to take than it was allowed to.
    hungry: bool
    #: Rises with every grant: of two with as many in hand the one that was served longer ago comes first.
    served: int

    @property
    def in_hand(self) -> int:
        """Jobs it has, but for those whose end is being told."""
        ...

    def look_again(self) -> None:
        """Something is free: take a turn."""
        ...


class Share:
    """The slots of one stream in one worker."""

    def __init__(self, concurrency: int) -> None:
        #: Jobs at once, all partitions together.
        self.concurrency = concurrency
        #: By partition.
        self.members: list[Member] = []
        self._grants = 0

    def __repr__(self) -> str:
        return f"<Share {self.used}/{self.concurrency} of {len(self.members)}>"

    @property
    def alone(self) -> bool:
        """There is one partition: nothing is shared."""
        return len(self.members) == 1

    @property
    def used(self) -> int:
        """In hand or asked for, of all partitions."""
        return sum(one.in_hand + one.asked for one in self.members)

    @property
    def left(self) -> int:
        """Slots that nobody has."""
        return max(0, self.concurrency - self.used)

    @property
    def full(self) -> bool:
        """Every slot has a job; what is only asked for may come to nothing."""
        return sum(one.in_hand for one in self.members) >= self.concurrency

    def free_for(self, me: Member) -> int:
        """How many jobs a partition may ask for now; what is more is for others (`tell`).

        All see the same order, so that whenever a slot is free there is one that may have it.
        """
        # In hand, served, place among the members.
        line = [
            (one.in_hand + one.asked, one.served, place)
            for place, one in enumerate(self.members)
            if one is me or one.hungry
        ]
        heapq.heapify(line)
        mine = 0
        for _ in range(self.left):
            has, served, place = line[0]
            heapq.heapreplace(line, (has + 1, served, place))
            mine += self.members[place] is me
        return mine

    def ask(self, me: Member) -> int:
        """`free_for`, and it asks for them."""
        me.asked = 0
        me.asked = self.free_for(me)
        if me.asked:
            self._grants += 1
            me.served = self._grants
        return me.asked

    def tell(self, me: Member) -> None:
        """Have the hungry take what is left."""
        if len(self.members) > 1 and self.left:
            for one in self.members:
                if one is not me and one.hungry:
                    one.look_again()
