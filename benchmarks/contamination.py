"""Searching a corpus for a benchmark's texts, against n-gram decontamination, in one alternating run.

Looked for: PubMedQA's 1,000 questions and contexts, 300 of them planted in the corpus, whole or with a tenth of their words changed. Peers:
lm-evaluation-harness 0.4.13's ``Janitor`` (13-grams; its Python road), a plain loop over a set of 13-grams and one of 8-grams, and
pyahocorasick (whole questions only). All read the same documents, a block of them at a time and one after the other, so that a
noisy machine disturbs all alike; indexing is not counted. Printed: MB/s, the ratio to the Janitor, and the recall of each by kind of text.

    python benchmarks/contamination.py --megabytes 20
"""

from __future__ import annotations

import argparse
import json
import random
import re
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import ahocorasick
from lm_eval.decontamination.janitor import Janitor
from memory import peak_mib

from healthfm.curate.corpus import text_of
from healthfm.curate.search import Index
from healthfm.curate.texts import Part, parts
from healthfm.curate.words import fold
from healthfm.datasets.open import open_dataset

PROJECT = Path(__file__).parent.parent
PLANTED = 300
BLOCK = 1_000_000  # characters that one method searches before the next gets the same
WORD = re.compile(r"\w+")
Documents = list[tuple[str, int, str]]
Search = Callable[[Documents], set[str]]


def text(part: Part) -> str:
    """Return a part as one text."""
    return " ".join(word.decode() for segment in part.segments for word in segment)


def changed(words: Sequence[str], vocabulary: Sequence[str], rng: random.Random) -> list[str]:
    """Put another word in the place of a tenth of the words, one at least."""
    found = list(words)
    for i in rng.sample(range(len(found)), max(1, round(len(found) / 10))):
        found[i] = rng.choice(vocabulary)
    return found


def corpus(
    megabytes: float, looked_for: Sequence[Part], rng: random.Random
) -> tuple[Documents, dict[str, tuple[Part, bool]]]:
    """Return MedQA's questions, repeated up to the size, with texts planted; and what was planted in which document."""
    texts = [text_of(record) for record in open_dataset("medqa", PROJECT / "tests/data/medqa", "test")]
    vocabulary = " ".join(texts[:50]).split()
    size = sum(map(len, texts))
    texts = texts * max(1, round(megabytes * 1e6 / size))
    chosen = rng.sample(looked_for, min(PLANTED, len(texts) // 2))
    planted: dict[str, tuple[Part, bool]] = {}
    for part, i in zip(chosen, rng.sample(range(len(texts)), len(chosen)), strict=True):
        whole = len(planted) % 2 == 0
        words = text(part).split() if whole else changed(text(part).split(), vocabulary, rng)
        around = texts[i].split(" ")
        cut = rng.randrange(len(around))
        texts[i] = " ".join([*around[:cut], *words, *around[cut:]])
        planted[str(i)] = (part, whole)
    return [(str(i), 0, one) for i, one in enumerate(texts)], planted


def ours(looked_for: Sequence[Part]) -> Search:
    """Return our search."""
    index = Index(looked_for)
    return lambda documents: {match.document for match in index.search(documents)}


def janitor(looked_for: Sequence[Part]) -> Search:
    """Return lm-evaluation-harness's search: a document that it cuts holds a contaminated 13-gram."""
    sweeper = Janitor()
    for part in looked_for:
        sweeper.register_contaminant_python(text(part))
    return lambda documents: {name for name, _, one in documents if sweeper.clean_python(one) != [one]}


def plain_loop(looked_for: Sequence[Part], n: int) -> Search:
    """Return the loop that everybody writes: a set of n-grams as strings."""

    def grams(one: str) -> Iterator[str]:
        words = WORD.findall(one.lower())
        return (" ".join(words[i : i + n]) for i in range(len(words) - n + 1))

    known = {gram for part in looked_for for gram in grams(text(part))}
    return lambda documents: {name for name, _, one in documents if any(gram in known for gram in grams(one))}


def aho_corasick(looked_for: Sequence[Part]) -> Search:
    """Return whole-question matching by pyahocorasick on the same folded text."""
    automaton = ahocorasick.Automaton()
    for part in looked_for:
        if part.kind == "question":
            automaton.add_word(f" {text(part)} ", part.ids[0])
    automaton.make_automaton()

    def search(documents: Documents) -> set[str]:
        plain = ((name, f" {' '.join(fold(one).decode().split())} ") for name, _, one in documents)
        return {name for name, one in plain if next(automaton.iter(one), None) is not None}

    return search


def blocks(documents: Documents) -> Iterator[Documents]:
    """Yield the documents in blocks."""
    block: Documents = []
    for document in documents:
        block.append(document)
        if sum(len(one) for _, _, one in block) >= BLOCK:
            yield block
            block = []
    if block:
        yield block


def recall(found: set[str], planted: dict[str, tuple[Part, bool]]) -> dict[str, float]:
    """Return the share of planted texts found, by kind and by whether they were changed."""
    groups: dict[str, list[bool]] = {}
    for name, (part, whole) in planted.items():
        groups.setdefault(f"{part.kind}, {'whole' if whole else 'a tenth changed'}", []).append(name in found)
    return {group: round(sum(hits) / len(hits), 3) for group, hits in sorted(groups.items())}


def main() -> None:
    """Run all methods and store the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=float, default=20)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    looked_for = parts(open_dataset("pubmedqa", PROJECT / "examples/pubmedqa"))
    documents, planted = corpus(arguments.megabytes, looked_for, random.Random(arguments.seed))
    size = sum(len(one) for _, _, one in documents)
    start = time.perf_counter()
    searches = {"healthfm": ours(looked_for)}
    indexing = time.perf_counter() - start
    searches |= {
        "lm_eval Janitor, 13-grams": janitor(looked_for), "plain loop, 13-grams": plain_loop(looked_for, 13),
        "plain loop, 8-grams": plain_loop(looked_for, 8), "pyahocorasick, whole questions": aho_corasick(looked_for),
    }  # fmt: skip
    seconds, found = dict.fromkeys(searches, 0.0), {name: set() for name in searches}
    searches["healthfm"](documents[:100])  # tables of powers are made once
    for block in blocks(documents):
        for name, search in searches.items():
            start = time.perf_counter()
            found[name] |= search(block)
            seconds[name] += time.perf_counter() - start
    slowest = seconds["lm_eval Janitor, 13-grams"]
    result = {
        "corpus": f"MedQA test questions repeated, {size / 1e6:.1f} MB, {len(documents)} documents, {len(planted)} planted texts of PubMedQA",
        "texts_looked_for": len(looked_for), "indexing_seconds": round(indexing, 2),
        "methods": {
            name: {
                "MB_per_s": round(size / 1e6 / seconds[name], 2), "ratio_to_janitor": round(slowest / seconds[name], 2),
                "recall": recall(found[name], planted), "false_alarms": len(found[name] - set(planted)),
            }
            for name in searches
        },
        "peak_memory_mib": peak_mib(),
    }  # fmt: skip
    target = Path(__file__).parent / "results" / "contamination.json"
    target.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
