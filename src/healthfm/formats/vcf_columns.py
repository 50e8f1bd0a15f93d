"""VCF as columns, many lines at once: for work on whole files, where a row a line is too slow. ``vcf`` is the same format line by line.

A block of lines is taken apart as a whole. Where anything in it is not as the format says, its lines are judged one by one as ``vcf`` does, and
those that are none are problems: both ways find the same lines.
"""

from __future__ import annotations

import functools
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from healthfm.errors import DatasetError
from healthfm.formats import vcf
from healthfm.formats.source import DAMAGE, Row, Source

BLOCK = 1 << 20
NAMES = ("contig", "position", "ids", "ref", "alts", "quality", "filters", "info", "format")
ABSENT = ("ids", "alts", "filters")  # columns of text whose missing value is a dot
TAB, NEWLINE, HASH, DOT, ZERO, SLASH, BAR, COLON = np.frombuffer(b"\t\n#.0/|:", np.uint8)


@dataclass(frozen=True)
class Columns:
    """Lines of a VCF file in their order. ``frame``: contig, position (from 0), ids, ref, alts, quality, filters, info, and format where there are samples.

    Text stands as in the file, a missing value is null; INFO is one text, not taken apart. ``numbers`` are the lines' own in the file.
    """

    header: vcf.Header
    frame: pl.DataFrame
    numbers: npt.NDArray[np.int64]
    source: Source
    text: bytes  # the lines
    cells: npt.NDArray[
        np.int64
    ]  # where in them the cells of the samples begin and, behind the last, the next line: [lines, samples + 1]

    @functools.cached_property
    def genotypes(self) -> npt.NDArray[np.int8]:
        """The alleles of every sample: int8 [lines, samples, most alleles of any], -1 unknown, -2 where a sample has fewer.

        Raises ``DatasetError``: the file has no samples, a line no GT, or an allele that the line does not list.
        """
        if not self.header.samples:
            raise DatasetError(f"{self.source}: the file gives sites alone, no samples")
        found = self._of_one_digit()
        return self._line_by_line() if found is None else found

    def _of_one_digit(self) -> npt.NDArray[np.int8] | None:
        """Return the alleles where each has one digit and no sample more than two; None where that is not so everywhere."""
        raw, at = np.frombuffer(self.text + b"\n\n\n", np.uint8), self.cells[:, :-1]
        second = raw[at + 1]
        single = _ends(second)
        if not np.all(single | (((second == SLASH) | (second == BAR)) & _ends(raw[at + 3]))):
            return None
        said = np.stack([raw[at], raw[at + 2]], -1)
        unknown, found = said == DOT, said - ZERO
        unknown[single, 1], found[single, 1] = True, 0
        most = np.where(unknown, 0, found).max((1, 2), initial=0)
        listed = self.frame["alts"].str.count_matches(",", literal=True).to_numpy().astype(float) + 1
        begun = self.frame["format"].unique().to_list()
        if np.any(most > np.where(np.isnan(listed), 0, listed)) or not all(one.split(":")[0] == "GT" for one in begun):
            return None  # said line by line
        alleles = np.where(unknown, -1, found.view(np.int8)).astype(np.int8)
        alleles[single, 1] = -2
        return alleles[..., :1] if single.all() else alleles

    def _line_by_line(self) -> npt.NDArray[np.int8]:
        listed, forms = self.frame["alts"].to_list(), self.frame["format"].to_list()
        held = []
        for place, number in enumerate(self.numbers.tolist()):
            calls = self.text[self.cells[place, 0] : self.cells[place, -1] - 1].decode()
            alts = listed[place].split(",") if listed[place] else ()
            row = Row({"format": forms[place], "calls": calls, "alts": alts}, self.source, number)
            held.append(vcf.genotypes(row, len(self.header.samples)))
        found = np.full((len(held), len(self.header.samples), max(one.shape[1] for one in held)), -2, np.int8)
        for place, one in enumerate(held):
            found[place, :, : one.shape[1]] = one
        return found


def _ends(cell: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    """Whether a byte ends the first part of a sample's cell."""
    found: npt.NDArray[np.bool_] = (cell == TAB) | (cell == NEWLINE) | (cell == COLON)
    return found


def columns(source: Source) -> Iterator[Columns]:
    """Yield the lines of a VCF file, some thousands at a time. A line that is none is a problem of that line.

    Raises ``DatasetError``: no line names the columns above the first variant.
    """
    header, begun, number = vcf.Header(), False, 1
    for block in _blocks(source):
        start = 0
        while not begun and start < len(block):
            end = block.index(b"\n", start)
            line = block[start:end].decode("utf-8", "replace")
            if line.strip() and not line.startswith("#"):
                raise DatasetError(f"{source}: not VCF: no line begins with #CHROM above the first variant")
            begun = line.startswith("#") and vcf.take(header, line, source)
            start, number = end + 1, number + 1
        block = block[start:] if start else block
        count = block.count(b"\n")
        found = _columns(source, header, block, np.arange(number, number + count))
        if found is not None:
            yield found
        number += count
    if not begun:
        source.problems.add(DatasetError(f"{source}: not VCF: it has no line that begins with #CHROM"))


def _blocks(source: Source) -> Iterator[bytes]:
    """Yield whole lines, each ended by a newline alone."""
    rest = b""
    try:
        with source.open() as handle:
            while read := handle.read(BLOCK):
                whole, newline, after = read.rpartition(b"\n")
                if newline:
                    yield _plain(rest + whole + newline)
                    rest = after
                else:
                    rest += read
    except DAMAGE as error:
        source.problems.add(DatasetError(f"{source}: the file is damaged or cut short ({type(error).__name__})"))
        return
    if rest:
        yield _plain(rest + b"\n")


def _plain(block: bytes) -> bytes:
    block = block.removeprefix(b"\xef\xbb\xbf")
    return block.replace(b"\r\n", b"\n") if b"\r" in block else block


def _columns(source: Source, header: vcf.Header, block: bytes, numbers: npt.NDArray[np.int64]) -> Columns | None:
    """Return a block's lines as columns; lines that are none, and those of a second header, are left out."""
    raw = np.frombuffer(block, np.uint8)
    width = 9 + len(header.samples) if header.samples else 8
    cells = _cells(raw, width)
    frame = None if cells is None else _frame(block, width)
    if cells is None or frame is None:
        held = [
            (number, line, said)
            for number, line in zip(numbers.tolist(), block.split(b"\n"), strict=False)
            if (said := _judged(source, header, number, line))
        ]
        if not held:
            return None
        kept, lines, judged = zip(*held, strict=True)
        numbers, block = np.array(kept), b"".join(line + b"\n" for line in lines)
        frame, cells = _of_lines(judged, width), _cells(np.frombuffer(block, np.uint8), width)
        assert cells is not None  # each of them has its columns
    return Columns(header, frame, numbers, source, block, cells[:, 9:])


def _cells(raw: npt.NDArray[np.uint8], width: int) -> npt.NDArray[np.int64] | None:
    """Return where the cells of each line begin and, behind the last, the next line: [lines, width + 1]; None: not all are of that width."""
    tabs, ends = np.flatnonzero(raw == TAB), np.flatnonzero(raw == NEWLINE)
    if not len(ends) or len(tabs) != len(ends) * (width - 1):
        return None
    begins = np.append(0, ends[:-1] + 1)
    found = np.column_stack([begins, tabs.reshape(len(ends), -1) + 1, ends + 1])
    sound = np.all(found[:, 1] > begins) and np.all(found[:, -2] <= ends) and not np.any(raw[begins] == HASH)
    return found if sound else None


def _frame(block: bytes, width: int) -> pl.DataFrame | None:
    """Return the columns of lines that have their cells; None: one of them is not as the format says."""
    names = NAMES[: min(width, len(NAMES))]
    try:
        text = pl.read_csv(
            io.BytesIO(block), separator="\t", has_header=False, quote_char=None, infer_schema=False, empty_string_is_null=False,
            columns=list(range(len(names))),
        )  # fmt: skip
    except pl.exceptions.PolarsError:  # not UTF-8
        return None
    text.columns = list(names)
    frame = text.with_columns(
        pl.col("position").cast(pl.Int64, strict=False) - 1,
        pl.col("quality").cast(pl.Float64, strict=False),
        *(pl.when(pl.col(name) != ".").then(pl.col(name)).alias(name) for name in ABSENT),
    )
    before = frame["position"].min()
    sound = (
        not any(frame[name].null_count() for name in ("contig", "position", "ref", "info"))
        and isinstance(before, int)
        and before >= -1
        and frame["quality"].null_count() == (text["quality"] == ".").sum()
        and all(map(vcf.BASES.fullmatch, frame["ref"].unique()))
        and all(vcf.ALT.fullmatch(one) for several in frame["alts"].drop_nulls().unique() for one in several.split(","))
    )
    return frame if sound else None


def _judged(source: Source, header: vcf.Header, number: int, line: bytes) -> dict[str, Any] | None:
    if line.startswith(b"#") or not line.strip():
        return None
    try:
        return vcf.fields(line.decode(), header)
    except UnicodeDecodeError:
        source.problems.add(DatasetError(f"{source}, line {number}: not UTF-8"))
    except ValueError as error:
        source.problems.add(vcf.refused(Row({}, source, number), error))
    return None


def _of_lines(judged: Sequence[dict[str, Any]], width: int) -> pl.DataFrame:
    """Return lines that were judged one by one as the same columns."""
    joined = {"ids": ";", "alts": ",", "filters": ";"}
    rows = [{**one, **{name: mark.join(one[name]) or None for name, mark in joined.items()}} for one in judged]
    kinds = {name: pl.Int64 if name == "position" else pl.Float64 if name == "quality" else pl.String for name in NAMES}
    return pl.DataFrame(rows, schema={name: kinds[name] for name in NAMES[: min(width, len(NAMES))]}, orient="row")
