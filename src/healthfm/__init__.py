"""healthfm: healthcare foundation models and datasets, made executable. Research use only; not a medical device.

The public API; each name is imported when first used, so that ``import healthfm`` costs nothing.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from healthfm.cards.catalog import card
    from healthfm.cards.lineage import Overlap, lineage
    from healthfm.cards.schema import DatasetCard, ModelCard
    from healthfm.cards.search import find
    from healthfm.datasets.check import check_dataset
    from healthfm.datasets.dataset import Dataset
    from healthfm.datasets.export.write import export_dataset
    from healthfm.datasets.open import open_dataset
    from healthfm.errors import (
        CapabilityError,
        CardError,
        CheckpointError,
        DatasetError,
        FetchError,
        HealthfmError,
        MissingExtra,
        RunError,
    )
    from healthfm.evaluate.contamination import contamination
    from healthfm.evaluate.runner import evaluate
    from healthfm.evaluate.study import run_study
    from healthfm.fetch.dataset import fetch_dataset
    from healthfm.models.load import load_model
    from healthfm.models.model import Model
    from healthfm.report.run import Run, evaluate_predictions, load_run
    from healthfm.score.compare import Comparison, compare
    from healthfm.score.leaderboard import Leaderboard, leaderboard

__version__ = "0.1.0"

_HOME = {
    "find": "cards.search", "card": "cards.catalog", "lineage": "cards.lineage", "Overlap": "cards.lineage",
    "ModelCard": "cards.schema", "DatasetCard": "cards.schema",
    "open_dataset": "datasets.open", "Dataset": "datasets.dataset", "check_dataset": "datasets.check",
    "export_dataset": "datasets.export.write", "fetch_dataset": "fetch.dataset", "FetchError": "errors",
    "load_model": "models.load", "Model": "models.model",
    "evaluate": "evaluate.runner", "evaluate_predictions": "report.run", "load_run": "report.run", "Run": "report.run",
    "run_study": "evaluate.study", "leaderboard": "score.leaderboard", "Leaderboard": "score.leaderboard",
    "compare": "score.compare", "Comparison": "score.compare", "contamination": "evaluate.contamination",
    "HealthfmError": "errors", "CardError": "errors", "DatasetError": "errors", "CheckpointError": "errors",
    "CapabilityError": "errors", "RunError": "errors", "MissingExtra": "errors",
}  # fmt: skip

__all__ = [
    "CapabilityError", "CardError", "CheckpointError", "Comparison", "Dataset", "DatasetCard", "DatasetError", "FetchError", "HealthfmError", "Leaderboard", "MissingExtra",
    "Model", "ModelCard", "Overlap", "Run", "RunError", "card", "check_dataset", "compare", "contamination", "evaluate", "evaluate_predictions",
    "export_dataset", "fetch_dataset", "find",
    "leaderboard", "lineage", "load_model", "load_run", "open_dataset", "run_study",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'healthfm' has no attribute '{name}'")
    return getattr(_module(_HOME[name]), name)


def _module(name: str) -> Any:
    try:
        return import_module(f"healthfm.{name}")
    except ModuleNotFoundError as error:
        missing = (error.name or "").split(".")[0]
        if missing in ("torch", "transformers", "safetensors", "tokenizers"):
            from healthfm.errors import MissingExtra

            raise MissingExtra("models", missing) from None
        raise


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])


class _Library(ModuleType):
    """``evaluate`` names a room and the main verb: importing the room puts it here, and the name still means the verb."""

    def _verb(self) -> Any:
        found = __getattr__("evaluate")
        for name, module in list(sys.modules.items()):
            room, _, last = name.rpartition(".")
            if room == "healthfm.evaluate":
                setattr(found, last, module)  # the room's modules stay where dotted names look for them
        return found

    def _put(self, room: ModuleType) -> None:
        """Take the room in, as the import of it does, without giving it the name."""

    evaluate = property(_verb, _put)


if not TYPE_CHECKING:
    sys.modules[__name__].__class__ = _Library
