"""The attributes of each frame, wherever a multi-frame object keeps them (PS3.3 C.7.6.16)."""

from pydicom.dataset import Dataset

from ich_node.dicom.values import element, items

# functional group macro: the attributes that we read from it
_MACROS = {
    "PlanePositionSequence": ("ImagePositionPatient",),
    "PlaneOrientationSequence": ("ImageOrientationPatient",),
    "PixelMeasuresSequence": ("PixelSpacing", "SliceThickness"),
    "PixelValueTransformationSequence": ("RescaleSlope", "RescaleIntercept"),
    "CTReconstructionSequence": ("ConvolutionKernel",),
}
_TOP = (*(keyword for keywords in _MACROS.values() for keyword in keywords), "BodyPartExamined")


def frames_of(dataset: Dataset) -> list[Dataset]:
    """List one data set a frame with what selection and assembling read of it; never empty.

    A classic image is its own only frame. A frame's own group wins over the shared one.
    """
    per_frame = items(dataset, "PerFrameFunctionalGroupsSequence")
    if not per_frame:
        return [dataset]
    common = Dataset()
    _copy(dataset, common, _TOP)
    for shared in items(dataset, "SharedFunctionalGroupsSequence"):
        _take(common, shared)
    return [_frame(common, group) for group in per_frame]


def _frame(common: Dataset, group: Dataset) -> Dataset:
    frame = Dataset()
    frame.update(common)
    _take(frame, group)
    return frame


def _take(frame: Dataset, group: Dataset) -> None:
    for macro, keywords in _MACROS.items():
        for item in items(group, macro):
            _copy(item, frame, keywords)


def _copy(source: Dataset, target: Dataset, keywords: tuple[str, ...]) -> None:
    for keyword in keywords:
        found = element(source, keyword)
        if found is not None:
            target[keyword] = found
