"""The content tree of the SR: TID 1500 of PS3.16 with one measurement group about the study. Pure."""

import math
from collections.abc import Sequence

from highdicom.sr import (
    AlgorithmIdentification,
    CodeContentItem,
    CodedConcept,
    ContainerContentItem,
    ContentSequence,
    DeviceObserverIdentifyingAttributes,
    FindingSite,
    LanguageOfContentItemAndDescendants,
    Measurement,
    MeasurementReport,
    MeasurementsAndQualitativeEvaluations,
    ObservationContext,
    ObserverContext,
    QualitativeEvaluation,
    RelationshipTypeValues,
    SourceImageForMeasurementGroup,
    TextContentItem,
    TrackingIdentifier,
)
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes

from ich_node import vocabulary
from ich_node.core.conclusion import Finding
from ich_node.dicom.report_context import ReportContext
from ich_node.dicom.report_copies import select
from ich_node.dicom.report_header import sop_class_of
from ich_node.dicom.values import items, text
from ich_node.dicom.wording import Words, ascii_text, key_instances
from ich_node.vocabulary import Code, Outcome


def build_content(
    finding: Finding, sources: Sequence[Dataset], context: ReportContext, *, tracking_uid: str, words: Words
) -> Dataset:
    """Build the root container; `sources` in the order of the evidence."""
    report = MeasurementReport(
        observation_context=_observer(context),
        procedure_reported=_procedure(sources[0]),
        imaging_measurements=[_group(finding, sources, context, tracking_uid)],
        title=concept(vocabulary.TITLE_TEXT),
        language_of_content_item_and_descendants=LanguageOfContentItemAndDescendants(
            concept(vocabulary.LANGUAGE_ENGLISH_US)
        ),
    )
    root: Dataset = report[0]
    root.ContentSequence.append(_evaluations(finding, words))
    _separate(root)
    return root


def concept(code: Code) -> CodedConcept:
    return CodedConcept(value=code.value, scheme_designator=code.scheme, meaning=code.meaning)


def _observer(context: ReportContext) -> ObservationContext:
    return ObservationContext(
        observer_device_context=ObserverContext(
            observer_type=codes.DCM.Device,
            observer_identifying_attributes=DeviceObserverIdentifyingAttributes(
                uid=context.installation_uid,
                name=ascii_text(context.ae_title),
                manufacturer_name=vocabulary.MANUFACTURER,
                model_name=vocabulary.PRODUCT,
                serial_number=context.bundle_sha256,
            ),
        )
    )


def _procedure(source: Dataset) -> CodedConcept:
    """The hospital's own procedure code if it is whole, else the widest CT code of CID 100."""
    # reading decodes in place, and what is copied shall stay as it was written
    for item in items(select(source, ("ProcedureCodeSequence",)), "ProcedureCodeSequence"):
        value, scheme = text(item, "CodeValue"), text(item, "CodingSchemeDesignator")
        meaning = ascii_text(text(item, "CodeMeaning"))[:64]
        if _is_code(value) and _is_code(scheme) and meaning:
            return CodedConcept(value=value, scheme_designator=scheme, meaning=meaning)
    return concept(vocabulary.CT_PROCEDURE)


def _is_code(written: str) -> bool:
    """Tell a code from what stays of one whose bytes are no text, or that was written as several."""
    return 0 < len(written) <= 16 and written.isprintable() and not set(written) & {"\\", "\ufffd"}


def _group(
    finding: Finding, sources: Sequence[Dataset], context: ReportContext, tracking_uid: str
) -> MeasurementsAndQualitativeEvaluations:
    """The finding about the study (TID 1501).

    Without analysis only the algorithm is named: a Finding item would read as a hemorrhage.
    """
    analyzed = finding.outcome.analyzed
    return MeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(uid=tracking_uid, identifier="ICH-1"),
        finding_type=concept(vocabulary.FINDING) if analyzed else None,
        finding_sites=_sites(finding),
        algorithm_id=_algorithm(context),
        measurements=_probability(finding, context),
        qualitative_evaluations=_presence(finding.outcome),
        source_images=_key_images(finding, sources),
    )


def _sites(finding: Finding) -> list[FindingSite] | None:
    if finding.location is None:
        return None
    return [FindingSite(anatomic_location=concept(vocabulary.SITES[finding.location]))]


def _algorithm(context: ReportContext) -> AlgorithmIdentification:
    parameters = [
        f"bundle={ascii_text(context.bundle_name)}",
        f"weights=sha256:{context.bundle_sha256}",
        f"threshold_low={context.thresholds.low:.3f}",
        f"threshold_high={context.thresholds.high:.3f}",
        f"mode={ascii_text(context.mode)}",
    ]
    if context.device:
        parameters.append(f"device={ascii_text(context.device)}")
    return AlgorithmIdentification(
        name=vocabulary.ALGORITHM_NAME,
        version=context.software_version,
        parameters=parameters,
        family=concept(vocabulary.ALGORITHM_FAMILY),
    )


def _probability(finding: Finding, context: ReportContext) -> list[Measurement] | None:
    """Only a calibrated score is a probability; any other stands in the conclusion, called score."""
    scores = finding.scores if finding.outcome.analyzed and context.calibrated else None
    if scores is None or not math.isfinite(scores.study):
        return None
    return [
        Measurement(
            name=concept(vocabulary.PROBABILITY),
            value=float(vocabulary.percent(scores.study)),
            unit=concept(vocabulary.PERCENT),
        )
    ]


def _presence(outcome: Outcome) -> list[QualitativeEvaluation] | None:
    if outcome not in vocabulary.PRESENCE:
        return None
    return [
        QualitativeEvaluation(
            name=concept(vocabulary.PRESENCE_NAME), value=concept(vocabulary.PRESENCE[outcome])
        )
    ]


def _key_images(finding: Finding, sources: Sequence[Dataset]) -> list[SourceImageForMeasurementGroup] | None:
    if finding.outcome is not Outcome.POSITIVE:
        return None
    classes = {text(source, "SOPInstanceUID"): sop_class_of(source) for source in sources}
    return [
        SourceImageForMeasurementGroup(referenced_sop_class_uid=classes[uid], referenced_sop_instance_uid=uid)
        for uid in key_instances(finding)
    ]


def _evaluations(finding: Finding, words: Words) -> ContainerContentItem:
    """Row 12 of TID 1500, for which highdicom has no argument: status, reasons, conclusion, disclaimer."""
    analyzed = finding.outcome.analyzed
    status = vocabulary.STATUS_ANALYZED if analyzed else vocabulary.STATUS_NOT_ANALYZED
    container = ContainerContentItem(
        name=concept(vocabulary.QUALITATIVE_EVALUATIONS),
        relationship_type=RelationshipTypeValues.CONTAINS,
    )
    container.ContentSequence = ContentSequence(
        [
            _code(vocabulary.STATUS_NAME, status),
            *(
                _code(vocabulary.REASON_NAME, vocabulary.reason_code(reason))
                for reason in (finding.reason, *finding.further_reasons)
                if reason
            ),
            _text(vocabulary.CONCLUSION, words.conclusion),
            _text(vocabulary.COMMENT, vocabulary.DISCLAIMER),
        ]
    )
    return container


def _code(name: Code, value: Code) -> CodeContentItem:
    return CodeContentItem(
        name=concept(name), value=concept(value), relationship_type=RelationshipTypeValues.CONTAINS
    )


def _text(name: Code, value: str) -> TextContentItem:
    return TextContentItem(name=concept(name), value=value, relationship_type=RelationshipTypeValues.CONTAINS)


def _separate(item: Dataset) -> None:
    """Mark every container SEPARATE: viewers run the values of CONTINUOUS ones together without names."""
    if item.ValueType == "CONTAINER":
        item.ContinuityOfContent = "SEPARATE"
    for child in item.get("ContentSequence", ()):
        _separate(child)
