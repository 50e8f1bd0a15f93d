"""Finding texts in a corpus: runs of n words as a hint, then word by word.

**The hint** is the q-gram lemma (Jokinen and Ukkonen 1991): of the L - n + 1 runs of n words in a text of L words, changing,
inserting or deleting k words breaks at most k n. So n is chosen for each text by its length, the longest for which a copy with
a tenth of its words changed must still share ``need`` runs: short questions get short runs, and none is too short to be
looked for. Plain 13-word runs are blind to the half of PubMedQA's questions that have fewer words.

**The share covered** of a text is that of its words, the rare ones counting more (by how many of the benchmark's texts have
them), that stand in runs of two or three words which the found place has too, in any order, as options may stand. ``SHARE`` and the lengths were fitted on
PubMedQA, MedQuAD and MedQA, planted in one another.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from healthfm.curate.texts import Part
from healthfm.curate.words import BREAK, Hashes, Places, fold, gram_hashes, spans, word_hashes

LENGTHS = (8, 5, 3, 2)  # of runs: each costs a pass over the corpus
CHANGED = 0.1  # share of words that may have been changed
NEED = 3  # runs that must be shared, at least
SHORTEST = 3  # words of a text that is looked for
EXACT_ONLY = 6  # a text of fewer words counts only as a whole
FEW = 11  # a text of fewer words may have one word changed and no more
LONG = 24  # a text of fewer words is compared by runs of two words, a longer one by runs of three
SHARE = 0.7  # of a text's weight that a near copy must cover
WORDS = 0.65  # of its words
COMMON = 32  # a run that more texts of the benchmark have is no hint
BLOCK = 1 << 20  # bytes of folded text searched at a time


@dataclass(frozen=True)
class Hit:
    """A text found: which part, in which document, where (characters), how ("exact" or "near"), the share covered."""

    part: int
    document: str
    start: int
    end: int
    how: str
    share: float
    snippet: str


@dataclass(frozen=True)
class _Runs:
    """Every run of ``n`` words of the parts that use this length: sorted numbers, and for each its parts."""

    n: int
    keys: Hashes
    first: Places  # of each key's rows in ``part`` and ``at``; one more at the end
    part: Places
    at: Places
    sieve: np.ndarray[tuple[int], np.dtype[np.bool_]]  # by a number's upper bits: may it be a key?
    shift: np.uint64


class Index:
    """The texts of a benchmark, made ready to be looked for."""

    def __init__(self, parts: Sequence[Part]) -> None:
        self.parts = parts
        self.too_short = {i for i, part in enumerate(parts) if part.length < SHORTEST}
        counts: Counter[bytes] = Counter()
        for part in parts:
            counts.update(set().union(*part.segments))
        self._weight = {word: math.log(1 + len(parts) / count) for word, count in counts.items()}
        self.length = np.array([part.length for part in parts], np.int64)
        self.need = np.ones(len(parts), np.int64)
        using: dict[int, list[int]] = {}
        for i, part in enumerate(parts):
            if i not in self.too_short:
                n, self.need[i] = run_length(list(map(len, part.segments)))
                using.setdefault(n, []).append(i)
        self.runs = [self._runs(n, mine) for n, mine in sorted(using.items())]

    def _runs(self, n: int, mine: list[int]) -> _Runs:
        """Sort the runs of one length, of the parts that use it; those of many parts are left out, as long as each part keeps one."""
        blocks = np.flatnonzero(np.diff(np.cumsum(self.length[mine]) // (BLOCK // 8 + 1))) + 1
        found = [_runs_within(self.parts, block, n) for block in np.split(np.array(mine), blocks)]
        numbers, part, at = (np.concatenate(columns) for columns in zip(*found, strict=True))
        order = np.argsort(numbers, kind="stable")
        numbers, part, at = numbers[order], part[order], at[order]
        _, group, sizes = np.unique(numbers, return_inverse=True, return_counts=True)
        shared = sizes[group]
        rarest = np.full(len(self.parts), np.iinfo(np.int64).max)
        np.minimum.at(rarest, part, shared)
        keep = (shared <= COMMON) | (shared == rarest[part])
        dropped = np.bincount(part[~keep], minlength=len(self.parts))
        self.need = np.maximum(self.need - dropped, np.minimum(self.need, 2))
        kept = np.bincount(part[keep], minlength=len(self.parts))
        self.need = np.where(kept > 0, np.minimum(self.need, np.maximum(kept, 1)), self.need)
        keys, first = np.unique(numbers[keep], return_index=True)
        bits = max(16, len(keys).bit_length() + 4)
        shift = np.uint64(64 - bits)
        sieve = np.zeros(1 << bits, np.bool_)
        sieve[keys >> shift] = True
        return _Runs(n, keys, np.append(first, keep.sum()), part[keep], at[keep], sieve, shift)

    def search(self, documents: Iterable[tuple[str, int, str]]) -> Iterator[Hit]:
        """Yield the texts found in a stream of (name, offset, text), block by block."""
        block: list[tuple[str, int, str]] = []
        size = 0
        for document in documents:
            block.append(document)
            size += len(document[2])
            if size >= BLOCK:
                yield from self._search_block(block)
                block, size = [], 0
        if block:
            yield from self._search_block(block)

    def _search_block(self, documents: list[tuple[str, int, str]]) -> Iterator[Hit]:
        folded = [fold(text) for _, _, text in documents]
        words, starts = word_hashes(BREAK.join(folded))
        begins = np.cumsum([0, *(len(one) + len(BREAK) for one in folded)])[:-1]
        first = np.searchsorted(starts, begins)  # each document's first word in the block
        split: dict[int, list[bytes]] = {}
        stand: dict[int, list[tuple[int, int]]] = {}
        for part, number, low, high in self._candidates(words, first):
            name, offset, text = documents[number]
            if number not in split:
                split[number] = folded[number].split()
            found = self._look(part, split[number], low, high)
            if found is not None:
                how, share, start, end = found
                if number not in stand:
                    stand[number] = spans(text)
                (begin, _), (_, finish) = stand[number][start], stand[number][end - 1]
                yield Hit(part, name, offset + begin, offset + finish, how, share, text[begin:finish])

    def _candidates(self, words: Hashes, first: Places) -> Iterator[tuple[int, int, int, int]]:
        """Yield (part, document, first and last word of the hints within it) where enough runs of a part stand close together."""
        hits = [self._hits(runs, words) for runs in self.runs]
        if not sum(len(part) for part, *_ in hits):
            return
        part, at, place, n = (np.concatenate(columns) for columns in zip(*hits, strict=True))
        document = np.searchsorted(first, place, side="right") - 1
        place = place - first[document]
        width = 2 ** np.ceil(np.log2(2.5 * self.length[part] + 2)).astype(np.int64)
        seen: set[tuple[int, int, int, int]] = set()
        for grid in (0, 1):  # two grids, half a width apart: a copy lies wholly in a cell of one of them
            cell = (place + grid * width // 2) // width
            order = np.lexsort((at, cell, document, part))
            keys = np.stack([part[order], document[order], cell[order]])
            new = np.concatenate([[True], (keys[:, 1:] != keys[:, :-1]).any(axis=0)])
            again = np.concatenate([[False], ~new[1:] & (at[order][1:] == at[order][:-1])])
            group = np.cumsum(new) - 1
            distinct = np.bincount(group, weights=~again)
            edges = np.append(np.flatnonzero(new), len(order))
            for g in np.flatnonzero(distinct >= self.need[part[order][edges[:-1]]]).tolist():
                rows = order[edges[g] : edges[g + 1]]
                one = (
                    int(part[rows[0]]),
                    int(document[rows[0]]),
                    int(place[rows].min()),
                    int((place[rows] + n[rows]).max()),
                )
                if one not in seen:
                    seen.add(one)
                    yield one

    def _hits(self, runs: _Runs, words: Hashes) -> tuple[Places, Places, Places, Places]:
        """Return (part, run within the part, word within the block, n) of every run of the block that parts have."""
        grams = gram_hashes(words, runs.n)
        maybe = np.flatnonzero(runs.sieve[grams >> runs.shift])
        key = np.searchsorted(runs.keys, grams[maybe])
        key[key == len(runs.keys)] = 0
        sure = runs.keys[key] == grams[maybe]
        place, key = maybe[sure], key[sure]
        count = runs.first[key + 1] - runs.first[key]
        rows = np.repeat(runs.first[key] - np.concatenate([[0], np.cumsum(count)[:-1]]), count) + np.arange(count.sum())
        return runs.part[rows], runs.at[rows], np.repeat(place, count), np.full(len(rows), runs.n)

    def _look(self, number: int, words: list[bytes], low: int, high: int) -> tuple[str, float, int, int] | None:
        """Compare a part with the words around a hint; return (how, share, first word, last word + 1) where it is there."""
        part = self.parts[number]
        before = max(0, low - part.length)
        window = words[before : high + part.length]
        text = _text(window)
        whole = [_find(segment, text) for segment in part.segments]
        if all(place is not None for place in whole):
            ends = [
                (place, place + len(segment))
                for place, segment in zip(whole, part.segments, strict=True)
                if place is not None
            ]
            return "exact", 1.0, before + min(start for start, _ in ends), before + max(end for _, end in ends)
        if part.length < EXACT_ONLY:
            return None
        covered, share = self._share(part, window)
        if part.length >= FEW:
            return ("near", share, low, min(high, len(words))) if share >= SHARE and covered >= WORDS else None
        stretch = _one_change(part.segments[0], window) if len(part.segments) == 1 else None
        return ("near", share, before + stretch[0], before + stretch[1]) if share >= SHARE and stretch else None

    def _share(self, part: Part, window: list[bytes]) -> tuple[float, float]:
        """Return the share of a part's words that the window covers: as they are, and by weight."""
        size = 2 if part.length < LONG else 3
        there = set(_in_runs(window, size))
        text = _text(window)
        weight, total, count = 0.0, 0.0, 0
        for segment in part.segments:
            inside = [len(segment) < size and _find(segment, text) is not None] * len(segment)
            for i, run in enumerate(_in_runs(segment, size)):
                if run in there:
                    inside[i : i + size] = [True] * size
            weights = [self._weight[word] for word in segment]
            total += sum(weights)
            weight += sum(one for one, covered in zip(weights, inside, strict=True) if covered)
            count += sum(inside)
        return count / part.length, weight / total


def _runs_within(parts: Sequence[Part], block: Places, n: int) -> tuple[Hashes, Places, Places]:
    """Return (number, part, place) of each run of ``n`` words in a block of parts; none reaches from one segment into another."""
    segments = [(i, segment) for i in block.tolist() for segment in parts[i].segments]
    words, _ = word_hashes(BREAK.join(b" ".join(segment) for _, segment in segments))
    part = np.repeat([i for i, _ in segments], [len(segment) + 1 for _, segment in segments])
    breaks = np.cumsum(np.append(0, words == word_hashes(BREAK)[0]))
    grams = gram_hashes(words, n)
    place = np.flatnonzero(breaks[n : n + len(grams)] == breaks[: len(grams)])
    return grams[place], part[place], place


def _in_runs(words: Sequence[bytes], size: int) -> Iterator[tuple[bytes, ...]]:
    """Yield every run of ``size`` words."""
    return zip(*(words[i:] for i in range(size)), strict=False)


def run_length(segments: Sequence[int]) -> tuple[int, int]:
    """Return the length of runs to look for in a text of these segments' lengths, and how many a changed copy must share."""
    words = sum(segments)
    changed = math.ceil(CHANGED * words)

    def runs(n: int) -> int:
        return sum(max(0, one - n + 1) for one in segments)

    for n in LENGTHS:
        if words >= EXACT_ONLY and runs(n) - changed * n >= NEED:
            return n, runs(n) - changed * n
    n = min(SHORTEST if words < EXACT_ONLY else LENGTHS[-1], max(segments))
    return n, runs(n) if words < EXACT_ONLY else max(1, runs(n) - changed * n)


def _one_change(segment: Sequence[bytes], window: Sequence[bytes]) -> tuple[int, int] | None:
    """Return where a window holds a segment with one word changed, left out or put in; None where it does not."""
    for start in range(-1, len(window)):
        head = 0
        while head < len(segment) and 0 <= start + head < len(window) and segment[head] == window[start + head]:
            head += 1
        for passed, place in ((head + 1, start + head + 1), (head + 1, start + head), (head, start + head + 1)):
            rest = tuple(segment[passed:])
            if place >= 0 and tuple(window[place : place + len(rest)]) == rest:
                return max(0, start), min(place + len(rest), len(window))
    return None


def _text(words: Sequence[bytes]) -> bytes:
    return b" " + b" ".join(words) + b" "


def _find(segment: Sequence[bytes], text: bytes) -> int | None:
    """Return the word at which a segment begins in the ``_text`` of a window, as a whole and in order; None where it does not."""
    place = text.find(_text(segment))
    return None if place < 0 else text.count(b" ", 0, place)
