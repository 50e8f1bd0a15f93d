"""``Run``: a result with its page. What ``evaluate`` returns, a run folder opened again, predictions made elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from healthfm import notebook
from healthfm.datasets.open import open_dataset
from healthfm.engine.store import RunFolder
from healthfm.errors import RunError
from healthfm.report import heat, page
from healthfm.report.words import interval, number, word
from healthfm.score import clinical, result, scoring
from healthfm.score.given import against as given_against
from healthfm.score.result import FORMAT, Result, refuse_other_files
from healthfm.score.tables import as_table
from healthfm.score.tasks import TASKS
from healthfm.spelling import fit

CLINICAL = "binary"  # the task that asks for the clinical reading of any run with risks


class Run(Result):
    """An evaluation's result: ``metrics`` (values with intervals), ``predictions`` (one row a sample), ``path``, ``report()``."""

    def _repr_html_(self) -> str:
        first = self.scores["headline"]
        every = {first: self.metrics[first], **self.metrics}
        rows = [(word(name).label, number(one["value"]), interval(one), one["n"]) for name, one in every.items()]
        return notebook.table(self.title, ("metric", "value", "95 % interval", "n"), rows)

    def clinical(
        self, *, positive: str | None = None, threshold: float | None = None, prevalence: float | None = None
    ) -> dict[str, Any]:
        """Return the clinical reading (``score.clinical``): calibration of one class's risk, what ``threshold`` is worth, and for whom.

        ``positive``: the class; None where a card or declared classes name it. ``prevalence``: of the population meant. What is None is
        as ``evaluate_predictions`` was asked. Raises ``RunError``: nobody said which class is positive, or there are no probabilities.
        """
        asked = clinical.asked_of(self.facts, clinical.Asked(positive, threshold, prevalence))
        return clinical.clinical(
            self.predictions,
            self.facts["request"]["task"],
            self.scores["classes"],
            asked,
            self.facts["request"]["seed"],
        )

    def report(
        self, show_inputs: bool = False, *, task: str | None = None, positive: str | None = None, threshold: float | None = None,
        prevalence: float | None = None,
    ) -> Path:  # fmt: skip
        """Write ``report.html`` (and ``metrics.json`` as it is computed now) into the run folder and return the page's path.

        ``positive``, ``threshold``, ``prevalence``, or ``task="binary"``: ask for the clinical reading (see ``clinical``), which a table of
        the task ``binary`` has unasked where its positive class was named.
        """
        if self.path is None:
            raise RunError("this run has no folder; give evaluate_predictions an output folder")
        if task not in (None, CLINICAL):
            raise RunError(
                f"a run knows its own task; only '{CLINICAL}' can be asked for here, for the clinical reading of one class's risk"
            )
        asked = clinical.asked_of(self.facts, clinical.Asked(positive, threshold, prevalence))
        if task or asked.anything or clinical.unasked(self.facts, self.predictions):
            self.scores = {
                **self.scores,
                "clinical": self.clinical(positive=positive, threshold=threshold, prevalence=prevalence),
            }
        html = page.render(self, show_inputs=show_inputs)
        with RunFolder(self.path) as folder:
            folder.write_json("metrics.json", self.scores)
            folder.write("report.html", html)
        return self.path / "report.html"

    def heatmap(self, slide: str, output: Path | str | None = None) -> tuple[Path, Path]:
        """Draw where a model of ``mil`` looked on a slide, by its id or its file's name: return a PNG's path and that of GeoJSON for QuPath.

        ``output`` is a folder (default ``heatmaps`` in the run's). Raises ``RunError``: the run kept no attention, or knows no such slide.
        """
        picture, shapes, _ = heat.heatmap(self, slide, output)
        return picture, shapes


def load_run(path: Path | str) -> Run:
    """Open a finished run folder; metrics are computed again from its predictions. Raises ``RunError`` when unfinished."""
    return result.read(path, Run)


def evaluate_predictions(
    table: Any, task: str | None = None, *, classes: Sequence[str] | None = None, seed: int = 0,
    name: str = "predictions", uncertain: str = scoring.UNCERTAIN, output: Path | str | None = None,
    positive: str | None = None, threshold: float | None = None, prevalence: float | None = None,
    against: str | Path | None = None, root: Path | str | None = None, split: str | None = None, resample: str | None = None,
    tolerance: float | None = None,
) -> Run:  # fmt: skip
    """Score predictions made elsewhere: the statistics alone.

    ``table`` (of Arrow, pandas or polars, or a mapping of columns): ``id`` and the columns of the task's kind (docs/metrics.md lists them; for one class a row ``target`` and
    ``prediction``, or ``probabilities`` with ``options``, the classes they speak of); optional ``patient`` (where one has
    several rows, intervals resample patients; a row without one is a patient of its own) and ``subgroup.NAME`` columns. A
    missing prediction counts as wrong. ``task``: a key of ``tasks.TASKS``. ``uncertain``: how uncertain labels count, by
    name (ignore, positive, negative). ``positive``, ``threshold``, ``prevalence``: one class's name, the risk from which it is called, and
    its share in the population meant; any of them asks for the clinical reading (``Run.clinical``, ``scores["clinical"]``), and
    of two declared classes the second is the positive one unless ``positive`` says otherwise. Raises ``RunError`` naming rows that are missing, double, NaN or unknown.

    ``against``: a dataset (as for ``open_dataset``, with ``root`` and ``split``); ``table`` is then the path of a folder of masks, or of a file of boxes, for its
    records (docs/masks-and-boxes.md), and ``task`` what the card says unless given. ``resample="nearest"``: a mask on another grid is brought to its
    record's, else refused; ``tolerance``: of the surface distance, in place of the card's.
    """
    about: dict[str, Any] = {}
    if against is not None:
        task, table, about, data = _held_against(table, task, against, root, split, resample, tolerance)
    elif resample is not None or tolerance is not None or root is not None or split is not None:
        raise RunError(
            "root, split, resample and tolerance go with against, the dataset that masks or boxes are held against"
        )
    if task is None:
        raise RunError(f"say what is predicted (tasks: {', '.join(TASKS)})")
    known = [str(one) for one in classes] if classes is not None else None
    given = table if isinstance(table, pa.Table) else as_table(table)
    asked = clinical.Asked(positive, threshold, prevalence).checked()
    checked = scoring.check_table(given, task, known, named=True)
    if positive is not None:
        space = known or scoring.table_kind(task).read(checked, task, known, uncertain).facts.get("classes", [])
        if len(space) == 2 and fit(positive, space) == space[0]:
            known = list(space)[::-1]  # the positive class is the second, in every metric
    facts = {
        "format": FORMAT, "plan": {"parts": [[0, checked.num_rows]]}, "classes": known, "majority": None,
        "request": {"model": name, "dataset": "a table of predictions", "task": task, "seed": seed, "uncertain": uncertain}, **about,
    }  # fmt: skip
    if about:
        facts["request"] |= {"dataset": data, "split": "+".join(about["given"]["splits"])}
        known = facts["classes"] = known or about["given"].get("classes")
    if asked.anything:
        facts["clinical"] = {"positive": positive, "threshold": threshold, "prevalence": prevalence}
    if output is not None:
        refuse_other_files(Path(output))
    scores = scoring.score(checked, task, known, seed, uncertain)
    if asked.anything:
        scores["clinical"] = clinical.clinical(checked, task, scores["classes"], clinical.asked_of(facts, asked), seed)
    if output is None:
        return Run(facts, checked, scores)
    with RunFolder(Path(output)) as folder:
        if folder.read_json("run.json") is not None:
            raise RunError(f"{output}: already holds a run; choose another folder")
        folder.publish(0, checked)
        folder.write_json("metrics.json", scores)
        folder.write_json("run.json", facts)  # last: a folder that has it is finished
    return Run(facts, checked, scores, Path(output))


def _held_against(
    given: Any, task: str | None, against: str | Path, root: Path | str | None, split: str | None, resample: str | None, tolerance: float | None
) -> tuple[str, pa.Table, dict[str, Any], str]:  # fmt: skip
    """Return the task, the table and the facts of masks or boxes that are held against a dataset, and the dataset's name."""
    if not isinstance(given, str | Path) or not Path(given).exists():
        raise RunError(
            "against takes a folder of masks or a file of boxes that is there"
            + (f": {given}" if isinstance(given, str | Path) else "")
        )
    opened = open_dataset(against, root, split, on_error="collect")
    path = Path(given)
    task = given_against.task_of(path, opened, task)
    made, about = given_against.table(path, opened, task, resample, tolerance)
    return task, made, about, opened.name
