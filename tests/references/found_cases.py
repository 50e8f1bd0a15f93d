"""Tags, spans and rankings made by a seeded draw, for the field's scorers and ours alike."""

from __future__ import annotations

import random

SCHEMES = {"IOB2": "BIO", "IOBES": "BIOES", "IOE2": "IOE"}
TYPES = ("disease", "cell-line")


def tags(scheme: str, rows: int = 30) -> tuple[list[list[str]], list[list[str]]]:
    """Return true and predicted tags of a scheme, many of them badly written, half of the predicted ones as the true."""
    rng = random.Random(scheme)

    def drawn(length: int) -> list[str]:
        marks = [rng.choice(SCHEMES[scheme]) for _ in range(length)]
        return [mark if mark == "O" else f"{mark}-{rng.choice(TYPES)}" for mark in marks]

    true = [drawn(rng.randint(1, 9)) for _ in range(rows)]
    return true, [
        row
        if rng.random() < 0.3
        else [a if rng.random() < 0.6 else b for a, b in zip(row, drawn(len(row)), strict=True)]
        for row in true
    ]


def rankings(queries: int = 40) -> list[tuple[list[int], list[float]]]:
    """Return the relevance of each query's candidates, and their scores, no two equal."""
    rng = random.Random("rankings")
    found = []
    for _ in range(queries):
        size = rng.randint(2, 12)
        relevance = [int(rng.random() < 0.3) for _ in range(size)]
        relevance[rng.randrange(size)] = 1
        found.append((relevance, [round(rng.random() + 0.5 * one, 6) for one in relevance]))
    return found


ANSWERS = (  # accepted ones (none: the question has no answer), and what was written
    (["Denver Broncos", "the Broncos"], "The Broncos."), (["1.5 mg"], "15 mg"), ([], ""), ([], "aspirin"), (["aspirin"], ""),
    (["hepatitis A"], "hepatitis"), (["the"], "a"), (["."], ""), (["left lower lobe"], "lower lobe of the left lung"), (["STEMI", "myocardial infarction"], "acute myocardial infarction"),
)  # fmt: skip
