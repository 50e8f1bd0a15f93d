"""Drug response by what is new in the test split: the drug, the cell line, both; and what each hides."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from healthfm import evaluate
from healthfm.score.result import Result

NAMES = [
    "DATASET",
    "COSMIC_ID",
    "CELL_LINE_NAME",
    "SANGER_MODEL_ID",
    "TCGA_DESC",
    "DRUG_ID",
    "DRUG_NAME",
    "LN_IC50",
    "AUC",
    "RMSE",
    "Z_SCORE",
]


@pytest.fixture(scope="module")
def screen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve lines and twelve drugs: a drug's strength is most of a response, a line's the rest."""
    import openpyxl

    root, draw, book = tmp_path_factory.mktemp("gdsc"), np.random.default_rng(0), openpyxl.Workbook()
    drugs, lines = draw.normal(0, 3, 12), draw.normal(0, 1, 12)
    book.active.append(NAMES)
    for i, line in enumerate(lines):
        for j, drug in enumerate(drugs):
            value = round(float(drug + line + draw.normal(0, 0.2)), 4)
            book.active.append(
                ["GDSC2", 900 + i, f"L{i}", f"SIDM{i:05d}", "MB", 1000 + j, f"D{j}", value, 0.9, 0.1, 0.0]
            )
    book.save(root / "GDSC2_fitted_dose_response_27Oct23.xlsx")
    return root


@pytest.mark.parametrize(
    ("rule", "drugs", "lines"), [("cell-line", True, False), ("drug", False, True), (None, False, False)]
)
def test_what_is_new_is_on_one_side_and_knowing_the_drug_is_most_of_a_seen_one(
    screen: Path, tmp_path: Path, rule: str | None, drugs: bool, lines: bool
) -> None:
    made: Result = evaluate(
        "baseline:drug-and-line",
        "gdsc",
        root=screen,
        task="regression-probe",
        label="LN_IC50",
        split_by=rule,
        split="test",
        output=tmp_path / "run",
    )
    assert made.facts["request"]["split_by"] == (
        f"{rule or 'drug-and-cell-line'}:0"
    )  # the card's own, where none is asked for
    value = made.metrics["r2"]["value"]
    assert value > 0.8 if rule == "cell-line" else value < 0.5  # of a drug that was never seen nothing is known
    notices = " ".join(made.facts["notices"])
    assert ("patients stand in both splits, for the rule drug:0 lets them" in notices) == lines
    assert ("drugs of the test split are those fitted on" in notices) == drugs
