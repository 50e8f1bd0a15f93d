"""Real texts planted in another real corpus, whole or with a tenth of their words changed."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

from healthfm.curate.corpus import text_of
from healthfm.curate.texts import Part
from healthfm.datasets.open import open_dataset
from healthfm.records import Record

CHANGED = 0.1
Document = tuple[str, int, str]


def records(name: str, root: Path, split: str = "test") -> list[Record]:
    return list(open_dataset(name, root, split))


def corpus(texts: Sequence[Record]) -> list[Document]:
    return [(record.id, 0, text_of(record)) for record in texts]


def change(words: Sequence[str], vocabulary: Sequence[str], rng: random.Random) -> list[str]:
    """Put another word in the place of a tenth of the words (one at least), leave it out, or put a word before it."""
    found = list(words)
    for i in sorted(rng.sample(range(len(found)), max(1, round(CHANGED * len(found)))), reverse=True):
        how = rng.choice(("substitute", "delete", "insert"))
        found[i : i + (how != "insert")] = [] if how == "delete" else [rng.choice(vocabulary)]
    return found


def plant(
    parts: Sequence[Part], documents: Sequence[Document], changed: bool, seed: int = 0
) -> tuple[list[Document], dict[int, str]]:
    """Return the documents, each with at most one part inserted at a random word, and which part went into which."""
    rng = random.Random(seed)
    vocabulary = " ".join(text for _, _, text in documents[:50]).split()
    chosen = rng.sample(range(len(parts)), min(len(parts), len(documents)))
    found, places = list(documents), {}
    for number, i in zip(chosen, rng.sample(range(len(documents)), len(chosen)), strict=True):
        words = [word.decode() for segment in parts[number].segments for word in segment]
        name, start, text = documents[i]
        around = text.split(" ")
        cut = rng.randrange(len(around) + 1)
        around[cut:cut] = change(words, vocabulary, rng) if changed else words
        found[i] = (name, start, " ".join(around))
        places[number] = name
    return found, places
