"""Text as words that two copies of it share: case, punctuation, white space and accents do not count.

A text is folded to bytes (words of letters and digits between single or more spaces) and its words are hashed in one pass of
NumPy over megabytes, so that every run of n words has a number. Equal numbers are only a hint: what they suggest is
compared word by word before anything is said.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from healthfm.score.scripts import spaceless

Hashes = npt.NDArray[np.uint64]
Places = npt.NDArray[np.int64]

BREAK = b" \x01 "  # a word that no text has: runs of words do not reach across it
_ASCII = bytes(i if i > 127 else ord(chr(i).lower()) if chr(i).isalnum() else 32 for i in range(256))
_BEYOND_ASCII = re.compile(r"[^\x00-\x7f]+")
_RUN = re.compile(r"[\x00-\x7f]+|[^\x00-\x7f]")
_OF_BYTES, _OF_WORDS = 0x9E3779B97F4A7C15, 0xD1342543DE82EF95  # odd, so that they have an inverse modulo 2^64


class _Folds(dict[int, str]):
    """What each character becomes, worked out when it is first met; a letter of a script without blanks is a word."""

    def __missing__(self, code: int) -> str:
        plain = unicodedata.normalize("NFKD", chr(code)).casefold()
        kept = [c for c in plain if unicodedata.category(c) not in ("Mn", "Me", "Cf")]
        folded = "".join(
            f" {c} " if c.isalnum() and spaceless(c) else c if c.isalnum() or unicodedata.category(c) == "Mc" else " "
            for c in kept
        )
        self[code] = folded
        return folded


_FOLDS = _Folds()


def fold(text: str) -> bytes:
    """Return a text's words in lower case, UTF-8, with spaces between; of an ASCII text every byte keeps its place."""
    if not text.isascii():
        text = _BEYOND_ASCII.sub(lambda run: run[0].translate(_FOLDS), text)
    return text.encode().translate(_ASCII)


def spans(text: str) -> list[tuple[int, int]]:
    """Return where each word of ``fold(text)`` stands in ``text``, as character offsets [start, end)."""
    if text.isascii():
        return [match.span() for match in re.finditer(rb"[^ ]+", fold(text))]
    owner: list[int] = []  # the character that each byte comes from
    for run in _RUN.finditer(text):
        owner.extend(range(*run.span()) if run[0].isascii() else [run.start()] * len(fold(run[0])))
    return [(owner[m.start()], owner[m.end() - 1] + 1) for m in re.finditer(rb"[^ ]+", fold(text))]


def word_hashes(folded: bytes) -> tuple[Hashes, Places]:
    """Return a number for each word and the byte at which it begins."""
    data = np.frombuffer(folded, np.uint8)
    inside = np.concatenate([[False], data != 32, [False]])
    edges = np.flatnonzero(inside[1:] != inside[:-1])
    starts, ends = edges[::2], edges[1::2]
    return _between(data, starts, ends, _OF_BYTES), starts


def gram_hashes(words: Hashes, n: int) -> Hashes:
    """Return a number for each run of ``n`` words."""
    starts = np.arange(max(0, len(words) - n + 1))
    return _between(words, starts, starts + n, _OF_WORDS)


def _between(values: npt.NDArray[np.unsignedinteger], starts: Places, ends: Places, base: int) -> Hashes:
    """Hash values[start:end] for many ranges: a polynomial modulo 2^64 from its prefix sums, then mixed (splitmix64)."""
    powers, inverses = _powers(base, 1 << max(12, len(values).bit_length()))
    prefix = np.zeros(len(values) + 1, np.uint64)
    np.cumsum(values * powers[: len(values)], out=prefix[1:])
    x = (prefix[ends] - prefix[starts]) * inverses[starts]
    x ^= x >> np.uint64(30)
    x *= np.uint64(0xBF58476D1CE4E5B9)
    x ^= x >> np.uint64(27)
    x *= np.uint64(0x94D049BB133111EB)
    x ^= x >> np.uint64(31)
    return x


@lru_cache(maxsize=8)
def _powers(base: int, length: int) -> tuple[Hashes, Hashes]:
    def series(step: int) -> Hashes:
        steps = np.full(length, step, np.uint64)
        steps[0] = 1
        return np.multiply.accumulate(steps)

    return series(base), series(pow(base, -1, 1 << 64))
