"""By which ways can a dataset's content have reached a model? Answered from the cards, each step with its evidence.

A model was trained on datasets (its own card, and its base models'). Datasets are tied to each other: one contains
another, is derived from it, or overlaps it. Every simple path of at most ``MAX_STEPS`` such ties from something the
model was trained on to the dataset asked about is an ``Overlap``; its kind says what the path proves.
"""

from __future__ import annotations

import functools
import itertools
import re
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from healthfm.cards import catalog, files
from healthfm.errors import CardError

MAX_STEPS = 4
KINDS = {
    "direct": "the model was trained on this dataset",
    "contained": "the model was trained on something that contains this dataset, or on what it was made from",
    "part": "the model was trained on a part of this dataset, or on something made from it",
    "shared": "the model was trained on something that shares a part with this dataset",
    "overlap": "the model was trained on something that overlaps this dataset",
    "sibling": "the model was trained on something from the same source as this dataset",
}
Entry = dict[str, Any]


@dataclass(frozen=True)
class Tie:
    """A step between two datasets: ``move`` is down (into a part or product), up (to a whole or source), or across.

    ``by`` is "part" when one contains the other, "made" when one was made from the other.
    """

    start: str
    end: str
    move: str
    by: str
    says: str
    evidence: str
    splits: tuple[str, ...] = ()


@dataclass(frozen=True)
class Overlap:
    """One way by which a dataset's content can have reached a model.

    ``kind`` is a key of ``KINDS``; ``path`` the slugs from the model to the dataset; ``steps`` what each step says;
    ``evidence`` the source of each; ``splits`` the only splits concerned, where a step says so (else empty).
    """

    kind: str
    path: tuple[str, ...]
    steps: tuple[str, ...]
    evidence: tuple[str, ...]
    splits: tuple[str, ...] = ()

    @property
    def meaning(self) -> str:
        """What this kind of path proves, in words; less where a link on it was not verified."""
        said = KINDS[self.kind]
        if self.verified:
            return said
        return f"{said.replace('that overlaps', 'that is thought to overlap')} (a link is not verified)"

    @property
    def verified(self) -> bool:
        """Whether the source of every link on the path was read."""
        return not any(source.endswith("[unverified]") for source in self.evidence)

    def concerns(self, split: str | None) -> bool:
        """Whether the path can concern a split: False only when the cards name other splits."""
        return split is None or not self.splits or split in self.splits


def lineage(model: str, dataset: str) -> list[Overlap]:
    """Return every path on the cards by which the dataset's content can have reached the model, strongest first.

    An empty list means that the cards show none, not that there is none.
    """
    start = catalog.lookup(model, "model")
    target: str = catalog.lookup(dataset, "dataset")["slug"]
    ties = _ties()
    exposures = list(_exposures(start, (start["slug"],), ()))
    trained = {e["dataset"] for _, _, e in exposures if e.get("dataset")}
    found: dict[tuple[str, ...], Overlap] = {}
    for models, says, exposure in exposures:
        slug = exposure.get("dataset")
        if slug is None:
            continue
        stage = exposure.get("stage", "pretraining")
        first = f"{models[-1]} was trained on {exposure['name']} ({stage})"
        for walk in _walks(slug, target, ties, trained - {slug}):
            path = (*models, slug, *(tie.end for tie in walk))
            steps = (*says, first, *(tie.says for tie in walk))
            built = (f"the card of {above}, base_models" for above in models[:-1])
            evidence = (*built, _source(exposure), *(tie.evidence for tie in walk))
            found.setdefault(path, Overlap(_kind(walk), path, steps, evidence, _splits(exposure, walk)))
    order = list(KINDS)
    return sorted(found.values(), key=lambda o: (order.index(o.kind), not o.verified, len(o.path), o.path))


@functools.cache
def _web() -> tuple[re.Pattern[str], re.Pattern[str]]:
    """Return what collections of web text are called, and how models that read it (``web.toml``)."""
    facts = tomllib.loads(Path(__file__).with_name("web.toml").read_text(encoding="utf-8"))
    collections = "|".join(map(re.escape, facts["collections"]))
    models = "|".join(re.escape(one["name"]) for one in facts["model"])
    return re.compile(rf"\b(?:{collections})\b", re.IGNORECASE), re.compile(rf"\b(?:{models})", re.IGNORECASE)


def web_crawls(model: str) -> list[str]:
    """Return what a model saw of the web by its card and its base models': collections, and the data of models it was built on.

    No row of the catalogue is such a collection, so ``lineage`` cannot follow what they contain.
    """
    collections, models = _web()
    found: dict[str, None] = {}
    ahead, passed = [model], set[str]()
    while ahead:
        try:
            card = catalog.lookup(ahead.pop(), "model")
        except CardError:
            if not passed:
                raise
            continue
        if card["slug"] not in passed:
            passed.add(card["slug"])
            ahead += card.get("base_models", ())
            seen = (e["name"] for e in card.get("trained_on", ()) if not e.get("dataset"))
            found |= dict.fromkeys(name for name in seen if collections.search(name))
            bases = (b for b in card.get("base", ()) if models.search(b) and "architecture" not in b)
            found |= dict.fromkeys(f"the pre-training data of {base}" for base in bases)
    return list(found)


def web_sentence(crawls: Sequence[str]) -> str:
    """Say what it means that a model saw the web."""
    return f"it saw web text ({'; '.join(crawls)}), and a web crawl may hold any public text, this dataset's too: the cards cannot tell"


def _exposures(
    model: Entry, models: tuple[str, ...], says: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], tuple[str, ...], Entry]]:
    """Yield (models passed, what was said on the way, exposure) of a model and of the base models below it."""
    for exposure in model.get("trained_on", ()):
        yield models, says, exposure
    for base in model.get("base_models", ()):
        if base not in models:
            try:
                below = catalog.lookup(base, "model")
            except CardError:
                continue
            yield from _exposures(
                below, (*models, below["slug"]), (*says, f"{models[-1]} was built on {below['slug']}")
            )


def _ties() -> dict[str, list[Tie]]:
    """Return every tie by the slug it starts from, both ways."""
    ties: dict[str, list[Tie]] = {}

    def add(start: str, end: str, move: str, by: str, says: str, link: Entry) -> None:
        ties.setdefault(start, []).append(Tie(start, end, move, by, says, _source(link), tuple(link.get("splits", ()))))

    for (kind, slug), entry in files.entries().items():
        if kind != "dataset":
            continue
        for link in entry.get("contains", ()):
            other, what = link["dataset"], _what(link)
            add(slug, other, "down", "part", f"{slug} contains {other} ({what})", link)
            add(other, slug, "up", "part", f"{other} is in {slug} ({what})", link)
        for link in entry.get("derived_from", ()):
            other, what = link["dataset"], _what(link)
            add(slug, other, "up", "made", f"{slug} was made from {other} ({what})", link)
            add(other, slug, "down", "made", f"{other} is what {slug} was made from ({what})", link)
        for link in entry.get("overlaps", ()):
            other, what = link["dataset"], _what(link)
            add(slug, other, "across", "overlap", f"{slug} overlaps {other} ({what})", link)
            add(other, slug, "across", "overlap", f"{other} overlaps {slug} ({what})", link)
    return ties


def _what(link: Entry) -> str:
    splits = f", {'/'.join(link['splits'])} split only" if link.get("splits") else ""
    key = f", joined by {link['key']}" if link.get("key") else ""
    return f"{link['what']}{splits}{key}"


def _source(fact: Entry) -> str:
    checked = fact.get("checked", "unverified")
    return f"{fact['source']} [{checked}]"


def _walks(start: str, target: str, ties: dict[str, list[Tie]], passed: set[str]) -> Iterator[tuple[Tie, ...]]:
    """Yield the allowed simple walks from ``start`` to ``target`` that do not pass another dataset the model saw."""
    if start == target:
        yield ()
        return
    stack: list[tuple[str, tuple[Tie, ...]]] = [(start, ())]
    while stack:
        here, walk = stack.pop()
        for tie in ties.get(here, ()):
            longer = (*walk, tie)
            if tie.end == start or any(tie.end == t.end for t in walk) or not _allowed(longer):
                continue
            if tie.end == target:
                yield longer
            elif tie.end not in passed and len(longer) < MAX_STEPS:
                stack.append((tie.end, longer))


# Pairs of steps that prove nothing at the dataset between them: a mixture's source and one of its parts (or another of
# its sources) need not share anything, and neither need two parts of one collection.
EMPTY = {
    (("down", "made"), ("down", "part")), (("up", "part"), ("up", "made")),
    (("down", "made"), ("up", "made")), (("up", "part"), ("down", "part")),
}  # fmt: skip


def _allowed(walk: tuple[Tie, ...]) -> bool:
    """Whether a walk can carry content: one turn at most, or one step across and no turn, and no pair of ``EMPTY``."""
    vertical = [tie for tie in walk if tie.move != "across"]
    across = len(walk) - len(vertical)
    turns = sum(a.move != b.move for a, b in itertools.pairwise(vertical))
    if across > 1 or turns > 1 - across:
        return False
    return all(((a.move, a.by), (b.move, b.by)) not in EMPTY for a, b in itertools.pairwise(walk))


def _kind(walk: tuple[Tie, ...]) -> str:
    moves = [tie.move for tie in walk]
    if not moves:
        return "direct"
    if "across" in moves:
        return "overlap"
    if set(moves) == {"down"}:
        return "contained"
    if set(moves) == {"up"}:
        return "part"
    return "shared" if moves[0] == "down" else "sibling"


def _splits(exposure: Entry, walk: tuple[Tie, ...]) -> tuple[str, ...]:
    """The splits of the target that a walk concerns: known where the model saw it whole or a container names its splits."""
    if not walk:
        return tuple(exposure.get("splits", ()))
    return walk[-1].splits if walk[-1].by == "part" and all(tie.move == "down" for tie in walk) else ()
