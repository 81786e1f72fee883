"""What selection knows of one DICOM instance: facts of its header, no pixels. Standard library only."""

from dataclasses import dataclass, field

SAME_COSINE = 0.01  # about half a degree: rounding, not another plane

Vector = tuple[float, float, float]
Orientation = tuple[
    float, float, float, float, float, float
]  # row cosines, then column cosines (PS3.3 C.7.6.2)

CT_IMAGE_CLASSES = frozenset(
    {
        "1.2.840.10008.5.1.4.1.1.2",  # CT Image
        "1.2.840.10008.5.1.4.1.1.2.1",  # Enhanced CT Image
        "1.2.840.10008.5.1.4.1.1.2.2",  # Legacy Converted Enhanced CT Image
    }
)
SECONDARY_CAPTURE_CLASSES = frozenset(
    {
        "1.2.840.10008.5.1.4.1.1.7",
        "1.2.840.10008.5.1.4.1.1.7.1",
        "1.2.840.10008.5.1.4.1.1.7.2",
        "1.2.840.10008.5.1.4.1.1.7.3",
        "1.2.840.10008.5.1.4.1.1.7.4",
    }
)


@dataclass(frozen=True, kw_only=True)
class Plane:
    """Where one image or frame lies, in mm of the patient's system (LPS)."""

    position: Vector | None = None
    orientation: Orientation | None = None


@dataclass(frozen=True, kw_only=True)
class Compression:
    """What is known of lossy compression; `ratio` is the declared one, or the largest of several."""

    transfer_syntax_uid: str = ""
    lossy: bool = False
    ratio: float | None = None


@dataclass(frozen=True, kw_only=True)
class InstanceFacts:
    """Header facts of one instance; what is absent or odd is empty or None.

    `planes` has one entry a frame. `acquisition_time_s` counts from a fixed day: midnight is no border.
    `patient_key` and `content_key` are hashes: equal means the same patient, the same pixels.
    """

    sop_instance_uid: str
    sop_class_uid: str
    series_uid: str
    study_uid: str
    modality: str = ""
    series_number: int | None = None
    instance_number: int | None = None
    series_description: str = ""
    study_description: str = ""
    protocol: str = ""
    image_type: tuple[str, ...] = ()
    body_part: str = ""
    kernel: str = ""
    contrast_agent: str = ""
    slice_thickness_mm: float | None = None
    patient_age_years: float | None = None
    rows: int = 0
    columns: int = 0
    frames: int = 1
    samples_per_pixel: int = 1
    bits_allocated: int = 0
    bits_stored: int = 0
    pixel_spacing: tuple[float, float] | None = None
    planes: tuple[Plane, ...] = (Plane(),)
    frame_of_reference_uid: str = ""
    acquisition_number: int | None = None
    acquisition_time_s: float | None = None
    irradiation_event_uid: str = ""
    compression: Compression = field(default_factory=Compression)
    has_rescale: bool = True
    own_object: bool = False
    rejected_instances: tuple[str, ...] = ()
    patient_key: str = ""
    content_key: str = ""

    @property
    def position(self) -> Vector | None:
        """Where the first frame lies."""
        return self.planes[0].position

    @property
    def orientation(self) -> Orientation | None:
        """The orientation that all frames share within rounding; None where they differ or one has none."""
        first = self.planes[0].orientation
        told = (plane.orientation for plane in self.planes)
        return first if first and all(one and is_near(one, first, SAME_COSINE) for one in told) else None


def is_near(one: tuple[float, ...], other: tuple[float, ...], tolerance: float) -> bool:
    """Say whether two rows of numbers differ by rounding only."""
    return all(abs(a - b) < tolerance for a, b in zip(one, other, strict=True))
