"""A report belongs to the study that it is about: patient, study, order are copied as they stand."""

from io import BytesIO

import pytest
from odd_headers import CHARSETS, OUTSIDE_THE_STANDARD, with_bytes
from pydicom import dcmread
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from report_cases import as_read, context, dciodvfy, extent, finding, headers

from ich_node.dicom.report import build_structured_report, read_back, to_bytes
from ich_node.dicom.secondary_capture import build_secondary_capture
from ich_node.vocabulary import Outcome

TYPE_2 = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "StudyID",
    "AccessionNumber",
    "ReferringPhysicianName",
)


def both_objects(sources, outcome=Outcome.POSITIVE, **changes):
    told = finding(outcome, sources)
    return (
        build_structured_report(told, sources, context(**changes)),
        build_secondary_capture(told, sources, context(**changes), ()),
    )


def written(dataset: Dataset) -> Dataset:
    return dcmread(BytesIO(to_bytes(dataset)))


def verbatim(dataset: Dataset, keyword: str) -> bytes:
    element = dataset.get_item(keyword)
    assert isinstance(element, RawDataElement)
    return element.value or b""


@pytest.mark.parametrize(("charset", "name"), CHARSETS, ids=lambda value: str(value) if value else "")
@pytest.mark.parametrize("decoded", [False, True], ids=["as read", "decoded"])
def test_a_name_survives_in_every_character_set(charset, name, decoded, tmp_path):
    sources = headers(SpecificCharacterSet=charset, PatientName=name)
    expected = verbatim(sources[0], "PatientName")
    for source in sources if decoded else ():
        source.decode()

    for number, made in enumerate(both_objects(sources)):
        file = tmp_path / f"{number}.dcm"
        file.write_bytes(to_bytes(made))

        assert verbatim(dcmread(file), "PatientName").rstrip() == expected.rstrip()
        assert str(dcmread(file).PatientName) == name
        assert str(made.PatientName) == name
        assert dciodvfy(file) == []


@pytest.mark.parametrize(("keyword", "value"), OUTSIDE_THE_STANDARD)
def test_a_value_outside_the_standard_is_copied_and_costs_no_report(keyword, value):
    sources = with_bytes(headers(), keyword, value)

    for made in both_objects(sources):
        assert verbatim(written(made), keyword).rstrip() == value.rstrip()


@pytest.mark.parametrize(
    ("value", "told"),
    [(b"two ", "series two"), (b"2.5 ", "series 2.5"), (b"0 ", "series 0"), (b"", "a series without number")],
)
@pytest.mark.filterwarnings("ignore:.*VR.* IS")
def test_a_series_number_is_told_as_the_scanner_wrote_it(value, told):
    sources = with_bytes(headers(), "SeriesNumber", value)

    report = build_structured_report(finding(Outcome.DECLINED, headers()), sources, context())

    assert f"Not judged: {told}, 10 images." in read_back(report).conclusion


@pytest.mark.filterwarnings("ignore:Unknown encoding")
def test_an_unknown_character_set_costs_no_report():
    sources = with_bytes(headers(SpecificCharacterSet="ISO_IR 100"), "SpecificCharacterSet", b"KLINGON ")

    for made in both_objects(sources):
        assert written(made).SpecificCharacterSet == "KLINGON"


@pytest.mark.parametrize("keyword", TYPE_2)
@pytest.mark.parametrize("absent", [True, False], ids=["absent", "empty"])
def test_a_missing_value_of_type_2_stands_empty_in_the_report(keyword, absent, tmp_path):
    sources = headers(missing=[keyword]) if absent else headers(**{keyword: ""})

    for number, made in enumerate(both_objects(sources)):
        file = tmp_path / f"{number}.dcm"
        file.write_bytes(to_bytes(made))

        assert keyword in dcmread(file)
        assert not dcmread(file)[keyword].value
        assert dciodvfy(file) == []


def test_one_header_with_nothing_but_its_uids_is_enough_for_a_failed_report(tmp_path):
    bare = Dataset()
    bare.SOPClassUID, bare.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.2", "1.2.3.4.5"
    bare.StudyInstanceUID, bare.SeriesInstanceUID = "1.2.3", "1.2.3.4"

    for number, made in enumerate(both_objects([bare], Outcome.FAILED)):
        file = tmp_path / f"{number}.dcm"
        file.write_bytes(to_bytes(made))

        assert dciodvfy(file) == []
    assert (
        "a series without number, 1 image." in read_back(both_objects([bare], Outcome.FAILED)[0]).conclusion
    )


@pytest.mark.filterwarnings("ignore:Invalid value for VR UI")
def test_leading_zeros_in_uids_are_kept_as_they_name_the_study():
    sources = headers(study_uid="1.2.840.010.5", series_uid="1.2.840.010.5.007")

    report, capture = (written(made) for made in both_objects(sources))

    assert report.StudyInstanceUID == capture.StudyInstanceUID == "1.2.840.010.5"
    (study,) = report.CurrentRequestedProcedureEvidenceSequence
    assert study.StudyInstanceUID == "1.2.840.010.5"
    assert study.ReferencedSeriesSequence[0].SeriesInstanceUID == "1.2.840.010.5.007"


@pytest.mark.filterwarnings("ignore:Invalid value for VR UI")
def test_a_validator_complains_only_about_what_the_source_brought(tmp_path):
    sources = headers(study_uid="1.2.840.010.5", series_uid="1.2.840.010.5.007")
    sources = with_bytes(sources, "AccessionNumber", b"0123456789ABCDEF0123")
    sources = with_bytes(sources, "StudyID", b"0123456789ABCDEF0123")

    for number, made in enumerate(both_objects(sources)):
        file = tmp_path / f"{number}.dcm"
        file.write_bytes(to_bytes(made))

        assert dciodvfy(file) == []


@pytest.mark.parametrize(
    ("zone", "date", "time", "offset"),
    [
        ("+0530", "20260329", "060000", "+0530"),
        ("-0800", "20260328", "163000", "-0800"),
        (None, "20260329", "013000", "+0100"),
        ("+1", "20260329", "013000", "+0100"),
        ("+9900", "20260329", "013000", "+0100"),
    ],
)
def test_times_are_the_sites_with_their_offset(zone, date, time, offset):
    sources = headers(missing=["TimezoneOffsetFromUTC"])
    if zone:
        for source in sources:
            source.TimezoneOffsetFromUTC = zone

    for made in both_objects(sources):
        assert (made.ContentDate, made.ContentTime) == (date, time)
        assert (made.InstanceCreationDate, made.InstanceCreationTime) == (date, time)
        assert made.TimezoneOffsetFromUTC == offset


def item(**values) -> Dataset:
    made = Dataset()
    for keyword, value in values.items():
        setattr(made, keyword, value)
    return made


def test_the_order_and_the_hospitals_procedure_are_carried_over(tmp_path):
    procedure = item(CodeValue="CT-KOPF", CodingSchemeDesignator="99HOSP", CodeMeaning="CT des Sch\u00e4dels")
    order = item(
        RequestedProcedureID="RP1", RequestedProcedureDescription="CT Sch\u00e4del", AccessionNumber="A7"
    )
    sources = headers(
        SpecificCharacterSet="ISO_IR 100",
        ProcedureCodeSequence=[procedure],
        RequestAttributesSequence=[order],
        IssuerOfPatientID="HOSP",
    )

    made = build_structured_report(finding(Outcome.NEGATIVE, sources), sources, context())
    report = written(made)

    (request,) = report.ReferencedRequestSequence
    assert (request.RequestedProcedureID, request.AccessionNumber) == ("RP1", "A7")
    assert request.RequestedProcedureDescription == "CT Sch\u00e4del"
    reported = [x for x in report.ContentSequence if x.ConceptNameCodeSequence[0].CodeValue == "121058"]
    assert reported[0].ConceptCodeSequence[0].CodeValue == "CT-KOPF"
    assert report.ProcedureCodeSequence[0].CodeMeaning == "CT des Sch\u00e4dels"
    assert report.IssuerOfPatientID == "HOSP"
    (tmp_path / "report.dcm").write_bytes(to_bytes(made))
    assert dciodvfy(tmp_path / "report.dcm") == []


def test_a_broken_procedure_code_falls_back_to_the_widest_one():
    sources = headers(ProcedureCodeSequence=[item(CodeValue="CT-KOPF")])

    report = build_structured_report(finding(Outcome.NEGATIVE, sources), sources, context())

    reported = [x for x in report.ContentSequence if x.ConceptNameCodeSequence[0].CodeValue == "121058"]
    assert reported[0].ConceptCodeSequence[0].CodeValue == "25045-6"


def test_building_changes_no_source():
    sources = headers(missing=["StudyID"])
    before = [to_bytes(as_read(source)) for source in sources]

    both_objects(sources)

    assert [to_bytes(source) for source in sources] == before
    assert "StudyID" not in sources[0]
    assert extent(sources).slices == 10
