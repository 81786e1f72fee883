"""Which study is read first: how long each stands back, and when it is due."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("studies", sa.Column("handicap_s", sa.Integer(), nullable=False, server_default="900"))
    op.add_column("studies", sa.Column("due_at", sa.DateTime(timezone=True), nullable=True))
    op.execute("update studies set due_at = coalesce(early_at, ready_at)")


def downgrade() -> None:
    with op.batch_alter_table("studies") as batch_op:
        batch_op.drop_column("due_at")
        batch_op.drop_column("handicap_s")
