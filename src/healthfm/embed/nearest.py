"""An approximate index beside a folder of embeddings that is too large to look at every vector: usearch's graph of near neighbours.

The index and what is known of it (``FILES``) follow from the parts, and are made anew where those have changed, or where they are not as they were written. How many of the truly
nearest it finds is measured on vectors of the store itself, each left out of its own answer.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

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
    """The ``rows`` that an index found, by the part that each is in, the vectors it holds, and its ``recall`` of as many as were asked for; ``notices`` of it."""

    rows: dict[int, list[int]]
    vectors: int
    recall: float
    notices: list[str]


def near(folder: RunFolder, parts: Sequence[int], rows: Sequence[int], query: Float32, top: int) -> Near:
    """Return the ``top`` rows of a store that its index finds nearest to a query of length 1. ``rows``: how many each part has.

    Raises ``MissingExtra``: no usearch; ``RunError``: the index cannot be written.
    """
    try:
        from usearch.index import Index
    except ImportError:
        raise MissingExtra("search", "usearch") from None
    store, digest = folder.path, digest_of(folder.path, parts)
    known, damaged = _known(folder)
    if not damaged and known.get("digest") == digest:
        index = _opened(Index, folder, known)
        damaged = index is None
    else:
        index = None
    starts = np.cumsum([0, *rows])
    if index is None:
        _build(Index, folder, parts, starts, query)
        index = Index.restore(str(store / FILES[0]), view=True)
        known = {"digest": digest, "vectors": len(index), "recall": {}, "file": _file(store / FILES[0])}
        folder.write_json(FILES[1], known)
    if index.ndim != len(query):
        raise stored.other_model(store, index.ndim, len(query))
    notices = ["the index beside the store was damaged or from elsewhere: it was built anew"] if damaged else []
    if not len(index):
        return Near({}, 0, 1.0, notices)
    index.expansion_search = SETTINGS["expansion_search"]  # no part of the file
    if str(top) not in known["recall"]:
        known["recall"][str(top)] = _recall(store, parts, starts, index, top)
        folder.write_json(FILES[1], known)
    found: dict[int, list[int]] = {}
    for key in np.sort(np.asarray(index.search(query, min(top, len(index))).keys, np.int64)):
        place = int(np.searchsorted(starts, key, side="right")) - 1
        found.setdefault(parts[place], []).append(int(key - starts[place]))
    return Near(found, known["vectors"], known["recall"][str(top)], notices)


def _known(folder: RunFolder) -> tuple[dict[str, Any], bool]:
    """Return what is known of an index, and whether that, or the index alone, is there but damaged."""
    try:
        known = folder.read_json(FILES[1])
    except RunError:
        return {}, True
    if known is None:
        return {}, (folder.path / FILES[0]).exists()
    file, recall = known.get("file"), known.get("recall")
    whole = (
        isinstance(known.get("digest"), str) and isinstance(known.get("vectors"), int)
        and isinstance(file, dict) and {"sha256", "stamp"} <= file.keys()
        and isinstance(recall, dict) and all(isinstance(one, float | int) and 0 <= one <= 1 for one in recall.values())
    )  # fmt: skip
    return (known, False) if whole else ({}, True)


def _opened(kind: Any, folder: RunFolder, known: dict[str, Any]) -> Any:
    """Return the index of a store, mapped; None where its file is not the one that was written. usearch may end the process on such a file."""
    path, file = folder.path / FILES[0], known["file"]
    try:
        if _stamp(path) != file["stamp"]:  # written to, or copied: read it all
            if _file(path)["sha256"] != file["sha256"]:
                return None
            known["file"] = _file(path)
            with contextlib.suppress(RunError):  # read it again next time
                folder.write_json(FILES[1], known)
        index = kind.restore(str(path), view=True)
    except (OSError, ValueError, RuntimeError):  # the last two: another version of usearch
        return None
    return index if index is not None and len(index) == known["vectors"] else None


def _stamp(path: Path) -> list[int]:
    """Return what differs where a file was written to: its size, and when it and what is known of it changed."""
    told = path.stat()
    return [told.st_size, told.st_mtime_ns, told.st_ctime_ns]


def _file(path: Path) -> dict[str, Any]:
    """Return the stamp and the digest of a file."""
    with path.open("rb") as stream:
        return {"stamp": _stamp(path), "sha256": hashlib.file_digest(stream, "sha256").hexdigest()}


def _build(kind: Any, folder: RunFolder, parts: Sequence[int], starts: Ints, query: Float32) -> None:
    """Write the index of a store beside it."""
    store = folder.path
    index = kind(ndim=len(query), **SETTINGS)
    for start, table in zip(starts, stored.parts(store, parts), strict=False):
        if table.num_rows:
            stored.alike(store, table, query[None])  # refuses vectors of other lengths than the query's
            index.add(start + np.arange(table.num_rows), matrix(table))
    draft = store / f".{FILES[0]}.{os.getpid()}"  # two may build at once
    try:
        index.save(str(draft))
        draft.replace(store / FILES[0])
    except (OSError, RuntimeError) as error:
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)
        raise RunError(f"{store}: the index cannot be written beside the store ({type(error).__name__})") from None


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
    places = np.searchsorted(starts, drawn, side="right") - 1
    found: dict[int, Float32] = {}
    for place in np.unique(places):
        table = stored.part(store, parts[place])
        for row, key in ((int(key - starts[place]), int(key)) for key in drawn[places == place]):
            if row < table.num_rows and np.any(vector := matrix(table.slice(row, 1))[0]):
                found[key] = vector
    return {int(key): found[int(key)] for key in [one for one in drawn if int(one) in found][:SAMPLE]}
