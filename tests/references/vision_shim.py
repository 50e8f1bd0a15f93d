"""Make timm and torchvision importable beside a CPU torch, and refuse their downloads. Import this before them."""

from __future__ import annotations

import torch

_library = torch.library.Library("torchvision", "DEF")
for _schema in (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
):
    try:
        _library.define(_schema)
    except RuntimeError:  # a torchvision that loads has them
        break
