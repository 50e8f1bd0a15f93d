"""Overlap and surface distances equal MONAI's, and empty masks follow their rule."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from healthfm.score.metrics.lesions import dilated, overlap
from healthfm.score.metrics.segmentation import dice, empty_rule, hd95, surface_dice, surface_distances
from healthfm.score.metrics.surfaces import areas
from tests.references.array_cases import Masks, masks
from tests.references.given_cases import CHALLENGES, REGIONS, Maps, brats

MONAI = json.loads((Path(__file__).parents[2] / "data/expected/array_metrics.json").read_text())["surfaces"]


@pytest.mark.parametrize("case", masks(), ids=lambda case: case[0])
def test_dice_surface_dice_and_hausdorff_distance_equal_monais(case: Masks) -> None:
    name, reference, prediction, spacing = case
    expected = MONAI[name]
    assert dice(reference, prediction) == pytest.approx(expected["dice"], abs=1e-6)
    ours = [surface_dice(reference, prediction, limit, spacing) for limit in (1.0, 2.5)]
    assert ours == pytest.approx(expected["nsd"], abs=1e-6)
    assert hd95(reference, prediction, spacing) == pytest.approx(expected["hd95"], abs=1e-4)


def test_spacing_and_direction_count() -> None:
    """One voxel against itself two steps along an axis of 1.5 mm: 3 mm both ways."""
    one, other = np.zeros((2, 5, 5), bool)
    one[1, 1] = other[1, 3] = True
    assert hd95(one, other, (4.0, 1.5)) == hd95(other, one, (4.0, 1.5)) == 3
    assert hd95(one, other, (1.5, 4.0)) == 8
    assert [surface_dice(one, other, limit, (4.0, 1.5)) for limit in (2.9, 3)] == [0, 1]
    other[1, 4] = True
    assert [part.tolist() for part in surface_distances(one, other)] == [[2], [2, 3]]


def test_dice_of_a_worked_example() -> None:
    assert dice(np.array([1, 1, 1, 0], bool), np.array([0, 1, 1, 1], bool)) == pytest.approx(4 / 6)


def test_two_empty_masks_have_no_value_and_one_empty_mask_has_the_worst() -> None:
    empty, full = np.zeros((4, 5), bool), np.ones((4, 5), bool)
    for metric in (dice, hd95, lambda a, b: surface_dice(a, b, 2)):
        assert np.isnan(metric(empty, empty))
    for pair in ((empty, full), (full, empty)):
        assert dice(*pair) == surface_dice(*pair, 100) == 0
        assert hd95(*pair) == 5  # 3 by 4 steps
        assert hd95(*pair, (2.0, 2.0)) == 10
    assert "both masks are empty" in str(empty_rule(empty, empty))
    assert "the reference is empty" in str(empty_rule(empty, full))
    assert "the prediction is empty" in str(empty_rule(full, empty))
    assert empty_rule(full, full) is None


def test_masks_of_different_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="differ in shape"):
        surface_distances(np.ones((3, 3), bool), np.ones((3, 4), bool))


GIVEN = json.loads((Path(__file__).parents[2] / "data/expected/given.json").read_text())


@pytest.mark.parametrize("case", masks(), ids=lambda case: case[0])
def test_surfaces_by_area_equal_deepminds(case: Masks) -> None:
    name, reference, prediction, spacing = case
    expected = GIVEN["surfaces"][name]
    ours = [surface_dice(reference, prediction, limit, spacing, "areas") for limit in (1.0, 2.5)]
    assert ours == pytest.approx(expected["nsd"], abs=1e-9)
    assert hd95(reference, prediction, spacing, "areas") == pytest.approx(expected["hd95"], abs=1e-9)


def test_every_kind_of_cell_has_the_area_of_its_surface() -> None:
    """A cell with half of its corners inside has a plane of its own width; eight octants of a corner make an eighth of what one costs whole."""
    flat = areas((1.0, 2.0, 5.0))
    assert (flat[0b00001111], flat[0b00110011], flat[0b01010101]) == (10, 5, 2)  # across axis 0, 1, 2
    assert flat[1] == pytest.approx(np.linalg.norm([10, 5, 2]) / 8)
    assert flat[0] == flat[255] == 0 and (flat[1:255] > 0).all()
    assert flat == pytest.approx(flat[::-1])
    assert areas((1.0, 3.0)).tolist() == pytest.approx(
        [
            0,
            *([10**0.5 / 2] * 2),
            3,
            10**0.5 / 2,
            1,
            10**0.5,
            10**0.5 / 2,
            10**0.5 / 2,
            10**0.5,
            1,
            10**0.5 / 2,
            3,
            10**0.5 / 2,
            10**0.5 / 2,
            0,
        ]
    )


@pytest.mark.parametrize("case", brats(), ids=lambda case: case[0])
def test_lesions_equal_those_of_brats_2023(case: Maps) -> None:
    name, reference, prediction = case
    for challenge, steps in CHALLENGES.items():
        for region, values in REGIONS.items():
            found = dilated(np.isin(reference, values), np.isin(prediction, values), (1, 1, 1), steps, 50, 374)
            ours = [found.found, found.there - found.found, found.false, found.dice, found.hd95]
            assert ours == pytest.approx(GIVEN["brats"][name][challenge][region], abs=1e-9)


def test_lesions_that_overlap_in_one_voxel_are_found() -> None:
    """Two lesions that touch at a corner are one by 26 neighbours and two by 18; a part beside both is a false one."""
    reference, prediction = np.zeros((2, 12, 12, 12), bool)
    reference[1:3, 1:3, 1:3] = reference[3, 3, 3] = reference[8:10, 8, 8] = True
    prediction[2:4, 1, 1] = prediction[6, 1:4, 1] = True
    found = overlap(reference, prediction, (2, 1, 1))
    assert (found.there, found.found, found.false) == (2, 1, 1)
    assert (found.missed_volume, found.false_volume, found.f1) == (4, 6, 0.5)
    assert (overlap(reference, prediction, (2, 1, 1), 18).there, overlap(prediction, reference, (2, 1, 1)).there) == (
        3,
        2,
    )
    assert np.isnan(overlap(np.zeros((3, 3, 3), bool), np.zeros((3, 3, 3), bool), (1, 1, 1)).f1)
