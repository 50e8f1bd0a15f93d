"""Classifiers on frozen embeddings: a linear probe and nearest neighbours."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import GroupShuffleSplit
from sklearn.preprocessing import StandardScaler

PENALTIES = tuple(10.0**e for e in range(-5, 3))  # scikit-learn's C: small is strong
HELD_OUT = 0.2
NEIGHBOURS = 20

Array = npt.NDArray[Any]


def linear_probe(
    train: Array, labels: Sequence[str], test: Array, classes: Sequence[str], groups: Sequence[str], seed: int
) -> tuple[Array, dict[str, Any]]:
    """Return class probabilities of ``test``, float64 [n, classes], by logistic regression on standardised embeddings.

    The L2 penalty is chosen by log-loss on a fifth of the training groups (patients), then the probe is fitted on all.
    A class that does not occur in ``labels`` gets probability 0. The second value says what was chosen.
    """
    index = {name: i for i, name in enumerate(classes)}
    y = np.array([index[label] for label in labels])
    scaler = StandardScaler().fit(train)
    x = scaler.transform(train)
    chosen = _choose_penalty(x, y, groups, seed)
    probe = _fit(x, y, chosen)
    found = np.zeros((len(test), len(classes)))
    found[:, probe.classes_] = probe.predict_proba(scaler.transform(test))
    return found, {"probe": "logistic regression", "C": chosen, "fitted_on": len(y)}


def _fit(x: Array, y: Array, penalty: float) -> LogisticRegression:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return LogisticRegression(C=penalty, max_iter=2000).fit(x, y)


def _choose_penalty(x: Array, y: Array, groups: Sequence[str], seed: int) -> float:
    if len(set(groups)) < 5:
        return 1.0
    fit, held = next(GroupShuffleSplit(1, test_size=HELD_OUT, random_state=seed).split(x, y, groups))
    if len(set(y[fit].tolist())) < 2:
        return 1.0
    held = held[np.isin(y[held], y[fit])]
    if not len(held):
        return 1.0
    losses = []
    for penalty in PENALTIES:
        probe = _fit(x[fit], y[fit], penalty)
        losses.append(log_loss(y[held], probe.predict_proba(x[held]), labels=probe.classes_))
    return PENALTIES[int(np.argmin(losses))]


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
