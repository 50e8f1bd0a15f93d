"""Where a slide holds tissue. Any function from a thumbnail to a mask of the same height and width can take its place.

``stained`` looks for stain, not for saturation above one threshold of the whole picture: it measures optical density against the
glass, follows faint stain from where it is plain, and takes out what no tissue shows: even strokes in the hues of pens, black and
grey. ``otsu`` is the field's older rule. How they do is in docs/tissue.md.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Thumbnail = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]
FindTissue = Callable[[Thumbnail], Mask]
FAINTEST = 15  # a saturation (of 255) that glass and paper reach too: a slide where nothing exceeds it is empty
DARKEST = 30  # pixels darker than this are no tissue: ink, frames, places that were never scanned

# Optical densities below are against the glass; colour is the greatest less the least of a pixel's three.
SPOT = 9  # pixels; fewer together are dust
FAINT, FAINT_AT_MOST, PLAIN = 0.012, 0.03, 2.5  # colour that glass may have; stain begins where it is PLAIN times that
VISIBLE, STRONG = 0.08, 0.2  # mean density from which a hue can be told; that of a stroke of a pen at least
EVEN, STROKE_EVEN = (
    0.07,
    0.025,
)  # variation of absorption: real stained tissue has 0.09 and more at 8 micrometres a pixel
LONG = 8.0  # length over width of a stroke in a stain's own hue


def stained(thumbnail: Thumbnail) -> Mask:
    """Return where a slide is stained, however faintly and by whichever dye, without ink, dust, frames and glass.

    ``thumbnail`` is RGB uint8 [height, width, 3], about 8 micrometres a pixel; the mask is boolean [height, width], empty where nothing is stained.
    """
    from scipy.ndimage import binary_closing, binary_dilation

    density = _density(thumbnail)
    colour = density.max(0) - density.min(0)
    faint = _glass_colour(density, colour)
    found = _grown(colour > faint, colour > PLAIN * faint)
    marks = ink(density)
    closed = binary_closing(np.pad(found & ~marks, 3), np.ones((5, 5)))[3:-3, 3:-3]
    kept: Mask = closed & ~binary_dilation(marks, np.ones((3, 3)))
    return _without_spots(kept)


@dataclass(frozen=True)
class Rest:
    """What of a thumbnail is not background, and what of that was not kept: as shares of all that is not background.

    ``tissue`` is kept; ``dark`` is black, grey or pen; ``other`` is stained, or coloured, all the same.
    """

    tissue: float
    dark: float
    other: float


def rest(thumbnail: Thumbnail, kept: Mask) -> Rest:
    """Say what share of all that is not background a mask keeps, and what the rest of it is."""
    density = _density(thumbnail)
    colour = density.max(0) - density.min(0)
    faint = _glass_colour(density, colour)
    there = _without_spots((density.mean(0) > VISIBLE) | (colour > PLAIN * faint))
    total, lost = int(there.sum()), there & ~kept
    if not total:
        return Rest(1.0, 0.0, 0.0)
    dark = int((lost & ink(density)).sum()) / total if lost.any() else 0.0
    share = int(lost.sum()) / total
    return Rest(1 - share, dark, share - dark)


def _density(thumbnail: Thumbnail) -> Floats:
    """Return optical density [3, height, width] against the glass, single pixels smoothed away."""
    from PIL import Image, ImageFilter

    smooth = np.asarray(Image.fromarray(np.ascontiguousarray(thumbnail)).filter(ImageFilter.MedianFilter(3)))
    levels = np.log10(np.arange(1, 257, dtype=np.float32))
    return np.stack(
        [np.maximum(np.log10(clear + 1) - levels, 0)[smooth[..., i]] for i, clear in enumerate(_glass(thumbnail))]
    )


def _glass(thumbnail: Thumbnail) -> Floats:
    """Return the colour of empty glass: the brightest twentieth of what was scanned, grey where that is itself stained."""
    thumbnail = thumbnail[:: 1 + thumbnail.shape[0] // 1000, :: 1 + thumbnail.shape[1] // 1000]  # enough for a quantile
    scanned = thumbnail[(thumbnail != 255).any(2) & (thumbnail.max(2) > DARKEST)]  # pure white was never scanned
    if not len(scanned):
        return np.full(3, 255, np.float32)
    light = scanned.sum(1, dtype=np.int32)
    bright = np.median(scanned[light >= np.quantile(light, 0.95)], axis=0).astype(np.float32)
    bright = np.maximum(bright, 200)  # a slide without any glass
    return bright if np.ptp(bright) <= 12 else np.full(3, bright.max(), np.float32)


def _glass_colour(density: Floats, colour: Floats) -> float:
    """Return the colour that glass reaches on this slide."""
    glass = colour[density.mean(0) < FAINT]
    return float(np.clip(2 * np.quantile(glass, 0.9), FAINT, FAINT_AT_MOST)) if len(glass) else FAINT


def _grown(weak: Mask, strong: Mask) -> Mask:
    """Return the connected pieces of ``weak`` that hold more than a spot of ``strong``."""
    from scipy.ndimage import label

    pieces, count = label(weak, np.ones((3, 3)))
    seeds = np.bincount(pieces[strong], minlength=count + 1) >= SPOT
    seeds[0] = False
    return np.asarray(seeds[pieces])


def _without_spots(mask: Mask) -> Mask:
    return _grown(mask, mask)


# Ink ------------------------------------------------------------------------------------------------------------------


def ink(density: Floats) -> Mask:
    """Return what is even as no tissue is: pieces in hues that no common dye of tissue has, and long strokes in any hue.

    Haematoxylin, eosin and DAB take green light at least as much as red, or blue the most; pens are bluer, greener, redder, more yellow,
    or grey to black. Tissue in such a hue (a trichrome, say) is not even, and stays.
    """
    from scipy.ndimage import binary_opening

    mean = density.mean(0)
    even = _variation(density, (mean > VISIBLE) & _foreign(density, mean), thin=-1)
    found = _pieces(even, lambda variation, area, length: variation < EVEN)
    strong = mean > STRONG
    smooth = _variation(density, strong, thin=np.inf)
    stroke = np.where(binary_opening(smooth < EVEN, np.ones((3, 3))), smooth, np.inf)
    return found | _pieces(
        stroke,
        lambda variation, area, length: (variation < STROKE_EVEN) & (length**2 > LONG * area) & (area >= 4 * SPOT),
    )


def _foreign(density: Floats, mean: Floats) -> Mask:
    """Return where the hue is none of haematoxylin's, eosin's or DAB's, nor of their mixtures."""
    red, green, blue = (density[i] for i in range(3))
    most, least = density.max(0), density.min(0)
    blue_or_green = (red > 1.2 * green) | ((red > 0.7 * green) & (blue < 0.3 * red))
    red_or_yellow = ((red < 0.2 * green) & (blue > 0.6 * green)) | (blue > 1.75 * green)
    grey = (most - least < 0.2 * most) & (mean > STRONG)
    return np.asarray(blue_or_green | red_or_yellow | grey)


def _variation(density: Floats, where: Mask, thin: float, wide: int = 5) -> Floats:
    """Return how much absorption varies around each pixel, over the pixels of ``where`` but its rim; ``thin`` on the rim, infinite elsewhere."""
    from scipy.ndimage import binary_erosion, uniform_filter

    inner = binary_erosion(where)
    absorbed = (1 - 10**-density).mean(0)
    weight, first, second = (
        uniform_filter(np.where(inner, one, 0).astype(np.float32), wide) for one in (1.0, absorbed, absorbed**2)
    )
    weight = np.maximum(weight, 1 / wide**2)
    spread = np.sqrt(np.maximum(second / weight - (first / weight) ** 2, 0)) / np.maximum(first / weight, 0.02)
    return np.where(inner, spread, np.where(where, thin, np.inf)).astype(np.float32)


def _pieces(variation: Floats, is_ink: Callable[[Floats, Floats, Floats], Mask]) -> Mask:
    """Return the connected pieces of finite ``variation`` that are ink by their mean of it inside, areas, and lengths."""
    from scipy.ndimage import find_objects, label

    pieces, count = label(np.isfinite(variation), np.ones((3, 3)))
    inside = np.isfinite(variation) & (variation >= 0)
    total = np.bincount(pieces[inside], variation[inside], count + 1)[1:]
    mean = total / np.maximum(np.bincount(pieces[inside], minlength=count + 1)[1:], 1)
    area = np.bincount(pieces.ravel(), minlength=count + 1)[1:].astype(np.float32)
    boxes = [box for box in find_objects(pieces) if box is not None]
    length = np.array([np.hypot(y.stop - y.start, x.stop - x.start) for y, x in boxes], np.float32)
    found = np.concatenate([[False], (area >= SPOT) & is_ink(mean.astype(np.float32), area, length)])
    return np.asarray(found[pieces])


# Otsu's threshold -------------------------------------------------------------------------------------------------------


def otsu(thumbnail: Thumbnail) -> Mask:
    """Return where a stained slide is coloured: saturation above Otsu's threshold, specks removed, small gaps closed.

    ``thumbnail`` is RGB uint8 [height, width, 3]; the mask is boolean [height, width], empty where nothing is coloured.
    Otsu, IEEE Trans. SMC 9 (1979) 62.
    """
    from PIL import Image, ImageFilter
    from scipy.ndimage import binary_closing

    high = thumbnail.max(axis=2).astype(np.uint16)
    low = thumbnail.min(axis=2)
    grey = ((high - low) * 255 // np.maximum(high, 1)).astype(np.uint8)
    saturation = np.asarray(Image.fromarray(grey).filter(ImageFilter.MedianFilter(5)))
    coloured = (saturation > max(FAINTEST, threshold(saturation))) & (high > DARKEST)
    return np.asarray(binary_closing(np.pad(coloured, 3), np.ones((5, 5)))[3:-3, 3:-3], np.bool_)


def threshold(values: npt.NDArray[np.uint8]) -> int:
    """Return the value (0 to 254) that parts a histogram into two classes with the greatest variance between them."""
    counts = np.bincount(values.ravel(), minlength=256).astype(np.float64)
    below = np.cumsum(counts)
    sums = np.cumsum(counts * np.arange(256))
    above = below[-1] - below
    with np.errstate(divide="ignore", invalid="ignore"):
        between = below * above * (sums / below - (sums[-1] - sums) / above) ** 2
    return int(np.nanargmax(between)) if np.isfinite(between).any() else 255
