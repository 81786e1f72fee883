"""Syslog messages as RFC 5424 writes them, counted as RFC 5425 sends them."""

import re
from datetime import UTC, datetime

from ich_node.core.syslog import Speaker, frame

NOW = datetime(2026, 11, 26, 12, 0, 0, 5000, tzinfo=UTC)
SPEAKER = Speaker(host="node", program="ich-node", pid=17)


def test_a_frame_counts_its_octets_and_follows_the_grammar():
    octets = frame("<AuditMessage>é</AuditMessage>", number=7, at=NOW, speaker=SPEAKER)

    count, _, message = octets.partition(b" ")
    assert int(count) == len(message)
    assert message.startswith(
        b"<85>1 2026-11-26T12:00:00.005000Z node ich-node 17 DICOM+RFC3881 "
        b'[meta sequenceId="7"] \xef\xbb\xbf<A'
    )
    assert message.decode().endswith("é</AuditMessage>")


def test_a_name_that_the_header_cannot_hold_is_mended():
    odd = Speaker(host="nöde one", program="", pid=1)

    assert re.search(rb"Z ndeone - 1 DICOM", frame("x", number=1, at=NOW, speaker=odd))


def test_numbers_begin_anew_where_the_grammar_ends():
    assert b'sequenceId="1"' in frame("x", number=2**31, at=NOW, speaker=SPEAKER)
    assert b'sequenceId="2147483647"' in frame("x", number=2**31 - 1, at=NOW, speaker=SPEAKER)
