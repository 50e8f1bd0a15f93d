"""VCF, the Variant Call Format 4.x (samtools' hts-specs), plain, gzip or bgzip. Genotypes are parsed only when they are asked for.

A position counts from 1 in the file and from 0 here. Lines with several alternative alleles stay one row.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

import numpy as np
import numpy.typing as npt

from healthfm.errors import BadValue, DatasetError
from healthfm.formats import tabix
from healthfm.formats.source import Row, Source, lines

FIXED = ("CHROM", "POS", "ID", "REF", "ALT", "QUAL", "FILTER", "INFO")
BASES = re.compile(r"[ACGTNacgtn]+")
ALT = re.compile(
    r"[ACGTNacgtn]+|\*|\.|<[^<>]+>|.*[\[\]].*|\.[ACGTNacgtn]+|[ACGTNacgtn]+\."
)  # letters, missing, symbols, breakends
INFO_TYPE = re.compile(r"##INFO=<.*?ID=([^,>]+).*?Number=([^,>]+).*?Type=([^,>]+)")
CONTIG = re.compile(r"##contig=<.*?ID=([^,>]+)(?:.*?assembly=\"?([^,>\"]+))?")


@dataclass
class Header:
    """What stands above the lines of a VCF file: sample names in order, contigs, the kinds of INFO fields, the reference."""

    samples: tuple[str, ...] = ()
    contigs: dict[str, str | None] = field(default_factory=dict)
    info: dict[str, tuple[str, str]] = field(default_factory=dict)
    reference: str | None = None


def rows(source: Source) -> Iterator[tuple[Header, Row]]:
    """Yield (header, row) of each line: ``contig``, ``position`` (from 0), ``ids``, ``ref``, ``alts``, ``quality``, ``filters``, ``info``.

    ``info`` maps each key to text, a tuple of texts, or True for a flag; ``format`` and ``calls`` are the columns of the samples as they
    stand, for ``genotypes``. A line that is none is a problem of that line.
    """
    header, begun = Header(), False
    for number, line in lines(source):
        line = line.rstrip("\r\n")
        if line.startswith("#"):
            begun = take(header, line, source) or begun
            continue
        if not line.strip():
            continue
        if not begun:
            raise DatasetError(f"{source}: not VCF: no line begins with #CHROM above the first variant")
        row = Row({}, source, number)
        try:
            row.update(fields(line, header))
            row["info"] = _info(row["info"], header.info)
        except ValueError as error:
            source.problems.add(refused(row, error))
            continue
        yield header, row
    if not begun:
        source.problems.add(DatasetError(f"{source}: not VCF: it has no line that begins with #CHROM"))


def region(source: Source, contig: str, start: int, end: int) -> Iterator[tuple[Header, Row]]:
    """Yield what ``rows`` does, of the lines that touch ``[start, end)`` from 0 of a contig as the file names it, by the tabix index beside the file.

    A line reaches as far as its REF, or its END in INFO. A contig that the index lacks has none.

    Raises ``DatasetError``: no index, or one of the two files is damaged.
    """
    header = Header()
    if not any(take(header, line.rstrip("\r\n"), source) for _, line in lines(source)):
        raise DatasetError(f"{source}: not VCF: it has no line that begins with #CHROM")
    for number, raw in enumerate(tabix.lines(source, contig, start, end), 1):
        row = Row({}, source, f"{number} of {contig}:{start + 1}-{end}")
        try:
            row.update(fields(raw.decode().rstrip("\r"), header))
            row["info"] = _info(row["info"], header.info)
            last = max(row["position"] + len(row["ref"]), int(str(row["info"].get("END", 0))))
        except ValueError as error:
            source.problems.add(refused(row, error))
            continue
        if row["contig"] == contig and row["position"] < end and last > start:
            yield header, row


def take(header: Header, line: str, source: Source) -> bool:
    """Take in a line of the header; return whether it is the last, which names the columns."""
    if info := INFO_TYPE.match(line):
        header.info[info[1]] = (info[2], info[3])
    elif contig := CONTIG.match(line):
        header.contigs[contig[1]] = contig[2]
    elif line.startswith("##reference="):
        header.reference = line.partition("=")[2]
    if not line.startswith("#CHROM"):
        return False
    columns = tuple(line[1:].split("\t"))
    if columns[:8] != FIXED or (len(columns) > 8 and columns[8] != "FORMAT"):
        raise DatasetError(f"{source}: not VCF: the line of column names is not #{' '.join(FIXED)} with tabs between")
    header.samples = columns[9:]
    if len(set(header.samples)) < len(header.samples):
        raise DatasetError(f"{source}: two samples have the same name")
    return True


def refused(row: Row, error: ValueError) -> DatasetError:
    """Return what is said of a line that ``fields`` refused."""
    return row.error(f"cannot be read: {error if isinstance(error, BadValue) else 'a number is none'}")


def fields(line: str, header: Header) -> dict[str, Any]:
    """Return what ``rows`` yields of a line, INFO as it stands. Raises ``ValueError``: it is none."""
    width, wanted = line.count("\t") + 1, 9 + len(header.samples) if header.samples else 8
    if width != wanted:
        raise BadValue(f"{width} columns, the header names {wanted}")
    cells = line.split("\t", 9)
    contig, position, ids, ref, alt, quality, filters, info = cells[:8]
    alts = () if alt == "." else tuple(alt.split(","))
    if not BASES.fullmatch(ref) or not all(map(ALT.fullmatch, alts)):
        raise BadValue("REF or ALT holds what is no allele")
    if int(position) < 0:
        raise BadValue("the position lies before the contig")
    return {
        "contig": contig, "position": int(position) - 1, "ids": () if ids == "." else tuple(ids.split(";")), "ref": ref, "alts": alts,
        "quality": None if quality == "." else float(quality), "filters": () if filters == "." else tuple(filters.split(";")),
        "info": info, "format": cells[8] if len(cells) > 8 else "", "calls": cells[9] if len(cells) > 9 else "",
    }  # fmt: skip


def _info(text: str, kinds: Mapping[str, tuple[str, str]]) -> dict[str, object]:
    found: dict[str, object] = {}
    for part in () if text in (".", "") else text.split(";"):
        key, equals, value = part.partition("=")
        if key in found:
            raise BadValue(f"INFO holds {key} twice")
        several = "," in value and kinds.get(key, ("1", ""))[0] != "1"
        plain = unquote(value) if "%" in value else value
        found[key] = tuple(plain.split(",")) if several else plain if equals else True
    return found


def genotypes(row: Row, samples: int) -> npt.NDArray[np.int8]:
    """Return the alleles of every sample of a row: int8 [samples, most alleles of any], -1 unknown, -2 where a sample has fewer.

    Raises ``DatasetError``: no GT, another number of samples than the header has, or an allele that the line does not list.
    """
    if row["format"].partition(":")[0] != "GT":
        raise row.error("its samples have no GT")
    calls = [one.partition(":")[0].replace("|", "/").split("/") for one in row["calls"].split("\t")]
    if len(calls) != samples:
        raise row.error(f"{len(calls)} samples, the header names {samples}")
    found = np.full((samples, max(map(len, calls))), -2, np.int8)
    try:
        for place, alleles in enumerate(calls):
            found[place, : len(alleles)] = [-1 if one == "." else int(one) for one in alleles]
    except (ValueError, OverflowError):
        raise row.error("a genotype is no list of alleles") from None
    if found.max(initial=0) > len(row["alts"]):
        raise row.error(f"a genotype names allele {found.max()}, the line has {len(row['alts'])}")
    return found
