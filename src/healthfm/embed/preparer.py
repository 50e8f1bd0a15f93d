"""``Preparer``: from a unit to what the network is given, read, decoded and prepared by its model, or found where it is known."""

from __future__ import annotations

import hashlib
import threading
import weakref
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from healthfm.embed import identity
from healthfm.embed.identity import Held
from healthfm.embed.items import TEXTS
from healthfm.embed.shared import Known, Shared
from healthfm.embed.units import Unit, told
from healthfm.engine.pipeline import Clock
from healthfm.errors import CapabilityError, CheckpointError, DatasetError, HealthfmError, MissingExtra, RunError
from healthfm.formats import image, notices
from healthfm.formats.source import Source
from healthfm.models.model import Model
from healthfm.models.prepared import Prepared
from healthfm.models.vision import pixels
from healthfm.records import Image, Record, TextRecord, Visual

TURNS = 1024  # contents that can be prepared at the same time


class Preparer:
    """Makes a unit ready for the network, in any thread. What ``shared`` knows is not computed, and where it can be, not decoded.

    Contents that are the same are decoded once: who comes second waits for the first. ``both``: units whose vector is known have
    their inputs beside it, where they had to be made to find it.
    """

    def __init__(self, model: Model, clock: Clock, shared: Shared | None = None, both: bool = False) -> None:
        self.model, self.clock, self.both = model, clock, both
        self.shared = shared if shared is not None else Shared(None)
        self._turns = [threading.Lock() for _ in range(TURNS)]
        self._ahead: dict[str, list[weakref.ref[Any]]] = {}  # inputs that were made and not computed yet

    def __call__(self, unit: Unit) -> Unit:
        """Return the unit with ``inputs``, or ``vector``, or a ``problem``: a file that fails is no reason to stop."""
        if unit.problem is not None or unit.vector is not None or unit.inputs is not None:
            return unit
        try:
            return self._prepared(unit)
        except (MissingExtra, CheckpointError, CapabilityError):
            raise
        except HealthfmError as error:
            return replace(unit, content=None, problem=told(unit.item, error))
        except Exception as error:  # what a decoder throws at damage is not foreseeable; its message may hold data
            return replace(unit, content=None, problem=f"cannot be read ({type(error).__name__})")

    def _prepared(self, unit: Unit) -> Unit:
        found = None if isinstance(unit.content, str) else self._found(unit, unit.source)
        if found is not None:
            return found
        with notices.listening() as said:
            content = unit.content if callable(unit.content) else self._opened(unit.content)
        unit = replace(unit, notices=tuple(dict.fromkeys((*unit.notices, *said))))
        place = identity.origin(content) if self.model.takes else None
        if place is None:
            return self._made(unit, content)
        content, source, before = self._read(content, place)
        if unit.source and unit.source != source:
            raise DatasetError("it has changed since the run was asked for; start again")
        with self._turns[int(source[:8], 16) % TURNS]:
            found = self._found(unit, source)
            if found is not None:
                return found
            loose = None if isinstance(identity.origin(content), Held) else (place, before)
            return self._made(replace(unit, source=source), content, loose)

    def _opened(self, content: Any) -> Any:
        """Return a content as the model is given it, still lazy: a text, a record of a kind that it takes, a picture or a path to one.

        To an object of which nothing is known a path is a text's. Raises ``RunError``, ``DatasetError``: it is nothing that the model
        takes, or no text.
        """
        takes = self.model.takes
        pictures = any(issubclass(kind, Visual) for kind in takes)
        texts = not takes or any(issubclass(kind, TextRecord) for kind in takes)
        if isinstance(content, Path) and texts and (not pictures or content.suffix.lower() in TEXTS):
            content = self._text(content)
        if isinstance(content, str) and texts:
            if not content.strip():
                raise DatasetError("the text is empty")
            return content
        if pictures and (isinstance(content, Visual) or not isinstance(content, Record)):
            content = pixels.opened(content)
        if takes and not isinstance(content, takes) and (isinstance(content, Record) or not pictures):
            names = ", ".join(kind.__name__ for kind in takes)
            raise RunError(f"{self.model.name} takes {names} records, and this is a {type(content).__name__}")
        return content

    def _text(self, path: Path) -> str:
        with self.clock.stage("read"):
            try:
                return path.read_bytes().decode("utf-8-sig")
            except UnicodeDecodeError:
                raise DatasetError(f"{path}: not UTF-8") from None

    def _read(self, content: Any, place: Source | Path) -> tuple[Any, str, Any]:
        """Return a content, a still image with its bytes in memory; its identity; and how its files were when that was read."""
        before = identity.stamp(place)
        if isinstance(content, Path | Image):
            with self.clock.stage("read"):
                data = identity.held(Source(place) if isinstance(place, Path) else place)
                if isinstance(data, Held):
                    content, place = identity.from_memory(content, data), data
                return content, identity.of_content(content, place), before
        return content, identity.of_content(content, place), before

    def _found(self, unit: Unit, source: str) -> Unit | None:
        """Return a unit whose content is known: with its vector, or with inputs that another of the same content waits with."""
        known = self.shared.known(_told(source)) if source else None
        if known is None:
            return None
        unit = replace(
            unit,
            source=source,
            digest=known.digest,
            seen=known.seen,
            blank=known.blank or unit.blank,
            ratio=known.ratio,
            notices=known.notices or unit.notices,
            cut=known.cut,
        )
        vector = self.shared.find(known.digest)
        if vector is not None:
            return replace(unit, content=None, vector=vector, shared=True)
        inputs = [one() for one in self._ahead.get(source, ())]
        if not inputs or any(one is None for one in inputs):
            return None
        return replace(unit, content=None, inputs=inputs)

    def _made(self, unit: Unit, content: Any, loose: tuple[Source | Path, Any] | None = None) -> Unit:
        """Decode and prepare a content. ``loose``: files that could change meanwhile, and how they were when their identity was read."""
        with self.clock.stage("preprocess") as done, notices.listening() as said:
            content, seen = self._decoded(content)
            made = self.model.prepare(content)
            done.units = len(_held(made.inputs))
        if loose is not None and identity.stamp(loose[0]) != loose[1]:
            raise DatasetError("it was written to while it was read; start again")
        unit = replace(
            unit,
            digest=made.digest,
            seen=seen,
            blank=made.blank or unit.blank,
            ratio=made.ratio if made.ratio != 1 else unit.ratio,
            notices=tuple(dict.fromkeys((*unit.notices, *said, *made.notices))),
            cut=made.cut,
            lone=made.lone,
        )
        return replace(unit, content=None, inputs=made.inputs) if made.lone else self._ready(unit, made)

    def _decoded(self, content: Any) -> tuple[Any, str]:
        """Return a content in memory, as far as it is one thing (a model takes stacks of pictures apart), and a record's digest."""
        if isinstance(content, str):
            return content, ""
        with self.clock.stage("decode") as done:
            content = content() if callable(content) else content
            content = image.pixels(content) if isinstance(content, Source) else content
            if not isinstance(content, Record):
                return content, ""
            if content.stacked:
                done.units = 0
                return content, ""
            content = content.decoded()
            return content, content.digest()

    def _ready(self, unit: Unit, made: Prepared) -> Unit:
        """Return a unit with its inputs, or with the vector that is known of them."""
        vector = self.shared.find(made.digest, fresh=bool(unit.source))
        kept = made.inputs if vector is None or self.both else None
        unit = replace(unit, content=None, inputs=kept, vector=vector, shared=vector is not None)
        self.tell(unit)
        return unit

    def tell(self, unit: Unit) -> None:
        """Remember what a unit's content became, and its inputs while it has them."""
        if unit.source:
            self.shared.tell(
                _told(unit.source), Known(unit.digest, unit.seen, unit.blank, unit.ratio, unit.notices, unit.cut)
            )
            self._ahead[unit.source] = [weakref.ref(one) for one in _held(unit.inputs)]

    def computed(self, units: Sequence[Unit]) -> None:
        """Hear of vectors that were just made, while their inputs are still there."""
        for unit in units:
            if unit.vector is not None and not unit.shared and not unit.lone and np.isfinite(unit.vector).all():
                self.shared.remember(unit.digest, unit.vector)
            self._ahead.pop(unit.source, None)


def _held(inputs: Sequence[Any] | None) -> Sequence[Any]:
    """Return inputs that are in memory: a film's are decoded anew."""
    return inputs if isinstance(inputs, list | tuple) else ()


def _told(source: str) -> str:
    return hashlib.sha256(f"{source} {identity.decoders()}".encode()).hexdigest()
