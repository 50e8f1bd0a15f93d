"""A linear classifier on counts of codes: what a model of patients has to beat."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy import sparse

from healthfm.adapt.probe import Array, choose_penalty, fit_penalised

RARE = 5  # a feature that fewer samples have is no feature
SHOWN = 20


def count_probe(
    train: Sequence[Mapping[str, int]], labels: Sequence[Any], test: Sequence[Mapping[str, int]], classes: Sequence[str],
    groups: Sequence[str], seed: int,
) -> tuple[Array, dict[str, Any]]:  # fmt: skip
    """Return the probability of each class for each of ``test``, float64 [n, classes], and how it was found.

    Features are log(1 + count), each divided by its largest value in ``train``, of what at least ``RARE`` samples of ``train`` have
    (all, where there are few). ``labels`` are classes (one logistic regression), or sets of them (one a class). The penalty is chosen by
    log-loss on a fifth of the groups.
    """
    seen = Counter(name for one in train for name in one)
    names = sorted(name for name, count in seen.items() if count >= min(RARE, max(1, len(train) // 20)))
    place = {name: i for i, name in enumerate(names)}
    x, z = _matrix(train, place), _matrix(test, place)
    scale = np.asarray(x.max(axis=0).todense()).ravel() if x.shape[0] and names else np.ones(len(names))
    x, z = (one @ sparse.diags(1 / np.maximum(scale, 1e-12)) for one in (x, z))
    several = bool(labels) and not isinstance(labels[0], str)
    found, chosen, heavy = np.zeros((len(test), len(classes))), {}, {}
    for column, name in enumerate(classes) if several else [(1, classes[1])]:
        y = np.array([int(name in one) if several else int(one == name) for one in labels])
        if len(set(y.tolist())) < 2:
            found[:, column], chosen[name] = y.mean(), None
            continue
        chosen[name] = choose_penalty(x, y, groups, seed)
        fitted = fit_penalised(x, y, chosen[name])
        found[:, column] = fitted.predict_proba(z)[:, 1]
        order = np.argsort(-np.abs(fitted.coef_[0]))[:SHOWN]
        heavy[name] = [[names[i], round(float(fitted.coef_[0, i]), 4)] for i in order]
    if not several:
        found[:, 0] = 1 - found[:, 1]
    how = {
        "probe": "logistic regression on counts of codes",
        "C": chosen,
        "fitted_on": len(train),
        "features": len(names),
        "heaviest": heavy,
    }
    return found, how


def _matrix(rows: Sequence[Mapping[str, int]], place: Mapping[str, int]) -> Any:
    entries = [
        (i, place[name], np.log1p(count)) for i, one in enumerate(rows) for name, count in one.items() if name in place
    ]
    at, column, value = zip(*entries, strict=True) if entries else ((), (), ())
    return sparse.csr_matrix((value, (at, column)), shape=(len(rows), len(place)))
