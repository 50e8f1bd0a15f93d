"""CBLUE: eighteen Chinese sets, each in a layout of its own; places are characters, some ends lie on the last one, some behind it.

What a test part withholds is MISSING, never nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from healthfm.datasets.locate import Files
from healthfm.datasets.reader import Reader, borrowed, dataset
from healthfm.datasets.readers.consultations import role_of
from healthfm.errors import BadValue, DatasetError
from healthfm.formats import jsonl
from healthfm.formats.source import Source, lines
from healthfm.records import MISSING, QA, Conversation, Document, Label, Message, Pair, Record, Relation, Span

PAIRS = {"chip-sts": ("text1", "text2"), "kuake-qtr": ("query", "title"), "kuake-qqr": ("query1", "query2")}
MENTION = "mention"


@dataset("cblue", record=Document)
def cblue(files: Files, split: str) -> Iterator[Record]:
    """Each variant is a set, read by the generator of its layout."""
    reader = PARTS.get(files.variant or "")
    if reader is None:
        raise DatasetError(f"{files.card.slug}:{files.variant}: this part is not read yet (read: {', '.join(PARTS)})")
    return reader(files, split)


def _held(row: Mapping[str, Any], key: str, split: str) -> Any:
    """Return what is annotated, None where it is withheld: the test part leaves it out or empty. Elsewhere it must be there."""
    return row[key] if split != "test" else row.get(key) or None


def _withheld(name: str, held: Any) -> dict[str, Label]:
    return {name: MISSING} if held is None else {}


def entities(files: Files, split: str) -> Iterator[Document]:
    """CMeEE: ``end_idx`` is the place of the last character; entities may lie within others. Version 2 has it behind the last one too."""
    for row in jsonl.items(files["texts"]):
        with row:
            found = _held(row, "entities", split)
            yield Document(
                id=f"{split}-{row.number}", split=split, text=row["text"], labels=_withheld("entities", found),
                spans=tuple(_entity(files, one, row["text"]) for one in found or ()),
            )  # fmt: skip


def _entity(files: Files, one: Mapping[str, Any], text: str) -> Span:
    start, end, said = one["start_idx"], one["end_idx"] + 1, one.get("entity")
    if files.variant == "cmeee-v2" and said is not None and len(said) == end - start - 1:
        end -= 1
    return Span(start, _checked(text, start, end, said), files.one("entity", one["type"]))


def _checked(text: str, start: int, end: int, said: str | None) -> int:
    """Return the end of a mention. Raises ``BadValue``: the text at its place is not the one that it says."""
    if said is not None and text[start:end] != said:
        raise BadValue("the text at the place of a mention is not the one it says")
    return end


def triples(files: Files, split: str) -> Iterator[Document]:
    """CMeIE: lines of JSON in a file called .json or .jsonl; a relation names its two ends, of which each has a type."""
    for row in jsonl.objects(files["texts"]):
        with row:
            found = _held(row, "spo_list", split)
            named = [
                (Relation(files.one("predicate", one["predicate"]), one["subject"], name), (one["subject_type"], one["object_type"][key]))
                for one in found or () for key, name in one["object"].items()
            ]  # fmt: skip
            yield Document(
                id=f"{split}-{row.number}", split=split, text=row["text"], relations=tuple(one for one, _ in named),
                labels=_withheld("relations", found), meta={"types": [types for _, types in named]},
            )  # fmt: skip


def terms(files: Files, split: str) -> Iterator[Document]:
    """CHIP-CDN: a diagnosis as it was written, and the standard terms that it means, joined by "##"; where one has a comma, all are in quotes."""
    for row in jsonl.items(files["texts"]):
        with row:
            found = _held(row, "normalized_result", split)
            named = (
                MISSING if found is None else files.label("terms", [one for one in found.strip('"').split("##") if one])
            )
            yield Document(id=f"{split}-{row.number}", split=split, text=row["text"], labels={"terms": named})


def classes(files: Files, split: str) -> Iterator[Document]:
    """CHIP-CTC and KUAKE-QIC: a text or query with one class."""
    key = "text" if files.variant == "chip-ctc" else "query"
    for row in jsonl.items(files["texts"]):
        with row:
            yield Document(
                id=str(row["id"]), split=split, text=row[key],
                labels={"label": files.label("label", _held(row, "label", split))},
            )  # fmt: skip


def pairs(files: Files, split: str) -> Iterator[Pair]:
    """CHIP-STS, KUAKE-QTR and KUAKE-QQR: two texts and how alike they are, or how well the second answers the first."""
    one, other = PAIRS[files.variant or ""]
    for row in jsonl.items(files["texts"]):
        with row:
            yield Pair(
                id=str(row["id"]), split=split, a=row[one], b=row[other],
                labels={"label": files.label("label", _held(row, "label", split))},
                meta={key: row[key] for key in ("category",) if key in row},
            )  # fmt: skip


def events(files: Files, split: str) -> Iterator[Document]:
    """CHIP-CDEE: clinical findings with tendency, descriptions and places, all as words that the text need not hold in these letters."""
    for row in jsonl.items(files["texts"]):
        with row:
            found = _held(row, "event", split)
            held = [
                {
                    "core_name": one["core_name"] or "", "tendency": files.label("tendency", one["tendency"]),
                    **{key: [str(each) for each in one[key]] for key in ("character", "anatomy_list")},
                }
                for one in found or ()
            ]  # fmt: skip
            yield Document(
                id=str(row.get("id", f"{split}-{row.number}")), split=split, text=row["text"], labels=_withheld("events", found),
                meta={"events": [{**one, "tendency": None if one["tendency"] is MISSING else one["tendency"]} for one in held]},
            )  # fmt: skip


def findings(files: Files, split: str) -> Iterator[Conversation]:
    """CHIP-MDCFNPC: lines of JSON, a dialogue each; ``range`` ends behind the last character, ``attr`` is whether the finding is there."""
    for row in jsonl.objects(files["dialogues"]):
        with row:
            yield Conversation(
                id=str(row["dialog_id"]), split=split, turns=tuple(_finding_turn(files, one, split) for one in row["dialog_info"]),
                meta={"sentences": [str(one["sentence_id"]) for one in row["dialog_info"]]},
            )  # fmt: skip


def _finding_turn(files: Files, turn: Mapping[str, Any], split: str) -> Message:
    spans = []
    for one in turn["ner"]:
        start, end = one["range"]
        attr = files.answer("attr", _held(one, "attr", split))
        concepts = () if one.get("name") in (None, "", "undefined") else (one["name"],)
        spans.append(
            Span(start, _checked(turn["text"], start, end, one["mention"]), "clinical finding", concepts, status=attr)
        )
    return Message(role_of(turn["sender"]), turn["text"], {}, tuple(spans))


def causes(files: Files, split: str) -> Iterator[Document]:
    """CMedCausal: ``end_idx`` lies behind the last character; a condition is a relation to a relation, kept as two numbers in meta."""
    for row in jsonl.items(files["texts"]):
        with row:
            found = _held(row, "relation_of_mention", split)
            spans: list[Span] = []
            relations: list[Relation] = []
            conditions: list[tuple[int, int]] = []
            for one in found or ():
                kind, tail = files.one("relation", one["relation"]), one["tail"]
                head = _number(spans, _mention(one["head"], row["text"]))
                if kind != "condition":
                    _number(relations, Relation(kind, head, _number(spans, _mention(tail, row["text"]))))
                    continue
                ends = [_number(spans, _mention(tail[end], row["text"])) for end in ("head", "tail")]
                conditions.append((head, _number(relations, Relation(files.one("relation", tail["relation"]), *ends))))
            yield Document(
                id=f"{split}-{row.number}", split=split, text=row["text"], spans=tuple(spans), relations=tuple(relations),
                labels=_withheld("relations", found), meta={"conditions": conditions},
            )  # fmt: skip


def _mention(one: Mapping[str, Any], text: str) -> Span:
    return Span(one["start_idx"], _checked(text, one["start_idx"], one["end_idx"], one["mention"]), MENTION)


def _number(held: list[Any], one: Any) -> int:
    """Return the number of a thing among those held, behind them where it is new."""
    if one not in held:
        held.append(one)
    return held.index(one)


def trees(files: Files, split: str) -> Iterator[Document]:
    """Text2DT: a decision tree in pre-order: conditions (C), each with two nodes below it, and decisions (D); each holds triples."""
    for row in jsonl.items(files["texts"]):
        with row:
            tree = _held(row, "tree", split)
            nodes = [
                (files.one("role", one["role"]), files.one("logical_rel", one["logical_rel"]), one["triples"])
                for one in tree or ()
            ]
            if tree is not None and not _is_tree([role for role, _, _ in nodes]):
                raise BadValue("the nodes make no tree in which each condition has two below it")
            yield Document(
                id=f"{split}-{row.number}", split=split, text=row["text"], labels=_withheld("tree", tree),
                relations=tuple(Relation(files.one("predicate", rel), head, tail) for _, _, held in nodes for head, rel, tail in held),
                meta={"tree": [{"role": role, "logical_rel": rel, "triples": len(held)} for role, rel, held in nodes]},
            )  # fmt: skip


def _is_tree(roles: Sequence[str]) -> bool:
    """Whether nodes in pre-order make one tree in which a condition has two nodes below it and a decision none."""
    open_places = 1
    for role in roles:
        if not open_places:
            return False
        open_places += 1 if role == "condition" else -1
    return not open_places


def passages(files: Files, split: str) -> Iterator[QA]:
    """KUAKE-IR: tabs, no header; a query's answers are the passages that the judgements name, none in the test part."""
    texts = dict(_cells(files["corpus"]))
    right: dict[str, list[str]] = {}
    if split != "test":
        for query, passage in _cells(files["judgements"]):
            right.setdefault(query, []).append(passage)
    source = files["queries"]
    for query, text in _cells(source):
        named = right.get(query, [])
        if any(one not in texts for one in named):
            source.problems.add(DatasetError(f"{source}: a query is answered by a passage that is not in the corpus"))
            continue
        yield QA(
            id=query, split=split, question=text, answers=tuple(texts[one] for one in named), meta={"passages": named}
        )


def _cells(source: Source) -> Iterator[tuple[str, str]]:
    for number, line in lines(source):
        first, tab, second = line.rstrip("\r\n").partition("\t")
        if tab:
            yield first.strip(), second.strip()
        elif line.strip():
            source.problems.add(DatasetError(f"{source}, line {number}: no tab in it"))


PARTS: Mapping[str, Reader] = {
    "cmeee": entities, "cmeee-v2": entities, "cmeie": triples, "cmeie-v2": triples, "cmedcausal": causes,
    "chip-cdn": terms, "chip-cdee": events, "chip-ctc": classes, "kuake-qic": classes, **dict.fromkeys(PAIRS, pairs),
    "chip-mdcfnpc": findings, "kuake-ir": passages, "text2dt": trees, "meddg": borrowed("meddg", "cblue"),
    **dict.fromkeys(("imcs-v2-ner", "imcs-v2-dac", "imcs-v2-sr", "imcs-v2-mrg"), borrowed("imcs-21")),
}  # fmt: skip
