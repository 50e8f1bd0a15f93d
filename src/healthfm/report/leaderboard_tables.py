"""A leaderboard as Markdown, LaTeX (booktabs) and CSV."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable
from typing import Any

from healthfm.report.leaderboard import marks_shown, place_words, signs, verdict
from healthfm.report.words import chance, interval, number, span, word
from healthfm.score.leaderboard import RANDOM, SEEN, Leaderboard

COLUMNS = (
    "dataset", "split", "task", "metric", "n", "seeds", "model", "value", "low", "high", "rank", "mean_rank", "rank_low", "rank_high", "first", "tied_with", "marks",
)  # fmt: skip
SPECIAL = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%", "_": r"\_", "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
}  # fmt: skip
SIGNS = {SEEN: r"\dag", RANDOM: r"\ddag"}


def to_csv(board: Leaderboard) -> str:
    """Return a row for each model on each dataset, numbers in full."""
    made = io.StringIO()
    writer = csv.writer(made, lineterminator="\n")
    writer.writerow(COLUMNS)
    for one in board.columns:
        for cell in one["cells"]:
            row = {**one, **cell, "tied_with": "; ".join(cell["tied_with"] or ()), "marks": "; ".join(cell["marks"])}
            writer.writerow([row[name] for name in COLUMNS])
    return made.getvalue()


def _rows(board: Leaderboard, cell: Callable[[dict[str, Any]], str], text: Callable[[str], str]) -> list[list[str]]:
    """Return the table of models and datasets: a header, and a row a model with its rank over all."""
    of = {(one["label"], found["model"]): found for one in board.columns for found in one["cells"]}
    head = ["model", "rank", "mean rank (95 %)", *(f"{one['label']}, {word(one['metric']).label}, n = {one['n']:,}" for one in board.columns)]  # fmt: skip
    rows = [[text(one) for one in head]]
    for model in board.models:
        found = [of.get((one["label"], model["label"])) for one in board.columns]
        rows.append([text(model["label"]), "-" if model["rank"] is None else str(model["rank"]), place_words(model), *(cell(one) if one else "-" for one in found)])  # fmt: skip
    return rows


def to_markdown(board: Leaderboard) -> str:
    """Return the table of models and datasets with what must stand beside it."""
    rows = _rows(
        board,
        lambda one: f"{number(one['value'])}{signs(one)} ({span(one)})",
        lambda said: said.replace("|", "\\|").replace("\n", " "),
    )
    lines = [f"| {' | '.join(row)} |" for row in (rows[0], ["---"] * len(rows[0]), *rows[1:])]
    beside = [*marks_shown(board), *board.notes, *(f"left out: {one['run']}: {one['why']}" for one in board.excluded)]
    return "\n".join([verdict(board), "", *lines, "", *(f"- {one}" for one in beside)]).rstrip() + "\n"


def to_latex(board: Leaderboard) -> str:
    """Return the table of models and datasets for LaTeX with the package booktabs; every name is escaped."""

    def cell(one: dict[str, Any]) -> str:
        marks = "".join(SIGNS.get(mark, r"\S") for mark in one["marks"])
        value = f"{number(one['value'])}{f'$^{{{marks}}}$' if marks else ''}"
        return f"{value} {{\\footnotesize ({span(one)})}}"

    head, *rows = _rows(board, cell, escaped)
    lines = [
        "% needs \\usepackage{booktabs}", f"\\begin{{tabular}}{{l{'r' * (len(head) - 1)}}}", "\\toprule", " & ".join(head) + r" \\", "\\midrule",
        *(" & ".join(row) + r" \\" for row in rows), "\\bottomrule", "\\end{tabular}",
    ]  # fmt: skip
    signs_met = {mark for one in board.columns for found in one["cells"] for mark in found["marks"]}
    notes = [*(f"{SIGNS.get(mark, 'S')} {mark}" for mark in sorted(signs_met)), *(f"left out: {one['run']}: {one['why']}" for one in board.excluded)]  # fmt: skip
    return "\n".join([*lines, *(f"% {' '.join(one.split())}" for one in notes)]) + "\n"


def escaped(text: str) -> str:
    """Return a text in which LaTeX reads every sign as itself."""
    return re.sub(r"[\\{}$&#%_~^]", lambda found: SPECIAL[found.group()], " ".join(text.split()))


def plain(board: Leaderboard) -> tuple[list[str], list[list[str]]]:
    """Return the header and the rows of the table for a terminal."""
    head, *rows = _rows(board, lambda one: f"{number(one['value'])}{signs(one)} {interval(one)}", str)
    return head, rows


def pair(row: dict[str, Any]) -> str:
    """Say a paired test in one line."""
    return (
        f"{row['column']}: {row['first']} less {row['second']} {number(row['value'], signed=True)} {interval(row, signed=True)}, "
        f"p {chance(row['p'])}, after Holm {chance(row['p_holm'])} ({row['test']})"
    )
