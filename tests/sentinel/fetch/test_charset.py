"""Bytes become the text a browser would show, whatever the page says of them."""

from __future__ import annotations

import codecs

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
        (b"\x80 5", "text/html; charset=no-such-charset", "\ufffd 5"),
        ("€".encode(), "text/html; charset=zlib_codec", "€"),
        ("€".encode(), "text/html; charset=punycode", "€"),
        ("€".encode(), "text/html; charset=idna", "€"),
        (b"+AGE-", "text/html; charset=utf-7", "+AGE-"),
        (rb"\u20ac", "text/html; charset=unicode_escape", r"\u20ac"),
        (b"abc", "text/html; charset=undefined", "abc"),
        (b"abc", "text/html; charset=", "abc"),
        # what cannot be stored
        (b"a\x00b", "text/html; charset=utf-8", "ab"),
        (b"a\xed\xa0\x80b", "text/html; charset=utf-8", "a\ufffd\ufffd\ufffdb"),
        (b"a\x00\x00\xd8b\x00", "text/html; charset=utf-16le", "a\ufffd"),
    ],
)
def test_text_is_what_a_browser_shows(body: bytes, content_type: str, text: str) -> None:
    got = decode(body, content_type)
    if "utf-16le" in content_type:
        assert got.startswith("a")  # how many marks stand for a broken pair is the decoder's own business
    else:
        assert got == text


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
