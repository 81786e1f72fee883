"""Which series is read, and why not the others: tables of studies as hospitals send them."""

import random
from dataclasses import replace

import pytest
from facts import CAPTURE, CORONAL, REPORT, fact, stack
from hypothesis import given, settings
from hypothesis import strategies as st

from ich_node.core.grounds import Limits, Rules
from ich_node.core.instances import Compression, InstanceFacts
from ich_node.core.selection import Look, choose
from ich_node.core.site_rules import CountsAs, SeriesRule
from ich_node.vocabulary import Reason

JPEG_BASELINE = Compression(transfer_syntax_uid="1.2.840.10008.1.2.4.50", lossy=True, ratio=8.0)
MILD = Compression(transfer_syntax_uid="1.2.840.10008.1.2.4.91", lossy=True, ratio=8.0)
STRONG = Compression(transfer_syntax_uid="1.2.840.10008.1.2.4.91", lossy=True, ratio=12.0)
SILENT = {"series_description": "5 mm", "study_description": ""}
HEAD, NO_HEAD = Look(holds_brain=True), Look(holds_brain=False)


@pytest.mark.parametrize(
    ("facts", "verdict", "reason"),
    [
        (stack(), "read", None),
        (stack(modality="MR", sop_class_uid="1.2.840.10008.5.1.4.1.1.4"), "ignored", Reason.NOT_CT),
        ([fact(sop_class_uid=REPORT, modality="SR")], "ignored", Reason.NOT_CT),
        (stack(own_object=True), "ignored", Reason.OWN_OBJECT),
        (stack(image_type=("ORIGINAL", "PRIMARY", "LOCALIZER")), "ignored", Reason.LOCALIZER),
        (stack(series_description="Thorax"), "ignored", Reason.NOT_HEAD),
        (stack(orientation=CORONAL), "ignored", Reason.NOT_AXIAL),
        (
            stack(orientation=CORONAL, image_type=("ORIGINAL", "PRIMARY", "AXIAL")),
            "ignored",
            Reason.NOT_AXIAL,
        ),
        (stack(image_type=("DERIVED", "PRIMARY", "MPR")), "ignored", Reason.DERIVED),
        (stack(image_type=("DERIVED", "SECONDARY", "AXIAL")), "ignored", Reason.DERIVED),
        (stack(image_type=("ORIGINAL", "PRIMARY", "AXIAL", "MIP")), "ignored", Reason.DERIVED),
        (stack(image_type=("DERIVED", "PRIMARY", "AXIAL")), "read", None),
        (stack(image_type=("DERIVED", "PRIMARY"), compression=MILD), "read", None),
        ([fact(sop_class_uid=CAPTURE)], "ignored", Reason.DERIVED),
        ([fact(sop_class_uid=CAPTURE, orientation=CORONAL)], "ignored", Reason.DERIVED),
        (stack(rows=4096), "declined", Reason.TOO_LARGE),
        (stack(frames=100_000), "declined", Reason.TOO_LARGE),
        (stack(bits_allocated=32), "declined", Reason.TOO_LARGE),
        (stack(contrast_agent="IOMERON"), "declined", Reason.CONTRAST),
        (stack(contrast_agent="C-"), "read", None),
        (stack(kernel="H60s"), "declined", Reason.BONE_KERNEL),
        (stack(patient_age_years=17.9), "declined", Reason.OUT_OF_SCOPE),
        (stack(patient_age_years=18.0), "read", None),
        (stack(patient_age_years=None), "read", None),
        (stack(samples_per_pixel=3), "declined", Reason.NOT_HU),
        (stack(compression=JPEG_BASELINE, bits_stored=8), "declined", Reason.LOSSY),
        (stack(compression=STRONG), "declined", Reason.LOSSY),
        (stack(compression=MILD), "read", None),
        (stack([None] * 30), "declined", Reason.GEOMETRY),
        (stack(pixel_spacing=None), "declined", Reason.GEOMETRY),
        (stack([10.0 * index for index in range(7)]), "declined", Reason.TOO_FEW_SLICES),
        (stack([10.0 * index for index in range(8)]), "read", None),
        (stack([5.0 * index for index in range(12)]), "declined", Reason.TOO_FEW_SLICES),
        (stack([5.0 * index for index in range(13)]), "read", None),
        (stack([5.0 * index for index in range(30) if index != 14]), "declined", Reason.INCOMPLETE),
    ],
)
def test_a_study_of_one_series_ends_with_its_code(
    facts: list[InstanceFacts], verdict: str, reason: Reason | None
) -> None:
    selection = choose(facts)

    assert (selection.verdict, selection.reason) == (verdict, reason)
    assert [candidate.chosen for candidate in selection.candidates] == [verdict == "read"]


def test_images_whose_counts_of_frames_and_places_only_add_up_contradict_themselves() -> None:
    place = stack()[4].planes[0]
    facts = [*stack()[:3], fact(3, 15.0, frames=2), fact(4, planes=(place, place)), *stack()[5:]]

    assert choose(facts).reason is Reason.GEOMETRY


def test_several_reasons_stand_in_the_order_of_precedence() -> None:
    facts = stack([5.0 * index for index in range(5)], kernel="BONE", contrast_agent="IOMERON")

    selection = choose(facts)

    assert selection.candidates[0].reasons == (Reason.CONTRAST, Reason.BONE_KERNEL, Reason.TOO_FEW_SLICES)
    assert selection.reason is Reason.CONTRAST


def test_twins_of_one_pass_are_read_once_and_the_others_say_so() -> None:
    thick = stack(series="1.2", acquisition_time_s=100.0)
    thin = stack(
        [index * 1.0 for index in range(146)], series="1.3", slice_thickness_mm=1.0, acquisition_time_s=100.0
    )
    bone = stack(series="1.4", kernel="H60s", acquisition_time_s=100.0)
    reformat = stack(series="1.5", orientation=CORONAL, image_type=("DERIVED", "PRIMARY", "MPR"))

    selection = choose([*bone, *thin, *thick, *reformat])

    assert [one.series_uid for one in selection.chosen] == ["1.2"]
    told = {one.series_uid: one.reasons for one in selection.candidates}
    assert told["1.3"] == (Reason.BETTER_CANDIDATE,)
    assert told["1.4"] == (Reason.BONE_KERNEL,)
    assert told["1.5"] == (Reason.NOT_AXIAL, Reason.DERIVED)


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        ({}, {"image_type": ("DERIVED", "PRIMARY", "AXIAL")}),
        ({"slice_thickness_mm": 5.0}, {"slice_thickness_mm": 2.5}),
        ({"slice_thickness_mm": 3.0}, {"slice_thickness_mm": 10.0}),
        ({"series_number": 2}, {"series_number": 3}),
        ({"series_number": 2}, {"series_number": None}),
    ],
)
def test_the_better_twin_is_chosen_whichever_uid_comes_first(better: dict, worse: dict) -> None:
    for first, second in (("1.2", "1.3"), ("1.3", "1.2")):
        facts = [
            *stack(series=first, **{"series_number": 5} | better),
            *stack(series=second, **{"series_number": 5} | worse),
        ]

        selection = choose(facts)

        assert [one.series_uid for one in selection.chosen] == [first]


def test_much_more_coverage_outweighs_thickness() -> None:
    partial = stack([5.0 * index for index in range(14)], series="1.2")
    whole = stack([index * 1.0 for index in range(146)], series="1.3", slice_thickness_mm=1.0)

    selection = choose([*partial, *whole])

    assert [one.series_uid for one in selection.chosen] == ["1.3"]


def test_two_scans_of_one_study_are_both_read() -> None:
    before = stack(series="1.2", acquisition_time_s=100.0)
    after = stack(series="1.3", acquisition_time_s=4000.0)

    selection = choose([*before, *after])

    assert [one.series_uid for one in selection.chosen] == ["1.2", "1.3"]


def test_the_same_radiation_makes_twins_even_where_times_differ() -> None:
    first = stack(series="1.2", acquisition_time_s=100.0, irradiation_event_uid="9.1")
    second = stack(series="1.3", acquisition_time_s=4000.0, irradiation_event_uid="9.1")

    selection = choose([*first, *second])

    assert len(selection.chosen) == 1


def test_a_dose_sheet_does_not_tie_two_scans_together() -> None:
    before = stack(series="1.2", acquisition_time_s=100.0)
    sheet = [fact(series="1.3", z_mm=None, sop_class_uid=CAPTURE)]
    after = stack(series="1.4", acquisition_time_s=4000.0)

    assert len(choose([*before, *sheet, *after]).chosen) == 2


def test_a_localizer_inside_the_series_is_set_aside() -> None:
    scout = fact(99, 0.0, orientation=CORONAL, image_type=("ORIGINAL", "PRIMARY", "LOCALIZER"))

    selection = choose([*stack(), scout])

    assert [(one.chosen, one.reasons) for one in selection.candidates] == [
        (True, ()),
        (False, (Reason.LOCALIZER, Reason.NOT_AXIAL)),
    ]
    assert len({one.key for one in selection.candidates}) == 2


def test_one_coronal_image_among_axial_ones_is_not_mixed_in() -> None:
    selection = choose([*stack(), fact(99, 0.0, orientation=CORONAL)])

    assert [len(one.instances) for one in selection.candidates] == [30, 1]
    assert selection.candidates[1].reasons == (Reason.NOT_AXIAL,)


def test_many_acquisition_numbers_in_one_volume_stay_one_volume() -> None:
    facts = [replace(one, acquisition_number=index // 2) for index, one in enumerate(stack())]

    selection = choose(facts)

    assert [one.geometry.slices for one in selection.candidates if one.geometry] == [30]


def test_colliding_passes_of_one_series_are_two_scans() -> None:
    first = stack(acquisition_number=1)
    second = [
        replace(one, sop_instance_uid=f"{one.sop_instance_uid}.2", acquisition_number=2) for one in stack()
    ]
    mixed = [*first, *second]
    random.Random(5).shuffle(mixed)

    selection = choose(mixed)

    assert [(one.geometry.slices, one.geometry.duplicates) for one in selection.chosen if one.geometry] == [
        (30, 0),
        (30, 0),
    ]


def test_a_repeated_slice_is_a_duplicate_and_no_scan_of_its_own() -> None:
    again = replace(fact(3, 15.0), sop_instance_uid="1.2.3.9")

    selection = choose([*stack(), again])

    geometry = selection.chosen[0].geometry
    assert geometry is not None
    assert (geometry.slices, geometry.duplicates) == (30, 1)


def test_another_kernel_in_the_same_series_is_another_candidate() -> None:
    bone = [replace(one, sop_instance_uid=f"{one.sop_instance_uid}.9", kernel="BONE") for one in stack()]

    selection = choose([*stack(), *bone])

    assert sorted((one.chosen, one.reasons) for one in selection.candidates) == [
        (False, (Reason.BONE_KERNEL,)),
        (True, ()),
    ]


def test_rejected_images_are_ignored() -> None:
    facts = stack()
    note = fact(
        series="1.9",
        sop_class_uid="1.2.840.10008.5.1.4.1.1.88.59",
        modality="KO",
        rejected_instances=tuple(one.sop_instance_uid for one in facts),
    )

    selection = choose([*facts, note])

    assert (selection.verdict, selection.reason) == ("ignored", Reason.REJECTED)


def test_two_patients_in_one_study_are_a_conflict() -> None:
    facts = [*stack(series="1.2"), *stack(series="1.3", patient_key="another")]

    selection = choose(facts)

    assert (selection.verdict, selection.reason) == ("declined", Reason.CONFLICT)


def test_one_uid_with_two_contents_is_a_conflict_and_with_one_content_a_repeat() -> None:
    facts = [replace(one, content_key="a") for one in stack()]

    same = choose([*facts, facts[4]])
    other = choose([*facts, replace(facts[4], content_key="b")])

    assert same.verdict == "read"
    assert other.reason is Reason.CONFLICT


def test_the_code_of_a_declined_study_is_that_of_its_best_candidate() -> None:
    whole = stack([5.0 * index for index in range(30) if index != 14], series="1.2")
    bone = stack(series="1.3", kernel="BONE")
    scrap = stack([0.0, 5.0], series="1.4")

    selection = choose([*scrap, *bone, *whole])

    assert (selection.verdict, selection.reason) == ("declined", Reason.INCOMPLETE)


def test_a_picture_without_brain_declines_a_claimed_head_and_ignores_an_unclaimed_one() -> None:
    claimed, unclaimed = stack(), stack(**SILENT)

    assert choose(claimed, looks={"1.2": NO_HEAD}).reason is Reason.NO_BRAIN
    assert choose(unclaimed, looks={"1.2": NO_HEAD}).reason is Reason.NOT_HEAD
    assert choose(unclaimed, looks={"1.2": HEAD}).verdict == "read"


def test_a_picture_that_nobody_can_see_declines_a_claimed_head_only() -> None:
    blind = {"1.2": Look(holds_brain=None, reasons=(Reason.UNDECODABLE,))}

    assert choose(stack(), looks=blind).reason is Reason.UNDECODABLE
    assert choose(stack(**SILENT), looks=blind).reason is Reason.NOT_HEAD


def test_only_pictures_that_could_change_the_choice_are_wanted() -> None:
    thick = stack(series="1.2")
    thin = stack([index * 1.0 for index in range(146)], series="1.3", slice_thickness_mm=1.0)
    chest = stack(series="1.4", series_description="Thorax")
    facts = [*thick, *thin, *chest]

    first = choose(facts)
    seen = choose(facts, looks={"1.2": HEAD})
    blank = choose(facts, looks={"1.2": NO_HEAD})

    assert first.wanted == "1.2"
    assert seen.wanted is None
    assert blank.wanted == "1.3"


def test_a_site_states_its_own_rules() -> None:
    rules = Rules(minimum_age_years=0, minimum_slices=3, minimum_span_mm=10, limits=Limits(rows=256))

    assert choose(stack([0.0, 5.0, 10.0], patient_age_years=3.0, rows=256), rules).verdict == "read"
    assert choose(stack(), rules).reason is Reason.TOO_LARGE


def test_a_study_without_instances_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(ValueError, match="without instances"):
        choose([])


@settings(deadline=None)
@given(st.randoms(use_true_random=False))
def test_order_of_arrival_never_changes_the_choice(chance: random.Random) -> None:
    facts = [
        *stack(series="1.2", acquisition_number=1),
        *[
            replace(one, sop_instance_uid=f"{one.sop_instance_uid}.2", acquisition_number=2)
            for one in stack()
        ],
        *stack(series="1.3", kernel="BONE"),
        *stack(series="1.4", orientation=CORONAL),
        fact(7, 10.0, series="1.5", image_type=("ORIGINAL", "PRIMARY", "LOCALIZER")),
    ]
    expected = choose(facts)

    chance.shuffle(facts)

    assert choose(facts) == expected


def _site(**rule):
    return Rules(series=(SeriesRule(**rule),))


@pytest.mark.parametrize(
    ("facts", "rules", "expected"),
    [
        pytest.param(
            stack(series_description="Routine 3"),
            _site(description="routine*", counts_as=CountsAs.CONTRAST),
            Reason.CONTRAST,
            id="contrast by its name",
        ),
        pytest.param(
            stack(kernel="STND"),
            _site(kernel="st?d", counts_as=CountsAs.BONE),
            Reason.BONE_KERNEL,
            id="kernel",
        ),
        pytest.param(
            stack(protocol="Orbit", series_description="Head"),
            _site(protocol="orbit", description="head", counts_as=CountsAs.OTHER),
            Reason.NOT_HEAD,
            id="two patterns",
        ),
        pytest.param(
            stack(series_description="Average"),
            _site(description="aver*", counts_as=CountsAs.DERIVED),
            Reason.DERIVED,
            id="derived",
        ),
    ],
)
def test_what_the_site_says_of_a_series_overrules_what_its_words_say(facts, rules, expected):
    assert choose(facts).verdict == "read"
    assert choose(facts, rules).reason is expected


def test_a_site_can_name_its_head_scans_in_its_own_words():
    facts = stack(series_description="Schwerpunkt A", body_part="CHEST", study_description="", protocol="")

    assert choose(facts).reason is Reason.NOT_HEAD
    assert choose(facts, _site(description="schwerpunkt*", counts_as=CountsAs.HEAD)).verdict == "read"


def test_a_preferred_series_is_read_before_its_twins_but_not_if_it_cannot_be():
    thick, thin = stack(), stack([2.0 * step for step in range(73)], series="1.3", slice_thickness_mm=2.0)
    thin = [replace(fact, series_description="Brain 2.0") for fact in thin]
    rules = _site(description="brain 2.0", counts_as=CountsAs.PREFERRED)

    (by_default,) = choose([*thick, *thin]).chosen
    (preferred,) = choose([*thick, *thin], rules).chosen
    (with_holes,) = choose([*thick, *thin[:30], *thin[40:]], rules).chosen

    assert (by_default.series_uid, preferred.series_uid, with_holes.series_uid) == ("1.2", "1.3", "1.2")


def test_patterns_match_the_whole_and_all_that_are_given():
    rule = SeriesRule(description="head*", kernel="H3*", counts_as=CountsAs.PREFERRED)

    assert rule.matches(fact(series_description=" HEAD 5.0 ", kernel="h31s"))
    assert not rule.matches(fact(series_description="The head", kernel="H31s"))
    assert not rule.matches(fact(series_description="Head", kernel="H70h"))
    assert not SeriesRule(counts_as=CountsAs.BONE).matches(fact())


def test_brackets_in_a_pattern_are_those_of_the_name():
    rule = SeriesRule(description="Kopf 5.0 [J40s]*", counts_as=CountsAs.PREFERRED)

    assert rule.matches(fact(series_description="Kopf 5.0 [J40s]"))
    assert not rule.matches(fact(series_description="Kopf 5.0 J"))


def test_a_twin_that_reaches_both_ends_of_the_head_is_read_instead_of_one_cut_off():
    part = stack([5.0 * step for step in range(20)])
    whole = stack(series="1.3", image_type=("DERIVED", "PRIMARY", "AXIAL"))
    cut_off = Look(holds_brain=True, cut_off=True)

    by_headers = choose([*part, *whole])
    looked = choose([*part, *whole], looks={"1.2": cut_off})
    both = choose([*part, *whole], looks={"1.2": cut_off, "1.3": cut_off})

    assert [one.series_uid for one in by_headers.chosen] == ["1.2"]
    assert ([one.series_uid for one in looked.chosen], looked.wanted) == (["1.3"], "1.3")
    assert [one.series_uid for one in both.chosen] == ["1.2"]
