"""A run of embedding: items to a folder of vectors, resumable inside an item, one line for each that cannot be read.

The folder: ``embeddings/part-*.parquet`` (a row a unit: id, number ``of`` in its item, x and y of a tile in level-0 pixels, digest of
the content, vector or problem), ``manifest.json`` (what was asked, the key of the vectors, the check against torch's float32,
stages, notices), ``failures.jsonl``, ``passed_over.jsonl`` (files of the folders named that are no items, and why). A part holds a fixed range of units; its name is the place of the first. Killing the process at any moment
loses at most the parts being made; the same command makes those, and tries again what failed.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from healthfm.embed import engines, exchange
from healthfm.embed.chosen import Ready, network_of
from healthfm.embed.engines import Network
from healthfm.embed.items import Item, Items, of_contents
from healthfm.embed.key import key_of
from healthfm.embed.plan import (
    ROOM,
    UNITS_PER_PART,
    Plan,
    batches,
    ids_of,
    items_digest,
    matrix,
    merged,
    notices_of,
    slides_of,
    squared_of,
)
from healthfm.embed.preparer import Preparer
from healthfm.embed.tiles import is_tiled
from healthfm.embed.units import Unit
from healthfm.engine import steps
from healthfm.engine.pipeline import Clock, ordered
from healthfm.engine.steps import Progress
from healthfm.engine.store import RunFolder
from healthfm.errors import RunError
from healthfm.formats import notices
from healthfm.formats.dicom import pixel_shape
from healthfm.formats.walk import summary, told
from healthfm.models.model import Float32, Model

FORMAT = "healthfm embeddings 1"
INPUT = ("read", "decode", "preprocess")
NOTICES = {
    "blank": "volumes that are all black or all white, as if the window were wrong",
    "cut": "texts that are longer than the model reads, of which the end is not in their vectors",
}


@dataclass(frozen=True)
class Embeddings:
    """A finished run: its folder, manifest, and failures as (id, number, problem)."""

    path: Path
    manifest: dict[str, Any]
    failures: list[dict[str, Any]]

    @property
    def table(self) -> pa.Table:
        """Every unit that has a vector, in the order of the items."""
        table = RunFolder(self.path).predictions(ROOM)
        return table.filter(pa.compute.is_null(table["problem"]))

    @property
    def vectors(self) -> Float32:
        """The vectors of ``table``, float32 [n, d]."""
        return matrix(self.table)


def embed(
    model: Model, items: Items | Sequence[Any], output: Path, *, precision: str = "auto", calibration: Items | None = None,
    mpp: float | None = None, coords: Path | None = None, features: Path | None = None, engine: str = "auto",
    compiled: bool = False, progress: Progress | None = None, units_per_part: int = UNITS_PER_PART,
) -> Embeddings:  # fmt: skip
    """Embed items into the folder ``output`` and return what is there; the same call goes on where it stopped.

    ``items``: see ``items.gather``; or records, arrays, texts. ``precision``: "auto" (float32 on a CPU), "float32", "bfloat16",
    "int8" (ranges from ``calibration``, by default a part of the items that is not checked). ``mpp``: the tiles of slides, in
    micrometres per pixel (default: the card's). ``coords``: a folder with the tiles that TRIDENT, CLAM or slide2vec chose, one file a
    slide (``formats.tile_files``). ``features``: a folder for one ``.h5`` a slide, as TRIDENT and CLAM read them. ``progress`` hears how
    many pictures or texts are done, of how many that are known yet. ``units_per_part``: how much a kill can cost. Raises ``RunError``: the
    folder holds something else, or a precision that is too far off; ``CapabilityError``: the model cannot embed.
    """
    began = time.perf_counter()
    gathered = items if isinstance(items, Items) else Items.of(of_contents(items))
    if coords is not None and features is not None and coords.resolve() == features.resolve():
        raise RunError(
            f"{features}: holds the coordinates; features need another folder, where they overwrite none of them"
        )
    if coords is not None and mpp is not None:
        raise RunError("the coordinates say how large their tiles are: mpp is for tiles of our own")
    whole = _whole(gathered.found, model, mpp)
    slides = exchange.slides_among(gathered.found, model) if coords is not None or features is not None else []
    asked = {
        "model": model.name, "items": items_digest(gathered.found), "precision": precision, "mpp": mpp,
        "units_per_part": units_per_part, "coords": None if coords is None else "files",
        "calibration": items_digest(calibration.found) if calibration is not None else None,
    }  # fmt: skip
    with RunFolder(output, ROOM) as folder:
        manifest = _begin(folder, asked, len(gathered.found))
        if not folder.published(
            ROOM
        ):  # nothing was made yet: what an attempt before found out holds for its own network alone
            manifest = {name: value for name, value in manifest.items() if name not in ("key", "check")}
        manifest["weights"] = model.provenance.get("weights")
        plan = Plan(gathered.found, model, mpp, folder, units_per_part, coords)
        if coords is not None:
            begun = {item.id for place, item in slides if plan.begun(place)}
            before = {name: digest for name, digest in manifest.get("coords", {}).items() if name in begun}
            manifest["coords"] = _same_coords(output, before, exchange.digests(slides, coords))
        clock = Clock()
        prepare = Preparer(model, clock)
        network, ready = network_of(plan, prepare, precision, engine, compiled, calibration, folder, manifest)
        key = key_of(model, network)
        if manifest.setdefault("key", key) != key:
            raise RunError(
                f"{output}: was begun with other weights, settings (a window, say) or versions; choose another folder with --output"
            )
        stamps = {item.id: exchange.stamp(key, manifest.get("coords", {}).get(item.id, mpp)) for _, item in slides}
        if features is not None:
            exchange.refuse_others(features, slides, stamps)
        if network.check:
            manifest["check"] = network.check
        folder.write_json("manifest.json", manifest)
        prepare.shared.register(output / ROOM)
        start = time.perf_counter() - began
        clock.start()
        made = _work(folder, plan, network, prepare, ready, clock, progress)
        if made:
            threads = {**dict.fromkeys(INPUT, readers(network)), "model": network.threads}
            manifest["stages"] = {"start_seconds": start, **clock.report(threads)}
        vectors, failed, noted, squared, said, of_slides = _held(folder)
        failures = [*({"id": i, "number": None, "problem": p} for i, p in gathered.problems), *failed]
        folder.write("failures.jsonl", "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in failures))
        passed = [{"file": file, "reason": reason} for file, reason in gathered.passed]
        folder.write("passed_over.jsonl", "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in passed))
        manifest["passed_over"] = {
            "count": len(passed),
            "reasons": summary(gathered.passed),
            "told": told(gathered.passed),
        }
        manifest |= {
            "finished": True,
            "failures": len(failures),
            "vectors": vectors,
            "notices": [
                *_notices(noted, squared),
                *whole,
                *of_slides,
                *(notices.counted(*one) for one in said.items()),
            ],
            "model_notices": list(model.provenance.get("notices", [])),
        }
        folder.write_json("manifest.json", manifest)
        if features is not None:
            exchange.write_features(plan, slides, features, stamps)
    return Embeddings(output, manifest, failures)


def _begin(folder: RunFolder, asked: Mapping[str, Any], count: int) -> dict[str, Any]:
    if (folder.path / "run.json").exists():
        raise RunError(f"{folder.path}: holds an evaluation; choose another folder with --output")
    facts = {"format": FORMAT, "asked": dict(asked), "count": count, "finished": False}
    return steps.begin(
        folder, "manifest.json", "asked", facts, (ROOM,), "embeddings", "; items also when a file was changed"
    )


def _same_coords(output: Path, before: Mapping[str, str], now: Mapping[str, str]) -> dict[str, str]:
    """Return the digests of coordinates by slide: those that vectors were made by ``before``, which must not change, and the others."""
    changed = [name for name, digest in now.items() if before.get(name, digest) != digest]
    if changed:
        raise RunError(
            f"{output}: was begun with other coordinates for {changed[0]}"
            f"{f' and {len(changed) - 1} more' if changed[1:] else ''}; choose another folder with --output"
        )
    return {**before, **now}


def _whole(items: Sequence[Item], model: Model, mpp: float | None) -> list[str]:
    """Return what to say of items that ``mpp`` does nothing to. Raises ``RunError`` where it does nothing at all."""
    if mpp is None:
        return []
    if not 0 < mpp < float("inf"):
        raise RunError(f"mpp is {mpp:g}; it is the micrometres that a pixel of a tile spans, 0.5 for example")
    others = [item.id for item in items if not is_tiled(item, model)]
    if items and len(others) == len(items):
        raise RunError(
            "mpp is for the tiles of slides, and no item is one. A .tif is a slide where it is stored as several tiles and says a "
            "microscope's resolution, or has smaller copies of itself; any other stands in a table's column 'slide', its own resolution in the column 'mpp'"
        )
    some = ", ".join(others[:3]) + (", ..." if others[3:] else "")
    return (
        [f"mpp is for slides: {len(others)} of the items are none and were embedded whole ({some})"] if others else []
    )


def _notices(noted: Mapping[str, Sequence[str]], squared: Mapping[str, float]) -> list[str]:
    found = [
        f"{what}: {len(ids)} ({', '.join(ids[:3])}{', ...' if ids[3:] else ''})"
        for what, ids in ((NOTICES[name], noted[name]) for name in NOTICES) if ids
    ]  # fmt: skip
    return [*found, *([pixel_shape.told(squared)] if squared else [])]


def readers(network: Network) -> int:
    """Return how many threads read and preprocess: as many as compute, two at least."""
    return max(2, network.threads)


def slowest(report: Mapping[str, Any]) -> tuple[str, float, float] | None:
    """Return the stage that the others wait for, its pictures or texts a second by itself, and the run's; None where none was made.

    What the same threads do one after the other is one stage: "read + decode + preprocess".
    """
    did = {name: one for name, one in report["stages"].items() if one["units"] and one["alone_per_second"]}
    groups = [[name for name in names if name in did] for names in (INPUT, ("model",), ("write",))]
    alone = {
        " + ".join(names): (max(did[n]["units"] for n in names), sum(did[n]["units"] / did[n]["alone_per_second"] for n in names))
        for names in groups if names
    }  # fmt: skip
    counted = [did[n]["units"] for n in ("decode", "preprocess", "model", "write") if n in did]
    if not counted:
        return None
    name = max(alone, key=lambda one: alone[one][1])
    units, seconds = alone[name]
    return name, units / seconds, max(counted) / report["wall_seconds"]


# Work -------------------------------------------------------------------------------------------------------------------


def _work(
    folder: RunFolder, plan: Plan, network: Network, prepare: Preparer, ready: Ready, clock: Clock, progress: Progress | None
) -> int:  # fmt: skip
    """Make the vectors that are missing; return how many units were tried."""
    lock, done, more = threading.Lock(), 0, 0

    def tell(pictures: int, beyond: int = 0) -> None:
        """Count what is done, and what is there ``beyond`` the one picture that a unit is taken for before it is decoded."""
        nonlocal done, more
        with lock:
            done, more = done + pictures, more + beyond
            if progress is not None:
                progress(done, plan.total + more)

    window = 2 * max(network.threads, network.batch) + readers(network)

    def prepare_one(unit: Unit) -> Unit:
        known = ready.pop((unit.item.id, unit.number), None)
        if known is None:
            return prepare(unit)
        where = {name: getattr(unit, name) for name in ("of", "place", "part", "last", "close")}
        return prepare(replace(known, **where))

    prepared = ordered(prepare_one, plan.units(), readers(network), window)

    def compute(units: list[Unit]) -> list[Unit]:
        waiting = [len(unit.inputs) for unit in units if unit.inputs is not None]
        tell(len(units) - len(waiting), sum(waiting) - len(waiting))
        if not waiting:
            return units
        with clock.stage("model", sum(waiting)):
            made = engines.fill(network, units, tell)
            prepare.computed(made)
            return made

    made, rows = 0, []
    with network.around():
        for units in ordered(
            compute, batches(prepared, network.batch, network.texts), network.threads, 2 * network.threads
        ):
            for unit in units:
                rows.append(finite(unit))
                made += 1
                if unit.last:
                    with clock.stage("write", sum(row.vector is not None for row in rows)):
                        folder.publish(unit.part, merged(plan.kept.pop(unit.part, None), rows), ROOM)
                        prepare.shared.note()
                    rows = []
                if unit.close is not None:
                    unit.close()
    return made


def finite(unit: Unit) -> Unit:
    """Return a unit whose vector is a problem where it holds NaN."""
    if unit.vector is not None and not np.isfinite(unit.vector).all():
        return replace(unit, vector=None, problem="the model returned NaN")
    return unit


def _held(
    folder: RunFolder,
) -> tuple[int, list[dict[str, Any]], dict[str, list[str]], dict[str, float], dict[str, list[str]], list[str]]:
    """Return how many vectors a folder holds, its failures, the ids of what ``NOTICES`` speak of, the ratios of pixels that were made
    square, what was said of which items, and of slides.
    """
    vectors, failures = 0, []
    noted: dict[str, list[str]] = {name: [] for name in NOTICES}
    squared: dict[str, float] = {}
    said: dict[str, list[str]] = {}
    slides: dict[str, str] = {}
    for part in sorted(folder.published(ROOM)):
        table = folder.part(part, ROOM, ["id", "number", "problem"])
        failed = table.filter(pa.compute.is_valid(table["problem"]))
        vectors += table.num_rows - failed.num_rows
        failures += failed.to_pylist()
        for name, ids in noted.items():
            ids += ids_of(table, name)
        squared |= squared_of(table)
        slides |= slides_of(table)
        for notice, ids in notices_of(table).items():
            said.setdefault(notice, []).extend(ids)
    return vectors, failures, noted, squared, said, [f"{name}: {text}" for name, text in slides.items()]
