"""Product pages as the shop systems of the world write them: made here, after their public conventions.

Each says one thing to people and perhaps another to machines, in its language and with its currency; what
stands around the product (menu, cart, related products) is there too. No page is of a real shop.
"""

from __future__ import annotations

import json
from decimal import Decimal

import pytest

from sentinel.decide.availability import read_availability
from sentinel.decide.money import read_price
from sentinel.errors import CheckFailure
from sentinel.extract import extract
from sentinel.model import Extraction
from tests.sentinel.extract.pages import page


def around(title: str, main: str, *, head: str = "", lang: str = "en") -> str:
    """A whole page: a menu with a cart before, related products and a footer behind."""
    cards = "".join(
        f'<div class="card"><a href="/p/{n}"><img src="/{n}.jpg"><h3>Other thing {n}</h3>'
        f'<span class="price">{n}9,99 €</span></a><button class="add-to-cart">Add to cart</button></div>'
        for n in range(1, 5)
    )
    return (
        f"<!doctype html><html lang={lang}><head><title>{title} – The Shop</title>{head}</head><body>"
        '<header><nav><a href="/">Home</a><a href="/sale">Sale from 5 €</a></nav>'
        '<div class="minicart"><a href="/cart">Cart <span class="amount">0,00 €</span></a></div></header>'
        f'<main>{main}</main><section class="related-products"><h2>You may also like</h2>{cards}</section>'
        "<footer><p>Free shipping over 50 €</p><button>Subscribe</button></footer></body></html>"
    )


def ld(**product: object) -> str:
    return f'<script type="application/ld+json">{json.dumps({"@type": "Product", **product})}</script>'


SHOPS = {
    "shopify, on sale": (
        around(
            "Wool Scarf",
            '<div class="product__info"><h1 class="product__title">Wool Scarf</h1><div class="price price--on-sale">'
            '<div class="price__sale"><span class="visually-hidden">Regular price</span><s class="price-item '
            'price-item--regular">$48.00</s><span class="visually-hidden">Sale price</span><span class="price-item '
            'price-item--sale price-item--last">$36.00 USD</span></div></div><form action="/cart/add" method="post">'
            '<button type="submit" name="add" class="product-form__submit"><span>Add to cart</span></button></form></div>',
        ),
        "36.00 USD", "in_stock",
    ),
    "shopify, sold out": (
        around(
            "Wool Scarf",
            '<h1>Wool Scarf</h1><div class="price price--sold-out"><span class="price-item price-item--regular">'
            '£36.00</span><span class="badge price__badge-sold-out">Sold out</span></div><form action="/cart/add">'
            '<button type="submit" name="add" disabled><span>Sold out</span></button></form>',
        ),
        "36.00 GBP", "out_of_stock",
    ),
    "woocommerce, on sale, German": (
        around(
            "Kaffeemühle Nostalgie",
            '<div class="summary entry-summary"><h1 class="product_title entry-title">Kaffeemühle Nostalgie</h1>'
            '<p class="price"><del aria-hidden="true"><span class="woocommerce-Price-amount amount"><bdi>89,00&nbsp;'
            '<span class="woocommerce-Price-currencySymbol">€</span></bdi></span></del> <ins><span class='
            '"woocommerce-Price-amount amount"><bdi>69,00&nbsp;<span class="woocommerce-Price-currencySymbol">€</span>'
            '</bdi></span></ins></p><p class="wc-gzd-additional-info">inkl. 19 % MwSt. zzgl. Versandkosten</p>'
            '<p class="stock in-stock">Vorrätig</p><form class="cart"><button name="add-to-cart" value="12" '
            'class="single_add_to_cart_button button alt">In den Warenkorb</button></form></div>',
            lang="de",
        ),
        "69.00 EUR", "in_stock",
    ),
    "woocommerce, sold out, Polish": (
        around(
            "Kubek ceramiczny",
            '<h1 class="product_title entry-title">Kubek ceramiczny</h1><p class="price"><span class="amount"><bdi>'
            '1 049,50&nbsp;<span>zł</span></bdi></span></p><p class="stock out-of-stock">Brak w magazynie</p>',
            lang="pl",
        ),
        "1049.50 PLN", "out_of_stock",
    ),
    "magento 2, special price, French": (
        around(
            "Lampe de bureau",
            '<div class="product-info-main"><h1 class="page-title"><span data-ui-id="page-title-wrapper">Lampe de '
            'bureau</span></h1><div class="product-info-price"><div class="price-box price-final_price"><span class='
            '"special-price"><span class="price-container price-final_price tax weee"><span class="price-label">'
            'Prix Spécial</span><span data-price-amount="59.9" data-price-type="finalPrice" class="price-wrapper">'
            '<span class="price">59,90 €</span></span></span></span><span class="old-price"><span class="price-label">'
            'Prix habituel</span><span class="price">79,90 €</span></span></div><div class="product-info-stock-sku">'
            '<div class="stock available" title="Disponibilité"><span>En stock</span></div></div></div>'
            '<button id="product-addtocart-button" class="action primary tocart">Ajouter au panier</button></div>',
            lang="fr",
        ),
        "59.90 EUR", "in_stock",
    ),
    "prestashop, Spanish": (
        around(
            "Taza de viaje",
            '<h1 class="h1">Taza de viaje</h1><div class="product-prices"><div class="product-discount"><span class='
            '"regular-price">1.299,00&nbsp;€</span></div><div class="product-price h5 has-discount"><div class='
            '"current-price"><span class="current-price-value" content="1039.2">1.039,20&nbsp;€</span><span class='
            '"discount discount-percentage">Ahorre 20%</span></div></div><div class="tax-shipping-delivery-label">'
            'Impuestos incluidos</div></div><div class="product-add-to-cart"><button class="btn btn-primary '
            'add-to-cart" data-button-action="add-to-cart" type="submit">Añadir al carrito</button><span '
            'id="product-availability">Últimas unidades en stock</span></div>',
            lang="es",
        ),
        "1039.20 EUR", "in_stock",
    ),
    "bigcommerce, was and now": (
        around(
            "Field Notes",
            '<div class="productView"><h1 class="productView-title">Field Notes</h1><div class="productView-price">'
            '<div class="price-section rrp-price--withTax">MSRP: <span class="price price--rrp">$24.00</span></div>'
            '<div class="price-section non-sale-price--withTax">Was: <span class="price price--non-sale">$20.00</span>'
            '</div><div class="price-section"><span class="price-now-label">Now:</span><span class="price '
            'price--withTax">$15.00</span></div></div><form data-cart-item-add><input id="form-action-addToCart" '
            'class="button button--primary" type="submit" value="Add to Cart"></form></div>',
        ),
        "15.00 USD", "in_stock",
    ),
    "big store, table of prices": (
        around(
            "USB Hub, 7 ports",
            '<div id="centerCol"><span id="title"><h1>USB Hub, 7 ports</h1></span><table><tr><td>List Price:</td><td>'
            '<span class="a-price"><span class="a-offscreen">$49.99</span><span aria-hidden="true" class='
            '"a-text-strike">$49.99</span></span></td></tr><tr><td>Price:</td><td><span id="ourprice">$31.99</span> '
            '<span>&amp; FREE Returns</span></td></tr><tr><td>You Save:</td><td>$18.00 (36%)</td></tr></table>'
            '<div id="availability"><span>Only 3 left in stock - order soon.</span></div></div>',
        ),
        "31.99 USD", "in_stock",
    ),
    "big store, nobody knows when": (
        around(
            "USB Hub, 7 ports",
            "<h1>USB Hub, 7 ports</h1><div id=availability><span>Currently unavailable.</span><br>We don't know when "
            "or if this item will be back in stock.</div>",
        ),
        None, "out_of_stock",
    ),
    "microdata, Czech": (
        around(
            "Židle Standard",
            '<div itemscope itemtype="https://schema.org/Product"><h1 itemprop="name">Židle Standard</h1><div '
            'itemprop="offers" itemscope itemtype="https://schema.org/Offer"><meta itemprop="priceCurrency" '
            'content="CZK"><span class="cena" itemprop="price" content="2490">2 490 Kč</span><link itemprop='
            '"availability" href="https://schema.org/InStock"></div></div>',
            lang="cs",
        ),
        "2490 CZK", "in_stock",
    ),
    "RDFa, Dutch": (
        around(
            "Fietstas",
            '<div vocab="https://schema.org/" typeof="Product"><h1 property="name">Fietstas</h1><div property="offers" '
            'typeof="Offer"><span property="priceCurrency" content="EUR">€</span><span property="price" '
            'content="54.95">54,95</span><link property="availability" href="https://schema.org/OutOfStock"></div></div>',
            lang="nl",
        ),
        "54.95 EUR", "out_of_stock",
    ),
    "RDFa with a prefix": (
        around(
            "Bike bag",
            '<div xmlns:v="http://schema.org/" typeof="schema:Product"><h1 property="schema:name">Bike bag</h1><div '
            'rel="schema:offers"><div typeof="schema:Offer"><span property="schema:price">54.95</span><span '
            'property="schema:priceCurrency">GBP</span></div></div></div>',
        ),
        "54.95 GBP", None,
    ),
    "hProduct": (
        around(
            "Clay pot",
            '<div class="hproduct"><h1 class="fn">Clay pot</h1><span class="price">$12.50</span><p>Hand made.</p></div>',
        ),
        "12.50 USD", None,
    ),
    "h-product with data": (
        around(
            "Clay pot",
            '<div class="h-product"><h2 class="p-name">Clay pot</h2><data class="p-price" value="12.50">a dozen and a '
            "half</data></div>",
        ),
        "12.50", None,
    ),
    "open graph alone": (
        around(
            "Poster",
            "<h1>Poster</h1>",
            head='<meta property="product:price:amount" content="15.00"><meta property="product:price:currency" '
            'content="SEK"><meta property="product:availability" content="in stock">',
        ),
        "15.00 SEK", "in_stock",
    ),
    "twitter card labels": (
        around(
            "Poster",
            "<h1>Poster</h1>",
            head='<meta name="twitter:label1" content="Price"><meta name="twitter:data1" content="€ 15,00"><meta '
            'name="twitter:label2" content="Availability"><meta name="twitter:data2" content="In stock">',
        ),
        "15.00 EUR", "in_stock",
    ),
    "state of a script, next": (
        around(
            "Trail Shoes",
            "<h1>Trail Shoes</h1><div id=app></div>",
            head='<script id="__NEXT_DATA__" type="application/json">'
            + json.dumps(
                {
                    "props": {
                        "pageProps": {
                            "product": {"name": "Trail Shoes", "price": {"value": 129.95, "currency": "EUR"}, "inStock": True},
                            "recommended": [{"name": "Socks", "price": {"value": 9.95, "currency": "EUR"}}],
                        }
                    }
                }
            )
            + "</script>",
        ),
        "129.95 EUR", "in_stock",
    ),
    "state of a script, window": (
        around(
            "Trail Shoes",
            "<h1>Trail Shoes</h1><div id=app></div><script>window.__STATE__ = "
            + json.dumps({"item": {"title": "Trail Shoes", "currentPrice": "129.95", "currency": "GBP", "availability": "sold_out"}})
            + ";</script>",
        ),
        "129.95 GBP", "out_of_stock",
    ),
    "data layer": (
        around(
            "Trail Shoes",
            "<h1>Trail Shoes</h1><div id=app></div><script>window.dataLayer = window.dataLayer || []; dataLayer.push("
            + json.dumps({"ecommerce": {"currencyCode": "USD", "detail": {"products": [{"name": "Trail Shoes", "price": "129.95"}]}}})
            + ");</script>",
        ),
        "129.95 USD", None,
    ),
    "cents in an element of their own, German": (
        around(
            "Bohrhammer",
            '<h1>Bohrhammer</h1><div class="product-price"><span class="price">149<sup>95</sup> €</span></div>'
            "<div class=delivery-status>Lieferzeit: 3-5 Werktage</div>",
            lang="de",
        ),
        "149.95 EUR", "lead_time",
    ),
    "price in pieces": (
        around(
            "Rucksack",
            '<h1>Rucksack</h1><div class="price"><span class="currency">€</span><span class="whole">89</span><span '
            'class="separator">,</span><span class="fraction">90</span></div><button>In winkelwagen</button>',
            lang="nl",
        ),
        "89.90 EUR", "in_stock",
    ),
    "names that say nothing, a per cent that does": (
        around(
            "Ankle boots",
            '<div class="x1"><h1 class="x2">Ankle boots</h1><span class="x3">€78.50</span><span class="x4">€70.65</span>'
            '<span class="x5">-10%</span></div><button class="x6">Add to bag</button>',
        ),
        "70.65 EUR", "in_stock",
    ),
    "old price in the data, new one shown": (
        around(
            "La storia perduta",
            '<h1>La storia perduta</h1><div class="pricing"><span class="actual-price">17,10 €</span> <span class="barred">'
            "18,00 €</span></div><p class=availability>Disponibile</p>",
            head=ld(name="La storia perduta", offers={"price": "18.00", "priceCurrency": "EUR"}),
            lang="it",
        ),
        "17.10 EUR", "in_stock",
    ),
    "a consent box with the first heading": (
        around(
            "Grand Piano Book",
            '<div class="cookie-consent"><h1>We value your privacy</h1><span class="price">1 €</span></div>'
            '<h1>Grand Piano Book</h1><p class="price">12,00 €</p><p class="stock">Uitverkocht</p>',
            lang="nl",
        ),
        "12.00 EUR", "out_of_stock",
    ),
    "range of variants": (
        around("Tea, loose", '<h1>Tea, loose</h1><p class="price">€4,50 – €12,00</p><button>Choose</button>'),
        "4.50 EUR", None,
    ),
    "per kilogram, a month, with shipping": (
        around(
            "Kohlen",
            '<h1>Kohlen</h1><div class="price">24,90 €</div><div class="unit-price">2,49 €/kg</div><div class='
            '"financing">ab 2,10 € im Monat</div><div class="shipping">Versand: 4,90 €</div><button>Jetzt kaufen</button>',
            lang="de",
        ),
        "24.90 EUR", "in_stock",
    ),
    "pre-order": (
        around("Console X", '<h1>Console X</h1><div class="price">£449.99</div><button>Pre-order now</button>'),
        "449.99 GBP", "backorder",
    ),
    "japanese": (
        around(
            "南部鉄器 急須",
            "<h1>南部鉄器 急須</h1><p class=kakaku>価格：<span>8,800円（税込）</span></p><p>在庫あり</p><a class=btn href=#>カートに入れる</a>",
            lang="ja",
        ),
        "8800 JPY", "in_stock",
    ),
    "chinese, from the lowest": (
        around("豬肉乾", "<h1>豬肉乾</h1><div class=deal>最低價$<span>99</span>元起/包</div><div>售完</div>", lang="zh"),
        "99", "out_of_stock",
    ),
    "russian, number apart from its currency": (
        around(
            "Чайник",
            '<h1>Чайник</h1><div class="price"><b>2 490</b> <small>руб.</small></div><div class=nalichie>Нет в наличии</div>',
            lang="ru",
        ),
        "2490 RUB", "out_of_stock",
    ),
    "arabic": (
        around(
            "إبريق شاي",
            '<h1>إبريق شاي</h1><div class="price">١٢٦ ر.س</div><a class="btn" href="#">أضف إلى السلة</a>',
            lang="ar",
        ),
        "126 SAR", "in_stock",
    ),
    "hebrew, sold out": (
        around("בושם לגבר", '<h1>בושם לגבר</h1><div class="price">249 ₪</div><div>אזל מהמלאי</div>', lang="he"),
        "249 ILS", "out_of_stock",
    ),
    "portuguese, by instalments": (
        around(
            "Geladeira Frost",
            '<h1>Geladeira Frost</h1><p class="preco-de">de R$ 2.999,00</p><p class="preco">por R$ 2.499,00</p>'
            '<p class="parcelas">10x de R$ 249,90 sem juros</p><button>Comprar</button>',
            lang="pt",
        ),
        "2499.00 BRL", "in_stock",
    ),
    "hungarian": (
        around(
            "Konyhakés",
            '<h1>Konyhakés</h1><div class="ar">Ár: <strong>12 990 Ft</strong></div><div>Nincs raktáron</div>',
            lang="hu",
        ),
        "12990 HUF", "out_of_stock",
    ),
    "turkish": (
        around(
            "Çay Bardağı",
            '<h1>Çay Bardağı</h1><div class="fiyat"><del>1.299,90 TL</del> <span class="indirimli">999,90 TL</span></div>'
            "<button>Sepete Ekle</button>",
            lang="tr",
        ),
        "999.90 TRY", "in_stock",
    ),
    "a small ad": (
        around(
            "Skate board, rare",
            '<div itemscope itemtype="http://schema.org/Product"><h1 itemprop="name">Skate board, rare</h1><div '
            'itemprop="offers" itemscope itemtype="http://schema.org/Offer"><meta itemprop="price" content="60"><span '
            'itemprop="availability">NOT SOLD</span></div></div>',
        ),
        "60", "in_stock",
    ),
    "offers of several sellers": (
        around(
            "Kettle Z",
            "<h1>Kettle Z</h1>",
            head=ld(name="Kettle Z", offers={"@type": "AggregateOffer", "lowPrice": "52.20", "offerCount": "3"}),
        ),
        "52.20", "in_stock",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SHOPS)
def test_the_price_of_the_product_is_read(name: str) -> None:
    text, expected, _ = SHOPS[name]
    told = asked(text, "price")
    if expected is None:
        assert told is None
        return
    assert told is not None
    price = read_price(told[0], hint=told[1])
    assert price is not None
    amount, _, currency = expected.partition(" ")
    assert price.amount == Decimal(amount)
    if currency:
        assert price.currency == currency


@pytest.mark.parametrize("name", SHOPS)
def test_whether_the_product_can_be_had_is_read(name: str) -> None:
    text, _, expected = SHOPS[name]
    told = asked(text, "availability")
    assert (None if told is None else read_availability(told[0], {}).status) == expected


def asked(text: str, what: str) -> tuple[str, str | None] | None:
    """What is read, with its currency, or None."""
    try:
        found = extract(page(text), Extraction(method="auto", selector=what))
    except CheckFailure:
        return None
    return found.raw, found.currency
