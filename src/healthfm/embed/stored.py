"""What a folder of embeddings holds, part by part: rows that have a vector, and how like vectors they are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from healthfm.embed.plan import ROOM, matrix
from healthfm.engine.pipeline import ordered
from healthfm.errors import RunError
from healthfm.models.model import Float32

READERS = 4
COLUMNS = ["id", "number", "x", "y", "embedding", "problem"]


def path(store: Path, number: int) -> Path:
    """Return the file of a part."""
    return store / ROOM / f"part-{number:05d}.parquet"


def parts(store: Path, numbers: Sequence[int]) -> Iterator[pa.Table]:
    """Yield the rows of parts that have a vector, in order; files are mapped. Raises ``RunError``: one is damaged."""
    return ordered(lambda number: part(store, number), numbers, READERS, 2 * READERS)


def part(store: Path, number: int) -> pa.Table:
    """Return the rows of one part that have a vector (see ``parts``)."""
    try:
        table = pq.read_table(path(store, number), columns=COLUMNS, memory_map=True)
    except (pa.ArrowException, OSError) as error:
        raise damaged(store, error) from None
    if not pa.types.is_list(table.schema.field("embedding").type):
        raise RunError(
            f"{store / ROOM}: a part is not as healthfm embed writes it (its vectors are no lists of numbers)"
        )
    table = table.filter(pa.compute.is_null(table["problem"]))
    if len(pa.compute.list_value_length(table["embedding"]).unique()) > 1 or table["embedding"].null_count:
        raise RunError(
            f"{store / ROOM}: a part is not as healthfm embed writes it (its vectors are of several lengths)"
        )
    return table


def counts(store: Path, numbers: Sequence[int]) -> list[int]:
    """Return how many rows each part has, with those without a vector; no vector is read."""
    try:
        return [pq.read_metadata(path(store, number)).num_rows for number in numbers]
    except (pa.ArrowException, OSError) as error:
        raise damaged(store, error) from None


def damaged(store: Path, error: Exception) -> RunError:
    """Return what is to be said of a part that cannot be read."""
    return RunError(f"{store / ROOM}: a part is damaged ({type(error).__name__})")


def other_model(store: Path, theirs: int, own: int) -> RunError:
    """Return what is to be said of a store whose vectors have other numbers than the query's."""
    return RunError(f"{store}: its vectors have {theirs} numbers, the query's {own}: it was made by another model")


def alike(store: Path, table: pa.Table, queries: Float32) -> Float32:
    """Return the cosines [rows, n] of a part's vectors to ``queries`` [n, d] of length 1. Raises ``RunError``: other numbers a vector, or not finite."""
    if not table.num_rows:
        return np.zeros((0, len(queries)), np.float32)
    vectors = matrix(table)
    if vectors.shape[1] != queries.shape[1]:
        raise other_model(store, vectors.shape[1], queries.shape[1])
    with np.errstate(over="ignore", invalid="ignore"):
        lengths = np.linalg.norm(vectors, axis=1)
    if not np.isfinite(lengths).all():
        raise RunError(
            f"{store / ROOM}: vectors that are not finite, which healthfm embed never writes: make the store anew"
        )
    found: Float32 = (vectors @ queries.T) / np.maximum(lengths, np.finfo(np.float32).tiny)[:, None]
    return found
