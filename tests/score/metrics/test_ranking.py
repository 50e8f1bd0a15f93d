"""Metrics of ranked lists, by hand and beside scikit-learn's nDCG."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import ndcg_score

from healthfm.score.metrics.ranking import ndcg_at, recall_at, reciprocal_rank


def test_a_worked_example() -> None:
    """Relevant: b, d, x (never listed); found: a b c d."""
    ranking, relevant = ["a", "b", "c", "d"], ["b", "d", "x"]
    assert [recall_at(k, ranking, relevant) for k in (1, 2, 4, 10)] == pytest.approx([0, 1 / 3, 2 / 3, 2 / 3])
    assert reciprocal_rank(ranking, relevant) == 0.5
    best = 1 + 1 / math.log2(3) + 1 / 2
    assert ndcg_at(10, ranking, relevant) == pytest.approx((1 / math.log2(3) + 1 / math.log2(5)) / best)
    assert reciprocal_rank([], relevant) == recall_at(5, [], relevant) == ndcg_at(10, [], relevant) == 0


@given(st.integers(2, 20), st.data())
def test_ndcg_of_a_whole_ranking_equals_scikit_learns(n: int, data: st.DataObject) -> None:
    order = data.draw(st.permutations(range(n)))
    relevant = data.draw(st.sets(st.integers(0, n - 1), min_size=1))
    gains = np.array([[float(i in relevant) for i in range(n)]])
    scores = np.array([[float(n - order.index(i)) for i in range(n)]])
    found = ndcg_at(10, [str(i) for i in order], [str(i) for i in relevant])
    assert found == pytest.approx(ndcg_score(gains, scores, k=10))
