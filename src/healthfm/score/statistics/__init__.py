"""Statistics on by default: intervals, calibration, subgroups, curves. Everything starts from a ``Statistic``."""

from healthfm.score.statistics.bootstrap import over_draws, spread, values_of
from healthfm.score.statistics.estimate import closed_form, estimate, number_patients
from healthfm.score.statistics.intervals import (
    LEVEL,
    Interval,
    clopper_pearson,
    delong,
    delong_error,
    in_words,
    placements,
    wilson,
)
from healthfm.score.statistics.statistic import Cells, Counts, Statistic, Values, of_cells, of_counts, of_mean

__all__ = [
    "LEVEL",
    "Cells",
    "Counts",
    "Interval",
    "Statistic",
    "Values",
    "clopper_pearson",
    "closed_form",
    "delong",
    "delong_error",
    "estimate",
    "in_words",
    "number_patients",
    "of_cells",
    "of_counts",
    "of_mean",
    "over_draws",
    "placements",
    "spread",
    "values_of",
    "wilson",
]  # fmt: skip
