"""A credential is found where the channel says, or nothing is sent."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sentinel.credentials import ChannelCredentials, Concealer, Keyring, Place, SealedCredential, defined
from sentinel.errors import SendFailed, SendLater, SendRefused
from sentinel.model import Channel, Credential, CredentialRef

OLD, NEW = bytes(32), bytes(range(32))
SECRET = "xoxb-42-secret"


def channel(credential: Credential | None = None, **fields: object) -> Channel:
    credentials = {} if credential is None else {"token": credential}
    return Channel(id="ops", type="webhook", credentials=credentials, **fields)  # type: ignore[arg-type] # fields of a Channel


def failure(credentials: ChannelCredentials, credential: Credential) -> SendFailed:
    with pytest.raises(SendFailed) as caught:
        credentials.get(channel(credential), "token")
    assert "the credential token" in caught.value.detail
    assert "nothing was sent" in caught.value.detail
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None
    return caught.value


def sealed(key: bytes = OLD, *, workspace: str = "acme", name: str = "token") -> SealedCredential:
    text = Keyring([key]).seal(SECRET, Place("acme", "ops", name))
    return SealedCredential(stored=True, workspace=workspace, sealed=text)


def test_a_channel_without_the_credential_has_no_values() -> None:
    assert ChannelCredentials({}).get(channel(), "token") == ()


@pytest.mark.parametrize(
    ("environ", "names", "values"),
    [
        ({"A": SECRET}, "A", (SECRET,)),
        ({"A": f"  {SECRET}\n"}, "A", (SECRET,)),
        ({"A": "new-one\nold-one"}, "A", ("new-one", "old-one")),
        ({"A": "new-one", "B": "old-one"}, "A,B", ("new-one", "old-one")),
    ],
)
def test_from_the_environment(environ: dict[str, str], names: str, values: tuple[str, ...]) -> None:
    assert ChannelCredentials(environ).get(channel(CredentialRef(env=names)), "token") == values


def test_an_environment_variable_may_name_a_file(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(f"{SECRET}\n")

    found = ChannelCredentials({"A_FILE": str(tmp_path / "secret")})

    assert found.get(channel(CredentialRef(env="A")), "token") == (SECRET,)


def test_secret_env_is_short_for_the_signing_secret() -> None:
    credentials = ChannelCredentials({"NEW": "n", "OLD": "o"})

    assert credentials.get(channel(secret_env="NEW,OLD"), "signing_secret") == ("n", "o")
    assert credentials.get(channel(secret_env="NEW,OLD"), "token") == ()


@pytest.mark.parametrize("environ", [{}, {"A": ""}, {"A": " \n"}, {"A_FILE": "/nowhere/at/all"}])
def test_a_variable_that_is_not_set_is_refused_by_name(environ: dict[str, str]) -> None:
    failed = failure(ChannelCredentials(environ), CredentialRef(env="A"))

    assert isinstance(failed, SendRefused)
    assert "A" in failed.detail


@pytest.mark.parametrize("name", ["SENTINEL_SECRET_KEY", "DATABASE_URL", "REDIS_PASSWORD", "REDIS_URL_FILE"])
def test_a_setting_of_ours_is_no_credential(name: str) -> None:
    assert "setting" in failure(ChannelCredentials({name: SECRET}), CredentialRef(env=name)).detail


def test_a_file_is_read_for_each_message(tmp_path: Path) -> None:
    path = tmp_path / "token"
    credentials = ChannelCredentials({})
    for text in ("first", "second"):
        # As Kubernetes does it: the name stays, what it leads to is another file.
        (tmp_path / text).write_text(f"\ufeff  {text}\n\n")
        path.unlink(missing_ok=True)
        path.symlink_to(tmp_path / text)

        assert credentials.get(channel(CredentialRef(file=str(path))), "token") == (text,)


def test_files_that_cannot_be_used_are_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "empty").touch()
    (tmp_path / "large").write_text(SECRET * 10_000)
    (tmp_path / "long").write_text(SECRET * 300)
    (tmp_path / "bytes").write_bytes(b"\xff\xfe" + SECRET.encode())
    (tmp_path / "control").write_text(f"{SECRET}\x00")
    (tmp_path / "many").write_text(f"{SECRET}\n" * 11)
    (tmp_path / "link").symlink_to("/proc/self/environ")
    names = [str(path) for path in tmp_path.iterdir()]
    assert len(names) == 9

    for name in [
        *names,
        str(tmp_path / "missing"),
        "relative",
        "/proc/self/environ",
        "//proc/version",
        "/dev/zero",
        "\0",
    ]:
        assert isinstance(failure(ChannelCredentials({}), CredentialRef(file=name)), SendRefused)


def test_a_stored_one_is_opened() -> None:
    credentials = ChannelCredentials({}, Keyring([NEW, OLD]))

    for key in (OLD, NEW):
        assert credentials.get(channel(sealed(key)), "token") == (SECRET,)


def test_a_stored_one_whose_key_is_on_its_way_is_sent_later() -> None:
    failed = failure(ChannelCredentials({}, Keyring([OLD])), sealed(NEW))

    assert isinstance(failed, SendLater)
    assert "SENTINEL_SECRET_KEY" in failed.detail


@pytest.mark.parametrize("credential", [sealed(workspace="other"), sealed(name="url")])
def test_a_stored_one_of_another_channel_is_refused(credential: SealedCredential) -> None:
    assert isinstance(failure(ChannelCredentials({}, Keyring([OLD])), credential), SendRefused)


def test_without_any_key_a_stored_one_is_refused() -> None:
    assert isinstance(failure(ChannelCredentials({}), sealed()), SendRefused)


def test_one_that_is_said_to_be_stored_and_is_not_is_refused() -> None:
    assert "stored nowhere" in failure(ChannelCredentials({}), CredentialRef(stored=True)).detail


def test_every_value_that_is_handed_out_is_masked_from_then_on() -> None:
    concealer = Concealer()

    ChannelCredentials({"A": f"{SECRET}\nolder-secret"}, concealer=concealer).get(
        channel(CredentialRef(env="A")), "token"
    )

    assert concealer.conceal(f"no {SECRET}, no older-secret") == "no ***, no ***"


def test_neither_value_nor_sealed_text_shows_in_a_repr() -> None:
    for credential in (SECRET, sealed()):
        told = repr([channel(credential), {"c": credential} if credential != SECRET else None])

        assert SECRET not in told
        assert "v1." not in told
    assert repr(ChannelCredentials({"A": SECRET}, Keyring([OLD]))).startswith("<ChannelCredentials <Keyring ")


def test_as_it_is_stored_a_channel_says_only_that_there_is_a_value() -> None:
    by_name = {"a": SECRET, "b": sealed(), "c": CredentialRef(env="A"), "d": CredentialRef(stored=True)}

    shown = defined(Channel(id="ops", type="webhook", credentials=by_name)).credentials

    stored = CredentialRef(stored=True)
    assert shown == {"a": stored, "b": stored, "c": CredentialRef(env="A"), "d": stored}
