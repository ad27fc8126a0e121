"""What channels authenticate with: where a value is, and the value itself when it is needed.

A rules file names credentials; a value is looked up for each send and kept nowhere, so that a
rotated secret is in use with the next message.
"""

from __future__ import annotations

from collections.abc import Mapping

from sentinel.errors import SendRefused, SettingsError
from sentinel.model import Channel
from sentinel.settings import named_secret

#: The credential that `secret_env` names, in the words of the time before `credentials`.
SIGNING_SECRET = "signing_secret"  # noqa: S105 - its name


class ChannelCredentials:
    """The credentials of channels, as this process can have them."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        """`environ` is asked for the names that channels give, and for nothing else."""
        self._environ = environ

    def get(self, channel: Channel, name: str) -> tuple[str, ...]:
        """See sentinel.channels.sender.Credentials."""
        if name != SIGNING_SECRET or not channel.secret_env:
            return ()
        return tuple(self._of_environment(name, variable) for variable in channel.secret_env.split(","))

    def _of_environment(self, name: str, variable: str) -> str:
        where = f"the credential {name} (environment variable {variable})"
        try:
            value = named_secret(self._environ, variable)
        except SettingsError as error:
            # Its words name the variable and what is wrong with the file, never what is in it.
            raise SendRefused(f"{where} cannot be read here: {error}; nothing was sent") from None
        if not (value or "").strip():
            raise SendRefused(f"{where} is not set here; nothing was sent")
        return str(value).strip()

    def __repr__(self) -> str:
        return "<ChannelCredentials>"
