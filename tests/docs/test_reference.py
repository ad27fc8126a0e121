"""docs/api.md is what the docstrings say, and has every public name."""

from __future__ import annotations

import re

import streamq
import streamq.testing
from tests.docs.reference import PAGE, page


def test_the_reference_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "./dev docs writes it anew"


def test_every_public_name_is_in_the_reference() -> None:
    told = set(re.findall(r"^### (\w+)$", page(), re.MULTILINE))
    assert {*streamq.__all__, *streamq.testing.__all__} - told == set()


def test_every_callable_of_the_reference_says_what_it_does() -> None:
    silent = re.findall(r"^#### `((?![A-Z]).+?)`\n\n(?=\n|#)", page(), re.MULTILINE)
    assert silent == []
