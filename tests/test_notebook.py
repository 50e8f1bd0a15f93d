"""What a notebook shows, and the tables that a notebook has at hand."""

from __future__ import annotations

from pathlib import Path

import pandas
import polars
import pyarrow as pa
import pytest

import healthfm as hfm
from healthfm import notebook

ROWS = {
    "id": [f"p{i}" for i in range(12)], "target": ["sick", "well", "well"] * 4, "prediction": ["sick", "well", None, *["well"] * 9],
    "subgroup.<b>": ["a"] * 6 + ["b"] * 6,
}  # fmt: skip


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    path = tmp_path / "q.csv"
    path.write_text("id,question,A,B,answer\n" + "".join(f"q{i},Which {i}?,x,y,{'AB'[i % 2]}\n" for i in range(4)))
    return path


def test_a_run_shows_its_metrics_as_they_are_printed() -> None:
    run = hfm.evaluate_predictions(ROWS, "binary", name="<script>mine</script>")
    shown = run._repr_html_()
    assert "<script>" not in shown and "&lt;script&gt;mine" in shown
    accuracy = run.metrics["accuracy"]
    assert f"{accuracy['value']:.3f}" in shown and f"[{accuracy['low']:.3f}, {accuracy['high']:.3f}]" in shown


def test_a_comparison_shows_its_ranking(tmp_path: Path) -> None:
    better = {**ROWS, "prediction": ROWS["target"]}
    runs = [hfm.evaluate_predictions(rows, "binary", name=name) for name, rows in (("mine", ROWS), ("right", better))]
    shown = hfm.compare(runs)._repr_html_()
    assert shown.index("right") < shown.index("mine") and "1.000" in shown


def test_a_card_and_a_dataset_show_what_they_are(questions: Path) -> None:
    assert "MedQA" in hfm.card("medqa")._repr_html_() and "unverified" in hfm.card("cmexam")._repr_html_()
    assert "MultipleChoice" in hfm.open_dataset(questions)._repr_html_()


def test_only_what_is_known_is_shown_and_nothing_is_markup() -> None:
    shown = notebook.facts("a<b", [("one", "<i>"), ("two", None), ("three", "")])
    assert shown.count("<tr>") == 1 and "&lt;i&gt;" in shown and "a&lt;b" in shown


def test_a_record_has_its_number(questions: Path) -> None:
    opened = hfm.open_dataset(questions)
    only = opened[opened.splits[0]]
    assert only[0].id == "q0" and only[3].id == "q3"  # type: ignore[attr-defined]
    for number in (4, -1):
        with pytest.raises(IndexError, match=f"no record {number} "):
            only[number]


def test_a_dataset_is_a_pandas_table(questions: Path) -> None:
    opened = hfm.open_dataset(questions)
    assert opened.to_pandas()["question"].tolist() == [f"Which {i}?" for i in range(4)]
    assert list(opened.to_pandas().columns) == opened.to_arrow().column_names


@pytest.mark.parametrize(
    "made", [pa.table, polars.DataFrame, pandas.DataFrame, lambda rows: pandas.DataFrame(rows, index=list(rows["id"]))]
)
def test_tables_of_pandas_polars_and_arrow_have_the_scores_of_their_columns(made) -> None:  # type: ignore[no-untyped-def]
    assert hfm.evaluate_predictions(made(ROWS), "binary").scores == hfm.evaluate_predictions(ROWS, "binary").scores


def test_lists_in_such_tables_stay_lists() -> None:
    rows = {
        "id": ["1", "2"],
        "target": ["a", "b"],
        "options": [["a", "b"]] * 2,
        "probabilities": [[0.9, 0.1], [0.2, 0.8]],
    }
    for made in (polars.DataFrame, pandas.DataFrame):
        assert hfm.evaluate_predictions(made(rows), "binary").metrics["accuracy"]["value"] == 1
