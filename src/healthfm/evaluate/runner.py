"""``evaluate``: a model and a dataset to a run folder, resumable at any moment."""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from healthfm.cards import catalog
from healthfm.cards.lineage import Overlap, lineage
from healthfm.cards.schema import ModelCard, Protocol
from healthfm.datasets.dataset import Dataset, open_dataset, split_name
from healthfm.engine.store import RunFolder
from healthfm.errors import CapabilityError, RunError
from healthfm.evaluate import tasks
from healthfm.evaluate.run import FORMAT, Run, rescore
from healthfm.models import weights as weight_places
from healthfm.models.model import Model, check_placement, load_model
from healthfm.records import MultipleChoice, Record, digest

CHARACTERS_PER_PART = 12_000
PACKAGES = ("healthfm", "torch", "transformers", "tokenizers", "numpy", "scipy", "pyarrow")
Progress = Callable[[int, int], None]


def evaluate(
    model: str | Model, dataset: str | Path | Dataset, *, root: Path | str | None = None, task: str | None = None,
    split: str = "test", shots: int | None = None, shots_from: str = "train", shots_order: Literal["first", "random"] = "first",
    subgroups: Sequence[str] | None = None, seed: int = 0, limit: int | None = None, output: Path | str | None = None,
    resume: bool = True, weights: Path | str | None = None, device: str = "auto", dtype: str = "auto",
    progress: Progress | None = None,
) -> Run:  # fmt: skip
    """Evaluate a model on a dataset and return the run.

    ``model``: a name, or a loaded ``Model``. ``dataset``: ``slug[:variant][@protocol]``, a Path to own data, or an open
    ``Dataset``; ``root`` the folder with its official files. ``shots`` solved examples (None: the protocol's) come from
    ``shots_from``, the first ones or a seeded draw; when that is the evaluated split itself, whole patients are taken
    out of it. ``limit`` draws a seeded sample. ``subgroups`` name record fields or ``meta`` keys to break results down by.
    ``output`` is the run folder (default ``runs/MODEL--DATASET--DIGEST``): the same request goes on where it stopped, and
    returns at once when it is finished. ``progress`` is called with (samples done, samples in all).

    Raises, before the model is loaded: ``CardError``, ``DatasetError``, ``RunError`` (absent split, withheld answers,
    another request's folder); and ``CheckpointError``, ``CapabilityError`` when the model cannot be loaded or asked.
    """
    check_placement(device, dtype)
    card = _model_card(model)
    opened = dataset if isinstance(dataset, Dataset) else open_dataset(dataset, root)
    protocol_name, protocol = tasks.choose_protocol(opened.card, _protocol_asked(dataset, opened), task)
    split = split_name(opened.card, split)
    count = protocol.shots if shots is None else shots
    records = list(_need(opened, split))
    notices = list(opened[split].notices)
    drawn, records = _draw_shots(opened, records, split, count, shots_from, shots_order, seed)
    everything = tasks.make_items(records, protocol, drawn)
    items = [everything[i] for i in tasks.sample(len(everything), limit, seed)]
    if not items:
        raise RunError(f"{opened.name}: split '{split}' has no records")

    columns = _subgroup_columns(items, subgroups)
    plan = make_plan(items)
    request = {
        "model": model if isinstance(model, str) else model.name, "dataset": f"{opened.name}@{protocol_name}", "task": protocol.task,
        "split": split, "shots": count, "shots_from": shots_from if count else None, "shots_order": shots_order if count else None,
        "shot_ids": [shot.id for shot in drawn], "subgroups": list(subgroups or ()), "seed": seed, "limit": limit,
        "weights": _weights_digest(model, card, weights), "device": device, "dtype": dtype,
        "cards": {"model": card_digest(card), "dataset": card_digest(opened.card)}, "items": plan["items"],
    }  # fmt: skip
    path = Path(output) if output is not None else Path("runs") / default_name(request)
    facts = {
        "format": FORMAT, "request": request, "plan": plan, "protocol": protocol.model_dump(), "root": str(opened.root),
        "classes": _classes(everything, opened), "majority": _majority(everything), "split_records": len(everything),
        "lineage": _lineage(card, opened), "notices": notices, "data": _data_facts(opened),
    }  # fmt: skip
    with RunFolder(path) as folder:
        _begin(folder, facts, resume)
        done = folder.published()
        missing = [number for number in range(len(plan["parts"])) if number not in done]
        if missing:
            _work(folder, model, weights, device, dtype, protocol, items, columns, plan, missing, progress)
        table = folder.predictions()
        stored = folder.read_json("run.json")
        assert stored is not None
        scores = rescore(stored, table)
        folder.write_json("metrics.json", scores)
    return Run(stored, table, scores, path)


def _work(
    folder: RunFolder, model: str | Model, weights: Path | str | None, device: str, dtype: str, protocol: Protocol,
    items: Sequence[tasks.Item], columns: Mapping[str, list[str | None]], plan: Mapping[str, Any], missing: Sequence[int], progress: Progress | None,
) -> None:  # fmt: skip
    loaded = model if isinstance(model, Model) else load_model(model, weights, device=device, dtype=dtype)
    if "score" not in loaded.capabilities:
        raise CapabilityError(
            f"{loaded.name} cannot score options, which {protocol.task} needs; it can {', '.join(sorted(loaded.capabilities))}"
        )
    _note_environment(folder, loaded)
    todo = {number: range(*plan["parts"][number]) for number in missing}
    done = len(items) - sum(map(len, todo.values()))
    for number, rows in todo.items():
        if progress is not None:
            progress(done, len(items))
        part = [items[i] for i in rows]
        scores = loaded.score([item.prompt for item in part], [item.continuations for item in part])
        folder.publish(
            number, part_table(part, scores, {name: [values[i] for i in rows] for name, values in columns.items()})
        )
        done += len(part)
    if progress is not None:
        progress(done, len(items))


def make_plan(items: Sequence[tasks.Item]) -> dict[str, Any]:
    """Return the batch plan: which items make which part. A pure function of the items and the budget it records."""
    parts: list[list[int]] = []
    size = 0
    for i, item in enumerate(items):
        length = len(item.prompt) + sum(map(len, item.continuations))
        if not parts or size + length > CHARACTERS_PER_PART:
            parts.append([i, i + 1])
            size = length
        else:
            parts[-1][1] = i + 1
            size += length
    content = json.dumps([[item.record.id, item.prompt, item.continuations, item.target] for item in items])
    return {
        "characters_per_part": CHARACTERS_PER_PART,
        "parts": parts,
        "items": hashlib.sha256(content.encode()).hexdigest()[:16],
    }


def part_table(
    items: Sequence[tasks.Item], scores: Sequence[Any], columns: Mapping[str, Sequence[str | None]]
) -> pa.Table:
    """Return one part of the predictions, one row an item."""
    likelihoods = [np.asarray(row, dtype=np.float64) for row in scores]
    if len(likelihoods) != len(items) or any(
        len(row) != len(item.keys) for row, item in zip(likelihoods, items, strict=True)
    ):
        raise RunError("the model returned another number of scores than there were options")
    broken = [item.record.id for item, row in zip(items, likelihoods, strict=True) if not np.isfinite(row).all()]
    if broken:
        raise RunError(f"the model returned NaN or infinite scores for {len(broken)} samples: {', '.join(broken[:5])}")
    soft = [np.exp(row - row.max()) / np.exp(row - row.max()).sum() for row in likelihoods]
    best = [item.keys[int(row.argmax())] for item, row in zip(items, likelihoods, strict=True)]
    strings, numbers = pa.list_(pa.string()), pa.list_(pa.float64())
    return pa.table({
        "id": pa.array([item.record.id for item in items], pa.string()),
        "input": pa.array([digest(item.record) for item in items], pa.string()),
        "options": pa.array([list(item.keys) for item in items], strings),
        "log_likelihoods": pa.array([row.tolist() for row in likelihoods], numbers),
        "probabilities": pa.array([row.tolist() for row in soft], numbers),
        "output": pa.array([None] * len(items), pa.string()),
        "prediction": pa.array(best, pa.string()),
        "target": pa.array([item.target for item in items], pa.string()),
        "patient": pa.array([item.record.patient for item in items], pa.string()),
        "site": pa.array([item.record.site for item in items], pa.string()),
        **{f"subgroup.{name}": pa.array(values, pa.string()) for name, values in columns.items()},
    })  # fmt: skip


# What was asked -------------------------------------------------------------------------------------------------------


def _protocol_asked(dataset: str | Path | Dataset, opened: Dataset) -> str | None:
    return catalog.split_name(dataset)[2] if isinstance(dataset, str) else opened.protocol


def _need(opened: Dataset, split: str) -> Dataset:
    if split in opened.splits:
        return opened[split]
    files = ", ".join(
        f.path.replace("{split}", opened.card.splits.get(split, split))
        for f in opened.card.files
        if f.variant in (None, opened.variant)
    )
    wanted = f" (official file: {files})" if split in opened.card.splits else ""
    raise RunError(
        f"{opened.name}: split '{split}' is absent in {opened.root}{wanted}; present: {', '.join(opened.splits)}"
    )


def _draw_shots(
    opened: Dataset, records: list[Record], split: str, count: int, shots_from: str, order: str, seed: int,
) -> tuple[list[MultipleChoice], list[Record]]:  # fmt: skip
    """Return the solved examples, and the records left to evaluate (whole patients leave with their example)."""
    if count == 0:
        return [], records
    source = split_name(opened.card, shots_from)
    if source not in opened.splits:
        raise RunError(
            f"{opened.name}: {count} examples were asked from split '{source}', which is absent in {opened.root} "
            f"(present: {', '.join(opened.splits)}). Get it, or carve: shots_from='{split}' takes {count} examples, with all "
            f"records of their patients, out of '{split}' and evaluates the rest"
        )
    pool = [
        r
        for r in (records if source == split else opened[source])
        if isinstance(r, MultipleChoice) and r.answer is not None
    ]
    if len(pool) < count:
        raise RunError(f"{opened.name}: split '{source}' has {len(pool)} solved questions, {count} examples were asked")
    picks = range(count) if order == "first" else np.random.default_rng(seed).permutation(len(pool))[:count].tolist()
    drawn = [pool[i] for i in picks]
    if source != split:
        return drawn, records
    gone = {(shot.patient or shot.id) for shot in drawn}
    return drawn, [r for r in records if (r.patient or r.id) not in gone]


def _subgroup_columns(items: Sequence[tasks.Item], names: Sequence[str] | None) -> dict[str, list[str | None]]:
    columns: dict[str, list[str | None]] = {}
    for name in names or ():
        values = [getattr(i.record, name, None) or i.record.labels.get(name, i.record.meta.get(name)) for i in items]
        if all(value is None for value in values):
            known = sorted({"site", *(key for i in items[:50] for key in (*i.record.meta, *i.record.labels))})
            raise RunError(f"no record has '{name}' to make subgroups by (there are: {', '.join(known)})")
        columns[name] = [None if value is None else str(value) for value in values]
    return columns


def _model_card(model: str | Model) -> ModelCard:
    if isinstance(model, Model):
        return model.card
    if not isinstance(model, str):
        raise RunError("model is neither a name nor a loaded model; wrap it: load_model(yours, card=..., verb='score')")
    card = catalog.card(model, "model")
    assert isinstance(card, ModelCard)
    if card.run is None:
        load_model(model)  # raises, saying what stands in the way
    return card


def _weights_digest(model: str | Model, card: ModelCard, weights: Path | str | None) -> str:
    if isinstance(model, Model):
        return str(model.provenance.get("digest") or model.provenance.get("weights"))
    if weights == "random":
        return "random"
    _, variant, _ = catalog.split_name(model)
    path = Path(weights).expanduser() if weights is not None else weight_places.locate(card, variant)
    files = weight_places.weight_files(path)
    return weight_places.fingerprint(files) if files else str(path)


def card_digest(card: Any) -> str:
    """Return a short digest of everything a card says."""
    return hashlib.sha256(card.model_dump_json().encode()).hexdigest()[:16]


def default_name(request: Mapping[str, Any]) -> str:
    """Return the name of a request's run folder."""
    plain = ["".join(c if c.isalnum() or c in "-." else "-" for c in request[key]) for key in ("model", "dataset")]
    return "--".join([*plain, hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()[:8]])


def _classes(items: Sequence[tasks.Item], opened: Dataset) -> list[str] | None:
    used = {key for item in items for key in item.keys}
    if any(item.target not in used for item in items):
        return None
    stated = next((label.classes for label in opened.card.labels if set(label.classes) >= used), None)
    return list(stated) if stated else sorted(used)


def _majority(items: Sequence[tasks.Item]) -> dict[str, Any]:
    counts: dict[str, int] = {}
    for item in items:
        counts[item.target] = counts.get(item.target, 0) + 1
    best = max(sorted(counts), key=lambda key: counts[key])
    return {"class": best, "accuracy": counts[best] / len(items), "n": len(items)}


def _lineage(card: ModelCard, opened: Dataset) -> dict[str, Any]:
    """Return the lineage finding; a model or dataset of the user's own has no cards to ask."""
    known = catalog.entries()
    if ("model", card.slug) not in known or ("dataset", opened.card.slug) not in known:
        return {"asked": False, "overlaps": []}
    return {"asked": True, "overlaps": [overlap_facts(one) for one in lineage(card.slug, opened.card.slug)]}


def _data_facts(opened: Dataset) -> dict[str, Any]:
    """Return what a report needs to know of the data: may its inputs be shown, and where own data lies."""
    path = str(opened.path.absolute()) if opened.path else None
    return {"shareable_inputs": opened.card.shareable_inputs, "path": path, "columns": opened.columns}


def overlap_facts(overlap: Overlap) -> dict[str, Any]:
    """Return an overlap as plain data."""
    return {
        "kind": overlap.kind, "meaning": overlap.meaning, "path": list(overlap.path), "steps": list(overlap.steps),
        "evidence": list(overlap.evidence), "splits": list(overlap.splits),
    }  # fmt: skip


# The folder -----------------------------------------------------------------------------------------------------------


def _begin(folder: RunFolder, facts: Mapping[str, Any], resume: bool) -> None:
    stored = folder.read_json("run.json")
    if stored is None:
        if folder.published():
            raise RunError(f"{folder.path}: holds predictions but no run.json; choose another folder")
        folder.write_json("run.json", facts)
        return
    if not resume:
        raise RunError(f"{folder.path}: already holds a run, and resume is off; choose another folder with --output")
    asked, before = json.loads(json.dumps(facts["request"])), stored.get("request", {})
    differing = [key for key in {**asked, **before} if asked.get(key) != before.get(key)]
    if differing:
        raise RunError(
            f"{folder.path}: holds a run of another request ({', '.join(differing)} differ); choose another folder with --output"
        )


def _note_environment(folder: RunFolder, model: Model) -> None:
    facts = folder.read_json("run.json")
    assert facts is not None
    now = {"versions": versions(), "hardware": hardware(), "model": model.provenance}
    seen = facts.get("environments", [])
    if json.loads(json.dumps(now)) not in seen:
        folder.write_json("run.json", {**facts, "environments": [*seen, now]})


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that numbers depend on."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def hardware() -> dict[str, Any]:
    """Return the processor, its cores, and the platform."""
    names = [line.split(":")[1].strip() for line in _cpuinfo() if line.startswith("model name")]
    return {
        "cpu": names[0] if names else platform.processor(),
        "cores": os.cpu_count(),
        "platform": platform.platform(),
    }


def _cpuinfo() -> list[str]:
    try:
        return Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return []
