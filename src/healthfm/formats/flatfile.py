"""Flat files of annotated sequences: GenBank's and EMBL's (the INSDC feature table document), Swiss-Prot's (UniProt's user manual).

Entries are cut at their ``//`` here and parsed one at a time by Biopython, so that one that cannot be read is one problem.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from typing import Any

from healthfm.errors import DatasetError, MissingExtra
from healthfm.formats.source import DAMAGE, Row, Source

STARTS = {"genbank": "LOCUS", "embl": "ID", "swiss": "ID"}
LONGEST = 1 << 30  # characters in one entry


def entries(source: Source, form: str) -> Iterator[tuple[Row, Any]]:
    """Yield (row that says where, Biopython's SeqRecord) of each entry of a ``genbank``, ``embl`` or ``swiss`` file.

    What stands before the first entry (GenBank's file header of ten lines) is no entry. What Biopython warns of is in
    ``row["warnings"]``. Letters of an entry without a sequence are missing: ``record.seq.defined`` is False.
    """
    try:
        from Bio import SeqIO
    except ImportError:
        raise MissingExtra("bio", "biopython") from None

    for number, text in enumerate(_cut(source, STARTS[form]), 1):
        row = Row({}, source, number)
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                (found,) = SeqIO.parse(io.StringIO(text), form)  # type: ignore[no-untyped-call]
        except Exception as error:  # Biopython raises whatever its parser stumbles over
            source.problems.add(row.error(f"not an entry of this format ({type(error).__name__})"))
            continue
        row["warnings"] = [str(one.message) for one in caught]
        yield row, found


def _cut(source: Source, start: str) -> Iterator[str]:
    """Yield the text of each entry, its last line ``//`` included. An entry that the file's end cuts short is a problem."""
    held: list[str] = []
    number = size = 0
    try:
        with source.text(errors="surrogateescape") as handle:
            for line in handle:
                if not held and not line.startswith(start):
                    continue
                held.append(line)
                size += len(line)
                if size > LONGEST:
                    raise DatasetError(f"{source}: an entry is longer than {LONGEST} characters")
                if line.startswith("//"):
                    number += 1
                    yield "".join(held)
                    held, size = [], 0
    except DAMAGE as error:
        source.problems.add(DatasetError(f"{source}: the file is damaged or cut short ({type(error).__name__})"))
        return
    if held:
        source.problems.add(DatasetError(f"{source}, row {number + 1}: the file ends within it: no line //"))
    elif not number:
        source.problems.add(DatasetError(f"{source}: no entry in it begins with {start}"))
