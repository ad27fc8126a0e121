"""The values of a channel's credentials, when a message needs them.

A rules file names credentials; a value is looked up for each send and kept nowhere (masked in what
is told, see Concealer), so that a rotated secret is in use with the next message.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from typing import Final

import msgspec

from sentinel.credentials.concealer import Concealer
from sentinel.credentials.keyring import Keyring, Place
from sentinel.errors import CredentialUnreadable, SendLater, SendRefused, SettingsError
from sentinel.model import Channel, Credential, CredentialRef
from sentinel.settings import is_setting, named_secret

#: The credential that `secret_env` names, in the words of the time before `credentials`.
SIGNING_SECRET: Final = "signing_secret"  # noqa: S105 - its name
#: Bytes of a file, and characters of one value.
MAX_FILE: Final = 64 * 1024
MAX_VALUE: Final = 4096
#: Values of one credential while it is rotated.
MAX_VALUES: Final = 10
#: What is in there is made by the system and belongs to others.
SYSTEM_FOLDERS: Final = ("/proc", "/sys", "/dev")


class SealedCredential(CredentialRef, frozen=True, kw_only=True):
    """A stored credential as the store hands it out: still sealed, and where it belongs."""

    workspace: str
    sealed: str

    def __repr__(self) -> str:
        return "SealedCredential(***)"


class ChannelCredentials:
    """The credentials of channels, as this process can have them."""

    def __init__(
        self, environ: Mapping[str, str], keyring: Keyring | None = None, concealer: Concealer | None = None
    ) -> None:
        """`environ` is asked for the names that channels give, and for nothing else.

        `keyring` opens stored ones; `concealer` learns every value that is handed out.
        """
        self._environ = environ
        self._keyring = keyring or Keyring()
        self._concealer = concealer or Concealer()

    def get(self, channel: Channel, name: str) -> tuple[str, ...]:
        """See sentinel.channels.sender.Credentials.

        Raises SendLater too: for a stored one whose key other processes have already.
        """
        reference = channel.credentials.get(name)
        if name == SIGNING_SECRET and channel.secret_env:
            reference = CredentialRef(env=channel.secret_env)
        if reference is None:
            return ()
        values: list[str] = []
        for text, where in self._texts(channel, name, reference):
            self._concealer.learn(*text.splitlines())
            found = values_of(text)
            if not found:
                raise SendRefused(f"{where} is not set here; nothing was sent")
            if problem := trouble(found):
                raise SendRefused(f"{where} {problem}; nothing was sent")
            values += found
        return tuple(values)

    def _texts(self, channel: Channel, name: str, reference: Credential) -> list[tuple[str, str]]:
        """What is there ('' where nothing is), and what to call it. Raises SendRefused, SendLater."""
        what = f"the credential {name}"
        match reference:
            case str():  # of a channel that is tried before it is stored
                return [(reference, what)]
            case SealedCredential():
                return [(self._opened(channel, name, reference), f"{what} (stored)")]
            case CredentialRef(env=str(variables)):
                return [
                    (self._of_environment(what, variable), f"{what} (environment variable {variable})")
                    for variable in variables.split(",")
                ]
            case CredentialRef(file=str(path)):
                return [(_of_file(what, path), f"{what} (file {path})")]
        raise SendRefused(f"{what} is stored nowhere: import the channel with its value; nothing was sent")

    def _of_environment(self, what: str, variable: str) -> str:
        if is_setting(variable):
            raise SendRefused(f"{what} names {variable}, a setting of sentinel's own; nothing was sent")
        try:
            return named_secret(self._environ, variable) or ""
        except SettingsError as error:
            # Its words name the variable and what is wrong with the file, never what is in it.
            raise SendRefused(f"{what} cannot be read here: {error}; nothing was sent") from None

    def _opened(self, channel: Channel, name: str, reference: SealedCredential) -> str:
        try:
            return self._keyring.open(reference.sealed, Place(reference.workspace, channel.id, name))
        except CredentialUnreadable as error:
            words = f"the credential {name} (stored) cannot be decrypted here: {error}; nothing was sent"
            # Keys are being rotated, and this process has yet to get the new list.
            raise (SendLater(words) if error.key_missing and self._keyring else SendRefused(words)) from None

    def __repr__(self) -> str:
        return f"<ChannelCredentials {self._keyring!r}>"


def values_of(text: str) -> list[str]:
    """The values in a text: one a line, the newest first."""
    return [line.strip() for line in text.splitlines() if line.strip()]


def trouble(values: list[str]) -> str | None:
    """What keeps values from being sent, in words without them; None: nothing."""
    if len(values) > MAX_VALUES:
        return f"has more than {MAX_VALUES} lines: one value a line, several only while rotating"
    if any(len(value) > MAX_VALUE for value in values):
        return f"is longer than {MAX_VALUE} characters"
    if not all(value.isprintable() for value in values):
        return "holds characters that cannot be sent"
    return None


def file_trouble(path: str) -> str | None:
    """What is wrong with the name of a secret's file, whatever is in it; None: nothing."""
    if not path.startswith("/"):
        return "must have an absolute path: a worker may run in another folder"
    place = os.path.normpath("/" + path.lstrip("/")) + "/"
    if place.startswith(tuple(f"{folder}/" for folder in SYSTEM_FOLDERS)):
        return f"must not be in {', '.join(SYSTEM_FOLDERS)}"
    return None


def defined(channel: Channel) -> Channel:
    """The channel as it is stored and shown: a value is only said to be there."""
    if not channel.credentials:
        return channel
    return msgspec.structs.replace(
        channel,
        credentials={
            name: CredentialRef(stored=True) if _is_value(one) else one
            for name, one in channel.credentials.items()
        },
    )


def _is_value(credential: Credential) -> bool:
    return isinstance(credential, str | SealedCredential)


def _of_file(what: str, path: str) -> str:
    """What a file holds now. Raises SendRefused."""
    refused = f"{what} (file {path}) cannot be read here"
    try:
        real = os.path.realpath(path)
        if problem := file_trouble(path) or file_trouble(real):  # a link may lead there
            raise SendRefused(f"{refused}: it {problem}; nothing was sent")
        # Opened without waiting: whoever named a pipe must not stop the worker.
        number = os.open(real, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(number, "rb") as file:  # noqa: PTH123 - a file that is open already
            if not stat.S_ISREG(os.fstat(number).st_mode):
                raise SendRefused(f"{refused}: it is not a file; nothing was sent")
            content = file.read(MAX_FILE + 1)
    except FileNotFoundError:
        raise SendRefused(f"{what} (file {path}) is not set here; nothing was sent") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise SendRefused(f"{refused}: {reason}; nothing was sent") from None
    if len(content) > MAX_FILE:
        raise SendRefused(f"{refused}: it is larger than {MAX_FILE} bytes; nothing was sent")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise SendRefused(f"{refused}: it is not UTF-8 text; nothing was sent") from None
