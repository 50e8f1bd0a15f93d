"""The nouns of data: frozen records that flow from readers to models and metrics, one module a noun.

Every record has an ``id`` that is unique in its dataset and the ``patient`` that must never straddle a split.
A label is a class name, a number, a set of names, ``MISSING``, ``UNCERTAIN`` or, of one class of several, ``UNMEASURED``; the owner's raw value stays in ``meta``.
"""

from __future__ import annotations

from collections.abc import Mapping

from healthfm.records.biology import (
    Atoms,
    Cells,
    Feature,
    Molecule,
    Profile,
    Region,
    Sequence,
    Structure,
    Variant,
)
from healthfm.records.pixels import Box, Image, Polygon, Pyramid, Slide, Video, Visual, Volume
from healthfm.records.record import MISSING, UNCERTAIN, UNMEASURED, Label, Mark, Record, unit_of
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
from healthfm.records.timeline import Stay, Timeline
from healthfm.records.trial import Trial

KINDS: Mapping[str, type[Record]] = {
    kind.__name__: kind
    for kind in (
        Document, QA, MultipleChoice, Conversation, Ranking, Pair,
        Image, Volume, Slide, Video, Signal,
        Sequence, Region, Variant, Structure, Molecule, Profile, Cells,
        Timeline, Trial,
    )
}  # fmt: skip

__all__ = [
    "KINDS", "MISSING", "QA", "UNCERTAIN", "UNMEASURED", "USUAL", "Answer", "Atoms", "Box", "Cells", "Conversation", "Document", "Feature", "Image", "Label",
    "Mark", "Message", "Molecule", "MultipleChoice", "Pair", "Polygon", "Profile", "Pyramid", "Ranking", "Record", "Region", "Relation", "Sequence",
    "Signal", "Slide", "Span", "Stay", "Structure", "TextRecord", "Timeline", "Trial", "Variant", "Video", "Visual", "Volume", "unit_of",
]  # fmt: skip
