"""From an item to the still pictures it stands for, and from those to what a network of pictures is given."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from healthfm.cards.schema import Transform
from healthfm.engine.pipeline import stage
from healthfm.errors import DatasetError, RunError
from healthfm.formats import notices
from healthfm.models.model import Float32
from healthfm.models.prepared import Prepared, digest_of
from healthfm.models.vision import pixels, transform
from healthfm.models.vision.transform import Picture
from healthfm.records import Record, Video, Volume


def pictures(item: Any, rule: Transform | None) -> Iterable[Picture]:
    """Return the still pictures an item stands for: itself, a film's frames, or a volume's axial slices (``transform.slices``).

    An item is a path to anything healthfm reads (but slides), a record, an array or a PIL image: ``pixels.opened`` is the door. Frames are
    decoded as they are asked for, one after another: a film may be longer than the memory is large. Slices have their neighbours
    beside them where the card says so (``transform.with_neighbours``).
    """
    item = pixels.opened(item)
    if isinstance(item, Video):
        return _some(transform.frames(item), item)
    if isinstance(item, Volume):
        stack = transform.slices(item, rule.window if rule is not None else None)
        shown = transform.with_neighbours(stack) if rule is not None and rule.volumes == "2.5d" else stack
        return list(_some(shown, item))
    return [item]


def _some(found: Iterable[Picture], item: Record) -> Iterator[Picture]:
    """Yield pictures. Raises ``DatasetError`` where there is none."""
    place = -1
    for place, one in enumerate(found):  # noqa: B007
        yield one
    if place < 0:
        raise DatasetError(f"{item.id}: it holds no picture")


def prepared(item: Any, rule: Transform) -> Prepared:
    """Return an item's pictures as the network takes them, with what a report says of them.

    A film is too long to be held: it is gone through once for its digest, and again for each use.
    """
    with notices.listening() as said:
        item = pixels.opened(item)
        if isinstance(item, Video):
            with stage("decode") as done:
                done.units, digest = digest_of(transform.pixels(one, rule) for one in pictures(item, rule))
            frames, ratio = Frames(item, rule, done.units), transform.pixel_ratio(item)
            return Prepared(frames, digest, ratio=ratio, notices=tuple(said))
        several = isinstance(item, Volume)
        with stage("decode", 0) as done:
            shown = [transform.rgb(one) for one in pictures(item, rule)]
            done.units = len(shown) if several else 0  # a single one was counted where it was read
        made, ratio = [transform.pixels(one, rule) for one in shown], transform.pixel_ratio(item)
    return Prepared(made, blank=several and is_blank(shown), ratio=ratio, notices=tuple(said))


def is_blank(slices: Iterable[Any]) -> bool:
    """Whether all slices of a volume are black, or all are white."""
    seen = [(one.min(), one.max()) for one in map(np.asarray, slices)]
    return any(all(pair == (v, v) for pair in seen) for v in (0, 255))


class Frames(Sequence[Float32]):
    """The ``count`` frames of a film as the network takes them, decoded anew each time they are gone through: memory holds one."""

    def __init__(self, film: Video, rule: Transform, count: int) -> None:
        self.film, self.rule, self.count = film, rule, count
        self.shape = self[0].shape

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[Float32]:
        found = 0
        for picture in pictures(self.film, self.rule):
            yield transform.pixels(picture, self.rule)
            found += 1
        if found != self.count:
            raise RunError(f"{self.film.id}: has changed while it was read")

    def __getitem__(self, index: Any) -> Any:
        return next(itertools.islice(iter(self), range(self.count)[index], None))
