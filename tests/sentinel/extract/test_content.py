"""`content: main`: what is around the content may change; the content may not without being seen."""

from __future__ import annotations

import pytest

from sentinel.extract import check_extraction
from sentinel.model import Extraction
from tests.sentinel.extract.pages import code, raw

LONG = "The widget is made of steel and holds forty kilograms. It comes with four screws and a manual. " * 4
#: Ways in which sites build the same page. {around} and {main} are put in.
LAYOUTS = {
    "main": "<body>{around}<main><h1>Widget</h1>{main}</main>{around}</body>",
    "role": "<body>{around}<div role=main><h1>Widget</h1>{main}</div>{around}</body>",
    "article": "<body><div id=wrap>{around}<article><h1>Widget</h1>{main}</article>{around}</div></body>",
    "divs": "<body><div class=a><div class=b>{around}</div><div class=c><h1>Widget</h1>{main}</div></div>{around}</body>",
    "inside": "<body><main><h1>Widget</h1>{main}{around}</main></body>",
    "tables": "<body><table><tr><td>{around}</td><td><h1>Widget</h1>{main}</td></tr></table></body>",
}
#: Kinds of what is around; {n} is another at each check.
AROUND = {
    "nav": "<nav><ul><li><a href=/{n}>Item {n}</a><li><a href=/x>Things</a></ul></nav>",
    "menu without a name": "<ul><li><a href=/{n}>Lamps {n}</a><li><a href=/x>Bolts</a><li><a href=/y>Sets {n}</a></ul>",
    "sidebar": "<aside><p>Today in our shop: {n} visitors, and a cake for everybody.</p></aside>",
    "sidebar by class": "<div class='left-sidebar'><p>News number {n} of the day</p></div>",
    "footer by class": "<div id=footer><p>© 20{n} Example. Served in {n} ms.</p></div>",
    "cookie banner": "<div class='cc-window cookieConsent'><p>We use {n} cookies.</p><a href=/c>More</a></div>",
    "dialog": "<div role=dialog aria-modal=true><p>Subscribe and save {n} %</p></div>",
    "related": "<section><h2>You may also like</h2><div><a href=/l>Lamp {n}</a> <b>€ {n}.90</b></div></section>",
    "related in German": "<div><div><h3>Das könnte Sie auch interessieren</h3></div><p>Lampe {n} für € {n}</p></div>",
    "advertisement": "<div class=ad-slot>Win {n} cars</div>",
    "hidden": "<p hidden>{n}</p><p style='display: none'>{n}</p><div><i aria-hidden=true>{n}</i></div>",
    "shown to nobody": "<script>var n={n}</script><template>{n}</template><noscript>{n}</noscript>",
}


def built(layout: str, around: str, main: str, n: int) -> str:
    return LAYOUTS[layout].replace("{around}", around.replace("{n}", str(n))).replace("{main}", main)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("kind", AROUND)
def test_what_is_around_the_content_may_be_otherwise_each_time(layout: str, kind: str) -> None:
    main = f"<p>{LONG}</p><p>Price: € 129</p>"
    seen = {raw(built(layout, AROUND[kind], main, n), method="text", content="main") for n in (1, 20, 377)}
    assert seen == {f"Widget\n{LONG.strip()}\nPrice: € 129"}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_all_of_it_at_once_comes_and_goes_unseen(layout: str) -> None:
    main = f"<p>{LONG}</p>"
    bare = raw(built(layout, "", main, 0), method="text", content="main")
    assert raw(built(layout, "".join(AROUND.values()), main, 5), method="text", content="main") == bare


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_word_of_the_content_is_seen(layout: str) -> None:
    around = "".join(AROUND.values())
    before = built(layout, around, f"<p>{LONG}</p><p>Price: € 129</p>", 1)
    after = built(layout, around, f"<p>{LONG}</p><p>Price: € 119</p>", 1)
    assert "€ 119" in raw(after, method="text", content="main")
    assert raw(before, method="text", content="main") != raw(after, method="text", content="main")


def test_a_page_that_is_a_list_of_links_is_its_content() -> None:
    links = "".join(f"<li><a href=/{n}>Release {n}</a></li>" for n in range(5))
    text = raw(
        f"<body><nav><a href=/>Home</a></nav><h1>Releases</h1><ul>{links}</ul></body>",
        method="text",
        content="main",
    )
    assert text.splitlines() == ["Releases", *(f"Release {n}" for n in range(5))]


def test_a_page_that_calls_all_of_itself_a_sidebar_layout_is_not_left_out() -> None:
    text = f"<body><div class='page with-sidebar'><p>{LONG}</p></div></body>"
    assert raw(text, method="text", content="main") == LONG.strip()


def test_a_footer_of_the_content_is_content() -> None:
    text = f"<main><p>{LONG}</p><section><p>Weight</p><footer>Sold by Example</footer></section></main><footer>©</footer>"
    assert raw(text, method="text", content="main").endswith("Weight\nSold by Example")


def test_nothing_but_what_is_around_is_no_content() -> None:
    assert (
        code("<nav><a href=/>Home</a></nav><footer>©</footer>", method="text", content="main")
        == "EXTRACT_EMPTY_VALUE"
    )


def test_within_a_part_that_a_selector_names() -> None:
    text = f"<div id=one><nav>Menu</nav><p>{LONG}</p></div><p>Another</p>"
    assert raw(text, method="text", selector="#one", content="main") == LONG.strip()


def test_what_is_no_markup_has_no_surroundings() -> None:
    assert raw("a  b", kind="text/plain", method="text", content="main") == "a  b"


def test_it_is_for_the_method_text_alone() -> None:
    (problem,) = check_extraction(Extraction(method="css", selector=".price", content="main"))
    assert (problem.path, problem.message) == ("content", "content: main is for the method text")
    assert check_extraction(Extraction(method="text", content="main")) == []


@pytest.mark.parametrize(
    "text",
    [
        "<div>" * 4_000 + "x" + "</div>" * 4_000,
        "<h2>Related</h2>" * 5_000,
        "<div><h2>Related</h2>" * 2_000,
        "<ul class=nav><li><a>x</a>" * 2_000,
    ],
)
def test_pages_built_to_be_costly_are_read_all_the_same(text: str) -> None:
    said = code(text, method="text", content="main")
    assert said.startswith("read: ") or said in ("EXTRACT_EMPTY_VALUE", "EXTRACT_PARSE_ERROR")
