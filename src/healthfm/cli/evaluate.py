"""``healthfm evaluate``."""

from __future__ import annotations

import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from healthfm.cli.console import emit_json, emit_table, progress_bar
from healthfm.cli.options import (
    Columns,
    Device,
    Dtype,
    JsonFlag,
    ModelName,
    Root,
    RunOutput,
    Seed,
    ShowInputs,
    Weights,
    Window,
    column_map,
    dataset_argument,
    row_names,
)

if TYPE_CHECKING:
    from healthfm.report.run import Run


def register(app: typer.Typer) -> None:
    @app.command()
    def evaluate(
        model: ModelName,
        dataset: Annotated[
            str,
            typer.Argument(
                help="DATASET[:VARIANT][@PROTOCOL], or own data (e.g. ./ward).", autocompletion=row_names("dataset")
            ),
        ],
        root: Root = None,
        weights: Weights = None,
        task: Annotated[
            str | None,
            typer.Option(
                help="What to ask: multiple-choice(-generated), closed-answer(-generated), free-text, linear-probe, mil, retrieval, perplexity, ... (default: the protocol's)."
            ),
        ] = None,
        split: Annotated[str, typer.Option(help="Which split to evaluate.")] = "test",
        shots: Annotated[
            int | None, typer.Option(help="Solved examples before each question (default: the protocol's).")
        ] = None,
        shots_from: Annotated[
            str, typer.Option(help="Split the examples come from; the evaluated one takes whole patients out of it.")
        ] = "train",
        shots_order: Annotated[str, typer.Option(help="first, or random (seeded).")] = "first",
        subgroup: Annotated[
            list[str] | None, typer.Option(help="Break results down by this field (repeatable).")
        ] = None,
        limit: Annotated[int | None, typer.Option(help="Evaluate a seeded sample of this many.")] = None,
        seed: Seed = 0,
        device: Device = "auto",
        dtype: Dtype = "auto",
        window: Window = None,
        endpoint: Annotated[
            str | None,
            typer.Option(
                help="OpenAI-compatible server that runs the model: http(s)://HOST[:PORT][#MODEL] (key: HEALTHFM_API_KEY)."
            ),
        ] = None,
        requests_per_minute: Annotated[
            int | None, typer.Option(help="Ask the endpoint no faster than this.", min=1)
        ] = None,
        allow_remote: Annotated[
            list[str] | None,
            typer.Option(help="Let data that must stay on this machine go to this HOST (repeatable).", metavar="HOST"),
        ] = None,
        judge: Annotated[
            str | None,
            typer.Option(
                help="Model that marks free-text answers: one whose weights are here, or http(s)://HOST[:PORT][#MODEL].",
                autocompletion=row_names("model"),
            ),
        ] = None,
        human: Annotated[
            Path | None,
            typer.Option(help="CSV (id, score 0 to 1) of answers that people marked, to hold the judge against."),
        ] = None,
        columns: Columns = None,
        output: RunOutput = None,
        baseline: Annotated[
            bool, typer.Option(help="Hold the model against the cheap rivals there are, where that is a minute's work.")
        ] = True,
        label: Annotated[
            str | None,
            typer.Option(help="What to predict, where the card has several label spaces (probes).", metavar="SPACE"),
        ] = None,
        uncertain: Annotated[
            str,
            typer.Option(
                help="How labels that the owner leaves open count in a multi-label probe: ignore, positive or negative."
            ),
        ] = "ignore",
        split_by: Annotated[
            str | None,
            typer.Option(
                help="How records without splits are divided: scaffold-deepchem, scaffold-ogb, scaffold-tdc, patient, donor, drug, cell-line, drug-and-cell-line, chromosome, protein-identity, random; RULE:SEED (default: the card's).",
                metavar="RULE",
            ),
        ] = None,
        resume: Annotated[bool, typer.Option(help="Go on where an interrupted run stopped.")] = True,
        show_inputs: ShowInputs = False,
        json: JsonFlag = False,
    ) -> None:
        """Evaluate a model on a dataset: official files in; numbers with intervals, a contamination finding and a report out.

        The same command again goes on where it stopped.

        Example: healthfm evaluate smollm2-135m-instruct pubmedqa --root examples/pubmedqa --limit 64

        Example: healthfm evaluate pubmedbert hoc --task multi-label-probe

        Example: healthfm evaluate ctranspath ./slides --task mil

        Example: healthfm evaluate hf:./my-model ./ward

        Example: healthfm evaluate baseline:ecfp moleculenet:bbbp --split-by scaffold-ogb
        """
        from healthfm.datasets.open import open_dataset
        from healthfm.errors import RunError
        from healthfm.evaluate.runner import evaluate as run_evaluate
        from healthfm.models import own
        from healthfm.models.remote.client import Endpoint

        if shots_order not in ("first", "random"):
            raise RunError(f"--shots-order is '{shots_order}'; use first or random")
        endpoint = endpoint if endpoint is not None else own.address(model)
        data = dataset_argument(dataset)
        opened = open_dataset(data, root, columns=column_map(columns)) if columns else data
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            with progress_bar(f"{model} on {dataset}", quiet=json) as advance:
                run = run_evaluate(
                    model, opened, root=root, task=task, split=split, shots=shots, shots_from=shots_from,
                    shots_order=shots_order, subgroups=subgroup, seed=seed, limit=limit, output=output, resume=resume,  # type: ignore[arg-type]
                    weights=weights, device=device, dtype=dtype, progress=advance, allow_remote=allow_remote, judge=judge, human=human, window=window, baseline=baseline, split_by=split_by, label=label, uncertain=uncertain,
                    endpoint=Endpoint(endpoint, requests_per_minute) if endpoint is not None else None,
                )  # fmt: skip
        except KeyboardInterrupt:
            print("healthfm: stopped; finished parts are kept, the same command goes on from there", file=sys.stderr)
            raise typer.Exit(130) from None
        page = run.report(show_inputs=show_inputs)
        if json:
            emit_json(
                {
                    "path": str(run.path),
                    "report": str(page),
                    "request": run.facts["request"],
                    "lineage": run.facts["lineage"],
                    **{
                        key: run.facts[key]
                        for key in ("served", "judge_served", "finish_reasons", "judge_finish_reasons")
                        if key in run.facts
                    },
                    **run.scores,
                }
            )
        else:
            show_run(run)
            print(f"report  {page}")


def show_run(run: Run) -> None:
    """Print a run's metrics, baseline and contamination finding."""
    from healthfm.report.words import interval, number
    from healthfm.score.sentences import contamination_line, groups_apart, headline_notes, without_interval

    first = run.scores["headline"]
    rows = [
        (
            name.replace("_", "-"),
            number(m["value"]),
            interval(m),
            m["n"],
            m["method"] if m["low"] is not None else "degenerate",
        )
        for name, m in {first: run.metrics[first], **run.metrics}.items()
    ]
    emit_table(("metric", "value", "95 % interval", "n", "interval by"), rows, title=run.title)
    curve = run.scores["learning_curve"]
    if curve:
        values = ", ".join(f"{number(one['value'])} on {one['size']:,}" for one in curve["points"])
        print(f"learning curve: {curve['metric'].replace('_', '-')} {values} samples. {curve['says']}")
    for column, groups in run.scores["subgroups"].items():
        _show_groups(column, groups)
    if found := run.scores.get("clinical"):
        _show_clinical(found)
    for note in [*groups_apart(run), *without_interval(run), *headline_notes(run), contamination_line(run)]:
        print(note)


def _show_clinical(found: Mapping[str, Any]) -> None:
    """Print a clinical reading: its metrics, and what it says."""
    from healthfm.report import clinical
    from healthfm.report.words import interval, number

    for title, rows in clinical.tables(found):
        lines = [(name, number(one["value"]), interval(one), one["n"], one["method"]) for name, _, one in rows]
        emit_table(("metric", "value", "95 % interval", "n", "interval by"), lines, title=title)
    for said in [*clinical.sentences(found), *(f"{one[:1].upper()}{one[1:]}." for one in found["says"])]:
        print(said)


def _show_groups(column: str, groups: Sequence[Mapping[str, Any]]) -> None:
    """Print a grouping: each group's headline and what stands beside it, with intervals, and its gap to the rest."""
    from healthfm.report.words import interval, number

    names = [groups[0]["metric"], *groups[0]["beside"]]
    rows = []
    for one in groups:
        cells = [one, *one["beside"].values()]
        gap = {"low": one["gap_low"], "high": one["gap_high"]}
        rows.append((
            one["group"] + (" (too few to say)" if one["too_few"] else ""), one["n"],
            *(f"{number(cell['value'])} {interval(cell)}" if cell["value"] is not None else "-" for cell in cells),
            "-" if one["gap"] is None else f"{number(one['gap'], signed=True)} {interval(gap, signed=True)}",
        ))  # fmt: skip
    emit_table(
        (column, "n", *(name.replace("_", "-") for name in names), "gap to the rest"), rows, title=f"by {column}"
    )
