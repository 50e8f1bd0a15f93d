"""Hallmarks of Cancer: BioGPT's sentences and the owners' corpus."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from healthfm import open_dataset
from healthfm.errors import DatasetError

ProvesWith = Callable[..., None]
RAW = Path("data/HoC/raw")


def write_hoc(root: Path, name: str, text: str) -> Path:
    (root / RAW).mkdir(parents=True, exist_ok=True)
    (root / RAW / name).write_text(text, encoding="utf-8")
    return root


@pytest.mark.evidence("hoc", "layout")
def test_a_sentence_has_none_one_or_several_hallmarks_and_empty_lines_are_no_rows(tmp_path: Path) -> None:
    lines = ['"Quoted words stand , as they are .\tempty', "", "p53\t.\tresisting cell death|inducing angiogenesis", ""]
    write_hoc(tmp_path, "test.tsv", "\n".join(lines))
    none, two = open_dataset("hoc", tmp_path, "test")
    assert (none.id, none.text) == ("test-1", '"Quoted words stand , as they are .')  # type: ignore[attr-defined]
    assert none.labels == {"hallmarks": frozenset()}
    assert two.text == "p53\t."  # type: ignore[attr-defined]  # the last tab divides
    assert (two.id, two.labels) == (
        "test-3",
        {"hallmarks": frozenset({"inducing angiogenesis", "resisting cell death"})},
    )


@pytest.mark.parametrize("line", ["no tab here", "text\tbeing immortal"])
def test_a_line_that_is_not_the_layout_is_an_error_with_its_number_and_without_its_words(
    tmp_path: Path, line: str
) -> None:
    write_hoc(tmp_path, "test.tsv", f"fine .\tempty\n{line}\n")
    with pytest.raises(DatasetError, match=r"test\.tsv, row 2: cannot be read") as caught:
        list(open_dataset("hoc", tmp_path, "test"))
    assert "immortal" not in str(caught.value) and "here" not in str(caught.value)


def test_the_corpus_gives_each_sentence_its_abstract_and_its_place_in_the_taxonomy(tmp_path: Path) -> None:
    for folder, text in (("text", "One .\nTwo .\nThree .\n"),
                         ("labels", "< <Sustaining proliferative signaling--Receptors ANDResisting cell death--Autophagy <NULL ")):  # fmt: skip
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "123.txt").write_text(text)
    one, two, three = open_dataset("hoc:corpus", tmp_path, "all")
    assert [r.patient for r in (one, two, three)] == ["123"] * 3
    assert two.labels == {"hallmarks": frozenset({"sustaining proliferative signaling", "resisting cell death"})}
    assert two.meta["taxonomy"] == ["Sustaining proliferative signaling--Receptors", "Resisting cell death--Autophagy"]
    assert one.labels == three.labels == {"hallmarks": frozenset()}


def test_and_inside_a_name_does_not_part_it_and_the_next_name_may_stand_behind_it_without_a_blank(
    tmp_path: Path,
) -> None:
    """Three hallmarks have "and" in their names; a capital one within a word is no separator either."""
    marks = [
        "Activating invasion and metastasis--Invasion ANDGenomic instability and mutation",
        "Genomic instability and mutation--DNA damage, STRAND breaks AND Inducing angiogenesis--Deregulating angiogenesis",
        "NULL ",
    ]
    for folder, text in (
        ("text", "One .\nTwo .\nThree .\n"),
        ("labels", "".join(f"< {one}" for one in marks).replace("< ", "<", 1)),
    ):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "9.txt").write_text(text)
    one, two, none = open_dataset("hoc:corpus", tmp_path, "all")
    names = ["activating invasion and metastasis", "genomic instability and mutation", "inducing angiogenesis"]
    assert one.labels == {"hallmarks": frozenset(names[:2])} and two.labels == {"hallmarks": frozenset(names[1:])}
    assert none.labels == {"hallmarks": frozenset()}
    assert two.meta["taxonomy"] == [
        "Genomic instability and mutation--DNA damage, STRAND breaks", "Inducing angiogenesis--Deregulating angiogenesis",
    ]  # fmt: skip


def test_an_abstract_whose_labels_do_not_fit_its_sentences_is_an_error(tmp_path: Path) -> None:
    for folder, text in (("text", "One .\nTwo .\n"), ("labels", "< ")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "123.txt").write_text(text)
    with pytest.raises(DatasetError, match="2 sentences, 1 labels"):
        list(open_dataset("hoc:corpus", tmp_path, "all"))


@pytest.mark.evidence("hoc", "files", where="reference")
def test_both_of_biogpts_files_whole(reference_data: Path, proves_with: ProvesWith) -> None:
    root = reference_data / "ddi_hoc"
    proves_with(root / RAW)
    dataset = open_dataset("hoc", root)
    found = dataset.summary()
    assert {s: one["records"] for s, one in found["splits"].items()} == {"train": 9972, "test": 4947}
    assert found["notices"] == found["errors"] == []
    test = Counter(name for record in dataset["test"] for name in record.labels["hallmarks"])  # type: ignore[union-attr]
    assert test["sustaining proliferative signaling"] == 326 and test["cellular energetics"] == 75
    assert sum(not record.labels["hallmarks"] for record in dataset["test"]) == 3452
