"""``contamination``: of records that are no texts, which stand in another set by their field's own rule; of all others, their texts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from healthfm.curate import kin
from healthfm.datasets.dataset import Dataset
from healthfm.datasets.open import open_dataset
from healthfm.errors import RunError
from healthfm.evaluate.contamination import content
from healthfm.evaluate.contamination.content import Finding, Progress
from healthfm.report.run import Run
from healthfm.score.statistics import wilson
from healthfm.spelling import counted

CAUTION = "What stands in the other set was within reach of a model trained on it; whether the model learned it, this does not say."


def contamination(
    dataset: str | Path | Dataset, corpus: str | Path | Dataset, *, root: Path | str | None = None, corpus_root: Path | str | None = None,
    split: str | None = None, run: Run | None = None, show_inputs: bool = False, seed: int = 0, progress: Progress | None = None,
) -> Finding:  # fmt: skip
    """Look for a dataset in a corpus: its texts (see ``content.contamination``), or, of molecules, sequences, variants, cells, profiles and
    recordings, its records in another dataset of the same kind, by ``curate.kin``.

    Raises ``RunError``: the other set is none of that kind, or nothing in it can be known again.
    """
    opened = dataset if isinstance(dataset, Dataset) else open_dataset(dataset, root)
    opened = opened if split is None else opened[split]
    way = kin.way_of(next(iter(opened), None))
    if way is None:
        return content.contamination(
            opened, corpus, corpus_root=corpus_root, run=run, show_inputs=show_inputs, seed=seed, progress=progress
        )
    place = corpus if isinstance(corpus, Dataset) else open_dataset(corpus, corpus_root)
    return _finding(opened, place, way, run, seed)


def _finding(opened: Dataset, place: Dataset, way: kin.Way, run: Run | None, seed: int) -> Finding:
    records, others = list(opened), list(place)
    if kin.way_of(next(iter(others), None)) is not way:
        raise RunError(f"{place.name} holds no {way.part}s: {opened.name} is looked for in a dataset of its own kind")
    mine, unlooked = kin.units_of(records, way)
    theirs, unread = kin.units_of(others, way)
    known = {one.record for one in mine if one.key is not None}
    if not known:
        raise RunError(f"{opened.name}: no record can be known again by {way.says}")
    found = kin.found_in(mine, theirs)
    by_record: dict[str, list[kin.Kinship]] = {}
    for one in found:
        by_record.setdefault(one.record, []).append(one)
    parts = {way.part: _counted(way, mine, known, by_record)}
    dirty = set(by_record)
    scores = content._clean_and_dirty(run, dirty, {one.id for one in records}, seed) if run is not None else None
    finding = Finding(
        dataset=opened.name, split=opened.split, corpus=place.name, records=len(records), documents=len(others), characters=0, files=0, skipped=(),
        unread=unread, parts=parts, found=tuple(_entry(way, some) for some in by_record.values()),
        rule={"same": way.says}, scores=scores,
    )  # fmt: skip
    copies = sum(not one.primary for one in mine)
    says = _says(finding, opened, place, way, copies, unlooked)
    return Finding(**{**vars(finding), "says": tuple(says)})


def _counted(
    way: kin.Way, units: list[kin.Unit], known: set[str], by_record: dict[str, list[kin.Kinship]]
) -> dict[str, Any]:
    exact = {name for name, some in by_record.items() if any(one.how == "exact" for one in some)}
    near = set(by_record) - exact
    hits, unknown = len(exact) + len(near), len({one.record for one in units} - known)
    interval = wilson(hits, len(known))
    return {
        "looked_for": len(known), "too_short": unknown, "exact": len(exact), "near": len(near), "few_words": 0,
        "share": hits / len(known), "low": interval.low, "high": interval.high,
    }  # fmt: skip


def _entry(way: kin.Way, some: list[kin.Kinship]) -> dict[str, Any]:
    """Return a record that was found, as a finding holds one: of many parts the closest and the number of its places."""
    some = sorted(some, key=lambda one: (one.how, -one.share))
    places = [
        {"document": one.other, "start": 0, "end": 0, "how": one.how, "share": one.share}
        for one in some[: content.PLACES]
    ]
    return {
        "ids": [some[0].record],
        "part": way.part,
        "how": some[0].how,
        "share": some[0].share,
        "words": len(some),
        "documents": len({one.other for one in some}),
        "places": places,
    }


def _says(finding: Finding, opened: Dataset, place: Dataset, way: kin.Way, copies: int, unlooked: int) -> list[str]:
    one = finding.parts[way.part]
    told = [
        f"{way.part}: {one['exact'] + one['near']} of {one['looked_for']} records found in {finding.corpus} ({counted(finding.documents, 'record')}), {one['exact']} the same and "
        f"{one['near']} nearly (95 % interval {one['low']:.1%} to {one['high']:.1%}).",
        f"What counts: {way.says}.",
    ]
    if one["too_short"]:
        told.append(
            f"{counted(one['too_short'], 'record has', 'records have')} nothing to be known by: not looked for."
        )
    if unlooked or finding.unread:
        told.append(f"{counted(unlooked, 'record')} here and {finding.unread} there could not be read.")
    if copies:
        told.append(
            f"{copies} {way.part}s of {opened.name} are marked as not primary data (is_primary_data): each stands in another set of its owner's too."
        )
    told += [f"The cards say: {said}." for said in linked(opened, place)]
    if finding.scores is not None:
        told.append(content._says_scores(finding.scores))
    return [*told, CAUTION]


def linked(opened: Dataset, place: Dataset) -> list[str]:
    """Say what the cards know of two datasets having been made of each other."""
    said = []
    for one, other in ((opened.card, place.card), (place.card, opened.card)):
        for word, links in (
            ("is derived from", one.derived_from),
            ("overlaps with", one.overlaps),
            ("contains", one.contains),
        ):
            said += [f"{one.slug} {word} {link.dataset} ({link.what})" for link in links if link.dataset == other.slug]
    return list(dict.fromkeys(said))
