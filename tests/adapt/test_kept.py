"""A classifier that was fitted is given again for the very same data, and for no other."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import sparse

from healthfm.adapt import kept
from healthfm.adapt.probe import choose_penalty, fit_penalised


@pytest.mark.parametrize("form", [np.asarray, sparse.csr_matrix], ids=["dense", "sparse"])
def test_whatever_differs_is_fitted_anew_and_only_that(form: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    draw = np.random.default_rng(0)
    dense = np.round(draw.normal(size=(40, 6)), 1) * (draw.random((40, 6)) < 0.5)
    y = (dense[:, 0] + draw.normal(size=40) > 0).astype(int)
    groups = [f"p{i // 2}" for i in range(40)]
    moved = dense.copy()
    moved[3, [0, 1]] = moved[3, [1, 0]] + [1.0, 0.0]
    given: dict[str, Any] = {"x": form(dense), "y": y, "groups": groups, "seed": 0, "penalties": (0.01, 1.0)}
    others = [
        {"x": form(moved)}, {"y": 1 - y}, {"groups": [f"p{i % 20}" for i in range(40)]}, {"seed": 1}, {"penalties": (0.001, 10.0)},
    ]  # fmt: skip
    fitted = []
    monkeypatch.setattr(kept, "fit_penalised", lambda *data: fitted.append(1) or fit_penalised(*data))
    monkeypatch.setattr(kept, "_FITTED", type(kept._FITTED)())
    for change in ({}, *others):
        words = {**given, **change}
        found = kept.classifier(**words)
        x, y_, groups_, seed, penalties = words.values()
        own = fit_penalised(x, y_, choose_penalty(x, y_, groups_, seed, penalties=penalties))
        assert np.array_equal(found.coef_, own.coef_)
        assert kept.classifier(**words) is found
    assert len(fitted) == 1 + len(others)
