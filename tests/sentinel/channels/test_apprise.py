"""Apprise, the real one, to a server on loopback: only where the operator switched it on."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from sentinel.channels.apprise import AppriseSender
from sentinel.credentials import ChannelCredentials
from sentinel.errors import SendFailed, SendLater, SendRefused
from sentinel.model import Channel, CredentialRef, Document
from sentinel.render import to_plain
from tests.support.http import Reply, Site

ALERT = Document(
    alert_id="7",
    workspace_id="acme",
    rule_id="widget",
    kind="change",
    severity="warning",
    title="Widget: @everyone price fell",
    rule="Widget",
    link="",
    occurred_at=0.0,
)
CHANNEL = Channel(id="ops", type="apprise", credentials={"url": CredentialRef(env="APPRISE_URL")})
#: Apprise's own (its e-mail plugin, on Python 3.11 and 3.12).
pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")
Make = Callable[..., AppriseSender]


@pytest.fixture
def sender() -> Make:
    def make(url: str, *schemes: str, deadline: float = 20.0) -> AppriseSender:
        return AppriseSender(schemes, ChannelCredentials({"APPRISE_URL": url}), to_plain, deadline=deadline)

    return make


async def failure(sender: AppriseSender) -> SendFailed:
    with pytest.raises(SendFailed) as caught:
        await sender.send(CHANNEL, ALERT, message_id="m")
    return caught.value


async def test_a_service_that_is_switched_on_is_told(site: Site, sender: Make) -> None:
    site.route("/in", Reply(200))

    await sender(f"json://127.0.0.1:{site.port}/in", "json").send(CHANNEL, ALERT, message_id="m")

    body = json.loads(site.requests[0].body)
    assert body["title"] == "Alert (warning): Widget: @\u2060everyone price fell"
    assert body["type"] == "warning"
    assert "alert 7 · acme" in body["message"]


async def test_by_default_nothing_is_switched_on(site: Site, sender: Make) -> None:
    failed = await failure(sender(f"json://127.0.0.1:{site.port}/hunter2hunter2"))

    assert isinstance(failed, SendRefused)
    assert "SENTINEL_APPRISE_SCHEMES" in failed.detail
    assert "hunter2" not in failed.detail
    assert site.connections == 0


@pytest.mark.parametrize(
    "url", ["hunter2hunter2", "json", "js on://x/hunter2hunter2", "json://", "json://a, xml://b/hunter2"]
)
async def test_what_is_no_single_address_of_a_service_that_is_switched_on_is_not_used(
    url: str, sender: Make
) -> None:
    failed = await failure(sender(url, "json", deadline=5))

    assert "hunter2" not in failed.detail


@pytest.mark.parametrize("reply", [Reply(500), Reply(404)])
async def test_what_is_not_accepted_is_tried_again(site: Site, sender: Make, reply: Reply) -> None:
    site.route("/in", reply)

    assert isinstance(await failure(sender(f"json://127.0.0.1:{site.port}/in", "json")), SendLater)


async def test_a_service_that_hangs_is_left_at_the_deadline(site: Site, sender: Make) -> None:
    site.route("/in", Reply(delay=1.0))

    failed = await failure(sender(f"json://127.0.0.1:{site.port}/in", "json", deadline=0.2))

    assert isinstance(failed, SendLater)
    assert failed.detail == "no answer within 0.2 s"
