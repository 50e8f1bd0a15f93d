"""What the arguments of embed mean."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from healthfm.embed.items import gather
from healthfm.errors import DatasetError
from tests.datasets.test_contents import REASONS, everything
from tests.formats.test_dicom_series import stack

Photos = Callable[..., Path]


def test_a_folder_is_all_it_holds_below_in_the_order_of_the_names_without_what_is_hidden(
    photos: Photos, tmp_path: Path
) -> None:
    folder = photos(2)
    (folder / "b").mkdir()
    (folder / ".trash").mkdir()
    for name in ("b/z.PNG", "b/a.jpeg", ".trash/x.jpg", ".y.jpg", "notes.txt", "c.svs"):
        (folder / name).write_bytes(b"")
    ids = [item.id for item in gather([folder], texts=False).found]
    assert ids == ["000.jpg", "001.jpg", "b/a.jpeg", "b/z.PNG", "c.svs"]
    assert [item.id for item in gather([folder], texts=True).found] == ["notes.txt"]


def test_a_glob_is_what_fits_it_and_a_file_is_itself(photos: Photos, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = photos(3)
    monkeypatch.chdir(folder.parent)
    assert [item.id for item in gather(["photos/00[01].jpg"], False).found] == ["photos/000.jpg", "photos/001.jpg"]
    assert [item.id for item in gather(["photos/002.jpg"], False).found] == ["photos/002.jpg"]
    with pytest.raises(DatasetError, match="no file fits"):
        gather(["photos/*.tif"], False)


def test_of_several_words_ids_are_paths_as_given_and_the_word_before_a_records_id(
    photos: Photos, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(photos(2).parent)
    photos(1, "more")
    for name in ("one", "two"):
        Path(f"{name}.csv").write_text("id,image\nx,photos/000.jpg\n")
    items = gather(["photos/", "more", "one.csv", "./two.csv", "photos/001.jpg"], False)
    ids = ["photos/000.jpg", "photos/001.jpg", "more/000.jpg", "one.csv/x", "two.csv/x"]
    assert [item.id for item in items.found] == ids
    assert items.problems == [("photos/001.jpg", "the id occurs twice; the first is kept")]  # one file, named twice


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_manifest_is_its_rows_and_a_row_that_cannot_be_read_is_a_problem(photos: Photos, kind: str) -> None:
    import polars

    folder = photos(2)
    rows = polars.DataFrame({"id": ["a", "b", "a"], "image": ["000.jpg", "001.jpg", "001.jpg"]})
    path = folder / f"list.{kind}"
    rows.write_csv(path) if kind == "csv" else rows.write_parquet(path)
    items = gather([path], False)
    assert [item.id for item in items.found] == ["a", "b"]
    assert len(items.problems) == 1
    assert "occurs twice" in items.problems[0][1]
    assert items.found[0].stamp[1:3] == (  # a changed file is another item
        (folder / "000.jpg").stat().st_size,
        (folder / "000.jpg").stat().st_mtime_ns,
    )


def test_a_dataset_by_name_is_its_texts(pubmedqa_root: Path) -> None:
    items = gather(["pubmedqa"], texts=True, root=pubmedqa_root, split="test").found
    assert len(items) == 500
    assert all(isinstance(item.content, str) for item in items)
    assert "\n" in items[0].content  # context, then question


@pytest.mark.parametrize("word", ["nothing/here", "absent.png", Path("gone")])
def test_a_path_that_is_not_there_is_one_clear_line(word: str | Path) -> None:
    with pytest.raises(DatasetError, match="no file or folder"):
        gather([word], False)


def test_a_folder_with_nothing_in_it_is_said(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="nothing to embed"):
        gather([tmp_path], False)


def test_every_file_of_a_folder_is_an_item_a_problem_or_passed_over(photos: Photos, tmp_path: Path) -> None:
    folder = everything(photos(1))
    (folder / "gone.png").symlink_to(tmp_path / "nothing")
    (folder / "loop").symlink_to(folder)
    (folder / "again").symlink_to(folder / "below")
    items = gather([folder], texts=False)
    assert [item.id for item in items.found] == ["000.jpg", "a.png", "below/b.png", "v.mhd"]
    assert items.problems == [("gone.png", "cannot be opened (No such file or directory)")]
    linked = "a link to a folder that is read already"
    assert dict(items.passed) == {**REASONS, ".git": "hidden", "loop": linked, "again": linked}
    texts = gather([folder], texts=True)
    assert [item.id for item in texts.found] == ["read.TXT"]
    assert (
        dict(texts.passed)["a.png"] == "no text"
        and len(texts.passed) + 1 + 1 == len(items.passed) + len(items.found) + 1
    )


def test_a_glob_passes_over_what_is_no_item_and_a_file_that_is_named_is_one(photos: Photos) -> None:
    folder = photos(1)
    (folder / "notes.json").write_text("{}")
    (folder / "deep").mkdir()
    items = gather([f"{folder}/*"], texts=False)
    assert [Path(item.id).name for item in items.found] == ["000.jpg"]
    assert [(Path(name).name, reason) for name, reason in items.passed] == [("deep", "folder"), ("notes.json", "JSON")]
    assert [Path(item.id).name for item in gather([folder / "notes.json"], texts=False).found] == ["notes.json"]


def test_where_nothing_can_be_embedded_the_reasons_are_said(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(b"x")
    with pytest.raises(DatasetError, match=r"nothing to embed in .*: 1 file passed over: 1 archive: unpack it"):
        gather([tmp_path], False)


def test_the_series_of_a_manifest_tells_what_lies_beside_its_slices(tmp_path: Path) -> None:
    (stack(tmp_path / "s") / "notes.txt").write_text("x")
    (tmp_path / "v.csv").write_text("id,volume\n1,s\n")
    items = gather([tmp_path / "v.csv"], texts=False)
    assert len(items.found) == 1 and [(Path(file).name, why) for file, why in items.passed] == [("notes.txt", "text")]
