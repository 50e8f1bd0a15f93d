"""How far an arithmetic's vectors are from torch's float32, on the first units of a run, and what follows from it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from healthfm.embed import engines
from healthfm.embed.engines import Network
from healthfm.errors import CapabilityError, RunError
from healthfm.models.model import Float32, Model

SAME = 1e-4  # the largest relative difference from torch's float32 that float32 may have
ALIKE = 0.999  # the smallest cosine to it that bfloat16 may have
CHECKED = 8  # units of the first batch


def needed(network: Network) -> bool:
    """Say whether a network's vectors are to be held against torch's float32."""
    return str(network.facts["engine"]).startswith("openvino")


def checked(model: Model, network: Network, inputs: Sequence[Any]) -> Network:
    """Return the network with its ``check`` on these inputs; torch's own where OpenVINO's float32 does not pass.

    Raises ``RunError``: bfloat16 is too far off.
    """
    if not needed(network) or not inputs:
        return network
    precision = network.facts["precision"]
    try:
        found = measure(
            np.stack([engines.reference(model, one) for one in inputs]), np.stack(engines.vectors(network, inputs))
        )
    except CapabilityError as error:
        if precision != "float32":
            raise
        return _replaced(model, {"refused": str(error)})
    if precision == "float32" and not found["relative_difference"] <= SAME:
        return _replaced(model, {"refused": "its float32 differs from torch's", **found})
    if precision == "bfloat16" and not found["cosine"] >= ALIKE:
        raise RunError(
            f"bfloat16 changes this model's vectors too much here (cosine to float32 {found['cosine']:.5f}, at least {ALIKE} is "
            "needed): use float32"
        )
    network.check = found
    return network


def _replaced(model: Model, why: dict[str, Any]) -> Network:
    network = engines.by_torch(model)
    network.check = {"openvino": why}
    return network


def measure(reference: Float32, found: Float32) -> dict[str, Any]:
    """Return how far vectors [n, d] are from their reference: the worst of the rows.

    ``centred_cosine`` is that after the mean reference is taken off, which is what a classifier sees; None where all
    references are (nearly) the same.
    """
    size = np.linalg.norm(reference, axis=1)
    middle = reference.mean(0)
    spread = np.linalg.norm(reference - middle, axis=1)
    telling = len(reference) > 1 and float(spread.min()) > 1e-6 * float(size.max())
    return {
        "units": len(reference),
        "relative_difference": float((np.linalg.norm(found - reference, axis=1) / np.maximum(size, 1e-30)).max()),
        "cosine": float(_cosine(reference, found).min()),
        "centred_cosine": float(_cosine(reference - middle, found - middle).min()) if telling else None,
    }  # fmt: skip


def _cosine(a: Float32, b: Float32) -> Any:
    a, b = a.astype(np.float64), b.astype(np.float64)
    return (a * b).sum(1) / np.maximum(np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1), 1e-30)
