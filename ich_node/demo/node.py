"""A real node for the demo and the tests: a folder, settings and processes of its own, on loopback."""

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ich_node.errors import IchNodeError
from ich_node.network import echo, listens
from ich_node.settings.sections import Destination
from ich_node.settings.tree import PREFIX, environment_for_children
from ich_node.store.database import Database

AE_TITLE = "ICHNODE"
SCANNER_AE_TITLE = "CT1"
LOOPBACK = "127.0.0.1"
START_WITHIN_S = 90.0


@dataclass(frozen=True, kw_only=True)
class DemoNode:
    """A running node: where it listens (DICOM, HTTP), its files, its database, its log."""

    port: int
    web_port: int
    folder: Path
    settings_file: Path
    database: Database
    log_file: Path


def free_port() -> int:
    """A TCP port of this machine that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def write_settings(path: Path, values: Mapping[str, object]) -> None:
    """Write settings as TOML; `values` maps dotted keys to values (JSON's scalars and lists are TOML's)."""
    lines = [f"{key} = {_toml(value)}" for key, value in values.items()]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _toml(value: object) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key} = {_toml(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    return json.dumps(value)


@contextmanager
def running_node(
    folder: Path, *, pacs_port: int, pacs_ae_title: str = "PACS", settings: Mapping[str, object] | None = None
) -> Iterator[DemoNode]:
    """Run a whole node (`ich-node serve`) that reports to a PACS on this machine; ended on leaving.

    `settings` adds to or replaces the demo's own, by dotted key. Raises IchNodeError if it does not start.
    """
    folder.mkdir(parents=True, exist_ok=True)
    port, web_port = free_port(), free_port()
    destination = {"name": "pacs", "ae_title": pacs_ae_title, "host": LOOPBACK, "port": pacs_port}
    values = {
        "mode": "report",
        "senders": [{"ae_title": SCANNER_AE_TITLE, "address": LOOPBACK}],
        "destinations": [destination],
        "storage.folder": str(folder / "storage"),
        "receiver.ae_title": AE_TITLE,
        "receiver.host": LOOPBACK,
        "receiver.port": port,
        "storage.reserve_mb": 100,
        "canary.every_s": 0,
        "web.port": web_port,
        "completion.quiet_s": 2,
        "completion.deadline_s": 120,
        **(settings or {}),
    }
    settings_file, log_file = folder / "settings.toml", folder / "node.log"
    write_settings(settings_file, values)
    environment = _environment(settings_file, values)
    with log_file.open("ab") as log:
        _migrate(environment, log_file, log.fileno())
        serve = subprocess.Popen(_command("serve"), env=environment, stderr=log)
        url = str(values.get("database.url", f"sqlite:///{folder / 'storage' / 'ich-node.sqlite'}"))
        database = Database(url)
        try:
            _wait_until_it_answers(port, serve, log_file)
            yield DemoNode(
                port=port,
                web_port=web_port,
                folder=folder,
                settings_file=settings_file,
                database=database,
                log_file=log_file,
            )
        finally:
            serve.terminate()
            serve.wait(60)
            database.dispose()


def _command(name: str) -> list[str]:
    return [sys.executable, "-m", "ich_node", name]


def _environment(settings_file: Path, values: Mapping[str, object]) -> dict[str, str]:
    """The environment of the node: no variable of an installation wins over what the demo sets itself."""
    own = ("database.url", *values)

    def is_overruled(variable: str) -> bool:
        key = variable.removeprefix(PREFIX).lower().replace("__", ".")
        return variable.startswith(PREFIX) and any(f"{one}.".startswith(f"{key}.") for one in own)

    everything = environment_for_children(settings_file)
    return {variable: value for variable, value in everything.items() if not is_overruled(variable)}


def _migrate(environment: Mapping[str, str], log_file: Path, log: int) -> None:
    done = subprocess.run(_command("migrate"), env=environment, stdout=log, stderr=log, check=False)
    if done.returncode != 0:
        raise IchNodeError(f"`ich-node migrate` ended with {done.returncode}; see {log_file}")


def _wait_until_it_answers(port: int, serve: subprocess.Popen[bytes], log_file: Path) -> None:
    receiver = Destination(name="node", ae_title=AE_TITLE, host=LOOPBACK, port=port)
    end = time.monotonic() + START_WITHIN_S
    while time.monotonic() < end:
        if serve.poll() is not None:
            break
        if listens(LOOPBACK, port) and echo(receiver, calling_ae_title=SCANNER_AE_TITLE, timeout_s=2):
            return
        time.sleep(0.2)
    raise IchNodeError(f"the node does not answer; see {log_file}")
