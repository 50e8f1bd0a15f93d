"""Probes through ``evaluate``: two splits, frozen embeddings, no patient on both sides."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from healthfm import RunError, compare, evaluate, load_model, load_run
from healthfm.models.model import Model
from tests.datasets.drawn import put, text
from tests.datasets.test_labelled_text import write_hoc
from tests.datasets.test_radiographs import CHEXPERT
from tests.models.road import few_questions

WORDS = ("significant", "not", "no", "improved", "however", "may", "increase", "risk")


@pytest.fixture
def counter() -> Model:
    def embed(texts: Sequence[str]) -> np.ndarray:
        return np.array(
            [[len(text), *(text.lower().count(word) for word in WORDS)] for text in texts], dtype=np.float32
        )

    return load_model(embed, verb="embed", card={"slug": "counter", "name": "Counter"})


@pytest.mark.parametrize("task", ["linear-probe", "knn"])
def test_a_probe_on_real_texts(counter: Model, pubmedqa_root: Path, tmp_path: Path, task: str) -> None:
    rivals = task == "knn"  # whose fit on 500 abstracts is the same for both
    run = evaluate(
        counter, "pubmedqa", root=pubmedqa_root, task=task, limit=60, output=tmp_path / "run", baseline=rivals
    )
    assert run.predictions.num_rows == 60 and ("baselines" in run.scores) is rivals
    assert run.facts["request"]["fitted_on"] == 500
    assert run.facts["fitted"]["probe"]
    assert run.scores["classes"] == ["yes", "no", "maybe"]
    assert run.report().is_file()
    again = load_run(tmp_path / "run")
    assert again.metrics == run.metrics


def test_a_lost_part_of_embeddings_is_redone_and_the_predictions_are_the_same(
    counter: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("healthfm.evaluate.job.CHARACTERS_PER_PART", 20_000)
    root = few_questions(tmp_path / "root", train=90, test=30)
    asked = {"root": root, "task": "linear-probe", "output": tmp_path / "run", "baseline": False}
    first = evaluate(counter, "pubmedqa", **asked)  # type: ignore[arg-type]
    (tmp_path / "run/predictions/part-00000.parquet").unlink()
    sorted((tmp_path / "run/embeddings").glob("part-*"))[2].unlink()
    again = evaluate(counter, "pubmedqa", **asked)  # type: ignore[arg-type]
    assert again.predictions.equals(first.predictions)


def test_a_missing_training_split_offers_a_carve_by_patient(counter: Model, tmp_path: Path) -> None:
    lines = ["id,patient,text,label"] + [f"{i},p{i // 4},{'no risk ' * (i % 2)}seen,{'ab'[i % 2]}" for i in range(80)]
    (tmp_path / "own.csv").write_text("\n".join(lines))
    with pytest.raises(RunError, match=r"fitted on split 'train', which is absent.*carve: shots_from='test'"):
        evaluate(counter, tmp_path / "own.csv", task="linear-probe", output=tmp_path / "run")
    run = evaluate(counter, tmp_path / "own.csv", task="linear-probe", shots_from="test", output=tmp_path / "run")
    assert run.metrics["accuracy"]["value"] == 1.0
    assert run.predictions.num_rows == 40
    assert len(set(run.predictions["patient"].to_pylist())) == 10


def test_a_carve_of_records_that_name_no_patient_says_so(counter: Model, tmp_path: Path) -> None:
    lines = [f"{i},{'p1' if i < 20 else ''},{'no risk ' * (i % 2)}seen,{'ab'[i % 2]}" for i in range(80)]
    (tmp_path / "own.csv").write_text("\n".join(["id,patient,text,label", *lines]))
    run = evaluate(counter, tmp_path / "own.csv", task="linear-probe", shots_from="test", output=tmp_path / "run")
    assert any("60 of 80 records name no patient: records of one patient" in one for one in run.facts["notices"])


def test_a_patient_in_both_splits_is_refused(counter: Model, tmp_path: Path) -> None:
    rows = [f"{i},p{i % 5},some text {i},{'ab'[i % 2]},{'train' if i < 10 else 'test'}" for i in range(20)]
    (tmp_path / "own.csv").write_text("\n".join(["id,patient,text,label,split", *rows]))
    with pytest.raises(RunError, match="5 patients stand in both splits"):
        evaluate(counter, tmp_path / "own.csv", task="knn", output=tmp_path / "run")


def test_records_without_a_label_are_refused(counter: Model, tmp_path: Path) -> None:
    (tmp_path / "own.csv").write_text("id,text,split\n1,a,train\n2,b,test\n")
    with pytest.raises(RunError, match="record 1 has no label"):
        evaluate(counter, tmp_path / "own.csv", task="knn", output=tmp_path / "run")


def test_one_probe_a_hallmark_on_texts_with_none_one_or_several(counter: Model, tmp_path: Path) -> None:
    """The embedding counts the words that the labels follow, so that a probe that works is right on every row."""
    rows = []
    for i in range(60):
        names = [name for k, name in enumerate(("cellular energetics", "resisting cell death")) if i >> k & 1]
        words = " ".join(
            word
            for name, word in (("cellular energetics", "risk"), ("resisting cell death", "however"))
            if name in names
        )
        rows.append(f"text {words} {'x' * (i % 7)} .\t{'|'.join(names) or 'empty'}")
    write_hoc(write_hoc(tmp_path, "train.tsv", "\n".join(rows) + "\n"), "test.tsv", "\n\n".join(rows[::3]) + "\n")
    run = evaluate(counter, "hoc", root=tmp_path, task="multi-label-probe", output=tmp_path / "run")
    table = run.predictions.to_pylist()
    assert len(table) == 20 and {len(row["target"]) for row in table} == {0, 1, 2}
    assert all(row["prediction"] == row["target"] for row in table)
    assert run.facts["fitted"]["C"]["inducing angiogenesis"] is None
    assert table[0]["probabilities"][table[0]["options"].index("inducing angiogenesis")] == 0
    assert load_run(tmp_path / "run").metrics == run.metrics


# Few examples -----------------------------------------------------------------------------------------------------------


def noisy(tmp_path: Path, n: int = 160) -> Path:
    """Texts of two classes that few examples can hardly teach: one word in a hundred tells them."""
    rng = np.random.default_rng(0)
    lines = ["id,patient,site,text,label,split"]
    for i in range(n):
        words = " ".join(
            rng.choice(["risk", "however", "may", "x"], 12, p=[0.2 + 0.15 * (i % 2), 0.2, 0.2, 0.4 - 0.15 * (i % 2)])
        )
        lines.append(f"{i},p{i},{'ab'[i % 3 == 0]},{words},{('ill', 'well')[i % 2]},{('train', 'test')[i >= n // 2]}")
    (tmp_path / "own.csv").write_text("\n".join(lines) + "\n")
    return tmp_path / "own.csv"


def test_few_shot_headlines_are_means_over_the_draws(counter: Model, tmp_path: Path) -> None:
    run = evaluate(counter, noisy(tmp_path), task="few-shot", shots=2, subgroups=["site"], output=tmp_path / "run")
    over = run.facts["fitted"]["accuracy_over_draws"]
    found = run.metrics["accuracy"]
    assert max(over["draws"]) - min(over["draws"]) > 0.1
    assert found["value"] == pytest.approx(over["mean"]) and found["value"] != over["draws"][0]
    assert found["low"] <= min(over["draws"]) + 0.05 and found["high"] >= max(over["draws"]) - 0.05
    assert run.predictions.num_rows == len(set(run.predictions["id"].to_pylist())) == 80
    again = load_run(tmp_path / "run")
    assert again.scores == run.scores
    page = run.report().read_text()
    assert "fitted on 4 examples, 2 a class, drawn 20 times" in page
    assert "4 samples, 20 times on others, logistic regression" in page
    [a, b] = run.scores["subgroups"]["site"]
    assert a["value"] * a["n"] + b["value"] * b["n"] == pytest.approx(80 * found["value"])


def test_two_few_shot_runs_are_compared_draw_by_draw(counter: Model, tmp_path: Path) -> None:
    data = noisy(tmp_path)
    other = load_model(
        lambda texts: np.array([[len(t) % 7, t.count("may")] for t in texts], np.float32), verb="embed",
        card={"slug": "other", "name": "Other"},
    )  # fmt: skip
    runs = [evaluate(m, data, task="few-shot", shots=2, output=tmp_path / m.name) for m in (counter, other)]
    pair = compare(runs).pairs[0]
    means = [one.facts["fitted"]["accuracy_over_draws"]["mean"] for one in runs]
    assert pair["value"] == pytest.approx(means[0] - means[1])
    assert "the same draws of examples for both" in pair["method"]
    assert {row["fitted_on"] for row in compare(runs).runs} == {4}
    seeded = evaluate(other, data, task="few-shot", shots=2, seed=1, output=tmp_path / "seeded")
    assert "each run's draws of examples by themselves" in compare([runs[0], seeded]).pairs[0]["method"]


def test_a_set_with_several_label_spaces_is_probed_for_the_one_that_is_named(counter: Model, tmp_path: Path) -> None:
    """CheXpert's tables with tiny pictures: findings that are left open count by the rule that was named, when fitting and when scoring."""
    rng, names = np.random.default_rng(0), CHEXPERT.split(",")[5:]
    for split, people in (("train", range(1, 41)), ("valid", range(41, 61))):
        rows = [CHEXPERT]
        for n in people:
            path = f"CheXpert-v1.0-small/{split}/patient{n:05d}/study1/view1_frontal.jpg"
            sick = n % 2
            values = {"Edema": ("0.0", "1.0")[sick], "Fracture": "-1.0" if n % 4 == 0 else ("1.0", "0.0")[sick]}
            put(tmp_path / path, rng.integers(0, 60, (8, 8), np.uint8) + np.uint8(150 * sick))
            rows.append(f"{path},Male,50,Frontal,AP," + ",".join(values.get(one, "") for one in names))
        text(tmp_path / f"CheXpert-v1.0-small/{split}.csv", *rows)
    model = load_model(
        lambda seen: np.array([[one.pixels.mean(), one.pixels.std()] for one in seen], np.float32), verb="embed", card={"slug": "grey", "name": "Grey"}
    )  # fmt: skip
    how = {"root": tmp_path, "split": "validation", "baseline": False}
    ignored = evaluate(model, "chexpert", task="multi-label-probe", output=tmp_path / "a", **how)
    open_ = ignored.predictions["uncertain"].to_pylist()
    assert sum(map(bool, open_)) == 5 and {one for row in open_ for one in row} == {"Fracture"}
    assert (
        any("uncertain labels (5) left out" in rule for rule in ignored.scores["rules"])
        and ignored.predictions.num_rows == 20
    )
    positive = evaluate(model, "chexpert", task="multi-label-probe", uncertain="positive", output=tmp_path / "b", **how)
    assert (ignored.scores["positives"]["Fracture"], positive.scores["positives"]["Fracture"]) == (5, 10)
    assert positive.metrics["macro_auroc"]["value"] == 1.0 == load_run(tmp_path / "b").metrics["macro_auroc"]["value"]
    assert positive.facts["request"]["uncertain"] == "positive"
    assert positive.scores["per_class"]["Fracture"]["f1"]["value"] == 1.0  # what is left open was learnt as present
    one = evaluate(model, "chexpert", task="linear-probe", label="Fracture", output=tmp_path / "c", **how)
    assert one.predictions.num_rows == 15 and one.scores["classes"] == ["absent", "present"]
    with pytest.raises(
        RunError, match="'observations' is multi-label, this task is for binary or multi-class or ordinal"
    ):
        evaluate(model, "chexpert", task="linear-probe", label="observations", output=tmp_path / "d", **how)
    with pytest.raises(RunError, match="no rule 'u-ones' for uncertain labels"):
        evaluate(model, "chexpert", task="multi-label-probe", uncertain="u-ones", output=tmp_path / "d", **how)
    with pytest.raises(RunError, match="linear-probe takes no rule for uncertain labels"):
        evaluate(
            model, "chexpert", task="linear-probe", label="Edema", uncertain="positive", output=tmp_path / "d", **how
        )
