"""What walls say, and what they are made of: the signs that `blocks` weighs.

A phrase that is all of a heading, or all up to a dash ("Access denied | Shop"), is a wall's; the same words in
a sentence ("Access denied to three applicants") are anybody's. So the patterns of headings are held at both
ends where the words are common.
"""
# ruff: noqa: E501 - one phrase in its variants is read best on one line

from __future__ import annotations

import re
from typing import Any, Final, Literal

import msgspec
import re2

#: head: title and headings; text: what a reader sees; form: the same, where there is a field for a name or
#: a password; markup: the source; way: where a redirect ended.
Place = Literal["head", "text", "form", "markup", "way"]


class Sign(msgspec.Struct, frozen=True):
    """A phrase, where it stands, and what it is worth."""

    code: str
    where: Place
    weight: float
    pattern: re.Pattern[str]


CLOUDFLARE: Final = "BLOCK_CLOUDFLARE_SUSPECTED"
CAPTCHA: Final = "BLOCK_CAPTCHA_SUSPECTED"
DENIED: Final = "BLOCK_FORBIDDEN_403"
LIMITED: Final = "BLOCK_RATE_LIMIT_429"
LOGIN: Final = "PAGE_LOGIN"
CONSENT: Final = "PAGE_CONSENT"
MAINTENANCE: Final = "PAGE_MAINTENANCE"
MISSING: Final = "FETCH_HTTP_4XX"
FAILED: Final = "FETCH_HTTP_5XX"

#: The end of a heading that says no more: it ends, or a dash, a colon or the site's name follows.
_END: Final = r"(?:$| ?[|:.!…‹«»·–—-])"
#: The beginning of one, or of what stands behind the site's name.
_AT: Final = r"(?:^|[|:·–—-] )"


def _sign(code: str, where: Place, weight: float, *patterns: str) -> Sign:
    return Sign(code, where, weight, re.compile("|".join(patterns), re.IGNORECASE))


# Patterns are alternations of plain phrases: no nested repetition, so their time is linear.
SIGNS: Final = (
    _sign(CLOUDFLARE, "head", 0.9, r"attention required! \| cloudflare"),
    _sign(
        CLOUDFLARE,
        "head",
        0.4,
        r"^just a moment",
        r"checking your browser",
        r"^one moment, please",
        r"^(?:nur )?einen moment",
        r"^un (?:instant|momento)",
        r"^(?:um|só um) momento",
        r"^(?:een|een ogenblik|even) (?:geduld|moment)",
        r"^(?:okamžik|chvíľu|moment)[, ]{0,2}(?:prosím|prosíme)?[.…]",
        r"^(?:jeszcze )?chwil(?:a|eczkę|ę)",
        r"^(?:один момент|секунд)",
        r"^少々お待ち",
        r"^请稍候",
    ),
    # No page has this but the challenge itself.
    _sign(CLOUDFLARE, "markup", 0.7, r"_cf_chl_opt"),
    _sign(
        CLOUDFLARE,
        "markup",
        0.45,
        r"__cf_chl_",
        r"cf-browser-verification",
        r"cf-challenge-running",
        r"id=\"challenge-(?:form|error-text|running)",
    ),
    _sign(CLOUDFLARE, "text", 0.5, r"checking your browser before accessing"),
    _sign(
        CLOUDFLARE,
        "text",
        0.4,
        r"ddos protection by cloudflare",
        r"cloudflare ray id",
        r"performance (?:&|&amp;|and) security by cloudflare",
    ),
    _sign(
        CLOUDFLARE,
        "text",
        0.3,
        r"sorry, you have been blocked",
        r"error (?:code:? )?10(?:06|07|08|09|10|12|15|20)",
    ),
    _sign(
        CAPTCHA,
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
        CAPTCHA,
        "text",
        0.5,
        r"not a robot",
        r"are you (?:a robot|human)\?",
        r"verif(?:y|ying) (?:that )?you(?: a|')re (?:a )?human",
        r"unusual (?:traffic|activity) from your",
        r"(?:complete|solve) (?:the|this|a) (?:captcha|security check|puzzle)",
        r"geben sie die zeichen",
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
        CAPTCHA,
        "markup",
        0.45,
        r"class=[\"']?(?:g-recaptcha|h-captcha|cf-turnstile|frc-captcha)",
        r"id=[\"']?px-captcha",
        r"captcha-delivery\.com",
        r"_incapsula_resource",
        r"opfcaptcha",
        r"awswafcaptcha",
        r"window\._pxappid",
        r"arkoselabs\.com",
    ),
    _sign(CAPTCHA, "markup", 0.7, r"action=[\"']?[^\"'<> ]{0,100}/validatecaptcha"),
    # A document that is nothing but the frame or script of one of these; beside content it counts for less.
    _sign(
        CAPTCHA,
        "markup",
        0.3,
        r"geo\.captcha-delivery\.com",
        r"src=[\"']?/_incapsula_resource\?swudnsai",
        r"sec-if-cpt-container",
    ),
    _sign(
        CAPTCHA,
        "markup",
        0.45,
        r"sec-if-cpt-container",
    ),
    _sign(
        LIMITED,
        "head",
        0.65,
        rf"^(?:error )?(?:429 ?[|:–-]? ?)?too many requests{_END}",
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
        DENIED,
        "head",
        0.7,
        rf"{_AT}access (?:is |was |has been )?denied{_END}",
        r"^access to this (?:page|site|resource) (?:has been|is|was) denied",
        r"^403\b[^a-z0-9]*(?:$|error|forbidden|access|[|:–—-])",
        rf"^(?:error:? ?)?forbidden{_END}",
        rf"^(?:your )?request (?:was |has been )?blocked{_END}",
        rf"{_AT}zugriff (?:wurde )?verweigert{_END}",
        rf"^acc[èe]s (?:refusé|interdit){_END}",
        rf"^acceso (?:denegado|prohibido){_END}",
        rf"^accesso negato{_END}",
        rf"^acesso negado{_END}",
        rf"^toegang geweigerd{_END}",
        rf"^přístup (?:odepřen|zamítnut){_END}",
        rf"^prístup (?:odmietnutý|zamietnutý){_END}",
        rf"^odmowa dostępu{_END}",
        rf"^доступ (?:запрещ[её]н|ограничен){_END}",
        r"access to this (?:site|service) has been limited",
    ),
    _sign(
        DENIED,
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
        DENIED,
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
        LOGIN,
        "head",
        0.45,
        rf"^(?:please )?(?:log ?in|sign ?in)(?:{_END}| (?:required|page|here|now|first)\b| (?:to|with) (?:your|continue|view|see)\b)",
        r"^(?:please )?(?:log ?in|sign ?in) (?:to|with) [^ ]{1,40}$",
        r"\b(?:log ?in|sign ?in)(?: (?:required|to continue|page))?$",
        r"^(?:member|customer|account|user) (?:login|sign ?in|area)",
        rf"^(?:kunden-?)?(?:anmelden|anmeldung|einloggen|login){_END}",
        r"^(?:bitte )?(?:melden sie sich|melde dich|loggen sie sich|logge dich)\b",
        rf"^(?:connexion|se connecter|identifiez-vous|connectez-vous|iniciar sesi[óo]n|inicia sesi[óo]n|accedi|inloggen){_END}",
        r"^(?:zaloguj|logowanie|přihlášení|prihlásenie|bejelentkezés|войти|вход|ログイン|登录|登入)",
        r"^(?:logga in|logg inn|log ind|kirjaudu|iniciar sessão|fazer login|autentificare|giriş yap|로그인)",
    ),
    # Anybody's heading, until there is a password to be typed below it.
    _sign(
        LOGIN,
        "head",
        0.3,
        r"^welcome back",
        r"^willkommen zurück",
        r"^(?:bon retour|bienvenido de nuevo|bentornato|welkom terug|witaj ponownie|vítejte zpět|vitajte späť)",
        rf"^(?:my account|your account|(?:mein )?kundenkonto|mein konto|kundenbereich|mon compte|espace (?:client|membre)|mi cuenta|"
        rf"il mio account|mijn account|moje konto|můj účet|môj účet|mitt konto|min sida){_END}",
    ),
    _sign(LOGIN, "markup", 0.35, r"type=[\"']?password\b"),
    _sign(
        LOGIN,
        "text",
        0.4,
        r"(?:please|you must|you need to|you have to) (?:be )?(?:log(?:ged)? ?in|sign(?:ed)? ?in)",
        r"(?:log|sign) in to (?:continue|view|see|your account)",
        r"bitte (?:melden sie sich|melde dich|loggen sie sich|logge dich|anmelden|einloggen)",
        r"(?:veuillez|vous devez|merci de) (?:vous )?(?:connecter|identifier)",
        r"(?:identifiez|connectez)-vous (?:pour|à)",
        r"(?:debes|debe|por favor,?|necesitas) (?:iniciar|inicia|inicie) sesi[óo]n",
        r"(?:effettua|esegui) (?:il login|l'accesso)",
        r"(?:je moet|u moet|gelieve) (?:eerst )?(?:in te loggen|inloggen)",
        r"(?:musisz się zalogować|prosimy? (?:o zalogowanie|się zalogować)|zaloguj się,? aby)",
        r"(?:prosím,? )?(?:přihlaste|prihláste) sa?e?",
        r"continue with (?:google|apple|facebook|e-?mail|sso|github)",
        r"for members only",
    ),
    _sign(
        CONSENT,
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
        r"we (?:value|respect|care about) your privacy",
        r"^your privacy (?:matters|is important|,? your choice)",
        r"^(?:we|this (?:web)?site) uses? cookies",
        r"^cookies? (?:on|and privacy|policy and consent|consent)",
        r"^wir (?:respektieren|schützen|achten) (?:ihre|deine) privatsphäre",
        r"^(?:ihre|deine) privatsphäre (?:ist|liegt) uns",
        r"^(?:wir verwenden|diese (?:web)?seite (?:verwendet|benutzt|nutzt)) cookies",
        r"^(?:privatsphäre|datenschutz|cookie)-?(?: und cookie)?-?einstellungen",
        r"^nous (?:respectons|accordons|protégeons|tenons à)[^.]{0,40} vie privée",
        r"^(?:le respect de )?votre vie privée",
        r"^(?:nous utilisons|ce site utilise|gestion|gérer|paramètres|préférences)[^.]{0,20} cookies",
        r"^(?:respetamos|valoramos|nos importa) (?:tu|su) privacidad",
        r"^(?:tu|su) privacidad (?:es importante|nos importa)",
        r"^(?:usamos|utilizamos|este sitio (?:web )?(?:usa|utiliza)|configuración de(?: las)?) cookies",
        r"^(?:rispettiamo|teniamo a|abbiamo a cuore|valorizziamo)[^.]{0,10} tua privacy",
        r"^la (?:tua|vostra) privacy",
        r"^(?:utilizziamo|usiamo|questo sito (?:usa|utilizza)) (?:i )?cookie",
        r"^(?:wij|we) (?:respecteren|waarderen) (?:uw|je|jouw) privacy",
        r"^(?:uw|jouw|je) privacy (?:is|vinden)",
        r"^(?:wij|we|deze (?:web)?site) gebruik(?:en|t) cookies",
        r"^(?:cenimy|szanujemy) (?:twoją|państwa|waszą) prywatność",
        r"^(?:używamy|ta strona używa|ustawienia) (?:plików )?cookie",
        r"^(?:vážíme si|respektujeme|záleží nám na) (?:vašeho|vaše|vašem) soukromí",
        r"^(?:vážime si|rešpektujeme|záleží nám na) (?:vaše|vášho|vašom) súkromi?[eí]",
        r"^(?:používáme|používame|tento web používá|táto stránka používa|nastavení|nastavenie|nastavenia) (?:soubory |súbory |souborů |súborov )?cookies?",
        r"^(?:respeitamos|valorizamos) (?:a )?(?:sua|tua) privacidade",
        r"^vi (?:värnar om|respekterar|verdsetter|værner om|använder|bruger|bruker) (?:din integritet|ditt personvern|dit privatliv|cookies|kakor|informasjonskapsler)",
        r"(?:cookie|privacy|consent) (?:settings|preferences|notice|consent|choices)",
        r"your (?:privacy|cookie) choices",
    ),
    _sign(
        CONSENT,
        "text",
        0.35,
        r"(?:accept|agree to|allow|reject) (?:all|and continue)",
        r"\bi (?:accept|agree)\b",
        r"(?:accept|allow|reject) (?:all )?cookies",
        r"alle(?: cookies)? (?:akzeptieren|ablehnen|annehmen|zulassen)",
        r"(?:akzeptieren|zustimmen) und (?:weiter|fortfahren)",
        r"einverstanden",
        r"tout (?:accepter|refuser)",
        r"(?:accepter|continuer) (?:et (?:continuer|fermer)|sans accepter|les cookies|tout)",
        r"j'accepte\b",
        r"aceptar (?:todo|todas|y continuar|cookies|las cookies)",
        r"accetta (?:tutto|tutti|e continua|i cookie)",
        r"přijmout vše",
        r"prijať všetko",
        r"zaakceptuj wszystko",
        r"alles accepteren",
        r"aceitar tudo",
        r"acceptera alla",
    ),
    _sign(
        CONSENT,
        "markup",
        0.2,
        r"consent\.(?:google|youtube|yahoo)\.",
        r"action=[\"'][^\"'<>]{0,200}consent",
        r"privacy-mgmt\.com",
    ),
    _sign(
        MAINTENANCE,
        "head",
        0.65,
        rf"{_AT}(?:(?:site|website|server|system|shop|store|page|service|we are|we're|currently|is) ){{0,3}}"
        rf"(?:under|down for|undergoing|in|closed for|offline for|scheduled|planned|site|website|server|system|emergency|routine) "
        rf"(?:(?:scheduled|planned|routine|essential|system|site|some) ){{0,2}}maintenance{_END}",
        rf"{_AT}maintenance(?: (?:mode|break|page|in progress|underway|work))?{_END}",
        r"\b(?:unavailable|down|closed|offline) (?:for|due to) (?:scheduled |planned |routine |essential )?maintenance\b",
        r"^(?:sorry,? )?(?:we'll be|we will be|we are|we're|be) (?:right )?back (?:soon|shortly|in a|online|later)",
        rf"^be right back{_END}",
        rf"{_AT}(?:sorry,? )?(?:(?:this|the|our|we are|we're|site|website|web site|service|page|shop|store|is|currently) ){{0,4}}"
        rf"temporarily (?:unavailable|down|offline){_END}",
        r"\b(?:site|website|shop|store) (?:is )?(?:currently )?temporarily closed",
        r"wartungs(?:arbeiten|modus)",
        r"^wir sind (?:gleich|bald|in kürze) (?:wieder )?(?:zurück|da|für (?:sie|euch|dich) da)",
        r"(?:wird (?:gerade|derzeit|zurzeit) gewartet|vorübergehend nicht (?:erreichbar|verfügbar)$)",
        rf"(?:en|por|modo|de) mantenimiento{_END}",
        rf"^mantenimiento(?: programado)?{_END}",
        rf"(?:in|per|di) manutenzione{_END}",
        rf"^manutenzione(?: programmata| in corso)?{_END}",
        rf"^(?:(?:probíhá|prebieha|plánovaná|pravidelná) )*údržba(?: (?:webu|webové|webovej|stránk\w{{1,3}}|systému|serveru|servera|e-?shopu))*{_END}",
        r"(?:v|pro|z důvodu|z dôvodu|kvůli|kvôli|prováděn\w|vykonáv\w{1,4}) údržb",
        rf"^przerwa techniczna{_END}",
        r"технические работы",
        rf"(?:em|de) manutenção{_END}",
        rf"(?:en|de) maintenance{_END}",
        r"^(?:nous revenons|de retour) (?:très )?(?:bientôt|vite|tout de suite)",
        r"^(?:volvemos|volveremos|regresamos) (?:pronto|enseguida)",
        r"^torniamo (?:subito|presto)",
        r"^(?:planerat )?underhåll$",
        r"^(?:gepland )?onderhoud$",
        r"karbantartás alatt",
        r"メンテナンス",
    ),
    _sign(
        MAINTENANCE,
        "text",
        0.4,
        r"(?:under|down for|undergoing|performing|scheduled|planned|routine) maintenance",
        r"(?:undergoing|performing|carrying out) (?:scheduled|planned|routine|some) maintenance",
        r"(?:will be|be|we'll be) (?:right )?back (?:soon|shortly|online)",
        r"wartungsarbeiten",
        r"wird (?:gerade|derzeit|zurzeit) gewartet",
        r"(?:en cours|travaux|opération) de maintenance",
        r"en mantenimiento",
        r"in manutenzione",
    ),
    _sign(
        MISSING,
        "head",
        0.65,
        r"^(?:error |fehler |erreur )?404\b[^a-z0-9]*(?:$|error|not found|page|file|[|:–—-])",
        r"\b(?:page|product|item|article|listing|offer) (?:was not|wasn't|could not|couldn't|can't|cannot|can not|not) (?:be )?found",
        rf"^not found{_END}",
        r"(?:page|product|item|article|listing) (?:doesn't|does not|no longer) exists?",
        r"(?:can't|cannot|can not|couldn't|could not|unable to|didn't|did not) find (?:that|this|the|your) (?:page|product|item|article|listing)",
        r"^(?:sorry,? |oops[!,.]? |oh no[!,.]? )?(?:this|the|that) (?:product|item|article|page|listing|offer|ad) (?:you (?:requested|are looking for|were looking for) )?"
        r"(?:is|was|has been) (?:no longer available|removed|deleted|unavailable|not available any ?more)",
        r"(?:seite|produkt|artikel) (?:wurde |konnte |kann )?(?:leider )?nicht (?:gefunden|mehr gefunden)",
        r"(?:seite|produkt|artikel) existiert (?:leider )?nicht",
        r"seite ist (?:leider )?nicht (?:mehr )?(?:verfügbar|vorhanden)",
        r"(?:page|produit|article) (?:demandée? )?(?:est )?(?:introuvable|non trouvée?)",
        r"(?:page|produit|article) (?:demandée? |que vous (?:cherchez|recherchez) )?n'(?:existe|est) (?:pas|plus)",
        r"(?:page|produit) n'a pas été trouvée?",
        r"página (?:(?:que (?:buscas|busca)|solicitada) )?no (?:encontrada|existe|se encuentra|se ha encontrado|fue encontrada|está disponible)",
        r"no (?:encontramos|hemos encontrado|se (?:encontró|ha encontrado)|podemos encontrar) (?:la|esta|el|este) (?:página|producto)",
        r"página não (?:encontrada|existe|foi encontrada)",
        r"pagina (?:non trovata|non esiste|non è stata trovata|niet gevonden|bestaat niet|kon niet worden gevonden|kan niet worden gevonden)",
        r"str[aá]nk[aiuy] (?:sa |se )?(?:nebol[ai] n[aá]jden[aáéy]|nebyl[ay] nalezen[ay]|neexistuj[eí]|nenalezen[ay]|nen[aá]jden[aá]|nena[sš]l[ai]|nepodařilo (?:se )?naj[ií]t|nepodarilo n[aá]js[tť])",
        r"(?:nie znaleziono (?:takiej )?strony|strona nie (?:istnieje|została (?:odnaleziona|znaleziona)))",
        r"страница не (?:найдена|существует)",
        r"сторінк[ау] не (?:знайден|існує)",
        r"ページ(?:が|は)(?:見つかり|存在し)",
        r"(?:找不到(?:该|該|您|你)?[^ ]{0,10}[页頁]面|[页頁]面(?:不存在|未找到))",
        r"페이지를 찾을 수 없",
        r"sidan (?:hittades inte|kunde inte hittas)",
        r"siden (?:blev ikke fundet|ble ikke funnet)",
        r"az oldal nem található",
        r"sivua ei löydy",
        r"pagina nu a fost găsită",
        r"sayfa bulunamadı",
    ),
    _sign(
        MISSING,
        "head",
        0.45,
        r"^(?:product|item|article|page|listing|offer|produkt|artikel|produit) (?:is )?(?:unavailable|no longer available|not available|removed|nicht (?:mehr )?verfügbar|indisponible)",
        r"[|:·–—-] ?(?:error )?404(?: error)?$",
    ),
    _sign(
        MISSING,
        "head",
        0.25,
        r"^(?:oops|whoops|uh[- ]?oh|oh no|hmm+|sorry|ups|hoppla|oje|huch|oups|lo sentimos|hoppsan|jejda)[!.,:… (/-]*$",
    ),
    # Whole sentences that no page about anything says.
    _sign(
        MISSING,
        "text",
        0.65,
        r"(?:could not|couldn't|can't|cannot|can not|unable to) find (?:the|that) (?:page|product|item|article|listing) you(?:'re| are| were)? (?:looking for|requested)",
        r"la página que (?:buscas|busca|estás? buscando|solicitaste|ha solicitado) (?:no|ya no) (?:existe|está)",
        r"la page que vous (?:cherchez|recherchez|demandez|avez demandée) (?:n'existe|n'est|est introuvable|n'a)",
        r"die (?:von (?:ihnen|dir) )?(?:gesuchte|angeforderte|aufgerufene) seite (?:wurde|konnte|existiert|ist) (?:leider )?(?:nicht|nicht mehr)",
        r"お探しのページ",
    ),
    _sign(
        MISSING,
        "text",
        0.4,
        r"(?:this|the) (?:product|item|article|listing|offer|ad) (?:you (?:requested|are looking for|were looking for|'re looking for) )?"
        r"(?:is|was|has been) (?:no longer available|removed|deleted)",
        r"page (?:you|that you)(?:'re| are| were)? (?:looking for|requested|trying to)",
        r"(?:requested|this) (?:page|url|file) (?:was|could|can|does|is) ?(?:not|n't|no longer)",
        r"can't find the page",
        r"error 404",
        r"404 not found",
    ),
    # Nobody's page: a host's own, in place of the site.
    _sign(
        MISSING,
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
        MISSING,
        "text",
        0.3,
        r"buy this domain",
        r"this domain (?:name )?(?:is|may be) for sale",
        r"domain (?:name )?has (?:expired|been suspended)",
        r"contact your hosting provider",
    ),
    _sign(
        FAILED,
        "head",
        0.65,
        r"^(?:error |http )?5\d\d\b[^a-z0-9]*(?:$|error|internal|bad gateway|service|gateway|server|backend|origin|web server|[|:–—-])",
        r"^(?:internal server error|bad gateway|service unavailable|gateway time-?out)\b",
        r"^error establishing a database connection",
        r"^server error in '",
        r"^application error",
        r"^(?:oops[!,.]? ?)?(?:something|sorry, something) (?:went|has gone) wrong",
        r"^(?:(?:oops|sorry|whoops)[!,.]? )?an? (?:unexpected |internal |server )?error (?:has )?occurred",
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
        FAILED,
        "text",
        0.4,
        r"error establishing a database connection",
        r"guru meditation",
        r"\bdatabase (?:connection )?error\b",
        r"(?:uncaught|unhandled) (?:exception|error)",
        r"traceback \(most recent call last\)",
        r"internal server error",
        r"there has been a critical error on (?:this|your) website",
        r"please try again (?:later|in a (?:few|couple)|shortly)",
    ),
    # What programs say of themselves where a page was to be.
    _sign(
        FAILED,
        "text",
        0.65,
        r"\A(?:upstream connect error or disconnect|upstream request timeout|no healthy upstream|no server is available to handle)",
        r"\A(?:php )?(?:fatal error|parse error) ?: .{1,300} (?:on line \d|in /)",
        r"\Auncaught \w*(?:error|exception): ",
        r"(?:warning|fatal error) ?: (?:uncaught )?(?:mysqli?_(?:real_)?connect|mysqli::|pdo::__construct|pg_p?connect)\b",
        r"sqlstate\[[0-9a-z]{5}\]",
    ),
    _sign(
        FAILED,
        "text",
        0.4,
        r"(?:could not|couldn't|cannot|can't|unable to|failed to) connect to (?:the |your )?(?:database|mysql|db|server|backend|redis)",
        r"\b(?:connection refused|econnrefused)\b",
    ),
    _sign(
        LIMITED,
        "head",
        0.65,
        r"^you are (?:now )?in (?:the )?(?:line|queue)",
        r"^(?:virtual )?waiting room$",
    ),
    _sign(
        LOGIN,
        "text",
        0.4,
        r"(?:your )?session (?:has )?(?:expired|timed out|ended)",
    ),
    # Asked for a page, and sent to where one logs in; with what was asked for as an errand.
    _sign(
        LOGIN,
        "way",
        0.45,
        r"^[a-z]+://(?:login|signin|sso|auth|accounts?|identity|idp|cas)[.-]",
        r"^[^?#]*[/._-](?:log[-_]?[io]n|sign[-_]?in|sso|saml2?|oauth2?|authenticate|authorize|anmeld(?:en|ung)|einloggen|connexion|"
        r"inloggen|logowanie|prihlas(?:enie|it|eni)|iniciar-sesion|acceso|accedi)(?:[/._?#;-]|$)",
        r"^[^?#]*/(?:session|sessions|user|users|account|customer/account|auth|wp-login\.php)(?:/(?:new|login|sign_in|signin))(?:[/?#]|$)",
    ),
    _sign(
        LOGIN,
        "way",
        0.2,
        r"[?&](?:next|continue|return|return_?(?:to|url|path)|redirect(?:_?(?:to|ur[il]))?|back_?url|service|from|goto|dest(?:ination)?|target|referer|ref)=",
    ),
    _sign(
        CONSENT,
        "way",
        0.45,
        r"^[a-z]+://(?:consent|guce|cmp|privacy)[.-]",
        r"^[^?#]*[/._-](?:consent|collectconsent|cookie-?(?:wall|consent)|privacy-?gate|zustimmung)(?:[/._?#;-]|$)",
    ),
    # Next to nothing but a greeting and the form.
    _sign(
        LOGIN,
        "form",
        0.35,
        r"\A.{0,150}\b(?:welcome|hello|willkommen|bienvenue|bienvenid[oa]|benvenut[oi]|welkom|witaj|vitajte|vítejte|välkommen)\b.{0,250}\Z",
    ),
    # Next to nothing but the form.
    _sign(
        LOGIN,
        "form",
        0.3,
        r"\A.{0,200}\b(?:log ?in|sign ?in|next|continue|anmelden|weiter|einloggen|se connecter|iniciar sesi[óo]n|accedi|inloggen|"
        r"zaloguj|přihlásit|prihlásiť|logga in|continuer|войти|ログイン)\b.{0,100}\Z",
    ),
    _sign(
        CONSENT,
        "head",
        0.65,
        r"^(?:are|you must be) you (?:over|at least|older than)? ?(?:16|18|20|21)\b",
        r"^you must be (?:over|at least) (?:16|18|20|21)",
        r"^age (?:verification|check|gate)",
        r"^(?:sind sie|bist du) (?:über|mindestens) (?:16|18)",
    ),
)


def _hint(patterns: list[re.Pattern[str]]) -> Any:  # Any: re2 has no types
    r"""One pattern that finds something wherever one of them does, and seldom elsewhere.

    RE2 passes over a text once, whatever the number of phrases; `re` tries each of them at each character, a
    thousand times slower. Its `\b` and `\w` know ASCII alone, so they are left out or widened.
    """
    options = re2.Options()
    options.case_sensitive = False
    options.max_mem = 64 << 20
    wide = "|".join(f"(?:{pattern.pattern})" for pattern in patterns)
    for narrow, wider in ((r"\b", ""), (r"\w", r"[\w\pL\pM\pN]"), (r"\d", r"\pN"), ("ı", "i"), ("İ", "i")):
        wide = wide.replace(narrow, wider)
    return re2.compile(wide, options)


#: By place: what is not found by these is no sign of a wall, as it is with most pages.
_HINTS: Final = {
    place: _hint([sign.pattern for sign in SIGNS if sign.where == place])
    for place in ("head", "text", "markup")
}


def may_have(place: Place, *texts: str) -> bool:
    """False: no sign of that place is in any of them."""
    hint = _HINTS.get(place)
    if hint is None:
        return True
    # `re` takes the dotted and the dotless i for one, RE2 does not.
    return any(
        hint.search(text.replace("İ", "i").replace("ı", "i").encode("utf-8", "replace")) for text in texts
    )
