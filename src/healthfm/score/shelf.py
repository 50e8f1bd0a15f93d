"""The run folders below a folder, read without computing: what each was asked, how far it is, its headline."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from healthfm.engine.store import RunFolder
from healthfm.errors import RunError
from healthfm.score.result import Result, read

STUDY, ROOM = "study.json", "runs"  # a study's folder: what was asked, and the folder of its runs


@dataclass(frozen=True)
class Shelved:
    """A run folder. ``state``: finished, unfinished or damaged, and ``says`` more of the latter two. ``headline``: the metric's name
    with value, interval and n, of a finished run. ``date``: of its ``run.json``, ISO 8601.
    """

    path: Path
    model: str
    dataset: str
    task: str
    seed: int | None
    state: str
    says: str
    headline: dict[str, Any] | None
    date: str

    def asdict(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {**asdict(self), "path": str(self.path)}


def folders(place: Path) -> Iterator[Path]:
    """Yield every run folder at or below a folder, by name; hidden folders are left out, and nothing is looked for within a run.

    Raises ``RunError``: no such folder.
    """
    if not place.is_dir():
        raise RunError(f"{place}: no such folder")
    for where, below, files in os.walk(place):
        if "run.json" in files:
            below.clear()
            yield Path(where)
        below[:] = sorted(one for one in below if not one.startswith("."))


def shelf(
    place: Path | str = "runs", *, model: str | None = None, dataset: str | None = None, task: str | None = None, finished: bool | None = None
) -> list[Shelved]:  # fmt: skip
    """Return the run folders at or below a folder whose model, dataset and task contain these words (case aside), and that are
    ``finished`` or not.
    """
    found = [look(path) for path in folders(Path(place))]
    return [
        one for one in found
        if (finished is None or finished == (one.state == "finished"))
        and all(w is None or w.lower() in has.lower() for w, has in ((model, one.model), (dataset, one.dataset), (task, one.task)))
    ]  # fmt: skip


def study_states(place: Path) -> dict[Path, tuple[str, str]]:
    """Return each run that the study at a folder asks for, by its folder: its title and its state (asked, finished, or why it failed)."""
    try:
        runs = json.loads((place / STUDY).read_text(encoding="utf-8"))["runs"]
        return {place / ROOM / name: (str(one["run"]), str(one["state"])) for name, one in runs.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise RunError(f"{place / STUDY}: damaged or not readable") from None


def look(path: Path) -> Shelved:
    """Return what a run folder says of itself; one that is damaged says so."""
    date = datetime.fromtimestamp((path / "run.json").stat().st_mtime).astimezone().isoformat(timespec="seconds")
    folder = RunFolder(path)
    try:
        facts = folder.read_json("run.json") or {}
        request, parts = facts["request"], facts["plan"]["parts"]
        asked = (str(request["model"]), str(request["dataset"]), str(request["task"]), request["seed"])
    except (RunError, KeyError, TypeError):
        return Shelved(path, "", "", "", None, "damaged", "run.json is damaged", None, date)
    absent = len(set(range(len(parts))) - folder.published())
    if absent:
        return Shelved(path, *asked, "unfinished", f"{len(parts) - absent} of {len(parts)} parts", None, date)
    try:
        return Shelved(path, *asked, "finished", "", _headline(path), date)
    except RunError as error:
        return Shelved(path, *asked, "damaged", str(error).removeprefix(f"{path}: "), None, date)


def _headline(path: Path) -> dict[str, Any]:
    """Return a finished run's headline from its ``metrics.json``; where that is not there, from its predictions."""
    try:
        scores = json.loads((path / "metrics.json").read_text(encoding="utf-8"))
        found, name = scores["metrics"], scores["headline"]
        return {"metric": name, **{key: found[name][key] for key in ("value", "low", "high", "n")}}
    except (OSError, ValueError, KeyError, TypeError):
        run = read(path, Result)
        name = run.scores["headline"]
        return {"metric": name, **{key: run.metrics[name][key] for key in ("value", "low", "high", "n")}}
