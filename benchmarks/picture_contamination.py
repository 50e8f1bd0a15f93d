"""Finding the same picture again: how often it is found after each change, and how often two different pictures are taken for one.

Pictures: every PNG and JPEG below the folders given, also in their zip archives. Changed copies are made here; every pair of different
pictures is compared for false alarms. Pictures whose names have ChestX-ray14's form (PATIENT_NUMBER.png) are told apart by patient, and pairs
of one patient counted for themselves. Pairs taken for one are listed: look at them, for public sets hold true copies.

    python benchmarks/picture_contamination.py FOLDER [FOLDER ...] --changed 150
"""

from __future__ import annotations

import argparse
import io
import json
import random
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
from memory import peak_mib
from PIL import Image

from healthfm.curate import fingerprints
from healthfm.curate.fingerprints import Index, Print, fingerprint
from healthfm.errors import DatasetError
from healthfm.formats import archive, image
from healthfm.formats.source import Source

PROJECT = Path(__file__).parent.parent
PICTURES = (".png", ".jpg", ".jpeg")
NUMBERED = re.compile(r"(\d{8})_\d{3}$")
Pixels = npt.NDArray[np.uint8]


def sources(folder: Path) -> Iterator[Source]:
    """Yield the pictures below a folder, also those in zip archives."""
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() == ".zip":
            yield from (Source(path, name) for name in archive.members(path) if name.lower().endswith(PICTURES))
        elif path.suffix.lower() in PICTURES:
            yield Source(path)


def jpeg(picture: Pixels, quality: int) -> Pixels:
    """Return a picture after compression."""
    held = io.BytesIO()
    Image.fromarray(picture).save(held, "JPEG", quality=quality)
    return np.asarray(Image.open(held))


def sized(picture: Pixels, width: int, height: int) -> Pixels:
    """Return a picture of another size."""
    return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.BICUBIC))


def cut(picture: Pixels, top: float, bottom: float, left: float, right: float) -> Pixels:
    """Return a picture without shares of its sides."""
    height, width = picture.shape[:2]
    return picture[int(height * top) : height - int(height * bottom), int(width * left) : width - int(width * right)]


def equalised(picture: Pixels) -> Pixels:
    """Return a grey picture whose values are spread evenly, as MIMIC-CXR-JPG does it."""
    counts = np.bincount(fingerprints.grey(picture).ravel(), minlength=256).cumsum()
    return (255 * counts / counts[-1]).astype(np.uint8)[fingerprints.grey(picture)]


def changes(rng: random.Random) -> dict[str, Callable[[Pixels], npt.NDArray[np.generic]]]:
    """Return the ways in which a copy may differ from its original."""
    return {
        "half the size": lambda one: sized(one, one.shape[1] // 2, one.shape[0] // 2),
        "224 x 224": lambda one: sized(one, 224, 224),
        "64 x 64": lambda one: sized(one, 64, 64),
        "JPEG, quality 90": lambda one: jpeg(one, 90),
        "JPEG, quality 30": lambda one: jpeg(one, 30),
        "16 bits": lambda one: one.astype(np.uint16) * 257,
        "12 of 16 bits": lambda one: one.astype(np.uint16) * 16,
        "grey": fingerprints.grey,
        "gamma 0.7": lambda one: (255 * (one / 255) ** 0.7).astype(np.uint8),
        "equalised": equalised,
        "a black frame of 10 %": lambda one: np.pad(
            one, [(one.shape[0] // 10,) * 2, (one.shape[1] // 10,) * 2, (0, 0)][: one.ndim]
        ),
        "2 % of each side cut off": lambda one: cut(one, 0.02, 0.02, 0.02, 0.02),
        "5 % of each side cut off": lambda one: cut(one, 0.05, 0.05, 0.05, 0.05),
        "10 % of each side cut off": lambda one: cut(one, 0.1, 0.1, 0.1, 0.1),
        "0 to 5 % of each side cut off": lambda one: cut(one, *(rng.uniform(0, 0.05) for _ in range(4))),
        "0 to 10 % of each side cut off": lambda one: cut(one, *(rng.uniform(0, 0.1) for _ in range(4))),
        "8 % of the top alone cut off": lambda one: cut(one, 0.08, 0, 0, 0),
        "5 % cut off, 224 x 224, JPEG 50": lambda one: jpeg(sized(cut(one, 0.05, 0.05, 0.05, 0.05), 224, 224), 50),
        "mirrored": lambda one: one[:, ::-1],
    }


def patient(source: Source) -> str:
    """Return what tells patients apart: ChestX-ray14's number, else the file itself."""
    found = NUMBERED.search(source.name.rpartition(".")[0])
    return found[1] if found else str(source)


def pairs(prints: list[Print], names: list[Source]) -> tuple[dict[str, int], list[tuple[str, str, int]]]:
    """Compare every two pictures; return how many pairs there are and were taken for one, of one patient and of two, and which."""
    index = Index(prints)
    who = np.array([patient(one) for one in names])
    same = sum(int(count) * (int(count) - 1) // 2 for count in np.unique(who, return_counts=True)[1])
    taken = [
        (number, other, bits)
        for other, one in enumerate(prints)
        for number, bits, _ in index.search(one)
        if number < other
    ]
    ours = sum(who[a] == who[b] for a, b, _ in taken)
    total = len(prints) * (len(prints) - 1) // 2
    counts = {
        "pairs of two patients": total - same, "taken for one": len(taken) - int(ours),
        "pairs of one patient": same, "taken for one, of one patient": int(ours),
    }  # fmt: skip
    return counts, [(str(names[a]), str(names[b]), bits) for a, b, bits in sorted(taken, key=lambda one: one[2])]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--changed", type=int, default=150, help="pictures that are changed and looked for")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    rng = random.Random(asked.seed)
    names, prints, pictures, spent = list[Source](), list[Print](), dict[int, Pixels](), 0.0
    found = [source for folder in asked.folders for source in sources(folder)]
    chosen = set(rng.sample(range(len(found)), min(asked.changed, len(found))))
    for number, source in enumerate(found):
        try:
            pixels = image.pixels(source)
        except DatasetError as error:
            print(f"not read: {error}")
            continue
        began = time.process_time()
        one = fingerprint(pixels)
        spent += time.process_time() - began
        if one is None:
            print(f"shows too little: {source}")
            continue
        if number in chosen and pixels.dtype == np.uint8:
            pictures[len(prints)] = pixels[..., :3] if pixels.ndim == 3 else pixels
        names.append(source)
        prints.append(one)
    counts, taken = pairs(prints, names)
    index, recall = Index(prints), {}
    for change, apply in changes(rng).items():
        hits = 0
        for number, picture in pictures.items():
            one = fingerprint(apply(picture))
            hits += one is not None and any(place == number for place, *_ in index.search(one))
        recall[change] = hits / len(pictures)
    result = {
        "pictures": len(prints), "hint": fingerprints.HINT, "same": fingerprints.SAME, "changed": len(pictures),
        "recall": recall, "false alarms": counts, "CPU ms a fingerprint": 1e3 * spent / max(1, len(prints)), "peak MiB": peak_mib(),
    }  # fmt: skip
    for first, second, bits in taken:
        print(f"{bits:3} bits of 256: {first} | {second}")
    print(json.dumps(result, indent=2))
    (PROJECT / "benchmarks/results/picture_contamination.json").write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
