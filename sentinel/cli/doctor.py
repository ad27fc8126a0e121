"""`doctor`: the common misconfigurations, each with its cure.

`health` asks whether every part answers; this asks whether it will still do so tomorrow. Nothing is
changed, nothing is sent, no page is fetched.
"""

from __future__ import annotations

import os
import re
import resource
import shutil
import stat
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
import typer

from sentinel.backing import blobs_of
from sentinel.cli.context import Cli, cli_of
from sentinel.cli.exits import Exit
from sentinel.cli.logs import redact
from sentinel.cli.parts import verbs
from sentinel.cli.streams import KNOWN
from sentinel.cli.values import brief
from sentinel.errors import SentinelError, SettingsError
from sentinel.settings import Settings, mask_url
from sentinel.store import Store, StoredChannel, StoredRule, UnreadableChannel, UnreadableRule
from streamq import Broker, StreamqError
from streamq.admin import Admin

app = verbs()

State = Literal["ok", "warn", "bad"]

#: Seconds that two clocks may differ by.
MAX_SKEW: Final = 2.0
#: Age of the oldest waiting job, seconds, that is told, and that is bad.
OLD: Final = 60.0
TOO_OLD: Final = 900.0
#: Share of its memory from which on Redis is told to be nearly full.
FULL: Final = 0.9
#: Oldest servers that have every command we use.
OLDEST: Final = {"redis": (7, 0), "valkey": (8, 0)}
#: Open files of a process: sockets to pages, Redis and the database.
FEW_FILES: Final = 1024
LOW_DISK: Final = 256 * 1024 * 1024
#: File systems that come over a network: SQLite's locks and its WAL do not hold there.
_NETWORK: Final = re.compile(
    r"nfs\d?|cifs|smb\w*|fuse\.sshfs|9p|ceph|glusterfs|fuse\.glusterfs|lustre|afs|beegfs"
)
_PROXIES: Final = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy")
#: Channels and rules that are looked at.
MOST: Final = 1000
#: Rules or channels that are told one by one.
FEW: Final = 5


class Finding(msgspec.Struct, frozen=True):
    """One part, and what to do about it."""

    part: str
    state: State
    detail: str
    #: '' where nothing is to be done.
    cure: str = ""


@app.command()
def doctor(context: typer.Context) -> int:
    """Look for what commonly goes wrong, and say how to mend it; exit 7 where something is bad."""
    cli = cli_of(context)
    findings = cli.run(lambda: examine(cli))
    well = all(one.state != "bad" for one in findings)
    if cli.out.json:
        found = [
            {"name": f.part, "state": f.state, "detail": f.detail, "cure": f.cure or None} for f in findings
        ]
        cli.out.document({"schema": "sentinel.doctor/1", "ok": well, "parts": found})
        return Exit.DONE if well else Exit.NO
    for one in findings:
        cure = f"; {one.cure}" if one.cure else ""
        cli.out.line(f"{_WORDS[one.state]:<6}  {one.part:<14}  {one.detail}{cure}")
    return Exit.DONE if well else Exit.NO


_WORDS: Final[dict[State, str]] = {"ok": "ok", "warn": "look", "bad": "MEND"}


async def examine(cli: Cli) -> list[Finding]:
    """Every part, in the order one would look at them."""
    settings = cli.settings
    found = [one async for one in _redis(cli)]
    found += [one async for one in _database(cli)]
    found += [one async for one in _bucket(settings)]
    found += [*_state_folder(settings), *_environment(cli.environ), _open_files()]
    return found


# --- Redis ----------------------------------------------------------------------------------------


async def _redis(cli: Cli) -> AsyncIterator[Finding]:
    safe = cli.settings.redis.safe
    try:
        async with cli.broker() as broker:
            facts = await broker.ping()
            for finding in redis_findings(
                facts, safe, now=time.time(), allow_eviction=cli.settings.allow_eviction
            ):
                yield finding
            for stream in KNOWN:
                yield await _stream(broker, stream)
            yield await _workers(broker)
    except (StreamqError, SentinelError) as error:
        yield Finding("redis", "bad", redact(f"{safe}: {error}"), "start it, or name another with REDIS_URL")


def redis_findings(
    facts: Mapping[str, Any], safe: str, *, now: float, allow_eviction: bool
) -> Iterator[Finding]:
    """What a server's own words (`Broker.ping`) tell."""
    server, version = str(facts.get("server")), str(facts.get("version"))
    oldest = OLDEST.get(server, (7, 0))
    numbers = tuple(int(part) for part in re.findall(r"\d+", version)[:2])
    if numbers and numbers < oldest:
        cure = f"{server} {oldest[0]}.{oldest[1]} or newer is needed"
        yield Finding("redis", "bad", f"{server} {version} at {safe}", cure)
    elif facts.get("replica"):
        yield Finding(
            "redis", "bad", f"{safe} is a replica and takes no writes", "name the primary with REDIS_URL"
        )
    else:
        yield Finding("redis", "ok", f"{server} {version} at {safe}")
    yield _eviction(str(facts.get("policy", "unknown")), allowed=allow_eviction)
    yield _persistence(facts)
    if memory := _memory(facts):
        yield memory
    if facts.get("clock") is not None:
        yield _skew(float(facts["clock"]) - now)


def _eviction(policy: str, *, allowed: bool) -> Finding:
    if policy == "noeviction":
        return Finding("redis memory", "ok", "noeviction")
    if policy == "unknown":
        return Finding(
            "redis memory", "warn", "the server does not tell its policy", "make sure it is noeviction"
        )
    state: State = "warn" if allowed else "bad"
    return Finding(
        "redis memory", state, f"{policy}: it may delete jobs when memory is short",
        "redis-cli CONFIG SET maxmemory-policy noeviction, and the same in redis.conf",
    )  # fmt: skip


def _persistence(facts: Mapping[str, Any]) -> Finding:
    if facts.get("saves") is False:
        cure = "look at its log and its disk; writes may be refused until it can save"
        return Finding("redis disk", "bad", "its last save to disk failed", cure)
    if not facts.get("appendonly"):
        cure = "redis-cli CONFIG SET appendonly yes, and the same in redis.conf"
        return Finding(
            "redis disk", "warn", "aof off: a crash of Redis loses jobs (rules are enqueued again)", cure
        )
    return Finding("redis disk", "ok", "aof on")


def _memory(facts: Mapping[str, Any]) -> Finding | None:
    used, most = int(facts.get("memory") or 0), int(facts.get("max_memory") or 0)
    if not most or used < FULL * most:
        return None
    return Finding(
        "redis memory",
        "warn",
        f"{used / most:.0%} of maxmemory is used",
        "raise maxmemory, or let workers drain",
    )


def _skew(seconds: float) -> Finding:
    if abs(seconds) <= MAX_SKEW:
        return Finding("clock", "ok", f"{abs(seconds):.1f} s from Redis's")
    ahead = "behind" if seconds > 0 else "ahead of"
    cure = "run an NTP client on both; what is due by one clock is not by the other"
    return Finding("clock", "warn", f"this machine is {brief(abs(seconds))} {ahead} Redis's", cure)


async def _stream(broker: Broker, stream: str) -> Finding:
    stats = await broker.stats(stream)
    waiting, age = sum(stats.ready.values()), stats.oldest_seconds
    detail = f"{waiting} ready, {stats.leased} in hand, {stats.delayed} delayed, {stats.dead} dead"
    detail += f", {stats.workers} workers"
    if age is not None:
        detail += f", oldest {brief(age)}"
    if stats.paused:
        return Finding(stream, "warn", f"{detail}: paused", f"sentinel-worker resume --stream {stream}")
    if not stats.workers and (waiting or stats.leased or stats.delayed):
        return Finding(
            stream, "bad", f"{detail}: nobody takes them", f"sentinel-worker run --stream {stream}"
        )
    if not stats.workers:
        return Finding(stream, "warn", f"{detail}: no worker is up", "sentinel-worker run")
    if age is not None and age > OLD:
        state: State = "bad" if age > TOO_OLD else "warn"
        return Finding(
            stream, state, detail, "start more workers, or raise their concurrency: sentinel-worker stats"
        )
    if stats.dead:
        return Finding(stream, "warn", detail, f"sentinel-worker dead list --stream {stream}")
    return Finding(stream, "ok", detail)


async def _workers(broker: Broker) -> Finding:
    seen = await Admin(broker, KNOWN).workers()
    left = [view.name for view in seen if not view.listed and view.in_hand]
    if left:
        cure = "a worker that is up takes them over; sentinel-worker pending --claim does it now"
        return Finding("workers", "warn", f"{len(left)} left jobs behind: {', '.join(left[:3])}", cure)
    quiet = [view.name for view in seen if view.quiet]
    if quiet:
        return Finding(
            "workers", "warn", f"{', '.join(quiet[:3])} take no more", "sentinel-worker workers resume NAME"
        )
    return Finding("workers", "ok", f"{len(seen)} up, {sum(view.slots for view in seen)} slots")


# --- database -------------------------------------------------------------------------------------


async def _database(cli: Cli) -> AsyncIterator[Finding]:
    settings = cli.settings
    place = mask_url(settings.database_url)
    async with Store.open(settings.database_url) as store:
        try:
            status = await store.schema_status()
        except SentinelError as error:
            yield Finding(
                "database", "bad", redact(f"{place}: {error}"), "name it with DATABASE_URL, or start it"
            )
            return
        yield Finding("database", "ok", place)
        for finding in _sqlite(settings):
            yield finding
        if not status.is_current:
            detail = f"{status.current or 'empty'}, needed {status.head}"
            yield Finding("schema", "bad", detail, "sentinel-worker migrate")
            return
        yield Finding("schema", "ok", status.head)
        for finding in [
            *await _outbox(store),
            *await _unreadable(store),
            *await _channels(cli, store),
            await _browser(cli, store),
        ]:
            yield finding


def _sqlite(settings: Settings) -> Iterator[Finding]:
    """Where an SQLite file lies, and how it is written."""
    if not settings.database_url.startswith("sqlite:///"):
        return
    path = Path(settings.database_url.removeprefix("sqlite:///")).absolute()
    if (kind := file_system(path, _mounts())) and _NETWORK.fullmatch(kind):
        cure = "move it to a disk of this machine, or use PostgreSQL"
        yield Finding("sqlite", "bad", f"{path} lies on {kind}, where its locks do not hold", cure)
    elif not path.exists():
        return
    elif _journal(path) == "wal":
        yield Finding("sqlite", "ok", "write-ahead log")
    else:
        yield Finding(
            "sqlite",
            "warn",
            "no write-ahead log: readers wait for writers",
            "start a worker on it: it sets that",
        )


def _mounts() -> str:
    try:
        return Path("/proc/self/mounts").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def file_system(path: Path, mounts: str) -> str:
    """The kind of file system that holds a path, by the text of /proc/self/mounts; '' where not told."""
    best, kind = "", ""
    for line in mounts.splitlines():
        parts = line.split(" ")
        if len(parts) < 3:
            continue
        point = parts[1].replace("\\040", " ")
        if (path == Path(point) or Path(point) in path.parents) and len(point) >= len(best):
            best, kind = point, parts[2]
    return kind


def _journal(path: Path) -> str:
    """`wal` or `rollback`, by the file's header (https://sqlite.org/fileformat2.html, offsets 18 and 19)."""
    try:
        with path.open("rb") as file:
            header = file.read(20)
    except OSError:
        return ""
    return "wal" if header[18:20] == b"\x02\x02" else "rollback"


async def _outbox(store: Store) -> list[Finding]:
    counts = await store.counts(time.time())
    broken = counts.rules.get("broken", 0)
    found = []
    if counts.outbox_now and counts.outbox_oldest > OLD:
        age = brief(counts.outbox_oldest)
        detail = f"{counts.outbox_now} jobs wait to be given to Redis, the oldest for {age}"
        found.append(Finding("outbox", "bad", detail, "sentinel-worker run: only workers carry them over"))
    if broken:
        cure = "sentinel-worker rules list shows which, rules test RULE why"
        found.append(Finding("rules", "warn", f"{broken} of {sum(counts.rules.values())} are broken", cure))
    else:
        found.append(Finding("rules", "ok", f"{sum(counts.rules.values())} on, {counts.rules_disabled} off"))
    return found


async def _unreadable(store: Store) -> list[Finding]:
    """Rules whose stored form this program does not read."""
    bad = [one for one in await store.all_rules(MOST) if isinstance(one, UnreadableRule)]
    more = [f"{len(bad) - FEW} more: rules list shows them"] if len(bad) > FEW else []
    told = [*(one.problem for one in bad[:FEW]), *more]
    return [Finding("rules", "bad", text, "it is not checked until then") for text in told]


async def _channels(cli: Cli, store: Store) -> list[Finding]:
    """Credentials that cannot be had, and channels that were switched off."""
    every = await store.channels()
    stored = [one for one in every if isinstance(one, StoredChannel)]
    found = [
        Finding("channels", "bad", one.problem, "nothing is sent there until then")
        for one in every
        if isinstance(one, UnreadableChannel)
    ][:FEW]
    off = [one.channel.id for one in stored if one.disabled_reason is not None]
    if off:
        cure = "mend what they were switched off for (channels show), then channels enable"
        found.append(Finding("channels", "warn", f"switched off: {', '.join(off[:5])}", cure))
    sealed = [one.channel.id for one in stored if any(ref.stored for ref in _references(one))]
    if sealed and not cli.settings.secret_keys:
        detail = f"no SENTINEL_SECRET_KEY, and credentials are stored for {', '.join(sealed[:5])}"
        found.append(Finding("secret key", "bad", detail, "set the key they were stored under"))
    elif sealed:
        found.append(
            Finding("secret key", "ok", f"{len(cli.settings.secret_keys)} for {len(sealed)} channels")
        )
    missing = sorted({name for one in stored for name in _missing(one, cli.environ)})
    if missing:
        detail = f"credentials that are not here: {', '.join(missing[:5])}"
        found.append(
            Finding("credentials", "warn", detail, "set them where workers run (this may be elsewhere)")
        )
    return found or [Finding("channels", "ok", f"{len(stored)}")]


def _references(stored: StoredChannel) -> list[Any]:  # Any: a CredentialRef, or the value of one
    return [ref for ref in stored.channel.credentials.values() if not isinstance(ref, str)]


def _missing(stored: StoredChannel, environ: Mapping[str, str]) -> Iterator[str]:
    """Variables and files that a channel's credentials name and that are not there."""
    named = [ref.env for ref in _references(stored) if ref.env] + [stored.channel.secret_env or ""]
    for name in ",".join(named).split(","):
        if name and not environ.get(name) and not environ.get(f"{name}_FILE"):
            yield name
    for ref in _references(stored):
        if ref.file and not os.access(ref.file, os.R_OK):
            yield ref.file


async def _browser(cli: Cli, store: Store) -> Finding:
    """Whether rules want a browser and there is one."""
    from sentinel.fetch.browser_program import find_program  # noqa: PLC0415 - for this alone

    every = await store.all_rules(MOST, enabled=True)
    readable = [one.rule for one in every if isinstance(one, StoredRule)]
    wanting = [rule.id for rule in readable if rule.fetch.mode == "headless"]
    program = find_program(cli.environ.get("SENTINEL_BROWSER"))
    if program:
        return Finding("browser", "ok", str(program.path))
    if wanting:
        detail = f"none, and {len(wanting)} rules need one: {', '.join(wanting[:3])}"
        return Finding("browser", "bad", detail, program.trouble)
    return Finding("browser", "ok", "none, and no rule needs one")


# --- bucket ---------------------------------------------------------------------------------------


async def _bucket(settings: Settings) -> AsyncIterator[Finding]:
    """Whether pages and pictures can be put, read and deleted, where that is a bucket."""
    url = settings.blobs_url or ""
    if not url.startswith("s3://"):
        return
    try:
        blobs = blobs_of(settings)
    except SettingsError as error:
        yield Finding("bucket", "bad", str(error))
        return
    from sentinel.store.object_blobs import ObjectBlobs  # noqa: PLC0415 - needs the extra s3

    trouble = await blobs.probe() if isinstance(blobs, ObjectBlobs) else None
    if trouble is None:
        yield Finding("bucket", "ok", f"{url}: put, read, deleted")
    else:
        cure = "look at AWS_*, SENTINEL_BLOBS_ENDPOINT and the bucket's policy; meanwhile no page is kept"
        yield Finding("bucket", "bad", f"{url}: {trouble}", cure)


# --- this machine ---------------------------------------------------------------------------------


def _state_folder(settings: Settings) -> Iterator[Finding]:
    folder = settings.state_dir
    existing = next((p for p in (folder, *folder.absolute().parents) if p.exists()), Path("/"))
    if not existing.is_dir():
        yield Finding("state folder", "bad", f"{existing} is not a folder", "set SENTINEL_STATE_DIR")
        return
    if not os.access(existing, os.W_OK | os.X_OK):
        yield Finding("state folder", "bad", f"{existing} is not writable", "chown it to who runs this")
        return
    free = shutil.disk_usage(existing).free
    detail = f"{folder}, {free / 2**30:.1f} GiB free"
    if free < LOW_DISK:
        yield Finding("state folder", "bad", detail, "make room, or lower SENTINEL_KEEP_MIB")
    elif folder.exists() and stat.S_IMODE(folder.stat().st_mode) & 0o022:
        yield Finding("state folder", "warn", f"{folder} is writable for others", f"chmod go-w {folder}")
    else:
        yield Finding("state folder", "ok", detail)


def _environment(environ: Mapping[str, str]) -> Iterator[Finding]:
    named: Sequence[str] = [name for name in _PROXIES if environ.get(name)]
    if named:
        cure = "pages and webhooks are reached directly, whatever these say"
        yield Finding("proxies", "warn", f"{', '.join(named)} are set and not used", cure)


def _open_files() -> Finding:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < FEW_FILES:
        return Finding(
            "open files", "warn", f"{soft} at once", f"ulimit -n {min(hard, 4096)}, or LimitNOFILE=4096"
        )
    return Finding("open files", "ok", "no limit" if soft == resource.RLIM_INFINITY else f"{soft} at once")
