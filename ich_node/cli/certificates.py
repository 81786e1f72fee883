"""Says for the doctor how long each certificate that TLS needs is good for, and whether the files fit."""

from collections.abc import Iterator
from datetime import datetime

from ich_node.certificates import certificates_in, days_left
from ich_node.cli.check import Check
from ich_node.errors import UsageError
from ich_node.settings.sections import Tls
from ich_node.tls import Credentials

_ADVICE = {
    "certificate": "have it renewed and put it into",
    "authorities": "ask that authority for its next one and add it to",
}


def examine_certificates(files: Tls, *, now: datetime) -> Iterator[Check]:
    """One check for each certificate in our files; none where there is no TLS."""
    if not files.certificate:
        return
    try:
        Credentials(files).accepting()
        found = certificates_in(files)
    except UsageError as error:
        yield Check(subject="certificate", passed=False, words=str(error))
        return
    for one in found:
        left = days_left(one, now=now)
        passed = left >= files.warn_days
        words = f"{one.name}, {'ended' if left < 0 else 'good until'} {one.ends_at:%Y-%m-%d}, {_when(left)}"
        if not passed:
            words += f"; {_ADVICE[one.key]} {one.file} (tls.{one.key}); no restart is needed"
        yield Check(subject="certificate", passed=passed, words=words)


def _when(left: float) -> str:
    days = int(abs(left))
    counted = "1 day" if days == 1 else f"{days} days"
    return f"{counted} ago" if left < 0 else f"in {counted}"
