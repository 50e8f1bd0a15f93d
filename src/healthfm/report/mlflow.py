"""The runs of a leaderboard as an MLflow file store: plain files in the layout of its tracking documentation, made without MLflow.

``DIR/EXPERIMENT/meta.yaml`` and ``DIR/EXPERIMENT/RUN/{meta.yaml,metrics/NAME,params/NAME,tags/NAME,artifacts/}``: of a metric a line "time value step",
of a parameter or a tag its value. A run keeps its identifier, so that a second export replaces the first.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from healthfm.errors import RunError
from healthfm.score.leaderboard import Leaderboard
from healthfm.score.result import Result, read

LONGEST = 6_000  # characters of a parameter that MLflow takes
FINISHED, LOCAL = 3, 4  # MLflow's numbers for a run's status and for where its code lies


def export(board: Leaderboard, store: Path) -> int:
    """Write every run of a leaderboard into an MLflow file store; return how many. Raises ``RunError``: a folder of something else."""
    if store.is_dir() and any(store.iterdir()) and not any(store.glob("*/meta.yaml")):
        raise RunError(f"{store}: holds other files and no MLflow store; choose an empty or a new folder")
    paths = [path for one in board.columns for cell in one["cells"] for path in cell["paths"]]
    name = f"healthfm {Path(board.place).resolve().name}"
    experiment = str(int(_digest(name), 16) % 10**18)
    try:
        times = [_run(read(path, Result), store / experiment) for path in paths]
        _meta(store / experiment, {
            "artifact_location": (store / experiment).absolute().as_uri(), "creation_time": min(times), "experiment_id": experiment,
            "last_update_time": max(times), "lifecycle_stage": "active", "name": name,
        })  # fmt: skip
    except OSError as error:
        raise RunError(f"{store}: cannot be written ({error.strerror})") from None
    return len(paths)


def _run(run: Result, experiment: Path) -> int:
    """Write one run and return when its ``run.json`` was written, in milliseconds."""
    assert run.path is not None
    request = run.facts["request"]
    time = int((run.path / "run.json").stat().st_mtime * 1000)
    name = _digest(json.dumps([request, str(run.path.resolve())], sort_keys=True))[:32]
    place = experiment / name
    metrics = {
        f"{metric}{end}": found[key]
        for metric, found in run.metrics.items() for key, end in (("value", ""), ("low", "_low"), ("high", "_high"))
        if found[key] is not None
    }  # fmt: skip
    _files(
        place / "metrics",
        {key: f"{time} {value!r} 0\n" for key, value in {**metrics, "n": float(run.scores["n"])}.items()},
    )
    _files(place / "params", {key: _parameter(value) for key, value in request.items() if value not in (None, [], {})})
    _files(place / "tags", {
        "mlflow.runName": run.title, "mlflow.source.name": "healthfm", "mlflow.source.type": "LOCAL", "healthfm.run": str(run.path.absolute()),
        "healthfm.headline": run.scores["headline"],
    })  # fmt: skip
    (place / "artifacts").mkdir(exist_ok=True, mode=0o700)
    _meta(place, {
        "artifact_uri": (place / "artifacts").absolute().as_uri(), "end_time": time, "entry_point_name": "", "experiment_id": experiment.name,
        "lifecycle_stage": "active", "run_id": name, "run_name": run.title, "run_uuid": name, "source_name": "", "source_type": LOCAL,
        "source_version": "", "start_time": time, "status": FINISHED, "tags": [], "user_id": "healthfm",
    })  # fmt: skip
    return time


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _parameter(value: Any) -> str:
    """Return a parameter as text; of one that is too long its digest."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True)
    return text if len(text) <= LONGEST else f"sha256:{_digest(text)}"


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
