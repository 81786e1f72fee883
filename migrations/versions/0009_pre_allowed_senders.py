"""Who may send beside those of the settings."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "allowed_senders",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("ae_title", sa.String(16), nullable=False),
        sa.Column("address", sa.String(64), nullable=False),
        sa.Column("certificate", sa.String(255), nullable=False),
        sa.Column("urgency", sa.String(16), nullable=False),
        sa.Column("allowed_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_allowed_senders")),
        sa.UniqueConstraint(
            "ae_title", "address", "certificate", name=op.f("uq_allowed_senders_ae_title_address_certificate")
        ),
    )


def downgrade() -> None:
    op.drop_table("allowed_senders")
