"""What is read of a header in the short way is what pydicom makes of it in the long one."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from ich_node.dicom import values
from ich_node.dicom.values import number, quietly, texts, whole

OF_EACH_VR = {
    "LO": "SeriesDescription",
    "SH": "ConvolutionKernel",
    "UI": "SOPInstanceUID",
    "CS": "ImageType",
    "DS": "ImagePositionPatient",
    "IS": "SeriesNumber",
    "DA": "StudyDate",
    "TM": "StudyTime",
}
ODD = st.text(alphabet="0123456789+-.eE: \\AZaz_^\0\x1b\xe4", max_size=24)
CODES = st.from_regex(r"[A-Z_ ]{0,9}(\\[A-Z ]{0,9}){0,2}", fullmatch=True)
NUMBERS = st.from_regex(r"[+-]?[0-9]{1,4}(\.[0-9]{0,3})?(\\-?\.[0-9]{1,3}){0,3} ?", fullmatch=True)


def _undecoded(vr: str, value: str, *, implicit: bool) -> Dataset:
    dataset, tag = Dataset(), Tag(OF_EACH_VR[vr])
    content = value.encode("latin-1")
    said = None if implicit else vr
    dataset._dict[tag] = RawDataElement(tag, said, len(content), content, 0, implicit, True)
    dataset.set_original_encoding(implicit, True, ["UTF8"])
    return dataset


@pytest.mark.parametrize("vr", OF_EACH_VR)
@settings(max_examples=400)
@given(value=ODD | CODES | NUMBERS, implicit=st.booleans())
@example(value="ORIGINAL\\PRIMARY\\AXIAL ", implicit=False)
@example(value="-1.25e2\\0\\ 12. ", implicit=False)
@example(value="007 ", implicit=True)
def test_the_short_way_reads_what_the_long_way_reads(vr: str, value: str, implicit: bool) -> None:
    keyword = OF_EACH_VR[vr]
    short, long = (_undecoded(vr, value, implicit=implicit) for _ in range(2))
    with quietly(), pytest.MonkeyPatch.context() as patch:
        read = texts(short, keyword), number(short, keyword), whole(short, keyword)
        patch.setattr(values, "_PLAIN", {})
        assert read == (texts(long, keyword), number(long, keyword), whole(long, keyword))


@pytest.mark.parametrize("vr", OF_EACH_VR)
def test_a_value_like_most_is_not_converted(vr: str) -> None:
    usual = {"DS": "1.5\\-2\\0", "IS": "12", "DA": "20260102", "TM": "101112.5", "CS": "ORIGINAL\\AXIAL"}
    dataset = _undecoded(vr, usual.get(vr, "1.2.3"), implicit=False)
    assert texts(dataset, OF_EACH_VR[vr])
    assert isinstance(dataset.get_item(OF_EACH_VR[vr]), RawDataElement)
