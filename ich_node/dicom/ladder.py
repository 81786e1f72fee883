"""The same report as an object of another SOP class, for destinations that do not take the first one."""

from io import BytesIO

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import UID

from ich_node.dicom.uids import uid_from

COMPREHENSIVE_SR = "1.2.840.10008.5.1.4.1.1.88.33"
# the tree that we write is valid in each; the later ones are for a destination that takes nothing before
LADDER = (COMPREHENSIVE_SR, "1.2.840.10008.5.1.4.1.1.88.22", "1.2.840.10008.5.1.4.1.1.88.34")


def rungs(sop_class_uid: str) -> tuple[str, ...]:
    """The SOP classes in which an object may go out, the best first; of anything else its own."""
    return LADDER if sop_class_uid == COMPREHENSIVE_SR else (sop_class_uid,)


def in_class(content: bytes, sop_class_uid: str) -> tuple[bytes, str]:
    """A report as an object of this class, and its SOP Instance UID.

    One UID never names objects of two classes (PS3.5 9.1): the copy has one of its own, always the same.
    """
    report = dcmread(BytesIO(content))
    if report.SOPClassUID == sop_class_uid:
        return content, str(report.SOPInstanceUID)
    _turn(report, sop_class_uid, "SOPClassUID", "SOPInstanceUID")
    for study in report.get("PredecessorDocumentsSequence") or ():
        for series in study.ReferencedSeriesSequence:
            for earlier in series.ReferencedSOPSequence:
                # the earlier report went to this destination in the same class
                _turn(earlier, sop_class_uid, "ReferencedSOPClassUID", "ReferencedSOPInstanceUID")
    report.file_meta.MediaStorageSOPClassUID = UID(sop_class_uid)
    report.file_meta.MediaStorageSOPInstanceUID = report.SOPInstanceUID
    file = BytesIO()
    report.save_as(file, enforce_file_format=True)
    return file.getvalue(), str(report.SOPInstanceUID)


def _turn(item: Dataset, sop_class_uid: str, class_keyword: str, instance_keyword: str) -> None:
    setattr(item, class_keyword, sop_class_uid)
    setattr(item, instance_keyword, uid_from(str(item[instance_keyword].value), sop_class_uid))
