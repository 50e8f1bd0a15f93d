"""FASTA: ``>`` and a header, then lines of letters (Lipman and Pearson 1985; NCBI's description of the format).

Read in blocks, never whole; an entry is held at a time. Letters keep their case, which marks repeats in genomes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from healthfm.errors import DatasetError
from healthfm.formats.source import DAMAGE, Row, Source

BLOCK = 1 << 20
LETTERS = re.compile(rb"[A-Za-z*.-]+")
BLANKS = b"\n\r\t "
MARK = b"\xef\xbb\xbf"  # a byte-order mark
OPENS = re.compile(rb"[\n\r]>")


def entries(source: Source) -> Iterator[Row]:
    """Yield an entry after another as a row of ``header`` (without ``>``) and ``letters``, numbered from 1.

    An entry that holds anything but letters, or nothing, is a problem of that entry.
    """
    try:
        for number, entry in enumerate(_entries(source), 1):
            head, _, body = entry.partition(b"\n")
            row = Row({"header": _text(head.strip(BLANKS))}, source, number)
            letters = body.translate(None, BLANKS)
            if LETTERS.fullmatch(letters):
                row["letters"] = letters.decode("ascii")
                yield row
            else:
                source.problems.add(
                    row.error("it holds what is no letter of a sequence" if letters else "it holds no letters")
                )
    except DAMAGE as error:
        source.problems.add(DatasetError(f"{source}: the file is damaged or cut short ({type(error).__name__})"))


def _text(raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("latin-1")  # Rfam's headers


def _entries(source: Source) -> Iterator[bytes]:
    """Yield what stands between one ``>`` at a line's begin and the next."""
    held: list[bytes] | None = None  # of the entry at hand; None before the first
    tail = b"\n"  # a line's end that a ``>`` in the next block may follow
    with source.open() as handle:
        while block := handle.read(BLOCK):
            block = tail + (block.removeprefix(MARK) if held is None else block)
            tail = block[-1:] if block[-1:] in b"\n\r" else b""
            first, *others = OPENS.split(block[: len(block) - len(tail)])
            if held is not None:
                held.append(first)
            elif first.strip(BLANKS):
                raise DatasetError(f"{source}: not FASTA: it does not begin with '>'")
            for entry in others:
                if held is not None:
                    yield b"".join(held)
                held = [entry]
    if held is not None:
        yield b"".join(held)
