"""The node as systemd would run it, process by process, so that each can be killed and started again."""

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import psutil
from chaos.plan import Target

from ich_node.demo.node import AE_TITLE, LOOPBACK, SCANNER_AE_TITLE, free_port, write_settings
from ich_node.network import listens
from ich_node.settings.tree import environment_for_children

ALL = ("receive", "work", "deliver", "schedule")
SECOND = "second receive"
SECOND_MACHINE = tuple(f"second {name}" for name in ALL)
COMMANDS = {
    Target.RECEIVER: "receive",
    Target.WORKER: "work",
    Target.DELIVERER: "deliver",
    Target.SCHEDULER: "schedule",
    Target.SUPERVISOR: "serve",
}
STARTS_WITHIN_S, ENDS_WITHIN_S = 60.0, 40.0


class Node:
    """The four processes, and a second receiver on the same archive and database where one is wanted."""

    def __init__(
        self,
        folder: Path,
        *,
        database_url: str,
        pacs_port: int,
        bundle: Path,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.storage, self.log_file = folder / "storage", folder / "node.log"
        self.deaths = 0  # that nobody here caused
        self._ports = {"receive": free_port(), SECOND: free_port()}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._wanted: set[str] = set()
        self._held_back: set[str] = set()
        self._lock = threading.Lock()
        self._environments = {}
        for name, port in self._ports.items():
            file = folder / f"{name.replace(' ', '-')}.toml"
            write_settings(file, _settings(self.storage, database_url, pacs_port, bundle, port))
            self._environments[name] = {**environment_for_children(file), **(environment or {})}

    def migrate(self) -> None:
        """Bring the database up."""
        self._spawn("migrate").wait(STARTS_WITHIN_S)

    def port_of(self, name: str) -> int:
        """Where a receiver listens."""
        return self._ports[name]

    def pid_of(self, name: str) -> int:
        """The process that runs under this name."""
        return self._processes[name].pid

    def ports(self) -> Sequence[int]:
        """Where receivers should be listening."""
        with self._lock:
            return [port for name, port in self._ports.items() if name in self._wanted] or [
                self._ports["receive"]
            ]

    def start(self, *names: str) -> None:
        """Start what does not run; a name is a command."""
        with self._lock:
            for name in (name for name in names if name not in self._held_back):
                if not self._runs(name):
                    self._processes[name] = self._spawn(name)
                self._wanted.add(name)

    def hold_back(self, *names: str) -> None:
        """Start these no more until they are released."""
        self._held_back |= set(names)

    def release(self, *names: str) -> None:
        """Let these be started again."""
        self._held_back -= set(names)

    def revive(self) -> None:
        """Start again what died by itself, and count it."""
        with self._lock:
            dead = [name for name in self._wanted if not self._runs(name)]
            self.deaths += len(dead)
        self.start(*dead)

    def await_receiver(self, name: str = "receive") -> None:
        """Wait until a receiver listens."""
        end = time.monotonic() + STARTS_WITHIN_S
        while not listens(LOOPBACK, self._ports[name]):
            if time.monotonic() > end:
                raise TimeoutError(f"the receiver does not listen; see {self.log_file}")
            time.sleep(0.05)

    def kill(self, target: Target) -> tuple[str, ...]:
        """Kill -9; returns what has to be started again."""
        if target is Target.CHILDREN:
            self._kill_children()
            return ()
        names = tuple(self._wanted) if target is Target.ALL else (COMMANDS[target],)
        self.lose(*names)
        return names

    def lose(self, *names: str) -> None:
        """Kill -9, and nobody starts it again."""
        with self._lock:
            running = [name for name in names if self._runs(name)]
            for name in running:  # first all, then none is left to notice another's death
                self._processes[name].kill()
            for name in running:
                self._processes[name].wait()
            self._wanted -= set(names)

    def stop(self, *names: str) -> None:
        """End gracefully; without names everything."""
        with self._lock:
            ending = [name for name in names or tuple(self._processes) if self._runs(name)]
            for name in ending:
                self._processes[name].send_signal(signal.SIGTERM)
            for name in ending:
                self._end(self._processes[name])
            self._wanted -= set(names or self._wanted)

    @staticmethod
    def _end(process: subprocess.Popen[bytes]) -> None:
        try:
            process.wait(ENDS_WITHIN_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _kill_children(self) -> None:
        worker = self._processes.get("work")
        if worker is None:
            return
        try:
            for child in psutil.Process(worker.pid).children():
                if any("spawn_main" in word for word in child.cmdline()):
                    child.kill()
        except psutil.NoSuchProcess:
            pass

    def freeze(self, *names: str) -> None:
        """Let these and their children stand still, as a host does that hangs or is being moved."""
        self._signal(signal.SIGSTOP, names)

    def thaw(self, *names: str) -> None:
        """Let them go on, as if no time had passed."""
        self._signal(signal.SIGCONT, names)

    def _signal(self, number: signal.Signals, names: Sequence[str]) -> None:
        with self._lock:
            for name in filter(self._runs, names):
                process = psutil.Process(self._processes[name].pid)
                for one in (process, *process.children(recursive=True)):
                    with suppress(psutil.NoSuchProcess):
                        one.send_signal(number)

    def _runs(self, name: str) -> bool:
        process = self._processes.get(name)
        return process is not None and process.poll() is None

    def _spawn(self, name: str) -> subprocess.Popen[bytes]:
        command = name.rpartition(" ")[2]
        environment = self._environments[name if name in self._environments else "receive"]
        with self.log_file.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "ich_node", command],
                env=environment,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C ends the rounds, not the node
            )


def _settings(storage: Path, database_url: str, pacs_port: int, bundle: Path, port: int) -> dict[str, object]:
    """Short waits, so that what a dead process held is free again within a round."""
    return {
        "mode": "report",
        "canary.every_s": 0,
        "bundle": str(bundle),
        "senders": [{"ae_title": SCANNER_AE_TITLE, "address": LOOPBACK}],
        "destinations": [{"name": "pacs", "ae_title": "PACS", "host": LOOPBACK, "port": pacs_port}],
        "database.url": database_url,
        "storage.folder": str(storage),
        "storage.reserve_mb": 100,
        "receiver.ae_title": AE_TITLE,
        "receiver.host": LOOPBACK,
        "receiver.port": port,
        "completion.quiet_s": 2,  # longer than a head waits that looks whole: it is read early
        "completion.deadline_s": 600,  # never within a round: it would hide what waits for nothing
        "analysis.device": "cpu",
        "analysis.lease_s": 3,
        "analysis.retry_s": 0.5,
        "delivery.timeout_s": 1,
        "delivery.retry_s": 0.5,
        "delivery.retry_max_s": 2,
    }
