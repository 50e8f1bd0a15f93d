"""``healthfm find``."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from healthfm.cli.console import emit_json, emit_table
from healthfm.cli.options import JsonFlag, Kind

SHOWN = ("kind", "slug", "name", "group", "modalities", "tasks", "access", "summary")


def register(app: typer.Typer) -> None:
    @app.command()
    def find(
        text: Annotated[list[str] | None, typer.Argument(help="Words that must occur on the card.")] = None,
        kind: Kind = None,
        group: Annotated[
            str | None, typer.Option(help="E.g. language, vision, vision-language; text, imaging, pathology.")
        ] = None,
        modality: Annotated[str | None, typer.Option(help="E.g. text, image, volume, slide, signal, sequence.")] = None,
        task: Annotated[str | None, typer.Option(help="Part of a task's name, e.g. segmentation.")] = None,
        access: Annotated[
            str | None, typer.Option(help="E.g. open, gated, registration, credentialed, closed.")
        ] = None,
        licence: Annotated[str | None, typer.Option(help="Part of a licence's name, e.g. MIT.")] = None,
        has_runner: Annotated[
            bool | None,
            typer.Option("--has-runner/--no-runner", help="Only rows that healthfm can (cannot) run or read."),
        ] = None,
        json: JsonFlag = False,
    ) -> None:
        """Find models and datasets by words and filters, most relevant first.

        Example: healthfm find slide --kind model --access open
        """
        from healthfm.cards import files, search

        hits = search.search(
            " ".join(text or ()),
            kind=kind,
            group=group,
            modality=modality,
            task=task,
            access=access,
            licence=licence,
            has_runner=has_runner,
        )
        for said in files.broken().values():
            print(f"healthfm: left out: {' '.join(said.split())}", file=sys.stderr)
        if json:
            emit_json([{**{k: hit.get(k) for k in SHOWN}, "has_runner": search.runnable(hit)} for hit in hits])
            return
        if not hits:
            raise typer.Exit(_nothing())
        rows = [
            (
                hit["kind"],
                hit["slug"],
                hit["group"],
                hit["access"],
                "yes" if search.runnable(hit) else "",
                hit["summary"],
            )
            for hit in hits
        ]
        emit_table(("kind", "slug", "group", "access", "runs", "what it is"), rows)
        print(f"{len(hits)} rows; healthfm show SLUG says more")


def _nothing() -> int:
    print("nothing on the cards matches; use fewer words or filters")
    return 0
