"""The runs of a leaderboard as other tools keep runs: each with a name of its own, numbers, what was asked, and where it lies."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from healthfm.score.leaderboard import Leaderboard
from healthfm.score.result import Result, read


@dataclass(frozen=True)
class Tracked:
    """A run. ``id``: the same each time it is exported; ``time``: when its ``run.json`` was written, in milliseconds; ``asked``: its request."""

    id: str
    title: str
    time: int
    metrics: dict[str, float]
    asked: dict[str, Any]
    path: str
    headline: str


def title_of(board: Leaderboard) -> str:
    """Return what the runs are called together."""
    return f"healthfm {Path(board.place).resolve().name}"


def runs_of(board: Leaderboard) -> Iterator[Tracked]:
    """Yield the runs of a leaderboard; of each metric its value and, where it has them, the ends of its interval."""
    for path in (path for one in board.columns for cell in one["cells"] for path in cell["paths"]):
        run = read(path, Result)
        assert run.path is not None
        request = run.facts["request"]
        metrics = {
            f"{metric}{end}": float(found[key])
            for metric, found in run.metrics.items() for key, end in (("value", ""), ("low", "_low"), ("high", "_high"))
            if found[key] is not None
        }  # fmt: skip
        yield Tracked(
            id=digest(json.dumps([request, str(run.path.resolve())], sort_keys=True))[:32], title=run.title,
            time=int((run.path / "run.json").stat().st_mtime * 1000), metrics={**metrics, "n": float(run.scores["n"])},
            asked={key: value for key, value in request.items() if value not in (None, [], {})}, path=str(run.path.absolute()),
            headline=str(run.scores["headline"]),
        )  # fmt: skip


def digest(text: str) -> str:
    """Return a digest of a text, in hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()
