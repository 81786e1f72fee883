"""Structured JSON log lines on standard error; keys from an allow-list: no patient's data can slip in."""

import logging
import sys
import threading
import warnings
from contextlib import suppress
from pathlib import Path
from traceback import extract_tb
from types import TracebackType
from typing import TYPE_CHECKING

import structlog
from structlog.typing import EventDict, Processor

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

ALLOWED_KEYS = frozenset(
    {
        # who and what, never a patient: `study` is the row's number in our own database
        "event", "level", "time", "process", "study", "revision", "delivery", "destination", "peer",
        "address", "outcome", "reason", "stage", "seconds", "attempt", "attempts", "device", "bundle",
        "status", "error", "count", "bytes", "state", "run", "port", "host", "pid", "exit_status",
        "next_in_s", "free_mb", "mode", "ae_title", "signal", "job",
        "source", "heads", "certificate", "days", "place",
    }
)  # fmt: skip


def _named(process: str) -> Processor:
    """Add the process's name to each line, whatever thread it comes from."""

    def name(_logger: object, _method: str, event: EventDict) -> EventDict:
        return {"process": process, **event}

    return name


def _only_allowed_keys(_logger: object, _method: str, event: EventDict) -> EventDict:
    return {key: _plain(value) for key, value in event.items() if key in ALLOWED_KEYS}


def _plain(value: object) -> object:
    """Numbers and words as they are; of anything else, an error or a part of a header, only its kind."""
    return value if isinstance(value, str | int | float | None) else type(value).__name__


def _say_uncaught(event: str, kind: type[BaseException], trace: TracebackType | None) -> None:
    """Say what nobody caught by its kind and place: its words may quote a header."""
    frames = extract_tb(trace)
    place = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    logger().critical(event, error=kind.__name__, place=place)


def _of_process(kind: type[BaseException], _error: BaseException, trace: TracebackType | None) -> None:
    _say_uncaught("process.failed", kind, trace)


def _of_thread(uncaught: threading.ExceptHookArgs) -> None:
    if uncaught.exc_type is not SystemExit:
        _say_uncaught("thread.failed", uncaught.exc_type, uncaught.exc_traceback)


def _of_nobody(uncaught: "UnraisableHookArgs") -> None:
    _say_uncaught("error.ignored", uncaught.exc_type, uncaught.exc_traceback)


class _Lines(structlog.WriteLogger):
    """Writes each line whole, as processes share a log; a full disk under it must not end the work."""

    def msg(self, message: str) -> None:
        with suppress(OSError, ValueError):  # ValueError: the stream is closed
            super().msg(message)

    info = warning = error = critical = msg


def configure(process: str) -> None:
    """Log as JSON lines, each naming this process; other libraries and uncaught errors by type alone."""
    structlog.configure(
        processors=[
            _named(process),
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
            _only_allowed_keys,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=lambda *_: _Lines(sys.stderr),
    )
    # libraries may print header values in messages and warnings: a patient's name must not come out that way
    warnings.simplefilter("ignore")
    logging.getLogger().handlers[:] = [logging.NullHandler()]
    for chatty in ("pydicom", "pynetdicom", "apscheduler", "alembic"):
        logging.getLogger(chatty).setLevel(logging.CRITICAL)
    sys.excepthook, threading.excepthook, sys.unraisablehook = _of_process, _of_thread, _of_nobody


def logger() -> structlog.stdlib.BoundLogger:
    """The log of this process; the first argument of a call is the event's name (`study.completed`)."""
    bound: structlog.stdlib.BoundLogger = structlog.get_logger()
    return bound
