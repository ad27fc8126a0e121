"""Pictures of what people are sent, for docs/pictures: python -m bench.pictures (wants Debian's chromium).

What is drawn is the HTML part of the mails of made-up alerts (sentinel.render.samples), by a real browser.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from sentinel.render.email_html import to_html
from sentinel.render.samples import sample

PICTURES = Path(__file__).resolve().parents[1] / "docs" / "pictures"
PATIENCE = 60.0

_FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
#: Side by side: a phone in the light, a wide window in the dark. A frame is as narrow as it is told to be.
_BOTH = """<!DOCTYPE html><meta charset="utf-8"><body style="margin:0;display:flex;background:#888">
<iframe srcdoc="{page}" style="border:0;width:{width}px;height:{height}px"></iframe></body>"""


def find_chromium() -> str | None:
    """The browser, where there is one."""
    return shutil.which("chromium")


def draw(page: str, png: Path, *, width: int, height: int, dark: bool = False) -> None:
    """The top `height` pixels of an HTML page in a window `width` wide. Raises RuntimeError."""
    chromium = find_chromium()
    if chromium is None:
        raise RuntimeError("there is no chromium: apt-get install chromium")
    with tempfile.TemporaryDirectory() as folder:
        framed = _BOTH.format(
            page=page.replace("&", "&amp;").replace('"', "&quot;"), width=width, height=height
        )
        (Path(folder) / "page.html").write_text(framed, encoding="utf-8")
        done = subprocess.run(
            [
                chromium,
                *_FLAGS,
                f"--user-data-dir={folder}/profile",
                f"--window-size={max(width, 500)},{height}",
                f"--screenshot={folder}/page.png",
                *(["--blink-settings=preferredColorScheme=0"] if dark else []),
                f"file://{folder}/page.html",
            ],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        if not (made := Path(folder) / "page.png").exists():
            raise RuntimeError(f"chromium made no picture: {done.stderr[-500:]}")
        png.write_bytes(made.read_bytes())


def main() -> int:
    """Draw anew what docs/pictures holds."""
    PICTURES.mkdir(exist_ok=True)
    draw(to_html(sample("price")), PICTURES / "alert-email.png", width=640, height=380)
    draw(to_html(sample("text")), PICTURES / "alert-email-dark.png", width=640, height=420, dark=True)
    for made in sorted(PICTURES.glob("*.png")):
        print(f"{made.relative_to(PICTURES.parents[1])}: {made.stat().st_size} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
