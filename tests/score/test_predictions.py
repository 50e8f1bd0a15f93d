"""Tables of predictions in files, read for the task they were made for."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from healthfm import RunError, evaluate_predictions
from healthfm.errors import HealthfmError
from healthfm.score import baselines, scoring
from healthfm.score.tables import read_predictions


def test_a_csv_file_scores_as_the_table_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    path.write_text("id,target,prediction,patient,subgroup.sex\n007,yes,yes,p1,f\n008,no,,p1,m\n009,no,no,p2,\n")
    table = read_predictions(path)
    assert table["id"].to_pylist() == ["007", "008", "009"]
    assert table["prediction"].to_pylist() == ["yes", None, "no"]
    run = evaluate_predictions(table, "binary")
    assert run.metrics["accuracy"]["value"] == pytest.approx(2 / 3) and run.scores["unanswered"] == 1
    assert [one["group"] for one in run.scores["subgroups"]["sex"]] == ["f", "m"]


def test_marks_of_byte_order_are_no_part_of_the_first_name(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    path.write_text('\ufeff\ufeff"id","target","prediction"\na,yes,yes\n', encoding="utf-8")
    assert read_predictions(path)["id"].to_pylist() == ["a"]


def test_probabilities_may_stand_in_a_column_for_each_class(tmp_path: Path) -> None:
    wide, listed = tmp_path / "wide.csv", tmp_path / "listed.csv"
    wide.write_text("id,target,probability.no,probability.yes\na,yes,0.2,0.8\nb,no,0.6,0.4\n")
    listed.write_text(
        'id,target,options,probabilities\na,yes,"[""no"",""yes""]","[0.2,0.8]"\nb,no,"[""no"",""yes""]","[0.6,0.4]"\n'
    )
    found = [evaluate_predictions(read_predictions(path), "binary").scores for path in (wide, listed)]
    assert found[0] == found[1] and found[0]["metrics"]["auroc"]["value"] == 1


def test_numbers_and_lists_are_read_from_text(tmp_path: Path) -> None:
    path = tmp_path / "numbers.tsv"
    path.write_text("id\ttarget\tprediction\na\t1.5\t2\nb\t3\t\nc\t-1e1\t-9\n")
    assert evaluate_predictions(read_predictions(path), "regression").metrics["mae"]["value"] == 0.75
    path = tmp_path / "labels.csv"
    path.write_text('id,target,prediction\na,"[""x""]","[""x"", ""y""]"\nb,[],[]\n')
    assert evaluate_predictions(read_predictions(path), "multi-label").metrics["micro_f1"]["value"] == pytest.approx(
        2 / 3
    )


def test_a_text_that_begins_like_a_list_stays_text(tmp_path: Path) -> None:
    path = tmp_path / "answers.csv"
    path.write_text('id,target,output\na,"[""yes""]",[sic] yes\n')
    assert read_predictions(path)["output"].to_pylist() == ["[sic] yes"]


@pytest.mark.parametrize("suffix", ["parquet", "jsonl"])
def test_parquet_and_json_lines_keep_their_types(tmp_path: Path, suffix: str) -> None:
    rows = [{"id": "a", "target": ["x"], "ranking": ["x", "y"]}, {"id": "b", "target": ["y"], "ranking": ["x", "y"]}]
    path = tmp_path / f"p.{suffix}"
    if suffix == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert evaluate_predictions(read_predictions(path), "retrieval").metrics["mrr"]["value"] == 0.75


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("p.csv", "id,target\n", "the table has no rows"),
        ("p.csv", "id,target\na\n", "line 2: 1 cells"),
        ("p.txt", "id", "not a table healthfm reads"),
        ("p.csv", "id,target,probability.a\n1,a,Smith\n", r"probability\.CLASS need a number"),
        ("p.csv", "id,target,probability.a,probabilities\n1,a,1,[1]\n", "both probabilities and"),
    ],
)
def test_a_file_that_does_not_fit_is_refused_in_one_line(tmp_path: Path, name: str, content: str, message: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(HealthfmError, match=message) as error:
        read_predictions(tmp_path / name)
    assert "\n" not in str(error.value) and "Smith" not in str(error.value)
    with pytest.raises(RunError, match="no such file"):
        read_predictions(tmp_path / "absent.csv")


def test_a_missing_probability_is_named_by_its_row(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text("id,target,probability.a,probability.b\n1,a,0.5,0.5\n2,b,,1\n")
    with pytest.raises(RunError, match="NaN, infinite or missing probabilities: 2"):
        evaluate_predictions(read_predictions(tmp_path / "p.csv"), "binary")


def test_columns_of_other_names_are_named_and_subgroups_are_columns(tmp_path: Path) -> None:
    text = "case,truth,score,rest,ward\n1,ill,0.9,0.1,a\n2,well,0.2,0.8,b\n3,ill,0.4,0.6,a\n"
    (tmp_path / "p.csv").write_text(text)
    columns = {"id": "case", "target": "truth", "probability": {"well": "rest", "ill": "score"}}
    table = read_predictions(tmp_path / "p.csv", columns, ["ward"])
    assert table["id"].to_pylist() == ["1", "2", "3"] and table["subgroup.ward"].to_pylist() == ["a", "b", "a"]
    run = evaluate_predictions(table, "binary", classes=["well", "ill"])
    assert run.predictions["prediction"].to_pylist() == ["ill", "well", "well"]
    assert [one["group"] for one in run.scores["subgroups"]["ward"]] == ["a", "b"]
    with pytest.raises(RunError, match=r"no column age, sex \(it has case, truth, score, rest, ward\)"):
        read_predictions(tmp_path / "p.csv", {"target": "sex"}, ["age"])


@pytest.mark.parametrize(
    ("column", "more", "says"),
    [
        ("probability", "\n2,well,0.2", "which class of target it is: probability.ill, probability.well; one of them is enough"),
        ("probability.1", "\n2,well,0.2", "which class of target it is: probability.ill, probability.well; one of them is enough"),
        ("probability.ill", "\n2,well,0.2\n3,dead,0.3", "probability.dead, probability.ill, probability.well; each of them is needed"),
    ],
)  # fmt: skip
def test_a_probability_of_no_class_or_one_of_many_says_which_columns_are_needed(
    tmp_path: Path, column: str, more: str, says: str
) -> None:
    (tmp_path / "p.csv").write_text(f"id,target,{column}\n1,ill,0.9{more}\n")
    with pytest.raises(RunError) as error:
        read_predictions(tmp_path / "p.csv")
    assert says in str(error.value)


def test_the_probability_of_one_of_two_classes_tells_the_others(tmp_path: Path) -> None:
    (tmp_path / "one.csv").write_text("id,target,probability.ill\n1,ill,0.75\n2,well,0.25\n3,well,0.5\n")
    (tmp_path / "both.csv").write_text(
        "id,target,probability.ill,probability.well\n1,ill,0.75,0.25\n2,well,0.25,0.75\n3,well,0.5,0.5\n"
    )
    one, both = (
        evaluate_predictions(read_predictions(tmp_path / name), "binary", classes=["well", "ill"])
        for name in ("one.csv", "both.csv")
    )
    assert one.metrics == both.metrics and one.metrics["auroc"]["value"] == 1


def test_a_column_called_probability_beside_a_prediction_is_another_column(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text("id,target,prediction,probability\n1,ill,ill,0.9\n2,well,ill,0.2\n")
    assert evaluate_predictions(read_predictions(tmp_path / "p.csv"), "binary").metrics["accuracy"]["value"] == 0.5


def test_a_subgroup_is_found_by_either_name_of_its_column(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text("id,truth,guess,hospital\n1,a,a,north\n2,b,a,south\n")
    columns = {"target": "truth", "prediction": "guess", "site": "hospital"}
    for name in ("site", "hospital"):
        table = read_predictions(tmp_path / "p.csv", columns, [name])
        assert table[f"subgroup.{name}"].to_pylist() == ["north", "south"]
    with pytest.raises(RunError, match="no column ward"):
        read_predictions(tmp_path / "p.csv", columns, ["ward"])


def test_where_lower_is_better_a_model_with_larger_errors_is_beaten_by_its_rival() -> None:
    n = 40
    ids, target = [str(i) for i in range(n)], [float(i % 7) for i in range(n)]
    rival = {"baseline": ["mean"] * n, "id": ids, "target": target, "prediction": [one + 0.1 for one in target]}
    rivals = pa.table(rival).replace_schema_metadata({"baselines": json.dumps({"made": {"mean": "the mean"}})})

    def said(off: float) -> str:
        table = scoring.check_table(pa.table({"id": ids, "target": target, "prediction": [one + off for one in target]}), "regression", None)  # fmt: skip
        return baselines.verdict(baselines.against(table, rivals, "regression", "mae", None, 0))

    assert said(2.0).startswith("It is beaten by") and said(0.01).startswith("It beats")
    assert said(0.1).startswith("It is not shown to beat")
