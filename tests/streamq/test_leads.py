from __future__ import annotations

from streamq.maintenance import PeerWatch


def test_of_all_workers_that_are_up_exactly_one_speaks_for_the_stream() -> None:
    names = ["host:2:b", "host:1:a", "host:3:c"]
    watches = {name: PeerWatch(name, lease=10) for name in names}

    for watch in watches.values():
        watch.observe(dict.fromkeys(names, 1), now=0)

    assert [name for name, watch in watches.items() if watch.leads] == ["host:1:a"]


def test_the_next_one_speaks_when_the_first_is_gone() -> None:
    watch = PeerWatch("b", lease=10)
    watch.observe({"a": 1, "b": 1}, now=0)

    spoke_before = watch.leads
    watch.observe({"b": 2}, now=13)

    assert (spoke_before, watch.leads) == (False, True)


def test_a_worker_alone_speaks() -> None:
    assert PeerWatch("a", lease=10).leads
