"""What a page shows of variants by assay: a strip of the assays' values, and the variants whose place is farthest off."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup

from healthfm.report.sample import ERRORS, Row, Sample, SampleList
from healthfm.report.svg import Axis, PlotArea
from healthfm.report.words import number
from healthfm.score.kinds.assays import summary
from healthfm.score.metrics.arrays import midranks
from healthfm.score.metrics.structure import lddt


def sample(row: Row) -> Sample:
    """Return a variant with its target and score, or an assay with its value."""
    if "spearman" in row:
        return Sample(row["id"], row["assay"] if row["assay"] != row["id"] else "", "", number(row["spearman"]))
    said = row["prediction"]
    return Sample(row["id"], number(row["target"]), None if said is None else number(said), "")


def worst(rows: Sequence[Row]) -> SampleList:
    """Return the variants whose place in their assay by score is farthest from that by target; of a table of assays, the lowest."""
    if rows and "spearman" in rows[0]:
        low = sorted(rows, key=lambda row: row["spearman"])[:ERRORS]
        return SampleList(
            "The assays read worst",
            f"the {len(low)} of {len(rows):,} assays with the lowest Spearman correlation",
            "Spearman correlation",
            [sample(row) for row in low],
        )
    by_assay: dict[str, list[Row]] = {}
    for row in rows:
        if row["prediction"] is not None:
            by_assay.setdefault(row["assay"], []).append(row)
    off = []
    for some in by_assay.values():
        places = [
            midranks(np.array([row[name] for row in some], np.float64)) / len(some) for name in ("target", "prediction")
        ]
        off += [(float(b - a), row) for a, b, row in zip(*places, some, strict=True)]
    first = sorted(off, key=lambda one: -abs(one[0]))[:ERRORS]
    note = f"the {len(first)} of {len(off):,} variants whose place in their assay is farthest from where it should be, as a share of the assay"
    return SampleList(
        "The variants farthest off",
        note,
        "places off",
        [
            Sample(row["id"], number(row["target"]), number(row["prediction"]), number(gap, signed=True))
            for gap, row in first
        ],
    )


def gene(row: Row) -> Sample:
    """Return a gene with its correlation over cell types."""
    found = _correlation(row)
    return Sample(row["id"], "", "", number(found))


def _correlation(row: Row) -> float | None:
    x, y = np.array(row["target"], float), np.array(row["prediction"], float)
    return float(np.corrcoef(x, y)[0, 1]) if len(x) > 1 and x.std() and y.std() else None


def worst_genes(rows: Sequence[Row]) -> SampleList:
    """Return the genes with the lowest correlation over cell types."""
    known = sorted((found, row["id"]) for row in rows if (found := _correlation(row)) is not None)[:ERRORS]
    return SampleList(
        "The genes read worst",
        f"the {len(known)} genes with the lowest correlation over cell types",
        "correlation",
        [Sample(name, "", "", number(found)) for found, name in known],
    )


def worst_signatures(rows: Sequence[Row]) -> SampleList:
    """Return the signatures with the lowest correlation over genes."""
    known = sorted((found, row["id"]) for row in rows if (found := _correlation(row)) is not None)[:ERRORS]
    note = f"the {len(known)} signatures with the lowest correlation over genes"
    return SampleList(
        "The signatures read worst", note, "correlation", [Sample(name, "", "", number(found)) for found, name in known]
    )


def chain(row: Row) -> Sample:
    """Return a chain with its local agreement."""
    return Sample(row["id"], f"{len(row['target']):,}", "", number(_local(row)))


def _local(row: Row) -> float:
    true, guess = (
        np.array([[np.nan] * 3 if one is None else one for one in row[name]], float)
        for name in ("target", "prediction")
    )
    return lddt(guess, true, ~np.isnan(true[:, 0]))[0]


def worst_chains(rows: Sequence[Row]) -> SampleList:
    """Return the chains with the lowest lDDT."""
    low = sorted(rows, key=_local)[:ERRORS]
    return SampleList(
        "The chains read worst",
        f"the {len(low)} of {len(rows):,} chains with the lowest lDDT",
        "lDDT",
        [chain(row) for row in low],
    )


def strip(scores: Mapping[str, Any]) -> Markup:
    """Return each assay's Spearman correlation as a dot, in a row a function class, with the class' mean as a line."""
    every = [one for one in summary(scores) if one["spearman"] is not None]
    if not every:
        return Markup("")
    classes = sorted({one["function"] for one in every})
    low = min(0.0, *(one["spearman"] for one in every))
    frame = PlotArea(
        Axis("Spearman correlation of an assay", low, 1), Axis("", 0, len(classes)), height=60 + 44 * len(classes)
    )
    marks = []
    for row, name in enumerate(reversed(classes)):
        values = [one["spearman"] for one in every if one["function"] == name]
        heights = [
            row + 0.5 + 0.28 * ((i * 7) % 11 / 10 - 0.5) for i in range(len(values))
        ]  # beside each other, the same each time
        mean = (
            (scores["per_class"].get(name) or {})
            .get("spearman", {})
            .get("value", scores["metrics"]["spearman"]["value"])
        )
        x, y = frame.at(low, row + 0.9)
        marks += [
            frame.dots(values, heights, [2.2] * len(values), "cloud"),
            frame.line([mean, mean], [row + 0.2, row + 0.8], "c1"),
            Markup('<text class="said" x="{:.1f}" y="{:.1f}">{}</text>').format(x + 4, y, f"{name} ({len(values)})"),
        ]
    bad = sum(one["spearman"] < 0 for one in every)
    return frame.svg(
        "Assays by function class",
        f"{len(every)} assays; {bad} are ordered worse than by chance. Lines are the means of the classes.",
        *marks,
        upright=False,
    )
