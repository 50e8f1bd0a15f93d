"""Classification heads that a checkpoint brings: found by name and shape, left off where they are not the row's, read as classes."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from healthfm.cards.schema import Runner
from healthfm.errors import CheckpointError, RunError
from healthfm.models.files.checkpoint import Tensors
from healthfm.models.model import Float32

NAME = re.compile(
    r"((?:head|head\.fc|head\.conv|fc|classifier)\.)(weight|bias)|((?:.*/)?head/(?:conv2d|dense)/)(kernel|bias)(:0)?"
)
PROBE = ("head.0.running_mean", "head.0.running_var", "head.1.weight", "head.1.bias")
BACKBONES = (
    1000,
    1001,
    11221,
    21841,
    21842,
    21843,
)  # the classes of ImageNet's editions, which backbones are trained on
UNNAMED = re.compile(r"LABEL_\d+")  # what transformers calls classes that nobody named


@dataclass(frozen=True)
class Head:
    """A head's tensor: its name, how many classes it has and how many numbers it takes."""

    key: str
    classes: int
    width: int


def find(tensors: Mapping[str, Any]) -> Head | None:
    """Return the head of a vision network among published tensors; a map's own (for segmentation) is none."""
    for key, value in tensors.items():
        part = NAME.fullmatch(key)
        if part is None or "bias" in (part[2], part[4]):
            continue
        if part[4] and value.shape[:-2].numel() == 1:  # TensorFlow: [(1, 1,) in, classes]
            return Head(key, value.shape[-1], value.shape[-2])
        if part[2] and (value.ndim == 2 or (key == "head.conv.weight" and value.shape[2:].numel() == 1)):
            return Head(key, value.shape[0], value.shape[1])
    return None


def without(tensors: Tensors) -> dict[str, torch.Tensor]:
    """Return published tensors without those of their head."""
    head = find(tensors)
    return {key: value for key, value in tensors.items() if head is None or NAME.fullmatch(key) is None}


def whole(tensors: Tensors, name: str) -> dict[str, torch.Tensor]:
    """Return published tensors whose head stands at ``name`` (TensorFlow's keeps its own names) and has a bias: if none, zeros."""
    head = find(tensors)
    if head is None:
        return dict(tensors)
    bias = re.sub(r"(weight|kernel)(:0)?$", r"bias\2", head.key)
    every = {bias: torch.zeros(head.classes, device=tensors[head.key].device), **tensors}
    parts = {key: NAME.fullmatch(key) for key in every}
    return {f"{name}.{one[2]}" if (one := parts[key]) and one[2] else key: value for key, value in every.items()}


def folded(tensors: Tensors) -> dict[str, torch.Tensor]:
    """Return published tensors in which a head behind a norm of the batch without factors (MAE's linear probe) is one layer.

    Source: facebookresearch/mae ``main_linprobe.py``, whose norm adds 1e-6.
    """
    probe = {key: tensors.get(key) for key in PROBE}
    if any(value is None for value in probe.values()) or "head.0.weight" in tensors:
        return dict(tensors)
    mean, variance, weight, bias = (value for value in probe.values() if value is not None)
    scaled = weight / torch.sqrt(variance + 1e-6)
    kept = {key: value for key, value in tensors.items() if not key.startswith(("head.0.", "head.1."))}
    return {**kept, "head.weight": scaled, "head.bias": bias - scaled @ mean}


def chosen(run: Runner, tensors: Tensors, asked: int | None) -> tuple[Runner, list[str]]:
    """Return [run] with as many classes as the checkpoint's head has, or none where it is left off, and what must be said.

    ``asked``: the caller's ``num_classes``. A head is left off where the card or the caller says so, or as ImageNet's.
    """
    head = find(tensors)
    if head is None:
        return run, []
    ignored = any(fnmatch.fnmatchcase(head.key, pattern) for pattern in run.ignore_keys)
    why = "as the card says" if ignored else "as the caller asks" if asked == 0 else ""
    if not why and asked is None and head.classes in BACKBONES:
        why = f"as that of a backbone trained on ImageNet (config={{'num_classes': {head.classes}}} keeps it)"
    said = [f"a head of {head.classes} classes ({head.key}) was left off, {why}"] if why else []
    classes = 0 if why else head.classes if asked is None else asked
    return run.model_copy(update={"config": {**run.config, "num_classes": classes}}), said


def check_width(slug: str, tensors: Tensors, width: int) -> None:
    """Raise ``CheckpointError`` where a head takes other vectors than the network's of ``width``."""
    head = find(tensors)
    if head is not None and head.width != width:
        raise CheckpointError(
            f"{slug}: the head {head.key} of {head.classes} classes takes {head.width} numbers, the pooled vectors have {width}: "
            "give the pooling it was trained on in config, or leave it off with config={'num_classes': 0}"
        )


# Classes ----------------------------------------------------------------------------------------------------------------


def names(config: Mapping[str, Any], classes: int) -> tuple[str, ...]:
    """Return the names that a ``config.json`` gives to a head's ``classes``, () where it names none.

    Raises ``CheckpointError``: as many names as the head has not.
    """
    stated = config.get("id2label") or config.get("label_names") or ()
    if isinstance(stated, Mapping):
        stated = [stated[key] for key in sorted(stated, key=lambda key: int(key))]
    found = tuple(str(one) for one in stated)
    if not classes or not found or all(UNNAMED.fullmatch(one) for one in found):
        return ()
    if len(found) != classes:
        raise CheckpointError(f"config.json names {len(found)} classes, the head has {classes}")
    return found


def several(config: Mapping[str, Any]) -> bool:
    """Whether a ``config.json`` says that an item may have several of the classes."""
    return bool(config.get("problem_type") == "multi_label_classification")


def answers(
    model: str, values: Float32, classes: Sequence[str], named: Sequence[str], many: bool, templates: Any, logits: bool
) -> Float32:
    """Return a head's logits [n, classes], or their probabilities (softmax; ``many``: each class for itself), in the order of ``classes``.

    ``named``: the head's own names, in its order. Without them ``classes`` are taken in the head's order.
    Raises ``RunError``: templates, classes that are not the head's, or one output, which is no probability by itself.
    """
    rows = values.shape[1]
    if templates is not None:
        raise RunError(f"{model} has a trained head: it takes no templates")
    if len(classes) != rows:
        raise RunError(f"{model} has a head of {rows} classes; {len(classes)} were named")
    if named:
        if sorted(named) != sorted(classes):
            unknown = sorted(set(classes) - set(named)) or list(classes)
            raise RunError(f"{model}: the head's classes are {', '.join(named)}; not {', '.join(unknown)}")
        values = values[:, [list(named).index(one) for one in classes]]
    if logits:
        return values
    if many:
        return np.asarray(torch.from_numpy(values).sigmoid().numpy(), np.float32)
    if rows == 1:
        raise RunError(
            f"{model}: its head has one output, which says by itself nothing of a probability; logits=True returns it"
        )
    return np.asarray(torch.from_numpy(values).softmax(-1).numpy(), np.float32)
