"""ntfy, published to as JSON. https://docs.ntfy.sh/publish/#publish-as-json"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from msgspec import Meta, field

from tests.support.http import Reply, Request
from tests.support.receivers.base import Receiver, Strict, reply

#: Bytes: a longer message becomes an attachment; all tags together.
MAX_MESSAGE = 4096
MAX_TAGS = 512


class Body(Strict):
    topic: Annotated[str, Meta(pattern="^[A-Za-z0-9_-]{1,64}$")]
    message: Annotated[str, Meta(min_length=1)]
    title: str = ""
    tags: list[str] = field(default_factory=list)
    priority: Annotated[int, Meta(ge=1, le=5)] = 3
    click: Annotated[str, Meta(max_length=2048, pattern="^https?://")] | None = None
    sequence_id: Annotated[str, Meta(pattern="^[A-Za-z0-9_-]{1,64}$")] | None = None


def _error(status: int, code: int, words: str) -> Reply:
    return reply(
        status, {"code": code, "http": status, "error": words, "link": "https://ntfy.sh/docs/publish/"}
    )


class Ntfy(Receiver):
    kind = "ntfy"
    schema = Body
    topic = "ops-alerts"
    token = "tk_ntfyaccesstoken0123456789abcd"
    documented: ClassVar = {
        "unauthorized": _error(401, 40101, "unauthorized"),
        "forbidden": _error(403, 40301, "forbidden"),
        "invalid_json": _error(400, 40024, "invalid request: body must be valid JSON"),
        "quota": _error(429, 42908, "limit reached: daily message quota reached"),
    }

    @property
    def credentials(self) -> dict[str, str]:
        return {"token": self.token}

    def place(self) -> dict[str, Any]:
        return {"url": self.site.url, "topic": self.topic}

    def rate_limited(self, seconds: float) -> Reply:
        """ntfy itself does not say when; a proxy before it may."""
        words = "limit reached: too many requests"
        error = _error(429, 42901, words)
        return Reply(
            429, error.body, content_type="application/json", headers={"Retry-After": f"{seconds:.0f}"}
        )

    def answer(self, request: Request) -> Reply:
        if request.path != "/":
            return _error(404, 40401, "page not found")
        if request.headers.get("authorization") != f"Bearer {self.token}":
            return self.documented["forbidden" if "authorization" not in request.headers else "unauthorized"]
        payload = self.decoded(request)
        if isinstance(payload, str):
            return self.documented["invalid_json"]
        self.accept(request, payload, known_as=payload.get("sequence_id"))
        return reply(
            200, {"id": f"ntfy{len(self.accepted):08}", "event": "message", "topic": payload["topic"]}
        )

    def excess(self, payload: dict[str, Any]) -> str:
        if len(payload["message"].encode()) > MAX_MESSAGE:
            return "the message would become an attachment"
        return "too many tags" if len("".join(payload.get("tags", ())).encode()) > MAX_TAGS else ""
