"""Who watches over the node: signs of life, refusals, tallies, what does not add up, canaries."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)
COUNTED = ("state", "outcome", "reason", "canary")
TIMED = ("finished_at", "canary", "outcome")


def upgrade() -> None:
    # the default stays in the database: older code that still runs does not name this column
    op.add_column("studies", sa.Column("canary", sa.Boolean(), nullable=False, server_default=sa.false()))
    for columns in (COUNTED, TIMED):
        op.create_index(op.f(f"ix_studies_{'_'.join(columns)}"), "studies", list(columns))
    op.create_table(
        "signs_of_life",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("room", sa.String(length=16), nullable=False),
        sa.Column("process", sa.String(length=255), nullable=False),
        sa.Column("begun_at", TIME, nullable=False),
        sa.Column("seen_at", TIME, nullable=False),
        sa.Column("due_at", TIME, nullable=False),
        sa.Column("doing", sa.String(length=64), nullable=False),
        sa.Column("trouble", sa.String(length=64), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_signs_of_life")),
        sa.UniqueConstraint("room", "process", name=op.f("uq_signs_of_life_room_process")),
    )
    op.create_table(
        "refusals",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(length=4), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("last_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_refusals")),
        sa.UniqueConstraint("status", name=op.f("uq_refusals_status")),
    )
    op.create_table(
        "tallies",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=32), nullable=False),
        sa.Column("up_to_id", sa.Integer(), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tallies")),
        sa.UniqueConstraint("name", name=op.f("uq_tallies_name")),
    )
    op.create_table(
        "discrepancies",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("study_id", sa.Integer(), nullable=False),
        sa.Column("found_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(["study_id"], ["studies.id"], name=op.f("fk_discrepancies_study_id_studies")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_discrepancies")),
        sa.UniqueConstraint("kind", "study_id", name=op.f("uq_discrepancies_kind_study_id")),
    )
    op.create_index(op.f("ix_discrepancies_study_id"), "discrepancies", ["study_id"])
    op.create_table(
        "canaries",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("study_uid", sa.String(length=64), nullable=False),
        sa.Column("begun_at", TIME, nullable=False),
        sa.Column("ended_at", TIME, nullable=True),
        sa.Column("outcome", sa.String(length=16), nullable=True),
        sa.Column("trouble", sa.String(length=64), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_canaries")),
        sa.UniqueConstraint("study_uid", name=op.f("uq_canaries_study_uid")),
    )


def downgrade() -> None:
    for table in ("canaries", "discrepancies", "tallies", "refusals", "signs_of_life"):
        op.drop_table(table)
    for columns in (TIMED, COUNTED):
        op.drop_index(op.f(f"ix_studies_{'_'.join(columns)}"), table_name="studies")
    with op.batch_alter_table("studies") as batch_op:
        batch_op.drop_column("canary")
