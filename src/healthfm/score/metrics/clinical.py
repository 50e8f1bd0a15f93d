"""Generated reports against reference reports by what they say, for labellers whose weights the user supplies.

CheXbert-14 compares findings, RadGraph-F1 compares entities and relations. Their weights are not distributed here and nothing
stands in for them: without a labeller there is no number.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set

import numpy as np

from healthfm.errors import RunError
from healthfm.score.metrics import multilabel
from healthfm.score.metrics.arrays import Floats

CHEXBERT_14 = (
    "Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Opacity", "Lung Lesion", "Edema", "Consolidation", "Pneumonia",
    "Atelectasis", "Pneumothorax", "Pleural Effusion", "Pleural Other", "Fracture", "Support Devices", "No Finding",
)  # fmt: skip
Labeller = Callable[[Sequence[str]], Sequence[Set[str]]]  # texts to the findings each states as present
Parser = Callable[
    [Sequence[str]], Sequence[Set[tuple[str, ...]]]
]  # texts to the facts of each: (entity, label, relation ...)


def findings_f1(texts: Sequence[str], references: Sequence[str], labeller: Labeller | None) -> dict[str, float]:
    """Return micro and macro F1 of the 14 findings of CheXbert (Smit et al. 2020). Raises ``RunError`` without a labeller."""
    if labeller is None:
        raise RunError("CheXbert-14 needs the weights of CheXbert: give a labeller that maps texts to sets of findings")
    true, found = labeller(references), labeller(texts)
    cells = [[t & f, t - f, f - t] for t, f in zip(true, found, strict=True)]
    table = np.array([[sum(one in row[kind] for row in cells) for kind in range(3)] for one in CHEXBERT_14])
    return {"micro_f1": float(multilabel.micro_f1(table)), "macro_f1": float(multilabel.macro_f1(table))}


def graph_f1(texts: Sequence[str], references: Sequence[str], parser: Parser | None) -> Floats:
    """Return RadGraph-F1 of each report [n]: the F1 of the facts both state (Delbrouck et al. 2022), 0 where one states none.

    What a fact is, entity and label alone or with relations, is the parser's level of reward. Raises ``RunError`` without one.
    """
    if parser is None:
        raise RunError("RadGraph-F1 needs the weights of RadGraph: give a parser that maps texts to sets of facts")
    pairs = zip(parser(references), parser(texts), strict=True)
    return np.array([2 * len(t & f) / (len(t) + len(f)) if t and f else 0.0 for t, f in pairs])
