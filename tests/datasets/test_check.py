"""Is a copy whole? What ``check`` finds in damaged copies, and that it passes real ones; what ``summary`` counts."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from healthfm import open_dataset
from healthfm.datasets.check import check
from tests.cli.command import run
from tests.real_files import ELSEWHERE, elsewhere

# Rows whose owners' files lie beside the project: the folder, and the splits whose whole is there.
REAL = {
     "blue:bc5cdr-disease": ("bc5cdr", "train validation test"), "blurb:scibert-ncbi-disease": ("scibert_blurb", "train validation test"),
    "cmekg-8k": ("cmekg_8k", "train"), "healthcaremagic:genmedgpt-5k": ("chatdoctor", "train"), "hoc": ("ddi_hoc", "train test"),
    "liveqa": ("liveqa_trec2017", "test"), "medinstruct-52k": ("medinstruct_test", "test"), "medqa": ("medqa_usmle", "test"),
    "pubmedqa": ("pubmedqa", "train test"),
}  # fmt: skip


def found(name: str | Path, root: Path | None = None, **how: Any) -> dict[str, Any]:
    return check(open_dataset(name, root, on_error="collect", **how))


def ward(folder: Path, text: str) -> Path:
    (folder / "ward.csv").write_text(text, encoding="utf-8")
    return folder / "ward.csv"


# Real sets, whole and damaged -----------------------------------------------------------------------------------------


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: max(1, path.stat().st_size // 2 - 3)])


def scribbled(path: Path) -> None:
    """Other bytes in the middle, none of which any text has."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 40] = b"\xff\xfe\x00\x01" * 10
    path.write_bytes(bytes(data))


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def badly_packed(path: Path) -> None:
    path.with_name(path.name + ".gz").write_bytes(gzip.compress(path.read_bytes())[:-9])
    path.unlink()


DAMAGE: tuple[Callable[[Path], None], ...] = (cut, scribbled, emptied, badly_packed)


@pytest.mark.parametrize("name", ["medqa", "pubmedqa", "liveqa"])
def test_a_real_copy_passes(name: str) -> None:
    told = found(name, elsewhere(REAL[name][0]))
    assert told["faults"] == [] and told["files"]["present"]
    assert {split for split, one in told["splits"].items() if one["records"] == one["card"]} == set(
        REAL[name][1].split()
    )


@pytest.mark.parametrize("name", REAL)
def test_a_damaged_copy_of_a_real_set_is_told_and_never_thrown(name: str, tmp_path: Path) -> None:
    """A small copy, its files damaged in one way after another: the file is named, or its split has other records than before."""
    root = elsewhere(REAL[name][0])
    files = [Path(one) for one in sorted(_used(name, root))]
    small = {one.relative_to(root): shortened(one) for one in files}

    def copied(number: int) -> Path:
        for path, data in small.items():
            (tmp_path / str(number) / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / str(number) / path).write_bytes(data)
        return tmp_path / str(number)

    before = found(name, copied(-1))
    for number, (path, damage) in enumerate(zip([*small] * 4, DAMAGE, strict=False)):
        copy = copied(number)
        damage(copy / path)
        done = run("check", name, copy, "--json")
        assert done.returncode in (1, 2) and "Traceback" not in done.stderr, (damage.__name__, done.stderr)
        if done.returncode == 1:
            told = json.loads(done.stdout)
            named = any(path.name in one for one in told["faults"])
            assert named or told["splits"] != before["splits"], (damage.__name__, path, told["faults"])
        else:
            assert done.stderr.count("\n") == 1 and path.name in done.stderr


def shortened(path: Path) -> bytes:
    """The head of a large file of lines, up to an empty line where it has them; other files whole."""
    data = path.read_bytes()
    if (
        len(data) < 200_000
        or data.lstrip()[:1] == b"<"
        or path.name in ("ori_pqal.json", "chatdoctor5k.json", "test_ground_truth.json")
    ):
        return data
    head = data[:100_000]
    return head[: head.rfind(b"\n\n") + 2 if b"\n\n" in head else head.rfind(b"\n") + 1]


def _used(name: str, root: Path) -> set[str]:
    from healthfm.datasets.locate import Tree, wanted

    opened = open_dataset(name, root)
    tree = Tree(root)
    return {
        str(hit.path)
        for split in opened.splits
        for _, pattern in wanted(opened.card, opened.variant, split)
        for hit in tree.match(pattern)
    }


def test_every_real_set_named_here_is_one_that_lies_there() -> None:
    if ELSEWHERE.is_dir():
        assert all((ELSEWHERE / folder).is_dir() for folder, _ in REAL.values())


# Files ----------------------------------------------------------------------------------------------------------------


def test_files_present_missing_and_beside_are_told(pubmedqa_root: Path, tmp_path: Path) -> None:
    shutil.copytree(pubmedqa_root / "data", tmp_path / "data")
    (tmp_path / "notes.txt").write_text("mine")
    told = found("pubmedqa", tmp_path)["files"]
    assert [Path(one).name for one in told["present"]] == ["ori_pqal.json", "test_ground_truth.json"]
    assert (told["missing"], told["extra"]) == ([], ["notes.txt"])


def test_a_file_with_another_digest_than_published_is_a_fault(pubmedqa_root: Path, tmp_path: Path) -> None:
    shutil.copytree(pubmedqa_root / "data", tmp_path / "data")
    assert found("pubmedqa", tmp_path)["faults"] == []
    file = tmp_path / "data" / "ori_pqal.json"
    file.write_text(file.read_text(encoding="utf-8").replace("the", "The", 1), encoding="utf-8")
    [fault] = found("pubmedqa", tmp_path)["faults"]
    assert "ori_pqal.json: not the published file (its git digest is not the published one)" in fault
    assert run("check", "pubmedqa", tmp_path).returncode == 1


def test_a_file_that_changed_since_it_was_fetched_is_a_fault(tmp_path: Path, medqa_root: Path) -> None:
    shutil.copytree(medqa_root / "data_clean", tmp_path / "data_clean")
    [file] = tmp_path.rglob("*.jsonl")
    (tmp_path / ".healthfm").mkdir()
    note = {
        str(file.relative_to(tmp_path)): {
            "url": "https://x",
            "size": file.stat().st_size,
            "digest": "sha256:" + "0" * 64,
        }
    }
    (tmp_path / ".healthfm" / "fetched.json").write_text(json.dumps(note))
    assert [one for one in found("medqa", tmp_path)["faults"] if "sha256 digest" in one]


def test_a_split_that_is_half_there_is_a_fault_and_one_that_is_not_there_is_none(tmp_path: Path) -> None:
    for name, text in (
        ("question.csv", "question_id,content\n1,q\n"), ("answer.csv", "ans_id,question_id,content\n1,1,a\n2,1,b\n"),
        ("test_candidates.txt", "question_id,ans_id,cnt,label\n1,1,0,1\n1,2,0,0\n"),
    ):  # fmt: skip
        (tmp_path / name).write_text(text)
    told = found("cmedqa2", tmp_path)
    assert (
        not [one for one in told["faults"] if "missing" in one] and "train_candidates.txt" in told["files"]["missing"]
    )
    (tmp_path / "oncogpt" / "data").mkdir(parents=True)
    (tmp_path / "oncogpt" / "data" / "test.json").write_text('[{"instruction": "a", "question": "b", "output": "c"}]')
    assert not [one for one in found("oncogpt", tmp_path / "oncogpt")["faults"] if "missing" in one]
    (tmp_path / "oncogpt" / "data" / "alpaca.json").write_text("[]")
    assert (
        "split train: data/OncoGPT_demo.rar missing, and the other files of it are here"
        in found("oncogpt", tmp_path / "oncogpt")["faults"]
    )


# Records --------------------------------------------------------------------------------------------------------------


def test_own_data_with_patients_in_two_splits_is_at_fault(tmp_path: Path) -> None:
    path = ward(tmp_path, "id,text,split,patient\n1,a,train,p1\n2,b,test,p1\n3,c,test,p2\n")
    told = found(path)
    assert told["faults"] == ["1 patients straddle splits: p1 (train and test)"]
    assert (told["patients"], told["patients_by_split"]) == (2, {"train": 1, "test": 2})
    assert run("check", path).returncode == 1


def test_records_that_are_the_same_or_blank_are_noticed_and_no_fault(tmp_path: Path) -> None:
    path = ward(tmp_path, "id,text,split\n1,a,train\n2,a,train\n3,a,test\n")
    told = found(path)
    assert told["faults"] == [] and run("check", path).returncode == 0
    said = [one for one in told["notices"] if "records" in one]
    assert said == [
        "1 records are the same as another of their split: 2 = 1",
        "1 records have the content of one of another split: 3 = 1",
    ]
    file = tmp_path / "data_clean/questions/US/4_options/phrases_no_exclude_test.jsonl"
    file.parent.mkdir(parents=True)
    row = {"question": " ", "answer": "b", "options": {"A": "a", "B": "b"}, "meta_info": "step1", "answer_idx": "B"}
    file.write_text(json.dumps(row))
    assert "1 records say nothing: test-1" in found("medqa", tmp_path)["notices"]


def test_an_id_that_occurs_twice_is_a_fault(tmp_path: Path) -> None:
    told = found(ward(tmp_path, "id,text\n1,a\n1,b\n"))
    assert any("the id '1' occurs twice" in one for one in told["faults"])


def test_no_finding_repeats_a_text(tmp_path: Path) -> None:
    secret = "Jane Roe has a cough"
    path = ward(tmp_path, f"id,text,split,patient\n1,{secret},train,p1\n2,{secret},test,p1\n3,{secret},test\n")
    done = run("check", path, "--json")
    assert done.returncode == 1 and "Jane" not in done.stdout + done.stderr


def test_the_summary_tells_lengths_numbers_and_what_is_missing(tmp_path: Path) -> None:
    path = ward(tmp_path, "id,text,age,sex\n1,abc,40,f\n2,abcde,60,\n")
    told = open_dataset(path, columns={"labels": {"sex": "sex"}}).summary()
    assert told["lengths"] == {"test": {"min": 3, "median": 4, "mean": 4, "max": 5}}
    assert told["missing"] == {"labels.sex": 1, "patient": 2, "site": 2}
    done = run("read", path, "--columns", "labels.sex=sex", "--summary", "--json")
    assert done.returncode == 0 and json.loads(done.stdout) == json.loads(json.dumps(told))
    shown = run("read", path, "--columns", "labels.sex=sex", "--summary").stdout
    assert "shortest" in shown and "labels.sex 1" in shown and "patient 2" not in shown


def test_root_is_an_argument_or_an_option_and_not_two_folders(medqa_root: Path) -> None:
    assert run("check", "medqa", medqa_root).stdout == run("check", "medqa", "--root", medqa_root).stdout
    done = run("check", "medqa", medqa_root, "--root", "elsewhere")
    assert done.returncode == 2 and "two folders are given" in done.stderr


def test_a_count_that_another_variant_has_names_it(tmp_path: Path) -> None:
    header, rows = (
        "row_id,subject_id,gender,dob,dod,expire_flag",
        [f"{n},{n},F,2100-01-01 00:00:00,,0" for n in range(1, 101)],
    )
    (tmp_path / "PATIENTS.csv").write_text("\n".join([header, *rows]) + "\n")
    (fault,) = [one for one in found("mimic-iii", tmp_path)["faults"] if "46520" in one]
    assert (
        fault == "split all: 100 records, the card says 46520; mimic-iii:demo has so many: open that, where it is meant"
    )
