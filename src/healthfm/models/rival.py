"""A cheap rival as a model: it has no weights, and what it looks at is fitted by the evaluation itself."""

from __future__ import annotations

from healthfm.cards.schema import ModelCard
from healthfm.models.model import Model


class Rival(Model):
    """What ``baseline:NAME`` loads. It has the verb that fitted tasks need; those know it, and no vectors are asked of it."""

    capabilities = frozenset({"embed"})

    def __init__(self, card: ModelCard) -> None:
        super().__init__(card)
        self.provenance = {"weights": "none", "device": "cpu", "dtype": "float32"}
