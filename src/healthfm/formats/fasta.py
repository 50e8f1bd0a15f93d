"""FASTA: ``>`` and a header, then lines of letters (Lipman and Pearson 1985; NCBI's description of the format).

Read in blocks, never whole; the entries of a block are cut at once, and one that is longer is held alone. Letters keep their case, which marks
repeats in genomes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np

from healthfm.errors import DatasetError
from healthfm.formats.source import DAMAGE, Row, Source, lines

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


class Indexed:
    """Letters of a FASTA file by entry and place, read where they are asked for. ``lengths``: letters by an entry's name (its header's first word).

    Goes by the index beside it (``.fai``: samtools' faidx page), or by one made in a pass over the file. Raises ``DatasetError``: the file is packed,
    or an entry's lines are of several lengths.
    """

    def __init__(self, source: Source) -> None:
        if source.member is not None or source.name != source.path.name:
            raise DatasetError(f"{source}: letters are found by place in a file of its own; unpack it first")
        self.source = source
        beside = Source(source.path.with_name(source.path.name + ".fai"))
        self._places = _listed(beside) if beside.path.exists() else _measured(source)
        self.lengths = {name: place[0] for name, place in self._places.items()}
        self._raw = np.memmap(source.path, np.uint8, "r")

    def letters(self, name: str, start: int, end: int) -> str:
        """Return the letters ``[start, end)`` from 0 of an entry, fewer where it ends before."""
        length, offset, width, line = self._places[name]
        start, end = (min(max(one, 0), length) for one in (start, end))
        if start >= end:
            return ""
        begin, last = (offset + one // width * line + one % width for one in (start, end - 1))
        return self._raw[begin : last + 1].tobytes().translate(None, b"\r\n").decode("ascii", "replace")


Place = tuple[int, int, int, int]  # letters, where they begin in the file, letters a line, bytes a line


def _listed(source: Source) -> dict[str, Place]:
    found: dict[str, Place] = {}
    for number, line in lines(source):
        try:
            name, *sizes = line.rstrip("\r\n").split("\t")
            length, offset, width, whole = map(int, sizes)
        except ValueError:
            raise DatasetError(f"{source}, line {number}: not an index of FASTA (a name and four numbers)") from None
        found[name] = (length, offset, max(width, 1), whole)
    return found


def _measured(source: Source) -> dict[str, Place]:
    found: dict[str, Place] = {}
    name, at, short = None, 0, False
    with source.open() as handle:
        for line in handle:
            letters = len(line.rstrip(b"\r\n"))
            if line.startswith(b">"):
                name, short = (line[1:].split() or [b""])[0].decode("utf-8", "replace"), False
                if name in found:
                    raise DatasetError(f"{source}: two entries are called {name}")
                found[name] = (0, at + len(line), 1, 1)
            elif name is not None and letters:
                length, offset, width, whole = found[name]
                if not length:
                    width, whole = letters, len(line)
                elif short or letters > width:
                    raise DatasetError(f"{source}: the lines of {name} are of several lengths")
                short = letters < width
                found[name] = (length + letters, offset, width, whole)
            at += len(line)
    return found
