"""Literature: citations, guidelines, patients of case reports, and plain texts by the million."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from typing import IO, Any

from lxml import etree

from healthfm.datasets.locate import Files
from healthfm.datasets.reader import dataset
from healthfm.errors import BadValue
from healthfm.formats import archive, delimited, jsonl, xml
from healthfm.formats.source import DAMAGE, Problems, Row, Source
from healthfm.records import Document, Pair, Record, Span

Key = tuple[str, str]  # a citation's PMID and its version
OWN = "PubmedBookArticle"  # what a file may hold beside citations, and is none


@dataset("pubmed", record=Document)
def pubmed(files: Files, split: str) -> Iterator[Document]:
    """Citations as the files have them; of update files what is last said of each, and nothing of what they delete.

    Baseline files hold a citation once. ``current`` is the baseline with the update files applied to it, in the order of their names.
    """
    updates = files.all("updates")
    last = _last(updates)
    for source in files.all("citations"):
        for row, element in xml.stream(source, "PubmedArticle", OWN):
            with row:
                if _key(element) not in last:
                    yield _citation(files, element, split)
    for at, source in enumerate(updates):
        for row, element in xml.stream(source, "PubmedArticle", OWN):
            with row:
                if last[_key(element)] == (at, row.number):
                    yield _citation(files, element, split)


def _last(updates: list[Source]) -> dict[Key, tuple[int, int | str] | None]:
    """Return where the last word on each citation of the update files stands: the number of its file and row, None where it is deleted.

    What cannot be read is no problem yet: it is one when the records are made.
    """
    last: dict[Key, tuple[int, int | str] | None] = {}
    for at, source in enumerate(updates):
        for row, element in xml.stream(_quiet(source), "PubmedArticle", "DeleteCitation", OWN):
            with row:
                if element.tag == "DeleteCitation":
                    last |= dict.fromkeys((_named(one) for one in element.iterfind("PMID")), None)
                else:
                    last[_key(element)] = (at, row.number)
    return last


def _quiet(source: Source) -> Source:
    return Source(source.path, source.member, Problems("collect"))


def _key(element: etree._Element) -> Key:
    if element.tag == OWN:
        raise BadValue("a chapter of a book, which is no citation of the baseline")
    found = element.find("MedlineCitation/PMID")
    if found is None:
        raise BadValue("no MedlineCitation/PMID element")
    return _named(found)


def _named(element: etree._Element) -> Key:
    return (element.text or "").strip(), element.get("Version") or "1"


def _citation(files: Files, element: etree._Element, split: str) -> Document:
    """Return a citation: its title and the paragraphs of its abstract, a line each; an abstract in another language stays in meta."""
    citation, article = element.find("MedlineCitation"), element.find("MedlineCitation/Article")
    if citation is None or article is None:
        raise BadValue("no MedlineCitation/Article element")
    pmid, version = _named(citation.find("PMID"))  # type: ignore[arg-type]  # _key has seen it
    title = _words(article.find("ArticleTitle"))
    text, sections = title, []
    for part in article.iterfind("Abstract/AbstractText"):
        said = _words(part)
        start = len(text) + 1 if text else 0
        if said:
            text = f"{text}\n{said}" if text else said
            if part.get("Label"):
                sections.append(Span(start, len(text), str(part.get("Label"))))
    names = [_words(one) for one in citation.iterfind("MeshHeadingList/MeshHeading/DescriptorName")]
    others: dict[str, str] = {
        one.get("Language") or "und": "\n".join(filter(None, map(_words, one.iterfind("AbstractText")))) for one in citation.iterfind("OtherAbstract")
    }  # fmt: skip
    return Document(
        id=pmid if version == "1" else f"{pmid}.{version}", split=split, text=text, sections=tuple(sections),
        labels={"mesh": files.label("mesh", names)},
        meta={
            "title": title, "vernacular_title": _words(article.find("VernacularTitle")), "other_abstracts": others,
            "journal": _words(article.find("Journal/Title")), "date": " ".join(map(_words, article.iterfind("Journal/JournalIssue/PubDate/*"))),
            "languages": [_words(one) for one in article.iterfind("Language")],
            "publication_types": [_words(one) for one in article.iterfind("PublicationTypeList/PublicationType")],
            "ids": {str(one.get("IdType")): _words(one) for one in element.iterfind("PubmedData/ArticleIdList/ArticleId")},
        },
    )  # fmt: skip


def _words(element: etree._Element | None) -> str:
    """Return the text of an element, that of its markup within the line too ("" where there is none); its own line breaks are blanks."""
    return "" if element is None else " ".join("".join(element.itertext()).split())


@dataset("guidelines", record=Document)
def guidelines(files: Files, split: str) -> Iterator[Document]:
    """One JSON object a line; the text is clean_text, and raw_text, before cleaning, is left out."""
    for row in jsonl.rows(files["guidelines"]):
        with row:
            yield Document(
                id=str(row["id"]), split=split, text=row["clean_text"], labels={"source": files.label("source", row["source"])},
                meta={key: row.get(key) for key in ("title", "url", "overview")},
            )  # fmt: skip


@dataset("mmedc", record=Document)
def mmedc(files: Files, split: str) -> Iterator[Document]:
    """Zips of text files, a text each; a zip is of the language that it is called after."""
    for packed in files.all("texts"):
        for member, handle in archive.each(packed.path, ".txt"):
            row = Row({}, Source(packed.path, member, packed.problems), 1)
            with row:
                yield Document(
                    id=f"{packed.path.stem}/{member}",
                    split=split,
                    text=_text(handle),
                    meta={"language": packed.path.stem},
                )


def _text(handle: IO[bytes]) -> str:
    try:
        return handle.read().decode("utf-8-sig")
    except UnicodeDecodeError:
        raise BadValue("not UTF-8") from None
    except DAMAGE as error:
        raise BadValue(f"the file is damaged or cut short ({type(error).__name__})") from None


@dataset("pmc-patients", record=Document)
def pmc_patients(files: Files, split: str) -> Iterator[Record]:
    """Patients with those like them and the articles that matter to them; of the oldest layout, pairs of patients and how alike they are."""
    if files.variant in ("recds-par", "recds-ppr"):
        yield from _queries(files, split)
    elif files.variant == "recds-ppr-corpus":
        for row in jsonl.rows(files["corpus"]):
            with row:
                yield Document(id=row["_id"], split=split, text=row["text"], patient=row["_id"])
    elif files.variant == "drive":
        yield from _pairs(files, split)
    else:
        rows = delimited.rows(files["patients"], ",") if files.variant == "v1" else jsonl.items(files["patients"])
        for row in rows:
            with row:
                yield _patient(files, row, split)


def _patient(files: Files, row: Row, split: str) -> Document:
    """Return a patient; in the CSV, age is a list and the two relations are mappings, each written as text."""
    related = {key: {str(one): int(score) for one, score in _held(row[key], dict).items()} for key in ("relevant_articles", "similar_patients")}  # fmt: skip
    ages = [(float(value), str(unit)) for value, unit in _held(row["age"], list)]
    return Document(
        id=row["patient_uid"], split=split, patient=row["patient_uid"], text=row["patient"], labels={"gender": files.label("gender", row["gender"])},
        meta={**{key: row[key] for key in ("patient_id", "PMID", "file_path", "title")}, "age": ages, **related},
    )  # fmt: skip


def _held(value: Any, kind: type) -> Any:
    """Return a list or mapping, also one that a cell holds as Python writes it. Raises ``BadValue``: it is none."""
    if isinstance(value, str):
        try:
            value = ast.literal_eval(value)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            raise BadValue("a cell holds neither a list nor a mapping written as text") from None
    if not isinstance(value, kind):
        raise BadValue(f"a {kind.__name__} was expected, not a {type(value).__name__}")
    return value


def _queries(files: Files, split: str) -> Iterator[Document]:
    """The retrieval benchmark's queries, with the ids that are right for each; the texts to search are another variant, or PubMed."""
    right: dict[str, dict[str, int]] = defaultdict(dict)
    for row in delimited.rows(files["judgements"], "\t", names=("query", "found", "score")):
        with row:
            if row.number == 1 and not row["score"].isdigit():
                continue  # BEIR's readers pass over a first line of names
            right[row["query"]][row["found"]] = int(row["score"])
    for row in jsonl.rows(files["queries"]):
        with row:
            yield Document(
                id=row["_id"],
                split=split,
                patient=row["_id"],
                text=row["text"],
                meta={"relevant": right.get(row["_id"], {})},
            )


def _pairs(files: Files, split: str) -> Iterator[Pair]:
    texts: dict[str, str] = {}
    for source in files.all("patients"):
        for row in jsonl.items(source):
            with row:
                texts[row["patient_uid"]] = row["patient"]
    for row, pair in jsonl.values(files["pairs"]):
        with row:
            one, other, score = pair
            if one not in texts or other not in texts:
                raise BadValue("a pair names a patient that is in no file of patients")
            yield Pair(
                id=f"{one}/{other}", split=split, patient=one, a=texts[one], b=texts[other], labels={"similarity": files.label("similarity", score)},
                meta={"patients": (one, other)},
            )  # fmt: skip
