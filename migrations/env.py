"""Alembic's entry: runs the revisions on the database that the caller names."""

from alembic import context
from sqlalchemy import create_engine, pool

from ich_node.store import audit_tables, tables, watch_tables  # noqa: F401  the tables of the code
from ich_node.store.columns import metadata

engine = create_engine(context.config.get_main_option("sqlalchemy.url") or "", poolclass=pool.NullPool)
with engine.connect() as connection:
    # batch mode: SQLite alters a table by building it anew
    context.configure(
        connection=connection, target_metadata=metadata, render_as_batch=True, compare_type=True
    )
    with context.begin_transaction():
        context.run_migrations()
engine.dispose()
