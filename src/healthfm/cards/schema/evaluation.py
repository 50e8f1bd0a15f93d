"""What the card of a dataset may say of how its owners score masks and boxes that are given for its records."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field

from healthfm.cards.schema.common import Checked, Facts, Text


class Lesions(Facts):
    """How a challenge counts lesions, parts of a mask that hang together (``score.metrics.lesions``): its ``rule``, by neighbours of how many voxels
    (``connectivity``), of which ``labels`` (none named: of all). By the rule ``dilated``: the steps of ``dilation``, and the mm3 above which a lesion counts.
    """

    rule: Literal["overlap", "dilated"]
    connectivity: Literal[4, 6, 8, 18, 26] = 26
    labels: tuple[str, ...] = ()
    dilation: int = Field(default=0, ge=0)
    smallest: float = Field(default=0, ge=0)


class Evaluation(Facts):
    """How the owners score masks or boxes that are given for the records (``healthfm report --predictions``). ``task``: a key of ``score.tasks``.

    Masks: ``regions`` are what is scored, each the classes that it is made of (none: each class). ``tolerances``: of the normalised surface
    distance in millimetres, by region or class, ``default`` for those not named. ``surface``: how a surface is counted
    (``score.metrics.surfaces``). ``empty``: the rule for masks without a voxel (``score.masks.EMPTY``), with ``farthest``, the HD95 in millimetres where
    one of the two has none (None: the grid's diagonal). ``slices``: labels that are scored in those slices only that have them.
    Boxes: ``boxed``: a picture without a true box was not looked at for any, and is left out.
    """

    task: Text
    regions: Mapping[str, tuple[str, ...]] = Field(default_factory=dict)
    tolerances: Mapping[str, Annotated[float, Field(ge=0)]] = Field(default_factory=dict)
    surface: Literal["areas", "voxels"] = "areas"
    empty: Literal["left-out", "perfect", "reference-only"] = "left-out"
    farthest: float | None = Field(default=None, gt=0)
    slices: tuple[str, ...] = ()
    lesions: Lesions | None = None
    boxed: bool = False
    note: Text | None = None
    source: Text | None = None
    checked: Checked = "unverified"

    def tolerance(self, name: str) -> float | None:
        """Return the tolerance of a label in millimetres, None where the owners give none."""
        return self.tolerances.get(name, self.tolerances.get("default"))
