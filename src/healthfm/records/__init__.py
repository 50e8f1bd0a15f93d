"""The nouns of data: frozen records that flow from readers to models and metrics, one module a noun.

Every record has an ``id`` that is unique in its dataset and the ``patient`` that must never straddle a split.
A label is a class name, a number, a set of names, ``MISSING`` or ``UNCERTAIN``; the owner's raw value stays in ``meta``.
"""

from __future__ import annotations

from collections.abc import Mapping

from healthfm.records.pixels import Box, Image, Polygon, Pyramid, Slide, Video, Visual, Volume
from healthfm.records.record import MISSING, UNCERTAIN, Label, Mark, Record, unit_of
from healthfm.records.signal import Signal
from healthfm.records.text import (
    QA,
    USUAL,
    Answer,
    Conversation,
    Document,
    Message,
    MultipleChoice,
    Pair,
    Ranking,
    Relation,
    Span,
    TextRecord,
)

KINDS: Mapping[str, type[Record]] = {
    kind.__name__: kind
    for kind in (Document, QA, MultipleChoice, Conversation, Ranking, Pair, Image, Volume, Slide, Video, Signal)
}

__all__ = [
    "KINDS", "MISSING", "QA", "UNCERTAIN", "USUAL", "Answer", "Box", "Conversation", "Document", "Image", "Label", "Mark", "Message", "MultipleChoice",
    "Pair", "Polygon", "Pyramid", "Ranking", "Record", "Relation", "Signal", "Slide", "Span", "TextRecord", "Video", "Visual", "Volume", "unit_of",
]  # fmt: skip
