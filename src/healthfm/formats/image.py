"""Still images to arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from healthfm.errors import DatasetError, MissingExtra
from healthfm.formats.source import DAMAGE, Source

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")


def pixels(source: Source) -> npt.NDArray[Any]:
    """Decode to an array [height, width] or [height, width, channels] in the file's own depth."""
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError:
        raise MissingExtra("imaging", "Pillow") from None
    try:
        with source.open() as handle, Image.open(handle) as image:
            if image.mode in ("P", "1"):  # palette indices and bits are not the picture's values
                return np.asarray(image.convert("L" if image.mode == "1" else "RGB"))
            return np.asarray(image)
    except (UnidentifiedImageError, ValueError, SyntaxError, Image.DecompressionBombError, *DAMAGE) as error:
        raise DatasetError(f"{source}: not a readable image ({type(error).__name__})") from None
