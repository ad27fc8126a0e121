"""The jobs at once that a worker may run of a stream, shared by its partitions.

Each partition is read on its own, and what is taken is counted together. A partition that may have more than
it was allowed to take is hungry; a slot that becomes free goes to the hungry one with the fewest in hand, so
that a backlog in one keeps no other waiting.
"""

from __future__ import annotations

from typing import Protocol


class Member(Protocol):
    """What a share needs to know of the consumer of a partition."""

    #: Jobs asked for in a turn that has not been answered.
    asked: int
    #: There may be more to take than it was allowed to.
    hungry: bool

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

    def free_for(self, me: Member) -> int:
        """How many jobs a partition may ask for now; what is more is for others, which are told."""
        left = self.left
        holds = {id(one): one.in_hand + one.asked for one in self.members if one is me or one.hungry}
        mine = 0
        for _ in range(left):
            # Of two with as many in hand the other one first: who asks has had its turn.
            fewest = min(holds, key=lambda one: (holds[one], one == id(me)))
            holds[fewest] += 1
            mine += fewest == id(me)
        return mine

    def tell(self, me: Member) -> None:
        """Have the hungry take what is left."""
        if len(self.members) > 1 and self.left:
            for one in self.members:
                if one is not me and one.hungry:
                    one.look_again()
