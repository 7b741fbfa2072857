"""Alembic's entry: migrations run on the connection that the workspace hands over."""

from alembic import context

from nextbest.store.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
