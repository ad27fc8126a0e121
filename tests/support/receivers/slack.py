"""Slack's incoming webhooks.

https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks
https://docs.slack.dev/reference/block-kit/blocks
Errors: https://api.slack.com/changelog/2016-05-17-changes-to-errors-for-incoming-webhooks
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from msgspec import Meta, field

from tests.support.http import Reply, Request
from tests.support.receivers.base import Receiver, Strict, reply

#: Observed, not documented (https://github.com/slackapi/bolt-js/issues/2509): msg_blocks_too_long.
MAX_BLOCKS_TEXT = 13_000


class PlainText(Strict, tag="plain_text", tag_field="type"):
    text: Annotated[str, Meta(min_length=1, max_length=3000)]
    emoji: bool = True


class Mrkdwn(Strict, tag="mrkdwn", tag_field="type"):
    text: Annotated[str, Meta(min_length=1, max_length=3000)]
    verbatim: bool = False


class HeaderText(Strict, tag="plain_text", tag_field="type"):
    text: Annotated[str, Meta(min_length=1, max_length=150)]
    emoji: bool = True


class FieldText(Strict):
    type: Literal["plain_text", "mrkdwn"]
    text: Annotated[str, Meta(min_length=1, max_length=2000)]


class Header(Strict, tag="header", tag_field="type"):
    text: HeaderText


class Section(Strict, tag="section", tag_field="type"):
    text: PlainText | Mrkdwn | None = None
    fields: Annotated[list[FieldText], Meta(min_length=1, max_length=10)] | None = None


class Context(Strict, tag="context", tag_field="type"):
    elements: Annotated[list[PlainText | Mrkdwn], Meta(min_length=1, max_length=10)]


class Divider(Strict, tag="divider", tag_field="type"):
    pass


class Styles(Strict):
    bold: bool = False
    italic: bool = False
    strike: bool = False
    code: bool = False


class RichTextText(Strict, tag="text", tag_field="type"):
    text: Annotated[str, Meta(min_length=1)]
    style: Styles = field(default_factory=Styles)


class RichTextLink(Strict, tag="link", tag_field="type"):
    url: Annotated[str, Meta(min_length=1, max_length=3000, pattern="^https?://")]
    text: str = ""


class RichTextSection(Strict, tag="rich_text_section", tag_field="type"):
    elements: Annotated[list[RichTextText | RichTextLink], Meta(min_length=1)]


class RichText(Strict, tag="rich_text", tag_field="type"):
    elements: Annotated[list[RichTextSection], Meta(min_length=1)]


class Body(Strict):
    text: Annotated[str, Meta(min_length=1, max_length=40_000)]
    blocks: Annotated[list[Header | Section | Context | Divider | RichText], Meta(max_length=50)]
    mrkdwn: bool = True
    unfurl_links: bool = True
    unfurl_media: bool = True


class Slack(Receiver):
    kind = "slack"
    schema = Body
    path = "/services/T0000/B0000/slackhooktoken0123456789"
    documented: ClassVar = {
        "invalid_payload": reply(400, "invalid_payload"),
        "action_prohibited": reply(403, "action_prohibited"),
        "invalid_token": reply(403, "invalid_token"),
        "channel_not_found": reply(404, "channel_not_found"),
        "no_service": reply(404, "no_service"),
        "channel_is_archived": reply(410, "channel_is_archived"),
        "rollup_error": reply(500, "rollup_error"),
    }

    @property
    def credentials(self) -> dict[str, str]:
        return {"url": self.site.url + self.path}

    def rate_limited(self, seconds: float) -> Reply:
        return reply(429, "rate_limited", Retry_After=f"{seconds:.0f}")

    def answer(self, request: Request) -> Reply:
        if request.target != self.path:
            return self.documented["no_service"]
        payload = self.decoded(request)
        if isinstance(payload, str):
            return self.documented["invalid_payload"]
        self.accept(request, payload)
        return reply(200, "ok")

    def excess(self, payload: dict[str, Any]) -> str:
        return "msg_blocks_too_long" if _blocks_text(payload["blocks"]) > MAX_BLOCKS_TEXT else ""


def _blocks_text(part: object) -> int:
    match part:
        case dict():
            return sum(
                len(value.encode("utf-16-le")) // 2
                if key == "text" and isinstance(value, str)
                else _blocks_text(value)
                for key, value in part.items()
            )
        case list():
            return sum(map(_blocks_text, part))
    return 0
