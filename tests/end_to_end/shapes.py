"""The JSON of the command line as types: which fields a document has, and of which kind.

The contract of docs/cli.md, once more in another form: the tests hold both the page's samples and
what the program prints to it. A field that is missing, new or of another kind is refused.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

Time = Annotated[str, Meta(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$")]
Amount = Annotated[str, Meta(pattern=r"^-?\d+(\.\d+)?$")]
#: Those of partition n end in `.n`.
EntryId = Annotated[str, Meta(pattern=r"^\d+-\d+(\.[1-9]\d?)?$")]
Count = Annotated[int, Meta(ge=0)]
#: A whole number of seconds is a number of seconds too.
Seconds = Annotated[float, Meta(ge=0)]
Json = Any  # whatever a page or a producer wrote


class Document(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Every field must be there, but for those that say so: UNSET."""


# --- values -----------------------------------------------------------------------------------------


class Price(Document):
    amount: Amount
    currency: Annotated[str, Meta(pattern="^[A-Z]{3}$")] | None


class Availability(Document):
    status: Literal["in_stock", "out_of_stock", "backorder", "lead_time", "unknown"]
    lead_time_days: Count | None


class Number(Document):
    number: Amount
    unit: str | None


class Text(Document):
    text: str
    hash: Annotated[str, Meta(pattern="^[0-9a-f]+$")]


class Date(Document):
    date: Annotated[str, Meta(pattern=r"^\d{4}-\d\d-\d\d(T\d\d:\d\d:\d\d[+-]\d\d:\d\d)?$")]


class Rows(Document):
    rows: dict[str, dict[str, str]]


class Fields(Document):
    fields: dict[str, Json]


#: Type of rule -> its value.
VALUES: dict[str, Any] = {
    "price": Price, "availability": Availability, "number": Number, "text": Text, "json_field": Json,
    "date": Date, "list": Rows, "record": Fields,
}  # fmt: skip

# --- streams ----------------------------------------------------------------------------------------


class Stats(Document):
    schema: Literal["streamq.stats/1"]
    stream: str
    ready: Count
    leased: Count
    delayed: Count
    dead: Count
    done: Count
    oldest_seconds: Seconds | None
    workers: Count
    paused: bool


class Pending(Document):
    schema: Literal["streamq.pending/1"]
    stream: str
    entry_id: EntryId
    job_id: str
    worker: str
    idle_seconds: Seconds
    deliveries: Count
    attempt: Count
    crashes: Count
    payload: Json


class Claimed(Document):
    schema: Literal["streamq.claimed/1"]
    stream: str
    worker: str
    ready: Count
    dead: Count


class Dead(Document):
    schema: Literal["streamq.dead/1"]
    stream: str
    job_id: str
    reason: str
    error: str
    attempts: Count
    crashes: Count
    enqueued_at: Time
    died_at: Time
    payload: Json


class Try(Document):
    attempt: Count
    ready_at: Time
    error: str


class Job(Document):
    schema: Literal["streamq.job/1"]
    stream: str
    job_id: str
    state: Literal["ready", "leased", "delayed", "parked", "dead", "done", "cancelled"]
    lane: Literal["high", "normal", "low"] | None
    attempt: Count | None
    crashes: Count | None
    enqueued_at: Time | None
    entry_id: EntryId | None
    before: Count | None
    worker: str | None
    held_seconds: Seconds | None
    silent_seconds: Seconds | None
    due_at: Time | None
    ended_at: Time | None
    duration_seconds: Seconds | None
    reason: str | None
    error: str | None
    note: str | None
    tries: list[Try]
    cancel_asked: bool
    headers: dict[str, str] | None
    payload: Json
    result: Json | UnsetType = UNSET
    no_result: str | UnsetType = UNSET


class Cancelled(Document):
    schema: Literal["streamq.cancelled/1"]
    stream: str
    job_id: str
    found: Literal["waiting", "delayed", "running", "ended", "sought"]
    worker: str | None
    state: Literal["done", "dead", "cancelled"] | None
    looked: Count


class WorkerLoad(Document):
    in_hand: Count
    slots: Count


class Worker(Document):
    schema: Literal["streamq.worker/1"]
    worker: str
    state: Literal["up", "quiet", "silent", "unknown"]
    heard_seconds: Seconds | None
    in_hand: Count
    slots: Count
    streams: dict[str, WorkerLoad]


class WorkerAnswer(Document):
    schema: Literal["streamq.worker_answer/1"]
    worker: str
    order: Literal["quiet", "resume", "trace"]
    answer: str


class JobLimit(Document):
    key: str
    running: Count | None
    rate: Annotated[float, Meta(gt=0)] | None
    burst: Count


class RecurringJob(Document):
    schema: Literal["streamq.recurring/1"]
    stream: str
    schedule_id: str
    when: str
    next_due_at: Time | None
    last_tick_at: Time | None
    paused: bool
    declared: bool
    runs: Count
    overlapped: Count
    catch_up: Literal["once", "every", "skip"]
    overlap: Literal["allow", "skip"]
    limit: JobLimit | None
    payload: Json


class RecurringRemoved(Document):
    schema: Literal["streamq.recurring_removed/1"]
    stream: str
    schedule_id: str


class Concurrency(Document):
    schema: Literal["streamq.concurrency/1"]
    stream: str
    concurrency: Count | None


class Partitions(Document):
    schema: Literal["streamq.partitions/1"]
    stream: str
    partitions: Annotated[int, Meta(ge=1)]


class Drained(Document):
    schema: Literal["streamq.drained/1"]
    stream: str
    drained: bool
    ready: Count
    leased: Count
    delayed: Count


class Purged(Document):
    schema: Literal["streamq.purged/1"]
    stream: str
    matched: Count
    purged: Count
    dry_run: bool


class Requeued(Document):
    schema: Literal["streamq.requeued/1"]
    stream: str
    matched: Count
    ready: Count
    duplicate: Count
    dry_run: bool


class Receipt(Document):
    schema: Literal["streamq.receipt/1"]
    stream: str
    job_id: str
    created: bool
    replaced: bool | UnsetType = UNSET


class Paused(Document):
    schema: Literal["streamq.paused/1"]
    stream: str
    paused: bool


# --- rules and what came of them ----------------------------------------------------------------------

ChangeKind = Literal[
    "new_value", "value_changed", "increased", "decreased", "status_change", "text_diff", "value_appeared",
    "value_disappeared", "format_changed", "rows_changed",
]  # fmt: skip


class Observation(Document):
    schema: Literal["sentinel.observation/1"]
    rule_id: str
    run_id: str
    at: Time
    raw: str | None
    value: Json
    changed: bool
    change_kind: ChangeKind | None
    confirmed: bool
    error_code: str | None
    mode: Literal["http", "headless", "solver"] | None
    fallback_reason: str | None
    has_screenshot: bool
    has_body: bool
    cursor: str


class Kept(Document):
    schema: Literal["sentinel.kept/1"]
    rule_id: str
    run_id: str
    kind: Literal["screenshot", "screenshot-element", "body"]
    path: str
    bytes: Count


class Delivery(Document):
    channel: str
    status: Literal["pending", "sending", "retrying", "sent", "failed", "dead", "skipped"]
    attempts: Count
    http_status: int | None
    error: str | None


class Acknowledged(Document):
    at: Time
    by: str | None
    note: str | None


Reason = Literal[
    "no_channels", "duplicate", "cooldown", "incident", "flood", "quiet_hours", "digest"
]  # fmt: skip


class Alert(Document):
    schema: Literal["sentinel.alert/1"]
    alert_id: str
    rule_id: str
    severity: Literal["info", "warning", "critical"]
    title: str
    status: Literal["pending", "sent", "partial", "failed", "suppressed"]
    suppressed: Reason | None
    acknowledged: Acknowledged | None
    dedupe_key: str
    deliveries: list[Delivery]


class Way(Document):
    step: Literal["rule", "route", Reason, "told"]
    words: str
    counts: bool


class Later(Document):
    channel: str
    cause: Literal["flood", "quiet_hours", "digest"]
    by: Literal["workspace", "tag", "host", "rule", "pattern"]
    group: str
    at: Time


class Escalation(Document):
    after_seconds: Count
    channels: list[str]


class Trouble(Document):
    channel: str
    detail: str


class AlertRoute(Document):
    schema: Literal["sentinel.alert_route/1"]
    rule_id: str
    severity: Literal["info", "warning", "critical"]
    kind: Literal["change", "health", "recovery"]
    steps: list[Way]
    now: list[str]
    later: list[Later]
    escalations: list[Escalation]
    suppressed: Reason | None
    until: Time | None
    undo: str | None
    troubles: list[Trouble]


class Step(Document):
    name: Literal["fetch", "classify", "extract", "normalise", "confirm", "compare", "conditions"]
    ok: bool
    detail: str


class WouldAlert(Document):
    condition: str
    severity: Literal["info", "warning", "critical"]


class RuleTest(Document):
    schema: Literal["sentinel.rule_test/1"]
    rule_id: str
    steps: list[Step]
    warnings: list[str]
    raw: str | None
    value: Json
    error_code: str | None
    changed: bool
    change_kind: ChangeKind | None
    would_alert: list[WouldAlert]


class DiffSide(Document):
    run_id: str
    at: Time
    value: Json


class DiffPiece(Document):
    kind: Literal["same", "removed", "added"]
    text: str


class HistoryDiff(Document):
    schema: Literal["sentinel.history_diff/1"]
    rule_id: str
    before: DiffSide
    after: DiffSide
    pieces: list[DiffPiece]
    rows: Json


class WouldTell(Document):
    run_id: str
    at: Time
    before: Json
    after: Json
    change_kind: ChangeKind | None
    conditions: list[str]
    severity: Literal["info", "warning", "critical"]
    suppressed: Literal["cooldown", "duplicate"] | None


class DidTell(Document):
    alert_id: str
    run_id: str | None
    at: Time
    title: str
    conditions: list[str]
    severity: Literal["info", "warning", "critical"]
    suppressed: str | None


class Replay(Document):
    schema: Literal["sentinel.replay/1"]
    rule_id: str
    since: Time
    until: Time
    checks: Count
    by_page: Count
    by_text: Count
    failed: Count
    unknown: dict[str, int]
    before_edit: Count
    quiet_changes: Count
    would_alert: list[WouldTell]
    alerted: list[DidTell]


class Fetch(Document):
    schema: Literal["sentinel.fetch/1"]
    url: str
    allowed: bool
    error_code: str | None
    detail: str | None
    status: int | None
    final_url: str | None
    mode: Literal["http", "headless"] | None
    fallback_reason: str | None
    blocked: str | None
    bytes: Count | None
    timings: dict[str, Seconds]


class RuleLine(Document):
    schema: Literal["sentinel.rule/1"]
    rule_id: str
    workspace_id: str
    name: str
    type: Literal["price", "availability", "number", "text", "json_field", "date", "list", "record"]
    url: str
    enabled: bool
    tags: list[str]
    health: Annotated[float, Meta(ge=0, le=100)]
    health_state: Literal["ok", "degraded", "broken"]
    fail_streak: Count
    value: Json
    last_run_at: Time | None
    last_good_at: Time | None
    last_change_at: Time | None
    next_due_at: Time | None
    next_due_why: str | None


class UnreadableRuleLine(Document):
    schema: Literal["sentinel.rule_unreadable/1"]
    rule_id: str
    workspace_id: str
    enabled: bool
    next_due_at: Time | None
    problem: str


class FieldChange(Document):
    path: str
    before: Json
    after: Json


class ItemChange(Document):
    id: str
    fields: list[FieldChange]
    forgets_value: bool


class Changes(Document):
    created: list[str]
    updated: list[ItemChange]
    unchanged: list[str]


class Import(Document):
    schema: Literal["sentinel.import/1"]
    workspace: Changes
    channels: Changes
    rules: Changes
    dry_run: bool


class CarriedNote(Document):
    where: str
    field: str
    kind: Literal["carried", "dropped", "refused"]
    text: str


class Carried(Document):
    schema: Literal["sentinel.carried/1"]
    source: Literal["changedetection", "urlwatch", "webchanges"]
    channels: list[str]
    rules: list[str]
    refused: list[str]
    notes: list[CarriedNote]


class Healed(Document):
    schema: Literal["sentinel.healed/1"]
    rule_id: str
    field: str | None
    old: str
    new: str
    attribute: str
    likeness: float
    next_best: float
    text: str
    done: Literal["accepted", "undone"] | None


class Switch(Document):
    schema: Literal["sentinel.rule_switch/1"]
    rule_id: str
    enabled: bool
    changed: bool


class Scheduled(Document):
    schema: Literal["sentinel.schedule/1"]
    rule_id: str
    workspace_id: str
    schedule: str
    enabled: bool
    next_due_at: Time | None
    next_due_local: str | None
    missed: Count
    why: str | None


class Tick(Document):
    schema: Literal["sentinel.schedule_tick/1"]
    rule_id: str
    at: Time
    local: str


class Deleted(Document):
    schema: Literal["sentinel.rule_deleted/1"]
    rule_id: str


# --- the rest -----------------------------------------------------------------------------------------


class Migration(Document):
    schema: Literal["sentinel.migration/1"]
    current: str | None
    head: str
    is_current: bool


class Part(Document):
    name: str
    ok: bool
    detail: str


class Health(Document):
    schema: Literal["sentinel.health/1"]
    ok: bool
    parts: list[Part]


class Setting(Document):
    name: str
    value: str | None
    source: Literal["flag", "environment", "file", "config", "default"]
    note: str


class Diagnosis(Document):
    name: str
    state: Literal["ok", "warn", "bad"]
    detail: str
    cure: str | None


class Doctor(Document):
    schema: Literal["sentinel.doctor/1"]
    ok: bool
    parts: list[Diagnosis]


class ErrorCode(Document):
    schema: Literal["sentinel.error_code/1"]
    code: str
    title: str
    description: str
    recommendation: str
    severity: Literal["info", "warning", "critical"]
    retryable: bool
    weight: int


class Config(Document):
    schema: Literal["sentinel.config/1"]
    redis: str
    settings: list[Setting]


class ChannelLine(Document):
    schema: Literal["sentinel.channel/1"]
    channel_id: str
    workspace_id: str
    type: str
    enabled: bool
    disabled_reason: str | None
    url: str | None
    #: Where each is; a value that is kept is only said to be there.
    credentials: dict[str, dict[Literal["env", "file", "stored"], str | bool]]
    options: dict[str, Json]


class UnreadableChannelLine(Document):
    schema: Literal["sentinel.channel_unreadable/1"]
    channel_id: str
    workspace_id: str
    type: str
    enabled: bool
    problem: str


class ChannelTest(Document):
    schema: Literal["sentinel.channel_test/1"]
    channel_id: str
    workspace_id: str
    type: str
    status: Literal["sent", "later", "refused", "gone"]
    http_status: int | None
    latency_seconds: Seconds
    provider_id: str | None
    detail: str
    retry_after_seconds: Seconds | None


class ChannelPreview(Document):
    schema: Literal["sentinel.channel_preview/1"]
    channel_id: str
    workspace_id: str
    type: str
    form: Literal["json", "eml", "txt"]
    url: str
    headers: dict[str, str]
    body: Json


class ChannelDeleted(Document):
    schema: Literal["sentinel.channel_deleted/1"]
    channel_id: str
    workspace_id: str


class Unreadable(Document):
    workspace_id: str
    channel_id: str
    credential: str


class KeyRotation(Document):
    schema: Literal["sentinel.key_rotation/1"]
    encrypted_anew: Count
    unchanged: Count
    unreadable: list[Unreadable]


SCHEMAS: dict[str, type[Document]] = {
    msgspec.structs.fields(shape)[0].type.__args__[0]: shape
    for shape in (
        Stats, Pending, Claimed, Job, Cancelled, Dead, Requeued, Purged, Receipt, Paused, Drained, Worker, WorkerAnswer, RecurringJob, RecurringRemoved, Concurrency, Partitions, Observation, Kept, HistoryDiff, Alert, AlertRoute, RuleTest, Replay, Fetch,
        RuleLine, UnreadableRuleLine, Import, Carried, Healed, Switch, Scheduled, Tick, Deleted, Migration, Health, Doctor, ErrorCode, Config, ChannelLine, UnreadableChannelLine, ChannelTest, ChannelPreview, ChannelDeleted, KeyRotation,
    )
}  # fmt: skip


def checked(line: dict[str, Any], *, kind: str | None = None) -> str:
    """Raise msgspec.ValidationError unless a document is as its schema says; returns the schema's name.

    `kind`: the type of rule whose value `line["value"]` must be, where it is not null.
    """
    name = line["schema"]
    msgspec.convert(line, SCHEMAS[name])
    if kind is not None and line["value"] is not None:
        msgspec.convert(line["value"], VALUES[kind])
    return str(name)
