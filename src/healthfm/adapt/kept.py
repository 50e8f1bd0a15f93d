"""What was fitted in this process is not fitted again: the models of a study meet the same rivals, fitted on the same split."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from healthfm.adapt.probe import choose_penalty, fit_penalised

MOST = 8  # of classifiers, the last ones
LARGEST = 2**24  # bytes of coefficients of one that is kept
TERMS = 50_000
_FITTED: OrderedDict[bytes, LogisticRegression] = OrderedDict()


def classifier(
    x: Any, y: npt.NDArray[Any], groups: Sequence[str], seed: int, penalties: Sequence[float]
) -> LogisticRegression:
    """Return the logistic regression of features [n, d] (dense or sparse), its penalty chosen on a fifth of the groups."""
    key = _key(x, y, groups, seed, penalties)
    if key in _FITTED:
        _FITTED.move_to_end(key)
        return _FITTED[key]
    fitted = fit_penalised(x, y, choose_penalty(x, y, groups, seed, penalties=penalties))
    if fitted.coef_.nbytes <= LARGEST:
        _FITTED[key] = fitted
        if len(_FITTED) > MOST:
            _FITTED.popitem(last=False)
    return fitted


def _key(x: Any, y: npt.NDArray[Any], groups: Sequence[str], seed: int, penalties: Sequence[float]) -> bytes:
    """Return a digest of everything that decides what is fitted."""
    found = hashlib.blake2b(digest_size=16)
    arrays = (x.data, x.indices, x.indptr, y) if sparse.issparse(x) else (np.ascontiguousarray(x), y)
    for one in arrays:
        found.update(f"{one.dtype} {one.shape} ".encode())
        found.update(np.ascontiguousarray(one).data)
    found.update(repr((x.shape, list(groups), seed, tuple(penalties))).encode())
    return found.digest()


@lru_cache(maxsize=2)
def terms(texts: tuple[str, ...]) -> tuple[TfidfVectorizer | None, Any]:
    """Return TF-IDF of words and pairs of words, fitted on texts, and their matrix, sparse [n, terms]; None where there is not one word."""
    made = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, max_features=TERMS, token_pattern=r"(?u)\b\w+\b")
    try:
        return made, made.fit_transform(texts)
    except ValueError:
        return None, sparse.csr_matrix((len(texts), 1))
