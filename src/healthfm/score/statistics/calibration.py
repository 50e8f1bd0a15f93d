"""Whether a stated probability comes true: reliability, the expected calibration error, and temperature scaling."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from scipy import optimize, sparse

from healthfm.errors import RunError
from healthfm.score.statistics.intervals import clopper_pearson
from healthfm.score.statistics.statistic import Counts, Statistic, of_counts

Array = npt.NDArray[Any]
ECE_RULE = "bins stay as they are in every resample; in small samples the error of a well calibrated model looks larger than it is"


def bins(confidence: Array) -> list[Array]:
    """Return the rows of equal-mass bins of confidence, in rising order: ten, fewer where they would hold under ten rows."""
    order = np.argsort(confidence, kind="stable")
    return np.array_split(order, max(1, min(10, len(confidence) // 10)))


def reliability(confidence: Array, correct: Array) -> list[dict[str, float]]:
    """Return mean confidence, accuracy and its exact interval, and count of each bin, in rising order of confidence."""
    curve = []
    for part in bins(confidence):
        exact = clopper_pearson(int(correct[part].sum()), len(part))
        curve.append({
            "confidence": float(confidence[part].mean()), "accuracy": float(correct[part].mean()), "n": len(part),
            "low": exact.low, "high": exact.high,
        })  # fmt: skip
    return curve


def expected_calibration_error(curve: list[dict[str, float]]) -> float:
    """Return the ECE of a reliability curve: the mean gap of confidence and accuracy, weighted by bin count."""
    total = sum(one["n"] for one in curve)
    return sum(one["n"] * abs(one["confidence"] - one["accuracy"]) for one in curve) / total


def ece(confidence: Array, correct: Array) -> Statistic:
    """Return the expected calibration error (equal-mass bins, kept in every resample) as a statistic."""
    parts = bins(confidence)
    rows = np.concatenate([np.full(len(part), i) for i, part in enumerate(parts)])
    columns = np.concatenate(parts)
    gaps = sparse.csr_array(((confidence - correct)[columns], (rows, columns)), (len(parts), len(confidence)))

    whole = np.asarray(gaps @ np.ones(len(confidence))) / len(confidence)

    def by_bin(counts: Counts) -> Array:
        drawn = counts.T
        return np.asarray((gaps @ drawn.astype(np.float64)) / drawn.sum(axis=0, dtype=np.int64))

    found = of_counts(
        "ece", len(confidence), lambda counts: np.abs(by_bin(counts)).sum(axis=0), ECE_RULE, lower_is_better=True
    )
    least = min(map(len, parts))
    short = np.sqrt(
        least / max(least - 1, 1)
    )  # a bootstrap's variance in a bin of m rows is (m - 1) / m of what it should be
    return replace(found, distance=lambda counts: short * np.abs(by_bin(counts) - whole[:, None]).sum(axis=0))


def fit_temperature(validation: pa.Table) -> float:
    """Return the temperature that makes a checked table's probabilities likeliest (Guo et al. 2017): above 1 softens them.

    Fit it on validation predictions only, and apply it with ``rescale``, which refuses the rows it was fitted on.
    """
    rows = [
        (np.log(np.maximum(np.array(p, float), np.finfo(float).tiny)), o.index(t))
        for p, o, t in zip(*(validation[c].to_pylist() for c in ("probabilities", "options", "target")), strict=True)
    ]

    def cost(log_temperature: float) -> float:
        scaled = ((logits / np.exp(log_temperature), target) for logits, target in rows)
        return float(np.mean([np.logaddexp.reduce(one) - one[target] for one, target in scaled]))

    found = optimize.minimize_scalar(
        cost, bounds=(np.log(0.01), np.log(100)), method="bounded", options={"xatol": 1e-6}
    )
    return float(np.exp(found.x))


def rescale(test: pa.Table, validation: pa.Table) -> tuple[pa.Table, float]:
    """Return the test table with probabilities rescaled by the temperature of the validation table, and the temperature.

    Both are checked tables of one class a row, with probabilities. Raises ``RunError`` when they share a row or a patient.
    """
    for name in ("id", "patient"):
        if name in test.column_names and name in validation.column_names:
            shared = set(test[name].to_pylist()) & set(validation[name].to_pylist()) - {None}
            if shared:
                raise RunError(
                    f"{len(shared)} values of {name} are in both tables; a temperature is fitted on other samples"
                )
    temperature = fit_temperature(validation)
    scaled = []
    for p in test["probabilities"].to_pylist():
        logits = np.log(np.maximum(np.array(p, float), np.finfo(float).tiny)) / temperature
        scaled.append(np.exp(logits - np.logaddexp.reduce(logits)).tolist())
    place = test.column_names.index("probabilities")
    return test.set_column(place, "probabilities", pa.array(scaled, pa.list_(pa.float64()))), temperature
