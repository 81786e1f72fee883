"""Validators of others find nothing in any of our reports but what a committed list explains.

    python -m pytest -s tests/dicom/test_validators.py

prints how many files each validator judged, what it said, and how much of that the list accepts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pytest
from pydicom import dcmread

from ich_node import vocabulary
from ich_node.dicom.report import to_bytes
from ich_node.dicom.values import quietly
from ich_node.vocabulary import Outcome
from tests import validators
from tests.every_report import REPORTED, Written, every_report

# PixelMed judges the tree alone, a second for each, and that is the same in all others
JUDGED_BY_TEMPLATE = (
    *(f"{outcome}, 88.33" for outcome in REPORTED),
    f"{Outcome.POSITIVE}, calibrated, 88.33",
    f"{Outcome.NEGATIVE}, revised, 88.33",
    *(f"of {odd}, 88.33" for odd in ("headers without values", "headers of UIDs alone", "an order")),
)


@pytest.fixture(scope="module")
def written() -> list[Written]:
    return list(every_report())


def put_down(written: Sequence[Written], folder: Path) -> list[Path]:
    files = [folder / f"{number:03}.dcm" for number in range(len(written))]
    for file, one in zip(files, written, strict=True):
        file.write_bytes(one.content)
    return files


def settle(validator: str, written: Sequence[Written], judged: Mapping[Path, Sequence[str]]) -> None:
    """Count what was said, then fail on what the list does not cover and on what it covers in vain."""
    complaints = {one.name: lines for one, lines in zip(written, judged.values(), strict=True)}
    said = [(name, line) for name, lines in complaints.items() for line in lines]
    known = validators.excuses(validator)
    odd = {one.name for one in written if one.odd}
    left = validators.unexcused(complaints, known, odd)
    errors = sum(line.startswith(("E", "F")) for _, line in said)
    files = f"{len(written)} files, {sum(one.odd for one in written)} of them of odd headers"
    print(f"\n{validator}: {files}; {len(said)} complaints, {errors} of them errors; {len(left)} not listed")
    stale = [
        excuse.parts
        for excuse in known
        if not any(excuse.covers(line, odd=name in odd) for name, line in said)
    ]
    assert left == []
    assert stale == [], "no report shows this any more: take it off the list"


def test_dciodvfy_finds_nothing_in_any_report_or_capture(written, tmp_path):
    settle("dciodvfy", written, validators.dciodvfy(put_down(written, tmp_path)))


@pytest.mark.peer
def test_dcmtk_finds_nothing_in_the_tree_of_any_report(written, tmp_path):
    reports = [one for one in written if one.rung != "SC"]

    settle("dsrdump", reports, validators.dsrdump(put_down(reports, tmp_path)))


@pytest.mark.peer
@pytest.mark.timeout(600)
def test_pixelmed_finds_nothing_against_the_templates_but_in_a_broken_report(written, tmp_path):
    """As written, and under title 126000, without which PixelMed finds no row of TID 1500 to judge by."""
    trees = [one for one in written if one.rung == "33" and one.name.endswith(JUDGED_BY_TEMPLATE)]
    classes = [one for one in written if one.name in {f"{outcome}, 88.{one.rung}" for outcome in REPORTED}]
    reports = [*classes, *map(under_126000, trees)]
    files = put_down([*reports, broken(under_126000(written[0]))], tmp_path)

    *judged, (_, of_broken) = validators.pixelmed(files, tmp_path).items()

    settle("pixelmed", reports, dict(judged))
    assert validators.unexcused({"broken": of_broken}, validators.excuses("pixelmed"), set())
    assert (len(classes), len(trees)) == (15, 10)


@quietly()
def under_126000(one: Written) -> Written:
    report = dcmread(BytesIO(one.content))
    (title,) = report.ConceptNameCodeSequence
    code = vocabulary.TITLE_WITH_REGION
    title.CodeValue, title.CodingSchemeDesignator, title.CodeMeaning = code.value, code.scheme, code.meaning
    return replace(one, name=f"{one.name}, 126000", content=to_bytes(report))


def broken(one: Written) -> Written:
    """The report with a Presence item outside its template, type and relationship, and no Modality."""
    report = dcmread(BytesIO(one.content))
    del report.Modality
    item = report.ContentSequence[0]
    item.RelationshipType = "CONTAINS FRIENDS"
    item.ConceptNameCodeSequence[0].CodeValue = "121052"
    return replace(one, content=to_bytes(report))


@pytest.mark.peer
@pytest.mark.parametrize("validator", ["dciodvfy", "dsrdump"])
def test_the_others_see_a_broken_report(written, validator, tmp_path):
    files = put_down([broken(under_126000(written[0]))], tmp_path)
    judged = getattr(validators, validator)(files)

    assert validators.unexcused({"broken": judged[files[0]]}, validators.excuses(validator), set())
