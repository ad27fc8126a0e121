"""Alerts by Apprise (extra `apprise`), to services that have no sender here.

Apprise opens its own sockets: the guard does not hold for it, redirects and addresses are its own
affair. So it is for installations that switch it on, service by service: only URLs whose scheme the
operator named (SENTINEL_APPRISE_SCHEMES) are used.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from functools import partial
from typing import Final

import anyio
import anyio.to_thread

from sentinel.channels import keyed
from sentinel.channels.sender import DEADLINE, Credentials, Sent
from sentinel.errors import SendLater, SendRefused, Severity
from sentinel.model import Channel, Document

#: A service that hangs keeps its thread; so many may.
MAX_THREADS: Final = 4

#: Apprise's words for how bad it is.
_TYPES: Final[dict[Severity, str]] = {"info": "info", "warning": "warning", "critical": "failure"}


class AppriseSender:
    """Notifies the Apprise URL that is the credential `url`, in a thread."""

    def __init__(
        self,
        schemes: Collection[str],
        credentials: Credentials,
        to_plain: Callable[[Document], tuple[str, str]],
        *,
        deadline: float = DEADLINE,
    ) -> None:
        """`schemes`, in lower case, are those that may be used; none by default."""
        self._schemes = frozenset(schemes)
        self._credentials = credentials
        self._to_plain = to_plain
        self._deadline = deadline
        self._threads = anyio.CapacityLimiter(MAX_THREADS)

    async def send(self, channel: Channel, document: Document, *, message_id: str) -> Sent:  # noqa: ARG002 - Sender's signature
        """See Sender. Apprise says neither why a service refused nor whether to come again: later it is."""
        url = keyed.values(self._credentials, channel, "url")[0]
        self._check(url)
        title, text = self._to_plain(document)
        notify = partial(_notify, url, title, text, _TYPES[document.severity])
        try:
            with anyio.fail_after(self._deadline):
                accepted = await anyio.to_thread.run_sync(
                    notify, abandon_on_cancel=True, limiter=self._threads
                )
        except TimeoutError as exc:
            raise SendLater(f"no answer within {self._deadline:g} s") from exc
        if not accepted:
            raise SendLater("the service did not accept it, or was not reached; Apprise does not say why")
        return Sent()

    def _check(self, url: str) -> None:
        """Raises SendRefused, which quotes no more of `url` than its scheme."""
        scheme, separator, _ = url.partition("://")
        scheme = scheme.lower()
        if not separator or not scheme.isalnum() or len(scheme) > 30:
            raise SendRefused("the credential url is not an Apprise URL; nothing was sent")
        if scheme not in self._schemes:
            raise SendRefused(
                f"Apprise's {scheme}:// is not switched on here: the operator names it in"
                " SENTINEL_APPRISE_SCHEMES; nothing was sent"
            )


def _notify(url: str, title: str, text: str, kind: str) -> bool:
    """Runs in a thread. Raises SendRefused where it cannot even be tried."""
    try:
        import apprise  # noqa: PLC0415 - an extra, and half a second
    except ImportError:
        raise SendRefused("Apprise is not installed here (the extra `apprise`); nothing was sent") from None
    # It logs addresses and answers.
    logging.getLogger("apprise").setLevel(logging.CRITICAL + 1)
    service = apprise.Apprise.instantiate(url, asset=apprise.AppriseAsset(storage_mode="memory"))
    if service is None:
        raise SendRefused("the credential url is not one that Apprise understands; nothing was sent")
    try:
        return bool(service.notify(body=text, title=title, notify_type=kind, body_format="text"))
    except Exception:  # noqa: BLE001 - a hundred plugins; what they raise may hold the URL
        return False
