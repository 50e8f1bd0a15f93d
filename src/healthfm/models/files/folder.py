"""A Hugging Face folder whose network transformers has itself: opened by transformers' own class, never by code of the folder's.

The keys of its ``config.json`` are transformers' business, since the class is transformers' own. Every tensor of the network must be in
the files; which class ran is in the provenance.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import transformers
from safetensors import SafetensorError

from healthfm.errors import CheckpointError
from healthfm.models import own
from healthfm.models.files.checkpoint import POINTER
from healthfm.models.files.weights import fingerprint

if TYPE_CHECKING:
    from collections.abc import Iterator

FILES = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json")
MAY_LACK = "pooler."  # a layer that many encoders are published without; it is taken off, never left at random
SHOWN = 3


@dataclass
class Opened:
    """A folder's network on the CPU in float32, its ``config.json``, its weight files, and what must be said."""

    path: Path
    network: transformers.PreTrainedModel
    stated: dict[str, Any]
    files: tuple[Path, ...]
    said: list[str] = field(default_factory=list)

    @property
    def architecture(self) -> str:
        """The class of transformers' that runs."""
        return type(self.network).__name__

    def provenance(self) -> dict[str, Any]:
        """Return which weights run, by which class, in which precision, on which device."""
        first = next(self.network.parameters())
        return {
            "weights": ", ".join(one.name for one in self.files), "files": [one.name for one in self.files],
            "digest": fingerprint(self.files), "device": str(first.device), "dtype": str(first.dtype).removeprefix("torch."),
            "class": f"transformers.{self.architecture}", "notices": self.said,
        }  # fmt: skip


def open_folder(path: Path) -> Opened:
    """Build and fill the network of a folder. Raises ``CheckpointError``: not transformers' own, or files that do not fill it."""
    stated = own.config(path)
    kind = _class_of(path, stated)
    files = _files(path)
    said = []
    if stated.get("auto_map"):
        said.append(
            f"the folder brings code of its own (auto_map), which was not run: transformers' own {kind.__name__} was"
        )
    try:
        with _quiet():
            network, found = kind.from_pretrained(
                path, dtype=torch.float32, local_files_only=True, trust_remote_code=False, weights_only=True,
                use_safetensors=files[0].suffix == ".safetensors", output_loading_info=True,
            )  # fmt: skip
    except (pickle.UnpicklingError, SafetensorError, OSError, EOFError) as error:
        raise CheckpointError(
            f"{path}: its weights are damaged, cut short, or want to run code ({type(error).__name__})"
        ) from None
    except Exception as error:  # transformers' own checks of numbers raise many kinds
        why = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise CheckpointError(f"{path}: transformers' {kind.__name__} cannot be filled from it: {why}") from None
    _check_filled(path, network, found, said)
    for key in ("pad_token_id", "eos_token_id", "bos_token_id"):
        if not hasattr(network.config, key):
            setattr(network.config, key, None)
    return Opened(path, network.eval(), stated, files, said)


def _class_of(path: Path, stated: Mapping[str, Any]) -> Any:
    """Return the class that a configuration names, where transformers has it and it fits the ``model_type``."""
    name, kind = own.architecture_of(dict(stated), path), stated.get("model_type")
    code = ": it needs code of its own (auto_map), which is never run" if stated.get("auto_map") else ""
    if kind not in transformers.CONFIG_MAPPING:
        raise CheckpointError(f"{path}: transformers {transformers.__version__} has no model_type '{kind}'{code}")
    found: Any = getattr(transformers, name, None)
    if not (isinstance(found, type) and issubclass(found, transformers.PreTrainedModel)):
        raise CheckpointError(f"{path}: transformers {transformers.__version__} has no class {name}{code}")
    configured: Any = found
    if configured.config_class.model_type != kind:
        raise CheckpointError(f"{path}: config.json names {name}, which is not of its model_type '{kind}'")
    if stated.get("quantization_config"):
        raise CheckpointError(
            f"{path}: its weights are quantised (quantization_config), which is not run from a folder"
        )
    return configured


def _files(path: Path) -> tuple[Path, ...]:
    """Return the weight files that transformers reads of a folder. Raises ``CheckpointError``: none, a lost shard, a pointer."""
    first = next((path / name for name in FILES if (path / name).is_file()), None)
    if first is None:
        raise CheckpointError(f"{path}: no weights ({FILES[0]}, {FILES[2]}, or their shards with an index)")
    names = [first.name]
    if first.suffix == ".json":
        try:
            names = sorted(set(json.loads(first.read_text(encoding="utf-8"))["weight_map"].values()))
        except (ValueError, KeyError, TypeError, AttributeError, OSError):
            raise CheckpointError(f"{first}: not a readable shard index") from None
    if any(Path(name).name != name for name in names):
        raise CheckpointError(f"{first}: a shard's path leaves the folder; refused")
    if absent := [name for name in names if not (path / name).is_file()]:
        raise CheckpointError(f"{path}: {len(absent)} of {len(names)} shards are missing: {', '.join(absent[:SHOWN])}")
    files = tuple(path / name for name in names)
    for one in files:
        with one.open("rb") as handle:
            if handle.read(len(POINTER)) == POINTER:
                raise CheckpointError(f"{one}: a pointer of Git LFS, not the file itself (git lfs pull brings it)")
    return files


def _check_filled(path: Path, network: transformers.PreTrainedModel, found: Mapping[str, Any], said: list[str]) -> None:
    """Refuse a network of which a layer is left at random; take off a pooler that the files lack; name what no layer reads."""
    missing = sorted(found["missing_keys"])
    poolers = {key.rpartition(MAY_LACK)[0] for key in missing if MAY_LACK in key}
    if lost := [key for key in missing if MAY_LACK not in key]:
        raise CheckpointError(
            f"{path}: {len(lost)} tensors of {type(network).__name__} are not in its files: {', '.join(lost[:SHOWN])}"
        )
    for parent in poolers:
        network.get_submodule(parent.rstrip(".")).pooler = None
        said.append("the files have no pooler layer: it was taken off")
    if beyond := sorted(found["unexpected_keys"]):
        more = " ..." if len(beyond) > SHOWN else ""
        said.append(
            f"{len(beyond)} tensors of the files are read by no layer of {type(network).__name__}: {', '.join(beyond[:SHOWN])}{more}"
        )


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep transformers' bars and reports off the terminal: what matters of them is said in our own words."""
    logging = transformers.utils.logging
    before, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(before)
        if bars:
            logging.enable_progress_bar()
