"""BioC: collections of documents in passages, with annotations and relations, in XML and in JSON.

Specification: BioC.dtd (Comeau and others, Database 2013, bat064; http://bioc.sourceforge.net) and NCBI's JSON of the same names. Offsets
count characters of the document, whose passages may lie apart: what is between them is blanks here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lxml import etree

from healthfm.errors import BadValue
from healthfm.formats import jsonl, xml
from healthfm.formats.source import Row, Source

Infons = Mapping[str, str]
SINGLE = {"id", "offset", "text"}
MANY = {"passage": "passages", "sentence": "sentences", "annotation": "annotations", "relation": "relations"}
PLACES = {"location": "locations", "node": "nodes"}
GAP = 1 << 20  # up to how many blanks two passages lie apart


@dataclass(frozen=True, slots=True)
class Annotation:
    """A mention: its id, what is said of it, the text it says, and where: (start, end) of each of its pieces."""

    id: str
    infons: Infons
    text: str
    places: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Link:
    """A relation: its id, what is said of it, and its nodes: (id of an annotation or relation, role)."""

    id: str
    infons: Infons
    nodes: tuple[tuple[str, str], ...]


def documents(source: Source) -> Iterator[Row]:
    """Yield one ``Row`` a document: id, infons, text, passages (start, end, infons), annotations and relations; by its name XML or JSON.

    A document whose passages overlap is a problem of its row.
    """
    if source.name.lower().endswith(".json"):
        held = jsonl.load(source)
        listed = held.get("documents") if isinstance(held, dict) else None
        for number, one in enumerate(listed if isinstance(listed, list) else [held], 1):
            row = Row({}, source, number)
            with row:
                row.update(_document(one))
                yield row
        return
    for row, element in xml.elements(source, "document"):
        with row:
            row.update(_document({"passages": (), **_as_json(element)}))
            yield row


def _document(one: Mapping[str, Any]) -> dict[str, Any]:
    text = ""
    passages: list[tuple[int, int, Infons]] = []
    annotations: list[Mapping[str, Any]] = []
    relations = list(one.get("relations") or ())
    for passage in one["passages"]:
        parts = [passage] if passage.get("text") is not None else passage.get("sentences") or ()
        start = int(passage["offset"])
        for part in parts:
            at = int(part["offset"])
            if at < len(text):
                raise BadValue("a passage begins before the one above it ends")
            if at - len(text) > GAP:
                raise BadValue("a passage lies far behind the one above it")
            text = text + " " * (at - len(text)) + str(part.get("text") or "")
        passages.append((start, len(text), _infons(passage)))
        for held in (passage, *(passage.get("sentences") or ())):
            annotations += held.get("annotations") or ()
            relations += held.get("relations") or ()
    return {
        "id": str(one["id"]), "infons": _infons(one), "text": text, "passages": passages,
        "annotations": [_annotation(each) for each in annotations],
        "relations": [
            Link(str(each.get("id", "")), _infons(each), tuple((str(node["refid"]), str(node.get("role", ""))) for node in each.get("nodes") or ()))
            for each in relations
        ],
    }  # fmt: skip


def _annotation(one: Mapping[str, Any]) -> Annotation:
    places = []
    for each in one.get("locations") or ():
        start = int(each["offset"])
        places.append((start, start + int(each["length"])))
    return Annotation(str(one.get("id", "")), _infons(one), str(one.get("text") or ""), tuple(sorted(places)))


def _infons(one: Mapping[str, Any]) -> dict[str, str]:
    found = one.get("infons") or {}
    return {str(key): "" if value is None else str(value) for key, value in found.items()} if found else {}


def spoken(text: str, places: Sequence[tuple[int, int]]) -> str:
    """Return what stands at places of a text, its pieces joined by single blanks, as BioC's corpora write a mention in pieces."""
    return " ".join([text[start:end] for start, end in places])


def _as_json(element: etree._Element) -> dict[str, Any]:
    """Return an element of BioC's XML under the names that its JSON has."""
    found: dict[str, Any] = dict(element.items())
    infons = found["infons"] = {}
    for child in element:
        tag = child.tag
        if tag == "infon":
            infons[str(child.get("key"))] = (child.text or "").strip()
        elif tag in SINGLE:
            found.setdefault(tag, child.text or "")
        elif tag in MANY:
            found.setdefault(MANY[tag], []).append(_as_json(child))
        elif tag in PLACES:
            found.setdefault(PLACES[tag], []).append(dict(child.items()))
    return found
