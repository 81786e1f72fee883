"""Turns one of our reports into files that people open: the SR as DICOM and HTML, the page as PNG. No I/O."""

from io import BytesIO

from PIL import Image
from pydicom import dcmread

from ich_node.dicom.rendering import html


def files_of(report: bytes) -> dict[str, bytes]:
    """Make, of one DICOM file of ours, the files to leave for people: contents by name."""
    read = dcmread(BytesIO(report))
    if read.Modality == "SR":
        return {"report.dcm": report, "report.html": html(read).encode()}
    picture = BytesIO()
    Image.fromarray(read.pixel_array).save(picture, "PNG")
    return {"key-slice.png": picture.getvalue()}
