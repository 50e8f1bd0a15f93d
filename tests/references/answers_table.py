"""The 200 written answers that rules for reading answers are held against, and how well a rule read them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

PATH = Path(__file__).parents[1] / "data" / "answers_200.jsonl"
FOUR = ["A", "B", "C", "D"]  # the keys that every published extractor knows


def answers() -> list[dict[str, Any]]:
    """Return the answers: ``text``, ``options`` by key, the right ``answer`` (None: the text states none), and their ``kind``."""
    return [json.loads(line) for line in PATH.read_text(encoding="utf-8").splitlines()]


def of_four(rows: Sequence[Mapping[str, Any]]) -> list[int]:
    """Return which of the answers are to questions with the options A to D."""
    return [i for i, row in enumerate(rows) if list(row["options"]) == FOUR]


def counts(rows: Sequence[Mapping[str, Any]], read: Sequence[str | None], which: Sequence[int]) -> dict[str, int]:
    """Return of the answers ``which``: how many there are, how many state an option, and how many were read, right and wrong."""
    pairs = [(rows[i]["answer"], read[i]) for i in which]
    return {
        "answers": len(pairs), "stated": sum(answer is not None for answer, _ in pairs),
        "right": sum(answer is not None and answer == found for answer, found in pairs),
        "wrong": sum(found is not None and answer != found for answer, found in pairs),
    }  # fmt: skip


def line(name: str, found: Mapping[str, int]) -> str:
    """Return a rule's row of the table in docs/parsers.md: precision is right among read, recall right among stated."""
    read = found["right"] + found["wrong"]
    precision = f"{100 * found['right'] / read:.1f} %" if read else "-"
    return f"| {name} | {found['answers']} | {found['right']} | {found['wrong']} | {precision} | {100 * found['right'] / found['stated']:.1f} % |"
