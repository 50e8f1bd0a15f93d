"""Molecules and texts about them: one of T as MoleculeSTM asks it, over all draws of the others."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from healthfm import evaluate, load_model
from healthfm.errors import RunError
from healthfm.records import Molecule
from tests.datasets.laid import lay

N = 12
DRUG = (
    '<drug type="small molecule"><drugbank-id primary="true">DB{0:05d}</drugbank-id><name>n</name><description>{2}</description>'
    "<calculated-properties><property><kind>SMILES</kind><value>{1}</value></property></calculated-properties></drug>"
)


@pytest.fixture(scope="module")
def drugs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve chains with a text each, one chain again under another name, and an antibody, which has no structure."""
    rows = [DRUG.format(i, "C" * (i + 1), f"chain {i}") for i in range(N)]
    rows += [
        DRUG.format(90, "CC", "chain 1"),
        '<drug type="biotech"><drugbank-id primary="true">DB00099</drugbank-id><name>A</name><description>x</description></drug>',
    ]
    text = f'<drugbank xmlns="http://www.drugbank.ca" version="5.1">{"".join(rows)}</drugbank>'  # fmt: skip
    return lay(tmp_path_factory.mktemp("drugs"), {"full database.xml": text})


def vectors() -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(5)
    molecules = draw.normal(size=(N, 6))
    return molecules, molecules + draw.normal(size=(N, 6)) * 1.1


def by_all_draws(queries: np.ndarray, others: np.ndarray, size: int) -> float:
    """do_CL_eval of github.com/chao1224/MoleculeSTM@1bc949a5 scripts/downstream_01_retrieval_Description_Pharmacodynamics.py, for every draw."""
    likeness = (queries / np.linalg.norm(queries, axis=1)[:, None]) @ (
        others / np.linalg.norm(others, axis=1)[:, None]
    ).T
    right = [
        np.argmax(likeness[i, [i, *some]]) == 0
        for i in range(N)
        for some in combinations([j for j in range(N) if j != i], size - 1)
    ]
    return float(np.mean(right))


def test_one_of_t_is_moleculestms_accuracy_over_all_draws(drugs: Path, tmp_path: Path) -> None:
    molecules, texts = vectors()

    def embed(items: list[Molecule | str]) -> np.ndarray:
        rows = [texts[int(one.split()[1])] if isinstance(one, str) else molecules[len(one.smiles) - 1] for one in items]
        return np.array(rows, np.float32)

    model = load_model(embed, verb="embed", card={"slug": "mine", "name": "Mine"})
    made = evaluate(model, "drugbank", root=drugs, split="all", task="molecule-text-retrieval", output=tmp_path / "run")
    for size in (4, 10):
        for name, sides in (("molecule_to_text", (molecules, texts)), ("text_to_molecule", (texts, molecules))):
            found = made.metrics[f"{name}_choose_{size}"]
            assert found["value"] == pytest.approx(by_all_draws(*sides, size), abs=1e-12) and 0.3 < found["value"] < 1
            assert found["low"] < found["value"] < found["high"]
    assert "text_to_molecule_choose_20" not in made.metrics  # there are no twenty
    notices = " ".join(made.facts["notices"])
    assert "1 molecule has no structure" in notices and "1 record has a molecule or a text that another has" in notices
    assert made.predictions.num_rows == 2 * N and "text to molecule, one of 10" in made.report().read_text()
    with pytest.raises(RunError, match=r"no molecule has a text 'toxicity' \(texts: description\)"):
        evaluate(
            model,
            "drugbank",
            root=drugs,
            split="all",
            task="molecule-text-retrieval",
            label="toxicity",
            output=tmp_path / "x",
        )
