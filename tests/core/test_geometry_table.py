"""Geometry as it is, row by row: how a series was built, and how it is measured; headers only.

A row tells the stack: slices x median step, plane, and what is not nothing of tilt, gaps and duplicates.
"""

import math
import random
from collections.abc import Callable

import pytest
from facts import fact
from hypothesis import given, settings
from hypothesis import strategies as st
from multiframe import enhanced
from series_table import Images, again, at, facts_of, head, lifted, measures, rearranged, thin, without

from ich_node.core.geometry import Geometry, measure
from ich_node.core.instances import Plane
from ich_node.core.selection import choose

PRONE, FEET_FIRST, FEET_FIRST_PRONE = (
    (-1, 0, 0, 0, -1, 0),
    (-1, 0, 0, 0, 1, 0),
    (1, 0, 0, 0, -1, 0),
)
LEFT_DECUBITUS, RIGHT_DECUBITUS = (0, -1, 0, 1, 0, 0), (0, 1, 0, -1, 0, 0)
PLAIN = "16 x 5.00 axial"


def _heights(*heights: float, **changes: float) -> Images:
    return head(positions=[(-100, -100, height) for height in heights], **changes)


def _blocks(low_mm: float, high_mm: float) -> Images:
    """A base in thin and a vertex in thick slices."""
    base = [low_mm * place for place in range(10)]
    return _heights(*base, *(base[-1] + high_mm * (1 + place) for place in range(10)))


def _rounded(images: Images, digits: int) -> Images:
    for image in images:
        image.ImagePositionPatient = [round(float(value), digits) for value in image.ImagePositionPatient]
    return images


STACKS: dict[str, tuple[Callable[[], Images], str]] = {
    "5 mm": (lambda: head(), PLAIN),
    "0.625 mm": (lambda: head(slices=100, spacing_mm=0.625), "100 x 0.62 axial"),
    "overlapping slices": (lambda: thin(thickness_mm=5.0), "31 x 2.50 axial"),
    "slices apart": (lambda: head(spacing_mm=7.0, thickness_mm=5.0), "16 x 7.00 axial"),
    "tilt, tag right": (lambda: head(tilt_deg=18.5), f"{PLAIN}, tilt 18.5"),
    "tilt, tag of the wrong sign": (
        lambda: head(tilt_deg=18.5, GantryDetectorTilt=-18.5),
        f"{PLAIN}, tilt 18.5",
    ),
    "tilt backwards": (lambda: head(tilt_deg=-22.0), f"{PLAIN}, tilt 22.0"),
    "tilt, tag 0": (lambda: head(tilt_deg=12.0, GantryDetectorTilt=0), f"{PLAIN}, tilt 12.0"),
    "tilt, no tag": (lambda: head(tilt_deg=12.0, missing=["GantryDetectorTilt"]), f"{PLAIN}, tilt 12.0"),
    "tag of a tilt that was straightened": (lambda: head(GantryDetectorTilt=12), PLAIN),
    "tilt of 30 degrees": (lambda: head(tilt_deg=30.0), f"{PLAIN}, tilt 30.0"),
    "tilt, feet first": (lambda: head(tilt_deg=15.0, orientation=FEET_FIRST), f"{PLAIN}, tilt 15.0"),
    "prone": (lambda: head(orientation=PRONE), PLAIN),
    "feet first": (lambda: head(orientation=FEET_FIRST, PatientPosition="FFS"), PLAIN),
    "feet first, said to be head first": (lambda: head(orientation=FEET_FIRST), PLAIN),
    "feet first, prone": (lambda: head(orientation=FEET_FIRST_PRONE), PLAIN),
    "on the left side": (lambda: head(orientation=LEFT_DECUBITUS), PLAIN),
    "on the right side": (lambda: head(orientation=RIGHT_DECUBITUS), PLAIN),
    "coronal, said to be axial": (lambda: head(orientation="coronal"), "16 x 5.00 coronal"),
    "sagittal": (lambda: head(orientation="sagittal"), "16 x 5.00 sagittal"),
    "halfway to coronal": (
        lambda: head(orientation=(1, 0, 0, 0, 0.70711, -0.70711)),
        "16 x 5.00 oblique, tilt 45.0",
    ),
    "thin base, thick vertex": (lambda: _blocks(2.5, 5.0), "20 x varies axial"),
    "4 mm, one step of 1 mm, 7 mm": (
        lambda: _heights(0, 4, 8, 12, 16, 20, 24, 25, 32, 39, 46, 53, 60),
        "13 x varies axial",
    ),
    "a base of two thin slices": (lambda: _heights(0, 2.5, *range(5, 70, 5)), "15 x varies axial"),
    "a slice lost": (lambda: without(head(), 7), "15 x varies axial, gaps 1"),
    "two neighbours lost": (lambda: without(head(), 7, 8), "14 x varies axial, gaps 1"),
    "slices lost in two places": (lambda: without(head(), 4, 11), "14 x varies axial, gaps 2"),
    "the second slice lost": (lambda: without(head(), 1), "15 x varies axial, gaps 1"),
    "the last but one lost": (lambda: without(head(), 14), "15 x varies axial, gaps 1"),
    "a slice lost in a thin base": (lambda: without(_blocks(2.5, 5.0), 4), "19 x varies axial, gaps 1"),
    "steps that differ by a tenth": (lambda: _heights(0, 5, 10.5, 15.5, 20.5, 26), "6 x 5.00 axial"),
    "steps that differ by a third": (lambda: _heights(0, 5, 11.5, 16.5, 21.5, 28), "6 x varies axial"),
    "positions rounded to 0.1 mm": (
        lambda: _rounded(head(spacing_mm=4.92, tilt_deg=10.5), 1),
        "16 x 4.92 axial, tilt 10.5",
    ),
    "positions rounded to whole mm": (lambda: _rounded(head(spacing_mm=4.8), 0), "16 x 5.00 axial"),
    "orientation rounded to 3 digits": (
        lambda: at(head(tilt_deg=12.0), range(0, 16, 2), ImageOrientationPatient=[1, 0, 0, 0, 0.978, 0.208]),
        f"{PLAIN}, tilt 12.0",
    ),
    "repeated under a new UID": (lambda: head() + again(head()[3:6]), f"{PLAIN}, duplicates 3"),
    "repeated under the same UID": (lambda: head() + head()[3:6], PLAIN),
    "repeated three times": (
        lambda: head() + again(head()[:1]) + again(head()[:1], InstanceNumber=99),
        f"{PLAIN}, duplicates 2",
    ),
    "repeated with a time of its own": (
        lambda: head() + again(head()[3:6], AcquisitionTime="120100"),
        f"{PLAIN}, duplicates 3",
    ),
    "repeated with rounded positions": (
        lambda: lifted(head(), 0.004) + _rounded(again(head()[3:6]), 1),
        f"{PLAIN}, duplicates 3",
    ),
    "several frames in one object": (lambda: [enhanced(head())], PLAIN),
    "one frame repeated": (lambda: [enhanced(head() + head()[4:5])], f"{PLAIN}, duplicates 1"),
    "tilted frames": (lambda: [enhanced(head(tilt_deg=15.0))], f"{PLAIN}, tilt 15.0"),
    "frames in two objects": (
        lambda: [enhanced(head()[:8]), enhanced(head()[8:])],
        PLAIN,
    ),
}


def _measured(build: Callable[[], Images]) -> Geometry:
    (candidate,) = choose(facts_of(build)).candidates
    assert candidate.geometry is not None
    return candidate.geometry


@pytest.mark.parametrize(("build", "expected"), STACKS.values(), ids=STACKS)
def test_a_stack_is_measured_as_it_was_built(build: Callable[[], Images], expected: str) -> None:
    assert measures(_measured(build)) == expected


@pytest.mark.parametrize("build", [build for build, _ in STACKS.values()], ids=STACKS)
def test_slices_rise_from_foot_to_head(build: Callable[[], Images]) -> None:
    order, facts = _measured(build).order, facts_of(build)
    height = {fact.sop_instance_uid: fact.position[2] for fact in facts if fact.position}

    heights = [height[uid] for uid in order]

    assert heights == sorted(heights)


@settings(max_examples=100, deadline=None)
@given(st.sampled_from([build for build, _ in STACKS.values()]), st.randoms(use_true_random=False))
def test_neither_arrival_nor_instance_numbers_change_the_stack(
    build: Callable[[], Images], chance: random.Random
) -> None:
    (candidate,) = choose(rearranged(facts_of(build), chance)).candidates

    assert candidate.geometry == _measured(build)


@settings(max_examples=100, deadline=None)
@given(
    heights=st.lists(st.integers(0, 400), min_size=2, max_size=40, unique=True),
    tilt_deg=st.floats(-30, 30),
    chance=st.randoms(use_true_random=False),
)
def test_any_stack_is_ordered_from_foot_to_head_with_its_steps_along_the_normal(
    heights: list[int], tilt_deg: float, chance: random.Random
) -> None:
    cosine, sine = math.cos(math.radians(tilt_deg)), math.sin(math.radians(tilt_deg))
    orientation = (1.0, 0.0, 0.0, 0.0, cosine, -sine)
    # UIDs by chance, so that no order but that of the positions can help
    uids = chance.sample(range(1000), len(heights))
    facts = [
        fact(uid, planes=(Plane(position=(-100.0, -100.0, float(height)), orientation=orientation),))
        for uid, height in zip(uids, heights, strict=True)
    ]

    geometry = measure(facts)

    assert geometry is not None
    assert geometry.order == tuple(f"1.2.{uid}" for _, uid in sorted(zip(heights, uids, strict=True)))
    assert geometry.tilt_deg == pytest.approx(abs(tilt_deg), abs=1e-4)
    assert geometry.span_mm == pytest.approx((max(heights) - min(heights)) * cosine)
