"""A broker's URL, read: one server, servers that Redis Sentinels watch over, or a Redis Cluster.

    redis://[[user]:password@]host[:port][/db]        rediss:// with TLS
    unix:///path/to.sock[?db=1]
    redis+sentinel://[[user]:password@]host[:port][,host[:port]...]/service[/db]    rediss+sentinel://
    redis+cluster://[[user]:password@]host[:port][,host[:port]...]                  rediss+cluster://

The query goes to the client library (`ssl_ca_certs`, `ssl_certfile`, `ssl_keyfile` ...);
`sentinel_username` and `sentinel_password` are for the Sentinels themselves.
"""

from __future__ import annotations

import re
from typing import Final, Literal
from urllib.parse import parse_qsl, urlencode, urlsplit

import msgspec

from streamq.errors import BrokerRefused

Form = Literal["one", "sentinel", "cluster"]

#: Where a server listens: host and TCP port.
Place = tuple[str, int]

SCHEMES: Final = (
    "redis",
    "rediss",
    "unix",
    "redis+sentinel",
    "rediss+sentinel",
    "redis+cluster",
    "rediss+cluster",
)
_PORT: Final = 6379
_SENTINEL_PORT: Final = 26379
_DATABASE: Final = re.compile(r"[0-9]{1,5}")


class Address(msgspec.Struct, frozen=True, kw_only=True):
    """Where a broker is; knows the URL of each server of it."""

    form: Form
    #: Without credentials, for people.
    name: str
    #: one: the whole URL. Else the parts below.
    url: str = ""
    scheme: str = "redis"
    #: `user:password@` as it was given, or empty.
    login: str = ""
    #: The Sentinels, or some servers of the cluster.
    places: tuple[Place, ...] = ()
    #: What the Sentinels call the primary.
    service: str = ""
    db: str = "0"
    #: Options for the client library, and those meant for the Sentinels.
    options: tuple[tuple[str, str], ...] = ()
    sentinel_options: tuple[tuple[str, str], ...] = ()

    def __repr__(self) -> str:
        return f"<Address {self.name}>"

    def url_of(self, place: Place | None) -> str:
        """The URL of one server; None: the only one there is."""
        if place is None:
            return self.url
        return self._url(self.login, place, f"/{self.db}", self.options)

    def url_of_sentinel(self, place: Place) -> str:
        """The URL of one Sentinel: its own credentials, the TLS of the servers."""
        return self._url("", place, "", (*self.options, *self.sentinel_options))

    def _url(self, login: str, place: Place, path: str, options: tuple[tuple[str, str], ...]) -> str:
        host, port = place
        shown = f"[{host}]" if ":" in host else host
        return f"{self.scheme}://{login}{shown}:{port}{path}" + (f"?{urlencode(options)}" if options else "")


def read(url: str) -> Address:
    """The address a URL names. Raises BrokerRefused, telling nothing of the URL but its scheme."""
    scheme, sep, rest = url.partition("://")
    if not sep or scheme not in SCHEMES:
        shown = ", ".join(f"{one}://" for one in SCHEMES)
        raise BrokerRefused(f"a broker's URL starts with one of {shown}; not {scheme[:20]!r}")
    if "+" not in scheme:
        return _one(url)
    scheme, _, form = scheme.partition("+")
    where, _, query = rest.partition("?")
    login, at, where = where.rpartition("@")
    hosts, _, path = where.partition("/")
    service, _, db = path.strip("/").partition("/") if form == "sentinel" else ("", "", path.strip("/"))
    options = parse_qsl(query, keep_blank_values=True)
    places = _places(hosts, _SENTINEL_PORT if form == "sentinel" else _PORT)
    if form == "sentinel" and not service:
        raise BrokerRefused("a redis+sentinel:// URL ends with the service's name: .../mymaster")
    if db and not _DATABASE.fullmatch(db):
        raise BrokerRefused("the broker's URL is not valid: the database is not a number")
    if form == "cluster" and db not in ("", "0"):
        raise BrokerRefused("a Redis Cluster has the one database 0")
    return Address(
        form="sentinel" if form == "sentinel" else "cluster",
        name=",".join(f"{host}:{port}" for host, port in places) + f"/{service or 'cluster'}/{db or 0}",
        scheme=scheme,
        login=login + at,
        places=places,
        service=service,
        db=db or "0",
        options=tuple((name, value) for name, value in options if not name.startswith("sentinel_")),
        sentinel_options=tuple(
            (name.removeprefix("sentinel_"), value) for name, value in options if name.startswith("sentinel_")
        ),
    )


def _one(url: str) -> Address:
    """One server. The client library takes what it cannot read for localhost, or for database 0."""
    try:
        parts = urlsplit(url)
        host, path = parts.hostname, parts.path
    except ValueError as error:
        raise BrokerRefused("the broker's URL has a host or port that cannot be one") from error
    if parts.scheme == "unix":
        if host or not path.strip("/"):
            raise BrokerRefused(
                "a unix:// URL names a socket's file, after three slashes: unix:///run/redis.sock"
            )
    elif not host:
        raise BrokerRefused("the broker's URL names no host (a / in a password is written %2F)")
    elif path.strip("/") and not _DATABASE.fullmatch(path.strip("/")):
        raise BrokerRefused("the broker's URL is not valid: the database is not a number")
    return Address(form="one", url=url, name="")


def _places(hosts: str, port: int) -> tuple[Place, ...]:
    places = tuple(_place(one, port) for one in hosts.split(",") if one)
    if not places:
        raise BrokerRefused("the broker's URL names no host")
    return places


def _place(text: str, default_port: int) -> Place:
    """`host`, `host:port`, `[::1]`, `[::1]:port`."""
    host, _, port = text.rpartition(":") if ":" in text and not text.endswith("]") else (text, "", "")
    if port and not (port.isdigit() and 0 < int(port) < 65536):
        raise BrokerRefused("the broker's URL has a host or port that cannot be one")
    host = host.removeprefix("[").removesuffix("]")
    if not host:
        raise BrokerRefused("the broker's URL has a host or port that cannot be one")
    return host, int(port or default_port)
