"""Who writes a file or holds a lease, told by its name: what the dead left behind is free. Reads /proc."""

import itertools
import os
import re
import socket
import threading
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Self

_PROC = Path("/proc")
_MACHINE = Path("/etc/machine-id")  # machine-id(5)
_WHO = r"([^~]*)~(\d+)~([0-9a-f-]*)~(\d+)~(\d+)"
_NAME = re.compile(rf"\.part~{_WHO}~[0-9-]+$")
_HOLDER = re.compile(rf"{_WHO}~.*")
_counter = itertools.count()


@dataclass(frozen=True, kw_only=True)
class Writer:
    """One process: its host by name and machine, its PID namespace (of a container), its boot, itself."""

    host: str
    namespace: str
    boot: str
    pid: int
    started: int  # in clock ticks after the boot: a later process with the same PID differs

    @classmethod
    def from_name(cls, name: str) -> Self | None:
        """Read who writes the file of this name; None where it is no temporary file of ours."""
        return cls._of(_NAME.fullmatch(name))

    @classmethod
    def from_holder(cls, holder: str) -> Self | None:
        """Read who holds a lease; None where an older version wrote it."""
        return cls._of(_HOLDER.fullmatch(holder))

    @classmethod
    def _of(cls, match: re.Match[str] | None) -> Self | None:
        if match is None:
            return None
        host, namespace, boot, pid, started = match.groups()
        return cls(host=host, namespace=namespace, boot=boot, pid=int(pid), started=int(started))

    def new_name(self) -> str:
        """A name for a temporary file that no other process and no other thread takes."""
        return f".part~{self}~{threading.get_ident()}-{next(_counter)}"

    def holder(self, what: str) -> str:
        """A name under which one part of this process holds leases; no other process has or had it."""
        return f"{self}~{what}"

    def __str__(self) -> str:
        return f"{self.host}~{self.namespace}~{self.boot}~{self.pid}~{self.started}"

    def is_known_to_be_dead(self) -> bool:
        """Whether it lived in this kernel, host and PID namespace and lives no more; False where unsure."""
        here = this_process()
        if (self.host, self.namespace) != (here.host, here.namespace):
            return False
        return self.boot != here.boot or (_started(self.pid) != self.started and not _hides(self.pid))


@cache
def _this_process(_pid: int) -> Writer:
    # /proc says more than the system call where it was mounted for another PID namespace
    pid = int((_PROC / "self").readlink().name)
    return Writer(
        host=_host(),
        namespace="".join(filter(str.isdigit, str((_PROC / "self/ns/pid").readlink()))),
        boot=(_PROC / "sys/kernel/random/boot_id").read_text().strip(),
        pid=pid,
        started=_started(pid) or 0,
    )


def _host() -> str:
    """The name of this host, and what tells it from another one of that name, where there is such a thing."""
    name = re.sub(r"[~/@]", "_", socket.gethostname())[:64]
    try:
        machine = _MACHINE.read_text().strip()
    except OSError:
        return name
    return f"{name}@{machine}" if re.fullmatch("[0-9a-f]{32}", machine) else name


def this_process() -> Writer:
    """The process that asks."""
    return _this_process(os.getpid())


def _hides(pid: int) -> bool:
    """Whether there is such a process and /proc does not show it (its mount option hidepid)."""
    if _started(pid) is not None:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _started(pid: int) -> int | None:
    try:
        # the name of the program, in brackets, may hold anything; the start is field 22 (proc(5))
        fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return int(fields[19])
