"""Python pickles of plain data, of which nothing is ever called: no global but the plain containers below is known.

Specification: PEP 307, PEP 3154 and the documentation of Python's ``pickle`` and ``pickletools``. Python's own unpickler reads the
opcodes, in its plain form: the faster one reserves memory for whatever place of its memo a file names.
"""

from __future__ import annotations

import pickle
import struct
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

from healthfm.errors import DatasetError
from healthfm.formats.source import DAMAGE, Row, Source

CONTAINERS = {
    ("builtins", "set"): set,
    ("builtins", "frozenset"): frozenset,
    ("collections", "OrderedDict"): OrderedDict,
}


class _Foreign(pickle.UnpicklingError):
    """A pickle names something that would have to be called."""


class _Plain(pickle._Unpickler):
    """Python's unpickler, for which no class exists but the plain containers."""

    def find_class(self, module: str, name: str, /) -> Any:
        if (module, name) not in CONTAINERS:
            raise _Foreign
        return CONTAINERS[module, name]


def load(source: Source) -> Any:
    """Return what a pickle holds: text, numbers, lists, tuples, mappings, sets; text that Python 2 wrote is UTF-8.

    Raises ``DatasetError``: it is damaged, or it names anything else, which is not run.
    """
    try:
        with source.open() as handle:
            return _Plain(handle, encoding="utf-8").load()
    except _Foreign:
        raise DatasetError(
            f"{source}: this pickle names a class or function, which is never run here; save it again as plain lists and mappings"
        ) from None
    except (*DAMAGE, pickle.UnpicklingError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError,
            AssertionError, RecursionError, MemoryError, ImportError, struct.error) as error:  # fmt: skip  # what opcodes out of order raise
        raise DatasetError(f"{source}: not a pickle that can be read ({type(error).__name__})") from None


def items(source: Source) -> Iterator[tuple[Row, Any]]:
    """Yield the entries of a pickled list, each with an empty row, numbered from 1, that says where an error was."""
    value = load(source)
    if not isinstance(value, list):
        raise DatasetError(f"{source}: a pickled list was expected, not a {type(value).__name__}")
    for number, one in enumerate(value, 1):
        yield Row({}, source, number), one
