"""Tells a page from what stands in its way: challenges, captchas, walls, maintenance, pages that are not.

Signs are weighed, never believed alone: a page that merely mentions a captcha, carries a bot-check
script or shows a cookie banner is a page. Three things decide: what a sign is worth, how much else
the page has to say (a wall is short; a long page is a page), and whether it shows a product or a
price (a wall does not).
Under `_BELIEVED` it is a page: a missed wall ends in "selector not found", a false one hides a value.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, Literal

import msgspec


class Block(msgspec.Struct, frozen=True):
    """What stands in the way."""

    #: A code of BLOCK_* or PAGE_*; FETCH_HTTP_4XX for a "not found" that was sent as 200, FETCH_HTTP_5XX for
    #: a server's failure that was.
    code: str
    #: 0 to 1.
    confidence: float
    #: For people.
    detail: str


class _Sign(msgspec.Struct, frozen=True):
    code: str
    #: head: title and headings; text: what a reader sees; markup: the source.
    where: Literal["head", "text", "markup"]
    weight: float
    pattern: re.Pattern[str]


_CLOUDFLARE: Final = "BLOCK_CLOUDFLARE_SUSPECTED"
_CAPTCHA: Final = "BLOCK_CAPTCHA_SUSPECTED"
_DENIED: Final = "BLOCK_FORBIDDEN_403"
_LIMITED: Final = "BLOCK_RATE_LIMIT_429"
_LOGIN: Final = "PAGE_LOGIN"
_CONSENT: Final = "PAGE_CONSENT"
_MAINTENANCE: Final = "PAGE_MAINTENANCE"
_MISSING: Final = "FETCH_HTTP_4XX"
_FAILED: Final = "FETCH_HTTP_5XX"

_DETAILS: Final = {
    _CLOUDFLARE: "Cloudflare asks for proof of a browser",
    _CAPTCHA: "the page is a captcha",
    _DENIED: "the server denies access",
    _LIMITED: "the server says there are too many requests",
    _LOGIN: "the page is a login form",
    _CONSENT: "the page asks for consent before it shows anything",
    _MAINTENANCE: "the site is being maintained",
    _MISSING: 'the page says "not found", though sent as a good one',
    _FAILED: "the page says that the server failed, though sent as a good one",
}

#: What a page may say beyond an error status of that class; the rest is in the status itself.
_AS_ERROR: Final = {4: (_CLOUDFLARE, _CAPTCHA), 5: (_CLOUDFLARE, _CAPTCHA, _MAINTENANCE)}

#: The weight from which a page is a wall.
_BELIEVED: Final = 0.6

#: Characters of visible text of a wall, and of what could still be one.
_SHORT: Final = 1500
_MIDDLING: Final = 4000

#: Characters of markup in which signs are looked for; a wall says what it is at the top.
_MARKUP_READ: Final = 200_000

#: Characters of markup in which most pages have said more than a wall does.
_TOP: Final = 16_000

#: Characters of markup whose visible text is measured. Beyond this it is certainly not a wall.
_MARKUP_MEASURED: Final = 2_000_000


def _sign(code: str, where: Literal["head", "text", "markup"], weight: float, *patterns: str) -> _Sign:
    return _Sign(code, where, weight, re.compile("|".join(patterns), re.IGNORECASE))


# Patterns are alternations of plain phrases: no nested repetition, so their time is linear.
_SIGNS: Final = (
    _sign(_CLOUDFLARE, "head", 0.9, r"attention required! \| cloudflare"),
    _sign(_CLOUDFLARE, "head", 0.4, r"^just a moment", r"checking your browser", r"^one moment, please"),
    _sign(
        _CLOUDFLARE,
        "markup",
        0.45,
        r"_cf_chl_opt",
        r"__cf_chl_",
        r"cf-browser-verification",
        r"cf-challenge-running",
        r"id=\"challenge-(?:form|error-text|running)",
    ),
    _sign(_CLOUDFLARE, "text", 0.5, r"checking your browser before accessing"),
    _sign(
        _CLOUDFLARE,
        "text",
        0.4,
        r"ddos protection by cloudflare",
        r"cloudflare ray id",
        r"performance (?:&|&amp;|and) security by cloudflare",
    ),
    _sign(
        _CLOUDFLARE,
        "text",
        0.3,
        r"sorry, you have been blocked",
        r"error (?:code:? )?10(?:06|07|08|09|10|12|15|20)",
    ),
    _sign(
        _CAPTCHA,
        "head",
        0.5,
        r"captcha",
        r"robot check",
        r"are you (?:a robot|human)",
        r"human verification",
        r"security (?:check|verification)",
        r"pardon our interruption",
        r"sicherheits(?:prüfung|überprüfung|abfrage)",
        r"vérification de sécurité",
        r"verificaci[óo]n de seguridad",
        r"verifica di sicurezza",
        r"verificação de segurança",
        r"(?:nejste|nie ste) robot",
        r"не робот",
        r"^ověření$",
        r"verify (?:that )?you(?: a|')re (?:a )?human",
    ),
    _sign(
        _CAPTCHA,
        "text",
        0.5,
        r"not a robot",
        r"are you (?:a robot|human)\?",
        r"verif(?:y|ying) (?:that )?you(?: a|')re (?:a )?human",
        r"unusual (?:traffic|activity) from your",
        r"(?:complete|solve) (?:the|this|a) (?:captcha|security check|puzzle)",
        r"enter the characters you see",
        r"type the characters you see",
        r"press (?:&|&amp;|and) hold",
        r"made us think (?:that )?you(?: are|'re| were) a bot",
        r"bist du ein mensch",
        r"kein roboter",
        r"pas un robot",
        r"no soy un robot",
        r"не робот",
        r"no eres un robot",
        r"non essere un robot",
        r"(?:nejste|nie ste) robot",
        r"geen robot bent",
        r"não (?:é|sou) um robô",
        r"nie jesteś robotem",
        r"inte (?:är )?en robot",
    ),
    _sign(
        _CAPTCHA,
        "markup",
        0.45,
        r"class=[\"']?(?:g-recaptcha|h-captcha|cf-turnstile|frc-captcha)",
        r"id=[\"']?px-captcha",
        r"captcha-delivery\.com",
        r"_incapsula_resource",
        r"validatecaptcha",
        r"opfcaptcha",
        r"awswafcaptcha",
        r"window\._pxappid",
        r"arkoselabs\.com",
    ),
    # A document that is nothing but the frame or script of one of these; beside content it counts for less.
    _sign(
        _CAPTCHA,
        "markup",
        0.3,
        r"geo\.captcha-delivery\.com",
        r"src=[\"']?/_incapsula_resource\?swudnsai",
        r"sec-if-cpt-container",
    ),
    _sign(
        _CAPTCHA,
        "markup",
        0.45,
        r"sec-if-cpt-container",
    ),
    _sign(
        _LIMITED,
        "head",
        0.65,
        r"^(?:error )?(?:429 ?[|:–-]? ?)?too many requests",
        r"^zu viele anfragen",
        r"^trop de requêtes",
        r"^demasiadas (?:solicitudes|peticiones)",
        r"^troppe richieste",
        r"^příliš mnoho požadavků",
        r"^príliš veľa požiadaviek",
        r"^zbyt wiele żądań",
        r"^слишком много запросов",
    ),
    _sign(
        _DENIED,
        "head",
        0.7,
        r"access (?:is )?denied",
        r"^403\b",
        r"^forbidden",
        r"request blocked",
        r"zugriff verweigert",
        r"^acc[èe]s (?:refusé|interdit)",
        r"^acceso denegado",
        r"^accesso negato",
        r"^acesso negado",
        r"^toegang geweigerd",
        r"^přístup (?:odepřen|zamítnut)",
        r"^prístup (?:odmietnutý|zamietnutý)",
        r"^odmowa dostępu",
        r"^доступ (?:запрещ[её]н|ограничен)",
        r"access to this (?:site|service) has been limited",
    ),
    _sign(
        _DENIED,
        "text",
        0.4,
        r"you don't have permission to access",
        r"access to this (?:page|site|resource) (?:has been|is) denied",
        r"your (?:ip|ip address|request|access) has been blocked",
        r"request could not be satisfied",
        r"access (?:is )?denied",
        r"this request was blocked",
    ),
    _sign(
        _DENIED,
        "text",
        0.65,
        r"not available (?:in|to visitors from) (?:your|the) (?:country|region|location|european)",
        r"unavailable (?:in your (?:country|region|location)|for legal reasons|due to legal reasons)",
        r"in your (?:country|region) (?:is|are) not supported",
        r"in (?:ihrem|deinem) land (?:leider )?nicht verfügbar",
        r"(?:pas|indisponible) (?:disponible )?dans votre (?:pays|région)",
        r"no está disponible en (?:tu|su) (?:país|región)",
        r"non è disponibile nel tuo paese",
        r"não está disponível (?:no seu|em seu) país",
        r"niet beschikbaar in (?:uw|jouw|je) land",
        r"ve vaší zemi (?:není|nie je)",
        r"niedostępn[aey] w (?:twoim|państwa) kraju",
        r"недоступ\w{1,3} в вашей стране",
        r"belonging to the european economic area",
    ),
    _sign(
        _LOGIN,
        "head",
        0.45,
        r"^(?:please )?(?:log ?in|sign ?in)\b",
        r"\b(?:log ?in|sign ?in)(?: (?:required|to continue|page))?$",
        r"^(?:member|customer|account) (?:login|area)",
        r"^(?:anmelden|anmeldung|einloggen|connexion|se connecter|iniciar sesi[óo]n|accedi|inloggen)\b",
        r"^(?:zaloguj|logowanie|přihlášení|prihlásenie|bejelentkezés|войти|вход|ログイン|登录)",
        r"^(?:logga in|logg inn|log ind|kirjaudu|iniciar sessão|fazer login|autentificare|giriş yap|로그인)",
    ),
    _sign(_LOGIN, "markup", 0.35, r"type=[\"']?password\b"),
    _sign(
        _LOGIN,
        "text",
        0.4,
        r"(?:please|you must|you need to|you have to) (?:be )?(?:log(?:ged)? ?in|sign(?:ed)? ?in)",
        r"(?:log|sign) in to (?:continue|view|see|your account)",
        r"for members only",
    ),
    _sign(
        _CONSENT,
        "head",
        0.45,
        r"before you continue",
        r"bevor sie (?:fortfahren|weitermachen)",
        r"avant de continuer",
        r"antes de (?:continuar|ir a)",
        r"prima di continuare",
        r"voordat (?:je|u) verder ?ga",
        r"než budete pokračovat",
        r"skôr ako budete pokračovať",
        r"zanim przejdziesz dalej",
        r"antes de continuares",
        r"innan du fortsätter",
        r"we value your privacy",
        r"(?:cookie|privacy|consent) (?:settings|preferences|notice|consent|choices)",
        r"your (?:privacy|cookie) choices",
    ),
    _sign(
        _CONSENT,
        "text",
        0.35,
        r"(?:accept|agree to|allow|reject) (?:all|and continue)",
        r"i (?:accept|agree)",
        r"alle (?:akzeptieren|ablehnen)",
        r"tout (?:accepter|refuser)",
        r"aceptar todo",
        r"accetta tutto",
        r"přijmout vše",
        r"prijať všetko",
        r"zaakceptuj wszystko",
        r"alles accepteren",
        r"aceitar tudo",
        r"acceptera alla",
    ),
    _sign(
        _CONSENT,
        "markup",
        0.2,
        r"consent\.(?:google|youtube|yahoo)\.",
        r"action=[\"'][^\"'<>]{0,200}consent",
        r"privacy-mgmt\.com",
    ),
    _sign(
        _MAINTENANCE,
        "head",
        0.65,
        r"\bmaintenance\b",
        r"^(?:we'll )?be (?:right )?back",
        r"temporarily (?:unavailable|closed|down|offline)",
        r"wartungs(?:arbeiten|modus)",
        r"mantenimiento",
        r"manutenzione",
        r"údržb[auy]",
        r"przerwa techniczna",
        r"технические работы",
        r"em manutenção",
        r"en maintenance$",
        r"^(?:planerat )?underhåll$",
        r"^(?:gepland )?onderhoud$",
        r"karbantartás alatt",
        r"メンテナンス",
    ),
    _sign(
        _MAINTENANCE,
        "text",
        0.4,
        r"(?:under|down for|undergoing|performing|scheduled|planned|routine) maintenance",
        r"(?:undergoing|performing|carrying out) (?:scheduled|planned|routine|some) maintenance",
        r"(?:will be|be|we'll be) (?:right )?back (?:soon|shortly|online)",
        r"wartungsarbeiten",
        r"en cours de maintenance",
        r"en mantenimiento",
    ),
    _sign(
        _MISSING,
        "head",
        0.65,
        r"^(?:error |fehler |erreur )?404\b[^a-z0-9]*(?:$|error|not found|page|file|[|:–—-])",
        r"\bpage (?:was |could )?not (?:be )?found",
        r"^not found\b",
        r"page (?:doesn't|does not) exist",
        r"can't find (?:that|this|the) page",
        r"seite (?:wurde )?nicht gefunden",
        r"page (?:introuvable|non trouvée)",
        r"página no encontrada",
        r"página não encontrada",
        r"pagina (?:non trovata|niet gevonden)",
        r"str[aá]nka (?:nebola n[aá]jden[aá]|nebyla nalezena|neexistuje|nenalezena|nen[aá]jden[aá])",
        r"strona nie (?:istnieje|została znaleziona)",
        r"страница не найдена",
        r"ページが見つかりません",
        r"sidan (?:hittades inte|kunde inte hittas)",
        r"siden (?:blev ikke fundet|ble ikke funnet)",
        r"az oldal nem található",
        r"sivua ei löydy",
        r"pagina nu a fost găsită",
        r"sayfa bulunamadı",
        r"页面不存在",
    ),
    _sign(
        _MISSING,
        "text",
        0.4,
        r"page (?:you|that you)(?:'re| are| were)? (?:looking for|requested|trying to)",
        r"(?:requested|this) (?:page|url|file) (?:was|could|can|does|is) ?(?:not|n't|no longer)",
        r"can't find the page",
        r"error 404",
        r"404 not found",
    ),
    # Nobody's page: a host's own, in place of the site.
    _sign(
        _MISSING,
        "head",
        0.65,
        r"^account (?:has been )?suspended",
        r"^(?:this )?(?:website|site|domain) (?:is|has been) (?:suspended|no longer available)",
        r"^[a-z0-9.-]{3,80} is for sale$",
        r"^welcome to nginx!?$",
        r"^apache2? (?:debian|ubuntu|http server test) (?:default )?page",
        r"^default web ?site page$",
        r"^index of /$",
    ),
    _sign(
        _MISSING,
        "text",
        0.3,
        r"buy this domain",
        r"this domain (?:name )?(?:is|may be) for sale",
        r"domain (?:name )?has (?:expired|been suspended)",
        r"contact your hosting provider",
    ),
    _sign(
        _FAILED,
        "head",
        0.65,
        r"^(?:error |http )?5\d\d\b[^a-z0-9]*(?:$|error|internal|bad gateway|service|gateway|server|[|:–—-])",
        r"^(?:internal server error|bad gateway|service unavailable|gateway time-?out)\b",
        r"^error establishing a database connection",
        r"^server error in '",
        r"^application error",
        r"^(?:oops[!,.]? ?)?(?:something|sorry, something) (?:went|has gone) wrong",
        r"^an? (?:unexpected |internal )?error (?:has )?occurred",
        r"^(?:whitelabel error page|fatal error|runtime error|unhandled exception)",
        r"^there has been a critical error on (?:this|your) website",
        r"^(?:interner serverfehler|es ist ein (?:unerwarteter )?fehler aufgetreten)",
        r"^(?:erreur interne|une erreur (?:est survenue|s'est produite))",
        r"^(?:error interno|se ha producido un error|ha ocurrido un error)",
        r"^(?:errore interno|si è verificato un errore)",
        r"^(?:interní chyba|došlo k chybě|nastala chyba|vyskytla sa chyba|niečo sa pokazilo)",
        r"^(?:wystąpił błąd|coś poszło nie tak|er is iets (?:fout|mis) ?gegaan|något gick fel|noe gikk galt)",
        r"^(?:произошла ошибка|внутренняя ошибка сервера|что-то пошло не так)",
    ),
    _sign(
        _FAILED,
        "text",
        0.4,
        r"error establishing a database connection",
        r"(?:uncaught|unhandled) exception",
        r"traceback \(most recent call last\)",
        r"internal server error",
        r"there has been a critical error on (?:this|your) website",
        r"please try again (?:later|in a (?:few|couple)|shortly)",
    ),
    _sign(
        _LIMITED,
        "head",
        0.65,
        r"^you are (?:now )?in (?:the )?(?:line|queue)",
        r"^(?:virtual )?waiting room$",
    ),
    _sign(
        _LOGIN,
        "text",
        0.4,
        r"(?:your )?session (?:has )?(?:expired|timed out|ended)",
    ),
    # Next to nothing but the form.
    _sign(
        _LOGIN,
        "text",
        0.3,
        r"\A.{0,200}\b(?:log ?in|sign ?in|anmelden|einloggen|se connecter|iniciar sesi[óo]n|accedi|inloggen|"
        r"zaloguj|přihlásit|prihlásiť|logga in|войти|ログイン)\b.{0,100}\Z",
    ),
    _sign(
        _CONSENT,
        "head",
        0.65,
        r"^(?:are|you must be) you (?:over|at least|older than)? ?(?:16|18|20|21)\b",
        r"^you must be (?:over|at least) (?:16|18|20|21)",
        r"^age (?:verification|check|gate)",
        r"^(?:sind sie|bist du) (?:über|mindestens) (?:16|18)",
    ),
)

#: A product or a price: walls have none.
_WARES = re.compile(
    r"application/ld\+json|itemprop=[\"']?(?:price|offers)|property=[\"']?(?:og:price|product:price)",
    re.IGNORECASE,
)
_PRICE = re.compile(r"[€$£¥₹]\s?\d|\d\s?(?:€|eur\b|usd\b|gbp\b|kr\b|zł|kč|lei\b|лв|руб|₽|₴)", re.IGNORECASE)


# Tags in any case, by ASCII: a copy of the page in lower case would cost more than all the rest.
_UNSEEN: Final = re.compile(r"<(?ai:(script|style|noscript|svg|template|title|!--))")
_UNSEEN_END: Final = {
    "!--": re.compile("-->"),
    **{
        tag: re.compile(f"</(?ai:{tag})")
        for tag in ("script", "style", "noscript", "svg", "template", "title")
    },
}
_HEAD: Final = re.compile(r"<(?ai:(title|h1|h2))\b[^<>]*>")
_HEAD_END: Final = {tag: re.compile(f"</(?ai:{tag})") for tag in ("title", "h1", "h2")}
_ANY_TAG: Final = re.compile(r"<[^<>]*>")


def classify(status: int, headers: Mapping[str, str], text: str) -> Block | None:
    """What stands in the way of the page, or None where it is one.

    `headers` have lower-case names. `text` is the decoded body. 403 and 429 are always a Block; other
    error statuses only where the page says more than the status does.
    """
    if headers.get("cf-mitigated", "").lower() == "challenge":
        return Block(_CLOUDFLARE, 1.0, _DETAILS[_CLOUDFLARE])
    if headers.get("x-amzn-waf-action", "").lower() in ("captcha", "challenge"):
        return Block(_CAPTCHA, 1.0, _DETAILS[_CAPTCHA])
    if status == 429:
        return Block(_LIMITED, 1.0, _DETAILS[_LIMITED])
    block = _by_content(status, text) if _is_html(headers, text) else None
    if status == 403 and (block is None or block.code not in _AS_ERROR[4]):
        return Block(_DENIED, 0.95, _DETAILS[_DENIED])
    allowed = _AS_ERROR.get(status // 100)
    return block if block is None or allowed is None or block.code in allowed else None


def has_wares(markup: str) -> bool:
    """Whether a document tells machines of a product or a price."""
    return _WARES.search(markup) is not None


def _is_html(headers: Mapping[str, str], text: str) -> bool:
    kind = headers.get("content-type", "").lower()
    return "html" in kind or (not kind and text.lstrip()[:1] == "<")


def _by_content(status: int, text: str) -> Block | None:
    if len(text) > _MARKUP_MEASURED or _says_much(text):
        return None
    visible = visible_text(text)
    if len(visible) > _MIDDLING:
        return None
    markup = text[:_MARKUP_READ]
    share = _share(status, markup, visible)
    places = {"head": _heads(markup), "text": (visible,), "markup": (markup,)}
    scores: dict[str, float] = {}
    for sign in _SIGNS:
        if any(sign.pattern.search(place) for place in places[sign.where]):
            scores[sign.code] = scores.get(sign.code, 0.0) + sign.weight * share
    if status == 503 and _MAINTENANCE in scores:
        scores[_MAINTENANCE] += 0.3
    # Of equal ones the first named: a Cloudflare captcha is Cloudflare's.
    code = max(scores, key=lambda code: min(scores[code], 1.0), default=None)
    if code is None or scores[code] < _BELIEVED:
        return None
    return Block(code, round(min(scores[code], 0.99), 2), _DETAILS[code])


def _share(status: int, markup: str, visible: str) -> float:
    """How much of a sign's weight counts on a page like this."""
    if status >= 400:
        return 1.0
    share = 1.0 if len(visible) <= _SHORT else 0.6
    return share * 0.4 if _WARES.search(markup) or _PRICE.search(visible) else share


def _heads(markup: str) -> tuple[str, ...]:
    """Title and first headings, as a reader sees them."""
    found = []
    for match in list(_HEAD.finditer(markup))[:4]:
        end = _HEAD_END[match[1].lower()].search(markup, match.end(), match.end() + 2000)
        inner = markup[match.end() : end.start() if end is not None else match.end() + 200]
        found.append(_tidy(_ANY_TAG.sub(" ", inner)))
    return tuple(found)


def visible_text(markup: str) -> str:
    """What a reader sees of `markup`, roughly and in linear time: no scripts, styles, tags, extra space."""
    kept: list[str] = []
    at = 0
    for match in _UNSEEN.finditer(markup):
        if match.start() < at:
            continue
        kept.append(markup[at : match.start()])
        # From the closing tag (or the comment's end) on to its ">".
        end = _UNSEEN_END[match[1].lower()].search(markup, match.end())
        at = markup.find(">", end.start()) + 1 if end is not None else 0
        if at == 0:
            at = len(markup)
            break
    kept.append(markup[at:])
    return _tidy(_ANY_TAG.sub(" ", " ".join(kept)))


def _says_much(markup: str) -> bool:
    """Whether the top alone has more text than a wall: so it is with most pages, and costs little to see.

    Cut at a tag's beginning, so that no piece of a tag is taken for text.
    """
    top = markup.rfind("<", 0, _TOP)
    return top > 0 and len(markup) > _TOP and len(visible_text(markup[:top])) > _MIDDLING


def _tidy(text: str) -> str:
    plain = text.replace("&nbsp;", " ").replace("&#39;", "'").replace("&rsquo;", "'").replace("\u2019", "'")
    return " ".join(plain.split())
