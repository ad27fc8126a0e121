"""What an operator may choose, where each value came from, and what is wrong with it.

One table (`VARIABLES`) names every setting; nothing else in sentinel reads the environment. A value
comes from the first of: flag, environment, the file that `<NAME>_FILE` names, config file (TOML, keys
are the variables' names in lower case), default. Everything wrong is told at once, and nothing that
may be secret is ever printed.
"""

from __future__ import annotations

import base64
import binascii
import difflib
import re
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, Literal, TypeVar
from urllib.parse import quote, urlsplit

import msgspec

from sentinel.errors import SettingsError

#: Values that a flag or a config file may hold; the environment holds text only.
Given = str | int | float | bool | Path | None

LogFormat = Literal["console", "json"]
T = TypeVar("T")

_LOG_FORMATS: Final[dict[str, LogFormat]] = {"console": "console", "json": "json"}

#: Shown instead of what must not be shown.
MASK: Final = "***"
#: A secret's file larger than this is a mistake (bytes).
MAX_SECRET_FILE: Final = 65536
#: Bytes of one key in SENTINEL_SECRET_KEY.
KEY_BYTES: Final = 32
REDIS_SCHEMES: Final = ("redis", "rediss", "unix")
#: Several servers; `streamq.address` reads them.
REDIS_FLEETS: Final = ("redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster")
#: The second of each names the driver, which is filled in.
DATABASE_SCHEMES: Final = (
    "sqlite",
    "sqlite+aiosqlite",
    "postgresql",
    "postgresql+asyncpg",
    "postgres",
)
#: Where an embedded server keeps its data, below the state folder.
EMBEDDED_FOLDER: Final = "redis"


class RedisChoice(msgspec.Struct, frozen=True):
    """Which Redis: one at a URL, or the embedded one of a folder."""

    #: given: the operator named it; embedded: ours; default: nothing was named.
    kind: Literal["given", "embedded", "default"]
    #: Empty for the embedded one, whose URL is known once it runs.
    url: str = ""
    #: The embedded server's folder.
    folder: Path | None = None

    @property
    def safe(self) -> str:
        """For people: without password."""
        return f"embedded in {self.folder}" if self.kind == "embedded" else mask_url(self.url)

    def __repr__(self) -> str:
        return f"<RedisChoice {self.kind}: {self.safe}>"


class Sourced(msgspec.Struct, frozen=True):
    """One setting as `config show` tells it."""

    name: str
    #: Masked where it is or holds a secret; None: not set.
    value: str | None
    #: flag | environment | file | config | default
    source: str
    #: What else there is to say, as "ignored: REDIS_URL is set".
    note: str = ""


class Survey(msgspec.Struct, frozen=True):
    """All that was said, right or wrong."""

    told: tuple[Sourced, ...]
    problems: tuple[str, ...]
    #: Which Redis it comes to, for people; None where that is wrong.
    redis: str | None


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Every choice, checked. Made by `Settings.load`."""

    redis: RedisChoice
    database_url: str
    state_dir: Path
    concurrency_rules: int
    concurrency_alerts: int
    rate_limiting: bool
    #: Fetches started per second and host, over all workers; the burst is the same.
    rate_per_domain: float
    allow_private_networks: bool
    #: Start on a Redis whose maxmemory-policy may drop jobs.
    allow_eviction: bool
    lease_seconds: float
    renew_seconds: float
    #: Partitions that each stream is given when a worker starts, where it has fewer.
    partitions: int
    #: The first encrypts, all decrypt. Empty: credentials that need storing are refused.
    secret_keys: tuple[bytes, ...]
    #: Of Apprise's URLs: those that channels may use.
    apprise_schemes: tuple[str, ...]
    #: The mail server of e-mail channels that name none; it may hold a password.
    smtp_url: str | None
    json: bool
    quiet: bool
    verbose: bool
    #: None: console on a terminal, JSON elsewhere.
    log_format: LogFormat | None
    no_color: bool
    processes: int
    #: A worker process is replaced by a fresh one after about so many jobs, or MiB resident; None: never.
    max_jobs: int | None
    max_memory_mib: int | None
    #: Seconds a stopping worker lets its jobs finish.
    drain_timeout: float
    metrics_host: str
    #: None: no endpoint; 0: any free port.
    metrics_port: int | None
    scheduler: bool
    #: Seconds after which unfinished work is given to Redis again, should it have lost its jobs.
    restore_seconds: float
    #: Different deliveries that fail in a row before their endpoint is left alone for a while.
    endpoint_failures: int
    #: Page bodies and screenshots are kept, and how many bytes of them on this machine.
    keep_pages: bool
    keep_bytes: int
    #: file:///folder or s3://bucket/prefix; None: the folder `blobs` of the state folder.
    blobs_url: str | None
    #: Of an S3-compatible store that is not Amazon's.
    blobs_endpoint: str | None
    #: Path or name of the browser's program; None: the one that is found; `none`: no browser.
    browser: str | None
    #: Pages open at once in it, and after how many pages, or bytes of memory, it is replaced.
    browser_pages: int
    browser_recycle_pages: int
    browser_recycle_bytes: int
    #: Of a solver that speaks FlareSolverr's API, for rules that allow it.
    solver_url: str | None
    told: tuple[Sourced, ...]

    @staticmethod
    def load(
        flags: Mapping[str, Given] | None = None,
        environ: Mapping[str, str] | None = None,
        config_file: Path | None = None,
    ) -> Settings:
        """Settings from every source.

        `flags` are by flag name (`redis_url`); None is "not given". `environ` is the process's; an
        empty value is "not set". Raises SettingsError that names every problem.
        """
        return _Loader(flags or {}, environ or {}, config_file).build()

    @staticmethod
    def survey(
        flags: Mapping[str, Given] | None = None,
        environ: Mapping[str, str] | None = None,
        config_file: Path | None = None,
    ) -> Survey:
        """The same where it may be wrong: what was said where, and what is wrong with it."""
        return _Loader(flags or {}, environ or {}, config_file).survey()

    def sources(self) -> tuple[Sourced, ...]:
        """Every variable with its value (secrets masked) and where it came from."""
        return self.told

    def is_default(self, name: str) -> bool:
        """Nobody has said anything about the variable `name`."""
        return any(one.name == name and one.source == "default" for one in self.told)

    def __repr__(self) -> str:
        shown = " ".join(f"{s.name}={s.value}" for s in self.told if s.source != "default")
        return f"<Settings redis={self.redis.safe} {shown}>".replace(" >", ">")


def named_secret(environ: Mapping[str, str], name: str) -> str | None:
    """The secret that a rule file refers to by `secret_env: NAME`, from NAME or the file NAME_FILE names.

    Raises SettingsError when the file cannot be read.
    """
    if environ.get(name):
        return environ[name]
    path = environ.get(f"{name}_FILE")
    return _read_file(f"{name}_FILE", path) if path else None


def is_setting(name: str) -> bool:
    """Whether an environment variable is one of these settings (or names the file of one)."""
    return name.removesuffix("_FILE") in _NAMES


def mask_url(url: str) -> str:
    """`url` with password and query values masked: `redis://user:***@host:6379/0`.

    Works on the text, not on a parsed URL: a password with an unescaped slash or hash parses as
    something else, and would be shown.
    """
    scheme, sep, rest = url.partition("://")
    if not sep:
        return MASK
    user_info, at, place = rest.rpartition("@")
    user, colon, _ = user_info.partition(":")
    if at and not colon and not scheme.startswith("postgres"):
        user = MASK  # redis://word@host: meant as a password more often than as a user
    place, mark, query = place.partition("?")
    # Which key of a query holds a secret is the library's business.
    query = re.sub(r"=[^&]*", f"={MASK}", query) if "pass" in query.lower() else query
    return f"{scheme}://{user}{f':{MASK}' if colon else ''}{at}{place}{mark}{query}"


# --- reading one value ---------------------------------------------------------------------------
# A reader takes text and returns the value, or raises ValueError whose text completes
# "WORKER_CONCURRENCY_RULES ..." and holds nothing of a secret value.


def _whole(low: int, high: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            raise ValueError(f"is not a whole number: {text[:40]!r}") from None
        if not low <= number <= high:
            raise ValueError(f"must be from {low} to {high}, not {number}")
        return number

    return read


def _number(low: float, high: float) -> Callable[[str], float]:
    """Above `low`, up to `high`."""

    def read(text: str) -> float:
        try:
            number = float(text)
        except ValueError:
            raise ValueError(f"is not a number: {text[:40]!r}") from None
        if not low < number <= high:
            raise ValueError(f"must be above {low:g} and at most {high:g}, not {number:g}")
        return number

    return read


def _truth(text: str) -> bool:
    word = text.lower()
    if word in ("1", "true", "yes", "on"):
        return True
    if word in ("0", "false", "no", "off"):
        return False
    raise ValueError(f"must be true or false, not {text[:40]!r}")


def _present(text: str) -> bool:
    """NO_COLOR's own rule (no-color.org): any value but an empty one says yes."""
    return text.lower() not in ("0", "false", "no", "off")


def _log_format(text: str) -> LogFormat:
    if text not in _LOG_FORMATS:
        raise ValueError(f"must be console or json, not {text[:40]!r}")
    return _LOG_FORMATS[text]


def _redis_url(text: str) -> str:
    scheme, sep, _ = text.partition("://")
    if sep and scheme in REDIS_FLEETS:
        return _redis_fleet(text)
    if not sep or scheme not in REDIS_SCHEMES:
        raise ValueError("must start with " + ", ".join(f"{s}://" for s in REDIS_SCHEMES + REDIS_FLEETS))
    _check_port(text)
    parts = urlsplit(text)
    if not parts.path.strip("/") if scheme == "unix" else not parts.hostname:
        raise ValueError("names no host and no socket")
    if scheme == "unix" and parts.hostname:
        raise ValueError("names a socket after three slashes: unix:///run/redis.sock")
    if scheme != "unix" and not re.fullmatch("[0-9]{0,5}", parts.path.strip("/")):
        raise ValueError("has a database that is not a number")
    return text


def _redis_fleet(text: str) -> str:
    scheme, _, rest = text.partition("://")
    hosts, _, path = rest.partition("?")[0].rpartition("@")[2].partition("/")
    for host in hosts.split(","):
        if not host or host.startswith(":"):
            raise ValueError(f"names no host: {scheme}://HOST:PORT,HOST:PORT/...")
        _check_port(f"redis://{host}")
    if scheme.endswith("sentinel") and not path:
        raise ValueError(f"names no service of the Sentinels: {scheme}://HOST:PORT,HOST:PORT/SERVICE")
    return text


def _database_url(text: str) -> str:
    scheme, sep, rest = text.partition("://")
    if not sep or scheme not in DATABASE_SCHEMES:
        raise ValueError("must start with sqlite:/// or postgresql://")
    if scheme.startswith("sqlite"):
        if not rest.startswith("/"):
            raise ValueError("must have three slashes before a file's name (four before an absolute path)")
        return text
    _check_port(text)
    return text


def _check_port(url: str) -> None:
    try:
        urlsplit(url).port  # noqa: B018 - reading it is the check
    except ValueError:
        raise ValueError("has a host or port that cannot be one") from None


def _folder(text: str) -> Path:
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise ValueError("is in the home folder of somebody who has none") from None


def _secret_keys(text: str) -> tuple[bytes, ...]:
    keys = []
    for position, part in enumerate(text.split(","), 1):
        try:
            key = base64.b64decode(part.strip(), validate=True)
        except (binascii.Error, ValueError):
            raise ValueError(f"is not base64 (key {position})") from None
        if len(key) != KEY_BYTES:
            raise ValueError(f"must be base64 of {KEY_BYTES} bytes; key {position} has {len(key)}")
        keys.append(key)
    return tuple(keys)


def _smtp_url(text: str) -> str:
    """The rest of it is read where it is used."""
    if not text.startswith(("smtp://", "smtps://")):
        raise ValueError("must begin with smtp:// or smtps://")
    return text


def _solver_url(text: str) -> str:
    """The rest of it is read where it is used."""
    if not text.lower().startswith(("http://", "https://")):
        raise ValueError("must begin with http:// or https://")
    return text


#: A bucket, and what a prefix may be made of anywhere.
_BUCKET: Final = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[A-Za-z0-9._-]+)*/?\Z")
_ENDPOINT: Final = re.compile(r"https?://[^\s/?#@]+(/[^\s?#@]*)?\Z")


def _blobs_url(text: str) -> str:
    if text.startswith("s3://"):
        if _BUCKET.match(text) is None:
            raise ValueError(
                "must be s3://bucket or s3://bucket/prefix and nothing more; credentials are read from"
                " AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
            )
        return text
    if not text.startswith("file:///"):
        raise ValueError("must be file:///folder or s3://bucket/prefix")
    return text


def _blobs_endpoint(text: str) -> str:
    if _ENDPOINT.match(text) is None:
        raise ValueError("must be http://host:port or https://host, without user and query")
    _check_port(text)
    return text


def _schemes(text: str) -> tuple[str, ...]:
    schemes = tuple(part.strip().lower().removesuffix("://") for part in text.split(",") if part.strip())
    if not all(scheme.isascii() and scheme.isalnum() for scheme in schemes):
        raise ValueError("must be names of schemes, separated by commas, as gotify,matrixs")
    return schemes


def _text(text: str) -> str:
    return text


# --- the table -----------------------------------------------------------------------------------


class Variable(msgspec.Struct, frozen=True):
    """One setting: its environment variable, its flag, how it is read and shown."""

    name: str
    #: Name among the flags.
    flag: str
    read: Callable[[str], object]
    default: object
    help: str
    #: How the text is shown to people.
    show: Callable[[str], str] = _text


def _masked(_: str) -> str:
    return MASK


_PORT = _whole(1, 65535)

VARIABLES: Final = (
    Variable("REDIS_URL", "redis_url", _redis_url, None, "wins over the four below", mask_url),
    Variable("REDIS_HOST", "redis_host", _text, "localhost", ""),
    Variable("REDIS_PORT", "redis_port", _PORT, 6379, ""),
    Variable("REDIS_PASSWORD", "redis_password", _text, None, "", _masked),
    Variable("REDIS_DB", "redis_db", _whole(0, 10_000), 0, ""),
    Variable("DATABASE_URL", "database_url", _database_url, None, "sqlite:/// or postgresql://", mask_url),
    Variable("WORKER_CONCURRENCY_RULES", "concurrency_rules", _whole(1, 10_000), 5, "per process"),
    Variable("WORKER_CONCURRENCY_ALERTS", "concurrency_alerts", _whole(1, 10_000), 10, "per process"),
    Variable("RATE_LIMITING_ENABLED", "rate_limiting", _truth, True, ""),
    Variable("RATE_LIMIT_PER_DOMAIN", "rate_per_domain", _number(0, 1e6), 3.0, "fetches per second and host"),
    Variable(
        "SENTINEL_ALLOW_PRIVATE_NETWORKS", "allow_private_networks", _truth, False, "intranet, tests, demo"
    ),
    Variable("STREAMQ_LEASE_SECONDS", "lease_seconds", _number(0, 3600), 10.0, "lease of a job in hand"),
    Variable("STREAMQ_RENEW_SECONDS", "renew_seconds", _number(0, 3600), 3.0, "interval of its renewal"),
    Variable("STREAMQ_PARTITIONS", "partitions", _whole(1, 64), 1, "of each stream, at least"),
    Variable(
        "STREAMQ_ALLOW_EVICTION", "allow_eviction", _truth, False, "start on a Redis that may drop jobs"
    ),
    Variable("SENTINEL_SECRET_KEY", "secret_key", _secret_keys, (), "encrypts channel credentials", _masked),
    Variable("SENTINEL_SMTP_URL", "smtp_url", _smtp_url, None, "mail server of e-mail channels", mask_url),
    Variable("SENTINEL_APPRISE_SCHEMES", "apprise_schemes", _schemes, (), "what Apprise may send to"),
    Variable("SENTINEL_STATE_DIR", "state_dir", _folder, Path(".sentinel"), "SQLite, embedded Redis, blobs"),
    Variable("SENTINEL_EMBEDDED", "embedded", _truth, False, "the embedded Redis, whatever REDIS_* says"),
    Variable("SENTINEL_JSON", "json", _truth, False, "JSON on stdout"),
    Variable("SENTINEL_QUIET", "quiet", _truth, False, "errors only on stderr"),
    Variable("SENTINEL_VERBOSE", "verbose", _truth, False, "more on stderr, tracebacks"),
    Variable("SENTINEL_LOG_FORMAT", "log_format", _log_format, None, "console or json"),
    Variable("NO_COLOR", "no_color", _present, False, ""),
    Variable("SENTINEL_PROCESSES", "processes", _whole(1, 1024), 1, "worker processes"),
    Variable("SENTINEL_MAX_JOBS", "max_jobs", _whole(1, 1_000_000_000), None, "then a fresh process"),
    Variable("SENTINEL_MAX_MEMORY_MIB", "max_memory_mib", _whole(64, 1_000_000), None, "then a fresh one"),
    Variable("SENTINEL_DRAIN_TIMEOUT", "drain_timeout", _number(0, 86_400), 25.0, "seconds"),
    Variable("SENTINEL_METRICS_HOST", "metrics_host", _text, "127.0.0.1", ""),
    Variable("SENTINEL_METRICS_PORT", "metrics_port", _whole(0, 65535), None, "0 = any free one"),
    Variable("SENTINEL_SCHEDULER", "scheduler", _truth, True, "enqueue rules that are due"),
    Variable(
        "SENTINEL_RESTORE_SECONDS", "restore_seconds", _number(0, 3600), 120.0, "what Redis lost is put back"
    ),
    Variable(
        "SENTINEL_ENDPOINT_FAILURES", "endpoint_failures", _whole(2, 1_000_000), 5, "before it is left alone"
    ),
    Variable(
        "SENTINEL_KEEP_PAGES", "keep_pages", _truth, True, "what changed, what failed, the last good one"
    ),
    Variable("SENTINEL_KEEP_MIB", "keep_mib", _whole(1, 100_000_000), 2048, "of pages and screenshots"),
    Variable("SENTINEL_BLOBS_URL", "blobs_url", _blobs_url, None, "file:///folder or s3://bucket/prefix"),
    Variable("SENTINEL_BLOBS_ENDPOINT", "blobs_endpoint", _blobs_endpoint, None, "of an S3-compatible store"),
    Variable("SENTINEL_BROWSER", "browser", _text, None, "path of a Chromium; none: no browser"),
    Variable("SENTINEL_BROWSER_PAGES", "browser_pages", _whole(1, 100), 3, "open at once, per process"),
    Variable(
        "SENTINEL_BROWSER_RECYCLE_PAGES", "browser_recycle_pages", _whole(1, 1_000_000), 500, "then a new one"
    ),
    Variable(
        "SENTINEL_BROWSER_RECYCLE_MIB", "browser_recycle_mib", _whole(200, 1_000_000), 1024, "then a new one"
    ),
    Variable("SENTINEL_SOLVER_URL", "solver_url", _solver_url, None, "FlareSolverr or alike", mask_url),
)

_NAMES: Final = frozenset(variable.name for variable in VARIABLES)
#: Any of these given means: the operator has a Redis.
_REDIS_PARTS: Final = ("REDIS_HOST", "REDIS_PORT", "REDIS_PASSWORD", "REDIS_DB")


class _Loader:
    """One load: gathers values and problems, then builds."""

    def __init__(
        self, flags: Mapping[str, Given], environ: Mapping[str, str], config_file: Path | None
    ) -> None:
        self.problems: list[str] = []
        self._flags = flags
        self._environ = environ
        self._config = self._read_config(config_file)
        #: Variable name -> (text as given, source); only what was given.
        self._found: dict[str, tuple[str, str]] = {}
        self._values: dict[str, object] = {}

    def survey(self) -> Survey:
        _, redis, database = self._read()
        told = tuple(self._tell(variable, redis, database) for variable in VARIABLES)
        wrong = any(problem.startswith("REDIS_") for problem in self.problems)
        return Survey(told, tuple(self.problems), None if wrong else redis.safe)

    def build(self) -> Settings:
        state_dir, redis, database = self._read()
        if self.problems:
            raise SettingsError(self.problems)
        return Settings(
            redis=redis,
            database_url=database,
            state_dir=state_dir,
            concurrency_rules=self._of("WORKER_CONCURRENCY_RULES", int),
            concurrency_alerts=self._of("WORKER_CONCURRENCY_ALERTS", int),
            rate_limiting=self._of("RATE_LIMITING_ENABLED", bool),
            rate_per_domain=self._of("RATE_LIMIT_PER_DOMAIN", float),
            allow_private_networks=self._of("SENTINEL_ALLOW_PRIVATE_NETWORKS", bool),
            allow_eviction=self._of("STREAMQ_ALLOW_EVICTION", bool),
            lease_seconds=self._of("STREAMQ_LEASE_SECONDS", float),
            renew_seconds=self._of("STREAMQ_RENEW_SECONDS", float),
            partitions=self._of("STREAMQ_PARTITIONS", int),
            secret_keys=self._of("SENTINEL_SECRET_KEY", tuple),
            apprise_schemes=self._of("SENTINEL_APPRISE_SCHEMES", tuple),
            smtp_url=self._or_none("SENTINEL_SMTP_URL", str),
            json=self._of("SENTINEL_JSON", bool),
            quiet=self._of("SENTINEL_QUIET", bool),
            verbose=self._of("SENTINEL_VERBOSE", bool),
            log_format=_LOG_FORMATS.get(self._or_none("SENTINEL_LOG_FORMAT", str) or ""),
            no_color=self._of("NO_COLOR", bool),
            processes=self._of("SENTINEL_PROCESSES", int),
            max_jobs=self._or_none("SENTINEL_MAX_JOBS", int),
            max_memory_mib=self._or_none("SENTINEL_MAX_MEMORY_MIB", int),
            drain_timeout=self._of("SENTINEL_DRAIN_TIMEOUT", float),
            metrics_host=self._of("SENTINEL_METRICS_HOST", str),
            metrics_port=self._or_none("SENTINEL_METRICS_PORT", int),
            scheduler=self._of("SENTINEL_SCHEDULER", bool),
            restore_seconds=self._of("SENTINEL_RESTORE_SECONDS", float),
            endpoint_failures=self._of("SENTINEL_ENDPOINT_FAILURES", int),
            keep_pages=self._of("SENTINEL_KEEP_PAGES", bool),
            keep_bytes=self._of("SENTINEL_KEEP_MIB", int) << 20,
            blobs_url=self._or_none("SENTINEL_BLOBS_URL", str),
            blobs_endpoint=self._or_none("SENTINEL_BLOBS_ENDPOINT", str),
            browser=self._or_none("SENTINEL_BROWSER", str),
            browser_pages=self._of("SENTINEL_BROWSER_PAGES", int),
            browser_recycle_pages=self._of("SENTINEL_BROWSER_RECYCLE_PAGES", int),
            browser_recycle_bytes=self._of("SENTINEL_BROWSER_RECYCLE_MIB", int) << 20,
            solver_url=self._or_none("SENTINEL_SOLVER_URL", str),
            told=tuple(self._tell(variable, redis, database) for variable in VARIABLES),
        )

    def _read(self) -> tuple[Path, RedisChoice, str]:
        """Every value and problem; then the state folder, the Redis and the database they come to."""
        for variable in VARIABLES:
            self._values[variable.name] = self._value_of(variable)
        self._check_lease()
        state_dir = self._of("SENTINEL_STATE_DIR", Path).absolute()
        redis = self._redis(state_dir)
        database = self._or_none("DATABASE_URL", str) or f"sqlite:///{state_dir / 'sentinel.db'}"
        return state_dir, redis, database

    def _of(self, name: str, kind: type[T]) -> T:
        value = self._values[name]
        if not isinstance(value, kind):  # the table and the struct disagree: a bug of ours
            raise TypeError(f"{name} is read as {type(value).__name__}, not {kind.__name__}")
        return value

    def _or_none(self, name: str, kind: type[T]) -> T | None:
        return None if self._values[name] is None else self._of(name, kind)

    # --- where a value comes from ---

    def _value_of(self, variable: Variable) -> object:
        found = self._look_up(variable)
        if found is None:
            return variable.default
        self._found[variable.name] = found
        try:
            return variable.read(found[0])
        except ValueError as error:
            self.problems.append(f"{variable.name} {error}")
            return variable.default

    def _look_up(self, variable: Variable) -> tuple[str, str] | None:
        flag = _as_text(self._flags.get(variable.flag))
        if flag:
            return flag, "flag"
        if self._environ.get(variable.name):
            return self._environ[variable.name], "environment"
        path = self._environ.get(f"{variable.name}_FILE")
        if path:
            try:
                return _read_file(f"{variable.name}_FILE", path), "file"
            except SettingsError as error:
                self.problems += error.problems
                return None
        configured = _as_text(self._config.get(variable.name.lower()))
        return (configured, "config") if configured else None

    def _read_config(self, path: Path | None) -> dict[str, Given]:
        if path is None:
            return {}
        try:
            content = tomllib.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            self.problems.append(
                f"config file {path} cannot be read: {error.strerror or type(error).__name__}"
            )
            return {}
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            # The decoder quotes positions, never the text, so no secret gets out this way.
            self.problems.append(f"config file {path} is not TOML: {error}")
            return {}
        known = {v.name.lower() for v in VARIABLES}
        for key, value in content.items():
            if key.lower() not in known:
                close = difflib.get_close_matches(key.lower(), known, 1)
                guess = f"; did you mean {close[0]}?" if close else ""
                self.problems.append(f"config file {path}: no setting is called {key!r}{guess}")
            elif not isinstance(value, str | int | float | bool):
                self.problems.append(f"config file {path}: {key} must be text, a number, true or false")
        return {k.lower(): v for k, v in content.items() if isinstance(v, str | int | float | bool)}

    # --- what several values say together ---

    def _check_lease(self) -> None:
        lease, renew = self._values["STREAMQ_LEASE_SECONDS"], self._values["STREAMQ_RENEW_SECONDS"]
        if isinstance(lease, float) and isinstance(renew, float) and renew >= lease:
            self.problems.append(
                f"STREAMQ_RENEW_SECONDS ({renew:g}) must be less than STREAMQ_LEASE_SECONDS ({lease:g}),"
                " or every lease lapses before it is renewed"
            )

    def _redis(self, state_dir: Path) -> RedisChoice:
        folder = state_dir / EMBEDDED_FOLDER
        url = self._values["REDIS_URL"]
        if self._values["SENTINEL_EMBEDDED"] is True:
            if self._source("REDIS_URL") == "flag" and self._source("SENTINEL_EMBEDDED") == "flag":
                self.problems.append("--embedded and --redis-url exclude each other")
            return RedisChoice(kind="embedded", folder=folder)
        if isinstance(url, str):
            return RedisChoice(kind="given", url=url)
        if any(name in self._found for name in _REDIS_PARTS):
            return RedisChoice(kind="given", url=self._url_of_parts())
        if folder.is_dir():
            return RedisChoice(kind="embedded", folder=folder)
        return RedisChoice(kind="default", url=self._url_of_parts())

    def _url_of_parts(self) -> str:
        host, password = str(self._values["REDIS_HOST"]), self._values["REDIS_PASSWORD"]
        if re.fullmatch(r"\[?[0-9A-Fa-f.]*:[0-9A-Fa-f:.]+\]?", host):  # an IPv6 address
            host = f"[{host.strip('[]')}]"
        elif not re.fullmatch(r"[A-Za-z0-9._-]+", host):
            self.problems.append("REDIS_HOST is not a host name or an address; a URL goes into REDIS_URL")
        auth = f":{quote(str(password), safe='')}@" if password else ""
        return f"redis://{auth}{host}:{self._values['REDIS_PORT']}/{self._values['REDIS_DB']}"

    # --- what is told ---

    def _source(self, name: str) -> str:
        return self._found[name][1] if name in self._found else "default"

    def _tell(self, variable: Variable, redis: RedisChoice, database: str) -> Sourced:
        name, source = variable.name, self._source(variable.name)
        note = ""
        if any(problem.startswith(f"{name} ") for problem in self.problems):
            return Sourced(name, MASK, source, "wrong")  # unread, so nobody knows what is secret in it
        if name in self._found:
            value: str | None = variable.show(self._found[name][0])
        elif name == "DATABASE_URL":
            value = database
        else:
            value = _as_text(variable.default) if variable.default != () else None
        if name == "REDIS_URL" and redis.kind == "embedded":
            note = f"in use: {redis.safe}"
        elif name in _REDIS_PARTS and redis.kind == "embedded":
            note = "ignored: the embedded Redis is used"
        elif name in _REDIS_PARTS and "REDIS_URL" in self._found:
            note = "ignored: REDIS_URL is set"
        return Sourced(name, value, source, note)


def _as_text(value: object) -> str | None:
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:g}"
    return str(value)


def _read_file(variable: str, path: str) -> str:
    try:
        with Path(path).open("rb") as file:
            content = file.read(MAX_SECRET_FILE + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise SettingsError([f"{variable}: the file cannot be read: {reason}"]) from error
    if len(content) > MAX_SECRET_FILE:
        raise SettingsError([f"{variable}: the file is larger than {MAX_SECRET_FILE} bytes"])
    try:
        return content.decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise SettingsError([f"{variable}: the file is not UTF-8 text"]) from None
