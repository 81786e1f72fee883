"""The tables of those who watch over the node: signs of life, what was refused, what does not add up."""

from sqlalchemy import BigInteger, Column, Integer, String, Table, UniqueConstraint

from ich_node.store.columns import UID, UTCDateTime, id_column, metadata, reference

signs_of_life = Table(
    "signs_of_life",
    metadata,
    id_column(),
    Column("room", String(16), nullable=False),  # receive, work, deliver, schedule
    Column("process", String(255), nullable=False),  # host:pid
    Column("begun_at", UTCDateTime, nullable=False),
    Column("seen_at", UTCDateTime, nullable=False),  # of that of its loops which is due first
    Column("due_at", UTCDateTime, nullable=False),  # by when it promised the next sign
    Column("doing", String(64), nullable=False),
    Column("trouble", String(64)),  # why it cannot work, though it lives
    UniqueConstraint("room", "process"),
)

refusals = Table(
    "refusals",
    metadata,
    id_column(),
    # of the C-STORE response, hexadecimal; of associations a code of vocabulary.CutOff
    Column("status", String(32), nullable=False, unique=True),
    Column("count", BigInteger, nullable=False),
    Column("last_at", UTCDateTime, nullable=False),
)

tallies = Table(
    "tallies",
    metadata,
    id_column(),
    Column("name", String(32), nullable=False, unique=True),
    Column("up_to_id", Integer, nullable=False),  # the newest row that is counted already
    Column("count", BigInteger, nullable=False),
    Column("bytes", BigInteger, nullable=False),
)

discrepancies = Table(
    "discrepancies",
    metadata,
    id_column(),
    Column("kind", String(32), nullable=False),
    reference("studies"),
    Column("found_at", UTCDateTime, nullable=False),
    UniqueConstraint("kind", "study_id"),
)

canaries = Table(
    "canaries",
    metadata,
    id_column(),
    Column("study_uid", UID, nullable=False, unique=True),
    Column("begun_at", UTCDateTime, nullable=False),
    Column("ended_at", UTCDateTime),  # none: it is on its way
    Column("outcome", String(16)),
    Column("trouble", String(64)),  # why it counts as failed
)
