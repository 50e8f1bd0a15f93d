"""Where a slide holds tissue."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import binary_dilation, binary_erosion, uniform_filter

from healthfm.formats.slide import tissue
from healthfm.formats.slide.pyramid import SlideFile
from tests.formats import slide_pictures
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


def thumbnail(picture: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(picture).reduce(4))


@pytest.fixture(scope="module")
def base() -> np.ndarray:
    """The real slide with glass around it."""
    return slide_pictures.on_glass()


@pytest.fixture(scope="module")
def truth(base: np.ndarray) -> np.ndarray:
    """Where it is denser than glass, on a thumbnail."""
    dense = thumbnail(base).astype(float)
    return np.asarray(uniform_filter(slide_pictures.density(dense).mean(2), 3) > 0.03)


CHANGES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "as it is": lambda p: p, "half of its stain": lambda p: slide_pictures.faded(p, 0.5), "a quarter": lambda p: slide_pictures.faded(p, 0.25),
    "a tenth": lambda p: slide_pictures.faded(p, 0.1), "brown and blue": slide_pictures.immuno, "blue": lambda p: slide_pictures.immuno(p, 0),
    "out of focus": lambda p: slide_pictures.blurred(p, 2), "in a black frame": slide_pictures.framed,
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_stained_tissue_is_found_whatever_the_stain(change: str, base: np.ndarray, truth: np.ndarray) -> None:
    mask = tissue.stained(thumbnail(CHANGES[change](base)))
    assert (mask & truth).sum() > (0.75 if change == "a tenth" else 0.85) * truth.sum()
    assert (mask & ~binary_dilation(truth, iterations=3)).sum() < 0.01 * mask.size


@pytest.fixture(scope="module")
def faint(base: np.ndarray) -> np.ndarray:
    return slide_pictures.faded(base, 0.4)


@pytest.mark.parametrize("width", [25, 75])
@pytest.mark.parametrize("pen", slide_pictures.PENS)
def test_no_pen_is_tissue_and_none_hides_it(pen: str, width: int, faint: np.ndarray, truth: np.ndarray) -> None:
    picture, lines = slide_pictures.drawn(faint, pen, width)
    mask = tissue.stained(thumbnail(picture))
    touched = np.asarray(Image.fromarray((lines * 255).astype(np.uint8)).reduce(4)) > 0
    inked, clear = binary_erosion(touched), truth & ~binary_dilation(touched, iterations=2)
    assert (mask & inked).sum() < 0.05 * inked.sum()
    assert (mask & clear).sum() > 0.9 * clear.sum()


def test_glass_is_empty_whatever_its_tint_and_what_is_drawn_on_it(base: np.ndarray) -> None:
    draw = np.random.default_rng(1)
    glass = draw.normal((243, 243, 231), 3, (400, 600, 3)) * np.linspace(1, 0.87, 600)[None, :, None]
    picture = glass.clip(0, 255).astype(np.uint8)
    assert not tissue.stained(thumbnail(picture)).any()
    assert not tissue.stained(np.full((50, 50, 3), 255, np.uint8)).any()
    assert not tissue.stained(np.zeros((50, 50, 3), np.uint8)).any()
    for pen in ("blue", "black", "green", "red"):
        assert not tissue.stained(thumbnail(slide_pictures.drawn(picture, pen, 40)[0])).any(), pen


def test_what_is_left_out_is_told(base: np.ndarray) -> None:
    small = thumbnail(slide_pictures.drawn(base, "blue", 75)[0])
    found = tissue.rest(small, tissue.stained(small))
    assert found.tissue + found.dark + found.other == pytest.approx(1) and found.dark > 0.3
    assert tissue.rest(np.full((50, 50, 3), 243, np.uint8), np.zeros((50, 50), bool)).tissue == 1
