"""Reading comprehension: answers read out of a passage, in words, or as the numbers of the sentences that hold them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from healthfm.errors import RunError
from healthfm.evaluate import protocols
from healthfm.evaluate.job import Ask, Job, cut_parts, left_out, need_split, rows_of, sample_columns, subgroup_columns
from healthfm.evaluate.listed import spoken
from healthfm.evaluate.writing import Writing, written_columns
from healthfm.models.model import Model
from healthfm.records import QA, Record
from healthfm.spelling import fold

NOTHING = frozenset({"no answer", "none", "unanswerable", "not answerable", "not stated", "无答案", "无法回答"})
LINE = 'the first line that is not blank; "no answer" (or a word for it) says that there is none'
NUMBERS = 'the numbers of sentences in it, each once; "none" says that none answers; other numbers are of no sentence and left out'


@dataclass(frozen=True, kw_only=True)
class ReadAnswers(Job):
    """Questions whose answer the model writes (``sentences``: as numbers of sentences, from 1)."""

    writing: Writing
    seed: int
    sentences: Sequence[int] | None = None

    def compute(self, tool: Model, rows: range) -> pa.Table:
        part = self.records[rows.start : rows.stop]
        assert self.targets is not None
        outputs = self.writing.write(tool, rows, self.seed)
        if self.sentences is None:
            read = pa.array([answer(text) for text in outputs], pa.string())
        else:
            limits = self.sentences[rows.start : rows.stop]
            read = pa.array(
                [numbers(text, most) for text, most in zip(outputs, limits, strict=True)], pa.list_(pa.string())
            )
        target = pa.array([list(one) for one in self.targets[rows.start : rows.stop]], pa.list_(pa.string()))
        return pa.table({
            **sample_columns(part), "target": target, **written_columns(outputs), "prediction": read, **rows_of(self.columns, rows),
        })  # fmt: skip


def answer(text: str) -> str | None:
    """Return the answer in a written text, "" where it says that there is none, None where nothing is written."""
    line = next((one.strip() for one in spoken(text).splitlines() if one.strip()), None)
    return "" if line is not None and fold(line.strip(" .。!\"'")) in NOTHING else line


def numbers(text: str, most: int) -> list[str] | None:
    """Return the numbers from 1 to ``most`` in a written text, [] where it says that there is none, None where it says neither."""
    said = [
        str(int(one)) for one in re.findall(r"(?<![\w.])\d{1,6}(?!\.\d|[\w%])", spoken(text)) if 1 <= int(one) <= most
    ]
    if said:
        return list(dict.fromkeys(said))
    return [] if answer(text) == "" else None


def words(ask: Ask) -> Job:
    """Return the job of having the model answer a split's questions in the words of their passages.

    A question without an answer is asked where its owner says that there is none (``meta["impossible"]``), and left out where it is withheld, as one
    without a passage is.
    """

    def of(record: QA) -> list[str] | None:
        known = record.answers or record.meta.get("impossible") is True
        return list(record.answers) if record.context and known else None

    return _prepared(ask, of, LINE)


def sentences(ask: Ask) -> Job:
    """Return the job of having the model name the sentences of a passage that answer a question, by their numbers from 1."""

    def of(record: QA) -> list[str] | None:
        if not record.meta.get("sentences") or not isinstance(record.meta["sentences"], list | tuple):
            return None
        return [str(int(one) + 1) for one in record.meta.get("answer_sentences", ())]

    return _prepared(ask, of, NUMBERS, numbered=True)


def _prepared(ask: Ask, target_of: Any, reading: str, numbered: bool = False) -> Job:
    name, protocol = protocols.choose_protocol(ask.opened.card, ask.protocol, ask.task)
    request = ask.request
    if request.shots or protocol.shots:
        raise RunError(f"{protocol.task} is asked without solved examples")
    split = need_split(ask.opened, ask.split)
    every = [record for record in split if isinstance(record, QA)]
    found = [(record, target) for record in every if (target := target_of(record)) is not None]
    if not any(target for _, target in found):
        what = "a passage cut into sentences, and those that answer" if numbered else "a passage and an accepted answer"
        raise RunError(f"{ask.opened.name}: no question of split '{ask.split}' has {what}; use another split or task")
    chosen = [found[i] for i in protocols.sample(len(found), request.limit, request.seed)]
    records: list[Record] = [record for record, _ in chosen]
    prompts = [
        protocols.render(one, protocol, **({"sentences": one.meta["sentences"]} if numbered else {})) for one in records
    ]
    writing = Writing.by_protocol(protocol, prompts)
    kept = {record.id for record, _ in found}
    lost = left_out(
        [record for record in every if record.id not in kept],
        "question has no passage or no accepted answer",
        "questions have no passage or no accepted answer",
    )
    targets = [target for _, target in chosen]
    return ReadAnswers(
        task=protocol.task, name=f"{ask.opened.name}@{name}", records=records, total=len(found), writing=writing, seed=request.seed, targets=targets,
        sentences=[len(record.meta["sentences"]) for record in records] if numbered else None, columns=subgroup_columns(records, request.subgroups),
        parts=cut_parts([len(text) + writing.characters for text in writing.prompts]),
        content=[[record.id, text, target] for record, text, target in zip(records, writing.prompts, targets, strict=True)],
        asked={**writing.asked, "reading": reading},
        facts={"protocol": protocol.model_dump(), **writing.facts, "notices": [*split.notices, *lost]},
    )  # fmt: skip
