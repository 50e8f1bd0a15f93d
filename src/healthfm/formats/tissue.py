"""Where a slide holds tissue. Any function from a thumbnail to a mask of the same height and width can take its place."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Thumbnail = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]
FindTissue = Callable[[Thumbnail], Mask]
FAINTEST = 15  # a saturation (of 255) that glass and paper reach too: a slide where nothing exceeds it is empty
DARKEST = 30  # pixels darker than this are no tissue: ink, frames, places that were never scanned


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
