"""What goes into the store and comes out of it, beside the model's own structs. All frozen."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final, Literal

import msgspec

from sentinel.decide.alerting import Asked, View
from sentinel.decide.endpoint import Hold
from sentinel.decide.routing import Step
from sentinel.decide.schedule import in_zone
from sentinel.errors import Severity
from sentinel.jobs import Trigger
from sentinel.model import (
    AlertKind,
    ChangeKind,
    Channel,
    Health,
    Remembered,
    Rule,
    RuleState,
    Schedule,
    Value,
    Workspace,
)
from streamq import Lane

# --- schema ----------------------------------------------------------------------------------


class SchemaStatus(msgspec.Struct, frozen=True):
    """Which version the database's schema has, and which one this program needs."""

    #: None: an empty database.
    current: str | None
    head: str

    @property
    def is_current(self) -> bool:
        """Nothing to migrate."""
        return self.current == self.head


# --- rules and channels ----------------------------------------------------------------------


class StoredRule(msgspec.Struct, frozen=True, kw_only=True):
    """A rule with all that a check of it needs."""

    rule: Rule
    workspace: Workspace
    #: `state.version` is what `runs.finish` wants as `expected_state_version`.
    state: RuleState
    next_due: float
    created_at: float
    updated_at: float
    #: The last page that gave a value, by its hash (sentinel.store.blobs), and when it was kept.
    page_blob: str | None = None
    page_blob_at: float | None = None
    #: By part of the rule ('' where it has one): its element as it was last, and what healed it.
    elements: dict[str, Remembered] = {}

    @property
    def enabled(self) -> bool:
        """Whether the scheduler looks at it."""
        return self.rule.enabled

    @property
    def schedule(self) -> Schedule:
        """Its schedule, in the workspace's zone where it names none."""
        return in_zone(self.rule.schedule, self.workspace.timezone)


class UnreadableRule(msgspec.Struct, frozen=True, kw_only=True):
    """A rule that is stored in a form that this program does not read."""

    rule_id: str
    workspace: Workspace
    enabled: bool
    next_due: float
    #: What is wrong with it, and what to do.
    problem: str


class StoredChannel(msgspec.Struct, frozen=True, kw_only=True):
    """A channel as it stands."""

    channel: Channel
    workspace_id: str
    #: Why it was disabled by us (410 ...), or None.
    disabled_reason: str | None = None


class UnreadableChannel(msgspec.Struct, frozen=True, kw_only=True):
    """A channel that is stored in a form that this program does not read."""

    channel_id: str
    workspace_id: str
    #: As its column has it: it may be none that there is.
    type: str
    enabled: bool
    #: What is wrong with it, and what to do.
    problem: str


class Unopened(msgspec.Struct, frozen=True):
    """A stored credential that none of the keys opens."""

    workspace_id: str
    channel_id: str
    name: str
    #: Why, without anything of it.
    problem: str


class Resealed(msgspec.Struct, frozen=True):
    """What became of the credentials of some channels."""

    #: Sealed anew under the first key, and found to be under it.
    resealed: int
    current: int
    unopened: tuple[Unopened, ...]
    #: Where the next batch goes on; None: this was the last.
    last: tuple[str, str] | None


class FieldChange(msgspec.Struct, frozen=True):
    """One field that an import changes. Values that may hold credentials read `***`."""

    #: As in the file: `alertPolicy.conditions[0].value`.
    path: str
    before: Any
    after: Any


class ItemChange(msgspec.Struct, frozen=True):
    """One rule, channel or workspace that an import changes."""

    id: str
    fields: tuple[FieldChange, ...]
    #: The remembered value is forgotten: what is watched is not what it was.
    forgets_value: bool = False


class Changes(msgspec.Struct, frozen=True):
    """What an import does to one kind of thing. All of the file's ids are in one of the three."""

    created: tuple[str, ...] = ()
    updated: tuple[ItemChange, ...] = ()
    unchanged: tuple[str, ...] = ()


class ImportReport(msgspec.Struct, frozen=True, kw_only=True):
    """What an import did, or with `dry_run` would do."""

    workspace: Changes
    channels: Changes
    rules: Changes
    dry_run: bool


class DueRule(msgspec.Struct, frozen=True):
    """A tick that this scheduler claimed; its job is in the outbox, or `problem` says why not."""

    rule_id: str
    job_id: str
    #: When it was due, and when it will be next.
    due: float
    next_due: float
    #: What is wrong with the rule itself; its run says RULE_INVALID, and no job was made.
    problem: str | None = None
    #: Its active hours were over: the tick is left out.
    out_of_hours: bool = False


class Waiting(msgspec.Struct, frozen=True):
    """A rule from which something is awaited: to be checked, or to change."""

    rule_id: str
    workspace_id: str
    rule: Rule
    #: Due, or unchanged, since then.
    since: float
    #: Of the check that was called for last.
    job_id: str | None


class Trouble(msgspec.Struct, frozen=True, kw_only=True):
    """Something that goes on and is told by the watchdog."""

    workspace_id: str
    #: '': it is about several rules.
    rule_id: str
    since: float
    #: One of ERROR_CODES; its recommendation, unless there is a better one.
    code: str
    severity: Severity
    #: What follows the rule's name in the alert's title.
    title: str
    detail: str
    recommendation: str = ""
    #: Whom it is about, at least one.
    rules: tuple[str, ...]


# --- outbox ----------------------------------------------------------------------------------


class NewOutboxJob(msgspec.Struct, frozen=True, kw_only=True):
    """A job to enqueue once the rows that call for it are committed."""

    stream: str
    job_id: str
    #: A payload struct; JSON on the wire.
    payload: msgspec.Struct
    lane: Lane = "normal"
    unique: str | None = None
    #: Seconds.
    unique_for: float | None = None
    #: When it may run; None = at once.
    available_at: float | None = None


class OutboxJob(msgspec.Struct, frozen=True, kw_only=True):
    """A job that waits to be given to Redis: `queue.enqueue(..., job_id=, lane=, at=available_at)`."""

    id: int
    stream: str
    job_id: str
    #: JSON text, UTF-8.
    payload: bytes
    lane: Lane
    unique: str | None
    unique_for: float | None
    created_at: float
    available_at: float | None
    #: Of the job: the trace that it goes on with.
    headers: dict[str, str] = {}


# --- runs ------------------------------------------------------------------------------------

RunStatus = Literal["running", "ok", "error"]


class FinishedRun(msgspec.Struct, frozen=True, kw_only=True):
    """What a run came to, as it is in the database."""

    run_id: int
    status: RunStatus
    error_code: str | None = None
    #: Alerts to be delivered.
    alerts: tuple[str, ...] = ()
    #: Alerts recorded but not to be delivered, or later with others: id -> reason.
    suppressed: dict[str, str] = {}
    #: Of both, in the order they were decided.
    severities: dict[str, Severity] = {}


class RunTicket(msgspec.Struct, frozen=True, kw_only=True):
    """The right to finish a run; it ends when a later delivery of the job begins the run again."""

    run_id: int
    rule_id: str
    job_id: str
    fence: int
    started_at: float
    #: Rule, workspace and state as they were when the run began.
    stored: StoredRule
    #: Set: an earlier delivery has finished this job. Nothing is left to do but to acknowledge.
    finished: FinishedRun | None = None
    #: An earlier delivery had begun it and did not come back.
    taken_over: bool = False


class Place(msgspec.Struct, frozen=True):
    """A row in a list that is read newest first: the next page begins behind it."""

    #: As the list is ordered: a run's `started_at`, an observation's `at`, an alert's `created_at`.
    at: float
    #: Of a run (and so of an observation) a number, of an alert its id.
    id: int | str


class RunResult(msgspec.Struct, frozen=True, kw_only=True):
    """How a check went, apart from what it found."""

    mode: Literal["http", "headless", "solver"] | None = None
    fallback_reason: str | None = None
    http_status: int | None = None
    final_url: str | None = None
    not_modified: bool = False
    #: On the wire.
    bytes: int | None = None
    #: Stage -> seconds.
    timings: dict[str, float] = {}
    #: One of ERROR_CODES, or None: the check gave a value (or 304: the page is as it was).
    error_code: str | None = None
    error_detail: str | None = None
    #: What stood in the way (a code of BLOCK_* or PAGE_*).
    block: str | None = None
    #: SHA-256 of the body, hex.
    content_hash: str | None = None
    #: What is kept of it, by hash (sentinel.store.blobs); it may be gone again.
    body_blob: str | None = None
    screenshot_blob: str | None = None
    element_blob: str | None = None
    selector_index: int | None = None


class RunRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A run as `history` tells it: every one ends with an observation or an error code."""

    run_id: int
    workspace_id: str
    rule_id: str
    job_id: str
    trigger: Trigger
    status: RunStatus
    #: Of the job, from 1: the one under way, or the last.
    attempt: int
    started_at: float
    finished_at: float | None
    #: While the run is open: of the attempt that failed last, if any.
    result: RunResult


class Observation(msgspec.Struct, frozen=True, kw_only=True):
    """A value that was read."""

    run_id: int
    rule_id: str
    at: float
    raw: str | None
    value: Value
    #: It is (or became) the value believed.
    confirmed: bool
    #: Of a confirmed change; `before` is what it was until then.
    change_kind: ChangeKind | None = None
    before: Value | None = None
    percent: Decimal | None = None

    @property
    def changed(self) -> bool:
        """A confirmed change was seen."""
        return self.change_kind is not None


# --- alerts ----------------------------------------------------------------------------------

AlertState = Literal["pending", "sent", "partial", "failed", "suppressed"]
#: sending: in a worker's hand. retrying: failed, to be tried again. failed: tried often enough.
#: dead: refused for good. skipped: an escalation that was not needed. sent, dead and skipped are never
#: left, except that `resend` reopens the last two.
DeliveryState = Literal["pending", "sending", "retrying", "sent", "failed", "dead", "skipped"]
Outcome = Literal["sent", "failed", "dead"]
#: Something is still to come of it.
UNSETTLED: Final[tuple[DeliveryState, ...]] = ("pending", "sending", "retrying")


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """One try to bring an alert to a channel."""

    number: int
    outcome: Outcome
    http_status: int | None
    error: str | None
    provider_id: str | None
    #: Seconds.
    latency: float | None
    at: float


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """An alert on one channel."""

    channel_id: str
    state: DeliveryState
    attempts: int
    http_status: int | None = None
    provider_id: str | None = None
    error: str | None = None
    sent_at: float | None = None
    #: When it is tried again, where it is to be.
    next_at: float | None = None
    #: The channel in whose place this one is told.
    fallback_of: str | None = None
    #: An escalation: sent then, unless the alert is acknowledged.
    escalates_at: float | None = None
    #: Oldest first; only where asked for.
    history: tuple[Attempt, ...] = ()


class StoredAlert(msgspec.Struct, frozen=True, kw_only=True):
    """An alert and what became of it."""

    id: str
    workspace_id: str
    rule_id: str
    run_id: int | None
    kind: AlertKind
    severity: Severity
    title: str
    #: The neutral document, see sentinel.render.
    body: dict[str, Any]
    conditions: tuple[str, ...]
    #: Every channel it is meant for.
    channels: tuple[str, ...]
    dedupe_key: str
    state: AlertState
    #: Why it is not sent by itself (sentinel.decide.alerting.Reason), or None.
    suppressed: str | None
    #: Until when that holds, where it is known, and what would have let it through.
    suppressed_until: float | None = None
    undo: str | None = None
    #: What decided where it goes, or that it does not.
    routing: tuple[Step, ...] = ()
    acked_at: float | None = None
    acked_by: str | None = None
    ack_note: str | None = None
    created_at: float
    deliveries: tuple[Delivery, ...] = ()


class Together(msgspec.Struct, frozen=True, kw_only=True):
    """Where an alert that was held is told: a digest, for one channel."""

    digest_id: str
    cause: str
    channel_id: str
    closes_at: float
    #: None: not yet.
    closed_at: float | None
    #: The alert that tells it; None: not yet, or nothing was left to tell.
    alert_id: str | None


class Joined(msgspec.Struct, frozen=True, kw_only=True):
    """The incident that a rule's alert is part of."""

    incident_id: str
    host: str
    state: Literal["watched", "open", "over"]
    #: The alert that tells it, if it is told.
    alert_id: str | None


class Outlook(msgspec.Struct, frozen=True, kw_only=True):
    """An alert that a rule could raise now: what `sentinel.decide.alerting.plan` would be asked."""

    asked: Asked
    view: View
    #: Of its workspace.
    channels: tuple[StoredChannel | UnreadableChannel, ...]


class DeliveryTicket(msgspec.Struct, frozen=True, kw_only=True):
    """The right to send an alert to a channel and to say what came of it."""

    alert_id: str
    channel_id: str
    workspace_id: str
    job_id: str
    fence: int
    #: The number of this attempt, from 1.
    attempt: int
    #: What the other side knows the delivery by: the same on every try, whichever job makes it.
    message_id: str
    #: As it was when the delivery was taken; None: there is no such channel, or it cannot be read.
    channel: Channel | None = None
    #: Why it cannot be read.
    unreadable: str | None = None
    #: Set: sent already, or refused for good. Do not send.
    settled: Literal["sent", "dead", "skipped"] | None = None


class Prospect(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a delivery can be made now."""

    #: None: there is no such channel, or it cannot be read.
    channel: Channel | None
    #: Why and until when it has to wait, or None.
    hold: Hold | None = None
    #: How many are to be delivered to the channel, itself included; only told where it has to wait.
    waiting: int = 0


# --- upkeep ----------------------------------------------------------------------------------


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    """Numbers for the metrics."""

    #: Enabled rules by health; all three are there.
    rules: dict[Health, int]
    rules_disabled: int
    #: Jobs that wait to be given to Redis, and how long the oldest has (seconds).
    outbox: int
    outbox_oldest: float
    #: Those of them that may run at once.
    outbox_now: int
    #: Alerts with a delivery still to make.
    alerts_pending: int


class Ages(msgspec.Struct, frozen=True, kw_only=True):
    """How long things are kept, seconds; None = for ever."""

    runs: float | None = 90 * 86400.0
    observations: float | None = 366 * 86400.0
    alerts: float | None = 366 * 86400.0


class Pruned(msgspec.Struct, frozen=True, kw_only=True):
    """What pruning removed, rows."""

    runs: int = 0
    observations: int = 0
    #: Whole months of observations (PostgreSQL), beside these.
    months: int = 0
    alerts: int = 0
