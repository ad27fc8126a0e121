"""Histories of pages that only a browser can read, and of pages that turn plain HTTP away."""

from __future__ import annotations

import asyncio

from tests.scenarios.breaks import CHALLENGE
from tests.scenarios.history import PRICE, History, Step, broken, css, html, quiet, rule, tells, well_again
from tests.support.http import Reply, Request, Route, send


def rendered(price: str, *, late: float = 0.05) -> Reply:
    """The page's script makes the price, a moment after the page was loaded; without it there is a shell."""
    script = (
        "setTimeout(() => { document.querySelector('#app').innerHTML = "
        f"'<h1>Widget</h1><p class=price>{price}</p>' }}, {late * 1000:g});"
    )
    return html(f"<div id=app></div><noscript>Please enable JavaScript.</noscript><script>{script}</script>")


def only_with_script(page: Reply) -> Route:
    """403 to whoever does not carry the cookie that the refusal's script sets, as simple bot walls do."""

    async def answer(request: Request, writer: asyncio.StreamWriter) -> None:
        if "human=1" in request.headers.get("cookie", ""):
            await send(page, request, writer)
            return
        wall = html(
            "<h1>Access denied</h1><script>document.cookie='human=1'; location.reload()</script>", status=403
        )
        await send(wall, request, writer)

    return answer


HEADLESS = {
    **PRICE,
    "extraction": css(".price"),
    "fetch": {"mode": "headless", "waitForSelector": ".price", "timeout": 10},
}
AUTO = {**PRICE, "fetch": {"mode": "auto", "waitForSelector": ".price", "timeout": 10}}
SHELL = html("<div id=app></div><p>Something went wrong.</p>")

HISTORIES = [
    History("made-by-script", "change", HEADLESS, [
        *quiet(rendered("€10"), rendered("€ 10,00")), tells(rendered("€12")), *quiet(rendered("€12"))], browser=True),
    History("an-empty-shell-to-http", "change", AUTO, [
        *quiet(rendered("€10"), rendered("€10")), tells(rendered("€12"))], browser=True),
    History("turned-away-by-http", "change", AUTO, [
        *quiet(*[only_with_script(html("<p class=price>€10</p>"))] * 2),
        tells(only_with_script(html("<p class=price>€12</p>")))], browser=True),
    History("from-html-to-script-is-no-change", "noise", AUTO, [
        *quiet(html("<h1>Widget</h1><p class=price>€10</p>"), rendered("€10"), html("<p class=price>10,00 €</p>"))],
        browser=True),
    History("text-by-script-in-another-order", "noise",
        {**rule("list", css("#l")), "fetch": {"mode": "headless", "waitForSelector": "#l li"}}, [
        *quiet(*[html(f"<ul id=l></ul><script>for (const x of {items}) document.querySelector('#l').innerHTML += '<li>' + x + '</li>'</script>")
            for items in ("['a','b','c']", "['c','b','a']")])], browser=True),
    History("script-broke", "break", HEADLESS | {"fetch": {"mode": "headless", "timeout": 4}}, [
        *quiet(rendered("€10", late=0), rendered("€10", late=0)),
        *broken(SHELL, "EXTRACT_SELECTOR_NOT_FOUND", steps=4), *well_again(rendered("€10", late=0))], browser=True),
    *[
        History(f"a-browser-is-walled-off-too-{name}", "break", AUTO, [
            *quiet(*[html("<h1>Widget</h1><p class=price>€10</p>")] * 2), *broken(wall, code, steps=4),
            *well_again(html("<h1>Widget</h1><p class=price>€10</p>"))], browser=True)
        for name, wall, code in (
            ("cloudflare", CHALLENGE, "BLOCK_CLOUDFLARE_SUSPECTED"),
            ("forbidden", html("<h1>Forbidden</h1>", status=403), "BLOCK_FORBIDDEN_403"),
        )
    ],
    History("script-broke-once", "blip", HEADLESS | {"fetch": {"mode": "headless", "timeout": 4}}, [
        *quiet(rendered("€10", late=0)), Step(SHELL, None, "EXTRACT_SELECTOR_NOT_FOUND"),
        *quiet(rendered("€10", late=0))], browser=True),
]  # fmt: skip
