"""A probe's learning curve: nested parts of patients, fits that scikit-learn repeats, and what the curve may say."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from healthfm import Run, RunError, evaluate, load_model, load_run
from healthfm.models.model import Model
from healthfm.report.export import to_csv, to_markdown
from healthfm.report.page import render
from healthfm.score.learning import FEWEST, curve, nested, stack, unstack
from tests.datasets.test_labelled_text import write_hoc
from tests.report.made import text_of

WIDTH, FIT, TEST = 24, 320, 200


def vector(text: str) -> list[float]:
    return [float(one) for one in text.split()]


@pytest.fixture(scope="module")
def model() -> Model:
    """A model whose embedding is the numbers of a text."""

    def embed(texts: Sequence[str]) -> np.ndarray:
        return np.array([vector(text) for text in texts], np.float32)

    return load_model(embed, verb="embed", card={"slug": "reader", "name": "Reader"})


def numbers() -> tuple[np.ndarray, np.ndarray]:
    """Many weak directions: a boundary that more samples place better."""
    rng = np.random.default_rng(0)
    x = rng.normal(0, 1, (FIT + TEST, WIDTH)).round(3)
    return x, np.where(x @ rng.normal(0, 1, WIDTH) + rng.normal(0, 1.5, len(x)) > 0, "ill", "well")


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("own") / "own.csv"
    x, y = numbers()
    rows = [
        f"{i},p{i // 2},{' '.join(map(str, x[i]))},{y[i]},{'train' if i < FIT else 'test'},{'north' if i % 3 else 'south'}"
        for i in range(len(x))
    ]
    path.write_text("\n".join(["id,patient,text,label,split,ward", *rows]))
    return path


@pytest.fixture(scope="module")
def run(model: Model, manifest: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return evaluate(model, manifest, task="linear-probe", output=tmp_path_factory.mktemp("runs") / "run")


def direct(rows: Sequence[int], penalty: float) -> np.ndarray:
    """The same fit by scikit-learn alone, columns ill and well."""
    x, y = (one.astype(np.float32) if one.dtype == float else one for one in numbers())
    probe = make_pipeline(StandardScaler(), LogisticRegression(C=penalty, max_iter=2000)).fit(x[rows], y[rows])
    return np.asarray(probe.predict_proba(x[FIT:]))


def test_parts_are_nested_whole_patients_and_a_matter_of_the_seed() -> None:
    groups, labels = [f"p{i // 3}" for i in range(600)], [("a",) if i % 2 else ("b",) for i in range(600)]
    parts = nested(groups, labels, 0)
    assert [len(rows) for rows in parts] == [75, 150, 300]
    for rows, more in zip(parts, [*parts[1:], np.arange(600)], strict=True):
        assert set(rows) < set(more)
        assert not {groups[i] for i in rows} & {groups[i] for i in set(range(600)) - set(rows.tolist())}
    assert all(np.array_equal(a, b) for a, b in zip(parts, nested(groups, labels, 0), strict=True))
    assert not np.array_equal(parts[0], nested(groups, labels, 1)[0])


def test_a_part_that_is_too_small_or_loses_a_class_is_left_out() -> None:
    assert [len(rows) for rows in nested([str(i) for i in range(60)], [("ab"[i % 2],) for i in range(60)], 0)] == [30]
    assert FEWEST == 16
    groups = [str(i) for i in range(400)]
    rare = [{"a"} if i else {"a", "rare"} for i in range(400)]
    place = np.argsort(np.random.default_rng(0).permutation(400))[0]
    assert [len(rows) for rows in nested(groups, rare, 0)] == [size for size in (50, 100, 200) if place < size]
    always = [{"a"} if i else set() for i in range(400)]  # of several classes, one that nearly all have
    assert len(nested(groups, always, 0)) == sum(place < size for size in (50, 100, 200))
    assert nested(["one"] * 100, [("a",)] * 100, 0) == []


def test_more_samples_help_and_the_curve_says_so(run: Run) -> None:
    found = run.scores["learning_curve"]
    assert [one["size"] for one in found["points"]] == [40, 80, 160, 320]
    values = [one["value"] for one in found["points"]]
    assert found["metric"] == "accuracy" and values[0] < values[-1]
    assert {k: v for k, v in found["points"][-1].items() if k != "size"} == run.metrics["accuracy"]
    assert found["rise"]["value"] == pytest.approx(values[-1] - values[-2])
    assert found["rise"]["low"] < found["rise"]["value"] < found["rise"]["high"]


def test_each_smaller_fit_is_scikit_learns_on_the_same_patients(run: Run) -> None:
    assert run.path is not None
    kept = unstack(pa.concat_tables([pq.read_table(one) for one in sorted((run.path / "curve").iterdir())]))
    parts = nested([f"p{i // 2}" for i in range(FIT)], [(one,) for one in numbers()[1][:FIT]], 0)
    chosen = run.facts["fitted"]["curve"]
    assert [one["fitted_on"] for one in chosen] == list(kept) == [len(rows) for rows in parts]
    for rows, how in zip(parts, chosen, strict=True):
        table = kept[len(rows)]
        assert table["options"][0].as_py() == ["ill", "well"]
        ours = np.array(table["probabilities"].to_pylist())
        np.testing.assert_allclose(ours, direct(rows, how["C"]), atol=2e-3)
        other = direct(rows[:-8], how["C"])
        assert np.abs(ours - other).max() > 5e-3, "the bound would not tell another set of rows"


def test_the_full_fit_is_what_a_probe_alone_gives(run: Run) -> None:
    from healthfm.adapt.probe import linear_probe

    x, y = numbers()
    groups = [f"p{i // 2}" for i in range(FIT)]
    shares, how = linear_probe(
        x[:FIT].astype(np.float32), y[:FIT], x[FIT:].astype(np.float32), ["ill", "well"], groups, 0
    )
    assert run.predictions["probabilities"].to_pylist() == shares.tolist()
    assert run.facts["fitted"]["C"] == how["C"]


def test_the_curve_comes_back_from_the_folder_and_after_a_loss(
    model: Model, manifest: Path, run: Run, tmp_path: Path
) -> None:
    again = evaluate(model, manifest, task="linear-probe", output=tmp_path / "run")
    assert again.path is not None and run.path is not None
    assert load_run(again.path).scores == run.scores

    def bytes_of(path: Path) -> dict[str, bytes]:
        return {
            str(one.relative_to(path)): one.read_bytes()
            for room in ("curve", "predictions")
            for one in (path / room).iterdir()
        }

    assert bytes_of(again.path) == bytes_of(run.path)
    (again.path / "curve/part-00000.parquet").unlink()
    with pytest.raises(RunError, match="no curve yet"):
        load_run(again.path)
    (again.path / "predictions/part-00000.parquet").unlink()
    evaluate(model, manifest, task="linear-probe", output=again.path)
    assert bytes_of(again.path) == bytes_of(run.path)


def test_the_report_draws_it_in_every_format(run: Run) -> None:
    found, html = run.scores["learning_curve"], render(run)
    text = text_of(html)
    assert 'id="learning"' in html and "<title>Learning curve</title>" in html and found["says"] in text
    assert "one seeded draw of patients" in text
    for one in found["points"]:
        assert f"{one['size']}{one['value']:.3f}{one['low']:.3f} to {one['high']:.3f}" in text
        assert f"| {one['size']} | {one['value']:.3f} | {one['low']:.3f} to {one['high']:.3f} |" in to_markdown(run)
        assert f"learning curve,fitted on {one['size']},accuracy,{one['value']}" in to_csv(run)
    assert found["says"] in to_markdown(run)


def test_a_neighbours_run_has_none_and_a_small_one_says_that_it_cannot_say(
    model: Model, manifest: Path, tmp_path: Path
) -> None:
    near = evaluate(model, manifest, task="knn", output=tmp_path / "knn")
    assert near.scores["learning_curve"] is None and 'id="learning"' not in render(near)
    lines = manifest.read_text().splitlines()
    (tmp_path / "small.csv").write_text("\n".join([*lines[:25], *lines[-40:]]))
    small = evaluate(model, tmp_path / "small.csv", task="linear-probe", output=tmp_path / "small")
    found = small.scores["learning_curve"]
    assert len(found["points"]) == 1 and found["rise"] is None and "cannot be said" in found["says"]
    assert found["says"] in text_of(render(small)) and "<title>Learning curve" not in render(small)
    assert not (tmp_path / "small/curve").exists()


def test_a_probe_of_several_classes_has_one_of_its_headline(model: Model, tmp_path: Path) -> None:
    x, y = numbers()
    lines = [
        f"{' '.join(map(str, row))}\t{'|'.join(name for name, there in (('cellular energetics', label == 'ill'), ('resisting cell death', row[0] > 0)) if there) or 'empty'}"
        for row, label in zip(x, y, strict=True)
    ]  # fmt: skip
    write_hoc(write_hoc(tmp_path, "train.tsv", "\n".join(lines[:160])), "test.tsv", "\n".join(lines[160:240]))
    run = evaluate(model, "hoc", root=tmp_path, task="multi-label-probe", output=tmp_path / "run")
    found = run.scores["learning_curve"]
    assert found["metric"] == "macro_auroc" and [one["size"] for one in found["points"]] == [20, 40, 80, 160]
    assert found["points"][-1]["value"] == run.metrics["macro_auroc"]["value"] > found["points"][0]["value"]
    assert [set(one["C"]) for one in run.facts["fitted"]["curve"]] == [set(run.scores["classes"])] * 3


# What it says ---------------------------------------------------------------------------------------------------------


def tables(*right: float, n: int = 400, seed: int = 0) -> dict[int, pa.Table]:
    """Predictions at 50, 100, 200 ... samples fitted on, right so often."""
    rng = np.random.default_rng(seed)
    target, order = rng.integers(0, 2, n), rng.random(n)
    made = {}
    for step, share in enumerate(right):
        said = np.where(order < share, target, 1 - target)
        made[50 * 2**step] = pa.table({"id": range(n), "target": target.astype(str), "prediction": said.astype(str)})
    return made


@pytest.mark.parametrize(
    ("right", "says"),
    [
        ((0.5, 0.6, 0.7), "Still rising: from 100 to 200 samples it changed by +0."),
        ((0.5, 0.7, 0.6), "Falling: from 100 to 200"),
        ((0.5, 0.7, 0.702), "Flat within the intervals: from 100 to 200"),
        ((0.7, 0.7), "cannot be said whether more samples would help: from 50 to 100 samples nothing changed (degenerate"),
        ((0.7,), "cannot be said whether more samples would help: a part of the 50"),
    ],
)  # fmt: skip
def test_a_curve_says_no_more_than_its_last_step_shows(right: tuple[float, ...], says: str) -> None:
    assert says in curve(tables(*right), "binary", "accuracy")["says"]


def test_a_step_that_few_rows_cannot_settle_is_left_open() -> None:
    rng = np.random.default_rng(1)
    made: dict[int, Any] = {}
    target = rng.integers(0, 2, 40).astype(str)
    for size in (50, 100):
        said = np.where(rng.random(40) < 0.7, target, "0")
        made[size] = pa.table({"id": range(40), "target": target, "prediction": said})
    assert "which can be a rise, a fall or neither" in curve(made, "binary", "accuracy")["says"]


def test_a_curve_has_an_interval_at_each_size_whatever_the_order_of_rows() -> None:
    made = tables(0.5, 0.9)
    found = curve(made, "binary", "balanced_accuracy")
    few, many = found["points"]
    assert (few["size"], many["size"]) == (50, 100) and few["value"] < many["low"] < many["value"] < many["high"]
    mixed = made | {100: made[100].take(np.random.default_rng(3).permutation(400))}
    assert curve(mixed, "binary", "balanced_accuracy") == found
    assert {size: one.to_pylist() for size, one in unstack(stack(made)).items()} == {size: one.to_pylist() for size, one in made.items()}  # fmt: skip
    with pytest.raises(RunError, match="no metric 'auroc' at size 50"):
        curve(made, "binary", "auroc")
    with pytest.raises(RunError, match="different rows"):
        curve(made | {20: made[50].slice(0, 150)}, "binary", "accuracy")


def test_a_curve_that_ends_below_where_it_began_is_called_falling_whatever_its_last_step() -> None:
    """Mislabelled samples: the accuracy falls from 0.9 to 0.6 and then stays."""
    rng = np.random.default_rng(0)
    n = 300
    luck = dict(zip((20, 40, 80, 160), [rng.random(n)] * 3 + [rng.random(n)], strict=True))
    tables = {
        size: pa.table({
            "id": [str(i) for i in range(n)], "target": ["a", "b"] * (n // 2),
            "prediction": [("ab"[i % 2] if luck[size][i] < share else "ba"[i % 2]) for i in range(n)],
        })
        for size, share in ((20, 0.9), (40, 0.75), (80, 0.6), (160, 0.6))
    }  # fmt: skip
    found = curve(tables, "linear-probe", "accuracy")
    assert found["rise"]["low"] <= 0 <= found["rise"]["high"]
    assert found["says"].startswith("Falling: from 20 to 160 samples it changed by -0.")
    assert found["whole"]["high"] < 0
