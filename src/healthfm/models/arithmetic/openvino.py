"""Networks through OpenVINO on the CPU: the same float32 arithmetic at twice torch's speed, or bfloat16, or 8 bits.

One picture at a time, on one thread of its own, several side by side: a vector depends on its picture alone, to the last bit,
whatever stands beside it. Nothing is sent anywhere: OpenVINO's usage reports are switched off before it is imported.
"""

from __future__ import annotations

import io
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch

from healthfm.errors import CapabilityError, MissingExtra
from healthfm.models.model import Float32
from healthfm.models.vision.vision_model import Tower

HINTS = {"float32": "f32", "bfloat16": "bf16", "int8": "f32"}


def version() -> str | None:
    """Return OpenVINO's version, or None when it is not installed."""
    try:
        return metadata.version("openvino")
    except metadata.PackageNotFoundError:
        return None


def needed() -> None:
    """Raise ``MissingExtra`` where OpenVINO is not installed."""
    if version() is None:
        raise MissingExtra("cpu", "openvino")


def _openvino() -> Any:
    """Import OpenVINO with its telemetry gone: without that package it uses a stub of its own."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    try:
        import openvino
    except ImportError:
        raise MissingExtra("cpu", "openvino") from None
    return openvino


class _Pooled(torch.nn.Module):
    def __init__(self, tower: Tower) -> None:
        super().__init__()
        self.tower = tower

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.tower(pixels)[1]


class Compiled:
    """A tower compiled for pictures of one shape: ``__call__`` takes float32 [3, height, width] and returns its vector [d].

    ``threads`` calls can run side by side, each on one core. Raises ``CapabilityError`` where OpenVINO cannot take the network.
    """

    def __init__(self, graph: Any, precision: str, threads: int) -> None:
        openvino = _openvino()
        options = {
            "INFERENCE_PRECISION_HINT": HINTS[precision], "NUM_STREAMS": threads, "INFERENCE_NUM_THREADS": threads,
        }  # fmt: skip
        self.graph = graph
        self._network = openvino.Core().compile_model(graph, "CPU", options)
        self._local = threading.local()

    def __call__(self, pixels: Float32) -> Float32:
        if not hasattr(self._local, "request"):
            self._local.request = self._network.create_infer_request()
        found = self._local.request.infer({0: pixels[None]})
        return np.array(found[0][0], np.float32)

    def save(self, path: Path) -> None:
        """Write the network in OpenVINO's own format: ``path`` (XML) and its numbers beside it (.bin)."""
        _openvino().save_model(self.graph, path, compress_to_fp16=False)


def convert(tower: Tower, shape: tuple[int, ...], precision: str, threads: int) -> Compiled:
    """Compile a float32 tower for pictures of a shape (3, height, width), in "float32" or "bfloat16"."""
    return Compiled(_graph(tower, shape), precision, threads)


def quantise(tower: Tower, pictures: Sequence[Float32], threads: int) -> Compiled:
    """Compile a tower in 8 bits, its ranges taken from ``pictures`` (each float32 [3, height, width], all of one shape)."""
    graph = _graph(tower, pictures[0].shape)
    try:
        import nncf
    except ImportError:
        raise MissingExtra("cpu", "nncf") from None
    transformer = any(hasattr(module, "qkv") for module in tower.modules())
    with _quiet():
        small = nncf.quantize(
            graph, nncf.Dataset([one[None] for one in pictures]), subset_size=len(pictures),
            model_type=nncf.ModelType.TRANSFORMER if transformer else None,
        )  # fmt: skip
    return Compiled(small, "int8", threads)


def load(path: Path, threads: int) -> Compiled:
    """Compile a network that ``Compiled.save`` wrote in 8 bits."""
    return Compiled(_openvino().Core().read_model(path), "int8", threads)


def _graph(tower: Tower, shape: tuple[int, ...]) -> Any:
    openvino = _openvino()
    example = torch.zeros(1, *shape)
    try:
        with _quiet(), torch.inference_mode(), _positions_as_numbers(tower):
            tower(example)
            traced = torch.jit.trace(
                _Pooled(tower).eval(), example, strict=False, check_trace=False
            )  # else traced twice
            return openvino.convert_model(traced, example_input=example, input=[list(example.shape)])
    except Exception as error:
        raise CapabilityError(f"OpenVINO cannot take this network ({type(error).__name__})") from None


@contextmanager
def _positions_as_numbers(tower: Tower) -> Iterator[None]:
    """Keep the position tables that torch computes: OpenVINO stretches them by a slightly different bicubic rule."""
    stretching = [module for module in tower.modules() if hasattr(module, "positions")]
    for module in stretching:
        module.positions = _kept(module.positions)
    try:
        yield
    finally:
        for module in stretching:
            del module.positions


def _kept(positions: Callable[[int, int], torch.Tensor]) -> Callable[[int, int], torch.Tensor]:
    tables: dict[tuple[int, int], torch.Tensor] = {}

    def table(rows: int, columns: int) -> torch.Tensor:
        grid = (int(rows), int(columns))
        if grid not in tables:
            tables[grid] = positions(*grid).detach().clone()
        return tables[grid]

    return table


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the converters' progress and warnings off the user's terminal."""
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        yield
