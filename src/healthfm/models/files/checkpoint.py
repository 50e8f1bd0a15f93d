"""Published weights to tensors, without running code from them.

safetensors, ``torch.load(weights_only=True)``, GGUF, npz and TensorFlow SavedModels; single files and sharded folders in the
published layout.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import pickle
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from healthfm.errors import CheckpointError
from healthfm.formats import tf_variables
from healthfm.formats.gguf import GGUF
from healthfm.models.files.weights import fingerprint

Tensors = Mapping[str, torch.Tensor]
PLAIN = (argparse.Namespace,)  # runs nothing; training scripts keep their arguments beside the weights
TORCH_SUFFIXES = (".bin", ".pt", ".pth", ".ckpt")
SAVED = ".tar"  # some training scripts call PyTorch's files so; a real archive is none of them
POINTER = b"version https://git-lfs"
PICKLED = (b"PK", b"\x80")  # how PyTorch's files begin: its archive, or a bare pickle
INDEXES = ("model.safetensors.index.json", "pytorch_model.bin.index.json")
SINGLES = ("model.safetensors", "pytorch_model.bin")


@dataclass
class Checkpoint:
    """Tensors by published name, with what lay beside them: ``config`` (config.json), ``gguf``, the ``folder`` and ``files``."""

    tensors: Tensors
    config: dict[str, Any] = field(default_factory=dict)
    gguf: GGUF | None = None
    folder: Path | None = None
    files: tuple[Path, ...] = ()
    note: str | None = None

    @property
    def digest(self) -> str | None:
        """``sha256:...`` over the weight files' names and contents; ``sampled:...`` where they are too large to read whole."""
        return fingerprint(self.files) if self.files else None


def read(path: Path) -> Checkpoint:
    """Read weights from a file or a folder in the published layout.

    Raises ``CheckpointError``: nothing there, a missing shard, a damaged file, or a pickle that wants to run code.
    """
    if path.is_dir():
        return _read_folder(path)
    if not path.is_file():
        raise CheckpointError(f"no weights at {path}")
    checkpoint = _read_file(path)
    checkpoint.config = checkpoint.config or _config(path.parent)
    return checkpoint


def _read_folder(folder: Path) -> Checkpoint:
    config = _config(folder)
    for name in INDEXES:
        if (folder / name).is_file():
            return _read_shards(folder / name, config)
    for name in SINGLES:
        if (folder / name).is_file():
            checkpoint = _read_file(folder / name)
            checkpoint.config = config
            return checkpoint
    if (folder / tf_variables.INDEX).is_file():
        files = tuple(sorted((folder / tf_variables.INDEX.parent).iterdir()))
        return Checkpoint(_from_arrays(tf_variables.saved_model(folder)), config, folder=folder, files=files)
    others = sorted(p for p in folder.iterdir() if p.suffix in (".safetensors", ".gguf", ".npz", *TORCH_SUFFIXES))
    others = others or sorted(folder.glob(f"*{SAVED}"))
    if len(others) != 1:
        names = ", ".join(p.name for p in others) or "no weight files"
        raise CheckpointError(
            f"{folder}: one checkpoint was expected ({', '.join(SINGLES)}, an index, or one file); found {names}"
        )
    checkpoint = _read_file(others[0])
    checkpoint.config = config or checkpoint.config
    return checkpoint


def _config(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    if not path.is_file():
        return {}
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise CheckpointError(f"{path}: not valid JSON ({type(error).__name__})") from None
    if not isinstance(config, dict):
        raise CheckpointError(f"{path}: holds a {type(config).__name__}, an object was expected")
    return config


def _read_shards(index: Path, config: dict[str, Any]) -> Checkpoint:
    try:
        where: dict[str, str] = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        names = sorted(set(where.values()))
    except (ValueError, KeyError, OSError, TypeError, AttributeError):
        raise CheckpointError(f"{index}: not a readable shard index") from None
    if any(Path(name).name != name for name in names):
        raise CheckpointError(f"{index}: a shard's path leaves the folder; refused")
    absent = [name for name in names if not (index.parent / name).is_file()]
    if absent:
        raise CheckpointError(
            f"{index.parent}: {len(absent)} of {len(names)} shards are missing: {', '.join(absent[:3])}"
        )
    tensors: dict[str, torch.Tensor] = {}
    for name in names:
        shard = _read_file(index.parent / name).tensors
        lost = [key for key, file in where.items() if file == name and key not in shard]
        if lost:
            raise CheckpointError(
                f"{index.parent / name}: {len(lost)} tensors of the index are not in it, e.g. {lost[0]}"
            )
        tensors.update(shard)
    return Checkpoint(tensors, config, folder=index.parent, files=tuple(index.parent / name for name in names))


def _read_file(path: Path) -> Checkpoint:
    with path.open("rb") as handle:
        if handle.read(len(POINTER)) == POINTER:
            raise CheckpointError(f"{path}: a pointer of Git LFS, not the file itself (git lfs pull brings it)")
    if path.suffix == ".gguf":
        gguf = GGUF(path)
        return Checkpoint({}, gguf=gguf, folder=path.parent, files=(path,), note=f"{gguf.quantisation}, dequantised")
    if path.suffix == ".safetensors":
        try:
            tensors: Tensors = load_file(path)
        except (SafetensorError, OSError) as error:
            raise CheckpointError(f"{path}: not a readable safetensors file, or cut short ({error})") from None
    elif path.suffix in (*TORCH_SUFFIXES, SAVED):
        tensors = _load_torch(path)
    elif path.suffix == ".npz":
        tensors = _from_arrays(tf_variables.npz(path))
    else:
        raise CheckpointError(
            f"{path}: not a checkpoint healthfm reads (.safetensors, .gguf, .npz, {', '.join(TORCH_SUFFIXES)})"
        )
    return Checkpoint(tensors, folder=path.parent, files=(path,))


def _from_arrays(arrays: Mapping[str, npt.NDArray[np.generic]]) -> Tensors:
    return {name: torch.from_numpy(value) for name, value in arrays.items()}


def _load_torch(path: Path) -> Tensors:
    with path.open("rb") as handle:
        if not handle.read(2).startswith(PICKLED):
            raise CheckpointError(f"{path}: not a readable PyTorch checkpoint, or cut short")
    try:
        with torch.serialization.safe_globals(list(PLAIN)):
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if "weights_only" in str(error).lower() or "global" in str(error).lower():
            reason = next(
                (w for w in str(error).split() if "." in w and w.replace(".", "").replace("_", "").isalnum()), "code"
            )
            raise CheckpointError(
                f"{path}: this pickle wants to run code ({reason}); refused. Ask its owner for safetensors, or convert it where it is trusted"
            ) from None
        raise CheckpointError(f"{path}: not a readable PyTorch checkpoint, or cut short") from None
    except (RuntimeError, EOFError, OSError, ValueError) as error:
        raise CheckpointError(
            f"{path}: not a readable PyTorch checkpoint, or cut short ({type(error).__name__})"
        ) from None
    if not isinstance(loaded, Mapping):
        raise CheckpointError(f"{path}: holds a {type(loaded).__name__}, a mapping of tensors was expected")
    return loaded


def load_strict(network: torch.nn.Module, tensors: Tensors, ignore: tuple[str, ...] = ()) -> None:
    """Load tensors into a network in place; every key must fit, but for the patterns in ``ignore`` and tied weights.

    Raises ``CheckpointError`` that lists the missing, unexpected and wrongly shaped keys.
    """
    own = network.state_dict()
    given = {k: v for k, v in tensors.items() if not any(fnmatch.fnmatchcase(k, p) for p in ignore)}
    tied = set(getattr(network, "all_tied_weights_keys", None) or {})
    missing = [
        k for k in own if k not in given and k not in tied and not any(fnmatch.fnmatchcase(k, p) for p in ignore)
    ]
    unexpected = [k for k in given if k not in own]
    shapes = [
        f"{k} is {tuple(given[k].shape)}, {tuple(own[k].shape)} fits"
        for k in own
        if k in given and given[k].shape != own[k].shape
    ]
    problems = [
        f"{len(keys)} {word}: {', '.join(keys[:3])}{' ...' if len(keys) > 3 else ''}"
        for word, keys in (("missing keys", missing), ("unexpected keys", unexpected), ("wrong shapes", shapes)) if keys
    ]  # fmt: skip
    if problems:
        raise CheckpointError(f"the checkpoint does not fit {type(network).__name__}: " + "; ".join(problems))
    network.load_state_dict(dict(given), strict=False, assign=False)
