"""``leaderboard``: models x datasets from the finished runs of a folder, with ranks that say which models cannot be told apart."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from healthfm.errors import RunError
from healthfm.score.comparable import unlike_protocols, unlike_samples
from healthfm.score.compare import compare
from healthfm.score.ranks import ENDS, RESAMPLES, SAME, Cell, Column, draw, leave, measure, ranges, ranks
from healthfm.score.result import Result, not_the_row, read
from healthfm.score.sentences import concerning, contamination_line, weights_of
from healthfm.score.shelf import shelf, study_states
from healthfm.score.statistics.paired import holm

SEEN, RANDOM, OTHER = "contamination", "random weights", "another model?"


@dataclass(frozen=True)
class Leaderboard:
    """Models on datasets. Plain data.

    ``models``: each one's ``label``, ``mean_rank`` over the datasets with the ends of its range (``low``, ``high``), ``rank`` (1 and the number of
    models whose ranges lie wholly before its own), ``first`` (the share of resamples in which it stands first) and ``tied_with``; all None of a model that
    lacks a dataset. ``columns``: each dataset's ``metric``, ``n`` and ``cells``: a model's value, interval, and the same of its rank there. ``pairs``: paired tests,
    Holm over all of them. ``excluded``: runs and why. ``notes``: what a reader must know beside it.
    """

    place: str
    models: tuple[dict[str, Any], ...]
    columns: tuple[dict[str, Any], ...]
    pairs: tuple[dict[str, Any], ...]
    excluded: tuple[dict[str, str], ...]
    notes: tuple[str, ...]
    seed: int = 0
    resamples: int = RESAMPLES

    def asdict(self) -> dict[str, Any]:
        """Return everything as a plain dictionary."""
        return asdict(self)


def leaderboard(
    place: Path | str, *, paired: bool = False, across_protocols: bool = False, seed: int = 0
) -> Leaderboard:
    """Return the leaderboard of all finished runs at or below a folder.

    A column is a dataset asked in one way (protocol, task, split, number of examples); runs of several seeds are one cell, their mean. Runs on other samples or asked otherwise than the
    most of a column are left out and named (``across_protocols``: only those on other samples). Ranks are a bootstrap's: samples (whole patients) are
    drawn anew within each dataset, the same ones for all models and all columns of it. ``paired``: test every pair of each column.
    Raises ``RunError``: no folder, or no finished run.
    """
    excluded: list[dict[str, str]] = []
    runs: list[Result] = []
    for one in shelf(place):
        try:
            if one.state != "finished":
                raise RunError(f"{one.state}: {one.says}")
            runs.append(read(one.path, Result))
        except RunError as error:
            name = f"{one.model} on {one.dataset}" if one.model else one.path.name
            excluded.append({"run": name, "path": str(one.path), "why": str(error).removeprefix(f"{one.path}: ")})
    for path, (title, state) in study_states(Path(place)).items():
        why = {"asked": "not run yet", "finished": "its folder is gone"}.get(state, state)
        known = next((one for one in excluded if one["path"] == str(path)), None)
        if known is not None and state not in ("asked", "finished"):
            known["why"] += f"; {why}"
        elif known is None and not (path / "run.json").is_file():
            excluded.append({"run": title, "path": str(path), "why": why})
    if not runs:
        raise RunError(f"{place}: holds no finished run{f' ({len(excluded)} are not finished)' if excluded else ''}")
    columns = _columns(runs, _names(runs), across_protocols, excluded)
    measure(columns, excluded)
    columns = [one for one in columns if one.cells]
    draw(columns, seed)
    models, notes = _overall(columns)
    pairs = [row for one in columns for row in _pairs(one, across_protocols, seed, notes)] if paired else []
    for row, p in zip(pairs, holm([row["p"] for row in pairs]), strict=True):
        row["p_holm"] = p
    return Leaderboard(
        str(place), tuple(models), tuple(_told(one, notes) for one in columns), tuple(pairs), tuple(excluded), tuple(dict.fromkeys(notes)), seed
    )  # fmt: skip


# Who, and on what -----------------------------------------------------------------------------------------------------


def _names(runs: Sequence[Result]) -> dict[int, str]:
    """Return what each run's model is called: by its weights, server or precision too, where one name stands for several."""
    keys = ("weights", "endpoint", "dtype")
    of = {id(run): tuple(str(run.facts["request"].get(key) or "") for key in keys) for run in runs}
    found = {}
    for run in runs:
        several = {of[id(one)] for one in runs if one.model == run.model}
        apart = [i for i in range(len(keys)) if len({one[i] for one in several}) > 1]
        more = ", ".join(f"{keys[i]} {of[id(run)][i][:40] or 'none'}" for i in apart)
        found[id(run)] = f"{run.model} ({more})" if more else run.model
    return found


def _asked(run: Result) -> tuple[Any, ...]:
    request = run.facts["request"]
    return request["dataset"], request.get("split"), request["task"], request.get("shots")


def _columns(
    runs: Sequence[Result], names: Mapping[int, str], across: bool, excluded: list[dict[str, str]]
) -> list[Column]:
    """Return the columns with the runs that can stand beside each other; the others go to ``excluded``."""
    groups: dict[tuple[Any, ...], list[Result]] = {}
    for run in runs:
        groups.setdefault(_asked(run), []).append(run)
    made = []
    for key, group in groups.items():
        counts = [names[id(run)] for run in group]
        seeds = {run.facts["request"]["seed"] for run in group} if len(set(counts)) < len(counts) else {None}
        cells: dict[str, Cell] = {}
        for seed in sorted(seeds, key=str):
            slot = [run for run in group if seed is None or run.facts["request"]["seed"] == seed]
            for run in _alike(_newest(slot, names, excluded), names, across, excluded):
                cells.setdefault(names[id(run)], Cell(names[id(run)], [])).runs.append(run)
        most = max(len(one.runs) for one in cells.values())
        for one in cells.values():
            if len(one.runs) < most:
                leave(excluded, one.runs, f"has {len(one.runs)} of the {most} seeds that others have here")
        kept = sorted((one for one in cells.values() if len(one.runs) == most), key=lambda one: one.who)
        made.append(Column(_label(key, groups), f"{re.split('[@#]', str(key[0]))[0]} {key[1]}", kept))
    return sorted(made, key=lambda one: one.label)


def _label(key: tuple[Any, ...], groups: Mapping[tuple[Any, ...], Any]) -> str:
    """Name a column by its dataset, and by split, task and examples where that is not enough."""
    same = [one for one in groups if one[0] == key[0]]
    words = (f"{key[1]}", f"{key[2]}", f"{key[3]} shots")
    more = [word for i, word in enumerate(words, 1) if len({one[i] for one in same}) > 1]
    return ", ".join([str(key[0]), *more])


def _newest(runs: Sequence[Result], names: Mapping[int, str], excluded: list[dict[str, str]]) -> list[Result]:
    """Return one run of each model, the newest of those on the most samples."""

    def order(run: Result) -> tuple[int, float]:
        assert run.path is not None
        return run.predictions.num_rows, (run.path / "run.json").stat().st_mtime

    best: dict[str, Result] = {}
    for run in sorted(runs, key=order):
        if (before := best.get(names[id(run)])) is not None:
            leave(
                excluded,
                [before],
                f"another run of the same model, newer or on more samples, stands for it: {run.path}",
            )
        best[names[id(run)]] = run
    return [best[name] for name in sorted(best)]


def _alike(
    runs: Sequence[Result], names: Mapping[int, str], across: bool, excluded: list[dict[str, str]]
) -> list[Result]:
    """Return the runs of the largest group on the same samples and asked alike; of equal groups the one with more samples."""

    def apart(one: Result, other: Result) -> str:
        if samples := unlike_samples(one, other):
            return f"other samples than {names[id(one)]}: {'; '.join(samples)}"
        protocols = [] if across else unlike_protocols(one, other)
        return f"other protocol than {names[id(one)]}: {'; '.join(protocols)}" if protocols else ""

    groups: list[list[Result]] = []
    for run in runs:
        home = next((group for group in groups if not apart(group[0], run)), None)
        if home is None:
            groups.append(home := [])
        home.append(run)
    best = max(groups, key=lambda group: (len(group), group[0].predictions.num_rows))
    for group in groups:
        if group is not best:
            for run in group:
                leave(excluded, [run], apart(best[0], run))
    return best


def _overall(columns: Sequence[Column]) -> tuple[list[dict[str, Any]], list[str]]:
    """Return every model's place over all columns that more than one model has, best first; and what is to be said of that."""
    ranked = [
        one
        for one in columns
        if len(one.cells) > 1 and ranges(*ranks(one, one.cells), [""] * len(one.cells))[0]["rank"]
    ]
    who = list(dict.fromkeys(cell.who for one in columns for cell in one.cells))
    notes = [
        f"{one.label}: no other model was asked this in this way, so there is no rank"
        for one in columns
        if len(one.cells) == 1
    ]
    complete = [name for name in who if ranked and all(name in {cell.who for cell in one.cells} for one in ranked)]
    if len(complete) < 2:
        notes.append("there is no rank over all: fewer than two models have every dataset that is ranked")
        complete = []
    places: dict[str, dict[str, Any]] = {}
    if complete:
        each = [
            ranks(one, [next(cell for cell in one.cells if cell.who == name) for name in complete]) for one in ranked
        ]
        now, drawn = np.mean([a for a, _ in each], axis=0), np.mean([b for _, b in each], axis=0)
        lost = int((~np.isfinite(drawn).all(axis=0)).sum())
        notes += (
            [f"in {lost:,} of {RESAMPLES:,} resamples a metric is not defined; they are left out of the ranks"]
            if lost
            else []
        )
        places = dict(zip(complete, ranges(now, drawn, complete), strict=True))
    none = dict.fromkeys(("mean_rank", "rank_low", "rank_high", "rank", "first", "tied_with"))
    for name in who if complete else ():
        if lacks := [one.label for one in ranked if name not in {cell.who for cell in one.cells}]:
            notes.append(f"{name} has no rank over all, it lacks {', '.join(lacks)}")
    models = [{"label": name, **places.get(name, none), "datasets": sum(name in {c.who for c in one.cells} for one in columns)} for name in who]  # fmt: skip
    return sorted(models, key=lambda one: (one["mean_rank"] is None, one["mean_rank"] or 0, one["label"])), notes


# In words and numbers ---------------------------------------------------------------------------------------------------


def _told(column: Column, notes: list[str]) -> dict[str, Any]:
    """Return a column as plain data, best first."""
    places = ranges(*ranks(column, column.cells), [cell.who for cell in column.cells])
    cells = []
    for cell, place in zip(column.cells, places, strict=True):
        marks = []
        for run in cell.runs:
            if concerning(run):
                marks.append(SEEN)
                notes.append(f"{cell.who} on {column.label}: {contamination_line(run)}")
            marks += [RANDOM] if weights_of(run).startswith("random") else []
            marks += [OTHER] if not_the_row(run.facts) else []
            notes += [f"{cell.who}: {said}" for said in not_the_row(run.facts)]
        cells.append({
            "model": cell.who, **_interval(cell, column.metric), **place, "marks": list(dict.fromkeys(marks)),
            "paths": [str(run.path) for run in cell.runs],
        })  # fmt: skip
    first = column.cells[0].runs[0].facts["request"]
    return {
        "label": column.label, "dataset": first["dataset"], "split": first.get("split"), "task": first["task"], "metric": column.metric,
        "lower_is_better": column.lower, "n": column.cells[0].runs[0].predictions.num_rows, "seeds": len(column.cells[0].runs),
        "cells": sorted(cells, key=lambda one: (one["value"] if column.lower else -one["value"], one["model"])),
    }  # fmt: skip


def _interval(cell: Cell, metric: str) -> dict[str, Any]:
    """Return a cell's value with its interval: of one run that run's own, of several seeds, or over more classes, a bootstrap's."""
    own = cell.runs[0].metrics[metric]
    if len(cell.runs) == 1 and abs(own["value"] - cell.value) < 10.0**-SAME:
        return {key: own[key] for key in ("value", "low", "high", "n", "method")}
    known = cell.drawn[np.isfinite(cell.drawn)]
    low, high = np.quantile(known, ENDS) if len(known) and np.ptp(known) > 0 else (None, None)
    what = f", mean over {len(cell.runs)} seeds" if len(cell.runs) > 1 else ", over the classes of all models"
    method = f"percentile bootstrap, {RESAMPLES:,} resamples{what}"
    ends = {
        "low": None if low is None else min(float(low), cell.value),
        "high": None if high is None else max(float(high), cell.value),
    }
    return {"value": cell.value, **ends, "n": own["n"], "method": method}


def _pairs(column: Column, across: bool, seed: int, notes: list[str]) -> list[dict[str, Any]]:
    """Return a paired test of every two models of a column, of each seed by itself."""
    rows = []
    for place in range(len(column.cells[0].runs) if len(column.cells) > 1 else 0):
        asked = [cell.runs[place] for cell in column.cells]
        try:
            found = compare(asked, metrics=[column.metric], across_protocols=across, seed=seed).pairs
        except RunError as error:
            notes.append(f"{column.label}: pairs are not tested, {error}")
            continue
        seeds = f", seed {asked[0].facts['request']['seed']}" if len(column.cells[0].runs) > 1 else ""
        for (one, other), row in zip(itertools.combinations(column.cells, 2), found, strict=True):
            kept = {key: row[key] for key in ("value", "low", "high", "p", "test", "detectable", "n")}
            rows.append(
                {"column": column.label + seeds, "metric": column.metric, "first": one.who, "second": other.who, **kept}
            )
    return rows
