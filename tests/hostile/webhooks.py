"""Endpoints of channels that answer badly, and the check of a signature that receivers are told to make."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import time
from collections.abc import Callable, Mapping
from typing import Any

from sentinel.model import Channel
from sentinel.store import Store
from tests.hostile import checks
from tests.hostile.rows import Judge, NotRun, Row, text_of
from tests.hostile.stage import ROOT, Stage, raise_alert
from tests.support.http import Reply, Route

DAY = 86400.0
_URL = re.compile(r"url = (\S+)(?: that answers (\d{3})(?: to (\S+))?)?")
_ANSWERS = re.compile(r"answers (\d{3})(?: with (?:Retry-After: (\S+)|(.+)))?")
_FOR_DAYS = re.compile(r"answers (\d{3}) for (\d+) days")


def endpoint(row: Row, stage: Stage) -> Judge:
    """A webhook channel whose endpoint answers so, and an alert for it."""
    if found := _FOR_DAYS.fullmatch(row.input):
        return _for_days(row, stage, int(found[1]), int(found[2]))
    if found := _URL.fullmatch(row.input):
        if found[2] is None:
            return _refused(stage, text_of(found[1]))
        headers = {"Location": found[3]} if found[3] else {}
        return _answered(row, stage, Reply(status=int(found[2]), headers=headers))
    if row.input.startswith("url = py:"):
        return _refused(stage, text_of(row.input.removeprefix("url = ")))
    if found := _ANSWERS.fullmatch(row.input):
        headers = {"Retry-After": found[2]} if found[2] else {}
        body = text_of(found[3]) if found[3] else "no"
        return _answered(row, stage, Reply(status=int(found[1]), headers=headers, body=body))
    raise NotRun("no endpoint here does what it says in words")


def _channel(stage: Stage, url: str) -> str:
    stage._channels.append(Channel(id=f"w{len(stage._channels)}", type="webhook", url=url))
    return stage._channels[-1].id


def _refused(stage: Stage, url: str) -> Judge:
    key = stage.alert(_channel(stage, url)) if checks.is_storable(url) else ""

    def judged() -> str:
        if not checks.import_problems(channel={"type": "webhook", "url": url}):
            return "rules import takes it"
        if not key:
            return ""
        (delivery,) = stage.alerts[key].deliveries
        return "" if delivery.state == "dead" else f"it is {delivery.state}: {delivery.error}"

    return judged


def _answered(row: Row, stage: Stage, reply: Route) -> Judge:
    path = f"/hook{row.number}"
    stage.site.route(path, reply)
    channel = _channel(stage, f"http://{stage.host()}{path}")
    key = stage.alert(channel)

    def judged() -> str:
        (delivery,) = stage.alerts[key].deliveries
        asked = sum(stage.is_of(one, key) for one in stage.site.requests_to(path))
        found = f"it is {delivery.state} after {asked} requests: {delivery.error}"
        is_on = stage.channels[channel].channel.enabled
        match row.expected:
            case "no_follow":
                right = delivery.state == "dead" and asked == 1 and is_on
            case "disable_endpoint":
                right = delivery.state == "dead" and asked == 1 and not is_on
            case "dead" | "keep_endpoint":
                right = delivery.state == "dead" and is_on
            case "retry_later":
                wait = (delivery.next_at or 0.0) - time.time()
                right = delivery.state == "retrying" and wait <= 3600.0
            case "allow":
                right = delivery.state == "sent"
            case _:
                return f"no endpoint ends with {row.expected!r}"
        return "" if right else found

    return judged


def _for_days(row: Row, stage: Stage, status: int, days: int) -> Judge:
    """The days are in the database: an alert was refused so long ago, and each day since; now comes one more."""
    path = f"/hook{row.number}"
    stage.site.route(path, Reply(status=status, body="no"))
    channel = _channel(stage, f"http://{stage.host()}{path}")
    keys = [
        stage.rule(f"http://{stage.host()}/", id=f"days{row.number}-{day}", enabled=False)
        for day in range(days + 1)
    ]

    async def history(store: Store) -> None:
        now = time.time()
        for day, rule in enumerate(keys[:-1]):
            at = now - (days - day) * DAY - 60
            alert = await raise_alert(
                store, rule, (channel,), at, title="It changed", body={"rule": "Widget"}
            )
            ticket = await store.claim_delivery(alert, channel, f"old-{rule}", 1, at)
            await store.record_attempt(ticket, "dead", now=at, http_status=status, error=f"HTTP {status}")
        await raise_alert(store, keys[-1], (channel,), now, title="It changed", body={"rule": "Widget"})

    stage.before(history)

    def judged() -> str:
        stored = stage.channels[channel]
        (delivery,) = stage.alerts[keys[-1]].deliveries
        if delivery.state != "dead":
            return f"the last is {delivery.state}: {delivery.error}"
        is_off = not stored.channel.enabled and bool(stored.disabled_reason)
        return (
            ""
            if is_off == (row.expected == "disable_endpoint")
            else f"the channel is {'off' if is_off else 'on'}"
        )

    return judged


# --- what receivers check ---------------------------------------------------------------------------

_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
_BODY = b'{"type": "alert.test"}'


def _genuine() -> Callable[..., bool]:
    """The function that docs/webhooks.md tells receivers to use."""
    page = (ROOT / "docs" / "webhooks.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python verify\.py\n(.*?)```", page, re.DOTALL)
    space: dict[str, Any] = {}
    exec(compile(code, "verify.py", "exec"), space)  # noqa: S102 - our own page
    found: Callable[..., bool] = space["is_genuine"]
    return found


def _headers(*, at: float = 0.0, message_id: str = "msg_1", body: bytes = _BODY) -> dict[str, str]:
    stamp = str(int(time.time() + at))
    key = base64.b64decode(_SECRET.removeprefix("whsec_"))
    digest = hmac.new(key, f"{message_id}.{stamp}.".encode() + body, hashlib.sha256).digest()
    signature = "v1," + base64.b64encode(digest).decode()
    return {"webhook-id": message_id, "webhook-timestamp": stamp, "webhook-signature": signature}


def _with(**changed: str | None) -> dict[str, str]:
    """Good headers, some changed; `{}` in one stands for what it was; None: left out."""
    headers = _headers()
    for name, value in changed.items():
        header = f"webhook-{name}"
        if value is None:
            del headers[header]
        else:
            headers[header] = value.replace("{}", headers[header])
    return headers


#: What a row says in words -> headers and body as they come.
SCENES: dict[str, Callable[[], tuple[Mapping[str, str], bytes]]] = {
    'signature list "v1,bad v1,good"': lambda: (_with(signature="v1,bad {}"), _BODY),
    'signature list "v9,good-bytes"': lambda: (
        _with(signature=_headers()["webhook-signature"].replace("v1,", "v9,")), _BODY
    ),
    "missing timestamp header": lambda: (_with(timestamp=None), _BODY),
    "missing signature header": lambda: (_with(signature=None), _BODY),
    "missing id header": lambda: (_with(id=None), _BODY),
    "untouched": lambda: (_headers(), _BODY),
    "timestamp 10 minutes old": lambda: (_headers(at=-600), _BODY),
    "timestamp 10 minutes ahead": lambda: (_headers(at=600), _BODY),
    "timestamp NaN": lambda: (_with(timestamp="NaN"), _BODY),
    "timestamp 10^400": lambda: (_with(timestamp="1" + "0" * 400), _BODY),
    "timestamp in Arabic digits": lambda: (_with(timestamp="١٧٦٧٢٢٥٩٠١"), _BODY),
    "signature empty": lambda: (_with(signature=""), _BODY),
    "signature not ASCII": lambda: (_with(signature="v1,é"), _BODY),
    "one byte of the body changed": lambda: (_headers(), _BODY.replace(b"test", b"tEst")),
    "another id": lambda: (_with(id="msg_2"), _BODY),
    "id and timestamp shifted over the dot": lambda: (_shifted(), _BODY),
    "body empty": lambda: (_headers(body=b""), b""),
}  # fmt: skip


def _shifted() -> dict[str, str]:
    """The same bytes are signed, cut elsewhere."""
    made = _headers(message_id="msg_1.1")
    return made | {"webhook-id": "msg_1", "webhook-timestamp": f"1.{made['webhook-timestamp']}"}


def verify(row: Row, stage: Stage) -> Judge:
    """Given to the function of docs/webhooks.md, which a receiver copies: we receive no webhooks ourselves."""
    if (scene := SCENES.get(row.input)) is None:
        raise NotRun("no message here is what it says in words")

    def judged() -> str:
        headers, body = scene()
        try:
            genuine = _genuine()(_SECRET, headers, body)
        except Exception as error:  # noqa: BLE001 - a receiver would answer 500
            return f"it raises {error!r}"
        return "" if genuine == row.is_control else f"it says {genuine}"

    return judged
