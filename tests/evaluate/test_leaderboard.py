"""A leaderboard: its values are the runs' own, its ranks those of a bootstrap of samples, and what is left out is named."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from healthfm import RunError, load_run
from healthfm.engine.store import RunFolder
from healthfm.score.compare import compare
from healthfm.score.leaderboard import leaderboard
from healthfm.score.statistics import bootstrap
from tests.evaluate.studies import answers, put
from tests.report.made import facts


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The runs' own intervals are proved elsewhere."""
    monkeypatch.setattr(bootstrap, "RESAMPLES", 200)


SHARES = {"a": (0.9, 0.87), "b": (0.88, 0.86), "c": (0.5, 0.4)}


@pytest.fixture
def board(tmp_path: Path) -> Path:
    for i, (name, shares) in enumerate(SHARES.items()):
        for j, (data, n) in enumerate((("heart", 200), ("lung", 120))):
            put(tmp_path, name, data, answers(shares[j], n, 10 * i + j))
    return tmp_path


def test_ranks_are_those_of_an_independent_bootstrap(board: Path) -> None:
    found = leaderboard(board)
    rng, times = np.random.default_rng(99), 6000
    sums = np.zeros((3, times))
    for j, n in enumerate((200, 120)):
        hits = np.stack([answers(shares[j], n, 10 * i + j) for i, shares in enumerate(SHARES.values())]).astype(float)
        drawn = np.stack([hits[:, rng.integers(0, n, n)].mean(1) for _ in range(times)], 1)
        ranks = np.array(
            [[1 + (drawn > drawn[i]).sum(0) + ((np.abs(drawn - drawn[i]) < 1e-12).sum(0) - 1) / 2] for i in range(3)]
        )[:, 0]
        sums += ranks / 2
        column = {one["model"]: one for one in found.columns[j]["cells"]}
        best = ranks == ranks.min(0)
        first = (best / best.sum(0)).mean(1)
        for i, name in enumerate(SHARES):
            assert column[name]["first"] == pytest.approx(first[i], abs=0.04)
            assert [column[name]["rank_low"], column[name]["rank_high"]] == np.quantile(
                ranks[i], [0.025, 0.975], method="inverted_cdf"
            ).tolist()
    places = {one["label"]: one for one in found.models}
    for i, name in enumerate(SHARES):
        assert [places[name]["rank_low"], places[name]["rank_high"]] == np.quantile(
            sums[i], [0.025, 0.975], method="inverted_cdf"
        ).tolist()
    assert [one["rank"] for one in found.models] == [1, 1, 3]
    assert places["a"]["tied_with"] == ["b"] and places["c"]["tied_with"] == []
    assert places["c"]["mean_rank"] == 3 and (places["a"]["mean_rank"], places["b"]["mean_rank"]) == (1, 2)
    assert leaderboard(board) == found, "the seed is fixed"


def test_values_are_the_runs_own_and_pairs_those_of_compare_with_holm_over_all(board: Path) -> None:
    found = leaderboard(board, paired=True)
    for column in found.columns:
        for cell in column["cells"]:
            own = load_run(cell["paths"][0]).metrics["accuracy"]
            assert {key: cell[key] for key in ("value", "low", "high", "n")} == {
                key: own[key] for key in ("value", "low", "high", "n")
            }
        assert [one["model"] for one in column["cells"]][-1] == "c"
    assert len(found.pairs) == 6
    for column in found.columns:
        paths = [one["paths"][0] for one in sorted(column["cells"], key=lambda one: one["model"])]
        expected = [pair["p"] for pair in compare(paths).pairs]
        assert [row["p"] for row in found.pairs if row["column"] == column["label"]] == expected
    p = sorted(row["p"] for row in found.pairs)
    assert min(row["p_holm"] for row in found.pairs) == pytest.approx(min(1, 6 * p[0]))
    assert leaderboard(board).pairs == ()


def test_models_with_the_same_answers_are_tied_and_lower_can_be_better(tmp_path: Path) -> None:
    hits = answers(0.6, 80, 1)
    for name in ("x", "y"):
        put(tmp_path, name, "heart", hits)
    (column,) = leaderboard(tmp_path).columns
    assert [
        (one["rank"], one["mean_rank"], one["rank_low"], one["rank_high"], one["first"]) for one in column["cells"]
    ] == [(1, 1.5, 1.5, 1.5, 0.5)] * 2
    place = tmp_path / "costs"
    for name, cost in (("cheap", 1.0), ("dear", 2.0)):
        made = facts(dataset="texts")
        made["request"] |= {"model": name, "task": "perplexity"}
        made["plan"]["parts"], made["classes"], made["majority"] = [[0, 30]], None, None
        with RunFolder(place / name) as folder:
            folder.write_json("run.json", made)
            rows = {"id": list(map(str, range(30))), "log_likelihood": [-cost * (90 + i) for i in range(30)]}
            folder.publish(0, pa.table({**rows, "tokens": [30] * 30, "words": [20] * 30, "bytes": [110] * 30}))
    found = leaderboard(place)
    assert [(one["label"], one["rank"]) for one in found.models] == [("cheap", 1), ("dear", 2)]
    put(place, "cheap", "heart", hits)
    lone = next(one for one in leaderboard(place).columns if one["label"] == "heart")["cells"][0]
    assert lone["rank"] is None and lone["value"] == 0.6, "a model alone has no rank"
    assert found.columns[0]["lower_is_better"] and found.columns[0]["cells"][0]["model"] == "cheap"


def test_columns_of_one_dataset_are_resampled_together_and_whole_patients_are(tmp_path: Path) -> None:
    """Two protocols on the same samples are not twice the evidence; nor are the samples of one patient."""
    one, other = answers(0.7, 100, 1), answers(0.6, 100, 2)
    for data in ("heart@p", "heart@q"):
        put(tmp_path / "same", "x", data, one)
        put(tmp_path / "same", "y", data, other)
    put(tmp_path / "alone", "x", "heart@p", one)
    put(tmp_path / "alone", "y", "heart@p", other)
    both, alone = leaderboard(tmp_path / "same"), leaderboard(tmp_path / "alone")
    assert [one["first"] for one in both.models] == [one["first"] for one in alone.models]
    many = [f"p{i // 20}" for i in range(100)]
    put(tmp_path / "few", "x", "heart@p", [True] * 60 + [False] * 40, patients=many)
    put(tmp_path / "few", "y", "heart@p", [False] * 20 + [True] * 20 + [False] * 60, patients=many)
    (column,) = leaderboard(tmp_path / "few").columns
    rng = np.random.default_rng(5)
    drawn = np.stack([np.bincount(rng.integers(0, 5, 5), minlength=5) for _ in range(6000)])
    x, y = drawn @ np.array([1, 1, 1, 0, 0]), drawn @ np.array([0, 1, 0, 0, 0])
    assert column["cells"][0]["first"] == pytest.approx(((x > y) + (x == y) / 2).mean(), abs=0.03)


def test_datasets_are_drawn_by_themselves(tmp_path: Path) -> None:
    x, y = np.arange(50) < 30, (np.arange(50) >= 3) & (np.arange(50) < 31)
    for data in ("heart", "lung", "skin"):
        put(tmp_path, "x", data, x)
        put(tmp_path, "y", data, y)
    rng, ahead = np.random.default_rng(3), np.zeros(8000)
    for _ in range(3):
        drawn = rng.integers(0, 50, (8000, 50))
        ahead += np.sign(x[drawn].sum(1) - y[drawn].sum(1))
    expected = ((ahead > 0) + (ahead == 0) / 2).mean()
    assert leaderboard(tmp_path).models[0]["first"] == pytest.approx(expected, abs=0.025)


def test_seeds_are_one_cell_their_mean(tmp_path: Path) -> None:
    for seed in (0, 1):
        put(tmp_path, "x", "heart", answers(0.8, 60, seed), seed=seed)
        put(tmp_path, "y", "heart", answers(0.5, 60, 7 + seed), seed=seed)
    put(tmp_path, "z", "heart", answers(0.5, 60, 7), seed=1)
    found = leaderboard(tmp_path, paired=True)
    (column,) = found.columns
    assert [(one["model"], one["value"], len(one["paths"])) for one in column["cells"]] == [
        ("x", pytest.approx(0.8), 2),
        ("y", pytest.approx(0.5), 2),
    ]
    assert "mean over 2 seeds" in column["cells"][0]["method"] and column["seeds"] == 2
    assert [one["why"] for one in found.excluded] == ["has 1 of the 2 seeds that others have here"]
    assert [row["column"] for row in found.pairs] == ["heart, seed 0", "heart, seed 1"]


def test_what_is_left_out_is_named_with_its_reason(board: Path) -> None:
    put(board, "fewer", "heart", answers(0.9, 50, 3))
    put(board, "otherwise", "heart", answers(0.9, 200, 3), shot_ids=["3", "4"])
    gone = put(board, "stopped", "heart", answers(0.9, 200, 3))
    next((gone / "predictions").iterdir()).unlink()
    put(board, "other-targets", "lung", answers(0.9, 120, 3), target="maybe")
    found = leaderboard(board)
    why = {one["run"].split()[0]: one["why"] for one in found.excluded}
    assert set(why) == {"fewer", "otherwise", "stopped", "other-targets"}
    assert why["fewer"].startswith("other samples than a: 150 samples are in the first only")
    assert "--common" not in why["fewer"], "no option of this command"
    assert why["otherwise"] == "other protocol than a: the solved examples are not the same ones"
    assert why["stopped"] == "unfinished: 0 of 1 parts" and "targets of 60 of 120" in why["other-targets"]
    assert {one["label"] for one in found.models} == set(SHARES)
    across = leaderboard(board, across_protocols=True)
    assert "otherwise" not in {one["run"].split()[0] for one in across.excluded}
    assert any("otherwise has no rank over all, it lacks lung" in note for note in across.notes)


def test_marks_stand_beside_the_numbers(tmp_path: Path) -> None:
    seen = facts()["lineage"]
    put(tmp_path, "seen", "heart", answers(0.9, 60, 1), lineage=seen)
    put(tmp_path, "drawn", "heart", answers(0.5, 60, 2), weights="random")
    put(tmp_path, "drawn", "heart", answers(0.5, 60, 2), weights="0011")
    path = next(tmp_path.glob("drawn-*random"))
    kept = json.loads((path / "run.json").read_text())
    kept["environments"][0]["model"]["weights"] = "random, seed 0"
    (path / "run.json").write_text(json.dumps(kept))
    found = leaderboard(tmp_path)
    marks = {one["model"]: one["marks"] for one in found.columns[0]["cells"]}
    assert marks == {
        "seen": ["contamination"],
        "drawn (weights random)": ["random weights"],
        "drawn (weights 0011)": [],
    }
    assert any(
        note.startswith("seen on heart: contamination: the model was trained on something") for note in found.notes
    )


def test_a_folder_without_a_finished_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="holds no finished run"):
        leaderboard(tmp_path)
    with pytest.raises(RunError, match="no such folder"):
        leaderboard(tmp_path / "absent")


def test_runs_of_a_study_that_failed_or_were_not_begun_are_named(board: Path) -> None:
    study, runs = board / "study", board / "study" / "runs"
    for name in ("x", "y"):
        put(runs, name, "heart", answers(0.9, 40, 1))
    gone = put(runs, "z", "heart", answers(0.9, 40, 2))
    next((gone / "predictions").iterdir()).unlink()
    states = {
        "lost": ("x on lung", "no weights at w"),
        "later": ("y on lung", "asked"),
        gone.name: ("z on heart", "stopped by its server"),
    }
    kept = {name: {"run": run, "state": state} for name, (run, state) in states.items()}
    (study / "study.json").write_text(json.dumps({"runs": kept}))
    assert {one["run"]: one["why"] for one in leaderboard(study).excluded} == {
        "z on heart": "unfinished: 0 of 1 parts; stopped by its server", "x on lung": "no weights at w", "y on lung": "not run yet",
    }  # fmt: skip
