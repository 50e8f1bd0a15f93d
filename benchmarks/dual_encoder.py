"""A pair of towers (CLIP ViT-B/32) on the CPU against open_clip and CLIP_benchmark, in one alternating run.

The peer is a second process of an interpreter that has both (``--peer PYTHON``: open_clip_torch 3.3, clip_benchmark 1.6, ftfy), idle while we
work as we are while it does. It draws the weights (seed 0) and writes them and open_clip's file of merges; we load the same file. Ways take turns,
``--repeats`` times, and each one's best time counts.

- ``classes``: 14 names by 22 templates to class vectors: ``embed`` on each distinct text once, against CLIP_benchmark's ``zero_shot_classifier``.
- ``images``: pictures of 224 pixels to vectors: our embedder, as ``evaluate`` uses it, against ``encode_image`` at the best of its batch sizes.
- ``captions``: real captions (``--captions``: ROCO's captions.txt) to vectors in one pass, against ``encode_text`` at the best of its batch sizes.
- ``ranks``: recall at 1, 5 and 10 both ways of n pictures with n texts, against CLIP_benchmark's retrieval of the same vectors.
- ``large``: with ``--large N``, ranks of N by N: seconds, and the peak memory of the process.

Vectors must be equal to 1e-4 (cosine ends: the largest difference of a component of vectors of length 1), recalls to 1e-6; what is not is printed and
stops the run.

    python benchmarks/dual_encoder.py --peer PYTHON [--captions captions.txt] [--n 64] [--ranks 5000] [--large 100000]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from memory import peak_mib

import healthfm as hfm
from healthfm.embed.embedder import Embedder
from healthfm.evaluate import prompts
from healthfm.models.joint import zero_shot
from healthfm.score.metrics import matching

NAMES = (
    "atelectasis", "cardiomegaly", "pleural effusion", "infiltrate", "lung mass", "lung nodule", "pneumonia", "pneumothorax", "consolidation",
    "oedema", "emphysema", "fibrosis", "pleural thickening", "hernia",
)  # fmt: skip
TEMPLATES = 22
TARGETS = {"classes": 7.0, "ranks": 10.0}
ALIKE = 1e-4
WIDTH = 512
RECALLS = (1, 5, 10)

PEER = """
import sys, time, json, shutil, numpy, torch, functools
library = torch.library.Library("torchvision", "DEF")
for name in ("nms", "qnms"):
    library.define(name + "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
import open_clip
library_tokens = open_clip.get_tokenizer("ViT-B-32")
from clip_benchmark.metrics import zeroshot_classification, zeroshot_retrieval
zeroshot_classification.tqdm = zeroshot_retrieval.tqdm = lambda x, **k: x
room, threads = sys.argv[1:3]
torch.set_num_threads(int(threads))
torch.manual_seed(0)
model = open_clip.create_model("ViT-B-32").eval()
torch.save(model.state_dict(), room + "/weights/open_clip_pytorch_model.bin")
shutil.copy(open_clip.__path__[0] + "/bpe_simple_vocab_16e6.txt.gz", room + "/weights")
unit = functools.partial(torch.nn.functional.normalize, dim=-1)

class Given:
    def encode_image(self, x): return x
    def encode_text(self, x): return x

def classes(asked):
    return zeroshot_classification.zero_shot_classifier(model, library_tokens, asked["names"], asked["templates"], "cpu", amp=False).T

def images(asked):
    pixels = torch.from_numpy(numpy.load(room + "/pixels.npy"))
    return torch.cat([unit(model.encode_image(part)) for part in pixels.split(asked["batch"])])

def captions(asked):
    some, size = asked["texts"], asked["batch"]
    return torch.cat([unit(model.encode_text(library_tokens(some[i:i + size]))) for i in range(0, len(some), size)])

def ranks(asked):
    both = numpy.load(room + "/vectors.npz")
    x, y = torch.from_numpy(both["images"]), torch.from_numpy(both["texts"])
    size = asked["batch"]
    parts = [(x[i:i + size], [[row] for row in y[i:i + size]]) for i in range(0, len(x), size)]
    found = zeroshot_retrieval.evaluate(Given(), parts, torch.stack, "cpu", amp=False, recall_k_list=asked["recalls"])
    return torch.tensor([found[f"{side}_retrieval_recall@{k}"] for side in ("text", "image") for k in asked["recalls"]])

print("ready", flush=True)
for line in sys.stdin:
    asked = json.loads(line)
    start = time.perf_counter()
    with torch.inference_mode():
        found = globals()[asked["what"]](asked)
    took = time.perf_counter() - start
    numpy.save(room + "/found.npy", found.numpy())
    print(took, flush=True)
"""


class Peer:
    """open_clip and CLIP_benchmark in a process of their own."""

    def __init__(self, python: str, room: Path) -> None:
        (room / "weights").mkdir()
        self.room = room
        words = [python, "-c", PEER, str(room), str(torch.get_num_threads())]
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        self.process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)  # fmt: skip
        if self._line() != "ready":
            raise SystemExit("the peer could not be started")

    def _line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def __call__(self, what: str, **asked: Any) -> tuple[float, np.ndarray]:
        """Return seconds and what was found."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"what": what, **asked}) + "\n")
        self.process.stdin.flush()
        took = float(self._line())
        return took, np.load(self.room / "found.npy")

    def best(self, what: str, sizes: tuple[int, ...], **asked: Any) -> int:
        """Return the batch size at which it is quickest."""
        self(what, batch=sizes[0], **asked)
        return min(sizes, key=lambda size: self(what, batch=size, **asked)[0])


def turns(
    mine: Callable[[], np.ndarray], theirs: Callable[[], tuple[float, np.ndarray]], repeats: int, alike: float
) -> dict[str, Any]:  # fmt: skip
    """Return the best time of each way, their ratio, and how far what they found lies apart."""
    times: dict[str, list[float]] = {"healthfm": [], "peer": []}
    mine()
    for _ in range(repeats):
        start = time.perf_counter()
        found = mine()
        times["healthfm"].append(time.perf_counter() - start)
        took, wanted = theirs()
        times["peer"].append(took)
    apart = float(np.abs(found - wanted).max())
    if not apart <= alike:
        raise SystemExit(f"not equal: {apart} apart, {alike} are allowed")
    best = {name: min(some) for name, some in times.items()}
    return {
        **{f"{name}_seconds": round(one, 4) for name, one in best.items()}, "ratio": round(best["peer"] / best["healthfm"], 2),
        "pair_ratios": [round(b / a, 2) for a, b in zip(times["healthfm"], times["peer"], strict=True)], "apart": apart,
    }  # fmt: skip


def templates() -> list[str]:
    """Return general sentences, each with a place for a name."""
    found = [one for some in prompts.SETS.values() for one in some.get("templates", ())]
    found += [pair[0] for some in prompts.SETS.values() for pair in some.get("pairs", ())]
    return list(dict.fromkeys(one for one in found if one.count("{}") == 1))[:TEMPLATES]


def unit(vectors: np.ndarray) -> np.ndarray:
    """Return vectors of length 1."""
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def embedded(embedder: Embedder, items: list[Any]) -> np.ndarray:
    """Return vectors of length 1 as an evaluation gets them."""
    return unit(np.stack([one.vector for one in embedder.units(items)]))  # type: ignore[misc]


def recalls(images: np.ndarray, texts: np.ndarray) -> np.ndarray:
    """Return recall at ``RECALLS`` of texts for pictures, and of pictures for texts, by exact ranks of pairs in order."""
    both = matching.ranks(images, texts, [(i, i) for i in range(len(images))])
    return np.array([np.mean([row[0] <= k for row in one.found]) for one in both for k in RECALLS])


def near(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return vectors of n pictures and of their texts, which lie near them; made in place, so that ranks take the most memory."""
    random = np.random.default_rng(0)
    images = random.standard_normal((n, WIDTH), np.float32)
    texts = random.standard_normal((n, WIDTH), np.float32)
    texts *= 6
    texts += images
    for one in (images, texts):
        one /= np.sqrt(np.einsum("ij,ij->i", one, one))[:, None]
    return images, texts


def large(n: int) -> None:
    """Print what exact ranks of n by n cost, as JSON."""
    images, texts = near(n)
    before, start = peak_mib(), time.perf_counter()
    recalls(images, texts)
    seconds = time.perf_counter() - start
    print(json.dumps({"n": n, "seconds": round(seconds, 1), "peak_mib": peak_mib(), "peak_mib_before": before}))


def compare(arguments: argparse.Namespace, room: Path) -> dict[str, Any]:
    """Return what each case costs both ways."""
    peer = Peer(arguments.peer, room)
    model: Any = hfm.load_model("quiltnet", room / "weights", config={"activation": "gelu"}, device="cpu")  # fmt: skip
    embedder, sentences, repeats = Embedder(model), templates(), arguments.repeats
    assert len(sentences) == TEMPLATES
    random = np.random.default_rng(0)

    def classes() -> np.ndarray:
        every = list(dict.fromkeys(one.replace("{}", name) for name in NAMES for one in sentences))
        known = dict(zip(every, embedded(embedder, every), strict=True))
        made = [[[one.replace("{}", name) for one in sentences] for name in NAMES]]
        return zero_shot.means(known, made, True)[0]

    found = {"classes": turns(classes, lambda: peer("classes", names=NAMES, templates=[one.replace("{}", "{c}") for one in sentences]), repeats, ALIKE)}  # fmt: skip
    pictures = [random.integers(0, 256, (224, 224, 3), np.uint8) for _ in range(arguments.n)]
    np.save(room / "pixels.npy", model.preprocess(pictures)["pixels"].numpy())
    size = peer.best("images", (1, 8, 32))
    found["images"] = {"n": len(pictures), "batch": size, **turns(lambda: embedded(embedder, pictures), lambda: peer("images", batch=size), repeats, ALIKE)}  # fmt: skip
    if arguments.captions:
        lines = Path(arguments.captions).read_text(encoding="utf-8").splitlines()
        texts = [line.partition("\t")[2].strip() for line in lines]
        texts = [one for one in texts if one][: arguments.most]
        size = peer.best("captions", (8, 64, 256), texts=texts[:256])
        found["captions"] = {"n": len(texts), "batch": size, **turns(lambda: embedded(embedder, texts), lambda: peer("captions", texts=texts, batch=size), 1, ALIKE)}  # fmt: skip
    images, texts_of = near(arguments.ranks)
    np.savez(room / "vectors.npz", images=images, texts=texts_of)
    size = peer.best("ranks", (64, 256), recalls=RECALLS)
    found["ranks"] = {"n": arguments.ranks, "batch": size, **turns(lambda: recalls(images, texts_of), lambda: peer("ranks", batch=size, recalls=RECALLS), repeats, 1e-6)}  # fmt: skip
    peer.process.stdin.close()  # type: ignore[union-attr]
    peer.process.wait()
    return {name: {**one, **({"target": TARGETS[name]} if name in TARGETS else {})} for name, one in found.items()}


def main() -> None:
    """Run the cases and store the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", help="an interpreter that has open_clip and clip_benchmark")
    parser.add_argument("--captions", help="lines of an id, a tab and a caption")
    parser.add_argument("--most", type=int, default=None, help="no more captions than these")
    parser.add_argument("--n", type=int, default=64)
    parser.add_argument("--ranks", type=int, default=5_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--large", type=int)
    parser.add_argument("--only-large", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--no-store", action="store_true")
    arguments = parser.parse_args()
    if arguments.only_large:
        return large(arguments.only_large)
    with tempfile.TemporaryDirectory() as name:
        os.environ["HEALTHFM_HOME"] = f"{name}/home"  # nothing is found that was computed before
        (Path(name) / "room").mkdir()
        cases = compare(arguments, Path(name) / "room") if arguments.peer else {}
    if arguments.large:
        command = [sys.executable, __file__, "--only-large", str(arguments.large)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        cases["large"] = json.loads(done.stdout)
    target = Path(__file__).parent / "results" / "dual_encoder.json"
    result = json.loads(target.read_text()) if target.is_file() else {"cases": {}}
    result |= {
        "threads": torch.get_num_threads(),
        "weights": "random, seed 0: ViT-B/32",
        "cases": {**result["cases"], **cases},
    }
    print(json.dumps(result, indent=1))
    if not arguments.no_store:
        target.write_text(json.dumps(result, indent=1) + "\n")
    return None


if __name__ == "__main__":
    main()
