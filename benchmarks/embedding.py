"""Embedding on the CPU against the plain float32 loop, ViT-S, B and L at 224 pixels, in one alternating run.

The peer is timm's network in a loop over batches in torch's float32, at the best of its batch sizes (found first). ``--timm PYTHON``
names an interpreter that has timm: a second process, idle while we work as we are while it does. Without it the loop runs over
our own network, whose operations are the same (its outputs are held against timm's by the tests). Weights are random, seed 0,
the same for all. A chunk of pictures goes to one way and then the next, so that a noisy machine disturbs all alike.

Printed for each way: the time ratio to the loop, the largest relative difference of a vector, the smallest cosine, plain and after the
mean is taken off (what a classifier sees), and on how many of the test pictures the nearest neighbours (k = 20) name the same
class. Then, from a folder of JPEGs to a folder of vectors: the rate, beside what the stages measured one by one allow where they
share the cores; the share of writing; what going on with a finished folder costs; peak memory at n and 4 n pictures.

    python benchmarks/embedding.py --patches FOLDER/train FOLDER/test (or a ZIP of them) [--timm PYTHON] [--models S B L] [--n 64]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import PIL.Image
import torch
from memory import peak_mib

import healthfm as hfm
from healthfm.adapt.probe import nearest_neighbours
from healthfm.embed import check, engines, run
from healthfm.embed.items import Item, Items
from healthfm.embed.preparer import Preparer
from healthfm.embed.units import Unit
from healthfm.engine.pipeline import Clock, ordered
from healthfm.models.arithmetic import openvino
from healthfm.models.vision.vision_model import VisionModel

MODELS = {
    "S": ("vit_small_patch16_224", {"embed_dim": 384, "depth": 12, "num_heads": 6, "layer_scale": False}),
    "B": ("vit_base_patch16_224", {"embed_dim": 768, "depth": 12, "num_heads": 12, "layer_scale": False}),
    "L": ("vit_large_patch16_224", {"embed_dim": 1024, "depth": 24, "num_heads": 16, "layer_scale": False}),
}
TARGETS = {"openvino float32": 2.1, "openvino bfloat16": 3.8, "openvino int8": 5.8}
BATCHES = (1, 8, 32)
CHUNK = 16
CALIBRATE_ON = 16
Way = Callable[[Sequence[np.ndarray]], np.ndarray]

TIMM = """
import sys, time, json, numpy, torch
library = torch.library.Library("torchvision", "DEF")
for name in ("nms", "qnms"):
    library.define(name + "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
import timm
folder, name, threads = sys.argv[1:4]
torch.set_num_threads(int(threads))
model = timm.create_model(name, num_classes=0).eval()
model.load_state_dict(torch.load(folder + "/weights.pt", weights_only=True))
print("ready", flush=True)
for line in sys.stdin:
    batch = int(line)
    pixels = torch.from_numpy(numpy.load(folder + "/in.npy"))
    start = time.perf_counter()
    with torch.inference_mode():
        found = torch.cat([model(part) for part in pixels.split(batch)])
    took = time.perf_counter() - start
    numpy.save(folder + "/out.npy", found.numpy())
    print(took, flush=True)
"""


class Timm:
    """timm's loop in a process of its own."""

    def __init__(self, python: str, name: str, model: VisionModel, folder: Path) -> None:
        torch.save(model.network.state_dict(), folder / "weights.pt")
        words = [python, "-c", TIMM, str(folder), name, str(torch.get_num_threads())]
        self.folder = folder
        self.process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        if self.process.stdout.readline().strip() != "ready":
            raise SystemExit("timm could not be started")

    def __call__(self, pictures: Sequence[np.ndarray], batch: int) -> tuple[float, np.ndarray]:
        """Return seconds and vectors."""
        np.save(self.folder / "in.npy", np.stack(pictures))
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(f"{batch}\n")
        self.process.stdin.flush()
        took = float(self.process.stdout.readline())
        return took, np.load(self.folder / "out.npy")


def plain_loop(model: VisionModel) -> Callable[[Sequence[np.ndarray], int], tuple[float, np.ndarray]]:
    """Return the plain float32 loop over our own network."""

    def loop(pictures: Sequence[np.ndarray], batch: int) -> tuple[float, np.ndarray]:
        pixels = torch.from_numpy(np.stack(pictures))
        start = time.perf_counter()
        with torch.inference_mode():
            found = torch.cat([model.network(part)[1] for part in pixels.split(batch)])
        return time.perf_counter() - start, found.numpy()

    return loop


def way(network: engines.Network) -> Way:
    """Return how the engine computes: one picture at a time, several side by side."""

    def compute(pictures: Sequence[np.ndarray]) -> np.ndarray:
        with network.around():
            threads = network.threads
            return np.concatenate(list(ordered(lambda one: network.work([one]), pictures, threads, 2 * threads)))

    return compute


def small(size: str) -> VisionModel:
    """Return a tower with random weights and UNI's preprocessing."""
    return hfm.load_model("uni", "random", config=MODELS[size][1], device="cpu")  # type: ignore[return-value]


def pictures_of(folders: Sequence[Path], n: int) -> tuple[list[Path], list[str]]:
    """Return up to n pictures of class folders, as evenly as they come, with their classes."""
    found: list[tuple[Path, str]] = []
    for folder in folders:
        if len([one for one in folder.iterdir() if one.is_dir()]) < 2:
            raise SystemExit(f"{folder}: no class folders")
        by_class = [sorted(p for p in one.rglob("*") if p.suffix.lower() in (".jpg", ".jpeg", ".png", ".tif")) for one in sorted(folder.iterdir()) if one.is_dir()]  # fmt: skip
        share = -(-n // len(folders) // max(1, len(by_class)))
        found += [(path, path.relative_to(folder).parts[0]) for paths in by_class for path in paths[:share]]
    return [path for path, _ in found], [name for _, name in found]


def made_up(folder: Path, n: int) -> tuple[list[Path], list[str]]:
    """Write n pictures of two textures: smooth noise, and finer."""
    rng = np.random.default_rng(0)
    for i in range(n):
        coarse = rng.integers(0, 255, (8 << (i % 2), 8 << (i % 2), 3), dtype=np.uint8)
        PIL.Image.fromarray(coarse).resize((256, 256), PIL.Image.Resampling.BICUBIC).save(
            folder / f"{i:05}.jpg", quality=90
        )
    return sorted(folder.glob("*.jpg")), [str(i % 2) for i in range(n)]


def neighbours_agree(reference: np.ndarray, found: np.ndarray, labels: Sequence[str]) -> float:
    """Return on what share of every second picture the neighbours among the others name the same class."""
    fit, test = np.arange(0, len(labels), 2), np.arange(1, len(labels), 2)
    classes = sorted(set(labels))
    named = [
        nearest_neighbours(v[fit], [labels[i] for i in fit], v[test], classes)[0].argmax(1) for v in (reference, found)
    ]
    return float((named[0] == named[1]).mean())


def compare(size: str, paths: list[Path], labels: list[str], timm: str | None) -> dict[str, object]:
    """Return what a network costs each way."""
    model = small(size)
    prepare = Preparer(model, Clock())
    pictures = [prepare(Unit(Item(str(p), p), p)).inputs[0] for p in paths]
    calibration, pictures, labels = pictures[:CALIBRATE_ON], pictures[CALIBRATE_ON:], labels[CALIBRATE_ON:]
    with tempfile.TemporaryDirectory() as room:
        loop = Timm(timm, MODELS[size][0], model, Path(room)) if timm else plain_loop(model)
        batch = min(BATCHES, key=lambda b: loop(calibration, b)[0])
        ways = {"torch, oneDNN linear": way(engines.by_torch(model))}
        if openvino.version() is not None:
            ways["openvino float32"] = way(engines.choose(model, "float32"))
            ways["openvino bfloat16"] = way(engines.choose(model, "bfloat16"))
            ways["openvino int8"] = way(engines.quantised(model, calibration))
        for one in ways.values():
            one(calibration[:2])  # compiling is part of loading
        seconds, vectors = dict.fromkeys(["loop", *ways], 0.0), {name: [] for name in ["loop", *ways]}
        for start in range(0, len(pictures), CHUNK):
            chunk = pictures[start : start + CHUNK]
            took, found = loop(chunk, batch)
            seconds["loop"] += took
            vectors["loop"].append(found)
            for name, one in ways.items():
                began = time.perf_counter()
                vectors[name].append(one(chunk))
                seconds[name] += time.perf_counter() - began
        if isinstance(loop, Timm):
            loop.process.stdin.close()  # type: ignore[union-attr]
            loop.process.wait()
    every = {name: np.concatenate(parts) for name, parts in vectors.items()}
    return {
        "peer": "timm" if timm else "plain torch loop over the same network", "batch": batch, "n": len(pictures),
        "loop_per_second": round(len(pictures) / seconds["loop"], 2),
        "ways": {
            name: {
                "ratio": round(seconds["loop"] / seconds[name], 2), "target": TARGETS.get(name),
                **check.measure(every["loop"], every[name]),
                "same_neighbour_labels": neighbours_agree(every["loop"], every[name], labels),
            }
            for name in ways
        },
    }  # fmt: skip


def from_folder(size: str, paths: list[Path], output: Path) -> dict[str, object]:
    """Return how the whole road from JPEGs to vectors compares with its stages one by one."""
    model = small(size)
    items = [Item(f"{i:06}", path) for i, path in enumerate(paths)]
    network = engines.choose(model)
    prepare = Preparer(model, Clock())
    units = [Unit(item, item.content) for item in items]
    way(network)(prepare(units[0]).inputs)
    readers = run.readers(network)
    began = time.perf_counter()
    prepared = [unit.inputs[0] for unit in ordered(prepare, units, readers, 2 * readers)]
    reading = time.perf_counter() - began
    began = time.perf_counter()
    way(network)(prepared)
    computing = time.perf_counter() - began
    made = run.embed(model, Items(items), output)
    stages = made.manifest["stages"]
    began = time.perf_counter()
    run.embed(model, Items(items), output)
    again = time.perf_counter() - began
    writing = stages["stages"]["write"]["seconds"]
    whole = stages["wall_seconds"]
    return {
        "n": len(items), "input_per_second": round(len(items) / reading, 1), "model_per_second": round(len(items) / computing, 2),
        "run_per_second": round(len(items) / whole, 2),
        "share_of_limit": round((reading + computing + writing) / whole, 3), "target": 0.95,
        "share_of_slowest_stage": round(max(reading, computing, writing) / whole, 3),
        "write_share": round(writing / whole, 4), "finished_folder_again_seconds": round(again, 2),
    }  # fmt: skip


def peak(size: str, paths: list[Path]) -> int:
    """Return the peak resident memory, MiB, of a process that embeds these pictures."""
    command = [sys.executable, __file__, "--models", size, "--only", *map(str, paths)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return int(done.stdout.split()[-1])


def main() -> None:
    """Run the cases and store the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--patches",
        type=Path,
        nargs="*",
        default=[],
        help="folders of class folders, or a zip of them (default: made-up pictures)",
    )
    parser.add_argument("--models", nargs="*", default=list(MODELS), choices=list(MODELS))
    parser.add_argument("--n", type=int, default=64)
    parser.add_argument("--timm", help="an interpreter that has timm")
    parser.add_argument("--only", nargs="*", help="embed these and print the peak memory, MiB")
    parser.add_argument("--no-store", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        room = Path(name)
        os.environ["HEALTHFM_HOME"] = str(room / "home")  # nothing is found that was computed before
        if arguments.only:
            run.embed(small(arguments.models[0]), Items([Item(p, Path(p)) for p in arguments.only]), room / "out")
            print(peak_mib())
            return
        (room / "made").mkdir()
        for place in [one for one in arguments.patches if one.suffix == ".zip"]:
            zipfile.ZipFile(place).extractall(room / "patches")
            arguments.patches.remove(place)
            arguments.patches += sorted({p.parents[1] for p in (room / "patches").rglob("*.jpg")})
        wanted = arguments.n + CALIBRATE_ON
        paths, labels = pictures_of(arguments.patches, wanted) if arguments.patches else made_up(room / "made", wanted)
        order = np.random.default_rng(0).permutation(len(paths))
        paths, labels = [paths[i] for i in order], [labels[i] for i in order]
        target = Path(__file__).parent / "results" / "embedding.json"
        result = json.loads(target.read_text()) if target.is_file() else {"cases": {}}
        result |= {
            "threads": torch.get_num_threads(), "openvino": openvino.version(), "weights": "random, seed 0",
            "pictures": "real patches" if arguments.patches else "made up",
        }  # fmt: skip
        for size in arguments.models:
            case = compare(size, paths, labels, arguments.timm)
            case["from_folder"] = from_folder(size, paths, room / size)
            case["peak_memory_mib"] = {len(some): peak(size, some) for some in (paths[: len(paths) // 4], paths)}
            print(f"ViT-{size}", json.dumps(case, indent=1), flush=True)
            result["cases"][f"ViT-{size}"] = case
            if not arguments.no_store:
                target.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
