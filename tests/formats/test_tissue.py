"""Where a slide holds tissue."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.ndimage import binary_dilation

from healthfm.formats import tissue
from healthfm.formats.slide import SlideFile
from tests.real_files import SLIDE


def test_otsus_threshold_parts_two_heaps_between_them() -> None:
    draw = np.random.default_rng(0)
    values = np.concatenate([draw.normal(40, 6, 5000), draw.normal(150, 10, 2000)]).clip(0, 255).astype(np.uint8)
    assert values[:5000].max() - 9 < tissue.threshold(values) < 120
    best, found = 0.0, 0
    for cut in range(255):  # the definition, by brute force
        low, high = values[values <= cut], values[values > cut]
        if len(low) and len(high):
            between = len(low) * len(high) * (low.mean() - high.mean()) ** 2
            best, found = (between, cut) if between > best else (best, found)
    assert tissue.threshold(values) == found


def test_coloured_blobs_are_tissue_and_glass_ink_and_dust_are_not() -> None:
    draw = np.random.default_rng(1)
    picture = draw.normal(240, 2, (200, 300, 3))
    picture[50:120, 40:200] = (200, 120, 170)
    picture[150:190, 10:60] = (5, 0, 0)  # black ink
    picture[20, 250] = (200, 50, 50)  # a speck
    mask = tissue.otsu(picture.clip(0, 255).astype(np.uint8))
    assert mask.dtype == bool and mask.shape == (200, 300)
    truth = np.zeros((200, 300), bool)
    truth[50:120, 40:200] = True
    assert (mask & ~binary_dilation(truth, iterations=3)).sum() == 0
    assert mask[truth].mean() > 0.99


def test_a_slide_of_glass_alone_has_no_tissue() -> None:
    glass = np.random.default_rng(2).normal(240, 3, (100, 100, 3)).clip(0, 255).astype(np.uint8)
    assert not tissue.otsu(glass).any()
    assert not tissue.otsu(np.full((50, 50, 3), 255, np.uint8)).any()
    assert not tissue.otsu(np.zeros((50, 50, 3), np.uint8)).any()


def test_a_real_slide_has_tissue_where_it_is_dark_and_coloured(tmp_path: Path) -> None:
    with SlideFile(SLIDE) as slide:
        small = slide.thumbnail(8)
    mask = tissue.otsu(small)
    assert 0.2 < mask.mean() < 0.95
    assert small[mask].mean() < small[~mask].mean() - 20
