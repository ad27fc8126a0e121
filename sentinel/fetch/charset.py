"""Bytes to text, as a browser would or better, and without ever failing.

Order of belief: a byte order mark, the charset of the Content-Type, what the page says of itself
(`<meta>`, XML declaration), valid UTF-8, and what the bytes look like (chardetng, which Firefox asks).
What is declared is not believed against the bytes: valid UTF-8 is no "latin1", and what is no UTF-8 at all
is not UTF-8 for being called so. Only encodings of the WHATWG Encoding Standard are known here: Python has
codecs (`zlib_codec`, `punycode`, `idna`) that a page must never be able to name.
"""

from __future__ import annotations

import codecs
import re
from typing import Final

from chardetng_py.detector import EncodingDetector

#: Bytes looked through for a declaration. The standard says 1,024; pages with long comments exist.
_SNIFFED: Final = 4096

#: Python codec <- labels, as in the WHATWG Encoding Standard (https://encoding.spec.whatwg.org/#names-and-labels).
#: Single-byte "latin" labels mean windows-1252 there, and Thai, Turkish and Korean ones their supersets.
_TABLE: Final = {
    "utf-8": "unicode-1-1-utf-8 unicode11utf8 unicode20utf8 utf-8 utf8 x-unicode20utf8",
    "cp866": "866 cp866 csibm866 ibm866",
    "iso8859-2": "csisolatin2 iso-8859-2 iso-ir-101 iso8859-2 iso88592 iso_8859-2 iso_8859-2:1987 l2 latin2",
    "iso8859-3": "csisolatin3 iso-8859-3 iso-ir-109 iso8859-3 iso88593 iso_8859-3 iso_8859-3:1988 l3 latin3",
    "iso8859-4": "csisolatin4 iso-8859-4 iso-ir-110 iso8859-4 iso88594 iso_8859-4 iso_8859-4:1988 l4 latin4",
    "iso8859-5": "csisolatincyrillic cyrillic iso-8859-5 iso-ir-144 iso8859-5 iso88595 iso_8859-5"
    " iso_8859-5:1988",
    "iso8859-6": "arabic asmo-708 csiso88596e csiso88596i csisolatinarabic ecma-114 iso-8859-6 iso-8859-6-e"
    " iso-8859-6-i iso-ir-127 iso8859-6 iso88596 iso_8859-6 iso_8859-6:1987",
    "iso8859-7": "csisolatingreek ecma-118 elot_928 greek greek8 iso-8859-7 iso-ir-126 iso8859-7 iso88597"
    " iso_8859-7 iso_8859-7:1987 sun_eu_greek",
    "iso8859-8": "csiso88598e csisolatinhebrew hebrew iso-8859-8 iso-8859-8-e iso-ir-138 iso8859-8 iso88598"
    " iso_8859-8 iso_8859-8:1988 visual csiso88598i iso-8859-8-i logical",
    "iso8859-10": "csisolatin6 iso-8859-10 iso-ir-157 iso8859-10 iso885910 l6 latin6",
    "iso8859-13": "iso-8859-13 iso8859-13 iso885913",
    "iso8859-14": "iso-8859-14 iso8859-14 iso885914",
    "iso8859-15": "csisolatin9 iso-8859-15 iso8859-15 iso885915 iso_8859-15 l9",
    "iso8859-16": "iso-8859-16",
    "koi8-r": "cskoi8r koi koi8 koi8-r koi8_r",
    "koi8-u": "koi8-ru koi8-u",
    "mac-roman": "csmacintosh mac macintosh x-mac-roman",
    "cp874": "dos-874 iso-8859-11 iso8859-11 iso885911 tis-620 windows-874",
    "cp1250": "cp1250 windows-1250 x-cp1250",
    "cp1251": "cp1251 windows-1251 x-cp1251",
    "cp1252": "ansi_x3.4-1968 ascii cp1252 cp819 csisolatin1 ibm819 iso-8859-1 iso-ir-100 iso8859-1 iso88591"
    " iso_8859-1 iso_8859-1:1987 l1 latin1 us-ascii windows-1252 x-cp1252 x-user-defined",
    "cp1253": "cp1253 windows-1253 x-cp1253",
    "cp1254": "cp1254 csisolatin5 iso-8859-9 iso-ir-148 iso8859-9 iso88599 iso_8859-9"
    " iso_8859-9:1989 l5 latin5 windows-1254 x-cp1254",
    "cp1255": "cp1255 windows-1255 x-cp1255",
    "cp1256": "cp1256 windows-1256 x-cp1256",
    "cp1257": "cp1257 windows-1257 x-cp1257",
    "cp1258": "cp1258 windows-1258 x-cp1258",
    "mac-cyrillic": "x-mac-cyrillic x-mac-ukrainian",
    "gb18030": "chinese csgb2312 csiso58gb231280 gb18030 gb2312 gb_2312 gb_2312-80 gbk iso-ir-58 x-gbk",
    "big5hkscs": "big5 big5-hkscs cn-big5 csbig5 x-x-big5",
    "euc_jp": "cseucpkdfmtjapanese euc-jp x-euc-jp",
    "iso2022_jp": "csiso2022jp iso-2022-jp",
    "cp932": "csshiftjis ms932 ms_kanji shift-jis shift_jis sjis windows-31j x-sjis",
    "cp949": "cseuckr csksc56011987 euc-kr iso-ir-149 korean ks_c_5601-1987 ks_c_5601-1989 ksc5601 ksc_5601"
    " windows-949",
    "utf-16-be": "unicodefffe utf-16be",
    "utf-16-le": "csunicode iso-10646-ucs-2 ucs-2 unicode unicodefeff utf-16 utf-16le",
}
_CODECS: Final = {label: codec for codec, labels in _TABLE.items() for label in labels.split()}

_BOMS: Final = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
)

_HEADER_CHARSET = re.compile(r"(?i);\s*charset\s*=\s*[\"']?([^\s\"';,]{1,64})")
_META_CHARSET = re.compile(rb"(?i)<meta\s[^<>]{0,500}?charset\s*=\s*[\"']?\s*([A-Za-z0-9_:.-]{1,64})")
_XML_ENCODING = re.compile(rb"^\s{0,16}<\?xml\s[^<>]{0,200}?encoding\s*=\s*[\"']([A-Za-z0-9_:.-]{1,64})")
_HALVES = re.compile("[\ud800-\udfff]")

#: Bytes that are looked at to tell an encoding, from a little before the first that is not ASCII.
_LOOKED_AT: Final = 65536
_BEFORE: Final = 1024
_NOT_ASCII: Final = re.compile(rb"[\x80-\xff]")
#: Where the one-byte encodings have their letters; below that are signs (of currencies, of copyright), and a
#: page that has nothing else is told from none: it is western.
_LETTERS: Final = re.compile(rb"[\xc0-\xd6\xd8-\xf6\xf8-\xff]")
#: More bytes than one a character.
_WIDE: Final = frozenset(
    {"gb18030", "big5hkscs", "euc_jp", "iso2022_jp", "cp932", "cp949", "utf-16-be", "utf-16-le"}
)
_MARK: Final = "\ufffd"
#: Characters that were lost, or that no text has: so many, and that share, and it is no text.
_MANY: Final = 8
_SHARE: Final = 0.05
_NO_TEXT: Final = re.compile("[\x01-\x08\x0b\x0e-\x1a\x1c-\x1f\ufffd]")


def decode(body: bytes, content_type: str) -> str:
    """The text of `body`. Never raises: what does not decode becomes U+FFFD.

    NUL and lone surrogates are left out: neither databases nor JSON take them.
    """
    for mark, codec in _BOMS:
        if body.startswith(mark):
            return _read(body[len(mark) :], codec)
    declared = _HEADER_CHARSET.search(content_type[:1000])
    codec_of_header = _CODECS.get(declared[1].lower()) if declared else None
    found = codec_of_header or _codec_of_page(body[:_SNIFFED])
    if found is None or found == "utf-8":
        try:
            return _without_nul(body.decode("utf-8"))
        except UnicodeDecodeError:
            return _by_name_or_looks(body, "utf-8")
    if body.isascii():  # most of those that declare anything else; ISO-2022-JP writes all by ASCII
        return _read(body, found)
    return _against_the_bytes(body, found)


def is_garbled(text: str) -> bool:
    """Whether so much of a decoded body was lost, or is nothing a text has, that it is none."""
    start = text[:_LOOKED_AT]
    # Looking for one character costs next to nothing, and no rubbish is without it in any encoding.
    return _MARK in start and len(_NO_TEXT.findall(start)) > max(_MANY, len(start) * _SHARE)


def _by_name_or_looks(body: bytes, codec: str) -> str:
    """A body that is not valid in what it is called: a text with a flaw, or another encoding."""
    text = _read(body, codec)
    lost = text.count(_MARK)
    kept = len(text) - len(text.encode("ascii", "ignore")) - lost
    # Few bytes pass for UTF-8 that are none; by the other wide ones most bytes are something.
    return text if kept > lost * (1 if codec == "utf-8" else 10) else _read(body, _looks_like(body))


def _against_the_bytes(body: bytes, codec: str) -> str:
    """A body that has more than ASCII in it, by a codec other than UTF-8, if it can be by that."""
    try:
        if codec in _WIDE:
            body.decode(codec)  # any bytes are a text by the others
            return _read(body, codec)
    except UnicodeDecodeError:
        pass
    try:
        return _without_nul(body.decode("utf-8"))
    except UnicodeDecodeError:
        return _by_name_or_looks(body, codec) if codec in _WIDE else _read(body, codec)


def _looks_like(body: bytes) -> str:
    """The codec of a body that is no UTF-8, by its bytes."""
    first = _NOT_ASCII.search(body)
    start = max(0, first.start() - _BEFORE) if first is not None else 0
    piece = body[start : start + _LOOKED_AT]
    detector = EncodingDetector()
    detector.feed(piece, last=True)
    name = detector.guess(tld=None, allow_utf8=False).lower()
    codec = name if name in _TABLE else _CODECS.get(name, "cp1252")
    return codec if codec in _WIDE or _LETTERS.search(piece) else "cp1252"


def _codec_of_page(head: bytes) -> str | None:
    """What the page says of itself, where that can be true."""
    match = _XML_ENCODING.search(head) or _META_CHARSET.search(head)
    if match is None:
        return None
    codec = _CODECS.get(match[1].decode("ascii").lower())
    # The declaration was readable as ASCII, so it cannot be UTF-16 (the standard says so too).
    return "utf-8" if codec is not None and codec.startswith("utf-16") else codec


def _read(body: bytes, codec: str) -> str:
    text = body.decode(codec, "replace")
    # Neither of the usual two brings forth half of a pair, and looking for one costs as much as decoding.
    return _without_nul(text if codec in ("utf-8", "cp1252") or _is_sound(text) else _HALVES.sub("", text))


def _without_nul(text: str) -> str:
    return text if "\x00" not in text else text.replace("\x00", "")


def _is_sound(text: str) -> bool:
    """Without lone surrogates; encoding is ten times as fast as looking for them."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
