"""Jobs whose parts are embeddings: of a model's ``Embedder``, made and checked once a run."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import pyarrow as pa

from healthfm.evaluate.job import SETTLED, Job
from healthfm.models.model import Model
from healthfm.records import Record

if TYPE_CHECKING:
    from healthfm.embed.embedder import Embedder


@dataclass(frozen=True, kw_only=True)
class Embedded(Job):
    """``inputs``: what is embedded, a row each; ``sources``: the identities of those that are files."""

    inputs: Sequence[str | Record]
    sources: Sequence[str] | None = None
    room: str = "embeddings"
    whole: ClassVar[bool] = True

    def tool(self, model: Model, settled: Mapping[str, Any] | None) -> Embedder:
        from healthfm.embed.embedder import Embedder  # needs torch, which statistics alone do not

        return Embedder(model, settled=(settled or {}).get("arithmetic"))

    def compute(self, tool: Embedder, rows: range) -> pa.Table:
        """Return embeddings, a row each, with what a report says of them. Raises ``RunError``: NaN, or another number of vectors."""
        from healthfm.models.vision.transform import is_square  # needs Pillow

        part = slice(rows.start, rows.stop)
        units = tool.units(self.inputs[part], self.sources[part] if self.sources is not None else None)
        return settle(tool, pa.table({
            "embedding": pa.array([unit.vector for unit in units], pa.list_(pa.float32())),
            "content": pa.array([unit.source or None for unit in units], pa.string()),
            "input": pa.array([unit.seen or None for unit in units], pa.string()),
            "blank": pa.array([unit.blank for unit in units], pa.bool_()), "cut": pa.array([unit.cut for unit in units], pa.bool_()),
            "ratio": pa.array([None if is_square(unit.ratio) else unit.ratio for unit in units], pa.float64()),
            "notices": pa.array([list(unit.notices) for unit in units], pa.list_(pa.string())),
        }))  # fmt: skip


def settle(embedder: Embedder, table: pa.Table, more: Mapping[str, Any] | None = None) -> pa.Table:
    """Return a part that says which arithmetic made it, where any did, and ``more`` that holds for all parts."""
    facts = embedder.facts
    return (
        table.replace_schema_metadata({SETTLED: json.dumps({"arithmetic": facts, **(more or {})})}) if facts else table
    )


def said(table: pa.Table, ids: Sequence[str]) -> dict[str, Any]:
    """Return what a report says of embeddings: the volumes that show nothing, and how many texts were cut, if any."""
    blank = sorted({one for one, empty in zip(ids, table["blank"].to_pylist(), strict=True) if empty})
    cut = sum(table["cut"].to_pylist())
    return {
        "blank": blank, "squared": squared_among(ids, table), "said": said_among(ids, table), **({"cut": cut} if cut else {}),
    }  # fmt: skip


def squared_among(ids: Sequence[str], table: pa.Table) -> dict[str, float]:
    """Return, by id, the height over width of the pixels that were made square before a network saw them."""
    return {one: ratio for one, ratio in zip(ids, table["ratio"].to_pylist(), strict=True) if ratio is not None}


def said_among(ids: Sequence[str], table: pa.Table) -> dict[str, list[str]]:
    """Return what was said while contents were decoded, each with the ids it holds for."""
    found: dict[str, dict[str, None]] = {}
    for one, notices in zip(ids, table["notices"].to_pylist(), strict=True):
        for notice in notices or ():
            found.setdefault(notice, {})[one] = None
    return {notice: list(names) for notice, names in found.items()}
