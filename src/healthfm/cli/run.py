"""``healthfm run``."""

from __future__ import annotations

import signal
import sys
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from healthfm.cli.console import emit_json, emit_table, progress_bar
from healthfm.cli.options import JsonFlag

if TYPE_CHECKING:
    from healthfm.evaluate.study import Cell, Outcome


def register(app: typer.Typer) -> None:
    @app.command()
    def run(
        study: Annotated[Path, typer.Argument(help="A TOML file: models, datasets, tasks, seeds.", metavar="STUDY")],
        output: Annotated[Path | None, typer.Option(help="Folder of all runs (default: runs/STUDY).")] = None,
        json: JsonFlag = False,
    ) -> None:
        """Evaluate many models on many datasets into one folder. A run that fails does not stop the others (exit code 1 at the end).

        The same command again goes on where it stopped.

        Example: healthfm run study.toml
        """
        from healthfm.evaluate.study import run_study

        def watch(number: int, count: int, cell: Cell) -> AbstractContextManager[Any]:
            return progress_bar(f"{number}/{count} {cell.title}", quiet=json)

        def told(outcome: Outcome) -> None:
            if not json:
                print(
                    f"{outcome.cell.title}: {'failed' if outcome.problem else _headline(outcome.headline)}",
                    file=sys.stderr,
                )

        signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            found = run_study(study, output, watch=watch, told=told)
        except KeyboardInterrupt:
            print("healthfm: stopped; finished parts are kept, the same command goes on from there", file=sys.stderr)
            raise typer.Exit(130) from None
        if json:
            emit_json({"path": str(found.path), "runs": [one.asdict() for one in found.outcomes], "left": found.left})
        else:
            rows = [
                (one.cell.title, "failed" if one.problem else _headline(one.headline), one.path.name)
                for one in found.outcomes
            ]
            emit_table(
                ("run", "result", "folder"),
                rows,
                title=f"{len(rows) - len(found.failed)} of {len(rows)} runs finished in {found.path}",
            )
            if found.left:
                print(
                    f"note: {len(found.left)} run folders are there that the study does not ask for: {', '.join(found.left)}"
                )
        for one in found.failed:
            print(f"healthfm: failed: {one.cell.title}: {one.problem}", file=sys.stderr)
        if found.failed:
            raise typer.Exit(1)


def _headline(found: dict[str, Any] | None) -> str:
    from healthfm.report.words import interval, number

    if found is None:
        return "-"
    return f"{found['metric'].replace('_', '-')} {number(found['value'])} {interval(found)}, n = {found['n']}"
