"""Tiles of a slide per second against openslide-python, in one alternating run, on one thread.

Both read the same tissue tiles of a synthetic 20480 x 20480 pyramidal JPEG slide, in the same order: 256 pixels (on the stored
grid) and 224 (across it). Openslide at its best: its default cache or one of 256 MB, whichever was faster first. Rounds
alternate; the ratio is of summed processor time. Every tile is compared once. Peak memory is measured on slides of two sizes, each
in a process of its own.

    python benchmarks/slides.py --tiles 2000
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import openslide

sys.path.insert(0, str(Path(__file__).parent))
from memory import peak_mib
from synthetic_slide import make

from healthfm.formats.slide.pyramid import SlideFile
from healthfm.formats.slide.tiling import Tiles, plan, read_tiles

TARGETS = {256: 4.5, 224: 3.5}
ROUNDS = 6
Read = Callable[[np.ndarray, int], int]


def ours(path: Path) -> Read:
    """Return our reader over a slide; it is checked against openslide on its first read, which is part of opening."""
    slide = SlideFile(path)
    slide.read(0, 0, 0, 8, 8)

    def read(coords: np.ndarray, size: int) -> int:
        return sum(tile[0, 0, 0] >= 0 for tile in read_tiles(slide, Tiles(coords, size, float(size))))

    return read


def theirs(path: Path, cache: int | None) -> Read:
    """Return openslide's read_region as an RGB array."""
    slide = openslide.OpenSlide(path)
    if cache is not None:
        slide.set_cache(openslide.OpenSlideCache(cache))

    def read(coords: np.ndarray, size: int) -> int:
        return sum(
            np.asarray(slide.read_region((int(x), int(y)), 0, (size, size)))[..., :3][0, 0, 0] >= 0 for x, y in coords
        )

    return read


def seconds(read: Read, coords: np.ndarray, size: int) -> tuple[float, float]:
    """Return processor and wall seconds."""
    wall, start = time.perf_counter(), time.process_time()
    read(coords, size)
    return time.process_time() - start, time.perf_counter() - wall


def different(path: Path, coords: np.ndarray, size: int) -> int:
    """Return how many tiles differ in any pixel from openslide's."""
    peer = openslide.OpenSlide(path)
    with SlideFile(path) as slide:
        assert slide.reader(0) == "tiles"
        pairs = zip(coords, read_tiles(slide, Tiles(coords, size, float(size))), strict=True)
        return sum(
            not np.array_equal(tile, np.asarray(peer.read_region((int(x), int(y)), 0, (size, size)))[..., :3])
            for (x, y), tile in pairs
        )


def peak(path: Path, size: int) -> int:
    """Return the peak memory, MiB, of a process that plans and reads every tile of a slide."""
    code = (
        "import sys;from pathlib import Path;from healthfm.formats.slide.pyramid import SlideFile;"
        "from healthfm.formats.slide.tiling import plan,read_tiles;s=SlideFile(Path(sys.argv[1]));"
        f"t=plan(s,0.5,{size});[0 for _ in read_tiles(s,t)];"
        "sys.path.insert(0,sys.argv[2]);from memory import peak_mib;print(peak_mib())"
    )
    return int(
        subprocess.run(
            [sys.executable, "-c", code, str(path), str(Path(__file__).parent)],
            capture_output=True,
            check=True,
            text=True,
        ).stdout
    )


def main() -> None:
    """Run the two sizes and store the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=20480)
    parser.add_argument("--tiles", type=int, default=2000)
    arguments = parser.parse_args()
    result: dict[str, object] = {"slide": f"{arguments.size} px, JPEG 4:2:0 quality 70, stored tiles 256", "cases": {}}
    with tempfile.TemporaryDirectory() as folder:
        path = make(Path(folder) / "slide.svs", arguments.size)
        for size, target in TARGETS.items():
            with SlideFile(path) as slide:
                coords = plan(slide, slide.mpp, size).coords[: arguments.tiles]
            few = coords[: max(20, len(coords) // 10)]
            cache = min((None, 256 << 20), key=lambda c: seconds(theirs(path, c), few, size)[0])
            times = {"openslide": [0.0, 0.0], "healthfm": [0.0, 0.0]}
            for _ in range(ROUNDS):
                for name, read in (("openslide", theirs(path, cache)), ("healthfm", ours(path))):
                    times[name] = [a + b for a, b in zip(times[name], seconds(read, coords, size), strict=True)]
            case = {
                "tiles": len(coords), "rounds": ROUNDS, "openslide_cache": cache or "default", "target": target,
                "tiles_per_cpu_second": {n: round(len(coords) * ROUNDS / t[0], 1) for n, t in times.items()},
                "ratio_cpu": round(times["openslide"][0] / times["healthfm"][0], 2),
                "ratio_wall": round(times["openslide"][1] / times["healthfm"][1], 2),
                "tiles_that_differ": different(path, coords, size),
            }  # fmt: skip
            result["cases"][str(size)] = case  # type: ignore[index]
            print(size, json.dumps(case, indent=1), flush=True)
        small = make(Path(folder) / "small.svs", max(2048, arguments.size // 4))
        result["peak_memory_mib"] = {"a quarter of the width": peak(small, 224), "whole": peak(path, 224)}
    result["peak_of_benchmark_mib"] = peak_mib()
    print(json.dumps(result["peak_memory_mib"]))
    target_file = Path(__file__).parent / "results" / "slides.json"
    target_file.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
