"""``healthfm run``, ``runs`` and ``leaderboard`` as a user meets them."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from healthfm.report.run import evaluate_predictions
from healthfm.score.statistics import bootstrap
from tests.cli.command import run
from tests.cli.test_evaluate_command import assert_one_clear_line
from tests.evaluate.studies import answers, put
from tests.forked import Server


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "RESAMPLES", 100)


def own_study(folder: Path, models: str = '["smollm2-135m-instruct"]') -> Path:
    """A study of a real row with random weights, that needs no file of anyone's."""
    for name in ("heart", "lung"):
        rows = [f"{i},Is it {name} {i}?,yes,no,{'AB'[i % 2]}" for i in range(4)]
        (folder / f"{name}.csv").write_text("\n".join(["id,question,A,B,answer", *rows]) + "\n")
    path = folder / "mine.toml"
    path.write_text(f'models = {models}\n[[datasets]]\npath = "heart.csv"\n[[datasets]]\npath = "lung.csv"\n')
    return path


def test_runs_that_fail_are_a_line_each_and_exit_code_1(tmp_path: Path) -> None:
    result = run("run", own_study(tmp_path, '["bert-that-is-not"]'), "--output", tmp_path / "out")
    assert result.returncode == 1
    lines = [line for line in result.stderr.splitlines() if line.startswith("healthfm: failed: ")]
    assert len(lines) == 2 and all("no model is called 'bert-that-is-not'" in line for line in lines)
    assert lines[0].startswith("healthfm: failed: bert-that-is-not on heart.csv: ")
    assert result.stdout.splitlines()[0] == f"0 of 2 runs finished in {tmp_path / 'out'}"
    as_json = run("run", tmp_path / "mine.toml", "--output", tmp_path / "out", "--json")
    assert as_json.returncode == 1 and [one["headline"] for one in json.loads(as_json.stdout)["runs"]] == [None, None]


def test_a_study_that_is_wrong_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text('models = ["a"]\ndatasets = ["b"]\nseed = 3\n')
    assert_one_clear_line(run("run", tmp_path / "s.toml"), "s.toml: seed: no such key", "seeds")
    assert_one_clear_line(
        run("run", tmp_path / "absent.toml"), "absent.toml: cannot be read (No such file or directory)"
    )


PROGRAM = """
import sys, time, signal
from pathlib import Path
from healthfm.evaluate.study import run_study
from tests.evaluate.studies import two
signal.signal(signal.SIGTERM, signal.SIG_DFL)
if sys.argv[3] == "slowly":
    for one in (models := two()).values():
        real = one.score
        one.score = lambda *asked, real=real: (time.sleep(0.5), real(*asked))[1]
else:
    models = two()
run_study(Path(sys.argv[1]), Path(sys.argv[2]), models=models)
"""


def test_a_process_that_was_killed_is_gone_on_with(forked: Server, tmp_path: Path) -> None:
    from healthfm.evaluate.study import run_study
    from tests.evaluate.studies import study, two

    path = study(tmp_path)
    process = forked.fork([path, tmp_path / "out", "slowly"], 1, 2, PROGRAM)
    while len(list((tmp_path / "out").rglob("part-*.parquet"))) < 5 and process.poll() is None:
        time.sleep(0.05)
    process.end()
    before = {one: one.read_bytes() for one in (tmp_path / "out").rglob("part-*.parquet")}
    assert len(before) < 24
    assert not run_study(path, tmp_path / "out", models=two()).failed
    run_study(path, tmp_path / "whole", models=two())
    for one in (tmp_path / "whole").rglob("*"):
        other = tmp_path / "out" / one.relative_to(tmp_path / "whole")
        if one.suffix == ".parquet" or one.name == "metrics.json":
            assert other.read_bytes() == one.read_bytes()
    assert all(one.read_bytes() == content for one, content in before.items())


def test_run_folders_are_listed_and_filtered(tmp_path: Path) -> None:
    for name, task, n in (("good", "yes-no-maybe", 8), ("poor", "yes-no-maybe", 8), ("other", "binary", 6)):
        table = {
            "id": list(map(str, range(n))), "target": ["yes", "no"] * (n // 2), "prediction": ["yes", "no"] * (n // 2 - 1) + ["no", "no"],
        }  # fmt: skip
        evaluate_predictions(
            table, task, name=name, output=tmp_path / "deep" / name, classes=["no", "yes"] if task == "binary" else None
        )
    (tmp_path / ".hidden" / "run").mkdir(parents=True)
    (tmp_path / ".hidden" / "run" / "run.json").write_text("{}")
    for one in (tmp_path / "deep" / "poor" / "predictions").iterdir():
        one.unlink()
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "run.json").write_text("[not json")
    (tmp_path / "deep" / "good" / "metrics.json").unlink()
    result = run("runs", tmp_path)
    lines = result.stdout.splitlines()
    assert result.returncode == 0 and lines[-1] == "4 runs" and "damaged: run.json is damaged" in lines[1]
    assert (
        lines[2].startswith("good")
        and "accuracy 0.875 [0.529, 0.978]  8" in lines[2]
        and lines[2].endswith("deep/good")
    )
    assert "unfinished: 0 of 1 parts" in next(line for line in lines if line.startswith("poor"))
    found = json.loads(run("runs", tmp_path, "--finished", "--json").stdout)
    assert [(one["model"], one["headline"]["n"]) for one in found] == [("good", 8), ("other", 6)]
    assert json.loads(run("runs", tmp_path, "--task", "BINARY", "--model", "oth", "--json").stdout) == [found[1]]
    assert [one["model"] for one in json.loads(run("runs", tmp_path, "--unfinished", "--json").stdout)] == ["", "poor"]
    assert_one_clear_line(run("runs", tmp_path / "absent"), "absent: no such folder")


def test_a_leaderboard_is_a_page_a_table_and_data(tmp_path: Path) -> None:
    for i, name in enumerate(("good", "poor")):
        put(tmp_path, name, "heart", answers((0.9, 0.4)[i], 60, i))
    put(tmp_path, "less", "heart", answers(0.9, 20, 3))
    result = run("leaderboard", tmp_path, "--paired")
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[1].split()[:2] == ["good", "1"] and lines[2].split()[:2] == ["poor", "2"]
    assert "good is best (mean rank 1.000, first in 100% of resamples), and told apart from the other model." in lines
    assert any(line.startswith("left out: less on heart: other samples than good") for line in lines)
    assert any(line.startswith("heart: good less poor +0.500 [") and "McNemar" in line for line in lines)
    assert (
        lines[-1] == f"page    {tmp_path / 'leaderboard.html'}"
        and (tmp_path / "leaderboard.html").stat().st_mode & 0o77 == 0
    )
    found = json.loads(run("leaderboard", tmp_path, "--json", "--output", tmp_path / "b.html").stdout)
    assert found["page"] == str(tmp_path / "b.html") and [one["rank"] for one in found["models"]] == [1, 2]
    for word, says in (
        ("--csv", "dataset,split,task"),
        ("--markdown", "good is best"),
        ("--latex", "% needs \\usepackage{booktabs}"),
    ):
        assert run("leaderboard", tmp_path, word).stdout.startswith(says)
    assert_one_clear_line(
        run("leaderboard", tmp_path, "--csv", "--latex"), "choose one of --json, --csv, --markdown and --latex"
    )
    (tmp_path / "empty").mkdir()
    assert_one_clear_line(run("leaderboard", tmp_path / "empty"), "empty: holds no finished run")
