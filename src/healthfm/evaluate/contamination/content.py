"""``contamination``: which of a dataset's texts and pictures stand in a corpus, where, and what that does to a run's score."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np

from healthfm.curate import search
from healthfm.curate.corpus import holds_text, open_corpus
from healthfm.curate.gallery import holds_pictures, pictures_of
from healthfm.curate.texts import PARTS, Part, parts
from healthfm.datasets.dataset import Dataset
from healthfm.datasets.open import open_dataset
from healthfm.errors import RunError
from healthfm.evaluate.contamination import pictures
from healthfm.report.run import Run
from healthfm.score import scoring
from healthfm.score.statistics import estimate, in_words, wilson
from healthfm.score.statistics.subgroups import gap
from healthfm.spelling import counted

PLACES = 5  # kept of each text; all are counted
AT_A_CHARACTER = 16  # characters that a word and the space behind it may take, generously
CAUTION = (
    "A text that stands in the corpus was within reach of a model trained on it; whether the model learned it, this does not say. "
    "A text that was not found may stand there in other words, in another language, or in a corpus that was not searched."
)
Progress = Callable[[int, int | None], None]  # documents read, of how many is not known


@dataclass(frozen=True)
class Finding:
    """What of a dataset was found in a corpus. Plain data.

    ``parts``: for each kind of text (question, question and options, ...), for ``picture``, and for the names of a figure and of its
    ``paper``: how many were looked for, found as a whole
    (``exact``) or nearly (``near``), and the share with its interval. ``found``: one entry a text: the ``ids`` of the records that
    have it, ``part``, ``how``, the weighted ``share`` of it that the place covers, its ``words``, in how many ``documents``, and
    ``places`` (document, start and end in characters, and the ``snippet`` where the data may be shown; of a picture the ``bits`` of 256 in
    which it differs and the ``cut`` of its border, of each side, at which it agrees). ``pictures``: how many were searched. ``scores``: a run's
    metric on the records found (``dirty``; another figure of the same paper is none) and not found (``clean``). ``says``: all of it in sentences.
    """

    dataset: str
    split: str | None
    corpus: str
    records: int
    documents: int
    characters: int
    files: int
    skipped: tuple[str, ...]
    unread: int
    parts: dict[str, dict[str, Any]]
    found: tuple[dict[str, Any], ...]
    rule: dict[str, Any]
    scores: dict[str, Any] | None = None
    says: tuple[str, ...] = field(default=())
    pictures: int = 0

    def asdict(self) -> dict[str, Any]:
        """Return everything as a plain dictionary."""
        return asdict(self)


def contamination(
    dataset: str | Path | Dataset, corpus: str | Path | Dataset, *, root: Path | str | None = None, corpus_root: Path | str | None = None,
    split: str | None = None, run: Run | None = None, show_inputs: bool = False, seed: int = 0, progress: Progress | None = None,
) -> Finding:  # fmt: skip
    """Look for every text and every picture of a dataset in a corpus: for whatever both have.

    ``dataset``: as ``open_dataset`` takes it; ``corpus``: a file or folder (Path) of .txt, .md, .csv, .tsv, .jsonl, .json or
    .parquet, also .gz, .zst, .bz2, or of pictures, or another dataset; it is read once for texts, in pieces, and once for pictures. ``run``:
    a run on this dataset, whose score is then
    given for the records found and not found. What was matched is shown where the dataset's card allows it, or when
    ``show_inputs`` asks. ``progress`` is called with (documents or pictures read, None). Raises ``DatasetError``, ``RunError``.
    """
    opened = dataset if isinstance(dataset, Dataset) else open_dataset(dataset, root)
    opened = opened if split is None else opened[split]
    place = _place(corpus, corpus_root)
    records = list(opened)
    texts, shots = parts(records), [shot for record in records for shot in pictures_of(record)]
    if not texts and not shots:
        raise RunError(f"{opened.name}: no record has a text or a picture to look for")
    read, seen = bool(texts) and holds_text(place), bool(shots) and holds_pictures(place)
    if not read and not seen:
        open_corpus(place)
        raise RunError(f"{opened.name}: has {_kinds(texts, shots)} to look for, and {place} has none")
    index = search.Index(texts if read else [])
    reader = open_corpus(place, check=read)
    reader.overlap = max([reader.overlap, *(AT_A_CHARACTER * part.length for part in texts)])
    counter = _Counter(reader, progress)
    shown = show_inputs or (
        opened.card.may_show_inputs and not (isinstance(place, Dataset) and not place.card.may_show_inputs)
    )
    found = _collect(index.search(counter), texts, shown) if read else []
    table = {
        kind: _count(kind, texts, index.too_short, found)
        for kind in PARTS
        if read and any(part.kind == kind for part in texts)
    }
    of_pictures = pictures.look(shots, place, progress) if seen else pictures.Found()
    found += of_pictures.found
    scores = (
        _clean_and_dirty(run, {i for one in found if one["part"] != "paper" for i in one["ids"]}, {record.id for record in records}, seed)
        if run is not None
        else None
    )  # fmt: skip
    finding = Finding(
        dataset=opened.name, split=opened.split, corpus=reader.name, records=len(records), documents=counter.documents,
        characters=counter.characters, files=reader.files or of_pictures.files, skipped=tuple(_skipped(reader.skipped, of_pictures.skipped, read, seen)),
        unread=len(reader.problems.found) + of_pictures.unread, parts=table | of_pictures.parts, found=tuple(found),
        rule=(TEXTS if read else {}) | (pictures.RULE if seen else {}), scores=scores, pictures=of_pictures.searched,
    )  # fmt: skip
    told = _says(finding, len(reader.problems.found)) if read else [*_says_skipped(finding)]
    told += pictures.says(of_pictures, finding.corpus) if seen else []
    for lacking, what in ((texts and not read, "text"), (shots and not seen, "picture")):
        told += (
            [f"{what}: {finding.corpus} has none to search, so those of the dataset were not looked for."]
            if lacking
            else []
        )
    told += [] if scores is None else [_says_scores(scores)]
    return Finding(**{**vars(finding), "says": (*told, *([CAUTION] if read else []))})


TEXTS = {
    "normalised": "case, punctuation, white space and accents do not count", "changed": search.CHANGED,
    "share_of_weight": search.SHARE, "share_of_words": search.WORDS, "one_change_below_words": search.FEW,
    "whole_only_below_words": search.EXACT_ONLY, "not_looked_for_below_words": search.SHORTEST,
}  # fmt: skip


def _place(corpus: str | Path | Dataset, root: Path | str | None) -> Path | Dataset:
    """Return what is searched: a dataset, opened, or a file or folder."""
    if isinstance(corpus, Dataset):
        return corpus
    if isinstance(corpus, str) and Path(corpus).expanduser().exists():
        corpus = Path(corpus)
    return (
        open_dataset(corpus, root)
        if isinstance(corpus, str)
        else open_dataset(corpus)
        if _is_dataset(corpus)
        else corpus
    )


def _kinds(texts: Sequence[Part], shots: Sequence[Any]) -> str:
    return " and ".join(what for what, some in (("texts", texts), ("pictures", shots)) if some)


def _skipped(texts: list[str], pictures: list[str], read: bool, seen: bool) -> list[str]:
    """Return the files that neither search reads: what is no text where texts are searched, no picture where pictures are."""
    return [name for name in texts if name in set(pictures)] if read and seen else texts if read else pictures


def _is_dataset(place: Path | Dataset) -> TypeGuard[Path]:
    return isinstance(place, Path) and (place.name == "dataset.toml" or (place.expanduser() / "dataset.toml").is_file())


class _Counter:
    """The corpus, counted while it is read."""

    def __init__(self, corpus: Iterable[tuple[str, int, str]], progress: Progress | None) -> None:
        self.corpus, self.progress = corpus, progress
        self.documents = self.characters = 0

    def __iter__(self) -> Iterator[tuple[str, int, str]]:
        last = 0
        for name, start, text in self.corpus:
            self.documents += start == 0
            last = last if start else 0
            self.characters += start + len(text) - last
            last = start + len(text)
            if self.progress is not None:
                self.progress(self.documents, None)
            yield name, start, text


def _collect(matches: Iterable[search.Hit], texts: Sequence[Part], shown: bool) -> list[dict[str, Any]]:
    """Gather matches by text: the best places, and in how many documents."""
    found: dict[int, dict[str, Any]] = {}
    for match in matches:
        part = texts[match.part]
        one = found.setdefault(
            match.part,
            {
                "ids": list(part.ids),
                "part": part.kind,
                "how": "near",
                "share": 0.0,
                "words": part.length,
                "documents": 0,
                "places": [],
            },
        )
        place: dict[str, Any] = {
            "document": match.document,
            "start": match.start,
            "end": match.end,
            "how": match.how,
            "share": match.share,
        }
        if shown:
            place["snippet"] = match.snippet
        known = next((p for p in one["places"] if p["document"] == match.document), None)
        one["documents"] += known is None and one.get("last") != match.document
        one["last"] = match.document
        if known is not None and known["share"] < match.share:
            known.update(place)
        if known is None:
            one["places"] = sorted([*one["places"], place], key=lambda p: -p["share"])[:PLACES]
        one["share"] = max(one["share"], match.share)
        one["how"] = "exact" if match.how == "exact" else one["how"]
    for one in found.values():
        del one["last"]
    return sorted(found.values(), key=lambda one: (one["how"], -one["share"], one["ids"]))


def _count(kind: str, texts: Sequence[Part], too_short: set[int], found: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return how many records were looked for by one kind of text, and found."""
    checked = {
        i for number, part in enumerate(texts) if part.kind == kind and number not in too_short for i in part.ids
    }
    short = {i for number, part in enumerate(texts) if part.kind == kind and number in too_short for i in part.ids}
    exact = {i for one in found if one["part"] == kind and one["how"] == "exact" for i in one["ids"]}
    near = {i for one in found if one["part"] == kind for i in one["ids"]} - exact
    hits = len(exact) + len(near)
    interval = wilson(hits, len(checked)) if checked else None
    few = sum(len(one["ids"]) for one in found if one["part"] == kind and one["words"] < search.EXACT_ONLY)
    return {
        "looked_for": len(checked), "too_short": len(short), "exact": len(exact), "near": len(near), "few_words": few,
        "share": hits / len(checked) if checked else None, "low": interval.low if interval else None, "high": interval.high if interval else None,
    }  # fmt: skip


def _clean_and_dirty(run: Run, dirty: set[str], records: set[str], seed: int) -> dict[str, Any]:
    """Return a run's headline metric on the records found and on the others, and the difference with its interval."""
    task, classes, name = run.facts["request"]["task"], run.scores.get("classes") or None, run.scores["headline"]
    table = scoring.check_table(run.predictions, task)
    ids = table["id"].to_pylist()
    if not records.intersection(ids):
        raise RunError(f"{run.title}: none of the run's samples is a record of this dataset and split")
    mask, patients = np.array([i in dirty for i in ids]), scoring.patients_of(table)
    result: dict[str, Any] = {
        "metric": name, "run": run.title, "n": len(ids), "n_dirty": int(mask.sum()), "n_clean": int((~mask).sum()),
        "dirty": None, "clean": None, "difference": None,
    }  # fmt: skip
    whole = scoring.statistics_of(table, task, classes)[name]
    apart = gap(whole, mask, patients, seed) if 0 < result["n_dirty"] < len(ids) else None
    if apart is None:
        return result
    for side, rows in (("dirty", np.flatnonzero(mask)), ("clean", np.flatnonzero(~mask))):
        part = scoring.statistics_of(table.take(rows), task, classes)[name]
        result[side] = estimate({name: part}, [patients[i] for i in rows], seed)[name]
    value, interval = apart
    return {**result, "difference": {"value": value, **interval.asdict()}}


def _says(finding: Finding, unread: int) -> list[str]:
    """Say in sentences what was found of texts."""
    where = f"{finding.corpus} ({finding.documents:,} documents, {finding.characters:,} characters)"
    told = []
    for kind, one in finding.parts.items():
        if kind not in PARTS:
            continue
        hits = one["exact"] + one["near"]
        interval = f" (95 % interval {one['low']:.1%} to {one['high']:.1%})" if one["looked_for"] else ""
        told.append(
            f"{kind}: {hits} of {one['looked_for']} records found in {where}, {one['exact']} as a whole and {one['near']} nearly{interval}."
        )
        if one["few_words"]:
            told.append(
                f"{kind}: {one['few_words']} of the finds have under {search.EXACT_ONLY} words, which other texts can share by chance."
            )
        if one["too_short"]:
            told.append(
                f"{kind}: {counted(one['too_short'], 'record has', 'records have')} under {search.SHORTEST} words: not looked for."
            )
    told += _says_skipped(finding)
    if unread:
        told.append(f"{counted(unread, 'row')} of the corpus could not be read.")
    return told


def _says_skipped(finding: Finding) -> list[str]:
    many = len(finding.skipped)
    return (
        [
            f"{counted(many, 'file of the corpus is', 'files of the corpus are')} of a kind that is not read, e.g. {finding.skipped[0]}."
        ]
        if many
        else []
    )


def _says_scores(scores: Mapping[str, Any]) -> str:
    name = str(scores["metric"]).replace("_", "-")
    if scores["difference"] is None:
        return f"All {scores['n']} records of the run are on one side (found: {scores['n_dirty']}), so there is no clean and dirty score to compare."
    dirty, clean, apart = scores["dirty"], scores["clean"], scores["difference"]
    shows = "no difference is shown" if apart["low"] is None or apart["low"] <= 0 <= apart["high"] else "they differ"
    return (
        f"{name} is {dirty['value']:.3f} on the {counted(dirty['n'], 'record')} found and {clean['value']:.3f} on the {clean['n']} others: {shows} "
        f"({apart['value']:+.3f}, {in_words(apart)})."
    )
