"""Whether a thing can be had: phrases of many languages, schema.org words, lead times.

Longer phrases win over those inside them (`not in stock`, `notify me when back in stock`). A text that
says two things at once is EXTRACT_AMBIGUOUS, a text that says nothing is EXTRACT_PARSE_ERROR: a guess
here would be an alert about nothing, and an `unknown` that nobody hears of a rule that broke in silence.
`unknown` itself comes from the rule's mapping only.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache
from typing import Final

from sentinel.decide.text import shorten, visible
from sentinel.errors import CheckFailure
from sentinel.model import AvailabilityStatus, AvailabilityValue

#: Longest text phrases are looked for in (characters).
_MAX_TEXT: Final = 4000

#: schema.org ItemAvailability, with or without its URL; also Open Graph's words.
_SCHEMA: Final[dict[str, AvailabilityStatus]] = {
    "instock": "in_stock",
    "instoreonly": "in_stock",
    "onlineonly": "in_stock",
    "limitedavailability": "in_stock",
    "outofstock": "out_of_stock",
    "soldout": "out_of_stock",
    "discontinued": "out_of_stock",
    "reserved": "out_of_stock",
    "backorder": "backorder",
    "preorder": "backorder",
    "presale": "backorder",
    "madetoorder": "backorder",
    "availablefororder": "backorder",
    "oos": "out_of_stock",
    "true": "in_stock",
    "yes": "in_stock",
    "1": "in_stock",
    "false": "out_of_stock",
    "no": "out_of_stock",
    "0": "out_of_stock",
}
_SCHEMA_URL: Final = re.compile(r"schema\.org/(\w+)", re.IGNORECASE)

#: Phrases by language, written without accents and in lower case (see _fold).
_IN_STOCK: Final = (
    # en
    *(
        "in stock",
        "available now",
        "available",
        "available online",
        "in store now",
        "ready to ship",
        "ships today",
    ),
    *(
        "available to ship",
        "available for delivery",
        "available for pickup",
        "low stock",
        "few left",
        "last one",
    ),
    *(
        "limited stock",
        "limited availability",
        "almost gone",
        "in stock soon to be gone",
        "ships immediately",
    ),
    # de
    *(
        "auf lager",
        "lagernd",
        "sofort lieferbar",
        "sofort verfugbar",
        "verfugbar",
        "vorratig",
        "ab lager",
        "lieferbar",
    ),
    *("sofort versandfertig", "versandfertig", "wenige verfugbar", "am lager", "online verfugbar"),
    # fr
    *(
        "en stock",
        "disponible",
        "disponible immediatement",
        "disponible en ligne",
        "stock limite",
        "expedie sous 24h",
    ),
    # es
    *("en existencia", "hay existencias", "hay stock", "con stock", "disponible ahora", "en inventario"),
    # it
    *(
        "disponibile",
        "disponibilita immediata",
        "in magazzino",
        "pronta consegna",
        "disponibile subito",
        "in giacenza",
    ),
    # pt
    *("em estoque", "em stock", "disponivel", "pronta entrega", "disponibilidade imediata"),
    # nl
    *("op voorraad", "voorradig", "direct leverbaar", "leverbaar", "beschikbaar", "uit voorraad leverbaar"),
    # sv, da, no
    *("i lager", "finns i lager", "tillganglig", "pa lager", "pa lageret", "lagerfort och finns"),
    *("tilgjengelig", "tilgaengelig", "klar til levering"),
    # fi
    *("varastossa", "heti saatavilla", "saatavilla", "heti toimitettavissa"),
    # pl
    *("dostepny", "dostepna", "dostepne", "dostepnosc natychmiastowa", "w magazynie", "na stanie", "od reki"),
    # cs, sk
    *("skladem", "na sklade", "dostupne", "dostupny", "k dispozici", "ihned k odeslani", "ihned k odberu"),
    *("k dispozicii", "ihned k odoslaniu", "na odoslanie", "posledni kus skladem"),
    # hu
    *("raktaron", "keszleten", "elerheto", "azonnal szallithato", "kaphato"),
    # ro
    *("in stoc", "pe stoc", "disponibil", "stoc limitat", "in stoc furnizor", "livrare imediata"),
    # hr, sl, sr, bg, el, tr, ru, uk
    *(
        "na zalihi",
        "dostupno",
        "na zalogi",
        "na stanju",
        "raspolozivo",
        "dobavljivo",
        "в наличност",
        "наличен",
    ),
    *(
        "σε αποθεμα",
        "αμεσα διαθεσιμο",
        "διαθεσιμο",
        "stokta",
        "stokta var",
        "mevcut",
        "в наличии",
        "есть в наличии",
    ),
    *("є в наявності", "в наявності", "на складе", "на складі", "доступен", "доступно"),
    # ja, zh, ko
    *("在庫あり", "在庫有り", "在庫有", "有货", "现货", "有貨", "現貨", "재고 있음"),
)
_OUT_OF_STOCK: Final = (
    # en
    *(
        "out of stock",
        "not in stock",
        "no longer in stock",
        "sold out",
        "unavailable",
        "not available",
        "no stock",
    ),
    *(
        "currently unavailable",
        "temporarily unavailable",
        "temporarily out of stock",
        "currently out of stock",
    ),
    *(
        "no longer available",
        "discontinued",
        "not currently available",
        "isn't available",
        "is not available",
    ),
    *(
        "out of print",
        "coming soon",
        "notify me when available",
        "notify me when back in stock",
        "no availability",
    ),
    *("notify me when in stock", "email me when available", "email when available", "when back in stock"),
    *("back in stock soon", "when it is back in stock", "be back in stock", "let me know when in stock"),
    *(
        "email me when back in stock",
        "when this is back in stock",
        "not in store",
        "none left",
        "none in stock",
    ),
    *("not available for delivery", "notify me when it is in stock", "never in stock", "isn't in stock"),
    # de
    *("nicht auf lager", "nicht lieferbar", "nicht verfugbar", "ausverkauft", "vergriffen", "nicht vorratig"),
    *(
        "derzeit nicht verfugbar",
        "derzeit nicht lieferbar",
        "zurzeit nicht lieferbar",
        "zur zeit nicht lieferbar",
    ),
    *(
        "momentan nicht verfugbar",
        "momentan nicht lieferbar",
        "aktuell nicht verfugbar",
        "aktuell nicht lieferbar",
    ),
    *(
        "nicht mehr lieferbar",
        "nicht mehr verfugbar",
        "nicht lagernd",
        "leider ausverkauft",
        "nicht mehr auf lager",
    ),
    *("aktuell nicht auf lager", "kein lagerbestand", "nicht erhaltlich", "online nicht verfugbar"),
    *("benachrichtigen sobald verfugbar", "benachrichtigen wenn verfugbar", "sobald wieder verfugbar"),
    # fr
    *("rupture de stock", "en rupture", "en rupture de stock", "epuise", "indisponible", "non disponible"),
    *("pas en stock", "plus en stock", "n'est plus disponible", "plus disponible", "n'est pas disponible"),
    *("actuellement indisponible", "temporairement indisponible", "stock epuise", "victime de son succes"),
    *(
        "article epuise",
        "m'avertir quand disponible",
        "prevenez moi lorsque disponible",
        "pas disponible",
        "hors stock",
    ),
    # es
    *(
        "agotado",
        "agotada",
        "sin stock",
        "sin existencias",
        "no disponible",
        "fuera de stock",
        "no hay stock",
    ),
    *(
        "no hay existencias",
        "temporalmente agotado",
        "ya no esta disponible",
        "no esta disponible",
        "avisame cuando este disponible",
    ),
    # it
    *(
        "esaurito",
        "esaurita",
        "non disponibile",
        "al momento non disponibile",
        "non in magazzino",
        "terminato",
    ),
    *(
        "attualmente non disponibile",
        "prodotto esaurito",
        "avvisami quando disponibile",
        "non piu disponibile",
    ),
    # pt
    *("esgotado", "esgotada", "indisponivel", "fora de estoque", "sem estoque", "sem stock", "fora de stock"),
    *("nao disponivel", "produto indisponivel", "avise me quando disponivel", "avise me quando chegar"),
    # nl
    *(
        "uitverkocht",
        "niet op voorraad",
        "niet leverbaar",
        "niet beschikbaar",
        "niet voorradig",
        "tijdelijk uitverkocht",
    ),
    *(
        "tijdelijk niet leverbaar",
        "niet meer leverbaar",
        "momenteel niet leverbaar",
        "tijdelijk niet beschikbaar",
    ),
    *("niet meer beschikbaar", "niet meer op voorraad"),
    # sv, da, no
    *(
        "slut i lager",
        "slutsald",
        "ej i lager",
        "inte i lager",
        "finns ej i lager",
        "finns inte i lager",
        "slut",
    ),
    *(
        "tillfalligt slut",
        "ikke pa lager",
        "udsolgt",
        "utsolgt",
        "ikke tilgaengelig",
        "ikke tilgjengelig",
        "ej tillganglig",
    ),
    *(
        "midlertidigt udsolgt",
        "midlertidig utsolgt",
        "ej pa lager",
        "inte tillganglig",
        "utgatt",
        "utgaet",
        "utgatt",
    ),
    # fi
    *("loppu varastosta", "loppunut", "ei saatavilla", "ei varastossa", "loppuunmyyty", "tilapaisesti loppu"),
    # pl
    *(
        "niedostepny",
        "niedostepna",
        "niedostepne",
        "brak w magazynie",
        "wyprzedany",
        "wyprzedane",
        "brak towaru",
    ),
    *(
        "produkt niedostepny",
        "chwilowo niedostepny",
        "nie jest dostepny",
        "brak na stanie",
        "brak na magazynie",
    ),
    *("powiadom o dostepnosci", "powiadom gdy dostepny", "brak"),
    # cs, sk
    *(
        "neni skladem",
        "vyprodano",
        "neni na sklade",
        "nedostupne",
        "nedostupny",
        "momentalne nedostupne",
        "docasne nedostupne",
    ),
    *("nie je skladom", "nie je na sklade", "vypredane", "momentalne nie je skladom", "momentalne vypredane"),
    *(
        "momentalne neni skladem",
        "momentalne vyprodano",
        "jiz neni v prodeji",
        "ukonceno",
        "neni k dispozici",
    ),
    *(
        "nie je k dispozicii",
        "nie je dostupne",
        "docasne vypredane",
        "hlidat dostupnost",
        "prodej ukoncen",
        "predaj ukonceny",
    ),
    # hu
    *(
        "nincs raktaron",
        "nincs keszleten",
        "elfogyott",
        "nem elerheto",
        "nem kaphato",
        "keszlethiany",
        "kifutott",
    ),
    *("jelenleg nem elerheto", "jelenleg nem kaphato", "nem rendelheto"),
    # ro
    *(
        "stoc epuizat",
        "indisponibil",
        "nu este in stoc",
        "nu e in stoc",
        "lipsa stoc",
        "fara stoc",
        "nu mai este disponibil",
    ),
    *("momentan indisponibil", "nu este disponibil", "anunta ma cand e disponibil", "epuizat"),
    # hr, sl, sr, bg, el, tr, ru, uk
    *(
        "nije dostupno",
        "nema na zalihi",
        "rasprodano",
        "razprodano",
        "ni na zalogi",
        "nije na stanju",
        "nema na stanju",
    ),
    *(
        "няма в наличност",
        "изчерпан",
        "не е в наличност",
        "εξαντλημενο",
        "μη διαθεσιμο",
        "δεν ειναι διαθεσιμο",
        "εξαντληθηκε",
    ),
    *(
        "tukendi",
        "stokta yok",
        "stokta bulunmuyor",
        "mevcut degil",
        "нет в наличии",
        "распродано",
        "нет на складе",
    ),
    *(
        "немає в наявності",
        "недоступен",
        "недоступно",
        "снят с производства",
        "закончился",
        "отсутствует",
        "немає на складі",
    ),
    # ja, zh, ko
    *(
        "在庫なし",
        "在庫切れ",
        "売り切れ",
        "品切れ",
        "完売",
        "缺货",
        "售罄",
        "无货",
        "缺貨",
        "售完",
        "已售完",
        "품절",
        "재고 없음",
    ),
)
_BACKORDER: Final = (
    *(
        "backorder",
        "back order",
        "on back order",
        "available on backorder",
        "available on back order",
        "backordered",
    ),
    *(
        "pre order",
        "preorder",
        "pre order now",
        "available for pre order",
        "available for preorder",
        "made to order",
    ),
    *(
        "special order",
        "available to order",
        "order on request",
        "can be backordered",
        "pre sale",
        "on order",
    ),
    *(
        "vorbestellbar",
        "vorbestellen",
        "nachbestellt",
        "auf bestellung",
        "auf anfrage",
        "jetzt vorbestellen",
        "vorbestellung",
    ),
    *(
        "bestellbar",
        "wird nachbestellt",
        "nachlieferung",
        "im zulauf",
        "bestellt",
        "auf bestellung verfugbar",
    ),
    *(
        "precommande",
        "en precommande",
        "sur commande",
        "disponible sur commande",
        "precommander",
        "en reapprovisionnement",
    ),
    *(
        "reserva",
        "bajo pedido",
        "preventa",
        "disponible bajo pedido",
        "en reserva",
        "pre venta",
        "sobre pedido",
    ),
    *(
        "preordina",
        "in arrivo",
        "su ordinazione",
        "su richiesta",
        "preordine",
        "ordinabile",
        "disponibile su ordinazione",
    ),
    *(
        "pre venda",
        "sob encomenda",
        "por encomenda",
        "encomenda",
        "pre encomenda",
        "disponivel por encomenda",
    ),
    *(
        "pre order nu",
        "nabestelling",
        "in backorder",
        "op bestelling",
        "te reserveren",
        "binnenkort leverbaar",
    ),
    *(
        "bestallningsvara",
        "forbestall",
        "forhandsboka",
        "forudbestil",
        "bestillingsvare",
        "forhandsbestill",
        "pa vej",
    ),
    *("ennakkotilaus", "tilaustuote", "ennakkotilaa", "tilattavissa"),
    *(
        "na zamowienie",
        "przedsprzedaz",
        "dostepny na zamowienie",
        "dostepne na zamowienie",
        "zamow w przedsprzedazy",
    ),
    *(
        "na objednavku",
        "predobjednavka",
        "predobjednat",
        "na objednani",
        "dostupne na objednavku",
        "na dotaz",
        "u dodavatele",
    ),
    *("na objednavku u dodavatela", "predobjednavka", "u dodavatela"),
    *("elorendelheto", "elorendeles", "rendelheto", "rendelesre", "kulso raktaron"),
    *("precomanda", "la comanda", "disponibil la comanda", "in curand", "precomanda acum"),
    *(
        "po narudzbi",
        "po narocilu",
        "по поръчка",
        "κατοπιν παραγγελιας",
        "on siparis",
        "под заказ",
        "предзаказ",
    ),
    *(
        "під замовлення",
        "передзамовлення",
        "予約受付中",
        "予約",
        "取り寄せ",
        "お取り寄せ",
        "预售",
        "預購",
        "예약",
    ),
)
#: What introduces a span that says when it comes.
_LEAD: Final = (
    r"(?:ships?|shipped|shipping time|dispatche[sd]|dispatch time|delivery time|delivered|delivery|lead time|arrives|"  # noqa: E501 - one table row
    r"leaves our warehouse|available|restock(?:ed|ing)?|expected|estimated|"
    r"lieferzeit|lieferbar|lieferung|versand|versandfertig|verfugbar|zustellung|lieferfrist|"
    r"expedi[ea]\w*|delai|livraison|livre|sous|"
    r"entrega|envio|plazo|se envia|disponible|prazo|enviado|"
    r"spedi\w*|consegna|tempi|disponibile|"
    r"levertijd|verzonden|levering|leverbaar|bezorg\w*|leverans\w*|leveringstid|skickas|sendes|toimitus\w*|toimitetaan|"
    r"wysylka|dostawa|czas|realizacj\w*|wysylamy|"
    r"doda\w*|doruc\w*|odesl\w*|odosl\w*|expedice|expedujeme|k odberu|dostupn\w*|"
    r"szallit\w*|kiszallit\w*|livrare|termen|expediere|isporuka|dobava|dostava|доставк\w*|срок|отправк\w*|teslim\w*|kargo)"
)
_SPAN: Final = (
    r"(?P<first>\d{1,3})(?: ?(?:-|–|to|bis|a|al|do|till|til|tot|и|до|ou|oder|or) ?(?P<last>\d{1,3}))? ?\+?"
    r" ?(?:(?:business|working|werk|arbeits|kalender|jours|dias|giorni)? ?)"
    r"(?P<unit>h\b|hours?|hrs?|std|stunden?|heures?|horas?|ore|uur|timmar|timer|godzin\w*|hodin\w*|ora|orak?|час\w*|"
    r"d\b|days?|tage?n?|werktage?n?|arbeitstage?n?|jours?|dias?|giorn[oi]|dagar?|dage|dagen|werkdagen|vardagar|hverdage[r]?|"
    r"arkipaiva\w*|paiva\w*|dni|dnu|dny|dnoch|den|dnech|nap\w*|munkanap\w*|zile|dana|дн\w*|gun|pracovni\w* dn\w*|"  # noqa: E501 - one table row
    r"business days?|working days?|jours ouvres|dias uteis|dias habiles|giorni lavorativi|zile lucratoare|"
    r"w\b|weeks?|wochen?|semaines?|semanas?|settiman[ae]|weken|week|veck\w+|uger?|uker?|viikko\w*|viikon|tygodni\w*|tygodnie|"
    r"tydn\w*|tyzdn\w*|het|heten|saptaman\w*|tjedn\w*|недел\w*|hafta|"
    r"months?|monate?n?|mois|mes(?:es|i|e)?|maanden?|manad\w*|maned\w*|kuukau\w*|miesi\w*|mesic\w*|mesiac\w*|honap\w*|luni?|месяц\w*)"
)
#: Days per unit by how the unit begins; the first that fits wins, so hours and months come before days.
_DAYS: Final = (
    (re.compile(r"(?:h|std|stund|ore|uur|tim|godz|hod|ora|час)(?!et|onap|verd)"), 1 / 24),
    (re.compile(r"(?:mo|mois|mes(?!s)|maan|man|kuu|miesi|luni|месяц|honap)"), 30.0),
    (re.compile(r"(?:w|sem|sett|veck|ug|uk|viik|tyg|tyd|tyz|het|sapt|tjed|недел|haf)(?!erk)"), 7.0),
)
_COUNTED: Final = re.compile(
    r"(?P<count>\d{1,7})\+? ?(?:x |st |stk |ks |db |buc |szt |pcs |pieces |items? |units? |stuck |left |unidades )*"  # noqa: E501 - one table row
    r"(?:left in stock|left|in stock|available|auf lager|verfugbar|en stock|disponibles?|disponibil\w*|op voorraad|"  # noqa: E501 - one table row
    r"i lager|pa lager|w magazynie|skladem|na sklade|raktaron|in stoc|remaining)\b"
    r"|\b(?:stock|lagerbestand|bestand|auf lager|skladem|in stock|na sklade|voorraad|lagersaldo|stoc|qty|quantity)"  # noqa: E501 - one table row
    r" ?[:>]? ?(?P<after>\d{1,7})\b"
)
#: A "no" a few words before "in stock".
_NEGATED: Final = re.compile(
    r"\b(?:not|no longer|never|isn't|aren't|cannot be|nicht|nicht mehr|kein|keine|non|ne|n'est|pas|plus|niet|geen|ikke|"  # noqa: E501 - one table row
    r"inte|ej|ei|nie|neni|nem|nincs|nu|nao|no|не|нет|няма|немає)(?: [^\W\d_]{1,12}){0,2} $"
)
#: Said by buttons; believed only where nothing else is said.
_BUTTONS: Final = (
    *("add to cart", "add to basket", "add to bag", "buy now", "in den warenkorb", "in den einkaufswagen"),
    *("jetzt kaufen", "ajouter au panier", "acheter", "anadir al carrito", "agregar al carrito", "comprar"),
    *(
        "aggiungi al carrello",
        "acquista",
        "adicionar ao carrinho",
        "in winkelwagen",
        "in winkelmand",
        "bestel nu",
    ),
    *(
        "lagg i varukorg",
        "kop",
        "laeg i kurv",
        "legg i handlekurv",
        "lisaa ostoskoriin",
        "do koszyka",
        "dodaj do koszyka",
    ),
    *(
        "do kosiku",
        "pridat do kosiku",
        "vlozit do kosiku",
        "do kosika",
        "pridat do kosika",
        "kosarba",
        "adauga in cos",
    ),
    *(
        "dodaj u kosaricu",
        "v kosarico",
        "в корзину",
        "до кошика",
        "купить",
        "sepete ekle",
        "カートに入れる",
        "加入购物车",
    ),
)


def read_availability(raw: str, mapping: dict[str, AvailabilityStatus]) -> AvailabilityValue:
    """Whether the thing can be had, by the rule's mapping first, then schema.org, then phrases.

    Raises CheckFailure EXTRACT_AMBIGUOUS where the text says both yes and no, and EXTRACT_PARSE_ERROR
    where it says neither.
    """
    text = visible(raw)[:_MAX_TEXT]
    status = _mapped(text, mapping) or _schema(text)
    folded = _fold(text)
    if status is None:
        said = _said(folded)
        status = _settle(said, text)
    days = _lead_days(folded) if status == "lead_time" else None
    return AvailabilityValue(status=status, lead_time_days=days)


def _mapped(text: str, mapping: dict[str, AvailabilityStatus]) -> AvailabilityStatus | None:
    """The rule's own words, the longest that is contained."""
    lower = text.casefold()
    hits = [key for key in mapping if visible(key).casefold() in lower]
    return mapping[max(hits, key=len)] if hits else None


def _schema(text: str) -> AvailabilityStatus | None:
    url = _SCHEMA_URL.search(text)
    word = url[1] if url else text
    return _SCHEMA.get(re.sub(r"[\s_:./-]", "", word).casefold().removeprefix("schema"))


def _settle(said: set[AvailabilityStatus], text: str) -> AvailabilityStatus:
    """One status from everything the text says."""
    match said:
        case _ if not said:
            raise CheckFailure(
                "EXTRACT_PARSE_ERROR", f"says nothing about availability: {shorten(text, 120)!r}"
            )
        case _ if "in_stock" in said and "out_of_stock" in said:
            raise CheckFailure(
                "EXTRACT_AMBIGUOUS", f"says both in stock and out of stock: {shorten(text, 120)!r}"
            )
        case _ if "in_stock" in said:  # "In stock, delivery in 2 days", "3 in stock (can be backordered)"
            return "in_stock"
        case _ if "backorder" in said:  # "Out of stock, available on backorder"
            return "backorder"
        case _ if "lead_time" in said:  # "Not in stock, ships in 3 weeks"
            return "lead_time"
        case _:
            return "out_of_stock"


def _said(folded: str) -> set[AvailabilityStatus]:
    """Every status the text names."""
    said: set[AvailabilityStatus] = set()
    for match in _phrases().finditer(folded):
        status = _STATUS_OF[match[0]]
        if status == "in_stock" and _NEGATED.search(folded, max(0, match.start() - 40), match.start()):
            status = "out_of_stock"
        said.add(status)
    counts = [int(match["count"] or match["after"]) for match in _COUNTED.finditer(folded)]
    if counts:
        # "0 in stock" holds the phrase "in stock": the count says it better.
        said -= {"in_stock"}
        said.add("in_stock" if max(counts) > 0 else "out_of_stock")
    if _lead_days(folded) is not None:
        # "Available in 3 weeks" holds the word "available": the span says it better.
        said = said - {"in_stock"} if _only_with_span(folded) else said
        said.add("lead_time")
    if not said and _buttons().search(folded):
        said.add("in_stock")
    return said


def _lead_days(folded: str) -> int | None:
    """Days until it comes, the later end, where the text names a span; rounded up."""
    match = _lead().search(folded) or _bare_span().fullmatch(folded)
    if match is None:
        return None
    count = int(match["last"] or match["first"])
    per_unit = next((days for unit, days in _DAYS if unit.match(match["unit"])), 1.0)
    return max(1, -int(-count * per_unit // 1))


def _only_with_span(folded: str) -> bool:
    """True where the only "available" of the text is the one that introduces the span."""
    match = _lead().search(folded)
    if match is None:
        return False
    rest = f"{folded[: match.start()]} | {folded[match.end() :]}"
    return not any(_STATUS_OF[m[0]] == "in_stock" for m in _phrases().finditer(rest))


_STATUS_OF: Final[dict[str, AvailabilityStatus]] = {
    **dict.fromkeys(_IN_STOCK, "in_stock"),
    **dict.fromkeys(_OUT_OF_STOCK, "out_of_stock"),
    **dict.fromkeys(_BACKORDER, "backorder"),
}


@cache
def _phrases() -> re.Pattern[str]:
    return _any_of(list(_STATUS_OF))


@cache
def _buttons() -> re.Pattern[str]:
    return _any_of(list(_BUTTONS))


def _any_of(phrases: list[str]) -> re.Pattern[str]:
    """Any of `phrases`, longest first, as whole words (scripts without spaces: anywhere)."""
    longest_first = sorted(phrases, key=len, reverse=True)
    spaced = "|".join(re.escape(p) for p in longest_first if p[0] < "⺀")
    dense = "|".join(re.escape(p) for p in longest_first if p[0] >= "⺀")
    return re.compile(rf"(?<!\w)(?:{spaced})(?!\w)" + (f"|{dense}" if dense else ""))


@cache
def _lead() -> re.Pattern[str]:
    """A word that introduces a span, at most 30 characters of filling, the span."""
    return re.compile(rf"(?<!\w){_LEAD}(?!\w)[^\d.;|]{{0,30}}?(?<!\w){_SPAN}")


@cache
def _bare_span() -> re.Pattern[str]:
    """A text that is nothing but a span: `2-3 Werktage`, `ca. 5 days`."""
    return re.compile(rf"(?:ca\.? |circa |approx\.? |about |etwa |in |within |do |za |sous |w )?{_SPAN}\.?")


def _fold(text: str) -> str:
    """Lower case, without accents, hyphens and underscores as spaces: `In-Stock`, `Verfügbar`."""
    lower = text.casefold().replace("ł", "l").replace("ø", "o").replace("æ", "ae").replace("đ", "d")
    lower = lower.replace("’", "'").replace("ı", "i")
    bare = "".join(char if "Ѐ" <= char <= "ӿ" or char >= "⺀" else _base(char) for char in lower)
    return " ".join(re.sub(r"(?<=[^\W\d_])[-_](?=[^\W\d_])", " ", bare).split())


def _base(char: str) -> str:
    if char.isascii():
        return char
    return "".join(c for c in unicodedata.normalize("NFKD", char) if not unicodedata.combining(c))
