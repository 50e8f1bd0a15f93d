"""Make ``tests/data/expected/contamination_probes.json`` by running the authors' own scripts on SmolLM2's real weights.

    python -m tests.references.make_probes MINK COMMIT LEAKAGE COMMIT

``MINK``: a checkout of github.com/zjysteven/mink-plus-plus; the part of its run.py that computes scores is run as it is.
``LEAKAGE``: a checkout of github.com/nishiwen1214/Benchmark-leakage-detection; data_process.py, inference_logprobs.py and
get_outlier.py are run one after the other ("not_shuffled"), with our network in the place of theirs.
"""

from __future__ import annotations

import contextlib
import io
import json
import re
import runpy
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
import torch.nn.functional as functional
import transformers

import healthfm as hfm
from healthfm.curate.corpus import text_of

TESTS = Path(__file__).parent.parent
QUESTIONS = 3
TEXTS = 6


def main() -> None:
    """Run both and write the file."""
    mink, mink_commit, leakage, leakage_commit = sys.argv[1:5]
    model = hfm.load_model("smollm2-135m-instruct", device="cpu")
    records = list(hfm.open_dataset("medqa", TESTS / "data" / "medqa", "test"))[:TEXTS]
    likelihoods, printed = order_of_options(Path(leakage), model, records[:QUESTIONS])
    found = {
        "weights": model.provenance["weights"], "texts": "MedQA US 4 options, the first of the test file",
        "min_k": {
            "source": f"github.com/zjysteven/mink-plus-plus@{mink_commit} run.py", "ids": [r.id for r in records],
            "scores": min_k(Path(mink) / "run.py", model, [text_of(r) for r in records]),
        },
        "order": {
            "source": f"github.com/nishiwen1214/Benchmark-leakage-detection@{leakage_commit}", "ids": [r.id for r in records[:QUESTIONS]],
            "log_likelihoods": likelihoods, "printed": printed,
        },
    }  # fmt: skip
    target = TESTS / "data" / "expected" / "contamination_probes.json"
    target.write_text(json.dumps(found, ensure_ascii=False) + "\n")
    print(target, found["min_k"]["scores"], printed)


def min_k(script: Path, model: Any, texts: list[str]) -> list[float]:
    """Return Min-K%++ at 20 % as the authors' loop computes it."""
    source = script.read_text()
    loop = source[source.index("# inference - get scores") : source.index("# compute metrics")]
    names: dict[str, Any] = {
        "data": [{"input": text} for text in texts], "tokenizer": model.tokenizer, "model": model.network, "torch": torch,
        "F": functional, "np": np, "defaultdict": defaultdict, "tqdm": lambda rows, **_: rows, "zlib": __import__("zlib"),
    }  # fmt: skip
    exec(compile(loop, str(script), "exec"), names)
    return [float(score) for score in names["scores"]["mink++_0.2"]]


def order_of_options(folder: Path, model: Any, records: list[Any]) -> tuple[list[list[float]], str]:
    """Return the log-likelihoods of each question's 24 orders, from the first option on, and the share the last script prints."""
    with tempfile.TemporaryDirectory() as place:
        (Path(place) / "data.json").write_text(
            json.dumps([{"question": r.question, "option": dict(r.options)} for r in records])
        )
        run(folder / "data_process.py", "--data_dir", f"{place}/data.json", "--save_dir", place)
        permuted = Path(place) / "permutations_data.json"
        with as_theirs(model):
            run(
                folder / "inference_logprobs.py",
                "--model_dir",
                "x",
                "--permutations_data_dir",
                permuted,
                "--save_dir",
                place,
            )
        said = run(
            folder / "get_outlier.py", "--logprobs_dir", f"{place}/logprobs.json", "--permutations_data_dir", permuted, "--save_dir", place,
            "--method", "not_shuffled", "--permutation_num", "24",
        )  # fmt: skip
        sums = [float(one) for one in json.loads((Path(place) / "logprobs.json").read_text())]
    return [sums[i : i + 24] for i in range(0, len(sums), 24)], re.findall(r"[\d.]+", said)[-1]


@contextlib.contextmanager
def as_theirs(model: Any) -> Iterator[None]:
    """Let the authors' script load our network and tokenizer; sums it writes are NumPy numbers, which json must take."""
    with (
        mock.patch.object(transformers.AutoModelForCausalLM, "from_pretrained", lambda *_, **__: model.network),
        mock.patch.object(transformers.AutoTokenizer, "from_pretrained", lambda *_, **__: model.tokenizer),
        mock.patch.object(json, "dump", lambda value, file, **_: file.write(json.dumps([float(one) for one in value]))),
    ):
        yield


def run(script: Path, *words: object) -> str:
    """Run a script as a program; return what it prints."""
    out = io.StringIO()
    with mock.patch.object(sys, "argv", [str(script), *map(str, words)]), contextlib.redirect_stdout(out):
        runpy.run_path(str(script), run_name="__main__")
    return out.getvalue()


if __name__ == "__main__":
    main()
