"""`channels preview`: exactly what a channel would send, and nothing is sent.

The senders themselves make it: their client keeps the request instead of sending it, and in place of
credentials they are given stand-ins, so no secret is looked up.
"""

from __future__ import annotations

from collections.abc import Mapping
from email import message_from_bytes, policy
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec
import typer

from sentinel.cli.context import Cli, cli_of
from sentinel.cli.exits import CommandError, Exit
from sentinel.model import Channel, Document
from sentinel.render.samples import SAMPLES, SampleKind, sample
from sentinel.store import StoredAlert, StoredChannel

if TYPE_CHECKING:
    import httpx

# `Any` is JSON.

#: In the place of a secret: of a form that its sender takes.
_STAND_INS: Final = {
    "signing_secret": "whsec_" + "A" * 32,
    "url": "https://secret.invalid/",
    "bot_token": "0:" + "A" * 35,
    "token": "token",
    "routing_key": "0" * 32,
}
_HIDDEN: Final = "***"
#: Headers that the library adds for the connection, or that hold what a stand-in signed.
_DULL: Final = frozenset(("host", "content-length", "accept-encoding"))
_SECRET: Final = frozenset(("authorization", "webhook-signature"))
_MESSAGE_ID: Final = "preview"


class Preview(msgspec.Struct, frozen=True, kw_only=True):
    """What would be sent."""

    #: json, eml or txt: what `body` is.
    form: str
    body: bytes
    #: '' where the address is a secret, or there is none.
    url: str = ""
    headers: Mapping[str, str] = {}


def register(app: typer.Typer) -> None:
    """Put the command into the group `channels`."""
    app.command("preview")(preview)


def preview(
    context: typer.Context,
    *,
    channel_id: Annotated[str, typer.Argument(metavar="CHANNEL", help="Channel id.")],
    alert: Annotated[str | None, typer.Option(metavar="ALERT", help="A stored alert.")] = None,
    kind: Annotated[
        SampleKind | None, typer.Option("--sample", help="A made-up alert [default: price].")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Into FILE: .json, .eml, .html (of a mail), .txt.")
    ] = None,
    workspace: Annotated[
        str | None, typer.Option("--workspace", help="Which, where several have it.")
    ] = None,
) -> int:
    """Show what would be sent for an alert, byte for byte but for secrets; send nothing."""
    cli = cli_of(context)
    if alert is not None and kind is not None:
        raise CommandError(Exit.USAGE, "either --alert or --sample", f"--sample one of {', '.join(SAMPLES)}")

    async def run() -> int:
        async with cli.store() as store:
            stored = await store.find_channel(channel_id, workspace)
            found = await store.alert(alert) if alert is not None else None
        if found is not None and found.workspace_id != stored.workspace_id:
            raise CommandError(Exit.NOT_FOUND, f"no alert {alert} in the workspace {stored.workspace_id}")
        document = sample(kind or "price") if found is None else _document(found)
        _tell(cli, stored, await made(stored.channel, document, cli), out)
        return Exit.DONE

    return cli.run(run)


async def made(channel: Channel, document: Document, cli: Cli) -> Preview:
    """What the channel's own sender would send."""
    from sentinel.render import to_email, to_plain, to_text  # noqa: PLC0415 - brings everything
    from sentinel.render.contained import open_templates  # noqa: PLC0415 - the same

    async with open_templates() as templates:
        document = await templates.words(channel, document)
    if document.note:
        cli.out.warn(document.note)
    match channel.type:
        case "email":
            try:
                mail = to_email(channel, document, message_id=_MESSAGE_ID, now=document.occurred_at)
            except ValueError as exc:
                raise CommandError(Exit.FAILED, f"the channel's addresses: {exc}") from exc
            return Preview(form="eml", body=mail.message)
        case "console":
            return Preview(form="txt", body=to_text(document).encode())
        case "apprise":
            return Preview(form="txt", body="\n\n".join(to_plain(document)).encode())
    return await _request(channel, document)


async def _request(channel: Channel, document: Document) -> Preview:
    """The one request that the sender of an HTTP service makes."""
    from sentinel.app import http_senders  # noqa: PLC0415 - brings everything
    from sentinel.errors import SendFailed  # noqa: PLC0415 - as above
    from sentinel.fetch.guard import unconnected_client  # noqa: PLC0415 - as above

    kept: list[httpx.Request] = []
    async with unconnected_client(kept.append) as client:
        senders = http_senders(client, _StandIns(), lambda: document.occurred_at)
        try:
            await senders[channel.type].send(channel, document, message_id=_MESSAGE_ID)
        except SendFailed as failed:
            if not kept:
                raise CommandError(Exit.FAILED, failed.detail) from failed
    request = kept[0]
    secret = request.url.host == "secret.invalid" or channel.type == "telegram"  # whose token is in the path
    url = "" if secret else str(request.url)
    headers = {
        name: _HIDDEN if name in _SECRET else value
        for name, value in request.headers.items()
        if name not in _DULL
    }
    return Preview(form="json", body=_without_stand_ins(request.content), url=url, headers=headers)


class _StandIns:
    """Credentials that are none."""

    def get(self, channel: Channel, name: str) -> tuple[str, ...]:
        """See sentinel.channels.sender.Credentials."""
        named = name in channel.credentials or (name == "signing_secret" and channel.secret_env is not None)
        optional = name in ("signing_secret", "token") or channel.type == "webhook"
        return () if optional and not named else (_STAND_INS[name],)


def _without_stand_ins(body: bytes) -> bytes:
    return body.replace(_STAND_INS["routing_key"].encode(), _HIDDEN.encode())


def _document(alert: StoredAlert) -> Document:
    from sentinel.render import document  # noqa: PLC0415 - brings everything

    return document(
        alert_id=alert.id,
        workspace_id=alert.workspace_id,
        rule_id=alert.rule_id,
        kind=alert.kind,
        severity=alert.severity,
        title=alert.title,
        body=alert.body,
        occurred_at=alert.created_at,
    )


# --- telling it ------------------------------------------------------------------------------------


def _tell(cli: Cli, stored: StoredChannel, found: Preview, out: Path | None) -> None:
    if out is not None:
        out.write_bytes(_file(found, out.suffix))
        cli.out.say(f"{out}: what {stored.channel.id} would be sent; nothing was sent")
    if cli.out.json:
        cli.out.document(_line(stored, found))
    elif out is None:
        if found.form == "json":
            cli.out.line(f"POST {found.url or '(the address is a secret)'}")
            for name, value in found.headers.items():
                cli.out.line(f"{name}: {value}")
            cli.out.line()
        cli.out.line(_readable(found))


def _file(found: Preview, suffix: str) -> bytes:
    if suffix == f".{found.form}":
        return found.body
    if suffix == ".html" and found.form == "eml":
        return _part(found.body, "html").encode()
    fitting = ".eml, .html" if found.form == "eml" else f".{found.form}"
    words = f"this channel has no form for {suffix or 'no suffix'}"
    raise CommandError(Exit.USAGE, words, f"--out FILE{fitting}")


def _readable(found: Preview) -> str:
    if found.form == "json":
        return msgspec.json.format(found.body, indent=2).decode()
    text = found.body.decode()
    return text.replace("\r\n", "\n").rstrip("\n")


def _line(stored: StoredChannel, found: Preview) -> dict[str, object]:
    """`sentinel.channel_preview/1`."""
    body: Any = msgspec.json.decode(found.body) if found.form == "json" else found.body.decode()
    return {
        "schema": "sentinel.channel_preview/1",
        "channel_id": stored.channel.id,
        "workspace_id": stored.workspace_id,
        "type": stored.channel.type,
        "form": found.form,
        "url": found.url,
        "headers": dict(found.headers),
        "body": body,
    }


def _part(message: bytes, subtype: str) -> str:
    parsed: Any = message_from_bytes(message, policy=policy.default)  # Any: the stubs' older Message
    return str(parsed.get_body((subtype,)).get_content())
