"""What a card may say. A card is data: one TOML file a row, validated here, with errors that name file and field.

Facts carry where they come from. ``checked`` says how well: ``read`` (seen at the source named), ``run``
(executed by us), ``unverified`` (from memory or second hand: repeat it only with that word beside it).
"""

from healthfm.cards.schema.common import Card, Listing, Variant
from healthfm.cards.schema.dataset import DatasetCard, Download, Labels, Naming, OfficialFile, Protocol
from healthfm.cards.schema.evaluation import Evaluation, Lesions
from healthfm.cards.schema.model import (
    Decoding,
    Exposure,
    ModelCard,
    Prompt,
    Recipe,
    Result,
    Weights,
)
from healthfm.cards.schema.runner import FAMILIES, Part, Projection, Runner, Tokenizer, Transform, ZeroShot

__all__ = [
    "FAMILIES", "Card", "DatasetCard", "Decoding", "Download", "Evaluation", "Exposure", "Labels", "Lesions", "Listing", "ModelCard", "Naming", "OfficialFile", "Part", "Projection",
    "Prompt", "Protocol", "Recipe", "Result", "Runner", "Tokenizer", "Transform", "Variant", "Weights", "ZeroShot",
]  # fmt: skip
