"""Whatever stands in the elements that a report takes over: the report is built, about the same study."""

from functools import cache
from io import BytesIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from odd_headers import FOUND, put, raw, tag_of
from pydicom import dcmread
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.sequence import Sequence
from pydicom.valuerep import VR
from report_cases import as_read, context, dciodvfy, finding, headers

from ich_node.dicom.report import build_structured_report, read_back, to_bytes
from ich_node.dicom.report_header import TAKEN, bare_headers
from ich_node.dicom.secondary_capture import build_secondary_capture
from ich_node.dicom.values import quietly
from ich_node.vocabulary import Outcome

UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID")
ODD = [keyword for keyword in TAKEN if keyword not in UIDS]
REPORTED = [outcome for outcome in Outcome if outcome.is_reported]
NESTED = [
    "CodeValue", "CodingSchemeDesignator", "CodeMeaning", "UniversalEntityID", "RequestedProcedureID",
    "RequestedProcedureDescription", "RequestedProcedureCodeSequence", "EquivalentCodeSequence", "Rows",
    "SpecificCharacterSet", "AccessionNumber", "PixelData", "ContextUID",
]  # fmt: skip


@cache
def files() -> tuple[bytes, ...]:
    return tuple(to_bytes(source) for source in headers())


@cache
def told(outcome: Outcome):
    return finding(outcome, headers())


@cache
def expected_uids(outcome: Outcome) -> tuple[str, ...]:
    return uids_of(*both(outcome, sources()))


def sources() -> list[Dataset]:
    return [dcmread(BytesIO(file)) for file in files()]


def both(outcome: Outcome, given_headers: list[Dataset]) -> tuple[Dataset, Dataset]:
    made = (
        build_structured_report(told(outcome), given_headers, context()),
        build_secondary_capture(told(outcome), given_headers, context(), ()),
    )
    files_made = [to_bytes(one) for one in made]
    with quietly():  # reading back warns of what the source brought; building must not
        report, capture = (dcmread(BytesIO(file)) for file in files_made)
    return report, capture


@quietly()
def uids_of(report: Dataset, capture: Dataset) -> tuple[str, ...]:
    (study,) = report.CurrentRequestedProcedureEvidenceSequence
    evidence = sorted(
        str(reference.ReferencedSOPInstanceUID)
        for series in study.ReferencedSeriesSequence
        for reference in series.ReferencedSOPSequence
    )
    objects = [str(one[uid].value) for one in (report, capture) for uid in UIDS]
    return (*objects, str(study.StudyInstanceUID), *evidence, *read_back(report).key_instances)


@pytest.mark.parametrize(("keyword", "vr", "value"), FOUND)
def test_an_element_that_once_cost_the_report_costs_nothing(keyword, vr, value):
    given_headers = sources()
    for header in given_headers:
        put(header, raw(keyword, vr, value))

    made = both(Outcome.DECLINED, given_headers)

    assert uids_of(*made) == expected_uids(Outcome.DECLINED)
    for one in made:
        assert keyword == "PatientID" or one.PatientID == given_headers[0].PatientID


byte_values = st.one_of(
    st.sampled_from([300, 66_000]).map(lambda count: b"x" * count),
    st.binary(max_size=40),
    st.sampled_from(
        [
            b"",
            b"a=b=c=d=e^f ",
            b"1\\2\\3 ",
            b"\\\\\\",
            b"\x1b$B^x",
            b"nan ",
            b"1e400",
        ]
    ),
    st.sampled_from(
        [b"utf_16", b"utf_7 ", b"rot13 ", b"ISO 2022 IR 87\\hex ", b"\\ISO 2022 IR 149", b"GBK "]
    ),
)
raws = st.builds(
    lambda keyword, vr, value, flags: raw(
        keyword, vr, value, implicit=flags[0], little=flags[1], undefined=flags[2]
    ),
    st.sampled_from([*ODD, *NESTED]),
    st.one_of(st.none(), st.sampled_from([str(vr) for vr in VR]), st.just("XX")),
    byte_values,
    st.tuples(st.booleans(), st.booleans(), st.booleans()),
)
values = st.one_of(
    st.none(), st.integers(), st.floats(), st.text(max_size=20), st.binary(max_size=20), st.just(Dataset()),
    st.lists(st.one_of(st.none(), st.integers(), st.text(max_size=5)), max_size=4), st.just("\ud800"),
)  # fmt: skip


def holding(keyword: str, vr: str, value: object) -> DataElement:
    element = DataElement(tag_of(keyword), vr, None)
    element._value = value
    return element


converted = st.builds(
    holding,
    st.sampled_from([*ODD, *NESTED]),
    st.sampled_from([str(vr) for vr in VR if vr != "SQ"]),
    values,
)


def item_of(elements: list[DataElement | RawDataElement]) -> Dataset:
    item = Dataset()
    for element in elements:
        put(item, element)
    return item


def sequence_of(keyword: str, contents: list[Dataset]) -> DataElement:
    return DataElement(tag_of(keyword), "SQ", Sequence(contents))


sequences = st.recursive(
    st.one_of(raws, converted),
    lambda inner: st.builds(
        sequence_of,
        st.sampled_from([keyword for keyword in (*ODD, *NESTED) if keyword.endswith("Sequence")]),
        st.lists(st.lists(inner, max_size=4).map(item_of), max_size=3),
    ),
    max_leaves=8,
)
elements = st.one_of(raws, converted, sequences)


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(REPORTED), st.lists(elements, min_size=1, max_size=6), st.integers(0, 9))
def test_no_header_costs_a_report_or_changes_whose_it_is(outcome, garbage, place):
    given_headers = sources()
    for element in garbage:
        put(given_headers[place], element)
        put(given_headers[0], element)

    assert uids_of(*both(outcome, given_headers)) == expected_uids(outcome)


@settings(max_examples=30, deadline=None)
@given(st.lists(elements, min_size=1, max_size=6))
def test_the_same_odd_headers_give_the_same_bytes(garbage):
    given_headers = sources()
    for element in garbage:
        put(given_headers[0], element)

    first, second = (
        to_bytes(build_structured_report(told(Outcome.POSITIVE), order, context()))
        for order in (given_headers, given_headers[::-1])
    )

    assert first == second


def nested(depth: int) -> Dataset:
    item = Dataset()
    item.CodeValue = "deep"
    for _ in range(depth):
        outer = Dataset()
        outer.EquivalentCodeSequence = [item]
        item = outer
    return item


def test_a_sequence_without_end_is_cut_off():
    given_headers = sources()
    put(given_headers[0], sequence_of("ProcedureCodeSequence", [nested(150)]))

    report, _ = both(Outcome.NEGATIVE, given_headers)

    assert len(report.to_json()) < 20_000


def encoded(item: Dataset) -> bytes:
    file = DicomBytesIO()
    file.is_implicit_VR, file.is_little_endian = True, False
    write_dataset(file, item)
    return file.getvalue()


def test_a_sequence_in_another_byte_order_keeps_its_words_and_loses_what_is_no_text():
    order = Dataset()
    order.RequestedProcedureID = "RP1"
    order.Rows = 7
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "CT-KOPF", "99HOSP", "CT head"
    order.RequestedProcedureCodeSequence = [code]
    body = encoded(order)
    item = b"\xff\xfe\xe0\x00" + len(body).to_bytes(4, "big") + body
    given_headers = sources()
    put(given_headers[0], raw("RequestAttributesSequence", None, item, implicit=True, little=False))

    report, _ = both(Outcome.NEGATIVE, given_headers)

    (request,) = report.ReferencedRequestSequence
    assert request.RequestedProcedureID == "RP1"
    assert request.RequestedProcedureCodeSequence[0].CodeValue == "CT-KOPF"
    assert "Rows" not in request


@pytest.mark.parametrize("charset", ["ISO_IR 100", "ISO_IR 192", "GB18030"])
def test_the_words_of_an_order_survive_in_the_character_set_of_the_study(charset):
    order, code = Dataset(), Dataset()
    order.RequestedProcedureDescription = "CT Sch\u00e4del"
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "1", "99HOSP", "Sch\u00e4del"
    given_headers = headers(
        SpecificCharacterSet=charset, RequestAttributesSequence=[order], ProcedureCodeSequence=[code]
    )

    made = build_structured_report(told(Outcome.NEGATIVE), given_headers, context())

    for report in (made, as_read(made)):
        assert report.ReferencedRequestSequence[0].RequestedProcedureDescription == "CT Sch\u00e4del"
        assert report.ProcedureCodeSequence[0].CodeMeaning == "Sch\u00e4del"


def test_bytes_that_are_no_text_stay_as_they_are_also_within_a_sequence():
    code = Dataset()
    put(code, raw("CodeMeaning", "LO", b"Sch\xe4del\xff"))
    put(code, raw("CodeValue", "UN", b"1"))
    given_headers = sources()
    put(given_headers[0], sequence_of("ProcedureCodeSequence", [code]))

    report, _ = both(Outcome.NEGATIVE, given_headers)

    (copied,) = report.ProcedureCodeSequence
    assert copied.get_item("CodeMeaning").value == b"Sch\xe4del\xff"
    assert copied.get_item("CodeValue").value == b"1 "


def test_an_element_of_unknown_length_is_written_with_its_length():
    given_headers = sources()
    put(given_headers[0], raw("PatientID", "UN", b"ID17 ", undefined=True))

    for made in both(Outcome.NEGATIVE, given_headers):
        assert made.PatientID == "ID17"


@pytest.mark.parametrize("outcome", REPORTED)
def test_headers_with_nothing_but_uids_are_enough_for_every_report(outcome, tmp_path):
    given_headers = sources()
    for keyword in ODD:
        put(given_headers[0], raw(keyword, "UN", b"hello"))

    bare = bare_headers(given_headers)

    assert uids_of(*both(outcome, list(bare))) == expected_uids(outcome)
    assert all(element.keyword in UIDS or element.is_empty for header in bare for element in header)
    for number, made in enumerate(both(outcome, list(bare))):
        assert made.PatientID == ""
        file = tmp_path / f"{number}.dcm"
        file.write_bytes(to_bytes(made))
        assert dciodvfy(file) == []
