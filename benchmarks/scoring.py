"""Scoring of multiple-choice questions against lm-evaluation-harness 0.4.13, in one alternating run.

Both score the same prompts with the same network, tokenizer, threads and float32 weights; the harness at the best of its batch
sizes (found first on a few questions), model loading left out. Its batch size "auto" is not among them: on a CPU it first
asks for logits of 64 texts of full length, 26 GB for this vocabulary. Questions go to one and then the other, 25 at a time, so
that a noisy machine disturbs both alike. Printed for each protocol: the time ratio, without and with the oneDNN path, equal
choices, the largest difference of a log-likelihood, our share of the limit (unique tokens x 2 x parameters / measured
GEMM rate; attention is not in it), and the peak memory of a process that only scores twelve questions one way.

    python benchmarks/scoring.py --root tests/data/medqa --n 200
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import torch
from memory import peak_mib

import healthfm as hfm
from healthfm.evaluate.protocols import Item, make_items
from healthfm.models.language import likelihood

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
    """Return our scorer, through torch's own linear layers or oneDNN's; each keeps a shared prefix of its own."""
    kept = [None]

    def score(items: Sequence[Item]) -> list[np.ndarray]:
        model.fast_linear, model.kept_prefix = fast, kept[0]
        found = model.score([i.prompt for i in items], [i.continuations for i in items])
        kept[0] = model.kept_prefix
        return found

    return score


def timed(scorer: Scorer, items: Sequence[Item]) -> tuple[float, list[np.ndarray]]:
    """Return seconds and scores."""
    start = time.perf_counter()
    scores = scorer(items)
    return time.perf_counter() - start, scores


def unique_tokens(model: hfm.Model, items: Sequence[Item]) -> int:
    """Return the tokens that must be read at least once: shared prefix, questions, options but their last token."""
    questions = [likelihood.encode(model, i.prompt, i.continuations) for i in items]
    prefix = len(likelihood.common_prefix([q.context for q in questions]))
    return prefix + sum(q.length - prefix for q in questions)


def gemm_rate(fast: bool) -> float:
    """Return the measured float32 rate, FLOP/s, of the shapes that dominate."""
    x, layer = torch.randn(1024, 576), torch.nn.Linear(576, 1536, bias=False)
    from healthfm.models.arithmetic.onednn import packed_linear

    best = 0.0
    with torch.inference_mode(), packed_linear(layer) if fast else nullcontext():
        for _ in range(50):
            start = time.perf_counter()
            layer(x)
            best = max(best, 2 * 1024 * 576 * 1536 / (time.perf_counter() - start))
    return best


def scorers_of(model: hfm.Model, batch: int) -> dict[str, Scorer]:
    """Return the three ways to score."""
    return {
        "lm_eval": harness(model, batch),
        "healthfm": ours(model, False),
        "healthfm oneDNN": ours(model, True),
    }


def peak_memory(root: Path, case: str, batch: int) -> dict[str, int]:
    """Return the peak resident memory, MiB, of a process that scores twelve questions, for each way."""
    found = {}
    for way in ("lm_eval", "healthfm", "healthfm oneDNN"):
        command = [
            sys.executable,
            __file__,
            "--root",
            root,
            "--cases",
            case,
            "--n",
            "12",
            "--only",
            way,
            "--batch",
            batch,
        ]
        done = subprocess.run([str(one) for one in command], check=True, capture_output=True, text=True)
        found[way] = int(done.stdout.split()[-1])
    return found


def measure(model: hfm.Model, items: Sequence[Item], rates: dict[bool, float]) -> dict[str, object]:
    """Return what one protocol's questions cost each way, and whether the answers agree."""
    best = min(BATCHES, key=lambda batch: timed(harness(model, batch), items[:8])[0])
    scorers = scorers_of(model, best)
    seconds, scores = dict.fromkeys(scorers, 0.0), {key: [] for key in scorers}
    for key in ("healthfm", "healthfm oneDNN"):
        timed(scorers[key], items[:1])  # packing the weights is part of loading
    for start in range(0, len(items), CHUNK):
        for key, scorer in scorers.items():
            took, found = timed(scorer, items[start : start + CHUNK])
            seconds[key] += took
            scores[key] += found
    pairs = {key: list(zip(scores["lm_eval"], scores[key], strict=True)) for key in scorers}
    body = sum(p.numel() for p in model.network.get_decoder().layers.parameters())
    flops = unique_tokens(model, items) * 2 * body
    return {
        "n": len(items), "lm_eval_batch": best,
        "ratio": round(seconds["lm_eval"] / seconds["healthfm"], 2),
        "ratio_oneDNN": round(seconds["lm_eval"] / seconds["healthfm oneDNN"], 2),
        "oneDNN_over_torch": round(seconds["healthfm"] / seconds["healthfm oneDNN"], 2),
        "same_choices": {key: int(sum(a.argmax() == b.argmax() for a, b in both)) for key, both in pairs.items()},
        "largest_difference": {key: max(float(np.abs(a - b).max()) for a, b in both) for key, both in pairs.items()},
        "share_of_limit": round(flops / rates[False] / seconds["healthfm"], 2),
        "share_of_limit_oneDNN": round(flops / rates[True] / seconds["healthfm oneDNN"], 2),
    }  # fmt: skip


def main() -> None:
    """Run the cases and store the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=Path("tests/data/medqa"))
    parser.add_argument("--n", type=int, default=200)
    parser.add_argument("--cases", nargs="*", default=list(CASES))
    parser.add_argument("--only", help="score one way and print the peak memory, MiB")
    parser.add_argument("--batch", type=int, default=1)
    arguments = parser.parse_args()
    model = hfm.load_model("smollm2-135m-instruct", device="cpu")
    opened = hfm.open_dataset("medqa", arguments.root, "test")
    records = list(opened)
    target = Path(__file__).parent / "results" / "scoring.json"
    stored = json.loads(target.read_text()) if target.is_file() else {"cases": {}}
    rates = {} if arguments.only else {fast: gemm_rate(fast) for fast in (False, True)}
    for name in arguments.cases:
        protocol, shots = CASES[name]
        items = make_items(records[shots : shots + arguments.n], opened.card.protocols[protocol], records[:shots])
        if arguments.only:
            scorers_of(model, arguments.batch)[arguments.only](items)
            print(peak_mib())
            return
        case = {"target": TARGETS[name], **measure(model, items, rates)}
        case["peak_memory_mib"] = peak_memory(arguments.root, name, case["lm_eval_batch"])
        print(name, json.dumps(case, indent=1), flush=True)
        result = {
            "model": "SmolLM2-135M-Instruct, Q4_1, dequantised, float32", "threads": torch.get_num_threads(),
            "gemm_gflops": {"torch": round(rates[False] / 1e9), "oneDNN": round(rates[True] / 1e9)},
            "cases": {**stored["cases"], name: case},
        }  # fmt: skip
        target.write_text(json.dumps(result, indent=1) + "\n")
        stored = result


if __name__ == "__main__":
    main()
