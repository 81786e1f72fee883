"""Puts single CT images into one Enhanced CT object."""

from copy import deepcopy
from typing import Any

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import EnhancedCTImageStorage


def enhanced(series: list[Dataset]) -> Dataset:
    """Put single images into one Enhanced CT object, head first, as its functional groups."""
    ordered = series[::-1]
    multi = deepcopy(ordered[0])
    multi.SOPClassUID = multi.file_meta.MediaStorageSOPClassUID = EnhancedCTImageStorage
    multi.NumberOfFrames = len(ordered)
    multi.PixelData = b"".join(image.PixelData for image in ordered)
    shared = _item(
        PlaneOrientationSequence=_item(ImageOrientationPatient=ordered[0].ImageOrientationPatient),
        PixelMeasuresSequence=_item(
            PixelSpacing=ordered[0].PixelSpacing, SliceThickness=ordered[0].SliceThickness
        ),
    )
    multi.SharedFunctionalGroupsSequence = Items([shared])
    multi.PerFrameFunctionalGroupsSequence = Items(
        [
            _item(
                PlanePositionSequence=_item(ImagePositionPatient=image.ImagePositionPatient),
                PixelValueTransformationSequence=_item(
                    RescaleSlope=image.RescaleSlope, RescaleIntercept=image.RescaleIntercept
                ),
            )
            for image in ordered
        ]
    )
    for keyword in (
        *("ImageOrientationPatient", "ImagePositionPatient", "PixelSpacing"),
        *("SliceThickness", "RescaleSlope", "RescaleIntercept"),
    ):
        del multi[keyword]
    return multi


def _item(**attributes: Any) -> Dataset:
    item = Dataset()
    for keyword, value in attributes.items():
        setattr(item, keyword, Items([value]) if isinstance(value, Dataset) else value)
    return item
