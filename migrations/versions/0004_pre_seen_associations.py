"""When its receiver last said that it holds an association: one that is gone for good says nothing more."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("associations", sa.Column("seen_at", sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("associations") as batch_op:
        batch_op.drop_column("seen_at")
