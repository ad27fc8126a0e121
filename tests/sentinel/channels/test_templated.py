"""A sender that is given the words of the channel's template."""

from __future__ import annotations

from sentinel.channels import ConsoleSender, TemplatedSender
from sentinel.model import Channel, ChannelTemplate
from sentinel.render import to_text
from sentinel.render.contained import open_templates
from sentinel.render.samples import sample


async def test_the_channels_words_are_sent_and_without_a_template_the_usual_ones() -> None:
    written: list[str] = []
    template = ChannelTemplate(title="{{ rule }}", body="Now {{ fields[0].after }}")

    async with open_templates() as templates:
        sender = TemplatedSender(ConsoleSender(written.append, to_text), templates.words)
        for channel in (Channel(id="a", type="console", template=template), Channel(id="b", type="console")):
            await sender.send(channel, sample("price"), message_id="m")

    title, words, *_ = written[0].splitlines()
    assert (title, words.strip()) == ("ALERT warning: Widget at Example", "Now 129.99 EUR")
    assert written[1] == to_text(sample("price"))
