"""A run in memory and in its folder: written, read again, and refused when it is not whole."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from healthfm import Run, RunError, evaluate_predictions, load_run
from healthfm.engine.store import RunFolder
from healthfm.score.sentences import contamination_line, headline_notes

TABLE = {
    "id": ["a", "b", "c", "d"], "target": ["yes", "yes", "no", "maybe"], "prediction": ["yes", "no", "no", None],
    "patient": ["p1", "p1", "p2", None], "subgroup.site": ["north", "north", "south", None],
}  # fmt: skip


def saved(path: Path, **more: Any) -> Run:
    return evaluate_predictions(TABLE, "yes-no-maybe", output=path, seed=3, **more)


def edit(path: Path, **changes: Any) -> None:
    facts = json.loads((path / "run.json").read_text())
    (path / "run.json").write_text(json.dumps({**facts, **changes}))


def test_a_run_in_memory_has_metrics_predictions_and_no_folder() -> None:
    run = evaluate_predictions(TABLE, "yes-no-maybe", name="my model")
    assert run.path is None
    assert run.predictions.num_rows == 4
    assert set(run.metrics["accuracy"]) == {"value", "low", "high", "method", "level", "n"}
    assert repr(run).startswith("<Run my model on a table of predictions: accuracy 0.500 [")
    with pytest.raises(RunError, match="no folder"):
        run.report()


def test_a_saved_run_is_read_back_with_the_same_scores(tmp_path: Path) -> None:
    run = saved(tmp_path / "run")
    again = load_run(str(tmp_path / "run"))
    assert again.scores == run.scores == json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert again.predictions.equals(run.predictions)
    assert again.title == run.title


def test_given_classes_are_kept_with_the_run(tmp_path: Path) -> None:
    table = {"id": [1, 2], "target": [0, 1], "prediction": [0, 1]}
    evaluate_predictions(table, "multi-class", classes=[2, 1, 0], output=tmp_path)  # type: ignore[list-item]
    assert load_run(tmp_path).scores["classes"] == ["2", "1", "0"]


def test_metrics_come_from_the_predictions_not_from_the_metrics_file(tmp_path: Path) -> None:
    run = saved(tmp_path)
    (tmp_path / "metrics.json").unlink()
    assert load_run(tmp_path).scores == run.scores
    with RunFolder(tmp_path) as folder:
        worse = run.predictions.set_column(2, "prediction", pa.array(["no"] * 4))
        folder.publish(0, worse)
    assert load_run(tmp_path).metrics["accuracy"]["value"] == 0.25


def test_the_baseline_of_the_whole_split_wins_where_it_is_known(tmp_path: Path) -> None:
    saved(tmp_path)
    edit(tmp_path, majority={"class": "yes", "accuracy": 0.55, "n": 500})
    run = load_run(tmp_path)
    assert run.scores["majority"] == {"class": "yes", "accuracy": 0.55, "n": 500}
    assert "55.0% of the 500 questions of the split" in headline_notes(run)[0]


def test_the_notes_of_a_table_name_baseline_and_unanswered_rows() -> None:
    run = evaluate_predictions(TABLE, "yes-no-maybe")
    notes = "\n".join(headline_notes(run))
    assert "always 'yes' is right for 50.0% of these 4 rows" in notes
    assert "1 prediction is missing and counts as wrong" in notes
    assert "not asked" in contamination_line(run)


def test_a_folder_that_holds_a_run_is_not_overwritten(tmp_path: Path) -> None:
    saved(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(RunError, match="already holds a run"):
        evaluate_predictions({**TABLE, "id": ["e", "f", "g", "h"]}, "yes-no-maybe", output=tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_run_whose_writing_stopped_half_way_can_be_written_again(tmp_path: Path) -> None:
    (tmp_path / "metrics.json").mkdir()  # nothing can be published over a folder
    with pytest.raises(RunError, match=r"metrics\.json: cannot be written"):
        saved(tmp_path)
    (tmp_path / "metrics.json").rmdir()
    assert load_run(saved(tmp_path).path or "").scores["n"] == 4


def test_a_folder_that_holds_something_else_is_not_written_into(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("words")
    with pytest.raises(RunError, match="holds other files \\(1\\) and no run; choose an empty or a new folder"):
        saved(tmp_path)
    assert [one.name for one in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize("place", ["nothing", "empty", "file"])
def test_what_is_no_run_folder_is_refused(tmp_path: Path, place: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("text")
    with pytest.raises(RunError, match=f"{place}: not a run folder"):
        load_run(tmp_path / place)


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "3", "{}", '{"plan": {"parts": [[0, 4]]}}', '{"plan": null, "request": {}}']
)
def test_a_damaged_run_file_is_one_line(tmp_path: Path, content: str) -> None:
    saved(tmp_path)
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(RunError, match=r"run\.json: damaged") as error:
        load_run(tmp_path)
    assert "\n" not in str(error.value)


def test_an_unfinished_run_says_how_much_is_missing(tmp_path: Path) -> None:
    saved(tmp_path)
    edit(tmp_path, plan={"parts": [[0, 4], [4, 8], [8, 9]]})
    with pytest.raises(RunError, match="unfinished, 2 of 3 parts are missing"):
        load_run(tmp_path)


def test_a_run_that_lost_its_predictions_folder_is_unfinished(tmp_path: Path) -> None:
    saved(tmp_path)
    (tmp_path / "predictions" / "part-00000.parquet").unlink()
    (tmp_path / "predictions").rmdir()
    with pytest.raises(RunError, match="unfinished, 1 of 1 parts"):
        load_run(tmp_path)


def test_a_damaged_part_is_refused(tmp_path: Path) -> None:
    saved(tmp_path)
    (tmp_path / "predictions" / "part-00000.parquet").write_bytes(b"PAR1")
    with pytest.raises(RunError, match="a part is damaged"):
        load_run(tmp_path)


def test_an_id_in_two_parts_is_refused(tmp_path: Path) -> None:
    run = saved(tmp_path)
    with RunFolder(tmp_path) as folder:
        folder.publish(1, run.predictions.slice(1, 2))
    edit(tmp_path, plan={"parts": [[0, 4], [4, 6]]})
    with pytest.raises(RunError, match="an id that occurred before: b, c"):
        load_run(tmp_path)


def test_a_report_is_written_into_the_run_folder(tmp_path: Path) -> None:
    page = saved(tmp_path).report()
    assert page == tmp_path / "report.html"
    assert page.read_text().startswith("<!doctype html>")
    first = page.read_bytes()
    assert load_run(tmp_path).report().read_bytes() == first
