"""``Run``: a finished evaluation, in memory or in a folder. Metrics always come from the predictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from healthfm.engine.store import RunFolder
from healthfm.errors import RunError
from healthfm.evaluate import scoring

FORMAT = 1


class Run:
    """An evaluation's result: ``metrics`` (values with intervals), ``predictions`` (one row a sample), ``path``, ``report()``."""

    def __init__(
        self, facts: Mapping[str, Any], predictions: pa.Table, scores: Mapping[str, Any], path: Path | None = None
    ) -> None:
        self.facts = facts
        self.predictions = predictions
        self.scores = scores
        self.path = path

    def __repr__(self) -> str:
        accuracy = self.metrics["accuracy"]
        return f"<Run {self.title}: accuracy {accuracy['value']:.3f} [{accuracy['low']:.3f}, {accuracy['high']:.3f}], n = {accuracy['n']}>"

    @property
    def title(self) -> str:
        """``MODEL on DATASET``, as asked."""
        return f"{self.facts['request']['model']} on {self.facts['request']['dataset']}"

    @property
    def metrics(self) -> dict[str, dict[str, Any]]:
        """Each metric's ``value``, ``low``, ``high``, ``method``, ``level`` and ``n``."""
        return dict(self.scores["metrics"])

    def report(self, show_inputs: bool = False) -> Path:
        """Write ``report.html`` into the run folder and return its path."""
        from importlib import import_module

        if self.path is None:
            raise RunError("this run has no folder; give evaluate_predictions an output folder")
        html = import_module("healthfm.report.page").render(self, show_inputs=show_inputs)
        with RunFolder(self.path) as folder:
            folder.write("report.html", html)
        return self.path / "report.html"


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
    table = folder.predictions()
    return Run(facts, table, rescore(facts, table), path)


def rescore(facts: Mapping[str, Any], table: pa.Table) -> dict[str, Any]:
    """Return the scores of a run's predictions, with the baseline of the full split where it is known."""
    request = facts["request"]
    scores = scoring.score(
        scoring.check_table(table, request["task"]), request["task"], facts.get("classes"), request["seed"]
    )
    if facts.get("majority"):
        scores["majority"] = facts["majority"]
    return scores


def evaluate_predictions(
    table: pa.Table | Mapping[str, Sequence[Any]], task: str, *, classes: Sequence[str] | None = None, seed: int = 0,
    name: str = "predictions", output: Path | str | None = None,
) -> Run:  # fmt: skip
    """Score predictions made elsewhere: the statistics alone.

    ``table``: ``id``, ``target`` and ``prediction``, or ``probabilities`` (a list a row) with ``options`` (the classes
    they speak of); optional ``patient`` (where one has several rows, intervals resample patients; a row without one is a
    patient of its own) and ``subgroup.NAME`` columns. A missing prediction counts as wrong.
    ``task``: a key of ``scoring.TASKS``. Raises ``RunError`` naming rows that are missing, double, NaN or unknown.
    """
    checked = scoring.check_table(table if isinstance(table, pa.Table) else _as_table(table), task)
    known = [str(one) for one in classes] if classes is not None else None
    facts = {
        "format": FORMAT, "plan": {"parts": [[0, checked.num_rows]]}, "classes": known, "majority": None,
        "request": {"model": name, "dataset": "a table of predictions", "task": task, "seed": seed},
    }  # fmt: skip
    scores = scoring.score(checked, task, known, seed)
    if output is None:
        return Run(facts, checked, scores)
    with RunFolder(Path(output)) as folder:
        if folder.read_json("run.json") is not None:
            raise RunError(f"{output}: already holds a run; choose another folder")
        folder.publish(0, checked)
        folder.write_json("metrics.json", scores)
        folder.write_json("run.json", facts)  # last: a folder that has it is finished
    return Run(facts, checked, scores, Path(output))


def _as_table(columns: Mapping[str, Sequence[Any]]) -> pa.Table:
    arrays: dict[str, Any] = {}
    for name, values in dict(columns).items():
        try:
            arrays[name] = pa.array(list(values) if getattr(values, "ndim", 1) > 1 else values)
        except (pa.ArrowException, TypeError, ValueError):
            raise RunError(f"the column {name} mixes kinds of values, or holds none that a table can") from None
    lengths = {name: len(values) for name, values in arrays.items()}
    if len(set(lengths.values())) > 1:
        raise RunError(f"the columns differ in length: {', '.join(f'{name} {n}' for name, n in lengths.items())}")
    return pa.table(arrays)
