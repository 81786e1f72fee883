"""How slices lie: measured from positions and cosines, with figures known beforehand."""

import math

import pytest
from facts import AXIAL, CORONAL, fact, stack

from ich_node.core.geometry import gaps, measure, plane_of
from ich_node.core.instances import InstanceFacts, Orientation, Plane


def _tilted(degrees: float, count: int = 12, step_mm: float = 5.0) -> list[InstanceFacts]:
    """Slices tipped about the left-right axis while the table moves along z: a sheared stack."""
    angle = math.radians(degrees)
    orientation = (1.0, 0.0, 0.0, 0.0, math.cos(angle), -math.sin(angle))
    return [
        fact(index, planes=(Plane(position=(0.0, 0.0, index * step_mm), orientation=orientation),))
        for index in range(count)
    ]


@pytest.mark.parametrize(
    ("orientation", "plane"),
    [
        (AXIAL, "axial"),
        ((-1.0, 0.0, 0.0, 0.0, -1.0, 0.0), "axial"),
        ((0.0, 1.0, 0.0, -1.0, 0.0, 0.0), "axial"),
        ((1.0, 0.0, 0.0, 0.0, 0.86603, -0.5), "axial"),
        (CORONAL, "coronal"),
        ((0.0, 1.0, 0.0, 0.0, 0.0, -1.0), "sagittal"),
        ((1.0, 0.0, 0.0, 0.0, 0.70711, -0.70711), "oblique"),
    ],
)
def test_the_plane_comes_from_the_cosines(orientation: Orientation, plane: str) -> None:
    assert plane_of(orientation) == plane


def test_an_even_stack_is_measured_along_its_normal() -> None:
    geometry = measure(stack())

    assert geometry is not None
    assert geometry.slices == 30
    assert geometry.slice_spacing_mm == pytest.approx(5.0)
    assert geometry.span_mm == pytest.approx(145.0)
    assert (geometry.gaps, geometry.duplicates, geometry.tilt_deg, geometry.orientation) == (
        0,
        0,
        0.0,
        "axial",
    )


@pytest.mark.parametrize("degrees", [-22.0, 10.5, 18.5])
def test_tilt_is_found_from_positions_and_shortens_the_step(degrees: float) -> None:
    geometry = measure(_tilted(degrees))

    assert geometry is not None
    assert geometry.tilt_deg == pytest.approx(abs(degrees), abs=0.01)
    assert geometry.slice_spacing_mm == pytest.approx(5.0 * math.cos(math.radians(degrees)))
    assert geometry.straight


def test_one_slice_tells_its_tilt_and_a_reformat_has_none() -> None:
    single, upright = measure(_tilted(-8.5, count=1)), measure([fact()])
    reformat = measure(stack(orientation=CORONAL))

    assert [one and round(one.tilt_deg, 2) for one in (single, upright, reformat)] == [8.5, 0.0, 0.0]


def test_slices_are_ordered_by_position_never_by_number() -> None:
    facts = [fact(index, -5.0 * index) for index in range(10)]

    geometry = measure(facts)

    assert geometry is not None
    assert geometry.order == tuple(one.sop_instance_uid for one in reversed(facts))


@pytest.mark.parametrize(
    ("steps", "count"),
    [
        ([5.0] * 20, 0),
        ([5.0] * 10 + [10.0] + [5.0] * 10, 1),
        ([10.0] + [5.0] * 10, 1),
        ([5.0] * 5 + [15.0] + [5.0] * 5 + [10.0] + [5.0] * 5, 2),
        ([2.5] * 10 + [5.0] * 10, 0),
        ([4.0] * 13 + [1.08] + [7.0] * 13, 0),
        ([5.0, 7.4, 5.0, 5.0], 0),
        ([], 0),
    ],
)
def test_a_gap_is_measured_against_its_neighbourhood(steps: list[float], count: int) -> None:
    assert gaps(steps) == count


def test_uneven_steps_have_no_common_spacing() -> None:
    thin_base = [2.5 * index for index in range(10)] + [27.5 + 5.0 * index for index in range(10)]

    geometry = measure(stack(thin_base))

    assert geometry is not None
    assert geometry.slice_spacing_mm is None
    assert geometry.gaps == 0


def test_a_slice_off_the_line_makes_the_stack_crooked() -> None:
    facts = stack()
    stray = fact(7, planes=(Plane(position=(40.0, 0.0, 35.0), orientation=AXIAL),))

    geometry = measure([*facts[:7], stray, *facts[8:]])

    assert geometry is not None
    assert not geometry.straight


def test_without_positions_nothing_is_measured() -> None:
    assert measure(stack([None] * 5)) is None
    assert measure([fact(orientation=None)]) is None
