"""Boxes: average precision equals COCO's, FROC LUNA16's; localisation and what cannot be read by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from healthfm import RunError, evaluate_predictions
from healthfm.score import scoring
from healthfm.score.metrics.detection import overlap
from tests.references.given_cases import LABELS, RATES, pictures

THEIRS = json.loads((Path(__file__).parents[2] / "data/expected/given.json").read_text())


def statistics(rows: list[dict[str, Any]], task: str) -> dict[str, Any]:
    return scoring.statistics_of(scoring.check_table(pa.Table.from_pylist(rows), task), task, LABELS)


@pytest.mark.parametrize("seed", range(4))
def test_average_precision_equals_cocos_and_froc_luna16s(seed: int) -> None:
    found = statistics(pictures(seed), "detection")
    assert {name: found[name].value for name in THEIRS["coco"][seed]} == pytest.approx(THEIRS["coco"][seed], abs=1e-9)
    found = statistics(pictures(seed), "lesion-detection")
    for label, values in THEIRS["froc"][seed].items():
        ours = [found[f"sensitivity_at_{rate:g}_fp/{label}"].value for rate in RATES]
        assert ours == pytest.approx(values, abs=1e-9)
        assert found[f"froc_luna16/{label}"].value == pytest.approx(np.mean(values))


@pytest.mark.parametrize("task", ["detection", "lesion-detection", "localisation"])
def test_a_picture_drawn_twice_counts_as_two_pictures(task: str) -> None:
    """What the bootstrap's counts give is what a table with the rows themselves repeated gives."""
    rows = pictures(0)
    counts = np.random.default_rng(3).multinomial(len(rows), np.ones(len(rows)) / len(rows))
    repeated = [{**row, "id": f"{row['id']}-{k}"} for row, n in zip(rows, counts, strict=True) for k in range(n)]
    whole = statistics(repeated, task)
    for name, one in statistics(rows, task).items():
        assert float(one.at(counts[None])[0]) == pytest.approx(whole[name].value, abs=1e-12), name


def test_a_box_is_localised_where_a_given_one_lies_on_it_with_over_t_of_its_own_area() -> None:
    """Of one picture's two true boxes a small given one inside the first counts at every T, one half beside the second up to T 0.5."""
    true = [{"label": "mass", "corners": [0, 0, 100, 100]}, {"label": "mass", "corners": [200, 0, 300, 100]}]
    given = [
        {"label": "mass", "corners": [10, 10, 20, 20], "score": 0.1},
        {"label": "mass", "corners": [250, 0, 350, 100], "score": 0.9},
    ]
    run = evaluate_predictions(
        {"id": ["a", "b"], "target": [true, []], "prediction": [given, given[:1]]}, "localisation"
    )
    values = {name: one["value"] for name, one in run.metrics.items()}
    assert [values[f"localised_{t}"] for t in ("0.1", "0.25", "0.5", "0.75")] == [
        1,
        1,
        0.5,
        0.5,
    ]  # half is not over half
    assert [values[f"false_boxes_{t}"] for t in ("0.1", "0.5")] == [0.5, 1]
    assert overlap(np.array([[0.0, 0, 0, 2, 2, 2]]), np.array([[1.0, 1, 1, 3, 3, 3]])).tolist() == [
        [1 / 15]
    ]  # of volumes


BOX = {"label": "mass", "corners": [0.0, 0, 2, 2]}


@pytest.mark.parametrize(
    ("target", "prediction", "message"),
    [
        ([BOX], [{**BOX, "score": None}], "have something in prediction without label, corners, score: p"),
        ([{**BOX, "corners": [2, 0, 2, 2]}], [], "have a box in target that is none"),
        ([BOX], [{**BOX, "score": 1, "corners": [0, 0, 0, 1, 1, 1]}], "boxes of pictures"),
        ([], [], "no row has a true box"),
    ],
)
def test_what_is_no_box_is_refused(target: Any, prediction: Any, message: str) -> None:
    with pytest.raises(RunError, match=message):
        evaluate_predictions({"id": ["p"], "target": [target], "prediction": [prediction]}, "detection")
