"""Associations that were cut off are counted beside the instances that were refused."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

FORMER, LONGER = sa.String(length=4), sa.String(length=32)


def upgrade() -> None:
    with op.batch_alter_table("refusals") as batch_op:
        batch_op.alter_column("status", existing_type=FORMER, type_=LONGER, existing_nullable=False)
        batch_op.alter_column(
            "count", existing_type=sa.Integer(), type_=sa.BigInteger(), existing_nullable=False
        )


def downgrade() -> None:
    op.execute("delete from refusals where length(status) > 4")
    with op.batch_alter_table("refusals") as batch_op:
        batch_op.alter_column(
            "count", existing_type=sa.BigInteger(), type_=sa.Integer(), existing_nullable=False
        )
        batch_op.alter_column("status", existing_type=LONGER, type_=FORMER, existing_nullable=False)
