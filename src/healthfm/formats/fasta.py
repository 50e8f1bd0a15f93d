"""FASTA: ``>`` and a header, then lines of letters (Lipman and Pearson 1985; NCBI's description of the format).

Read in blocks, never whole; the entries of a block are cut at once, and of one that is longer only the letters are held. Letters keep their case, which marks
repeats in genomes.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator

import numpy as np

from healthfm.errors import DatasetError
from healthfm.formats.source import DAMAGE, Row, Source, lines

BLOCK = 5 << 15
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
    number = 1
    try:
        for headers, letters, plain in _whole(source):
            if plain and all(letters):
                yield from zip(itertools.count(number), headers, letters)
            else:
                yield from _sound(source, number, headers, letters)
            number += len(headers)
    except DAMAGE as error:
        source.problems.add(DatasetError(f"{source}: the file is damaged or cut short ({type(error).__name__})"))


def _sound(source: Source, number: int, headers: list[str], letters: list[str]) -> Iterator[tuple[int, str, str]]:
    """Yield the entries that hold letters and nothing else; the others are problems."""
    for place, (header, held) in enumerate(zip(headers, letters, strict=True), number):
        if not (held.isascii() and held.encode().isalpha()):
            held = held.translate(NO_BLANKS)
            if not LETTERS.fullmatch(held):
                why = "it holds what is no letter of a sequence" if held else "it holds no letters"
                source.problems.add(Row({}, source, place).error(why))
                continue
        yield place, header, held


def _whole(source: Source) -> Iterator[tuple[list[str], list[str], bool]]:
    """Yield headers and letters of the entries that end in a block, and whether these are A to Z alone."""
    header: str | None = None
    parts, plain = list[str](), True  # of the entry that no header has ended so far
    for block in _blocks(source):
        if header is None:
            block = block.removeprefix(MARK).lstrip()
            if not block:
                continue
            if block[0] != OPENS:
                raise DatasetError(f"{source}: not FASTA: it does not begin with '>'")
        begin = _header(block)  # where letters of the last block's last entry end
        if begin:
            more = block[:begin].replace(b"\n", b"")
            plain = plain and more.isalpha()
            parts.append(more.decode("latin-1"))
        if begin == len(block):
            continue
        headers, letters, good = _cut(block[begin:])
        if header is not None:
            headers.insert(0, header)
            letters.insert(0, "".join(parts))
        header, parts = headers.pop(), [letters.pop()]
        yield headers, letters, plain and good
        plain = good
    if header is not None:
        yield [header], ["".join(parts)], plain


def _header(block: bytes) -> int:
    """Return where the first header of whole lines begins, else their length."""
    if block[0] == OPENS:
        return 0
    return len(block) if b">" not in block or (place := block.find(b"\n>")) < 0 else place + 1


def _cut(block: bytes) -> tuple[list[str], list[str], bool]:
    """Return headers and letters of whole lines, of which the first is a header, and whether all letters are A to Z."""
    raw = np.frombuffer(block, np.uint8)
    ends = np.flatnonzero(raw == NEWLINE)
    first = np.append(0, np.flatnonzero(raw[ends[:-1] + 1] == OPENS) + 1)  # lines that are headers
    heads = ends[first] - first  # where a header ends once no line has its end
    begins = np.append(0, ends[first[1:] - 1] + 1) - first
    joined = block.replace(b"\n", b"")
    text = joined.decode("latin-1")
    cuts = np.append(begins, len(text)).tolist()
    headers = [text[i:j] for i, j in zip((begins + 1).tolist(), heads.tolist(), strict=True)]
    letters = [text[i:j] for i, j in zip(heads.tolist(), cuts[1:], strict=True)]
    plain = _odd(joined) == _odd("".join(headers).encode("latin-1")) + len(headers)
    if not text.isascii():
        headers = [*map(_text, headers)]
    return [one.strip(BLANKS) for one in headers], letters, plain


def _odd(text: bytes) -> int:
    """Return how many bytes are no letters A to Z, of either case."""
    found = np.frombuffer(text, np.uint8) | CASE
    found -= FIRST
    return int(np.count_nonzero(found > LAST - FIRST))


def _text(header: str) -> str:
    """Return a header whose bytes were taken for Latin-1, which some are (Rfam's), as the UTF-8 that most are."""
    try:
        return header.encode("latin-1").decode("utf-8")
    except UnicodeDecodeError:
        return header


def _blocks(source: Source) -> Iterator[bytes]:
    """Yield a file in blocks of whole lines, every end of a line a newline."""
    np.empty(
        4 << 20, np.uint8
    )  # given back at once: from then on the C library keeps the memory of blocks, and asks for none anew
    held, tail = list[bytes](), b""  # of a line that has no end so far; a carriage return that may be half an end
    with source.open() as handle:
        while read := handle.read(BLOCK):
            if tail or b"\r" in read:
                read, tail = tail + read, b"\r" if read.endswith(b"\r") else b""
                read = read.removesuffix(tail).replace(b"\r\n", b"\n").replace(b"\r", b"\n")
            place = read.rfind(b"\n") + 1
            if place:
                yield b"".join([*held, read[:place]])
                held = []
            held.append(read[place:])
    if rest := b"".join(held) + tail.replace(b"\r", b"\n"):
        yield rest.removesuffix(b"\n") + b"\n"


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
