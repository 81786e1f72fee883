"""Structured JSON log lines on standard error; keys from an allow-list: no patient's data can slip in."""

import logging
import sys
import warnings
from contextlib import suppress

import structlog
from structlog.typing import EventDict, Processor

ALLOWED_KEYS = frozenset(
    {
        # who and what, never a patient: `study` is the row's number in our own database
        "event", "level", "time", "process", "study", "revision", "delivery", "destination", "peer",
        "address", "outcome", "reason", "stage", "seconds", "attempt", "attempts", "device", "bundle",
        "status", "error", "count", "bytes", "state", "run", "port", "host", "pid", "exit_status",
        "next_in_s", "free_mb", "mode", "ae_title", "signal", "job",
        "source", "heads", "certificate", "days",
    }
)  # fmt: skip


def _named(process: str) -> Processor:
    """Add the process's name to each line, whatever thread it comes from."""

    def name(_logger: object, _method: str, event: EventDict) -> EventDict:
        return {"process": process, **event}

    return name


def _only_allowed_keys(_logger: object, _method: str, event: EventDict) -> EventDict:
    return {key: value for key, value in event.items() if key in ALLOWED_KEYS}


class _Lines(structlog.PrintLogger):
    """Prints lines, and loses those that cannot be printed: a full disk under a log must not end the work."""

    def msg(self, message: str) -> None:
        with suppress(OSError, ValueError):  # ValueError: the stream is closed
            super().msg(message)

    info = warning = error = msg


def configure(process: str) -> None:
    """Log as JSON lines, each naming this process; other libraries only from warnings on, by type alone."""
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


def logger() -> structlog.stdlib.BoundLogger:
    """The log of this process; the first argument of a call is the event's name (`study.completed`)."""
    bound: structlog.stdlib.BoundLogger = structlog.get_logger()
    return bound
