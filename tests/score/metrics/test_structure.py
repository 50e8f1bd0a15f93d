"""Contact precision equals ESM's, the local distance difference test AlphaFold's."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from healthfm.score.metrics.structure import lddt, precision_at_length
from tests.references.array_cases import chain

EXPECTED = json.loads((Path(__file__).parents[2] / "data/expected/array_metrics.json").read_text())


@pytest.mark.parametrize("seed", range(4))
def test_lddt_equals_alphafolds(seed: int) -> None:
    true, guess, known, _ = chain(seed)
    whole, residues = lddt(guess, true, known)
    expected = EXPECTED["lddt"][seed]
    assert whole == pytest.approx(expected["chain"], abs=1e-6)
    np.testing.assert_allclose(residues[known], np.array(expected["residues"])[known], atol=2e-6)
    assert 0.2 < whole < 0.99, "the case would not tell a wrong threshold"


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("separation", [6, 12, 24])
def test_precision_at_length_equals_esms(seed: int, separation: int) -> None:
    true, _, _, scores = chain(seed)
    contacts = np.linalg.norm(true[:, None] - true[None], axis=-1) < 8
    unique = scores + 1e-7 * np.triu(np.random.default_rng(9).random(scores.shape), 1)
    found = precision_at_length(unique, contacts, separation=separation)
    assert found == pytest.approx(EXPECTED["precision"][seed][str(separation)], abs=1e-6)


def test_lddt_of_a_worked_example() -> None:
    """Three residues on a line at 0, 4 and 20: only the first two are near; their distance is off by 1.5, within 2 and 4."""
    true = np.array([[0, 0, 0], [4, 0, 0], [20, 0, 0]], float)
    guess = np.array([[0, 0, 0], [5.5, 0, 0], [90, 0, 0]], float)
    whole, residues = lddt(guess, true)
    assert whole == 0.5
    assert residues[:2].tolist() == [0.5, 0.5] and np.isnan(residues[2])
    assert np.isnan(lddt(guess, true, np.array([True, False, True]))[0])


def test_precision_at_length_of_a_worked_example() -> None:
    """Four residues, pairs at least two apart: the best two of (0, 2), (1, 3), (0, 3) at half the length; equal scores in order."""
    scores, contacts = np.zeros((4, 4)), np.zeros((4, 4), bool)
    scores[0, 3], scores[0, 2], scores[1, 3] = 0.5, 0.5, 0.9
    contacts[1, 3] = contacts[0, 3] = True
    assert precision_at_length(scores, contacts, separation=2, share=0.5) == 0.5
    assert precision_at_length(scores, contacts, separation=2) == pytest.approx(2 / 3)
    assert precision_at_length(scores, contacts, np.array([True, True, False, True]), separation=2, share=0.5) == 1
    assert np.isnan(precision_at_length(scores, contacts, separation=4))
