"""Every setting, read once, from a TOML file and from the environment.

This is the only reader of the environment. A variable (`ICH_NODE_DATABASE__URL`) wins over the file.
"""

import os
import tomllib
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from ich_node.core.grounds import Rules
from ich_node.core.site_rules import SeriesRule
from ich_node.errors import SettingsError
from ich_node.settings.sections import (
    Analysis,
    Audit,
    Canary,
    Completion,
    Database,
    Delivery,
    Destination,
    Fetch,
    Gate,
    Receiver,
    Retraining,
    Sender,
    SeriesRuleSetting,
    Source,
    Storage,
    Tls,
    Web,
)

PREFIX = "ICH_NODE_"
FILE_VARIABLE = "ICH_NODE_SETTINGS"


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
    tls: Tls = Tls()
    completion: Completion = Completion()
    analysis: Analysis = Analysis()
    delivery: Delivery = Delivery()
    fetch: Fetch = Fetch()
    retraining: Retraining = Retraining()
    gate: Gate = Gate()
    canary: Canary = Canary()
    audit: Audit = Audit()
    web: Web = Web()

    @model_validator(mode="after")
    def _names_differ(self) -> "Settings":
        for key, entities in (("destinations", self.destinations), ("sources", self.sources)):
            names = [entity.name for entity in entities]
            if twice := sorted({name for name in names if names.count(name) > 1}):
                raise ValueError(f"{key}: each needs a name of its own; more than one is {', '.join(twice)}")
        return self

    @model_validator(mode="after")
    def _ports_and_certificates_fit(self) -> "Settings":
        port, tls_port = self.receiver.port, self.receiver.tls_port
        no_files = not self.tls.certificate
        secured = ", ".join(entity.name for entity in (*self.destinations, *self.sources) if entity.tls)
        certified = ", ".join(sender.ae_title for sender in self.senders if sender.certificate)
        plain = ", ".join(sender.ae_title for sender in self.senders if not sender.certificate)
        problems = (
            (not (port or tls_port), "receiver: port and tls_port are both 0: nobody could call"),
            (port and port == tls_port, f"receiver: port and tls_port are both {port}"),
            (tls_port and no_files, "receiver.tls_port needs [tls]: certificate, key and authorities"),
            (secured and no_files, f"tls = true of {secured} needs [tls]: certificate, key and authorities"),
            (self.audit.host and no_files, "audit.host needs [tls]: certificate, key and authorities"),
            (certified and not tls_port, f"senders: {certified} must call with TLS; set receiver.tls_port"),
            (
                plain and not port,
                f"senders: {plain} call in clear text; name a certificate or set receiver.port",
            ),
        )
        if found := [words for holds, words in problems if holds]:
            raise ValueError("; ".join(found))
        return self

    def receiving(self, *, canary: bool = False) -> list[str]:
        """The names of the destinations that get a report; a canary's goes only where it is asked for."""
        if self.mode == "quiet":
            return []
        return [one.name for one in self.destinations if one.canary or not canary]

    @property
    def admitted(self) -> tuple[Sender, ...]:
        """Who may send: the senders, and this machine under our own AE title where canaries are sent."""
        own = self.canary_addresses if self.canaries_every_s else ()
        return (
            *self.senders,
            *(Sender(ae_title=self.receiver.ae_title, address=address) for address in own),
        )

    @property
    def canaries_every_s(self) -> float:
        """How often canaries fly, 0: not at all, as where nobody may send in clear text, which they do."""
        return self.canary.every_s if self.receiver.port else 0

    @property
    def canary_addresses(self) -> tuple[str, ...]:
        """From where canaries come, as far as the settings can tell: this machine."""
        if self.receiver.listens_anywhere:
            return ("127.0.0.1", "::1")
        try:
            return (str(ip_address(self.receiver.host)),)
        except ValueError:  # a host name: it needs a sender of its own
            return ()

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
