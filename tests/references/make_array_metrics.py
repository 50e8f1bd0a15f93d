"""Write ``tests/data/expected/array_metrics.json``: what the owners' code gives for ``array_cases``.

MONAI 1.6.1 for surface distances, scikit-survival for censored concordance (GPL: it is run here and never imported by the
package), seqeval for spans, AlphaFold's ``alphafold/model/lddt.py`` (commit c77e5d2a8961d1a353632c462914ff0a32a950f6, its
``jax.numpy`` replaced by numpy) for lDDT, ESM's ``compute_precisions`` (``examples/contact_prediction.ipynb``, commit
2b369911bb5b4b0dda914521b9475cad1656b2ac) for contact precision.

    python -m tests.references.make_array_metrics --alphafold FOLDER --esm FOLDER
"""

from __future__ import annotations

import argparse
import json
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np

from tests.references import array_cases

TARGET = Path(__file__).parents[1] / "data" / "expected" / "array_metrics.json"


def surfaces() -> dict[str, Any]:
    """MONAI's Dice, surface Dice at 1 and 2.5 units, and 95th-percentile Hausdorff distance."""
    import torch
    from monai.metrics import DiceMetric, SurfaceDiceMetric
    from monai.metrics.hausdorff_distance import compute_hausdorff_distance

    found = {}
    for name, reference, prediction, spacing in array_cases.masks():
        one, other = (torch.tensor(mask[None, None].astype(np.float32)) for mask in (prediction, reference))
        found[name] = {
            "dice": float(DiceMetric(include_background=True)(one, other)),
            "nsd": [
                float(SurfaceDiceMetric([limit], include_background=True)(one, other, spacing=list(spacing)))
                for limit in (1.0, 2.5)
            ],
            "hd95": float(compute_hausdorff_distance(one, other, include_background=True, percentile=95, spacing=list(spacing))),
        }  # fmt: skip
    return found


def concordance() -> list[float]:
    """scikit-survival's Harrell's C; it takes risks, the reverse of times."""
    from sksurv.metrics import concordance_index_censored

    cases = [array_cases.survival(seed) for seed in range(6)]
    return [float(concordance_index_censored(event, time, -guess)[0]) for time, guess, event in cases]


def lddt(folder: Path) -> list[dict[str, Any]]:
    """AlphaFold's lDDT of whole chains and of each residue."""
    sys.modules["jax"] = types.ModuleType("jax")
    sys.modules["jax.numpy"] = sys.modules["jax"].numpy = np  # type: ignore[attr-defined,assignment]
    module = types.ModuleType("lddt")
    exec((folder / "alphafold/model/lddt.py").read_text(), module.__dict__)
    found = []
    for seed in range(4):
        true, guess, known, _ = array_cases.chain(seed)
        arguments = guess[None], true[None], known[None, :, None].astype(np.float32)
        each = module.lddt(*arguments, per_residue=True)[0]
        found.append({"chain": float(module.lddt(*arguments)[0]), "residues": np.round(each, 7).tolist()})
    return found


def precision(folder: Path) -> list[dict[str, float]]:
    """ESM's P@L of contacts under 8 ångström, by range."""
    import torch

    cells = json.loads((folder / "examples/contact_prediction.ipynb").read_text())["cells"]
    [source] = ["".join(cell["source"]) for cell in cells if "def compute_precisions" in "".join(cell["source"])]
    space: dict[str, Any] = {"torch": torch, "np": np}
    exec("from typing import *\nimport torch.nn.functional as F\n" + source, space)
    found = []
    for seed in range(4):
        true, _, _, scores = array_cases.chain(seed)
        contacts = np.linalg.norm(true[:, None] - true[None], axis=-1) < 8
        unique = scores + 1e-7 * np.triu(np.random.default_rng(9).random(scores.shape), 1)
        arguments = torch.tensor(unique)[None], torch.tensor(contacts)[None]
        found.append({
            str(low): float(space["compute_precisions"](*arguments, minsep=low)["P@L"][0]) for low in (6, 12, 24)
        })  # fmt: skip
    return found


def main() -> None:
    """Run the references and write what they print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--alphafold", type=Path, required=True)
    parser.add_argument("--esm", type=Path, required=True)
    arguments = parser.parse_args()
    result = {
        "surfaces": surfaces(), "concordance": concordance(), "lddt": lddt(arguments.alphafold),
        "precision": precision(arguments.esm),
    }  # fmt: skip
    TARGET.write_text(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
