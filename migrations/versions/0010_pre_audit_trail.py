"""The audit trail: lines tied to a chain, and triggers that refuse to change or delete one."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)
REFUSED = "the audit trail is append-only"


def upgrade() -> None:
    op.create_table(
        "audit_events",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.Column("kind", sa.String(length=64), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("previous_sha256", sa.String(length=64), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_events")),
    )
    for table in ("audit_head", "audit_sent"):
        hashes = [sa.Column("sha256", sa.String(length=64), nullable=False)] if table == "audit_head" else []
        op.create_table(
            table,
            sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
            sa.Column("last_id", sa.Integer(), nullable=False),
            *hashes,
            sa.CheckConstraint("id = 1", name=op.f(f"ck_{table}_single_row")),
            sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{table}")),
        )
    op.execute(f"insert into audit_head (id, last_id, sha256) values (1, 0, '{'0' * 64}')")
    op.execute("insert into audit_sent (id, last_id) values (1, 0)")
    if op.get_bind().dialect.name == "sqlite":
        _refuse_on_sqlite()
    else:
        _refuse_on_postgresql()


def _refuse_on_sqlite() -> None:
    for verb in ("update", "delete"):
        op.execute(
            f"create trigger audit_events_no_{verb} before {verb} on audit_events "
            f"begin select raise(abort, '{REFUSED}'); end"
        )


def _refuse_on_postgresql() -> None:
    op.execute(
        "create function audit_events_refuse() returns trigger language plpgsql as "
        f"$$ begin raise exception '{REFUSED}'; end $$"
    )
    op.execute(
        "create trigger audit_events_append_only before update or delete or truncate on audit_events "
        "for each statement execute function audit_events_refuse()"
    )


def downgrade() -> None:
    for table in ("audit_sent", "audit_head", "audit_events"):
        op.drop_table(table)
    if op.get_bind().dialect.name != "sqlite":
        op.execute("drop function audit_events_refuse()")
