"""Places on genomes: gene annotation, tables of a genome browser, peaks of experiments. All from 0, the end not included."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import takewhile

from healthfm.datasets.contigs import named
from healthfm.datasets.locate import Files
from healthfm.datasets.reader import dataset, one_by_one
from healthfm.errors import BadValue, DatasetError
from healthfm.formats import bigwig, delimited, intervals, twobit
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
ABOUT = ("Experiment accession", "Assay", "Biosample term name", "Output type")
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
    """A table has no header: its columns stand in the .sql beside it. ``bin`` is an index, no fact. Positions count from 0 already.

    With the genome beside it (2bit), a place that lies on none of its sequences is a problem of its row. Tracks are a record a contig.
    """
    genome = {
        name: size
        for source in files.all("genome")
        if source.name.endswith(".2bit")
        for name, size in twobit.Indexed(source).lengths.items()
    }
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
                if genome and end > genome.get(contig, -1):
                    raise BadValue("the genome beside it has no such place")
                yield Region(
                    id=f"{table}:{row.number}", split=split, contig=named("hg38", contig, end), start=start, end=end, type=table, assembly="GRCh38",
                    strand=intervals.STRANDS[row.get("strand", "")], meta={key: value for key, value in row.items() if key not in (*places, "bin")},
                )  # fmt: skip
    for source in files.all("tracks"):
        if not source.name.endswith(".bw"):
            files.problems.passed.append((str(source), "bigBed: this form is not read yet"))
    tracks = (source for source in files.all("tracks") if source.name.endswith(".bw"))
    yield from one_by_one(tracks, lambda source: _track(source, split, "GRCh38", source.name.removesuffix(".bw")))


def _track(source: Source, split: str, assembly: str, type: str, **meta: object) -> Iterator[Region]:
    """Yield each contig of a bigWig, whose values are decoded where they are asked for."""
    held = bigwig.Track(source)
    name = source.name.rpartition(".")[0]
    for contig, length in held.lengths.items():
        with Row({}, source, contig):
            yield Region(
                id=f"{name}:{contig}", split=split, contig=named(assembly, contig, length), start=0, end=length, type=type, assembly=assembly,
                runs=partial(held.runs, contig), meta={"contig": contig, **meta},
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
    """The peaks and tracks of the files that metadata.tsv lists, with assembly, experiment and biosample; other kinds of files are named."""
    here = {source.name.split(".")[0]: source for role in ("peaks", "tracks") for source in files.all(role)}
    asked: list[tuple[Row, str, tuple[str, ...]]] = []
    tracks: list[tuple[Row, Source]] = []
    for listed in delimited.rows(files["metadata"], "\t"):
        with listed:
            accession, form = listed["File accession"], listed["File format"]
            names = PEAKS.get(form, PEAKS.get(listed.get("File type", "")))
            if form == "bigWig" and accession in here:
                tracks.append((listed, here.pop(accession)))
            elif form == "bigWig":
                files.problems.passed.append((accession, "bigWig: a track that is not here"))
            elif names is None:
                here.pop(accession, None)
                files.problems.passed.append((accession, f"{form}: no peaks"))
            elif accession not in here:
                raise BadValue(f"{accession} is listed, but not here")
            else:
                asked.append((listed, accession, names))
    for listed, accession, names in asked:
        for row in intervals.bed(here.pop(accession), names):
            with row:
                yield _peak(row, accession, split, listed)
    for listed, source in tracks:
        with listed:
            about = {name: listed.get(name) for name in ABOUT}
            yield from _track(source, split, _assembly(listed), listed["Output type"], **about)
    for accession, source in sorted(here.items()):
        files.problems.add(DatasetError(f"{source}: {accession} is not in {files['metadata']}"))


def _assembly(listed: Row) -> str:
    return str(listed["File assembly" if "File assembly" in listed else "Assembly"])


def _peak(row: Row, accession: str, split: str, listed: Row) -> Region:
    about = {name: listed.get(name) for name in ABOUT}
    assembly = _assembly(listed)
    numbers = {
        key: float(row[key]) for key in ("score", "signalValue", "pValue", "qValue", "peak") if row.get(key, ".") != "."
    }
    return Region(
        id=f"{accession}:{row.number}", split=split, contig=named(assembly, row["contig"], row["end"]), start=row["start"], end=row["end"],
        strand=row["strand"], assembly=assembly, type=about["Output type"], values=numbers, meta={"name": row.get("name"), **about},
    )  # fmt: skip
