"""``evaluate``: a model and a dataset to a run folder, resumable at any moment."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from healthfm.cards import catalog
from healthfm.cards.schema import ModelCard
from healthfm.datasets.dataset import Dataset, open_dataset, split_name
from healthfm.engine.store import RunFolder
from healthfm.errors import CapabilityError, RunError
from healthfm.evaluate import probes, provenance, questions
from healthfm.evaluate.job import Job
from healthfm.evaluate.run import FORMAT, Run, rescore
from healthfm.models.client import Client, Endpoint, keep_in_house
from healthfm.models.model import Model, check_placement, load_model

Progress = Callable[[int, int], None]


def evaluate(
    model: str | Model, dataset: str | Path | Dataset, *, root: Path | str | None = None, task: str | None = None,
    split: str = "test", shots: int | None = None, shots_from: str = "train", shots_order: Literal["first", "random"] = "first",
    subgroups: Sequence[str] | None = None, seed: int = 0, limit: int | None = None, output: Path | str | None = None,
    resume: bool = True, weights: Path | str | None = None, device: str = "auto", dtype: str = "auto",
    progress: Progress | None = None, endpoint: str | Endpoint | None = None, allow_remote: str | None = None,
) -> Run:  # fmt: skip
    """Evaluate a model on a dataset and return the run.

    ``model``: a name, or a loaded ``Model``. ``dataset``: ``slug[:variant][@protocol]``, a Path to own data, or an open
    ``Dataset``; ``root`` the folder with its official files. ``task``: None asks the questions by the card's protocol;
    "linear-probe" and "knn" classify frozen embeddings, fitted on ``shots_from``. ``shots`` solved examples (None: the
    protocol's) come from ``shots_from``, the first ones or a seeded draw; when that is the evaluated split itself, whole
    patients are taken out of it. ``limit`` draws a seeded sample. ``subgroups`` name record fields, labels or ``meta`` keys.
    ``output`` is the run folder (default ``runs/MODEL--DATASET--DIGEST``): the same request goes on where it stopped, and
    returns at once when it is finished. ``progress`` is called with (samples done, samples in all).
    ``endpoint`` is an OpenAI-compatible server that runs the model (see ``load_model``). Data that must stay in the house
    goes to another machine only when ``allow_remote`` names its host; refused before anything is sent.

    Raises, before the model is loaded: ``CardError``, ``DatasetError``, ``RunError`` (absent split, withheld answers,
    another request's folder); and ``CheckpointError``, ``CapabilityError`` when the model cannot be loaded or asked.
    """
    check_placement(device, dtype)
    card = _model_card(model, endpoint)
    opened = dataset if isinstance(dataset, Dataset) else open_dataset(dataset, root)
    client = Client(endpoint) if endpoint is not None else getattr(model, "client", None)
    if client is not None:
        keep_in_house(opened.card, client, allow_remote)
    split = split_name(opened.card, split)
    if task in probes.TASKS:
        job = probes.prepare(opened, task, split, fit_on=shots_from, subgroups=subgroups, seed=seed, limit=limit)
    else:
        asked = catalog.split_name(dataset)[2] if isinstance(dataset, str) else opened.protocol
        job = questions.prepare(
            opened, asked, task, split, shots=shots, shots_from=shots_from, shots_order=shots_order, subgroups=subgroups,
            seed=seed, limit=limit,
        )  # fmt: skip
    if not job.records:
        raise RunError(f"{opened.name}: split '{split}' has no records")
    if endpoint is not None:
        model = load_model(model, weights, endpoint=client)  # type: ignore[arg-type]
    request = {
        "model": model if isinstance(model, str) else model.name, "dataset": job.name, "task": job.task, "split": split,
        **job.asked, "subgroups": list(subgroups or ()), "seed": seed, "limit": limit,
        "weights": provenance.weights_digest(model, card, weights), "device": device, "dtype": dtype,
        "cards": {"model": provenance.card_digest(card), "dataset": provenance.card_digest(opened.card)}, "items": job.plan["items"],
        **({"endpoint": model.provenance["endpoint"]} if isinstance(model, Model) and client is not None else {}),
    }  # fmt: skip
    facts = {
        "format": FORMAT, "request": request, "plan": job.plan, **job.facts, "root": str(opened.root), "classes": job.classes,
        "majority": _majority(job.every_target), "split_records": len(job.every_target),
        "lineage": provenance.lineage_finding(card, opened),         "data": provenance.data_facts(opened),
    }  # fmt: skip
    path = Path(output) if output is not None else Path("runs") / default_name(request)
    with RunFolder(path) as folder:
        _begin(folder, facts, resume)
        if not _finished(folder, job):
            _work(
                folder,
                job,
                lambda: model if isinstance(model, Model) else load_model(model, weights, device=device, dtype=dtype),
                progress,
            )
        table = folder.predictions()
        stored = folder.read_json("run.json")
        assert stored is not None
        scores = rescore(stored, table)
        folder.write_json("metrics.json", scores)
    return Run(stored, table, scores, path)


def _finished(folder: RunFolder, job: Job) -> bool:
    return len(folder.published()) >= len(job.plan["parts"])


def _work(folder: RunFolder, job: Job, load: Callable[[], Model], progress: Progress | None) -> None:
    """Compute the parts that are missing, then the predictions where they need all parts."""
    done = folder.published(job.room)
    todo = {number: range(*job.parts[number]) for number in range(len(job.parts)) if number not in done}
    if todo:
        loaded = load()
        if job.verb not in loaded.capabilities:
            raise CapabilityError(
                f"{loaded.name} cannot {job.verb}, which {job.task} needs; it can {', '.join(sorted(loaded.capabilities))}"
            )
        _note_environment(folder, loaded)
        total = job.parts[-1][1]
        count = total - sum(map(len, todo.values()))
        spent = dict(loaded.provenance.get("usage", {}))
        for number, rows in todo.items():
            if progress is not None:
                progress(count, total)
            folder.publish(number, job.compute(loaded, rows), job.room)
            count += len(rows)
            spent = _note_usage(folder, loaded, spent)
        if progress is not None:
            progress(count, total)
    if job.finish is not None:
        table, how = job.finish(folder.predictions(job.room))
        folder.write_json("run.json", {**(folder.read_json("run.json") or {}), "fitted": how})
        folder.publish(0, table)


def _model_card(model: str | Model, endpoint: str | Endpoint | None) -> ModelCard:
    if isinstance(model, Model):
        if endpoint is not None:
            raise RunError(
                "model is loaded already; give its name, or load_model(name, endpoint=...) and no endpoint here"
            )
        return model.card
    if not isinstance(model, str):
        raise RunError("model is neither a name nor a loaded model; wrap it: load_model(yours, card=..., verb='score')")
    card = catalog.card(model, "model")
    assert isinstance(card, ModelCard)
    if card.run is None and endpoint is None:
        load_model(model)  # raises, saying what stands in the way
    return card


def default_name(request: Mapping[str, Any]) -> str:
    """Return the name of a request's run folder."""
    plain = ["".join(c if c.isalnum() or c in "-." else "-" for c in request[key]) for key in ("model", "dataset")]
    return "--".join([*plain, hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()[:8]])


def _majority(targets: Sequence[str]) -> dict[str, Any]:
    counts: dict[str, int] = {}
    for target in targets:
        counts[target] = counts.get(target, 0) + 1
    best = max(sorted(counts), key=lambda key: counts[key])
    return {"class": best, "accuracy": counts[best] / len(targets), "n": len(targets)}


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
    stable = {key: value for key, value in model.provenance.items() if key != "usage"}
    now = {"versions": provenance.versions(), "hardware": provenance.hardware(), "model": stable}
    seen = facts.get("environments", [])
    if json.loads(json.dumps(now)) not in seen:
        folder.write_json("run.json", {**facts, "environments": [*seen, now]})


def _note_usage(folder: RunFolder, model: Model, spent: Mapping[str, int]) -> dict[str, int]:
    """Add what an endpoint was asked since ``spent`` to the run's own count; return the count now."""
    now = dict(model.provenance.get("usage", {}))
    if now:
        facts = folder.read_json("run.json") or {}
        before = facts.get("usage", {})
        usage = {key: before.get(key, 0) + now[key] - spent.get(key, 0) for key in now}
        folder.write_json("run.json", {**facts, "usage": usage})
    return now
