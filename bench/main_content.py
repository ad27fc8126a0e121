"""How steady the main content of real pages is, as a table.

    python -m bench.main_content [FOLDER] [--misses]

FOLDER as for bench/product_pages.py. Each page is read as it is, with what is around its content changed
(links, footer, a consent banner, a box of other products, a sidebar), and with a sentence more in its
longest paragraph. `same`: pages read alike with each of the first; `seen`: pages on which the sentence is
told; `price`: pages whose true price is kept; `left`: characters, of all that is visible, at the median.
trafilatura, readability and resiliparse are measured where they are installed.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import re
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from selectolax.lexbor import LexborHTMLParser, LexborNode

from bench.product_pages import FOLDERS, amount, pages
from sentinel.extract import content, html
from sentinel.extract.place import lineage, names

# Any: modules that need not be there.

_SENTENCE: Final = " This sentence was not here yesterday."
_DIALOG: Final = re.compile(
    r"cookie|consent|gdpr|sp-cc|modal|popup|hidden|footer|feedback|slider", re.IGNORECASE
)
_OTHERS: Final = (
    "<div class='{name}'><h3>You may also like</h3><ul>"
    "<li><a href=/a>Garden lamp {n}</a> <span>€ {n}.90</span></li>"
    "<li><a href=/b>Cable holder {n}</a> <span>€ 1{n}.90</span></li>"
    "<li><a href=/c>Steel bolt {n}</a> <span>€ 2{n}.90</span></li></ul></div>"
)
#: What is put at the end of the body, once with each number.
AROUND: Final = {
    "consent": "<div id='cookie-consent'><p>We and our {n} partners use cookies to improve your visit. "
    "You may withdraw your consent at any time.</p><button>Accept</button></div>",
    "footer": "<footer><p>© Example {n}. All prices include tax. Visitors today: {n}</p></footer>",
    "others": _OTHERS.replace("{name}", "related-products"),
    "unnamed": _OTHERS.replace("{name}", "b{n}"),
    "sidebar": "<aside><h3>News</h3><p>Our shop in town number {n} has opened its doors.</p></aside>",
    "menu": "<nav><a href=/1>Item {n}</a><a href=/2>Things</a><a href=/3>Sale {n}</a></nav>",
    "links": "<div><a href=/1>Lamps {n}</a><a href=/2>Bolts of steel</a><a href=/3>Sets {n}</a></div>",
}


def by_us(text: str) -> str:
    root = LexborHTMLParser(text).root
    return "" if root is None else content.main_text(root)


def by_trafilatura(text: str) -> str:
    peer: Any = importlib.import_module("trafilatura")
    return peer.extract(text, include_comments=False, favor_recall=True) or ""


def by_readability(text: str) -> str:
    peer: Any = importlib.import_module("readability")
    try:
        body = LexborHTMLParser(peer.Document(text).summary()).body
    except Exception:  # noqa: BLE001 - whatever a peer does is its answer
        return ""
    return "" if body is None else html.visible_text(body)


def by_resiliparse(text: str) -> str:
    peer: Any = importlib.import_module("resiliparse.extract.html2text")
    return peer.extract_plain_text(text, main_content=True)  # type: ignore[no-any-return] # Any


WAYS: Final[dict[str, Callable[[str], str]]] = {
    "ours": by_us,
    "trafilatura": by_trafilatura,
    "readability": by_readability,
    "resiliparse": by_resiliparse,
}


def around(text: str, kind: str, number: int) -> str:
    """The page with something at its end that is none of its content."""
    at = text.lower().rfind("</body>")
    piece = AROUND[kind].replace("{n}", str(number))
    return text + piece if at < 0 else text[:at] + piece + text[at:]


def longer(text: str) -> str | None:
    """The page with a sentence more at the end of its longest paragraph that is no dialog."""
    tree = LexborHTMLParser(text)
    found = max(filter(_is_told, tree.css("p")), key=lambda one: len(one.text(deep=True)), default=None)
    if found is None or len(found.text(deep=True)) < 80:
        return None
    found.insert_child(_SENTENCE)
    return tree.html


def _is_told(paragraph: LexborNode) -> bool:
    return not any(
        html.is_hidden(one) or one.tag in ("footer", "noscript") or _DIALOG.search(names(one))
        for one in lineage(paragraph, 100)
    )


def visible(text: str) -> int:
    root: LexborNode | None = LexborHTMLParser(text).root
    return 0 if root is None else len(html.visible_text(root))


def has_price(text: str, true: list[str]) -> bool:
    """Whether an amount of the truth is somewhere in a text."""
    wanted = {amount(one) for one in true}
    return any(amount(one) in wanted for one in re.findall(r"\d[\d.,' \u00a0]*", text))


def installed() -> Iterator[str]:
    for name in WAYS:
        if name == "ours" or importlib.util.find_spec(name) is not None:
            yield name


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=next(f for f in FOLDERS if f.exists()))
    parser.add_argument("--misses", action="store_true", help="name each page that was read otherwise")
    options = parser.parse_args()
    all_pages = [(key, page.text, truth) for key, page, truth in pages(options.folder)]
    print(f"{'':12} {'same':>8} {'seen':>8} {'price':>8} {'left':>6} {'empty':>6} {'CPU ms':>7}")
    for name in installed():
        print(measure(name, all_pages, misses=options.misses))


def measure(name: str, all_pages: list[tuple[str, str, dict[str, list[str]]]], *, misses: bool) -> str:
    """The line of one way."""
    read, same, asked, seen, told, kept, priced, empty = WAYS[name], 0, 0, 0, 0, 0, 0, 0
    left, spent = [], []
    for key, text, truth in all_pages:
        began = time.process_time()
        before = read(text)
        spent.append(time.process_time() - began)
        left.append(len(before) / max(1, visible(text)))
        empty += not before
        differing = [kind for kind in AROUND if read(around(text, kind, 7)) != read(around(text, kind, 8))]
        asked += len(AROUND)
        same += len(AROUND) - len(differing)
        if (changed := longer(text)) is not None:
            told += 1
            seen += (found := _SENTENCE.strip() in " ".join(read(changed).split()))
            differing += [] if found else ["sentence"]
        if truth.get("price"):
            priced += 1
            kept += has_price(before, truth["price"])
        if misses and differing:
            print(f"    {name} {key[:8]}: {', '.join(differing)}")
    return (
        f"{name:12} {same:4}/{asked} {seen:5}/{told} {kept:5}/{priced} {statistics.median(left):6.2f} "
        f"{empty:6} {statistics.median(spent) * 1000:7.1f}"
    )


if __name__ == "__main__":
    main()
