"""Which arithmetic makes the vectors: torch's on a CPU or a GPU, OpenVINO's, 8 bits.

On a CPU one picture is computed at a time, several side by side: its vector does not depend on its neighbours, so that a run
that was killed, a cache, and another order of the items all give the same bytes.
"""

from __future__ import annotations

import hashlib
import itertools
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch

from healthfm.embed.units import Unit
from healthfm.errors import CapabilityError, RunError
from healthfm.models.arithmetic import onednn, openvino
from healthfm.models.model import Float32, Model
from healthfm.models.vision.vision_model import PIXELS_PER_BATCH

PRECISIONS = ("auto", "float32", "bfloat16", "int8")
SHAPES = 8  # pictures of so many shapes are compiled for; the others go through torch


@dataclass
class Network:
    """How vectors are made: ``work`` takes up to ``batch`` pictures, or ``texts`` texts, and returns their vectors, [n, d].

    ``threads`` calls may run side by side. ``facts`` say what it is (they are part of the key); ``around`` is entered while
    it works; ``quantised`` is the 8 bit network, to be kept.
    """

    work: Callable[[Sequence[Any]], Float32]
    facts: dict[str, Any]
    batch: int = 1
    texts: int = 1
    threads: int = 1
    around: Callable[[], AbstractContextManager[Any]] = nullcontext
    quantised: openvino.Compiled | None = None
    check: dict[str, Any] = field(default_factory=dict)

    def most(self, prepared: Any) -> int:
        """Return how many such inputs go together: ``texts`` of token ids, else ``batch``."""
        return self.texts if getattr(prepared, "ndim", 2) == 1 else self.batch


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
    while one := list(itertools.islice(every, 1)):
        some = one + list(itertools.islice(every, network.most(one[0]) - 1))
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
    if not model.stacks:
        return _of_verb(model, precision)
    network = _network(model)
    first = next(network.parameters())
    loaded = str(first.dtype).removeprefix("torch.")
    if first.device.type != "cpu":
        _need_loaded(precision, loaded)
        return _on_gpu(network, loaded, compiled)
    if engine == "auto" and openvino.version() is not None and loaded == "float32":
        return _by_openvino(model, "float32" if precision == "auto" else precision)
    _need_loaded(precision, loaded)
    return by_torch(model)


def _network(model: Model) -> Any:
    """Return the network of a model that ``stacks``."""
    assert model.network is not None
    return model.network


def loaded_for(model: Model, precision: str) -> str | None:
    """Return the ``dtype`` in which a model must be loaded again for a precision; None where it is right as it is."""
    loaded = str(model.provenance.get("dtype"))
    by_openvino = model.stacks and model.provenance.get("device") == "cpu" and openvino.version() is not None
    return None if precision in ("auto", "int8", loaded) or by_openvino else precision


def _need_loaded(precision: str, loaded: str) -> None:
    if precision not in ("auto", loaded):
        raise CapabilityError(
            f"the network is loaded in {loaded}; load_model(..., dtype='{precision}') for that precision"
        )


def by_torch(model: Model) -> Network:
    """Return torch's own arithmetic on a CPU, linear layers through oneDNN where they can go."""
    network = _network(model)
    first = next(network.parameters())
    facts = {
        "engine": f"torch {torch.__version__}", "precision": str(first.dtype).removeprefix("torch."),
        "linear": "oneDNN" if onednn.available(network) else "torch",
    }  # fmt: skip
    return Network(
        lambda pictures: np.stack([reference(model, [one]) for one in pictures]), facts,
        around=lambda: onednn.packed_linear(network),
    )  # fmt: skip


def reference(model: Model, pictures: Sequence[Float32]) -> Float32:
    """Return the vector of one unit (the mean over its pictures), one picture at a time."""
    return _mean([model.embed_prepared([one])[0] for one in pictures])


def _mean(vectors: Sequence[Float32]) -> Float32:
    return vectors[0] if len(vectors) == 1 else np.mean(vectors, 0)


def _by_openvino(model: Model, precision: str) -> Network:
    network, threads = _network(model), torch.get_num_threads()
    compiled: dict[tuple[int, ...], Callable[[Float32], Float32]] = {}
    lock = threading.Lock()

    def of_shape(shape: tuple[int, ...]) -> Callable[[Float32], Float32]:
        with lock:
            if shape not in compiled:
                if len(compiled) < SHAPES:
                    compiled[shape] = openvino.convert(network, shape, precision, threads)
                else:
                    compiled[shape] = lambda one: reference(model, [one])
            return compiled[shape]

    def work(pictures: Sequence[Float32]) -> Float32:
        return np.stack([of_shape(one.shape)(one) for one in pictures])

    facts = {"engine": f"openvino {openvino.version()}", "precision": precision}
    return Network(work, facts, threads=threads)


def quantised(model: Model, pictures: Sequence[Float32]) -> Network:
    """Return the 8 bit network whose ranges come from ``pictures``."""
    shapes = {one.shape for one in pictures}
    if len(shapes) != 1:
        raise RunError(f"int8 needs pictures that come out in one size to calibrate on, these have {len(shapes)}")
    seen = hashlib.sha256()
    for one in pictures:
        seen.update(one.tobytes())
    return of_compiled(openvino.quantise(_network(model), pictures, torch.get_num_threads()), seen.hexdigest())


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


def _on_gpu(network: Any, precision: str, compiled: bool) -> Network:
    """Batches of neighbours, channels last. Not yet run on a GPU by the project's own tests."""
    network.to(memory_format=torch.channels_last)
    run = torch.compile(network) if compiled else network
    first = next(network.parameters())

    @torch.inference_mode()
    def work(pictures: Sequence[Float32]) -> Float32:
        placed = torch.from_numpy(np.stack(pictures)).to(first.device, first.dtype, memory_format=torch.channels_last)
        pooled: Float32 = run(placed)[1].float().cpu().numpy()
        return pooled

    facts = {
        "engine": f"torch {torch.__version__}, {torch.cuda.get_device_name(first.device)}", "precision": precision,
        "compiled": compiled, "pixels_per_batch": PIXELS_PER_BATCH,
    }  # fmt: skip
    return Network(work, facts, batch=PIXELS_PER_BATCH // (224 * 224))


def _of_verb(model: Model, precision: str) -> Network:
    """Whatever embeds what it prepared: on a CPU as many together as it says, so that no text is padded; batches elsewhere."""
    network = model.network if isinstance(model.network, torch.nn.Module) else None
    first = next(network.parameters(), None) if network is not None else None
    loaded = model.provenance.get("dtype") or (None if first is None else str(first.dtype).removeprefix("torch."))
    _need_loaded(precision, str(loaded or "float32"))
    on_cpu = str(model.provenance.get("device", "cpu" if first is None else first.device)) == "cpu"
    facts = {"engine": f"torch {torch.__version__}", "precision": loaded}
    pictures, texts = model.together if on_cpu else (32, 32)
    tall = (
        pictures > 1 and torch.backends.cpu.get_cpu_capability() == "AVX2"
    )  # there torch's own products of many rows are quicker
    around = (lambda: onednn.packed_linear(network)) if network is not None and on_cpu and not tall else nullcontext
    return Network(model.embed_prepared, facts, pictures, texts, around=around)
