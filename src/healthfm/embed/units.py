"""Units: what one vector is made of, a picture, a text, a recording, or one tile of a slide."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from healthfm.embed.items import Item
from healthfm.errors import HealthfmError
from healthfm.models.model import Float32


@dataclass(frozen=True, slots=True)
class Unit:
    """One vector to make. ``number`` of ``of`` in its item; ``content`` is the picture or text, or a function that gives it.

    ``part`` and ``last`` say where the vector goes. ``source`` is the identity of the content (``embed.identity``), where it is known,
    ``inputs`` are the network's, once prepared (``Model.prepare``): a picture, a volume's several, or token ids; ``digest`` is theirs,
    ``seen`` that of the record as decoded, where it is one. ``vector`` is the result, or ``problem`` says in one line why there is none; ``shared``: it was known
    before; ``blank``: a volume that is all black or all white; ``ratio``: a pixel's height over its width, before its pictures were made
    square; ``notices``: what was said while it was decoded (``formats.notices``); ``notice``: what the run says of its slide; ``cut``: a
    text longer than the network takes; ``lone``: what the caller's own object makes of it is kept for nobody else. ``close`` is called
    when the item's last unit is done.
    """

    item: Item
    content: Any
    number: int = 0
    of: int = 1
    place: tuple[int, int] | None = None
    part: int = 0
    last: bool = False
    source: str = ""
    inputs: Sequence[Any] | None = None
    digest: str = ""
    seen: str = ""
    vector: Float32 | None = None
    problem: str | None = None
    shared: bool = False
    blank: bool = False
    notice: str = ""
    ratio: float = 1.0
    notices: tuple[str, ...] = ()
    cut: bool = False
    lone: bool = False
    close: Callable[[], None] | None = field(default=None, compare=False)


def told(item: Item, error: HealthfmError) -> str:
    """Return an error in one line, without the path where the item's id says it already."""
    text = " ".join(str(error).split())
    path, _, rest = text.partition(": ")
    return rest if path == item.id or path.endswith(f"/{item.id}") else text
