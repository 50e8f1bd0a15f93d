"""Rows of things found in texts, of answers read out of them, of ranked candidates and of pairs, as a page shows them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from healthfm.report.sample import ERRORS, LONGEST, Row, Sample, SampleList, cut, names_of
from healthfm.report.words import number
from healthfm.score.kinds.candidates import in_order
from healthfm.score.metrics import text as text_metrics
from healthfm.score.metrics.chunks import lenient

NO_ANSWER = "no answer"


def read_answer(row: Row) -> Sample:
    """Return an answer out of a passage; "" of a question without one is that there is none."""
    said = row["prediction"]
    told = None if said is None else cut(said) or NO_ANSWER
    return Sample(row["id"], cut(" | ".join(row["target"])) or NO_ANSWER, told, number(_reading_score(row)))


def _reading_score(row: Row) -> float:
    return (
        0.0
        if row["prediction"] is None
        else float(text_metrics.token_f1_squad(row["prediction"], row["target"] or [""]))
    )


def far_answers(rows: Sequence[Row]) -> SampleList:
    wrong = sorted((row for row in rows if _reading_score(row) < 1), key=_reading_score)[:ERRORS]
    note = f"the {len(wrong)} answers with the lowest token F1, by SQuAD's script"
    return SampleList("Answers to read first", note, "token F1", [read_answer(row) for row in wrong])


def candidates(row: Row) -> Sample:
    """Return a query's candidates by their numbers, from 1 in the order of the file: the right ones, and those ranked first."""
    right = [str(i) for i, one in enumerate(row["target"], 1) if one >= 1]
    if row["scores"] is None:
        return Sample(row["id"], names_of(right), None, "not ranked")
    order = sorted(range(len(row["scores"])), key=lambda i: (-row["scores"][i], row["target"][i] >= 1))
    return Sample(
        row["id"],
        names_of(right),
        names_of([str(i + 1) for i in order[:3]]),
        str(_first_right(row)),
        _first_right(row) == 1,
    )


def _first_right(row: Row) -> int:
    order = in_order(row["target"], row["scores"])
    return order.index(True) + 1 if order else len(row["target"]) + 1


def late_candidates(rows: Sequence[Row]) -> SampleList:
    late = sorted((row for row in rows if _first_right(row) > 1), key=lambda row: (-_first_right(row), row["id"]))
    note = f"the {len(late[:ERRORS])} of {len(late):,} queries whose first right candidate stands last, candidates by their numbers in the file"
    return SampleList("Found last", note, "first right one at rank", [candidates(row) for row in late[:ERRORS]])


def similar(row: Row) -> Sample:
    said = row["prediction"]
    return Sample(row["id"], number(row["target"]), None if said is None else number(said), "")


def apart(rows: Sequence[Row]) -> SampleList:
    """Return the pairs that predictions put elsewhere than people did, by ranks: the scales are not one."""
    known = [row for row in rows if row["prediction"] is not None]
    ranks = [
        {row["id"]: i for i, row in enumerate(sorted(known, key=lambda row: (row[name], row["id"])))}
        for name in ("target", "prediction")
    ]
    first = sorted(known, key=lambda row: -abs(ranks[0][row["id"]] - ranks[1][row["id"]]))[:ERRORS]
    samples = [replace(similar(row), measure=str(abs(ranks[0][row["id"]] - ranks[1][row["id"]]))) for row in first]
    return SampleList(
        "The pairs put elsewhere",
        f"the {len(first)} of {len(known):,} pairs farthest from their place",
        "places off",
        samples,
    )


# Things found in a text ------------------------------------------------------------------------------------------------


def found_in(row: Row) -> Sample:
    """Return a row of mentions (by where they stand), tags, relations or names: what it misses and what it invents."""
    target, said = _things(row, "target"), _things(row, "prediction")
    lost = [f"{one['type']} (not in the text)" for one in row.get("unplaced") or ()]
    told = None if row["prediction"] is None else names_of([*said, *lost]) or "none"
    right = row["prediction"] is not None and not lost and set(target) == set(said)
    return Sample(row["id"], names_of(target) or "none", told, number(_row_f1(row)), right)


def _things(row: Row, column: str) -> list[str]:
    return [one if isinstance(one, str) else _thing(one) for one in row[column] or ()]


def chunked(row: Row) -> Row:
    """Return a row of tags with the chunks that they mean, in words, in their place."""

    def told(tags: Sequence[str] | None) -> list[str] | None:
        chunks = None if tags is None else lenient(tags)
        return (
            None
            if chunks is None
            else [f"{kind} at token {a}" + (f" to {b - 1}" if b > a + 1 else "") for a, b, kind in chunks]
        )

    return {**row, "target": told(row["target"]), "prediction": told(row["prediction"])}


def _thing(one: Mapping[str, Any]) -> str:
    """Return a mention by type and place, or a relation in words."""
    if "head" in one:
        return f"{one['head']} {one['type']} {one['tail']}"
    pieces = [f"{part['start']}-{part['end']}" for part in one["parts"] or (one,)]
    return f"{one['type']} {'+'.join(pieces)}"


def _row_f1(row: Row) -> float:
    target, said = set(_things(row, "target")), set(_things(row, "prediction"))
    both = len(target) + len(said) + len(row.get("unplaced") or ())
    return 2 * len(target & said) / both if both else float(row["prediction"] is not None)


def worst_found(rows: Sequence[Row]) -> SampleList:
    wrong = sorted(
        (row for row in rows if _row_f1(row) < 1), key=lambda row: (_row_f1(row), -_errors_in(row), row["id"])
    )
    note = f"the {len(wrong[:ERRORS])} of {len(wrong):,} rows with the lowest F1, of equal ones those with most errors"
    return SampleList("The worst rows", note, "F1", [found_in(row) for row in wrong[:ERRORS]])


def _errors_in(row: Row) -> int:
    return len(set(_things(row, "target")) ^ set(_things(row, "prediction"))) + len(row.get("unplaced") or ())


def in_words(text: str, target: Sequence[Row], found: Sequence[Row]) -> str:
    """Return a text with its mentions in brackets, each with its type and whether it was found, missed or invented, in words.

    A mention inside another, or across its end, is told behind the text, with where it stands.
    """
    true, said = {_thing(one): one for one in target}, {_thing(one): one for one in found}
    every = sorted({**said, **true}.items(), key=lambda one: (one[1]["start"], -one[1]["end"], one[0]))
    shown, beside, at = "", [], 0
    for name, one in every:
        verdict = "found" if name in true and name in said else "missed" if name in true else "invented"
        if one["start"] < at or one["parts"] or one["end"] > min(len(text), LONGEST):
            beside.append(f"{name}: {verdict}")
            continue
        shown += f"{text[at : one['start']]}[{text[one['start'] : one['end']]} | {one['type']}: {verdict}]"
        at = one["end"]
    rest = text[at:]
    shown += rest if len(text) <= LONGEST else rest[: max(0, LONGEST - at)].rstrip() + " …"
    return shown + (f"\nalso: {'; '.join(beside)}" if beside else "")
