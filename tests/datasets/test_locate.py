"""Official files are found where users put them; absence and ambiguity are told with what was looked for and found."""

from __future__ import annotations

import gzip
import shutil
import zipfile
from pathlib import Path

import pytest

from healthfm import open_dataset
from healthfm.datasets.locate import Tree
from healthfm.errors import DatasetError

PATTERN = "data_clean/questions/US/4_options/phrases_no_exclude_test.jsonl"
LINE = (
    '{"question": "Which?", "answer": "b", "options": {"A": "a", "B": "b"}, "meta_info": "step1", "answer_idx": "B"}\n'
)


def put(path: Path, text: str = LINE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def put_zip(path: Path, *members: str, text: str = LINE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as packed:
        for member in members:
            packed.writestr(member, text)
    return path


def answers(root: Path) -> list[object]:
    return [record.answer for record in open_dataset("medqa", root=root)]  # type: ignore[attr-defined]


@pytest.mark.parametrize("above", ["", "a", "a/b", "a/b/c"])
def test_the_official_tree_is_found_at_the_root_and_up_to_three_levels_below(tmp_path: Path, above: str) -> None:
    put(tmp_path / above / PATTERN)
    assert answers(tmp_path) == ["B"]


def test_four_levels_below_is_too_far(tmp_path: Path) -> None:
    put(tmp_path / "a/b/c/d" / PATTERN)
    with pytest.raises(DatasetError, match="or up to 3 levels below"):
        open_dataset("medqa", root=tmp_path)


@pytest.mark.parametrize("inside", ["data_clean", "data_clean/questions", "data_clean/questions/US/4_options"])
def test_a_root_inside_the_official_tree_is_understood(tmp_path: Path, inside: str) -> None:
    put(tmp_path / PATTERN)
    assert answers(tmp_path / inside) == ["B"]


@pytest.mark.parametrize("archive", ["data_clean.zip", "download/data_clean.zip", "a/b/data_clean.zip"])
def test_an_archive_is_looked_into(tmp_path: Path, archive: str) -> None:
    put_zip(tmp_path / archive, PATTERN)
    assert answers(tmp_path) == ["B"]


def test_a_gzipped_file_answers_to_its_plain_name(tmp_path: Path) -> None:
    path = put(tmp_path / PATTERN)
    path.with_name(path.name + ".gz").write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()
    assert answers(tmp_path) == ["B"]


@pytest.mark.parametrize("above", ["", "download"])
def test_an_unpacked_file_wins_over_the_archive_it_came_from(tmp_path: Path, above: str) -> None:
    put_zip(tmp_path / above / "data_clean.zip", PATTERN)
    path = put(tmp_path / above / PATTERN)
    assert [source.member for source in Tree(tmp_path).match(PATTERN)] == [None]
    assert answers(tmp_path) == ["B"]
    path.unlink()
    assert answers(tmp_path) == ["B"]


def test_the_shallowest_tree_wins(tmp_path: Path) -> None:
    put(tmp_path / PATTERN)
    put(tmp_path / "backup" / PATTERN, LINE.replace('"B"}', '"A"}'))
    assert answers(tmp_path) == ["B"]


@pytest.mark.parametrize("packed", [False, True])
def test_two_copies_side_by_side_are_ambiguous_and_both_are_named(tmp_path: Path, packed: bool) -> None:
    for name in ("one", "two"):
        put_zip(tmp_path / f"{name}.zip", PATTERN) if packed else put(tmp_path / name / PATTERN)
    with pytest.raises(DatasetError, match=r"is ambiguous, found: .*one.*two.*point root at one of them"):
        open_dataset("medqa", root=tmp_path)


def test_an_ambiguous_split_is_an_error_even_where_another_split_is_clear(tmp_path: Path) -> None:
    put(tmp_path / "one" / PATTERN.replace("test", "train"))
    put(tmp_path / "one" / PATTERN)
    put(tmp_path / "two" / PATTERN)
    with pytest.raises(DatasetError, match=r"test\.jsonl is ambiguous"):
        open_dataset("medqa", root=tmp_path, split="train")


def test_two_copies_of_files_that_come_in_shards_are_ambiguous(tmp_path: Path) -> None:
    for name in ("one", "two"):
        put(tmp_path / name / "data" / "train-00000-of-00001.parquet")
    with pytest.raises(DatasetError, match=r"data/train-\*\.parquet is ambiguous"):
        open_dataset("medmcqa:hub", root=tmp_path)


def test_hidden_folders_are_not_searched(tmp_path: Path) -> None:
    put(tmp_path / ".cache" / PATTERN)
    with pytest.raises(DatasetError, match="found there: nothing"):
        open_dataset("medqa", root=tmp_path)


def test_a_missing_folder_is_told_with_where_the_files_come_from(tmp_path: Path) -> None:
    with pytest.raises(DatasetError) as caught:
        open_dataset("medqa", root=tmp_path / "gone")
    assert f"no folder {tmp_path / 'gone'}" in str(caught.value)
    assert "https://github.com/jind11/MedQA" in str(caught.value)


def test_a_missing_file_is_told_with_what_was_looked_for_and_found(tmp_path: Path) -> None:
    for n in range(9):
        put(tmp_path / "other" / f"{n}.txt")
    with pytest.raises(DatasetError) as caught:
        open_dataset("medqa", root=tmp_path)
    message = str(caught.value)
    assert "no questions file 'data_clean/questions/US/4_options/phrases_no_exclude_train.jsonl'" in message
    assert "found there: other/0.txt, other/1.txt" in message and "other/6.txt" not in message and "..." in message


def test_a_damaged_archive_is_an_error_that_names_it(tmp_path: Path) -> None:
    path = put_zip(tmp_path / "data_clean.zip", PATTERN)
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(DatasetError, match=r"data_clean\.zip: not a readable archive"):
        open_dataset("medqa", root=tmp_path)


def test_an_archive_with_a_path_that_leaves_it_is_refused(tmp_path: Path) -> None:
    put_zip(tmp_path / "data_clean.zip", PATTERN, "../../evil.sh")
    with pytest.raises(DatasetError, match="leaves the archive; refused"):
        open_dataset("medqa", root=tmp_path)


def test_a_file_in_its_place_is_found_without_listing_the_folder(tmp_path: Path) -> None:
    put(tmp_path / "broken.zip", "not a zip; listing the folder would stumble over it")
    put(tmp_path / PATTERN)
    assert [source.path for source in Tree(tmp_path).match(PATTERN)] == [tmp_path / PATTERN]


def test_the_default_root_is_the_home_folder(own_home: Path, medqa_root: Path) -> None:
    with pytest.raises(DatasetError, match=str(own_home / "datasets" / "medqa")):
        open_dataset("medqa")
    shutil.copytree(medqa_root, own_home / "datasets" / "medqa")
    assert len(open_dataset("medqa")) == 1273


def test_an_official_file_that_was_packed_is_found_by_its_own_name(tmp_path: Path) -> None:
    for end in ("", ".gz", ".zst", ".bz2"):
        root = tmp_path / (end or "plain")
        (root / "a").mkdir(parents=True)
        (root / "a" / f"b.csv{end}").write_bytes(b"")
        assert [one.name for one in Tree(root).match("a/*.csv")] == ["b.csv"]
        assert bool(Tree(root).match("a/b.csv.gz")) == (end == ".gz")


@pytest.mark.parametrize("folder", ["CMeIE", "data", "copy/of/it"])
def test_a_file_whose_name_says_it_all_is_read_from_any_folder(tmp_path: Path, folder: str) -> None:
    put(tmp_path / folder / "CMeIE_dev.json", '{"text": "痔@肛镜检查", "spo_list": []}\n')
    [record] = open_dataset("cblue:cmeie", tmp_path, "validation")
    assert (record.id, record.text) == ("validation-1", "痔@肛镜检查")  # type: ignore[attr-defined]


def test_the_owners_own_place_of_a_file_goes_before_that_of_copies(tmp_path: Path) -> None:
    put(tmp_path / "CMeIE_dev.json", '{"text": "copy", "spo_list": []}\n')
    put(tmp_path / "below" / "CMeIE" / "CMeIE_dev.json", '{"text": "own", "spo_list": []}\n')
    [record] = open_dataset("cblue:cmeie", tmp_path, "validation")
    assert record.text == "own"  # type: ignore[attr-defined]


def test_two_copies_of_a_file_in_other_folders_are_ambiguous(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        put(tmp_path / folder / "KUAKE-QIC_dev.json", "[]")
    with pytest.raises(DatasetError, match=r"KUAKE-QIC_dev\.json is ambiguous"):
        open_dataset("cblue:kuake-qic", tmp_path, "validation")
