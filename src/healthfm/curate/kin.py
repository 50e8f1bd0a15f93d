"""Which records of one set are records of another, by what their field calls the same: molecule, sequence, variant, cell, recording.

A rule has a key, under which two records are the same whatever their files call them, and may have a looser one, under which they are nearly so.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from healthfm.datasets.contigs import named
from healthfm.datasets.families import words
from healthfm.datasets.splits import key_of
from healthfm.errors import HealthfmError, MissingExtra
from healthfm.formats import molecules
from healthfm.records import Cells, Molecule, Profile, Record, Signal, Variant
from healthfm.records import Sequence as Letters

IDENTITY = 0.9  # of the shorter sequence's letters, above which two are nearly the same
WORDS = 0.3  # of the shorter one's words that two such share at least: fewer are not aligned
LONGEST = 20_000  # letters up to which two sequences are aligned
CELL = (
    "observation_joinid",
    "soma_joinid",
    "cell_id",
    "barcode",
    "_index",
    "index",
)  # where files name a cell, the surest first
PRIMARY = "is_primary_data"


@dataclass(frozen=True)
class Unit:
    """What is looked for: a record, or a part of one (an allele, a cell), with its ``key`` (None: it has none) and where it ``lies``."""

    record: str
    key: str | None
    lies: str
    primary: bool = True
    text: str = ""
    loose: str | None = None


@dataclass(frozen=True)
class Kinship:
    """One unit that stands in the other set: ``how`` it does, in which of its records, and what share is the same."""

    record: str
    other: str
    how: str
    share: float


@dataclass(frozen=True, kw_only=True)
class Way:
    """How records of a kind are known again. ``part``: what is looked for; ``says``: what counts as the same, and what does not."""

    part: str
    says: str
    units: Callable[[Record], Iterator[Unit]]


def _molecule(record: Record) -> Iterator[Unit]:
    assert isinstance(record, Molecule)
    key = molecules.same(record.smiles)
    yield Unit(record.id, key, record.id, loose=None if key is None else key[:14])


def _sequence(record: Record) -> Iterator[Unit]:
    assert isinstance(record, Letters)
    for number, chain in enumerate(record.chains):
        text = chain.upper().strip("*")
        yield Unit(
            record.id,
            hashlib.sha256(text.encode()).hexdigest(),
            f"{record.id}/{number}" if len(record.chains) > 1 else record.id,
            text=text,
        )


def trimmed(position: int, ref: str, alt: str) -> tuple[int, str, str]:
    """Return a variant without the letters that both alleles begin or end with, one letter of each kept, and where it then stands."""
    ref, alt = ref.upper(), alt.upper()
    while len(ref) > 1 and len(alt) > 1 and ref[-1] == alt[-1]:
        ref, alt = ref[:-1], alt[:-1]
    while len(ref) > 1 and len(alt) > 1 and ref[0] == alt[0]:
        position, ref, alt = position + 1, ref[1:], alt[1:]
    return position, ref, alt


def _variant(record: Record) -> Iterator[Unit]:
    assert isinstance(record, Variant)
    for alt in record.alts:
        position, ref, other = trimmed(record.position, record.ref, alt)
        yield Unit(
            record.id, f"{record.assembly} {named(record.assembly, record.contig)} {position} {ref}>{other}", record.id
        )


def _cells(record: Record) -> Iterator[Unit]:
    assert isinstance(record, Cells)
    names, primary = next((name for name in CELL if name in record.obs_names), None), None
    donors = next((name for name in ("donor_id", "donor") if name in record.obs_names), None)
    if names is None:
        return
    if PRIMARY in record.obs_names:
        primary = [str(one).lower() in ("true", "1") for one in record.obs(PRIMARY)]
    whose = record.obs(donors) if donors else [""] * record.cells
    for i, (cell, donor) in enumerate(zip(record.obs(names), whose, strict=True)):
        yield Unit(
            record.id,
            f"{donor} {cell}",
            f"{record.id} cell {i}",
            primary is None or primary[i],
            loose=str(donor) or None,
        )


def _values(record: Record) -> Iterator[Unit]:
    line = key_of(record, "cell line") or key_of(record, "donor") or record.patient
    yield Unit(record.id, record.digest(), record.id, loose=line)


def _recording(record: Record) -> Iterator[Unit]:
    yield Unit(record.id, record.digest(), record.id, loose=record.patient)


WAYS: dict[type[Record], Way] = {
    Molecule: Way(
        part="molecule", units=_molecule,
        says="the same standard InChIKey, whatever the SMILES; nearly: its first block alone, so that stereochemistry, isotopes or charge differ",
    ),
    Letters: Way(
        part="sequence", units=_sequence,
        says=f"the same letters, in capitals; nearly: {IDENTITY:.0%} of the shorter one's letters in a global alignment (of sequences that share {WORDS:.0%} of their short words)",
    ),
    Variant: Way(
        part="allele", units=_variant,
        says="the same assembly, chromosome by any of its names, position and alleles without the letters they share; indels in repeats are not shifted, for the reference sequence is not asked",
    ),
    Cells: Way(
        part="cell", units=_cells,
        says="the same donor and cell id; nearly: another cell of the same donor. Cells that are not primary data are copies by their owner's own word",
    ),
    Profile: Way(part="profile", units=_values, says="the same features and values; nearly: the same cell line or donor"),
    Signal: Way(part="recording", units=_recording, says="the same samples; nearly: another recording of the same patient"),
}  # fmt: skip


def way_of(record: Record | None) -> Way | None:
    """Return how records of this kind are known again, None where no rule is."""
    return next((way for kind, way in WAYS.items() if isinstance(record, kind)), None)


def found_in(units: Sequence[Unit], others: Sequence[Unit]) -> list[Kinship]:
    """Return which units stand among others, each by the closest of them."""
    exact: dict[str, Unit] = {}
    loose: dict[str, Unit] = {}
    for one in others:
        if one.key is not None:
            exact.setdefault(one.key, one)
        if one.loose is not None:
            loose.setdefault(one.loose, one)
    found, rest = [], []
    for one in units:
        if one.key is not None and one.key in exact:
            found.append(Kinship(one.record, exact[one.key].lies, "exact", 1.0))
        elif one.loose is not None and one.loose in loose:
            found.append(Kinship(one.record, loose[one.loose].lies, "near", 1.0))
        elif one.text:
            rest.append(one)
    return [*found, *_alike(rest, [one for one in others if one.text])]


def _alike(units: Sequence[Unit], others: Sequence[Unit]) -> Iterator[Kinship]:
    having: dict[str, list[int]] = {}
    sizes = []
    for i, one in enumerate(others):
        held = words(one.text)
        sizes.append(len(held))
        for word in held:
            having.setdefault(word, []).append(i)
    for one in units:
        held = words(one.text)
        met = Counter(i for word in held for i in having.get(word, ()))
        best: tuple[float, Unit | None] = (0.0, None)
        for i, count in met.most_common(20):
            if count >= WORDS * min(len(held), sizes[i]):
                best = max(best, (identity(one.text, others[i].text), others[i]), key=lambda pair: pair[0])
        if best[1] is not None and best[0] >= IDENTITY:
            yield Kinship(one.record, best[1].lies, "near", best[0])


def identity(one: str, other: str) -> float:
    """Return the share of the shorter sequence's letters that stand opposite the same letter in the best global alignment; 0 of very long ones."""
    if max(len(one), len(other)) > LONGEST:
        return 0.0
    try:
        from Bio.Align import PairwiseAligner
    except ImportError:
        raise MissingExtra("bio", "biopython") from None
    make: Any = PairwiseAligner  # untyped
    aligner = make(mode="global", match_score=1, mismatch_score=-1, open_gap_score=-2, extend_gap_score=-0.5)
    aligner.end_gap_score = 0.0
    best = aligner.align(one, other)[0]
    return float(best.counts().identities) / min(len(one), len(other))


def units_of(records: Sequence[Record] | Iterator[Record], way: Way) -> tuple[list[Unit], int]:
    """Return all units of records, and how many records could not be looked at."""
    found: list[Unit] = []
    lost = 0
    for record in records:
        try:
            found += way.units(record)
        except HealthfmError as error:
            if isinstance(error, MissingExtra):
                raise
            lost += 1
    return found, lost
