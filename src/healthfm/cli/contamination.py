"""``healthfm contamination``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from healthfm.cli.console import emit_json, emit_table, kept_here, progress_bar
from healthfm.cli.options import (
    AllowRemote,
    Columns,
    DatasetName,
    Device,
    Dtype,
    JsonFlag,
    Root,
    Seed,
    column_map,
    dataset_argument,
    row_names,
)

if TYPE_CHECKING:
    from healthfm.evaluate.contamination import Finding

LINES = 20  # texts found that are printed; --json prints all
WIDTH = 70


def register(app: typer.Typer) -> None:
    @app.command()
    def contamination(
        dataset: DatasetName,
        against: Annotated[
            str | None,
            typer.Option(
                help="Search this corpus: a file or folder of text, JSON or Parquet (also .gz, .zst, .bz2), or of pictures, or a dataset.",
                metavar="CORPUS",
                autocompletion=row_names("dataset"),
            ),
        ] = None,
        model: Annotated[
            str | None,
            typer.Option(
                help="Probe the likelihoods of this language model: MODEL[:VARIANT].", autocompletion=row_names("model")
            ),
        ] = None,
        root: Root = None,
        against_root: Annotated[
            Path | None, typer.Option(help="The same for a corpus or reference that is a dataset.")
        ] = None,
        split: Annotated[
            str | None, typer.Option(help="One split (default: the one of --run, else all present ones).")
        ] = None,
        run: Annotated[
            Path | None,
            typer.Option(
                help="A run on this dataset: score what was found and what was not, and keep the finding for its report."
            ),
        ] = None,
        reference: Annotated[
            str | None,
            typer.Option(help="With --model: texts of the same kind that it cannot have read (as --against)."),
        ] = None,
        limit: Annotated[
            int | None, typer.Option(help="With --model: probe a seeded sample of this many records.")
        ] = None,
        weights: Annotated[
            str | None, typer.Option(help="With --model: file or folder with its published weights.")
        ] = None,
        device: Device = "auto",
        dtype: Dtype = "auto",
        seed: Seed = 0,
        allow_remote: AllowRemote = None,
        columns: Columns = None,
        show_inputs: Annotated[
            bool, typer.Option(help="Show what was matched also of data that may not be shared.")
        ] = False,
        json: JsonFlag = False,
    ) -> None:
        """Look for a dataset's texts and pictures in a corpus, or for signs in a model's likelihoods that it has read them.

        Pictures are found by what they show, also after resizing, JPEG, another depth, or with their border cut off; figures also by the
        number of their paper (PMCID).

        Example: healthfm contamination pubmedqa --root examples/pubmedqa --against corpus/ --split test
        """
        from healthfm.datasets.open import open_dataset
        from healthfm.errors import RunError
        from healthfm.evaluate import contamination as room
        from healthfm.models.load import load_model
        from healthfm.report.run import load_run

        if against is None and model is None:
            raise RunError("name what to ask: --against CORPUS, --model MODEL, or both")
        loaded_run = load_run(run) if run is not None else None
        if loaded_run is not None and split is None:
            split = loaded_run.facts["request"].get("split")
        opened = open_dataset(dataset_argument(dataset), root, split, columns=column_map(columns))
        found: list[room.Finding | room.Behaviour] = []
        if against is not None:
            with progress_bar(f"{dataset} in {against}", quiet=json) as advance:
                found.append(room.contamination(
                    opened, _place(against), corpus_root=against_root, run=loaded_run, show_inputs=show_inputs, seed=seed, progress=advance,
                ))  # fmt: skip
        if model is not None:
            loaded = load_model(model, weights, device=device, dtype=dtype, endpoint=kept_here(model, allow_remote))
            with progress_bar(f"{dataset} by {model}", quiet=json) as advance:
                found.append(room.behaviour(
                    loaded, opened, limit=limit, reference=_place(reference) if reference is not None else None,
                    reference_root=against_root, seed=seed, progress=advance,
                ))  # fmt: skip
        if loaded_run is not None:
            room.store(loaded_run, *found)
        if json:
            emit_json([one.asdict() for one in found])
            return
        for one in found:
            if isinstance(one, room.Finding) and one.found:
                show_found(one)
            print("\n".join(one.says))
        if loaded_run is not None:
            print(
                f"kept    {loaded_run.path}/contamination.json (healthfm report {loaded_run.path} puts it into the page)"
            )


def _place(name: str) -> str | Path:
    """Return a Path when the argument names something on disk, else a dataset's name."""
    return Path(name) if Path(name).expanduser().exists() else dataset_argument(name)


def show_found(finding: Finding) -> None:
    """Print the texts and the pictures found, the surest first."""
    from healthfm.curate.texts import PARTS

    texts = [one for one in finding.found if one["part"] in PARTS]
    rows = []
    for one in texts[:LINES]:
        place = one["places"][0]
        snippet = " ".join(place.get("snippet", "").split())
        rows.append((
            ", ".join(one["ids"][:3]), one["part"], one["how"], f"{one['share']:.0%}", one["words"], one["documents"],
            f"{place['document']} {place['start']}-{place['end']}", snippet if len(snippet) <= WIDTH else snippet[: WIDTH - 3] + "...",
        ))  # fmt: skip
    columns = ("record", "text", "how", "covered", "words", "documents", "first place", "matched")
    _show(columns, rows, f"{len(texts)} texts of {finding.dataset} found in {finding.corpus}", len(texts))
    pictures = [one for one in finding.found if one["part"] not in PARTS]
    rows = [(*one["ids"], one["part"], one["how"], one["places"][0].get("bits"), _cut(one), one["documents"], one["places"][0]["document"]) for one in pictures[:LINES]]  # fmt: skip
    columns = ("record", "by", "how", "bits of 256 that differ", "cut of each side", "pictures", "first place")
    _show(columns, rows, f"{len(pictures)} pictures of {finding.dataset} found in {finding.corpus}", len(pictures))


def _cut(one: Mapping[str, Any]) -> str | None:
    cut = one["places"][0].get("cut")
    return None if cut is None else f"{cut:.0%}"


def _show(columns: tuple[str, ...], rows: list[tuple[Any, ...]], title: str, count: int) -> None:
    if not rows:
        return
    emit_table(columns, rows, title=title)
    if count > LINES:
        print(f"... and {count - LINES} more (--json prints all)")
    print()
