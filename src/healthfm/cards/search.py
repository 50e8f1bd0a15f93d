"""Finding rows by free text and filters, most relevant first."""

from __future__ import annotations

import json
import re
import warnings
from typing import TYPE_CHECKING

from healthfm.cards import files
from healthfm.cards.catalog import check_kind, validated
from healthfm.cards.files import Entry

if TYPE_CHECKING:
    from healthfm.cards.schema import DatasetCard, ModelCard

_WEIGHTS = (("slug", 12), ("name", 12), ("aliases", 10), ("tasks", 5), ("modalities", 5), ("group", 4), ("summary", 3))


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z0-9]+|[一-鿿]", text.lower())


def _relevance(entry: Entry, words: list[str]) -> float:
    """Every word must occur somewhere; where it occurs, and whether as a whole word, makes the rank."""
    everything = json.dumps({k: v for k, v in entry.items() if k != "path"}, ensure_ascii=False).lower()
    if not all(word in everything for word in words):
        return 0.0
    score = float(len(words))
    for field, weight in _WEIGHTS:
        value = entry.get(field, "")
        tokens = _words(" ".join(value) if isinstance(value, list) else str(value))
        for word in words:
            if word in tokens:
                score += 2.0 * weight
            elif any(token.startswith(word) for token in tokens):
                score += 1.2 * weight
    return score


def search(
    text: str = "", *, kind: str | None = None, group: str | None = None, modality: str | None = None,
    task: str | None = None, access: str | None = None, licence: str | None = None, has_runner: bool | None = None,
) -> list[Entry]:  # fmt: skip
    """Return the entries that match, most relevant first (see ``find``); plain dictionaries, nothing validated."""
    check_kind(kind)
    words = _words(text)
    found: list[tuple[float, str, Entry]] = []
    for entry in files.entries().values():
        licences = " ".join(one.get("name", "") for one in entry.get("licences", ())).lower()
        keep = (
            kind in (None, entry["kind"])
            and (group is None or group.lower() == entry.get("group", ""))
            and (modality is None or modality.lower() in entry.get("modalities", ()))
            and (task is None or any(task.lower() in one.lower() for one in entry.get("tasks", ())))
            and (access is None or access.lower() == entry.get("access"))
            and (licence is None or licence.lower() in licences)
            and (has_runner is None or has_runner == runnable(entry))
        )
        if not keep:
            continue
        score = _relevance(entry, words) if words else 1.0
        if score:
            found.append((-score, entry["slug"], entry))
    return [entry for _, _, entry in sorted(found, key=lambda hit: (hit[0], hit[1], hit[2]["kind"]))]


def runnable(entry: Entry) -> bool:
    """Whether healthfm can run the model, or read the dataset, that this entry describes."""
    if entry["kind"] == "model":
        return "run" in entry
    return bool(entry.get("reader")) or any(one.get("row") for one in entry.get("variants", {}).values())


def find(
    text: str = "", *, kind: str | None = None, group: str | None = None, modality: str | None = None,
    task: str | None = None, access: str | None = None, licence: str | None = None, has_runner: bool | None = None,
) -> list[ModelCard | DatasetCard]:  # fmt: skip
    """Find cards by free text and filters, most relevant first.

    Every word of ``text`` must occur on the card; a word in the name counts more than one in a summary.
    ``kind``: "model" or "dataset"; ``group``, ``modality``, ``access``: the card's words; ``task``, ``licence``:
    a part of them; ``has_runner``: only rows that can (True) or cannot (False) be run or read by this version. Files of ``HEALTHFM_CARDS``
    that are no cards are left out, each with a warning.
    """
    for said in files.broken().values():
        warnings.warn(f"left out: {said}", stacklevel=2)
    hits = search(
        text,
        kind=kind,
        group=group,
        modality=modality,
        task=task,
        access=access,
        licence=licence,
        has_runner=has_runner,
    )
    return [validated(entry) for entry in hits]
