"""How many there are: `3 Stück auf Lager`, `Quedan 2`, `In Stock (0)`; texts folded as in availability.py."""

from __future__ import annotations

import re
from typing import Final

from sentinel.decide.coming import MONTH

#: What is counted: `3 Stück auf Lager`, `0 ks skladem`.
_PIECES: Final = (
    r"(?:x|st|stk|ks|db|buc|szt|pcs|pc|kpl|uds?|шт|бр|pieces?|items?|units?|articles?|copies|copy|stuck|stucks?"
    r"|artikel|exemplare?|stuks?|exemplaar|exemplaren|exemplaires?|unites?|unidad(?:es)?|ejemplar(?:es)?|piezas?"
    r"|articulos?|pezz[oi]|articol[oi]|exemplar(?:es)?|pecas?|sztuk[ai]?|egzemplarz\w*|kus[yu]?|kusov|kusu"
    r"|darab|bucat[ai]|produs[e]?|komad[ai]?|kos[aiov]*|kpl|kappaletta|kappale|stycken|styck|eksemplarer?"
    r"|штук[аи]?|единиц[аы]?|экземпляр\w*|одиниц[яі]|бройк[аи]|broyki|urun|adet|τεμαχι[αο]|san pham|produk"
    r"|tk|gab|vnt|left)\.?(?!\w)"
)
_COUNTED: Final = re.compile(
    rf"(?P<count>\d{{1,7}})\+?\)?(?: ?(?:of|von|de|di|z|ze|av|из|/) ?\d{{1,7}})? ?(?:{_PIECES} ?)*"
    r"(?:left in stock|left|in stock|available|auf lager|verfugbar|en stock|disponibles?|disponibil\w*|op voorraad|"  # noqa: E501 - one table row
    r"i lager|pa lager|w magazynie|skladem|skladom|na sklade|raktaron|in stoc|remaining|kvar|tilbage|igjen|"
    r"jaljella|maradt|kaldi|rimast[oi]|rimanenti|restantes?|ubrig|dostepn\w+|dostupn\w+)\b"
    r"|\b(?:stock|lagerbestand|bestand|auf lager|skladem|in stock|na sklade|voorraad|lagersaldo|stoc|qty|quantity|"  # noqa: E501 - one table row
    r"remaining|zasoba|zaloga|zaliha|остаток|existencias|giacenza|estoque|keszlet|lagerstatus|lager|varastossa)"
    rf" ?[:>]? ?(?P<after>\d{{1,7}})\b(?![.,/:-]\d|\.? ?{MONTH})"
    rf"|(?:在庫数?|库存|庫存|재고) ?[:：]? ?(?P<dense>\d{{1,7}})"
    r"|(?:残り|残|仅剩|只剩|僅剩|剩余|剩餘|仅余|남은 수량:?) ?(?:在庫)? ?"
    r"(?P<rest>\d{1,7}) ?(?:点|個|台|つ|枚|本|冊|件|个|瓶|개)"
    r"|(?P<before>\d{1,7}) ?(?:点|個|台|件|개) ?(?:在庫あり|남음)"
)
#: `Quedan 2`, `only 2 pieces`: said of what is left; a number of days or percents is none.
_LEFT: Final = re.compile(
    r"(?<!\w)(?:(?:nur noch|plus que|ne reste(?: plus)? que|il (?:en )?reste"
    r"|(?:solo )?quedan?(?: solo| solamente)?"
    r"|ne restano(?: solo)?|restano(?: solo)?|rimangono(?: solo)?"
    r"|restam?(?: apenas| so)?|zostal[yao]?|pozostal[yao]"
    r"|zbyvaji?|zostavaju?|mai sunt|au (?:mai )?ramas|preostalo|осталось|осталась|остался|залишилось"
    r"|залишилося|остават|απομενουν|chi con|tersisa|sisa|atlikusi|liko)"
    rf"[: ] ?(?P<left>\d{{1,5}})(?! ?[%/.,:-]?\d)(?: {_PIECES}|(?= ?[!.)|;])| ?$)"
    r"|(?:only|just|the last|last|ultimas?|ultim[oi]s?|apenas|solo|nog(?: maar| slechts)?|laatste|endast|bara"
    r"|sista|kun|siste|sidste|vain|viimeiset|ostatni[ea]|tylko|posledni|posledne|posledny|uz len|uz jen"
    r"|(?:mar )?csak|utolso|ultimele|ultima|(?:jos |se )?samo|zadnji[he]?|последни[ей]|останні|само|son"
    r"|sadece|μονο|ainult"
    rf"|derni?ers?|dernieres?|letzten?) (?P<few>\d{{1,5}}) {_PIECES})"
)
#: After "in stock" it says that none is: `In Stock (0)`, `Available: 0 pcs`, `Auf Lager: nein`.
_NONE_OF_IT: Final = re.compile(
    rf" ?(?:[:：=] ?[(\[]?|[(\[]) ?(?:0+ ?(?:{_PIECES})?|no|nein|non|nee|nej|nei"
    r"|ei|nie|ne|nem|nu|nao|нет|ні|не|none)(?= ?(?:[)\]!;,|]|\.? ?$|\. [^\d]| - ))"
)


def counts(text: str) -> list[int]:
    """The numbers of pieces that a text tells, as often as it tells one."""
    found = [next(part for part in match.groups() if part is not None) for match in _COUNTED.finditer(text)]
    return [
        int(count) for count in [*found, *(match["left"] or match["few"] for match in _LEFT.finditer(text))]
    ]


def says_none(text: str, end: int) -> bool:
    """Whether what follows a phrase that ends there takes it back."""
    return _NONE_OF_IT.match(text, end) is not None
