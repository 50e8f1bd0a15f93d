"""The rows of a run as a page shows them: the errors worth reading first, and what may be shown of their inputs."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from healthfm.errors import HealthfmError
from healthfm.records import Molecule, Pair, Signal, Visual
from healthfm.report import assays, drawings, found, given, pictures
from healthfm.report.heat import reopened
from healthfm.report.sample import ERRORS, Option, Row, Sample, SampleList, cut, names_of
from healthfm.report.words import number
from healthfm.score import tasks
from healthfm.score.kinds import matches
from healthfm.score.metrics import text as text_metrics
from healthfm.score.result import Result

OPTIONS = 6  # answers with their probabilities that a row shows; of more, the likeliest
CELLS, EACH = 6, 4  # confusions with pictures, and pictures of each
WRONG = 0.5  # the distance from the truth at which a decision about a class is wrong


def errors(run: Result, private: bool) -> SampleList:
    """Return the errors to read first: the most confident ones, the farthest off, the last found. ``private``: no free text."""
    kind = _kind(run)
    found = replace(kind.errors(run.predictions.to_pylist()), heads=kind.heads)
    return _private(run, found) if private else found


def listed(run: Result, most: int, private: bool) -> SampleList:
    """Return the first rows of a run, as they come. ``private``: no free text."""
    kind = _kind(run)
    found = SampleList(
        "Samples",
        "",
        kind.measure,
        [kind.sample(row) for row in run.predictions.slice(0, most).to_pylist()],
        kind.heads,
    )
    return _private(run, found) if private else found


def _private(run: Result, found: SampleList) -> SampleList:
    """Return a list without what may repeat the input: free text, and the options of questions."""
    if tasks.TASKS[run.facts["request"]["task"]].letters:
        return replace(found, samples=[replace(one, options=()) for one in found.samples])
    if not _kind(run).free:
        return found
    return replace(
        found, samples=[replace(one, target="", said=None if one.said is None else "") for one in found.samples]
    )


# One class ------------------------------------------------------------------------------------------------------------


def _class(row: Row) -> Sample:
    sure = _confidence(row)
    right = row["prediction"] == row["target"]
    return Sample(
        row["id"], row["target"], row["prediction"], "" if sure is None else f"{sure:.2f}", right, options(row)
    )


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
    return Sample(
        row["id"], names_of(target) or "none", None if said is None else names_of(said) or "none", highest, right
    )


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
        row["id"], cut(" | ".join(row["target"])), None if said is None else cut(said), number(_text_score(row))
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
    said = names_of(row["ranking"][:3]) or None
    return Sample(row["id"], names_of(row["target"][:3]), said, str(_first_hit(row) or "not found"))


def _first_hit(row: Row) -> int | None:
    return next((i for i, one in enumerate(row["ranking"], 1) if one in row["target"]), None)


def _late_hits(rows: Sequence[Row]) -> SampleList:
    late = sorted((row for row in rows if _first_hit(row) != 1), key=lambda row: -(_first_hit(row) or math.inf))
    note = f"the {len(late[:ERRORS])} of {len(late):,} queries whose first hit came last; beside them what was ranked first"
    return SampleList("Found last", note, "first hit at rank", [_ranked(row) for row in late[:ERRORS]])


def _matched(row: Row) -> Sample:
    ranks = row["ranks"]
    return Sample(
        row["id"], names_of(row["target"][:3]), row.get("prediction"), "not found" if not ranks else f"{min(ranks):,}", bool(ranks) and min(ranks) == 1
    )  # fmt: skip


def _late_matches(rows: Sequence[Row]) -> SampleList:
    late = sorted((row for row in rows if not row["ranks"] or min(row["ranks"]) > 1), key=lambda row: -(min(row["ranks"] or [math.inf])))  # fmt: skip
    note = (
        f"the {len(late[:ERRORS])} of {len(late):,} queries to which what belongs came last; beside it what came first"
    )
    return SampleList("Found last", note, "first that belongs at rank", [_matched(row) for row in late[:ERRORS]])


def _likelihood(row: Row) -> Sample:
    return Sample(row["id"], f"{row['bytes']:,}", f"{row['tokens']:,}", number(_bits(row)))


def _bits(row: Row) -> float:
    return -float(row["log_likelihood"]) / math.log(2) / float(row["bytes"])


def _unlikely_texts(rows: Sequence[Row]) -> SampleList:
    first = sorted(rows, key=_bits, reverse=True)[:ERRORS]
    note = f"the {len(first)} of {len(rows):,} texts that cost most bits a byte"
    return SampleList("The least expected texts", note, "bits per byte", [_likelihood(row) for row in first])


@dataclass(frozen=True)
class _Kind:
    """How rows of one kind are shown. ``free``: what they hold is text that may repeat the input."""

    measure: str
    sample: Callable[[Row], Sample]
    errors: Callable[[Sequence[Row]], SampleList]
    free: bool = False
    heads: tuple[str, str] = ("target", "answer")


_KINDS: Mapping[str, _Kind] = {
    "classes": _Kind("confidence", _class, _wrong_classes), "ordinal": _Kind("confidence", _class, _wrong_classes),
    "labels": _Kind("highest probability", _labels, _wrong_labels), "numbers": _Kind("error", _number, _far_numbers),
    "text": _Kind("score", _text, _far_texts, free=True), "ranking": _Kind("first hit at rank", _ranked, _late_hits),
    "matches": _Kind("first that belongs at rank", _matched, _late_matches),
    "likelihood": _Kind("bits per byte", _likelihood, _unlikely_texts, heads=("bytes", "tokens")), "spans": _Kind("F1", found.found_in, found.worst_found),
    "reading": _Kind("token F1", found.read_answer, found.far_answers, free=True), "candidates": _Kind("first right one at rank", found.candidates, found.late_candidates),
    "assays": _Kind("places off", assays.sample, assays.worst),
    "expression": _Kind("correlation", assays.gene, assays.worst_genes), "signatures": _Kind("correlation", assays.gene, assays.worst_signatures),
    "structures": _Kind("lDDT", assays.chain, assays.worst_chains, heads=("residues", "answer")),
    "similarity": _Kind("places off", found.similar, found.apart),
    "tags": _Kind("F1", lambda row: found.found_in(found.chunked(row)), lambda rows: found.worst_found([found.chunked(row) for row in rows])), "relations": _Kind("F1", found.found_in, found.worst_found, free=True), "sets": _Kind("F1", found.found_in, found.worst_found, free=True),
    "masks": _Kind("Dice", given.mask, given.worst_masks), "boxes": _Kind("boxes wrong", given.boxes, given.worst_boxes),
}  # fmt: skip


def _kind(run: Result) -> _Kind:
    return _KINDS[tasks.TASKS[run.facts["request"]["task"]].kind]


# Options and probabilities --------------------------------------------------------------------------------------------


def options(row: Row) -> list[Option]:
    """Return the answers that a row's model chose from, where it said how likely each is: all, or of many the likeliest and the right one."""
    chances = row.get("probabilities")
    if not chances or isinstance(row["target"], list):
        return []
    every = [
        Option(key, chance, key == row["target"], key == row["prediction"]) for key, chance in zip(row["options"], chances, strict=True)
    ]  # fmt: skip
    if len(every) <= OPTIONS:
        return every
    first = sorted(every, key=lambda one: -(one.chance or 0))[:OPTIONS]
    return [*first, *(one for one in every if (one.right or one.chosen) and one not in first)]


# Pictures of confusions -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Confused:
    """A cell of the confusion beside the diagonal: ``count`` rows of one class that got another, and the ``ids`` the model was surest of."""

    target: str
    said: str
    count: int
    ids: Sequence[str]


def confused(run: Result) -> list[Confused]:
    """Return the commonest confusions of classes that recur, the most confident rows of each; [] of other tables."""
    task = tasks.TASKS[run.facts["request"]["task"]]
    if task.kind not in ("classes", "ordinal") or task.letters:
        return []
    cells: dict[tuple[str, str], list[Row]] = {}
    for row in run.predictions.to_pylist():
        if row["prediction"] is not None and row["prediction"] != row["target"]:
            cells.setdefault((row["target"], row["prediction"]), []).append(row)
    most = sorted(cells.items(), key=lambda one: (-len(one[1]), one[0]))[:CELLS]
    return [
        Confused(*cell, len(rows), [row["id"] for row in sorted(rows, key=lambda row: -(_confidence(row) or 0))[:EACH]])
        for cell, rows in most
    ]


# Inputs ---------------------------------------------------------------------------------------------------------------

GONE = "Their inputs are not shown: the files or the column that held them are not here, or have changed."
NOTHING = "Their inputs are not shown: a {} has neither a text nor a picture that a page could hold."


@dataclass(frozen=True)
class Input:
    """What a record asks: its ``text`` (a question, a document), the ``context`` before it, its ``options`` by key; a ``picture`` of it (a data URI)."""

    text: str = ""
    context: str = ""
    options: Mapping[str, str] | None = None
    picture: str = ""


def inputs(run: Result, ids: Collection[str], pictured: Collection[str] = ()) -> tuple[dict[str, Input], str]:
    """Return the inputs of these ids, read again from the official files, and in one line why there are none, if so.

    Nothing is shown that has changed since; records of many pictures (slides, volumes, films) have no digest that would tell.
    ``pictured``: those whose pictures are wanted, each of which is decoded. A table of predictions made elsewhere has inputs in its own column
    ``input``, if at all.
    """
    facts = run.facts
    marked = run.scores["kind"] == "spans"
    marks = {row["id"]: row for row in run.predictions.to_pylist() if row["id"] in ids} if marked else {}
    column = run.predictions["input"].to_pylist() if "input" in run.predictions.column_names else []
    asked = {i: value for i, value in zip(run.predictions["id"].to_pylist(), column, strict=bool(column)) if i in ids}
    if "given" in facts:
        return {}, ""  # the pictures of masks and boxes stand in a section of their own
    if facts.get("data") is None:
        own = {i: Input(cut(str(value))) for i, value in asked.items() if value is not None}
        return own, "" if own else GONE
    window = facts["request"].get("window")
    seen: dict[str, Input] = {}
    noun = ""
    try:
        for one in _rows(run):
            if (
                one.id not in asked
                or (isinstance(one, Visual | Signal) and one.id not in pictured)
                or not _same(one, asked[one.id])
            ):
                continue
            noun = one.noun
            if (shown := _input(one, one.id in pictured, window, marks.get(one.id))) is not None:
                seen[one.id] = shown
    except (HealthfmError, KeyError):
        return {}, GONE
    return seen, "" if seen else NOTHING.format(noun) if noun else GONE


def _rows(run: Result) -> Iterator[Any]:
    """Yield the records again that a run's rows are of: of pictures with texts, each picture too."""
    for record in reopened(run):
        yield record
        if run.scores["kind"] == "matches":
            members = enumerate(getattr(record, "media", ()))
            yield from (replace(one, id=matches.picture_id(record.id, number)) for number, one in members)


def _same(record: Any, asked: str | None) -> bool:
    """Say whether a record is what was asked, as far as that can be told; an image is decoded for it."""
    if record.stacked:
        return True
    try:
        return bool(asked == record.digest())
    except HealthfmError:
        return False


def _input(record: Any, pictured: bool, window: Any, row: Row | None = None) -> Input | None:
    text = getattr(record, "question", None) or getattr(record, "text", None)
    if text is None and isinstance(record, Pair | Molecule):
        text = record.as_text
    if isinstance(text, str) and row is not None:
        return Input(found.in_words(text, row["target"], row["prediction"] or ()))
    picture = _picture(record, window) if pictured else ""
    if not isinstance(text, str):
        return Input(picture=picture) if picture else None
    options = getattr(record, "options", None) or {}
    told = None if all(key == text for key, text in options.items()) else options  # yes, no: the answer says it
    return Input(cut(text), cut(getattr(record, "context", "")), told, picture)


def _picture(record: Any, window: Any) -> str:
    """Return a small picture of a record of pixels, a drawing of a molecule or a recording; "" where there is none."""
    try:
        made = pictures.of_record(record, window)
        return drawings.of_record(record) if made is None else pictures.data_uri(made)
    except HealthfmError:
        return ""
