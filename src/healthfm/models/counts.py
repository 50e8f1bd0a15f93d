"""The baseline without weights: how often each code stands in a timeline. What it knows, a classifier on the counts learns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow.compute as pc

from healthfm.cards.schema import ModelCard
from healthfm.models.model import Float32, Model
from healthfm.records import Timeline


class Counts(Model):
    """Counts of codes as vectors. The columns of ``embed`` are the codes of the items it is given, sorted."""

    capabilities = frozenset({"embed"})
    takes = (Timeline,)

    def __init__(self, card: ModelCard) -> None:
        super().__init__(card)
        self.provenance = {"weights": "none", "device": "cpu", "dtype": "float32"}

    def embed(self, items: Sequence[Any], output: str = "pooled", batch_size: int | str = "auto") -> Float32:
        """Return how often each code stands in each timeline, float32 [n, codes]."""
        if output != "pooled":
            raise self._cannot(f"embed as {output}")
        counted = [pc.value_counts(item.events["code"]).to_pylist() for item in items]
        codes = sorted({one["values"] for some in counted for one in some})
        place = {code: i for i, code in enumerate(codes)}
        found = np.zeros((len(items), len(codes)), np.float32)
        for row, some in enumerate(counted):
            for one in some:
                found[row, place[one["values"]]] = one["counts"]
        return found
