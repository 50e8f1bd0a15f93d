"""A set of matrices of cells as a set of cells: a record a cell, with one column of ``obs`` as its label, its donor as the unit and its batch as the site."""

from __future__ import annotations

import functools
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from healthfm.cards.schema import Labels
from healthfm.datasets.dataset import Dataset
from healthfm.datasets.splits import KEYS
from healthfm.errors import DatasetError
from healthfm.formats.source import Problems
from healthfm.records import MISSING, Cells, Profile

BLOCK = 256  # cells that are decoded together, and blocks that are kept
KEPT = 4
GENES = (
    "gene_name",
    "feature_name",
    "gene_symbols",
    "name",
    "_index",
    "index",
)  # where files name a gene, the surest first


def cellwise(opened: Dataset, label: str) -> Dataset:
    """Return the cells of every matrix, one record each, labelled by a column of ``obs``. Cells that are not primary data are left out.

    Raises ``DatasetError``: a record is no matrix of cells, or has no such column.
    """
    every = {
        split: [one for matrix in opened[split] for one in _cells(opened, matrix, label)] for split in opened.splits
    }  # type: ignore[arg-type]
    classes = sorted(
        {str(one.labels[label]) for some in every.values() for one in some if one.labels[label] is not MISSING}
    )
    space = Labels(name=label, kind="multi-class", classes=tuple(classes))
    card = opened.card.model_copy(update={"record": "Profile", "labels": (space,), "counts": {}})

    def read(split: str, problems: Problems) -> Iterator[Profile]:
        return iter(every[split])

    return Dataset(
        card, read, opened.splits, variant=opened.variant, protocol=opened.protocol, root=opened.root, split=opened.split, on_error=opened.on_error,
        path=opened.path, columns=opened.columns, remarks=[*opened.remarks, *opened.notices], doubt=opened.doubt, stated=opened.stated,
    )  # fmt: skip


def _cells(opened: Dataset, matrix: Cells, label: str) -> Iterator[Profile]:
    if not isinstance(matrix, Cells):
        raise DatasetError(f"{opened.name}: a {getattr(matrix, 'noun', 'record')} has no cells")
    if label not in matrix.obs_names:
        raise DatasetError(f"{matrix.id}: its obs has no column '{label}' (it has {', '.join(matrix.obs_names[:20])})")
    named = next((name for name in GENES if name in matrix.var_names), None)
    genes = tuple(map(str, matrix.var(named))) if named is not None else tuple(map(str, range(matrix.genes)))
    donor = next((name for name in KEYS["donor"] if name in matrix.obs_names), None)
    donors, labels = matrix.obs(donor) if donor else [None] * matrix.cells, matrix.obs(label)
    batch = next((name for name in KEYS["batch"] if name in matrix.obs_names and name != label), None)
    batches = matrix.obs(batch) if batch else [None] * matrix.cells
    primary = matrix.obs("is_primary_data") if "is_primary_data" in matrix.obs_names else [True] * matrix.cells

    @functools.lru_cache(KEPT)
    def block(number: int) -> npt.NDArray[np.float32]:
        return matrix.rows(number * BLOCK, min((number + 1) * BLOCK, matrix.cells))

    for i in range(matrix.cells):
        if str(primary[i]).lower() in ("true", "1"):
            whose = None if donors[i] is None else str(donors[i])
            yield Profile(
                id=f"{matrix.id}:{i}", split=matrix.split, patient=whose, site=None if batches[i] is None else str(batches[i]), features=genes, load=functools.partial(_row, block, i),
                labels={label: MISSING if labels[i] in (None, "") or labels[i] != labels[i] else str(labels[i])}, meta={"donor_id": whose, "matrix": matrix.id},
            )  # fmt: skip


def _row(block: functools._lru_cache_wrapper[npt.NDArray[np.float32]], i: int) -> npt.NDArray[np.float32]:
    return block(i // BLOCK)[i % BLOCK]
