"""Many evaluations in one folder: what a study asks, what is left when it is stopped, and what a failure costs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from healthfm import RunError, evaluate, load_run
from healthfm.evaluate import study as studies
from healthfm.evaluate.study import cells, run_study
from healthfm.evaluate.study_file import read_study
from healthfm.models.model import Model
from healthfm.score.statistics import bootstrap
from tests.evaluate.studies import DATASETS, model, study, two


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No interval is looked at here but for being the same."""
    monkeypatch.setattr(bootstrap, "RESAMPLES", 100)


def numbers(folder: Path) -> dict[str, bytes]:
    """Everything of a study that holds numbers."""
    return {
        str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*"))
        if path.suffix == ".parquet" or path.name in ("metrics.json", "study.json")
    }  # fmt: skip


def test_every_model_is_asked_on_every_dataset_in_a_folder_of_its_own(tmp_path: Path) -> None:
    found = run_study(study(tmp_path), tmp_path / "out", models=two())
    assert not found.failed and not found.left
    assert [one.cell.title for one in found.outcomes] == [
        f"{m} on {d}.jsonl" for m in ("good", "poor") for d in DATASETS
    ]
    values = [one.headline["value"] for one in found.outcomes if one.headline]
    assert values == pytest.approx([0.9, 0.9, 0.9, 0.4, 0.8, 0.3])
    assert [one.path.name.rpartition("--")[0] for one in found.outcomes][:2] == ["good--heart", "good--lung"]
    assert all((one.path / "report.html").is_file() for one in found.outcomes)
    kept = json.loads((tmp_path / "out" / "study.json").read_text())
    assert {one["state"] for one in kept["runs"].values()} == {"finished"} and kept["study"]["tasks"] == [
        "multiple-choice"
    ]
    assert set(kept["runs"]) == {one.path.name for one in found.outcomes}


def test_a_run_of_a_study_is_the_run_that_evaluate_makes(tmp_path: Path) -> None:
    found = run_study(study(tmp_path), tmp_path / "out", models=two())
    alone = evaluate(model("good", 9), tmp_path / "heart.jsonl", task="multiple-choice", output=tmp_path / "alone")
    inside = load_run(found.outcomes[0].path)
    assert inside.scores == alone.scores and inside.predictions.equals(alone.predictions)
    assert inside.facts["request"] == alone.facts["request"]


def test_a_study_that_was_killed_five_times_ends_with_the_same_bytes(tmp_path: Path) -> None:
    path = study(tmp_path)
    run_study(path, tmp_path / "whole", models=two())
    calls = 0
    for stop in (1, 2, 3, 2, 4):
        broken = {**two(), "poor": model("poor", {"heart": 4, "lung": 8, "skin": 3}, stop=stop)}
        with pytest.raises(KeyboardInterrupt):
            run_study(path, tmp_path / "stopped", models=broken)
        calls += broken["good"].score.__wrapped__.__self__.calls  # type: ignore[attr-defined]
    states = [one["state"] for one in json.loads((tmp_path / "stopped" / "study.json").read_text())["runs"].values()]
    assert "asked" in states
    last = two()
    assert not run_study(path, tmp_path / "stopped", models=last).failed
    assert numbers(tmp_path / "stopped") == numbers(tmp_path / "whole")
    assert last["good"].score.__wrapped__.__self__.calls == 0, "what was finished is not asked again"  # type: ignore[attr-defined]


def test_a_failure_is_said_and_the_rest_is_finished(tmp_path: Path) -> None:
    broken = {**two(), "good": model("good", 9, stop=2, error=ZeroDivisionError)}
    path = study(tmp_path)
    (tmp_path / "lung.jsonl").write_text('{"id": 1}\n')
    found = run_study(path, tmp_path / "out", models=broken)
    assert [one.problem is not None for one in found.outcomes] == [True, True, False, False, True, False]
    first, second = found.failed[:2]
    assert first.problem is not None and first.problem.startswith("ZeroDivisionError in studies.py, line ")
    assert "secret" not in first.problem and "lung.jsonl" in str(second.problem)
    kept = json.loads((tmp_path / "out" / "study.json").read_text())["runs"]
    assert kept[first.path.name]["state"] == first.problem
    again = run_study(path, tmp_path / "out", models=two())
    assert [one.cell.data.called for one in again.failed] == ["lung.jsonl", "lung.jsonl"]


def test_a_model_is_loaded_once_and_every_run_gets_it_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads: list[str] = []

    def load(name: str, *_: Any, **__: Any) -> Model:
        loads.append(name)
        made = model(name, 9)
        if name == "mimo":
            raise OSError("no such weights")
        real = made.score

        def score(*asked: Any) -> Any:
            made.provenance.setdefault("notices", []).append("left by a run before")
            return real(*asked)

        made.score = score  # type: ignore[method-assign]
        return made

    monkeypatch.setattr(studies, "load_model", load)
    path = study(tmp_path, models='["smollm2", "mimo"]')
    monkeypatch.setattr(studies.runner.provenance, "weights_digest", lambda *_: "0011")
    monkeypatch.setattr(studies.runner, "_model_card", lambda *_: model("x", 9).card)
    found = run_study(path, tmp_path / "out")
    assert loads == ["smollm2", "mimo"] and len(found.failed) == 3
    for one in found.outcomes[:3]:
        (ran,) = load_run(one.path).facts["environments"]
        assert "notices" not in ran["model"]
    assert not run_study(path, tmp_path / "out").outcomes[0].problem and loads == ["smollm2", "mimo", "mimo"]


def test_datasets_say_their_own_and_tasks_and_seeds_multiply(tmp_path: Path) -> None:
    path = tmp_path / "s.toml"
    path.write_text(
        'models = ["a", {name = "b", weights = "w"}]\nseeds = [0, 3]\ntasks = ["multiple-choice"]\nlimit = 5\n'
        '[[datasets]]\nname = "medqa"\n[[datasets]]\nname = "pubmedqa@reasoning-required"\ntasks = ["knn", "linear-probe"]\nlimit = 9\nroot = "files"\n'
    )
    found = cells(read_study(path))
    assert len(found) == 2 * (2 + 4) and len({one.folder for one in found}) == 12
    assert {(one.task, one.how.limit) for one in found if one.data.name == "medqa"} == {("multiple-choice", 5)}
    assert {(one.task, one.how.limit) for one in found if one.data.name != "medqa"} == {
        ("knn", 9),
        ("linear-probe", 9),
    }
    two = 'models = [{name = "a", weights = "w"}, "a"]\ndatasets = ["b"]'
    (tmp_path / "two.toml").write_text(two)
    assert [cell.title for cell in cells(read_study(tmp_path / "two.toml"))] == ["a (weights w) on b", "a on b"]
    again = path.read_text().replace('root = "files"\n', 'root = "elsewhere"\n')
    path.write_text(again)
    assert {one.folder for one in cells(read_study(path))} == {one.folder for one in found}, "where files lie is free"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('models = ["a"]', "datasets: Field required"),
        ('modles = ["a"]', "modles: no such key (keys: tasks, seeds"),
        ('models = [{name = "a", wieghts = "x"}]\ndatasets = ["b"]', "[[models]] 1: wieghts: no such key (keys: name, weights"),
        ('models = ["a"]\n[[datasets]]\nname = "b"\n[[datasets]]\nname = "c"\nshot = 1', "[[datasets]] 2: shot: no such key"),
        ('models = ["a"]\ndatasets = [{name = "b", path = "c"}]', "[[datasets]] 1: give name (a row of the catalogue) or path"),
        ('models = ["a"]\ndatasets = ["./ward"]', "[[datasets]] 1: own data is given by path"),
        ('models = ["a"]\ndatasets = ["b"]\nlimit = true', "limit: Input should be a valid integer"),
        ('models = ["a"]\ndatasets = ["b"]\nshots_order = "last"', "shots_order: Input should be 'first' or 'random'"),
        ('models = []\ndatasets = ["b"]', "models: Tuple should have at least 1 item"),
        ('models = ["a"', "not valid TOML"),
        ('models = ["a", "a"]\ndatasets = ["b"]', "asks for the same run twice: a on b"),
    ],
)  # fmt: skip
def test_a_study_that_is_wrong_is_refused_by_file_and_key(text: str, says: str, tmp_path: Path) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text(text)
    with pytest.raises(RunError) as error:
        run_study(path, tmp_path / "out")
    assert says in str(error.value) and ("wrong.toml" in str(error.value) or "twice" in says)
    assert not (tmp_path / "out").exists()


def test_a_study_grows_and_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    path = study(tmp_path, models='["good"]')
    run_study(path, tmp_path / "out", models=two())
    path.write_text(path.read_text().replace('["good"]', '["poor"]'))
    found = run_study(path, tmp_path / "out", models=two())
    assert len(found.outcomes) == 3 and len(found.left) == 3 and all(one.startswith("good--") for one in found.left)
    with pytest.raises(RunError, match=r"holds other files \(5\) and no study"):
        run_study(path, tmp_path, models=two())
    with pytest.raises(RunError, match="another process is writing"), studies.RunFolder(tmp_path / "out", "runs"):
        run_study(path, tmp_path / "out", models=two())
