"""Text of strangers, before it is shown."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinel.render import clean

HOSTILE = [
    ("\u202eمtxt.exe", "مtxt.exe"),  # corpora/hostile-inputs: bidi override in a title
    ("ok\n2026-01-01 ERROR forged line", "ok 2026-01-01 ERROR forged line"),  # the same: log forging
    ("a\r\nb\rc\u2028d\x85e\x0bf", "a b c d e f"),
    ("\x1b[31mred\x1b[0m", "red"),
    ("\x9b31mred", "red"),
    ("\x1b]0;new window title\x07text", "text"),
    ("\x1b]8;;http://evil.example/\x1b\\click\x1b]8;;\x1b\\", "click"),
    ("\x1b]52;c;cm0gLXJm\x07", ""),  # writes the clipboard
    ("\x1b\x1b[0m[2Jcleared", "\ufffd[2Jcleared"),  # what is left of a nested escape is no escape
    ("\x1b]never closed", "never closed"),
    ("nul\x00 bell\x07 back\x08 del\x7f", "nul\ufffd bell\ufffd back\ufffd del\ufffd"),
    ("half\ud83d", "half\ufffd"),
    ("in\u200bvis\u00adible\ufeff", "invisible"),
    ("tag\U000e0041\U000e007f", "tag"),
    ("  129,99 € \t 中文 👩‍🔬 ", "129,99 € 中文 👩‍🔬"),  # control: people's own characters stay
]


@pytest.mark.parametrize(("text", "shown"), HOSTILE)
def test_a_line_shows_only_its_own_characters(text: str, shown: str) -> None:
    assert clean.line(text, 300) == shown


@given(st.text(st.characters(codec=None), max_size=400), st.integers(1, 120))
def test_whatever_comes_a_line_is_one_line_of_bounded_length_without_controls(text: str, limit: int) -> None:
    shown = clean.line(text, limit)

    assert len(shown) <= limit
    assert len(shown.splitlines()) <= 1
    assert not any(ord(character) < 32 or 0x7F <= ord(character) < 0xA0 for character in shown)
    shown.encode()


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)",
        "JaVaScRiPt:alert(1)",
        "data:text/html,<script>",
        "file:///etc/passwd",
        "https://a.example/\x1b[31m",
        "https://a.example/ b",
        'https://a.example/"onmouseover="x',
        "https://a.example/<script>",
        "https://a.example/\u202egnp.exe",
        "//a.example/",
        "https://a.example/" + "x" * 9000,
        "",
    ],
)
def test_what_is_not_a_plain_web_address_is_no_link(url: str) -> None:
    assert clean.link(url) == ""


@pytest.mark.parametrize(
    "url", ["http://a.example", "https://a.example:8443/x?y=1&z=%20#f", "https://bücher.example/ü"]
)
def test_a_plain_web_address_is_a_link(url: str) -> None:
    assert clean.link(url) == url


def test_a_json_value_is_cleaned_in_every_corner_and_bounded_in_depth_and_size() -> None:
    bottomless: object = "x"
    for _ in range(5000):
        bottomless = [bottomless]

    cleaned = clean.value(
        {
            "a\x1b[1m": ["\x00", {"b": "\u202e!"}],
            "n": 12,
            "big": 10**5000,
            "deep": bottomless,
            "many": list(range(10_000)),
        }
    )

    assert isinstance(cleaned, dict)
    assert cleaned["a"] == ["\ufffd", {"b": "!"}]
    assert cleaned["n"] == 12
    assert isinstance(cleaned["big"], str)
    assert len(cleaned["many"]) == clean.MAX_ENTRIES
