"""A Teams Workflows webhook ("When a Teams webhook request is received").

https://learn.microsoft.com/connectors/teams (28 KB) · https://adaptivecards.io/explorer
The flow answers 202 before it posts: what is too large is accepted and never seen. Such are in `lost`.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from msgspec import Meta, field

from tests.support.http import Reply, Request
from tests.support.receivers.base import Receiver, Strict, reply

#: Counted as UTF-16, the stricter reading.
MAX_MESSAGE = 28 * 1024


class TextRun(Strict, tag="TextRun", tag_field="type", rename="camel"):
    text: str
    weight: Literal["Lighter", "Default", "Bolder"] = "Default"
    size: Literal["Small", "Default", "Medium", "Large", "ExtraLarge"] = "Default"
    is_subtle: bool = False
    strikethrough: bool = False
    italic: bool = False


class RichTextBlock(Strict, tag="RichTextBlock", tag_field="type"):
    inlines: Annotated[list[TextRun], Meta(min_length=1)]


class OpenUrl(Strict, tag="Action.OpenUrl", tag_field="type"):
    title: str
    url: Annotated[str, Meta(pattern="^https?://")]


class Width(Strict):
    width: Literal["Full"]


class Card(Strict, tag="AdaptiveCard", tag_field="type", rename="camel"):
    version: Literal["1.4"]
    body: Annotated[list[RichTextBlock], Meta(min_length=1)]
    schema: str = field(name="$schema", default="")
    actions: list[OpenUrl] = field(default_factory=list)
    fallback_text: str = ""
    msteams: Width | None = None


class Attachment(Strict, rename="camel"):
    content_type: Literal["application/vnd.microsoft.card.adaptive"]
    content: Card
    content_url: None = None


class Body(Strict):
    type: Literal["message"]
    attachments: Annotated[list[Attachment], Meta(min_length=1)]


def size_of(body: bytes) -> int:
    """As UTF-16."""
    return len(body.decode().encode("utf-16-le"))


class Teams(Receiver):
    kind = "teams"
    schema = Body
    path = "/workflows/0123456789abcdef/triggers/manual/paths/invoke"
    signature = "teamssignature0123456789"
    documented: ClassVar = {
        "unauthorized": reply(401, {"error": {"code": "DirectApiAuthorizationRequired", "message": "..."}}),
        "not_found": reply(404, {"error": {"code": "WorkflowNotFound", "message": "..."}}),
        "bad_request": reply(400, {"error": {"code": "TriggerInputSchemaMismatch", "message": "..."}}),
    }

    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)  # type: ignore[arg-type] # a Site
        #: Accepted, and over the size that the flow can post.
        self.lost: list[int] = []

    @property
    def credentials(self) -> dict[str, str]:
        return {"url": f"{self.site.url}{self.path}?api-version=1&sig={self.signature}"}

    def rate_limited(self, seconds: float) -> Reply:
        body = {"error": {"code": "WorkflowTriggerRateLimit", "message": "Rate limit is exceeded."}}
        return reply(429, body, Retry_After=f"{seconds:.0f}")

    def answer(self, request: Request) -> Reply:
        if request.path != self.path:
            return self.documented["not_found"]
        if request.query.get("sig") != self.signature:
            return self.documented["unauthorized"]
        payload = self.decoded(request)
        if isinstance(payload, str):
            return self.documented["bad_request"]
        if (size := size_of(request.body)) > MAX_MESSAGE:
            self.lost.append(size)
        self.accept(request, payload)
        return Reply(202, content_type=None, headers={"x-ms-workflow-run-id": f"run{len(self.accepted):06}"})
