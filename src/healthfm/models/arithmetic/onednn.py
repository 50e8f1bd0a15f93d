"""Linear layers through oneDNN on the CPU: the same float32 arithmetic, up to twice as fast where torch's own GEMM is slow.

torch multiplies float32 matrices with MKL, which reaches about half of oneDNN's speed on AMD processors. Inside
``packed_linear`` every ``nn.Linear`` of a network multiplies by a copy of its weight in oneDNN's blocked layout. The
network itself is unchanged: its modules, parameters and state dict are as before, in and after the block.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterator
from contextlib import contextmanager

import torch

SHARE_OF_MEMORY = 0.25  # the copies may take this much of the machine's memory
_packed: weakref.WeakKeyDictionary[torch.nn.Linear, tuple[tuple[int, int], torch.Tensor]] = weakref.WeakKeyDictionary()


def available(network: torch.nn.Module) -> bool:
    """Whether a network's linear layers can go through oneDNN: float32 on a CPU, with room for a copy of the weights."""
    layers = list(_layers(network))
    if not layers or not torch.backends.mkldnn.is_available() or not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        return False
    if any(layer.weight.dtype != torch.float32 or layer.weight.device.type != "cpu" for layer in layers):
        return False
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return sum(layer.weight.nbytes for layer in layers) <= SHARE_OF_MEMORY * memory


def _layers(network: torch.nn.Module) -> Iterator[torch.nn.Linear]:
    return (module for module in network.modules() if type(module) is torch.nn.Linear)


def _weight(layer: torch.nn.Linear) -> torch.Tensor:
    """Return the layer's weight in blocked layout, packed anew when the parameter was changed."""
    stamp = (layer.weight.data_ptr(), layer.weight._version)
    kept = _packed.get(layer)
    if kept is None or kept[0] != stamp:
        kept = (stamp, torch.ops.mkldnn._reorder_linear_weight(layer.weight.detach()))
        _packed[layer] = kept
    return kept[1]


@contextmanager
def packed_linear(network: torch.nn.Module) -> Iterator[None]:
    """Run a network's linear layers through oneDNN inside the block; does nothing where that is not available."""
    if not available(network):
        yield
        return
    layers = list(_layers(network))
    for layer in layers:
        weight, bias = _weight(layer), layer.bias

        def forward(x: torch.Tensor, weight: torch.Tensor = weight, bias: torch.Tensor | None = bias) -> torch.Tensor:
            found: torch.Tensor = torch.ops.mkldnn._linear_pointwise(x.contiguous(), weight, bias, "none", [], "")
            return found

        layer.forward = forward  # type: ignore[method-assign]
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward
