"""Any endpoint that follows Standard Webhooks. https://www.standardwebhooks.com"""

from __future__ import annotations

import json
from typing import Any

from standardwebhooks import Webhook as Verifier
from standardwebhooks import WebhookVerificationError

from tests.support.http import Reply, Request
from tests.support.receivers.base import Receiver, reply


class Webhook(Receiver):
    """Accepts what the reference verifier accepts."""

    kind = "webhook"
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

    @property
    def credentials(self) -> dict[str, str]:
        return {"signing_secret": self.secret}

    def place(self) -> dict[str, Any]:
        return {"url": f"{self.site.url}/in"}

    def rate_limited(self, seconds: float) -> Reply:
        return reply(429, "slow down", Retry_After=f"{seconds:.0f}")

    def answer(self, request: Request) -> Reply:
        try:
            Verifier(self.secret).verify(request.body, dict(request.headers))
        except WebhookVerificationError as error:
            self.refused.append(str(error))
            return reply(401, "not signed")
        self.accept(request, json.loads(request.body))
        return reply(202, "")
