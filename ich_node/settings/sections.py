"""The sections of the settings: each knob with its unit, default and help, and what it may be."""

from ipaddress import IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Literal

import platformdirs
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from ich_node.core.site_rules import CountsAs
from ich_node.core.urgency import Urgency


def _ae_title(value: str) -> str:
    if value != value.strip() or not 1 <= len(value) <= 16 or not value.isascii() or "\\" in value:
        raise ValueError(
            "an AE title has 1 to 16 ASCII characters, no backslash, no outer spaces (PS3.5 6.2)"
        )
    return value


_IPV4_BEGINS = 96  # bit of an IPv6 address that stands for one of IPv4 (RFC 4291 2.5.5.2)


def _network(value: str) -> str:
    try:
        network = ip_network(value, strict=False)
    except ValueError as error:
        raise ValueError(f"{error} (host names are not served here)") from None
    if isinstance(network, IPv6Network) and network.prefixlen >= _IPV4_BEGINS:
        mapped = network.network_address.ipv4_mapped
        bits = network.prefixlen - _IPV4_BEGINS
        return (
            value if mapped is None else f"{mapped}" if bits == mapped.max_prefixlen else f"{mapped}/{bits}"
        )
    return value


_DATABASE_FORMS = (
    "write sqlite:///FILE (four slashes before an absolute path: sqlite:////var/lib/ich-node/node.sqlite) or "
    " postgresql+psycopg://user:password@host/name"
)


def _database_url(value: str) -> str:
    scheme, found, rest = value.partition("://")
    if not value or (scheme == "sqlite" and rest.strip("/")) or (scheme == "postgresql+psycopg" and rest):
        return value
    # never the whole value: it may hold a password
    raise ValueError(
        f"{scheme}:// is not served; {_DATABASE_FORMS}" if found else f"no URL; {_DATABASE_FORMS}"
    )


AETitle = Annotated[str, AfterValidator(_ae_title)]
Port = Annotated[int, Field(ge=1, le=65535)]
Seconds = Annotated[float, Field(gt=0)]


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Database(Section):
    url: Annotated[str, AfterValidator(_database_url)] = Field(
        "",
        description="SQLAlchemy URL; empty: SQLite inside storage.folder. "
        "PostgreSQL: postgresql+psycopg://user:password@host/name",
    )


class Storage(Section):
    folder: Path = Field(
        default_factory=lambda: Path(platformdirs.user_data_dir("ich-node")),
        description="folder for received images, bundles and training runs",
    )
    reserve_mb: int = Field(
        2048, ge=0, description="free space in MB below which new images are refused with 0xA700"
    )
    keep_days: float = Field(30, gt=0, description="days after which the images of a finished study go")


class Receiver(Section):
    ae_title: AETitle = Field("ICHNODE", description="our AE title; a caller must use it")
    host: str = Field("0.0.0.0", description="address to listen on")
    port: int = Field(11112, ge=0, le=65535, description="TCP port to listen on in clear text; 0: on none")
    tls_port: int = Field(
        0,
        ge=0,
        le=65535,
        description="TCP port to listen on with TLS, 2762 by custom; needs [tls]; 0: on none",
    )
    max_associations: int = Field(
        50, ge=1, description="associations at once; more are rejected as transient"
    )
    max_associations_per_address: int = Field(
        25, ge=1, description="of them from one address, so that none can take all; more are rejected too"
    )
    max_pdu_bytes: int = Field(
        131072, ge=4096, le=1 << 20, description="largest PDU that we announce, in bytes"
    )
    max_instance_mb: int = Field(
        256, ge=1, description="largest data set taken, in MB; it goes to the disk as it comes"
    )
    idle_timeout_s: Seconds = Field(
        60, description="seconds without a message after which an association ends"
    )

    @property
    def listens_anywhere(self) -> bool:
        """Whether it listens on every address of its machine."""
        return self.host in ("0.0.0.0", "::")

    @property
    def first_port(self) -> int:
        """A port that it listens on, the one for clear text where it has both."""
        return self.port or self.tls_port

    def port_for(self, *, tls: bool) -> int:
        """The port to call for who would like TLS, or clear text; the other one where it has only that."""
        return self.tls_port or self.port if tls else self.first_port


class Tls(Section):
    certificate: str = Field(
        "",
        description="PEM file: our certificate, then those between it and the authority that signed it; "
        "empty: no TLS. The three files are read again when they change",
    )
    key: str = Field(
        "", description="PEM file: the private key of our certificate, without passphrase, for our user alone"
    )
    authorities: str = Field(
        "",
        description="PEM file: certificates of the authorities that sign for who calls us and whom we call",
    )
    warn_days: int = Field(
        30, ge=1, description="days before a certificate ends from which it is warned about"
    )

    @model_validator(mode="after")
    def _all_or_none(self) -> "Tls":
        if any(self.paths) and not all(self.paths):
            raise ValueError("TLS needs all three files: certificate, key and authorities")
        return self

    @property
    def paths(self) -> tuple[str, str, str]:
        """The three files."""
        return self.certificate, self.key, self.authorities


class Sender(Section):
    ae_title: AETitle = Field(description="calling AE title that may send")
    address: Annotated[str, AfterValidator(_network)] = Field(
        description="address it calls from, single or as a network (10.1.0.0/16)"
    )
    urgency: Urgency = Field(
        Urgency.NORMAL,
        description="high (an emergency scanner), normal or low (research, old studies): high is read first, "
        "then normal, unless it has waited 15 minutes longer, then low, two hours",
    )
    certificate: str = Field(
        "",
        max_length=255,
        description="certificate that it must show: a DNS name in it (its common name where it has none), or "
        "its SHA-256 fingerprint. With it this entry lets in over TLS only, without it in clear text only",
    )


class RemoteEntity(Section):
    name: str = Field(pattern=r"^[A-Za-z0-9_-]{1,32}$", description="short name for logs and commands")
    ae_title: AETitle = Field(description="its AE title")
    host: str = Field(description="its host name or address")
    port: Port = Field(description="its TCP port", examples=[104])
    tls: bool = Field(
        False, description="call it with TLS, as [tls] says; its certificate must be for its host"
    )
    tls_name: str = Field(
        "",
        pattern=r"^([A-Za-z0-9_][A-Za-z0-9._:-]{0,252})?$",
        description="name or address that its certificate must be for, where that is not host",
    )

    @property
    def tls_host(self) -> str:
        """What its certificate must be for."""
        return self.tls_name or self.host


class Destination(RemoteEntity):
    confirm: Literal["none", "commitment", "find"] = Field(
        "none",
        description="how it proves that it keeps a report. commitment: Storage Commitment (it answers our "
        "receiver, so it needs [[senders]]); find: we look by C-FIND; none: its success counts, as not every "
        "PACS can do more and each report would be alarmed about; `ich-node doctor` says what it can",
    )
    wait_for_images_s: float = Field(
        0,
        ge=0,
        description="seconds that a report waits at most until the series that was read is listed (C-FIND): "
        "some PACS lose a report whose study they do not know yet; 0: it does not wait",
    )
    canary: bool = Field(
        False, description="whether it gets the reports of canaries too: only for a PACS of tests"
    )


class Source(RemoteEntity):
    pass


class Completion(Section):
    quiet_s: Seconds = Field(
        30, description="seconds without another instance before a study counts as whole"
    )
    deadline_s: Seconds = Field(
        1800, description="seconds after the first instance at which the study is taken as it is"
    )


class Analysis(Section):
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="auto takes a CUDA card where there is one"
    )
    lease_s: Seconds = Field(
        60, description="seconds after which a study held by a dead worker is free again"
    )
    attempts: int = Field(3, ge=1, description="attempts at a study before it ends as failed")
    retry_s: Seconds = Field(10, description="seconds before a failed attempt is repeated; doubles each time")
    decode_timeout_s: Seconds = Field(
        120, description="seconds that decoding one series may take before it counts as undecodable"
    )
    decode_memory_mb: int = Field(
        700, ge=100, description="memory in MB that decoding one series may take; more counts as too large"
    )
    read_timeout_s: Seconds = Field(
        300, description="seconds that reading one series may take before it counts as a failed attempt"
    )
    read_memory_mb: int = Field(
        6000, ge=100, description="memory in MB that reading one series may hold; more is a failed attempt"
    )
    trust_headers: bool = Field(
        False, description="skip the checks of HU: only for series made of 8-bit images; reports say so"
    )
    minimum_age_years: float = Field(18, ge=0, description="younger patients are declined as out of scope")


class SeriesRuleSetting(Section):
    description: str = Field("", description="pattern of the SeriesDescription (* and ?; case is the same)")
    protocol: str = Field("", description="pattern of the ProtocolName")
    kernel: str = Field("", description="pattern of the ConvolutionKernel")
    counts_as: CountsAs = Field(
        description="head, other (another part), preferred (before its twins), derived, contrast or bone"
    )

    @model_validator(mode="after")
    def _has_a_pattern(self) -> "SeriesRuleSetting":
        if not (self.description or self.protocol or self.kernel):
            raise ValueError("give a pattern: description, protocol or kernel")
        return self


class Delivery(Section):
    attempts: int = Field(
        40, ge=1, description="attempts at one destination that answers before the delivery ends as failed"
    )
    retry_s: Seconds = Field(5, description="seconds before the first repetition; doubles each time")
    retry_max_s: Seconds = Field(900, description="longest pause between two attempts, in seconds")
    timeout_s: Seconds = Field(30, description="seconds that a destination may take for one answer")
    away_after: int = Field(
        3, ge=1, description="failures to connect in a row after which a destination counts as away"
    )
    probe_max_s: Seconds = Field(
        60, description="longest pause in seconds between two tries to reach a destination that is away"
    )
    alarm_after_s: Seconds = Field(
        900, description="seconds after which a report that its destination has not taken is alarmed about"
    )
    confirm_within_s: Seconds = Field(
        900, description="seconds that a proof may take before it is alarmed about, see confirm"
    )
    resends: int = Field(
        3, ge=0, description="times that a report is sent again which a destination took and does not keep"
    )


class Fetch(Section):
    timeout_s: Seconds = Field(
        60, description="seconds without an answer or an image from the PACS after which it is given up"
    )


class Retraining(Section):
    epochs: int = Field(10, ge=1, description="epochs over the labelled studies")
    learning_rate: float = Field(2e-5, gt=0, description="AdamW learning rate")
    niceness: int = Field(
        19, ge=0, le=19, description="how far training stands back behind the clinic's work"
    )


GATE_MINIMUM_PATIENTS = 100


class Gate(Section):
    minimum_patients: int = Field(
        GATE_MINIMUM_PATIENTS,
        ge=2,
        description="kept-aside patients needed to judge a candidate; a lowered gate is named in each report",
    )


class Canary(Section):
    every_s: float = Field(
        3600,
        ge=0,
        description="seconds between two canaries, synthetic heads that walk through the whole node and must "
        "get an outcome; 0: none",
    )
    within_s: Seconds = Field(
        1800, description="seconds that a canary may take to its outcome before it is alarmed about"
    )
    host: str = Field(
        "",
        description="where the receiver is for who sends the canaries; empty: on the same machine. On "
        "another one our own AE title needs [[senders]]",
    )


class Audit(Section):
    host: str = Field(
        "",
        description="where the audit trail (PS3.15 A.5) is sent to, syslog over TLS with our certificate of "
        "[tls]; it carries Patient IDs. Empty: it is kept here alone",
    )
    port: Port = Field(6514, description="its TCP port")
    tls_name: str = Field("", description="name that its certificate must be for, where that is not host")
    alarm_after_s: Seconds = Field(
        900, description="seconds after which audit messages that it does not have are alarmed about"
    )


class Web(Section):
    host: str = Field("127.0.0.1", description="address on which /metrics and /health are served")
    port: Port = Field(8080, description="TCP port of /metrics and /health")
