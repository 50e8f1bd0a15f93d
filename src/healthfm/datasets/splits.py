"""Splits of records that come without any: each rule has a name, says what it keeps apart, and of what it hides.

A rule gives each record a split, or none. Groups (a scaffold, a protein, a patient) never straddle two splits; only ``random`` lets them.
The definitions called scaffold differ, and numbers under one do not compare with numbers under another: none is called scaffold alone.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from healthfm.datasets import families
from healthfm.datasets.contigs import named
from healthfm.datasets.dataset import Dataset, Division
from healthfm.errors import DatasetError
from healthfm.formats import molecules
from healthfm.formats.source import Problems
from healthfm.records import Molecule, Profile, Record, Region, Variant
from healthfm.records import Sequence as Letters

TRAIN, VALIDATION, TEST = SPLITS = ("train", "validation", "test")
Shares = tuple[float, float, float]
Parts = Sequence[str | None]
EIGHTY: Shares = (0.8, 0.1, 0.1)


@dataclass(frozen=True, kw_only=True)
class Rule:
    """A way to divide records. ``assign``: records, their seed, to a split each (None: in no split). ``kinds``: the records it takes.

    ``says``: what is on which side; ``hides``: what numbers under it do not show; ``source``: whose definition it is. ``seed``: where none is named.
    """

    assign: Callable[[Sequence[Any], int], Parts]
    says: str
    hides: str = ""
    source: str = "healthfm's own"
    kinds: tuple[type[Record], ...] = (Record,)
    seed: int = 0
    way: Callable[[], str] | None = None  # how it goes about it on this machine


# Filling splits -------------------------------------------------------------------------------------------------------


def _fill(groups: Sequence[Sequence[int]], total: int, shares: Shares) -> list[str | None]:
    """Put whole groups, in their order, into the first split that still has room; what fits nowhere is in the test split."""
    found: list[str | None] = [None] * total
    count = sum(map(len, groups))
    train, both = shares[0] * count, (shares[0] + shares[1]) * count
    sizes = {TRAIN: 0, VALIDATION: 0}
    for group in groups:
        if sizes[TRAIN] + len(group) <= train:
            split = TRAIN
        elif sizes[TRAIN] + sizes[VALIDATION] + len(group) <= both:
            split = VALIDATION
        else:
            split = TEST
        if split != TEST:
            sizes[split] += len(group)
        for i in group:
            found[i] = split
    return found


def _groups(keys: Sequence[Hashable | None]) -> list[list[int]]:
    """Return the places of each key, in the order of first occurrence; None is no key."""
    found: dict[Hashable, list[int]] = {}
    for i, key in enumerate(keys):
        if key is not None:
            found.setdefault(key, []).append(i)
    return list(found.values())


def _drawn(keys: Sequence[Hashable | None], seed: int) -> Parts:
    groups = _groups(keys)
    random.Random(seed).shuffle(groups)
    return _fill(groups, len(keys), EIGHTY)


def at_random(records: Sequence[Record], seed: int) -> Parts:
    """Divide records one by one, whatever they share."""
    return _drawn(list(range(len(records))), seed)


# Scaffolds ------------------------------------------------------------------------------------------------------------


def _largest_first(chirality: bool) -> Callable[[Sequence[Molecule], int], Parts]:
    def assign(records: Sequence[Molecule], seed: int) -> Parts:
        groups = _groups([molecules.scaffold(one.smiles, chirality) for one in records])
        return _fill(sorted(groups, key=lambda one: (len(one), one[0]), reverse=True), len(records), EIGHTY)

    return assign


def _balanced(records: Sequence[Molecule], seed: int) -> Parts:
    """Shuffle the scaffolds that would fill half of a small split, then the others behind them: 70, 10 and 20 of a hundred."""
    groups = _groups([molecules.scaffold(one.smiles, False) for one in records])
    count = sum(map(len, groups))
    train, held = int(count * 0.7), int(count * 0.1)
    large = [one for one in groups if len(one) > held / 2 or len(one) > (count - train - held) / 2]
    small = [one for one in groups if not (len(one) > held / 2 or len(one) > (count - train - held) / 2)]
    draw = random.Random(seed)
    draw.shuffle(large)
    draw.shuffle(small)
    found: list[str | None] = [None] * len(records)
    sizes = dict.fromkeys(SPLITS, 0)
    for group in large + small:
        split = (
            TRAIN
            if sizes[TRAIN] + len(group) <= train
            else VALIDATION
            if sizes[VALIDATION] + len(group) <= held
            else TEST
        )
        sizes[split] += len(group)
        for i in group:
            found[i] = split
    return found


# Groups of other records ----------------------------------------------------------------------------------------------

KEYS: Mapping[str, tuple[str, ...]] = {  # where files say it, the owner's word first that is surest
    "donor": ("donor_id", "donor", "individual", "subject_id"),
    "batch": ("batch", "batch_id", "sample", "sample_id", "library_id", "dataset_id", "assay"),
    "drug": ("DRUG_ID", "pert_id", "drug_id", "InChIKey", "DRUG_NAME", "drug"),
    "cell line": ("SANGER_MODEL_ID", "ModelID", "depMapID", "COSMIC_ID", "cell_iname", "cell_id", "CELL_LINE_NAME", "cell_line"),
}  # fmt: skip


def key_of(record: Record, what: str) -> str | None:
    """Return whose or of what a record is (``KEYS``), None where its files do not say."""
    return next((str(record.meta[name]) for name in KEYS[what] if record.meta.get(name) not in (None, "")), None)


def _by(what: str) -> Callable[[Sequence[Record], int], Parts]:
    return lambda records, seed: _drawn([key_of(one, what) for one in records], seed)


def _patients(records: Sequence[Record], seed: int) -> Parts:
    return _drawn([one.patient for one in records], seed)


def _chromosomes(records: Sequence[Any], seed: int) -> Parts:
    return _drawn([named(one.assembly, one.contig) for one in records], seed)


def _proteins(records: Sequence[Letters], seed: int) -> Parts:
    return _drawn(families.of(["/".join(one.chains) for one in records]), seed)


def _both_new(records: Sequence[Record], seed: int) -> Parts:
    """A record is tested where its drug and its cell line are both held out, and fitted on where neither is; the rest is in no split."""
    sides = []
    for what, draw in (("drug", seed), ("cell line", seed + 1)):
        keys = [key_of(one, what) for one in records]
        names = sorted({one for one in keys if one is not None})
        random.Random(draw).shuffle(names)
        held = set(names[: max(1, round(0.3 * len(names)))])
        sides.append([None if one is None else one in held for one in keys])
    return [TEST if a and b else TRAIN if a is False and b is False else None for a, b in zip(*sides, strict=True)]


RULES: Mapping[str, Rule] = {
    "random": Rule(
        assign=at_random, says="records drawn one by one: 80, 10 and 10 of a hundred",
        hides="records that are alike (one scaffold, one protein, cells of one donor) stand on both sides, so what is measured is mostly "
        "how well the model fills in between records it was fitted on; on what is new it does worse",
    ),
    "scaffold-deepchem": Rule(
        assign=_largest_first(False), kinds=(Molecule,), source="deepchem 2.8.0 splits/splitters.py, ScaffoldSplitter",
        says="whole Bemis-Murcko scaffolds without chirality, the most frequent to fit on: 80, 10 and 10 of a hundred",
    ),
    "scaffold-ogb": Rule(
        assign=_largest_first(True), kinds=(Molecule,),
        source="the code of OGB's authors, github.com/snap-stanford/pretrain-gnns@8b20528a chem/splitters.py, scaffold_split; OGB's stored lists of indices were not seen",
        says="whole Bemis-Murcko scaffolds with chirality, the most frequent to fit on: 80, 10 and 10 of a hundred",
    ),
    "scaffold-tdc": Rule(
        assign=_balanced, kinds=(Molecule,), seed=42, source="github.com/mims-harvard/TDC@c310c35f tdc/utils/split.py, create_scaffold_split",
        says="whole Bemis-Murcko scaffolds without chirality, shuffled, large ones first: 70, 10 and 20 of a hundred",
    ),
    "patient": Rule(assign=_patients, says="whole patients, drawn: 80, 10 and 10 of a hundred"),
    "donor": Rule(assign=_by("donor"), says="whole donors, drawn: 80, 10 and 10 of a hundred"),
    "chromosome": Rule(assign=_chromosomes, kinds=(Variant, Region), says="whole chromosomes, drawn: 80, 10 and 10 of a hundred"),
    "protein-identity": Rule(assign=_proteins, kinds=(Letters,), says="whole families of like sequences, drawn: 80, 10 and 10 of a hundred", way=families.way),
    "drug": Rule(
        assign=_by("drug"), kinds=(Profile,), says="whole drugs, drawn: 80, 10 and 10 of a hundred",
        hides="the cell lines of the test split are those fitted on",
    ),
    "cell-line": Rule(
        assign=_by("cell line"), kinds=(Profile,), says="whole cell lines, drawn: 80, 10 and 10 of a hundred",
        hides="the drugs of the test split are those fitted on",
    ),
    "drug-and-cell-line": Rule(
        assign=_both_new, kinds=(Profile,), says="three tenths of the drugs and of the cell lines are held out; tested where both are, fitted on where neither is",
    ),
}  # fmt: skip


def divide(opened: Dataset, name: str) -> Dataset:
    """Return a dataset whose records are divided by a rule, ``RULE`` or ``RULE:SEED``; its ``division`` says how.

    All records are read for it, of every split there is. Raises ``DatasetError``: no such rule, one that does not take these records, or an empty side.
    """
    rule, seed = _rule(name)
    read = [one for split in opened.splits for one in opened[split]]
    if strange := next((one for one in read if not isinstance(one, rule.kinds)), None):
        raise DatasetError(
            f"{opened.name}: the split rule {name} does not take a {strange.noun} (it takes {', '.join(k.noun for k in rule.kinds)}s)"
        )
    assigned = rule.assign(read, seed)
    held = {
        split: [replace(one, split=split) for one, its in zip(read, assigned, strict=True) if its == split]
        for split in SPLITS
    }
    sizes, lost = {split: len(some) for split, some in held.items() if some}, sum(one is None for one in assigned)
    if not {TRAIN, TEST} <= set(sizes):
        what = (
            f"{lost} of {len(read)} records do not say what it goes by{_sought(rule)}"
            if lost
            else f"{len(read)} records are of too few groups"
        )
        raise DatasetError(
            f"{opened.name}: the split rule {name} leaves nothing to {'test' if TRAIN in sizes else 'fit on'}: {what}"
        )
    digest = hashlib.sha256(
        "\n".join(f"{one.id} {split}" for one, split in zip(read, assigned, strict=True)).encode()
    ).hexdigest()[:16]
    division = Division(f"{name.partition(':')[0]}:{seed}", sizes, lost, digest)

    def again(split: str, problems: Problems) -> Iterator[Record]:
        return iter(held.get(split, ()))

    card = opened.card.model_copy(update={"splits": {split: split for split in sizes}, "counts": {}})
    made = Dataset(
        card, again, tuple(sizes), variant=opened.variant, protocol=opened.protocol, root=opened.root, on_error=opened.on_error, path=opened.path,
        columns=opened.columns, remarks=[*opened.remarks, *told(division)], doubt=opened.doubt, stated=opened.stated, division=division,
    )  # fmt: skip
    made.errors = list(opened.errors)
    return made


def _sought(rule: Rule) -> str:
    """Say which names are looked for in what stands beside a record."""
    names = next((names for what, names in KEYS.items() if f"whole {what}s" in rule.says), ())
    return f" (one of {', '.join(names)}); another rule may (--split-by)" if names else ""


def _rule(name: str) -> tuple[Rule, int]:
    head, colon, tail = name.partition(":")
    if head not in RULES or (colon and not tail.isdigit()):
        raise DatasetError(
            f"no split rule is called '{name}' (rules: {', '.join(RULES)}; a seed stands behind a colon, as in random:3)"
        )
    return RULES[head], int(tail) if colon else RULES[head].seed


def told(division: Division) -> list[str]:
    """Say how records were divided, by whose definition, and what that hides."""
    name, _, seed = division.name.partition(":")
    rule = RULES[name]
    sizes = ", ".join(f"{split} {count:,}" for split, count in division.sizes.items())
    lost = (
        f"; {division.left_out:,} records are in no split, for they have nothing that the rule goes by, or are on no one side of it"
        if division.left_out
        else ""
    )
    how = f" ({rule.way()})" if rule.way else ""
    said = [
        f"split by the rule {name} (seed {seed}, {division.digest}): {rule.says}{how}; {sizes}{lost}. Its definition: {rule.source}. Numbers under another rule do not compare"
    ]
    return [*said, *([f"what the rule {name} hides: {rule.hides}"] if rule.hides else [])]
