"""Telegram's Bot API, as much of it as sendMessage is. https://core.telegram.org/bots/api#sendmessage"""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Annotated, Any, ClassVar, Literal

from msgspec import Meta

from tests.support.http import Reply, Request
from tests.support.receivers.base import Receiver, Strict, reply

#: UTF-16 code units of the text after its entities were parsed; entities of one message.
MAX_TEXT = 4096
MAX_ENTITIES = 100

_TAGS = frozenset(
    ("b", "strong", "i", "em", "u", "ins", "s", "strike", "del", "a", "code", "pre", "blockquote")
)
_NAMED = frozenset(("lt", "gt", "amp", "quot"))


class LinkPreview(Strict):
    is_disabled: bool = False


class Body(Strict):
    chat_id: int | str
    text: Annotated[str, Meta(min_length=1)]
    parse_mode: Literal["HTML", "MarkdownV2", "Markdown"] | None = None
    link_preview_options: LinkPreview | None = None
    disable_notification: bool = False


class Parsed(HTMLParser):
    """What Telegram makes of HTML: its text and its entities, or `problem`."""

    def __init__(self, markup: str) -> None:
        super().__init__(convert_charrefs=False)
        self.text = self.problem = ""
        #: (tag, its attributes, the text in it)
        self.entities: list[tuple[str, dict[str, Any], str]] = []
        self._open: list[tuple[str, dict[str, Any], int]] = []
        self.feed(markup)
        self.close()
        if self._open:
            self.problem = f"Can't find end tag corresponding to start tag {self._open[-1][0]}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in _TAGS:
            self.problem = f'Unsupported start tag "{tag}"'
        self._open.append((tag, dict(attrs), len(self.text)))

    def handle_endtag(self, tag: str) -> None:
        if not self._open or self._open[-1][0] != tag:
            self.problem = "Unmatched end tag"
            return
        name, attributes, begin = self._open.pop()
        self.entities.append((name, attributes, self.text[begin:]))

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_charref(self, name: str) -> None:
        self.text += chr(int(name[1:], 16) if name[:1] in "xX" else int(name))

    def handle_entityref(self, name: str) -> None:
        if name not in _NAMED:
            self.problem = f"unsupported entity &{name};"
        self.text += {"lt": "<", "gt": ">", "amp": "&", "quot": '"'}.get(name, "")

    def handle_comment(self, data: str) -> None:
        self.problem = "a comment"

    def handle_decl(self, decl: str) -> None:
        self.problem = "a declaration"

    def unknown_decl(self, data: str) -> None:
        self.problem = "a declaration"

    def handle_pi(self, data: str) -> None:
        self.problem = "a processing instruction"


def _error(status: int, description: str, **parameters: Any) -> Reply:
    body: dict[str, Any] = {"ok": False, "error_code": status, "description": description}
    return reply(status, body | ({"parameters": parameters} if parameters else {}))


class Telegram(Receiver):
    kind = "telegram"
    schema = Body
    token = "123456789:AAtelegrambottoken0123456789abcdefg"
    chat_id = "-1001234567890"
    documented: ClassVar = {
        "unauthorized": _error(401, "Unauthorized"),
        "not_found": _error(404, "Not Found"),
        "chat_not_found": _error(400, "Bad Request: chat not found"),
        "blocked": _error(403, "Forbidden: bot was blocked by the user"),
        "kicked": _error(403, "Forbidden: bot was kicked from the supergroup chat"),
        "deactivated": _error(403, "Forbidden: user is deactivated"),
        "no_rights": _error(400, "Bad Request: not enough rights to send text messages to the chat"),
        "upgraded": _error(
            400, "Bad Request: group chat was upgraded to a supergroup chat", migrate_to_chat_id=-100777
        ),
    }

    @property
    def credentials(self) -> dict[str, str]:
        return {"bot_token": self.token}

    def place(self) -> dict[str, Any]:
        return {"url": self.site.url, "chat_id": self.chat_id}

    def rate_limited(self, seconds: float) -> Reply:
        """In whole seconds, in the body alone."""
        return _error(429, f"Too Many Requests: retry after {seconds:.0f}", retry_after=int(seconds))

    def answer(self, request: Request) -> Reply:
        if request.path != f"/bot{self.token}/sendMessage":
            return self.documented["unauthorized" if request.path.endswith("/sendMessage") else "not_found"]
        payload = self.decoded(request)
        if isinstance(payload, str):
            return _error(400, f"Bad Request: {payload}")
        if str(payload["chat_id"]) != self.chat_id:
            return self.documented["chat_not_found"]
        self.accept(request, payload)
        return reply(200, {"ok": True, "result": {"message_id": len(self.accepted), "chat": {}, "date": 0}})

    def excess(self, payload: dict[str, Any]) -> str:
        parsed = Parsed(payload["text"])
        if parsed.problem:
            return f"can't parse entities: {parsed.problem}"
        if len(parsed.text.encode("utf-16-le")) // 2 > MAX_TEXT:
            return "message is too long"
        # Telegram says nothing here and drops them: a fault of ours all the same.
        return "over 100 entities" if len(parsed.entities) > MAX_ENTITIES else ""
