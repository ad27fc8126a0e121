"""How often a lost element is found again: right, wrong, no answer, by kind of change, as a table.

    python -m bench.healing [--pages FOLDER] [--misses] [--seed N]

Pairs of our own making: a page, and the same page as its shop might build it anew, with the true
element known. Pages: real product pages (`--pages` as for bench/product_pages.py, and what is committed
for tests) with the selectors of tests/end_to_end/pages.py and the element that holds the true price, and
shops from templates. Wherever the element is still there, its id and classes are renamed first, so that the
old selector is gone in each pair. Where it is gone, the right answer is none.

Weights, floor and margin were tuned on the kinds marked "tuned"; the others were held out.
Right: the true element, or a wrapper of it, and the same value. Deterministic for a seed.
"""

from __future__ import annotations

import argparse
import copy
import hashlib
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

from lxml import etree
from selectolax.lexbor import LexborNode

from bench.product_pages import FOLDERS
from sentinel.decide.money import read_price
from sentinel.extract import css, fingerprint, healing, xpath
from sentinel.extract.page import Page
from sentinel.model import Fetched, Fingerprint
from tests.end_to_end.pages import SELECTORS, load

# Any: lxml's elements.

#: Where the true element is in a tree that is changed.
MARK: Final = "sentinel-truth"
#: Likeness of another element that says the same: the page is no base then.
TWIN: Final = 0.7
OUTCOMES: Final = ("right", "wrong", "none")


class Base(NamedTuple):
    """A page before, and the element that a rule reads there."""

    name: str
    tree: Any
    attribute: str
    known: Fingerprint


class Pair(NamedTuple):
    """The page after; `there`: the element still is."""

    text: str
    there: bool


# --- pages ----------------------------------------------------------------------------------------


def page_of(text: str) -> Page:
    """As extract sees it."""
    url = "http://shop.example/"
    headers = {"content-type": "text/html"}
    return Page(Fetched(url=url, final_url=url, status=200, headers=headers, body=b"", text=text))


def bases(folders: list[Path], seed: int) -> Iterator[Base]:
    """Real pages, each known element once, then shops from templates."""
    pages = {page.key: page for page in load()}
    for folder in folders:
        pages |= {page.key: page for page in load(folder)}
    for key, page in sorted(pages.items()):
        seen = page_of(page.body.decode("utf-8", "replace"))
        known = set()
        for (name, kind), (selector, attribute) in SELECTORS.items():
            if name == page.name:
                node = css.first(seen.tree, selector)
                if node is not None and node.mem_id not in known:
                    known.add(node.mem_id)
                    yield from base(f"{name} {kind}", seen, node, attribute)
        node = true_price(seen, page.price or ())
        if node is not None and node.mem_id not in known:
            yield from base(f"{key[:8]} true price", seen, node, "text")
    for number in range(12):
        seen = page_of(shop(random.Random(f"{seed}:{number}")))
        node = css.first(seen.tree, "[data-true]")
        if node is not None:
            yield from base(f"shop {number}", seen, node, "text")


def base(name: str, seen: Page, node: LexborNode, attribute: str) -> Iterator[Base]:
    """The base, if the element says anything."""
    raw = css.of(node, attribute, name)
    if not raw:
        return
    tree = xpath._copied(seen.root(None))  # noqa: SLF001 - the tree as the program itself copies it
    for copied, original in zip(tree.root.iter(), tree.nodes, strict=True):
        if original.mem_id == node.mem_id:
            copied.attrib.pop("data-true", None)
            copied.set(MARK, "1")
    known = fingerprint.take(node, raw)
    if has_twin(seen, node, known, attribute):
        return
    kept = tuple(one for one in known.attributes if not one.startswith("data-true"))
    yield Base(name, tree.root, attribute, Fingerprint(**{**_parts(known), "attributes": kept}))


def has_twin(seen: Page, node: LexborNode, known: Fingerprint, attribute: str) -> bool:
    """The page says it twice in one way (for small screens): which is meant, nobody could say."""
    ranked = healing.rank(healing.candidates(seen.root(None), known, attribute), known)
    return any(
        score > TWIN
        and not _in_line(one.node, node)
        and fingerprint.numbers(one.text) == fingerprint.numbers(known.text)
        for score, one in ranked
    )


def _parts(known: Fingerprint) -> dict[str, Any]:
    return {name: getattr(known, name) for name in known.__struct_fields__}


def true_price(seen: Page, truths: tuple[str, ...]) -> LexborNode | None:
    """The first innermost element that says the true price and nothing else."""
    wanted = {price.amount for one in truths if (price := read_price(one)) is not None}
    body = seen.tree.css_first("body")
    if body is None or not wanted:
        return None
    probe = Fingerprint(tag="", shape="price", text="")
    for one in healing.candidates(body, probe, "text"):
        price = read_price(one.text) if len(one.text) < 30 else None
        if price is not None and price.amount in wanted and one.node.css_first("*") is not None:
            inside = [
                other for other in one.node.css("*") if other.text(deep=True).strip() == one.text.strip()
            ]
            return inside[-1] if inside else one.node
    return None


def shop(chance: random.Random) -> str:
    """A product page of one of four kinds of shop."""
    hashed = chance.random() < 0.4
    names = chance.choice(
        (
            ("product-box", "price-box", "price", "old", "card"),
            ("pdp", "buy", "amount", "was", "tile"),
            ("detail__info", "detail__offer", "detail__value", "detail__crossed", "teaser"),
            ("artikel", "kaufen", "preis", "statt", "kachel"),
        )
    )
    box, buy, value, old, card = (f"{one}_{chance.getrandbits(24):06x}" if hashed else one for one in names)
    money = chance.choice(("{} €", "€{}", "${}", "{} Kč", "£{}"))
    price = chance.randint(1_000, 90_000) / 100
    title = chance.choice(("Lamp Orion", "Trekking Boot", "Coffee Mill 3000", "Desk 120 x 60"))
    wrap = chance.choice(("<div class='{0}'>{1}</div>", "<p class='{0}'><b>Price:</b> {1}</p>", "{1}"))
    before = (
        f"<del class='{old}'>{money.format(f'{price * 1.25:.2f}')}</del> " if chance.random() < 0.5 else ""
    )
    own = f"<span class='{value}' data-true='1'>{money.format(f'{price:.2f}')}</span>"
    cards = "".join(
        f"<li class='{card}'><a href='/p{n}'><h3>Other thing {n}</h3>"
        f"<span class='{value}'>{money.format(f'{price * chance.uniform(0.4, 1.8):.2f}')}</span></a></li>"
        for n in range(chance.choice((0, 3, 6)))
    )
    return (
        f"<html><head><title>{title}</title></head><body><header><nav><a href='/'>Home</a></nav>"
        f"<span class='cart'>{money.format('0.00')}</span></header><main><div class='{box}'><h1>{title}</h1>"
        f"<div class='{buy}'>{wrap.format('row', before + own)}<button>Buy</button><p class='ship'>Shipping "
        f"{money.format('4.90')}</p></div><p>About it, in {chance.randint(2, 9)} words.</p></div>"
        f"<section><h2>You may also like</h2><ul>{cards}</ul></section></main></body></html>"
    )


# --- changes --------------------------------------------------------------------------------------


def _marked(tree: Any) -> Any:
    return next(one for one in tree.iter() if one.get(MARK))


def _unhooked(tree: Any, chance: random.Random) -> Any:
    """The element, with its id and classes renamed: everywhere on the page, as a build does."""
    own = _marked(tree)
    renamed = {one: _made_up(one, chance) for one in (own.get("class") or "").split()}
    for one in tree.iter():
        if classes := one.get("class"):
            one.set("class", " ".join(renamed.get(name, name) for name in classes.split()))
    if own.get("id"):
        own.set("id", _made_up(own.get("id"), chance))
    return own


def _made_up(name: str, chance: random.Random) -> str:
    digest = hashlib.sha256(f"{name}{chance.random()}".encode()).hexdigest()
    return "".join(chance.choice("bdfgklmnprst") + chance.choice("aeiou") for _ in range(3)) + digest[:0]


def _new_number(own: Any, chance: random.Random) -> None:
    """Another price in the same words."""
    factor = chance.choice((0.7, 0.85, 0.95, 1.1, 1.3))

    def other(text: str | None) -> str | None:
        if not text:
            return text
        digits = "".join(char for char in text if char.isdigit())
        if not digits:
            return text
        new = iter(str(int(int(digits) * factor)).rjust(len(digits), "1")[-len(digits) :])
        return "".join(next(new) if char.isdigit() else char for char in text)

    for one in own.iter():
        one.text = other(one.text)
        if one is not own:
            one.tail = other(one.tail)
    for name in ("content", "value"):
        if own.get(name):
            own.set(name, other(own.get(name)) or "")


def rename_all(tree: Any, chance: random.Random) -> bool:
    """Every class of the page gets another name."""
    names: dict[str, str] = {}
    for one in tree.iter():
        if classes := one.get("class"):
            one.set("class", " ".join(names.setdefault(n, _made_up(n, chance)) for n in classes.split()))
    own = _marked(tree)
    if own.get("id"):
        own.set("id", _made_up(own.get("id"), chance))
    return True


def hash_suffixes(tree: Any, chance: random.Random) -> bool:
    """Every class gets a hash at its end, as CSS modules do."""
    salt = chance.random()
    for one in tree.iter():
        if classes := one.get("class"):
            hashed = (
                f"{n}__{hashlib.sha256(f'{n}{salt}'.encode()).hexdigest()[:5]}" for n in classes.split()
            )
            one.set("class", " ".join(hashed))
    own = _marked(tree)
    if own.get("id"):
        own.set("id", _made_up(own.get("id"), chance))
    return True


def _wrap(own: Any, tag: str) -> None:
    parent = own.getparent()
    wrapper = etree.Element(tag)
    wrapper.tail, own.tail = own.tail, None
    parent.replace(own, wrapper)
    wrapper.append(own)


def wrapper_added(tree: Any, chance: random.Random) -> bool:
    own = _unhooked(tree, chance)
    for _ in range(chance.choice((1, 2))):
        _wrap(own, chance.choice(("bdi", "span")))
    return True


def wrapper_removed(tree: Any, chance: random.Random) -> bool:
    """The element's parent goes, its children stay in its place."""
    own = _unhooked(tree, chance)
    parent = own.getparent()
    above = None if parent is None else parent.getparent()
    if above is not None and parent.tag not in ("body", "html", "head"):
        place = above.index(parent)
        for child in reversed(list(parent)):
            above.insert(place, child)
        above.remove(parent)
    return True


def tag_changed(tree: Any, chance: random.Random) -> bool:
    own = _unhooked(tree, chance)
    own.tag = chance.choice(
        [tag for tag in ("span", "strong", "bdi") if tag != own.tag]
    )  # a block would end a <p>
    return True


def id_dropped(tree: Any, chance: random.Random) -> bool:
    """No id on the page any more."""
    _unhooked(tree, chance)
    for one in tree.iter():
        one.attrib.pop("id", None)
    return True


def reordered(tree: Any, chance: random.Random) -> bool:
    """The elements beside it, and beside its parent, in another order."""
    own = _unhooked(tree, chance)
    for parent in (own.getparent(), own.getparent().getparent() if own.getparent() is not None else None):
        if parent is not None and parent.tag not in ("html", "head"):
            children = list(parent)
            chance.shuffle(children)
            parent[:] = children
    return True


def section_moved(tree: Any, chance: random.Random) -> bool:
    """The box around it stands at the other end of its neighbours."""
    own = _unhooked(tree, chance)
    box = own.getparent()
    for _ in range(2):
        if box is not None and box.getparent() is not None and box.getparent().tag not in ("html", "body"):
            box = box.getparent()
    above = None if box is None else box.getparent()
    if above is not None and above.tag != "html":
        at_end = above.index(box) >= len(above) / 2
        above.remove(box)
        above.insert(0 if at_end else len(above), box)
    return True


def attributes_dropped(tree: Any, chance: random.Random) -> bool:
    """Only ids, classes, addresses and what the rule reads are left."""
    _unhooked(tree, chance)
    for one in tree.iter():
        for name in set(one.attrib) - {
            "class",
            "id",
            "href",
            "src",
            "content",
            "value",
            "style",
            "hidden",
            MARK,
        }:
            del one.attrib[name]
    return True


def value_changed(tree: Any, chance: random.Random) -> bool:
    _new_number(_unhooked(tree, chance), chance)
    return True


def _like(own: Any, chance: random.Random) -> Any:
    decoy = copy.deepcopy(own)
    for one in decoy.iter():
        one.attrib.pop(MARK, None)
        one.attrib.pop("id", None)
    decoy.tail = None
    _new_number(decoy, chance)
    return decoy


def related_added(tree: Any, chance: random.Random) -> bool:
    """Other products below, their prices written in the very same way; the price itself is another too."""
    own = _unhooked(tree, chance)
    section = etree.SubElement(_body(tree), "section")
    etree.SubElement(section, "h2").text = "Related products"
    for number in range(chance.choice((1, 2, 4))):
        card = etree.SubElement(section, "div", {"class": "card"})
        etree.SubElement(card, "h3").text = f"Another product {number}"
        card.append(_like(own, chance))
    _new_number(own, chance)
    return True


def _body(tree: Any) -> Any:
    body = tree.find("body")
    return tree if body is None else body


def old_price_added(tree: Any, chance: random.Random) -> bool:
    """It is cheaper now, and the price of before stands beside, crossed out or called old."""
    own = _unhooked(tree, chance)
    old = copy.deepcopy(own)
    for one in old.iter():
        one.attrib.pop(MARK, None)
        one.attrib.pop("id", None)
    old.tail = " "
    old.set("class", chance.choice(("old-price", "price--was", "rrp")))
    if chance.random() < 0.5:
        crossed = etree.Element("del")
        crossed.append(old)
        old = crossed
    own.addprevious(old)
    _new_number(own, chance)
    return True


def unit_price_added(tree: Any, chance: random.Random) -> bool:
    """A price per unit right after it."""
    own = _unhooked(tree, chance)
    unit = _like(own, chance)
    unit.set("class", chance.choice(("unit-price", "base-price", "price-small")))
    unit.tail = chance.choice((" / kg", " per 100 g", " / piece"))
    own.addnext(unit)
    unit.tail = unit.tail.split("\n")[0]
    return True


def redesigned(tree: Any, chance: random.Random) -> bool:
    """A new page: only heading, label and value are as they were; there are other products on it."""
    own = _marked(tree)
    known_heading, known_before = chance.heading, chance.before  # type: ignore[attr-defined]  # set by pairs()
    value = etree.Element(
        chance.choice(("span", "div", "strong")), {"class": _made_up("v", chance), MARK: "1"}
    )
    value.text = "".join(own.itertext()).strip()
    for name in ("content", "value", "href"):
        if own.get(name):
            value.set(name, own.get(name))
    for child in list(tree):
        tree.remove(child)
    body = etree.SubElement(tree, "body")
    main = etree.SubElement(body, "main", {"class": _made_up("m", chance)})
    etree.SubElement(main, "h1").text = known_heading or "Product"
    row = etree.SubElement(etree.SubElement(main, "div"), "div", {"class": _made_up("r", chance)})
    label = etree.SubElement(row, "span")
    label.text = known_before or "Price"
    row.append(value)
    etree.SubElement(row, "button").text = "Add to basket"
    others = etree.SubElement(body, "ul")
    for number in range(3):
        line = etree.SubElement(others, "li", {"class": "item"})
        etree.SubElement(line, "h4").text = f"Something else {number}"
        line.append(_like(value, chance))
    return True


def _no_copies(tree: Any, own: Any) -> None:
    """Without what else says its number: a copy for small screens would be no wrong answer."""
    told = fingerprint.numbers("".join(own.itertext()))
    for one in list(tree.iter("span", "div", "p", "b", "strong", "td", "li", "meta", "ins", "a", "data")):
        same = fingerprint.numbers("".join(one.itertext()) or one.get("content") or "") == told
        if told and same and one.getparent() is not None and one.get(MARK) is None and not len(one):
            one.getparent().remove(one)


def gone(tree: Any, chance: random.Random) -> bool:
    """It is not there, and what else on the page says the same number neither."""
    own = _unhooked(tree, chance)
    _no_copies(tree, own)
    parent = own.getparent()
    while (
        parent is not None
        and len(parent) == 1
        and parent.getparent() is not None
        and not (parent.text or "").strip()
    ):
        own, parent = parent, parent.getparent()
    if parent is not None:
        parent.remove(own)
    return False


def gone_among_others(tree: Any, chance: random.Random) -> bool:
    """It is not there, and other products with prices written in the very same way are."""
    related_added(tree, chance)
    return gone(tree, chance)


def gone_but_the_old(tree: Any, chance: random.Random) -> bool:
    """It is not there, and the crossed-out price of before is."""
    _no_copies(tree, _marked(tree))
    old_price_added(tree, chance)
    own = _marked(tree)
    if own.getparent() is not None:
        own.getparent().remove(own)
    return False


#: What is tuned on; what only judges.
TUNED: Final[tuple[Callable[[Any, random.Random], bool], ...]] = (
    rename_all, wrapper_added, id_dropped, attributes_dropped, value_changed, related_added, gone,
    gone_but_the_old,
)  # fmt: skip
HELD_OUT: Final[tuple[Callable[[Any, random.Random], bool], ...]] = (
    hash_suffixes, wrapper_removed, tag_changed, reordered, section_moved, old_price_added, unit_price_added,
    redesigned, gone_among_others,
)  # fmt: skip


def pair(one: Base, change: Callable[[Any, random.Random], bool], seed: int) -> Pair:
    """The page after a change."""
    tree = copy.deepcopy(one.tree)
    chance = random.Random(f"{seed}:{one.name}:{change.__name__}")
    chance.heading, chance.before = one.known.heading, one.known.before  # type: ignore[attr-defined]
    there = change(tree, chance)
    return Pair(etree.tostring(tree, method="html", encoding="unicode"), there)


# --- answers --------------------------------------------------------------------------------------


def outcome(one: Base, after: Pair) -> tuple[str, str]:
    """right, wrong or none, and what was answered."""
    marked = page_of(after.text)
    truth = marked.tree.css_first(f"[{MARK}]")
    told = css.of(truth, one.attribute, "") if truth is not None else ""
    if after.there and not told:
        return "unmade", ""  # HTML does not allow the change there, and the parser took it apart
    page = page_of(after.text.replace(f' {MARK}="1"', ""))
    found = healing.heal(page, one.known, attribute=one.attribute)
    if found is None:
        return ("none" if after.there else "right"), ""
    said = f"{found.selector} {found.raw[:30]!r} {found.score}/{found.second} instead of {told[:30]!r}"
    if not after.there or truth is None:
        return "wrong", said
    same = css.first(marked.tree, found.selector)
    if same is None or not _in_line(same, truth):
        return "wrong", said
    return ("right" if fingerprint.numbers(found.raw) == fingerprint.numbers(told) else "wrong"), said


def _in_line(one: LexborNode, other: LexborNode) -> bool:
    return _is_above(one, other) or _is_above(other, one)


def _is_above(upper: LexborNode, lower: LexborNode) -> bool:
    node: LexborNode | None = lower
    while node is not None:
        if node.mem_id == upper.mem_id:
            return True
        node = node.parent
    return False


def measure(known: list[Base], seed: int, *, misses: bool = False) -> dict[str, Counter[str]]:
    """Outcomes by kind of change."""
    table: dict[str, Counter[str]] = {}
    for change in (*TUNED, *HELD_OUT):
        counted = table.setdefault(change.__name__, Counter())
        for one in known:
            verdict, said = outcome(one, pair(one, change, seed))
            if verdict != "unmade":
                counted[verdict] += 1
            if misses and verdict in ("wrong", "none"):
                print(f"    {change.__name__:20} {verdict:5} {one.name}: {said}")
    return table


def line(name: str, counted: Counter[str]) -> str:
    """One row, with shares."""
    count = max(1, counted.total())
    shares = "  ".join(f"{counted[one]:5} {counted[one] / count:6.1%}" for one in OUTCOMES)
    return f"{name:32} {counted.total():5}  {shares}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pages", type=Path, action="append", help="a folder of pages")
    parser.add_argument("--misses", action="store_true", help="name each pair that was not right")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    folders = options.pages or [folder for folder in FOLDERS[:1] if folder.exists()]
    began = time.process_time()
    known = list(bases(folders, options.seed))
    table = measure(known, options.seed, misses=options.misses)
    print(f"{'change':32} pairs  {'right':>13}  {'wrong':>12}  {'none':>12}   seed {options.seed}")
    for title, kinds in (("tuned", TUNED), ("held out", HELD_OUT)):
        for change in kinds:
            print(line(f"{title}: {change.__name__}", table[change.__name__]))
    for title, kinds in (("tuned on", TUNED), ("held out", HELD_OUT), ("all", (*TUNED, *HELD_OUT))):
        print(line(title, sum((table[change.__name__] for change in kinds), Counter())))
    there = [change for change in (*TUNED, *HELD_OUT) if not change.__name__.startswith("gone")]
    print(line("all, where it is still there", sum((table[change.__name__] for change in there), Counter())))
    shops = len({one.name for one in known if one.name.startswith("shop ")})
    count = len({one.name.split()[0] for one in known} - {"shop"})
    spent = time.process_time() - began
    print(f"{len(known)} elements of {count} real pages and {shops} shops from templates, {spent:.0f} s CPU")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
