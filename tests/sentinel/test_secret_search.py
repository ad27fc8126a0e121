"""Known secrets, put wherever a secret can be put; then every byte that was written is searched for them."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import re
import secrets
import signal
import socketserver
import sqlite3
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import anyio
import anyio.to_thread
import pytest
import redis
import yaml
from standardwebhooks import Webhook

from sentinel.cli.main import main
from sentinel.credentials import Keyring
from sentinel.embedded import EmbeddedRedis
from sentinel.model import Channel, RulesFile, Workspace
from sentinel.store import Store
from tests.end_to_end.programs import PATIENCE, Program
from tests.sentinel.store.things import a_rule, a_verdict, an_alert, begin, finish
from tests.support.http import Reply, Request, Site, send
from tests.support.servers import OwnServers, find_valkey

#: Characters of a secret that are looked for where the whole is not found.
PIECE = 12


def key() -> str:
    return base64.b64encode(secrets.token_bytes(32)).decode()


def word(length: int = 28) -> str:
    return base64.b32encode(secrets.token_bytes(length)).decode().rstrip("=")[:length]


class Searched:
    """Secrets, and the places where they must not be."""

    def __init__(self, **known: str) -> None:
        self.known = known
        self.forms = {form: name for name, secret in known.items() for form in _forms(secret)}
        self.places = 0
        self.bytes = 0
        self.hits: list[tuple[str, str]] = []

    def look(self, place: str, content: bytes | str) -> None:
        data = content.encode("utf-8", "surrogateescape") if isinstance(content, str) else content
        self.places += 1
        self.bytes += len(data)
        self.hits += [(place, name) for form, name in self.forms.items() if form in data]


def _forms(secret: str) -> Iterator[bytes]:
    raw = secret.encode()
    yield raw
    yield raw[:PIECE]
    yield quote(secret, safe="").encode()
    yield json.dumps(secret)[1:-1].encode()
    yield raw.hex().encode()
    for shift in range(3):  # base64 of a longer text that the secret is in the middle of
        middle = base64.b64encode(b"\0" * shift + raw + b"\0\0")
        yield middle[4:-6]
    yield secret.encode("utf-16-le")


# --- the world ------------------------------------------------------------------------------------------


def echo(status: int) -> Callable[[Request, asyncio.StreamWriter], Any]:
    """An endpoint that answers with everything it was told."""

    async def answer(request: Request, writer: asyncio.StreamWriter) -> None:
        told = f"{request.headers.get('authorization', '')} {request.target} {request.body.decode()}"
        await send(Reply(status=status, body=told, content_type="text/plain"), request, writer)

    return answer


class Clerk(socketserver.StreamRequestHandler):
    """A mail server that refuses every login, and repeats it."""

    def handle(self) -> None:
        self._say("220 mail.example.com ESMTP")
        for line in iter(self.rfile.readline, b""):
            verb, *rest = line.decode().split()
            match verb.upper():
                case "EHLO":
                    self._say("250-mail.example.com\r\n250-8BITMIME\r\n250 AUTH PLAIN")
                case "AUTH":
                    decoded = base64.b64decode(rest[-1]).decode().replace("\0", " ")
                    self._say(f"535 5.7.8 unknown: {rest[-1]} {decoded}")
                case "QUIT":
                    return self._say("221 bye")
                case _:
                    self._say("503 log in first")
        return None

    def _say(self, text: str) -> None:
        self.wfile.write(f"{text}\r\n".encode())


@pytest.fixture
def tmp_path(disk_path: Path) -> Path:
    """A credential's file may not be under /dev."""
    return disk_path


@pytest.fixture
def mail_port() -> Iterator[int]:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Clerk) as clerks:
        thread = threading.Thread(target=clerks.serve_forever, daemon=True)
        thread.start()
        yield clerks.server_address[1]
        clerks.shutdown()
        thread.join()


class World:
    """A state folder, a Redis with a password in it, endpoints that repeat what they hear, one rule."""

    def __init__(self, folder: Path, site: Site, server: EmbeddedRedis, mail_port: int) -> None:
        self.site = site
        self.inputs, self.state = folder / "in", folder / "state"
        self.inputs.mkdir()
        self.signing, self.stored_signing = (f"whsec_{key()}" for _ in range(2))
        self.bot = f"4242424242:{word(35)}"
        self.ntfy, self.routing, self.hook, self.query = word(), word(32), word(24), word()
        self.redis_password, self.database_password = f"r/{word()}@", f"d:{word()}#"
        self.mail_password, self.default_mail_password = f"m:/{word()}", f"{word()}?"
        login = f"alerts%40example.com:{quote(self.mail_password, safe='')}"
        self.smtp_url = f"smtp://{login}@127.0.0.1:{mail_port}?tls=none"
        self.keys = key(), key()
        with redis.Redis.from_url(server.url) as client:
            client.config_set("requirepass", self.redis_password)
        socket = server.url.removeprefix("unix://").partition("?")[0]
        self.redis_url = f"unix://:{quote(self.redis_password, safe='')}@{socket}?db=0"
        (self.inputs / "ntfy-token").write_text(f"{self.ntfy}\n")
        self.program = Program(
            self.state,
            {
                "REDIS_URL": self.redis_url,
                "SENTINEL_SECRET_KEY": ",".join(self.keys),
                "SENTINEL_ALLOW_PRIVATE_NETWORKS": "true",
                "RATE_LIMITING_ENABLED": "false",
                "OPS_SECRET": self.signing,
                "BOT_TOKEN": self.bot,
                "SENTINEL_SMTP_URL": f"smtp://u:{quote(self.default_mail_password, safe='')}@127.0.0.1:1?tls=none",
            },
        )

    def searched(self) -> Searched:
        return Searched(
            signing_secret_by_environment=self.signing.removeprefix("whsec_"),
            signing_secret_stored=self.stored_signing.removeprefix("whsec_"),
            bot_token_by_environment=self.bot,
            token_by_file=self.ntfy,
            routing_key_from_stdin=self.routing,
            slack_url_stored=self.hook,
            key_in_a_webhook_s_address=self.query,
            smtp_password_stored=self.mail_password,
            smtp_password_of_the_settings=self.default_mail_password,
            redis_password=self.redis_password,
            database_password=self.database_password,
            secret_key_new=self.keys[0],
            secret_key_old=self.keys[1],
        )

    def rules(self) -> Path:
        """The file, with the values themselves in it, outside of what is searched."""
        url = self.site.url
        channels = [
            {"id": "signed", "type": "webhook", "url": f"{url}/ok", "secret_env": "OPS_SECRET"},
            {"id": "stored", "type": "webhook", "credentials": {"signing_secret": self.stored_signing, "url": f"{url}/echo?key={self.query}"}},
            {"id": "slack", "type": "slack", "credentials": {"url": f"{url}/services/T0/B0/{self.hook}"}},
            {"id": "telegram", "type": "telegram", "url": url, "chatId": "-100", "credentials": {"bot_token": {"env": "BOT_TOKEN"}}},
            {"id": "mail", "type": "email", "to": ["ops@example.com"], "sender": "alerts@example.com", "credentials": {"smtp_url": self.smtp_url}},
            {"id": "ntfy", "type": "ntfy", "url": f"{url}/ntfy", "topic": "t", "credentials": {"token": {"file": str(self.inputs / "ntfy-token")}}},
        ]  # fmt: skip
        rule = {
            "id": "widget", "url": f"{url}/page", "type": "number", "extraction": {"method": "css", "selector": "b"},
            "schedule": {"intervalSeconds": 1},
            "alertPolicy": {"channels": [c["id"] for c in channels] + ["pager"], "conditions": [{"id": "c", "type": "value_changed"}]},
        }  # fmt: skip
        path = self.inputs / "rules.yaml"
        path.write_text(yaml.safe_dump({"workspace": {"id": "acme"}, "channels": channels, "rules": [rule]}))
        return path

    def show(self, number: int) -> None:
        self.site.route("/page", Reply(body=f"<b>{number}</b>"))

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        with sqlite3.connect(self.state / "sentinel.db", timeout=30) as connection:
            return connection.execute(statement).fetchall()

    def is_told(self, number: int) -> bool:
        """The change to `number` was brought to every channel, whatever came of it.

        Except those that are in trouble: there a newer alert waits for the older one.
        """
        told = {
            channel
            for channel, title in self.rows(
                "SELECT a.channel_id, title FROM delivery_attempt a JOIN alert ON alert.id = a.alert_id"
            )
            if title.endswith(f"-> {number}")
        }
        return len(told if number == 2 else told - {"ntfy", "mail"}) >= (7 if number == 2 else 5)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedRedis]:
    program = find_valkey()
    if program is None:
        pytest.skip("Valkey (bundled) was not found")
    # In the state folder, so that its append-only files are searched too.
    running = EmbeddedRedis(tmp_path / "state" / "redis", binary=program)
    running.start()
    yield running
    running.stop()


@pytest.fixture
def world(tmp_path: Path, thread_site: Site, server: EmbeddedRedis, mail_port: int) -> World:
    world = World(tmp_path, thread_site, server, mail_port)
    thread_site.route("/ok", Reply(status=204))
    thread_site.route("/echo", echo(400))
    thread_site.route(f"/services/T0/B0/{world.hook}", echo(403))
    thread_site.route(f"/bot{world.bot}/sendMessage", echo(401))
    thread_site.route("/ntfy/", echo(503))
    thread_site.route("/pager/v2/enqueue", echo(400))
    thread_site.route("/pager", echo(400))
    return world


@contextmanager
def worker(program: Program, log: Path, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """`run` as a real process, its output in a file; stopped as an operator does it."""
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", "sentinel.cli.main", "run", *arguments],
            env=program.environment, cwd=program.folder, stdout=stream, stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        yield process
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0, log.read_text()
    finally:
        process.kill()
        process.wait()


def until(condition: Callable[[], Any], what: str = "") -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def metrics_of(log: Path) -> str:
    """What /metrics says; its port is in the log."""
    port = re.search(r"127\.0\.0\.1:(\d+)/metrics", log.read_text())
    assert port, log.read_text()
    with urllib.request.urlopen(f"http://127.0.0.1:{port[1]}/metrics", timeout=30) as answer:
        return str(answer.read().decode())


# --- the search -----------------------------------------------------------------------------------------


def test_no_secret_is_in_anything_that_was_written(world: World, tmp_path: Path) -> None:
    searched, program = world.searched(), world.program
    say_everything_before_the_run(world, searched)

    world.show(1)
    for number, form in enumerate(("console", "json"), 2):
        log = tmp_path / f"{form}.log"
        with worker(program, log, "--metrics-port", "0", "--log-format", form, "--verbose"):
            until(lambda: world.rows("SELECT run_id FROM observation WHERE confirmed"), "a first value")
            world.show(number)
            until(partial(world.is_told, number), f"a change to {number} that is told")
            searched.look(f"/metrics of {form}", metrics_of(log))
        searched.look(str(log), log.read_bytes())
        assert "delivery_ended" in log.read_text()

    the_secrets_were_used_and_repeated(world)
    say_everything_after_the_run(world, searched)
    look_into_redis(world, searched)
    look_into_the_state_folder(world, searched)

    print(
        f"\nsearched {searched.places} places, {searched.bytes:,} bytes, for {len(searched.known)} secrets in"
        f" {len(searched.forms)} forms: {len(searched.hits)} hits"
    )
    assert searched.places > 80
    assert searched.hits == [], "\n".join(map(str, searched.hits))


def ask(world: World, searched: Searched, *command: str, stdin: str = "", **environ: str) -> None:
    """A command in every form; whatever it ends with."""
    program = Program(world.program.folder, world.program.environ | environ)
    for options in ([], ["--json"], ["--verbose", "--log-format", "json"]):
        streams = {"stdin": io.StringIO(stdin), "stdout": io.StringIO(), "stderr": io.StringIO()}
        main((*command, *options), environ=program.environment, streams=streams)
        told = streams["stdout"].getvalue() + streams["stderr"].getvalue()
        searched.look(" ".join(("$", *command, *options)), told)


def say_everything_before_the_run(world: World, searched: Searched) -> None:
    path = str(world.rules())
    world.state.mkdir(exist_ok=True)
    add = (
        "channels",
        "add",
        "pager",
        "--type",
        "pagerduty",
        "--url",
        f"{world.site.url}/pager",
        "--secret",
        "routing_key",
        "--workspace",
        "acme",
    )
    ask(world, searched, *add, "--replace", stdin=world.routing + "\n")
    ask(world, searched, "rules", "import", path)
    assert world.rows("SELECT count(*) FROM channel WHERE workspace_id = 'acme'") == [(7,)]
    ask(world, searched, "rules", "import", path, SENTINEL_SECRET_KEY="")
    broken = world.inputs / "broken.yaml"
    for place in ("signing_secret", "nonsense"):
        channel = {
            "id": "x",
            "type": "webhook",
            "url": "file:///",
            "credentials": {place: f"{world.stored_signing}\a"},
        }
        broken.write_text(yaml.safe_dump({"channels": [channel]}))
        ask(world, searched, "rules", "import", str(broken))
    password = quote(world.database_password, safe="")
    for url in (
        f"postgresql://u:{password}@127.0.0.1:1/x",
        f"postgresql://u:{world.database_password}@127.0.0.1:1/x",
        f"oracle://u:{password}@h/x",
    ):
        ask(world, searched, "config", "show", DATABASE_URL=url)
        ask(world, searched, "rules", "list", DATABASE_URL=url)
    ask(world, searched, "stats", REDIS_URL=f"redis://:{quote(world.redis_password, safe='')}@127.0.0.1:1/0")
    ask(world, searched, "stats", REDIS_URL=f"redis://{world.redis_password}@127.0.0.1:1/0")
    ask(world, searched, "config", "show", SENTINEL_SECRET_KEY=f"{world.keys[0]},{world.keys[1][:-4]}")


def the_secrets_were_used_and_repeated(world: World) -> None:
    """What follows would find nothing if nothing had been there."""
    heard = {request.path for request in world.site.requests}
    assert {f"/services/T0/B0/{world.hook}", f"/bot{world.bot}/sendMessage"} <= heard
    signed = world.site.requests_to("/ok")[-1]
    Webhook(world.signing).verify(signed.body, dict(signed.headers))
    stored = world.site.requests_to("/echo")[-1]
    Webhook(world.stored_signing).verify(stored.body, dict(stored.headers))
    assert world.site.requests_to("/ntfy/")[-1].headers["authorization"] == f"Bearer {world.ntfy}"
    told = set(world.rows("SELECT channel_id, error FROM delivery_attempt"))
    assert {error for channel, error in told if channel == "signed"} == {None}
    masked = {channel for channel, error in told if "***" in (error or "")}
    assert masked == {"stored", "slack", "telegram", "ntfy", "pager", "mail"}, told


def say_everything_after_the_run(world: World, searched: Searched) -> None:
    alert = str(world.rows("SELECT max(id) FROM alert")[0][0])
    lines = world.program("dead", "list", "--json").lines
    assert len(lines) >= 4, "each that was refused is a dead letter"
    commands = [
        ["config", "show"], ["channels", "list"], ["rules", "list"], ["rules", "show", "widget"], ["rules", "export"],
        ["history", "widget"], ["alerts", "list"], ["alerts", "show", alert], ["stats"], ["health"], ["migrate", "status"],
        ["dead", "list"], ["pending", "--stream", "alerts:dispatch"], ["channels", "rotate-key"],
        *(["dead", "show", line["job_id"]] for line in lines[:5]),
        *(["channels", "show", name] for name in ("stored", "slack", "pager", "mail")),
        *(["channels", "test", name] for name in ("signed", "stored", "slack", "telegram", "ntfy", "pager", "mail")),
    ]  # fmt: skip
    for command in commands:
        ask(world, searched, *command)


def look_into_redis(world: World, searched: Searched) -> None:
    """Every key: as it is dumped (perhaps compressed), and what is in it."""
    readers: dict[bytes, Callable[[redis.Redis, bytes], object]] = {
        b"string": lambda client, name: client.get(name),
        b"hash": lambda client, name: client.hgetall(name),
        b"list": lambda client, name: client.lrange(name, 0, -1),
        b"set": lambda client, name: client.smembers(name),
        b"zset": lambda client, name: client.zrange(name, 0, -1, withscores=True),
        b"stream": lambda client, name: client.xrange(name),
    }
    seen = set()
    with redis.Redis.from_url(world.redis_url) as client:
        for name in client.scan_iter(count=1000):
            kind = client.type(name)
            seen.add(kind)
            searched.look(f"redis dump {name!r}", client.dump(name) or b"")
            searched.look(
                f"redis {name!r}", b"%b %b" % (name, b" ".join(_pieces(readers[kind](client, name))))
            )
    assert {b"stream", b"zset"} <= seen


def _pieces(value: object) -> Iterator[bytes]:
    match value:
        case bytes():
            yield value
        case dict():
            for pair in value.items():
                yield from _pieces(pair)
        case list() | tuple() | set():
            for one in value:
                yield from _pieces(one)
        case _:
            yield str(value).encode()


def look_into_the_state_folder(world: World, searched: Searched) -> None:
    """Every file as it lies there, then every row (a long text is cut into pages on the disk)."""
    files = [path for path in world.state.rglob("*") if path.is_file()]
    names = " ".join(path.name for path in files)
    assert "sentinel.db" in names
    assert ".aof" in names
    for path in files:
        searched.look(str(path), path.read_bytes())
    for (table,) in world.rows("SELECT name FROM sqlite_master WHERE type = 'table'"):
        for row in world.rows(f'SELECT * FROM "{table}"'):  # noqa: S608 - the tables' own names
            searched.look(f"table {table}", b" ".join(_pieces(row)))


def test_the_search_finds_what_is_there(tmp_path: Path) -> None:
    secret = f"{word()}/+="
    planted = {
        "plain": f"token={secret}".encode(),
        "cut off": f"token={secret[:20]}".encode(),
        "in an address": f"?k={quote(secret, safe='')}".encode(),
        "base64": base64.b64encode(f"user:{secret}:x".encode()),
        "json": json.dumps({"a": secret}).encode(),
        "hex": secret.encode().hex().encode(),
    }
    for place, content in planted.items():
        searched = Searched(it=secret)
        searched.look(place, b"before" + content + b"after")
        assert {hit[0] for hit in searched.hits} == {place}


# --- rotation -------------------------------------------------------------------------------------------


class Fleet:
    """Workers of `alerts:dispatch` as real processes, two at a time, replaced as a rolling deploy does it."""

    def __init__(self, folder: Path, environ: dict[str, str]) -> None:
        self.folder = folder
        self.environ = environ
        self.running: list[subprocess.Popen[bytes]] = []
        self.logs: list[Path] = []

    def start(self, keys: str) -> None:
        program = Program(self.folder, self.environ | {"SENTINEL_SECRET_KEY": keys})
        self.logs.append(self.folder / f"worker-{len(self.logs)}.log")
        with self.logs[-1].open("wb") as log:
            command = [sys.executable, "-m", "sentinel.cli.main", "run", "--stream", "alerts:dispatch"]
            worker = subprocess.Popen(
                command, env=program.environment, cwd=self.folder, stdout=log, stderr=log
            )
        self.running.append(worker)

    def works(self, place: int = -1) -> bool:
        return "working on" in self.logs[place].read_text()

    async def replace_all(self, keys: str) -> None:
        """One after the other: the new one works before an old one stops."""
        for old in list(self.running):
            self.start(keys)
            await come(self.works)
            old.send_signal(signal.SIGTERM)
            await come(lambda old=old: old.poll() is not None)  # type: ignore[misc] # binds this one
            assert old.returncode == 0, [log.read_text() for log in self.logs]
            self.running.remove(old)

    def stop(self) -> None:
        for worker in self.running:
            worker.kill()
            worker.wait()


async def come(condition: Callable[[], Any]) -> None:
    with anyio.fail_after(PATIENCE):
        while not condition():  # noqa: ASYNC110 - what other processes do sets no event here
            await anyio.sleep(0.05)


@pytest.fixture
def fleet(tmp_path: Path, own_server: OwnServers) -> Iterator[Fleet]:
    folder = tmp_path / "state"
    folder.mkdir()
    environ = {"REDIS_URL": own_server().url, "SENTINEL_ALLOW_PRIVATE_NETWORKS": "true"}
    fleet = Fleet(folder, environ)
    yield fleet
    fleet.stop()


async def test_keys_are_rotated_under_running_workers_and_no_delivery_fails(
    fleet: Fleet, thread_site: Site
) -> None:
    old, new, signing = key(), key(), f"whsec_{key()}"
    url = thread_site.route("/in", Reply(status=204))
    sent_so_far: dict[str, int] = {}
    raised: list[str] = []
    enough = anyio.Event()

    def sent() -> int:
        return len(thread_site.requests_to("/in"))

    async with Store.open(f"sqlite:///{fleet.folder}/sentinel.db") as store:
        await store.migrate()
        hooks = [
            Channel(id=f"c{n}", type="webhook", url=url, credentials={"signing_secret": signing})
            for n in range(20)
        ]
        file = RulesFile(workspace=Workspace(id="acme"), channels=hooks, rules=[a_rule()])
        ring = Keyring([base64.b64decode(old)])
        await store.import_rules(file, now=time.time(), first_due=lambda _: time.time() + 1e6, keyring=ring)

        async def raise_alerts() -> None:
            """One every 50 ms, to each channel in turn."""
            while not enough.is_set():
                number = len(raised)
                ticket = await begin(store, f"job-{number}")
                alert = an_alert(f"key-{number}", channels=(f"c{number % 20}",))
                now = time.time()
                done = await finish(
                    store,
                    ticket,
                    a_verdict(alert),
                    now=now,
                    expected_state_version=ticket.stored.state.version,
                )
                raised.extend(done.alerts)
                await anyio.sleep(0.05)

        for _ in range(2):
            fleet.start(old)
        async with anyio.create_task_group() as group:
            group.start_soon(raise_alerts)
            for phase, keys in (("old", old), ("new and old", f"{new},{old}"), ("rotated", ""), ("new", new)):
                if phase == "rotated":
                    rotating = Program(fleet.folder, fleet.environ | {"SENTINEL_SECRET_KEY": f"{new},{old}"})
                    done = await anyio.to_thread.run_sync(
                        partial(rotating, "channels", "rotate-key", "--json")
                    )
                    assert (done.lines[0]["encrypted_anew"], done.lines[0]["unreadable"]) == (20, [])
                elif phase != "old":
                    await fleet.replace_all(keys)
                before = sent()
                # Each of the 20 channels at least once.
                await come(lambda before=before: sent() >= before + 25)  # type: ignore[misc] # binds this phase's
                sent_so_far[phase] = sent()
            enough.set()
        await come(lambda: sent() >= len(raised))
        await come(partial(_all_settled, fleet.folder, len(raised)))

    with sqlite3.connect(fleet.folder / "sentinel.db") as connection:
        states = dict(connection.execute("SELECT state, count(*) FROM delivery GROUP BY state").fetchall())
        attempts = dict(
            connection.execute("SELECT outcome, count(*) FROM delivery_attempt GROUP BY outcome").fetchall()
        )
    for request in thread_site.requests_to("/in"):
        Webhook(signing).verify(request.body, dict(request.headers))
    failed = sum(attempts.values()) - attempts.get("sent", 0)
    print(
        f"\nkeys rotated under running workers: {len(raised)} alerts, {len(fleet.logs)} workers one after the other,"
        f" accepted by then {sent_so_far}, deliveries {states}, attempts {attempts}: {failed} failed deliveries"
    )
    assert states == {"sent": len(raised)}
    assert failed == 0


def _all_settled(folder: Path, count: int) -> bool:
    with sqlite3.connect(folder / "sentinel.db", timeout=30) as connection:
        return bool(
            connection.execute("SELECT count(*) FROM delivery WHERE state = 'sent'").fetchone()[0] >= count
        )
