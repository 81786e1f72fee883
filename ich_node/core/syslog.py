"""One audit message as syslog carries it (RFC 5424), framed for TLS (RFC 5425 4.3). As PS3.15 A.6 asks."""

from dataclasses import dataclass
from datetime import UTC, datetime

_PRIORITY = 10 * 8 + 5  # facility 10 (security, authorization), severity 5 (normal but significant)
_MESSAGE_ID = "DICOM+RFC3881"
_BOM = b"\xef\xbb\xbf"
_LARGEST_SEQUENCE = 2**31 - 1  # RFC 5424 7.3.1


@dataclass(frozen=True, kw_only=True)
class Speaker:
    """Who sends: machine, program, process."""

    host: str
    program: str
    pid: int


def frame(message: str, *, number: int, at: datetime, speaker: Speaker) -> bytes:
    """The octets to send, their count before them; by `number` and `at` a receiver knows what it got twice.

    Not by the number alone: where an older database was restored its numbers are given again.
    """
    sequence = (number - 1) % _LARGEST_SEQUENCE + 1
    header = (
        f"<{_PRIORITY}>1 {at.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%fZ} {_name(speaker.host, 255)} "
        f'{_name(speaker.program, 48)} {speaker.pid} {_MESSAGE_ID} [meta sequenceId="{sequence}"] '
    )
    body = header.encode("ascii") + _BOM + message.encode("utf-8")
    return b"%d %s" % (len(body), body)


def _name(value: str, longest: int) -> str:
    """Printable ASCII without spaces, as the header wants it; a hyphen for nothing."""
    return "".join(sign for sign in value if "!" <= sign <= "~")[:longest] or "-"
