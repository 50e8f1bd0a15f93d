"""Runs on the same samples are ranked with paired tests; runs that are not alike are refused, saying exactly how they differ."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import healthfm as hfm
from healthfm.errors import RunError
from healthfm.report.run import Run, evaluate_predictions
from healthfm.score.compare import Comparison, compare
from healthfm.score.statistics import paired

N = 200
TRUTH = np.random.default_rng(0).choice(["yes", "no", "maybe"], N, p=[0.55, 0.34, 0.11])
IDS = [f"q{i}" for i in range(N)]


def run(right: float, seed: int, name: str | None = None, output: Path | None = None, **columns: Any) -> Run:
    rng = np.random.default_rng(seed)
    guess = np.where(rng.random(N) < right, TRUTH, rng.choice(["yes", "no", "maybe"], N))
    table = {"id": IDS, "target": TRUTH.tolist(), "prediction": guess.tolist(), **columns}
    return evaluate_predictions(table, "yes-no-maybe", name=name or f"model-{seed}", output=output)


def asked(one: Run, **request: Any) -> Run:
    """The same predictions, as if made by a model on a dataset by a protocol."""
    said = {
        "dataset": "pubmedqa:pqa-l@reasoning-required",
        "split": "test",
        "shots": 0,
        "items": "1",
        "cards": {"dataset": "d1"},
    }
    facts = {**one.facts, "request": {**one.facts["request"], **said, **request}, "protocol": {"template": "A"}}
    return Run(facts, one.predictions, one.scores, one.path)


def changed(one: Run, **columns: list[Any]) -> Run:
    table = one.predictions
    for name, values in columns.items():
        table = (
            table.set_column(table.column_names.index(name), name, pa.array(values))
            if name in table.column_names
            else table.append_column(name, pa.array(values))
        )
    return Run(one.facts, table, one.scores)


def test_the_ranking_gives_each_run_its_interval_and_who_it_is_not_told_apart_from() -> None:
    best, middle, worst = run(0.9, 1), run(0.86, 2), run(0.3, 3)
    found = hfm.compare([worst, best, middle])
    assert isinstance(found, Comparison) and isinstance(found, hfm.Comparison)
    assert [row["run"] for row in found.ranking] == ["model-1", "model-2", "model-3"]
    assert [row["not_told_apart_from"] for row in found.ranking] == [["model-2"], ["model-1"], []]
    for row, one in zip(found.ranking, (best, middle, worst), strict=True):
        assert {key: row[key] for key in ("value", "low", "high", "n")} == {
            key: one.metrics["accuracy"][key] for key in ("value", "low", "high", "n")
        }
    assert (found.metric, found.n, found.task) == ("accuracy", N, "yes-no-maybe")
    assert json.loads(json.dumps(found.asdict()))["metrics"]["accuracy"]["ranking"] == found.ranking


def test_each_pair_is_tested_on_the_same_samples_and_adjusted() -> None:
    runs = [run(0.8, 1), run(0.7, 2), run(0.65, 3)]
    found = compare(runs)
    right = [np.array(one.predictions["prediction"].to_pylist()) == TRUTH for one in runs]
    for pair, (i, j) in zip(found.pairs, ((0, 1), (0, 2), (1, 2)), strict=True):
        assert (pair["first"], pair["second"]) == (f"model-{i + 1}", f"model-{j + 1}")
        assert pair["value"] == pytest.approx(right[i].mean() - right[j].mean())
        assert pair["p"] == paired.mcnemar(int((right[i] & ~right[j]).sum()), int((right[j] & ~right[i]).sum()))
        assert pair["low"] < pair["value"] < pair["high"]
    assert [pair["p_holm"] for pair in found.pairs] == paired.holm([pair["p"] for pair in found.pairs])


def test_the_order_of_rows_does_not_matter() -> None:
    one, other = run(0.8, 1), run(0.6, 2)
    mixed = Run(other.facts, other.predictions.take(np.random.default_rng(5).permutation(N)), other.scores)
    assert compare([one, mixed]).asdict() == compare([one, other]).asdict()


def test_a_pair_is_told_in_words() -> None:
    surely, maybe, found = run(0.9, 1), run(0.86, 2), compare([run(0.9, 1), run(0.3, 3)])
    assert found.pairs[0]["says"].startswith("model-1 is better than model-3 (accuracy 0.")
    assert found.pairs[0]["says"].endswith(", p < 0.001).")
    unsure = compare([surely, maybe]).pairs[0]
    assert unsure["says"].startswith("No difference is shown between model-1 and model-2")
    assert f"A true difference of {unsure['detectable']:.3f} would have been found in 80%" in unsure["says"]
    same = compare([surely, run(0.9, 1, "twin")]).pairs[0]
    assert same["detectable"] is None and "cannot say what it would have found" in same["says"]


def test_what_holm_takes_back_is_said() -> None:
    def right_on(name: str, *rows: range) -> Run:
        right = {i for part in rows for i in part}
        guess = [
            t if i in right else {"yes": "no", "no": "maybe", "maybe": "yes"}[t] for i, t in enumerate(TRUTH.tolist())
        ]
        return evaluate_predictions(
            {"id": IDS, "target": TRUTH.tolist(), "prediction": guess}, "yes-no-maybe", name=name
        )

    runs = [right_on("a", range(120)), right_on("b", range(20, 128)), right_on("c", range(1, 121))]
    pair = compare(runs).pairs[0]
    assert pair["p"] == pytest.approx(0.0357, abs=5e-5) and pair["p_holm"] > 0.05
    assert pair["says"].startswith("No difference is shown once 3 pairs are tested between a and b")


def test_other_metrics_are_compared_when_named_and_the_first_is_the_headline() -> None:
    found = compare([run(0.9, 1), run(0.5, 2)], metrics=["macro_f1", "accuracy"])
    assert found.metric == "macro_f1" and list(found.metrics) == ["macro_f1", "accuracy"]
    assert "sign permutation" in found.pairs[0]["test"] and "paired percentile bootstrap" in found.pairs[0]["method"]
    with pytest.raises(RunError, match=r"not a metric of all these runs: auprc \(they share: accuracy, macro_f1"):
        compare([run(0.9, 1), run(0.5, 2)], metrics=["auprc"])


def test_an_auroc_is_compared_by_delong_and_an_error_is_better_when_lower() -> None:
    rng = np.random.default_rng(0)
    truth = rng.random(N) < 0.4
    runs = []
    for shift in (2.0, 0.5):
        chance = 1 / (1 + np.exp(-(rng.normal(0, 1, N) + shift * (truth - 0.5))))
        table = {
            "id": IDS, "target": np.where(truth, "ill", "well").tolist(), "options": [["well", "ill"]] * N,
            "probabilities": [[1 - p, p] for p in chance],
        }  # fmt: skip
        runs.append(evaluate_predictions(table, "binary", classes=["well", "ill"], name=f"shift {shift}"))
    found = compare(runs, metrics=["auroc"])
    assert found.pairs[0]["test"].startswith("DeLong, paired (") and found.pairs[0]["p"] < 0.001
    numbers = [
        evaluate_predictions({"id": IDS, "target": np.arange(N) * 1.0, "prediction": np.arange(N) + rng.normal(0, noise, N)}, "regression", name=f"noise {noise}")
        for noise in (5, 1)
    ]  # fmt: skip
    errors = compare(numbers, metrics=["mae"])
    assert [row["run"] for row in errors.ranking] == ["noise 1", "noise 5"]
    assert errors.pairs[0]["value"] > 0 and errors.pairs[0]["says"].startswith("noise 1 is better than noise 5")


def test_patients_with_several_samples_are_kept_together_and_said() -> None:
    patients = [f"p{i // 4}" for i in range(N)]
    found = compare([run(0.8, 1, patient=patients), run(0.7, 2, patient=patients)])
    assert "whole patients (50)" in found.pairs[0]["test"]
    assert any("whole patients were resampled" in note for note in found.notes)


def test_subgroups_are_compared_within_and_small_ones_flagged() -> None:
    site = ["north" if i % 2 else "south" if i > 15 else "isle" for i in range(N)]
    columns = {"subgroup.site": site}
    found = compare([run(0.9, 1, **columns), run(0.4, 2, **columns)])
    rows = {row["group"]: row for row in found.subgroups}
    assert {group: row["n"] for group, row in rows.items()} == {
        group: site.count(group) for group in ("north", "south", "isle")
    }
    assert rows["isle"]["too_few"] and not rows["north"]["too_few"]
    right = [np.array(run(r, s).predictions["prediction"].to_pylist()) == TRUTH for r, s in ((0.9, 1), (0.4, 2))]
    north = np.array(site) == "north"
    assert rows["north"]["value"] == pytest.approx(right[0][north].mean() - right[1][north].mean())
    assert [row["p_holm"] for row in found.subgroups] == paired.holm([row["p"] for row in found.subgroups])
    other = compare([run(0.9, 1, **columns), run(0.4, 2)])
    assert other.subgroups == () and other.notes == (
        "site: not every run has these subgroups, so they are not compared",
    )


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda r: changed(r, id=[*IDS[:-2], "x1", "x2"]), ("2 samples are in the first only (q198, q199)", "2 samples are in the second only (x1, x2)")),
        (lambda r: changed(r, target=["yes"] * N), ("the targets of", f"of {N} shared samples differ (", "more)")),
        (lambda r: asked(r, split="train"), ("the splits are test and train",)),
        (lambda r: asked(r, dataset="medqa:us@letters"), ("the datasets are pubmedqa:pqa-l and medqa:us",)),
        (lambda r: asked(r, task="regression"), ("the tasks predict different things (yes-no-maybe, regression)",)),
    ],
)  # fmt: skip
def test_other_samples_are_never_ranked(change: Any, says: tuple[str, ...]) -> None:
    other = change(asked(run(0.6, 2)))
    for across in (False, True):
        with pytest.raises(RunError, match="cannot be ranked, their samples are not the same") as error:
            compare([asked(run(0.8, 1)), other], across_protocols=across)
        assert all(one in str(error.value) for one in says), error.value


def test_other_inputs_under_the_same_ids_are_never_ranked() -> None:
    one, other = (changed(run(r, s), input=[f"{i % 7}" for i in range(N)]) for r, s in ((0.8, 1), (0.6, 2)))
    assert compare([one, other]).n == N
    with pytest.raises(RunError, match=r"the inputs of 1 of 200 shared samples differ \(q3\)"):
        compare([one, changed(other, input=[f"{i % 7}" if i != 3 else "9" for i in range(N)])])


@pytest.mark.parametrize(
    ("request_", "says"),
    [
        ({"dataset": "pubmedqa:pqa-l@reasoning-free"}, "the protocols are pubmedqa:pqa-l@reasoning-required and pubmedqa:pqa-l@reasoning-free"),
        ({"shots": 5, "shot_ids": ["a"]}, "the numbers of solved examples are 0 and 5"),
        ({"shot_ids": ["a"]}, "the solved examples are not the same ones"),
        ({"shots": 5, "shots_from": "train", "shots_order": "first", "shot_ids": ["a"]}, "ways: the numbers of solved examples are 0 and 5. If"),
        ({"prompt": {"by": "the model's card", "name": "qa", "digest": "0a1b", "parser": "biogpt"}},
         "the prompts are none and the model's card (qa), answers read by biogpt"),
        ({"judge": {"model": "m", "weights": "sha256:0a1b", "prompt_digest": "2c3d"}}, "the judges are none and m"),
        ({"fitted_on": 100}, "they were fitted on none and on 100 samples"),
        ({"cards": {"dataset": "d2"}}, "the dataset's card changed between the runs"),
        ({"items": "2"}, "the models were shown different texts"),
    ],
)  # fmt: skip
def test_another_way_of_asking_is_ranked_only_when_that_is_asked_for(request_: dict[str, Any], says: str) -> None:
    one, other = asked(run(0.8, 1)), asked(run(0.6, 2), **request_)
    with pytest.raises(RunError, match="they were asked in different ways") as error:
        compare([one, other])
    assert says in str(error.value) and "--across-protocols" in str(error.value)
    found = compare([one, other], across_protocols=True)
    assert any(says.removeprefix("ways: ").removesuffix(". If") in note for note in found.notes)
    assert not any(digest in note for note in found.notes for digest in ("d1", "d2", "0a1b", "2c3d"))


def test_runs_that_never_differ_have_no_interval_of_their_difference() -> None:
    found = compare([run(0.9, 1), run(0.9, 1, "twin")], metrics=["macro_f1"]).pairs[0]
    assert (found["value"], found["low"], found["high"], found["p"]) == (0, None, None, 1)
    assert found["method"].startswith("degenerate: every resample gives the same value (")
    assert "no interval, p = 1.000" in found["says"]


def test_a_table_made_elsewhere_is_held_against_a_run_only_when_that_is_asked_for() -> None:
    with pytest.raises(RunError, match="by which protocol is not known"):
        compare([asked(run(0.8, 1)), run(0.6, 2)])
    assert compare([asked(run(0.8, 1)), run(0.6, 2)], across_protocols=True).n == N


def test_two_runs_of_one_model_are_named_apart() -> None:
    one, other = asked(run(0.8, 1, "m")), asked(run(0.6, 2, "m"), dataset="pubmedqa:pqa-l@reasoning-free")
    found = compare([one, other], across_protocols=True)
    assert [r["label"] for r in found.runs] == ["reasoning-required", "reasoning-free"]
    third = asked(run(0.6, 3, "n"), dataset="pubmedqa:pqa-l@reasoning-free")
    assert [r["label"] for r in compare([one, other, third], across_protocols=True).runs] == [
        "m on pubmedqa:pqa-l@reasoning-required",
        "m on pubmedqa:pqa-l@reasoning-free",
        "n on pubmedqa:pqa-l@reasoning-free",
    ]
    assert len({r["label"] for r in compare([run(0.8, 1, "m"), run(0.6, 2, "m")]).runs}) == 2


def test_run_folders_are_opened_and_one_folder_twice_is_refused(tmp_path: Path) -> None:
    runs = [run(0.8, 1, output=tmp_path / "a"), run(0.6, 2, output=tmp_path / "b")]
    assert compare([tmp_path / "a", str(tmp_path / "b")]).asdict() == compare(runs).asdict()
    with pytest.raises(RunError, match="named twice"):
        compare([tmp_path / "a", tmp_path / "b" / ".." / "a"])
    with pytest.raises(RunError, match="two runs or more"):
        compare([tmp_path / "a"])


# Samples that not all runs have -----------------------------------------------------------------------------------------


def test_common_samples_are_compared_and_the_others_counted() -> None:
    one, other = run(0.9, 1), run(0.3, 2)
    part = Run(other.facts, other.predictions.slice(5), other.scores)
    with pytest.raises(RunError, match=r"5 samples are in the first only .*--common compares what all have"):
        compare([one, part])
    found = compare([one, part], common=True)
    assert found.n == N - 5
    assert "compared on the 195 samples that all runs have: model-1 leaves out 5 of 200 samples" in found.notes[0]
    same = compare([Run(one.facts, one.predictions.slice(5), one.scores), part])
    assert found.pairs == same.pairs
    assert compare([one, other], common=True).notes == compare([one, other]).notes
    with pytest.raises(RunError, match="no sample in common"):
        compare([Run(one.facts, one.predictions.slice(0, 5), one.scores), part], common=True)
