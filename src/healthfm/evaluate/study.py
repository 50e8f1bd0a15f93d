"""``study``: many evaluations from one TOML file (models x datasets x tasks x seeds) in one folder, gone on with after any stop."""

from __future__ import annotations

import copy
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from healthfm.engine.steps import Progress
from healthfm.engine.store import DRAFT, RunFolder
from healthfm.errors import HealthfmError, RunError
from healthfm.evaluate import runner
from healthfm.evaluate.job import Request
from healthfm.evaluate.study_file import Asked, Asker, Data, Study, read_study
from healthfm.models.load import load_model
from healthfm.models.model import Model
from healthfm.models.remote.client import Endpoint
from healthfm.report.run import Run
from healthfm.score.shelf import ROOM, STUDY

FORMAT = 1


@dataclass(frozen=True)
class Cell:
    """One run of a study: who is asked what, and the ``folder`` under ``runs/`` that is named from it. ``who``: the model's name, with
    where its weights are where the study has that name twice.
    """

    who: str
    model: Asker
    data: Data
    how: Asked
    task: str | None
    seed: int
    folder: str

    @property
    def title(self) -> str:
        """``MODEL on DATASET``, with the task and the seed where several are asked."""
        task = f", {self.task}" if len(self.how.tasks) > 1 else ""
        return f"{self.who} on {self.data.called}{task}{f', seed {self.seed}' if len(self.how.seeds) > 1 else ''}"


@dataclass(frozen=True)
class Outcome:
    """What became of a cell: its run's headline, or why there is none."""

    cell: Cell
    path: Path
    headline: dict[str, Any] | None = None
    problem: str | None = None

    def asdict(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {
            "run": self.cell.title, "model": self.cell.model.name, "dataset": self.cell.data.called, "task": self.cell.task, "seed": self.cell.seed,
            "path": str(self.path), "headline": self.headline, "problem": self.problem,
        }  # fmt: skip


@dataclass(frozen=True)
class StudyRun:
    """A study carried out: an outcome a cell; ``left``: runs in the folder that the study does not ask for (any more)."""

    path: Path
    outcomes: tuple[Outcome, ...]
    left: tuple[str, ...]

    @property
    def failed(self) -> list[Outcome]:
        """The cells without a finished run."""
        return [one for one in self.outcomes if one.problem is not None]


Watch = Callable[[int, int, Cell], AbstractContextManager[Progress]]


def cells(study: Study) -> list[Cell]:
    """Return every run that a study asks for, model by model. Raises ``RunError``: the same one twice."""
    found: dict[str, Cell] = {}
    for model in study.models:
        several = sum(one.name == model.name for one in study.models) > 1
        apart = model.model_dump(exclude_defaults=True, exclude={"name", "requests_per_minute"}) if several else {}
        who = model.name + (f" ({', '.join(f'{key} {value}' for key, value in apart.items())})" if apart else "")
        for data in study.datasets:
            how = study.asked(data)
            for task in how.tasks or (None,):
                for seed in how.seeds:
                    cell = Cell(who, model, data, how, task, seed, _folder(model, data, how, task, seed))
                    if cell.folder in found:
                        raise RunError(f"the study asks for the same run twice: {cell.title}")
                    found[cell.folder] = cell
    return list(found.values())


def _folder(model: Asker, data: Data, how: Asked, task: str | None, seed: int) -> str:
    """Return the name of a run's folder: of what makes it another run, not of where its files lie."""
    asked = {
        **how.model_dump(exclude_defaults=True, exclude={"tasks", "seeds", "baseline"}), "task": task, "seed": seed, "dataset": data.called,
        **model.model_dump(exclude_defaults=True, exclude={"name", "requests_per_minute"}), "model": model.name,
    }  # fmt: skip
    return runner.default_name(
        {**asked, "dataset": Path(data.path).stem if data.path else data.called, "path": data.path}
    )


def run_study(
    study: Path | str | Study, output: Path | str | None = None, *, models: Mapping[str, Model] | None = None,
    watch: Watch | None = None, told: Callable[[Outcome], None] | None = None,
) -> StudyRun:  # fmt: skip
    """Carry out a study, or go on with it: runs that are finished are kept, those that were stopped go on, the rest is begun.

    ``study``: a TOML file (see ``Study``), whose paths are relative to its own folder; ``output`` the folder (default ``runs/NAME``),
    with ``study.json`` and a run folder a cell under ``runs/``, as ``evaluate`` makes it. A model is loaded once for all its datasets. ``models``: loaded models by
    the names that the study has for them. A run that fails does not stop the others. ``watch`` is given a run's
    number, how many there are, and the run, and returns a context with its progress; ``told`` hears of each outcome.
    Raises ``RunError``: a study that cannot be read, a folder that holds something else or is being written by another process.
    """
    if isinstance(study, Study):
        asked, base = study, Path()
        if output is None:
            raise RunError("a study that was read from no file needs an output folder")
    else:
        asked, base = read_study(study), Path(study).parent
    path = Path(output) if output is not None else Path("runs") / Path(study).stem  # type: ignore[arg-type]
    every, keeper, outcomes = cells(asked), _Keeper(), list[Outcome]()
    _refuse_other_files(path)
    with RunFolder(path, ROOM) as folder:

        def note() -> None:
            states = {one.cell.folder: one.problem or "finished" for one in outcomes}
            runs = {one.folder: {"run": one.title, "state": states.get(one.folder, "asked")} for one in every}
            folder.write_json(
                STUDY, {"format": FORMAT, "study": asked.model_dump(mode="json", exclude_unset=True), "runs": runs}
            )

        note()
        for number, cell in enumerate(every, 1):
            with watch(number, len(every), cell) if watch is not None else nullcontext() as progress:
                outcomes.append(_outcome(cell, asked, base, path / ROOM / cell.folder, models or {}, keeper, progress))
            note()
            if told is not None:
                told(outcomes[-1])
        known = {one.folder for one in every}
        left = sorted(one.name for one in (path / ROOM).iterdir() if one.is_dir() and one.name not in known)
    return StudyRun(path, tuple(outcomes), tuple(left))


def _refuse_other_files(path: Path) -> None:
    if not path.is_dir() or (path / STUDY).is_file():
        return
    if others := [
        one.name for one in path.iterdir() if one.name not in (".lock", ROOM) and not DRAFT.fullmatch(one.name)
    ]:
        raise RunError(f"{path}: holds other files ({len(others)}) and no study; choose an empty or a new folder with --output")  # fmt: skip


def _outcome(
    cell: Cell, study: Study, base: Path, path: Path, models: Mapping[str, Model], keeper: _Keeper, progress: Progress | None
) -> Outcome:  # fmt: skip
    """Run a cell; what goes wrong with it is its outcome."""
    try:
        made = runner.run(_request(cell, study, base, path, models), progress, keeper.load)
        if not (path / "report.html").is_file():
            made.report()
        return Outcome(cell, path, _headline(made))
    except HealthfmError as error:
        return Outcome(cell, path, problem=" ".join(str(error).split()))
    except Exception as error:  # its message can repeat what a record says, so the place stands for it
        at = traceback.extract_tb(error.__traceback__)[-1]
        said = f"{type(error).__name__} in {Path(at.filename).name}, line {at.lineno}: a fault of the model's code or of healthfm's"
        return Outcome(cell, path, problem=f"{said}; healthfm evaluate shows it whole")


def _headline(run: Run) -> dict[str, Any]:
    name = run.scores["headline"]
    found = run.metrics[name]
    return {"metric": name, **{key: found[key] for key in ("value", "low", "high", "n")}}


def _request(cell: Cell, study: Study, base: Path, path: Path, models: Mapping[str, Model]) -> Request:
    asker, data, how = cell.model, cell.data, cell.how

    def place(written: str | None) -> Path | None:
        return base / Path(written).expanduser() if written is not None else None

    own = models.get(asker.name)
    if own is not None and (asker.weights or asker.endpoint):
        raise RunError(f"{asker.name} is a loaded model; the study can give it no weights and no endpoint")
    return Request(
        model=asker.name if own is None else own, weights="random" if asker.weights == "random" else place(asker.weights),
        endpoint=Endpoint(asker.endpoint, asker.requests_per_minute) if asker.endpoint else None,
        device=asker.device, dtype=asker.dtype, dataset=data.name or base / Path(data.called).expanduser(), root=place(data.root),
        task=cell.task, seed=cell.seed, split=how.split, shots=how.shots, shots_from=how.shots_from, shots_order=how.shots_order, limit=how.limit,
        subgroups=how.subgroups or None, window=how.window, judge=how.judge, baseline=how.baseline, allow_remote=study.allow_remote, output=path,
    )  # fmt: skip


class _Keeper:
    """The model that was loaded last: the next run of it gets it as it was when it was loaded, or hears again why it was not."""

    def __init__(self) -> None:
        self._key: Sequence[Any] = ()
        self._model: Model | None = None
        self._known: dict[str, Any] = {}
        self._problem: Exception | None = None

    def load(self, request: Request) -> Model:
        """Return the model of a request; a window stays with a model, so another one is another model."""
        key = (request.model, request.weights, request.device, request.dtype, request.window)
        if key != self._key:
            self._key, self._model, self._problem = key, None, None  # the last one goes before the next one comes
            try:
                self._model = load_model(
                    request.model, request.weights, device=request.device, dtype=request.dtype  # type: ignore[arg-type]
                )  # fmt: skip
            except Exception as error:
                self._problem = error
            else:
                self._known = copy.deepcopy(self._model.provenance)
        if self._model is None:
            assert self._problem is not None
            raise self._problem
        self._model.provenance = copy.deepcopy(self._known)
        return self._model
