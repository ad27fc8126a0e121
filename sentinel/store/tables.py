"""Every table. Migrations make them; `tests/sentinel/store/test_schema.py` holds the two together.

    workspace 1-* source 1-* rule 1-1 rule_state
    workspace 1-* channel 1-0..1 channel_state      workspace 1-* host_state
    run 1-0..1 observation          run 1-* alert 1-* delivery 1-* delivery_attempt
    digest 1-* digest_member *-1 alert          incident 1-* incident_member *-1 alert
    outbox

Every row names its workspace. What happened (run, observation, alert, delivery) does not point at
its rule by a foreign key: it outlives the rule, until retention takes it.
"""

from __future__ import annotations

from typing import Any, Final

import sqlalchemy as sa

from sentinel.decide.routing import Step
from sentinel.model import (
    Channel,
    Digest,
    FetchProfile,
    Flood,
    Incident,
    QuietHours,
    Remembered,
    Route,
    Rule,
    Value,
)
from sentinel.store.columns import Document, Micros, Serial, Words

metadata: Final = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _workspace_id() -> sa.Column[str]:
    return sa.Column("workspace_id", sa.Text, sa.ForeignKey("workspace.id"), nullable=False)


workspace: Final = sa.Table(
    "workspace",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("name", Words, nullable=False),
    sa.Column("timezone", sa.Text, nullable=False),
    sa.Column("quiet_hours", Document(QuietHours)),
    sa.Column("routes", Document(list[Route]), nullable=False),
    sa.Column("digest", Document(Digest)),
    sa.Column("incident", Document(Incident)),
    sa.Column("flood", Document(Flood)),
    #: ignore | obey
    sa.Column("robots", sa.Text, nullable=False),
    #: Table -> seconds, where it differs from the deployment's.
    sa.Column("retention", Document(dict[str, float])),
    #: Encrypted; never the text itself.
    sa.Column("secrets", sa.LargeBinary),
    sa.Column("created_at", Micros, nullable=False),
    sa.Column("updated_at", Micros, nullable=False),
)

#: Where to look: rules of the same URL and fetch profile share one.
source: Final = sa.Table(
    "source",
    metadata,
    #: Hash of workspace, URL and profile.
    sa.Column("id", sa.Text, primary_key=True),
    _workspace_id(),
    sa.Column("url", Words, nullable=False),
    sa.Column("fetch_profile", Document(FetchProfile), nullable=False),
    sa.Column("created_at", Micros, nullable=False),
)

rule: Final = sa.Table(
    "rule",
    metadata,
    #: Unique over all workspaces: `rules:run` names a rule by it alone.
    sa.Column("id", sa.Text, primary_key=True),
    _workspace_id(),
    sa.Column("source_id", sa.Text, sa.ForeignKey("source.id"), nullable=False),
    sa.Column("name", Words, nullable=False),
    sa.Column("type", sa.Text, nullable=False),
    #: Of its page.
    sa.Column("host", Words, nullable=False),
    #: The validated struct; the other columns repeat what queries need of it.
    sa.Column("definition", Document(Rule), nullable=False),
    sa.Column("enabled", sa.Boolean, nullable=False),
    sa.Column("expected_change_every", sa.Float),
    #: Seconds between two of its ticks, about: how much late is, where many are overdue.
    sa.Column("pace", sa.Float, nullable=False),
    sa.Column("next_due_at", Micros, nullable=False),
    #: The last tick a scheduler claimed, and the job it made of it.
    sa.Column("claimed_at", Micros),
    sa.Column("claimed_job_id", sa.Text),
    #: The first tick that no check had answered when one was claimed last; a later last_run_at answers it.
    sa.Column("due_since", Micros),
    sa.Column("created_at", Micros, nullable=False),
    sa.Column("updated_at", Micros, nullable=False),
)
sa.Index("ix_rule_due", rule.c.next_due_at, sqlite_where=rule.c.enabled, postgresql_where=rule.c.enabled)
sa.Index(None, rule.c.workspace_id, rule.c.host)
sa.Index(None, rule.c.source_id)

rule_tag: Final = sa.Table(
    "rule_tag",
    metadata,
    sa.Column("rule_id", sa.Text, sa.ForeignKey("rule.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("tag", Words, primary_key=True),
    _workspace_id(),
)
sa.Index(None, rule_tag.c.tag)

#: One column per field of `RuleState`, under its name (the version of the row is the struct's).
rule_state: Final = sa.Table(
    "rule_state",
    metadata,
    sa.Column("rule_id", sa.Text, sa.ForeignKey("rule.id", ondelete="CASCADE"), primary_key=True),
    _workspace_id(),
    sa.Column("stable", Document(Value)),
    sa.Column("stable_raw", Words),
    sa.Column("candidate", Document(Value)),
    sa.Column("candidate_count", sa.Integer, nullable=False),
    sa.Column("candidate_raw", Words),
    sa.Column("candidate_doubt", Words),
    sa.Column("unsettled", sa.Integer, nullable=False),
    sa.Column("unstable_told_at", Micros),
    sa.Column("page_size", sa.BigInteger),
    sa.Column("told", Document(dict[str, float]), nullable=False),
    sa.Column("disarmed", Document(tuple[str, ...]), nullable=False),
    sa.Column("owed", Document(tuple[str, ...]), nullable=False),
    sa.Column("told_value", Document(Value)),
    sa.Column("etag", Words),
    sa.Column("last_modified", Words),
    sa.Column("conditional_count", sa.Integer, nullable=False),
    sa.Column("mode_that_worked", sa.Text),
    sa.Column("mode_since", Micros),
    sa.Column("decimal_separator", sa.Text),
    sa.Column("health", sa.Float, nullable=False),
    sa.Column("health_state", sa.Text, nullable=False),
    sa.Column("fail_streak", sa.Integer, nullable=False),
    sa.Column("backoff", sa.Integer, nullable=False),
    sa.Column("last_run_at", Micros),
    sa.Column("last_good_at", Micros),
    sa.Column("last_change_at", Micros),
    sa.Column("last_alert_at", Micros),
    sa.Column("last_alert_severity", sa.Text),
    sa.Column("broken_told_at", Micros),
    #: Optimistic lock: every write raises it.
    sa.Column("version", sa.BigInteger, nullable=False),
    #: Of the run that wrote last.
    sa.Column("fence", sa.BigInteger, nullable=False),
    #: The last page that gave a value, by the hash of its content, and when it was kept.
    sa.Column("page_blob", sa.Text),
    sa.Column("page_blob_at", Micros),
    #: By part of the rule: its element as it was last, and the selector that healed it.
    sa.Column("elements", Document(dict[str, Remembered])),
)
sa.Index(None, rule_state.c.health_state)
sa.Index(None, rule_state.c.page_blob)

run: Final = sa.Table(
    "run",
    metadata,
    sa.Column("id", Serial, primary_key=True, autoincrement=True),
    _workspace_id(),
    sa.Column("rule_id", sa.Text, nullable=False),
    sa.Column("job_id", Words, nullable=False),
    sa.Column("trigger", sa.Text, nullable=False),
    #: Of the delivery that holds the run; a lower one may not write.
    sa.Column("fence", sa.BigInteger, nullable=False),
    #: running | ok | error
    sa.Column("status", sa.Text, nullable=False),
    #: Of the job, from 1; while the run is open its error is that of the attempt that failed last.
    sa.Column("attempt", sa.Integer, nullable=False, default=1),
    sa.Column("started_at", Micros, nullable=False),
    sa.Column("finished_at", Micros),
    sa.Column("mode", sa.Text),
    sa.Column("fallback_reason", Words),
    sa.Column("http_status", sa.Integer),
    sa.Column("final_url", Words),
    sa.Column("not_modified", sa.Boolean, nullable=False),
    #: It has an observation, or had.
    sa.Column("observed", sa.Boolean, nullable=False, default=False),
    sa.Column("bytes", sa.BigInteger),
    #: Stage -> seconds.
    sa.Column("timings", Document(dict[str, float])),
    sa.Column("error_code", sa.Text),
    sa.Column("error_detail", Words),
    sa.Column("block", sa.Text),
    sa.Column("content_hash", sa.Text),
    #: What is kept of it, by the hash of its content; the bytes lie outside the database.
    sa.Column("body_blob", sa.Text),
    sa.Column("screenshot_blob", sa.Text),
    sa.Column("element_blob", sa.Text),
    sa.Column("selector_index", sa.Integer),
    sa.UniqueConstraint("job_id"),
    sqlite_autoincrement=True,  # an id once given is never given again, even after pruning
)
sa.Index("ix_run_newest", run.c.rule_id, run.c.started_at.desc(), run.c.id.desc())
sa.Index(None, run.c.workspace_id)
for _blob in (run.c.body_blob, run.c.screenshot_blob, run.c.element_blob):
    sa.Index(None, _blob, sqlite_where=_blob.is_not(None), postgresql_where=_blob.is_not(None))
sa.Index(
    "ix_run_failed",
    run.c.rule_id,
    run.c.started_at.desc(),
    run.c.id.desc(),
    sqlite_where=run.c.error_code.is_not(None),
    postgresql_where=run.c.error_code.is_not(None),
)
sa.Index(None, run.c.started_at)
# A run that found nothing is kept for a shorter time; the others are not looked through for it.
sa.Index("ix_run_bare", run.c.started_at, sqlite_where=~run.c.observed, postgresql_where=~run.c.observed)
#: In the very words of its index, and not with a parameter: SQLite does not see else what the index is for.
IS_RUNNING: Final = run.c.status == sa.literal_column("'running'")
sa.Index(
    "ix_run_unfinished",
    run.c.started_at,
    sqlite_where=IS_RUNNING,
    postgresql_where=IS_RUNNING,
)

#: One per run that read a value; by month on PostgreSQL (sentinel.store.months), so the time is part of the
#: key. No foreign keys: each would lock the table it points at while a month is made or dropped. Its run is
#: kept for as long as it is there, by who removes runs.
observation: Final = sa.Table(
    "observation",
    metadata,
    sa.Column("run_id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("at", Micros, primary_key=True),
    sa.Column("workspace_id", sa.Text, nullable=False),
    sa.Column("rule_id", sa.Text, nullable=False),
    sa.Column("raw", Words),
    sa.Column("value", Document(Value), nullable=False),
    sa.Column("confirmed", sa.Boolean, nullable=False),
    sa.Column("change_kind", sa.Text),
    #: The value before, where it changed.
    sa.Column("before", Document(Value)),
    #: Relative change, a Decimal as text.
    sa.Column("percent", sa.Text),
    postgresql_partition_by="RANGE (at)",
)
sa.Index("ix_observation_newest", observation.c.rule_id, observation.c.at.desc(), observation.c.run_id.desc())
sa.Index(None, observation.c.at)

channel: Final = sa.Table(
    "channel",
    metadata,
    sa.Column("workspace_id", sa.Text, sa.ForeignKey("workspace.id"), primary_key=True),
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("type", sa.Text, nullable=False),
    sa.Column("definition", Document(Channel), nullable=False),
    #: Name -> what sentinel.credentials.Keyring sealed for it; never the text itself.
    sa.Column("credentials", Document(dict[str, str])),
    sa.Column("enabled", sa.Boolean, nullable=False),
    sa.Column("disabled_reason", Words),
    sa.Column("created_at", Micros, nullable=False),
    sa.Column("updated_at", Micros, nullable=False),
)

#: How a channel's endpoint has answered lately: one column per field of `Endpoint`, and since when all its
#: answers were 404.
channel_state: Final = sa.Table(
    "channel_state",
    metadata,
    sa.Column("workspace_id", sa.Text, sa.ForeignKey("workspace.id"), primary_key=True),
    sa.Column("channel_id", sa.Text, primary_key=True),
    sa.Column("failures", sa.Integer, nullable=False),
    sa.Column("failing_since", Micros),
    sa.Column("opened", sa.Integer, nullable=False),
    sa.Column("open_until", Micros),
    sa.Column("probe", sa.Text),
    sa.Column("probe_until", Micros),
    sa.Column("retry_at", Micros),
    sa.Column("last_ok_at", Micros),
    sa.Column("last_error", Words),
    sa.Column("missing_since", Micros),
    sa.Column("updated_at", Micros, nullable=False),
)

#: Hosts in trouble (`Host`): one column per field of `Endpoint`. A host that is well has no row.
host_state: Final = sa.Table(
    "host_state",
    metadata,
    sa.Column("workspace_id", sa.Text, sa.ForeignKey("workspace.id"), primary_key=True),
    sa.Column("host", sa.Text, primary_key=True),
    #: Rules that failed since it answered last.
    sa.Column("failing", Document(tuple[str, ...]), nullable=False),
    sa.Column("failures", sa.Integer, nullable=False),
    sa.Column("failing_since", Micros),
    sa.Column("opened", sa.Integer, nullable=False),
    sa.Column("open_until", Micros),
    sa.Column("probe", sa.Text),
    sa.Column("probe_until", Micros),
    sa.Column("retry_at", Micros),
    sa.Column("last_ok_at", Micros),
    sa.Column("last_error", Words),
    sa.Column("updated_at", Micros, nullable=False),
)

alert: Final = sa.Table(
    "alert",
    metadata,
    #: Rises with time.
    sa.Column("id", sa.Text, primary_key=True),
    _workspace_id(),
    sa.Column("rule_id", sa.Text, nullable=False),
    #: Of the run (and so of the observation) that raised it; gone once the run is pruned.
    sa.Column("run_id", sa.BigInteger, sa.ForeignKey("run.id", ondelete="SET NULL")),
    #: change | health | recovery | digest
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("severity", sa.Text, nullable=False),
    sa.Column("title", Words, nullable=False),
    sa.Column("body", Document(dict[str, Any]), nullable=False),
    sa.Column("conditions", Document(tuple[str, ...]), nullable=False),
    sa.Column("channels", Document(tuple[str, ...]), nullable=False),
    #: Of a suppressed alert: made unique by its run, so that it holds nothing up.
    sa.Column("dedupe_key", Words, nullable=False),
    #: pending | sent | partial | failed | suppressed
    sa.Column("state", sa.Text, nullable=False),
    #: Why it is not sent by itself, until when that holds, and what would have let it through.
    sa.Column("suppressed", sa.Text),
    sa.Column("suppressed_until", Micros),
    sa.Column("undo", Words),
    #: What decided where it goes, or that it does not.
    sa.Column("routing", Document(tuple[Step, ...]), nullable=False, default=()),
    #: Of its title, where floods are counted and it counts.
    sa.Column("pattern", Words),
    sa.Column("acked_at", Micros),
    sa.Column("acked_by", Words),
    sa.Column("ack_note", Words),
    sa.Column("created_at", Micros, nullable=False),
    sa.Column("updated_at", Micros, nullable=False),
    sa.UniqueConstraint("dedupe_key"),
)
sa.Index("ix_alert_newest", alert.c.created_at.desc(), alert.c.id.desc())
sa.Index("ix_alert_rule", alert.c.rule_id, alert.c.created_at.desc(), alert.c.id.desc())
sa.Index("ix_alert_state", alert.c.state, alert.c.created_at.desc(), alert.c.id.desc())
sa.Index(None, alert.c.run_id)
sa.Index(
    "ix_alert_alike",
    alert.c.workspace_id,
    alert.c.pattern,
    alert.c.created_at,
    sqlite_where=alert.c.pattern.is_not(None),
    postgresql_where=alert.c.pattern.is_not(None),
)

delivery: Final = sa.Table(
    "delivery",
    metadata,
    sa.Column("alert_id", sa.Text, sa.ForeignKey("alert.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("channel_id", sa.Text, primary_key=True),
    _workspace_id(),
    #: pending | sending | retrying | sent | failed | dead | skipped
    sa.Column("state", sa.Text, nullable=False),
    #: Of the job that holds it; a lower fence may not write.
    sa.Column("fence", sa.BigInteger, nullable=False),
    sa.Column("job_id", Words),
    #: What the other side knows it by, on every try of whichever job; set when it is first taken.
    sa.Column("message_id", Words),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("http_status", sa.Integer),
    sa.Column("provider_id", Words),
    sa.Column("error", Words),
    #: When it is tried again; null unless it is `retrying`.
    sa.Column("next_at", Micros),
    #: The channel in whose place this one is told.
    sa.Column("fallback_of", sa.Text),
    sa.Column("created_at", Micros, nullable=False),
    sa.Column("updated_at", Micros, nullable=False),
    sa.Column("sent_at", Micros),
    #: Set: an escalation, which is sent then unless the alert is acknowledged.
    sa.Column("escalates_at", Micros),
)
#: Unsettled, in the words of its index, as IS_RUNNING.
IS_OPEN: Final = delivery.c.state.in_(
    [sa.literal_column(f"'{state}'") for state in ("pending", "sending", "retrying")]
)
sa.Index(
    "ix_delivery_open",
    delivery.c.workspace_id,
    delivery.c.channel_id,
    sqlite_where=IS_OPEN,
    postgresql_where=IS_OPEN,
)

delivery_attempt: Final = sa.Table(
    "delivery_attempt",
    metadata,
    sa.Column("alert_id", sa.Text, primary_key=True),
    sa.Column("channel_id", sa.Text, primary_key=True),
    #: From 1.
    sa.Column("number", sa.Integer, primary_key=True),
    _workspace_id(),
    sa.Column("job_id", Words, nullable=False),
    sa.Column("fence", sa.BigInteger, nullable=False),
    #: sent | failed | dead
    sa.Column("outcome", sa.Text, nullable=False),
    sa.Column("http_status", sa.Integer),
    sa.Column("provider_id", Words),
    sa.Column("error", Words),
    #: Seconds.
    sa.Column("latency", sa.Float),
    sa.Column("at", Micros, nullable=False),
    sa.ForeignKeyConstraint(
        ["alert_id", "channel_id"], ["delivery.alert_id", "delivery.channel_id"], ondelete="CASCADE"
    ),
)

#: Alerts that are told together: one row per channel and window, or night, or flood.
digest: Final = sa.Table(
    "digest",
    metadata,
    #: Rises with time.
    sa.Column("id", sa.Text, primary_key=True),
    _workspace_id(),
    #: quiet_hours | digest | flood
    sa.Column("cause", sa.Text, nullable=False),
    sa.Column("by", sa.Text, nullable=False),
    #: What is collected: a host, a tag, a rule, a pattern; '' the whole workspace.
    sa.Column("grouped", Words, nullable=False),
    sa.Column("channel_id", sa.Text, nullable=False),
    #: What makes it one of a kind: the columns above and its end.
    sa.Column("key", sa.Text, nullable=False),
    sa.Column("opened_at", Micros, nullable=False),
    sa.Column("closes_at", Micros, nullable=False),
    #: Set once, with the alert that tells it (none: nothing was left to tell).
    sa.Column("closed_at", Micros),
    sa.Column("alert_id", sa.Text),
    sa.UniqueConstraint("key"),
)
sa.Index(
    "ix_digest_open",
    digest.c.closes_at,
    sqlite_where=digest.c.closed_at.is_(None),
    postgresql_where=digest.c.closed_at.is_(None),
)

digest_member: Final = sa.Table(
    "digest_member",
    metadata,
    sa.Column("digest_id", sa.Text, sa.ForeignKey("digest.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("alert_id", sa.Text, sa.ForeignKey("alert.id", ondelete="CASCADE"), primary_key=True),
    _workspace_id(),
)
sa.Index(None, digest_member.c.alert_id)

#: A host whose rules break together: watched until that is known, open until they work again, over.
incident: Final = sa.Table(
    "incident",
    metadata,
    #: Rises with time.
    sa.Column("id", sa.Text, primary_key=True),
    _workspace_id(),
    sa.Column("host", Words, nullable=False),
    #: watched | open | over
    sa.Column("state", sa.Text, nullable=False),
    #: Workspace and host until it is over: there is one at a time.
    sa.Column("key", Words),
    sa.Column("began_at", Micros, nullable=False),
    #: watched: when its rules are told one by one, should it have become none.
    sa.Column("until", Micros, nullable=False),
    #: The alert that tells it, and when it (or a reminder) was told last.
    sa.Column("alert_id", sa.Text),
    sa.Column("told_at", Micros),
    sa.Column("over_at", Micros),
    sa.UniqueConstraint("key"),
)
sa.Index(
    "ix_incident_going_on",
    incident.c.state,
    incident.c.until,
    sqlite_where=incident.c.over_at.is_(None),
    postgresql_where=incident.c.over_at.is_(None),
)

incident_member: Final = sa.Table(
    "incident_member",
    metadata,
    sa.Column("incident_id", sa.Text, sa.ForeignKey("incident.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("rule_id", sa.Text, primary_key=True),
    _workspace_id(),
    #: Its own alert, which is not sent while the incident goes on.
    sa.Column("alert_id", sa.Text, sa.ForeignKey("alert.id", ondelete="CASCADE"), nullable=False),
    sa.Column("recovered_at", Micros),
)
sa.Index(None, incident_member.c.alert_id)

#: What the watchdog has told, one row per trouble, until a day after it is over.
watch: Final = sa.Table(
    "watch",
    metadata,
    sa.Column("workspace_id", sa.Text, sa.ForeignKey("workspace.id"), primary_key=True),
    #: overdue | silent
    sa.Column("kind", sa.Text, primary_key=True),
    #: '': many rules of the workspace, told as one.
    sa.Column("rule_id", sa.Text, primary_key=True),
    sa.Column("since", Micros, nullable=False),
    #: It, or the last reminder, and the alert that said so.
    sa.Column("told_at", Micros, nullable=False),
    sa.Column("alert_id", sa.Text),
    sa.Column("over_at", Micros),
)

#: Jobs that committed rows call for and Redis has not been given yet.
outbox: Final = sa.Table(
    "outbox",
    metadata,
    sa.Column("id", Serial, primary_key=True, autoincrement=True),
    _workspace_id(),
    sa.Column("stream", sa.Text, nullable=False),
    sa.Column("job_id", Words, nullable=False),
    #: JSON text, as it goes on the wire.
    sa.Column("payload", sa.Text, nullable=False),
    sa.Column("lane", sa.Text, nullable=False),
    sa.Column("unique_key", Words),
    #: Seconds.
    sa.Column("unique_for", sa.Float),
    sa.Column("created_at", Micros, nullable=False),
    #: Of the job: the trace that it goes on with.
    sa.Column("headers", Document(dict[str, str])),
    #: When the job may run; the relay passes it on, Redis does the waiting.
    sa.Column("available_at", Micros),
    #: A relay has it in hand until then.
    sa.Column("leased_until", Micros, nullable=False),
    sa.UniqueConstraint("stream", "job_id"),
    sqlite_autoincrement=True,
)
sa.Index(None, outbox.c.leased_until, outbox.c.id)
