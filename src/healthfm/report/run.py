"""``Run``: a result with its page. What ``evaluate`` returns, a run folder opened again, predictions made elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from healthfm import notebook
from healthfm.engine.store import RunFolder
from healthfm.errors import RunError
from healthfm.report import page
from healthfm.report.words import interval, number, word
from healthfm.score import result, scoring
from healthfm.score.result import FORMAT, Result, refuse_other_files
from healthfm.score.tables import as_table


class Run(Result):
    """An evaluation's result: ``metrics`` (values with intervals), ``predictions`` (one row a sample), ``path``, ``report()``."""

    def _repr_html_(self) -> str:
        first = self.scores["headline"]
        every = {first: self.metrics[first], **self.metrics}
        rows = [(word(name).label, number(one["value"]), interval(one), one["n"]) for name, one in every.items()]
        return notebook.table(self.title, ("metric", "value", "95 % interval", "n"), rows)

    def report(self, show_inputs: bool = False) -> Path:
        """Write ``report.html`` (and ``metrics.json`` as it is computed now) into the run folder and return the page's path."""
        if self.path is None:
            raise RunError("this run has no folder; give evaluate_predictions an output folder")
        html = page.render(self, show_inputs=show_inputs)
        with RunFolder(self.path) as folder:
            folder.write_json("metrics.json", self.scores)
            folder.write("report.html", html)
        return self.path / "report.html"


def load_run(path: Path | str) -> Run:
    """Open a finished run folder; metrics are computed again from its predictions. Raises ``RunError`` when unfinished."""
    return result.read(path, Run)


def evaluate_predictions(
    table: Any, task: str, *, classes: Sequence[str] | None = None, seed: int = 0,
    name: str = "predictions", uncertain: str = scoring.UNCERTAIN, output: Path | str | None = None,
) -> Run:  # fmt: skip
    """Score predictions made elsewhere: the statistics alone.

    ``table`` (of Arrow, pandas or polars, or a mapping of columns): ``id`` and the columns of the task's kind (docs/metrics.md lists them; for one class a row ``target`` and
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
