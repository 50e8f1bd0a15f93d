"""One mask that was given against its reference: overlap, surfaces, lesions, by the rules that an owner's card names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from healthfm.cards.schema import Evaluation
from healthfm.score.metrics import lesions
from healthfm.score.metrics.arrays import Bools
from healthfm.score.metrics.segmentation import diagonal, dice, iou
from healthfm.score.metrics.surfaces import surfaces

PLAIN = Evaluation(task="segmentation")  # of data whose card says nothing of how masks are scored
EMPTY = {  # the named rules for masks without a voxel
    "left-out": "both masks empty: nothing to measure, left out of means; one of them empty: the worst value",
    "perfect": "both masks empty: the best value (Dice 1, HD95 0); one of them empty: the worst value",
    "reference-only": "a case whose reference is empty is left out, whatever was given for it; a given mask that is empty: the worst value",
}
STATES = {  # what else can be said of a row than its numbers
    "both empty": "neither the reference nor the given mask has a voxel", "no reference": "the reference has no voxel, the given mask has",
    "no prediction": "the given mask has no voxel, the reference has", "no file": "no file was given: counted as a mask without a voxel, and the worst value",
    "not annotated": "not annotated in this case (partial labels): left out, as absence of a label is no absence of the thing",
}  # fmt: skip
WORST, BEST = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)


@dataclass(frozen=True)
class Pair:
    """A reference and what was given for it on the same grid (None: no file), with ``spacing``, and the ``label`` that both are of."""

    label: str
    reference: Bools
    prediction: Bools | None
    spacing: Sequence[float]


def measure(pair: Pair, how: Evaluation = PLAIN, tolerance: float | None = None) -> dict[str, Any]:
    """Return one row's numbers; None where there is nothing to measure. ``tolerance`` (in the spacing's unit): in place of the card's."""
    missing = pair.prediction is None
    given = np.zeros_like(pair.reference) if pair.prediction is None else pair.prediction
    reference, given = _within(pair, given, how)
    limit = how.tolerance(pair.label) if tolerance is None else tolerance
    voxel = float(np.prod(pair.spacing))
    row = {
        "reference_volume": float(reference.sum()) * voxel,
        "given_volume": float(given.sum()) * voxel,
        "tolerance": limit,
    }
    state = "no file" if missing else _state(reference, given)
    far = how.farthest or diagonal(pair.reference.shape, pair.spacing)
    fixed = _fixed(state, bool(reference.any()), how.empty)
    if fixed == "nothing":
        numbers: tuple[float | None, ...] = (None, None, None, None)
    elif fixed is not None:
        numbers = (*(BEST if fixed == "best" else WORST), 0.0 if fixed == "best" else far)
    else:
        both = surfaces(reference, given, pair.spacing, how.surface)
        near = None if limit is None else both.within(limit)
        numbers = (dice(reference, given), iou(reference, given), near, both.percentile(95))
    measured = dict(zip(("dice", "iou", "nsd", "hd95"), numbers, strict=True))
    if limit is None:
        measured["nsd"] = None
    counted = _lesions(reference, given, pair, how, far) if fixed != "nothing" or state == "both empty" else {}
    return {"state": state, **measured, **row, **counted}


def unknown(reason: str) -> dict[str, Any]:
    """Return the row of a label that cannot be measured in a case."""
    names = ("dice", "iou", "nsd", "hd95", "reference_volume", "given_volume", "tolerance")
    return {"state": reason, **dict.fromkeys(names)}


def _within(pair: Pair, given: Bools, how: Evaluation) -> tuple[Bools, Bools]:
    """Return both masks, cut to the slices that have the label where the owners score it there only.

    From the first of them to before the last, as FLARE's scripts cut; one slice alone stays whole.
    """
    if pair.label not in how.slices or pair.reference.ndim < 3 or not pair.reference.any():
        return pair.reference, given
    held = np.flatnonzero(pair.reference.any(axis=(0, 1)))
    part = slice(int(held[0]), max(int(held[-1]), int(held[0]) + 1))
    return pair.reference[:, :, part], given[:, :, part]


def _state(reference: Bools, given: Bools) -> str:
    there, said = bool(reference.any()), bool(given.any())
    return "" if there and said else "no prediction" if there else "no reference" if said else "both empty"


def _fixed(state: str, there: bool, rule: str) -> str | None:
    """Return what the rule for empty masks makes of a row: best, worst or nothing; None where both masks have voxels."""
    if not state:
        return None
    if there:
        return "worst"
    if state == "no file":
        return "worst" if rule == "perfect" else "nothing"
    if rule == "reference-only":
        return "nothing"
    return "worst" if state == "no reference" else "best" if rule == "perfect" else "nothing"


def _lesions(reference: Bools, given: Bools, pair: Pair, how: Evaluation, far: float) -> Mapping[str, Any]:
    rule = how.lesions
    if rule is None or (rule.labels and pair.label not in rule.labels):
        return {}
    if rule.rule == "dilated":
        found = lesions.dilated(reference, given, pair.spacing, rule.dilation, rule.smallest, far, rule.connectivity)
    else:
        found = lesions.overlap(reference, given, pair.spacing, rule.connectivity)
    nothing = 1.0 if how.empty == "perfect" else None
    return {
        "lesions": found.there, "lesions_found": found.found, "lesions_false": found.false, "lesion_f1": nothing if np.isnan(found.f1) else found.f1,
        "lesion_dice": found.dice, "lesion_hd95": found.hd95, "missed_volume": found.missed_volume, "false_volume": found.false_volume,
    }  # fmt: skip
