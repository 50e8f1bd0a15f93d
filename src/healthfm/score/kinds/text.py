"""A written answer a row: ``target`` holds the accepted ones, ``output`` or ``prediction`` what was written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa

from healthfm.errors import RunError
from healthfm.score.kinds import found as things
from healthfm.score.kinds import kind
from healthfm.score.kinds.kind import Read
from healthfm.score.metrics import text, wording
from healthfm.score.metrics.arrays import Bools, Floats, ratio
from healthfm.score.scripts import spaceless
from healthfm.score.statistics.statistic import Counts, Statistic, Values, of_counts, of_mean
from healthfm.spelling import counted

OVERLAP = "exact match, token F1, BLEU and ROUGE measure shared words; none of them measures clinical correctness"
WORDING = (
    "what counts in an answer: exact match and token F1 compare clinical tokens: signs, decimal points, per cent, comparisons, ranges and the "
    "letter a count (1.5 is not 15, A+ is not A-, hepatitis A is not hepatitis); case, punctuation of any script, width, 'the' and 'an' do not"
)
SQUAD = "exact-match-squad and token-f1-squad follow SQuAD's script, blind to signs, decimal points and 'a': for comparison with published numbers only"
LETTERS = (
    "letters of scripts without blanks (Chinese, Japanese, Thai, Lao, Burmese, Khmer) are a word each in {} of the rows; BLEU takes sacrebleu's zh "
    "tokens there, 13a elsewhere; SQuAD's rule knows blanks alone and says nothing of these rows"
)
ENTITIES = (
    "entity_f1: the entities whose names stand in the answer, against those whose names stand in the accepted one, all rows together; as MedDG's own code, without its "
    "patterns for place, cause, nature and duration"
)
CLOSED = {"yes", "no"}
CLOSED_RULE = "a closed one is answered rightly where of yes and no its answer holds the right word alone; token recall is the share of the accepted words that were written"
SHORT = "BLEU counts runs of four words and no accepted answer has four: it is not given"


def check(table: pa.Table) -> pa.Table:
    """Return the table with lists of accepted answers and a text ``prediction`` (the output where nothing was parsed)."""
    kind.need(table, "id", "target")
    written = [name for name in ("prediction", "output") if name in table.column_names]
    if not written:
        raise RunError(f"the table lacks a column output or prediction (it has {', '.join(table.column_names)})")
    ids = kind.check_ids(table)
    targets = kind.lists(table, ids, "target", once=True)
    kind.refuse("have no accepted answer", [i for i, one in zip(ids, targets, strict=True) if not one])
    columns = [kind.texts(table, name) for name in written]
    table = kind.put(kind.put(table, "id", ids, pa.string()), "target", targets, pa.list_(pa.string()))
    table = kind.put(
        table,
        "prediction",
        [next((v for v in row if v is not None and v.strip()), None) for row in zip(*columns, strict=True)],
        pa.string(),
    )
    if "judge" in table.column_names:
        scores = kind.numbers(table, ids, "judge", missing=True)
        kind.refuse(
            "have a judge's score outside 0 to 1",
            [i for i, one in zip(ids, scores, strict=True) if not (np.isnan(one) or 0 <= one <= 1)],
        )
        table = kind.put(table, "judge", [None if np.isnan(one) else one for one in scores.tolist()], pa.float64())
    return table


def read(table: pa.Table, task: str, classes: Sequence[str] | None, uncertain: str) -> Read:
    """Return overlap metrics, and the judge's mean where there is one; a missing answer scores 0."""
    accepted, given = table["target"].to_pylist(), table["prediction"].to_pylist()
    answered = np.array([one is not None for one in given])
    texts = [one or "" for one in given]
    pairs = list(zip(texts, accepted, strict=True))
    metrics = (text.exact_match, text.token_f1, text.exact_match_squad, text.token_f1_squad)
    found = [of_mean(one.__name__, answered * [one(*pair) for pair in pairs]) for one in metrics]
    rules = [WORDING, SQUAD, OVERLAP]
    without = sum(any(map(spaceless, (written, *answers))) for written, answers in pairs)
    if without:
        rules.append(LETTERS.format(f"{without} of {len(pairs)}" if without < len(pairs) else "all"))
    bare = sum(not any(map(wording.clinical, answers)) for answers in accepted)
    if bare:
        rules.append(
            f"{counted(bare, 'row accepts', 'rows accept')} nothing but punctuation or articles: no answer matches {'it' if bare == 1 else 'them'}"
        )
    missing = int((~answered).sum())
    if missing:
        rules.append("a missing answer scores 0")
    try:
        sums = text.bleu_counts(texts, accepted)
        if any(len(one.split()) >= text.ORDER for answers in accepted for one in text.bleu_words(answers)):
            found.append(
                of_counts("bleu", len(texts), lambda counts: text.bleu(np.asarray(counts @ sums.astype(np.float64))))
            )
        else:
            rules.append(SHORT)
        found += [of_mean(name, answered * values) for name, values in text.rouge(texts, accepted).items()]
    except ImportError:
        rules.append("BLEU and ROUGE need sacrebleu and rouge-score: pip install 'healthfm[text]'")
    found += _apart(pairs, answered, rules)
    if {"entities", "entities_found"} <= set(table.column_names):
        found += _entities(table)
        rules.append(ENTITIES)
    headline = "token_f1"
    if "judge" in table.column_names:
        found.append(
            _judged(np.array([np.nan if v is None else v for v in table["judge"].to_pylist()], np.float64), rules)
        )
        headline = "judge"
    statistics, lost = kind.defined(found)
    return Read(statistics, headline if headline in statistics else "token_f1", rules + lost, {"unanswered": missing})


def _apart(pairs: Sequence[tuple[str, Sequence[str]]], answered: Bools, rules: list[str]) -> list[Statistic]:
    """Return what is right of the closed questions and of the open ones, where there are both."""
    wanted = [{word for one in accepted for word in wording.clinical(one)} & CLOSED for _, accepted in pairs]
    closed = np.array([
        len(word) == 1 and all(list(wording.clinical(one)) == list(word) for one in accepted)
        for word, (_, accepted) in zip(wanted, pairs, strict=True)
    ])  # fmt: skip
    if closed.all() or not closed.any():
        return []
    rules.append(
        f"closed questions are the {int(closed.sum())} that accept yes or no alone, the other {int((~closed).sum())} are open; "
        + CLOSED_RULE
    )
    right = (
        np.array([set(wording.clinical(text)) & CLOSED == word for word, (text, _) in zip(wanted, pairs, strict=True)])
        & answered
    )
    found = [_mean_among("closed_accuracy", right.astype(float), closed)]
    for name, metric in (
        ("open_exact_match", text.exact_match),
        ("open_token_f1", text.token_f1),
        ("open_token_recall", text.token_recall),
    ):
        values = np.array([0.0 if one else metric(*pair) for one, pair in zip(closed, pairs, strict=True)])
        found.append(_mean_among(name, values * answered, ~closed))
    return found


def _mean_among(name: str, values: Floats, rows: Bools) -> Statistic:
    kept = values * rows
    made = of_counts(name, len(rows), lambda counts: ratio(counts @ kept, counts @ rows.astype(np.float64)), among=rows)
    return replace(made, hits=values == 1) if np.isin(values[rows], (0, 1)).all() else made


def _entities(table: pa.Table) -> list[Statistic]:
    """Return precision, recall and F1 of the entities that answers name, all rows together (MedDG's metric)."""
    wanted, named = (
        [{("entity", one) for one in row or ()} for row in table[name].to_pylist()]
        for name in ("entities", "entities_found")
    )
    f1, precise, recalled, _ = things.statistics(things.tallied(wanted, named, ["entity"])[0], ["entity"], "entity_")
    return [replace(one, name=one.name.replace("micro_", "")) for one in (f1, precise, recalled)]


def _judged(scores: Floats, rules: list[str]) -> Statistic:
    known = ~np.isnan(scores)
    if not known.all():
        rules.append(f"{counted(int((~known).sum()), 'row has', 'rows have')} no judge's score: left out of its mean")
    values = np.nan_to_num(scores)

    def at(counts: Counts) -> Values:
        n = counts @ known.astype(np.float64)
        return ratio(counts @ values, n)

    found = of_counts("judge", len(scores), at, among=None if known.all() else known)
    return (
        replace(found, hits=values == 1) if np.isin(scores[known], (0, 1)).all() else found
    )  # verdicts are a proportion
