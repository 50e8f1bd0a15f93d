"""What each listed row may claim, from the record of tests that passed (``evidence/KIND/SLUG.json``, which ship in the package).

A claim is (row, tick) with the tests that made it and where they passed; one that CI cannot repeat has its day and the digests of
what it rests on. ``docs/coverage.md`` explains ticks and levels; ``tests/evidence`` writes the record.
"""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

from healthfm.cards import files

RECORD = Path(__file__).parent / "evidence"
TICKS = {
    "model": ("keys", "network", "input", "output", "road"),
    "dataset": ("files", "sample", "layout", "reader", "importer"),
}
NATIVE = "transformers' class, without the owner's list of keys"
WHOLE = ("reproduced", "architecture", "closed")  # claims about a model as a whole, beside the five ticks
Claim = dict[str, Any]


def speaks_of(tick: str) -> str:
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

    A ``native`` row, whose network is transformers' own class under its own key names, is exact by the other three ticks: keys and
    network are not ours. The card's schema says which rows can be; ``tests/models/test_native.py`` holds every one to it. A row some of
    whose numbers were not read at its owner's is not exact (``unread``).
    """
    if kind == "model":
        if "reproduced" in ticks:
            return "reproduced"
        native = bool(entry.get("run", {}).get("native"))
        if ticks >= set(TICKS["model"]) - ({"keys", "network"} if native else set()) and not unread(entry):
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


def unread(entry: dict[str, Any]) -> bool:
    """Say whether a card says that numbers in its ``[run]`` were not read at their owner's; ``tests/models/test_numbers.py`` makes it."""
    return any("numbers" in line and "[run" in line for line in entry.get("unverified", ()))


def keys_from(kind: str, entry: dict[str, Any]) -> str | None:
    """Return whose key names and sizes a model's evidence holds; None where they are its owners', or where it is about none."""
    if kind != "model":
        return None
    return entry.get("keys_from") or (NATIVE if entry.get("run", {}).get("native") else None)


READ = {
    "files": "read from real files", "layout": "read by layout", "restricted": "read by layout from a copy that its owners grant",
    "no": "not read",
}  # fmt: skip  # of a suite's parts, by the word on its card


def parts(entry: dict[str, Any]) -> str | None:
    """Say how many of a suite's parts are read, and how; None of a row whose card does not say it part by part."""
    held = [variant["reads"] for variant in entry.get("variants", {}).values() if variant.get("reads")]
    counted = [f"{held.count(word)} {said}" for word, said in READ.items() if word in held]
    return f"parts: {', '.join(counted)}" if counted else None


def rows(made: tuple[Claim, ...] | None = None, listed: bool = True) -> list[dict[str, Any]]:
    """Return the listed rows (else every card's), models first: slug, kind, name, group, ticks, evidence (the level), where each
    tick was proved, (models) whose key names and sizes were held where not the owners', and (suites) how their parts are read.
    """
    ticks: dict[tuple[str, str], dict[str, str]] = {}
    for claim in claims() if made is None else made:
        ticks.setdefault((claim["kind"], claim["slug"]), {})[claim["tick"]] = claim["where"]
    found = []
    for (kind, slug), entry in sorted(
        files.entries().items(), key=lambda item: (item[0][0] != "model", item[1]["group"], item[0][1])
    ):
        if listed and not entry.get("lists"):
            continue
        own = ticks.get((kind, slug), {})
        order = [t for t in (*TICKS[kind], *WHOLE) if t in own]
        found.append({
            "kind": kind, "slug": slug, "name": entry["name"], "group": entry["group"], "evidence": level(kind, set(own), entry),
            "ticks": order, "where": own, "keys_from": keys_from(kind, entry) if own else None, "parts": parts(entry),
        })  # fmt: skip
    return found
