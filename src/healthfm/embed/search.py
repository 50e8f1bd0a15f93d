"""What in a folder of embeddings is most like a text or a picture: every vector is looked at, or, of more than ``EXACT``, an index asked."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from healthfm.embed import engines, nearest, stored
from healthfm.embed.embedder import Embedder
from healthfm.embed.items import TEXTS, of_file
from healthfm.embed.key import key_of
from healthfm.embed.plan import ROOM
from healthfm.embed.run import FORMAT
from healthfm.engine.store import RunFolder
from healthfm.errors import CapabilityError, RunError
from healthfm.formats import image
from healthfm.models.model import Float32, Model
from healthfm.records import Slide, TextRecord, Visual

SAME = ("model", "weights", "settings")  # what of a key makes vectors comparable; the rest is how they were computed
EXACT = 1_000_000  # vectors up to which all are compared
LONG = 1_000  # letters that no path has


@dataclass(frozen=True)
class Hit:
    """A vector that was found: the ``id`` of its item, its ``number`` in it and, of a slide's tile, where that lies; its ``cosine`` to the query."""

    rank: int
    id: str
    number: int
    x: int | None
    y: int | None
    cosine: float

    def asdict(self) -> dict[str, Any]:
        """Return it as plain data."""
        return asdict(self)


@dataclass(frozen=True)
class Found:
    """The ``hits`` of a search, the most alike first (of equals the earlier), among ``vectors`` of a store; ``notices`` of the query.

    ``recall``: the share of the truly nearest that an approximate index finds on this store; None where every vector was compared.
    """

    hits: list[Hit]
    vectors: int
    notices: list[str]
    recall: float | None = None


def made_by(store: Path) -> str:
    """Return the name of the model that made a store. Raises ``RunError``: no store."""
    return str(_manifest(store)["asked"]["model"])


def search(store: Path, query: str | Path, model: Model, top: int = 10) -> Found:
    """Return what a store holds that is most like a text, or a picture's file (a ``Path``), by the cosine of ``model``'s vectors.

    Every vector is compared; parts are read as they are needed, so that memory does not grow with the store. Of more than ``EXACT`` vectors an
    index is asked (``nearest``), which is built beside the store the first time. Raises ``RunError``: no store, one of another model, an
    empty query; ``CapabilityError``: the model does not take such a query; ``MissingExtra``: no package for such an index.
    """
    if top < 1:
        raise RunError(f"top is {top}; it must be 1 or more")
    manifest = _manifest(store)
    vector, notices = _query(query, model)
    _refuse_others(store, manifest, model)
    folder = RunFolder(store, ROOM)
    parts = sorted(folder.published(ROOM))
    best, recall, rows = _Best(top), None, stored.counts(store, parts)
    if sum(rows) > EXACT:
        found = nearest.near(folder, parts, rows, vector, top)
        for number, some in found.rows.items():
            table = stored.part(store, number).take(some)
            best.take(stored.alike(store, table, vector[None])[:, 0], table)
        best.seen, recall = found.vectors, found.recall
        notices += found.notices
    else:
        for table in stored.parts(store, parts):
            best.take(stored.alike(store, table, vector[None])[:, 0], table)
    if not manifest.get("finished"):
        notices.append("the store is unfinished: what it has so far was searched")
    if not best.seen:
        notices.append("the store holds no vectors")
    return Found(best.hits(), best.seen, notices, recall)


def is_picture(word: str) -> bool:
    """Say whether a word names a picture's file: it is one that is there, or ends as pictures do."""
    return Path(word).suffix.lower() in image.SUFFIXES or (
        len(word) < LONG and "\n" not in word and Path(word).is_file()
    )


def _manifest(store: Path) -> dict[str, Any]:
    try:
        found = RunFolder(store, ROOM).read_json("manifest.json")
    except RunError:
        why = "its manifest.json is damaged or cannot be read" if store.is_dir() else "no folder"
        raise RunError(f"{store}: {why}; a store is a folder that healthfm embed made") from None
    asked = (found or {}).get("asked")
    if found is None or found.get("format") != FORMAT or not isinstance(asked, dict) or "model" not in asked:
        raise RunError(f"{store}: no embeddings of healthfm embed (no manifest.json that says so)")
    return found


def _refuse_others(store: Path, manifest: dict[str, Any], model: Model) -> None:
    """Raise ``RunError`` where a store's vectors are not the model's."""
    theirs, mine = manifest.get("key"), key_of(model, engines.choose(model))
    own = manifest["asked"]["model"]
    if theirs is None or mine is None:
        if own != model.name:
            raise RunError(f"{store}: was made by {own}, not by {model.name}: vectors of two models cannot be compared")
        return
    for name in SAME:
        if theirs[name] != mine[name]:
            what = {
                "model": f"by {own}",
                "weights": f"with other weights of {own}",
                "settings": f"by {own} with other settings (its transform, say)",
            }[name]
            raise RunError(
                f"{store}: was made {what}, not as {model.name} is loaded here ({model.provenance.get('weights')}): such vectors cannot be compared"
            )


def _query(query: str | Path, model: Model) -> tuple[Float32, list[str]]:
    """Return the vector of length 1 of a text or of a picture's file."""
    takes = (Visual, "pictures") if isinstance(query, Path) else (TextRecord, "texts")
    if model.takes and not any(issubclass(kind, takes[0]) for kind in model.takes):
        other = "texts: give words" if isinstance(query, Path) else "pictures: give the file of one"
        raise CapabilityError(f"{model.name} reads no {takes[1]}, only {other}")
    content: Any = query
    if isinstance(query, Path):
        if not query.is_file():
            raise RunError(f"no file {query}")
        content = of_file(query, query.as_posix()).content
        if isinstance(content, Slide):
            raise RunError(f"{query}: a slide is many pictures, and a query is one")
        if query.suffix.lower() in TEXTS:
            raise RunError(f"{query}: a file of text, and a query is words or the file of a picture: give its words")
    elif not query.strip():
        raise RunError("the query is empty: give words, or the file of a picture")
    elif "/" in query and len(query) < LONG and "\n" not in query and Path(query).is_dir():
        raise RunError(f"{query}: a folder, and a query is words or the file of a picture")
    unit = Embedder(model).units([content])[0]
    assert unit.vector is not None
    cut = ["the text is longer than the model reads: its end is not in its vector"] if unit.cut else []
    length = float(np.linalg.norm(unit.vector))
    if not length:
        raise RunError("the query's vector is zero: it is like nothing")
    return unit.vector / length, [*cut, *unit.notices]


class _Best:
    """The most alike so far."""

    def __init__(self, top: int) -> None:
        self.top, self.seen = top, 0
        self.cosines = np.zeros(0, np.float32)
        self.rows: list[dict[str, Any]] = []

    def take(self, cosines: Float32, part: pa.Table) -> None:
        """Look at a part's cosines."""
        self.seen += len(cosines)
        least = self.cosines[-1] if len(self.rows) == self.top else -np.inf
        some = np.flatnonzero(cosines > least)
        some = some[np.argsort(-cosines[some], kind="stable")][: self.top]
        rows = [*self.rows, *part.select(stored.COLUMNS[:4]).take(some).to_pylist()]
        both = np.concatenate([self.cosines, cosines[some]])
        order = np.argsort(-both, kind="stable")[: self.top]
        self.cosines, self.rows = both[order], [rows[i] for i in order]

    def hits(self) -> list[Hit]:
        """Return them with their ranks."""
        return [
            Hit(rank=i, cosine=float(one), **row)
            for i, (one, row) in enumerate(zip(self.cosines, self.rows, strict=True), 1)
        ]
