"""``healthfm report`` and ``compare --output``: numbers again from predictions, of a run or of a table made elsewhere."""

from __future__ import annotations

import csv
import html
import io
import json
import random
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from healthfm import HealthfmError, load_run
from healthfm.cli import app


def healthfm(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture
def predictions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A CSV table of a binary classifier made elsewhere, in the working folder."""
    monkeypatch.chdir(tmp_path)
    drawn = random.Random(0)
    rows = ["id,target,probability.well,probability.sick,patient,subgroup.sex"]
    for i in range(80):
        sick, p = i % 3 == 0, drawn.random()
        p = (p + sick) / 2
        rows.append(f"r{i},{'sick' if sick else 'well'},{1 - p:.4f},{p:.4f},p{i // 2},{'f' if i % 4 < 2 else 'm'}")
    path = tmp_path / "scanner.csv"
    path.write_text("\n".join(rows) + "\n")
    return path


def of_table(path: Path, *more: object) -> Result:
    return healthfm("report", "--predictions", path, "--task", "binary", "--classes", "well,sick", *more)


def test_a_table_made_elsewhere_gets_everything_a_run_gets(predictions: Path) -> None:
    result = of_table(predictions)
    assert result.exit_code == 0, result.output
    (folder,) = Path("runs").iterdir()
    assert folder.name.startswith("scanner--binary--")
    page = (folder / "report.html").read_text()
    assert all(
        f'id="{part}"' in page for part in ("calibration", "roc", "confusion", "subgroups", "contamination", "limits")
    )
    run = load_run(folder)
    assert run.scores["classes"] == ["well", "sick"]
    assert f"{run.metrics['auroc']['value']:.3f}" in result.output and "patient-clustered" in result.output


def test_a_group_in_which_a_model_surely_does_worse_is_named_in_the_terminal(predictions: Path) -> None:
    drawn = random.Random(1)
    for worse in (False, True):
        rows = ["id,target,probability.well,probability.sick,subgroup.sex"]
        for i in range(300):
            sick, sex = i % 3 == 0, "fm"[i % 2]
            p = drawn.random() if worse and sex == "f" else drawn.betavariate(3, 2) if sick else drawn.betavariate(2, 3)
            rows.append(f"r{i},{'sick' if sick else 'well'},{1 - p:.4f},{p:.4f},{sex}")
        predictions.write_text("\n".join(rows) + "\n")
        found = of_table(predictions)
        assert found.exit_code == 0, found.output
        assert ("It is not the same for everyone, by sex: " in found.stdout) is worse
        assert ("auroc in f is 0." in found.stdout) is worse


def test_the_same_table_finds_its_folder_again_and_a_changed_one_gets_another(predictions: Path) -> None:
    of_table(predictions)
    assert of_table(predictions).exit_code == 0
    assert len(list(Path("runs").iterdir())) == 1
    predictions.write_text(predictions.read_text().replace("r79,well", "r79,sick"))
    assert of_table(predictions).exit_code == 0
    assert len(list(Path("runs").iterdir())) == 2


def test_metrics_are_computed_again_from_predictions_without_the_model(predictions: Path) -> None:
    of_table(predictions, "--output", "mine")
    before = (Path("mine") / "metrics.json").read_text()
    (Path("mine") / "metrics.json").write_text("{}")
    (Path("mine") / "report.html").unlink()
    assert healthfm("report", "mine").exit_code == 0
    assert json.loads((Path("mine") / "metrics.json").read_text()) == json.loads(before)
    assert (Path("mine") / "report.html").is_file()


def test_each_format_is_printed_alone(predictions: Path) -> None:
    of_table(predictions, "--output", "mine")
    run = load_run("mine")
    data = json.loads(healthfm("report", "mine", "--format", "json").stdout)
    assert data["metrics"] == run.metrics and data["report"] == "mine/report.html"
    assert data == json.loads(healthfm("report", "mine", "--json").stdout)
    rows = list(csv.DictReader(io.StringIO(healthfm("report", "mine", "--format", "csv").stdout)))
    assert float(next(row for row in rows if row["metric"] == "auroc")["value"]) == run.metrics["auroc"]["value"]
    assert healthfm("report", "mine", "--format", "md").stdout.startswith("# scanner on a table of predictions\n")


def test_two_tables_are_compared_on_a_page(predictions: Path) -> None:
    of_table(predictions, "--output", "one")
    predictions.write_text(predictions.read_text().replace("0.9", "0.1"))
    of_table(predictions, "--output", "two")
    result = healthfm("compare", "one", "two", "--metric", "auroc", "--output", "compare.html")
    assert result.exit_code == 0 and "compare.html" in result.output
    found = json.loads(healthfm("compare", "one", "two", "--metric", "auroc", "--json").stdout)
    page = html.unescape(Path("compare.html").read_text())
    assert all(pair["says"] in page for pair in found["metrics"]["auroc"]["pairs"]), found["metrics"]["auroc"]["pairs"]


def test_a_table_whose_columns_are_called_otherwise_needs_no_other_file(predictions: Path) -> None:
    _, rest = predictions.read_text().split("\n", 1)
    predictions.write_text("case,truth,p0,p1,who,sex\n" + rest)
    words = (
        "--columns",
        "id=case,target=truth",
        "--columns",
        "probability.well=p0,probability.sick=p1",
        "--subgroup",
        "sex",
    )
    assert of_table(predictions, *words, "--output", "mine").exit_code == 0
    run = load_run("mine")
    assert list(run.scores["subgroups"]) == ["sex"] and "auroc" in run.metrics
    result = of_table(predictions, "--columns", "target=colour")
    assert "no column colour" in str(result.exception)


def test_a_folder_of_something_else_is_left_alone(predictions: Path) -> None:
    Path("thesis").mkdir()
    Path("thesis/words.tex").write_text("words")
    result = of_table(predictions, "--output", "thesis")
    assert isinstance(result.exception, HealthfmError) and "holds other files (1) and no run" in str(result.exception)
    assert [one.name for one in Path("thesis").iterdir()] == ["words.tex"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("report",), "name a run folder, or --predictions"),
        (("report", "mine", "--predictions", "x.csv", "--task", "binary"), "name a run folder, or --predictions"),
        (("report", "mine", "--task", "binary"), "not a run folder"),
        (("report", "mine", "--classes", "a,b"), "go with --predictions"),
        (("report", "mine", "--subgroup", "sex"), "go with --predictions"),
        (("report", "mine", "--format", "pdf"), "--format is 'pdf'; use html, md, json, csv"),
        (("report", "--predictions", "scanner.csv"), "needs --task"),
        (("report", "--predictions", "scanner.csv", "--task", "colour"), "no task 'colour'"),
        (("report", "--predictions", "absent.csv", "--task", "binary"), "absent.csv: no such file"),
        (("report", "--predictions", "scanner.csv", "--task", "ordinal", "--output", "x"), "classes in their order"),
        (("report", "--predictions", "scanner.csv", "--task", "regression"), "lacks the column"),
    ],
)  # fmt: skip
def test_a_mistake_says_what_to_do(predictions: Path, words: tuple[str, ...], says: str) -> None:
    result = healthfm(*words)
    assert isinstance(result.exception, HealthfmError) and says in str(result.exception), result
    assert not Path("runs").exists()
