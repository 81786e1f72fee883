"""Has canaries (synthetic heads) sent to our own receiver and sees that each gets its outcome."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from signal import SIGTERM
from time import monotonic

from ich_node.core.canary import is_due, verdict
from ich_node.dicom.uids import uid_from
from ich_node.log import logger
from ich_node.settings.tree import Settings, environment_for_children
from ich_node.store.canaries import (
    begin_canary,
    call_off,
    end_canary,
    files_of_canary,
    flights,
    forget_canaries,
    newest_canary,
    old_canary_studies,
    remove_canary_studies,
)
from ich_node.store.database import Database
from ich_node.store.files import Archive

KEPT = timedelta(days=1)  # its images and rows, for who wants to know why it failed
KEPT_IN_LIST = timedelta(days=90)
NOT_SENT = "not sent: the receiver did not take it"
_NICENESS = 19
_POLL_S = 0.2
_ENDS_WITHIN_S = 10.0
_SENDS_WITHIN_S = 600.0  # a receiver that stands still would hold it for ever

# the Study Instance UID; whether the receiver took all of it, None where we end ourselves
Send = Callable[[str], bool | None]


class CanaryWatch:
    """Sends canaries when they are due, and says once of each that failed that it did."""

    def __init__(
        self, database: Database, settings: Settings, send: Send, *, running_since: datetime
    ) -> None:
        self._database, self._settings, self._send = database, settings, send
        self._running_since = running_since

    def look(self, *, now: datetime) -> None:
        """Judge those on their way, then send another one if it is time."""
        self._judge(now)
        with self._database.reading() as connection:
            last = newest_canary(connection)
        every_s = self._settings.canaries_every_s
        begun_at = None if last is None else last.begun_at
        if is_due(begun_at, running_since=self._running_since, now=now, every_s=every_s):
            self._let_fly(now)

    def _judge(self, now: datetime) -> None:
        with self._database.reading() as connection:
            flying = flights(connection)
        for one in flying:
            end = verdict(
                one.outcome,
                begun_at=max(one.begun_at, self._running_since),  # while nothing runs none can arrive
                now=now,
                within_s=self._settings.canary.within_s,
            )
            if end is not None:
                self._end(one.study_uid, end.outcome, end.trouble, now)

    def _let_fly(self, now: datetime) -> None:
        uid = uid_from(f"canary\x1f{now.isoformat()}\x1f{os.urandom(8).hex()}")
        with self._database.transaction() as connection:
            begin_canary(connection, uid, now=now)
        taken = self._send(uid)
        if taken is None:
            with self._database.transaction() as connection:
                call_off(connection, uid)
        elif not taken:
            self._end(uid, None, NOT_SENT, now)

    def _end(self, study_uid: str, outcome: str | None, trouble: str | None, now: datetime) -> None:
        with self._database.transaction() as connection:
            ended = end_canary(connection, study_uid, outcome=outcome, trouble=trouble, now=now)
        if ended and trouble:
            logger().error("canary.failed", error=trouble)
        elif ended:
            logger().info("canary.came_through", outcome=outcome)


def remove_old_canaries(database: Database, archive: Archive, *, now: datetime) -> int:
    """Delete what canaries left behind, files and rows; returns how many studies went."""
    with database.transaction() as connection:
        old = old_canary_studies(connection, begun_before=now - KEPT, now=now)
        forget_canaries(connection, ended_before=now - KEPT_IN_LIST)
    for study_id in old:
        with database.transaction() as connection:
            # files first: of rows without files nobody makes a study anew, of files without rows the
            # receiver does
            archive.delete(files_of_canary(connection, study_id))
            remove_canary_studies(connection, [study_id])
    return len(old)


def sending_child(settings_file: Path | None, stop: threading.Event) -> Send:
    """Send canaries from a process of its own: drawing one takes seconds and more memory than we have."""

    def send(study_uid: str) -> bool | None:
        command = [sys.executable, "-m", "ich_node", "canary", study_uid]
        return _ends_well(command, environment_for_children(settings_file), stop)

    return send


def _ends_well(command: Sequence[str], environment: dict[str, str], stop: threading.Event) -> bool | None:
    child = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    own = os.getpriority(os.PRIO_PROCESS, 0)
    os.setpriority(os.PRIO_PROCESS, child.pid, max(own, _NICENESS))
    late = monotonic() + _SENDS_WITHIN_S
    while child.poll() is None:
        if (ends := stop.wait(_POLL_S)) or monotonic() > late:
            child.terminate()
            try:
                child.wait(_ENDS_WITHIN_S)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
            return None if ends else False
    # whoever ends us may have ended it first
    return None if child.returncode == -SIGTERM else child.returncode == 0
