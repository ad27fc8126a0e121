"""Histories with true changes, each told once, at the check at which it can be believed."""

from __future__ import annotations

from tests.scenarios.history import (
    CAREFUL_PRICE,
    PRICE,
    STOCK,
    History,
    Step,
    css,
    html,
    json,
    quiet,
    rule,
    seen_twice,
    shop,
    tells,
)
from tests.support.http import Reply

LD = '<script type="application/ld+json">{{"@context":"https://schema.org","@type":"Product","name":"Widget","offers":{{"@type":"Offer","price":"{price}","priceCurrency":"EUR","availability":"https://schema.org/{stock}"}}}}</script>'


def ld(price: str, stock: str = "InStock") -> Reply:
    return shop(f"{price} €", head=LD.format(price=price, stock=stock))


def micro(price: str) -> Reply:
    return html(
        "<main itemscope itemtype='https://schema.org/Product'><h1 itemprop=name>Widget</h1>"
        "<div itemprop=offers itemscope itemtype='https://schema.org/Offer'>"
        f"<meta itemprop=priceCurrency content=USD><span itemprop=price content='{price}'>${price}</span></div></main>"
    )


def table(*rows: tuple[str, str, str]) -> Reply:
    body = "".join(f"<tr><td>{a}</td><td>{b}</td><td>{c}</td></tr>" for a, b, c in rows)
    return html(f"<h1>Timetable</h1><table><tr><th>Line</th><th>To</th><th>Leaves</th></tr>{body}</table>")


def feed(*items: tuple[str, str]) -> Reply:
    body = "".join(
        f"<item><guid>{n}</guid><title>{t}</title><link>https://news.example/{n}</link></item>"
        for n, t in items
    )
    text = f'<?xml version="1.0"?><rss version="2.0"><channel><title>News</title><link>https://news.example</link><description>d</description>{body}</channel></rss>'
    return Reply(body=text, content_type="application/rss+xml")


def releases(*names: str) -> Reply:
    return html("<h1>Releases</h1><ul id=list>" + "".join(f"<li>{name}</li>" for name in names) + "</ul>")


def offer(price: str, stock: str) -> Reply:
    return shop(price, stock=stock)


RECORD = {
    "type": "record",
    "fields": {
        "price": {"type": "price", "extraction": css(".price")},
        "stock": {"type": "availability", "extraction": css(".stock")},
    },
    "alertPolicy": {
        "channels": ["told"],
        "conditions": [
            {
                "id": "buy",
                "all": [
                    {"field": "price", "type": "price_below", "value": 100},
                    {"field": "stock", "type": "availability_is", "value": "in_stock"},
                ],
            }
        ],
    },
}

BACK = rule(
    "availability",
    css(".stock"),
    policy={
        "conditions": [{"id": "back", "type": "availability_is", "value": "in_stock", "severity": "critical"}]
    },
)
#: More than is kept of a text.
LONG = " ".join(f"word{number}" for number in range(1500))
WIDER = (
    "<h1>Timetable</h1><table><tr><th>Line</th><th>To</th><th>Leaves</th><th>Gate</th></tr>"
    "<tr><td>1</td><td>Port</td><td>8</td><td>B</td></tr><tr><td>2</td><td>Hill</td><td>9</td><td>C</td></tr></table>"
)

HISTORIES = [
    History("price-falls", "change", CAREFUL_PRICE, [
        *quiet(shop("129,99 €"), shop("129,99 €")), *seen_twice(shop("99,99 €")), *quiet(shop("99,99 €"))]),
    History("price-rises-at-once", "change", PRICE, [
        *quiet(shop("129,99 €"), shop("129,99 €")), tells(shop("139,99 €")), *quiet(shop("139,99 €"))]),
    History("price-there-and-back", "change", PRICE, [
        *quiet(shop("$20.00"), shop("$20.00")), tells(shop("$15.00")), tells(shop("$20.00")), *quiet(shop("$20.00"))]),
    History("price-by-json-ld", "change", rule("price", {"method": "schema", "selector": "price"}), [
        *quiet(ld("59.00"), ld("59.00")), tells(ld("49.00")), *quiet(ld("49.00"))]),
    History("price-by-microdata", "change", rule("price", {"method": "schema", "selector": "price"}), [
        *quiet(micro("59.00"), micro("59.00")), tells(micro("64.50")), *quiet(micro("64.50"))]),
    History("price-by-auto", "change", rule("price", {"method": "auto", "selector": "price"}), [
        *quiet(ld("59.00"), ld("59.00")), tells(ld("49.00")), *quiet(ld("49.00"))]),
    History("stock-by-auto", "change", rule("availability", {"method": "auto", "selector": "availability"}), [
        *quiet(ld("59.00", "OutOfStock"), ld("59.00", "OutOfStock")), tells(ld("59.00")), *quiet(ld("59.00"))]),
    History("price-of-another-currency", "change", PRICE, [
        *quiet(shop("129,99 €"), shop("129,99 €")), tells(shop("129,99 $")), *quiet(shop("129,99 $"))]),
    History("price-below-a-limit-twice", "change", rule("price", css(".price"), policy={
        "conditions": [{"id": "cheap", "type": "price_below", "value": 100, "severity": "critical"}]}), [
        *quiet(shop("€120"), shop("€110")), tells(shop("€99")), *quiet(shop("€95"), shop("€105")), tells(shop("€98"))]),
    History("price-drops-by-a-tenth", "change", rule("price", css(".price"), policy={
        "conditions": [{"id": "drop", "type": "price_drop_percent", "value": 10}]}), [
        *quiet(shop("€100"), shop("€96")), tells(shop("€80")), *quiet(shop("€78"), shop("€90"))]),
    History("price-below-with-rearm", "change", rule("price", css(".price"), policy={
        "conditions": [{"id": "low", "type": "price_below", "value": 90, "rearm": 95}]}), [
        *quiet(shop("€100"), shop("€100")), tells(shop("€89")), *quiet(shop("€91"), shop("€89"), shop("€96")),
        tells(shop("€88"))]),
    History("lowest-in-a-month", "change", rule("price", css(".price"), policy={
        "conditions": [{"id": "best", "type": "lowest_in_days", "value": 30}]}), [
        *quiet(shop("€100"), shop("€120")), *quiet(shop("€105")), tells(shop("€99")), *quiet(shop("€104"))]),
    History("sold-out-and-back", "change", STOCK, [
        *quiet(shop("€1", stock="In stock"), shop("€1", stock="In stock")), tells(shop("€1", stock="Sold out")),
        tells(shop("€1", stock="In stock, ready to ship"))]),
    History("back-in-stock-in-german", "change", rule("availability", css(".stock"), policy={
        "conditions": [{"id": "back", "type": "availability_is", "value": "in_stock"}]}), [
        *quiet(shop("€1", stock="Auf Lager"), shop("€1", stock="Nicht auf Lager")),
        tells(shop("€1", stock="Auf Lager")), *quiet(shop("€1", stock="Sofort lieferbar"))]),
    History("sold-out-in-slovak", "change", STOCK, [
        *quiet(shop("1 €", stock="Skladom"), shop("1 €", stock="Skladom")), tells(shop("1 €", stock="Vypredané"))]),
    History("number-of-seats", "change", rule("number", css("#seats")), [
        *quiet(html("<p id=seats>42 seats left</p>"), html("<p id=seats>42 seats left</p>")),
        tells(html("<p id=seats>41 seats left</p>"))]),
    History("number-with-threshold", "change", rule("number", css("#t"), policy={
        "conditions": [{"id": "moved", "type": "number_changed", "threshold": 0.5}]}), [
        *quiet(html("<p id=t>20.1 °C</p>"), html("<p id=t>20.3 °C</p>")), tells(html("<p id=t>21.4 °C</p>"))]),
    History("text-of-the-terms", "change", rule("text", {"method": "text", "selector": "main"}), [
        *quiet(html("<main><p>Returns within 14 days.</p></main>"), html("<main><p>Returns within 14 days.</p></main>")),
        tells(html("<main><p>Returns within 30 days.</p></main>"))]),
    History("text-contains", "change", rule("text", css("main"), policy={
        "conditions": [{"id": "open", "type": "text_contains", "value": "registration is open"}]}), [
        *quiet(html("<main>Registration opens soon</main>"), html("<main>Registration opens tomorrow</main>")),
        tells(html("<main>Hurry: Registration is open</main>"))]),
    History("json-field", "change", rule("json_field", {"method": "jsonpath", "selector": "$.data.version"}), [
        *quiet(json('{"data":{"version":"1.2"}}'), json('{"data":{"version":"1.2"},"now":2}')),
        tells(json('{"data":{"version":"1.3"}}'))]),
    History("number-by-jsonpath", "change", rule("number", {"method": "jsonpath", "selector": "$.stock"}), [
        *quiet(json('{"stock": 10}'), json('{"stock": 10.0}')), tells(json('{"stock": 9}'))]),
    History("version-by-regex", "change", rule("text", {"method": "regex", "selector": r"Version (\d+\.\d+)"}), [
        *quiet(html("<p>Version 3.1 of May</p>"), html("<p>Version 3.1 of June</p>")),
        tells(html("<p>Version 3.2 of June</p>"))]),
    History("headline-by-xpath", "change", rule("text", {"method": "xpath", "selector": "//h2[@class='top']"}), [
        *quiet(html("<h2 class=top>Rain</h2><h2>Sun</h2>"), html("<h2 class=top>Rain</h2><h2>Wind</h2>")),
        tells(html("<h2 class=top>Snow</h2><h2>Wind</h2>"))]),
    History("row-of-a-table", "change", rule("list", {"method": "table", "selector": "table", "key": "Line"}), [
        *quiet(table(("1", "Port", "8:00"), ("2", "Hill", "9:00")), table(("2", "Hill", "9:00"), ("1", "Port", "8:00"))),
        tells(table(("2", "Hill", "9:15"), ("1", "Port", "8:00")))]),
    History("new-in-a-feed", "change", rule("list", {"method": "feed"}, policy={
        "conditions": [{"id": "new", "type": "rows_added"}]}), [
        *quiet(feed(("1", "One"), ("2", "Two")), feed(("2", "Two"), ("1", "One"))),
        tells(feed(("3", "Three"), ("2", "Two"), ("1", "One"))), *quiet(feed(("3", "Three"), ("2", "Two")))]),
    History("new-release-in-a-list", "change", rule("list", css("#list"), policy={
        "conditions": [{"id": "new", "type": "rows_added"}]}), [
        *quiet(releases("v1", "v2"), releases("v2", "v1")), tells(releases("v3", "v2", "v1"))]),
    History("date-moves", "change", rule("date", css("#on"), normalization={"dateOrder": "dmy"}), [
        *quiet(html("<p id=on>24. 12. 2026</p>"), html("<p id=on>24 December 2026</p>")),
        tells(html("<p id=on>27. 12. 2026</p>"))]),
    History("record-to-buy", "change", RECORD, [
        *quiet(offer("€120", "In stock"), offer("€90", "Sold out")), tells(offer("€90", "In stock")),
        *quiet(offer("€89", "In stock"))]),
    History("appears-and-disappears", "change", rule("text", css("#note"), normalization={"empty": "value"}), [
        *quiet(html("<p id=note></p>"), html("<p id=note></p>")), tells(html("<p id=note>We are closed</p>")),
        tells(html("<p id=note></p>"))]),
    History("price-in-an-old-charset", "change", PRICE, [
        *quiet(
            Reply(body="<p class=price>129,99 €</p>".encode("cp1250"), content_type="text/html; charset=windows-1250"),
            shop("129,99 €")),
        tells(Reply(body="<p class=price>119,99 €</p>".encode("cp1250"), content_type="text/html; charset=windows-1250"))]),
    History("price-in-an-encoding-that-nobody-names", "change", PRICE, [
        *quiet(*[Reply(body="<h1>オーク材のテーブル</h1><p class=price>価格 12,800円</p>".encode("cp932"), content_type="text/html")] * 2),
        tells(Reply(body="<h1>オーク材のテーブル</h1><p class=price>価格 9,800円</p>".encode("cp932"), content_type="text/html"))]),
    History("status-page-that-plans-maintenance", "change", rule("text", css("#inc")), [
        *quiet(*[html("<div id=inc>All systems operational</div>")] * 2),
        tells(html("<h2>Scheduled maintenance</h2><div id=inc>Database upgrade on Sunday 02:00 UTC</div>")),
        tells(html("<h2>Scheduled maintenance</h2><div id=inc>Database upgrade on Sunday 03:00 UTC</div>"))]),
    History("stock-in-a-heading", "change", rule("availability", css("#s")), [
        *quiet(*[html("<h2 id=s>In stock</h2>")] * 2), tells(html("<h2 id=s>Temporarily unavailable</h2>"))]),
    History("unchanged-by-etag-then-changed", "change", PRICE, [
        *quiet(shop("€10", headers={"ETag": '"a"'}), Reply(status=304), Reply(status=304)),
        tells(shop("€12", headers={"ETag": '"b"'})), *quiet(Reply(status=304))]),
    History("confirmed-by-a-page-that-is-as-it-was", "change", CAREFUL_PRICE, [
        *quiet(shop("€10", headers={"ETag": '"a"'}), Reply(status=304), shop("€12", headers={"ETag": '"b"'})),
        tells(Reply(status=304))]),
    History("cooldown-holds-the-second", "change", rule("price", css(".price"), policy={"cooldownSeconds": 3600}), [
        *quiet(shop("€10"), shop("€10")), tells(shop("€12")), *quiet(shop("€13"), shop("€12"))]),
    History("selector-of-last-resort", "change", rule("price", css("#gone", fallbackSelectors=[
        {"method": "css", "selector": ".price"}])), [
        *quiet(shop("€10"), shop("€10")), tells(shop("€12"))]),
    History("neither-nor", "change", rule("price", css(".price"), policy={"conditions": [
        {"id": "fair", "not": {"any": [{"type": "price_above", "value": 150}, {"type": "price_below", "value": 50}]}}]}), [
        Step(shop("€200")), Step(shop("€200")), tells(shop("€100")), Step(shop("€101"))]),
    History("in-stock-when-it-is-and-not-when-it-will-be", "change", BACK, [
        *quiet(*(shop("€1", stock=words) for words in (
            "Ausverkauft", "Bald wieder verfügbar", "Verfügbar ab 12.12.2027", "In Stock (0)", "Available: 0",
            "Available from 1 March", "We're sold out, but more in stock soon"))),
        tells(shop("€1", stock="Nur noch 2 Stück verfügbar")), *quiet(shop("€1", stock="Auf Lager"))]),
    History("a-promise-of-days", "change", rule("text", css("main")), [
        *quiet(html("<main>Free returns for 30 days.</main>"), html("<main>Free returns for 30 days.</main>")),
        tells(html("<main>Free returns for 14 days.</main>"))]),
    History("a-session-that-is-none-of-a-browser", "change", rule("text", css("main")), [
        *quiet(html("<main>Next session: 2026-12-24</main>"), html("<main>Next session: 2026-12-24</main>")),
        tells(html("<main>Next session: 2026-12-31</main>"))]),
    History("a-recall-at-the-end-of-a-long-page", "change", rule("text", css("main"), policy={
        "conditions": [{"id": "recall", "type": "text_contains", "value": "product recall"}]}), [
        *quiet(html(f"<main>{LONG} Nothing.</main>"), html(f"<main>{LONG} Nothing yet.</main>")),
        tells(html(f"<main>{LONG} Product recall of today.</main>"))]),
    History("a-critical-fall-in-the-cooldown-of-an-info", "change", rule("price", css(".price"), policy={
        "cooldownSeconds": 86400, "conditions": [
            {"id": "rise", "type": "value_increased", "severity": "info"},
            {"id": "low", "type": "price_below", "value": 50, "severity": "critical"}]}), [
        *quiet(shop("€60"), shop("€60")), tells(shop("€61")), tells(shop("€40")), *quiet(shop("€45"), shop("€39"))]),
    History("a-price-that-creeps", "change", rule("price", css(".price"), policy={"conditions": [
        {"id": "crept", "type": "price_drop_percent", "value": 10, "from": "last_told"}]}), [
        *quiet(shop("€100"), shop("€92")), tells(shop("€85")), *quiet(shop("€80"))]),
    History("one-more-row-of-the-same-name", "change", rule("list", {"method": "table", "selector": "table", "key": "Line"},
        policy={"conditions": [{"id": "new", "type": "rows_added", "value": 1}]}), [
        *quiet(table(("A", "Port", "8"), ("A", "Hill", "9")), table(("A", "Hill", "9"), ("A", "Port", "8"))),
        tells(table(("A", "Town", "7"), ("A", "Port", "8"), ("A", "Hill", "9")))]),
    History("a-new-column", "change", rule("list", {"method": "table", "selector": "table", "key": "Line"}), [
        *quiet(table(("1", "Port", "8"), ("2", "Hill", "9")), table(("1", "Port", "8"), ("2", "Hill", "9"))),
        tells(html(WIDER)), *quiet(html(WIDER))]),
]  # fmt: skip
