"""The domain's nouns as frozen structs: rules, what a check found, what came of it.

The same structs validate YAML files, the database's JSON columns and JSON output, so a rule that
was accepted once is never half-understood later. Field names are camelCase on the outside.
Times are UTC seconds since the epoch (float) inside, ISO 8601 on the outside. Money and numbers
are Decimal, never float. This module does no I/O and knows no library that does.
"""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from sentinel.errors import Severity

Id = Annotated[str, Meta(min_length=1, max_length=120, pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]*$")]
Seconds = Annotated[float, Meta(ge=0)]


class _Strict(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """Base of everything a person writes: unknown fields are refused."""


# --- where to look ---------------------------------------------------------------------------

FetchModeName = Literal["http", "headless", "auto"]


class FetchProfile(_Strict, frozen=True, kw_only=True):
    """How a source is fetched."""

    mode: FetchModeName = "auto"
    user_agent: Annotated[str, Meta(max_length=512)] | None = None
    headers: dict[str, str] = {}
    cookies: dict[str, str] = {}
    proxy: str | None = None
    #: Seconds for the whole fetch, redirects included.
    timeout: Annotated[float, Meta(gt=0, le=300)] = 30.0
    #: Seconds to wait after load (headless).
    render_wait: Annotated[float, Meta(ge=0, le=60)] = 0.0
    wait_for_selector: str | None = None
    screenshot_on_change: bool = False
    #: Mode auto: a wall is taken to the operator's solver (SENTINEL_SOLVER_URL), where there is one.
    solver: bool = False
    #: Language and country that a visitor says: `de-AT`. Header, and the browser's language, clock and place.
    geo: Annotated[str, Meta(pattern=r"^[a-z]{2,3}-[A-Z]{2}$")] | None = None


# --- what to read there ----------------------------------------------------------------------

ExtractMethod = Literal["css", "xpath", "regex", "jsonpath", "schema", "auto", "text", "table", "feed"]

#: All of a page, or what a reader came for.
ContentName = Literal["page", "main"]


class Postprocess(_Strict, frozen=True, kw_only=True):
    """One step applied to the raw text."""

    op: Literal["trim", "lowercase", "uppercase", "collapse_whitespace", "replace", "regex_extract"]
    #: replace: text to find. regex_extract: pattern (RE2 syntax).
    pattern: Annotated[str, Meta(max_length=1000)] = ""
    #: replace: what to put there.
    replacement: Annotated[str, Meta(max_length=1000)] = ""
    #: regex_extract: group to keep.
    group: Annotated[int, Meta(ge=0, le=99)] = 0


#: Postprocess steps may be written short (`trim`) or long (`{op: replace, pattern: ...}`).
PostprocessStep = Postprocess | str


class FallbackSelector(_Strict, frozen=True, kw_only=True):
    """Tried in order when the selectors before it found nothing."""

    selector: Annotated[str, Meta(max_length=2000)]
    method: ExtractMethod = "css"
    attribute: str = "text"


ColumnName = Annotated[str, Meta(min_length=1, max_length=200)]


class Extraction(_Strict, frozen=True, kw_only=True):
    """Which part of the page is the value."""

    method: ExtractMethod
    #: css / xpath / jsonpath: a selector; regex: an RE2 pattern; schema: a property (price,
    #: availability, ...); text: empty = whole page, or a CSS selector of the part.
    selector: Annotated[str, Meta(max_length=2000)] = ""
    #: text | html | value | attr:NAME
    attribute: Annotated[
        str, Meta(max_length=120, pattern=r"^(text|html|value|attr:[A-Za-z_][A-Za-z0-9_:.-]*)$")
    ] = "text"
    postprocess: list[PostprocessStep] = []
    fallback_selectors: list[FallbackSelector] = []
    #: text: all of it, or main: without menus, sidebars, banners, footers and boxes of other things.
    content: ContentName = "page"
    #: CSS selector of a part of the page the rest is searched in.
    context: Annotated[str, Meta(max_length=2000)] | None = None
    #: table, feed: what a row is (table: CSS, within what `selector` names; feed: an element or path);
    #: left out: each `tr`, each entry or item.
    row: Annotated[str, Meta(max_length=2000)] | None = None
    #: table, feed: the column that names a row; left out: the first column, an entry's id or link.
    key: Annotated[str, Meta(max_length=200)] | None = None
    #: table, feed: which columns are told: their headings, or a name of one's own and where it is (table:
    #: CSS within the row, `@NAME` an attribute; feed: element). Left out: all there are.
    columns: (
        Annotated[list[ColumnName], Meta(max_length=64)]
        | Annotated[dict[ColumnName, Annotated[str, Meta(max_length=2000)]], Meta(max_length=64)]
    ) = []


# --- what kind of value it is ----------------------------------------------------------------

#: What one reading can be. `list`: rows under keys (method table, feed), or one row per line.
FieldType = Literal["price", "availability", "number", "text", "json_field", "date", "list"]
#: And several of them under names.
RuleType = Literal["price", "availability", "number", "text", "json_field", "date", "list", "record"]
ValueKind = RuleType


class Normalization(_Strict, frozen=True, kw_only=True):
    """How the raw text becomes a typed value."""

    kind: ValueKind
    #: price: ISO 4217 code to assume where the page names none.
    currency: Annotated[str, Meta(pattern=r"^[A-Z]{3}$")] | None = None
    #: price, number: the decimal separator of this page, where known.
    decimal_separator: Literal[".", ","] | None = None
    #: availability: text (lower case, contained) -> status.
    mapping: dict[str, Literal["in_stock", "out_of_stock", "backorder", "lead_time", "unknown"]] = {}
    #: text: what to neutralise.
    ignore_case: bool = False
    ignore_whitespace: bool = True
    ignore_relative_times: bool = True
    #: text, list: "Last updated: ..." with its date; numbers of views, likes, people online.
    ignore_updated: bool = False
    ignore_counters: bool = False
    #: text, list: ids of sessions, CSRF tokens, nonces; utm_source and its kin in links.
    ignore_tokens: bool = True
    ignore_tracking: bool = True
    #: list, json_field, text: whether another order (of rows, of elements, of lines) is a change.
    order_matters: bool = False
    #: date: which of 03/04/2026 is the month, where the page never proves it.
    date_order: Literal["dmy", "mdy", "ymd"] | None = None
    #: date: of a time without a zone; UTC if left out.
    timezone: str | None = None
    #: What an empty text is: an error (the default) or a value.
    empty: Literal["error", "value"] = "error"
    #: price, number: a value outside is confirmed before it is believed.
    min: Decimal | None = None
    max: Decimal | None = None


class PriceValue(msgspec.Struct, frozen=True, tag="price", tag_field="kind"):
    """An amount of money."""

    amount: Decimal
    #: ISO 4217, or None where neither page nor rule names one.
    currency: str | None = None


AvailabilityStatus = Literal["in_stock", "out_of_stock", "backorder", "lead_time", "unknown"]


class AvailabilityValue(msgspec.Struct, frozen=True, tag="availability", tag_field="kind"):
    """Whether it can be had."""

    status: AvailabilityStatus
    lead_time_days: int | None = None


class NumberValue(msgspec.Struct, frozen=True, tag="number", tag_field="kind"):
    """A plain number."""

    number: Decimal
    #: As on the page, or "%".
    unit: str | None = None


class TextValue(msgspec.Struct, frozen=True, tag="text", tag_field="kind"):
    """Text, compared by the hash of its neutralised form."""

    #: As shown to people, bounded.
    text: str
    #: SHA-256 (hex) of the neutralised text: equal hash = no change.
    hash: str
    #: The same of its lines in order of the alphabet, where their order says nothing; '' where it does.
    lines: str = ""
    #: Of a text longer than `text`: what the rule's conditions ask of texts (by its hash), and whether
    #: the whole of it says so (sentinel.decide.asked).
    answers: dict[str, bool] | None = None


class JsonValue(msgspec.Struct, frozen=True, tag="json_field", tag_field="kind"):
    """A piece of JSON, as canonical text (sorted keys), so that key order never matters."""

    canonical: str
    #: Another order of an array's elements is another value.
    ordered: bool = False


class DateValue(msgspec.Struct, frozen=True, tag="date", tag_field="kind"):
    """A day, or a moment."""

    #: ISO 8601: `2026-01-31`, or `2026-01-31T12:00:00+01:00` (always with its offset).
    date: str


class RowsValue(msgspec.Struct, frozen=True, tag="rows", tag_field="kind"):
    """Rows under keys, bounded (sentinel.decide.rows): what a table, a feed or a list says."""

    #: Key -> column -> text, in the page's order. A row of a plain list has no columns: its key is its text.
    #: Without what is noise, as it is compared; what people are shown where that differs is in `shown`.
    rows: dict[str, dict[str, str]]
    #: Another order of the rows is a change (`moved`).
    ordered: bool = False
    #: By key and column, the text as the page has it; under the column '' that of the key.
    shown: dict[str, dict[str, str]] = {}
    #: Of keys that came more than once: the numbered one -> the one the page has (`Widget (2)` -> `Widget`).
    numbered: dict[str, str] = {}


FieldValue = PriceValue | AvailabilityValue | NumberValue | TextValue | JsonValue | DateValue | RowsValue


class FieldsValue(msgspec.Struct, frozen=True, tag="fields", tag_field="kind"):
    """Several values under their names, in the rule's order; None: optional, and not there."""

    fields: dict[str, FieldValue | None]


Value = FieldValue | FieldsValue


# --- when to look, when to tell --------------------------------------------------------------


Day = Literal[
    "monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday", "weekdays", "weekend"
]


class ActiveHours(_Strict, frozen=True, kw_only=True):
    """Local hours of some days in which a rule is checked."""

    #: On which it begins; none given: every day.
    days: Annotated[list[Day], Meta(max_length=9)] = []
    #: HH:MM. One that ends before it starts ends on the day after; 24:00 is the end of the day.
    start: Annotated[str, Meta(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")] = "00:00"
    end: Annotated[str, Meta(pattern=r"^(([01]\d|2[0-3]):[0-5]\d|24:00)$")] = "24:00"


class Schedule(_Strict, frozen=True, kw_only=True):
    """When a rule is due: an interval, or a cron expression; within active hours, where there are any."""

    interval_seconds: Annotated[int, Meta(ge=1, le=366 * 86400)] | None = None
    jitter_seconds: Annotated[int, Meta(ge=0, le=86400)] = 0
    cron: Annotated[str, Meta(max_length=200)] | None = None
    #: Of cron and active hours; None: the workspace's.
    timezone: str | None = None
    #: None given: at any time.
    active_hours: Annotated[list[ActiveHours], Meta(max_length=50)] = []


ConditionType = Literal[
    "price_below",
    "price_above",
    "price_drop_percent",
    "availability_is",
    "text_changed",
    "number_changed",
    "number_below",
    "number_above",
    "value_changed",
    "value_increased",
    "value_decreased",
    "value_above",
    "value_below",
    "value_appeared",
    "value_disappeared",
    "text_contains",
    "text_matches",
    "rows_added",
    "rows_removed",
    "lowest_in_days",
]


#: Conditions that compare with a number; their `value` is a Decimal.
NUMERIC_CONDITIONS: Final = frozenset(
    {
        "price_below",
        "price_above",
        "price_drop_percent",
        "number_below",
        "number_above",
        "value_above",
        "value_below",
        "rows_added",
        "rows_removed",
        "lowest_in_days",
    }
)
#: Of these, the ones that compare with a date too (ISO 8601).
DATED_CONDITIONS: Final = frozenset({"value_above", "value_below"})
#: Conditions whose `value` stays the text it is, even where it looks like a number.
TEXT_CONDITIONS: Final = frozenset({"availability_is", "text_contains", "text_matches"})

#: Conditions that measure how far a value went, from where `from` says.
DRIFTING_CONDITIONS: Final = frozenset(
    {"price_drop_percent", "number_changed", "value_changed", "value_increased", "value_decreased"}
)
_DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}(?:$|[T ])")
FieldName = Annotated[str, Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_-]{0,59}$")]

if TYPE_CHECKING:
    Operand = Decimal | str | None
else:  # msgspec takes one string-like type in a union, so `Condition` itself tells the two apart
    Operand = Annotated[Any, Meta(extra_json_schema={"type": ["number", "string", "null"]})]


class Clause(_Strict, frozen=True, kw_only=True):
    """Something that is so or not: one comparison (`type`), or others combined by any, all, not."""

    type: ConditionType | None = None
    #: What `type` compares with: a number for below / above / percent, days, rows; a date; a status; a
    #: text; a pattern.
    value: Operand = None
    #: A change smaller than this (absolute) is not one (number_changed, value_increased ...).
    threshold: Decimal | None = None
    #: What a change is measured from: the value believed before it, or the one that was told last, so that
    #: many small steps are told when they have become a large one.
    from_: Literal["last_good", "last_told"] = msgspec.field(default="last_good", name="from")
    #: Of a record: the name of the field that is asked.
    field: FieldName | None = None
    any: Annotated[list[Clause], Meta(max_length=50)] = []
    all: Annotated[list[Clause], Meta(max_length=50)] = []
    not_: Clause | None = msgspec.field(default=None, name="not")

    def __post_init__(self) -> None:
        """Make `value` what `type` compares with; ValueError (msgspec adds the path) if it cannot be."""
        if self.type is not None:
            msgspec.structs.force_setattr(self, "value", _operand(self.type, self.value))
        if self.from_ == "last_told" and self.type not in DRIFTING_CONDITIONS:
            known = ", ".join(sorted(DRIFTING_CONDITIONS))
            raise ValueError(f"`from: last_told` is for conditions that measure a change: {known}")

    @property
    def parts(self) -> list[Clause]:
        """What it combines; a comparison combines nothing."""
        return [*self.any, *self.all, *([self.not_] if self.not_ is not None else [])]


class Condition(Clause, frozen=True, kw_only=True):
    """One reason to tell somebody."""

    id: Id
    severity: Severity = "warning"
    #: edge: once, when it becomes so. level: again while it stays so, every `repeatSeconds`.
    mode: Literal["edge", "level"] = "edge"
    #: level: seconds between two alerts; the policy's cooldown where left out.
    repeat_seconds: Annotated[int, Meta(ge=60, le=366 * 86400)] | None = None
    #: below, above: once told, it is asked again only after the number was on this side of it.
    rearm: Decimal | None = None


def _operand(condition: str, value: object) -> Decimal | str | None:
    """The Decimal or text a condition compares with, the same from YAML, JSON and its own output."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        raise ValueError("`value` must be a number or a text")  # noqa: TRY004 - msgspec reports ValueError with the path
    text = str(value)
    if condition in TEXT_CONDITIONS:
        return text
    try:
        number = Decimal(text)
    except InvalidOperation:
        number = None
    if number is not None and number.is_finite():
        return number
    if condition in NUMERIC_CONDITIONS and not (condition in DATED_CONDITIONS and _DATE.match(text)):
        raise ValueError(f"`value` of {condition} must be a number, not {text[:40]!r}")
    return text


class Confirm(_Strict, frozen=True, kw_only=True):
    """Re-check at once instead of waiting for the next interval."""

    #: Seconds.
    within: Annotated[float, Meta(gt=0, le=86400)]


class Escalation(_Strict, frozen=True, kw_only=True):
    """Who is told too when nobody has acknowledged."""

    #: Seconds after the alert.
    after: Annotated[int, Meta(ge=60, le=43200)]
    #: Channel ids.
    channels: Annotated[list[Id], Meta(min_length=1)]


class AlertPolicy(_Strict, frozen=True, kw_only=True):
    """When and whom to tell."""

    #: Equal readings in a row before a new value is believed.
    require_consecutive: Annotated[int, Meta(ge=1, le=20)] = 1
    confirm: Confirm | None = None
    cooldown_seconds: Annotated[int, Meta(ge=0, le=366 * 86400)] = 0
    #: Channel ids; where there are any, the workspace's routes are not asked.
    channels: list[Id] = []
    escalate: Escalation | None = None
    conditions: list[Condition] = []
    #: How the conditions combine: any of them, or all of them.
    match: Literal["any", "all"] = "any"


class Field(_Strict, frozen=True, kw_only=True):
    """One of the values that a rule reads: of a record each under its name, of any other rule the only one.

    `sentinel.extract` reads each by its extraction and hands on `Extracted.fields`; a field that cannot be
    read ends the check with its own code and a detail that names it, unless it is optional.
    """

    type: FieldType
    extraction: Extraction
    #: Left out: the kind follows `type`.
    normalization: Normalization | None = None
    #: A field that is not there is no error, but the value null.
    optional: bool = False

    @property
    def normal(self) -> Normalization:
        """The normalization in force."""
        return self.normalization or Normalization(kind=self.type)


class Rule(_Strict, frozen=True, kw_only=True):
    """A rule: watches one thing on one page and says when a change of it matters."""

    id: Id
    url: Annotated[str, Meta(min_length=1, max_length=8192)]
    type: RuleType
    name: Annotated[str, Meta(max_length=300)] = ""
    fetch: FetchProfile = FetchProfile()
    #: Of every type but record, which has `fields`.
    extraction: Extraction | None = None
    #: Left out: the kind follows `type`.
    normalization: Normalization | None = None
    #: record: what is read, by name.
    fields: Annotated[dict[FieldName, Field], Meta(max_length=50)] = {}
    schedule: Schedule = Schedule(interval_seconds=3600)
    alert_policy: AlertPolicy = AlertPolicy()
    enabled: bool = True
    tags: list[Annotated[str, Meta(max_length=60)]] = []
    #: Seconds; longer silence is told.
    expected_change_every: Seconds | None = None

    def __post_init__(self) -> None:
        """Raise ValueError (msgspec adds the path) unless it says what is read."""
        if self.type == "record":
            if not self.fields:
                raise ValueError("`fields` of a record are what is read: there must be one at least")
            if self.extraction is not None or self.normalization is not None:
                raise ValueError("`fields` of a record have extraction and normalization, each its own")
        elif self.fields:
            raise ValueError("`fields` are for the type record")
        elif self.extraction is None:
            raise ValueError("`extraction` is missing")

    @property
    def normal(self) -> Normalization:
        """The normalization in force; of a record's fields each has its own."""
        return self.normalization or Normalization(kind=self.type)

    @property
    def parts(self) -> dict[str, Field]:
        """What is read: a record's fields by name, of any other rule the one value, under ''."""
        if self.type == "record" or self.extraction is None:
            return self.fields
        only = Field(type=self.type, extraction=self.extraction, normalization=self.normalization)
        return {"": only}

    @property
    def title(self) -> str:
        """The name a person knows it by."""
        return self.name or self.id


class QuietHours(_Strict, frozen=True, kw_only=True):
    """Local hours in which only critical alerts go out."""

    #: HH:MM
    start: Annotated[str, Meta(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")]
    end: Annotated[str, Meta(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")]


class Digest(_Strict, frozen=True, kw_only=True):
    """Alerts collected and told together, unless they are critical."""

    by: Literal["workspace", "tag", "host"] = "workspace"
    #: Seconds of a window; windows begin at midnight where the workspace is, and end there.
    every: Annotated[int, Meta(ge=60, le=86400)] = 3600


class Route(_Strict, frozen=True, kw_only=True):
    """Which alerts go to which channels: all of what is given must fit; nothing given fits all."""

    #: For people; its number where left out.
    id: Id | None = None
    #: At least.
    severity: Severity | None = None
    #: The rule has one of them.
    tags: list[Annotated[str, Meta(max_length=60)]] = []
    #: Types of rules, kinds of alerts: one of each sort that is named.
    kinds: list[
        Literal[
            "price",
            "availability",
            "number",
            "text",
            "json_field",
            "date",
            "list",
            "record",
            "change",
            "health",
            "recovery",
        ]
    ] = []
    #: The page's host is one of them, or lies under one.
    hosts: list[Annotated[str, Meta(max_length=253)]] = []
    channels: list[Id] = []
    #: Go on to the routes after it; without, the first that fits is the last.
    go_on: bool = msgspec.field(default=False, name="continue")
    #: Wins over the workspace's.
    digest: Digest | None = None
    escalate: Escalation | None = None


class Incident(_Strict, frozen=True, kw_only=True):
    """Rules of one host that break together are told as one."""

    rules: Annotated[int, Meta(ge=2, le=10_000)] = 10
    #: Seconds.
    within: Annotated[int, Meta(ge=60, le=86400)] = 600


class Flood(_Strict, frozen=True, kw_only=True):
    """Alerts that are told one by one; more that are like them are told together, as "N more"."""

    #: Of one rule, or with titles that differ in their numbers only.
    alerts: Annotated[int, Meta(ge=1, le=100_000)] = 20
    #: Seconds.
    within: Annotated[int, Meta(ge=10, le=3600)] = 60


class Workspace(_Strict, frozen=True, kw_only=True):
    """Whose rules they are, and how their alerts go out."""

    id: Id
    name: str = ""
    timezone: str = "UTC"
    quiet_hours: QuietHours | None = None
    routes: Annotated[list[Route], Meta(max_length=100)] = []
    digest: Digest | None = None
    incident: Incident | None = Incident()
    flood: Flood | None = None
    #: Whether its rules look at pages that their site's robots.txt keeps robots from.
    robots: Literal["ignore", "obey"] = "ignore"


ChannelType = Literal[
    "webhook", "slack", "discord", "teams", "telegram", "ntfy", "pagerduty", "apprise", "email", "console"
]


_VARIABLES: Final = r"^[A-Za-z_][A-Za-z0-9_]*(,[A-Za-z_][A-Za-z0-9_]*)*$"


class CredentialRef(_Strict, frozen=True, kw_only=True, omit_defaults=True):
    """Where a credential's value is: exactly one of these."""

    #: The NAME of an environment variable; several, separated by commas, while rotating.
    env: Annotated[str, Meta(pattern=_VARIABLES)] | None = None
    #: Path of a file that holds nothing else, read for each message.
    file: Annotated[str, Meta(min_length=1, max_length=4096)] | None = None
    #: Encrypted in the database; what an export says, and an import leaves as it is.
    stored: bool = False

    def __post_init__(self) -> None:
        """Raise ValueError (msgspec adds the path) unless there is one place."""
        if (self.env is not None) + (self.file is not None) + self.stored != 1:
            raise ValueError("a credential has one of env: NAME, file: PATH, stored: true")


#: A reference, or the value itself: that is stored encrypted, apart from the definition, and never shown.
#: One value a line; more than one, the newest first, only while rotating.
Credential = CredentialRef | Annotated[str, Meta(min_length=1, max_length=65536)]


class ChannelTemplate(_Strict, frozen=True, kw_only=True):
    """Words of a channel's own, in minijinja (docs/templates.md): text, which the channel's form escapes."""

    title: Annotated[str, Meta(min_length=1, max_length=1000)] | None = None
    body: Annotated[str, Meta(min_length=1, max_length=8000)] | None = None


class Channel(_Strict, frozen=True, kw_only=True):
    """A way to tell somebody."""

    id: Id
    type: ChannelType
    #: webhook: where to. telegram, ntfy, pagerduty: where the service is, if not where it always is.
    url: Annotated[str, Meta(max_length=8192)] | None = None
    #: telegram: whom to tell, a number or @name of a public channel.
    chat_id: Annotated[str, Meta(pattern=r"^(@[A-Za-z][A-Za-z0-9_]{3,63}|-?\d{1,20})$")] | None = None
    #: ntfy: what to publish to.
    topic: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,64}$")] | None = None
    #: email: whom to write to, and who writes: `name@example.com` or `Name <name@example.com>`.
    to: Annotated[list[Annotated[str, Meta(min_length=3, max_length=320)]], Meta(max_length=50)] = []
    sender: Annotated[str, Meta(min_length=3, max_length=320)] | None = None
    #: By name: webhook signing_secret, url; slack, discord, teams url; telegram bot_token; ntfy token;
    #: pagerduty routing_key; apprise url; email smtp_url (`smtp://user:password@host:587`).
    credentials: dict[str, Credential] = {}
    #: In place of the usual title and body.
    template: ChannelTemplate | None = None
    #: webhook: short for the credential signing_secret (`whsec_...`) of `env`.
    secret_env: Annotated[str, Meta(pattern=_VARIABLES)] | None = msgspec.field(
        default=None, name="secret_env"
    )
    #: Messages a minute at most, over all workers; more wait for their turn.
    rate_per_minute: Annotated[float, Meta(gt=0, le=6000)] | None = None
    #: The channel that is told where this one was not, for good.
    fallback: Id | None = None
    enabled: bool = True

    def __repr__(self) -> str:
        # Of its own: a file's channel may hold the values of its credentials, and a URL may hold keys.
        return f"<Channel {self.id} ({self.type}{'' if self.enabled else ', off'})>"


class RulesFile(_Strict, frozen=True, kw_only=True):
    """A whole YAML file."""

    workspace: Workspace = Workspace(id="default")
    channels: list[Channel] = []
    rules: list[Rule] = []


# --- what a check finds ----------------------------------------------------------------------

ChangeKind = Literal[
    "new_value",
    "value_changed",
    "increased",
    "decreased",
    "status_change",
    "text_diff",
    "value_appeared",
    "value_disappeared",
    "format_changed",
    "rows_changed",
]

Health = Literal["ok", "degraded", "broken"]


class RuleState(msgspec.Struct, frozen=True, kw_only=True):
    """What is remembered of a rule between checks."""

    #: The last confirmed value.
    stable: Value | None = None
    stable_raw: str | None = None
    #: A new value on its way to being believed, and how often in a row it was seen.
    candidate: Value | None = None
    candidate_count: int = 0
    candidate_raw: str | None = None
    #: Why the candidate is not plausible, or None: it then needs one reading more, also as a 304.
    candidate_doubt: str | None = None
    #: Candidates in a row that were followed by something else than themselves: a value that flaps.
    unsettled: int = 0
    #: When that was told; None: it was not, or it has settled since.
    unstable_told_at: float | None = None
    #: Characters of the page that gave the stable value.
    page_size: int | None = None
    #: By condition that was told (or true at the first reading) and has not been false since: when.
    told: dict[str, float] = {}
    #: Conditions that wait for their `rearm`.
    disarmed: tuple[str, ...] = ()
    #: Conditions that were met within a cooldown: told when it is over, if they still are.
    owed: tuple[str, ...] = ()
    #: The value that an alert told last (before the first: the first one); only where the policy needs it.
    told_value: Value | None = None
    etag: str | None = None
    last_modified: str | None = None
    #: Checks since the last unconditional fetch.
    conditional_count: int = 0
    #: neither: HTTP was not enough, and a browser did not help when it looked last.
    mode_that_worked: Literal["http", "headless", "neither"] | None = None
    #: When HTTP was last asked first, in mode auto; of neither, when a browser looked.
    mode_since: float | None = None
    #: Decimal separator learned from an unambiguous number.
    decimal_separator: Literal[".", ","] | None = None
    #: 0 to 100.
    health: float = 100.0
    health_state: Health = "ok"
    fail_streak: int = 0
    #: The same since the rule was edited, switched on or tested by hand too: it is due the later for it.
    backoff: int = 0
    last_run_at: float | None = None
    last_good_at: float | None = None
    last_change_at: float | None = None
    last_alert_at: float | None = None
    #: Of that alert: what is more severe passes its cooldown.
    last_alert_severity: Severity | None = None
    #: When the broken state was last told.
    broken_told_at: float | None = None
    #: Optimistic lock: rises with every write.
    version: int = 0


class Fetched(msgspec.Struct, frozen=True, kw_only=True):
    """A page as it came: what fetch hands to extract."""

    url: str
    final_url: str
    status: int
    #: Lower-case names.
    headers: dict[str, str]
    #: Decoded (inflated) body, bounded.
    body: bytes
    #: Text in its right charset (never raises; unknown bytes replaced).
    text: str
    mode: Literal["http", "headless", "solver"] = "http"
    fallback_reason: str | None = None
    #: 304: body is empty, the page is as it was.
    not_modified: bool = False
    #: Bytes on the wire.
    wire_bytes: int = 0
    #: Stage -> seconds.
    timings: dict[str, float] = {}
    #: What stands in the way (a code of BLOCK_* or PAGE_*), or None.
    blocked: str | None = None
    block_detail: str = ""
    block_confidence: float = 0.0
    #: Told by what the page says alone: a rule that finds its value in spite of it is believed.
    block_by_words: bool = False

    @property
    def content_type(self) -> str:
        """Media type without parameters, lower case; '' where unknown."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()


class Fingerprint(msgspec.Struct, frozen=True, omit_defaults=True):
    """What an element was like when it gave a value last (sentinel.extract.fingerprint); short parts."""

    tag: str
    #: price, number, date, availability, text or long; and the text with every digit as 9.
    shape: str
    text: str
    id: str = ""
    #: Stable words of its classes; hash-like ones are left out.
    words: tuple[str, ...] = ()
    #: name=value of other attributes.
    attributes: tuple[str, ...] = ()
    #: Tags above it, nearest first, and the words of their ids and classes.
    path: tuple[str, ...] = ()
    above: tuple[str, ...] = ()
    depth: int = 0
    #: Its place among the elements beside it.
    index: int = 0
    #: One of a row of like elements (cards, lines of a table), or inside of one; inside of a link.
    repeated: bool = False
    linked: bool = False
    #: Text right before and after it, and the heading above.
    before: str = ""
    after: str = ""
    heading: str = ""
    #: What it is beside the value (old, unit, shipping, saving, monthly), by words and tags around it;
    #: crossed: the very price that is not asked any more.
    roles: tuple[str, ...] = ()


class Healed(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An element that was found by its likeness, where the rule's selectors found nothing."""

    #: CSS, and what is read of it (as Extraction.attribute).
    selector: str
    attribute: str = "text"
    #: What the rule asks for and was not there: `css '.price'`.
    instead_of: str
    #: 0 to 1: how like it is, and the next best.
    score: float
    second: float = 0.0
    #: The first characters of what was read then.
    text: str = ""
    #: Checks in a row that were read by it, counted to 2: at the second it is told.
    seen: int = 1


class Remembered(msgspec.Struct, frozen=True, omit_defaults=True):
    """The element of a rule, or of one of its fields."""

    #: What it was found by, so that an edited rule begins anew.
    of: str
    fingerprint: Fingerprint
    healed: Healed | None = None
    #: A person has undone a healing: none is tried until the rule's own selectors find something.
    refused: bool = False


class Lost(msgspec.Struct, frozen=True):
    """What to look for where a rule's selectors find nothing, and what kind of value it has to be."""

    remembered: Remembered
    normal: Normalization


class Extracted(msgspec.Struct, frozen=True, kw_only=True):
    """What extract found: a text, rows, or (of a record) one of these for each field."""

    #: The text. Of rows and fields: as JSON (`{"key": {"column": "text"}}`, `{"field": raw}`), for people.
    raw: str
    #: Which selector gave it: 0 = the rule's own, n = the n-th fallback.
    selector_index: int = 0
    confidence: float = 1.0
    #: Schema extraction: a currency found beside the amount.
    currency: str | None = None
    #: The decimal mark in `raw` is ours: the page shows cents apart (`19<sup>99</sup>`) and proves none.
    joined: bool = False
    #: jsonpath: the same as JSON, where `raw` is not: of a text, and of null, whose text is empty.
    json: str | None = None
    #: table, feed: (key, column -> text) of each row in the page's order, as they are: a key that comes
    #: twice, or rows too many, are for sentinel.decide.rows to judge. None: the method gives no rows.
    rows: tuple[tuple[str, dict[str, str]], ...] | None = None
    #: record: by name; an optional field that is not there is left out.
    fields: dict[str, Extracted] | None = None
    #: css, xpath: the element it was read from, where it is to be known again.
    fingerprint: Fingerprint | None = None
    #: The rule's selectors found nothing, and this was read instead.
    healed: Healed | None = None


class RowsChange(msgspec.Struct, frozen=True):
    """Which rows differ, by key."""

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    #: Only where order matters.
    moved: tuple[str, ...] = ()
    #: Columns that came and went; what they hold makes no row a changed one.
    new_columns: tuple[str, ...] = ()
    gone_columns: tuple[str, ...] = ()


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """A confirmed difference between two good values."""

    kind: ChangeKind
    before: Value | None
    #: None: an optional field that is not there any more.
    after: Value | None
    #: Relative change in percent, for amounts and numbers.
    percent: Decimal | None = None
    #: Of rows: how many came, went, are otherwise and changed places.
    rows: RowsChange | None = None
    #: Of a record: the change of each field that has one.
    fields: dict[str, Change] = {}


class Fired(msgspec.Struct, frozen=True, kw_only=True):
    """A condition that a change met."""

    condition: str
    severity: Severity


#: digest: others told together. An incident is health, and its end recovery.
AlertKind = Literal["change", "health", "recovery", "digest"]


class AlertDraft(msgspec.Struct, frozen=True, kw_only=True):
    """An alert as the judgement made it; the store gives it an id."""

    kind: AlertKind
    severity: Severity
    title: str
    #: The neutral document, see sentinel.render.
    body: dict[str, Any]
    dedupe_key: str
    #: The rule's own; where it has none, routes say.
    channels: tuple[str, ...]
    #: Why it is recorded but not sent: cooldown, or None; and until when that holds.
    suppressed: Literal["cooldown"] | None = None
    suppressed_until: float | None = None
    conditions: tuple[str, ...] = ()


class DocumentCell(msgspec.Struct, frozen=True):
    """One column of a row, in words; None where the row, or the column, is on one side only."""

    name: str
    before: str | None
    after: str | None


class DocumentRow(msgspec.Struct, frozen=True):
    """What became of one row."""

    kind: Literal["changed", "added", "removed", "moved"]
    #: What the row is known by on both sides.
    key: str
    #: changed: the cells that differ; added, removed: the cells there are; moved: none.
    cells: tuple[DocumentCell, ...] = ()


class DocumentRows(msgspec.Struct, frozen=True, kw_only=True):
    """The difference of two lists, row by row: all are counted, the first of each kind are told."""

    changes: tuple[DocumentRow, ...]
    changed: int = 0
    added: int = 0
    removed: int = 0
    moved: int = 0
    #: Names of columns that came and went.
    new_columns: tuple[str, ...] = ()
    gone_columns: tuple[str, ...] = ()

    @property
    def untold(self) -> int:
        """Rows that are counted and not among `changes`."""
        return self.changed + self.added + self.removed + self.moved - len(self.changes)


class DocumentField(msgspec.Struct, frozen=True, kw_only=True):
    """One named value in an alert, before and after, cleaned for people to see."""

    name: str
    #: A value in the JSON shape of docs/cli (`{"amount": "129.99", "currency": "EUR"}`), or None: none.
    before: Any = None
    after: Any = None
    #: Where both are lists or objects: which of their rows differ.
    rows: DocumentRows | None = None


class DocumentMember(msgspec.Struct, frozen=True, kw_only=True):
    """One of the alerts that a digest tells of."""

    title: str
    rule: str = ""
    #: As Document.link.
    link: str = ""
    before: Any = None
    after: Any = None


class DocumentHealth(msgspec.Struct, frozen=True, kw_only=True):
    """What ails a rule, or ailed it."""

    #: One of sentinel.errors.ERROR_CODES.
    code: str
    detail: str = ""
    recommendation: str = ""


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """An alert as neutral words and values: rendered once, then formatted by each channel's own rules.

    Whatever came from a page is free of control characters, escapes and bidi overrides, and bounded.
    """

    alert_id: str
    workspace_id: str
    rule_id: str
    #: test: somebody tries the channel.
    kind: AlertKind | Literal["test"]
    severity: Severity
    title: str
    #: The rule's name for people.
    rule: str
    #: The page; '' where it is not an http(s) address.
    link: str
    #: Seconds since the epoch.
    occurred_at: float
    #: One sentence.
    summary: str = ""
    fields: tuple[DocumentField, ...] = ()
    #: A ChangeKind, or None.
    change: str | None = None
    #: Relative change in percent, as text.
    percent: str | None = None
    #: Conditions that were met: (id, severity).
    conditions: tuple[tuple[str, str], ...] = ()
    health: DocumentHealth | None = None
    #: Of a digest; `more` are counted and not told.
    members: tuple[DocumentMember, ...] = ()
    more: int = 0
    #: What the channel's template made of it: lines that are told in place of summary, fields and members.
    words: str = ""
    #: What the reader should know about how this was made: that a template failed.
    note: str = ""


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What one check came to: pure output of sentinel.decide."""

    state: RuleState
    #: The value read, good or not yet confirmed; None where the check ended with an error code.
    value: Value | None = None
    change: Change | None = None
    #: True when `value` is (or became) the stable one.
    confirmed: bool = False
    fired: tuple[Fired, ...] = ()
    alerts: tuple[AlertDraft, ...] = ()
    #: Seconds after which a confirming check should run, or None.
    confirm_in: float | None = None
