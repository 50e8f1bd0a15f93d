"""``evaluate``: a model and a dataset to a run folder, resumable at any moment."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa

from healthfm.cards import catalog
from healthfm.cards.schema import ModelCard
from healthfm.datasets.dataset import Dataset, split_name
from healthfm.datasets.open import open_dataset
from healthfm.engine.store import RunFolder
from healthfm.errors import CapabilityError, RunError
from healthfm.evaluate import (
    bags,
    classification,
    free_text,
    perplexity,
    probes,
    protocols,
    provenance,
    questions,
    retrieval,
)
from healthfm.evaluate import judge as judging
from healthfm.evaluate.job import Ask, Job
from healthfm.models.load import check_placement, load_model
from healthfm.models.model import External, Model
from healthfm.models.remote.client import Client, Endpoint, keep_in_house
from healthfm.report.run import Run
from healthfm.score import scoring, tasks, written
from healthfm.score.result import FORMAT, finished, refuse_other_files

Progress = Callable[[int, int], None]
FINISHES = ("finish_reason", "judge_finish_reason")  # columns that say why a text ended; run.json counts them
USAGE = "usage"  # the metadata of a part that says what an endpoint was asked for it
PREPARE: Mapping[str, Callable[[Ask], Job]] = {
    "multiple-choice": questions.prepare, "yes-no-maybe": questions.prepare,
    "multiple-choice-generated": questions.prepare_generated, "yes-no-maybe-generated": questions.prepare_generated,
    "free-text": free_text.prepare, "text-classification": classification.prepare,
    "multi-label-classification": classification.prepare_multi_label, "retrieval": retrieval.prepare,
    "linear-probe": probes.prepare, "balanced-probe": probes.prepare, "few-shot": probes.prepare, "knn": probes.prepare,
    "multi-label-probe": probes.prepare, "mil": bags.prepare, "perplexity": perplexity.prepare,
}  # fmt: skip
UNPROMPTED = (  # tasks that need no protocol
    "linear-probe", "balanced-probe", "few-shot", "knn", "multi-label-probe", "mil", "retrieval", "perplexity"
)  # fmt: skip


def evaluate(
    model: str | Model, dataset: str | Path | Dataset, *, root: Path | str | None = None, task: str | None = None,
    split: str = "test", shots: int | None = None, shots_from: str = "train", shots_order: Literal["first", "random"] = "first",
    subgroups: Sequence[str] | None = None, seed: int = 0, limit: int | None = None, output: Path | str | None = None,
    resume: bool = True, weights: Path | str | None = None, device: str = "auto", dtype: str = "auto",
    progress: Progress | None = None, endpoint: str | Endpoint | None = None, allow_remote: str | Sequence[str] | None = None,
    judge: str | Model | None = None, human: Mapping[str, float] | Path | None = None, window: tuple[float, float] | None = None,
) -> Run:  # fmt: skip
    """Evaluate a model on a dataset and return the run.

    ``model``: a name, or a loaded ``Model``. ``dataset``: ``slug[:variant][@protocol]``, a Path to own data, or an open
    ``Dataset``; ``root`` the folder with its official files. ``task``: a key of ``tasks.TASKS`` with a verb; None is that of the
    protocol, and the protocol that of the name, else the card's for the task. Probes and ``mil`` are fitted on ``shots_from``. ``shots`` solved examples (None: the
    protocol's) come from ``shots_from``, the first ones or a seeded draw; when that is the evaluated split itself, whole
    patients are taken out of it. ``limit`` draws a seeded sample. ``subgroups`` name record fields, labels or ``meta`` keys.
    ``output`` is the run folder (default ``runs/MODEL--DATASET--DIGEST``): the same request goes on where it stopped, and
    returns at once when it is finished (a function or object of the caller's, which cannot be told from another, does so only where ``output``
    is named). ``progress`` is called with (samples done, samples in all).
    ``endpoint`` is an OpenAI-compatible server that runs the model (see ``load_model``). Data that must stay in the house
    goes to another machine only when ``allow_remote`` names its host (or hosts); refused before anything is sent, to a judge too.
    ``judge`` marks free-text answers: a loaded model, the name of one whose weights are here, or an endpoint's address.
    ``human`` scores (0 to 1, by id; or a CSV file with id and score) are what its agreement is measured on.
    ``window``: the voxel values that become black and white in the slices of volumes (``Model.show_between``).

    Raises, before the model is loaded: ``CardError``, ``DatasetError``, ``RunError`` (absent split, withheld answers,
    another request's folder); and ``CheckpointError``, ``CapabilityError`` when the model cannot be loaded or asked.
    """
    check_placement(device, dtype)
    card = _model_card(model, endpoint)
    opened = dataset if isinstance(dataset, Dataset) else open_dataset(dataset, root)
    client = Client(endpoint) if endpoint is not None else getattr(model, "client", None)
    judged = judging.open_judge(judge, device, dtype) if judge is not None else None
    for one in (client, judged.client if judged is not None else None):
        if one is not None:
            _keep_in_house(opened, one, allow_remote)
    split = split_name(opened.card, split)
    protocol = catalog.split_name(dataset)[2] if isinstance(dataset, str) else opened.protocol
    if shots is not None and shots < 0:
        raise RunError(f"shots is {shots}; it must be 0 or more")
    ask = Ask(opened, card, task, protocol, split, shots, shots_from, shots_order, subgroups, seed, limit)
    scores = judging.read_human(human) if isinstance(human, Path) else human
    job = judging.attach(prepare(ask), judged, scores)
    if not job.records:
        raise RunError(f"{opened.name}: split '{split}' has no records")
    if job.targets is not None:
        scoring.check_targets(job.task, [record.id for record in job.records], job.targets, job.classes)
    if endpoint is not None:
        model = load_model(model, weights, endpoint=client)  # type: ignore[arg-type]
    if window is not None and isinstance(model, Model):
        model.show_between(*window)

    def load() -> Model:
        loaded = model if isinstance(model, Model) else load_model(model, weights, device=device, dtype=dtype)
        if window is not None:
            loaded.show_between(*window)
        return loaded

    request = {
        "model": model if isinstance(model, str) else model.name, "dataset": job.name, "task": job.task, "split": split,
        **job.asked, "subgroups": list(subgroups or ()), "seed": seed, "limit": limit,
        "weights": provenance.weights_digest(model, card, weights), "device": device, "dtype": dtype,
        **({"window": list(window)} if window is not None else {}),
        "cards": {"model": provenance.card_digest(card), "dataset": provenance.card_digest(opened.card)}, "items": job.plan["items"],
        **({"endpoint": model.provenance["endpoint"]} if isinstance(model, Model) and client is not None else {}),
    }  # fmt: skip
    facts = {
        "format": FORMAT, "request": request, "plan": job.plan, **job.facts, "root": str(Path(opened.root).absolute()) if opened.root else None, "classes": job.classes,
        "majority": _majority(job.every_target) if job.every_target is not None else None, "split_records": job.total,
        "lineage": provenance.lineage_finding(card, opened), "data": provenance.data_facts(opened),
    }  # fmt: skip
    path = Path(output) if output is not None else default_folder(request, isinstance(model, External))
    refuse_other_files(path)
    with RunFolder(path) as folder:
        _begin(folder, facts, resume)
        if not _finished(folder, job):
            _work(folder, job, load, progress)
        stored = _with_usage(folder, job)
        table = folder.predictions()
        ends = {name: found for name in FINISHES if (found := written.finishes(table, name))}
        if job.review is not None or ends:
            judged_by = {"judge": written.judged(table)} if job.review is not None else {}
            stored = {**stored, **judged_by, **{f"{name}s": found for name, found in ends.items()}}
            folder.write_json("run.json", stored)
        run = finished(stored, folder, Run)
        folder.write_json("metrics.json", run.scores)
    return run


def prepare(ask: Ask) -> Job:
    """Return the job of what was asked. Raises ``RunError``: no such task, or one that asks nothing of a model."""
    task = ask.task
    if task is not None and task not in PREPARE:
        known = f"tasks: {', '.join(PREPARE)}"
        raise RunError(
            f"{task} is for predictions made elsewhere ({known})"
            if task in tasks.TASKS
            else f"no task '{task}' ({known})"
        )
    if task is None or task not in UNPROMPTED:
        task = protocols.choose_protocol(ask.opened.card, ask.protocol, task)[1].task
    return PREPARE[task](replace(ask, task=task))


def _keep_in_house(opened: Dataset, client: Client, allowed: str | Sequence[str] | None) -> None:
    hosts = [allowed] if isinstance(allowed, str) else list(allowed or ())
    for host in hosts[:-1]:
        try:
            return keep_in_house(opened.card, client, host)
        except RunError:
            continue
    keep_in_house(opened.card, client, hosts[-1] if hosts else None)


def _finished(folder: RunFolder, job: Job) -> bool:
    return len(folder.published()) >= len(job.plan["parts"])


def _work(folder: RunFolder, job: Job, load: Callable[[], Model], progress: Progress | None) -> None:
    """Compute the parts that are missing, then the predictions where they need all parts or a second model."""
    job.kept.update((folder.read_json("run.json") or {}).get("kept", {}))
    _fill(folder, job, job.room, job.verb, load, job.compute, progress)
    if job.review is not None:
        review, number = job.review, {start: n for n, (start, _) in enumerate(job.parts)}

        def judged(model: Model, rows: range) -> pa.Table:
            return review.compute(model, folder.part(number[rows.start], job.room), rows)

        _fill(folder, job, "predictions", review.verb, review.load, judged, progress)
    if job.finish is not None:
        table, how = job.finish(folder.predictions(job.room))
        folder.write_json("run.json", {**(folder.read_json("run.json") or {}), "fitted": how})
        for room, more in job.beside.items():
            folder.publish(0, more, room)
        folder.publish(0, table)


def _fill(
    folder: RunFolder, job: Job, room: str, verb: str, load: Callable[[], Model], compute: Callable[[Model, range], pa.Table],
    progress: Progress | None,
) -> None:  # fmt: skip
    """Publish the parts that a room lacks."""
    done = folder.published(room)
    todo = {number: range(*job.parts[number]) for number in range(len(job.parts)) if number not in done}
    if not todo:
        return
    loaded = load()
    if verb not in loaded.capabilities:
        others = ", ".join(name for name in PREPARE if tasks.TASKS[name].verb in loaded.capabilities) or "none"
        raise CapabilityError(
            f"{loaded.name} cannot {verb}, which {job.task} needs; it can {', '.join(sorted(loaded.capabilities))} (tasks for it: {others})"
        )
    by_judge = job.review is not None and room == "predictions"
    _note_served(folder, loaded, by_judge)
    _note_environment(folder, loaded, by_judge)
    total = job.parts[-1][1]
    count = total - sum(map(len, todo.values()))
    for number, rows in todo.items():
        if progress is not None:
            progress(count, total)
        spent = dict(loaded.provenance.get("usage", {}))
        part = compute(loaded, rows)
        _note_served(folder, loaded, by_judge)
        _note_kept(folder, job)
        folder.publish(number, part.replace_schema_metadata(_used(loaded, spent)), room)
        count += len(rows)
    if progress is not None:
        progress(count, total)


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


def default_folder(request: Mapping[str, Any], unknown: bool) -> Path:
    """Return where a run goes that names no folder; an ``unknown`` model's to one that is not there yet."""
    path = Path("runs") / default_name(request)
    more = (path.with_name(f"{path.name}-{number}") for number in itertools.count(2))
    return next(one for one in itertools.chain((path,), more) if not one.exists()) if unknown else path


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
    stored, begun = folder.read_json("run.json"), next(folder.path.glob("*/part-*"), None) is not None
    if stored is None and begun:
        raise RunError(f"{folder.path}: holds predictions but no run.json; choose another folder")
    if stored is None or (resume and not begun):
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


def _note_environment(folder: RunFolder, model: Model, judge: bool) -> None:
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


def _note_served(folder: RunFolder, model: Model, judge: bool) -> None:
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


def _note_kept(folder: RunFolder, job: Job) -> None:
    """Write down what the run goes by from now on, before the first part that rests on it appears."""
    facts = folder.read_json("run.json") or {}
    if job.kept and json.loads(json.dumps(job.kept)) != facts.get("kept"):
        folder.write_json("run.json", {**facts, "kept": job.kept})


def _used(model: Model, spent: Mapping[str, int]) -> dict[str, str] | None:
    """Return what an endpoint was asked since ``spent``, as a part says it of itself: so both are there, or neither."""
    now = model.provenance.get("usage")
    return {USAGE: json.dumps({key: now[key] - spent.get(key, 0) for key in now})} if now else None


def _with_usage(folder: RunFolder, job: Job) -> dict[str, Any]:
    """Return ``run.json``, with what all parts together asked of endpoints."""
    facts = folder.read_json("run.json")
    assert facts is not None
    usage: dict[str, int] = {}
    for room in dict.fromkeys((job.room, "predictions")):
        for number in sorted(folder.published(room)):
            for key, count in json.loads(folder.metadata(number, room).get(USAGE, "{}")).items():
                usage[key] = usage.get(key, 0) + count
    if usage and usage != facts.get("usage"):
        facts = {**facts, "usage": usage}
        folder.write_json("run.json", facts)
    return facts
