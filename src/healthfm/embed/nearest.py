"""An approximate index beside a folder of embeddings that is too large to look at every vector: usearch's graph of near neighbours.

The index and what is known of it (``FILES``) follow from the parts, and are made anew where those have changed. How many of the truly
nearest it finds is measured on vectors of the store itself, each left out of its own answer.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from healthfm.embed import stored
from healthfm.embed.plan import matrix
from healthfm.engine.store import RunFolder
from healthfm.errors import MissingExtra, RunError
from healthfm.models.model import Float32

FILES = ("nearest.usearch", "nearest.json")
SETTINGS = {"metric": "cos", "dtype": "f16", "connectivity": 16, "expansion_add": 128, "expansion_search": 128}
SAMPLE = 100  # vectors of the store that recall is measured on
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Near:
    """The ``rows`` that an index found, by the part that each is in, the vectors it holds, and its ``recall`` of as many as were asked for."""

    rows: dict[int, list[int]]
    vectors: int
    recall: float


def near(folder: RunFolder, parts: Sequence[int], rows: Sequence[int], query: Float32, top: int) -> Near:
    """Return the ``top`` rows of a store that its index finds nearest to a query of length 1. ``rows``: how many each part has.

    Raises ``MissingExtra``: no usearch; ``RunError``: the index cannot be written.
    """
    try:
        from usearch.index import Index
    except ImportError:
        raise MissingExtra("search", "usearch") from None
    store, digest = folder.path, digest_of(folder.path, parts)
    known = folder.read_json(FILES[1]) or {}
    starts = np.cumsum([0, *rows])
    if known.get("digest") != digest or not (store / FILES[0]).is_file():
        index = Index(ndim=len(query), **SETTINGS)
        for start, table in zip(starts, stored.parts(store, parts), strict=False):
            if table.num_rows:
                stored.alike(store, table, query[None])  # refuses vectors of other lengths than the query's
                index.add(start + np.arange(table.num_rows), matrix(table))
        try:
            index.save(str(store / f"{FILES[0]}.new"))
            (store / f"{FILES[0]}.new").replace(store / FILES[0])
        except (OSError, RuntimeError) as error:
            raise RunError(f"{store}: the index cannot be written beside the store ({type(error).__name__})") from None
        known = {"digest": digest, "vectors": len(index), "recall": {}}
    index = Index.restore(str(store / FILES[0]), view=True)
    index.expansion_search = SETTINGS["expansion_search"]  # no part of the file
    if str(top) not in known["recall"]:
        known["recall"][str(top)] = _recall(store, parts, starts, index, top)
        folder.write_json(FILES[1], known)
    found: dict[int, list[int]] = {}
    for key in np.sort(np.asarray(index.search(query, min(top, len(index))).keys, np.int64)):
        place = int(np.searchsorted(starts, key, side="right")) - 1
        found.setdefault(parts[place], []).append(int(key - starts[place]))
    return Near(found, known["vectors"], known["recall"][str(top)])


def digest_of(store: Path, parts: Sequence[int]) -> str:
    """Return what an index hangs on: what was asked of the run, the parts' files as they are now, and how the index is made."""
    files = [(one.name, one.stat().st_size, one.stat().st_mtime_ns) for one in (stored.path(store, n) for n in parts)]
    manifest = json.loads((store / "manifest.json").read_text(encoding="utf-8"))
    told = json.dumps([manifest.get("asked"), manifest.get("key"), files, SETTINGS], sort_keys=True)
    return hashlib.sha256(told.encode()).hexdigest()


def _recall(store: Path, parts: Sequence[int], starts: Ints, index: Any, top: int) -> float:
    """Return the share of the ``top`` nearest of vectors of the store, others than themselves, that the index finds."""
    keys = _sample(store, parts, starts)
    own, count = np.array(list(keys)), min(top + 1, len(index))
    made = [np.asarray(index.search(one, count).keys, np.int64) for one in keys.values()]
    best, which = np.zeros((len(own), 0), np.float32), np.zeros((len(own), 0), np.int64)
    asked = np.stack([one / np.linalg.norm(one) for one in keys.values()])
    for start, table in zip(starts, stored.parts(store, parts), strict=False):
        cosines = stored.alike(store, table, asked).T
        here = np.broadcast_to(start + np.arange(table.num_rows), cosines.shape)
        cosines = np.where(here == own[:, None], -np.inf, cosines)
        best, which = np.concatenate([best, cosines], 1), np.concatenate([which, here], 1)
        order = np.argsort(-best, 1, kind="stable")[:, :top]
        best, which = np.take_along_axis(best, order, 1), np.take_along_axis(which, order, 1)
    which = np.where(np.isfinite(best), which, -1)
    hits = [len(set(some[some != mine][:top]) & set(true)) for some, mine, true in zip(made, own, which, strict=True)]
    return sum(hits) / int((which >= 0).sum())


def _sample(store: Path, parts: Sequence[int], starts: Ints) -> dict[int, Float32]:
    """Return up to ``SAMPLE`` vectors of a store, from all over it, by their keys."""
    drawn = np.random.default_rng(0).choice(int(starts[-1]), min(2 * SAMPLE, int(starts[-1])), replace=False)
    found: dict[int, Float32] = {}
    tables: dict[int, pa.Table] = {}
    for key in drawn:
        place = int(np.searchsorted(starts, key, side="right")) - 1
        table = tables.setdefault(place, stored.part(store, parts[place]))
        row = int(key - starts[place])
        if row < table.num_rows and len(found) < SAMPLE:
            vector = matrix(table.slice(row, 1))[0]
            found |= {int(key): vector} if np.linalg.norm(vector) else {}
    return found
