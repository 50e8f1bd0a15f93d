"""Classifiers on frozen embeddings: a linear probe and nearest neighbours."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import log_loss
from sklearn.model_selection import GroupShuffleSplit
from sklearn.preprocessing import StandardScaler
from sklearn.utils.class_weight import compute_sample_weight

PENALTIES = tuple(10.0**e for e in range(-5, 3))  # scikit-learn's C: small is strong
HELD_OUT = 0.2
NEIGHBOURS = 20

Array = npt.NDArray[Any]


def linear_probe(
    train: Array, labels: Sequence[str], test: Array, classes: Sequence[str], groups: Sequence[str], seed: int,
    balanced: bool = False,
) -> tuple[Array, dict[str, Any]]:  # fmt: skip
    """Return class probabilities of ``test``, float64 [n, classes], by logistic regression on standardised embeddings.

    The L2 penalty is chosen by log-loss on a fifth of the training groups (patients), then the probe is fitted on all.
    ``balanced``: classes weigh the same however rare they are, in fit and choice; probabilities are then of balanced classes.
    A class that does not occur in ``labels`` gets probability 0. The second value says what was chosen.
    """
    index = {name: i for i, name in enumerate(classes)}
    y = np.array([index[label] for label in labels])
    scaler = StandardScaler().fit(train)
    x = scaler.transform(train)
    chosen = choose_penalty(x, y, groups, seed, balanced)
    probe = fit_penalised(x, y, chosen, balanced)
    found = np.zeros((len(test), len(classes)))
    found[:, probe.classes_] = probe.predict_proba(scaler.transform(test))
    return found, {"probe": "logistic regression", "balanced": balanced, "C": chosen, "fitted_on": len(y)}


def multi_label_probe(
    train: Array,
    labels: Sequence[Sequence[str]],
    test: Array,
    classes: Sequence[str],
    groups: Sequence[str],
    seed: int,
    unknown: Sequence[Collection[str]] = (),
) -> tuple[Array, dict[str, Any]]:
    """Return the probability of each class of ``test``, float64 [n, classes]: one logistic regression a class.

    Each is made as ``linear_probe``'s, its penalty chosen for itself. A class that all or none of ``labels`` have is not
    fitted: its share of them is its probability. ``unknown``: the classes of each of ``train`` that nobody looked for; nothing is learnt of them.
    """
    scaler = StandardScaler().fit(train)
    x, z = scaler.transform(train), scaler.transform(test)
    found, chosen = np.zeros((len(test), len(classes))), {}
    for column, name in enumerate(classes):
        rows = [i for i in range(len(labels)) if not unknown or name not in unknown[i]]
        y = np.array([int(name in labels[i]) for i in rows])
        if len(set(y.tolist())) < 2:
            found[:, column], chosen[name] = y.mean() if len(y) else 0.5, None
            continue
        chosen[name] = choose_penalty(x[rows], y, [groups[i] for i in rows], seed)
        found[:, column] = fit_penalised(x[rows], y, chosen[name]).predict_proba(z)[:, 1]
    return found, {"probe": "logistic regression, one a class", "C": chosen, "fitted_on": len(labels)}


def ridge_probe(
    train: Array, labels: Sequence[float], test: Array, groups: Sequence[str], seed: int
) -> tuple[Array, dict[str, Any]]:
    """Return predicted numbers of ``test``, float64 [n], by ridge regression on standardised embeddings."""
    scaler = StandardScaler().fit(train)
    fitted, chosen = fit_ridge(scaler.transform(train), np.array(labels), groups, seed)
    return np.asarray(fitted.predict(scaler.transform(test)), np.float64), {
        "probe": "ridge regression",
        "alpha": chosen,
        "fitted_on": len(labels),
    }


def fit_ridge(x: Array, y: Array, groups: Sequence[str], seed: int) -> tuple[Ridge, float]:
    """Fit a ridge regression whose penalty does best on a fifth of the groups (patients), and return it with the penalty."""
    alphas, best = [10.0**e for e in range(-2, 5)], 1.0
    if len(set(groups)) >= 5:
        fit, held = next(GroupShuffleSplit(1, test_size=HELD_OUT, random_state=seed).split(x, y, groups))
        off = [float(((Ridge(alpha).fit(x[fit], y[fit]).predict(x[held]) - y[held]) ** 2).mean()) for alpha in alphas]
        best = alphas[int(np.argmin(off))]
    return Ridge(best).fit(x, y), best


def fit_penalised(x: Array, y: Array, penalty: float, balanced: bool = False) -> LogisticRegression:
    """Fit a logistic regression; ``penalty`` is scikit-learn's C. ``balanced``: every class weighs the same in all."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return LogisticRegression(C=penalty, max_iter=2000, class_weight="balanced" if balanced else None).fit(x, y)


def choose_penalty(
    x: Array, y: Array, groups: Sequence[str], seed: int, balanced: bool = False, penalties: Sequence[float] = PENALTIES
) -> float:  # fmt: skip
    """Return the penalty of least log-loss on a fifth of the groups (patients); 1 where too few groups or classes can say."""
    if len(set(groups)) < 5:
        return 1.0
    fit, held = next(GroupShuffleSplit(1, test_size=HELD_OUT, random_state=seed).split(x, y, groups))
    if len(set(y[fit].tolist())) < 2:
        return 1.0
    held = held[np.isin(y[held], y[fit])]
    if not len(held):
        return 1.0
    weights = compute_sample_weight("balanced", y[held]) if balanced else None
    losses = []
    for penalty in penalties:
        probe = fit_penalised(x[fit], y[fit], penalty, balanced)
        losses.append(log_loss(y[held], probe.predict_proba(x[held]), labels=probe.classes_, sample_weight=weights))
    return penalties[int(np.argmin(losses))]


def nearest_neighbours(
    train: Array, labels: Sequence[str], test: Array, classes: Sequence[str]
) -> tuple[Array, dict[str, Any]]:
    """Return class shares among the 20 nearest training embeddings by cosine, float64 [n, classes]."""
    k = min(NEIGHBOURS, len(train))
    index = {name: i for i, name in enumerate(classes)}
    y = np.array([index[label] for label in labels])
    similarity = _unit(test) @ _unit(train).T
    near = np.argsort(-similarity, axis=1, kind="stable")[:, :k]
    found = np.stack([(y[near] == i).mean(axis=1) for i in range(len(classes))], axis=1)
    return found, {"probe": "nearest neighbours, cosine", "k": k, "fitted_on": len(y)}


def _unit(vectors: Array) -> Array:
    wide = np.asarray(vectors, dtype=np.float64)
    return wide / np.maximum(np.linalg.norm(wide, axis=1, keepdims=True), 1e-12)
