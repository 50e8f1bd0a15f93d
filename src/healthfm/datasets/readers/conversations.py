"""Dialogues of several turns: who speaks is "user" (the patient) or "assistant" (the doctor), whatever the owner calls them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from healthfm.datasets.locate import Files
from healthfm.datasets.reader import dataset
from healthfm.errors import BadValue
from healthfm.formats import jsonl
from healthfm.formats.source import Row, lines
from healthfm.records import MISSING, Conversation, Document, Message, Record

HUATUO = {"问": "user", "答": "assistant"}  # each before a colon, full-width or half-width
QILIN = {"input": "user", "output": "assistant"}  # the roles that Qilin-Med's own training script knows


def _pairs(pairs: Any) -> Iterator[Message]:
    """Yield the turns of a list of [question, answer]."""
    for pair in pairs:
        if not isinstance(pair, list) or len(pair) != 2:
            raise BadValue("'history' has an entry that is not a question with its answer")
        yield from _exchange(*pair)


def _exchange(asked: Any, answered: Any) -> tuple[Message, Message]:
    return Message("user", asked), Message("assistant", answered)


@dataset("cmtmedqa", record=Conversation)
def cmtmedqa(files: Files, split: str) -> Iterator[Conversation]:
    """A row is the last exchange, with those before it in history; 144 rows of the test file are one exchange under other keys."""
    for row in jsonl.items(files["dialogues"]):
        with row:
            if "instruct" in row:
                yield Conversation(
                    id=f"{split}-{row.number}", split=split, turns=_exchange(row["instruct"], row["output"]),
                    labels={"department": MISSING}, meta={"part": "single questions"},
                )  # fmt: skip
                continue
            last = f"{row['instruction']}\n{row['input']}" if row["input"] else row["instruction"]
            yield Conversation(
                id=f"{split}-{row.number}", split=split, turns=(*_pairs(row["history"] or []), *_exchange(last, row["output"])),
                labels={"department": files.label("department", row["cate1"])},
                meta={"part": "dialogues", "id": row["id"], "cate2": row["cate2"]},
            )  # fmt: skip


@dataset("hybrid-sft", record=Conversation)
def hybrid_sft(files: Files, split: str) -> Iterator[Conversation]:
    """data is a list of texts; the first two characters of each say who speaks. A last question without an answer stays."""
    for row in jsonl.rows(files["conversations"]):
        with row:
            yield Conversation(
                id=f"{split}-{row.number}", split=split, turns=tuple(_prefixed(one) for one in row["data"])
            )


def _prefixed(said: str) -> Message:
    if said[:1] not in HUATUO or said[1:2] not in ("：", ":"):
        raise BadValue("a turn of 'data' begins with neither 问 nor 答 and a colon")
    return Message(HUATUO[said[0]], said[2:])


@dataset("chimed", record=Conversation)
def chimed(files: Files, split: str) -> Iterator[Record]:
    """The fine-tuning part as turns; the preferences as one exchange, the answer that lost beside it; a text a line to pre-train on."""
    if files.variant == "cpt":
        for number, line in lines(files["text"]):
            if line.strip():
                yield Document(id=f"{split}-{number}", split=split, text=line.rstrip("\r\n"))
        return
    if files.variant == "sft":
        for row in jsonl.rows(files["turns"]):
            with row:
                yield Conversation(
                    id=f"{split}-{row.number}", split=split, turns=tuple(_named(one) for one in row["conversations"])
                )
        return
    for row in jsonl.objects(files["preferences"]):
        with row:
            yield _preference(row, split)


def _named(turn: Mapping[str, Any]) -> Message:
    if turn["from"] not in QILIN:
        raise BadValue("a turn of 'conversations' is from neither input nor output")
    return Message(QILIN[turn["from"]], turn["value"])


def _preference(row: Row, split: str) -> Conversation:
    if not isinstance(row["response_rejected"], str):
        raise BadValue("'response_rejected' is not text")
    return Conversation(
        id=f"{split}-{row.number}", split=split, turns=_exchange(row["question"], row["response_chosen"]),
        meta={"rejected": row["response_rejected"]},
    )  # fmt: skip
