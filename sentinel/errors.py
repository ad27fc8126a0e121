"""Everything sentinel raises, and the error codes a run may end with.

    SentinelError
    +-- TemporaryFailure     ours and passing (network of ours, database, browser): the stream retries
    |   +-- StoreUnavailable the database cannot be reached or is locked
    |   +-- StateConflict    another check of the rule wrote first; read its state and judge again
    +-- PermanentFailure     needs a person
    |   +-- SettingsError    one or more settings are wrong (all are named)
    |   +-- RuleFileError    a rules file is wrong (path and hint for each)
    |   +-- SchemaNotCurrent the database schema is not at the version of this program
    |   +-- Unreadable       a stored definition is not as this program writes it
    |   +-- CredentialUnreadable a stored credential does not open with the keys of this process
    |   +-- EmbeddedRedisFailed there is no server's program, or it does not start
    +-- SendFailed           a channel did not accept an alert; told by one of
    |   +-- SendLater        for now: tried again, after `retry_after` where the other side said so
    |   +-- SendRefused      trying again changes nothing: the delivery is dead
    |       +-- EndpointGone the other side asks never to be called again: the channel is disabled
    +-- StaleWorker          another delivery of the job has written already; this write was refused
    +-- NotYet               the delivery has to wait for its turn; nothing was changed
    +-- NotFound             no such rule, alert, channel ...
    +-- CheckFailure         a stage of a check ended with an error code: a result, not a failed job

What is the page's own state (404, no match, captcha) is a run with an error code. Each code has a
title, a description, a recommendation, a severity and a word on whether trying again may help
(`ERROR_CODES`).
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

Severity = Literal["info", "warning", "critical"]
#: Why a delivery waits: an older alert of its rule comes first, its endpoint asked for it, its endpoint
#: does not work, its channel has had its rate, or holds its share of the worker's slots.
HoldReason = Literal["order", "retry_after", "breaker", "rate", "slots"]


class SentinelError(Exception):
    """sentinel failed."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (type(self).__doc__ or "").strip())


class TemporaryFailure(SentinelError):
    """Something of ours failed for now; the job is retried."""


class StoreUnavailable(TemporaryFailure):
    """The database cannot be reached or is locked."""


class StateConflict(TemporaryFailure):
    """The rule's state was written meanwhile. Nothing was changed; read it and judge again."""


class PermanentFailure(SentinelError):
    """Something is wrong that a person must change."""


class SettingsError(PermanentFailure):
    """One or more settings are wrong."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


class Problem(msgspec.Struct, frozen=True):
    """One thing wrong in a rules file."""

    #: Where, as `rules[2].extraction.selector`.
    path: str
    message: str
    hint: str = ""


class RuleFileError(PermanentFailure):
    """A rules file is wrong."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("; ".join(f"{p.path}: {p.message}" for p in problems))
        self.problems = problems


class SchemaNotCurrent(PermanentFailure):
    """The database schema is not current. Run `sentinel-worker migrate`."""


class Unreadable(PermanentFailure):
    """A stored definition is not as this program writes it. Import it again."""


class CredentialUnreadable(PermanentFailure):
    """A stored credential cannot be decrypted here. Set its key, or give the value again."""

    def __init__(self, message: str | None = None, *, key_missing: bool = False) -> None:
        super().__init__(message)
        #: A key that is not in this process would open it: others may have that key already.
        self.key_missing = key_missing


class EmbeddedRedisFailed(PermanentFailure):
    """The embedded Redis did not start."""


class SendFailed(SentinelError):
    """The channel did not accept the alert."""

    def __init__(
        self, detail: str, *, http_status: int | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(detail)
        #: For people; never holds a secret or a whole URL.
        self.detail = detail
        self.http_status = http_status
        #: Seconds the other side asked us to wait, where it did.
        self.retry_after = retry_after


class SendLater(SendFailed):
    """The channel did not accept the alert for now. It is tried again."""


class SendRefused(SendFailed):
    """The channel will not accept the alert. Its delivery is dead."""


class EndpointGone(SendRefused):
    """The endpoint asks never to be called again. The channel is disabled."""


class StaleWorker(SentinelError):
    """A newer delivery of the job has the row; this write was refused and nothing was changed."""


class NotYet(SentinelError):
    """The delivery has to wait for its turn. Nothing was changed, and no attempt was made."""

    def __init__(self, reason: HoldReason, until: float) -> None:
        super().__init__(f"{reason}: not before {until:.3f}")
        self.reason = reason
        #: Seconds since the epoch.
        self.until = until


class NotFound(SentinelError):
    """No such thing."""


class CheckFailure(SentinelError):
    """A stage of a check ended with an error code."""

    def __init__(self, code: str, detail: str = "", *, retry_after: float | None = None) -> None:
        super().__init__(f"{code}: {detail}" if detail else code)
        #: One of ERROR_CODES.
        self.code = code
        #: For people; never holds a secret.
        self.detail = detail
        #: Seconds the other side asked us to wait, where it did.
        self.retry_after = retry_after


class ErrorCode(msgspec.Struct, frozen=True):
    """One way a check can end without a value, told to people."""

    code: str
    title: str
    description: str
    recommendation: str
    severity: Severity
    #: Trying again later, unchanged, may help.
    retryable: bool
    #: Points a rule's health loses when a run ends with it (0 to 100).
    weight: int


def _code(
    code: str,
    title: str,
    description: str,
    recommendation: str,
    *,
    severity: Severity = "warning",
    retryable: bool = True,
    weight: int = 20,
) -> tuple[str, ErrorCode]:
    return code, ErrorCode(
        code=code,
        title=title,
        description=description,
        recommendation=recommendation,
        severity=severity,
        retryable=retryable,
        weight=weight,
    )


#: Every way a check can end without a value. Weights: health starts at 100 and is broken under 40, so
#: 25 breaks a rule at the third failure in a row (the page itself changed), 20 at the fourth (somebody
#: stands in the way), 15 at the fifth (networks and servers come back), 65 at the first (nothing but a
#: person's change can help), 0 never (the fault is ours, not the rule's).
ERROR_CODES: Final[dict[str, ErrorCode]] = dict(
    (
        _code(
            "FETCH_TIMEOUT",
            "The page took too long",
            "The server did not answer completely within the rule's time limit.",
            "Nothing to do if it passes. Otherwise raise fetch.timeout or watch another page.",
            weight=15,
        ),
        _code(
            "FETCH_DNS",
            "The host name was not found",
            "The name in the URL could not be resolved to an address.",
            "Check the spelling of the host name. If it is right, the site's DNS has a problem.",
            weight=15,
        ),
        _code(
            "FETCH_CONNECTION",
            "No connection to the server",
            "The server refused, reset or never accepted the connection.",
            "Nothing to do if it passes. Otherwise check host and port of the URL.",
            weight=15,
        ),
        _code(
            "FETCH_TLS",
            "The server's certificate is not valid",
            "No encrypted connection could be made: certificate expired, for another name or not trusted.",
            "Open the page in a browser. If it warns too, the site must renew its certificate.",
            weight=20,
        ),
        _code(
            "FETCH_HTTP_4XX",
            "The page does not exist or may not be seen",
            "The server answered with a 4xx status: the address is gone, moved or needs a login.",
            "Open the URL in a browser and correct it in the rule, or delete the rule if the page is gone.",
            retryable=False,
            weight=25,
        ),
        _code(
            "FETCH_HTTP_5XX",
            "The server has a problem",
            "The server answered with a 5xx status.",
            "Nothing to do if it passes: the site's own fault.",
            weight=15,
        ),
        _code(
            "FETCH_REFUSED_ADDRESS",
            "The address is not public",
            "The host leads to a private, loopback or reserved address, which rules may not reach.",
            "Use a public address, or allow private networks in the settings if this is an intranet.",
            severity="critical",
            retryable=False,
            weight=35,
        ),
        _code(
            "FETCH_BAD_URL",
            "The URL is not usable",
            "The URL cannot be parsed, or is not plain http or https.",
            "Correct the URL of the rule.",
            severity="critical",
            retryable=False,
            weight=65,
        ),
        _code(
            "FETCH_ROBOTS",
            "robots.txt forbids this page",
            "The site's robots.txt asks robots to stay away and the workspace honours it.",
            "Choose another page or source, or change the workspace's policy.",
            retryable=False,
            weight=35,
        ),
        _code(
            "FETCH_TOO_LARGE",
            "The page is too large",
            "The answer is larger than allowed, or inflates to more than allowed.",
            "Watch a smaller page or the site's API.",
            retryable=False,
            weight=25,
        ),
        _code(
            "FETCH_DECODE",
            "The answer could not be decoded",
            "The answer is not valid HTTP, or its compression is broken.",
            "Nothing to do if it passes. Otherwise the server sends what it does not announce.",
            weight=20,
        ),
        _code(
            "BLOCK_CAPTCHA_SUSPECTED",
            "A captcha stands in the way",
            "The page shows a captcha in place of its content.",
            "Check less often, use headless mode, or ask the site for an API.",
            weight=20,
        ),
        _code(
            "BLOCK_CLOUDFLARE_SUSPECTED",
            "Cloudflare stands in the way",
            "The page shows a Cloudflare challenge in place of its content.",
            "Check less often, use headless mode, or ask the site for an API.",
            weight=20,
        ),
        _code(
            "BLOCK_FORBIDDEN_403",
            "The site refuses us",
            "The server answered 403 Forbidden.",
            "Check less often, set a user agent, use headless mode, or ask the site for access.",
            weight=20,
        ),
        _code(
            "BLOCK_RATE_LIMIT_429",
            "The site says we ask too often",
            "The server answered 429 Too Many Requests.",
            "Raise the interval of the rules on this host.",
            weight=15,
        ),
        _code(
            "PAGE_LOGIN",
            "The page asks for a login",
            "A login form stands where the content was.",
            "Give the rule a cookie or header that is logged in, or watch a public page.",
            retryable=False,
            weight=25,
        ),
        _code(
            "PAGE_CONSENT",
            "The page asks for consent",
            "A consent wall stands where the content was.",
            "Give the rule the cookie the site sets after consent, or use headless mode.",
            weight=20,
        ),
        _code(
            "PAGE_MAINTENANCE",
            "The site is under maintenance",
            "The page says that the site is being worked on.",
            "Nothing to do if it passes.",
            weight=15,
        ),
        _code(
            "PAGE_EMPTY",
            "The page is empty",
            "The server answered, but with nothing to read, or with a shell that only scripts fill.",
            "Use headless mode if the content is made by scripts.",
            weight=20,
        ),
        _code(
            "EXTRACT_SELECTOR_NOT_FOUND",
            "The selector finds nothing",
            "Neither the selector nor its fallbacks match on the page: it has probably been rebuilt.",
            "Open the page, pick the element again and correct the selector.",
            weight=25,
        ),
        _code(
            "EXTRACT_SCHEMA_NOT_FOUND",
            "The structured data is not there",
            "The page holds no structured data (JSON-LD, microdata, meta tags) with the property asked for.",
            "Use a CSS selector, or add one as a fallback.",
            weight=25,
        ),
        _code(
            "EXTRACT_EMPTY_VALUE",
            "The value is empty",
            "The place on the page was found, but holds no text.",
            "If empty is a real state here, set normalization.empty to value; else correct the selector.",
            weight=25,
        ),
        _code(
            "EXTRACT_PARSE_ERROR",
            "The text is not a value of this kind",
            "The text that was found could not be read as the rule's kind of value.",
            "Look at the text found; correct the selector, the postprocess steps or the mapping.",
            weight=25,
        ),
        _code(
            "EXTRACT_UNSTABLE",
            "The value differs at every look",
            "The value never stays the same long enough to be believed.",
            "Choose a narrower selector, or neutralise the part that always changes.",
            weight=20,
        ),
        _code(
            "EXTRACT_AMBIGUOUS",
            "The text says two things",
            "The text that was found contradicts itself, so it was not believed.",
            "Choose a narrower selector or add a mapping.",
            weight=25,
        ),
        _code(
            "SELECTOR_HEALED",
            "The selector was healed",
            "The selector found nothing; the element that is most like the old one was read instead.",
            "Compare old and new, and keep or undo it.",
            severity="info",
            retryable=False,
            weight=5,
        ),
        _code(
            "VALUE_IMPLAUSIBLE",
            "The value is not plausible",
            "The value lies outside of what the rule or its history allow; seen once more, it is believed.",
            "Look at the page; correct min and max of the rule if the value is right.",
            weight=10,
        ),
        _code(
            "RULE_INVALID",
            "The rule is not valid",
            "The rule cannot be carried out as it is written.",
            "Correct the rule and import it again.",
            severity="critical",
            retryable=False,
            weight=65,
        ),
        _code(
            "RULE_SILENT",
            "The value never changes",
            "Checks are good, but found no change for longer than the rule's expectedChangeEvery.",
            "See by `sentinel-worker rules test` that the right place is read, or raise expectedChangeEvery.",
            weight=0,
        ),
        _code(
            "SYSTEM_WORKER_CRASH",
            "The worker crashed during the check",
            "Our own process ended in the middle of this check. The rule is not to blame.",
            "Look at the worker's log if it happens again.",
            severity="critical",
            weight=0,
        ),
        _code(
            "SYSTEM_QUEUE_DELAY",
            "The rule is not checked",
            "The rule was due, and nobody has checked it for two of its intervals.",
            "Look at `sentinel-worker doctor`: start workers or more of them, or raise the concurrency.",
            weight=0,
        ),
        _code(
            "SYSTEM_BROWSER",
            "No browser could do this",
            "The rule needs a browser, and none is installed or it failed.",
            "Install the browser extra and a Chromium, or set fetch.mode to http.",
            weight=15,
        ),
        _code(
            "SYSTEM_SOLVER",
            "The solver does not work",
            "The rule asks a solver to lift walls, and it could not be reached or answered nonsense.",
            "See that SENTINEL_SOLVER_URL names one that runs, or set fetch.solver to false.",
            weight=0,
        ),
        _code(
            "SYSTEM_STORE",
            "The database failed",
            "Our own database did not take the result of this check. The rule is not to blame.",
            "Look at `sentinel-worker health`.",
            severity="critical",
            weight=0,
        ),
    )
)

#: Told where a newer program stored a code this one does not know.
_UNKNOWN_CODE: Final = ErrorCode(
    code="UNKNOWN",
    title="The check failed",
    description="The check ended with an error this version does not know.",
    recommendation="Look at the run's detail.",
    severity="warning",
    retryable=True,
    weight=20,
)


def error_code(code: str) -> ErrorCode:
    """What is known of `code`; never raises, so that a strange code cannot hide a failure."""
    return ERROR_CODES.get(code) or msgspec.structs.replace(_UNKNOWN_CODE, code=code)
