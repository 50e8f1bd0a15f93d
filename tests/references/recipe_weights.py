"""Deterministic weights for a checkpoint, from its key names alone.

A published checkpoint is often gigabytes and cannot be kept beside a test. This
recipe fills any state dict reproducibly, so that a reference implementation and
ours can be given the same weights and compared, while only the key manifest and
a few hundred expected outputs are stored.

    fill(state_dict)          fill a module's state dict in place (torch tensors)
    recipe_array(key, shape)  the numpy array for one key

Rules, first match wins; floating tensors only, integer and boolean buffers keep their value.
  position tables, class/mask/register
      tokens, learned queries      0.5 * normal  (loud, so that a wrong position rule shows)
  ndim >= 2                        normal, std = 1 / sqrt(fan_in), fan_in = prod(shape[1:])
  ndim <= 1, key ends 'weight',
      'gamma', 'g' or 'scale'      1 + 0.02 * normal
  ... 'running_var', 'variance'    1 + 0.02 * |normal|
  ... 'logit_scale'                left as it is
  other ndim <= 1                  0.02 * normal
"""

from __future__ import annotations

import functools
import hashlib

import numpy as np

POSITIONS = ("pos_embed", "position_embedding", "positional_embedding", "embed_positions")
TOKENS = {
    "cls_token",
    "class_embedding",
    "mask_token",
    "dist_token",
    "register_tokens",
    "reg_token",
    "query",
    "queries",
    "query_tokens",
    "query_embed",
    "latents",
    "time_embed",
}


def _is_loud(key: str, last: str, shape: tuple[int, ...]) -> bool:
    lone = len(shape) >= 3 and shape[0] == 1 and last not in {"weight", "kernel"}
    return lone or last in TOKENS or any(word in key for word in POSITIONS)


def recipe_array(key: str, shape: tuple[int, ...]) -> np.ndarray:
    """Return the float32 array that the recipe assigns to ``key``."""
    seed = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "little")
    x = np.random.Generator(np.random.PCG64(seed)).standard_normal(shape, dtype=np.float32)
    last = key.rsplit(".", 1)[-1]
    if _is_loud(key, last, shape):
        return np.float32(0.5) * x
    if len(shape) >= 2:
        return x / np.float32(np.sqrt(max(1, int(np.prod(shape[1:])))))
    if last in {"running_var", "variance"}:
        return 1 + np.float32(0.02) * np.abs(x)
    if last in {"weight", "gamma", "g", "scale"}:
        return 1 + np.float32(0.02) * x
    return np.float32(0.02) * x


def fill(state_dict: dict) -> dict:
    """Fill a torch state dict in place with recipe values and return it."""
    import torch

    with torch.no_grad():
        for key, tensor in state_dict.items():
            if tensor.is_floating_point() and not key.endswith("logit_scale"):
                tensor.copy_(torch.from_numpy(np.asarray(recipe_array(key, tuple(tensor.shape)))))
    return state_dict


def recipe_image(name: str, height: int, width: int) -> np.ndarray:
    """A smooth, structured uint8 RGB test image of shape (height, width, 3)."""
    return _image(name, height, width).copy()


@functools.lru_cache(maxsize=128)
def _image(name: str, height: int, width: int) -> np.ndarray:
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")
    rng = np.random.Generator(np.random.PCG64(seed))
    yy, xx = np.mgrid[0:height, 0:width].astype(np.float32)
    img = np.zeros((height, width, 3), np.float32)
    for _ in range(24):
        cy, cx, r = rng.uniform(0, height), rng.uniform(0, width), rng.uniform(0.03, 0.25) * max(height, width)
        color = rng.uniform(-1, 1, 3).astype(np.float32)
        img += np.exp(-((yy - cy) ** 2 + (xx - cx) ** 2) / (2 * r * r))[..., None] * color
    img = (img - img.min()) / (img.max() - img.min())
    return (255 * img + 0.5).clip(0, 255).astype(np.uint8)
