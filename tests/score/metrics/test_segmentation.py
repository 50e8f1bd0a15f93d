"""Overlap and surface distances equal MONAI's, and empty masks follow their rule."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from healthfm.score.metrics.segmentation import dice, empty_rule, hd95, surface_dice, surface_distances
from tests.references.array_cases import Masks, masks

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
