"""Marked mentions and relations: MedMentions in its owners' layout, BC5CDR's two official forms, CoNLL sets, ChemProt, DDI."""

from __future__ import annotations

import functools
import gzip
import json
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from healthfm import open_dataset
from healthfm.datasets.dataset import Dataset
from healthfm.errors import DatasetError
from healthfm.records import Document, Relation, Span
from tests.real_files import DATA
from tests.references.make_annotations import digest

ProvesWith = Callable[..., None]
TITLE, ABSTRACT = "DCTN4 and naïve T cells", "DCTN4 modifies cystic fibrosis."  # the layout of the README's example
CDR = Path("data/BC5CDR/raw/CDR_Data/CDR.Corpus.v010516")


def documents(opened: Dataset) -> list[Document]:
    found = list(opened)
    assert all(isinstance(one, Document) for one in found)
    return found  # type: ignore[return-value]


def write_medmentions(
    root: Path, variant: str = "st21pv", lists: Sequence[str] = ("1", "2", "3"), mention: str = "DCTN4"
) -> Path:
    """Three abstracts in one file; the lists lie under full/ whatever the variant (st21pv/ReadMe.md)."""
    prefix = "UMLS:" if variant == "st21pv" else ""
    text = ""
    for pmid in ("1", "2", "3"):
        start = len(TITLE) + 1
        text += f"{pmid}|t|{TITLE}\n{pmid}|a|{ABSTRACT}\n"
        text += f"{pmid}\t{start}\t{start + 5}\t{mention}\tT116,T123\t{prefix}C4308010\n"
        text += f"{pmid}\t10\t23\tnaïve T cells\tUnknownType\t{prefix}C0000001\n\n"
    for folder in (f"{variant}/data", "full/data"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    (root / f"{variant}/data/corpus_pubtator.txt.gz").write_bytes(gzip.compress(text.encode()))
    for word, pmid in zip(("trng", "dev", "test"), lists, strict=True):
        (root / f"full/data/corpus_pubtator_pmids_{word}.txt").write_text(f"{pmid}\n")
    return root


@pytest.mark.evidence("medmentions", "layout")
@pytest.mark.parametrize("variant", ["full", "st21pv"])
def test_medmentions_splits_one_file_by_the_lists_and_names_a_concept_alike_in_both_variants(
    tmp_path: Path, variant: str
) -> None:
    opened = open_dataset(f"medmentions:{variant}", write_medmentions(tmp_path, variant))
    assert [(r.id, r.split) for r in documents(opened)] == [("1", "train"), ("2", "validation"), ("3", "test")]
    [record] = documents(opened["test"])
    assert record.text == f"{TITLE} {ABSTRACT}" and record.meta["title"] == TITLE
    assert record.spans == (Span(24, 29, "T116,T123", ("C4308010",)), Span(10, 23, "UnknownType", ("C0000001",)))
    assert [record.text[one.start : one.end] for one in record.spans] == ["DCTN4", "naïve T cells"]
    assert record.relations == () and record.labels == {}


def test_an_offset_counted_without_the_blank_between_title_and_abstract_is_refused(tmp_path: Path) -> None:
    """The wrong readings: no character between, or bytes for characters; each puts the mention elsewhere."""
    write_medmentions(tmp_path, mention=f"{TITLE}{ABSTRACT}"[24:29])
    with pytest.raises(DatasetError, match=r"corpus_pubtator\.txt\.gz, row 11: cannot be read: its line 3") as caught:
        list(open_dataset("medmentions", tmp_path, "test"))
    assert "DCTN4" not in str(caught.value) and "CTN4" not in str(caught.value)
    in_bytes = f"{TITLE} {ABSTRACT}".encode()[24:29].decode()
    with pytest.raises(DatasetError, match="the text at these offsets is not the mention"):
        list(open_dataset("medmentions", write_medmentions(tmp_path, mention=in_bytes), "test"))


def test_damage_in_an_abstract_is_of_its_split_and_collected_while_the_others_are_read(tmp_path: Path) -> None:
    path = write_medmentions(tmp_path) / "st21pv/data/corpus_pubtator.txt.gz"
    whole = gzip.decompress(path.read_bytes()).decode()
    path.write_bytes(gzip.compress(whole.replace("2\t10\t23", "2\t11\t23").encode()))
    opened = open_dataset("medmentions", tmp_path, on_error="collect")
    assert [r.id for r in opened] == ["1", "3"]
    [error] = opened.errors
    assert "row 6: cannot be read: its line 4: the text at these offsets is not the mention" in str(error)
    assert [r.id for r in open_dataset("medmentions", tmp_path, "test")] == ["3"]


def test_an_abstract_of_a_list_that_the_file_has_not_is_an_error(tmp_path: Path) -> None:
    write_medmentions(tmp_path, lists=("1", "2", "9"))
    with pytest.raises(DatasetError, match="1 of the 1 abstracts of this split are not in it"):
        list(open_dataset("medmentions", tmp_path, "test"))


PUBTATOR = """7|t|Eye and ear pain.
7|a|Iron hurts.
7\t0\t16\tEye and ear pain\tDisease\tD1|D2\teye pain|ear pain
7\t18\t22\tIron\tChemical\t{concept}
7\tCID\tD3\tD1

"""


def write_cdr(root: Path, name: str, text: str) -> Path:
    (root / CDR).mkdir(parents=True, exist_ok=True)
    (root / CDR / name).write_text(text, encoding="utf-8")
    return root


@pytest.mark.evidence("blue", "layout")
def test_blue_asks_for_one_type_of_mention_and_a_composite_one_has_several_concepts(tmp_path: Path) -> None:
    write_cdr(tmp_path, "CDR_TestSet.PubTator.txt", PUBTATOR.format(concept="-1"))
    [diseases] = documents(open_dataset("blue", tmp_path, "test"))
    assert diseases.spans == (Span(0, 16, "disease", ("D1", "D2")),)
    assert diseases.meta["names"] == {"0": ["eye pain", "ear pain"]} and diseases.relations == ()
    [chemicals] = documents(open_dataset("blue:bc5cdr-chemical", tmp_path, "test"))
    assert chemicals.spans == (Span(18, 22, "chemical"),) and chemicals.meta["names"] == {}
    assert diseases.text == chemicals.text == "Eye and ear pain. Iron hurts."


def test_a_type_of_mention_that_the_card_does_not_know_is_an_error(tmp_path: Path) -> None:
    write_cdr(tmp_path, "CDR_TestSet.PubTator.txt", PUBTATOR.format(concept="D3").replace("Chemical", "Gene"))
    with pytest.raises(
        DatasetError, match="'mention' has a value that the card of variant bc5cdr-disease does not know"
    ):
        list(open_dataset("blue", tmp_path, "test"))


BIOC = """<?xml version='1.0' encoding='UTF-8'?><!DOCTYPE collection SYSTEM 'BioC.dtd'>
<collection><source>PubTator</source><date>0/0/0</date><key>PubTator.key</key><document><id>7</id>
<passage><infon key="type">title</infon><offset>0</offset><text>Eye &amp; ear pain.</text>
<annotation id='0'><infon key="type">Disease</infon><infon key="CompositeRole">CompositeMention</infon><infon key="MESH">D1|D2</infon>
<location offset='0' length='14' /><text>Eye &amp; ear pain</text></annotation>
<annotation id='1'><infon key="type">Disease</infon><infon key="CompositeRole">IndividualMention</infon><infon key="MESH">D1</infon>
<location offset='{start}' length='3' /><location offset='10' length='4' /><text>Eye pain</text></annotation></passage>
<passage><infon key="type">abstract</infon><offset>{abstract}</offset><text>Iron hurts.</text>
<annotation id='2'><infon key="type">Chemical</infon><infon key="MESH">-1</infon><location offset='16' length='4' /><text>Iron</text></annotation>
</passage><relation id='R0'><infon key="relation">CID</infon><infon key="Chemical">D3</infon><infon key="Disease">D1</infon></relation>
</document></collection>"""


@pytest.mark.evidence("bigbio", "layout")
def test_bigbio_reads_bioc_with_mentions_in_pieces(tmp_path: Path) -> None:
    write_cdr(tmp_path, "CDR_TestSet.BioC.xml", BIOC.format(start=0, abstract=16))
    [record] = documents(open_dataset("bigbio", tmp_path, "test"))
    assert record.text == "Eye & ear pain. Iron hurts."
    assert record.spans == (
        Span(0, 14, "disease", ("D1", "D2")), Span(0, 14, "disease", ("D1",), ((0, 3), (10, 14))), Span(16, 20, "chemical"),
    )  # fmt: skip
    assert record.meta == {"roles": {"0": "CompositeMention", "1": "IndividualMention"}}
    assert record.relations == (Relation("CID", "D3", "D1"),)


@pytest.mark.parametrize(
    "begins", [{"start": 1, "abstract": 16}, {"start": 0, "abstract": 17}, {"start": 0, "abstract": 9}]
)
def test_a_bioc_place_that_does_not_hold_its_words_is_an_error_without_them(
    tmp_path: Path, begins: dict[str, int]
) -> None:
    write_cdr(tmp_path, "CDR_TestSet.BioC.xml", BIOC.format(**begins))
    with pytest.raises(
        DatasetError, match=r"CDR_TestSet\.BioC\.xml, row 1: cannot be read: (the text at|a passage)"
    ) as caught:
        list(open_dataset("bigbio", tmp_path, "test"))
    assert "pain" not in str(caught.value) and "Iron" not in str(caught.value)


@pytest.mark.evidence("bigbio", "layout")
def test_bigbio_reads_medmentions_with_its_generator(tmp_path: Path) -> None:
    write_medmentions(tmp_path)
    assert documents(open_dataset("bigbio:medmentions-st21pv", tmp_path)) == documents(
        open_dataset("medmentions", tmp_path)
    )


@pytest.mark.evidence("blurb", "layout")
@pytest.mark.parametrize(
    ("variant", "folder", "tag", "kind"),
    [
        ("ncbi-disease", "NCBI-disease", "Disease", "disease"), ("bc5cdr-disease", "BC5CDR-disease", "Disease", "disease"),
        ("bc5cdr-chem", "BC5CDR-chem", "Chemical", "chemical"), ("bc2gm", "BC2GM", "GENE", "gene or protein"),
        ("jnlpba", "JNLPBA", "cell_type", "cell type"),
    ],
)  # fmt: skip
def test_blurbs_entity_sets_are_sentences_of_words_joined_by_blanks(
    tmp_path: Path, variant: str, folder: str, tag: str, kind: str
) -> None:
    (tmp_path / "data" / folder).mkdir(parents=True)
    lines = ["-DOCSTART-\tO", "", "The\tO", "big\tB-T", "one\tI-T", "two\tB-T", "", "None\tO", ""]
    (tmp_path / "data" / folder / "dev.tsv").write_text("\n".join(lines).replace("-T", f"-{tag}"))
    one, none = documents(open_dataset(f"blurb:{variant}", tmp_path, "validation"))
    assert (one.id, one.text, one.spans) == ("validation-3", "The big one two", (Span(4, 11, kind), Span(12, 15, kind)))
    assert (none.id, none.spans, none.patient) == ("validation-8", (), "validation-document-1")


@pytest.mark.parametrize(
    ("variant", "folder", "kind"),
    [("bc2gm", "BC2GM", "gene or protein"), ("ncbi-disease", "NCBI-disease", "disease"), ("jnlpba", "JNLPBA", "molecule or cell")],
)  # fmt: skip
def test_blurbs_own_files_tag_with_b_and_i_alone(tmp_path: Path, variant: str, folder: str, kind: str) -> None:
    (tmp_path / "data" / folder).mkdir(parents=True)
    lines = ["-DOCSTART- 98038598", "", "big\tB", "one\tI", "two\tB", "x\tO", "", "None\tO", ""]
    (tmp_path / "data" / folder / "test.tsv").write_text("\n".join(lines))
    one, none = documents(open_dataset(f"blurb:{variant}", tmp_path, "test"))
    assert (one.spans, none.spans) == ((Span(0, 7, kind), Span(8, 11, kind)), ())
    assert (one.patient, none.patient) == ("98038598", "98038598")


@pytest.mark.parametrize(("copy", "file"), [("BC2GM-IOB", "devel"), ("BC2GM", "devel"), ("BC2GM-IOB", "test")])
def test_blurbs_entity_sets_are_read_from_the_collection_that_they_come_from(
    tmp_path: Path, copy: str, file: str
) -> None:
    for folder in (copy, "BC2GM-IOBES", "NCBI-disease-IOB"):
        (tmp_path / "data" / folder).mkdir(parents=True)
        tag = "B-GENE" if folder == copy else "S-GENE"
        (tmp_path / "data" / folder / f"{file}.tsv").write_text(f"BRCA1\t{tag}\n")
    [record] = documents(open_dataset("blurb:bc2gm", tmp_path, "validation" if file == "devel" else "test"))
    assert (record.text, record.spans) == ("BRCA1", (Span(0, 5, "gene or protein"),))


def test_a_tag_that_the_set_does_not_know_is_an_error_of_its_sentence(tmp_path: Path) -> None:
    (tmp_path / "data/NCBI-disease").mkdir(parents=True)
    (tmp_path / "data/NCBI-disease/test.tsv").write_text("a\tO\n\nSecret\tB-Gene\n\nb\tO\n")
    opened = open_dataset("blurb", tmp_path, "test", on_error="collect")
    assert [r.id for r in opened] == ["test-1", "test-5"]
    [error] = opened.errors
    assert "test.tsv, row 3: cannot be read: 'entity' has a value that the card" in str(error)
    assert "Secret" not in str(error) and "Gene" not in str(error)


CHEMPROT = Path("data/text_classification/chemprot/test.txt")


def write_chemprot(root: Path, text: str, label: str = "SUBSTRATE_PRODUCT-OF") -> Path:
    (root / CHEMPROT).parent.mkdir(parents=True, exist_ok=True)
    (root / CHEMPROT).write_text(json.dumps({"text": text, "label": label, "metadata": []}) + "\n")
    return root


def test_chemprots_two_mentions_are_where_their_marks_are(tmp_path: Path) -> None:
    text = "A >> B: << Ang II >> turns [[ iron ]] on, as C >> D."  # signs of its own beside the marks
    [record] = documents(open_dataset("blurb:scibert-chemprot", write_chemprot(tmp_path, text), "test"))
    assert (record.text, [record.text[s.start : s.end] for s in record.spans]) == (text, ["Ang II", "iron"])
    assert record.relations == (Relation("substrate and product of", 0, 1),)
    assert record.labels == {"relation": "substrate and product of"}


@pytest.mark.parametrize(
    ("text", "label"), [("<< a >> b", "AGONIST"), ("[[ a ]] << b >>", "AGONIST"), ("<< a >> [[ b ]]", "CPR:3")]
)
def test_a_sentence_without_two_marks_or_with_a_label_of_another_copy_is_an_error(
    tmp_path: Path, text: str, label: str
) -> None:
    with pytest.raises(DatasetError, match=r"test\.txt, row 1: cannot be read"):
        list(open_dataset("blurb:scibert-chemprot", write_chemprot(tmp_path, text, label), "test"))


def test_a_text_has_its_interactions_by_name(tmp_path: Path) -> None:
    (tmp_path / "data/DDI/raw").mkdir(parents=True)
    triple = {"drug": "A", "target": "B", "interaction": "int", "modify": False}
    raw = {
        "DDI-1": {"abstract": "A and B.", "triples": [triple], "pmid": "DDI-1"},
        "DDI-2": {"abstract": "C.", "triples": [], "pmid": "DDI-2"},
    }
    (tmp_path / "data/DDI/raw/test.json").write_text(json.dumps(raw))
    one, none = documents(open_dataset("blurb:biogpt-ddi", tmp_path, "test"))
    assert (one.id, one.text, one.relations) == ("DDI-1", "A and B.", (Relation("int", "A", "B"),))
    assert (none.relations, none.labels) == ((), {"interaction types": frozenset()})


class Kept:
    """Keeps the documents that pass, by split."""

    def __init__(self) -> None:
        self.records: dict[str, list[Document]] = {}

    def see(self, record: Document) -> None:
        self.records.setdefault(record.split or "", []).append(record)


@functools.cache
def read(name: str, root: Path) -> tuple[dict[str, Any], dict[str, list[Document]]]:
    """Return the summary and all documents of the owners' real files, read once for the tests that ask of them."""
    kept = Kept()
    return open_dataset(name, root).summary([kept]), kept.records


def whole(name: str, root: Path, split: str) -> list[Document]:
    return read(name, root)[1][split]


def counted(name: str, root: Path, splits: dict[str, int]) -> dict[str, Counter[str]]:
    """Hold the records of every split against the owner's number, and return the mentions (else relations) of each by type."""
    summary, _ = read(name, root)
    assert {split: one["records"] for split, one in summary["splits"].items()} == splits
    assert summary["errors"] == summary["notices"] == []
    return {
        split: Counter(one.type for record in whole(name, root, split) for one in record.spans or record.relations)
        for split in splits
    }


ABSTRACTS = {"train": 500, "validation": 500, "test": 500}


@pytest.mark.evidence("blue", "sample", where="reference")
def test_bc5cdr_has_the_mentions_that_blues_readme_counts(reference_data: Path, proves_with: ProvesWith) -> None:
    root = reference_data / "bc5cdr"
    proves_with(root / CDR)
    assert counted("blue:bc5cdr-disease", root, ABSTRACTS) == {
        "train": {"disease": 4182}, "validation": {"disease": 4244}, "test": {"disease": 4424},
    }  # fmt: skip
    assert counted("blue:bc5cdr-chemical", root, ABSTRACTS) == {
        "train": {"chemical": 5203}, "validation": {"chemical": 5347}, "test": {"chemical": 5385},
    }  # fmt: skip


@pytest.mark.evidence("bigbio", "sample", where="reference")
def test_bc5cdrs_two_official_forms_say_the_same(reference_data: Path, proves_with: ProvesWith) -> None:
    root = reference_data / "bc5cdr"
    proves_with(root / CDR)
    summary, _ = read("bigbio", root)
    assert ([*summary["splits"]], summary["errors"], summary["notices"]) == (["validation", "test"], [], [])
    for split, mentions_of_all, relations in (("validation", 9773, 1012), ("test", 9928, 1066)):
        records = whole("bigbio", root, split)
        assert (
            sum(len(r.spans) for r in records) == mentions_of_all
            and sum(len(r.relations) for r in records) == relations
        )
        both = (whole(f"blue:bc5cdr-{kind}", root, split) for kind in ("disease", "chemical"))
        for ours, diseases, chemicals in zip(records, *both, strict=True):
            assert (ours.id, ours.text) == (diseases.id, diseases.text)
            mentions = [s for n, s in enumerate(ours.spans) if ours.meta["roles"].get(str(n)) != "IndividualMention"]
            assert Counter(mentions) == Counter((*diseases.spans, *chemicals.spans))
    slip = next(r for r in whole("bigbio", root, "validation") if r.id == "6415512")
    assert [r.text[s.start : s.parts[0][1]] for r in (slip,) for s in r.spans if s.parts and s.start == 248] == [
        "atypical absence"
    ]


@pytest.mark.evidence("blurb", "sample", where="reference")
def test_scibert_and_biogpts_copies_have_blurbs_counts(reference_data: Path, proves_with: ProvesWith) -> None:
    """The mentions are those of BLURB's table of its sets, but for EBM-NLP (see its card); sentences without the marks of documents."""
    root = reference_data / "scibert_blurb"
    proves_with(root / "data", reference_data / "ddi_hoc/data/DDI")
    assert counted("blurb:scibert-ncbi-disease", root, {"train": 5424, "validation": 923, "test": 940}) == {
        "train": {"disease": 5134}, "validation": {"disease": 787}, "test": {"disease": 960},
    }  # fmt: skip
    jnlpba = counted("blurb:scibert-jnlpba", root, {"validation": 1739, "test": 3856})
    assert {split: found.total() for split, found in jnlpba.items()} == {"validation": 4551, "test": 8662}
    assert len({one.patient for one in whole("blurb:scibert-jnlpba", root, "test")}) == 404
    pico = whole("blurb:scibert-ebm-nlp", root, "test")
    words = Counter(one.type for r in pico for one in r.spans for _ in r.text[one.start : one.end].split(" "))
    assert (
        words == {"outcome": 5138, "participant": 4060, "intervention": 2710}
        and len({one.patient for one in pico}) == 191
    )
    chemprot = counted("blurb:scibert-chemprot", root, {"train": 4169, "validation": 2427, "test": 3469})
    assert chemprot["test"] == {"chemical or protein": 2 * 3469}
    ddi = counted("blurb:biogpt-ddi", reference_data / "ddi_hoc", {"train": 664, "validation": 50, "test": 191})
    assert ddi["test"] == {"mechanism": 295, "effect": 342, "advise": 216, "int": 96}  # no text of the test has none


EXPECTED = json.loads((DATA / "expected/annotations.json").read_text())


@pytest.mark.evidence("blue", "reader", where="reference")
@pytest.mark.parametrize("kind", ["disease", "chemical"])
def test_blues_own_reader_finds_the_same_in_bc5cdr(reference_data: Path, proves_with: ProvesWith, kind: str) -> None:
    root = reference_data / "bc5cdr"
    proves_with(root / CDR)
    for split, expected in EXPECTED["bc5cdr"][kind].items():
        records = whole(f"blue:bc5cdr-{kind}", root, split)
        assert digest([[r.id, r.text, [[s.start, s.end, s.concepts] for s in r.spans]] for r in records]) == expected


def tags_of(record: Document, names: dict[str, str]) -> list[list[str]]:
    """Return the words and IOB2 tags that a record's spans mean."""
    words, at, tags = record.text.split(" "), 0, []
    for word in words:
        over = next((one for one in record.spans if one.start <= at < one.end), None)
        tags.append("O" if over is None else f"{'B' if over.start == at else 'I'}-{names.get(over.type, over.type)}")
        at += len(word) + 1
    return [words, tags]


@pytest.mark.evidence("blurb", "reader", where="reference")
@pytest.mark.parametrize("folder", ["NCBI-disease", "JNLPBA"])
def test_linkberts_reader_of_blurbs_entity_sets_finds_the_same(
    reference_data: Path, proves_with: ProvesWith, folder: str
) -> None:
    root = reference_data / "scibert_blurb"
    proves_with(root / "data/ner" / folder)
    names = {"disease": "Disease", "cell line": "cell_line", "cell type": "cell_type"}
    for split, expected in EXPECTED["sentences"][folder].items():
        records = whole(f"blurb:scibert-{folder.lower()}", root, {"dev": "validation"}.get(split, split))
        assert digest([tags_of(record, names) for record in records]) == expected
