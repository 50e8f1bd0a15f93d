"""A leaderboard as one self-contained HTML page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from markupsafe import Markup

from healthfm.report import comparison
from healthfm.report.page import PAGES
from healthfm.report.svg import Axis, bar, covering, scale
from healthfm.report.words import number
from healthfm.score.leaderboard import OTHER, RANDOM, SEEN, Leaderboard
from healthfm.score.statistics.paired import ALPHA

SIGNS: Mapping[str, str] = {SEEN: "†", RANDOM: "‡", OTHER: "§"}
MEANS: Mapping[str, str] = {
    SEEN: "the cards show a way by which this data, or its like, reached the model", RANDOM: "random weights, the number says nothing of the model",
    OTHER: "the server calls its model by no name of the row",
}  # fmt: skip


def render(board: Leaderboard) -> str:
    """Return the page of a leaderboard."""
    ranks = Axis("", 0.5, max(1, len([one for one in board.models if one["rank"]])) + 0.5)
    values = {one["label"]: covering(_ends(one["cells"])) for one in board.columns}
    apart = {
        one["column"]: covering(_ends([row for row in board.pairs if row["column"] == one["column"]]), around=0)
        for one in board.pairs
    }
    return PAGES.get_template("leaderboard.html.j2").render(
        title=f"{len(board.models)} models on {len(board.columns)} datasets" if len(board.columns) > 1 else f"Models on {board.columns[0]['label']}",
        board=board, verdict=verdict(board), signs=signs, marks=marks_shown(board), alpha=ALPHA, places=place_words,
        cell_of={(one["label"], cell["model"]): cell for one in board.columns for cell in one["cells"]},
        rank_bar=lambda row: bar(ranks, row["mean_rank"], row["rank_low"], row["rank_high"]), rank_scale=scale(ranks),
        bars={name: partial(_bar, axis) for name, axis in values.items()}, scales={name: scale(axis) for name, axis in values.items()},
        pair_bars={name: partial(_bar, axis, mark=0) for name, axis in apart.items()}, pair_scales={name: scale(axis) for name, axis in apart.items()},
    )  # fmt: skip


def write(board: Leaderboard, path: Path) -> Path:
    """Write the page, private to the user; into ``leaderboard.html`` where ``path`` is a folder. Return where."""
    return comparison.put(render(board), path / "leaderboard.html" if path.is_dir() else path)


def _bar(axis: Axis, row: Mapping[str, Any], mark: float | None = None) -> Markup:
    return bar(axis, row["value"], row["low"], row["high"], mark)


def _ends(rows: Sequence[Mapping[str, Any]]) -> list[float]:
    return [row[key] for row in rows for key in ("low", "value", "high") if row[key] is not None]


def signs(cell: Mapping[str, Any]) -> str:
    """Return the marks of a cell, as signs."""
    return "".join(SIGNS[one] for one in cell["marks"])


def marks_shown(board: Leaderboard) -> list[str]:
    """Return what each mark that occurs means."""
    met = {mark for one in board.columns for cell in one["cells"] for mark in cell["marks"]}
    return [f"{sign} {MEANS[mark]}" for mark, sign in SIGNS.items() if mark in met]


def place_words(row: Mapping[str, Any]) -> str:
    """Return a rank, equal values sharing theirs, with its range in words; "-" where there is none."""
    if row["rank"] is None:
        return "-"
    return f"{plain(row['mean_rank'])} ({plain(row['rank_low'])} to {plain(row['rank_high'])})"


def plain(value: float) -> str:
    """Return a rank as short as it is."""
    return f"{value:.2f}".rstrip("0").rstrip(".")


def verdict(board: Leaderboard) -> str:
    """Say who stands first over all datasets, and who could as well."""
    ranked = [one for one in board.models if one["rank"] is not None]
    if not ranked:
        return "No model is ranked over all datasets; each dataset's own table stands below."
    first, *rest = ranked
    value = f"mean rank {number(first['mean_rank'])}, first in {first['first']:.0%} of resamples"
    if not first["tied_with"]:
        return f"{first['label']} is best ({value}), and told apart from {'the other model' if len(rest) == 1 else 'every other model'}."
    return f"{first['label']} stands first ({value}), but is not told apart from {' and '.join(first['tied_with'])}."
