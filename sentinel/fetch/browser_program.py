"""Whether a browser can be had on this machine: Playwright's driver, and a Chromium that was found.

Nothing is ever downloaded: Playwright drives the Chromium of the machine.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
from pathlib import Path
from typing import Final

import msgspec

#: In this order: the headless shell starts in a fifth of the time and needs less memory.
NAMES: Final = (
    "chromium-headless-shell",
    "chrome-headless-shell",
    "chromium",
    "chromium-browser",
    "google-chrome-stable",
    "google-chrome",
)

_NO_DRIVER: Final = "Playwright is not installed: pip install 'sentinel-worker[browser]'"
_NO_PROGRAM: Final = (
    "no Chromium was found: install Debian's chromium-headless-shell (or chromium),"
    " or name one with SENTINEL_BROWSER"
)


class Program(msgspec.Struct, frozen=True):
    """The browser of this machine, or why there is none."""

    #: None: there is none.
    path: Path | None
    #: What is missing and what to install; '' where nothing is.
    trouble: str = ""

    def __bool__(self) -> bool:
        return self.path is not None


def find_program(named: str | None = None) -> Program:
    """The browser to use: `named` (a path or a program's name; `none`: no browser), else what is found."""
    if named == "none":
        return Program(None, "the browser is switched off (SENTINEL_BROWSER=none)")
    if importlib.util.find_spec("playwright") is None:
        return Program(None, _NO_DRIVER)
    if named is not None:
        found = shutil.which(os.path.expanduser(named))  # noqa: PTH111 - it may be a bare name
        return Program(Path(found)) if found else Program(None, f"SENTINEL_BROWSER: no program {named[:200]}")
    for name in NAMES:
        if found := shutil.which(name):
            return Program(Path(found))
    return Program(None, _NO_PROGRAM)
