"""Runs on the same samples as one self-contained HTML page."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from markupsafe import Markup

from healthfm.errors import RunError
from healthfm.report import plots
from healthfm.report.page import PAGES
from healthfm.report.svg import Axis, bar, covering, scale
from healthfm.report.words import number, span, word
from healthfm.score.compare import Comparison
from healthfm.score.statistics.paired import ALPHA, POWER

Rows = Sequence[Mapping[str, Any]]


def render(found: Comparison) -> str:
    """Return the page of a comparison."""
    values = {name: covering(_ends(one["ranking"])) for name, one in found.metrics.items()}
    apart = {name: covering(_ends(one["pairs"]), around=0) for name, one in found.metrics.items()}
    within = covering(_ends(found.subgroups), around=0)
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for row in found.subgroups:
        groups.setdefault((row["subgroup"], row["group"]), []).append(row)
    return PAGES.get_template("comparison.html.j2").render(
        title=" and ".join(run["label"] for run in found.runs) if len(found.runs) == 2 else f"{len(found.runs)} runs compared",
        found=found, about=about(found), alpha=ALPHA, power=POWER, verdict=verdict(found),
        value_bars={name: partial(_bar, axis) for name, axis in values.items()}, value_scales={name: scale(axis) for name, axis in values.items()},
        pair_bars={name: _around_zero(axis) for name, axis in apart.items()}, pair_scales={name: scale(axis) for name, axis in apart.items()},
        subgroup_bars=_around_zero(within), subgroup_scale=scale(within), groups=groups, tests=ways(found), learning=_learning(found),
    )  # fmt: skip


def write(found: Comparison, path: Path) -> Path:
    """Write the page of a comparison, private to the user; into ``compare.html`` where ``path`` is a folder. Return where."""
    return put(render(found), path / "compare.html" if path.is_dir() else path)


def put(html: str, place: Path) -> Path:
    """Write a page whole or not at all, private to the user; return where."""
    draft = place.with_name(f".{place.name}.{os.getpid()}")
    try:
        draft.touch(mode=0o600)
        draft.write_text(html, encoding="utf-8")
        draft.replace(place)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise RunError(f"{place}: cannot be written ({error.strerror})") from None
    return place


def _bar(axis: Axis, row: Mapping[str, Any], mark: float | None = None, kind: str = "c1") -> Markup:
    return bar(axis, row["value"], row["low"], row["high"], mark, kind)


def _around_zero(axis: Axis) -> Callable[[Mapping[str, Any]], Markup]:
    return lambda row: _bar(axis, row, 0, "faint" if row.get("too_few") else "c1")


def _ends(rows: Rows) -> list[float]:
    """Return every value and end of an interval; what is not defined in a group has none."""
    return [row[key] for row in rows for key in ("low", "value", "high") if row.get(key) is not None]


def about(found: Comparison) -> list[str]:
    """Return what all runs share: the model, where they were asked in several ways, the data and the task."""
    shared = (
        {run["model"] for run in found.runs}, {re.split("[@#]", run["dataset"])[0] for run in found.runs}, {run["task"] for run in found.runs},
    )  # fmt: skip
    return [next(iter(one)) for one in shared if len(one) == 1]


def verdict(found: Comparison) -> str:
    """Say which run stands first, and which others could as well."""
    first = found.ranking[0]
    value = f"{word(found.metric).label} {number(first['value'])}, 95 % interval {span(first)}"
    others = first["not_told_apart_from"]
    if not others:
        rest = "the other run" if len(found.runs) == 2 else "every other run"
        return f"{first['run']} is best ({value}), and told apart from {rest}."
    return f"{first['run']} stands first ({value}), but is not told apart from {' and '.join(others)}."


def ways(found: Comparison) -> list[str]:
    """Return how p-values and intervals were made: once where it is the same for all pairs."""
    made = {
        (word(name).label, row["first"], row["second"]): f"{row['test']}; {'interval by' if row['low'] is not None else 'no interval:'} {row['method']}"
        for name, one in found.metrics.items() for row in one["pairs"]
    }  # fmt: skip
    if len(set(made.values())) == 1:
        return [f"Test: {next(iter(made.values()))}"]
    return [f"Test of {metric}, {first} and {second}: {way}" for (metric, first, second), way in made.items()]


def _learning(found: Comparison) -> Markup | None:
    """Return the learning curve, where one model was fitted on different numbers of samples."""
    sizes = {run["label"]: run.get("fitted_on") for run in found.runs}
    if None in sizes.values() or len(set(sizes.values())) < len(sizes) or len({run["model"] for run in found.runs}) > 1:
        return None
    points = sorted(({**row, "size": sizes[row["run"]]} for row in found.ranking), key=lambda row: row["size"])
    return plots.learning_curve(points, found.metric)
