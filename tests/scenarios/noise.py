"""Histories without a true change: whatever moves on the page, nobody is told."""

from __future__ import annotations

import gzip

from tests.scenarios.changes import feed, releases, table
from tests.scenarios.history import CAREFUL_PRICE, PRICE, STOCK, History, css, html, json, quiet, rule, shop
from tests.support.http import Reply

TEXT = rule("text", css("main"))
WHOLE = rule("text", {"method": "text"})


def main(text: str, **more: str) -> Reply:
    return html(f"<main>{text}</main>", **more)


def noise(name: str, the_rule: object, *pages: Reply) -> History:
    return History(name, "noise", the_rule, quiet(*pages))  # type: ignore[arg-type] # what YAML holds


HISTORIES = [
    noise("encoding-named-wrong", rule("text", css("main")), *[
        Reply(body="<main>Größe 42, verfügbar: 129,99 €</main>".encode(codec), content_type=f"text/html{named}")
        for codec, named in (("utf-8", ""), ("utf-8", "; charset=iso-8859-1"), ("cp1252", "; charset=utf-8"), ("cp1252", ""))]),
    noise("number-formats-flip", PRICE, shop("129,99 €"), shop("€ 129.99"), shop("129.99 EUR"), shop("EUR 129,99"), shop("€129.99")),
    noise("thousands-flip", PRICE, shop("€ 1.299,00"), shop("1 299,00 €"), shop("€1,299.00"), shop("1299 €"), shop("1'299.00 EUR")),
    noise("ambiguous-thousands", PRICE, shop("1.234,00 €"), shop("1.234 €"), shop("1.234,- €"), shop("1.234,00 €")),
    noise("whitespace-in-a-price", PRICE, shop("99,90 €"), shop(" \n 99,90\u00a0€ "), shop("99,90\u202f€"), shop("<b>99</b>,90 €")),
    noise("whitespace-in-a-text", TEXT, main("One two three"), main("One  two\n\tthree "), main("One\u00a0two three"), main("<p>One two</p> three")),
    noise("letter-case", rule("text", css("main"), normalization={"ignoreCase": True}), main("On Sale"), main("ON SALE"), main("on sale")),
    noise("minutes-ago", TEXT, main("Posted 3 minutes ago by Ann"), main("Posted 14 minutes ago by Ann"), main("Posted an hour ago by Ann"), main("Posted 2 days ago by Ann")),
    noise("vor-minuten", TEXT, main("Vor 3 Minuten von Ann"), main("Vor 25 Minuten von Ann"), main("Vor 2 Stunden von Ann")),
    noise("pred-minutami", TEXT, main("Pridané pred 3 minútami"), main("Pridané pred 25 minútami"), main("Pridané pred 2 hodinami")),
    noise("il-y-a-minutes", TEXT, main("Publié il y a 3 minutes"), main("Publié il y a 45 minutes"), main("Publié il y a 2 heures")),
    noise("last-updated", rule("text", css("main"), normalization={"ignoreUpdated": True}), main("Rules. Last updated: 24 Nov 2026 10:31"), main("Rules. Last updated: 24 Nov 2026 11:02"), main("Rules. Last updated: 25 Nov 2026 09:00")),
    noise("counters", rule("text", css("main"), normalization={"ignoreCounters": True}), main("Widget. 1,024 views"), main("Widget. 1,031 views"), main("Widget. 1,200 views")),
    noise("order-of-a-list", rule("list", css("#list")), releases("a", "b", "c"), releases("c", "a", "b"), releases("b", "c", "a")),
    noise("order-of-a-table", rule("list", {"method": "table", "selector": "table", "key": "Line"}), table(("1", "P", "8"), ("2", "H", "9")), table(("2", "H", "9"), ("1", "P", "8")), table(("1", "P", "8"), ("2", "H", "9"))),
    noise("order-of-a-feed", rule("list", {"method": "feed"}), feed(("1", "a"), ("2", "b")), feed(("2", "b"), ("1", "a"))),
    noise("order-of-lines", TEXT, main("<p>apples</p><p>pears</p><p>plums</p>"), main("<p>plums</p><p>apples</p><p>pears</p>")),
    noise("order-of-json-keys", rule("json_field", {"method": "jsonpath", "selector": "$.a"}), json('{"a":{"x":1,"y":[1,2]}}'), json('{"a":{"y":[1,2],"x":1}}'), json('{ "a" : {"y":[1, 2], "x": 1.0} }')),
    noise("blip-of-a-price", CAREFUL_PRICE, shop("€100"), shop("€100"), shop("€1"), shop("€100"), shop("€100"), shop("€10"), shop("€100")),
    noise("blip-of-the-stock", rule("availability", css(".stock"), policy={"requireConsecutive": 2}), shop("€1", stock="In stock"), shop("€1", stock="In stock"), shop("€1", stock="Sold out"), shop("€1", stock="In stock")),
    noise("two-values-by-turns", rule("price", css(".price"), policy={"requireConsecutive": 3}), shop("€10"), shop("€10"), shop("€12"), shop("€12"), shop("€10"), shop("€12")),
    noise("classes-with-hashes", rule("price", css("[class^=price]")), html("<p class='price_a91x'>€10</p>"), html("<p class='price_k2kf'>€10</p>"), html("<p class='price_77ab'>€ 10,00</p>")),
    noise("tokens-in-a-text", WHOLE, html("<p>Hello</p><p>Session: 9f8a7c6b5d4e3f2a1b0c9d8e7f6a5b4c</p>"), html("<p>Hello</p><p>Session: 1a2b3c4d5e6f708192a3b4c5d6e7f809</p>")),
    noise("scripts-and-hidden-parts", WHOLE, html("<p>Hello</p><script>var nonce='a1'</script><p hidden>1</p>"), html("<p>Hello</p><script>var nonce='b2'</script><p hidden>2</p><!-- c -->")),
    noise("tracking-in-links", rule("text", css("#a", attribute="attr:href")), html("<a id=a href='/x?utm_source=mail&id=1'>x</a>"), html("<a id=a href='/x?id=1&utm_source=web&gclid=8812'>x</a>"), html("<a id=a href='/x?id=1'>x</a>")),
    noise("advertising-around", PRICE, shop("€10", around="<aside>Buy shoes for €99!</aside>"), shop("€10", around="<aside>Win a car</aside>"), shop("€10")),
    noise("words-for-in-stock", STOCK, shop("€1", stock="In stock"), shop("€1", stock="Available"), shop("€1", stock="in stock - ships today"), shop("€1", stock="In Stock.")),
    noise("in-stock-across-languages", STOCK, shop("€1", stock="Auf Lager"), shop("€1", stock="Skladem"), shop("€1", stock="In stock"), shop("€1", stock="Disponible")),
    noise("compressed-in-turns", PRICE, shop("€10"), Reply(body=gzip.compress(b"<p class=price>&euro; 10.00</p>"), headers={"Content-Encoding": "gzip"}), shop("€10")),
    noise("characters-composed-otherwise", TEXT, main("Caf\u00e9 \u2013 na\u00efve"), main("Cafe\u0301 \u2013 nai\u0308ve"), main("Caf\u00e9\u00ad \u2013 na\u200b\u00efve")),
    noise("entities-and-quotes", TEXT, main("Tom & Jerry's “show”"), main("Tom &amp; Jerry&#39;s &ldquo;show&rdquo;")),
    noise("a-small-change-below-the-threshold", rule("number", css("#t"), policy={"conditions": [{"id": "m", "type": "number_changed", "threshold": 1}]}), html("<p id=t>20.1</p>"), html("<p id=t>20.4</p>"), html("<p id=t>20.0</p>")),
    noise("a-first-value-is-no-change", PRICE, shop("€10"), shop("€10")),
    noise("a-page-that-moved", PRICE, shop("€10"), Reply(status=301, headers={"Location": "/moved"}), Reply(status=302, headers={"Location": "/moved"})),
    noise("a-date-written-otherwise", rule("date", css("#on"), normalization={"dateOrder": "dmy"}), html("<p id=on>24.12.2026</p>"), html("<p id=on>24 Dec 2026</p>"), html("<p id=on>2026-12-24</p>"), html("<time id=on>24. Dezember 2026</time>")),
    noise("crossing-back-is-nobodys-limit", rule("price", css(".price"), policy={"conditions": [{"id": "cheap", "type": "price_below", "value": 50}]}), shop("€60"), shop("€70"), shop("€51"), shop("€50")),
    noise("words-of-a-rule-behind-a-not", rule("availability", css(".stock"), normalization={"mapping": {"available": "in_stock"}}, policy={"conditions": [{"id": "back", "type": "availability_is", "value": "in_stock"}]}), shop("€1", stock="Sold out"), shop("€1", stock="Currently unavailable"), shop("€1", stock="Not available"), shop("€1", stock="Available soon"), shop("€1", stock="Available: 0")),
    noise("rows-of-one-name-in-another-order", rule("list", {"method": "table", "selector": "table", "key": "Line"}), table(("A", "P", "8"), ("A", "H", "9")), table(("A", "H", "9"), ("A", "P", "8"))),
    noise("ages-in-a-table", rule("list", {"method": "table", "selector": "table", "key": "Line"}), table(("1", "Port", "3 minutes ago"), ("2", "Hill", "1 hour ago")), table(("1", "Port", "9 minutes ago"), ("2", "Hill", "2 hours ago"))),
]  # fmt: skip
