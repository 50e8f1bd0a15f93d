"""``healthfm leaderboard``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from healthfm.cli.console import emit_json, emit_table
from healthfm.cli.options import JsonFlag


def register(app: typer.Typer) -> None:
    @app.command()
    def leaderboard(
        folder: Annotated[Path, typer.Argument(help="A study's folder, or any with run folders below it.")] = Path(
            "runs"
        ),
        paired: Annotated[
            bool, typer.Option("--paired", help="Test every pair of models on each dataset (Holm over all).")
        ] = False,
        across_protocols: Annotated[
            bool, typer.Option(help="Rank runs that asked the same questions in different ways too.")
        ] = False,
        seed: Annotated[int, typer.Option(help="Seed of resamples.")] = 0,
        output: Annotated[
            Path | None, typer.Option(help="Where the page goes (default: FOLDER/leaderboard.html).")
        ] = None,
        csv: Annotated[bool, typer.Option("--csv", help="Print a row for each model on each dataset.")] = False,
        markdown: Annotated[bool, typer.Option("--markdown", help="Print the table as Markdown.")] = False,
        latex: Annotated[bool, typer.Option("--latex", help="Print the table for LaTeX (booktabs).")] = False,
        export: Annotated[
            str | None,
            typer.Option(
                help="Also write the runs for another tool: mlflow=DIR (its file store), wandb=DIR (offline runs)."
            ),
        ] = None,
        json: JsonFlag = False,
    ) -> None:
        """Rank models over datasets from finished runs: values with intervals, ranks with ties, what was left out and why; as a page.

        Example: healthfm leaderboard runs/study --paired

        Example: healthfm leaderboard runs --latex
        """
        from healthfm.errors import RunError
        from healthfm.report import leaderboard as page
        from healthfm.report import leaderboard_tables as tables
        from healthfm.report import mlflow, wandb
        from healthfm.score.leaderboard import leaderboard as board_of

        if csv + markdown + latex + json > 1:
            raise RunError("choose one of --json, --csv, --markdown and --latex")
        tool, _, where = (export or "").partition("=")
        tools = {"mlflow": mlflow.export, "wandb": wandb.export}
        if export is not None and (tool not in tools or not where):
            raise RunError(f"--export is '{export}'; use mlflow=DIR or wandb=DIR")
        board = board_of(folder, paired=paired, across_protocols=across_protocols, seed=seed)
        place = page.write(board, output if output is not None else folder)
        exported = tools[tool](board, Path(where)) if export is not None else 0
        if json:
            emit_json({**board.asdict(), "page": str(place)})
        elif csv or markdown or latex:
            print((tables.to_csv if csv else tables.to_markdown if markdown else tables.to_latex)(board), end="")
        else:
            head, rows = tables.plain(board)
            emit_table(head, rows)
            for said in [page.verdict(board), *page.marks_shown(board), *(f"note: {one}" for one in board.notes)]:
                print(said)
            for one in board.excluded:
                print(f"left out: {one['run']}: {one['why']}")
            for row in board.pairs:
                print(tables.pair(row))
            if export is not None:
                print(
                    f"{tool:<7} {exported} runs in {where}{f' (wandb sync {where}/wandb/offline-run-*)' if tool == 'wandb' else ''}"
                )
            print(f"page    {place}")
