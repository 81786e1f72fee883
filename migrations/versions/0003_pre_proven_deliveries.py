"""Proof that a destination keeps what it took, and destinations that are away."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

TIMES = ("queued_at", "confirm_at", "confirm_by", "confirmed_at", "alarmed_at")
COUNTS = ("looks", "resends")
IDENTITIES = ("sent_class_uid", "sent_instance_uid")


def upgrade() -> None:
    for name in TIMES:
        op.add_column("deliveries", sa.Column(name, sa.DateTime(timezone=True), nullable=True))
    for name in COUNTS:
        # the default stays in the database: older code that still runs does not name these columns
        op.add_column(
            "deliveries", sa.Column(name, sa.Integer(), nullable=False, server_default=sa.text("0"))
        )
    for name in IDENTITIES:
        op.add_column("deliveries", sa.Column(name, sa.String(length=64), nullable=True))
    op.create_table(
        "commitments",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("delivery_id", sa.Integer(), nullable=False),
        sa.Column("transaction_uid", sa.String(length=64), nullable=False),
        sa.Column("asked_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("answered_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("kept", sa.Boolean(), nullable=True),
        sa.Column("reason", sa.Integer(), nullable=True),
        sa.Column("settled", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(
            ["delivery_id"], ["deliveries.id"], name=op.f("fk_commitments_delivery_id_deliveries")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_commitments")),
        sa.UniqueConstraint(
            "transaction_uid", "delivery_id", name=op.f("uq_commitments_transaction_uid_delivery_id")
        ),
    )
    op.create_index(op.f("ix_commitments_delivery_id"), "commitments", ["delivery_id"])
    op.create_index(op.f("ix_commitments_transaction_uid"), "commitments", ["transaction_uid"])
    op.create_table(
        "outages",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("destination", sa.String(length=32), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("probe_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("error", sa.String(length=255), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outages")),
        sa.UniqueConstraint("destination", name=op.f("uq_outages_destination")),
    )


def downgrade() -> None:
    op.drop_table("outages")
    op.drop_table("commitments")
    with op.batch_alter_table("deliveries") as batch_op:
        for name in (*IDENTITIES, *COUNTS, *TIMES):
            batch_op.drop_column(name)
