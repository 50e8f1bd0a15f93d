"""Tissue detection beside CLAM's and TRIDENT's on the real slide with lines drawn on it, its stain faded or changed. Prints docs/tissue.md's table.

    python -m tests.references.compare_tissue CLAM TRIDENT

CLAM: folder of github.com/mahmoodlab/CLAM at 53e2409 (``WholeSlideImage.segmentTissue``: its defaults of create_patches_fp, but no
filter by area, which would drop a slide this small; and with ``use_otsu``). TRIDENT: folder of github.com/mahmoodlab/TRIDENT at a91fa84
(``apply_otsu_thresholding``, its segmenter without weights). They need opencv-python-headless, scikit-image, h5py, matplotlib, pandas and tqdm.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy.ndimage import uniform_filter

from healthfm.formats.slide import tissue
from tests.formats import slide_pictures as made

DOWN = 4  # from 2 to 8 micrometres a pixel
Find = Callable[[np.ndarray], np.ndarray]


def clam(folder: Path, use_otsu: bool) -> Find:
    """CLAM's segmentation of a thumbnail."""
    sys.path.insert(0, str(folder))
    import cv2
    from wsi_core.WholeSlideImage import WholeSlideImage  # type: ignore[import-not-found]

    class Picture:
        def __init__(self, pixels: np.ndarray) -> None:
            self.pixels = np.dstack([pixels, np.full(pixels.shape[:2], 255, np.uint8)])

        def read_region(self, *_: Any) -> np.ndarray:
            return self.pixels

    def find(pixels: np.ndarray) -> np.ndarray:
        one = WholeSlideImage.__new__(WholeSlideImage)
        one.wsi, one.level_dim, one.level_downsamples = Picture(pixels), [pixels.shape[1::-1]], [(1.0, 1.0)]
        one.segmentTissue(
            0, sthresh=8, mthresh=7, close=4, use_otsu=use_otsu, ref_patch_size=512 // 16,
            filter_params={"a_t": 0, "a_h": 16, "max_n_holes": 8},
        )  # fmt: skip
        mask = np.zeros(pixels.shape[:2], np.uint8)
        for contour, holes in zip(one.contours_tissue, one.holes_tissue, strict=True):
            cv2.drawContours(mask, [contour], -1, 1, -1)
            cv2.drawContours(mask, holes, -1, 0, -1)
        return mask > 0

    return find


def trident(folder: Path) -> Find:
    """TRIDENT's Otsu segmenter, loaded from its one file."""
    spec = importlib.util.spec_from_file_location("otsu", folder / "trident/segmentation_models/model_zoo/otsu.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return lambda pixels: module.apply_otsu_thresholding(pixels) == 0


def small(mask: np.ndarray) -> np.ndarray:
    """The share of each thumbnail pixel that a mask holds, 0 to 1."""
    return np.asarray(Image.fromarray(np.ascontiguousarray(mask)).reduce(DOWN), float) / 255


def main(folders: list[str]) -> None:
    finders: dict[str, Find] = {"healthfm": tissue.stained, "healthfm `otsu`": tissue.otsu}
    if len(folders) == 2:
        finders |= {
            "CLAM": clam(Path(folders[0]), False),
            "CLAM, Otsu": clam(Path(folders[0]), True),
            "TRIDENT, Otsu": trident(Path(folders[1])),
        }
    base = made.on_glass()
    dense = made.density(base).mean(2).astype(np.float32)
    truth = small(((uniform_filter(dense, 3 * DOWN) > 0.03) * 255).astype(np.uint8)) > 0.5
    cases: list[tuple[str, np.ndarray, np.ndarray | None]] = [
        ("as it is", base, None),
        *((f"{share:.0%} of its stain", made.faded(base, share), None) for share in (0.5, 0.25, 0.1)),
        ("DAB and haematoxylin", made.immuno(base), None), ("haematoxylin alone", made.immuno(base, 0), None),
        ("out of focus (Gaussian of 4 micrometres)", made.blurred(base, 2), None), ("in a black frame", made.framed(base), None),
        *((f"{pen}, {2 * width} micrometres", *made.drawn(base, pen, width)) for pen in made.PENS for width in (25, 75)),
        *((f"25% of its stain; {pen}, 100 micrometres", *made.drawn(made.faded(base, 0.25), pen, 50)) for pen in ("blue", "green", "red", "black")),
    ]  # fmt: skip
    print(f"| slide | {' | '.join(finders)} |\n|---|{'---|' * len(finders)}")
    for name, picture, lines in cases:
        covered = small(
            (np.zeros(picture.shape[:2], np.uint8) if lines is None else lines * np.uint8(255)).astype(np.uint8)
        )
        thumbnail = np.asarray(Image.fromarray(picture).reduce(DOWN))
        row = []
        for find in finders.values():
            try:
                row.append(scored(find(thumbnail), truth, covered))
            except Exception as error:  # CLAM has no contour to filter
                row.append(f"({type(error).__name__})")
        print(f"| {name} | {' | '.join(row)} |", flush=True)


def scored(mask: np.ndarray, truth: np.ndarray, covered: np.ndarray) -> str:
    """Recall of tissue beside the lines; where there are lines, how much of them is kept."""
    clear, ink = truth & (covered == 0), (covered > 0.5) & ~truth
    recall = (mask & clear).sum() / clear.sum()
    return f"{recall:.0%}" if not ink.any() else f"{recall:.0%}, {(mask & ink).sum() / ink.sum():.0%}"


if __name__ == "__main__":
    main(sys.argv[1:])
