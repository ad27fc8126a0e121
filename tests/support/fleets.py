"""Real Redis in the forms people run it: over TCP, with TLS, behind Sentinels, as a Cluster.

Each is a handful of processes on the loopback address, started within a second or two, that end with the
test process. A test that breaks one has one of its own.
"""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import redis
from redis.backoff import NoBackoff
from redis.crc import key_slot
from redis.retry import Retry

from sentinel.embedded import _ended_with_parent
from tests.support.certificates import Authority

#: Seconds a process, a replication or a vote may take before that is a failure.
PATIENCE = 20.0
#: Milliseconds without an answer after which a server counts as down, where servers watch each other.
DOWN_AFTER = 1000
SERVICE = "jobs-primary"


class FleetError(Exception):
    """A server did not start, or never came to what was waited for."""


class NoTlsError(FleetError):
    """The program was built without TLS."""


def until(what: str, true: Callable[[], object], seconds: float = PATIENCE) -> None:
    """Return when it is so, or raise FleetError."""
    deadline = time.monotonic() + seconds
    while True:
        with contextlib.suppress(redis.RedisError, OSError):
            if true():
                return
        if time.monotonic() > deadline:
            raise FleetError(f"{what}: not within {seconds:g} s")
        time.sleep(0.02)


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


class Server:
    """One process of a server's program, on a TCP port of the loopback address."""

    def __init__(
        self,
        program: Path,
        folder: Path,
        *,
        config: Mapping[str, str] | None = None,
        sentinel: str = "",
        tls: Mapping[str, Any] | None = None,
    ) -> None:
        """Started when this returns. `sentinel`: its configuration, for one that is a Sentinel.

        `tls`: what a client needs, for a server that was configured to speak TLS alone.
        """
        self.program = program
        self.folder = folder
        self.port = free_port()
        self._config = dict(config or {})
        self._sentinel = sentinel
        self._tls = dict(tls or {})
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        self.start()

    def __repr__(self) -> str:
        return f"<Server {self.program.name} :{self.port}>"

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    @property
    def process(self) -> subprocess.Popen[bytes]:
        assert self._process is not None
        return self._process

    def client(self) -> redis.Redis:
        return redis.Redis(
            host="localhost" if self._tls else "127.0.0.1",
            port=self.port,
            retry=Retry(NoBackoff(), 0),
            socket_timeout=2,
            protocol=2,
            **self._tls,
        )

    def ask(self, *command: Any) -> Any:
        with self.client() as client:
            return client.execute_command(*command)

    def info(self) -> dict[str, Any]:
        with self.client() as client:
            return dict(client.info())

    def start(self) -> None:
        """Return when it answers."""
        port = "tls-port" if self._tls else "port"
        directives = {
            "port": "0",
            port: str(self.port),
            "bind": "127.0.0.1",
            "dir": str(self.folder),
            "save": "",
            "maxmemory-policy": "noeviction",
        } | self._config
        arguments = [word for name, value in directives.items() for word in (f"--{name}", value)]
        if self._sentinel:
            file = self.folder / "sentinel.conf"
            file.write_text(f"port {self.port}\nbind 127.0.0.1\ndir {self.folder}\n{self._sentinel}")
            arguments = [str(file), "--sentinel"]
        log = self.folder / "log"
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                _ended_with_parent([str(self.program), *arguments]),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

        def answers() -> object:
            if self.process.poll() is not None:
                said = log.read_text(errors="replace")[-1000:]
                raise (NoTlsError if "Failed finding TLS" in said else FleetError)(f"{self!r} ended:\n{said}")
            return self.ask("PING")

        try:
            until(f"{self!r} answers", answers)
        except BaseException:
            self.stop()
            raise

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def pause(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        if self.process.poll() is None:
            self.resume()
            self.kill()


class Fleet(Protocol):
    """Some servers that are one Redis to a broker."""

    servers: list[Server]

    @property
    def url(self) -> str:
        """For a broker."""
        ...

    def holder(self, key: str) -> Server:
        """The server that has `key` now."""
        ...

    def empty(self) -> None:
        """Forget everything that was put there."""
        ...

    def stop(self) -> None: ...


class _Folder:
    """Servers in a folder that goes with them."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="sq-")
        self.servers: list[Server] = []

    def _new(self, program: Path, **options: Any) -> Server:
        try:
            server = Server(program, Path(self._folder.name) / str(len(self.servers)), **options)
        except BaseException:
            self.stop()
            raise
        self.servers.append(server)
        return server

    def empty(self) -> None:
        for server in self.servers:
            if server.ask("ROLE")[0] == b"master":
                server.ask("FLUSHALL")

    def stop(self) -> None:
        for server in self.servers:
            server.stop()
        self._folder.cleanup()


class Single(_Folder):
    """One server over TCP."""

    def __init__(self, program: Path, config: Mapping[str, str] | None = None) -> None:
        super().__init__()
        self._server = self._new(program, config=config)

    @property
    def url(self) -> str:
        return self._server.url

    def holder(self, key: str) -> Server:
        return self._server


class Tls(_Folder):
    """One server that speaks TLS alone, to clients with a certificate of its authority."""

    def __init__(self, program: Path) -> None:
        super().__init__()
        folder = Path(self._folder.name)
        authority = Authority(folder)
        self.ca = folder / "ca.pem"
        self.ca.write_text(authority.pem)
        self.stranger = Authority(folder)  # signs, but nobody trusts it
        authority.server_context("localhost")
        authority.server_context("client")
        self.server_pem, self.client_pem = folder / "localhost.pem", folder / "client.pem"
        self._server = self._new(
            program,
            config={
                "tls-cert-file": str(self.server_pem),
                "tls-key-file": str(self.server_pem),
                "tls-ca-cert-file": str(self.ca),
                "tls-auth-clients": "yes",
            },
            tls={
                "ssl": True,
                "ssl_ca_certs": str(self.ca),
                "ssl_certfile": str(self.client_pem),
                "ssl_keyfile": str(self.client_pem),
            },
        )

    @property
    def trust(self) -> str:
        """The part of a URL's query that trusts the server."""
        return f"ssl_ca_certs={self.ca}"

    @property
    def identity(self) -> str:
        """The part of a URL's query that shows who the client is."""
        return f"ssl_certfile={self.client_pem}&ssl_keyfile={self.client_pem}"

    @property
    def url(self) -> str:
        return self.url_for("localhost", self.trust, self.identity)

    def url_for(self, host: str, *query: str) -> str:
        return f"rediss://{host}:{self._server.port}/0?{'&'.join(query)}"

    def holder(self, key: str) -> Server:
        return self._server


class Sentinels(_Folder):
    """A primary, a replica and three Sentinels that watch them."""

    def __init__(self, program: Path, *, password: str = "", config: Mapping[str, str] | None = None) -> None:
        super().__init__()
        self._password = password
        data = {"repl-diskless-sync-delay": "0", "appendonly": "yes"} | dict(config or {})
        primary = self._new(program, config=data)
        replica = self._new(program, config=data | {"replicaof": f"127.0.0.1 {primary.port}"})
        until("the replica follows", lambda: replica.info()["master_link_status"] == "up")
        watch = (
            f"sentinel monitor {SERVICE} 127.0.0.1 {primary.port} 2\n"
            f"sentinel down-after-milliseconds {SERVICE} {DOWN_AFTER}\n"
            f"sentinel failover-timeout {SERVICE} 5000\n"
        )
        self.sentinels = [self._new(program, sentinel=watch) for _ in range(3)]
        self.servers = [primary, replica, *self.sentinels]
        for one in self.sentinels:
            until("the Sentinels know each other", lambda one=one: self._know_all(one))

    def _know_all(self, sentinel: Server) -> bool:
        flat = sentinel.ask("SENTINEL", "MASTER", SERVICE)
        told = flat if isinstance(flat, dict) else dict(zip(flat[::2], flat[1::2], strict=True))
        told = {_text(name): _text(value) for name, value in told.items()}
        return told["num-slaves"] == "1" and told["num-other-sentinels"] == "2"

    @property
    def url(self) -> str:
        hosts = ",".join(f"127.0.0.1:{one.port}" for one in self.sentinels)
        return f"redis+sentinel://{hosts}/{SERVICE}"

    def holder(self, key: str) -> Server:
        for sentinel in self.sentinels:
            with contextlib.suppress(redis.RedisError, OSError):
                _, port = sentinel.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE)
                return next(one for one in self.servers if one.port == int(port))
        raise FleetError("no Sentinel answers")

    def replica(self) -> Server:
        """The other one."""
        primary = self.holder("")
        return next(one for one in self.servers[:2] if one is not primary)


class Cluster(_Folder):
    """Three masters, and a replica for each where `replicas` is 1."""

    def __init__(self, program: Path, *, replicas: int = 0) -> None:
        super().__init__()
        config = {
            "cluster-enabled": "yes",
            "cluster-node-timeout": str(DOWN_AFTER),
            "repl-diskless-sync-delay": "0",
        }
        servers = [
            self._new(program, config=config | {"cluster-port": str(free_port())})
            for _ in range(3 * (1 + replicas))
        ]
        masters = servers[:3]
        for number, server in enumerate(servers):
            server.ask("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        for (first, last), master in zip(((0, 5460), (5461, 10922), (10923, 16383)), masters, strict=True):
            master.ask("CLUSTER", "ADDSLOTSRANGE", first, last)
        for server in servers[1:]:
            bus = server.ask("CONFIG", "GET", "cluster-port")
            port = bus["cluster-port"] if isinstance(bus, dict) else bus[1]
            servers[0].ask("CLUSTER", "MEET", "127.0.0.1", server.port, int(_text(port)))
        until("the servers know each other", lambda: all(self._known(one) == len(servers) for one in servers))
        for replica, master in zip(servers[3:], masters, strict=False):
            replica.ask("CLUSTER", "REPLICATE", _text(master.ask("CLUSTER", "MYID")))
        for server in servers:
            until(
                "the cluster stands", lambda one=server: b"cluster_state:ok" in _raw(one, "CLUSTER", "INFO")
            )
        for replica in servers[3:]:
            until("the replica follows", lambda one=replica: one.info()["master_link_status"] == "up")

    def _known(self, server: Server) -> int:
        return sum(b"handshake" not in line for line in _raw(server, "CLUSTER", "NODES").splitlines() if line)

    @property
    def url(self) -> str:
        return "redis+cluster://" + ",".join(f"127.0.0.1:{one.port}" for one in self.servers)

    def holder(self, key: str) -> Server:
        slot = key_slot(key.encode())
        for server in self.servers:
            with contextlib.suppress(redis.RedisError, OSError):
                for line in _raw(server, "CLUSTER", "NODES").decode().splitlines():
                    _, where, flags, *rest = line.split()
                    ranges = [one.split("-") for one in rest[5:] if not one.startswith("[")]
                    if "master" in flags and any(int(a[0]) <= slot <= int(a[-1]) for a in ranges):
                        port = int(where.split("@")[0].rpartition(":")[2])
                        return next(one for one in self.servers if one.port == port)
        raise FleetError(f"no server has slot {slot}")


#: Ways to run it, by name; none of them shares its servers with a test that breaks them.
FORMS: dict[str, Callable[[Path], Fleet]] = {
    "tcp": Single,
    "tls": Tls,
    "sentinel": Sentinels,
    "cluster": Cluster,
}


def _text(raw: Any) -> str:
    return raw.decode() if isinstance(raw, bytes) else str(raw)


def _raw(server: Server, *command: str) -> bytes:
    """A reply as the wire has it."""
    with server.client() as client:
        connection = client.connection_pool.get_connection()
        connection.send_command(*command)
        reply = connection.read_response(disable_decoding=True)
        client.connection_pool.release(connection)
        assert isinstance(reply, bytes)
        return reply
