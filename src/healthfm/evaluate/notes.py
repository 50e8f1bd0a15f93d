"""What a run folder says of the models that worked for it: where they ran, what a server called them, what it was asked."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from healthfm.engine.store import RunFolder
from healthfm.errors import RunError
from healthfm.evaluate import provenance
from healthfm.evaluate.job import SETTLED
from healthfm.models.model import Model

USAGE = "usage"  # the metadata of a part that says what an endpoint was asked for it


def environment(folder: RunFolder, model: Model, judge: bool) -> None:
    """Note the versions, the hardware and the model that work for the run from now on."""
    facts = folder.read_json("run.json")
    assert facts is not None
    stable = {key: value for key, value in model.provenance.items() if key not in ("usage", "truncated")}
    now = {
        "versions": provenance.versions(),
        "hardware": provenance.hardware(),
        "model": stable,
        **({"role": "judge"} if judge else {}),
    }
    seen = facts.get("environments", [])
    if json.loads(json.dumps(now)) not in seen:
        folder.write_json("run.json", {**facts, "environments": [*seen, now]})


def served(folder: RunFolder, model: Model, judge: bool) -> None:
    """Note what a server calls its model. Raises ``RunError`` where that is another one than the run was begun with."""
    if not hasattr(model, "whose"):
        return
    facts, key = folder.read_json("run.json") or {}, "judge_served" if judge else "served"
    before = facts.get(key, {})
    model.client.answered.update({**before.get("replies", {}), **model.client.answered})  # type: ignore[attr-defined]
    now = {name: one for name, one in model.whose().items() if not (judge and name == "is_row")}  # a judge is no row
    replies = before.get("replies", {})
    apart = [name for name, one in now["replies"].items() if replies.get(name, one) != one]
    if before and (before["name"] != now["name"] or apart or model.other(before["server"], now["server"])):  # type: ignore[attr-defined]
        was, is_now = (", ".join(sorted({one["name"], *one["replies"].values()})) for one in (before, now))
        raise RunError(
            f"{folder.path}: this run was begun with the model '{was}', and the server now holds '{is_now}'"
            f"{' (of another size)' if was == is_now else ''}; choose another folder with --output"
        )
    if now != before:
        folder.write_json("run.json", {**facts, key: now})


def settled(folder: RunFolder, room: str) -> dict[str, Any] | None:
    """Return what parts that are there were settled on; None where none was. (Runs of version 0.1 wrote it into run.json.)"""
    for number in sorted(folder.published(room)):
        if (found := folder.metadata(number, room).get(SETTLED)) is not None:
            return dict(json.loads(found))
    return (folder.read_json("run.json") or {}).get("kept")


def used(model: Model, spent: Mapping[str, int]) -> dict[str, str]:
    """Return what an endpoint was asked since ``spent``, as a part says it of itself: so both are there, or neither."""
    now = model.provenance.get("usage")
    return {USAGE: json.dumps({key: now[key] - spent.get(key, 0) for key in now})} if now else {}


def with_usage(folder: RunFolder, rooms: Sequence[str]) -> dict[str, Any]:
    """Return ``run.json``, with what all parts together asked of endpoints."""
    facts = folder.read_json("run.json")
    assert facts is not None
    usage: dict[str, int] = {}
    for room in dict.fromkeys(rooms):
        for number in sorted(folder.published(room)):
            for key, count in json.loads(folder.metadata(number, room).get(USAGE, "{}")).items():
                usage[key] = usage.get(key, 0) + count
    if usage and usage != facts.get("usage"):
        facts = {**facts, "usage": usage}
        folder.write_json("run.json", facts)
    return facts
