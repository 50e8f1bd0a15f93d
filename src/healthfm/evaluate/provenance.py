"""What a run must say of itself: versions, hardware, digests, where the data lies, what the cards know of leaks."""

from __future__ import annotations

import functools
import hashlib
import os
import platform
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from healthfm.cards import catalog, files
from healthfm.cards.lineage import Overlap, lineage, web_crawls
from healthfm.cards.schema import DatasetCard, ModelCard
from healthfm.datasets.dataset import Dataset
from healthfm.home import commit
from healthfm.models import own
from healthfm.models.files import weights as weight_places
from healthfm.models.model import Model

PACKAGES = ("healthfm", "torch", "transformers", "tokenizers", "numpy", "scipy", "scikit-learn", "pyarrow", "openvino")


def weights_digest(model: str | Model, card: ModelCard, weights: Path | str | None) -> str:
    """Return the digest of the weights a run will use and of the files that are read with them (vocabulary, numbers, an adapter's
    base), without loading them; of a loaded model, of what it is now.
    """
    if isinstance(model, Model):
        return model_digest(model)
    if weights == "random":
        return "random"
    if own.form(model) == "baseline":
        return "none"
    if own.form(model) == "hf":
        path = own.folder(model)
    else:
        _, variant, _ = catalog.split_name(model)
        path = Path(weights).expanduser() if weights is not None else weight_places.locate(card, variant)
    files = weight_places.weight_files(path) or weight_places.nested(path)
    beside = weight_places.beside(path)
    return (weight_places.fingerprint(files) if files else str(path)) + (f" files:{beside}" if beside else "")


def model_digest(model: Model) -> str:
    """Return the digest of a loaded model's tensors and settings, whatever file they came from and was done to them since.

    Of an object of the caller's, or a server, that is what it says of its weights.
    """
    if not hasattr(model.network, "state_dict"):
        return str(model.provenance.get("digest") or model.provenance.get("weights"))
    from healthfm.embed.key import state_of  # needs torch, which statistics alone do not

    return state_of(model)


def card_digest(card: Any) -> str:
    """Return a short digest of everything a card says but which class a clinical report is of: no run depends on that."""
    spaces = {"labels": {"__all__": {"positive"}}} if isinstance(card, DatasetCard) else None
    return hashlib.sha256(card.model_dump_json(exclude=spaces).encode()).hexdigest()[:16]


def positive_of(card: DatasetCard, classes: Sequence[str] | None) -> dict[str, str]:
    """Return which of the classes a card calls positive, as a fact of a run; {} where it calls none so."""
    found = [one.positive for one in card.labels if one.positive and list(one.classes) == list(classes or ())]
    return {"positive": found[0]} if found else {}


def lineage_finding(card: ModelCard, opened: Dataset) -> dict[str, Any]:
    """Return the lineage finding; a model or dataset of the user's own has no cards to ask."""
    if not catalog.is_known(card) or ("dataset", opened.card.slug) not in files.entries():
        return {"asked": False, "overlaps": []}
    found = [overlap_facts(one) for one in lineage(card.slug, opened.card.slug)]
    return {"asked": True, "overlaps": found, "crawls": web_crawls(card.slug)}


def data_facts(opened: Dataset) -> dict[str, Any]:
    """Return what a report needs to know of the data: may its inputs be shown, and where own data lies."""
    path = str(opened.path.absolute()) if opened.path else None
    divided = {"split_by": opened.division.name} if opened.division is not None else {}
    if opened.card.record == "Profile" and opened.stated.record == "Cells":
        divided["label"] = opened.card.labels[0].name
    return {"shareable_inputs": opened.card.may_show_inputs, "path": path, "columns": opened.columns, **divided}


def overlap_facts(overlap: Overlap) -> dict[str, Any]:
    """Return an overlap as plain data."""
    return {
        "kind": overlap.kind, "meaning": overlap.meaning, "path": list(overlap.path), "steps": list(overlap.steps),
        "evidence": list(overlap.evidence), "splits": list(overlap.splits),
    }  # fmt: skip


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that numbers depend on."""
    found = {"python": platform.python_version(), **{one: found for one in PACKAGES if (found := _version(one))}}
    return {**found, **({"healthfm commit": made_of} if (made_of := commit()) is not None else {})}


@functools.cache
def _version(package: str) -> str | None:
    """Return the version of a package, read once (what is imported stays what it is); None where it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def hardware() -> dict[str, Any]:
    """Return the processor, its cores, and the platform."""
    names = [line.split(":")[1].strip() for line in _cpuinfo() if line.startswith("model name")]
    return {
        "cpu": names[0] if names else platform.processor(),
        "cores": os.cpu_count(),
        "platform": platform.platform(),
    }


def _cpuinfo() -> list[str]:
    try:
        return Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return []
