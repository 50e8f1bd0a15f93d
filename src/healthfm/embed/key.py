"""The key under which vectors are shared: all that they depend on beside what the network is given."""

from __future__ import annotations

import functools
import hashlib
import json
import sys
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from healthfm.embed.engines import Network
from healthfm.formats import image
from healthfm.models import state
from healthfm.models.arithmetic import openvino
from healthfm.models.model import Model
from healthfm.models.vision import pictures, transform

LIBRARIES = ("torch", "transformers", "tokenizers", "Pillow", "numpy")


def key_of(model: Model, network: Network) -> dict[str, Any] | None:
    """Return all that a vector depends on beside what the network is given; None for an object of the caller's, of which nothing
    is known, and where functions of the caller's (hooks) work inside the network or its code lies in no file.

    ``random`` is there for random weights alone, whose vectors are shared with nobody.
    """
    if not isinstance(model.network, torch.nn.Module) or state.hooked(model.network):
        return None
    version = code(model)
    if version is None:
        return None
    random = {"random": True} if str(model.provenance.get("weights")).startswith("random weights") else {}
    settings = model.settings()
    return {
        "model": model.name, "weights": settings["tensors"], "settings": _digest(settings), "code": version,
        **random, **network.facts,
    }  # fmt: skip


def state_of(model: Model) -> str:
    """Return the digest of a loaded model as it is now: its settings."""
    return "state:" + _digest(model.settings())


def _digest(settings: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()


def code(model: Model) -> str | None:
    """Return the version of the code that vectors come from: the libraries', and all other by the bytes of its files; None where
    some of that lies in no file (a notebook).
    """
    ours = {module.__module__ for module in (model.network or torch.nn.Identity()).modules()}
    ours |= {kind.__module__ for kind in type(model).__mro__}
    known = {*sys.stdlib_module_names, *(name.lower() for name in LIBRARIES)}
    names = {one for one in ours if one.partition(".")[0] not in known}
    names |= {transform.__name__, pictures.__name__, image.__name__, openvino.__name__}
    seen = hashlib.sha256()
    for name in sorted(names):
        file = getattr(sys.modules.get(name), "__file__", None)
        if file is None:
            return None
        seen.update(Path(file).read_bytes())
    return f"{_version('healthfm')}+{seen.hexdigest()[:12]} {json.dumps({name: _version(name) for name in LIBRARIES})}"


@functools.cache
def _version(package: str) -> str:
    """Return the version of a package, read once: what is imported stays what it is."""
    return metadata.version(package)
