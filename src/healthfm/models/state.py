"""What a network is beside its inputs: its tensors, and every plain value its modules hold, whoever set it.

Nothing here knows which attributes matter: all are looked at, so that a scaling that an adapter keeps in a dict, a switch, a
pooling or a tensor that no module registered counts as the weights do.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

import numpy as np
import torch

OWN = frozenset(vars(torch.nn.Module()))  # what torch itself keeps in a module: tensors, parts, hooks
PASSING = ("warnings_issued",)  # what transformers notes while it runs


def tensors(network: torch.nn.Module) -> str:
    """Return the digest of a network's tensors as they will run: names, types, shapes and values."""
    seen = hashlib.sha256()
    for name, value in sorted(network.state_dict().items()):
        seen.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        seen.update(_bytes(value))
    return seen.hexdigest()


def structure(network: torch.nn.Module) -> str:
    """Return the digest of what is no tensor of it: each module's class and the plain values that it holds."""
    seen = hashlib.sha256()
    configs: dict[int, Any] = {}  # one of transformers' stands in many modules

    def told(value: Any) -> Any:
        if not hasattr(value, "to_json_string"):
            return plain(value)
        if id(value) not in configs:
            configs[id(value)] = plain(value)
        return configs[id(value)]

    for name, module in network.named_modules():
        kind = type(module)
        values = {key: told(value) for key, value in vars(module).items() if key not in OWN and key not in PASSING}
        values["training"] = module.training
        text = json.dumps([name, f"{kind.__module__}.{kind.__qualname__}", values], sort_keys=True)
        seen.update(text.encode() + b"\n")
    return seen.hexdigest()


def hooked(network: torch.nn.Module) -> bool:
    """Say whether functions of the caller's change what modules take or give: what those do, nothing here can tell."""
    return any(one._forward_hooks or one._forward_pre_hooks for one in network.modules())


def plain(value: Any) -> Any:
    """Return a value as plain data of which equal values give equal text; of an object that is none, the name of its kind."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, torch.Tensor):
        return ["tensor", str(value.dtype), list(value.shape), hashlib.sha256(_bytes(value)).hexdigest()]
    if isinstance(value, np.ndarray):
        return [
            "array",
            str(value.dtype),
            list(value.shape),
            hashlib.sha256(np.ascontiguousarray(value).data).hexdigest(),
        ]
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if isinstance(value, set | frozenset):
        return sorted((plain(one) for one in value), key=repr)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if hasattr(value, "model_dump_json"):
        return json.loads(value.model_dump_json())
    if hasattr(value, "to_json_string"):
        return str(value.to_json_string())
    if isinstance(value, functools.partial):
        return [plain(value.func), plain(value.args), plain(value.keywords)]
    if isinstance(value, torch.dtype | torch.device | PurePath | bytes | np.generic):
        return str(value)
    of = value if isinstance(value, type) or hasattr(value, "__qualname__") else type(value)
    return f"{of.__module__}.{of.__qualname__}"


def tokenizer(found: Any) -> Any:
    """Return what a tokenizer is, as plain data: its pieces and rules, and what it makes of a text that tells many apart."""
    if found is None:
        return None
    backend = getattr(found, "backend_tokenizer", None)
    if backend is not None:
        rules = json.loads(backend.to_str())
        rules.pop("truncation", None)  # of the last call, not of the tokenizer
        rules.pop("padding", None)
    else:
        rules = sorted(found.get_vocab().items())
    text = json.dumps([rules, plain(found.special_tokens_map), sorted(found.get_added_vocab().items())], sort_keys=True)
    return {
        "class": type(found).__name__, "rules": hashlib.sha256(text.encode()).hexdigest(), "sample": found.encode(SAMPLE, verbose=False),
    }  # fmt: skip


SAMPLE = "In 2024, the patient's BP was 120/80.\n\n  Temp 38.5°C; naïve β-blocker… 高血压"


def _bytes(value: torch.Tensor) -> Any:
    return value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data
