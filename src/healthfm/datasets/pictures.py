"""The pictures of a folder: those that a table names, found by name, and those whose folders say what they are.

A row whose picture is not there is an error of that row; a picture that no row names is passed over, by name. Nothing is decoded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from healthfm.datasets import media
from healthfm.datasets.locate import Files
from healthfm.errors import BadValue, DatasetError
from healthfm.formats import image
from healthfm.formats.source import Row, Source


def tail(source: Source, parts: int = 1) -> str:
    """Return the last parts of a file's path, in or outside an archive, joined by ``/``."""
    whole = source.member if source.member is not None else source.path.as_posix()
    return "/".join(whole.split("/")[-parts:])


def named(source: Source, parts: int = 1) -> Row:
    """Return a file as the row it stands for: ``with named(source):`` names it in what goes wrong inside."""
    return Row({}, source, tail(source, parts))


class Pictures:
    """The pictures of a role by the last ``parts`` of their paths; ``bare``: without their suffix, as some tables name them."""

    def __init__(self, files: Files, role: str = "images", parts: int = 1, bare: bool = False) -> None:
        self._found: dict[str, Source] = {}
        self._known: set[str] = set()
        self._problems = files.problems
        for source in files.all(role):
            name = tail(source, parts)
            first = self._found.setdefault(name.rpartition(".")[0] if bare else name, source)
            if first is not source:
                files.problems.add(
                    DatasetError(f"{source}: bears the name of another picture, {first}; which is meant?")
                )

    def know(self, name: str) -> None:
        """Take note that a table names a picture, which need not be here: it belongs to another split."""
        self._known.add(name)

    def has(self, name: str) -> bool:
        """Whether a picture is here."""
        return name in self._found

    def each(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield every picture that is here, by name, with the fields of a record that decode it."""
        for name, source in self._found.items():
            yield name, self.of(source)

    def source(self, name: str) -> Source:
        """Return the file of a picture. Raises ``BadValue``: it is not here."""
        self._known.add(name)
        if name not in self._found:
            raise BadValue(f"no file '{name}' among the {len(self._found)} here")
        return self._found[name]

    @staticmethod
    def of(source: Source) -> dict[str, Any]:
        """Return the fields of a record that decode a picture on demand."""
        return media.fields_of("Image", source)

    def fields(self, name: str) -> dict[str, Any]:
        """Return the fields of a record that decode a picture on demand. Raises ``BadValue``: it is not here."""
        return media.fields_of("Image", self.source(name))

    def named_by(self, rows: Iterable[Row]) -> Iterator[Row]:
        """Yield the rows of a table, and after the last pass over the pictures that none has named."""
        table = "the table"
        for row in rows:
            table = row.source.name
            yield row
        self.told(f"a picture that no row of {table} names")

    def told(self, reason: str, of: Callable[[str], bool] = bool) -> None:
        """Pass over the pictures that nothing has named, for a reason; ``of``: only those of such a name."""
        self._problems.passed += [(name, reason) for name in self._found if name not in self._known and of(name)]


def on_size(picture: Source, height: int, width: int, what: str) -> None:
    """Read a picture's size from its header. Raises ``BadValue``: it is not that which ``what`` is for."""
    if (found := image.size(picture)) != (height, width):
        raise BadValue(
            f"the picture has {found[1]} x {found[0]} pixels and {what} are for {width} x {height}: use the owners' own size"
        )


def mask(source: Source, picture: Source, value: int) -> npt.NDArray[np.bool_]:
    """Decode a mask whose file holds 0 and ``value``. Raises ``DatasetError``: others, or another size than its picture's."""
    found = image.pixels(source)
    if found.ndim != 2 or not np.isin(found, (0, value)).all():
        raise DatasetError(f"{source}: no mask of 0 and {value}")
    return on_grid(found != 0, picture, str(source))


def on_grid(found: npt.NDArray[np.bool_], picture: Source, name: str) -> npt.NDArray[np.bool_]:
    """Return a mask that has its picture's height and width. Raises ``DatasetError``: it has others."""
    if found.shape != (size := image.size(picture)):
        raise DatasetError(
            f"{name}: a mask of {found.shape[1]} x {found.shape[0]}, its picture has {size[1]} x {size[0]}"
        )
    return found
