"""A made-up Aperio-like slide: pyramidal TIFF of JPEG tiles, glass with blobs of stained texture. Memory stays flat."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tifffile
from scipy.ndimage import gaussian_filter

BLOCK = 512  # level-0 pixels that are all tissue or all glass
TILE = 256
VARIANTS = 12
DOWNSAMPLES = (1, 4, 16)
QUALITY = 70


def textures(draw: np.random.Generator, variants: int) -> list[np.ndarray]:
    """Return blocks: glass first, then so many of tissue with dark nuclei on pink, RGB uint8 [512, 512, 3]."""
    glass = np.full((BLOCK, BLOCK, 3), 243.0) + draw.normal(0, 1.2, (BLOCK, BLOCK, 3))
    blocks = [glass]
    for _ in range(variants):
        soft = gaussian_filter(draw.normal(0, 1, (BLOCK, BLOCK)), 4)
        nuclei = gaussian_filter(draw.normal(0, 1, (BLOCK, BLOCK)), 3) > 0.09
        block = np.array((226.0, 160.0, 195.0)) + 260 * soft[..., None] + draw.normal(0, 4, (BLOCK, BLOCK, 3))
        block[nuclei] = np.array((105.0, 70.0, 150.0)) + draw.normal(0, 9, (int(nuclei.sum()), 3))
        blocks.append(gaussian_filter(block, (0.7, 0.7, 0)))
    return [block.clip(0, 255).astype(np.uint8) for block in blocks]


def make(path: Path, size: int = 20480, tissue: float = 0.5, seed: int = 0, mpp: float | None = 0.5) -> Path:
    """Write a square slide of ``size`` pixels (a multiple of 8192, or below that of 512) and return its path.

    ``mpp`` None leaves out the resolution; ``tissue`` is the share of blocks that hold tissue.
    """
    draw = np.random.default_rng(seed)
    count = size // BLOCK
    field = gaussian_filter(draw.normal(0, 1, (count, count)), max(0.6, count / 12))
    kind = np.where(field > np.quantile(field, 1 - tissue), draw.integers(1, VARIANTS + 1, (count, count)), 0)
    kind = np.zeros_like(kind) if tissue == 0 else kind
    blocks = textures(draw, int(kind.max()))
    say = f"|AppMag = 20|MPP = {mpp:.4f}" if mpp is not None else ""
    describe = (
        f"Aperio Image Library v12.0.15 \r\n{size}x{size} [0,0 {size}x{size}] ({TILE}x{TILE}) JPEG/RGB Q={QUALITY}{say}"
    )

    def tiles(down: int) -> Iterator[np.ndarray]:
        small = [b.reshape(BLOCK // down, down, BLOCK // down, down, 3).mean((1, 3)).astype(np.uint8) for b in blocks]
        side, per = BLOCK // down, max(1, TILE * down // BLOCK)
        length = size // down
        for y in range(0, length, TILE):
            for x in range(0, length, TILE):
                if side > TILE:
                    yield small[kind[y // side, x // side]][y % side : y % side + TILE, x % side : x % side + TILE]
                    continue
                row, column = y // side, x // side
                yield _joined(small, kind[row : row + per, column : column + per])

    with tifffile.TiffWriter(path) as writer:
        for level, down in enumerate(d for d in DOWNSAMPLES if size // d >= TILE):
            length = size // down
            writer.write(
                tiles(down), shape=(length, length, 3), dtype=np.uint8, tile=(TILE, TILE), photometric="rgb", metadata=None,
                compression="jpeg", compressionargs={"level": QUALITY}, description=describe, subfiletype=int(level > 0),
            )  # fmt: skip
            if level == 0:  # Aperio files hold a thumbnail second
                writer.write(
                    np.full((256, 256, 3), 240, np.uint8), photometric="rgb", description=describe, metadata=None
                )
    return path


def _joined(small: list[np.ndarray], picked: np.ndarray) -> np.ndarray:
    """Join the blocks of one stored tile; glass where the slide ends inside it."""
    per = TILE // small[0].shape[0]
    rows = []
    for i in range(per):
        line = [small[picked[i, j]] if i < picked.shape[0] and j < picked.shape[1] else small[0] for j in range(per)]
        rows.append(np.concatenate(line, axis=1))
    return np.concatenate(rows)
