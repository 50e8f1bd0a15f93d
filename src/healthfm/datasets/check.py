"""Is this copy whole, and the official one? One pass over the records, and a look at the files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from healthfm.datasets.dataset import Dataset
from healthfm.datasets.decoding import Decoder
from healthfm.datasets.locate import Tree, fitting, official, wanted
from healthfm.datasets.open import open_dataset
from healthfm.datasets.summary import Tally, text_of
from healthfm.errors import DatasetError
from healthfm.fetch.item import Item, unlike
from healthfm.fetch.run import noted
from healthfm.formats.source import DAMAGE
from healthfm.records import Record, Visual

HELD = 5_000_000  # records whose content and id are remembered, to find those that occur twice
ANSWERS = ("answer", "answers", "relevance", "labels", "spans", "relations")  # what a record's digest leaves out
SHOWN = 5  # ids that a finding names


def check_dataset(
    name: str | Path, root: Path | str | None = None, columns: Mapping[str, Any] | None = None, *,
    pixels: bool = True, progress: Callable[[int, int | None], None] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Read a dataset once and say what is wrong with the copy: ``faults``, ``notices``, ``files``, counts (see ``check``).

    Arguments as for ``open_dataset``. Raises ``DatasetError``: nothing of it is there.
    """
    return check(open_dataset(name, root, on_error="collect", columns=columns), pixels=pixels, progress=progress)


class _Twice:
    """Finds records that say the same, ids that two splits have, patients of two splits, and records that say nothing."""

    def __init__(self) -> None:
        self.content: dict[int, tuple[str, str, int]] = {}
        self.ids: dict[int, str] = {}
        self.patients: dict[str, str] = {}
        self.same: list[str] = []
        self.leaks: list[str] = []
        self.blank: list[str] = []
        self.shared: list[str] = []
        self.straddling: dict[str, tuple[str, str]] = {}
        self.all_seen = True

    def see(self, record: Record) -> None:
        split = record.split or ""
        if record.patient is not None and self.patients.setdefault(record.patient, split) != split:
            self.straddling.setdefault(record.patient, (self.patients[record.patient], split))
        if len(self.ids) >= HELD:
            self.all_seen = False
            return
        if self.ids.setdefault(hash(record.id), split) != split:
            self.shared.append(record.id)
        text = text_of(record)
        if text is not None and not text.strip() and not getattr(record, "media", ()):
            self.blank.append(record.id)
        elif text is not None and not any(isinstance(one, Visual) for one in getattr(record, "media", ())):
            whole = hash(tuple(str(getattr(record, name, None)) for name in ANSWERS))
            first = self.content.setdefault(int(record.digest(), 16), (record.id, split, whole))
            if first[1] != split:
                self.leaks.append(f"{record.id} = {first[0]}")
            elif first[0] != record.id and first[2] == whole:
                self.same.append(f"{record.id} = {first[0]}")


def check(
    dataset: Dataset, *, pixels: bool = True, progress: Callable[[int, int | None], None] | None = None
) -> dict[str, Any]:
    """Read a dataset opened with ``on_error="collect"`` once, and return its summary with ``files``, ``faults`` and more ``notices``.

    ``pixels``: decode pictures, volumes, films and masks, and hold them against one another and against outlines. ``progress`` is called
    with (records, how many the card says).

    ``faults`` are what makes a copy another than the official one, or own data unfit: rows that cannot be read, counts that differ, files
    that are half there or are not the published ones, and, of own data, patients who straddle splits. What an official set may have by
    itself (records that say the same or nothing, patients of two splits) is a notice. Records of pixels are not compared.
    """
    tally, twice, decoder = Tally(), _Twice(), Decoder(_expected(dataset), progress)
    summary = dataset.summary(seen=(tally, twice, *([decoder] if pixels else [])))
    unfit = [one for one in decoder.faults if not one.endswith(tuple(summary["errors"]))]
    own = dataset.card.access == "own"
    files, broken = ({}, []) if own or dataset.root is None else _files(dataset, dataset.root)
    counts, partly = [], []
    for name, one in summary["splits"].items():
        if one["card"] not in (None, one["records"]):
            said = f"split {name}: {one['records']} records, the card says {one['card']}"
            whole, absent = _parts(dataset, name, one["records"])
            if whole:
                partly.append(
                    f"{said}: of its parts {', '.join(whole)} are here, each whole, and not {', '.join(absent)}"
                )
            else:
                counts.append(said + _meant(dataset, name, one["records"]))
    straddling = _several(
        "patients straddle splits", [f"{who} ({first} and {then})" for who, (first, then) in twice.straddling.items()]
    )
    notices = [
        *partly,
        *_several("records are the same as another of their split", twice.same),
        *_several("records have the content of one of another split", twice.leaks),
        *_several("records say nothing", twice.blank),
        *_several("ids occur in two splits", twice.shared),
        *_several("outlines pass an edge of their pixels", decoder.beyond),
        *([] if own else straddling),
        *([] if twice.all_seen else [f"only the first {HELD:,} records were compared with one another"]),
    ]
    return {
        **summary, "files": files, "faults": [*broken, *counts, *(straddling if own else []), *summary["errors"], *unfit],
        "notices": [*summary["notices"], *notices],
    }  # fmt: skip


def _expected(dataset: Dataset) -> int | None:
    """Return how many records the card says there are in the splits that are here; None where it does not say."""
    counts = dataset.card.counts.get(dataset.variant or "default", {})
    return sum(counts[one] for one in dataset.selected) if all(one in counts for one in dataset.selected) else None


def _parts(dataset: Dataset, split: str, records: int) -> tuple[list[str], list[str]]:
    """Return the variants that a split is made of, those that are here and those that are not, where the former count as many as were read."""
    card, tree = dataset.card, Tree(dataset.root) if dataset.root is not None else None
    mine = {pattern for _, pattern in wanted(card, dataset.variant, split)}
    here, absent = list[str](), list[str]()
    for variant, counts in card.counts.items():
        patterns = {pattern for _, pattern in wanted(card, variant, split)} if split in counts else set()
        if tree is not None and variant != dataset.variant and patterns and not patterns & mine:
            (here if all(tree.match(one) for one in patterns) else absent).append(variant)
    return (here, absent) if absent and records == sum(card.counts[one][split] for one in here) else ([], [])


def _meant(dataset: Dataset, split: str, records: int) -> str:
    """Return which other variants have so many records in a split, as what is to be opened in its stead."""
    card = dataset.card
    fits = [
        f"{card.slug}:{name}"
        for name, counts in card.counts.items()
        if counts.get(split) == records and name in card.variants
    ]
    return (
        f"; {' and '.join(fits)} {'has' if len(fits) == 1 else 'have'} so many: open that, where it is meant"
        if fits
        else ""
    )


def _several(what: str, which: list[str]) -> list[str]:
    return [f"{len(which)} {what}: {', '.join(which[:SHOWN])}{', ...' if len(which) > SHOWN else ''}"] if which else []


def _files(dataset: Dataset, root: Path) -> tuple[dict[str, list[str]], list[str]]:
    """Return the card's files that are present and missing, what is there beside them, and what is wrong with them."""
    tree, card = Tree(root), dataset.card
    present, missing, broken = [], [], []
    for split in card.splits:
        asked = [(file, pattern, tree.match(pattern)) for file, pattern in wanted(card, dataset.variant, split)]
        present += [str(hit) for _, _, hits in asked for hit in hits]
        lacking = [official(pattern) for file, pattern, hits in asked if not hits and not file.optional]
        missing += lacking
        own = [hits for file, pattern, hits in asked if "{split}" in file.path or file.splits]
        if lacking and any(own):
            broken.append(f"split {split}: {', '.join(lacking)} missing, and the other files of it are here")
    used = {(one.path, one.member) for pattern in _patterns(dataset) for one in tree.match(pattern)}
    archives = {path for path, member in used if member is not None}
    extra = [
        "/".join(parts)
        for parts, path, member in tree.files()
        if member is None
        and (Path(path), None) not in used
        and Path(path) not in archives
        and not parts[-1].startswith(".")
    ]
    broken += _digests(dataset, root, tree)
    return {"present": sorted(set(present)), "missing": sorted(set(missing)), "extra": extra}, broken


def _patterns(dataset: Dataset) -> set[str]:
    card = dataset.card
    variants = list(card.variants) or [None]
    return {pattern for variant in variants for split in card.splits for _, pattern in wanted(card, variant, split)}


def _digests(dataset: Dataset, root: Path, tree: Tree) -> list[str]:
    """Hold the files whose digests are published, or were noted when they were fetched, against them."""
    known = {path: Item(path, one["url"], one.get("size"), one.get("digest")) for path, one in noted(root).items()}
    for one in dataset.card.downloads:
        if one.index is None and (one.digest or one.size is not None) and one.variant in (None, dataset.variant):
            path = one.path or one.url.rpartition("/")[2]
            known[path] = Item(path, one.url, one.size, one.digest)
    wrong = []
    for path, item in sorted(known.items()):
        for hit in tree.match(fitting(path)):
            try:
                packed = (
                    hit.member is not None or hit.path.name != Path(path).name
                )  # by the user: what it holds is compared
                difference = unlike(hit.open if packed else partial(hit.path.open, "rb"), item)
            except (DatasetError, *DAMAGE) as error:
                difference = "it is damaged or cut short" if not isinstance(error, DatasetError) else str(error)
            if difference is not None:
                wrong.append(f"{hit}: not the published file ({difference})")
    return wrong
