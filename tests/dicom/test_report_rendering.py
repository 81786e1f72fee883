"""A rendered report says what the SR says, cannot run anything, and needs no other file."""

import re
import subprocess
import sys
from html.parser import HTMLParser
from io import BytesIO

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from report_cases import context, finding, headers

from ich_node import vocabulary
from ich_node.dicom.rendering import html
from ich_node.dicom.report import build_structured_report, read_back, to_bytes
from ich_node.vocabulary import Outcome

REPORTED = [outcome for outcome in Outcome if outcome.is_reported]
HOSTILE = "<script>alert('x')</script>\"><img src=x onerror=alert(1)>"


class Elements(HTMLParser):
    """Collects the elements, their attributes and the text of a page; raises on one closed out of order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.attributes: set[str] = set()
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.seen.append(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def report_of(outcome, **changes):
    sources = headers(**changes)
    return build_structured_report(
        finding(outcome, sources), sources, context(calibrated=True, prevalence=0.1)
    )


@pytest.mark.parametrize("outcome", REPORTED)
def test_a_page_holds_the_whole_report(outcome):
    report = dcmread(BytesIO(to_bytes(report_of(outcome))))

    page = Elements(html(report))

    assert page.open == []
    facts = read_back(report)
    headline = vocabulary.finding_sentence(outcome, None).rstrip(".")
    assert headline in page.text
    assert facts.conclusion.removeprefix(f"{headline}.").strip() in page.text
    assert page.text.count(vocabulary.DISCLAIMER) >= 3
    assert vocabulary.OUTCOME_COLORS[outcome] in html(report)
    for item in leaves(report):
        assert shown(item) in page.text


def leaves(item: Dataset):
    for child in item.get("ContentSequence", ()):
        yield from leaves(child)
        if child.ValueType != "CONTAINER":
            yield child


def shown(item: Dataset) -> str:
    if item.ValueType == "CODE":
        return item.ConceptCodeSequence[0].CodeMeaning
    if item.ValueType == "NUM":
        return str(item.MeasuredValueSequence[0].NumericValue)
    if item.ValueType == "IMAGE":
        return item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID
    return item.UID if item.ValueType == "UIDREF" else item.TextValue


@pytest.mark.parametrize("keyword", ["PatientName", "PatientID", "StudyDescription"])
def test_hostile_words_in_a_header_stay_words(keyword):
    page = html(report_of(Outcome.POSITIVE, **{keyword: HOSTILE[:60]}))

    elements = Elements(page)
    assert HOSTILE[:60] in elements.text
    assert {"script", "img"}.isdisjoint(elements.seen)
    assert not any(name.startswith("on") for name in elements.attributes)


def test_hostile_words_in_the_content_stay_words():
    report = report_of(Outcome.POSITIVE)
    for item in leaves(report):
        item.ConceptNameCodeSequence[0].CodeMeaning = HOSTILE
        if item.ValueType == "TEXT":
            item.TextValue = HOSTILE
        if item.ValueType == "CODE":
            item.ConceptCodeSequence[0].CodeMeaning = HOSTILE
    report.SeriesDescription = HOSTILE

    elements = Elements(html(report))

    assert {"script", "img"}.isdisjoint(elements.seen)
    assert not any(name.startswith("on") for name in elements.attributes)


def test_a_page_asks_for_nothing_from_outside():
    page = html(report_of(Outcome.NEGATIVE))

    assert re.search(r"(?:href=|src=|url\(|@import|https?:)", page) is None
    assert "default-src 'none'" in page


def test_the_page_of_a_name_in_cyrillic_letters_shows_it():
    name = "\u0418\u0432\u0430\u043d\u043e\u0432"

    assert name in html(report_of(Outcome.NEGATIVE, SpecificCharacterSet="ISO_IR 144", PatientName=name))


def test_rendering_needs_no_highdicom(request):
    program = "import sys, ich_node.dicom.rendering; sys.exit('highdicom' in sys.modules)"

    run = subprocess.run([sys.executable, "-c", program], check=False, cwd=request.config.rootpath)

    assert run.returncode == 0
