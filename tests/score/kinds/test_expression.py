"""Predicted expression by gene and by cell type, which are not the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from healthfm import evaluate_predictions
from healthfm.errors import RunError
from healthfm.report import plots


def test_both_correlations_are_numpys_and_the_genes_means_alone_say_nothing_by_gene(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    level = draw.normal(0, 3, (80, 1))
    true = level + draw.normal(size=(80, 6))
    means = level + draw.normal(0, 0.1, (80, 6))  # knows how high a gene is, not where
    made = evaluate_predictions(
        {
            "id": [str(i) for i in range(80)],
            "target": true.tolist(),
            "prediction": means.tolist(),
            "columns": [[*"abcdef"]] * 80,
        },
        "expression-regression",
        output=tmp_path / "run",
    )
    by_gene = np.mean([np.corrcoef(a, b)[0, 1] for a, b in zip(true, means, strict=True)])
    by_type = [np.corrcoef(true[:, i], means[:, i])[0, 1] for i in range(6)]
    assert made.metrics["pearson_by_gene"]["value"] == pytest.approx(by_gene) and made.metrics["pearson_by_type"][
        "value"
    ] == pytest.approx(np.mean(by_type))
    assert [made.scores["per_class"][one]["pearson"]["value"] for one in "abcdef"] == pytest.approx(by_type)
    assert (
        abs(by_gene) < 0.2 < 0.9 < np.mean(by_type)
        and made.metrics["pearson_by_gene"]["low"] < by_gene < made.metrics["pearson_by_gene"]["high"]
    )
    assert "The genes read worst" in made.report().read_text()


def test_rows_that_do_not_fit_are_named() -> None:
    with pytest.raises(RunError, match="do not have 2 numbers in prediction, as the first row's target: b"):
        evaluate_predictions(
            {"id": ["a", "b"], "target": [[1.0, 2.0]] * 2, "prediction": [[1.0, 2.0], [1.0]]}, "expression-regression"
        )
    with pytest.raises(RunError, match="no gene varies"):
        evaluate_predictions({"id": ["a"], "target": [[1.0, 1.0]], "prediction": [[1.0, 2.0]]}, "expression-regression")


def test_many_numbers_are_drawn_as_a_density() -> None:
    draw = np.random.default_rng(0)
    x = draw.normal(size=4000)
    shown = plots.numbers(x.tolist(), (x + draw.normal(size=4000)).tolist())
    assert (
        "<circle" not in shown
        and 100 < shown.count("<rect") <= plots.CELLS**2
        and "4,000 rows" in shown
        and "darker" in shown
    )
    assert plots.numbers([1.0, 2.0], [1.0, 3.0]).count("<circle") == 2
