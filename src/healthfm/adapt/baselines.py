"""Cheap rivals that a model must beat: each is one declaration, of the kinds of records it takes and the features it sees of them.

A rival is a logistic regression on these features, or a forest; of numbers a ridge regression, or a forest. It sees the records to fit on with their classes, and of those to predict the content alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.preprocessing import StandardScaler, normalize

from healthfm.adapt import features, kept
from healthfm.adapt.glimpses import PICTURED, SIDE, seen
from healthfm.adapt.probe import fit_penalised, fit_ridge
from healthfm.datasets.splits import key_of
from healthfm.records import QA, Document, Molecule, MultipleChoice, Profile, Record, Signal, Volume
from healthfm.records import Sequence as Letters

Array = npt.NDArray[Any]
COMPONENTS = 32
DENSE = tuple(10.0**e for e in range(-4, 2))  # scikit-learn's C, to choose among
SPARSE = (1.0, 10.0, 100.0)
BLOCK = 500  # questions whose likeness to all others is held at a time
TREES = 100
_WORD = re.compile(r"\w+")


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """A rival. ``kinds``: the records it takes. ``features``: of records, those to fit on first, and the number of these, to a matrix [n, d]
    of which nothing but those rows decided what its columns are. ``sees``: whether a record has what it looks at; all must, or ``some``. ``drawn``: it decodes
    pixels, so that fewer are a minute's work. ``looks``: at what a record holds, not at what stands beside it. ``forest``: a random forest
    learns of them.
    """

    name: str
    says: str
    kinds: tuple[type[Record], ...]
    features: Callable[[Sequence[Record], int], Any]
    sees: Callable[[Record], bool] = lambda record: True
    some: bool = False
    drawn: bool = False
    looks: bool = True
    forest: bool = False

    def saying(self, numbers: bool) -> str:
        """Return what it is in words, where ``numbers`` are what it predicts."""
        return self.says.replace("logistic", "ridge") if numbers else self.says

    def fits(self, records: Sequence[Record]) -> bool:
        """Whether it can look at these records."""
        told = (any if self.some else all)(self.sees(record) for record in records)
        return told and all(isinstance(record, self.kinds) for record in records)


def words(records: Sequence[Record], count: int) -> Any:
    """Return TF-IDF of words and pairs of words of the whole text, sparse [n, terms]."""
    return _tf_idf([record.as_text for record in records], count)


def question(records: Sequence[Record], count: int) -> Any:
    """Return the same of the question alone, without its context."""
    return _tf_idf([getattr(record, "question", "") for record in records], count)


def _tf_idf(texts: Sequence[str], count: int) -> Any:
    made, fitted = kept.terms(tuple(texts[:count]))
    rest = sparse.csr_matrix((len(texts) - count, 1)) if made is None else made.transform(texts[count:])
    return sparse.vstack([fitted, rest]).tocsr()


def colour(records: Sequence[Record], count: int) -> Any:
    """Return the mean and the spread of each channel, [n, 6]."""
    return np.stack([one.spread for one in seen(records)])


def thumbnail(records: Sequence[Record], count: int) -> Any:
    """Return a tiny copy of the picture, [n, 192]; of a volume [n, 512]."""
    return np.stack([one.small.ravel() for one in seen(records)])


def components(records: Sequence[Record], count: int) -> Any:
    """Return the principal components of a small copy, found on those to fit on, [n, 32]."""
    rows = np.stack([one.detailed.ravel() for one in seen(records)])
    size = min(COMPONENTS, count - 1, rows.shape[1])
    made = PCA(size, svd_solver="full" if count < 500 else "randomized", random_state=0)
    with np.errstate(invalid="ignore"):  # pictures that are all alike have no variance to share out
        return made.fit(rows[:count]).transform(rows)


def site(records: Sequence[Record], count: int) -> Any:
    """Return which site a record is from, [n, sites]; one that none to fit on has is none of them."""
    known = sorted({str(record.site) for record in records[:count]})
    return np.array([[float(str(record.site) == one) for one in known] for record in records])


def values(records: Sequence[Record], count: int) -> Any:
    """Return mean, spread and quantiles of a volume's values, [n, 7]."""
    return np.stack([one.values for one in seen(records)])


def size(records: Sequence[Record], count: int) -> Any:
    """Return how large a volume is, and its voxels, [n, 6]."""
    return np.stack([one.size for one in seen(records)])


BASELINES = (
    Baseline(
        name="words", says="logistic regression on words (TF-IDF)", kinds=(Document, QA, MultipleChoice), features=words,
    ),
    Baseline(
        name="question-only", says="logistic regression on the question's words (TF-IDF), without its context", kinds=(QA, MultipleChoice),
        features=question, sees=lambda record: bool(getattr(record, "context", "")), some=True,
    ),
    Baseline(name="mean-colour", says="logistic regression on mean colour", kinds=PICTURED, features=colour, drawn=True),
    Baseline(name="thumbnail", says=f"logistic regression on a thumbnail of {SIDE} x {SIDE}", kinds=PICTURED, features=thumbnail, drawn=True),
    Baseline(
        name="pixels-pca", says=f"logistic regression on {COMPONENTS} principal components of pixels", kinds=PICTURED, features=components, drawn=True,
    ),
    Baseline(
        name="values", says="logistic regression on mean, spread and quantiles of the voxels' values", kinds=(Volume,), features=values, drawn=True,
    ),
    Baseline(name="thumbnail", says=f"logistic regression on a copy of {SIDE} x {SIDE} x {SIDE}", kinds=(Volume,), features=thumbnail, drawn=True),
    Baseline(name="size", says="logistic regression on the size of the volume and of its voxels", kinds=(Volume,), features=size, drawn=True),
    Baseline(name="ecfp", says="a random forest on Morgan fingerprints (ECFP4, 2048 bits)", kinds=(Molecule,), features=features.ecfp, forest=True),
    Baseline(name="leads", says="logistic regression on plain statistics of each lead", kinds=(Signal,), features=features.leads),
    Baseline(
        name="variable-pca", says=f"logistic regression on {features.COMPONENTS} principal components of the {features.VARIABLE:,} most variable features",
        kinds=(Profile,), features=features.variable_components, sees=features.no_answer_among,
    ),
    Baseline(
        name="drug-and-line", says="ridge regression on which drug and which cell line it is", kinds=(Profile,), features=features.drug_and_line,
        sees=lambda record: key_of(record, "drug") is not None, looks=False,
    ),
    Baseline(name="letters", says="logistic regression on the share of each letter and the length", kinds=(Letters,), features=features.letters),
    Baseline(name="site", says="logistic regression on the site alone", kinds=(Record,), features=site, looks=False, sees=lambda record: record.site is not None),
)  # fmt: skip
NAMES = tuple(dict.fromkeys(one.name for one in BASELINES))


def named(name: str, records: Sequence[Record]) -> Baseline | None:
    """Return the rival of this name that can look at these records, or else None."""
    return next((one for one in BASELINES if one.name == name and one.fits(records)), None)


def predict(
    baseline: Baseline, fit: Sequence[Record], labels: Sequence[Any], records: Sequence[Record], classes: Sequence[str], groups: Sequence[str], seed: int,
    unknown: Sequence[Collection[str]] = (),
) -> Array:  # fmt: skip
    """Return a rival's probabilities of each class, float64 [n, classes]; of numbers its predictions, [n, 1].

    ``labels``: a class of each record to fit on, the set of them, or a number; ``unknown``: of sets, the classes of each record that nobody
    looked for, from which nothing is learnt. ``groups`` are the patients to fit on, a fifth of whom chooses the penalty. Raises ``HealthfmError``: a
    picture that cannot be decoded.
    """
    matrix = baseline.features([*fit, *records], len(fit))
    thin = sparse.issparse(matrix) or baseline.forest
    scaler = StandardScaler(with_mean=not thin).fit(matrix[: len(fit)]) if not thin else None
    x = matrix if scaler is None else scaler.transform(matrix)
    train, test, penalties = x[: len(fit)], x[len(fit) :], SPARSE if thin else DENSE
    learn = _forest if baseline.forest else partial(_fitted, penalties=penalties)
    if isinstance(labels[0], float):
        return _numbers(baseline.forest, train, np.array(labels), groups, seed).predict(test).reshape(-1, 1)
    found = np.zeros((len(records), len(classes)))
    if isinstance(labels[0], str):
        place = {name: i for i, name in enumerate(classes)}
        fitted, columns = learn(train, np.array([place[one] for one in labels]), groups, seed)
        found[:, columns] = fitted.predict_proba(test)
        return found
    for column, name in enumerate(classes):
        known = [i for i in range(len(fit)) if not unknown or name not in unknown[i]]
        y = np.array([int(name in labels[i]) for i in known])
        if len(set(y.tolist())) < 2:
            found[:, column] = y.mean() if len(y) else 0.5
            continue
        found[:, column] = learn(train[known], y, [groups[i] for i in known], seed)[0].predict_proba(test)[:, 1]
    return found


def _fitted(x: Any, y: Array, groups: Sequence[str], seed: int, penalties: Sequence[float]) -> tuple[Any, Array]:
    fitted = kept.classifier(x, y, groups, seed, penalties)
    return fitted, fitted.classes_


def _forest(x: Any, y: Array, groups: Sequence[str], seed: int) -> tuple[Any, Array]:
    fitted = RandomForestClassifier(TREES, random_state=seed).fit(x, y)
    return fitted, fitted.classes_


def _numbers(forest: bool, x: Any, y: Array, groups: Sequence[str], seed: int) -> Any:
    """Return what predicts numbers: a forest, or a ridge regression."""
    if forest:
        return RandomForestRegressor(TREES, max_features=1 / 3, random_state=seed).fit(x, y)
    return fit_ridge(x, y, groups, seed)[0]


def options_only(fit: Sequence[MultipleChoice], records: Sequence[MultipleChoice]) -> list[Array]:
    """Return probabilities of each record's options, by their words, lengths and what they share with the question: no knowledge is needed."""
    every = [*fit, *records]
    texts = [one for record in every for one in record.options.values()]
    owner = np.repeat(np.arange(len(every)), [len(record.options) for record in every])
    count = int((owner < len(fit)).sum())
    made = TfidfVectorizer(sublinear_tf=True, max_features=kept.TERMS, token_pattern=r"(?u)\b\w+\b")
    try:
        made.fit([*texts[:count], *(record.as_text for record in fit)])
        seen, asked = made.transform(texts), made.transform([record.as_text for record in every])
    except ValueError:  # not one word
        seen, asked = sparse.csr_matrix((len(texts), 1)), sparse.csr_matrix((len(every), 1))
    length = np.array([len(one) for one in texts], float)
    of_each = np.split(length, np.cumsum([len(record.options) for record in every])[:-1])
    ranks = np.concatenate([(one[None] <= one[:, None]).mean(axis=1) for one in of_each])
    shared = np.asarray(seen.multiply(asked[owner]).sum(axis=1)).ravel()
    x = sparse.hstack([seen, np.stack([ranks, shared, np.log1p(length)], axis=1)]).tocsr()
    right = np.array([record.answer == key for record in fit for key in record.options], int)
    odds = fit_penalised(x[:count], right, 1.0).decision_function(x[count:])
    bounds = np.cumsum([len(record.options) for record in records])[:-1]
    return [np.exp(one - one.max()) / np.exp(one - one.max()).sum() for one in np.split(odds, bounds)]


def nearest(fit: Sequence[QA], records: Sequence[QA]) -> list[str]:
    """Return for each question the answer of the one most like it of those to fit on, by the cosine of TF-IDF of words."""
    best = ranked([one.as_text for one in fit], [one.as_text for one in records], 1)
    return [fit[row[0]].answers[0] for row in best]


def sentence(record: QA) -> str:
    """Return the sentence of the context that shares most words with the question (the first of equals); the question itself where there is no context."""
    parts = [one for one in re.split(r"(?<=[.!?。！？])\s*", record.context or "") if one.strip()]
    return parts[closest(record.question, parts)] if parts else record.question


def closest(question: str, parts: Sequence[str]) -> int:
    """Return which of some texts shares most words with a question, the first of equals."""
    asked = set(_WORD.findall(question.lower()))
    return max(range(len(parts)), key=lambda i: len(asked & set(_WORD.findall(str(parts[i]).lower()))))


def ranked(passages: Sequence[str], questions: Sequence[str], depth: int) -> list[list[int]]:
    """Return for each question the places of the passages most like it, best first (of equals the earlier), by the cosine of TF-IDF of words."""
    matrix = normalize(_tf_idf([*passages, *questions], len(passages))).tocsr()
    known, found = matrix[: len(passages)].T.tocsc(), []
    for start in range(len(passages), matrix.shape[0], BLOCK):
        likeness = (matrix[start : min(start + BLOCK, matrix.shape[0])] @ known).toarray()
        found += np.argsort(-likeness, axis=1, kind="stable")[:, :depth].tolist()
    return found


def overlap(a: str, b: str) -> float:
    """Return the share of words of two texts that both have (Jaccard)."""
    one, two = (set(_WORD.findall(text.lower())) for text in (a, b))
    return len(one & two) / max(len(one | two), 1)
