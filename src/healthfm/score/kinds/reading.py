"""An answer read out of a passage a row: ``target`` holds the accepted ones, none where there is no answer; ``prediction`` "" says that there is none."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from healthfm.score.kinds import kind
from healthfm.score.kinds.kind import Read
from healthfm.score.metrics import text, wording
from healthfm.score.metrics.arrays import ratio
from healthfm.score.statistics.statistic import Bools, Counts, Floats, Statistic, Values, of_counts, of_mean

SQUAD = (
    "exact-match-squad and token-f1-squad are those of SQuAD's script, version 2 (also MASH-QA's and, without its optional lemmatiser, CliCR's): blind to case, "
    "ASCII punctuation, articles, and with them to signs and decimal points"
)
CLINICAL = "exact match and token F1 compare clinical tokens, to which 1.5 is not 15"
NO_ANSWER = "where no answer is accepted, an empty one is right and any other wrong; the metrics of both sorts of question stand beside"
ARTICLES = "an accepted answer of which SQuAD's rule leaves nothing is none; a question without another has no answer"


def check(table: pa.Table) -> pa.Table:
    """Return the table with lists of accepted answers and a text ``prediction`` (null: no answer was read; "": there is none)."""
    kind.need(table, "id", "target", "prediction")
    ids = kind.check_ids(table)
    table = kind.put(table, "id", ids, pa.string())
    table = kind.put(table, "target", kind.lists(table, ids, "target", once=True), pa.list_(pa.string()))
    return kind.put(table, "prediction", kind.texts(table, "prediction"), pa.string())


def read(table: pa.Table, task: str, classes: Sequence[str] | None, uncertain: str) -> Read:
    """Return exact match and token F1, by SQuAD's script and by clinical tokens, of all questions and of those with and without an answer."""
    given = table["prediction"].to_pylist()
    accepted = [[one for one in row if wording.squad(one)] for row in table["target"].to_pylist()]
    has = np.array([bool(row) for row in accepted])
    pairs = list(zip(given, accepted, strict=True))
    squad = [
        (name, np.array([0.0 if said is None else one(said, row or [""]) for said, row in pairs]))
        for name, one in (("token_f1_squad", text.token_f1_squad), ("exact_match_squad", text.exact_match_squad))
    ]
    found = [of_mean(name, values) for name, values in squad]
    for metric in (text.token_f1, text.exact_match):
        rows = [0.0 if said is None else metric(said, row) if row else float(not said.strip()) for said, row in pairs]
        found.append(of_mean(metric.__name__, rows))
    rules = [SQUAD, CLINICAL]
    if not has.all():
        rules.append(NO_ANSWER)
        for part, among in (("has_answer", has), ("no_answer", ~has)):
            found += [_among(f"{name}_{part}", values, among) for name, values in squad if among.any()]
    if lost := sum(bool(row) and not kept for row, kept in zip(table["target"].to_pylist(), accepted, strict=True)):
        rules.append(f"{ARTICLES} ({lost} here)")
    missing = sum(one is None for one in given)
    rules += ["a missing answer scores 0"] if missing else []
    statistics, undefined = kind.defined(found)
    return Read(
        statistics, "token_f1_squad", rules + undefined, {"unanswered": missing, "without_answer": int((~has).sum())}
    )


def _among(name: str, values: Floats, among: Bools) -> Statistic:
    """Return the mean of some rows."""

    def at(counts: Counts) -> Values:
        return ratio(counts @ (values * among), counts @ among.astype(np.float64))

    return of_counts(name, len(values), at, among=among)
