"""The page of a comparison: what the library found, told apart or not, escaped and private."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import lxml.html
import numpy as np
import pytest

from healthfm import Run, RunError, compare, evaluate_predictions
from healthfm.report.comparison import render, verdict, write
from tests.report.made import EVIL, text_of


def run(name: str, right: float, **more: Any) -> Run:
    """A run of 200 rows with a share of right answers."""
    rng = np.random.default_rng(0)
    target = np.where(rng.random(200) < 0.5, "a", "b")
    hit = rng.permutation(200) < 200 * right
    said = np.where(hit, target, np.where(target == "a", "b", "a"))
    rows = {"id": [str(i) for i in range(200)], "target": target.tolist(), "prediction": said.tolist(), **more}
    return evaluate_predictions(rows, "binary", classes=["a", "b"], name=name)


def test_the_page_holds_every_number_of_the_comparison() -> None:
    groups = {"subgroup.ward": ["x"] * 150 + ["y"] * 40 + ["z"] * 10}
    found = compare(
        [run("one", 0.9, **groups), run("two", 0.7, **groups), run("three", 0.72, **groups)],
        metrics=["accuracy", "macro_f1"],
    )
    text = text_of(render(found))
    for one in found.metrics.values():
        for row in one["ranking"]:
            assert f"{row['rank']}. {row['run']}" in text and f"{row['low']:.3f} to {row['high']:.3f}" in text
        for row in one["pairs"]:
            assert f"{row['value']:+.3f}{row['low']:+.3f} to {row['high']:+.3f}" in text
            assert row["says"] in text and row["test"] in text
    for row in found.subgroups:
        assert f"{row['low']:+.3f} to {row['high']:+.3f}" in text
    assert "too few to say" in text and text.count("ward: ") == 3
    assert verdict(found) in text


def test_the_verdict_names_the_runs_that_are_not_told_apart() -> None:
    one, two, three = run("one", 0.9), run("two", 0.72), run("three", 0.7)
    assert verdict(compare([two, one])).startswith("one is best (accuracy 0.900")
    close = verdict(compare([three, two]))
    assert close.startswith("two stands first") and close.endswith("is not told apart from three.")


def test_names_of_runs_are_escaped() -> None:
    html = render(
        compare(
            [
                run(EVIL, 0.9, **{f"subgroup.{EVIL}": [EVIL] * 200}),
                run(f"{EVIL} 2", 0.7, **{f"subgroup.{EVIL}": [EVIL] * 200}),
            ]
        )
    )
    assert "<script" not in html and "<img" not in html
    assert "<script>alert(1)</script>" in text_of(html)


def test_one_model_fitted_on_more_and_more_samples_gets_a_learning_curve() -> None:
    runs = []
    for size, right in ((50, 0.6), (100, 0.7), (400, 0.8)):
        made = run("probe", right)
        made.facts["request"] |= {"fitted_on": size}  # type: ignore[operator]
        runs.append(made)
    found = compare(runs, across_protocols=True)
    (title,) = lxml.html.fromstring(render(found)).xpath(
        "//*[local-name()='title'][.='Learning curve']/following-sibling::*[1]/text()"
    )
    assert title == "accuracy from 0.600 at 50 samples to 0.800 at 400."
    assert "Learning curve" not in render(compare([run("one", 0.9), run("two", 0.7)]))


def test_a_page_is_written_whole_private_and_into_a_folder_by_its_own_name(tmp_path: Path) -> None:
    found = compare([run("one", 0.9), run("two", 0.7)])
    place = write(found, tmp_path)
    assert place == tmp_path / "compare.html" and place.read_text() == render(found)
    assert stat.S_IMODE(place.stat().st_mode) == 0o600
    assert write(found, tmp_path / "mine.html") == tmp_path / "mine.html"
    with pytest.raises(RunError, match="cannot be written"):
        write(found, tmp_path / "absent" / "mine.html")
    assert sorted(one.name for one in tmp_path.iterdir()) == ["compare.html", "mine.html"]
