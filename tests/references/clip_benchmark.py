"""Write what CLIP_benchmark's own functions say of vectors to ``tests/data/expected/clip-benchmark.retrieval.json``.

    python tests/references/clip_benchmark.py PATH

PATH: clip_benchmark/metrics/zeroshot_retrieval.py of LAION-AI/CLIP_benchmark at 48de38c. Needs torch 2.13.0 and tqdm. Vectors come from names
(see recipe_weights.py); the first picture has five captions, the second and third two, the others one.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
from recipe_weights import recipe_array  # noqa: E402

IMAGES, WIDTH = 30, 8
OF_TEXT = [0] * 5 + [1] * 2 + [2] * 2 + list(range(3, IMAGES))
RECALLS = (1, 5, 10)


def vectors() -> tuple[np.ndarray, np.ndarray]:
    """Return vectors of pictures and of texts, float32 of length 1; a text lies near its picture."""
    images = np.asarray(recipe_array("retrieval images", (IMAGES, WIDTH)), np.float64)
    noise = np.asarray(recipe_array("retrieval texts", (len(OF_TEXT), WIDTH)), np.float64)
    scale = np.linalg.norm(images, axis=1).mean() / np.linalg.norm(noise, axis=1).mean()
    texts = images[OF_TEXT] + 1.3 * scale * noise
    unit = [one / np.linalg.norm(one, axis=1, keepdims=True) for one in (images, texts)]
    return unit[0].astype(np.float32), unit[1].astype(np.float32)


def main() -> None:
    import torch

    spec = importlib.util.spec_from_file_location("theirs", sys.argv[1])
    assert spec is not None and spec.loader is not None
    theirs = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(theirs)
    images, texts = map(torch.from_numpy, vectors())
    scores = texts @ images.t()
    pairs = torch.zeros_like(scores, dtype=bool)
    pairs[torch.arange(len(scores)), OF_TEXT] = True
    found = {}
    for k in RECALLS:
        for name, (x, y) in {"text_to_image": (scores, pairs), "image_to_text": (scores.T, pairs.T)}.items():
            each = theirs.batchify(theirs.recall_at_k, x, y, 7, "cpu", k=k) > 0
            found[f"{name}_recall_{k}"] = each.double().mean().item()
    path = HERE.parent / "data" / "expected" / "clip-benchmark.retrieval.json"
    path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
