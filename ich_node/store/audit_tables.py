"""The tables of the audit trail. The database itself refuses to change or delete a line (migration 0008)."""

from sqlalchemy import CheckConstraint, Column, Integer, String, Table, Text

from ich_node.store.columns import UTCDateTime, metadata

audit_events = Table(
    "audit_events",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),  # without gaps, given under the head's lock
    Column("at", UTCDateTime, nullable=False),
    Column("kind", String(64), nullable=False),
    Column("message", Text, nullable=False),  # the XML of PS3.15 A.5
    Column("previous_sha256", String(64), nullable=False),
    Column("sha256", String(64), nullable=False),
)

audit_head = Table(
    "audit_head",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("last_id", Integer, nullable=False),
    Column("sha256", String(64), nullable=False),
    CheckConstraint("id = 1", name="single_row"),
)

audit_sent = Table(
    "audit_sent",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("last_id", Integer, nullable=False),  # up to here the receiver of audit messages has them
    CheckConstraint("id = 1", name="single_row"),
)
