"""What each listed row may claim, from the record of tests that passed (``evidence/KIND/SLUG.json``, which ship in the package).

A claim is (row, tick) with the tests that made it and where they passed; one that CI cannot repeat has its day and the digests of
what it rests on. ``docs/coverage.md`` explains ticks and levels; ``tests/evidence`` writes the record.
"""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

from healthfm.cards import catalog

RECORD = Path(__file__).parent / "evidence"
TICKS = {
    "model": ("keys", "numbers", "network", "input", "output", "road"),
    "dataset": ("files", "sample", "layout", "reader", "importer"),
}
WHOLE = ("reproduced", "architecture", "closed")  # claims about a model as a whole, beside the ticks
Claim = dict[str, Any]


def kind_of(tick: str) -> str:
    """Return whether a tick speaks of models or of datasets."""
    if tick in TICKS["model"] or tick in WHOLE:
        return "model"
    if tick in TICKS["dataset"]:
        return "dataset"
    raise ValueError(f"no tick '{tick}' (ticks: {', '.join((*TICKS['model'], *WHOLE, *TICKS['dataset']))})")


@functools.cache
def claims() -> tuple[Claim, ...]:
    """Return every claim of the record."""
    return tuple(
        {"kind": path.parent.name, "slug": path.stem, **claim}
        for path in sorted(RECORD.glob("*/*.json"))
        for claim in json.loads(path.read_text(encoding="utf-8"))["claims"]
    )


def level(kind: str, ticks: set[str], entry: dict[str, Any]) -> str:
    """Return the evidence level that a row's ticks add up to.

    A row whose network is transformers' own class is exact by the other ticks: keys and network are not ours.
    """
    if kind == "model":
        if "reproduced" in ticks:
            return "reproduced"
        native = bool(entry.get("run", {}).get("native"))
        if ticks >= set(TICKS["model"]) - ({"keys", "network"} if native else set()):
            return "exact"
        whole = next((word for word in ("architecture", "closed") if word in ticks), None)
        return whole or ("partial" if ticks else "none")
    if "files" in ticks:
        return "real"
    if "sample" in ticks:
        return "real-sample"
    if "layout" in ticks:
        return "layout" if entry.get("layout_source") else "assumed"
    return "importer" if "importer" in ticks else "none"


def rows(made: tuple[Claim, ...] | None = None, listed: bool = True) -> list[dict[str, Any]]:
    """Return the listed rows (else every card's), models first: slug, kind, name, group, ticks, evidence (the level), and where each
    tick was proved.
    """
    ticks: dict[tuple[str, str], dict[str, str]] = {}
    for claim in claims() if made is None else made:
        ticks.setdefault((claim["kind"], claim["slug"]), {})[claim["tick"]] = claim["where"]
    found = []
    for (kind, slug), entry in sorted(
        catalog.entries().items(), key=lambda item: (item[0][0] != "model", item[1]["group"], item[0][1])
    ):
        if listed and not entry.get("lists"):
            continue
        own = ticks.get((kind, slug), {})
        order = [t for t in (*TICKS[kind], *WHOLE) if t in own]
        found.append({
            "kind": kind, "slug": slug, "name": entry["name"], "group": entry["group"], "evidence": level(kind, set(own), entry),
            "ticks": order, "where": own,
        })  # fmt: skip
    return found
