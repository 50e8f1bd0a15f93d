"""What a card may say. A card is data: one TOML file a row, validated here, with errors that name file and field.

Facts carry where they come from. ``checked`` says how well: ``read`` (seen at the source named), ``run``
(executed by us), ``unverified`` (from memory or second hand: repeat it only with that word beside it).
"""

from healthfm.cards.schema.common import Card, Listing, Variant
from healthfm.cards.schema.dataset import DatasetCard, Labels, OfficialFile, Protocol
from healthfm.cards.schema.model import (
    Decoding,
    Exposure,
    ModelCard,
    Prompt,
    Recipe,
    Result,
    Runner,
    Transform,
    Weights,
)

__all__ = [
    "Card", "DatasetCard", "Decoding", "Exposure", "Labels", "Listing", "ModelCard", "OfficialFile", "Prompt", "Protocol", "Recipe", "Result",
    "Runner", "Transform", "Variant", "Weights",
]  # fmt: skip
