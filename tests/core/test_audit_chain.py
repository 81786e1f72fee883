"""The chain of the audit trail: any change, gap or forged line is found, and the first one is named."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest

from ich_node.core.audit import NO_LINE_BEFORE, Head, first_break, next_line

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)


def _chain(length):
    head, lines = Head(id=0, sha256=NO_LINE_BEFORE), []
    for number in range(length):
        line = next_line(head, at=NOW + timedelta(seconds=number), kind="Query", message=f"<m>{number}</m>")
        lines.append(line)
        head = Head(id=line.id, sha256=line.sha256)
    return lines, head


@pytest.mark.parametrize("length", [0, 1, 5])
def test_a_chain_that_nobody_touched_holds(length):
    lines, head = _chain(length)

    assert first_break(lines, head) is None


def test_the_zone_in_which_a_time_is_read_back_changes_nothing():
    lines, head = _chain(3)
    berlin = [replace(line, at=line.at.astimezone(timezone(timedelta(hours=1)))) for line in lines]

    assert first_break(berlin, head) is None


@pytest.mark.parametrize(
    ("field", "value"),
    [("message", "<m>other</m>"), ("at", NOW - timedelta(days=1)), ("kind", "Export")],
)
def test_a_changed_line_is_named(field, value):
    lines, head = _chain(5)
    lines[2] = replace(lines[2], **{field: value})

    found = first_break(lines, head)

    assert found is not None
    assert (found.id, found.words) == (3, "was changed")


def test_a_line_changed_together_with_its_hash_breaks_the_next_one():
    lines, head = _chain(5)
    forged = next_line(Head(id=2, sha256=lines[1].sha256), at=NOW, kind="Query", message="<m>forged</m>")
    lines[2] = forged

    found = first_break(lines, head)

    assert found is not None
    assert found.id == 4


@pytest.mark.parametrize(("gone", "named"), [(0, 1), (2, 3), (4, 5)])
def test_a_line_taken_out_is_named_the_last_one_too(gone, named):
    lines, head = _chain(5)
    del lines[gone]

    found = first_break(lines, head)

    assert found is not None
    assert (found.id, found.words) == (named, "is missing")


def test_lines_added_behind_the_end_are_named():
    lines, head = _chain(5)
    _, earlier = _chain(4)

    found = first_break(lines, earlier)

    assert found is not None
    assert found.id == 5
    assert head != earlier
