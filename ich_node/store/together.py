"""Commits that wait for the disk at the same moment wait once: what several threads write is one transaction.

Nobody waits for company. Who comes first writes alone, and whoever came meanwhile goes together after that.
"""

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from typing import Generic, TypeVar

from sqlalchemy import Connection

from ich_node.errors import DatabaseAway

Written = TypeVar("Written")

TURN_WITHIN_S = 90  # more than one statement may take, or one lock


class _Job(Generic[Written]):
    def __init__(self, write: Callable[[Connection], Written]) -> None:
        self.write = write
        self.is_done = False
        self.error: BaseException | None = None
        self.written: Written | None = None


class Together:
    """Runs what threads write in transactions, of one thread or of several that came meanwhile."""

    def __init__(self, transaction: Callable[[], AbstractContextManager[Connection]]) -> None:
        self._transaction = transaction
        self._turn = threading.Lock()
        self._adding = threading.Lock()
        self._waiting: list[_Job[object]] = []

    def write(self, write: Callable[[Connection], Written]) -> Written:
        """Run `write` in a transaction; when it returns, that is committed. Raises what a transaction raises.

        It may run twice: where one of several fails, they are undone, and each runs in one of its own. Where
        its turn does not come in time, the database counts as away.
        """
        job: _Job[Written] = _Job(write)
        with self._adding:
            self._waiting.append(job)  # type: ignore[arg-type]
        if self._comes_to_its_turn(job):
            try:
                if not job.is_done:
                    with self._adding:
                        jobs, self._waiting = self._waiting, []
                    self._run(jobs)
            finally:
                self._turn.release()
        if job.error is not None:
            raise job.error
        return job.written  # type: ignore[return-value]

    def _comes_to_its_turn(self, job: _Job[Written]) -> bool:
        """Wait for those before; False where they did the job, and others keep the turn.

        Raises DatabaseAway where the turn does not come; whether those who have taken the job did it is then
        not known.
        """
        if self._turn.acquire(timeout=TURN_WITHIN_S):
            return True
        with self._adding, suppress(ValueError):
            self._waiting.remove(job)  # type: ignore[arg-type]
        if not job.is_done:
            raise DatabaseAway("what others write does not end")
        return False

    def _run(self, jobs: list[_Job[object]]) -> None:
        try:
            with self._transaction() as connection:
                written = [job.write(connection) for job in jobs]
        except BaseException as error:  # noqa: BLE001  each of the threads that wait has to hear of it
            if len(jobs) > 1 and not isinstance(error, DatabaseAway):
                for job in jobs:
                    self._run([job])
                return
            for job in jobs:
                job.error, job.is_done = error, True
            return
        for job, result in zip(jobs, written, strict=True):
            job.written, job.is_done = result, True
