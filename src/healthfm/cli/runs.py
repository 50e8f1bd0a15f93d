"""``healthfm runs``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from healthfm.cli.console import emit_json, emit_table
from healthfm.cli.options import JsonFlag

if TYPE_CHECKING:
    from healthfm.score.shelf import Shelved


def register(app: typer.Typer) -> None:
    @app.command()
    def runs(
        folder: Annotated[Path, typer.Argument(help="Look at and below this folder.")] = Path("runs"),
        model: Annotated[str | None, typer.Option(help="Only models whose name contains this.")] = None,
        dataset: Annotated[str | None, typer.Option(help="Only datasets whose name contains this.")] = None,
        task: Annotated[str | None, typer.Option(help="Only tasks whose name contains this.")] = None,
        finished: Annotated[
            bool | None, typer.Option("--finished/--unfinished", help="Only runs that are finished, or that are not.")
        ] = None,
        json: JsonFlag = False,
    ) -> None:
        """List run folders: what was asked, whether it is finished, the headline with its interval, and when it was begun or last noted.

        Example: healthfm runs --dataset pubmedqa --unfinished
        """
        from healthfm.score.shelf import shelf

        found = shelf(folder, model=model, dataset=dataset, task=task, finished=finished)
        if json:
            emit_json([one.asdict() for one in found])
            return
        rows = [(one.model, one.dataset, one.task, *_result(one), one.date[:16].replace("T", " "), one.path.relative_to(folder)) for one in found]  # fmt: skip
        emit_table(("model", "dataset", "task", "result", "n", "date", "folder"), rows)
        print(f"{len(found)} run{'s' * (len(found) != 1)}")


def _result(one: Shelved) -> tuple[str, str]:
    from healthfm.report.words import interval, number

    if one.headline is None:
        return f"{one.state}: {one.says}", ""
    name = one.headline["metric"].replace("_", "-")
    return f"{name} {number(one.headline['value'])} {interval(one.headline)}", str(one.headline["n"])
