"""``Run``: a finished evaluation, in memory or in a folder. Metrics always come from the predictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from healthfm.engine.store import DRAFT, RunFolder
from healthfm.errors import RunError
from healthfm.evaluate import learning, scoring
from healthfm.evaluate.predictions import as_table
from healthfm.models.served import short

FORMAT = 1
BEGUN = (".lock", "predictions", "metrics.json")  # what a run that was stopped before its run.json leaves


class Run:
    """An evaluation's result: ``metrics`` (values with intervals), ``predictions`` (one row a sample), ``path``, ``report()``."""

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
        return f"<Run {self.title}: {name} {found['value']:.3f} {ends}, n = {found['n']}>"

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
    def metrics(self) -> dict[str, dict[str, Any]]:
        """Each metric's ``value``, ``low``, ``high`` (None where there is no interval), ``method``, ``level`` and ``n``."""
        return dict(self.scores["metrics"])

    def report(self, show_inputs: bool = False) -> Path:
        """Write ``report.html`` (and ``metrics.json`` as it is computed now) into the run folder and return the page's path."""
        from importlib import import_module

        if self.path is None:
            raise RunError("this run has no folder; give evaluate_predictions an output folder")
        html = import_module("healthfm.report.page").render(self, show_inputs=show_inputs)
        with RunFolder(self.path) as folder:
            folder.write_json("metrics.json", self.scores)
            folder.write("report.html", html)
        return self.path / "report.html"


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


def load_run(path: Path | str) -> Run:
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
    return finished(facts, folder)


def finished(facts: Mapping[str, Any], folder: RunFolder) -> Run:
    """Return the run of a folder in which every part is there, its scores computed from the predictions."""
    table, draws = folder.predictions(), draws_of(facts, folder)
    return Run(facts, table, rescore(facts, table, folder, draws), folder.path, draws)


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
    fitted = facts.get("fitted", {})
    if "curve" in fitted:
        smaller = learning.unstack(folder.predictions(learning.ROOM)) if fitted["curve"] else {}
        every = {**smaller, fitted["fitted_on"]: table}
        scores["learning_curve"] = learning.curve(
            every, request["task"], scores["headline"], facts.get("classes"), request["seed"]
        )
    return scores


def evaluate_predictions(
    table: pa.Table | Mapping[str, Sequence[Any]], task: str, *, classes: Sequence[str] | None = None, seed: int = 0,
    name: str = "predictions", uncertain: str = scoring.UNCERTAIN, output: Path | str | None = None,
) -> Run:  # fmt: skip
    """Score predictions made elsewhere: the statistics alone.

    ``table``: ``id`` and the columns of the task's kind (docs/metrics.md lists them; for one class a row ``target`` and
    ``prediction``, or ``probabilities`` with ``options``, the classes they speak of); optional ``patient`` (where one has
    several rows, intervals resample patients; a row without one is a patient of its own) and ``subgroup.NAME`` columns. A
    missing prediction counts as wrong. ``task``: a key of ``tasks.TASKS``. ``uncertain``: how uncertain labels count, by
    name (ignore, positive, negative). Raises ``RunError`` naming rows that are missing, double, NaN or unknown.
    """
    known = [str(one) for one in classes] if classes is not None else None
    given = table if isinstance(table, pa.Table) else as_table(table)
    checked = scoring.check_table(given, task, known, named=True)
    facts = {
        "format": FORMAT, "plan": {"parts": [[0, checked.num_rows]]}, "classes": known, "majority": None,
        "request": {"model": name, "dataset": "a table of predictions", "task": task, "seed": seed, "uncertain": uncertain},
    }  # fmt: skip
    if output is not None:
        refuse_other_files(Path(output))
    scores = scoring.score(checked, task, known, seed, uncertain)
    if output is None:
        return Run(facts, checked, scores)
    with RunFolder(Path(output)) as folder:
        if folder.read_json("run.json") is not None:
            raise RunError(f"{output}: already holds a run; choose another folder")
        folder.publish(0, checked)
        folder.write_json("metrics.json", scores)
        folder.write_json("run.json", facts)  # last: a folder that has it is finished
    return Run(facts, checked, scores, Path(output))
