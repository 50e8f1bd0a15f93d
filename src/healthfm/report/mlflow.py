"""The runs of a leaderboard as an MLflow file store: plain files in the layout of its tracking documentation, made without MLflow.

``DIR/EXPERIMENT/meta.yaml`` and ``DIR/EXPERIMENT/RUN/{meta.yaml,metrics/NAME,params/NAME,tags/NAME,artifacts/}``: of a metric a line "time value step",
of a parameter or a tag its value. A run keeps its identifier, so that a second export replaces the first.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from healthfm.errors import RunError
from healthfm.report.tracking import Tracked, digest, runs_of, title_of
from healthfm.score.leaderboard import Leaderboard

LONGEST = 6_000  # characters of a parameter that MLflow takes
FINISHED, LOCAL = 3, 4  # MLflow's numbers for a run's status and for where its code lies


def export(board: Leaderboard, store: Path) -> int:
    """Write every run of a leaderboard into an MLflow file store; return how many. Raises ``RunError``: a folder of something else."""
    if store.is_dir() and any(store.iterdir()) and not any(store.glob("*/meta.yaml")):
        raise RunError(f"{store}: holds other files and no MLflow store; choose an empty or a new folder")
    name = title_of(board)
    experiment = str(int(digest(name), 16) % 10**18)
    try:
        times = [_run(run, store / experiment) for run in runs_of(board)]
        _meta(store / experiment, {
            "artifact_location": (store / experiment).absolute().as_uri(), "creation_time": min(times), "experiment_id": experiment,
            "last_update_time": max(times), "lifecycle_stage": "active", "name": name,
        })  # fmt: skip
    except OSError as error:
        raise RunError(f"{store}: cannot be written ({error.strerror})") from None
    return len(times)


def _run(run: Tracked, experiment: Path) -> int:
    """Write one run and return when it was made."""
    place = experiment / run.id
    _files(place / "metrics", {key: f"{run.time} {value!r} 0\n" for key, value in run.metrics.items()})
    _files(place / "params", {key: _parameter(value) for key, value in run.asked.items()})
    _files(place / "tags", {
        "mlflow.runName": run.title, "mlflow.source.name": "healthfm", "mlflow.source.type": "LOCAL", "healthfm.run": run.path,
        "healthfm.headline": run.headline,
    })  # fmt: skip
    (place / "artifacts").mkdir(exist_ok=True, mode=0o700)
    _meta(place, {
        "artifact_uri": (place / "artifacts").absolute().as_uri(), "end_time": run.time, "entry_point_name": "", "experiment_id": experiment.name,
        "lifecycle_stage": "active", "run_id": run.id, "run_name": run.title, "run_uuid": run.id, "source_name": "", "source_type": LOCAL,
        "source_version": "", "start_time": run.time, "status": FINISHED, "tags": [], "user_id": "healthfm",
    })  # fmt: skip
    return run.time


def _parameter(value: Any) -> str:
    """Return a parameter as text; of one that is too long its digest."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True)
    return text if len(text) <= LONGEST else f"sha256:{digest(text)}"


def _files(folder: Path, values: Mapping[str, str]) -> None:
    """Write a file for each value, and none beside them."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    for old in folder.iterdir():
        old.unlink()
    for name, text in values.items():
        (folder / name).write_text(text, encoding="utf-8")


def _meta(folder: Path, values: Mapping[str, Any]) -> None:
    """Write ``meta.yaml``; a value in JSON is one in YAML."""
    lines = [f"{key}: {json.dumps(value, ensure_ascii=False)}\n" for key, value in values.items()]
    (folder / "meta.yaml").write_text("".join(lines), encoding="utf-8")
