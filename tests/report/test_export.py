"""The report for other tools: the same numbers as JSON, CSV and Markdown."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from healthfm import evaluate_predictions, load_run
from healthfm.report.export import as_data, to_csv, to_markdown
from tests.report.made import EVIL, KINDS, of_kind, own_run, table


@pytest.mark.parametrize("kind", KINDS)
def test_every_metric_is_in_every_format(pages: dict[str, Path], kind: str) -> None:
    run = load_run(pages[kind].parent)
    rows = list(csv.DictReader(io.StringIO(to_csv(run))))
    overall = {row["metric"]: row for row in rows if row["part"] == "overall"}
    markdown = to_markdown(run)
    for name, one in run.metrics.items():
        assert [float(overall[name][key]) for key in ("value", "low", "high")] == [
            one["value"],
            one["low"],
            one["high"],
        ]
        assert overall[name]["method"] == one["method"]
        assert f"{one['low']:.3f} to {one['high']:.3f}" in markdown
    data = json.loads(json.dumps(as_data(run)))
    assert data["metrics"] == json.loads(json.dumps(run.metrics))
    assert data["limits"] and data["contamination"]["says"]
    assert all(limit.replace("*", "\\*") in markdown for limit in data["limits"])


def test_subgroups_gaps_and_fairness_are_rows_of_the_table() -> None:
    run = of_kind("binary")
    rows = list(csv.DictReader(io.StringIO(to_csv(run))))
    gaps = {row["of"]: float(row["value"]) for row in rows if row["part"] == "gap to the rest"}
    assert gaps == {
        f"{column}: {one['group']}": one["gap"] for column, groups in run.scores["subgroups"].items() for one in groups
    }
    odds = [float(row["value"]) for row in rows if row["part"] == "fairness" and row["metric"] == "equalised_odds"]
    assert odds[0] == run.scores["fairness"]["sex"]["equalised_odds"]["value"]
    assert {row["note"] for row in rows if row["of"] == "site: south"} == {"too few to say"}


def test_markdown_takes_names_as_text() -> None:
    name = f"{EVIL} | [a](http://b) `c`"
    markdown = to_markdown(evaluate_predictions(table(**{f"subgroup.{name}": [name] * 60}), "yes-no-maybe", name=name))
    assert "<script" not in markdown and "<img" not in markdown
    assert "](http" not in markdown.replace("\\[a]", "") and "\\| \\[a]" in markdown
    rows = [line for line in markdown.splitlines() if line.startswith("| ") and "script" in line]
    assert rows and all(line.replace("\\|", "").count("|") == 8 for line in rows)


def test_data_hold_what_was_matched_of_private_texts_only_when_asked(tmp_path: Path) -> None:
    from healthfm import contamination
    from healthfm.evaluate.contamination import store

    run, manifest = own_run(tmp_path, "Has Mrs Smith of the valley a disease with a long and winding name")
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus/a.txt").write_text("Has Mrs Smith of the valley a disease with a long and winding name 1?")
    store(run, contamination(manifest, tmp_path / "corpus", run=run, show_inputs=True))
    assert "Smith" not in json.dumps(as_data(run)) + to_csv(run) + to_markdown(run)
    assert "Smith" in json.dumps(as_data(run, show_inputs=True))
