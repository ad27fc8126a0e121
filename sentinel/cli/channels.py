"""`channels ...`: ways to tell somebody as they are stored; tried, switched, and their keys rotated.

A secret is never an argument: others on the machine see the arguments of every process. It is asked
for on the terminal, or read from stdin.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, Literal, get_args, get_origin

import msgspec
import typer

from sentinel.cli import preview
from sentinel.cli.context import Cli, cli_of
from sentinel.cli.exits import CommandError, Exit
from sentinel.cli.parts import DryRun, Yes, noun
from sentinel.cli.values import option, pair
from sentinel.credentials import Keyring, defined
from sentinel.errors import EndpointGone, SendFailed, SendLater
from sentinel.fetch.guard import NetworkPolicy
from sentinel.model import Channel, ChannelType, Document, RulesFile, Workspace
from sentinel.rulefile import build, dump
from sentinel.rulefile.output import fields_of, plain
from sentinel.settings import MASK
from sentinel.store import Resealed, Store, StoredChannel, UnreadableChannel

app = noun("channels", "Channels: look at, add, try, switch, rotate keys.")
preview.register(app)

ChannelId = Annotated[str, typer.Argument(metavar="CHANNEL", help="Channel id.")]
ChannelIds = Annotated[list[str], typer.Argument(metavar="CHANNEL...", help="Channel ids.")]
InWorkspace = Annotated[str | None, typer.Option("--workspace", help="Which, where several have it.")]
#: Fields with a place of their own in a channel's document.
_OWN: Final = frozenset(("id", "type", "url", "credentials", "secret_env", "enabled"))


@app.command("list")
def list_(context: typer.Context, *, workspace: InWorkspace = None) -> int:
    """Show the channels, by workspace and id."""
    cli = cli_of(context)

    async def run() -> int:
        async with cli.store() as store:
            channels = await store.channels(workspace)
        if cli.out.json:
            for stored in channels:
                cli.out.document(channel_document(stored))
        elif not channels:
            cli.out.say("no channels; sentinel-worker channels add, or rules import FILE.yaml")
        else:
            names = ("CHANNEL", "WORKSPACE", "TYPE", "STATE", "CREDENTIALS", "TO")
            cli.out.table(names, [_row(stored) for stored in channels])
            for stored in channels:
                if isinstance(stored, UnreadableChannel):
                    cli.out.warn(stored.problem)
        return Exit.DONE

    return cli.run(run)


def _row(stored: StoredChannel | UnreadableChannel) -> tuple[str, ...]:
    if isinstance(stored, UnreadableChannel):
        return (stored.channel_id, stored.workspace_id, stored.type, "unreadable", "-", "-")
    channel = stored.channel
    state = "on" if channel.enabled else f"off {stored.disabled_reason or ''}".strip()
    places = " ".join(f"{name}:{_where(ref)}" for name, ref in _references(channel).items())
    return (channel.id, stored.workspace_id, channel.type, state, places or "-", _target(channel))


@app.command()
def show(context: typer.Context, *, channel_id: ChannelId, workspace: InWorkspace = None) -> int:
    """Show a channel as it is written, and who names it; secrets are never shown."""
    cli = cli_of(context)

    async def run() -> int:
        async with cli.store() as store:
            stored = await store.find_channel(channel_id, workspace)
            named_by = await store.named_by(stored.workspace_id, channel_id)
        if cli.out.json:
            cli.out.document(channel_document(stored) | {"named_by": named_by})
            return Exit.DONE
        if not stored.channel.enabled and stored.disabled_reason:
            cli.out.line(f"# off: {stored.disabled_reason}")
        cli.out.line(f"# named by {', '.join(named_by) or 'nobody'}")
        shown = msgspec.structs.replace(defined(stored.channel), url=_address(stored.channel.url))
        cli.out.stdout.write(dump(RulesFile(workspace=Workspace(id=stored.workspace_id), channels=[shown])))
        return Exit.DONE

    return cli.run(run)


def channel_id_of(stored: StoredChannel | UnreadableChannel) -> str:
    """Readable or not."""
    return stored.channel_id if isinstance(stored, UnreadableChannel) else stored.channel.id


def channel_document(stored: StoredChannel | UnreadableChannel) -> dict[str, object]:
    """`sentinel.channel/1`, or `sentinel.channel_unreadable/1`."""
    if isinstance(stored, UnreadableChannel):
        return {
            "schema": "sentinel.channel_unreadable/1",
            "channel_id": stored.channel_id,
            "workspace_id": stored.workspace_id,
            "type": stored.type,
            "enabled": stored.enabled,
            "problem": stored.problem,
        }
    channel = stored.channel
    written = plain(defined(channel))
    return {
        "schema": "sentinel.channel/1",
        "channel_id": channel.id,
        "workspace_id": stored.workspace_id,
        "type": channel.type,
        "enabled": channel.enabled,
        "disabled_reason": stored.disabled_reason,
        "url": _address(channel.url),
        "credentials": _references(channel),
        "options": {name: value for name, value in written.items() if name not in _OWN},
    }


def _references(channel: Channel) -> dict[str, dict[str, object]]:
    """Where each credential is."""
    found: dict[str, dict[str, object]] = {}
    if channel.secret_env:
        found["signing_secret"] = {"env": channel.secret_env}
    return found | {name: plain(ref) for name, ref in defined(channel).credentials.items()}


def _where(reference: Mapping[str, object]) -> str:
    ((kind, place),) = reference.items()
    return "stored" if kind == "stored" else f"{kind}={place}"


def _address(url: str | None) -> str | None:
    """A URL without what may be a key in it."""
    if url is None:
        return None
    address, query, _ = url.partition("?")
    return f"{address}?{MASK}" if query else address


def _target(channel: Channel) -> str:
    written = plain(channel)
    named = [str(written[name]) for name in ("chatId", "topic", "to") if name in written]
    return " ".join((*named, *filter(None, (_address(channel.url),)))) or "-"


# --- adding ---------------------------------------------------------------------------------------


class New(msgspec.Struct, frozen=True):
    """What `channels add` was asked for, apart from secrets."""

    channel_id: str
    workspace: str | None
    #: As in a rules file, without the values of `asked`.
    fields: dict[str, Any]
    #: Credentials whose values are asked for.
    asked: tuple[str, ...]
    replace: bool
    dry_run: bool


@app.command()
def add(
    context: typer.Context,
    *,
    channel_id: ChannelId,
    type_: Annotated[ChannelType, typer.Option("--type", help="What kind of channel.")],
    url: Annotated[str | None, typer.Option(help="Where to, where that is no secret.")] = None,
    given: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="FIELD=VALUE", help="A field as in a rules file; a list: repeated."),
    ] = None,
    env: Annotated[
        list[str] | None, typer.Option("--env", metavar="NAME=VARIABLE", help="A credential's variable.")
    ] = None,
    file: Annotated[
        list[str] | None, typer.Option("--file", metavar="NAME=PATH", help="A credential's file.")
    ] = None,
    secret: Annotated[
        list[str] | None,
        typer.Option(
            "--secret", metavar="NAME", help="A credential to store: asked for, or a line of stdin."
        ),
    ] = None,
    workspace: InWorkspace = None,
    replace: Annotated[bool, typer.Option("--replace", help="Also where there is one of that id.")] = False,
    dry_run: DryRun = False,
) -> int:
    """Add a channel; a secret is asked for, or read from stdin, a line for each --secret."""
    cli = cli_of(context)
    fields: dict[str, Any] = {"id": channel_id, "type": type_}
    if url is not None:
        fields["url"] = url
    for text in given or ():
        _set(fields, *option("--set", pair, text))
    credentials: dict[str, Any] = {}
    for kind, texts in (("env", env), ("file", file)):
        for text in texts or ():
            name, place = option(f"--{kind}", pair, text)
            credentials[name] = {kind: place}
    fields |= {"credentials": credentials} if credentials else {}
    new = New(channel_id, workspace, fields, tuple(secret or ()), replace, dry_run)
    return cli.run(lambda: _add(cli, new))


def _set(fields: dict[str, Any], name: str, text: str) -> None:
    """A field from its text; what fits no field is left to the reader of rules files, which says so."""
    kind = {field.encode_name: field.type for field in fields_of(Channel)}.get(name)
    if name in _OWN - {"enabled"}:
        raise typer.BadParameter(f"{name} has an option of its own", param_hint="'--set'")
    if _is_list(kind):
        fields.setdefault(name, []).append(text)
        return
    try:
        fields[name] = msgspec.convert(text, kind, strict=False) if kind is not None else text
    except msgspec.ValidationError:
        fields[name] = text


def _is_list(kind: Any) -> bool:  # Any: a type of any form
    kinds = get_args(kind) if get_origin(kind) is Annotated else (kind,)
    return any(one is list or get_origin(one) is list for one in kinds)


async def _add(cli: Cli, new: New) -> int:
    for name in new.asked:
        value = cli.secret(f"{name} of {new.channel_id}: ")
        new.fields.setdefault("credentials", {})[name] = value
        cli.concealer.learn(value)
    async with cli.store(create=True) as store:
        space = await store.workspace(new.workspace) or Workspace(id=new.workspace or "default")
        others = await store.channel_ids(space.id)
        if new.channel_id in others and not new.replace:
            raise CommandError(
                Exit.FAILED,
                f"there is a channel {new.channel_id} already",
                f"--replace changes it; sentinel-worker channels show {new.channel_id}",
            )
        policy = NetworkPolicy(allow_private=cli.settings.allow_private_networks)
        file = build({"channels": [new.fields]}, policy, known_channels=others)
        now = time.time()
        report = await store.import_rules(
            msgspec.structs.replace(file, workspace=space),
            now=now,
            first_due=lambda _: now,
            keyring=Keyring(cli.settings.secret_keys),
            dry_run=new.dry_run,
        )
        done = "unchanged" if report.channels.unchanged else "changed" if report.channels.updated else "added"
        if new.dry_run:
            cli.out.say(f"{new.channel_id} would be {done}")
        else:
            cli.out.say(f"{new.channel_id} {done}; sentinel-worker channels test {new.channel_id} tries it")
            _say_json(cli, await store.find_channel(new.channel_id, space.id))
    return Exit.DONE


def _say_json(cli: Cli, stored: StoredChannel) -> None:
    if cli.out.json:
        cli.out.document(channel_document(stored))


# --- switching ------------------------------------------------------------------------------------


@app.command()
def enable(context: typer.Context, *, channel_ids: ChannelIds, workspace: InWorkspace = None) -> int:
    """Switch channels on."""
    return _switch(cli_of(context), channel_ids, workspace, enabled=True)


@app.command()
def disable(context: typer.Context, *, channel_ids: ChannelIds, workspace: InWorkspace = None) -> int:
    """Switch channels off; nothing is sent to them, and their credentials are kept."""
    return _switch(cli_of(context), channel_ids, workspace, enabled=False)


def _switch(cli: Cli, channel_ids: Sequence[str], workspace: str | None, *, enabled: bool) -> int:
    async def run() -> int:
        async with cli.store() as store:
            for found in await _all(store, channel_ids, workspace):
                name, space = found.channel.id, found.workspace_id
                changed = await store.set_channel_enabled(space, name, enabled, time.time())
                cli.out.say(f"{name} {'is now' if changed else 'was already'} {'on' if enabled else 'off'}")
                _say_json(cli, await store.find_channel(name, space))
        return Exit.DONE

    return cli.run(run)


async def _all(store: Store, channel_ids: Sequence[str], workspace: str | None) -> list[StoredChannel]:
    """All of them, or NotFound before anything was done."""
    return [await store.find_channel(channel_id, workspace) for channel_id in channel_ids]


@app.command()
def delete(
    context: typer.Context, *, channel_ids: ChannelIds, workspace: InWorkspace = None, yes: Yes = False
) -> int:
    """Forget channels and their credentials; what is still to be delivered there is dead."""
    cli = cli_of(context)

    async def run() -> int:
        async with cli.store() as store:
            found = [await store.find_any_channel(name, workspace) for name in channel_ids]
            users = [
                user
                for name, one in zip(channel_ids, found, strict=True)
                for user in await store.named_by(one.workspace_id, name)
            ]
            by = f", named by {', '.join(users[:5])}{' ...' * (len(users) > 5)}" if users else ""
            cli.confirm(
                f"Delete {len(found)} channel(s): {', '.join(channel_ids)}{by}?",
                yes=yes,
                hint="channels disable keeps what is needed to switch them on again",
            )
            for name, one in zip(channel_ids, found, strict=True):
                await store.delete_channel(one.workspace_id, name)
                cli.out.say(f"{name} deleted")
                if cli.out.json:
                    document = {"schema": "sentinel.channel_deleted/1", "channel_id": name}
                    cli.out.document(document | {"workspace_id": one.workspace_id})
        return Exit.DONE

    return cli.run(run)


# --- trying ---------------------------------------------------------------------------------------


class Tried(msgspec.Struct, frozen=True):
    """What came of a test message."""

    status: Literal["sent", "later", "refused", "gone"]
    #: Seconds.
    latency: float
    http_status: int | None = None
    provider_id: str | None = None
    #: What the other side said, or what was wrong.
    detail: str = ""
    retry_after: float | None = None


@app.command("test")
def try_(context: typer.Context, *, channel_id: ChannelId, workspace: InWorkspace = None) -> int:
    """Send a message that says it is a test, once; store nothing. Exit 7 where it is not accepted."""
    cli = cli_of(context)

    async def run() -> int:
        async with cli.store() as store:
            stored = await store.find_channel(channel_id, workspace)
        if not stored.channel.enabled:
            cli.out.warn(f"{channel_id} is off: alerts are not sent there")
        tried = await _try(cli, stored)
        if cli.out.json:
            cli.out.document(_test_document(stored, tried))
        else:
            cli.out.line(_words(stored, tried))
        return Exit.DONE if tried.status == "sent" else Exit.NO

    return cli.run(run)


async def _try(cli: Cli, stored: StoredChannel) -> Tried:
    from sentinel.app import open_senders  # noqa: PLC0415 - brings everything, which the others do without
    from streamq.clock import SystemClock  # noqa: PLC0415 - as above

    # What a console channel writes must not get between the lines of the answer.
    stream = cli.plain_out.stderr if cli.out.json else cli.plain_out.stdout
    message_id = f"test-{secrets.token_hex(8)}"
    clock = SystemClock()
    async with open_senders(cli.settings, cli.environ, cli.concealer, clock, write=stream.write) as senders:
        sender = senders.get(stored.channel.type)
        if sender is None:
            raise CommandError(Exit.FAILED, f"nothing here sends to {stored.channel.type} channels")
        began = clock.monotonic()
        try:
            sent = await sender.send(stored.channel, _message(stored, clock.time()), message_id=message_id)
        except SendFailed as failed:
            status: Literal["later", "gone", "refused"] = (
                "later"
                if isinstance(failed, SendLater)
                else "gone"
                if isinstance(failed, EndpointGone)
                else "refused"
            )
            latency = clock.monotonic() - began
            return Tried(status, latency, failed.http_status, None, failed.detail, failed.retry_after)
        return Tried("sent", clock.monotonic() - began, sent.http_status, sent.provider_id)


def _message(stored: StoredChannel, now: float) -> Document:
    return Document(
        alert_id=f"test-{secrets.token_hex(4)}",
        workspace_id=stored.workspace_id,
        rule_id="channels-test",
        kind="test",
        severity="info",
        title=f"Test message for the channel {stored.channel.id}",
        rule="channels test",
        link="",
        occurred_at=now,
        summary="Somebody tried this channel with `sentinel-worker channels test`. Nothing has changed.",
    )


def _test_document(stored: StoredChannel, tried: Tried) -> dict[str, object]:
    """`sentinel.channel_test/1`."""
    return {
        "schema": "sentinel.channel_test/1",
        "channel_id": stored.channel.id,
        "workspace_id": stored.workspace_id,
        "type": stored.channel.type,
        "status": tried.status,
        "http_status": tried.http_status,
        "latency_seconds": round(tried.latency, 3),
        "provider_id": tried.provider_id,
        "detail": tried.detail,
        "retry_after_seconds": tried.retry_after,
    }


def _words(stored: StoredChannel, tried: Tried) -> str:
    what = {
        "sent": "accepted",
        "later": "not accepted for now",
        "refused": "refused",
        "gone": "refused for ever (a delivery would switch the channel off)",
    }[tried.status]
    answer = f", HTTP {tried.http_status}" if tried.http_status and tried.status == "sent" else ""
    name = f", known there as {tried.provider_id}" if tried.provider_id else ""
    detail = f": {tried.detail}" if tried.detail else ""
    return f"{stored.channel.id}: {what} after {tried.latency * 1000:.0f} ms{answer}{name}{detail}"


# --- keys -----------------------------------------------------------------------------------------


@app.command("rotate-key")
def rotate_key(context: typer.Context) -> int:
    """Encrypt every stored credential under the first of SENTINEL_SECRET_KEY's keys.

    Safe beside running workers that have both keys, and again after it was stopped anywhere. Exit 1
    where a credential opens with none of the keys: it stays as it is.
    """
    cli = cli_of(context)
    keyring = Keyring(cli.settings.secret_keys)
    if not keyring:
        raise CommandError(
            Exit.USAGE,
            "there is no key: SENTINEL_SECRET_KEY is not set",
            "set it to the new key, a comma and the old key",
        )
    return cli.run(lambda: _rotate(cli, keyring))


async def _rotate(cli: Cli, keyring: Keyring) -> int:
    found: list[Resealed] = []
    after: tuple[str, str] | None = ("", "")
    async with cli.store() as store:
        while after is not None:
            found.append(await store.reseal(keyring, after=after))
            after = found[-1].last
    resealed, current = sum(one.resealed for one in found), sum(one.current for one in found)
    unopened = [one for batch in found for one in batch.unopened]
    if cli.out.json:
        cli.out.document(
            {
                "schema": "sentinel.key_rotation/1",
                "encrypted_anew": resealed,
                "unchanged": current,
                "unreadable": [
                    {"workspace_id": one.workspace_id, "channel_id": one.channel_id, "credential": one.name}
                    for one in unopened
                ],
            }
        )
    cli.out.say(f"{resealed} encrypted anew, {current} were under the first key already")
    if unopened:
        cli.out.error(
            [f"{one.name} of {one.channel_id} ({one.workspace_id}): {one.problem}" for one in unopened],
            "give their keys too, or their values again: sentinel-worker channels add --replace",
        )
        return Exit.FAILED
    return Exit.DONE
