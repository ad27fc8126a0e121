"""Run by Alembic: migrations on the connection, and in the transaction, that `Schema` gives it."""

from __future__ import annotations

from alembic import context

from sentinel.store.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
