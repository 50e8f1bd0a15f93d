"""Literature: citations with their updates, guidelines, texts in zips, patients of case reports in each of their layouts."""

from __future__ import annotations

import csv
import gzip
import json
import zipfile
from pathlib import Path

import pytest

from healthfm import open_dataset
from healthfm.errors import DatasetError
from healthfm.records import MISSING, Document, Pair, Record, Span
from tests.datasets.test_consultations import write
from tests.datasets.test_instructions import as_lines, as_list


def document(record: Record) -> Document:
    assert isinstance(record, Document)
    return record


ABSTRACT = '<Abstract><AbstractText Label="METHODS">We gave β<sub>2</sub>-agonists.</AbstractText><AbstractText>They &lt; helped.</AbstractText></Abstract>'


def article(pmid: int, title: str, abstract: str = "", version: int = 1, more: str = "") -> str:
    """A citation in the elements of NLM's DTD."""
    return (
        f'<PubmedArticle><MedlineCitation Status="MEDLINE"><PMID Version="{version}">{pmid}</PMID><Article><Journal><JournalIssue><PubDate>'
        f"<MedlineDate>2000 Spring</MedlineDate></PubDate></JournalIssue><Title>J</Title></Journal><ArticleTitle>{title}</ArticleTitle>{abstract}"
        f"<Language>eng</Language></Article>{more}</MedlineCitation></PubmedArticle>"
    )


def citations(path: Path, *inside: str, head: str = "") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = f'<?xml version="1.0" encoding="utf-8"?>{head}<PubmedArticleSet>{"".join(inside)}</PubmedArticleSet>'
    path.write_bytes(gzip.compress(text.encode()))


MESH = "<MeshHeadingList><MeshHeading><DescriptorName UI='D1'>Asthma</DescriptorName><QualifierName>x</QualifierName></MeshHeading></MeshHeadingList>"
FRENCH = '<OtherAbstract Type="Publisher" Language="fre"><AbstractText>Nous.</AbstractText><AbstractText>Bien.</AbstractText></OtherAbstract>'


@pytest.mark.evidence("pubmed", "layout")
def test_a_citation_is_its_title_and_labelled_paragraphs(tmp_path: Path) -> None:
    doctype = '<!DOCTYPE PubmedArticleSet PUBLIC "-//NLM//DTD PubMedArticle//EN" "https://dtd.nlm.nih.gov/absent.dtd">'
    citations(
        tmp_path / "baseline/pubmed25n0001.xml.gz",
        article(1, "On <i>H. pylori</i>.", ABSTRACT, more=MESH + FRENCH),
        article(2, "Only a title."),
        head=doctype,
    )
    (tmp_path / "baseline/pubmed25n0001.xml.gz.md5").write_text("MD5 ...")
    first, second = map(document, open_dataset("pubmed", tmp_path))
    assert first.text == "On H. pylori.\nWe gave β2-agonists.\nThey < helped."
    assert first.sections == (Span(14, 34, "METHODS"),) and first.text[14:34] == "We gave β2-agonists."
    assert first.labels == {"mesh": frozenset({"Asthma"})}
    assert first.meta["other_abstracts"] == {"fre": "Nous.\nBien."} and "Nous" not in first.text
    assert (first.meta["date"], first.meta["languages"], first.meta["journal"]) == ("2000 Spring", ["eng"], "J")
    assert (second.id, second.text, second.sections, second.labels) == ("2", "Only a title.", (), {"mesh": frozenset()})


def updated(root: Path) -> None:
    citations(
        root / "baseline/pubmed25n0001.xml.gz",
        article(1, "one"),
        article(2, "two"),
        article(3, "three"),
        article(3, "three, v2", version=2),
    )
    delete = '<DeleteCitation><PMID Version="1">2</PMID><PMID Version="1">6</PMID></DeleteCitation>'
    citations(
        root / "updatefiles/pubmed25n0002.xml.gz",
        article(1, "one, revised"),
        article(5, "five"),
        article(6, "six"),
        delete,
    )
    citations(root / "updatefiles/pubmed25n0003.xml.gz", article(1, "one, revised again"), article(6, "six is back"))


@pytest.mark.evidence("pubmed", "layout")
def test_updates_are_applied_in_order_and_deletions_too(tmp_path: Path) -> None:
    updated(tmp_path)
    said = {
        name: {r.id: document(r).text for r in open_dataset(name, tmp_path)}
        for name in ("pubmed", "pubmed:updatefiles", "pubmed:current")
    }
    assert said["pubmed"] == {"1": "one", "2": "two", "3": "three", "3.2": "three, v2"}
    assert said["pubmed:updatefiles"] == {"1": "one, revised again", "5": "five", "6": "six is back"}
    assert said["pubmed:current"] == {
        "3": "three", "3.2": "three, v2", "1": "one, revised again", "5": "five", "6": "six is back",
    }  # fmt: skip


def test_a_damaged_citation_is_named_once_and_reading_goes_on(tmp_path: Path) -> None:
    broken = "<PubmedArticle><MedlineCitation><PMID Version='1'>7</PMID></MedlineCitation></PubmedArticle>"
    nameless = "<PubmedArticle><MedlineCitation/></PubmedArticle>"
    chapter = "<PubmedBookArticle><BookDocument><PMID>8</PMID></BookDocument></PubmedBookArticle>"
    citations(
        tmp_path / "updatefiles/pubmed25n0001.xml.gz", article(1, "a"), broken, nameless, chapter, article(2, "b")
    )
    with pytest.raises(DatasetError, match="row 2: cannot be read: no MedlineCitation/Article element"):
        list(open_dataset("pubmed:updatefiles", tmp_path))
    dataset = open_dataset("pubmed:updatefiles", tmp_path, on_error="collect")
    assert [r.id for r in dataset] == ["1", "2"]
    assert [str(e).rpartition("row ")[2] for e in dataset.errors] == [
        "2: cannot be read: no MedlineCitation/Article element", "3: cannot be read: no MedlineCitation/PMID element",
        "4: cannot be read: a chapter of a book, which is no citation of the baseline",
    ]  # fmt: skip


def test_damage_and_entities_of_a_files_own_are_errors(tmp_path: Path) -> None:
    path = tmp_path / "baseline/pubmed25n0001.xml.gz"
    citations(path, *(article(n, "t" * 200) for n in range(2000)))
    path.write_bytes(path.read_bytes()[:-400])
    with pytest.raises(DatasetError, match=r"xml\.gz, after row \d+: "):
        list(open_dataset("pubmed", tmp_path))
    path.write_bytes(gzip.compress(b"<PubmedArticleSet><PubmedArticle></PubmedArticleSet>"))
    with pytest.raises(DatasetError, match="not well-formed XML, near line 1"):
        list(open_dataset("pubmed", tmp_path))
    bomb = '<!DOCTYPE x [<!ENTITY a "aaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]>'
    citations(path, article(1, "&b;"), article(2, "fine"), head=bomb)
    dataset = open_dataset("pubmed", tmp_path, on_error="collect")
    assert [r.id for r in dataset] == ["2"] and "it uses entities that its file defines itself" in str(
        dataset.errors[0]
    )


@pytest.mark.evidence("guidelines", "layout")
def test_a_guideline_is_its_clean_text(tmp_path: Path) -> None:
    row = {
        "id": "ab1", "source": "nice", "title": "T", "url": None, "overview": None, "clean_text": "# T\nTreat.", "raw_text": "T <p> Treat.",
    }  # fmt: skip
    as_lines(tmp_path / "open_guidelines.jsonl", [row, {**row, "id": "ab2", "source": "blog"}])
    dataset = open_dataset("guidelines", tmp_path, on_error="collect")
    (one,) = map(document, dataset)
    assert (one.id, one.text, one.labels) == ("ab1", "# T\nTreat.", {"source": "nice"})
    assert one.meta == {"title": "T", "url": None, "overview": None}
    assert "row 2: cannot be read: 'source' has a value that the card does not know" in str(dataset.errors[0])


@pytest.mark.evidence("mmedc", "layout")
def test_a_text_is_of_the_language_that_its_zip_is_called_after(tmp_path: Path) -> None:
    for language, text in (("French", "Fièvre."), ("Japanese", "発熱")):
        with zipfile.ZipFile(tmp_path / f"{language}.zip", "w") as packed:
            packed.writestr(f"{language}/books/1.txt", text)
            packed.writestr(f"{language}/readme.md", "no text")
    records = list(map(document, open_dataset("mmedc", tmp_path)))
    assert [(r.id, r.text, r.meta) for r in records] == [
        ("French/French/books/1.txt", "Fièvre.", {"language": "French"}), ("Japanese/Japanese/books/1.txt", "発熱", {"language": "Japanese"}),
    ]  # fmt: skip
    with zipfile.ZipFile(tmp_path / "French.zip", "a") as packed:
        packed.writestr("French/2.txt", "Fièvre".encode("latin-1"))
    with pytest.raises(DatasetError, match=r"2\.txt, row 1: cannot be read: not UTF-8"):
        list(open_dataset("mmedc", tmp_path))


def test_a_damaged_text_in_a_zip_is_named_and_the_others_are_read(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "French.zip", "w") as packed:
        for name, text in (("1.txt", "Un."), ("2.txt", "Deux, deux."), ("3.txt", "Trois.")):
            packed.writestr(name, text)
    data = (tmp_path / "French.zip").read_bytes()
    (tmp_path / "French.zip").write_bytes(data.replace(b"Deux, deux.", b"Deux, DEUX.", 1))
    dataset = open_dataset("mmedc", tmp_path, on_error="collect")
    assert [document(r).text for r in dataset] == ["Un.", "Trois."]
    assert [str(error).rpartition("French.zip!")[2] for error in dataset.errors] == [
        "2.txt, row 1: cannot be read: the file is damaged or cut short (BadZipFile)"
    ]
    with zipfile.ZipFile(tmp_path / "French.zip", "w") as packed:
        packed.writestr("../out.txt", "Un.")
    with pytest.raises(DatasetError, match="a member's path leaves the archive; refused"):
        list(open_dataset("mmedc", tmp_path))


PATIENT = {
    "patient_id": "0", "patient_uid": "7665777-1", "PMID": "33492400", "file_path": "comm/x.xml", "title": "A case", "patient": "A woman, ill.",
    "age": [[1.0, "year"], [2.0, "month"]], "gender": "F", "relevant_articles": {"320": 1, "33": 2}, "similar_patients": {},
}  # fmt: skip


@pytest.mark.evidence("pmc-patients", "layout")
def test_a_patient_is_the_same_from_csv_and_json(tmp_path: Path) -> None:
    cells = {key: value if isinstance(value, str) else str(value) for key, value in PATIENT.items()}
    with (tmp_path / "PMC-Patients.csv").open("w", newline="") as handle:
        out = csv.DictWriter(handle, list(cells))
        out.writeheader()
        out.writerows([cells, {**cells, "patient_uid": "2-1", "age": "__import__('os').getcwd()"}])
    as_list(tmp_path / "PMC-Patients-V2.json", [PATIENT])
    first = open_dataset("pmc-patients", tmp_path, on_error="collect")
    (one,) = map(document, first)
    assert (one.id, one.patient, one.text, one.labels) == (
        "7665777-1",
        "7665777-1",
        "A woman, ill.",
        {"gender": "female"},
    )
    assert one.meta["age"] == [(1.0, "year"), (2.0, "month")] and one.meta["relevant_articles"] == {"320": 1, "33": 2}
    assert one.meta["similar_patients"] == {}
    assert "row 3: cannot be read: a cell holds neither a list nor a mapping" in str(
        first.errors[0]
    )  # and nothing is run
    assert list(open_dataset("pmc-patients:v2", tmp_path)) == [one]


@pytest.mark.evidence("pmc-patients", "layout")
@pytest.mark.parametrize("header", ["", "query-id\tcorpus-id\tscore\n"])
def test_the_benchmarks_queries_carry_what_is_right_for_them(tmp_path: Path, header: str) -> None:
    for folder in ("queries", "PPR", "PAR"):
        (tmp_path / folder).mkdir()
    as_lines(
        tmp_path / "queries/dev_queries.jsonl", [{"_id": "1-1", "text": "A man."}, {"_id": "2-1", "text": "A child."}]
    )
    as_lines(tmp_path / "PPR/corpus.jsonl", [{"_id": "9-1", "title": "", "text": "Another man."}])
    (tmp_path / "PPR/qrels_dev.tsv").write_text(header + "1-1\t9-1\t2\n1-1\t8-1\t1\n")
    (tmp_path / "PAR/qrels_dev.tsv").write_text(header + "2-1\t320\t1\n")
    similar, articles = (
        list(map(document, open_dataset(f"pmc-patients:recds-{one}", tmp_path, "validation"))) for one in ("ppr", "par")
    )
    assert [(r.id, r.text, r.meta) for r in similar] == [
        ("1-1", "A man.", {"relevant": {"9-1": 2, "8-1": 1}}), ("2-1", "A child.", {"relevant": {}}),
    ]  # fmt: skip
    assert [r.meta["relevant"] for r in articles] == [{}, {"320": 1}]
    assert [(r.id, document(r).text) for r in open_dataset("pmc-patients:recds-ppr-corpus", tmp_path)] == [
        ("9-1", "Another man.")
    ]


@pytest.mark.evidence("pmc-patients", "layout")
def test_the_oldest_layout_is_pairs(tmp_path: Path) -> None:
    write(tmp_path / "datasets/PMC-Patients_train.json", [PATIENT])
    write(tmp_path / "datasets/PMC-Patients_dev.json", [{**PATIENT, "patient_uid": "1-1", "patient": "A man."}])
    pairs = [["1-1", "7665777-1", 2], ["1-1", "absent-1", 0]]
    write(tmp_path / "datasets/task_2_patient2patient_similarity/PPS_dev.json", pairs)
    dataset = open_dataset("pmc-patients:drive", tmp_path, "validation", on_error="collect")
    (one,) = dataset
    assert isinstance(one, Pair) and (one.a, one.b, one.labels) == ("A man.", "A woman, ill.", {"similarity": "2"})
    assert (one.id, one.noun, one.as_text) == ("1-1/7665777-1", "pair", "A man.\nA woman, ill.")
    assert "row 2: cannot be read: a pair names a patient that is in no file of patients" in str(dataset.errors[0])
    assert one.digest() != Pair(id="x", a=one.b, b=one.a).digest()


def test_a_gender_that_is_not_given_is_missing(tmp_path: Path) -> None:
    as_list(tmp_path / "PMC-Patients-V2.json", [{**PATIENT, "gender": None}])
    assert open_dataset("pmc-patients:v2", tmp_path)[0].labels == {"gender": MISSING}


def test_sections_go_out_as_a_column(tmp_path: Path) -> None:
    citations(tmp_path / "baseline/pubmed25n0001.xml.gz", article(1, "On.", ABSTRACT))
    (found,) = open_dataset("pubmed", tmp_path).to_arrow()["sections"].to_pylist()
    assert json.loads(found)[0] == {"start": 4, "end": 24, "type": "METHODS", "concepts": [], "parts": []}
