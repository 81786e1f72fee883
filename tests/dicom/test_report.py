"""Every report is valid, the same bytes every time, and says what its outcome must say and nothing more."""

import hashlib
import shutil
import subprocess
import sys
from dataclasses import replace

import pytest
from pydicom import dcmread
from report_cases import SHA256, context, dciodvfy, finding, headers

from ich_node import vocabulary
from ich_node.dicom.report import Predecessor, SopClass, build_structured_report, read_back, to_bytes
from ich_node.vocabulary import Outcome, Reason

REPORTED = [outcome for outcome in Outcome if outcome.is_reported]


def report_of(outcome, sop_class=SopClass.COMPREHENSIVE, **changes):
    sources = headers()
    return build_structured_report(finding(outcome, sources), sources, context(**changes), sop_class)


@pytest.mark.parametrize("sop_class", SopClass)
@pytest.mark.parametrize("outcome", REPORTED)
def test_the_validator_finds_nothing_in_a_report(outcome, sop_class, tmp_path):
    file = tmp_path / "report.dcm"

    file.write_bytes(to_bytes(report_of(outcome, sop_class)))

    assert dciodvfy(file) == []
    assert dcmread(file).SOPClassUID == sop_class.value


@pytest.mark.peer
@pytest.mark.skipif(not shutil.which("dsrdump"), reason="DCMTK's dsrdump is not installed")
@pytest.mark.parametrize("sop_class", SopClass)
@pytest.mark.parametrize("outcome", REPORTED)
def test_dcmtk_reads_a_report_as_a_structured_report(outcome, sop_class, tmp_path):
    file = tmp_path / "report.dcm"
    file.write_bytes(to_bytes(report_of(outcome, sop_class)))

    judged = subprocess.run(["dsrdump", "-q", file], capture_output=True, text=True, check=False)

    assert (judged.returncode, judged.stderr) == (0, "")


@pytest.mark.parametrize(
    ("outcome", "presence", "site", "status", "reason", "description"),
    [
        (Outcome.POSITIVE, "52101004", "ICH-DEEP", "ICH-ANALYZED", None, "ICH AI SUSPECTED"),
        (Outcome.NEGATIVE, "272519000", None, "ICH-ANALYZED", None, "ICH AI NOT DETECTED"),
        (Outcome.INDETERMINATE, "373068000", None, "ICH-ANALYZED", None, "ICH AI UNCERTAIN"),
        (Outcome.DECLINED, None, None, "ICH-DECLINED", Reason.CONTRAST, "ICH AI NOT ANALYZED"),
        (Outcome.FAILED, None, None, "ICH-DECLINED", Reason.MODEL_FAILED, "ICH AI NOT ANALYZED"),
    ],
)
@pytest.mark.parametrize("sop_class", SopClass)
def test_a_report_holds_what_the_contract_says_of_its_outcome(
    outcome, presence, site, status, reason, description, sop_class
):
    facts = read_back(report_of(outcome, sop_class))

    assert facts.title == "ICH-REPORT"
    assert facts.outcome is outcome
    assert (facts.presence, facts.finding_site, facts.status, facts.reason) == (
        presence,
        site,
        status,
        reason,
    )
    assert facts.probability is None
    assert facts.series_description.startswith(description)
    assert facts.series_description.endswith("- not for dx")
    assert facts.bundle_sha256 == SHA256
    assert facts.comment == vocabulary.DISCLAIMER
    assert bool(facts.key_instances) is (outcome is Outcome.POSITIVE)


@pytest.mark.parametrize("outcome", [Outcome.DECLINED, Outcome.FAILED])
def test_a_report_without_analysis_names_no_hemorrhage(outcome):
    report = report_of(outcome)

    assert vocabulary.FINDING.value not in str(report)
    assert vocabulary.READ_AS_USUAL in read_back(report).conclusion


def test_a_declined_report_lists_further_reasons_after_the_decisive_one():
    assert read_back(report_of(Outcome.DECLINED)).further_reasons == (Reason.LOSSY,)


def test_every_reason_that_a_report_may_give_is_written_and_read_back():
    sources = headers()
    reasons = [reason for reason in Reason if reason.verdict in ("declined", "failed")]
    declined = finding(Outcome.DECLINED, sources)

    for reason in reasons:
        given = replace(declined, reason=reason, further_reasons=())
        report = build_structured_report(given, sources, context())

        assert read_back(report).reason is reason
    assert len(reasons) == 13


def test_a_positive_says_where_to_look_and_what_was_read():
    conclusion = read_back(report_of(Outcome.POSITIVE)).conclusion

    assert conclusion.startswith("Suspected intracerebral hemorrhage, deep supratentorial.")
    assert "Score 0.934" in conclusion
    assert "not a calibrated probability" in conclusion
    assert "Look first at series 2, images 5 and 7." in conclusion  # foot to head
    assert "Read: series 2, 10 slices over 108 mm; nothing above or below them." in conclusion
    assert vocabulary.NOT_LOOKED_FOR in conclusion
    assert conclusion.endswith(vocabulary.DISCLAIMER)


def test_a_negative_never_says_that_there_is_no_hemorrhage():
    conclusion = read_back(report_of(Outcome.NEGATIVE)).conclusion

    assert conclusion.startswith("No intracerebral hemorrhage detected by the algorithm.")
    assert "Look first" not in conclusion
    assert not any(word in conclusion.lower() for word in ("normal", "excluded", "no hemorrhage"))


def test_only_a_calibrated_bundle_gives_a_probability_and_names_its_prevalence():
    facts = read_back(report_of(Outcome.POSITIVE, calibrated=True, prevalence=0.12))

    assert facts.probability == 93.4
    assert "Probability 93.4 %, calibrated for a prevalence of 12.0 %" in facts.conclusion
    assert "score" not in facts.conclusion.lower()


def test_a_score_that_is_no_number_gives_a_report_in_doubt():
    sources = headers()
    doubtful = finding(Outcome.INDETERMINATE, sources)
    doubtful = replace(doubtful, scores=replace(doubtful.scores, study=float("nan")))

    facts = read_back(build_structured_report(doubtful, sources, context(calibrated=True, prevalence=0.1)))

    assert facts.outcome is Outcome.INDETERMINATE
    assert facts.probability is None
    assert vocabulary.NO_SCORE_SENTENCE in facts.conclusion


def test_notes_of_the_finding_and_of_the_bundle_are_told_in_plain_ascii():
    sources = headers()
    noted = replace(finding(Outcome.NEGATIVE, sources), notes=("Kopf \u00fcber 20\u00b0 \\ ~ gekippt.",))

    facts = read_back(
        build_structured_report(noted, sources, context(bundle_notes=("Promoted with a lowered gate.",)))
    )

    assert "Kopf uber 20 / - gekippt. Promoted with a lowered gate." in facts.conclusion
    assert facts.conclusion.isascii()


def test_the_same_input_gives_the_same_bytes_whatever_the_order_of_arrival():
    sources = headers()
    positive = finding(Outcome.POSITIVE, sources)

    first = to_bytes(build_structured_report(positive, sources, context()))
    second = to_bytes(build_structured_report(positive, sources[::-1], context()))

    assert first == second


PROGRAM = """
import hashlib
from ich_node.dicom.report import build_structured_report, to_bytes
from ich_node.dicom.secondary_capture import build_secondary_capture
from ich_node.vocabulary import Outcome
from tests.report_cases import context, finding, headers
sources = headers()
positive = finding(Outcome.POSITIVE, sources)
made = to_bytes(build_structured_report(positive, sources, context()))
made += to_bytes(build_secondary_capture(positive, sources, context(), ()))
print(hashlib.sha256(made).hexdigest())
"""


def test_two_processes_write_the_same_bytes(request):
    command = [sys.executable, "-c", PROGRAM]

    digests = [
        subprocess.run(command, capture_output=True, text=True, check=True, cwd=request.config.rootpath)
        for _ in range(2)
    ]

    assert len(digests[0].stdout.strip()) == hashlib.sha256().digest_size * 2
    assert digests[0].stdout == digests[1].stdout


def test_a_revision_is_a_new_series_that_names_the_report_it_replaces(tmp_path):
    first = report_of(Outcome.POSITIVE)
    earlier = Predecessor(
        sop_class_uid=first.SOPClassUID,
        sop_instance_uid=first.SOPInstanceUID,
        series_uid=first.SeriesInstanceUID,
        study_uid=first.StudyInstanceUID,
    )
    file = tmp_path / "revised.dcm"

    second = report_of(Outcome.NEGATIVE, revision=2, predecessor=earlier)
    file.write_bytes(to_bytes(second))

    assert second.SeriesInstanceUID != first.SeriesInstanceUID
    assert second.SOPInstanceUID != first.SOPInstanceUID
    assert read_back(dcmread(file)).predecessors == (first.SOPInstanceUID,)
    assert "Revision 2: replaces" in read_back(second).conclusion
    assert dciodvfy(file) == []


def test_the_two_sop_classes_of_one_report_are_two_instances_in_two_series():
    comprehensive = report_of(Outcome.POSITIVE, SopClass.COMPREHENSIVE)
    enhanced = report_of(Outcome.POSITIVE, SopClass.ENHANCED)

    assert comprehensive.SOPInstanceUID != enhanced.SOPInstanceUID
    assert comprehensive.SeriesInstanceUID != enhanced.SeriesInstanceUID


def test_a_report_lists_every_analysed_instance_and_is_preliminary():
    report = report_of(Outcome.NEGATIVE)

    (study,) = report.CurrentRequestedProcedureEvidenceSequence
    (series,) = study.ReferencedSeriesSequence
    assert len(series.ReferencedSOPSequence) == 10
    assert (report.SeriesNumber, report.Modality) == (9001, "SR")
    assert (report.CompletionFlag, report.VerificationFlag, report.PreliminaryFlag) == (
        "COMPLETE",
        "UNVERIFIED",
        "PRELIMINARY",
    )


def test_an_ignored_study_gets_no_report():
    sources = headers()
    ignored = replace(finding(Outcome.DECLINED, sources), outcome=Outcome.IGNORED)

    with pytest.raises(ValueError, match="reported outcome"):
        build_structured_report(ignored, sources, context())


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"analysed_at": context().analysed_at.replace(tzinfo=None)}, "aware"),
        ({"calibrated": True}, "prevalence"),
    ],
)
def test_a_context_that_would_make_a_false_report_is_refused(changes, problem):
    with pytest.raises(ValueError, match=problem):
        context(**changes)
