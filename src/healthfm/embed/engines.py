"""Which arithmetic makes the vectors, how far it is from torch's float32, and the key under which they are shared.

On a CPU one picture is computed at a time, several side by side: its vector does not depend on its neighbours, so that a run
that was killed, a cache, and another order of the items all give the same bytes.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch

from healthfm.embed.units import Unit
from healthfm.errors import CapabilityError, RunError
from healthfm.formats import image
from healthfm.models import state
from healthfm.models.arithmetic import onednn, openvino
from healthfm.models.language.text_model import TextModel
from healthfm.models.model import Float32, Model
from healthfm.models.vision import transform
from healthfm.models.vision import vision_model as vision
from healthfm.models.vision.vision_model import VisionModel

PRECISIONS = ("auto", "float32", "bfloat16", "int8")
SAME = 1e-4  # the largest relative difference from torch's float32 that float32 may have
ALIKE = 0.999  # the smallest cosine to it that bfloat16 may have
SHAPES = 8  # pictures of so many shapes are compiled for; the others go through torch
CHECKED = 8  # units of the first batch


@dataclass
class Network:
    """How vectors are made: ``work`` takes up to ``batch`` pictures (or texts) and returns their vectors, [n, d].

    ``threads`` calls may run side by side. ``facts`` say what it is (they are part of the key); ``around`` is entered while
    it works; ``quantised`` is the 8 bit network, to be kept.
    """

    work: Callable[[Sequence[Any]], Float32]
    facts: dict[str, Any]
    batch: int = 1
    threads: int = 1
    around: Callable[[], AbstractContextManager[Any]] = nullcontext
    quantised: openvino.Compiled | None = None
    check: dict[str, Any] = field(default_factory=dict)


def fill(network: Network, units: Sequence[Unit], tell: Callable[[int], None] = lambda _: None) -> list[Unit]:
    """Return units with the vectors of those that have inputs; ``tell`` hears of pictures as they are done."""
    found = iter(vectors(network, [unit.inputs for unit in units if unit.inputs is not None], tell))
    return [replace(unit, inputs=None, vector=next(found)) if unit.inputs is not None else unit for unit in units]


def vectors(
    network: Network, inputs: Sequence[Sequence[Any]], tell: Callable[[int], None] = lambda _: None
) -> list[Float32]:
    """Return the vector of each unit: the mean over its pictures, which go through the network ``batch`` at a time.

    Not more than that many are held, however many a film has.
    """
    every = itertools.chain.from_iterable(inputs)
    rows: list[Float32] = []
    while some := list(itertools.islice(every, network.batch)):
        made = list(network.work(some))
        if len(made) != len(some):
            raise RunError("the model returned another number of embeddings than there were inputs")
        rows += made
        tell(len(some))
    found = iter(rows)
    return [_mean([next(found) for _ in range(len(pictures))]) for pictures in inputs]


def choose(model: Model, precision: str = "auto", compiled: bool = False, engine: str = "auto") -> Network:
    """Return how a model's vectors are made here, before any check (8 bits: see ``quantised``).

    ``precision``: "auto" is float32 on a CPU and the loaded network's own on a GPU. ``engine``: "auto" takes OpenVINO on a CPU
    where it is installed, "torch" never. ``compiled``: ``torch.compile`` (GPU). Raises ``CapabilityError``.
    """
    if precision not in PRECISIONS:
        raise CapabilityError(f"precision is '{precision}'; use {', '.join(PRECISIONS)}")
    if "embed" not in model.capabilities:
        raise CapabilityError(f"{model.name} cannot embed; it can {', '.join(sorted(model.capabilities))}")
    if precision == "int8":
        openvino.needed()
        raise CapabilityError("int8 is for models of pictures, on a CPU, and needs pictures to calibrate on")
    if not isinstance(model, VisionModel):
        return _of_verb(model, precision)
    first = next(model.network.parameters())
    loaded = str(first.dtype).removeprefix("torch.")
    if first.device.type != "cpu":
        _need_loaded(precision, loaded)
        return _on_gpu(model, loaded, compiled)
    if engine == "auto" and openvino.version() is not None and loaded == "float32":
        return _by_openvino(model, "float32" if precision == "auto" else precision)
    _need_loaded(precision, loaded)
    return by_torch(model)


def loaded_for(model: Model, precision: str) -> str | None:
    """Return the ``dtype`` in which a model must be loaded again for a precision; None where it is right as it is."""
    loaded = str(model.provenance.get("dtype"))
    by_openvino = (
        isinstance(model, VisionModel) and model.provenance.get("device") == "cpu" and openvino.version() is not None
    )
    return None if precision in ("auto", "int8", loaded) or by_openvino else precision


def _need_loaded(precision: str, loaded: str) -> None:
    if precision not in ("auto", loaded):
        raise CapabilityError(
            f"the network is loaded in {loaded}; load_model(..., dtype='{precision}') for that precision"
        )


def by_torch(model: VisionModel) -> Network:
    """Return torch's own arithmetic on a CPU, linear layers through oneDNN where they can go."""
    first = next(model.network.parameters())
    facts = {
        "engine": f"torch {torch.__version__}", "precision": str(first.dtype).removeprefix("torch."),
        "linear": "oneDNN" if onednn.available(model.network) else "torch",
    }  # fmt: skip
    return Network(
        lambda pictures: np.stack([reference(model, [one]) for one in pictures]), facts,
        around=lambda: onednn.packed_linear(model.network),
    )  # fmt: skip


def reference(model: VisionModel, pictures: Sequence[Float32]) -> Float32:
    """Return the vector of one unit (the mean over its pictures), one picture at a time."""
    return _mean([model.forward({"pixels": torch.from_numpy(one[None])})["pooled"][0] for one in pictures])


def _mean(vectors: Sequence[Float32]) -> Float32:
    return vectors[0] if len(vectors) == 1 else np.mean(vectors, 0)


def _by_openvino(model: VisionModel, precision: str) -> Network:
    threads = torch.get_num_threads()
    compiled: dict[tuple[int, ...], Callable[[Float32], Float32]] = {}
    lock = threading.Lock()

    def of_shape(shape: tuple[int, ...]) -> Callable[[Float32], Float32]:
        with lock:
            if shape not in compiled:
                if len(compiled) < SHAPES:
                    compiled[shape] = openvino.convert(model.network, shape, precision, threads)
                else:
                    compiled[shape] = lambda one: reference(model, [one])
            return compiled[shape]

    def work(pictures: Sequence[Float32]) -> Float32:
        return np.stack([of_shape(one.shape)(one) for one in pictures])

    facts = {"engine": f"openvino {openvino.version()}", "precision": precision}
    return Network(work, facts, threads=threads)


def quantised(model: VisionModel, pictures: Sequence[Float32]) -> Network:
    """Return the 8 bit network whose ranges come from ``pictures``."""
    shapes = {one.shape for one in pictures}
    if len(shapes) != 1:
        raise RunError(f"int8 needs pictures that come out in one size to calibrate on, these have {len(shapes)}")
    seen = hashlib.sha256()
    for one in pictures:
        seen.update(one.tobytes())
    return of_compiled(openvino.quantise(model.network, pictures, torch.get_num_threads()), seen.hexdigest())


def saved(path: Path, calibration: str) -> Network:
    """Return the 8 bit network that was saved at ``path``."""
    return of_compiled(openvino.load(path, torch.get_num_threads()), calibration)


def of_compiled(small: openvino.Compiled, calibration: str) -> Network:
    """Return the 8 bit network, new or loaded. ``calibration``: the digest of the pictures it was made with."""

    def work(pictures: Sequence[Float32]) -> Float32:
        return np.stack([small(one) for one in pictures])

    facts = {
        "engine": f"openvino {openvino.version()}", "precision": "int8", "nncf": metadata.version("nncf"), "calibration": calibration,
    }  # fmt: skip
    return Network(work, facts, threads=torch.get_num_threads(), quantised=small)


def _on_gpu(model: VisionModel, precision: str, compiled: bool) -> Network:
    """Batches of neighbours, channels last. Not yet run on a GPU by the project's own tests."""
    model.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    run = torch.compile(model.network) if compiled else model.network
    first = next(model.network.parameters())

    @torch.inference_mode()
    def work(pictures: Sequence[Float32]) -> Float32:
        placed = torch.from_numpy(np.stack(pictures)).to(first.device, first.dtype, memory_format=torch.channels_last)
        pooled: Float32 = run(placed)[1].float().cpu().numpy()
        return pooled

    facts = {
        "engine": f"torch {torch.__version__}, {torch.cuda.get_device_name(first.device)}", "precision": precision,
        "compiled": compiled, "pixels_per_batch": vision.PIXELS_PER_BATCH,
    }  # fmt: skip
    return Network(work, facts, batch=vision.PIXELS_PER_BATCH // (224 * 224))


def _of_verb(model: Model, precision: str) -> Network:
    """Whatever has the verb ``embed``: texts one at a time on a CPU, so that none is padded; batches elsewhere."""
    _need_loaded(precision, str(model.provenance.get("dtype") or "float32"))
    on_cpu = str(model.provenance.get("device", "cpu")) == "cpu"
    facts = {"engine": f"torch {torch.__version__}", "precision": model.provenance.get("dtype")}
    network = model.network if isinstance(model.network, torch.nn.Module) else None
    around = (lambda: onednn.packed_linear(network)) if network is not None and on_cpu else nullcontext

    def work(items: Sequence[Any]) -> Float32:
        by_tokens = isinstance(model, TextModel) and all(isinstance(one, np.ndarray) for one in items)
        made = model.embed_tokens([one.tolist() for one in items]) if by_tokens else model.embed(list(items))
        return np.asarray(made, np.float32)

    return Network(work, facts, 1 if on_cpu else 32, around=around)


# How far from torch's float32 -------------------------------------------------------------------------------------------


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


def needs_check(model: Model, network: Network) -> bool:
    """Say whether a network's vectors are to be held against torch's float32."""
    return isinstance(model, VisionModel) and network.facts["engine"].startswith("openvino")


def checked(model: Model, network: Network, inputs: Sequence[Any]) -> Network:
    """Return the network with its ``check`` on these inputs; torch's own where OpenVINO's float32 does not pass.

    Raises ``RunError``: bfloat16 is too far off.
    """
    if not isinstance(model, VisionModel) or not needs_check(model, network) or not inputs:
        return network
    precision = network.facts["precision"]
    try:
        found = measure(np.stack([reference(model, one) for one in inputs]), np.stack(vectors(network, inputs)))
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


def _replaced(model: VisionModel, why: dict[str, Any]) -> Network:
    network = by_torch(model)
    network.check = {"openvino": why}
    return network


# The key ----------------------------------------------------------------------------------------------------------------


def key_of(model: Model, network: Network) -> dict[str, Any] | None:
    """Return all that a vector depends on beside what the network is given; None for an object of the caller's, of which nothing
    is known, and where functions of the caller's (hooks) work inside the network.

    ``random`` is there for random weights alone, whose vectors are shared with nobody.
    """
    if not isinstance(model.network, torch.nn.Module) or state.hooked(model.network):
        return None
    random = {"random": True} if str(model.provenance.get("weights")).startswith("random weights") else {}
    settings = model.settings()
    return {
        "model": model.name, "weights": settings["tensors"], "settings": _digest(settings), "code": code(model),
        **random, **network.facts,
    }  # fmt: skip


def state_of(model: Model) -> str:
    """Return the digest of a loaded model as it is now: its settings."""
    return "state:" + _digest(model.settings())


def _digest(settings: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()


def code(model: Model) -> str:
    """Return the version of the code that vectors come from: ours, by the bytes of its files, and the libraries'."""
    ours = {module.__module__ for module in (model.network or torch.nn.Identity()).modules()}
    ours |= {kind.__module__ for kind in type(model).__mro__}
    names = {one for one in ours if one.startswith("healthfm.")} | {
        transform.__name__,
        image.__name__,
        openvino.__name__,
    }
    seen = hashlib.sha256()
    for name in sorted(names):
        seen.update(Path(str(sys.modules[name].__file__)).read_bytes())
    libraries = {name: metadata.version(name) for name in ("torch", "transformers", "tokenizers", "Pillow", "numpy")}
    return f"{metadata.version('healthfm')}+{seen.hexdigest()[:12]} {json.dumps(libraries)}"
