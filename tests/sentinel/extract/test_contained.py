from __future__ import annotations

import os
import signal

import anyio
import pytest

from sentinel.errors import CheckFailure
from sentinel.extract import Extractor, extract, html, open_extractor
from sentinel.extract import contained as contained_module
from sentinel.extract.contained import is_cheap
from sentinel.model import Extraction, Fetched, Field, Rule
from tests.sentinel.extract.pages import page

PRICE = Extraction(method="css", selector=".price")


def large(price: str = "12 €") -> Fetched:
    return page(f"<p class=price>{price}</p>" + "<div><p>x</p></div>" * 5_000)


def child_of(extractor: Extractor) -> int:
    (child,) = extractor._idle
    return child._process.pid


async def test_a_large_page_is_read_in_a_child_with_the_same_result() -> None:
    async with open_extractor(1) as extractor:
        assert not is_cheap(large(), PRICE)
        assert await extractor.extract(large("\ud8001 €"), PRICE) == extract(large("?1 €"), PRICE)
        first = child_of(extractor)
        assert (await extractor.extract(large("13 €"), PRICE)).raw == "13 €"
        assert child_of(extractor) == first


async def test_a_small_page_needs_no_child() -> None:
    async with open_extractor(1) as extractor:
        small = page("<p class=price>1 €</p>")
        assert is_cheap(small, PRICE)
        assert (await extractor.extract(small, PRICE)).raw == "1 €"
        assert not extractor._idle


@pytest.mark.parametrize(
    ("text", "selector"),
    [
        ("<p></p>" * 1_900, ".nope ~ p ~ p"),
        ("<div>" * 1_900, ".nope div div"),
        ("<div>" * 1_900, "div:has(div:has(.nope))"),
        ("".join(f"<p><font a={i}>x" for i in range(900)), "p"),
        ("".join(f"<P><FONT a={i}>x" for i in range(900)), "p"),
    ],
)
def test_a_small_page_may_be_costly(text: str, selector: str) -> None:
    assert not is_cheap(page(text), Extraction(method="css", selector=selector))


def test_what_people_write_on_what_shops_send_is_cheap() -> None:
    shop = page("<div><div><p class=info><b class=price>1</b></p></div></div>" * 400)
    for selector in (".price", "div .info > .price", "#main p:nth-child(2) b", "h1 + .price"):
        assert is_cheap(shop, Extraction(method="css", selector=selector))


async def test_the_fields_of_a_record_are_read_from_one_parsed_page(monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a record of three fields, and an eye on the parser
    parsed: list[str] = []
    parse = html.parse
    monkeypatch.setattr(html, "parse", lambda text: parsed.append(text) or parse(text))
    names = ("price", "was", "title")
    rule = Rule(
        id="offer",
        url="https://shop.example.com/",
        type="record",
        fields={
            name: Field(type="text", extraction=Extraction(method="css", selector=f".{name}"))
            for name in names
        },
    )
    offer = page("".join(f"<p class={name}>{name}!</p>" for name in names))
    async with open_extractor(1) as extractor:
        # When it is read
        read = await extractor.read(offer, rule)
    # Then every field is there, and the page was parsed once
    assert {name: field.raw for name, field in (read.fields or {}).items()} == {n: f"{n}!" for n in names}
    assert parsed == [offer.text]


async def test_a_failure_in_the_child_keeps_its_code() -> None:
    async with open_extractor(1) as extractor:
        with pytest.raises(CheckFailure, match="EXTRACT_SELECTOR_NOT_FOUND: nothing matches"):
            await extractor.extract(large(), Extraction(method="css", selector=".gone"))


async def test_an_empty_value_is_allowed_there_too() -> None:
    async with open_extractor(1) as extractor:
        assert (await extractor.extract(large(""), PRICE, allow_empty=True)).raw == ""


async def test_a_page_that_takes_too_long_costs_one_child_and_the_next_is_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(contained_module, "DEADLINE", 1.0)
    slow = page("<p></p>" * 4_000)
    async with open_extractor(1) as extractor:
        with pytest.raises(CheckFailure, match="EXTRACT_PARSE_ERROR: reading the page took"):
            await extractor.extract(slow, Extraction(method="css", selector=".nope ~ p ~ p"))
        monkeypatch.undo()
        assert (await extractor.extract(large(), PRICE)).raw == "12 €"


async def test_a_child_that_dies_between_two_pages_costs_one_check() -> None:
    async with open_extractor(1) as extractor:
        await extractor.extract(large(), PRICE)
        dead = child_of(extractor)
        os.kill(dead, signal.SIGKILL)
        with pytest.raises(CheckFailure, match="EXTRACT_PARSE_ERROR"):
            await extractor.extract(large(), PRICE)
        assert (await extractor.extract(large(), PRICE)).raw == "12 €"


async def test_a_reading_that_is_cancelled_leaves_no_answer_for_the_next() -> None:
    async with open_extractor(1) as extractor:
        with anyio.move_on_after(0.3):
            await extractor.extract(
                page("<p></p>" * 4_000), Extraction(method="css", selector=".nope ~ p ~ p")
            )
        assert (await extractor.extract(large("13 €"), PRICE)).raw == "13 €"


async def test_no_child_outlives_the_extractor() -> None:
    async with open_extractor(2) as extractor:
        async with anyio.create_task_group() as group:
            for _ in range(4):
                group.start_soon(extractor.extract, large(), PRICE)
        pids = [child._process.pid for child in extractor._idle]
        assert 1 <= len(pids) <= 2
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


async def test_a_child_sees_no_setting_and_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPS_WEBHOOK_SECRET", "whsec_made_up")
    async with open_extractor(1) as extractor:
        await extractor.extract(large(), PRICE)
        async with await anyio.open_file(f"/proc/{child_of(extractor)}/environ", "rb") as file:
            assert b"whsec_made_up" not in await file.read()
