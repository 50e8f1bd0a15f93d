"""FASTA: ``>`` and a header, then lines of letters (Lipman and Pearson 1985; NCBI's description of the format).

Read in blocks, never whole; the entries of a block are cut at once, and one that is longer is held alone. Letters keep their case, which marks
repeats in genomes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np

from healthfm.errors import DatasetError
from healthfm.formats.source import DAMAGE, Row, Source

BLOCK = 1 << 18
LETTERS = re.compile(r"[A-Za-z*.-]+")
BLANKS = "\n\r\t "
NO_BLANKS = str.maketrans("", "", BLANKS)
MARK = b"\xef\xbb\xbf"  # a byte-order mark
NEWLINE, OPENS, CASE, FIRST, LAST = np.frombuffer(b"\n> az", np.uint8)


def entries(source: Source) -> Iterator[Row]:
    """Yield an entry after another as a row of ``header`` (without ``>``) and ``letters``, numbered from 1.

    An entry that holds anything but letters, or nothing, is a problem of that entry.
    """
    for number, header, letters in pairs(source):
        yield Row({"header": header, "letters": letters}, source, number)


def pairs(source: Source) -> Iterator[tuple[int, str, str]]:
    """Yield (number from 1, header, letters) of each entry: what ``entries`` yields, without the cost of a row."""
    number = 0
    try:
        for block in _blocks(source):
            for header, letters, plain in _cut(block):
                number += 1
                if not plain:
                    letters = letters.translate(NO_BLANKS)
                    if not LETTERS.fullmatch(letters):
                        why = "it holds what is no letter of a sequence" if letters else "it holds no letters"
                        source.problems.add(Row({}, source, number).error(why))
                        continue
                yield number, header.strip(BLANKS) if header.isascii() else _text(header).strip(BLANKS), letters
    except DAMAGE as error:
        source.problems.add(DatasetError(f"{source}: the file is damaged or cut short ({type(error).__name__})"))


def _text(header: str) -> str:
    """Return a header whose bytes were taken for Latin-1, which some are (Rfam's), as the UTF-8 that most are."""
    try:
        return header.encode("latin-1").decode("utf-8")
    except UnicodeDecodeError:
        return header


def _cut(block: bytes) -> Iterator[tuple[str, str, bool]]:
    """Return header, letters and whether these are A to Z alone, of whole entries: ``>`` first, the end of a line last."""
    raw = np.frombuffer(block, np.uint8)
    ends = np.flatnonzero(raw == NEWLINE)
    first = np.concatenate([[0], np.flatnonzero(raw[ends[:-1] + 1] == OPENS) + 1])  # lines that are headers
    begins = np.concatenate([[0], ends[first[1:] - 1] + 1]) - first  # where they stand once no line has its end
    joined = block.replace(b"\n", b"")
    heads, tails = ends[first] - first, np.append(begins[1:], len(joined))
    odd = np.flatnonzero((np.frombuffer(joined, np.uint8) | CASE) - FIRST > LAST - FIRST)
    plain = (np.searchsorted(odd, heads) == np.searchsorted(odd, tails)) & (heads < tails)
    text = joined.decode("latin-1")
    headers = [text[i:j] for i, j in zip((begins + 1).tolist(), heads.tolist(), strict=True)]
    letters = [text[i:j] for i, j in zip(heads.tolist(), tails.tolist(), strict=True)]
    return zip(headers, letters, plain.tolist(), strict=True)


def _blocks(source: Source) -> Iterator[bytes]:
    """Yield the entries of a file, whole ones, as many as stand in a block."""
    held: list[bytes] = []  # of the entry that the last block cut
    last, begun = b"", False  # an end of a line stays with what follows it
    with source.open() as handle:
        while read := handle.read(BLOCK):
            block, last = _held_back(last + read)
            if not begun:
                block = block.removeprefix(MARK).lstrip()
                begun = _opens(source, block)
            place = block.rfind(b"\n>") + 1
            if place:
                yield b"".join([*held, block[:place]])
                held = []
            held.append(block[place:])
    rest = b"".join([*held, last.replace(b"\r", b"\n")])
    rest = rest if begun else rest.removeprefix(MARK).lstrip()
    if begun or _opens(source, rest):
        yield rest + b"\n"


def _opens(source: Source, block: bytes) -> bool:
    """Whether there is anything in a file's begin. Raises ``DatasetError``: something that is no entry."""
    if block and block[0] != OPENS:
        raise DatasetError(f"{source}: not FASTA: it does not begin with '>'")
    return bool(block)


def _held_back(block: bytes) -> tuple[bytes, bytes]:
    """Return a block up to its last line's end, every end of a line a newline, and what comes after."""
    tail = b""
    if b"\r" in block:
        tail = b"\r" if block.endswith(b"\r") else b""
        block = block.removesuffix(tail).replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    place = block.rfind(b"\n")
    place = place if place >= 0 else len(block)
    return block[:place], block[place:] + tail
