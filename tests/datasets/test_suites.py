"""Suites: tables of masked sentences and pairs, parts that are rows of their own, and cards that say how each part is read."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from healthfm import card, open_dataset
from healthfm.cards import catalog, coverage
from healthfm.cards.schema import DatasetCard
from healthfm.curate.corpus import text_of
from healthfm.curate.texts import parts
from healthfm.datasets.reader import reader_of
from healthfm.errors import DatasetError
from healthfm.records import QA, Document, MultipleChoice, Pair
from tests.cli.command import run
from tests.datasets.test_consultations import write
from tests.datasets.test_instructions import as_lines

SUITES = ("bigbio", "blue", "blurb", "cblue", "multimedqa")
ProvesWith = Callable[..., None]


def lined(path: Path, *lines: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


MASKED = [
    ("blurb:chemprot", "data/chemprot/test.tsv", None, "17.T1.T2\tThe @CHEMICAL$ inhibits @GENE$.\tCPR:4", "downregulator"),
    ("blurb:ddi", "data/DDI/test.tsv", None, 'D.p0\tGive "@DRUG$" with @DRUG$.\tDDI-false', "none"),
    ("blurb:gad", "data/GAD/test.tsv", "index\tsentence\tlabel", "0\tThe @GENE$ in @DISEASE$.\t1", "association"),
    ("blue:chemprot", "ChemProt/test.tsv", "index\tsentence\tlabel", "17.T1.T2\tThe @CHEMICAL$ and @GENE$.\tfalse", "none"),
    ("blue:ddi", "ddi2013-type/test.tsv", "index\tsentence\tlabel", "D.p0\t@DRUG$ @DRUG$\tDDI-int", "int"),
    ("blue:i2b2-2010", "i2b2-2010/test.tsv", "index\tsentence\tlabel", "1\t@problem$ @test$\tTeRP", "test reveals problem"),
]  # fmt: skip


@pytest.mark.evidence("blurb", "layout")
@pytest.mark.evidence("blue", "layout")
@pytest.mark.parametrize(("name", "path", "header", "line", "label"), MASKED)
def test_masked_sentences_lose_no_first_line_and_take_no_header(
    tmp_path: Path, name: str, path: str, header: str | None, line: str, label: str
) -> None:
    lined(tmp_path / path, *([header] if header else []), line, line)
    first, second = open_dataset(name, tmp_path, "test")
    assert isinstance(first, Document) and first.labels == {"relation": label} and first.text == line.split("\t")[1]
    assert first.meta["id"] == line.split("\t")[0] and first.id != second.id
    lined(tmp_path / path, *([] if header else ["index\tsentence\tlabel"]), line, line)  # the other suite's habit
    if header:  # no line of a file without one is lost
        assert len(open_dataset(name, tmp_path, "test")) == 2
    else:
        with pytest.raises(DatasetError, match="row 1: cannot be read: no masked mention"):
            list(open_dataset(name, tmp_path, "test"))


@pytest.mark.evidence("blurb", "layout")
@pytest.mark.evidence("blue", "layout")
def test_pairs_of_sentences_have_a_score(tmp_path: Path) -> None:
    lined(tmp_path / "data/BIOSSES/dev.tsv", "id\tsentence1\tsentence2\tscore", "7\tIt binds.\tIt is bound.\t3.4")
    lined(
        tmp_path / "BIOSSES/dev.tsv", "index\tgenre\tsentence1\tsentence2\tscore", "7\tx\tIt binds.\tIt is bound.\t3.4"
    )
    for name in ("blurb:biosses", "blue:biosses"):
        (one,) = open_dataset(name, tmp_path, "validation")
        assert isinstance(one, Pair) and (one.a, one.b, one.labels) == ("It binds.", "It is bound.", {"score": 3.4})
    lined(tmp_path / "data/BIOSSES/dev.tsv", "id\tsentence1\tsentence2\tscore", "7\tIt binds.\tIt is bound.\thigh")
    with pytest.raises(DatasetError, match=r"dev\.tsv, row 2: cannot be read: 'score' is no number"):
        list(open_dataset("blurb:biosses", tmp_path, "validation"))


MARKS = ",".join(f"{n}_{int(n in (0, 7))}" for n in range(10))


@pytest.mark.evidence("blurb", "layout")
@pytest.mark.evidence("blue", "layout")
def test_hallmarks_are_marks_in_one_suite_and_names_in_the_other(tmp_path: Path) -> None:
    both = frozenset({"activating invasion and metastasis", "resisting cell death"})
    lined(
        tmp_path / "data/HoC/test.tsv",
        "labels\tsentence\tindex",
        f"{MARKS}\tIt spreads.\t12_s0",
        f"{MARKS.replace('_1', '_0')}\tNo.\t12_s1",
    )
    names = "activating invasion and metastasis,resisting cell death"
    lined(tmp_path / "hoc/test.tsv", "index\tsentence\tlabels", f"12_s0\tIt spreads.\t{names}", "12_s1\tNo.\t")
    for name in ("blurb:hoc", "blue:hoc"):
        first, second = open_dataset(name, tmp_path, "test")
        assert (first.id, first.patient, first.labels) == ("12_s0", "12", {"hallmarks": both})
        assert second.labels == {"hallmarks": frozenset()}
    lined(tmp_path / "data/HoC/test.tsv", "labels\tsentence\tindex", "0_1,2_0\tIt spreads.\t12_s0")
    with pytest.raises(DatasetError, match="row 2: cannot be read: the labels are not 10 marks of 0 or 1 in order"):
        list(open_dataset("blurb:hoc", tmp_path, "test"))


@pytest.mark.evidence("blurb", "layout")
def test_blurbs_questions_are_decided(tmp_path: Path) -> None:
    lined(tmp_path / "data/BioASQ/test.tsv", "5a\tIs it?\tIt is.\tyes", "5a\tIs it?\tPerhaps.\tyes")
    first, second = open_dataset("blurb:bioasq", tmp_path, "test")
    assert isinstance(first, MultipleChoice) and (first.question, first.context, first.answer) == (
        "Is it?",
        "It is.",
        "yes",
    )
    assert list(first.options) == ["yes", "no"] and first.id != second.id
    asked = {"QUESTION": "Is it?", "CONTEXTS": ["A.", "B."], "final_decision": "maybe"}
    write(tmp_path / "data/pubmedqa/pqal_fold0/dev_set.json", {"123": asked})
    write(tmp_path / "data/pubmedqa/test_set.json", {"124": asked})
    for split, id in (("validation", "123"), ("test", "124")):
        (one,) = open_dataset("blurb:pubmedqa", tmp_path, split)
        assert isinstance(one, MultipleChoice) and (one.id, one.context, one.answer) == (id, "A.\nB.", "maybe")


@pytest.mark.evidence("blue", "layout")
def test_mednli_is_read_from_its_owners_lines(tmp_path: Path) -> None:
    row = {"pairID": "p1", "sentence1": "He coughs.", "sentence2": "He is well.", "gold_label": "contradiction"}
    as_lines(tmp_path / "mli_dev_v1.jsonl", [row, {**row, "pairID": "p2", "gold_label": "-"}])
    dataset = open_dataset("blue:mednli", tmp_path, "validation", on_error="collect")
    assert [(r.id, r.a, r.b, r.labels) for r in dataset if isinstance(r, Pair)] == [
        ("p1", "He coughs.", "He is well.", {"label": "contradiction"})
    ]
    assert "row 2: cannot be read: 'label' has a value that the card" in str(dataset.errors[0])


QUESTION = {
    "question": "Which?",
    "options": {"A": "a", "B": "b"},
    "answer_idx": "B",
    "answer": "b",
    "meta_info": "step1",
}


@pytest.mark.evidence("multimedqa", "layout")
def test_a_part_that_is_a_row_is_opened_in_its_stead(tmp_path: Path) -> None:
    folder = tmp_path / "data_clean/questions/US/4_options"
    folder.mkdir(parents=True)
    as_lines(folder / "phrases_no_exclude_test.jsonl", [QUESTION])
    lined(tmp_path / "data/test/anatomy_test.csv", "Which bone?,a,b,c,d,C")
    opened = open_dataset("multimedqa:medqa@letters", tmp_path, "test")
    assert (opened.name, opened.protocol, opened.card.slug) == ("medqa:us-4-options", "letters", "medqa")
    (one,) = opened
    assert isinstance(one, MultipleChoice) and one.answer == "B" and one == open_dataset("medqa", tmp_path, "test")[0]
    (bone,) = open_dataset("multimedqa:mmlu-anatomy", tmp_path, "test")
    assert isinstance(bone, MultipleChoice) and bone.answer == "C"
    said = run("read", "multimedqa", "--root", str(tmp_path), "--split", "test", "--json")
    assert said.returncode == 0 and json.loads(said.stdout)[0]["question"] == "Which?"


def test_a_suite_whose_first_part_is_absent_names_those_that_are_here(tmp_path: Path) -> None:
    (tmp_path / "TREC-2017-LiveQA-Medical-Test.xml").write_text("<LiveQA/>")
    with pytest.raises(DatasetError, match=r"'medqa' is not in .*, but liveqa is: name one \(multimedqa:liveqa\)"):
        open_dataset("multimedqa", tmp_path)
    with pytest.raises(DatasetError, match="medmcqa: no questions file"):  # who names a part is told of its files
        open_dataset("multimedqa:medmcqa", tmp_path)


@pytest.mark.evidence("multimedqa", "sample", where="reference")
def test_multimedqas_real_parts_have_their_counts(reference_data: Path, proves_with: ProvesWith) -> None:
    proves_with(reference_data / "liveqa_trec2017/TestDataset", reference_data / "pubmedqa/data")
    asked = list(open_dataset("multimedqa:liveqa", reference_data / "liveqa_trec2017", "test"))
    assert len(asked) == 104 and sum(len(one.answers) for one in asked if isinstance(one, QA)) == 167
    pubmedqa = open_dataset("multimedqa:pubmedqa", reference_data / "pubmedqa")
    assert (len(pubmedqa["train"]), len(pubmedqa["test"])) == (500, 500)


@pytest.mark.parametrize("slug", SUITES)
def test_a_suites_card_says_of_every_part_how_it_is_read_and_it_is(slug: str) -> None:
    suite = card(slug)
    assert isinstance(suite, DatasetCard)
    with_files = {file.variant for file in suite.files}
    for name, part in suite.variants.items():
        assert part.reads is not None, name
        assert (part.reads != "no") == (name in with_files or part.row is not None), name
        if part.row:
            row, variant, _ = catalog.split_name(part.row)
            found = card(row, "dataset")
            assert isinstance(found, DatasetCard) and reader_of(found)
            assert variant is None or variant in found.variants
            proved = {
                claim["tick"] for claim in coverage.claims() if (claim["kind"], claim["slug"]) == ("dataset", row)
            }
            assert part.reads != "files" or "files" in proved, name


@pytest.mark.parametrize("slug", SUITES)
def test_show_and_coverage_say_how_the_parts_are_read(slug: str) -> None:
    shown = " ".join(run("show", slug).stdout.split())
    (row,) = (one for one in coverage.rows() if one["slug"] == slug)
    assert (
        "[read by layout" in shown
        and f"{sum(v.reads == 'layout' for v in card(slug).variants.values())} read by layout" in row["parts"]
    )
    assert row["parts"] in run("coverage", "--kind", "dataset").stdout


def test_a_part_that_is_not_read_says_so(tmp_path: Path) -> None:
    for name in ("bigbio:saved", "blue:share-clefe"):
        with pytest.raises(DatasetError, match=f"{name}: this part is not read yet .*; parts that are: bc5cdr"):
            open_dataset(name, tmp_path)


def test_a_pair_is_searched_and_looked_for_by_both_texts() -> None:
    one = Pair(id="1", a="It binds.", b="It is bound.")
    assert text_of(one) == "It binds.\nIt is bound."
    [part] = parts([one])
    assert (part.kind, [b" ".join(words) for words in part.segments]) == ("text", [b"it binds", b"it is bound"])
