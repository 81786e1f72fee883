"""The UIDs of our objects are derived, valid, and differ whenever any part of their identity differs."""

import re

import pytest

from ich_node.dicom.uids import derive

IDENTITY = {
    "installation_uid": "2.25.1",
    "study_uid": "1.2.3",
    "series_uid": "1.2.3.4",
    "bundle_sha256": "ab" * 32,
    "kind": "sr",
    "revision": 1,
}


def test_the_same_identity_gives_the_same_uid_in_every_version_of_the_software():
    # computed once from the rule in words; a change would make twins of reports already sent
    assert derive(**IDENTITY) == "2.25.339726337220844845895069140240987076819"


@pytest.mark.parametrize("part", IDENTITY)
def test_each_part_of_the_identity_changes_the_uid(part):
    other = {**IDENTITY, part: 2 if part == "revision" else "other"}

    assert derive(**other) != derive(**IDENTITY)


def test_uids_are_valid_and_at_most_44_characters_long():
    uids = [derive(**{**IDENTITY, "revision": revision}) for revision in range(500)]

    assert len(set(uids)) == 500
    assert all(re.fullmatch(r"2\.25\.[1-9][0-9]{0,38}", uid) for uid in uids)
