"""Places on genomes: gene annotation, tables of a genome browser, peaks of experiments. All from 0, the end not included."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import takewhile

from healthfm.datasets.contigs import named
from healthfm.datasets.locate import Files
from healthfm.datasets.reader import dataset, one_by_one
from healthfm.errors import BadValue, DatasetError
from healthfm.formats import delimited, intervals
from healthfm.formats.source import Row, Source, lines
from healthfm.records import Region

ASSEMBLY = re.compile(r"\b(GRCh3[78])")
PLACES = (
    ("chrom", "chromStart", "chromEnd"),
    ("chrom", "txStart", "txEnd"),
    ("genoName", "genoStart", "genoEnd"),
    ("tName", "tStart", "tEnd"),
)
COLUMN = re.compile(r"\s*`(\w+)`\s")
PEAKS = {"bed narrowPeak": intervals.NARROW_PEAK, "bed broadPeak": intervals.BROAD_PEAK, "bed bed3": intervals.BED[:3],
         "bed bed6": intervals.BED[:6], "bed bed9": intervals.BED[:9], "bed": intervals.BED}  # fmt: skip


def regions(sources: Sequence[Source], split: str, assembly: str | None = None) -> Iterator[Region]:
    """Yield the lines of GTF or GFF3 files, chosen by their names. The assembly is the one that the file's head names, else ``assembly``."""

    def each(source: Source) -> Iterator[Region]:
        head = "".join(text for _, text in takewhile(lambda one: one[1].startswith("#"), lines(source)))
        of = found[1] if (found := ASSEMBLY.search(head)) else assembly
        for row in intervals.gff3(source) if "gff3" in source.name else intervals.gtf(source):
            with row:
                said = row["attributes"]
                yield Region(
                    id=_name(row), split=split, contig=named(of, row["contig"], row["end"]), start=row["start"], end=row["end"],
                    strand=row["strand"], assembly=of, type=row["type"], labels=_labels(said),
                    meta={"contig": row["contig"], "source": row["source"], "phase": row["phase"], **{key: one[0] if len(one) == 1 else one for key, one in said.items()}},
                )  # fmt: skip

    yield from one_by_one(sources, each)


def _name(row: Row) -> str:
    """Return what tells a line of an annotation from all others: its own id for genes and transcripts, else the transcript's and the place."""
    said = row["attributes"]
    gene, transcript, own = (said.get(key, [""])[0] for key in ("gene_id", "transcript_id", "ID"))
    if row["type"] in ("gene", "transcript"):
        return str(own or (transcript if row["type"] == "transcript" else gene))
    return f"{row['type']}:{transcript or own or gene or row['contig']}:{row['start']}-{row['end']}"


def _labels(said: dict[str, list[str]]) -> dict[str, str]:
    """Return the gene's type under GENCODE's word; Ensembl calls it gene_biotype."""
    kind = said.get("gene_type", said.get("gene_biotype"))
    return {"gene_type": kind[0]} if kind else {}


@dataset("gencode", record=Region)
def gencode(files: Files, split: str) -> Iterator[Region]:
    """GTF counts from 1 and includes the end; the file's head names the assembly."""
    yield from regions(files.all("annotation"), split)


@dataset("ucsc-genome-browser", record=Region)
def ucsc(files: Files, split: str) -> Iterator[Region]:
    """A table has no header: its columns stand in the .sql beside it. ``bin`` is an index, no fact. Positions count from 0 already."""
    written = {source.name.removesuffix(".sql"): source for source in files.all("table columns")}
    for source in files.all("tables"):
        table = source.name.removesuffix(".txt")
        if table not in written:
            files.problems.add(DatasetError(f"{source}: no {table}.sql beside it, which names its columns"))
            continue
        columns = _columns(written[table])
        places = next((one for one in PLACES if set(one) <= set(columns)), None)
        if places is None:
            files.problems.passed.append((str(source), "its columns name no place on a genome"))
            continue
        for row in delimited.rows(source, "\t", names=columns):
            with row:
                contig, start, end = row[places[0]], int(row[places[1]]), int(row[places[2]])
                yield Region(
                    id=f"{table}:{row.number}", split=split, contig=named("hg38", contig, end), start=start, end=end, type=table, assembly="GRCh38",
                    strand=intervals.STRANDS[row.get("strand", "")], meta={key: value for key, value in row.items() if key not in (*places, "bin")},
                )  # fmt: skip


def _columns(source: Source) -> list[str]:
    """Return the names of a table's columns from its CREATE TABLE. Raises ``DatasetError``: there are none."""
    inside = "".join(text for _, text in lines(source)).partition("CREATE TABLE")[2]
    found = [match[1] for line in inside.split("(", 1)[-1].splitlines() if (match := COLUMN.match(line))]
    if not found:
        raise DatasetError(f"{source}: no CREATE TABLE with columns in it")
    return found


@dataset("encode", record=Region)
def encode(files: Files, split: str) -> Iterator[Region]:
    """The peaks of each file that metadata.tsv lists, with its assembly, experiment and biosample; other kinds of files are named."""
    here = {source.name.split(".")[0]: source for source in files.all("peaks")}
    asked: list[tuple[Row, str, tuple[str, ...]]] = []
    for listed in delimited.rows(files["metadata"], "\t"):
        with listed:
            accession, form = listed["File accession"], listed["File format"]
            names = PEAKS.get(form, PEAKS.get(listed.get("File type", "")))
            if names is None:
                files.problems.passed.append((accession, f"{form}: no peaks"))
            elif accession not in here:
                raise BadValue(f"{accession} is listed, but not here")
            else:
                asked.append((listed, accession, names))
    for listed, accession, names in asked:
        for row in intervals.bed(here.pop(accession), names):
            with row:
                yield _peak(row, accession, split, listed)
    for accession, source in sorted(here.items()):
        files.problems.add(DatasetError(f"{source}: {accession} is not in {files['metadata']}"))


def _peak(row: Row, accession: str, split: str, listed: Row) -> Region:
    about = {name: listed.get(name) for name in ("Experiment accession", "Assay", "Biosample term name", "Output type")}
    assembly = listed["File assembly" if "File assembly" in listed else "Assembly"]
    numbers = {
        key: float(row[key]) for key in ("score", "signalValue", "pValue", "qValue", "peak") if row.get(key, ".") != "."
    }
    return Region(
        id=f"{accession}:{row.number}", split=split, contig=named(assembly, row["contig"], row["end"]), start=row["start"], end=row["end"],
        strand=row["strand"], assembly=assembly, type=about["Output type"], values=numbers, meta={"name": row.get("name"), **about},
    )  # fmt: skip
