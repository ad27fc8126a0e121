"""PagerDuty's Events API v2. https://developer.pagerduty.com/docs/send-alert-event"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import Meta, field

from tests.support.http import Reply, Request
from tests.support.receivers.base import Receiver, Strict, reply, widened

#: Bytes of an event.
MAX_EVENT = 512 * 1024


class Payload(Strict):
    summary: Annotated[str, Meta(min_length=1, max_length=1024)]
    source: Annotated[str, Meta(min_length=1)]
    severity: Literal["critical", "error", "warning", "info"]
    timestamp: Annotated[str, Meta(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d")] = ""
    component: str = ""
    group: str = ""
    # `class` is Python's word.
    custom_details: dict[str, Any] = field(default_factory=dict)


class Link(Strict):
    href: Annotated[str, Meta(pattern="^https?://")]
    text: str = ""


class Event(Strict):
    routing_key: Annotated[str, Meta(min_length=32, max_length=32)]
    event_action: Literal["trigger", "acknowledge", "resolve"]
    dedup_key: Annotated[str, Meta(min_length=1, max_length=255)]
    payload: dict[str, Any] | None = None
    links: list[Link] = field(default_factory=list)
    client: str = ""
    client_url: str = ""


def _invalid(*errors: str) -> Reply:
    return reply(400, {"status": "invalid event", "message": "Event object is invalid", "errors": errors})


class PagerDuty(Receiver):
    kind = "pagerduty"
    schema = Event
    routing_key = "0123456789abcdefpagerdutyrouting"
    documented: ClassVar = {
        "invalid_event": _invalid("'payload.summary' is missing or blank"),
        "invalid_key": _invalid("Invalid routing key"),
        "server_error": reply(500, {"status": "error"}),
    }

    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)  # type: ignore[arg-type] # a Site
        #: Keys of the alerts that are open, as events opened and resolved them.
        self.open: set[str] = set()

    @property
    def credentials(self) -> dict[str, str]:
        return {"routing_key": self.routing_key}

    def place(self) -> dict[str, Any]:
        return {"url": f"{self.site.url}/v2/enqueue"}

    def rate_limited(self, seconds: float) -> Reply:
        body = {
            "status": "throttle exceeded",
            "message": "Requests for this service are arriving too quickly.",
        }
        return reply(429, body, Retry_After=f"{seconds:.0f}")

    def answer(self, request: Request) -> Reply:
        if request.path != "/v2/enqueue":
            return reply(404, "")
        if len(request.body) > MAX_EVENT:
            self.refused.append("the event is over 512 KB")
            return reply(413, "")
        event = self.decoded(request)
        if isinstance(event, str):
            return _invalid(event)
        if event["routing_key"] != self.routing_key:
            return self.documented["invalid_key"]
        key, action = event["dedup_key"], event["event_action"]
        (self.open.discard if action == "resolve" else self.open.add)(key)
        self.accept(request, event, known_as=f"{action}:{key}")
        return reply(202, {"status": "success", "message": "Event processed", "dedup_key": key})

    def excess(self, payload: dict[str, Any]) -> str:
        """A trigger needs the details by their schema."""
        if payload.get("payload") is None:
            return "" if payload["event_action"] != "trigger" else "'payload' is missing"
        # `class` is Python's word, so it is not in the schema.
        details = {name: value for name, value in payload["payload"].items() if name != "class"}
        try:
            msgspec.convert(widened(details), Payload, strict=True)
        except msgspec.ValidationError as error:
            return str(error)
        return ""
