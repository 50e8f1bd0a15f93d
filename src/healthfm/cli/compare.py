"""``healthfm compare``."""

from __future__ import annotations

import csv
import string
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from healthfm.cli.console import emit_json, emit_table
from healthfm.cli.options import JsonFlag, Seed
from healthfm.report.words import chance, interval, number

if TYPE_CHECKING:
    from healthfm.score.compare import Comparison

FORMATS = ("table", "md", "json", "csv")
WIDTH = 100  # columns of a terminal that tables and sentences fit


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
        common: Annotated[
            bool,
            typer.Option("--common", help="Compare on the samples that all runs have; says how many are left out."),
        ] = False,
        seed: Seed = 0,
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
        from healthfm.report.comparison import write
        from healthfm.score.compare import compare as compare_runs

        if format not in FORMATS:
            raise RunError(f"--format is '{format}'; use {', '.join(FORMATS)}")
        found = compare_runs(
            runs,
            metrics=[one.replace("-", "_") for one in metric] if metric else None,
            across_protocols=across_protocols,
            seed=seed,
            common=common,
        )
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


def tables(found: Comparison, names: Mapping[str, str] | None = None) -> list[Table]:
    """Return title, columns and rows of each table of a comparison: for each metric ranking and pairs, then the groups.

    ``names``: what runs are called in short; by their labels without. A column that says the same in every row is left out.
    """
    named = names or {run["label"]: run["label"] for run in found.runs}
    made: list[Table] = []
    for name, one in found.metrics.items():
        title = name.replace("_", "-")
        ranking = [
            (str(row["rank"]), named[row["run"]], number(row["value"]), interval(row), str(row["n"]), ", ".join(named[other] for other in row["not_told_apart_from"]))
            for row in one["ranking"]
        ]  # fmt: skip
        columns = ("rank", "run", title, "95 % interval", "n", "not told apart from")
        made.append(_without(f"{title}, {found.n} samples", columns, ranking, {"n": str(found.n)}))
        rows = [(*_pair(row, named), number(row["detectable"])) for row in one["pairs"]]
        made.append(_without(f"{title}, pairs (first minus second)", (*PAIR, "detectable at 80 % power"), rows, {}))
    if found.subgroups:
        rows = [
            (row["subgroup"], row["group"], str(row["n"]), *_pair(row, named), "too few to say" if row["too_few"] else "")
            for row in found.subgroups
        ]  # fmt: skip
        columns = ("subgroup", "group", "n", *PAIR, "note")
        made.append(_without(f"{found.metric.replace('_', '-')}, pairs by subgroup", columns, rows, {"note": ""}))
    return made


PAIR = ("first", "second", "difference", "95 % interval", "p", "p (Holm)")


def _pair(row: Mapping[str, Any], named: Mapping[str, str]) -> tuple[str, ...]:
    runs = (named[row["first"]], named[row["second"]])
    if row["p"] is None:
        return (*runs, "", "", "", "")
    return (
        *runs,
        number(row["value"], signed=True),
        interval(row, signed=True),
        chance(row["p"]),
        chance(row["p_holm"]),
    )


def _without(title: str, columns: tuple[str, ...], rows: list[tuple[str, ...]], usual: Mapping[str, str]) -> Table:
    """Return a table without the columns that hold in every row what is ``usual``, nor p (Holm) where it is p."""
    kept = [i for i, name in enumerate(columns) if any(row[i] != usual.get(name) for row in rows)]
    if "p (Holm)" in columns:
        p, holm = columns.index("p"), columns.index("p (Holm)")
        kept = [i for i in kept if i != holm or any(row[p] != row[holm] for row in rows)]
    return title, tuple(columns[i] for i in kept), [tuple(row[i] for i in kept) for row in rows]


def short_names(found: Comparison) -> dict[str, str]:
    """Return what to call each run in tables that fit a terminal: its label where all tables then do, else a letter."""
    labels = [run["label"] for run in found.runs]
    if all(_width(columns, rows) <= WIDTH for _, columns, rows in tables(found)):
        return {label: label for label in labels}
    letters = string.ascii_uppercase if len(labels) <= len(string.ascii_uppercase) else None
    return {label: letters[i] if letters else f"#{i + 1}" for i, label in enumerate(labels)}


def _width(columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> int:
    return sum(max(len(row[i]) for row in (columns, *rows)) for i in range(len(columns))) + 2 * (len(columns) - 1)


def show(found: Comparison, markdown: bool = False) -> None:
    """Print a comparison's tables, each pair's sentence, how it was tested, and the notes."""
    from healthfm.report.comparison import ways

    names = {} if markdown else short_names(found)
    letters = {label: short for label, short in names.items() if short != label}
    if letters:
        print("\n".join(f"{short} = {label}" for label, short in letters.items()) + "\n")
    for title, columns, rows in tables(found, names):
        if markdown:
            line = [[cell.replace("|", "\\|") for cell in row] for row in (columns, ["---"] * len(columns), *rows)]
            print(f"**{title}**\n\n" + "\n".join(f"| {' | '.join(row)} |" for row in line) + "\n")
        else:
            emit_table(columns, rows, title=title)
            print()
    pairs = [pair["says"] for one in found.metrics.values() for pair in one["pairs"]]
    for said in [*(f"note: {note}" for note in found.notes), *(f"{one}." for one in ways(found)), *pairs]:
        if markdown:
            print(f"- {said}")
        else:
            for label in sorted(letters, key=len, reverse=True):
                said = said.replace(label, letters[label])
            print(textwrap.fill(said, WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False))
