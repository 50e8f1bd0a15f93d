"""What every family does to open a model: find its weights, put the network on a device in a precision, say what runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from healthfm.cards.schema import ModelCard, Runner
from healthfm.errors import CapabilityError
from healthfm.models.files import checkpoint, delta
from healthfm.models.files.checkpoint import Checkpoint, Tensors
from healthfm.models.files.weights import locate

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def open_weights(card: ModelCard, variant: str | None, weights: Path | str | Tensors | None) -> Checkpoint:
    """Return the checkpoint that ``load_model``'s ``weights`` means; "random" holds no tensors."""
    if isinstance(weights, Mapping):
        return Checkpoint(weights, note="in-memory weights of the caller's")
    if weights == "random":
        return Checkpoint({}, note="random weights, seed 0")
    path = Path(weights).expanduser() if weights is not None else locate(card, variant)
    return delta.read(path) if delta.is_delta(card, variant) else checkpoint.read(path)


def place(network: torch.nn.Module, run: Runner, device: str, dtype: str) -> None:
    """Move a network to its device and precision, ready to run. Raises ``CapabilityError`` where there is no CUDA."""
    where = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    if where.startswith("cuda") and not torch.cuda.is_available():
        raise CapabilityError("device is 'cuda', but torch sees no CUDA device here (healthfm doctor)")
    exact = {name: value for name, value in network.named_buffers() if name.endswith("inv_freq")}
    network.to(device=where, dtype=DTYPES[precision(run, where, dtype)]).eval()
    for name, value in exact.items():  # rotary frequencies stay in float32: in 16 bits late positions would be others
        parent, _, last = name.rpartition(".")
        setattr(network.get_submodule(parent), last, value.to(where))


def precision(run: Runner, where: str, dtype: str) -> str:
    """Return the number format that a call's ``dtype`` means on a device: "auto" is float32 on the CPU, [run]'s elsewhere."""
    return dtype if dtype != "auto" else "float32" if where == "cpu" else run.dtype


def provenance(found: Checkpoint, network: torch.nn.Module) -> dict[str, Any]:
    """Return which weights run, in which precision, on which device."""
    first = next(network.parameters())
    return {
        "weights": found.note or ", ".join(path.name for path in found.files), "files": [path.name for path in found.files],
        "digest": found.digest, "device": str(first.device), "dtype": str(first.dtype).removeprefix("torch."),
    }  # fmt: skip
