"""The tables; Alembic's revisions in `migrations/` build the same."""

from sqlalchemy import (
    JSON,
    Boolean,
    CheckConstraint,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
    UniqueConstraint,
    false,
    text,
)

from ich_node.core.split import Split
from ich_node.core.states import BundleCommand, BundleState, DeliveryState, RunState, StudyState
from ich_node.core.urgency import NORMAL_S
from ich_node.store.columns import UID, UTCDateTime, id_column, metadata, one_of, reference

installation = Table(
    "installation",
    metadata,
    id_column(),
    Column("uid", UID, nullable=False),
    Column("created_at", UTCDateTime, nullable=False),
    CheckConstraint("id = 1", name="single_row"),
)

associations = Table(
    "associations",
    metadata,
    id_column(),
    Column("receiver", String(255), nullable=False),  # host:port of the receiver that holds it, or ADOPTED
    Column("calling_ae_title", String(16), nullable=False),
    Column("address", String(64), nullable=False),
    Column("opened_at", UTCDateTime, nullable=False),
    Column("closed_at", UTCDateTime),
    Column("seen_at", UTCDateTime),  # when its receiver last said that it holds it; none: an older version's
    Index(None, "closed_at"),
)

studies = Table(
    "studies",
    metadata,
    id_column(),
    Column("study_uid", UID, nullable=False, unique=True),
    Column("patient_id", String(255), nullable=False, default=""),
    Column("accession_number", String(255), nullable=False, default="", index=True),
    Column("state", String(16), nullable=False),
    Column("outcome", String(16)),
    Column("reason", String(32)),
    Column("revision", Integer, nullable=False, default=1),
    Column("conflict", Boolean, nullable=False, default=False),
    Column("cut_short", Boolean, nullable=False, default=False),  # taken at the deadline, more may come
    Column("first_instance_at", UTCDateTime, nullable=False),  # of this revision
    Column("last_instance_at", UTCDateTime, nullable=False),
    Column("ready_at", UTCDateTime),
    Column("finished_at", UTCDateTime),
    Column("forgotten_at", UTCDateTime),  # when its images went
    Column("attempts", Integer, nullable=False, default=0),
    Column("next_attempt_at", UTCDateTime),
    # how long it stands back for more urgent ones, and when it is due therefore (core.urgency)
    Column("handicap_s", Integer, nullable=False, default=NORMAL_S, server_default=text(str(NORMAL_S))),
    Column("due_at", UTCDateTime),
    Column("lease_holder", String(255)),
    Column("lease_until", UTCDateTime),
    Column("lease_token", Integer, nullable=False, default=0),  # fences off a worker that lost its lease
    Column("early_at", UTCDateTime),  # when an early reading was asked for that nobody has taken yet
    Column("early_key", String(64)),  # names the images that were last asked to be read early
    Column("compared_at", UTCDateTime),  # last_instance_at when a source was last asked what it has
    Column("source_says", String(16)),
    Column("canary", Boolean, nullable=False, default=False, server_default=false()),  # of our own making
    one_of("state", StudyState),
    Index(None, "state", "next_attempt_at"),
    # what the metrics count and time, from the index alone
    Index(None, "state", "outcome", "reason", "canary"),
    Index(None, "finished_at", "canary", "outcome"),
)

instances = Table(
    "instances",
    metadata,
    id_column(),
    reference("studies"),
    Column("association_id", ForeignKey("associations.id"), index=True),
    Column("series_uid", UID, nullable=False),
    Column("sop_instance_uid", UID, nullable=False),
    Column("sop_class_uid", UID, nullable=False),
    Column("transfer_syntax_uid", UID, nullable=False),
    Column("sha256", String(64), nullable=False),  # of the bytes of the data set as received
    Column("bytes", Integer, nullable=False),
    Column("file", String(255), nullable=False, unique=True),  # below the archive folder
    Column("in_use", Boolean, nullable=False, default=True),  # False: a second content under the same UID
    Column("received_at", UTCDateTime, nullable=False),
    UniqueConstraint("sop_instance_uid", "sha256"),
    # of the contents under one UID at most one is in use, however many receivers race
    Index(
        "uq_instances_in_use",
        "sop_instance_uid",
        unique=True,
        sqlite_where=text("in_use"),
        postgresql_where=text("in_use"),
    ),
)

quarantine = Table(
    "quarantine",
    metadata,
    id_column(),
    Column("file", String(255), nullable=False, unique=True),
    Column("reason", String(32), nullable=False),
    Column("bytes", Integer, nullable=False),
    Column("calling_ae_title", String(16), nullable=False),
    Column("address", String(64), nullable=False),
    Column("received_at", UTCDateTime, nullable=False),
    Column("gone_at", UTCDateTime),  # when retention took the file; the row stays
)

refused_callers = Table(
    "refused_callers",
    metadata,
    id_column(),
    Column("calling_ae_title", String(64), nullable=False),
    Column("called_ae_title", String(64), nullable=False),
    Column("address", String(64), nullable=False),
    Column("count", Integer, nullable=False, default=1),
    Column("last_at", UTCDateTime, nullable=False),
    Column("trouble", String(255), nullable=False, server_default=""),
    Column("certificate_name", String(255), nullable=False, server_default=""),
    Column("certificate_sha256", String(64), nullable=False, server_default=""),
    UniqueConstraint("calling_ae_title", "called_ae_title", "address"),
)

allowed_senders = Table(
    "allowed_senders",
    metadata,
    id_column(),
    Column("ae_title", String(16), nullable=False),
    Column("address", String(64), nullable=False),  # or a network
    Column("certificate", String(255), nullable=False),
    Column("urgency", String(16), nullable=False),
    Column("allowed_at", UTCDateTime, nullable=False),
    UniqueConstraint("ae_title", "address", "certificate"),
)

readings = Table(
    "readings",
    metadata,
    id_column(),
    reference("studies"),
    Column("revision", Integer, nullable=False),
    Column("series_uid", UID),
    Column("outcome", String(16), nullable=False),
    Column("reason", String(32)),
    Column("leading", Boolean, nullable=False),
    Column("bundle_sha256", String(64)),
    Column("device", String(255)),
    Column("result", JSON, nullable=False),  # scores, location, key images, extent, notes, seconds
    Column("read_at", UTCDateTime, nullable=False),
)

reports = Table(
    "reports",
    metadata,
    id_column(),
    reference("studies"),
    Column("revision", Integer, nullable=False),
    Column("kind", String(8), nullable=False),  # SR or SC
    Column("sop_class_uid", UID, nullable=False),
    Column("sop_instance_uid", UID, nullable=False, unique=True),
    Column("series_uid", UID, nullable=False),
    Column("content", LargeBinary, nullable=False),  # the file to send; a retry sends the same bytes
    Column("created_at", UTCDateTime, nullable=False),
    UniqueConstraint("study_id", "revision", "kind"),
)

deliveries = Table(
    "deliveries",
    metadata,
    id_column(),
    reference("reports"),
    Column("destination", String(32), nullable=False),
    Column("state", String(16), nullable=False),
    Column("attempts", Integer, nullable=False, default=0),
    Column("next_attempt_at", UTCDateTime),
    Column("last_error", String(255)),
    Column("sent_at", UTCDateTime),
    Column("queued_at", UTCDateTime),  # when it was last put into the outbox
    Column("confirm_at", UTCDateTime),  # when to ask next whether it is kept; null: nothing to ask
    Column("confirm_by", UTCDateTime),  # until when the proof may take; null: none is wanted
    Column("confirmed_at", UTCDateTime),
    # what went out where the destination does not take the report in its own SOP class; null: as it is
    Column("sent_class_uid", UID),
    Column("sent_instance_uid", UID),
    Column("looks", Integer, nullable=False, default=0, server_default=text("0")),
    Column("resends", Integer, nullable=False, default=0, server_default=text("0")),
    Column("alarmed_at", UTCDateTime),  # when it was said to be late, or unproven for too long
    Column("lease_holder", String(255)),
    Column("lease_until", UTCDateTime),
    Column("lease_token", Integer, nullable=False, default=0),
    UniqueConstraint("report_id", "destination"),
    one_of("state", DeliveryState),
    Index(None, "state", "destination", "next_attempt_at"),
)

commitments = Table(
    "commitments",
    metadata,
    id_column(),
    reference("deliveries"),
    Column("transaction_uid", UID, nullable=False, index=True),
    Column("asked_at", UTCDateTime, nullable=False),
    Column("answered_at", UTCDateTime),
    Column("kept", Boolean),
    Column("reason", Integer),  # the Failure Reason where it is not kept (PS3.3 C.14)
    Column("settled", Boolean, nullable=False, default=False),
    UniqueConstraint("transaction_uid", "delivery_id"),
)

outages = Table(
    "outages",
    metadata,
    id_column(),
    Column("destination", String(32), nullable=False, unique=True),
    Column("failures", Integer, nullable=False),
    Column("since", UTCDateTime, nullable=False),
    Column("probe_at", UTCDateTime, nullable=False),
    Column("error", String(255), nullable=False),
)

history = Table(
    "history",
    metadata,
    id_column(),
    reference("studies"),
    Column("at", UTCDateTime, nullable=False),
    Column("event", String(64), nullable=False),
    Column("detail", JSON, nullable=False, default=dict),
)

labels = Table(
    "labels",
    metadata,
    id_column(),
    reference("studies"),
    Column("hemorrhage", String(16), nullable=False),
    Column("location", String(16)),
    Column("reader", String(64), nullable=False),
    Column("read_at", UTCDateTime, nullable=False),
    Column("saw_result", Boolean),
    Column("confidence", Float),
    Column("imported_at", UTCDateTime, nullable=False),
    UniqueConstraint("study_id", "reader", "read_at"),
    one_of("hemorrhage", ("present", "absent", "undetermined")),
)

bundles = Table(
    "bundles",
    metadata,
    id_column(),
    Column("name", String(64), nullable=False, unique=True),
    Column("sha256", String(64), nullable=False, unique=True),
    Column("folder", Text, nullable=False),
    Column("state", String(16), nullable=False),
    Column("parent_sha256", String(64)),
    Column("metrics", JSON, nullable=False, default=dict),
    Column("gate", JSON, nullable=False, default=dict),  # the last verdict of the gate on it
    Column("created_at", UTCDateTime, nullable=False),
    Column("promoted_at", UTCDateTime),
    one_of("state", BundleState),
    # at most one serves, whoever writes
    Index(
        "uq_bundles_serving",
        "state",
        unique=True,
        sqlite_where=text(f"state = '{BundleState.SERVING}'"),
        postgresql_where=text(f"state = '{BundleState.SERVING}'"),
    ),
)

bundle_changes = Table(
    "bundle_changes",
    metadata,
    id_column(),
    Column("at", UTCDateTime, nullable=False),
    Column("command", String(16), nullable=False),
    reference("bundles"),  # the one that serves from then on
    one_of("command", BundleCommand),
)

training_subjects = Table(
    "training_subjects",
    metadata,
    id_column(),
    Column("subject", String(64), nullable=False, unique=True),  # pseudonym of a patient
    Column("split", String(8), nullable=False),  # given once: who was trained on never judges
    Column("assigned_at", UTCDateTime, nullable=False),
    one_of("split", Split),
)

training_runs = Table(
    "training_runs",
    metadata,
    id_column(),
    Column("state", String(16), nullable=False),
    Column("requested_at", UTCDateTime, nullable=False),
    Column("started_at", UTCDateTime),
    Column("finished_at", UTCDateTime),
    Column("folder", Text, nullable=False),
    Column("message", Text, nullable=False, default=""),
    Column("parent_sha256", String(64)),
    Column("bundle_sha256", String(64)),
    Column("lease_holder", String(255)),
    Column("lease_until", UTCDateTime),
    one_of("state", RunState),
)
