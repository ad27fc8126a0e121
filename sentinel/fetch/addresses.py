"""Which IP addresses may be dialled at all. Pure: no name is looked up, no packet is sent.

The ranges are the special-purpose registries of IANA (IPv4: RFC 6890 and its successors; IPv6: only
2000::/3 is handed out, so only that is let through) plus the addresses clouds serve metadata on. An
IPv4 address inside an IPv6 one is refused, never unwrapped and judged (as Smokescreen does).
"""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

#: Never reachable, not even where private networks are allowed: credentials live there.
_METADATA: Final[tuple[tuple[Network, str], ...]] = tuple(
    (ip_network(text), why)
    for text, why in (
        ("169.254.0.0/16", "a link-local address (cloud metadata lives there)"),
        ("168.63.129.16/32", "the host agent of a cloud"),
        ("100.100.100.200/32", "a cloud metadata address"),
        ("192.0.0.192/32", "a cloud metadata address"),
        ("fe80::/10", "a link-local address"),
        ("fd00:ec2::254/128", "a cloud metadata address"),
        ("fd20:ce::254/128", "a cloud metadata address"),
    )
)

#: Reachable only where private networks are allowed.
_PRIVATE: Final[tuple[tuple[Network, str], ...]] = tuple(
    (ip_network(text), why)
    for text, why in (
        ("127.0.0.0/8", "a loopback address"),
        ("10.0.0.0/8", "a private address"),
        ("172.16.0.0/12", "a private address"),
        ("192.168.0.0/16", "a private address"),
        ("100.64.0.0/10", "a carrier's shared address"),
        ("::1/128", "a loopback address"),
        ("fc00::/7", "a private address"),
    )
)

#: Belongs to no web server anywhere.
_SPECIAL: Final[tuple[tuple[Network, str], ...]] = tuple(
    (ip_network(text), why)
    for text, why in (
        ("0.0.0.0/8", "this host itself"),
        ("192.0.0.0/24", "reserved for protocols"),
        ("192.0.2.0/24", "reserved for documentation"),
        ("192.31.196.0/24", "reserved (AS112)"),
        ("192.52.193.0/24", "reserved (AMT)"),
        ("192.88.99.0/24", "a 6to4 relay"),
        ("192.175.48.0/24", "reserved (AS112)"),
        ("198.18.0.0/15", "reserved for benchmarks"),
        ("198.51.100.0/24", "reserved for documentation"),
        ("203.0.113.0/24", "reserved for documentation"),
        ("224.0.0.0/4", "a multicast address"),
        ("240.0.0.0/4", "a reserved address"),
        ("2001::/23", "reserved for protocols (Teredo and others)"),
        ("2001:db8::/32", "reserved for documentation"),
        ("2002::/16", "a 6to4 address"),
        ("3fff::/20", "reserved for documentation"),
    )
)

_GLOBAL_IPV6: Final = IPv6Network("2000::/3")


def refusal(address: Address, *, allow_private: bool, also_refused: tuple[Network, ...] = ()) -> str | None:
    """Why `address` must not be dialled, in words that follow "is"; None where it may be."""
    for table in (_METADATA, () if allow_private else _PRIVATE, _SPECIAL):
        for network, why in table:
            if address in network:
                return why
    if any(address in network for network in also_refused):
        return "in a network the operator refuses"
    if allow_private and any(address in network for network, _ in _PRIVATE):
        return None
    if isinstance(address, IPv6Address) and address not in _GLOBAL_IPV6:
        return "not a global IPv6 address"
    # A second belt, in case a registry grew since the tables above were written.
    return None if address.is_global else "not a global address"


@lru_cache(maxsize=4096)  # a host's address is read several times a check
def parse(text: str) -> Address | None:
    """The address `text` spells, or None; a zone (`fe80::1%eth0`) is not an address."""
    if "%" in text:
        return None
    try:
        return ip_address(text)
    except ValueError:
        return None
