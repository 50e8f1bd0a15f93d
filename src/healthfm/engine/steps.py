"""What every verb that fills a run folder does: begin it, or go on with it, and publish the parts that are missing."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pyarrow as pa

from healthfm.engine.store import RunFolder
from healthfm.errors import RunError

LOG = logging.getLogger(__name__)
Progress = Callable[[int, int], None]


def begin(
    folder: RunFolder, file: str, asked: str, facts: Mapping[str, Any], rooms: Sequence[str], what: str, hint: str = ""
) -> dict[str, Any]:
    """Write what was asked into a new folder, or hold it against what stands there; return what the folder's ``file`` says.

    ``facts[asked]`` is the request, ``rooms`` the subfolders of parts, ``what`` the word for what it holds ("embeddings"), ``hint`` what else a difference may mean. A folder without a part
    takes on the ``facts`` of now. Raises ``RunError``: parts and no ``file``, or those of another request.
    """
    stored = folder.read_json(file)
    begun = any(folder.published(room) for room in rooms)
    if stored is None and begun:
        raise RunError(f"{folder.path}: holds {what} but no {file}; choose another folder with --output")
    if stored is not None and begun:
        now, before = json.loads(json.dumps(facts[asked])), stored.get(asked, {})
        differing = [key for key in {**now, **before} if now.get(key) != before.get(key)]
        if differing:
            raise RunError(
                f"{folder.path}: holds {what} of another request ({', '.join(differing)} differ{hint}); choose another folder with --output"
            )
        return stored
    folder.write_json(file, facts)
    return dict(facts)


def fill(
    folder: RunFolder, room: str, parts: Sequence[Sequence[int]], compute: Callable[[int, range], pa.Table], progress: Progress | None
) -> None:  # fmt: skip
    """Compute and publish the parts that a room lacks; ``compute`` takes a part's number and its rows.

    ``progress`` hears how many rows are done, of how many.
    """
    todo = missing(folder, room, parts)
    total = parts[-1][1] if parts else 0
    count = total - sum(len(rows) for _, rows in todo)
    for number, rows in todo:
        if progress is not None:
            progress(count, total)
        folder.publish(number, compute(number, rows), room)
        LOG.debug("%s: part %d of %d in %s, %d rows", folder.path, number + 1, len(parts), room, len(rows))
        count += len(rows)
    if progress is not None and todo:
        progress(count, total)


def missing(folder: RunFolder, room: str, parts: Sequence[Sequence[int]]) -> list[tuple[int, range]]:
    """Return the number and the rows of each part that a room lacks."""
    done = folder.published(room)
    return [(number, range(*part)) for number, part in enumerate(parts) if number not in done]
