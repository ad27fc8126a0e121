"""Words beside an amount that say what it is: what was asked before, of a part, of some people.

Bounded to the few words that shops of a language really write; a word that is another one elsewhere
(`ha`, `se`) is left out.
"""

from __future__ import annotations

import re
from typing import Final

#: Words before a number that is not what the thing costs now.
OLD: Final = re.compile(
    r"(?<![^\W\d_])(?:was|were|old|before|regular|original|originally|list|rrp|msrp|retail|instead|save|saved?|"
    r"savings?|you save|off|over|orders?|above|shipping|delivery|plus|deposit|"
    r"recommended|suggested|manufacturer\w*|normally|normal price|"
    r"statt|uvp|bisher|früher|alter|vorher|sparen|ersparnis|spare|zzgl|versand|versandkosten|pfand|grundpreis|"
    r"streichpreis|listenpreis|normalpreis|neupreis|ursprünglich\w*|unverbindliche\w*|empfohlen\w*|"
    r"au lieu|anciens?|ancienne|avant|économi\w*|livraison|conseillé|prix public|prix de référence|habituel|"
    r"antes|ahorr\w*|envío|precio original|anterior|recomendado|precio habitual|preço de tabela|"
    r"invece|anziché|risparmi\w*|spedizione|de:|era|sconto|consigliato|precedente|listino|"
    r"van|adviesprijs|bespaar|verzend\w*|oude?|ord|ordinarie|tidigare|spara|frakt|før|førpris|spar|"
    r"ordinær\w*|normalpris|rek|rekommenderat|veiledende|vejledende|suositushinta|ovh|norm|"
    r"před|původní|původně|ušetř\w*|běžná|doprava|pôvodn\w*|predtým|ušetr\w*|bežná|doporučená|odporúčaná|"
    r"zamiast|stara|poprzednia|najniższa|oszczęd\w*|dostawa|było|regularna|katalogowa|sugerowana|"
    r"korábbi|eredeti|régi|szállítás|listaár|vechi|economis\w*|înainte|recomandat|pvp|pvpr|prp|"
    r"старая|было|вместо|скидка|экономия|доставка|обычная|рекомендованная|стара|звичайна|ррц|"
    r"eski|liste fiyatı|tavsiye edilen)(?![^\W\d_])"
    r"|通常価格|定価|希望小売価格|参考価格|元値|原价|原價|市场价|市場價|定价|定價|建议零售价|建議售價|吊牌价|划线价"
    r"|정가|정상가|소비자가",
    re.IGNORECASE,
)
#: The lowest price of the last 30 days, which shops in the EU must tell beside a reduced one.
_LOWEST: Final = (
    r"(?:lowest|best price|niedrigst\w*|tiefst\w*|günstigst\w*|bestpreis|plus bas|más bajo|mínimo|"
    r"più basso|mais baixo|menor preço|laagste|lägst\w*|laveste|alin|nejnižší|najnižš\w*|najniższ\w*|"
    r"najniž\w*|cel mai mic|legalacsonyabb|най-ниск\w*|χαμηλότερη|madalaim|žemiausia|zemākā)"
)
_DAYS: Final = (
    r"(?:days?|tagen?|tage|jours|días|dias|giorni|dní|dnech|dnů|dni|dagen|dagars?|dagarna|dage|dager|"
    r"päivä\w*|nap\w*|zile|дни|ημ\w+|päeva|dienų|dienu|dana)"
)
LOWEST_OF_DAYS: Final = re.compile(
    rf"(?<![^\W\d_]){_LOWEST}[^\d€$£]{{0,60}}(?<!\d)30(?!\d)[-\ ]?(?:[^\W\d_]+\ ){{0,2}}?{_DAYS}"
    rf"(?:\ (?:[^\W\d_]+\ ){{0,4}}?[^\W\d_]+(?=:|\ \())?"
    rf"|(?<!\d)30[-\ ]?{_DAYS}[-\ ]?(?:[^\W\d_]+[-\ ]){{0,3}}?{_LOWEST}",
    re.IGNORECASE,
)
#: Words before a number that is.
NOW: Final = re.compile(
    r"(?<![^\W\d_])(?:now|current|sale|special|today|only|our|jetzt|nur|aktuell\w*|angebot\w*|sonderpreis|maintenant|"
    r"promo|ahora|oferta|adesso|ora|offerta|por|nu|rea|tilbud|nyní|nyni|akce|akční|teraz|naše|"
    r"promocja|obecnie|akciós|most|acum|сейчас|теперь|şimdi)(?![^\W\d_])"
    r"|セール|特価|販売価格|现价|現價|售价|售價|特价|特價|促销|促銷|到手价|券后|판매가|할인가",
    re.IGNORECASE,
)
#: Behind a number that is a price per unit (`12,50 €/kg`).
PER_UNIT: Final = re.compile(
    r"[^\d/]{0,6}(?:/|\bper\b|\bpro\b|\bje\b|\bpar\b|\bau\b|\bal\b)\ ?(?:\d{1,4}\ ?)?"
    r"(?:kg|g|l|ml|cl|dl|m|m2|cm|oz|lb|lbs|kwh|wh|100|1000|liter|litre|kilo|meter)\b",
    re.IGNORECASE,
)
#: Before a number that is one: `1 kg = 12,90 €`, `Grundpreis pro kg: 12,90 €`.
UNIT_BEFORE: Final = re.compile(
    r"(?:(?<![^\W\d_])(?:kg|g|l|ml|cl|dl|m|m2|cm|oz|lb|kilo|liter|litre|st|stk|stück)\.?\ ?="
    r"|(?:/|(?<![^\W\d_])(?:per|pro|je|par|au|al|za))\ ?(?:\d{1,4}\ ?)?"
    r"(?:kg|g|l|ml|cl|dl|m2|oz|lb|kwh|kilo|liter|litre|meter)\ ?[:=])[^\d]{0,6}$",
    re.IGNORECASE,
)
#: Before a number that is one of several instalments: `12x de R$ 91,66`.
INSTALMENT: Final = re.compile(r"\ ?[x×]\ (?:de|of|à|da|za|по)\ [^\d]{0,4}", re.IGNORECASE)
#: Behind a number that is asked again and again: `9,99 €/Monat`.
EVERY_SO_OFTEN: Final = re.compile(
    r"[^\d/]{0,6}(?:/\ ?|\b(?:per|a|an|pro|im|par|al|por|per|w|på|za|на|в)\ |\b)"
    r"(?:mo|mon(?:th)?s?|monthly|yr|years?|yearly|weeks?|monat|mtl|monatlich|jahr|jährlich|mois|mes|mensual|mese|mês|"
    r"maand|månad|mån|måned|md|měsíc|měsíčně|mesiac|mesačne|miesiąc|miesięcznie|мес|месяц)\b",
    re.IGNORECASE,
)
#: Before a number that only some are asked: `With card: $9.99`.
FOR_SOME: Final = re.compile(
    r"(?<![^\W\d_])(?:with (?:\S+ )?(?:card|coupon|code|membership|subscription)|club ?card(?: price)?|"
    r"(?:club|member|members|card|loyalty|coupon) price|subscribe(?: (?:&|and) save)?|for members|"
    r"mit (?:\S+ )?(?:karte|card|coupon|app|abo)|im abo|avec (?:la |votre )?carte|"
    r"con (?:la )?(?:tarjeta|carta)|s kartou|z kartą|med (?:kort|klubb\w*))(?![^\W\d_])",
    re.IGNORECASE,
)
