"""``healthfm report``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from healthfm.cli.console import JsonFlag, emit_json
from healthfm.cli.evaluate import show_run


def register(app: typer.Typer) -> None:
    @app.command()
    def report(
        run: Annotated[Path, typer.Argument(help="A finished run folder.")],
        show_inputs: Annotated[
            bool, typer.Option(help="Put the questions of private data into the page (it is stamped).")
        ] = False,
        json: JsonFlag = False,
    ) -> None:
        """Compute a run's metrics again from its predictions and write its report page; the model is not needed.

        Example: healthfm report runs/smollm2-135m-instruct--pubmedqa-pqa-l-reasoning-required--1a2b3c4d
        """
        from healthfm.evaluate.run import load_run

        loaded = load_run(run)
        page = loaded.report(show_inputs=show_inputs)
        if json:
            emit_json({"path": str(run), "report": str(page), **loaded.scores})
        else:
            show_run(loaded)
            print(f"report  {page}")
