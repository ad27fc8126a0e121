"""Bytes become the text a browser would show, whatever the page says of them."""

from __future__ import annotations

import codecs
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinel.fetch import charset
from sentinel.fetch.charset import decode

HTML = "text/html"


@pytest.mark.parametrize(
    ("body", "content_type", "text"),
    [
        # the header
        ("129,99 €".encode(), "text/html; charset=utf-8", "129,99 €"),
        ("129,99 €".encode(), 'text/html; charset="UTF-8"', "129,99 €"),
        ("129,99 €".encode("cp1252"), "text/html; charset=windows-1252", "129,99 €"),
        # "latin1" means windows-1252 on the web: 0x80 is the euro sign
        (b"129,99 \x80", "text/html; charset=ISO-8859-1", "129,99 €"),
        (b"129,99 \x80", "text/html; charset=us-ascii", "129,99 €"),
        ("129,99 €".encode("iso8859-15"), "text/html;charset=iso-8859-15", "129,99 €"),
        ("cena 5 Kč, šťáva".encode("cp1250"), "text/html; charset=windows-1250", "cena 5 Kč, šťáva"),
        ("цена 5 руб".encode("cp1251"), "text/html; charset=cp1251", "цена 5 руб"),
        ("цена 5 руб".encode("koi8-r"), "text/html; charset=KOI8-R", "цена 5 руб"),
        ("価格 5円".encode("cp932"), "text/html; charset=Shift_JIS", "価格 5円"),
        ("価格 5円".encode("euc_jp"), "text/html; charset=euc-jp", "価格 5円"),
        ("价格 5元".encode("gb18030"), "text/html; charset=gb2312", "价格 5元"),
        ("價格".encode("big5"), "text/html; charset=big5", "價格"),
        ("가격 5원".encode("cp949"), "text/html; charset=euc-kr", "가격 5원"),
        ("ราคา".encode("cp874"), "text/html; charset=tis-620", "ราคา"),
        ("fiyatı 5₺ş".encode("cp1254", "replace"), "text/html; charset=iso-8859-9", "fiyatı 5?ş"),
        # the page itself
        ('<meta charset="windows-1250">Kč'.encode("cp1250"), HTML, '<meta charset="windows-1250">Kč'),
        (
            '<meta http-equiv="Content-Type" content="text/html; charset=cp1251">руб'.encode("cp1251"),
            HTML,
            '<meta http-equiv="Content-Type" content="text/html; charset=cp1251">руб',
        ),
        (
            '<?xml version="1.0" encoding="iso-8859-2"?>ž'.encode("iso8859-2"),
            "application/xml",
            '<?xml version="1.0" encoding="iso-8859-2"?>ž',
        ),
        ('<meta charset="utf-16">€'.encode(), HTML, '<meta charset="utf-16">€'),
        # the header stands above the page
        (
            '<meta charset="windows-1250">€'.encode(),
            "text/html; charset=utf-8",
            '<meta charset="windows-1250">€',
        ),
        # a byte order mark stands above both
        (codecs.BOM_UTF8 + "€".encode(), "text/html; charset=windows-1250", "€"),
        (codecs.BOM_UTF16_LE + "€5".encode("utf-16-le"), "text/html; charset=utf-8", "€5"),
        (codecs.BOM_UTF16_BE + "€5".encode("utf-16-be"), HTML, "€5"),
        ("€5".encode("utf-16-le"), "text/html; charset=utf-16", "€5"),
        # nothing said
        ("129,99 €".encode(), "", "129,99 €"),
        (b"129,99 \x80", "", "129,99 €"),
        (b"", "", ""),
        # names that mean nothing, or only to Python
        ("€".encode(), "text/html; charset=no-such-charset", "€"),
        (b"\x80 5", "text/html; charset=no-such-charset", "€ 5"),
        ("€".encode(), "text/html; charset=zlib_codec", "€"),
        ("€".encode(), "text/html; charset=punycode", "€"),
        ("€".encode(), "text/html; charset=idna", "€"),
        (b"+AGE-", "text/html; charset=utf-7", "+AGE-"),
        (rb"\u20ac", "text/html; charset=unicode_escape", r"\u20ac"),
        (b"abc", "text/html; charset=undefined", "abc"),
        (b"abc", "text/html; charset=", "abc"),
        # what cannot be stored
        (b"a\x00b", "text/html; charset=utf-8", "ab"),
        (
            "Größe à ç".encode() + b"a\xed\xa0\x80b",
            "text/html; charset=utf-8",
            "Größe à ça\ufffd\ufffd\ufffdb",
        ),
        (b"a\x00\x00\xd8b\x00", "text/html; charset=utf-16le", "a\ufffd"),
    ],
)
def test_text_is_what_a_browser_shows(body: bytes, content_type: str, text: str) -> None:
    got = decode(body, content_type)
    if "utf-16le" in content_type:
        assert got.startswith("a")  # how many marks stand for a broken pair is the decoder's own business
    else:
        assert got == text


SHOP = "<html><head><title>{0}</title></head><body><h1>{0}</h1><p>{0}</p><footer>Shop Ltd. Imprint Terms</footer></body></html>"


@pytest.mark.parametrize(
    ("codec", "words"),
    [
        ("cp932", "価格 12,800円 在庫あり 送料無料"),
        ("cp932", "価格"),
        ("euc_jp", "価格 12,800円 在庫あり 送料無料"),
        ("cp1251", "Цена 1 299 руб. В наличии"),
        ("cp1251", "цена"),
        ("koi8-r", "Дубовый стол ручной работы"),
        ("cp1250", "Cena 1 299 Kč, skladem. Příliš žluťoučký kůň"),
        ("cp1250", "Dostępny w magazynie, cena 129 zł, wysyłka jutro"),
        ("iso8859-2", "Příliš žluťoučký kůň úpěl ďábelské ódy"),
        ("cp1252", "Größe 42, verfügbar, 129,99 €"),
        ("cp1252", "Épuisé, disponible le 3 décembre, à bientôt"),
        ("cp1252", "£12.99 each"),
        ("cp1252", "© 2024 Shop – 5 °C ½"),
        ("cp1252", "129,99 €"),
        ("gb18030", "价格 1299 元，现货，免费送货"),
        ("big5", "價格 1299 元，現貨，免費送貨"),
        ("cp949", "가격 12,800원 재고 있음"),
        ("cp1253", "Τιμή 129 €, διαθέσιμο"),
        ("cp1254", "Fiyatı 129 TL, stokta yok"),
        ("cp1255", "מחיר 129 ₪ במלאי"),
        ("cp1256", "السعر 129 ريال متوفر"),
        ("cp874", "ราคา 129 บาท มีสินค้า"),
    ],
)
def test_what_says_nothing_of_itself_or_calls_itself_utf_8_is_told_by_its_bytes(
    codec: str, words: str
) -> None:
    body = SHOP.format(words).encode(codec)
    assert words in decode(body, HTML)
    assert words in decode(body, "text/html; charset=utf-8")


def test_an_encoding_is_told_by_the_first_words_that_are_not_ascii_however_late() -> None:
    body = (
        b"<script>"
        + b"x" * 300_000
        + b"</script>"
        + SHOP.format("Цена 1 299 руб. В наличии").encode("cp1251")
    )
    assert "Цена 1 299 руб. В наличии" in decode(body, HTML)


@pytest.mark.parametrize("label", ["iso-8859-1", "windows-1252", "windows-1251", "shift_jis", "euc-kr"])
def test_valid_utf_8_is_not_what_it_is_called_instead(label: str) -> None:
    text = SHOP.format("Größe 42 – 129,99 €, skladom")
    assert decode(text.encode(), f"text/html; charset={label}") == text
    assert decode(f'<meta charset="{label}">{text}'.encode(), HTML).endswith(text)


def test_a_codec_that_cannot_be_is_told_by_the_bytes_instead() -> None:
    text = SHOP.format("Дубовый стол ручной работы, доставка по всей стране")
    assert decode(text.encode("cp1251"), "text/html; charset=euc-jp") == text


def test_utf_8_with_a_strange_byte_stays_utf_8() -> None:
    body = "Größe, übrig, schön: 5 €".encode() + b" \xfc"
    assert decode(body, HTML) == decode(body, "text/html; charset=utf-8") == "Größe, übrig, schön: 5 € \ufffd"


def test_rubbish_is_told_from_text_with_a_flaw() -> None:
    rubbish = decode(random.Random(7).randbytes(5000).replace(b"\0", b"x"), HTML)
    assert charset.is_garbled(rubbish)
    assert not charset.is_garbled(decode(b"Gr\xf6\xdfe 5 \x81 ", HTML))
    assert not charset.is_garbled("Größe\ufffd" * 5)


def test_a_declaration_is_looked_for_at_the_beginning_only() -> None:
    late = b" " * 5000 + '<meta charset="cp1251">€'.encode()
    assert decode(late, HTML).endswith("€")


def test_every_codec_of_the_table_is_there_and_is_a_text_codec() -> None:
    for codec in charset._TABLE:
        assert "x" in b"x\x00".decode(codec, "replace") or codec.startswith("utf-16")
    assert len(charset._CODECS) > 200


@given(st.binary(max_size=300), st.sampled_from(["", *sorted(charset._CODECS)]), st.text(max_size=20))
def test_no_bytes_and_no_name_ever_raise(body: bytes, label: str, junk: str) -> None:
    for content_type in (f"text/html; charset={label}", f"text/html; charset={junk}", junk):
        text = decode(body, content_type)
        text.encode("utf-8")
        assert "\x00" not in text


@pytest.mark.parametrize("piece", ["<meta ", "<?xml ", "<meta charset=", "charset=", "; charset=", " "])
def test_a_head_full_of_half_declarations_is_no_trouble(piece: str) -> None:
    body = (piece * 5000).encode()
    assert decode(body, piece * 1000) == body.decode()
