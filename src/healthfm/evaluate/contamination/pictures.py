"""Which of a dataset's pictures stand in another set or folder: by what they show, and by the names that their papers give them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from healthfm.curate import fingerprints
from healthfm.curate.fingerprints import Index, Print, fingerprint
from healthfm.curate.gallery import Gallery, Picture, decoded
from healthfm.datasets.dataset import Dataset
from healthfm.errors import BadValue, DatasetError
from healthfm.formats.source import Problems
from healthfm.score.statistics import wilson
from healthfm.spelling import counted

PLACES = 5  # kept of each picture; all are counted
KINDS = ("picture", "figure", "paper")
MEANS = {
    "picture": "records have a picture that is there too, whole or after resizing, compression, another depth, or with its border cut off",
    "figure": "records have a figure that is there too, by its paper's number (PMCID) and its own",
    "paper": "records have a figure of a paper of which other figures are there: the same patients, perhaps",
}
RULE = {
    "pictures_differ_in_bits_of_256": fingerprints.SAME, "pictures_compared_below_bits_of_64": fingerprints.HINT,
    "border_cut_off_at_most": max(fingerprints.CUTS),
}  # fmt: skip
CAUTION = (
    "A picture counts as found where what it shows agrees in all but a few of 256 bits: two exposures of one patient a moment apart, or two slices beside one another, "
    "can agree as well, so look at the pairs. One that was mirrored, turned, drawn upon, or cut by more than a tenth on a side or by much more on one side than on "
    "another is not found."
)


@dataclass
class Found:
    """What of a dataset's pictures was found. ``found`` and ``parts`` are as in ``Finding``."""

    found: list[dict[str, Any]] = field(default_factory=list)
    parts: dict[str, dict[str, Any]] = field(default_factory=dict)
    searched: int = 0
    files: int = 0
    skipped: list[str] = field(default_factory=list)
    unread: int = 0  # pictures searched that could not be decoded
    blind: int = 0  # pictures looked for that could not


def look(
    shots: Sequence[Picture], place: Path | Dataset, progress: Callable[[int, int | None], None] | None = None
) -> Found:
    """Look for pictures in a set or below a folder, which is read once; a picture's ``name`` is the id of its record."""
    gallery, told, own = Gallery(place), progress or (lambda done, of: None), Problems("collect")
    prints, names, plain = list[Print](), list[str](), set[str]()
    for number, (shot, found) in enumerate(_prints(shots, own), 1):
        told(number, None)
        if found is not None:
            prints.append(found)
            names.append(shot.name)
        elif shot.load is not None:
            plain.add(shot.name)
    index = Index(prints) if prints else None
    figures, papers = (_by(shots, key) for key in (lambda one: one.figure, lambda one: one.paper))
    hits: dict[tuple[str, str], dict[str, Any]] = {}
    searched = 0
    for shot, found in _prints(gallery, gallery.problems, index is not None):
        searched += 1
        told(len(shots) + searched, None)
        if found is not None and index is not None:
            best: dict[str, tuple[int, float, bool]] = {}
            for number, bits, cut in index.search(found):
                one = (bits, cut, index.pixels[number] == found.pixels)
                best[names[number]] = min(one, best.get(names[number], one), key=lambda each: each[0])
            for id, (bits, cut, whole) in best.items():
                _note(hits, id, "picture", shot, "exact" if whole else "near", 1 - bits / 256, bits=bits, cut=cut)
        for id in figures.get(shot.figure or "", ()):
            _note(hits, id, "figure", shot, "exact", 1.0)
        for id in papers.get(shot.paper or "", ()):
            if id not in figures.get(shot.figure or "", ()):
                _note(hits, id, "paper", shot, "near", 1.0)
    looked = {"picture": set(names), "figure": set().union(*figures.values()), "paper": set().union(*papers.values())}
    short = {"picture": plain - set(names), "figure": set[str](), "paper": set[str]()}
    return Found(
        sorted(hits.values(), key=lambda one: (KINDS.index(one["part"]), one["how"], -one["share"], one["ids"])),
        {kind: count(looked[kind], short[kind], hits, kind) for kind in KINDS if looked[kind]},
        searched, gallery.files, gallery.skipped, len(gallery.problems.found), len(own.found),
    )  # fmt: skip


def _prints(shots: Iterable[Picture], problems: Problems, asked: bool = True) -> Iterator[tuple[Picture, Print | None]]:
    """Yield every picture with its fingerprint; None where it is not here, shows too little, or cannot be read (a problem)."""
    for shot in shots:
        pixels = decoded(shot, problems) if asked else None
        try:
            yield shot, None if pixels is None else fingerprint(pixels)
        except BadValue as error:
            problems.add(DatasetError(f"{shot.name}: {error}"))
            yield shot, None


def _by(shots: Iterable[Picture], key: Callable[[Picture], str | None]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = defaultdict(set)
    for shot in shots:
        if (name := key(shot)) is not None:
            found[name].add(shot.name)
    return found


def _note(
    hits: dict[tuple[str, str], dict[str, Any]], id: str, part: str, shot: Picture, how: str, share: float, **more: Any
) -> None:
    one = hits.setdefault(
        (part, id), {"ids": [id], "part": part, "how": "near", "share": 0.0, "words": 0, "documents": 0, "places": []}
    )
    place = {"document": shot.name, "start": 0, "end": 0, "how": how, "share": share, **more}
    one["documents"] += 1
    one["places"] = sorted([*one["places"], place], key=lambda each: -each["share"])[:PLACES]
    one["share"], one["how"] = max(one["share"], share), "exact" if how == "exact" else one["how"]


def count(looked: set[str], short: set[str], hits: Mapping[tuple[str, str], Any], kind: str) -> dict[str, Any]:
    """Return how many records were looked for by one kind of name or content, and found, as ``Finding.parts`` has it."""
    mine = [one["how"] for (part, _), one in hits.items() if part == kind]
    interval = wilson(len(mine), len(looked)) if looked else None
    return {
        "looked_for": len(looked), "too_short": len(short), "exact": mine.count("exact"), "near": mine.count("near"), "few_words": 0,
        "share": len(mine) / len(looked) if looked else None, "low": interval.low if interval else None, "high": interval.high if interval else None,
    }  # fmt: skip


def says(found: Found, where: str) -> list[str]:
    """Say in sentences what was found of pictures."""
    told = []
    for kind, one in found.parts.items():
        hits = one["exact"] + one["near"]
        interval = f" (95 % interval {one['low']:.1%} to {one['high']:.1%})"
        pixel = f"; of {one['exact']} the very pixels" if kind == "picture" and hits else ""
        told.append(
            f"{kind}: {hits} of {one['looked_for']} {MEANS[kind]}, in {where} ({found.searched:,} pictures){interval}{pixel}."
        )
        if one["too_short"]:
            told.append(
                f"{kind}: {counted(one['too_short'], 'record has', 'records have')} pictures that show too little to be told from others."
            )
    if found.blind:
        told.append(
            f"{counted(found.blind, 'picture of the dataset', 'pictures of the dataset')} could not be read: not looked for."
        )
    if found.unread:
        told.append(f"{counted(found.unread, 'picture')} of {where} could not be read: not searched.")
    return [*told, CAUTION]
