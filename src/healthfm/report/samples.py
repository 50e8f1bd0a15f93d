"""The rows of a run as a page shows them: the errors worth reading first, and what may be shown of their inputs."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from healthfm.datasets.open import open_dataset
from healthfm.errors import HealthfmError
from healthfm.records import Pair
from healthfm.report.words import number
from healthfm.score import tasks
from healthfm.score.kinds.candidates import in_order
from healthfm.score.metrics import text as text_metrics
from healthfm.score.metrics.chunks import lenient
from healthfm.score.result import Result

ERRORS = 20
NO_ANSWER = "no answer"
LONGEST = 900  # characters shown of one text
WRONG = 0.5  # the distance from the truth at which a decision about a class is wrong
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Sample:
    """One row as it is shown: its ``id``, the ``target``, what was ``said`` (None: nothing), and the ``measure`` it is ordered by."""

    id: str
    target: str
    said: str | None
    measure: str
    right: bool | None = None


@dataclass(frozen=True)
class SampleList:
    """Samples under a title; ``measure`` names their number, ``note`` says how they were chosen."""

    title: str
    note: str
    measure: str
    samples: Sequence[Sample]


def errors(run: Result, private: bool) -> SampleList:
    """Return the errors to read first: the most confident ones, the farthest off, the last found. ``private``: no free text."""
    found = _kind(run).errors(run.predictions.to_pylist())
    return _without_text(found) if private and _kind(run).free else found


def listed(run: Result, most: int, private: bool) -> SampleList:
    """Return the first rows of a run, as they come. ``private``: no free text."""
    kind = _kind(run)
    found = SampleList(
        "Samples", "", kind.measure, [kind.sample(row) for row in run.predictions.slice(0, most).to_pylist()]
    )
    return _without_text(found) if private and kind.free else found


def _without_text(found: SampleList) -> SampleList:
    return replace(
        found, samples=[replace(one, target="", said=None if one.said is None else "") for one in found.samples]
    )


# One class ------------------------------------------------------------------------------------------------------------


def _class(row: Row) -> Sample:
    sure = _confidence(row)
    right = row["prediction"] == row["target"]
    return Sample(row["id"], row["target"], row["prediction"], "" if sure is None else f"{sure:.2f}", right)


def _confidence(row: Row) -> float | None:
    return max(row["probabilities"]) if row.get("probabilities") else None


def _wrong_classes(rows: Sequence[Row]) -> SampleList:
    wrong = [row for row in rows if row["prediction"] is not None and row["prediction"] != row["target"]]
    sure = sorted((row for row in wrong if _confidence(row) is not None), key=lambda row: -(_confidence(row) or 0))
    first = (sure or wrong)[:ERRORS]
    how = "that the model was surest of" if sure else "that come first: the model gave no confidence"
    note = f"the {len(first)} of {len(wrong):,} wrong answers {how}"
    return SampleList(
        "The most confident errors" if sure else "Errors", note, "confidence", [_class(row) for row in first]
    )


# Several classes ------------------------------------------------------------------------------------------------------


def _labels(row: Row) -> Sample:
    said, target = row.get("prediction"), row["target"]
    highest = f"{max(row['probabilities']):.2f}" if row.get("probabilities") else ""
    right = None if row.get("uncertain") else said is not None and set(said) == set(target)
    return Sample(row["id"], _names(target) or "none", None if said is None else _names(said) or "none", highest, right)


def _names(names: Sequence[str]) -> str:
    return ", ".join(names)


def _wrong_labels(rows: Sequence[Row]) -> SampleList:
    found = sorted(
        (one for row in rows for one in _decisions(row)), key=lambda one: (-one[0], one[1].id, one[1].target)
    )
    samples = [sample for _, sample in found[:ERRORS]]
    note = f"the {len(samples)} farthest off of {len(found):,} wrong decisions about one class of one row"
    return SampleList("The most confident errors", note, "distance", samples)


def _decisions(row: Row) -> Iterator[tuple[float, Sample]]:
    """Yield how far off each wrong decision about one class is, from 0.5 to 1; uncertain classes are left out."""
    likely = dict(zip(row.get("options") or (), row.get("probabilities") or (), strict=True))
    said, there = set(row.get("prediction") or ()), set(row["target"])
    for name in (set(likely) or said | there) - set(row.get("uncertain") or ()):
        chance = likely.get(name, float(name in said))
        off = abs(chance - (name in there))
        if off > WRONG:
            shown = f"probability {chance:.2f}" if likely else "there" if name in said else "not there"
            yield (
                off,
                Sample(row["id"], f"{name} is {'there' if name in there else 'not there'}", shown, f"{off:.2f}", False),
            )


# Numbers, texts, rankings, likelihoods --------------------------------------------------------------------------------


def _number(row: Row) -> Sample:
    said = row["prediction"]
    off = None if said is None else said - row["target"]
    return Sample(row["id"], number(row["target"]), None if said is None else number(said), number(off, signed=True))


def _far_numbers(rows: Sequence[Row]) -> SampleList:
    known = [row for row in rows if row["prediction"] is not None]
    first = sorted(known, key=lambda row: -abs(row["prediction"] - row["target"]))[:ERRORS]
    note = f"the {len(first)} of {len(known):,} rows farthest from their target"
    return SampleList("The largest errors", note, "error", [_number(row) for row in first])


def _text(row: Row) -> Sample:
    said = row["prediction"]
    return Sample(
        row["id"], _cut(" | ".join(row["target"])), None if said is None else _cut(said), number(_text_score(row))
    )


def _text_score(row: Row) -> float:
    if row.get("judge") is not None:
        return float(row["judge"])
    return float(text_metrics.token_f1(row["prediction"] or "", row["target"]))


def _far_texts(rows: Sequence[Row]) -> SampleList:
    judged = any(row.get("judge") is not None for row in rows)
    known = [row for row in rows if row["prediction"] is not None and (row.get("judge") is not None or not judged)]
    first = sorted(known, key=_text_score)[:ERRORS]
    by = "by the judge's score" if judged else "by shared words, which does not say that they are wrong"
    note = f"the {len(first)} of {len(known):,} answers with the lowest score, {by}"
    return SampleList("Answers to read first", note, "score", [_text(row) for row in first])


def _ranked(row: Row) -> Sample:
    said = _names(row["ranking"][:3]) or None
    return Sample(row["id"], _names(row["target"][:3]), said, str(_first_hit(row) or "not found"))


def _first_hit(row: Row) -> int | None:
    return next((i for i, one in enumerate(row["ranking"], 1) if one in row["target"]), None)


def _late_hits(rows: Sequence[Row]) -> SampleList:
    late = sorted((row for row in rows if _first_hit(row) != 1), key=lambda row: -(_first_hit(row) or math.inf))
    note = f"the {len(late[:ERRORS])} of {len(late):,} queries whose first hit came last; beside them what was ranked first"
    return SampleList("Found last", note, "first hit at rank", [_ranked(row) for row in late[:ERRORS]])


def _likelihood(row: Row) -> Sample:
    return Sample(row["id"], f"{row['bytes']:,} bytes", f"{row['tokens']:,} tokens", number(_bits(row)))


def _bits(row: Row) -> float:
    return -float(row["log_likelihood"]) / math.log(2) / float(row["bytes"])


def _unlikely_texts(rows: Sequence[Row]) -> SampleList:
    first = sorted(rows, key=_bits, reverse=True)[:ERRORS]
    note = f"the {len(first)} of {len(rows):,} texts that cost most bits a byte"
    return SampleList("The least expected texts", note, "bits per byte", [_likelihood(row) for row in first])


def _read_answer(row: Row) -> Sample:
    """Return an answer out of a passage; "" of a question without one is that there is none."""
    said = row["prediction"]
    told = None if said is None else _cut(said) or NO_ANSWER
    return Sample(row["id"], _cut(" | ".join(row["target"])) or NO_ANSWER, told, number(_reading_score(row)))


def _reading_score(row: Row) -> float:
    return (
        0.0
        if row["prediction"] is None
        else float(text_metrics.token_f1_squad(row["prediction"], row["target"] or [""]))
    )


def _far_answers(rows: Sequence[Row]) -> SampleList:
    wrong = sorted((row for row in rows if _reading_score(row) < 1), key=_reading_score)[:ERRORS]
    note = f"the {len(wrong)} answers with the lowest token F1, by SQuAD's script"
    return SampleList("Answers to read first", note, "token F1", [_read_answer(row) for row in wrong])


def _candidates(row: Row) -> Sample:
    """Return a query's candidates by their numbers, from 1 in the order of the file: the right ones, and those ranked first."""
    right = [str(i) for i, one in enumerate(row["target"], 1) if one >= 1]
    if row["scores"] is None:
        return Sample(row["id"], _names(right), None, "not ranked")
    order = sorted(range(len(row["scores"])), key=lambda i: (-row["scores"][i], row["target"][i] >= 1))
    return Sample(
        row["id"],
        _names(right),
        _names([str(i + 1) for i in order[:3]]),
        str(_first_right(row)),
        _first_right(row) == 1,
    )


def _first_right(row: Row) -> int:
    order = in_order(row["target"], row["scores"])
    return order.index(True) + 1 if order else len(row["target"]) + 1


def _late_candidates(rows: Sequence[Row]) -> SampleList:
    late = sorted((row for row in rows if _first_right(row) > 1), key=lambda row: (-_first_right(row), row["id"]))
    note = f"the {len(late[:ERRORS])} of {len(late):,} queries whose first right candidate stands last, candidates by their numbers in the file"
    return SampleList("Found last", note, "first right one at rank", [_candidates(row) for row in late[:ERRORS]])


def _similar(row: Row) -> Sample:
    said = row["prediction"]
    return Sample(row["id"], number(row["target"]), None if said is None else number(said), "")


def _apart(rows: Sequence[Row]) -> SampleList:
    """Return the pairs that predictions put elsewhere than people did, by ranks: the scales are not one."""
    known = [row for row in rows if row["prediction"] is not None]
    ranks = [
        {row["id"]: i for i, row in enumerate(sorted(known, key=lambda row: (row[name], row["id"])))}
        for name in ("target", "prediction")
    ]
    first = sorted(known, key=lambda row: -abs(ranks[0][row["id"]] - ranks[1][row["id"]]))[:ERRORS]
    samples = [replace(_similar(row), measure=str(abs(ranks[0][row["id"]] - ranks[1][row["id"]]))) for row in first]
    return SampleList(
        "The pairs put elsewhere",
        f"the {len(first)} of {len(known):,} pairs farthest from their place",
        "places off",
        samples,
    )


# Things found in a text ------------------------------------------------------------------------------------------------


def _found(row: Row) -> Sample:
    """Return a row of mentions (by where they stand), tags, relations or names: what it misses and what it invents."""
    target, said = _things(row, "target"), _things(row, "prediction")
    lost = [f"{one['type']} (not in the text)" for one in row.get("unplaced") or ()]
    told = None if row["prediction"] is None else _names([*said, *lost]) or "none"
    right = row["prediction"] is not None and not lost and set(target) == set(said)
    return Sample(row["id"], _names(target) or "none", told, number(_row_f1(row)), right)


def _things(row: Row, column: str) -> list[str]:
    return [one if isinstance(one, str) else _thing(one) for one in row[column] or ()]


def _chunked(row: Row) -> Row:
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


def _worst_found(rows: Sequence[Row]) -> SampleList:
    wrong = sorted(
        (row for row in rows if _row_f1(row) < 1), key=lambda row: (_row_f1(row), -_errors_in(row), row["id"])
    )
    note = f"the {len(wrong[:ERRORS])} of {len(wrong):,} rows with the lowest F1, of equal ones those with most errors"
    return SampleList("The worst rows", note, "F1", [_found(row) for row in wrong[:ERRORS]])


def _errors_in(row: Row) -> int:
    return len(set(_things(row, "target")) ^ set(_things(row, "prediction"))) + len(row.get("unplaced") or ())


@dataclass(frozen=True)
class _Kind:
    """How rows of one kind are shown. ``free``: what they hold is text that may repeat the input."""

    measure: str
    sample: Callable[[Row], Sample]
    errors: Callable[[Sequence[Row]], SampleList]
    free: bool = False


_KINDS: Mapping[str, _Kind] = {
    "classes": _Kind("confidence", _class, _wrong_classes), "ordinal": _Kind("confidence", _class, _wrong_classes),
    "labels": _Kind("highest probability", _labels, _wrong_labels), "numbers": _Kind("error", _number, _far_numbers),
    "text": _Kind("score", _text, _far_texts, free=True), "ranking": _Kind("first hit at rank", _ranked, _late_hits),
    "likelihood": _Kind("bits per byte", _likelihood, _unlikely_texts), "spans": _Kind("F1", _found, _worst_found),
    "reading": _Kind("token F1", _read_answer, _far_answers, free=True), "candidates": _Kind("first right one at rank", _candidates, _late_candidates),
    "similarity": _Kind("places off", _similar, _apart),
    "tags": _Kind("F1", lambda row: _found(_chunked(row)), lambda rows: _worst_found([_chunked(row) for row in rows])), "relations": _Kind("F1", _found, _worst_found, free=True), "sets": _Kind("F1", _found, _worst_found, free=True),
}  # fmt: skip


def _kind(run: Result) -> _Kind:
    return _KINDS[tasks.TASKS[run.facts["request"]["task"]].kind]


# Inputs ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Input:
    """What a record asks: its ``text`` (a question, a document), the ``context`` before it, its ``options`` by key."""

    text: str
    context: str = ""
    options: Mapping[str, str] | None = None


def inputs(run: Result, ids: Collection[str]) -> dict[str, Input]:
    """Return the inputs of these ids, read again from the official files; nothing where they are gone or have changed.

    A table of predictions made elsewhere has them in its own column ``input``, if at all.
    """
    facts = run.facts
    data = facts.get("data")
    marked = run.scores["kind"] == "spans"
    marks = {row["id"]: row for row in run.predictions.to_pylist() if row["id"] in ids} if marked else {}
    column = run.predictions["input"].to_pylist() if "input" in run.predictions.column_names else []
    asked = {i: value for i, value in zip(run.predictions["id"].to_pylist(), column, strict=bool(column)) if i in ids}
    if data is None:
        return {i: Input(_cut(str(value))) for i, value in asked.items() if value is not None}
    try:
        name = (
            Path(data["path"]) if data.get("path") else facts["request"]["dataset"].partition("@")[0].partition("#")[0]
        )
        opened = open_dataset(name, facts.get("root"), facts["request"]["split"], columns=data.get("columns"))
        return {
            one.id: shown
            for one in opened
            if one.id in asked
            for shown in _input(one, marks.get(one.id))
            if asked[one.id] == one.digest()
        }
    except (HealthfmError, KeyError):
        return {}


def _input(record: Any, row: Row | None = None) -> Iterator[Input]:
    text = (
        getattr(record, "question", None)
        or getattr(record, "text", None)
        or (record.as_text if isinstance(record, Pair) else None)
    )
    if isinstance(text, str) and row is not None:
        yield Input(in_words(text, row["target"], row["prediction"] or ()))
    elif isinstance(text, str):
        options = getattr(record, "options", None) or {}
        told = None if all(key == text for key, text in options.items()) else options  # yes, no: the answer says it
        yield Input(_cut(text), _cut(getattr(record, "context", "")), told)


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


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else text[:LONGEST].rstrip() + " …"
