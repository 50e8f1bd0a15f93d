"""``healthfm read`` and ``healthfm check``, as a user calls them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import PIL.Image
import pyarrow.parquet as pq
import pytest

from healthfm.cli import main
from healthfm.cli.options import column_map, dataset_argument
from healthfm.errors import DatasetError
from tests.cli.command import HEALTHFM, run
from tests.formats.test_dicom_series import moved, stack

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Call:
    """Run the command line in this process; return exit code, standard output, standard error."""

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["healthfm", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            main()
        return int(stopped.value.code or 0), *capsys.readouterr()

    return run


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    path = tmp_path / "notes.csv"
    path.write_text("id,body,dx,who\n007,Fever – “high”.,flu,P1\n08,Well.,none,P2\n", encoding="utf-8")
    return path


def test_read_shows_the_first_records_of_official_files(call: Call, medqa_root: Path) -> None:
    code, out, err = call("read", "medqa", "--root", medqa_root, "--head", 2)
    assert (code, err) == (0, "")
    assert "A junior orthopaedic surgery resident" in out and "test-2" in out and "test-3" not in out
    assert "medqa:us-4-options: 2 records shown; splits present: test" in out


def test_read_prints_json_for_machines(call: Call, pubmedqa_root: Path) -> None:
    code, out, _ = call("read", "pubmedqa", "--root", pubmedqa_root, "--split", "test", "--head", 5, "--json")
    rows = json.loads(out)
    assert code == 0 and len(rows) == 5
    truth = json.loads((pubmedqa_root / "data" / "test_ground_truth.json").read_text())
    assert all(truth[row["id"]] == row["answer"] and row["split"] == "test" for row in rows)


def test_read_writes_every_record_to_parquet(call: Call, medqa_root: Path, tmp_path: Path) -> None:
    code, out, _ = call("read", "medqa", "--root", medqa_root, "--output", tmp_path / "out.parquet")
    assert (code, out.strip()) == (0, str(tmp_path / "out.parquet"))
    assert pq.read_table(tmp_path / "out.parquet").num_rows == 1273


def test_read_maps_the_columns_of_own_data(call: Call, notes: Path) -> None:
    code, out, _ = call(
        "read", notes, "--columns", "text=body,labels.diagnosis=dx", "--columns", "patient=who", "--json"
    )
    first = json.loads(out)[0]
    assert code == 0
    assert (first["id"], first["text"], first["patient"]) == ("007", "Fever – “high”.", "P1")
    assert json.loads(first["labels"]) == {"diagnosis": "flu"}


def test_check_of_whole_official_files_succeeds(call: Call, medqa_root: Path, pubmedqa_root: Path) -> None:
    code, out, _ = call("check", "medqa", "--root", medqa_root)
    assert code == 0 and "1273" in out and "A 353, B 309, C 346, D 265" in out and "differs" not in out
    code, out, _ = call("check", "pubmedqa", "--root", pubmedqa_root, "--json")
    assert code == 0 and json.loads(out)["splits"]["test"] == {"records": 500, "card": 500}


def official_file(root: Path, medqa_root: Path) -> Path:
    """Copy the first 20 lines of the official file."""
    inside = Path("data_clean/questions/US/4_options/phrases_no_exclude_test.jsonl")
    (root / inside).parent.mkdir(parents=True)
    lines = (medqa_root / inside).read_text(encoding="utf-8").splitlines(keepends=True)[:20]
    (root / inside).write_text("".join(lines), encoding="utf-8")
    return root / inside


def test_check_reports_a_count_that_differs_and_exits_1(call: Call, medqa_root: Path, tmp_path: Path) -> None:
    official_file(tmp_path, medqa_root)
    code, out, err = call("check", "medqa", "--root", tmp_path)
    assert (code, err) == (1, "")
    assert "20 records read, the card says 1273" in " ".join(out.split())


def test_check_lists_rows_that_cannot_be_read_and_exits_1(call: Call, medqa_root: Path, tmp_path: Path) -> None:
    file = official_file(tmp_path, medqa_root)
    text = file.read_text(encoding="utf-8")
    file.write_text(text[:-200], encoding="utf-8")
    code, out, _ = call("check", "medqa", "--root", tmp_path, "--json")
    summary = json.loads(out)
    assert (code, summary["splits"]["test"]["records"]) == (1, 19)
    assert len(summary["errors"]) == 1 and "line 20: not valid JSON" in summary["errors"][0]


def test_check_of_own_data_without_fault_succeeds_and_with_one_exits_1(call: Call, notes: Path) -> None:
    assert call("check", notes, "--columns", "text=body")[0] == 0
    notes.write_text(notes.read_text(encoding="utf-8") + "09,cut\n", encoding="utf-8")
    code, out, _ = call("check", notes, "--columns", "text=body")
    assert code == 1 and "line 4: 2 cells, the header has 4" in " ".join(out.split())


@pytest.mark.parametrize("verb", ["read", "check"])
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("medqa", "--root", "/gone"), "no folder /gone"),
        (("medqaa",), "near names"),
        (("./gone.csv",), "no file or folder gone.csv"),
        (("s2orc",), "has no reader for this dataset yet"),
        (("medqa", "--columns", "question"), "--columns takes FIELD=COLUMN, not 'question'"),
    ],
)
def test_a_users_mistake_is_one_line_and_exit_2(
    call: Call, verb: str, arguments: tuple[str, ...], message: str
) -> None:
    code, out, err = call(verb, *arguments)
    assert (code, out) == (2, "")
    assert err.startswith("healthfm: ") and err.count("\n") == 1 and message in err and "Traceback" not in err


def test_a_bad_row_is_told_without_its_text(call: Call, notes: Path) -> None:
    code, _, err = call("read", notes, "--columns", "text=letter")
    assert code == 2 and "notes.csv: no column 'letter' (it has: id, body, dx, who)" in err and "Fever" not in err


def test_the_installed_command_reads_and_its_help_has_an_example(medqa_root: Path) -> None:
    words = [HEALTHFM, "check", "medqa", "--root", str(medqa_root)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "") and "1273" in done.stdout
    for verb in ("read", "check"):
        text = run(verb, "--help").stdout
        assert f"Example: healthfm {verb} " in text and "--root" in text


@pytest.mark.parametrize(
    "name", ["mine/", "./mine", "a.csv", "a.tsv", "a.csv.gz", "a.jsonl", "a.parquet", "dataset.toml"]
)
def test_what_looks_like_a_path_is_own_data(name: str) -> None:
    assert dataset_argument(name) == Path(name)


@pytest.mark.parametrize("name", ["medqa", "medqa:us@text", "eicu-crdv2-0"])
def test_what_looks_like_a_name_is_a_card(name: str) -> None:
    assert dataset_argument(name) == name


def test_a_column_map_nests_at_the_first_dot() -> None:
    found = column_map(["question=stem,answer=key", "options.A=first column", "options.B=x.y"])
    assert found == {"question": "stem", "answer": "key", "options": {"A": "first column", "B": "x.y"}}


@pytest.mark.parametrize("pair", ["question", "=stem", "question=", ""])
def test_a_column_pair_that_is_none_is_refused(pair: str) -> None:
    with pytest.raises(DatasetError, match="--columns takes FIELD=COLUMN"):
        column_map([pair])


def test_files_that_are_passed_over_are_counted_and_no_error(call: Call, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    for name in ("a.png", "b.jfif"):
        PIL.Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(folder / name, format="PNG")
    for name in ("notes.pdf", "scan.zip", "Thumbs.db"):
        (folder / name).write_bytes(b"x")
    said = "2 files passed over: 1 document; 1 archive: unpack it to read what is in it (and 1 of the system"
    code, out, _ = call("check", folder)
    assert code == 0 and said in " ".join(out.split())
    code, out, _ = call("check", folder, "--json")
    found = json.loads(out)
    assert code == 0 and found["splits"]["test"]["records"] == 2 and found["errors"] == found["notices"] == []
    assert {one["file"]: one["reason"] for one in found["passed_over"]} == {
        "Thumbs.db": "system file", "notes.pdf": "document", "scan.zip": "archive: unpack it to read what is in it"
    }  # fmt: skip
    code, out, err = call("read", folder, "--json")
    assert code == 0 and len(json.loads(out)) == 2 and said in err


def test_check_refuses_a_series_whose_slices_jump(call: Call, tmp_path: Path) -> None:
    stack(tmp_path / "s", moved([0, 0, 0, 15, 15, 15]))
    (tmp_path / "v.csv").write_text("id,volume\n1,s\n")
    code, out, _ = call("check", tmp_path / "v.csv")
    assert code == 1 and "slices jump within their plane, by up to 15 mm" in " ".join(out.split())


def test_check_read_and_evaluate_agree_on_what_an_own_table_holds(call: Call, tmp_path: Path) -> None:
    path = tmp_path / "q.csv"
    path.write_text(
        "id,question,option_a,option_b,answer\n0,Which?,x,y,b\n1,Which?,nan,y,A\n2,Which?,x,,A\n3,Which?,x,y,Z\n"
    )
    code, out, _ = call("check", path, "--json")
    summary = json.loads(out)
    assert code == 1 and [one.partition("q.csv, ")[2] for one in summary["errors"]] == [
        "row 4: cannot be read: column 'option_a, option_b': 1 option(s), at least two are needed",
        "row 5: cannot be read: column 'answer': the answer is not among the options (A, B)",
    ]
    assert summary["record"] == "MultipleChoice" and summary["labels"] == {"answer": {"A": 1, "B": 1}}
    assert [one.partition(":")[0] for one in summary["notices"]] == [
        "the columns option_a, option_b are the options A, B", "the column option_a says 'nan' (rows 3)",
    ]  # fmt: skip
    for words in (("read", path), ("evaluate", "smollm2-135m-instruct", path)):
        code, _, err = call(*words)
        assert code == 2 and "q.csv, row 4: cannot be read" in err


def test_what_may_be_meant_is_noticed_and_no_failure(call: Call, tmp_path: Path) -> None:
    path = tmp_path / "n.csv"
    path.write_text("ID,text,label\n0,a,None\n1,b,mild\n")
    code, out, err = call("check", path)
    assert (code, err) == (0, "") and "the column label says 'None' (rows 2)" in " ".join(out.split())
