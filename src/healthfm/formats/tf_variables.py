"""Variables of TensorFlow 2 SavedModels and of npz archives by their names, read without TensorFlow.

A SavedModel's checkpoint, ``variables/variables.index``, names tensors by their place in an object graph, which it holds as a text
tensor and which gives each variable's own name. Format: TensorFlow's ``trackable_object_graph.proto``.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import numpy.typing as npt

from healthfm.errors import CheckpointError
from healthfm.formats.tf_checkpoint import Damaged, TensorBundle, message, varint

INDEX = Path("variables") / "variables.index"
GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"
Variables = dict[str, npt.NDArray[np.generic]]


def saved_model(folder: Path) -> Variables:
    """Return the variables of a SavedModel folder. Raises ``CheckpointError``: damaged, or a shard missing."""
    bundle = TensorBundle(folder / INDEX)
    keys = list(bundle)
    if GRAPH not in keys:  # exported from TensorFlow 1: tensors stand under their variables' names
        return {name: bundle[name] for name in keys}
    try:
        names = _names(bundle.stored(GRAPH))
    except (Damaged, IndexError, UnicodeDecodeError):
        raise CheckpointError(f"{bundle.path}: its object graph cannot be read") from None
    return {names.get(key, key): bundle[key] for key in keys if key != GRAPH}


def _names(stored: bytes) -> dict[str, str]:
    """Return checkpoint key -> variable name. ``stored``: the text's length, a checksum of that, the graph."""
    length, at = varint(stored, 0)
    graph = stored[at + 4 : at + 4 + length]
    found = {}
    for node in message(graph).get(1, []):
        assert isinstance(node, bytes)
        for attribute in message(node).get(2, []):
            assert isinstance(attribute, bytes)
            fields = message(attribute)
            name, key = (fields.get(number, [b""])[-1] for number in (2, 3))
            if isinstance(name, bytes) and isinstance(key, bytes) and name:
                found[key.decode()] = name.decode()
    return found


def npz(path: Path) -> Variables:
    """Return the arrays of an npz archive; pickled objects are refused. Raises ``CheckpointError``."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise CheckpointError(f"{path}: not a readable npz archive of plain arrays ({type(error).__name__})") from None
