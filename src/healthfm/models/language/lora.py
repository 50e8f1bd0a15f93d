"""LoRA adapters as peft publishes them: ``adapter_config.json`` and ``adapter_model.bin`` or ``.safetensors``, on a base.

The base lies in the folder ``base`` beside the adapter's files: weights in their published layout, or another adapter on a
base of its own (stacked adapters). Adapters are merged into the base; ``config={"merge_adapter": False}`` keeps the
outermost one apart.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import torch
import transformers

from healthfm.errors import CheckpointError
from healthfm.models.files import checkpoint
from healthfm.models.files.checkpoint import Checkpoint, Tensors
from healthfm.models.files.stated import refuse_strange

CONFIG = "adapter_config.json"
NAMES = ("adapter_model.safetensors", "adapter_model.bin")
KNOWN = (
    "r", "lora_alpha", "lora_dropout", "target_modules", "exclude_modules", "target_parameters", "fan_in_fan_out", "bias", "modules_to_save",
    "rank_pattern", "alpha_pattern", "use_rslora", "use_dora", "layers_to_transform", "layers_pattern", "trainable_token_indices",
    "layer_replication", "lora_bias",
)  # fmt: skip
FILE, TRAINING = "says how the file was made", "acts in training only"
HARMLESS = {  # keys that change no number, with the reason
    "peft_type": "LORA, or refused", "task_type": "the tensors tell what head there is", "base_model_name_or_path": "held against the base's own name",
    "auto_mapping": "code and classes are never taken from a file", "revision": FILE, "peft_version": FILE, "inference_mode": TRAINING,
    "loftq_config": "of init_lora_weights, which is refused where it changes the base", "eva_config": TRAINING, "megatron_core": TRAINING,
    "merge_weights": "peft of 2023: whether layers merge by themselves", "ensure_weight_tying": TRAINING, "runtime_config": TRAINING,
    "qalora_group_size": "of use_qalora, which is refused", "corda_config": "of init_lora_weights, which is refused where it changes the base",
    "lora_ga_config": "of init_lora_weights, which is refused where it changes the base",
}  # fmt: skip
STARTS = (True, False, "gaussian", "eva", "orthogonal")  # ways to begin training that leave the base as it is


@dataclasses.dataclass
class Adapter:
    """One adapter: its tensors under peft's names, its settings, the name of the base it was trained on, its files' place."""

    tensors: Tensors
    settings: dict[str, Any]
    base: str
    path: Path


def is_adapter(path: Path) -> bool:
    """Whether a folder holds an adapter."""
    return (path / CONFIG).is_file()


def read(folder: Path) -> tuple[Checkpoint, list[Adapter]]:
    """Return the base's checkpoint and the adapters on it, the innermost first.

    Raises ``CheckpointError``: no base, no adapter weights, not a LoRA adapter, or a base that names itself otherwise than
    the adapter names it.
    """
    adapter = _read_adapter(folder)
    inner = folder / "base"
    if not inner.is_dir():
        raise CheckpointError(
            f"{folder}: this adapter needs its base '{adapter.base}': put the base's files (or a link to them) in {inner}"
        )
    if is_adapter(inner):
        base, adapters = read(inner)
        return base, [*adapters, adapter]
    base = checkpoint.read(inner)
    own = str(base.config.get("_name_or_path") or "")
    if own and _short(own) != _short(adapter.base):
        raise CheckpointError(
            f"{folder}: the adapter was trained on '{adapter.base}', the base calls itself '{own}'; "
            "if they are the same weights, take _name_or_path out of the base's config.json"
        )
    return base, [adapter]


def _short(name: str) -> str:
    return name.rstrip("/").rpartition("/")[2].lower()


def _read_adapter(folder: Path) -> Adapter:
    try:
        stated = dict(json.loads((folder / CONFIG).read_text(encoding="utf-8")))
    except (ValueError, OSError, TypeError):
        raise CheckpointError(f"{folder / CONFIG}: not valid JSON") from None
    if stated.get("peft_type") != "LORA":
        raise CheckpointError(f"{folder / CONFIG}: an adapter of type '{stated.get('peft_type')}', only LORA is read")
    path = next((folder / name for name in NAMES if (folder / name).is_file()), None)
    if path is None:
        raise CheckpointError(f"{folder}: no adapter weights ({' or '.join(NAMES)})")
    tensors = checkpoint.read(path).tensors
    if not any("lora_" in key for key in tensors):
        raise CheckpointError(f"{path}: holds no LoRA tensors")
    _check(folder / CONFIG, stated)
    settings = {key: stated[key] for key in KNOWN if stated.get(key) is not None}
    return Adapter(tensors, settings, str(stated.get("base_model_name_or_path") or "unnamed"), path)


def _check(path: Path, stated: dict[str, Any]) -> None:
    """Raise ``CheckpointError`` that names settings which change numbers and are not followed; a default states nothing."""
    from peft import LoraConfig

    plain = dataclasses.asdict(LoraConfig())
    rest = {
        k: v
        for k, v in stated.items()
        if k not in KNOWN and k not in HARMLESS and v not in (None, [], {}) and v != plain.get(k, False)
    }
    start = rest.pop("init_lora_weights", True)
    if start not in STARTS:
        raise CheckpointError(
            f"{path}: init_lora_weights is '{start}', which changes the base as well: have its owner convert it to plain LoRA"
        )
    refuse_strange(str(path), rest)


def classes(adapters: list[Adapter]) -> int | None:
    """Return how many classes the outermost adapter's classification head has; None without one."""
    head = adapters[-1].tensors.get("base_model.model.score.weight") if adapters else None
    return None if head is None else int(head.shape[0])


def apply(network: transformers.PreTrainedModel, adapter: Adapter, merge: bool = True) -> transformers.PreTrainedModel:
    """Put an adapter on a loaded network and return it. Raises ``CheckpointError``: the adapter does not fit this base."""
    from peft import LoraConfig, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict

    try:
        tuned = get_peft_model(network, LoraConfig(**adapter.settings, inference_mode=True))
    except (ValueError, TypeError, KeyError) as error:
        raise _unfit(adapter, f"{type(error).__name__}: {str(error).splitlines()[0][:120]}") from None
    own = {key: value.shape for key, value in get_peft_model_state_dict(tuned, save_embedding_layers=False).items()}
    given = {key: value.shape for key, value in adapter.tensors.items()}
    problems = [
        f"{len(keys)} {word}, e.g. {keys[0]}"
        for word, keys in (
            ("missing keys", sorted(own.keys() - given.keys())),
            ("unexpected keys", sorted(given.keys() - own.keys())),
            ("wrong shapes", sorted(k for k in own.keys() & given.keys() if own[k] != given[k])),
        )
        if keys
    ]
    if problems:
        raise _unfit(adapter, "; ".join(problems))
    set_peft_model_state_dict(tuned, {key: value.to(torch.float32) for key, value in adapter.tensors.items()})
    merged: transformers.PreTrainedModel = tuned.merge_and_unload() if merge else tuned.get_base_model()
    return merged


def _unfit(adapter: Adapter, why: str) -> CheckpointError:
    return CheckpointError(
        f"{adapter.path}: the adapter does not fit this base (it was trained on '{adapter.base}'): {why}"
    )
