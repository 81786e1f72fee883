"""The right series by its words: body part, contrast, kernel, age, and the habits of makers; headers only.

A row tells the verdict, then each candidate as in the table of series.
"""

import pytest
from pydicom.dataset import Dataset
from series_table import PLACE, SILENT, Study, coronal, each, facts_of, head, scout, sheet, thin, told

from ich_node.core.selection import choose

PLAIN = "16 x 5.00 axial"
SIEMENS = ("ORIGINAL", "PRIMARY", "AXIAL", "CT_SOM5 SEQ")
GE_REFORMAT = ("DERIVED", "SECONDARY", "REFORMATTED", "AVERAGE")


def _coded(meaning: str) -> list[Dataset]:
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "1", "99TEST", meaning
    return [code]


READ, NOT_HEAD, CONTRAST, BONE, TOO_YOUNG = (
    f"{verdict}: {PLAIN}"
    for verdict in (
        *("read | 2 read", "ignored NOT_HEAD | 2 NOT_HEAD", "declined CONTRAST | 2 CONTRAST"),
        *("declined BONE_KERNEL | 2 BONE_KERNEL", "declined OUT_OF_SCOPE | 2 OUT_OF_SCOPE"),
    )
)

WORDS: dict[str, tuple[Study, str]] = {
    "no body part, words say head": (lambda: head(body_part=None), READ),
    "nothing says anything": (lambda: head(**SILENT), READ),  # until the picture is looked at
    "CHEST on a series named head": (lambda: head(body_part="CHEST"), READ),
    "CHEST in a study named head": (
        lambda: head(**SILENT | {"body_part": "CHEST", "study_description": "CT HEAD"}),
        READ,
    ),
    "SKULL in a study named chest": (
        lambda: head(**SILENT | {"body_part": "SKULL", "study_description": "CT THORAX"}),
        READ,
    ),
    "CHEST and nothing else": (lambda: head(**SILENT | {"body_part": "CHEST"}), NOT_HEAD),
    "a neck series in a head study": (
        lambda: head(description="C-SPINE 2.0", ProtocolName="", body_part=None),
        NOT_HEAD,
    ),
    "head and chest in one study": (
        lambda: (
            head(description="Brain 5.0")
            + head(3, description="Thorax 5.0", ProtocolName="", body_part="CHEST")
        ),
        f"read | 2 read: {PLAIN} | 3 NOT_HEAD: {PLAIN}",
    ),
    "contrast by its tag": (lambda: head(contrast="ISOVUE 370"), CONTRAST),
    "contrast by its code": (lambda: head(ContrastBolusAgentSequence=_coded("Iohexol")), CONTRAST),
    "contrast by words": (lambda: head(description="HEAD W/ CONTRAST"), CONTRAST),
    "contrast by an abbreviation": (lambda: head(description="HEAD +C"), CONTRAST),
    "contrast by words cut short": (lambda: head(description="HEAD POST CON 5mm"), CONTRAST),
    "contrast in German": (lambda: head(description="Schädel nach KM 5.0"), CONTRAST),
    "contrast in Italian": (lambda: head(description="Encefalo con mdc"), CONTRAST),
    "contrast in Portuguese": (lambda: head(description="Crânio com contraste"), CONTRAST),
    "angiography": (lambda: head(description="CTA Head 5.0"), CONTRAST),
    "perfusion": (lambda: head(description="Brain Perfusion"), CONTRAST),
    "an agent that is none": (lambda: head(contrast="NONE"), READ),
    "an agent's code that is none": (lambda: head(ContrastBolusAgentSequence=_coded("None")), READ),
    "an empty agent": (lambda: head(contrast=""), READ),
    "native by words": (lambda: head(description="HEAD W/O CONTRAST"), READ),
    "native in Italian": (lambda: head(description="Encefalo senza mdc"), READ),
    "native before an angiography": (
        lambda: head(ProtocolName="CTA Stroke", study_description="CTA HEAD"),
        READ,
    ),
    "a kernel for bone by words, its name unknown": (
        lambda: head(kernel="11", description="Head bone"),
        BONE,
    ),
    "17 years": (lambda: head(PatientAge="017Y"), TOO_YOUNG),
    "18 years": (lambda: head(PatientAge="018Y"), READ),
    "200 months": (lambda: head(PatientAge="200M"), TOO_YOUNG),
    "a newborn": (lambda: head(PatientAge="003D"), TOO_YOUNG),
    "17 years by the birth date": (
        lambda: head(PatientAge="", PatientBirthDate="20090601", StudyDate="20260531"),
        TOO_YOUNG,
    ),
    "no age": (lambda: head(missing=["PatientAge", "PatientBirthDate"]), READ),
}

MAKERS: dict[str, tuple[Study, str]] = {
    "GE": (
        lambda: (
            scout(1, orientation="sagittal", Manufacturer="GE MEDICAL SYSTEMS")
            + scout(1, first_instance=2)
            + each(
                head(kernel="STANDARD", ContrastBolusAgent=""), AcquisitionNumber=lambda place: 1 + place // 4
            )
            + thin(3, kernel="BONEPLUS")
            + coronal(400, image_type=GE_REFORMAT)
            + sheet(999)
        ),
        "read | 1#1 LOCALIZER NOT_AXIAL: 1 coronal | 1#2 LOCALIZER NOT_AXIAL: 1 sagittal"
        f" | 2 read: {PLAIN} | 3 BONE_KERNEL: 31 x 2.50 axial"
        " | 400 NOT_AXIAL DERIVED: 10 x 5.00 coronal | 999 DERIVED",
    ),
    "Siemens": (
        lambda: (
            scout(1, image_type=("ORIGINAL", "PRIMARY", "LOCALIZER", "CT_SOM5 TOP"))
            + each(head(kernel="J30s\\2", image_type=SIEMENS), AcquisitionNumber=lambda place: place)
            + head(3, kernel="H60s", image_type=SIEMENS)
            + head(4, image_type=("DERIVED", "SECONDARY", "AXIAL", "CT_SOM5 MPR"))
            + sheet(
                501,
                sop_class="1.2.840.10008.5.1.4.1.1.2",
                image_type=("DERIVED", "SECONDARY", "OTHER", "CT_SOM5 PROT"),
            )
        ),
        f"read | 1 LOCALIZER NOT_AXIAL: 1 coronal | 2 read: {PLAIN} | 3 BONE_KERNEL: {PLAIN}"
        f" | 4 DERIVED: {PLAIN} | 501 DERIVED",
    ),
    "Philips": (
        lambda: (
            scout(1, orientation="sagittal", description="Surview")
            + head(201, kernel="UB", image_type=("ORIGINAL", "PRIMARY", "AXIAL", "HELIX"))
            + head(202, kernel="YB", image_type=("ORIGINAL", "PRIMARY", "AXIAL", "HELIX"))
            + coronal(203)
            + sheet(204, description="Dose Info")
        ),
        f"read | 1 LOCALIZER NOT_AXIAL: 1 sagittal | 201 read: {PLAIN} | 202 BONE_KERNEL: {PLAIN}"
        " | 203 NOT_AXIAL DERIVED: 10 x 5.00 coronal | 204 DERIVED",
    ),
    "Canon": (
        lambda: (
            scout(1, orientation="sagittal", description="2.0")
            + each(head(2, kernel="FC63", tilt_deg=10.5), AcquisitionNumber=lambda _: 3)
            + head(3, kernel="FC30", tilt_deg=10.5)
            + coronal(4, image_type=("DERIVED", "PRIMARY", "MPR"))
        ),
        f"read | 1 LOCALIZER NOT_AXIAL: 1 sagittal | 2 read: {PLAIN}, tilt 10.5"
        f" | 3 BONE_KERNEL: {PLAIN}, tilt 10.5 | 4 NOT_AXIAL DERIVED: 10 x 5.00 coronal",
    ),
    "a page without any position, type or modality": (
        lambda: head() + sheet(9, image_type=(), modality="", missing=(*PLACE, "ImageType")),
        f"read | 2 read: {PLAIN} | 9 NOT_CT",
    ),
}


@pytest.mark.parametrize(("study", "expected"), (WORDS | MAKERS).values(), ids=WORDS | MAKERS)
def test_words_and_makers_decide_as_the_table_says(study: Study, expected: str) -> None:
    assert told(choose(facts_of(study))) == expected
