"""What a finished road must show: the published weights made the numbers that were stored, and these made the predictions.

``evaluated`` runs the command to its report. ``assert_scored`` and ``assert_probed`` make the stored numbers again, from logits or
vectors that the caller's reference gives for the owners' own records. ``disturb`` gives a checkpoint other weights.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file, save_file
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from tests.cli.command import run

QUESTIONS = Path(__file__).parents[2] / "examples" / "pubmedqa" / "data"
Row = dict[str, Any]


def few_questions(folder: Path, train: int = 24, test: int = 6) -> Path:
    """Write a root of PubMedQA's own files with the shortest of its questions only, every answer among them."""
    rows, truth = (
        json.loads((QUESTIONS / name).read_text("utf-8")) for name in ("ori_pqal.json", "test_ground_truth.json")
    )
    kept: dict[str, Any] = {}
    for split, count in ((True, test), (False, train)):
        for answer in ("yes", "no", "maybe"):
            mine = [i for i, row in rows.items() if (i in truth) == split and row["final_decision"] == answer]
            kept |= {i: rows[i] for i in sorted(mine, key=lambda i: len("".join(rows[i]["CONTEXTS"])))[: count // 3]}
    (folder / "data").mkdir(parents=True)
    (folder / "data/ori_pqal.json").write_text(json.dumps(kept))
    (folder / "data/test_ground_truth.json").write_text(json.dumps({i: truth[i] for i in kept if i in truth}))
    return folder


def evaluated(output: Path, *words: object) -> list[Row]:
    """Run ``healthfm evaluate`` to a finished report and return the stored rows.

    Each prediction is the likeliest option of its row, each answer the owners', and the accuracy is what the rows say.
    """
    done = run("evaluate", *words, "--output", output, "--device", "cpu", "--json")
    assert done.returncode == 0, (done.returncode, done.stderr, done.stdout)
    rows: list[Row] = [row for part in parts(output / "predictions") for row in part]
    for row in rows:
        values = np.asarray(row.get("log_likelihoods") or row["probabilities"])
        assert len(values) == len(row["options"]) == len(set(values.tolist()))
        assert row["prediction"] == row["options"][int(values.argmax())]
    metrics = json.loads((output / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["n"] == len(rows) > 0
    right = [row["prediction"] == row["target"] for row in rows]
    assert metrics["metrics"]["accuracy"]["value"] == pytest.approx(np.mean(right))
    report = (output / "report.html").read_text(encoding="utf-8")
    assert "<html" in report and str(words[0]) in report
    asked = json.loads((output / "run.json").read_text(encoding="utf-8"))
    assert asked["request"]["weights"].startswith("sha256:")
    assert asked["environments"][0]["model"]["digest"].startswith("sha256:")
    return rows


def parts(folder: Path) -> list[list[Row]]:
    """Return the rows of a run's parts, in order."""
    return [pq.read_table(path).to_pylist() for path in sorted(folder.glob("part-*.parquet"))]


def scores(rows: Sequence[Row]) -> np.ndarray:
    """Return the stored log-likelihoods (of a probe: probabilities), float64 [n, options]."""
    return np.array([row.get("log_likelihoods") or row["probabilities"] for row in rows])


def assert_near(found: Any, expected: Any) -> None:
    """Hold numbers against others by the norm of the difference and by the largest one."""
    found, expected = np.asarray(found, np.float64), np.asarray(expected, np.float64)
    assert found.shape == expected.shape
    error, size = found - expected, np.linalg.norm(expected)
    assert np.linalg.norm(error) <= 1e-4 * size
    assert np.abs(error).max() <= 1e-3 * size / np.sqrt(expected.size)


def assert_moved(found: np.ndarray, other: np.ndarray) -> None:
    """Every row's numbers are other ones: what differs between two runs was used for each."""
    assert found.shape == other.shape
    assert np.abs(found - other).max(1).min() > 0.01 * spread(found) > 0


def spread(numbers: np.ndarray) -> float:
    """Return how far rows of numbers lie apart, in the column where they do most."""
    return float(numbers.std(0).max())


# Language models --------------------------------------------------------------------------------------------------------


def asked(
    rows: Sequence[Row], root: Path, text: Callable[[Row], str] = lambda row: "\n".join(row["CONTEXTS"])
) -> tuple[list[str], list[list[str]]]:
    """Return the prompts that PubMedQA's protocol makes of the owners' rows, and what may follow each."""
    owners = json.loads((root / "data/ori_pqal.json").read_text())
    made = []
    for row in rows:
        one = owners[row["id"]]
        assert (row["target"], row["options"]) == (one["final_decision"], ["yes", "no", "maybe"])
        made.append(f"Abstract: {text(one)}\nQuestion: {one['QUESTION']}\nAnswer:")
    return made, [[f" {option}" for option in row["options"]] for row in rows]


def assert_scored(
    rows: Sequence[Row], root: Path, encode: Callable[[str], list[int]], logits: Callable[[list[int], list[int]], Any],
    text: Callable[[Row], str] = lambda row: "\n".join(row["CONTEXTS"]), together: bool = True,
) -> None:  # fmt: skip
    """The stored log-likelihoods of PubMedQA's options are those that a reference's logits give for the owners' rows.

    ``logits`` (prompt ids, option ids) -> [len(option ids), vocabulary]; ``together``: prompt and option are encoded as one text.
    """
    expected = []
    for prompt, options in zip(*asked(rows, root, text), strict=True):
        context = encode(prompt)
        for option in options:
            new = encode(prompt + option)[len(context) :] if together else encode(option)
            likely = torch.as_tensor(np.asarray(logits(context, new))).double().log_softmax(-1)
            expected.append(sum(float(line[token]) for line, token in zip(likely, new, strict=True)))
    assert_near(scores(rows), np.reshape(expected, (len(rows), 3)))


# Probes -----------------------------------------------------------------------------------------------------------------


def assert_probed(output: Path, rows: Sequence[Row], labels: Sequence[str], fit: np.ndarray, test: np.ndarray) -> None:
    """The stored embeddings are a reference's, and the probabilities those of scikit-learn's own regression on them."""
    stored = [row["embedding"] for part in parts(output / "embeddings") for row in part]
    assert_near(stored, np.concatenate([fit, test]))
    assert len(np.unique(np.asarray(stored).round(6), axis=0)) == len(stored)
    expected = probabilities(output, rows, labels, fit, test)
    assert np.abs(scores(rows) - expected).max() <= 0.01 * spread(expected)


def probabilities(
    output: Path, rows: Sequence[Row], labels: Sequence[str], fit: np.ndarray, test: np.ndarray
) -> np.ndarray:
    """Return what the run's regression (its penalty is in run.json) gives on these vectors, in the order of the options."""
    penalty = json.loads((output / "run.json").read_text())["fitted"]["C"]
    scaler = StandardScaler().fit(fit)
    fitted = LogisticRegression(C=penalty, max_iter=2000).fit(scaler.transform(fit), labels)
    found = fitted.predict_proba(scaler.transform(test))
    return np.asarray(found[:, [list(fitted.classes_).index(one) for one in rows[0]["options"]]])


# Other weights ----------------------------------------------------------------------------------------------------------


def disturb(folder: Path) -> Path:
    """Give every floating tensor of a folder's weight files other values, in the same files and under the same names."""
    files = [path for path in folder.iterdir() if path.suffix in (".bin", ".pth", ".safetensors")]
    assert files
    for path in files:
        if path.suffix == ".safetensors":
            save_file(other(load_file(path)), path, {"format": "pt"})
        else:
            torch.save(other(torch.load(path, weights_only=False)), path)
    return folder


def other(tensors: Any) -> Any:
    """Return tensors (in mappings, however deep) with noise on them, half as loud as they are; all else as it is."""
    if isinstance(tensors, dict):
        return {name: other(value) for name, value in tensors.items()}
    if not isinstance(tensors, torch.Tensor) or not tensors.is_floating_point():
        return tensors
    noise = torch.randn(tensors.shape, generator=torch.Generator().manual_seed(tensors.numel()))
    return tensors + 0.5 * tensors.abs().mean() * noise.to(tensors.dtype)
