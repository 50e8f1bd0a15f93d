"""``healthfm compare`` as a user meets it: a table people can read, data for machines, one clear line for a mistake."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest

from healthfm.report.run import evaluate_predictions
from tests.cli.command import run
from tests.cli.test_evaluate_command import assert_one_clear_line


@pytest.fixture
def runs(tmp_path: Path) -> list[Path]:
    truth = np.random.default_rng(0).choice(["yes", "no"], 120).tolist()
    for name, right, n in (("good", 0.9, 120), ("poor", 0.5, 120), ("short", 0.9, 100)):
        rng = np.random.default_rng(len(name))
        guess = [t if rng.random() < right else "maybe" for t in truth]
        site = ["north" if i % 2 else "south" for i in range(n)]
        table = {"id": list(map(str, range(n))), "target": truth[:n], "prediction": guess[:n], "subgroup.site": site}
        evaluate_predictions(table, "yes-no-maybe", name=name, output=tmp_path / name)
    return [tmp_path / name for name in ("good", "poor", "short")]


def test_a_comparison_is_a_ranking_the_pairs_the_groups_and_a_sentence(runs: list[Path]) -> None:
    result = run("compare", runs[1], runs[0])
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0] == "accuracy, 120 samples"
    assert [line.split()[:2] for line in lines[2:4]] == [["1", "good"], ["2", "poor"]]
    assert "McNemar exact" in result.stdout and "detectable at 80 % power" in result.stdout
    assert "good is better than poor (accuracy" in result.stdout
    assert any(line.split()[:3] == ["site", "north", "60"] for line in lines)


def test_runs_of_which_one_has_fewer_samples_are_compared_on_those_that_both_have(runs: list[Path]) -> None:
    result = run("compare", runs[0], runs[2], "--common")
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[0] == "accuracy, 100 samples"
    assert "good leaves out 20 of 120 samples" in result.stdout


def test_it_is_written_for_machines_too(runs: list[Path]) -> None:
    as_json, as_csv, markdown = (
        run("compare", *runs[:2], "--metric", "macro_f1", "--metric", "accuracy", *more)
        for more in (("--json",), ("--format", "csv"), ("--format", "md"))
    )
    found = json.loads(as_json.stdout)
    assert (found["metric"], list(found["metrics"])) == (
        "macro_f1",
        ["macro_f1", "accuracy"],
    )
    rows = list(csv.DictReader(io.StringIO(as_csv.stdout)))
    assert [(row["metric"], row["group"]) for row in rows] == [
        ("macro_f1", ""),
        ("accuracy", ""),
        ("macro_f1", "north"),
        ("macro_f1", "south"),
    ]
    assert float(rows[1]["p"]) == found["metrics"]["accuracy"]["pairs"][0]["p"]
    assert "| rank | run | macro-f1 | 95 % interval | not told apart from |\n| --- |" in markdown.stdout


def test_long_names_get_letters_and_a_legend_and_every_line_fits_a_terminal(runs: list[Path], tmp_path: Path) -> None:
    names = [f"a-model-of-a-long-name-number-{i} on a data set (its prompt) of a long name" for i in (1, 2)]
    for place, name in zip(runs, names, strict=False):
        facts = json.loads((place / "run.json").read_text())
        facts["request"]["model"] = name
        facts["request"]["prompt"] = {
            "by": "the model's card",
            "name": name[:9],
            "digest": f"0a1b2c3d{name[30]}",
            "parser": "biogpt",
        }
        (place / "run.json").write_text(json.dumps(facts))
    result = run("compare", *runs[:2], "--across-protocols")
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert max(map(len, lines)) <= 100
    assert lines[:2] == [f"A = {names[0]}", f"B = {names[1]}"] and names[0] not in "".join(lines[2:])
    assert [line.split()[:2] for line in lines[5:7]] == [["1", "A"], ["2", "B"]]
    assert "p (Holm)" not in lines[9] and " n " not in lines[4], "columns that say nothing new"
    assert "A is better than B (accuracy" in result.stdout
    assert "0a1b2c3d" not in result.stdout and "the wording of the prompt is not the same" in " ".join(
        result.stdout.split()
    )


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("good", "short"), ("good and short cannot be ranked", "20 samples are in the first only (100, 101, 102, 103, 104 and 15 more)")),
        (("good", "good"), ("named twice",)),
        (("good",), ("two runs or more",)),
        (("good", "absent"), ("absent: not a run folder",)),
        (("good", "poor", "--metric", "dice"), ("not a metric of all these runs: dice", "accuracy")),
        (("good", "poor", "--format", "xml"), ("--format is 'xml'", "table, md, json, csv")),
        ((), ("Missing argument",)),
    ],
)  # fmt: skip
def test_a_mistake_is_one_clear_line(words: tuple[str, ...], says: tuple[str, ...], runs: list[Path]) -> None:
    place = runs[0].parent
    assert_one_clear_line(
        run(
            "compare",
            *[
                w if w.startswith("-") or (i and words[i - 1].startswith("-")) else place / w
                for i, w in enumerate(words)
            ],
        ),
        *says,
    )
