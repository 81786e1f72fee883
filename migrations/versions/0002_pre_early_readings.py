"""Early readings, of heads that look whole while their study still arrives, and what sources say of it."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("studies", sa.Column("early_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("studies", sa.Column("early_key", sa.String(length=64), nullable=True))
    op.add_column("studies", sa.Column("compared_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("studies", sa.Column("source_says", sa.String(length=16), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("studies") as batch_op:
        batch_op.drop_column("source_says")
        batch_op.drop_column("compared_at")
        batch_op.drop_column("early_key")
        batch_op.drop_column("early_at")
