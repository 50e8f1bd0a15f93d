"""Scoring of multiple-choice questions against lm-evaluation-harness 0.4.13, in one alternating run.

Both score the same prompts with the same network, tokenizer, threads and float32 weights; the harness at the best of its batch
sizes (found first on a few questions), model loading left out. Questions go to one and then the other, 25 at a time, so
that a noisy machine disturbs both alike. Printed for each protocol: the time ratio, without and with the oneDNN path, equal
choices, the largest difference of a log-likelihood, and our share of the limit (unique tokens x 2 x parameters / measured
GEMM rate).

    python benchmarks/scoring.py --root tests/data/medqa --n 200
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

import healthfm as hfm
from healthfm.evaluate.tasks import Item, make_items
from healthfm.models import likelihood

CHUNK = 25
BATCHES = (1, 4, 16)
CASES = {
    "letters, 0-shot": ("letters", 0),
    "letters, 5-shot": ("letters", 5),
    "text, 0-shot": ("text", 0),
    "text, 5-shot": ("text", 5),
}
TARGETS = {"letters, 0-shot": 1.35, "letters, 5-shot": 5, "text, 0-shot": 2.7, "text, 5-shot": 12}
Scorer = Callable[[Sequence[Item]], list[np.ndarray]]


def harness(model: hfm.Model, batch: int) -> Scorer:
    """Return lm-evaluation-harness's scorer on the same network."""
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    wrapped = HFLM(pretrained=model.network, tokenizer=model.tokenizer, batch_size=batch, device="cpu")

    def score(items: Sequence[Item]) -> list[np.ndarray]:
        pairs = [(item.prompt, option) for item in items for option in item.continuations]
        found = wrapped.loglikelihood(
            [Instance("loglikelihood", {}, p, i) for i, p in enumerate(pairs)], disable_tqdm=True
        )
        values = iter([value for value, _ in found])
        return [np.array([next(values) for _ in item.continuations]) for item in items]

    return score


def ours(model: hfm.Model, fast: bool) -> Scorer:
    """Return our scorer, through torch's own linear layers or oneDNN's."""

    def score(items: Sequence[Item]) -> list[np.ndarray]:
        model.fast_linear = fast
        return model.score([i.prompt for i in items], [i.continuations for i in items])

    return score


def timed(scorer: Scorer, items: Sequence[Item]) -> tuple[float, list[np.ndarray]]:
    """Return seconds and scores."""
    start = time.perf_counter()
    scores = scorer(items)
    return time.perf_counter() - start, scores


def unique_tokens(model: hfm.Model, items: Sequence[Item]) -> int:
    """Return the tokens that must be read at least once: shared prefix, questions, options but their last token."""
    questions = [likelihood.encode(model, i.prompt, i.continuations) for i in items]
    prefix = len(likelihood.shared_prefix([q.context for q in questions]))
    return prefix + sum(q.length - prefix for q in questions)


def gemm_rate(fast: bool) -> float:
    """Return the measured float32 rate, FLOP/s, of the shapes that dominate."""
    x, layer = torch.randn(1024, 576), torch.nn.Linear(576, 1536, bias=False)
    from contextlib import nullcontext

    from healthfm.models.onednn import packed_linear

    best = 0.0
    with torch.inference_mode(), packed_linear(layer) if fast else nullcontext():
        for _ in range(50):
            start = time.perf_counter()
            layer(x)
            best = max(best, 2 * 1024 * 576 * 1536 / (time.perf_counter() - start))
    return best


def main() -> None:
    """Run the cases and store the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=Path("tests/data/medqa"))
    parser.add_argument("--n", type=int, default=200)
    parser.add_argument("--cases", nargs="*", default=list(CASES))
    arguments = parser.parse_args()
    model = hfm.load_model("smollm2-135m-instruct", device="cpu")
    opened = hfm.open_dataset("medqa", arguments.root, "test")
    records = list(opened)
    body = sum(p.numel() for p in model.network.get_decoder().layers.parameters())
    target = Path(__file__).parent / "results" / "scoring.json"
    result = {
        "model": "SmolLM2-135M-Instruct, Q4_1, dequantised, float32",
        "threads": torch.get_num_threads(),
        "cases": {},
    }
    for name in arguments.cases:
        protocol, shots = CASES[name]
        items = make_items(records[shots : shots + arguments.n], opened.card.protocols[protocol], records[:shots])
        best = min(BATCHES, key=lambda batch: timed(harness(model, batch), items[:4])[0])
        scorers = {
            "lm_eval": harness(model, best),
            "healthfm": ours(model, False),
            "healthfm oneDNN": ours(model, True),
        }
        seconds, scores = dict.fromkeys(scorers, 0.0), {key: [] for key in scorers}
        for key in ("healthfm", "healthfm oneDNN"):
            timed(scorers[key], items[:1])  # packing the weights is part of loading
        model.kept_prefix = None
        for start in range(0, len(items), CHUNK):
            for key, scorer in scorers.items():
                took, found = timed(scorer, items[start : start + CHUNK])
                seconds[key] += took
                scores[key] += found
        same = {
            k: int(sum(a.argmax() == b.argmax() for a, b in zip(scores["lm_eval"], scores[k], strict=True)))
            for k in scorers
        }
        apart = {
            k: max(float(np.abs(a - b).max()) for a, b in zip(scores["lm_eval"], scores[k], strict=True))
            for k in scorers
        }
        flops = unique_tokens(model, items) * 2 * body
        case = {
            "n": len(items), "lm_eval_batch": best, "target": TARGETS[name],
            "ratio": round(seconds["lm_eval"] / seconds["healthfm"], 2),
            "ratio_oneDNN": round(seconds["lm_eval"] / seconds["healthfm oneDNN"], 2),
            "oneDNN_over_torch": round(seconds["healthfm"] / seconds["healthfm oneDNN"], 2),
            "same_choices": same, "largest_difference": apart,
            "share_of_limit": round(flops / gemm_rate(False) / seconds["healthfm"], 2),
            "share_of_limit_oneDNN": round(flops / gemm_rate(True) / seconds["healthfm oneDNN"], 2),
        }  # fmt: skip
        result["cases"][name] = case
        result["peak_memory_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        print(name, json.dumps(case, indent=1), flush=True)
        target.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
