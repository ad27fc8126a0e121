from __future__ import annotations

import base64
import sys
from pathlib import Path

import pytest

from sentinel.backing import blobs_of
from sentinel.errors import SettingsError
from sentinel.settings import VARIABLES, Settings, mask_url, named_secret

KEY = base64.b64encode(b"k" * 32).decode()


def source_of(settings: Settings, name: str) -> str:
    return next(s.source for s in settings.sources() if s.name == name)


def test_the_defaults_are_those_of_the_contract(tmp_path: Path) -> None:
    settings = Settings.load({"state_dir": tmp_path}, {})

    assert settings.redis.kind == "default"
    assert settings.redis.url == "redis://localhost:6379/0"
    assert settings.database_url == f"sqlite:///{tmp_path}/sentinel.db"
    assert (settings.concurrency_rules, settings.concurrency_alerts) == (5, 10)
    assert (settings.rate_limiting, settings.rate_per_domain) == (True, 3.0)
    assert settings.allow_private_networks is False
    assert (settings.lease_seconds, settings.renew_seconds) == (10.0, 3.0)
    assert settings.secret_keys == ()
    assert settings.drain_timeout == 25.0


def test_a_flag_wins_over_the_environment_over_a_named_file_over_the_config_file(tmp_path: Path) -> None:
    named = tmp_path / "concurrency"
    named.write_text("7\n")
    config = tmp_path / "config.toml"
    config.write_text("worker_concurrency_rules = 6\nRATE_LIMIT_PER_DOMAIN = 0.5\n")
    everything = {"WORKER_CONCURRENCY_RULES": "8", "WORKER_CONCURRENCY_RULES_FILE": str(named)}
    file_only = {"WORKER_CONCURRENCY_RULES_FILE": str(named)}

    by_flag = Settings.load({"concurrency_rules": 9}, everything, config)
    by_environment = Settings.load({}, everything, config)
    by_file = Settings.load({}, file_only, config)
    by_config = Settings.load({}, {}, config)

    found = [
        (s.concurrency_rules, source_of(s, "WORKER_CONCURRENCY_RULES"))
        for s in (by_flag, by_environment, by_file, by_config)
    ]
    assert found == [(9, "flag"), (8, "environment"), (7, "file"), (6, "config")]
    assert by_config.rate_per_domain == 0.5


def test_an_empty_environment_value_is_not_a_value(tmp_path: Path) -> None:
    settings = Settings.load({"state_dir": tmp_path}, {"REDIS_URL": "", "WORKER_CONCURRENCY_RULES": ""})

    assert settings.redis.kind == "default"
    assert settings.concurrency_rules == 5


def test_everything_wrong_is_named_at_once_without_any_secret(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text('worker_concurency_rules = 3\nsentinel_secret_key = "hunter2"\n')
    wrong = {
        "REDIS_URL": "hunter2",
        "DATABASE_URL": "mysql://u:hunter2@h/db",
        "WORKER_CONCURRENCY_RULES": "many",
        "WORKER_CONCURRENCY_ALERTS": "0",
        "RATE_LIMIT_PER_DOMAIN": "-1",
        "RATE_LIMITING_ENABLED": "perhaps",
        "REDIS_PASSWORD_FILE": str(tmp_path / "not-there"),
        "SENTINEL_LOG_FORMAT": "xml",
        "STREAMQ_LEASE_SECONDS": "2",
    }

    with pytest.raises(SettingsError) as caught:
        Settings.load({}, wrong, config)

    problems = caught.value.problems
    for name in (*wrong, "SENTINEL_SECRET_KEY", "STREAMQ_RENEW_SECONDS"):
        assert any(name in problem for problem in problems), name
    assert any("did you mean worker_concurrency_rules?" in problem for problem in problems)
    assert "hunter2" not in str(caught.value)
    assert len(problems) == len(wrong) + 2


@pytest.mark.parametrize(
    ("lease", "renew", "fine"),
    [("10", "3", True), ("3", "3", False), ("2", "", False), ("0", "", False), ("nan", "", False)],
)
def test_renewal_must_be_quicker_than_the_lease(lease: str, renew: str, fine: bool) -> None:
    environ = {"STREAMQ_LEASE_SECONDS": lease, "STREAMQ_RENEW_SECONDS": renew}

    if fine:
        assert Settings.load({}, environ).lease_seconds == 10
    else:
        with pytest.raises(SettingsError):
            Settings.load({}, environ)


class TestWhichRedis:
    def test_a_url_wins_over_the_parts_and_says_so(self, tmp_path: Path) -> None:
        environ = {"REDIS_URL": "rediss://cache:1/2", "REDIS_HOST": "other"}

        settings = Settings.load({"state_dir": tmp_path}, environ)

        assert (settings.redis.kind, settings.redis.url) == ("given", "rediss://cache:1/2")
        host = next(s for s in settings.sources() if s.name == "REDIS_HOST")
        assert host.note == "ignored: REDIS_URL is set"

    def test_the_parts_make_a_url_with_the_password_escaped(self) -> None:
        environ = {"REDIS_HOST": "::1", "REDIS_PORT": "7000", "REDIS_PASSWORD": "p@ss/w:rd", "REDIS_DB": "4"}

        settings = Settings.load({}, environ)

        assert settings.redis.url == "redis://:p%40ss%2Fw%3Ard@[::1]:7000/4"
        assert settings.redis.safe == "redis://:***@[::1]:7000/4"

    def test_an_embedded_server_s_folder_is_used_when_nothing_is_given(self, tmp_path: Path) -> None:
        (tmp_path / "redis").mkdir()

        embedded = Settings.load({"state_dir": tmp_path}, {})
        given = Settings.load({"state_dir": tmp_path}, {"REDIS_HOST": "cache"})

        assert (embedded.redis.kind, embedded.redis.folder) == ("embedded", tmp_path / "redis")
        assert given.redis.url == "redis://cache:6379/0"

    def test_embedded_may_be_asked_for_over_the_environment_but_not_over_a_flag(self, tmp_path: Path) -> None:
        environ = {"REDIS_URL": "redis://cache"}

        asked = Settings.load({"state_dir": tmp_path, "embedded": True}, environ)

        assert asked.redis.kind == "embedded"
        with pytest.raises(SettingsError, match="exclude each other"):
            Settings.load({"embedded": True, "redis_url": "redis://cache"}, {})

    def test_a_host_that_smuggles_a_url_is_refused(self) -> None:
        with pytest.raises(SettingsError, match="REDIS_HOST"):
            Settings.load({}, {"REDIS_HOST": "user:pw@evil/"})

    @pytest.mark.parametrize(
        "url",
        [
            "redis+sentinel://:hunter2@a:26379,b,[::1]:26379/main/2?sentinel_password=x",
            "rediss+sentinel://a/main",
            "redis+cluster://u:hunter2@a:7000,b:7001",
            "rediss+cluster://a?ssl_ca_certs=/ca.pem",
        ],
    )
    def test_several_servers_may_be_one_redis(self, url: str) -> None:
        settings = Settings.load({"redis_url": url}, {})

        assert settings.redis.url == url
        assert "hunter2" not in settings.redis.safe

    @pytest.mark.parametrize(
        ("url", "why"),
        [
            ("redis+sentinel://:hunter2@a:26379", "names no service"),
            ("redis+sentinel://:hunter2@/main", "names no host"),
            ("redis+cluster://:hunter2@a:1,:2", "names no host"),
            ("redis+cluster://:hunter2@a:x", "host or port"),
            ("redis://:hunter2@a/abc", "database that is not a number"),
            ("redis://:hunter2@/0", "names no host"),
            ("unix://", "no socket"),
            ("unix://:hunter2@?db=1", "no socket"),
            ("unix://run/redis.sock", "three slashes"),
        ],
    )
    def test_servers_that_cannot_be_found_are_refused_as_a_setting(self, url: str, why: str) -> None:
        with pytest.raises(SettingsError) as caught:
            Settings.load({"redis_url": url}, {})

        (problem,) = caught.value.problems
        assert why in problem
        assert "hunter2" not in problem


def test_secret_keys_may_be_several_for_rotation() -> None:
    second = base64.b64encode(b"z" * 32).decode()

    settings = Settings.load({}, {"SENTINEL_SECRET_KEY": f"{KEY}, {second}"})

    assert settings.secret_keys == (b"k" * 32, b"z" * 32)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SENTINEL_BLOBS_URL", "s3://AKIA:hunter2@bucket/x"),
        ("SENTINEL_BLOBS_URL", "s3://bucket/x?secret=hunter2"),
        ("SENTINEL_BLOBS_URL", "s3://bucket/../x y"),
        ("SENTINEL_BLOBS_URL", "s3://"),
        ("SENTINEL_BLOBS_URL", "gs://hunter2"),
        ("SENTINEL_BLOBS_URL", "file://relative"),
        ("SENTINEL_BLOBS_ENDPOINT", "https://AKIA:hunter2@host"),
        ("SENTINEL_BLOBS_ENDPOINT", "https://host?hunter2"),
        ("SENTINEL_BLOBS_ENDPOINT", "host:9000"),
        ("SENTINEL_BLOBS_ENDPOINT", "http://host:port"),
    ],
)
def test_where_blobs_cannot_lie_is_told_without_what_was_said(name: str, value: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.load({}, {name: value})
    assert name in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_blobs_lie_where_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIA")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")

    def place(**environ: str) -> str:
        return repr(blobs_of(Settings.load({"state_dir": tmp_path}, environ)))

    assert place() == f"FileBlobs({str(tmp_path / 'blobs')!r})"
    assert place(SENTINEL_BLOBS_URL=f"file://{tmp_path}/x") == f"FileBlobs({str(tmp_path / 'x')!r})"
    assert place(SENTINEL_BLOBS_URL="s3://pages/a/b/") == "ObjectBlobs('s3://pages/a/b')"
    monkeypatch.setitem(sys.modules, "obstore", None)
    monkeypatch.delitem(sys.modules, "sentinel.store.object_blobs")
    with pytest.raises(SettingsError, match=r"sentinel-worker\[s3\]"):
        place(SENTINEL_BLOBS_URL="s3://pages")


def test_nothing_that_is_printed_holds_a_secret(tmp_path: Path) -> None:
    environ = {
        "REDIS_URL": "redis://me:hunter2@cache",
        "REDIS_PASSWORD": "hunter2",
        "DATABASE_URL": "postgresql://me:hunter2@db/x",
        "SENTINEL_SECRET_KEY": KEY,
    }

    settings = Settings.load({"state_dir": tmp_path}, environ)

    told = repr(settings) + repr(settings.redis) + repr(settings.sources())
    assert "hunter2" not in told
    assert KEY not in told
    assert "k" * 32 not in told


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://localhost:6379/0", "redis://localhost:6379/0"),
        ("redis://:pw@h/1", "redis://:***@h/1"),
        ("redis://me:pw@h/1", "redis://me:***@h/1"),
        ("redis://pw@h", "redis://***@h"),
        ("redis://:p/w#x@h", "redis://:***@h"),
        ("postgresql://me@h/db", "postgresql://me@h/db"),
        ("postgresql://h/db?user=me&password=pw", "postgresql://h/db?user=***&password=***"),
        ("unix:///run/redis.sock?db=2", "unix:///run/redis.sock?db=2"),
        ("not a url", "***"),
    ],
)
def test_a_url_is_shown_without_its_password(url: str, shown: str) -> None:
    assert mask_url(url) == shown


def test_a_named_secret_may_lie_in_a_file(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("whsec_abc\n")

    assert named_secret({"OPS": "whsec_env"}, "OPS") == "whsec_env"
    assert named_secret({"OPS_FILE": str(secret)}, "OPS") == "whsec_abc"
    assert named_secret({}, "OPS") is None


def test_every_variable_has_a_flag_name_of_its_own() -> None:
    assert len({v.flag for v in VARIABLES}) == len(VARIABLES)
