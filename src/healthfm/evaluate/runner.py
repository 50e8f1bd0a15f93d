"""``evaluate``: a model and a dataset to a run folder, resumable at any moment."""

from __future__ import annotations

import hashlib
import itertools
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa

from healthfm.cards import catalog
from healthfm.cards.schema import ModelCard
from healthfm.datasets import splits
from healthfm.datasets.cellwise import cellwise
from healthfm.datasets.dataset import Dataset, split_name
from healthfm.datasets.open import open_dataset, own_path
from healthfm.engine import steps
from healthfm.engine.steps import Progress
from healthfm.engine.store import RunFolder
from healthfm.errors import CapabilityError, RunError
from healthfm.evaluate import (
    bags,
    baselines,
    candidates,
    classification,
    cohort,
    dialogues,
    few_labels,
    free_text,
    mentions,
    molecule_texts,
    notes,
    perplexity,
    probes,
    protocols,
    provenance,
    questions,
    reading,
    relations,
    retrieval,
    similarity,
    tagging,
    zero_shot,
)
from healthfm.evaluate import judge as judging
from healthfm.evaluate.job import SETTLED, Ask, Job, Request, Review
from healthfm.models import own
from healthfm.models.load import check_placement, load_model
from healthfm.models.model import External, Model
from healthfm.models.remote.client import Client, Endpoint, keep_in_house
from healthfm.report.run import Run
from healthfm.score import baselines as rivals
from healthfm.score import scoring, written
from healthfm.score.kinds.labels import UNCERTAIN
from healthfm.score.result import FORMAT, finished, refuse_other_files
from healthfm.score.tasks import TASKS

LOG = logging.getLogger(__name__)
FINISHES = ("finish_reason", "judge_finish_reason")  # columns that say why a text ended; run.json counts them
WAYS: Mapping[str, Callable[[Ask], Job]] = {  # how a model is asked (``Task.way``)
    "scored question": questions.scored,
    "written choice": questions.written,
    "written answer": free_text.prepare,
    "scored classes": classification.prepare,
    "retrieval": retrieval.prepare,
    "told molecules": molecule_texts.prepare,
    "probe": probes.prepare,
    "bags": bags.prepare,
    "named classes": zero_shot.prepare,
    "few labels": few_labels.prepare,
    "whole text": perplexity.prepare,
    "cohort": cohort.prepare,
    "listed mentions": mentions.prepare,
    "tagged words": tagging.prepare,
    "listed relations": relations.prepare,
    "scored relations": relations.scored,
    "read answer": reading.words,
    "read sentences": reading.sentences,
    "embedded candidates": candidates.embedded,
    "likely candidates": candidates.likely,
    "scored turns": dialogues.acts,
    "written reply": dialogues.replies,
    "listed findings": dialogues.findings,
    "embedded pairs": similarity.prepare,
}
ASKED = tuple(name for name, task in TASKS.items() if task.way is not None)


def evaluate(
    model: str | Model, dataset: str | Path | Dataset, *, root: Path | str | None = None, task: str | None = None,
    split: str = "test", shots: int | None = None, shots_from: str = "train", shots_order: Literal["first", "random"] = "first",
    subgroups: Sequence[str] | str | None = None, seed: int = 0, limit: int | None = None, output: Path | str | None = None,
    resume: bool = True, weights: Path | str | None = None, device: str = "auto", dtype: str = "auto",
    progress: Progress | None = None, endpoint: str | Endpoint | None = None, allow_remote: str | Sequence[str] | None = None,
    judge: str | Model | None = None, human: Mapping[str, float] | Path | str | None = None, window: tuple[float, float] | None = None,
    baseline: bool = True, split_by: str | None = None, label: str | None = None, uncertain: str = scoring.UNCERTAIN,
) -> Run:  # fmt: skip
    """Evaluate a model on a dataset and return the run.

    ``model``: a name (also of a model without a card, see ``load_model``), or a loaded ``Model``. ``dataset``: ``slug[:variant][@protocol]``, a path to own data, or an open
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
    ``baseline``: predict the same samples by the cheap rivals there are, and say whether the model beats the strongest (``evaluate.baselines``).
    ``split_by``: how records that come without splits are divided (a rule of ``datasets.splits``, ``RULE`` or ``RULE:SEED``; None: the card's).
    ``label``: the label space that is predicted, of a card with several (None: the protocol's, or the first that fits the task).
    ``uncertain``: how labels that the owner leaves open count in a multi-label probe, when it is fitted and when it is scored: ignore (left out of that
    class), positive, negative.
    ``window``: the voxel values that become black and white in the slices of volumes (``Model.show_between``).

    Raises, before the model is loaded: ``CardError``, ``DatasetError``, ``RunError`` (absent split, withheld answers,
    another request's folder); and ``CheckpointError``, ``CapabilityError`` when the model cannot be loaded or asked.
    """
    request = Request(
        model=model, dataset=dataset, root=root, task=task, split=split, shots=shots, shots_from=shots_from, shots_order=shots_order,
        subgroups=[subgroups] if isinstance(subgroups, str) else subgroups, seed=seed, limit=limit, output=output, resume=resume, weights=weights, device=device, dtype=dtype,
        endpoint=endpoint, allow_remote=allow_remote, judge=judge, human=human, window=window, baseline=baseline, split_by=split_by, label=label, uncertain=uncertain,
    )  # fmt: skip
    return run(request, progress)


def _anew(request: Request) -> Model:
    return load_model(request.model, request.weights, device=request.device, dtype=request.dtype)  # type: ignore[arg-type]


def run(request: Request, progress: Progress | None = None, loading: Callable[[Request], Model] = _anew) -> Run:
    """Carry out a request (see ``evaluate``). ``loading``: how a model that was named is loaded, once it is needed."""
    request = _named(request)
    ask, client, judge = _opened(request)
    model, opened = request.model, ask.opened
    human = judging.read_human(Path(request.human)) if isinstance(request.human, Path | str) else request.human
    job = prepare(ask)
    if not job.records:
        raise RunError(f"{opened.name}: split '{ask.split}' has no records")
    if job.targets is not None:
        scoring.check_targets(job.task, [record.id for record in job.records], job.targets, job.classes)
    if request.endpoint is not None:
        model = load_model(model, request.weights, endpoint=client)  # type: ignore[arg-type]
    ask, job = _in_writing(ask, job, model)
    job, review = judging.attach(job, judge, human)
    if request.window is not None and isinstance(model, Model):
        model.show_between(*request.window)

    def load() -> Model:
        loaded = model if isinstance(model, Model) else loading(request)
        if request.window is not None:
            loaded.show_between(*request.window)
        return loaded

    asked = _asked(request, ask, job, model, client)
    facts = {
        "format": FORMAT, "request": asked, "plan": job.plan, **job.facts, "root": str(Path(opened.root).absolute()) if opened.root else None, "classes": job.classes,
        "majority": _majority(job.every_target) if job.every_target is not None else None, "split_records": job.total,
        "lineage": provenance.lineage_finding(ask.card, opened), "data": provenance.data_facts(opened),
        **provenance.positive_of(opened.card, job.classes),
    }  # fmt: skip
    path = Path(request.output) if request.output is not None else default_folder(asked, isinstance(model, External))
    refuse_other_files(path)
    LOG.info(
        "%s on %s: %d samples of split %s, task %s, to %s",
        asked["model"],
        job.name,
        len(job.records),
        ask.split,
        job.task,
        path,
    )
    with RunFolder(path) as folder:
        if not request.resume and (folder.path / "run.json").exists():
            raise RunError(f"{path}: already holds a run, and resume is off; choose another folder with --output")
        steps.begin(folder, "run.json", "request", facts, (job.room, "predictions"), "a run")
        if steps.missing(folder, "predictions", job.plan["parts"]):
            LOG.info("%s: parts are missing, the model is loaded", path)
            _work(folder, job, review, load, progress)
        if request.baseline and not folder.published(rivals.ROOM):
            LOG.info("the cheap rivals predict the same samples")
            folder.publish(0, baselines.predictions(ask, job), rivals.ROOM)
        stored = notes.with_usage(folder, (job.room, "predictions"))
        table = folder.predictions()
        ends = {name: found for name in FINISHES if (found := written.finishes(table, name))}
        if review is not None or ends:
            judged_by = {"judge": written.judged(table)} if review is not None else {}
            stored = {**stored, **judged_by, **{f"{name}s": found for name, found in ends.items()}}
            folder.write_json("run.json", stored)
        made = finished(stored, folder, Run)
        folder.write_json("metrics.json", made.scores)
    return made


def _named(request: Request) -> Request:
    """Return a request whose model, where it is a name without a card, is what that name means: a server, or the user's own object."""
    served = own.address(request.model)
    if served is not None:
        asked = request.endpoint.url if isinstance(request.endpoint, Endpoint) else request.endpoint
        if asked not in (None, served):
            raise RunError(f"{request.model} names a server, and endpoint another ({asked}): give one of them")
        return replace(request, endpoint=request.endpoint or served)
    if own.form(request.model) in ("hf", "python", "baseline") and request.weights is not None:
        raise RunError(f"{request.model} says where the model is; weights is for rows of the catalogue")
    if own.form(request.model) == "python":
        if request.endpoint is not None:
            raise RunError(f"{request.model} is code of this machine, and endpoint a server: give one of them")
        return replace(request, model=load_model(request.model))  # type: ignore[arg-type]
    return request


def _opened(request: Request) -> tuple[Ask, Client | None, judging.Judge | None]:
    """Return what is asked, with the dataset open and the cards read; the model's server, and the judge. Nothing is sent yet."""
    check_placement(request.device, request.dtype)
    card = _model_card(request.model, request.endpoint)
    named = request.dataset
    opened = named if isinstance(named, Dataset) else open_dataset(named, request.root)
    client = Client(request.endpoint) if request.endpoint is not None else getattr(request.model, "client", None)
    rule = request.split_by or (opened.card.split_rule if opened.division is None else None)
    if opened.card.record == "Cells" and request.label is not None:
        opened, rule = cellwise(opened, request.label), rule or "donor"
    if rule is not None:
        opened = splits.divide(opened, rule)
    judge = judging.open_judge(request.judge, request.device, request.dtype) if request.judge is not None else None
    for one in (client, judge.client if judge is not None else None):
        if one is not None:
            _keep_in_house(opened, one, request.allow_remote)
    if request.shots is not None and request.shots < 0:
        raise RunError(f"shots is {request.shots}; it must be 0 or more")
    protocol = catalog.split_name(named)[2] if isinstance(named, str) and own_path(named) is None else opened.protocol
    split = split_name(opened.card, request.split)
    ask = Ask(request=request, opened=opened, card=card, task=request.task, protocol=protocol, split=split)
    return ask, client, judge


def _asked(request: Request, ask: Ask, job: Job, model: str | Model, client: Client | None) -> dict[str, Any]:
    """Return the request as run.json has it: what must be the same for a run to go on."""
    return {
        "model": (ask.card.slug if own.form(model) else model) if isinstance(model, str) else model.name, "dataset": job.name, "task": job.task, "split": ask.split,
        **job.asked, "subgroups": list(request.subgroups or ()), "seed": request.seed, "limit": request.limit,
        "weights": provenance.weights_digest(model, ask.card, request.weights), "device": request.device, "dtype": request.dtype,
        **({"window": list(request.window)} if request.window is not None else {}),
        **({"split_by": ask.opened.division.name, "division": ask.opened.division.digest} if ask.opened.division is not None else {}),
        **({"label": request.label} if request.label is not None else {}), **({"uncertain": request.uncertain} if request.uncertain != scoring.UNCERTAIN else {}),
        "cards": {"model": provenance.card_digest(ask.card), "dataset": provenance.card_digest(ask.opened.stated)}, "items": job.plan["items"],
        **({"endpoint": model.provenance["endpoint"]} if isinstance(model, Model) and client is not None else {}),
    }  # fmt: skip


def prepare(ask: Ask) -> Job:
    """Return the job of what was asked. Raises ``RunError``: no such task, or one that asks nothing of a model."""
    task = ask.task
    if task is not None and task not in ASKED:
        known = f"tasks: {', '.join(ASKED)}"
        raise RunError(
            f"{task} is for predictions made elsewhere ({known})" if task in TASKS else f"no task '{task}' ({known})"
        )
    if task is None and ask.protocol is None and ask.opened.doubt:
        raise RunError(f"{ask.opened.name}: {ask.opened.doubt}")
    if task is None and ask.protocol is None:
        task = protocols.unasked(ask.opened.card, ask.request.label)
    if task is None or TASKS[task].prompted:
        task = protocols.choose_protocol(ask.opened.card, ask.protocol, task)[1].task
    way, rule = TASKS[task].way, ask.request.uncertain
    assert way is not None
    if rule not in UNCERTAIN:
        raise RunError(f"no rule '{rule}' for uncertain labels (rules: {', '.join(UNCERTAIN)})")
    if rule != scoring.UNCERTAIN and TASKS[task].rule != "several":
        raise RunError(
            f"{task} takes no rule for uncertain labels: multi-label-probe does (--uncertain ignore, positive or negative)"
        )
    return WAYS[way](replace(ask, task=task))


def _in_writing(ask: Ask, job: Job, model: str | Model) -> tuple[Ask, Job]:
    """Return what is asked of a model that tells no likelihoods of options but writes: the same questions, answered in writing.

    Only where nobody named a task or a protocol, and there is a protocol of that kind; a notice says so.
    """
    written = f"{job.task}-generated"
    if ask.task is not None or ask.protocol is not None or written not in TASKS or not isinstance(model, Model):
        return ask, job
    if "score" in model.capabilities or "generate" not in model.capabilities:
        return ask, job
    try:
        made = prepare(replace(ask, task=written))
    except RunError:  # nobody says how: the first way is refused, by its name
        return ask, job
    said = f"{model.name} tells no likelihood of given options, which {job.task} needs: it was asked to write its answer ({written})"
    return replace(ask, task=written), replace(
        made, facts={**made.facts, "notices": [*made.facts.get("notices", ()), said]}
    )


def _work(
    folder: RunFolder, job: Job, review: Review | None, load: Callable[[], Model], progress: Progress | None
) -> None:  # fmt: skip
    """Compute the parts that are missing, then the predictions where they need all parts or a second model."""
    tool: Any = None
    if steps.missing(folder, job.room, job.parts):
        model = _able(load(), job)
        tool = job.tool(model, notes.settled(folder, job.room))
        _fill(folder, job.room, job, model, lambda number, rows: job.compute(tool, rows), progress, judge=False)
    if review is not None and steps.missing(folder, "predictions", job.parts):
        judge = _able(review.load(), job)

        def judged(number: int, rows: range) -> pa.Table:
            return review.compute(judge, folder.part(number, job.room), job.records[rows.start : rows.stop])

        _fill(folder, "predictions", job, judge, judged, progress, judge=True)
    if job.whole:
        vectors, settled = folder.predictions(job.room), notes.settled(folder, job.room) or {}
        if job.asks_again and tool is None:
            tool = job.tool(_able(load(), job), settled)
        made = job.finish_with(tool, vectors, settled) if job.asks_again else job.finish(vectors, settled)
        folder.write_json("run.json", {**(folder.read_json("run.json") or {}), "fitted": made.how})
        for room, more in made.beside.items():
            folder.publish(0, more, room)
        folder.publish(0, made.table)


def _able(model: Model, job: Job) -> Model:
    """Return a model that has the task's verb. Raises ``CapabilityError``: it has not."""
    verb = TASKS[job.task].verb
    if verb not in model.capabilities:
        others = ", ".join(name for name in ASKED if TASKS[name].verb in model.capabilities) or "none"
        raise CapabilityError(
            f"{model.name} cannot {verb}, which {job.task} needs; it can {', '.join(sorted(model.capabilities))} (tasks for it: {others})"
        )
    return model


def _fill(
    folder: RunFolder, room: str, job: Job, model: Model, compute: Callable[[int, range], pa.Table], progress: Progress | None, *, judge: bool
) -> None:  # fmt: skip
    """Publish the parts that a room lacks; the run and each part say which model made them."""
    notes.served(folder, model, judge)
    notes.environment(folder, model, judge)

    def noted(number: int, rows: range) -> pa.Table:
        spent = dict(model.provenance.get("usage", {}))
        part = compute(number, rows)
        notes.served(folder, model, judge)
        kept = {key: value for key, value in (part.schema.metadata or {}).items() if key == SETTLED.encode()}
        return part.replace_schema_metadata({**kept, **notes.used(model, spent)} or None)

    steps.fill(folder, room, job.parts, noted, progress)


def _keep_in_house(opened: Dataset, client: Client, allowed: str | Sequence[str] | None) -> None:
    hosts = [allowed] if isinstance(allowed, str) else list(allowed or ())
    for host in hosts[:-1]:
        try:
            return keep_in_house(opened.card, client, host)
        except RunError:
            continue
    keep_in_house(opened.card, client, hosts[-1] if hosts else None)


def _model_card(model: str | Model, endpoint: str | Endpoint | None) -> ModelCard:
    if isinstance(model, Model):
        if endpoint is not None:
            raise RunError(
                "model is loaded already; give its name, or load_model(name, endpoint=...) and no endpoint here"
            )
        return model.card
    if not isinstance(model, str):
        raise RunError("model is neither a name nor a loaded model; wrap it: load_model(yours, card=..., verb='score')")
    if own.form(model) is not None:
        if endpoint is not None and own.address(model) is None:
            raise RunError(f"{model} runs here; a server's model is endpoint:URL#NAME")
        return own.card(model)
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
