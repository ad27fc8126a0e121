"""What the rows stand on: a Redis, a database, sites, and one worker process that meets all of it at once.

First every row says what it brings (`Stage.rule`, `.alert`, `.job` ...), then `Stage.play` starts the
worker, waits until each of these has come to an end, asks it for a good check, and stops it. After that
the judges of the rows look at what came of it.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import anyio
import httpx
import redis

from sentinel.jobs import RULES_RUN, RunRule
from sentinel.model import (
    AlertDraft,
    AlertPolicy,
    Channel,
    CredentialRef,
    Extraction,
    FetchProfile,
    Rule,
    RulesFile,
    RuleState,
    Schedule,
    Verdict,
    Workspace,
)
from sentinel.store import Observation, RunRecord, RunResult, Store, StoredAlert, StoredChannel
from streamq import Queue, RedisBroker
from streamq.broker import DeadJob
from tests.support.certificates import Authority
from tests.support.http import Reply, Request, Route, Site, serve_in_thread
from tests.support.receivers import RECEIVERS, Receiver
from tests.support.servers import SharedServer, find_redis, find_valkey

ROOT = Path(__file__).resolve().parents[2]
#: Seconds after which what has not come to an end is judged as that.
PATIENCE = 300.0
#: Rules tick once: the next time is a year off.
YEAR = 366 * 86400
#: What a page says where a row says nothing else.
FINE = "fine"
PAGE = f"<!doctype html><title>Shop</title><p id=v>{FINE}</p>"
#: A rule that jobs may name, and the one whose price changes when all is over.
GOOD, LAST = "good", "last"

T = TypeVar("T")


class Stage:
    """Made by `opened`."""

    def __init__(self, folder: Path, redis_url: str, sites: Mapping[str, Site]) -> None:
        self.folder = folder
        self.redis_url = redis_url
        self.site = sites["plain"]
        self.secure = sites["secure"]
        self.receivers: dict[str, Receiver] = {}
        self.names: dict[str, list[list[str]]] = {}
        self.lines: dict[str, int] = {}
        #: Variables of the worker, beyond those it always has.
        self.environ: dict[str, str] = {}
        #: What only a running worker can be asked; called when all else has ended.
        self.meanwhile: list[Callable[[], None]] = []
        self._rules: list[Rule] = []
        self._channels: list[Channel] = []
        self._alerts: list[tuple[str, tuple[str, ...], str, dict[str, Any]]] = []
        self._jobs: list[tuple[str, dict[bytes, bytes]]] = []
        self._before: list[Callable[[Store], Awaitable[None]]] = []
        self._numbers = itertools.count(1)
        # What came of it.
        self.runs: dict[str, list[RunRecord]] = {}
        self.seen: dict[str, list[Observation]] = {}
        self.alerts: dict[str, StoredAlert] = {}
        self.channels: dict[str, StoredChannel] = {}
        self.dead: list[DeadJob] = []
        self.metrics = ""
        #: (address, port) of every dial that a public server could have answered.
        self.dialled: list[tuple[str, int]] = []
        self.breaches: list[str] = []
        #: What is wrong with the worker itself.
        self.complaints: list[str] = []
        self.peak_mib = 0.0
        self.seconds = 0.0

    # --- what rows bring ------------------------------------------------------------------------

    def host(self, *answers: list[str]) -> str:
        """A public name of its own; its lookups give `answers`, or always an address of its own."""
        number = next(self._numbers)
        name = f"shop{number}.com"
        self.names[name] = list(answers) or [[f"93.184.{number // 250}.{number % 250 + 1}"]]
        return name

    def address(self, host: str) -> str:
        """The address that `host` has at last."""
        return self.names[host][-1][0]

    def page(self, route: Route | None = None) -> str:
        """The URL of a page that answers by `route`, on a host of its own."""
        path = f"/p{next(self._numbers)}"
        self.site.route(path, Reply(body=PAGE) if route is None else route)
        return f"http://{self.host()}{path}"

    def rule(self, url: str, **fields: Any) -> str:
        """A rule that is checked once, put into the database as it is; its id."""
        name = fields.pop("id", None) or f"r{next(self._numbers)}"
        given = {
            "id": name,
            "url": url,
            "type": "text",
            "fetch": FetchProfile(mode="http"),
            "extraction": Extraction(method="css", selector="#v"),
            "schedule": Schedule(interval_seconds=YEAR),
            "alert_policy": AlertPolicy(channels=["tty"]),
        }
        self._rules.append(Rule(**given | fields))
        return name

    def channel(self, kind: str, **fields: Any) -> str:
        """A channel that leads to the receiver of its kind; its id."""
        name = f"c{next(self._numbers)}"
        if kind == "console":
            self._channels.append(Channel(id=name, type="console", **fields))
            return name
        receiver = self.receivers[kind]
        credentials: dict[str, Any] = {}
        for what, secret in receiver.credentials.items():
            variable = f"HOSTILE_{kind}_{what}".upper()
            self.environ[variable] = secret
            credentials[what] = CredentialRef(env=variable)
        given = receiver.place() | {"credentials": credentials} | fields
        self._channels.append(Channel(id=name, type=kind, **given))  # type: ignore[arg-type] # of the receivers
        return name

    def alert(self, *channels: str, title: str = "It changed", **body: Any) -> str:
        """An alert that is to be delivered; its key in `alerts`."""
        rule = f"a{next(self._numbers)}"
        self.rule(f"http://{self.host()}/", id=rule, enabled=False, name="Widget")
        fields = [{"name": "value", "before": "before", "after": title}]
        self._alerts.append((rule, channels, title, {"rule": "Widget", "fields": fields} | body))
        return rule

    def job(self, fields: Mapping[str | bytes, str | bytes], stream: str = RULES_RUN) -> str:
        """A job as any client may add it; what is in its `id`, or a made one, to know it by."""
        raw = {_bytes(name): _bytes(value) for name, value in fields.items()}
        raw.setdefault(b"id", f"job{next(self._numbers)}".encode())
        self._jobs.append((stream, raw))
        return raw[b"id"].decode("utf-8", "replace")

    def before(self, what: Callable[[Store], Awaitable[None]]) -> None:
        """Do this to the database once all rows are in it."""
        self._before.append(what)

    # --- the play -------------------------------------------------------------------------------

    def play(self) -> None:
        """Everything at once, through one worker."""
        began = time.monotonic()
        prices = [Reply(body=f"<p class=price>{price} EUR</p>") for price in ("10.00", "12.50")]
        self.site.route("/last", prices)
        price = Extraction(method="css", selector=".price")
        self.rule(f"http://{self.host()}/last", id=LAST, type="price", extraction=price)
        self.rule(self.page(), id=GOOD)
        anyio.run(self._set_up)
        table = {
            "names": self.names,
            "lines": self.lines,
            "plain": self.site_port,
            "secure": self.secure_port,
            "dials": str(self.folder / "dials"),
        }
        (self.folder / "internet.json").write_text(json.dumps(table), encoding="utf-8")
        with self._worker() as process:
            anyio.run(self._until_done, process)
            if process.poll() is None:
                for ask in self.meanwhile:
                    ask()
            anyio.run(self._good_check, process)
            self._measure(process)
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                try:
                    code = process.wait(60)
                except subprocess.TimeoutExpired:
                    code = None
                if code != 0:
                    self.complaints.append(f"asked to stop it ended with {code}")
        anyio.run(self._look)
        self._read_dials()
        self.seconds = time.monotonic() - began

    @property
    def log(self) -> str:
        """All that the worker wrote on stderr."""
        return (self.folder / "stderr").read_text(encoding="utf-8", errors="replace")

    @property
    def said(self) -> str:
        """All that it wrote on stdout, console channels among it."""
        return (self.folder / "stdout").read_text(encoding="utf-8", errors="replace")

    @property
    def database_url(self) -> str:
        return f"sqlite:///{self.folder}/sentinel.db"

    @property
    def settings(self) -> dict[str, str]:
        """The worker's environment: nothing of this machine's own, and nothing that loosens the guard."""
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        return kept | {
            "PYTHONPATH": str(ROOT),
            "SENTINEL_STATE_DIR": str(self.folder),
            "DATABASE_URL": self.database_url,
            "REDIS_URL": self.redis_url,
            "HOSTILE_INTERNET": str(self.folder / "internet.json"),
            "SSL_CERT_FILE": str(self.folder / "authority.pem"),
            "RATE_LIMITING_ENABLED": "false",
            "SENTINEL_BROWSER": "none",
            "SENTINEL_METRICS_PORT": "0",
            "WORKER_CONCURRENCY_RULES": "8",
            **self.environ,
        }

    site_port: int
    secure_port: int

    @contextlib.contextmanager
    def _worker(self) -> Iterator[subprocess.Popen[bytes]]:
        out, err = self.folder / "stdout", self.folder / "stderr"
        with out.open("wb") as stdout, err.open("wb") as stderr:
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.hostile.internet", "run"],
                env=self.settings,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
            )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()

    async def _set_up(self) -> None:
        file = RulesFile(
            workspace=Workspace(id="acme", incident=None),
            channels=[Channel(id="tty", type="console"), *self._channels],
            rules=self._rules,
        )
        now = time.time()
        async with Store.open(self.database_url) as store:
            await store.migrate()
            await store.import_rules(file, now=now, first_due=lambda _: now)
            for what in self._before:
                await what(store)
            for rule, channels, title, body in self._alerts:
                await raise_alert(store, rule, channels, now, title=title, body=body)
        with redis.Redis.from_url(self.redis_url) as client:
            for stream, fields in self._jobs:
                client.xadd(stream, dict(fields))  # type: ignore[arg-type] # bytes are fields as well

    async def _until_done(self, process: subprocess.Popen[bytes]) -> None:
        """Every rule was checked, every alert was tried, every job is dead or done."""
        async with Store.open(self.database_url) as store, self._broker() as broker:
            deadline = time.monotonic() + PATIENCE
            while time.monotonic() < deadline and process.poll() is None:
                if not (waits_for := await self._unended(store, broker)):
                    return
                await anyio.sleep(0.2)
        self.complaints.append(f"after {PATIENCE:g} s there was still {waits_for}")

    async def _unended(self, store: Store, broker: RedisBroker) -> str:
        """One of those that have not come to an end; '' where all have."""
        for one in self._rules:
            if one.enabled and not any(map(_ended, await store.runs(one.id))):
                return f"the rule {one.id} of {one.url[:80]} ({one.extraction})"[:300]
        tried = {one.rule_id: one for one in await store.alerts(limit=1000)}
        for rule, *_ in self._alerts:
            if rule not in tried or not all(d.attempts or d.state == "dead" for d in tried[rule].deliveries):
                return f"the alert of {rule}"
        stats = await broker.stats(RULES_RUN)
        return "a job" if stats.leased or sum(stats.ready.values()) else ""

    async def _good_check(self, process: subprocess.Popen[bytes]) -> None:
        """The worker still answers, and sees a price that changed."""
        if process.poll() is not None:
            self.complaints.append(
                f"the worker ended by itself, with {process.returncode}: {self.log[-1500:]}"
            )
            return
        async with Store.open(self.database_url) as store, self._broker() as broker:
            await Queue(RULES_RUN, broker).enqueue(
                RunRule(rule_id=LAST, trigger="manual_test", requested_at="2026-01-31T12:00:00Z"),
                lane="high",
            )
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline:
                history = await store.history(LAST)
                if [one.raw for one in history] == ["12.50 EUR", "10.00 EUR"]:
                    break
                await anyio.sleep(0.1)
            else:
                self.complaints.append("a good check brought no value any more")
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{self.endpoint}", timeout=20) as client:
            for path in ("/healthz", "/readyz", "/metrics"):
                answer = await client.get(path)
                if answer.status_code != 200:
                    self.complaints.append(f"{path} answered {answer.status_code}: {answer.text[:200]}")
            self.metrics = answer.text

    @property
    def endpoint(self) -> int:
        """The port of the worker's own pages."""
        for line in self.log.splitlines():
            if '"endpoint_open"' in line:
                return int(json.loads(line)["port"])
        raise AssertionError(f"the worker has no endpoint:\n{self.log[-2000:]}")

    async def _look(self) -> None:
        async with Store.open(self.database_url) as store, self._broker() as broker:
            for one in self._rules:
                self.runs[one.id] = await store.runs(one.id)
                self.seen[one.id] = await store.history(one.id)
            for alert in await store.alerts(limit=1000):
                self.alerts[alert.rule_id] = await store.alert(alert.id)
            self.channels = {one: await store.find_channel(one) for one in await store.channel_ids()}
            self.dead = await broker.dead(RULES_RUN, limit=1000)

    @contextlib.asynccontextmanager
    async def _broker(self) -> Any:  # Any: an async context of a RedisBroker
        async with RedisBroker.from_url(self.redis_url) as broker:
            yield broker

    def _measure(self, process: subprocess.Popen[bytes]) -> None:
        with contextlib.suppress(OSError):
            status = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
            (peak,) = (line for line in status.splitlines() if line.startswith("VmHWM"))
            self.peak_mib = int(peak.split()[1]) / 1024

    def _read_dials(self) -> None:
        file = self.folder / "dials"
        for line in file.read_text(encoding="ascii").splitlines() if file.exists() else []:
            what, address, port = line.split()
            if what == "BREACH":
                self.breaches.append(f"{address} port {port}")
            else:
                self.dialled.append((address, int(port)))

    # --- what came of it ------------------------------------------------------------------------

    def run_of(self, rule: str) -> RunRecord | None:
        """The check of a rule, as far as it came."""
        ended = [one for one in self.runs[rule] if _ended(one)]
        return ended[-1] if ended else None

    def value(self, rule: str) -> str | None:
        """What was read; None: nothing."""
        return self.seen[rule][-1].raw if self.seen[rule] else None

    def payloads(self, kind: str, key: str) -> list[dict[str, Any]]:
        """What the receiver of a kind took of an alert (the watchdog's go to every channel as well)."""
        return [one.payload for one in self.receivers[kind].accepted if self.is_of(one.request, key)]

    def is_of(self, request: Request, key: str) -> bool:
        """Whether a request brings that alert."""
        return self.alerts[key].id in request.headers.get("webhook-id", "")


def _ended(run: RunRecord) -> bool:
    return run.finished_at is not None or run.result.error_code is not None


def _bytes(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode("utf-8", "surrogateescape")


async def raise_alert(
    store: Store, rule: str, channels: tuple[str, ...], now: float, *, title: str, body: dict[str, Any]
) -> str:
    """An alert of `rule` for `channels`, its jobs in the outbox; its id."""
    ticket = await store.begin_run(rule, f"check-{rule}-{now}", 1, "schedule", now)
    draft = AlertDraft(
        kind="change",
        severity="warning",
        title=title,
        body=body,
        dedupe_key=f"{rule}:{now}",
        channels=channels,
        conditions=("changed",),
    )
    version = ticket.stored.state.version
    finished = await store.finish_run(
        ticket,
        RunResult(),
        Verdict(state=RuleState(version=version), alerts=(draft,)),
        None,
        expected_state_version=version,
        now=now,
    )
    return str(finished.alerts[0])


@contextlib.contextmanager
def opened() -> Iterator[Stage]:
    """An empty stage; what it stood on is gone with the block. Raises LookupError without a Redis."""
    program = find_valkey() or find_redis()
    if program is None:
        raise LookupError("no valkey-server and no redis-server was found")
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hostile-")))
        server = SharedServer(program)
        stack.callback(server.stop)
        authority = Authority(folder)
        (folder / "authority.pem").write_text(authority.pem, encoding="ascii")
        plain = stack.enter_context(serve_in_thread())
        secure = stack.enter_context(serve_in_thread(tls=_for_any_name(authority)))
        for site in (plain, secure):
            site.default = Reply(body=PAGE)
        stage = Stage(folder, server.fresh_url(), {"plain": plain, "secure": secure})
        stage.site_port, stage.secure_port = plain.port, secure.port
        for number, (kind, make) in enumerate(RECEIVERS.items()):
            site = stack.enter_context(serve_in_thread())
            # Public, as the worker sees it.
            address, name = f"93.184.199.{number + 1}", f"{kind}-hooks.com"
            stage.names[name], stage.lines[address] = [[address]], site.port
            site.host, site.port = name, 80
            stage.receivers[kind] = make(site)
        yield stage


def _for_any_name(authority: Authority) -> ssl.SSLContext:
    """A server that is made out to whatever name is asked for."""
    contexts: dict[str, ssl.SSLContext] = {}

    def chosen(connection: Any, name: str | None, _: ssl.SSLContext) -> None:  # Any: an SSLObject
        if name:
            if name not in contexts:
                contexts[name] = authority.server_context(name)
            connection.context = contexts[name]

    context = authority.server_context("nobody.com")
    context.sni_callback = chosen
    return context
