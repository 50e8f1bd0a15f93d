"""Few-shot classification: a probe fitted on k examples a class, drawn again and again, with an interval over the draws."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.preprocessing import StandardScaler

from healthfm.adapt.probe import Array, fit_penalised
from healthfm.errors import RunError

REPEATS = 20
PENALTY = 1.0  # scikit-learn's C; so few examples leave nothing to choose it on


def few_shot(
    train: Array, labels: Sequence[str], test: Array, truth: Sequence[str], classes: Sequence[str], groups: Sequence[str],
    shots: int, seed: int, repeats: int = REPEATS,
) -> tuple[Array, dict[str, Any]]:  # fmt: skip
    """Return the class probabilities of ``test`` by each draw, float64 [draws, n, classes], and how the draws did.

    Each draw takes ``shots`` examples of every class that ``labels`` has, of as many patients (``groups``) as there are, and fits
    a logistic regression on standardised embeddings. The facts hold accuracy and balanced accuracy of each draw, their mean, the
    interval that holds 95 % of draws (what another choice of examples would do, not what other test patients would), and which draw
    lies nearest to the mean accuracy (``shown_draw``).
    Raises ``RunError``: a class has fewer examples.
    """
    index = {name: i for i, name in enumerate(classes)}
    y, z = np.array([index[one] for one in labels]), np.array([index[one] for one in truth])
    drawn, scores = [], []
    for repeat in range(repeats):
        rng = np.random.default_rng([seed, repeat])
        rows = draw(y, groups, shots, rng, classes)
        scaler = StandardScaler().fit(train[rows])
        probe = fit_penalised(scaler.transform(train[rows]), y[rows], PENALTY)
        found = np.zeros((len(test), len(classes)))
        found[:, probe.classes_] = probe.predict_proba(scaler.transform(test))
        drawn.append(found)
        right = found.argmax(1) == z
        scores.append((right.mean(), np.mean([right[z == c].mean() for c in np.unique(z)])))
    accuracy, balanced = np.array(scores).T
    return np.stack(drawn), {
        "probe": "logistic regression", "C": PENALTY, "shots_per_class": shots, "draws": repeats, "fitted_on": shots * len(set(labels)),
        "shown_draw": int(np.argmin(np.abs(accuracy - accuracy.mean()))), "accuracy_over_draws": _over(accuracy), "balanced_accuracy_over_draws": _over(balanced),
    }  # fmt: skip


def draw(
    y: Array, groups: Sequence[str], shots: int, rng: np.random.Generator, classes: Sequence[str]
) -> npt.NDArray[np.int64]:  # fmt: skip
    """Return the rows of ``shots`` examples a class, each of another patient while there are others."""
    names = np.array(groups)
    rows: list[int] = []
    for c in np.unique(y):
        mine = rng.permutation(np.flatnonzero(y == c))
        if len(mine) < shots:
            raise RunError(f"class '{classes[c]}' has {len(mine)} examples to fit on, {shots} are asked for")
        seen: dict[str, int] = {}
        turn = [seen.setdefault(one, -1) for one in names[mine]]
        for i, one in enumerate(names[mine]):  # how many of the same patient came before
            seen[one] += 1
            turn[i] = seen[one]
        rows += mine[np.argsort(turn, kind="stable")][:shots].tolist()
    return np.array(rows)


def _over(values: Array) -> dict[str, Any]:
    low, high = np.quantile(values, [0.025, 0.975])
    return {"mean": float(values.mean()), "low": float(low), "high": float(high), "draws": values.tolist()}
