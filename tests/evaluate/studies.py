"""A small study of two plain functions on three own datasets, and runs made by hand: what the tests of studies and leaderboards share."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from healthfm import load_model
from healthfm.engine.store import RunFolder
from healthfm.models.model import Model
from tests.report.made import facts

DATASETS = ("heart", "lung", "skin")


class Answerer:
    """Answers questions of two options: right for those whose number is under ``right`` of ten; raises at call ``stop``."""

    def __init__(
        self, right: dict[str, int], stop: int | None = None, error: type[BaseException] = KeyboardInterrupt
    ) -> None:
        self.right, self.stop, self.error, self.calls = right, stop, error, 0

    def score(self, prompts: Sequence[str], options: Sequence[Sequence[str]]) -> list[Any]:
        """Return a likelihood of each option; the question's own words say which is right."""
        self.calls += 1
        if self.calls == self.stop:
            raise self.error("secret words of a patient")
        found = []
        for prompt in prompts:
            topic, number, answer = prompt.split("CASE ")[1].split()[:3]
            good = int(number) * 7 % 10 < self.right[topic]
            found.append(np.array([-1.0, -2.0] if (answer == "A") == good else [-2.0, -1.0]) * (1 + int(number) % 3))
        return found


def model(name: str, right: int | dict[str, int], **more: Any) -> Model:
    """Return a loaded model of that name."""
    shares = right if isinstance(right, dict) else dict.fromkeys(DATASETS, right)
    return load_model(Answerer(shares, **more), card={"slug": name, "name": name})  # type: ignore[arg-type]


def two() -> dict[str, Model]:
    return {"good": model("good", 9), "poor": model("poor", {"heart": 4, "lung": 8, "skin": 3})}


def datasets(folder: Path, n: int = 20, long: int = 2000) -> None:
    """Write three files of questions; each has several parts of work."""
    for topic in DATASETS:
        rows = [
            {"id": f"{topic}-{i}", "question": f"CASE {topic} {i} {'AB'[i % 2]} {'word ' * (long // 5)}", "A": "yes", "B": "no", "answer": "AB"[i % 2]}
            for i in range(n)
        ]  # fmt: skip
        (folder / f"{topic}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def study(folder: Path, more: str = "", models: str = '["good", "poor"]') -> Path:
    """Write the datasets and a study of them."""
    datasets(folder)
    tables = "".join(f'[[datasets]]\npath = "{topic}.jsonl"\n' for topic in DATASETS)
    path = folder / "small.toml"
    path.write_text(f'models = {models}\ntasks = ["multiple-choice"]\n{more}\n{tables}')
    return path


def put(
    place: Path,
    model: str,
    dataset: str,
    hits: Any,
    *,
    target: str = "yes",
    lineage: Any = None,
    patients: Any = None,
    **more: Any,
) -> Path:
    """A run folder with these right and wrong answers."""
    n, path = len(hits), place / f"{model}-{dataset.replace('@', '-')}-{more.get('seed', 0)}-{more.get('weights', 'w')}"
    rows = {
        "id": [f"{dataset.partition('@')[0]}-{i}" for i in range(n)], "target": [target if i % 2 else "no" for i in range(n)],
        "patient": pa.array(patients or [None] * n, pa.string()),
    }  # fmt: skip
    rows["prediction"] = [t if hit else "maybe" for t, hit in zip(rows["target"], hits, strict=True)]
    made = facts(dataset=dataset, lineage=lineage or {"asked": True, "overlaps": []})
    made["request"] |= {"model": model, "limit": None, "weights": "w", **more}
    made["plan"]["parts"], made["protocol"] = [[0, n]], None
    with RunFolder(path) as folder:
        folder.write_json("run.json", made)
        folder.publish(0, pa.table(rows))
    return path


def answers(share: float, n: int, seed: int) -> Any:
    return np.random.default_rng(seed).permutation(np.arange(n) < round(share * n))
