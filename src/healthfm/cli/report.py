"""``healthfm report``."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from healthfm.cli.console import emit_json
from healthfm.cli.evaluate import show_run
from healthfm.cli.options import JsonFlag, Root, ShowInputs, column_map, row_names

if TYPE_CHECKING:
    from healthfm.report.run import Run

FORMATS = ("html", "md", "json", "csv")


def register(app: typer.Typer) -> None:
    @app.command()
    def report(
        run: Annotated[Path | None, typer.Argument(help="A finished run folder.")] = None,
        predictions: Annotated[
            Path | None,
            typer.Option(
                help="Instead of a run: a table of predictions made elsewhere (CSV, TSV, Parquet, JSON lines); with --against a folder of masks, or a file of boxes."
            ),
        ] = None,
        against: Annotated[
            str | None,
            typer.Option(
                help="The dataset whose masks or boxes those of --predictions are held against: SLUG[:VARIANT], or own data.",
                autocompletion=row_names("dataset"),
            ),
        ] = None,
        root: Root = None,
        split: Annotated[
            str | None, typer.Option(help="With --against: one split (default: those that something was given for).")
        ] = None,
        resample: Annotated[
            str | None,
            typer.Option(
                help="With --against: nearest brings masks on another grid to their record's; else they are refused."
            ),
        ] = None,
        tolerance: Annotated[
            float | None,
            typer.Option(
                help="With --against: tolerance of the surface distance in mm, in place of the card's.", min=0
            ),
        ] = None,
        task: Annotated[
            str | None,
            typer.Option(
                help="With --predictions: what is predicted, e.g. binary. Of a run only binary: its clinical reading."
            ),
        ] = None,
        classes: Annotated[
            str | None,
            typer.Option(
                help="With --predictions: the classes, comma-separated; of two the second is the positive one."
            ),
        ] = None,
        columns: Annotated[
            list[str] | None,
            typer.Option(help="With --predictions: FIELD=COLUMN, e.g. target=diagnosis,probability.sick=score."),
        ] = None,
        subgroup: Annotated[
            list[str] | None, typer.Option(help="With --predictions: break results down by this column (repeatable).")
        ] = None,
        output: Annotated[
            Path | None, typer.Option(help="With --predictions: run folder (default: runs/NAME--TASK--DIGEST).")
        ] = None,
        format: Annotated[
            str, typer.Option(help="What is printed beside the page: html (a summary), md, json or csv.")
        ] = "html",
        positive: Annotated[
            str | None,
            typer.Option(
                help="Clinical reading: the class whose risk it is of (default: what the card or --classes says)."
            ),
        ] = None,
        threshold: Annotated[
            float | None, typer.Option(help="Clinical reading: a risk from here on is called positive, e.g. 0.3.")
        ] = None,
        prevalence: Annotated[
            float | None,
            typer.Option(
                help="Clinical reading: the share of positives where the model is meant to be used, e.g. 0.02."
            ),
        ] = None,
        show_inputs: ShowInputs = False,
        json: JsonFlag = False,
    ) -> None:
        """Compute a run's metrics again from its predictions and write its report page; the model is not needed.

        Example: healthfm report runs/smollm2-135m-instruct--pubmedqa-pqa-l-reasoning-required--1a2b3c4d

        Example: healthfm report --predictions mine.csv --task binary --classes healthy,disease --columns target=diagnosis --subgroup ward

        Example: healthfm report runs/NAME --task binary --positive disease --threshold 0.3 --prevalence 0.02

        Example: healthfm report --predictions my_masks/ --against totalsegmentator --root official_files

        Example: healthfm report --predictions boxes.json --against deeplesion --root DeepLesion --task lesion-detection
        """
        from healthfm.errors import RunError
        from healthfm.report import export
        from healthfm.report.run import load_run

        if format not in FORMATS:
            raise RunError(f"--format is '{format}'; use {', '.join(FORMATS)}")
        if (run is None) == (predictions is None):
            raise RunError("name a run folder, or --predictions with --task or --against")
        if against is None and (root or split or resample or tolerance is not None):
            raise RunError("--root, --split, --resample and --tolerance go with --against")
        if against is not None and (run is not None or columns or subgroup or classes):
            raise RunError(
                "--against goes with --predictions; --columns, --classes and --subgroup are those of a table with targets"
            )
        compared = (
            {"against": against, "root": root, "split": split, "resample": resample, "tolerance": tolerance}
            if against
            else {}
        )
        if run is not None and (classes or output or columns or subgroup):
            raise RunError("--classes, --columns, --subgroup and --output go with --predictions; a run knows its own")
        asked: dict[str, Any] = {"positive": positive, "threshold": threshold, "prevalence": prevalence}
        loaded = (
            load_run(run)
            if run is not None
            else _score(predictions, task, classes, columns, subgroup, output, asked, compared)
        )  # type: ignore[arg-type]
        page = loaded.report(show_inputs=show_inputs, task=task if run is not None else None, **asked)
        if json or format == "json":
            emit_json({"report": str(page), **export.as_data(loaded, show_inputs=show_inputs)})
        elif format == "html":
            show_run(loaded)
            print(f"report  {page}")
        else:
            print(export.to_markdown(loaded) if format == "md" else export.to_csv(loaded), end="")


def _score(
    path: Path, task: str | None, classes: str | None, columns: list[str] | None, subgroups: list[str] | None, output: Path | None,
    clinical: Mapping[str, Any], compared: Mapping[str, Any],
) -> Run:  # fmt: skip
    """Return the run of a table of predictions; the same table, asked in the same way, finds the folder of the last time again."""
    from healthfm.errors import RunError
    from healthfm.report.run import evaluate_predictions, load_run
    from healthfm.score.tables import read_predictions
    from healthfm.score.tasks import TASKS

    if compared:
        place = (
            output
            or Path("runs") / f"{path.stem}--{compared['against'].replace(':', '-').strip('./').replace('/', '-')}"
        )
        if output is None:
            asked = repr((task, str(compared["root"] or ""), *list(compared.values())[2:], *_stamps(path)))
            place = place.with_name(f"{place.name}--{hashlib.sha256(asked.encode()).hexdigest()[:8]}")
            if (place / "run.json").is_file():
                return load_run(place)
        return evaluate_predictions(path, task, name=path.stem, output=place, **compared)
    if task is None:
        raise RunError(f"--predictions needs --task, what is predicted (tasks: {', '.join(TASKS)})")
    table = read_predictions(path, column_map(columns), subgroups)
    names = [name.strip() for name in classes.split(",")] if classes else None
    asked = hashlib.sha256(
        repr((task, names, columns, subgroups, *(one for one in clinical.items() if one[1] is not None))).encode()
        + path.read_bytes()
    ).hexdigest()[:8]
    place = output or Path("runs") / f"{path.stem}--{task}--{asked}"
    if output is None and (place / "run.json").is_file():
        return load_run(place)
    return evaluate_predictions(table, task, classes=names, name=path.stem, output=place, **clinical)


def _stamps(path: Path) -> list[str]:
    """Return what tells whether files changed since: name, size and time of each."""
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    return [f"{one} {one.stat().st_size} {one.stat().st_mtime_ns}" for one in files if one.is_file()]
