"""One name for each chromosome of the human assemblies: RefSeq's, Ensembl's and UCSC's words for it lead to UCSC's."""

from __future__ import annotations

import functools
import re
import tomllib
from collections.abc import Mapping
from importlib import resources

from healthfm.errors import BadValue

CHROMOSOME = re.compile(
    r"(?:chr)?(?:\d+|[A-Z])"
)  # what only a chromosome is called; scaffolds and decoys have longer names
MITOCHONDRION = ("chrM", "M")  # of hg19 another sequence than GRCh37's, and in no table


@functools.cache
def _table() -> Mapping[str, Mapping[str, tuple[str, int]]]:
    """Return (UCSC's name, length) by every other name of a contig, by every name of an assembly."""
    found: dict[str, Mapping[str, tuple[str, int]]] = {}
    for assembly, facts in tomllib.loads((resources.files("healthfm.cards") / "assemblies.toml").read_text()).items():
        known = {}
        for ucsc, refseq, length in facts["contigs"]:
            known |= dict.fromkeys((ucsc, refseq, ucsc.removeprefix("chr")), (ucsc, length))
            if ucsc == "chrM":
                known["MT"] = known[ucsc]
        found |= dict.fromkeys((assembly, *facts["aliases"]), known)
    return found


def named(assembly: str | None, contig: str, end: int | None = None) -> str:
    """Return UCSC's name of a human chromosome (chr1 for 1 or NC_000001.11); any other contig keeps the name it has.

    ``end``: a position that must not lie beyond the chromosome. Raises ``BadValue``: it does, the RefSeq accession is another assembly's, or no
    chromosome of the assembly is called so.
    """
    known = _table().get(assembly or "")
    if known is None:
        return contig
    if contig not in known:
        other = next((name for name, table in _table().items() if contig in table and contig.startswith("NC_")), None)
        if other is not None:
            raise BadValue(f"the contig is one of {other}, not of {assembly}")
        if CHROMOSOME.fullmatch(contig) and contig not in MITOCHONDRION:
            raise BadValue(f"{assembly} has no chromosome {contig}")
        return contig
    name, length = known[contig]
    if end is not None and end > length:
        raise BadValue(f"the position lies beyond the end of {name} of {assembly} ({length:,} bases)")
    return name
