"""``healthfm compare``."""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from healthfm.cli.console import JsonFlag, emit_json, emit_table

if TYPE_CHECKING:
    from healthfm.evaluate.compare import Comparison

FORMATS = ("table", "md", "json", "csv")


def register(app: typer.Typer) -> None:
    @app.command()
    def compare(
        runs: Annotated[
            list[Path], typer.Argument(help="Two or more finished run folders on the same samples.", metavar="RUN")
        ],
        metric: Annotated[
            list[str] | None,
            typer.Option(help="Compare by this metric (repeatable; default: the task's headline metric)."),
        ] = None,
        across_protocols: Annotated[
            bool,
            typer.Option(help="Rank runs that asked the same questions in different ways (prompt, examples, parser)."),
        ] = False,
        seed: Annotated[int, typer.Option(help="Seed of resamples and permutations.")] = 0,
        format: Annotated[str, typer.Option(help="table, md, json or csv.")] = "table",
        output: Annotated[
            Path | None, typer.Option(help="Also write the comparison as a page, e.g. compare.html.")
        ] = None,
        json: JsonFlag = False,
    ) -> None:
        """Rank runs on the same samples, with a paired test of every pair; refuse runs that cannot be ranked, saying why.

        Example: healthfm compare runs/smollm2--pubmedqa runs/biogpt--pubmedqa
        """
        from healthfm.errors import RunError
        from healthfm.evaluate.compare import compare as compare_runs
        from healthfm.report.comparison import write

        if format not in FORMATS:
            raise RunError(f"--format is '{format}'; use {', '.join(FORMATS)}")
        found = compare_runs(runs, metrics=metric, across_protocols=across_protocols, seed=seed)
        page = write(found, output) if output is not None else None
        if json or format == "json":
            emit_json({**found.asdict(), **({"page": str(page)} if page else {})})
        elif format == "csv":
            csv.writer(sys.stdout, lineterminator="\n").writerows(plain_rows(found))
        else:
            show(found, markdown=format == "md")
            if page is not None and format == "table":
                print(f"page    {page}")


COLUMNS = (
    "metric", "subgroup", "group", "first", "second", "n", "first_value", "second_value", "value", "low", "high", "p", "p_holm",
    "detectable", "too_few", "method", "test",
)  # fmt: skip


def plain_rows(found: Comparison) -> list[list[object]]:
    """Return every pair, over all samples and within each group, as rows with a header; numbers in full."""
    whole = [{"metric": name, **pair} for name, one in found.metrics.items() for pair in one["pairs"]]
    groups = [{"metric": found.metric, **row} for row in found.subgroups]
    return [list(COLUMNS), *([row.get(column) for column in COLUMNS] for row in (*whole, *groups))]


Table = tuple[str, tuple[str, ...], list[tuple[str, ...]]]


def tables(found: Comparison) -> list[Table]:
    """Return title, columns and rows of each table of a comparison: for each metric ranking and pairs, then the groups."""
    made: list[Table] = []
    for name, one in found.metrics.items():
        title = name.replace("_", "-")
        ranking = [
            (str(row["rank"]), row["run"], f"{row['value']:.3f}", _interval(row), str(row["n"]), ", ".join(row["not_told_apart_from"]))
            for row in one["ranking"]
        ]  # fmt: skip
        made.append(
            (
                f"{title}, {found.n} samples",
                ("rank", "run", title, "95 % interval", "n", "not told apart from"),
                ranking,
            )
        )
        columns = (
            "first",
            "second",
            "difference",
            "95 % interval",
            "p",
            "p (Holm)",
            "test",
            "detectable at 80 % power",
        )
        made.append((f"{title}, pairs (first minus second)", columns, [_pair(row) for row in one["pairs"]]))
    if found.subgroups:
        columns = ("subgroup", "group", "n", *columns[:6], "note")
        rows = [
            (row["subgroup"], row["group"], str(row["n"]), *(_pair(row)[:6] if row["p"] is not None else (row["first"], row["second"], "", "", "", "")),
             "too few to say" if row["too_few"] else "")
            for row in found.subgroups
        ]  # fmt: skip
        made.append((f"{found.metric.replace('_', '-')}, pairs by subgroup", columns, rows))
    return made


def _interval(row: dict[str, float]) -> str:
    return f"[{row['low']:.3f}, {row['high']:.3f}]"


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _pair(row: dict[str, float]) -> tuple[str, ...]:
    detectable = f"{row['detectable']:.3f}" if row["detectable"] is not None else ""
    return (
        str(row["first"]), str(row["second"]), f"{row['value']:+.3f}", f"[{row['low']:+.3f}, {row['high']:+.3f}]",
        _p(row["p"]), _p(row["p_holm"]), str(row["test"]), detectable,
    )  # fmt: skip


def show(found: Comparison, markdown: bool = False) -> None:
    """Print a comparison's tables, each pair's sentence, and the notes."""
    for title, columns, rows in tables(found):
        if markdown:
            line = [[cell.replace("|", "\\|") for cell in row] for row in (columns, ["---"] * len(columns), *rows)]
            print(f"**{title}**\n\n" + "\n".join(f"| {' | '.join(row)} |" for row in line) + "\n")
        else:
            emit_table(columns, rows, title=title)
            print()
    bullet = "- " if markdown else ""
    for said in [
        *(pair["says"] for one in found.metrics.values() for pair in one["pairs"]),
        *(f"note: {note}" for note in found.notes),
    ]:
        print(f"{bullet}{said}")
