"""The first schema: workspaces, sources, rules, runs, alerts, deliveries, outbox."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "workspace",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("timezone", sa.Text(), nullable=False),
        sa.Column("quiet_hours", sa.JSON(), nullable=True),
        sa.Column("routes", sa.JSON(), nullable=False),
        sa.Column("digest", sa.JSON(), nullable=True),
        sa.Column("incident", sa.JSON(), nullable=True),
        sa.Column("flood", sa.JSON(), nullable=True),
        sa.Column("robots", sa.Text(), nullable=False),
        sa.Column("retention", sa.JSON(), nullable=True),
        sa.Column("secrets", sa.LargeBinary(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_workspace")),
    )

    op.create_table(
        "channel",
        sa.Column("workspace_id", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("definition", sa.JSON(), nullable=False),
        sa.Column("credentials", sa.JSON(), nullable=True),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("disabled_reason", sa.Text(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspace.id"], name=op.f("fk_channel_workspace_id_workspace")
        ),
        sa.PrimaryKeyConstraint("workspace_id", "id", name=op.f("pk_channel")),
    )

    op.create_table(
        "outbox",
        sa.Column("id", SERIAL, autoincrement=True, nullable=False),
        sa.Column("workspace_id", sa.Text(), nullable=False),
        sa.Column("stream", sa.Text(), nullable=False),
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.Column("lane", sa.Text(), nullable=False),
        sa.Column("unique_key", sa.Text(), nullable=True),
        sa.Column("unique_for", sa.Float(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("headers", sa.JSON(), nullable=True),
        sa.Column("available_at", sa.BigInteger(), nullable=True),
        sa.Column("leased_until", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspace.id"], name=op.f("fk_outbox_workspace_id_workspace")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outbox")),
        sa.UniqueConstraint("stream", "job_id", name=op.f("uq_outbox_stream_job_id")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_outbox_leased_until_id"), "outbox", ["leased_until", "id"], unique=False)

    op.create_table(
        "run",
        sa.Column("id", SERIAL, autoincrement=True, nullable=False),
        sa.Column("workspace_id", sa.Text(), nullable=False),
        sa.Column("rule_id", sa.Text(), nullable=False),
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("trigger", sa.Text(), nullable=False),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=False),
        sa.Column("finished_at", sa.BigInteger(), nullable=True),
        sa.Column("mode", sa.Text(), nullable=True),
        sa.Column("fallback_reason", sa.Text(), nullable=True),
        sa.Column("http_status", sa.Integer(), nullable=True),
        sa.Column("final_url", sa.Text(), nullable=True),
        sa.Column("not_modified", sa.Boolean(), nullable=False),
        sa.Column("observed", sa.Boolean(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=True),
        sa.Column("timings", sa.JSON(), nullable=True),
        sa.Column("error_code", sa.Text(), nullable=True),
        sa.Column("error_detail", sa.Text(), nullable=True),
        sa.Column("block", sa.Text(), nullable=True),
        sa.Column("content_hash", sa.Text(), nullable=True),
        sa.Column("body_blob", sa.Text(), nullable=True),
        sa.Column("screenshot_blob", sa.Text(), nullable=True),
        sa.Column("element_blob", sa.Text(), nullable=True),
        sa.Column("selector_index", sa.Integer(), nullable=True),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspace.id"], name=op.f("fk_run_workspace_id_workspace")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_run")),
        sa.UniqueConstraint("job_id", name=op.f("uq_run_job_id")),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "ix_run_newest",
        "run",
        ["rule_id", sa.literal_column("started_at DESC"), sa.literal_column("id DESC")],
        unique=False,
    )
    op.create_index(
        "ix_run_failed",
        "run",
        ["rule_id", sa.literal_column("started_at DESC"), sa.literal_column("id DESC")],
        unique=False,
        sqlite_where=sa.text("error_code IS NOT NULL"),
        postgresql_where=sa.text("error_code IS NOT NULL"),
    )
    op.create_index(op.f("ix_run_started_at"), "run", ["started_at"], unique=False)
    op.create_index(
        "ix_run_bare",
        "run",
        ["started_at"],
        unique=False,
        sqlite_where=sa.text("observed = 0"),
        postgresql_where=sa.text("NOT observed"),
    )
    op.create_index(
        "ix_run_unfinished",
        "run",
        ["started_at"],
        unique=False,
        sqlite_where=sa.text("status = 'running'"),
        postgresql_where=sa.text("status = 'running'"),
    )
    op.create_index(op.f("ix_run_workspace_id"), "run", ["workspace_id"], unique=False)
    for column in ("body_blob", "screenshot_blob", "element_blob"):
        op.create_index(
            op.f(f"ix_run_{column}"),
            "run",
            [column],
            unique=False,
            sqlite_where=sa.text(f"{column} IS NOT NULL"),
            postgresql_where=sa.text(f"{column} IS NOT NULL"),
        )

    op.create_table(
        "source",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("workspace_id", sa.Text(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("fetch_profile", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspace.id"], name=op.f("fk_source_workspace_id_workspace")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_source")),
    )

    op.create_table(
        "alert",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("workspace_id", sa.Text(), nullable=False),
        sa.Column("rule_id", sa.Text(), nullable=False),
        sa.Column("run_id", sa.BigInteger(), nullable=True),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("severity", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("body", sa.JSON(), nullable=False),
        sa.Column("conditions", sa.JSON(), nullable=False),
        sa.Column("channels", sa.JSON(), nullable=False),
        sa.Column("dedupe_key", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("suppressed", sa.Text(), nullable=True),
        sa.Column("suppressed_until", sa.BigInteger(), nullable=True),
        sa.Column("undo", sa.Text(), nullable=True),
        sa.Column("routing", sa.JSON(), nullable=False),
        sa.Column("pattern", sa.Text(), nullable=True),
        sa.Column("acked_at", sa.BigInteger(), nullable=True),
        sa.Column("acked_by", sa.Text(), nullable=True),
        sa.Column("ack_note", sa.Text(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["run_id"], ["run.id"], name=op.f("fk_alert_run_id_run"), ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspace.id"], name=op.f("fk_alert_workspace_id_workspace")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alert")),
        sa.UniqueConstraint("dedupe_key", name=op.f("uq_alert_dedupe_key")),
    )
    op.create_index(
        "ix_alert_alike",
        "alert",
        ["workspace_id", "pattern", "created_at"],
        unique=False,
        sqlite_where=sa.text("pattern IS NOT NULL"),
        postgresql_where=sa.text("pattern IS NOT NULL"),
    )
    op.create_index(
        "ix_alert_newest",
        "alert",
        [sa.literal_column("created_at DESC"), sa.literal_column("id DESC")],
        unique=False,
    )
    for name, column in (("ix_alert_rule", "rule_id"), ("ix_alert_state", "state")):
        op.create_index(
            name,
            "alert",
            [column, sa.literal_column("created_at DESC"), sa.literal_column("id DESC")],
            unique=False,
        )
    op.create_index(op.f("ix_alert_run_id"), "alert", ["run_id"], unique=False)

    op.create_table(
        "observation",
        sa.Column("run_id", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("workspace_id", sa.Text(), nullable=False),
        sa.Column("rule_id", sa.Text(), nullable=False),
        sa.Column("raw", sa.Text(), nullable=True),
        sa.Column("value", sa.JSON(), nullable=False),
        sa.Column("confirmed", sa.Boolean(), nullable=False),
        sa.Column("change_kind", sa.Text(), nullable=True),
        sa.Column("before", sa.JSON(), nullable=True),
        sa.Column("percent", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("run_id", "at", name=op.f("pk_observation")),
        postgresql_partition_by="RANGE (at)",
    )
    op.create_index(op.f("ix_observation_at"), "observation", ["at"], unique=False)
    op.create_index(
        "ix_observation_newest",
        "observation",
        ["rule_id", sa.literal_column("at DESC"), sa.literal_column("run_id DESC")],
        unique=False,
    )

    op.create_table(
        "rule",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("workspace_id", sa.Text(), nullable=False),
        sa.Column("source_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("definition", sa.JSON(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("expected_change_every", sa.Float(), nullable=True),
        sa.Column("pace", sa.Float(), nullable=False),
        sa.Column("next_due_at", sa.BigInteger(), nullable=False),
        sa.Column("claimed_at", sa.BigInteger(), nullable=True),
        sa.Column("claimed_job_id", sa.Text(), nullable=True),
        sa.Column("due_since", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["source_id"], ["source.id"], name=op.f("fk_rule_source_id_source")),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspace.id"], name=op.f("fk_rule_workspace_id_workspace")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rule")),
    )
    op.create_index(
        "ix_rule_due",
        "rule",
        ["next_due_at"],
        unique=False,
        sqlite_where=sa.text("enabled"),
        postgresql_where=sa.text("enabled"),
    )
    op.create_index(op.f("ix_rule_source_id"), "rule", ["source_id"], unique=False)
    op.create_index(op.f("ix_rule_workspace_id_host"), "rule", ["workspace_id", "host"], unique=False)

    op.create_table(
        "delivery",
        sa.Column("alert_id", sa.Text(), nullable=False),
        sa.Column("channel_id", sa.Text(), nullable=False),
        sa.Column("workspace_id", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("job_id", sa.Text(), nullable=True),
        sa.Column("message_id", sa.Text(), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("http_status", sa.Integer(), nullable=True),
        sa.Column("provider_id", sa.Text(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("next_at", sa.BigInteger(), nullable=True),
        sa.Column("fallback_of", sa.Text(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.Column("sent_at", sa.BigInteger(), nullable=True),
        sa.Column("escalates_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["alert_id"], ["alert.id"], name=op.f("fk_delivery_alert_id_alert"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspace.id"], name=op.f("fk_delivery_workspace_id_workspace")
        ),
        sa.PrimaryKeyConstraint("alert_id", "channel_id", name=op.f("pk_delivery")),
    )
    op.create_index(
        "ix_delivery_open",
        "delivery",
        ["workspace_id", "channel_id"],
        unique=False,
        sqlite_where=sa.text("state IN ('pending', 'sending', 'retrying')"),
        postgresql_where=sa.text("state IN ('pending', 'sending', 'retrying')"),
    )

    op.create_table(
        "channel_state",
        sa.Column("workspace_id", sa.Text(), nullable=False),
        sa.Column("channel_id", sa.Text(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("failing_since", sa.BigInteger(), nullable=True),
        sa.Column("opened", sa.Integer(), nullable=False),
        sa.Column("open_until", sa.BigInteger(), nullable=True),
        sa.Column("probe", sa.Text(), nullable=True),
        sa.Column("probe_until", sa.BigInteger(), nullable=True),
        sa.Column("retry_at", sa.BigInteger(), nullable=True),
        sa.Column("last_ok_at", sa.BigInteger(), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column("missing_since", sa.BigInteger(), nullable=True),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspace.id"], name=op.f("fk_channel_state_workspace_id_workspace")
        ),
        sa.PrimaryKeyConstraint("workspace_id", "channel_id", name=op.f("pk_channel_state")),
    )

    op.create_table(
        "host_state",
        sa.Column("workspace_id", sa.Text(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("failing", sa.JSON(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("failing_since", sa.BigInteger(), nullable=True),
        sa.Column("opened", sa.Integer(), nullable=False),
        sa.Column("open_until", sa.BigInteger(), nullable=True),
        sa.Column("probe", sa.Text(), nullable=True),
        sa.Column("probe_until", sa.BigInteger(), nullable=True),
        sa.Column("retry_at", sa.BigInteger(), nullable=True),
        sa.Column("last_ok_at", sa.BigInteger(), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspace.id"], name=op.f("fk_host_state_workspace_id_workspace")
        ),
        sa.PrimaryKeyConstraint("workspace_id", "host", name=op.f("pk_host_state")),
    )

    op.create_table(
        "rule_state",
        sa.Column("rule_id", sa.Text(), nullable=False),
        sa.Column("workspace_id", sa.Text(), nullable=False),
        sa.Column("stable", sa.JSON(), nullable=True),
        sa.Column("stable_raw", sa.Text(), nullable=True),
        sa.Column("candidate", sa.JSON(), nullable=True),
        sa.Column("candidate_count", sa.Integer(), nullable=False),
        sa.Column("candidate_raw", sa.Text(), nullable=True),
        sa.Column("candidate_doubt", sa.Text(), nullable=True),
        sa.Column("unsettled", sa.Integer(), nullable=False),
        sa.Column("unstable_told_at", sa.BigInteger(), nullable=True),
        sa.Column("page_size", sa.BigInteger(), nullable=True),
        sa.Column("told", sa.JSON(), nullable=False),
        sa.Column("disarmed", sa.JSON(), nullable=False),
        sa.Column("owed", sa.JSON(), nullable=False),
        sa.Column("told_value", sa.JSON(), nullable=True),
        sa.Column("etag", sa.Text(), nullable=True),
        sa.Column("last_modified", sa.Text(), nullable=True),
        sa.Column("conditional_count", sa.Integer(), nullable=False),
        sa.Column("mode_that_worked", sa.Text(), nullable=True),
        sa.Column("mode_since", sa.BigInteger(), nullable=True),
        sa.Column("decimal_separator", sa.Text(), nullable=True),
        sa.Column("health", sa.Float(), nullable=False),
        sa.Column("health_state", sa.Text(), nullable=False),
        sa.Column("fail_streak", sa.Integer(), nullable=False),
        sa.Column("backoff", sa.Integer(), nullable=False),
        sa.Column("last_run_at", sa.BigInteger(), nullable=True),
        sa.Column("last_good_at", sa.BigInteger(), nullable=True),
        sa.Column("last_change_at", sa.BigInteger(), nullable=True),
        sa.Column("last_alert_at", sa.BigInteger(), nullable=True),
        sa.Column("last_alert_severity", sa.Text(), nullable=True),
        sa.Column("broken_told_at", sa.BigInteger(), nullable=True),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("page_blob", sa.Text(), nullable=True),
        sa.Column("page_blob_at", sa.BigInteger(), nullable=True),
        sa.Column("elements", sa.JSON(), nullable=True),
        sa.ForeignKeyConstraint(
            ["rule_id"], ["rule.id"], name=op.f("fk_rule_state_rule_id_rule"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspace.id"], name=op.f("fk_rule_state_workspace_id_workspace")
        ),
        sa.PrimaryKeyConstraint("rule_id", name=op.f("pk_rule_state")),
    )
    op.create_index(op.f("ix_rule_state_health_state"), "rule_state", ["health_state"], unique=False)
    op.create_index(op.f("ix_rule_state_page_blob"), "rule_state", ["page_blob"], unique=False)

    op.create_table(
        "rule_tag",
        sa.Column("rule_id", sa.Text(), nullable=False),
        sa.Column("tag", sa.Text(), nullable=False),
        sa.Column("workspace_id", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["rule_id"], ["rule.id"], name=op.f("fk_rule_tag_rule_id_rule"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspace.id"], name=op.f("fk_rule_tag_workspace_id_workspace")
        ),
        sa.PrimaryKeyConstraint("rule_id", "tag", name=op.f("pk_rule_tag")),
    )
    op.create_index(op.f("ix_rule_tag_tag"), "rule_tag", ["tag"], unique=False)

    op.create_table(
        "delivery_attempt",
        sa.Column("alert_id", sa.Text(), nullable=False),
        sa.Column("channel_id", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("workspace_id", sa.Text(), nullable=False),
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("http_status", sa.Integer(), nullable=True),
        sa.Column("provider_id", sa.Text(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("latency", sa.Float(), nullable=True),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["alert_id", "channel_id"],
            ["delivery.alert_id", "delivery.channel_id"],
            name=op.f("fk_delivery_attempt_alert_id_channel_id_delivery"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspace.id"], name=op.f("fk_delivery_attempt_workspace_id_workspace")
        ),
        sa.PrimaryKeyConstraint("alert_id", "channel_id", "number", name=op.f("pk_delivery_attempt")),
    )

    op.create_table(
        "digest",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("workspace_id", sa.Text(), nullable=False),
        sa.Column("cause", sa.Text(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("grouped", sa.Text(), nullable=False),
        sa.Column("channel_id", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("opened_at", sa.BigInteger(), nullable=False),
        sa.Column("closes_at", sa.BigInteger(), nullable=False),
        sa.Column("closed_at", sa.BigInteger(), nullable=True),
        sa.Column("alert_id", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspace.id"], name=op.f("fk_digest_workspace_id_workspace")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_digest")),
        sa.UniqueConstraint("key", name=op.f("uq_digest_key")),
    )
    op.create_index(
        "ix_digest_open",
        "digest",
        ["closes_at"],
        unique=False,
        sqlite_where=sa.text("closed_at IS NULL"),
        postgresql_where=sa.text("closed_at IS NULL"),
    )

    op.create_table(
        "digest_member",
        sa.Column("digest_id", sa.Text(), nullable=False),
        sa.Column("alert_id", sa.Text(), nullable=False),
        sa.Column("workspace_id", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["alert_id"], ["alert.id"], name=op.f("fk_digest_member_alert_id_alert"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["digest_id"], ["digest.id"], name=op.f("fk_digest_member_digest_id_digest"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspace.id"], name=op.f("fk_digest_member_workspace_id_workspace")
        ),
        sa.PrimaryKeyConstraint("digest_id", "alert_id", name=op.f("pk_digest_member")),
    )
    op.create_index(op.f("ix_digest_member_alert_id"), "digest_member", ["alert_id"], unique=False)

    op.create_table(
        "incident",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("workspace_id", sa.Text(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=True),
        sa.Column("began_at", sa.BigInteger(), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=False),
        sa.Column("alert_id", sa.Text(), nullable=True),
        sa.Column("told_at", sa.BigInteger(), nullable=True),
        sa.Column("over_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspace.id"], name=op.f("fk_incident_workspace_id_workspace")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_incident")),
        sa.UniqueConstraint("key", name=op.f("uq_incident_key")),
    )
    op.create_index(
        "ix_incident_going_on",
        "incident",
        ["state", "until"],
        unique=False,
        sqlite_where=sa.text("over_at IS NULL"),
        postgresql_where=sa.text("over_at IS NULL"),
    )

    op.create_table(
        "incident_member",
        sa.Column("incident_id", sa.Text(), nullable=False),
        sa.Column("rule_id", sa.Text(), nullable=False),
        sa.Column("workspace_id", sa.Text(), nullable=False),
        sa.Column("alert_id", sa.Text(), nullable=False),
        sa.Column("recovered_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["alert_id"], ["alert.id"], name=op.f("fk_incident_member_alert_id_alert"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["incident_id"],
            ["incident.id"],
            name=op.f("fk_incident_member_incident_id_incident"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspace.id"], name=op.f("fk_incident_member_workspace_id_workspace")
        ),
        sa.PrimaryKeyConstraint("incident_id", "rule_id", name=op.f("pk_incident_member")),
    )
    op.create_index(op.f("ix_incident_member_alert_id"), "incident_member", ["alert_id"], unique=False)

    op.create_table(
        "watch",
        sa.Column("workspace_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("rule_id", sa.Text(), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.Column("told_at", sa.BigInteger(), nullable=False),
        sa.Column("alert_id", sa.Text(), nullable=True),
        sa.Column("over_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspace.id"], name=op.f("fk_watch_workspace_id_workspace")
        ),
        sa.PrimaryKeyConstraint("workspace_id", "kind", "rule_id", name=op.f("pk_watch")),
    )


def downgrade() -> None:
    for table in (
        "channel_state",
        "host_state",
        "watch",
        "incident_member",
        "incident",
        "digest_member",
        "digest",
        "delivery_attempt",
        "rule_tag",
        "rule_state",
        "delivery",
        "rule",
        "observation",
        "alert",
        "source",
        "run",
        "outbox",
        "channel",
        "workspace",
    ):
        op.drop_table(table)
