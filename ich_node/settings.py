"""Every knob with its unit, default and help; read once, from a TOML file and from the environment.

This is the only reader of the environment. A variable (`ICH_NODE_DATABASE__URL`) wins over the file.
"""

import json
import os
import tomllib
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import platformdirs
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from ich_node.core.grounds import Rules
from ich_node.core.site_rules import CountsAs, SeriesRule
from ich_node.errors import SettingsError

PREFIX = "ICH_NODE_"
FILE_VARIABLE = "ICH_NODE_SETTINGS"


def _ae_title(value: str) -> str:
    if value != value.strip() or not 1 <= len(value) <= 16 or not value.isascii() or "\\" in value:
        raise ValueError(
            "an AE title has 1 to 16 ASCII characters, no backslash, no outer spaces (PS3.5 6.2)"
        )
    return value


def _network(value: str) -> str:
    try:
        ip_network(value, strict=False)
    except ValueError as error:
        raise ValueError(f"{error} (host names are not served here)") from None
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


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Database(_Section):
    url: Annotated[str, AfterValidator(_database_url)] = Field(
        "",
        description="SQLAlchemy URL; empty: SQLite inside storage.folder. "
        "PostgreSQL: postgresql+psycopg://user:password@host/name",
    )


class Storage(_Section):
    folder: Path = Field(
        default_factory=lambda: Path(platformdirs.user_data_dir("ich-node")),
        description="folder for received images, bundles and training runs",
    )
    reserve_mb: int = Field(
        2048, ge=0, description="free space in MB below which new images are refused with 0xA700"
    )
    keep_days: float = Field(30, gt=0, description="days after which the images of a finished study go")


class Receiver(_Section):
    ae_title: AETitle = Field("ICHNODE", description="our AE title; a caller must use it")
    host: str = Field("0.0.0.0", description="address to listen on")
    port: Port = Field(11112, description="TCP port to listen on")
    max_associations: int = Field(
        50, ge=1, description="associations at once; more are rejected as transient"
    )
    max_pdu_bytes: int = Field(
        131072, ge=4096, le=1 << 20, description="largest PDU that we announce, in bytes"
    )
    max_instance_mb: int = Field(
        256, ge=1, description="largest data set taken, in MB; it is held whole in memory, a few times"
    )
    idle_timeout_s: Seconds = Field(
        60, description="seconds without a message after which an association ends"
    )

    @property
    def listens_anywhere(self) -> bool:
        """Whether it listens on every address of its machine."""
        return self.host in ("0.0.0.0", "::")


class Sender(_Section):
    ae_title: AETitle = Field(description="calling AE title that may send")
    address: Annotated[str, AfterValidator(_network)] = Field(
        description="address it calls from, single or as a network (10.1.0.0/16)"
    )


class RemoteEntity(_Section):
    name: str = Field(pattern=r"^[A-Za-z0-9_-]{1,32}$", description="short name for logs and commands")
    ae_title: AETitle = Field(description="its AE title")
    host: str = Field(description="its host name or address")
    port: Port = Field(description="its TCP port", examples=[104])


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


class Source(RemoteEntity):
    pass


class Completion(_Section):
    quiet_s: Seconds = Field(
        30, description="seconds without another instance before a study counts as whole"
    )
    deadline_s: Seconds = Field(
        1800, description="seconds after the first instance at which the study is taken as it is"
    )


class Analysis(_Section):
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
    trust_headers: bool = Field(
        False, description="skip the checks of HU: only for series made of 8-bit images; reports say so"
    )
    minimum_age_years: float = Field(18, ge=0, description="younger patients are declined as out of scope")


class SeriesRuleSetting(_Section):
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


class Delivery(_Section):
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


class Fetch(_Section):
    timeout_s: Seconds = Field(
        60, description="seconds without an answer or an image from the PACS after which it is given up"
    )


class Retraining(_Section):
    epochs: int = Field(10, ge=1, description="epochs over the labelled studies")
    learning_rate: float = Field(2e-5, gt=0, description="AdamW learning rate")
    niceness: int = Field(
        19, ge=0, le=19, description="how far training stands back behind the clinic's work"
    )


GATE_MINIMUM_PATIENTS = 100


class Gate(_Section):
    minimum_patients: int = Field(
        GATE_MINIMUM_PATIENTS,
        ge=2,
        description="kept-aside patients needed to judge a candidate; a lowered gate is named in each report",
    )


class Settings(BaseSettings):
    """The whole tree; frozen, validated, every problem named at once."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        nested_model_default_partial_update=True,
    )

    mode: Literal["quiet", "report"] = Field(
        "quiet", description="quiet: reads, stores, shows, sends nothing; report: sends"
    )
    bundle: str = Field(
        "dtvit-lite0-second",
        description="bundle that a new installation starts with: a name shipped with the node, or a folder",
    )
    senders: tuple[Sender, ...] = Field((), description="who may send; anybody else is refused and listed")
    destinations: tuple[Destination, ...] = Field((), description="where reports go; each gets every report")
    sources: tuple[Source, ...] = Field(
        (),
        description="PACS that `ich-node fetch` asks for studies, and that are asked what they have of each "
        "study that comes: all came ends the waiting, more makes it last; what they send needs [[senders]]",
    )
    series_rules: tuple[SeriesRuleSetting, ...] = Field(
        (), description="what the site says of its own series, beside their words; `explain` shows the effect"
    )
    database: Database = Database()
    storage: Storage = Field(default_factory=Storage)
    receiver: Receiver = Receiver()
    completion: Completion = Completion()
    analysis: Analysis = Analysis()
    delivery: Delivery = Delivery()
    fetch: Fetch = Fetch()
    retraining: Retraining = Retraining()
    gate: Gate = Gate()

    @model_validator(mode="after")
    def _names_differ(self) -> "Settings":
        for key, entities in (("destinations", self.destinations), ("sources", self.sources)):
            names = [entity.name for entity in entities]
            if twice := sorted({name for name in names if names.count(name) > 1}):
                raise ValueError(f"{key}: each needs a name of its own; more than one is {', '.join(twice)}")
        return self

    @property
    def proving(self) -> list[str]:
        """The names of the destinations that are asked to prove that they keep a report."""
        return [destination.name for destination in self.destinations if destination.confirm != "none"]

    @property
    def rules(self) -> Rules:
        """What the site asks of a series."""
        series = tuple(SeriesRule(**rule.model_dump()) for rule in self.series_rules)
        return Rules(minimum_age_years=self.analysis.minimum_age_years, series=series)

    @property
    def database_url(self) -> str:
        return self.database.url or f"sqlite:///{self.storage.folder / 'ich-node.sqlite'}"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Let the environment win over what the file says (the file comes in as arguments)."""
        return env_settings, init_settings


def load(path: Path | None = None) -> Settings:
    """Read the settings from `path`, else from the file that ICH_NODE_SETTINGS names, else defaults.

    Raises SettingsError that names every problem at once, each with the key and what to do.
    """
    named = path or (Path(os.environ[FILE_VARIABLE]) if os.environ.get(FILE_VARIABLE) else None)  # noqa: TID251
    values = _read_file(named) if named else {}
    problems = _unknown_variables()
    try:
        settings = Settings(**values)
    except ValidationError as error:
        problems += [_problem(item["loc"], item["msg"], item["type"]) for item in error.errors()]
    if problems:
        raise SettingsError(problems)
    return settings


def environment_for_children(path: Path | None) -> dict[str, str]:
    """The environment for a process of ours: this one's, with the settings file named."""
    named = {FILE_VARIABLE: str(path.absolute())} if path else {}
    return {**os.environ, **named}  # noqa: TID251


def _read_file(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SettingsError(
            [f"{path}: no such file; copy deploy/settings.example.toml and edit it"]
        ) from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError([f"{path}: not readable as TOML: {error}"]) from None


def _unknown_variables() -> list[str]:
    known = {name.upper() for name in Settings.model_fields} | {"SETTINGS"}
    return [
        f"{variable}: no such setting; see deploy/settings.example.toml for the names"
        for variable in os.environ  # noqa: TID251
        if variable.startswith(PREFIX) and variable.removeprefix(PREFIX).split("__")[0].upper() not in known
    ]


def _problem(location: tuple[int | str, ...], message: str, kind: str) -> str:
    key = ".".join(str(part) for part in location)
    if kind == "extra_forbidden":
        return f"{key}: no such setting; see deploy/settings.example.toml for the names"
    return f"{key}: {message.removeprefix('Value error, ')}"


def example() -> str:
    """The example settings file: every setting with its help, unit and default; only the folder is set."""
    lines = [
        "# ICH node: every setting with its default. Uncomment what you change.",
        "# storage.folder is set: a service and its administrator must mean the same place.",
        "# Any key can also come from the environment: ICH_NODE_RECEIVER__PORT=104",
        "# Durations end in _s (seconds), sizes in _mb or _bytes.",
        "",
    ]
    sections = []
    for name, field in Settings.model_fields.items():
        default = field.get_default(call_default_factory=True)
        if isinstance(default, _Section):
            sections += ["", f"[{name}]", *_example_lines(type(default))]
        elif isinstance(default, tuple):
            item, _ = get_args(field.annotation)  # tuple[Sender, ...]
            sections += ["", f"# {field.description}", f"# [[{name}]]", *_example_lines(item)]
        else:
            lines += _example_line(name, field, default)
    return "\n".join([*lines, *sections]) + "\n"


def _example_lines(section: type[_Section]) -> list[str]:
    lines = []
    for name, field in section.model_fields.items():
        required = (field.examples or ["..."])[0]
        default = required if field.is_required() else field.get_default(call_default_factory=True)
        lines += _example_line(name, field, default)
    return lines


def _example_line(name: str, field: FieldInfo, default: object) -> list[str]:
    if isinstance(default, Path):
        # the default lies in the home of whoever runs it; a service and its administrator must name one place
        return [f"# {field.description}", f'{name} = "/var/lib/ich-node"']
    # JSON's scalars are TOML's
    return [f"# {field.description}", f"# {name} = {json.dumps(default)}"]
