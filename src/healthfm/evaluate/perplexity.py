"""How likely whole texts are to a causal language model: every token given those before it, in windows that do not overlap."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from healthfm.errors import CapabilityError, RunError
from healthfm.evaluate import protocols
from healthfm.evaluate.job import Ask, Job, cut_parts, need_split, rows_of, sample_columns, subgroup_columns
from healthfm.models.model import Float32, Model
from healthfm.records import QA, Record
from healthfm.score.scripts import spaced

WINDOW = 2048  # tokens of a window at most: a row of logits over the vocabulary is kept for each of them


@dataclass(frozen=True, kw_only=True)
class WholeTexts(Job):
    """Texts whose every token is asked."""

    texts: Sequence[str]

    def compute(self, tool: Model, rows: range) -> pa.Table:
        part = self.texts[rows.start : rows.stop]
        found = [log_likelihood(tool, text) for text in part]
        return pa.table({
            **sample_columns(self.records[rows.start : rows.stop]),
            "log_likelihood": pa.array([value for value, _ in found], pa.float64()),
            "tokens": pa.array([tokens for _, tokens in found], pa.int64()),
            "words": pa.array([words_of(text) for text in part], pa.int64()),
            "bytes": pa.array([len(text.encode()) for text in part], pa.int64()),
            **rows_of(self.columns, rows),
        })  # fmt: skip


def prepare(ask: Ask) -> Job:
    """Return the job of summing the log-likelihood of each record's whole text."""
    assert ask.task is not None
    split = need_split(ask.opened, ask.split)
    every = list(split)
    records = [every[i] for i in protocols.sample(len(every), ask.request.limit, ask.request.seed)]
    texts = [whole_text(record) for record in records]
    empty = [record.id for record, text in zip(records, texts, strict=True) if not text.strip()]
    if empty:
        raise RunError(f"{len(empty)} records have no text: {', '.join(empty[:5])}")
    return WholeTexts(
        task=ask.task, name=f"{ask.opened.name}#{ask.task}", records=records, total=len(every), texts=texts,
        columns=subgroup_columns(records, ask.request.subgroups), parts=cut_parts([len(text) for text in texts]),
        content=[[record.id, text] for record, text in zip(records, texts, strict=True)],
        facts={
            "windows": f"of the model's longest input, at most {WINDOW} tokens; each but the first begins with the last token of the one before",
            "notices": list(split.notices),
        },
    )  # fmt: skip


def words_of(text: str) -> int:
    """Return how many words a text has, as lm-evaluation-harness counts them."""
    return len(re.split(r"\s+", spaced(text)))


def whole_text(record: Record) -> str:
    """Return a record's text; a question's with its accepted answers."""
    answers = record.answers if isinstance(record, QA) else ()
    return "\n".join((record.as_text, *answers))


def log_likelihood(model: Model, text: str) -> tuple[float, int]:
    """Return the summed log-likelihood of a text's tokens (natural log), and how many they are.

    The rule is lm-evaluation-harness's ``loglikelihood_rolling``: no special token but one before the text, the tokenizer's
    first (its end token where it has none); windows hold as many tokens as the model takes (here at most ``WINDOW``), and
    what a window predicts is given the token before it.
    """
    tokenizer = getattr(model, "tokenizer", None)
    if tokenizer is None:
        raise CapabilityError(f"{model.name}: the perplexity of a text needs the model's tokenizer here")
    ids = list(tokenizer.encode(text, add_special_tokens=False, verbose=False))
    before = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
    if before is None:
        raise CapabilityError(
            f"{model.name}: its tokenizer has neither a start nor an end token, which the first token of a text is given"
        )
    longest = min(WINDOW, int(getattr(model, "max_length", WINDOW)))
    total = sum(_sum(model.logits([given])[0], asked) for given, asked in windows(ids, before, longest))
    return float(total), len(ids)


def windows(ids: Sequence[int], before: int, longest: int) -> Iterator[tuple[list[int], list[int]]]:
    """Yield (tokens given, tokens asked): each is asked once, and given are at most ``longest``, up to the one before the last asked.

    So a token in the middle of a text may be given one token only; the last window reaches back as far as it may.
    """
    line = [before, *ids]  # the token at i is given those before it: it is asked at i + 1
    for start in range(0, len(ids), longest):
        end = min(start + longest, len(ids))
        yield line[max(0, end - longest) : end], list(ids[start:end])


def _sum(logits: Float32, asked: Sequence[int]) -> np.float64:
    """Return the summed log-probability of the asked tokens from the logits at the last as many positions."""
    wide = np.asarray(logits[-len(asked) :], dtype=np.float64)
    top = wide.max(axis=1, keepdims=True)
    chosen = wide[np.arange(len(asked)), list(asked)]
    found = np.float64((chosen - (np.log(np.exp(wide - top).sum(axis=1)) + top[:, 0])).sum())
    if not np.isfinite(found):
        raise RunError("the model returned NaN or infinite logits")
    return found
