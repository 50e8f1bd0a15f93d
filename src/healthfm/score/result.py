"""``Result``: a finished evaluation, in memory or in a folder. Metrics always come from the predictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa

from healthfm.engine.store import DRAFT, RunFolder
from healthfm.errors import RunError
from healthfm.score import baselines, few_labels, learning, prompts, scoring
from healthfm.spelling import short

FORMAT = 1
Kind = TypeVar("Kind", bound="Result")
BEGUN = (".lock", "predictions", "metrics.json")  # what a run that was stopped before its run.json leaves


class Result:
    """An evaluation's result: ``metrics`` (values with intervals), ``predictions`` (one row a sample), ``path``."""

    def __init__(
        self, facts: Mapping[str, Any], predictions: pa.Table, scores: Mapping[str, Any], path: Path | None = None,
        draws: Sequence[pa.Table] = (),
    ) -> None:  # fmt: skip
        self.facts = facts
        self.predictions = predictions
        self.scores = scores
        self.path = path
        self.draws = draws  # the predictions of every draw of few examples, rows as in ``predictions``

    def __repr__(self) -> str:
        name = self.scores["headline"]
        found = self.metrics[name]
        ends = "no interval" if found["low"] is None else f"[{found['low']:.3f}, {found['high']:.3f}]"
        return f"<{type(self).__name__} {self.title}: {name} {found['value']:.3f} {ends}, n = {found['n']}>"

    @property
    def title(self) -> str:
        """``MODEL on DATASET``, as asked; beside a model behind a server what that calls it."""
        return f"{self.model} on {self.facts['request']['dataset']}"

    @property
    def model(self) -> str:
        """The model as asked, or the variant that its weights turned out to be; behind a server, the names that the server has for
        what it holds stand beside it.
        """
        names = served_names(self.facts)
        ran = [one["model"] for one in self.facts.get("environments", []) if one.get("role") != "judge"]
        own = next((one["loaded_as"] for one in ran if "loaded_as" in one), self.facts["request"]["model"])
        return str(own) + (f" (server: {', '.join(dict.fromkeys(map(short, names)))})" if names else "")

    @property
    def may_show_inputs(self) -> bool:
        """Whether a report may show the records unasked, as the dataset's card said; of a table of predictions nobody said so."""
        return bool((self.facts.get("data") or {}).get("shareable_inputs"))

    @property
    def metrics(self) -> dict[str, dict[str, Any]]:
        """Each metric's ``value``, ``low``, ``high`` (None where there is no interval), ``method``, ``level`` and ``n``."""
        return dict(self.scores["metrics"])


def served_names(facts: Mapping[str, Any]) -> list[str]:
    """Return what the server that ran the model calls it, in its list and in its replies; [] where none did."""
    listed = str(facts["request"].get("endpoint") or "").partition("#")[2]
    found = facts.get("served") or {"name": listed, "replies": {}}
    held = (found.get("server") or {}).get("root")
    return [one for one in dict.fromkeys([found["name"], held, *found["replies"].values()]) if one]


def not_the_row(facts: Mapping[str, Any]) -> list[str]:
    """Say where a server calls its model by no name of the row that was asked for; [] else."""
    if (facts.get("served") or {}).get("is_row", True):
        return []
    names = " and ".join(f"'{one}'" for one in served_names(facts))
    return [
        f"the server calls its model {names}, which is no name of {facts['request']['model']} or of its checkpoints: these numbers are of the "
        "server's model, and nothing shows that it is the row's"
    ]


def refuse_other_files(path: Path) -> None:
    """Raise ``RunError`` where a run's folder would be one that holds something else."""
    if not path.is_dir() or (path / "run.json").is_file():
        return
    others = [one.name for one in path.iterdir() if one.name not in BEGUN and not DRAFT.fullmatch(one.name)]
    if others:
        raise RunError(
            f"{path}: holds other files ({len(others)}) and no run; choose an empty or a new folder with --output"
        )


def read(path: Path | str, kind: type[Kind]) -> Kind:
    """Open a finished run folder; metrics are computed again from its predictions. Raises ``RunError`` when unfinished."""
    path = Path(path)
    if not (path / "run.json").is_file():
        raise RunError(f"{path}: not a run folder (no run.json)")
    folder = RunFolder(path)
    facts = folder.read_json("run.json")
    try:
        assert facts is not None
        parts, _ = facts["plan"]["parts"], (facts["request"]["task"], facts["request"]["seed"])
    except (KeyError, TypeError):
        raise RunError(f"{path / 'run.json'}: damaged, it does not say what was asked") from None
    absent = set(range(len(parts))) - folder.published()
    if absent:
        raise RunError(
            f"{path}: unfinished, {len(absent)} of {len(parts)} parts are missing; run the same evaluate command again to finish it"
        )
    return finished(facts, folder, kind)


def finished(facts: Mapping[str, Any], folder: RunFolder, kind: type[Kind]) -> Kind:
    """Return the result of a folder in which every part is there, its scores computed from the predictions."""
    table, draws = folder.predictions(), draws_of(facts, folder)
    return kind(facts, table, rescore(facts, table, folder, draws), folder.path, draws)


def draws_of(facts: Mapping[str, Any], folder: RunFolder) -> list[pa.Table]:
    """Return the predictions of every draw of few examples, where the run made draws and kept them."""
    fitted = facts.get("fitted", {})
    if not fitted.get("draws") or not folder.published(learning.DRAWS):
        return []
    every = learning.unstack(folder.predictions(learning.DRAWS), learning.DRAW)
    return [scoring.check_table(one, facts["request"]["task"]) for one in every.values()]


def rescore(
    facts: Mapping[str, Any], table: pa.Table, folder: RunFolder, draws: Sequence[pa.Table] = ()
) -> dict[str, Any]:
    """Return the scores of a run's predictions (of few examples: over all ``draws``), with the baseline of the full split and a
    probe's learning curve where they are known.
    """
    request = facts["request"]
    checked = scoring.check_table(table, request["task"], facts.get("classes"), named=True)
    scores = scoring.score(
        checked,
        request["task"],
        facts.get("classes"),
        request["seed"],
        request.get("uncertain", scoring.UNCERTAIN),
        draws,
    )
    if facts.get("majority"):
        scores["majority"] = facts["majority"]
    if folder.published(baselines.ROOM):
        rivals = folder.predictions(baselines.ROOM)
        scores["baselines"] = baselines.against(
            checked,
            rivals,
            request["task"],
            scores["headline"],
            facts.get("classes") or scores["classes"] or None,
            request["seed"],
            draws,
        )
    if folder.published(prompts.ROOM):
        scores["prompts"] = prompts.read(
            checked,
            folder.predictions(prompts.ROOM),
            request["task"],
            facts.get("classes"),
            scores["headline"],
            request["seed"],
        )
    if folder.published(few_labels.ROOM):
        zero = folder.predictions(few_labels.ROOM)
        scores["few_labels"] = few_labels.read(
            checked, zero, draws, request["task"], facts.get("classes"), request["seed"]
        )
    fitted = facts.get("fitted", {})
    if "curve" in fitted:
        smaller = learning.unstack(folder.predictions(learning.ROOM)) if fitted["curve"] else {}
        every = {**smaller, fitted["fitted_on"]: table}
        scores["learning_curve"] = learning.curve(
            every, request["task"], scores["headline"], facts.get("classes"), request["seed"]
        )
    return scores
