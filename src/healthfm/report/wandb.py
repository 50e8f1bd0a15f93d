"""The runs of a leaderboard as offline runs of Weights & Biases, which ``wandb sync`` takes.

Their format is the package's own, so the package writes them; it is no requirement of healthfm's. It is told to send nothing, to keep nothing of this
machine's name, use or user, and to log nothing but what is given here. A run keeps its identifier, so that a second export replaces the first.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import Any

from healthfm.errors import RunError
from healthfm.report.tracking import Tracked, runs_of, title_of
from healthfm.score.leaderboard import Leaderboard

QUIET = {"WANDB_MODE": "offline", "WANDB_SILENT": "true", "WANDB_ERROR_REPORTING": "false"}
SETTINGS = {
    "mode": "offline", "silent": True, "console": "off", "disable_git": True, "disable_code": True, "disable_job_creation": True, "save_code": False,
    "host": "unnamed", "username": "unnamed", "x_disable_meta": True, "x_disable_stats": True, "x_disable_machine_info": True, "x_save_requirements": False,
}  # fmt: skip


def export(board: Leaderboard, folder: Path) -> int:
    """Write every run of a leaderboard as an offline run below a folder; return how many.

    Raises ``RunError``: the package wandb is not installed, or the folder cannot be written.
    """
    before = {name: os.environ.get(name) for name in QUIET}
    os.environ.update(QUIET)
    try:
        try:
            import wandb
        except ImportError:
            raise RunError(
                "--export wandb=DIR needs the package wandb, which alone writes its format: pip install wandb (nothing is sent; mlflow=DIR needs no package)"
            ) from None
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        project = re.sub(r"[/\\#?%:]", "-", title_of(board))[:128]  # what a project's name may be
        return sum(_run(wandb, one, project, folder) for one in runs_of(board))
    except OSError as error:
        raise RunError(f"{folder}: cannot be written ({error.strerror})") from None
    finally:
        for name, value in before.items():
            os.environ.pop(name, None) if value is None else os.environ.update({name: value})


def _run(wandb: Any, run: Tracked, project: str, folder: Path) -> int:
    for old in folder.glob(f"wandb/offline-run-*-{run.id}"):
        shutil.rmtree(old)
    made = wandb.init(
        project=project, id=run.id, name=run.title, dir=str(folder), config=run.asked, settings=wandb.Settings(**SETTINGS),
    )  # fmt: skip
    made.summary.update({**run.metrics, "healthfm.run": run.path, "healthfm.headline": run.headline})
    made.finish()
    return 1
