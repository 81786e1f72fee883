"""What the administrator must know of a caller over TLS who was refused: the failure, or the certificate."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_NEW = {"trouble": 255, "certificate_name": 255, "certificate_sha256": 64}


def upgrade() -> None:
    for name, length in _NEW.items():
        column = sa.Column(name, sa.String(length), server_default="", nullable=False)
        op.add_column("refused_callers", column)


def downgrade() -> None:
    with op.batch_alter_table("refused_callers") as batch_op:
        for name in _NEW:
            batch_op.drop_column(name)
