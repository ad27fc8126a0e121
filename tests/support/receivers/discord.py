"""Discord's Execute Webhook.

https://docs.discord.com/developers/resources/webhook#execute-webhook
https://docs.discord.com/developers/resources/message#embed-object-embed-limits
https://docs.discord.com/developers/topics/rate-limits
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from msgspec import Meta, field

from tests.support.http import Reply, Request
from tests.support.receivers.base import Receiver, Strict, reply

#: Of title, description, names, values, footer and author of all embeds.
MAX_EMBEDS_TEXT = 6000


class EmbedField(Strict):
    name: Annotated[str, Meta(min_length=1, max_length=256)]
    value: Annotated[str, Meta(min_length=1, max_length=1024)]
    inline: bool = False


class Footer(Strict):
    text: Annotated[str, Meta(max_length=2048)]


class Embed(Strict):
    title: Annotated[str, Meta(max_length=256)] = ""
    description: Annotated[str, Meta(max_length=4096)] = ""
    url: Annotated[str, Meta(max_length=2048, pattern="^https?://")] | None = None
    color: Annotated[int, Meta(ge=0, le=0xFFFFFF)] = 0
    fields: Annotated[list[EmbedField], Meta(max_length=25)] = field(default_factory=list)
    footer: Footer | None = None
    timestamp: str | None = None


class AllowedMentions(Strict):
    parse: list[Literal["roles", "users", "everyone"]]


class Body(Strict):
    embeds: Annotated[list[Embed], Meta(min_length=1, max_length=10)]
    allowed_mentions: AllowedMentions
    content: Annotated[str, Meta(max_length=2000)] = ""


class Discord(Receiver):
    kind = "discord"
    schema = Body
    path = "/api/webhooks/1234567890/discordhooktoken0123456789"
    documented: ClassVar = {
        "unknown_webhook": reply(404, {"message": "Unknown Webhook", "code": 10015}),
        "invalid_webhook_token": reply(401, {"message": "Invalid Webhook Token", "code": 50027}),
        "invalid_form_body": reply(400, {"message": "Invalid Form Body", "code": 50035, "errors": {}}),
    }

    @property
    def credentials(self) -> dict[str, str]:
        return {"url": self.site.url + self.path}

    def rate_limited(self, seconds: float) -> Reply:
        """The header in whole seconds, the body exactly."""
        return reply(
            429,
            {"message": "You are being rate limited.", "retry_after": seconds, "global": False},
            Retry_After=f"{seconds + 0.5:.0f}",
            X_RateLimit_Scope="user",
        )

    def answer(self, request: Request) -> Reply:
        if request.path != self.path:
            return self.documented["unknown_webhook"]
        payload = self.decoded(request)
        if isinstance(payload, str):
            return self.documented["invalid_form_body"]
        self.accept(request, payload)
        if request.query.get("wait") == "true":
            return reply(200, {"id": str(900_000_000_000 + len(self.accepted)), "type": 0})
        return Reply(204, content_type=None)

    def excess(self, payload: dict[str, Any]) -> str:
        text = sum(map(_text, payload["embeds"]))
        return f"the embeds have {text} characters" if text > MAX_EMBEDS_TEXT else ""


def _text(embed: dict[str, object]) -> int:
    fields = embed.get("fields", [])
    assert isinstance(fields, list)
    texts = [embed.get("title"), embed.get("description")]
    texts += [part for one in fields for part in (one["name"], one["value"])]
    footer = embed.get("footer")
    texts.append(footer["text"] if isinstance(footer, dict) else "")
    return sum(len(str(text or "").encode("utf-16-le")) // 2 for text in texts)
