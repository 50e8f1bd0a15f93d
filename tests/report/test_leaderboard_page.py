"""A leaderboard's page, Markdown, LaTeX and CSV: the board's numbers, every name escaped, nothing from outside."""

from __future__ import annotations

import csv
import io
import json
import re
import struct
from collections.abc import Iterator
from pathlib import Path

import lxml.html
import pytest

from healthfm import RunError, load_run
from healthfm.report import mlflow
from healthfm.report import wandb as weights_and_biases
from healthfm.report.leaderboard import render
from healthfm.report.leaderboard_tables import escaped, to_csv, to_latex, to_markdown
from healthfm.score.leaderboard import Leaderboard, leaderboard
from healthfm.score.statistics import bootstrap
from tests.evaluate.studies import answers, put
from tests.report.made import EVIL, facts, text_of


@pytest.fixture
def board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Leaderboard:
    monkeypatch.setattr(bootstrap, "RESAMPLES", 200)
    for i, name in enumerate(("good_1", "poor", "worst & co")):
        for j, data in enumerate(("heart@50%", "lung")):
            put(
                tmp_path,
                name,
                data,
                answers((0.9, 0.88, 0.4)[i], 80, 10 * i + j),
                lineage=facts()["lineage"] if i == j == 0 else None,
            )
    put(tmp_path, "less", "lung", answers(0.9, 20, 3))
    return leaderboard(tmp_path, paired=True)


def test_the_page_says_values_ranks_ties_marks_pairs_and_what_is_left_out(board: Leaderboard) -> None:
    html = render(board)
    text = text_of(html)
    for one in board.columns:
        for cell in one["cells"]:
            assert f"{cell['value']:.3f}" in text and f"{cell['low']:.3f} to {cell['high']:.3f}" in text
    assert "good_1 stands first (mean rank" in text and "but is not told apart from poor." in text
    tree = lxml.html.fromstring(html)
    assert [" ".join(one.text_content().split()) for one in tree.xpath("//h2[@id='overall']/following::table[1]/tbody/tr/th")] == [
        "1. good_1", "1. poor", "3. worst & co",
    ]  # fmt: skip
    assert "0.900† 0.8" in re.sub(r"\s+", " ", tree.xpath("string(//h2[@id='table']/following::table[1])")).replace(
        "†0", "† 0"
    )
    assert "less on lung: other samples than good_1" in text and "adjusted over all 6 pairs" in text
    assert not tree.xpath("//script | //link[not(starts-with(@href, 'data:'))] | //img")
    assert {one.split("#")[0] for one in tree.xpath("//a/@href")} == {""}
    assert "default-src 'none'" in html


def test_names_from_runs_are_escaped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "RESAMPLES", 200)
    for i, name in enumerate((EVIL.replace("/", ""), "y")):
        put(tmp_path, name, "heart", answers(0.7, 30, i))
    html = render(leaderboard(tmp_path))
    assert "<script" not in html and "<img" not in html and "&lt;script&gt;" in html


def test_markdown_latex_and_csv_hold_the_same_numbers(board: Leaderboard) -> None:
    markdown, latex, table = to_markdown(board), to_latex(board), list(csv.DictReader(io.StringIO(to_csv(board))))
    assert len(table) == 6
    for one in board.columns:
        for cell in one["cells"]:
            said = f"({cell['low']:.3f} to {cell['high']:.3f})"
            assert said in markdown and said in latex
            row = next(r for r in table if r["dataset"] == one["dataset"] and r["model"] == cell["model"])
            assert (float(row["value"]), float(row["low"]), int(row["rank"])) == (
                cell["value"],
                cell["low"],
                cell["rank"],
            )
    rows = [line for line in markdown.splitlines() if line.startswith("|")]
    assert len(rows) == 5 and len({row.count("|") for row in rows}) == 1 and "0.900† (" in markdown
    body = [line for line in latex.splitlines() if line.endswith(r"\\")]
    assert len(body) == 4 and {line.count(" & ") for line in body} == {4}
    assert r"good\_1" in latex and r"worst \& co" in latex and r"heart@50\%" in latex and r"0.900$^{\dag}$" in latex
    assert latex.count("\\toprule") == latex.count("\\midrule") == latex.count("\\bottomrule") == 1
    assert "left out: less on lung: other samples than good_1" in markdown
    assert escaped("a\\b{c}$&#%_~^") == r"a\textbackslash{}b\{c\}\$\&\#\%\_\textasciitilde{}\textasciicircum{}"


def test_runs_are_exported_as_an_mlflow_file_store(board: Leaderboard, tmp_path: Path) -> None:
    store = tmp_path / "mlruns"
    assert mlflow.export(board, store) == 6
    (experiment,) = store.iterdir()
    meta = dict(line.split(": ", 1) for line in (experiment / "meta.yaml").read_text().splitlines())
    assert json.loads(meta["experiment_id"]) == experiment.name and experiment.name.isdigit()
    runs = {(one / "tags" / "mlflow.runName").read_text(): one for one in experiment.iterdir() if one.is_dir()}
    one = runs["good_1 on heart@50%"]
    own = load_run((one / "tags" / "healthfm.run").read_text())
    time, value, step = (one / "metrics" / "accuracy").read_text().split()
    assert (float(value), step) == (own.metrics["accuracy"]["value"], "0") and int(time) > 1.6e12
    assert float((one / "metrics" / "accuracy_low").read_text().split()[1]) == own.metrics["accuracy"]["low"]
    assert (one / "params" / "model").read_text() == "good_1" and (
        one / "params" / "shot_ids"
    ).read_text() == '["1", "2"]'
    said = dict(line.split(": ", 1) for line in (one / "meta.yaml").read_text().splitlines())
    assert json.loads(said["run_id"]) == one.name and len(one.name) == 32 and said["status"] == "3"
    before = {path: path.read_bytes() for path in store.rglob("*") if path.is_file()}
    mlflow.export(board, store)
    assert {path: path.read_bytes() for path in store.rglob("*") if path.is_file()} == before
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "thesis.txt").write_text("mine")
    with pytest.raises(RunError, match="holds other files and no MLflow store"):
        mlflow.export(board, tmp_path / "own")


def logged(data: bytes) -> Iterator[bytes]:
    """Yield the records of a .wandb file: LevelDB's log in blocks of 32 KiB behind a header of seven bytes."""
    place, held = 7, b""
    while place + 7 <= len(data):
        if 32768 - place % 32768 < 7:  # a block's last bytes hold no head of a record
            place += 32768 - place % 32768
            continue
        size, kind = struct.unpack_from("<HB", data, place + 4)
        held += data[place + 7 : place + 7 + size]
        place += 7 + size
        if kind in (1, 4):  # whole, or the last piece
            yield held
            held = b""


def test_runs_are_exported_as_offline_runs_of_weights_and_biases_without_the_machines_name(
    board: Leaderboard, tmp_path: Path
) -> None:
    pytest.importorskip("wandb", reason="wandb is not installed: its offline runs were not written")
    from wandb.proto import wandb_internal_pb2

    for _ in range(2):  # the second export replaces the first
        assert weights_and_biases.export(board, tmp_path / "wb") == 6
    folders = list((tmp_path / "wb" / "wandb").glob("offline-run-*"))
    assert len(folders) == 6
    found = {}
    for one in folders:
        (file,) = one.glob("run-*.wandb")
        record = wandb_internal_pb2.Record()
        name, numbers, asked = "", {}, {}
        for data in logged(file.read_bytes()):
            record.ParseFromString(data)
            kind = record.WhichOneof("record_type")
            assert kind != "stats"
            if kind == "run":
                name = record.run.display_name
                assert record.run.host == "unnamed" and not record.run.HasField("git")
                asked |= {item.key: json.loads(item.value_json) for item in record.run.config.update}
            numbers |= {item.key or item.nested_key[0]: json.loads(item.value_json) for item in record.summary.update}
        found[name] = numbers, asked
    numbers, asked = found["good_1 on heart@50%"]
    own = load_run(numbers["healthfm.run"])
    assert all(numbers[metric] == one["value"] for metric, one in own.metrics.items())
    assert numbers["accuracy_low"] == own.metrics["accuracy"]["low"] and asked["model"] == "good_1"


def test_without_the_package_its_format_is_not_written_and_the_line_says_so(
    board: Leaderboard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(RunError, match="needs the package wandb, which alone writes its format: pip install wandb"):
        weights_and_biases.export(board, tmp_path / "wb")
    assert not (tmp_path / "wb").exists()
