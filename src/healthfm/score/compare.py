"""``compare``: runs on the same samples ranked, with paired tests; runs that cannot be ranked are refused, saying how they differ."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from healthfm import notebook
from healthfm.errors import RunError
from healthfm.score import scoring
from healthfm.score.comparable import refuse_unlike
from healthfm.score.pairing import Side, paired
from healthfm.score.result import Result, not_the_row, read
from healthfm.score.sentences import weights_of
from healthfm.score.statistics import Statistic, estimate, in_words, number_patients
from healthfm.score.statistics.draws import over
from healthfm.score.statistics.paired import ALPHA, POWER, Difference, holm
from healthfm.score.statistics.subgroups import SMALL_GROUP


@dataclass(frozen=True)
class Comparison:
    """Runs on the same samples, compared. Plain data.

    ``runs``: each run's ``label`` and what it was. ``metrics``: for each compared metric its ``ranking`` (rank, run, value,
    interval, which runs it is ``not_told_apart_from``) and its ``pairs`` (difference first minus second, interval, ``p``,
    ``p_holm``, test, smallest ``detectable`` difference, and a sentence, ``says``). ``metric`` is the first, the headline.
    ``subgroups``: the headline metric's pairs within each group. ``notes``: what a reader must know beside it.
    """

    task: str
    n: int
    metric: str
    runs: tuple[dict[str, Any], ...]
    metrics: dict[str, dict[str, Any]]
    subgroups: tuple[dict[str, Any], ...]
    notes: tuple[str, ...]

    @property
    def ranking(self) -> list[dict[str, Any]]:
        """The headline metric's ranking, best first."""
        return list(self.metrics[self.metric]["ranking"])

    @property
    def pairs(self) -> list[dict[str, Any]]:
        """The headline metric's pairs."""
        return list(self.metrics[self.metric]["pairs"])

    def _repr_html_(self) -> str:
        rows = [(one["rank"], one["run"], f"{one['value']:.3f}", in_words(one, ".3f")) for one in self.ranking]
        return notebook.table(
            f"{self.metric.replace('_', '-')} of {self.n} samples", ("rank", "run", "value", "interval"), rows
        )

    def asdict(self) -> dict[str, Any]:
        """Return everything as a plain dictionary."""
        return asdict(self)


@dataclass(frozen=True)
class _Aligned:
    """A run with its rows in the order of the first run's, and its metrics as statistics."""

    label: str
    run: Result
    table: pa.Table
    statistics: Mapping[str, Statistic]
    draws: tuple[pa.Table, ...] = ()


def compare(
    runs: Sequence[Result | Path | str], *, metrics: Sequence[str] | None = None, across_protocols: bool = False, seed: int = 0,
    common: bool = False,
) -> Comparison:  # fmt: skip
    """Rank runs on the same samples, with a paired test of every pair.

    ``runs``: two or more, as ``Result`` or run folder. ``metrics``: which to compare (default: the task's
    headline metric, and ``acc_norm`` where options' texts were scored); the first named is the headline. ``across_protocols`` allows runs that asked the same questions in different ways (prompt,
    examples, parser, edition of the dataset's card); samples and targets must always be the same. ``common``: compare on the samples
    that all runs have, and say how many each leaves out. P-values are adjusted by
    Holm over the pairs of one metric. Raises ``RunError`` saying exactly how runs differ that cannot be ranked.
    """
    opened = [one if isinstance(one, Result) else read(one, Result) for one in runs]
    if len(opened) < 2:
        raise RunError("comparing takes two runs or more")
    labels = _labels(opened)
    left_out = _keep_common(opened, labels) if common else []
    notes = refuse_unlike(opened, labels, across_protocols) + left_out
    notes += [f"{label}: {said}" for label, run in zip(labels, opened, strict=True) for said in not_the_row(run.facts)]
    aligned = _align(opened, labels)
    shared = [name for name in aligned[0].statistics if all(name in one.statistics for one in aligned)]
    usual = [opened[0].scores["headline"], *(name for name in ("acc_norm",) if name in shared)]
    chosen = list(dict.fromkeys(metrics)) if metrics else usual
    unknown = [name for name in chosen if name not in shared]
    if unknown:
        raise RunError(
            f"not a metric of all these runs: {', '.join(unknown)} (they share: {', '.join(shared) or 'none'})"
        )
    tables = {name: _metric(name, aligned, seed) for name in chosen}
    groups, apart = _subgroups(chosen[0], aligned, seed)
    notes += [
        f"{one.label}: its weights are random, its numbers say nothing of the model"
        for one in aligned
        if weights_of(one.run).startswith("random")
    ]
    if number_patients(scoring.patients_of(aligned[0].table)) is not None:
        notes.append("patients have several samples each: whole patients were resampled and swapped")
    return Comparison(
        task=opened[0].facts["request"]["task"], n=aligned[0].table.num_rows, metric=chosen[0],
        runs=tuple(_facts(one) for one in aligned), metrics=tables, subgroups=tuple(groups), notes=(*notes, *apart),
    )  # fmt: skip


def _keep_common(runs: list[Result], labels: Sequence[str]) -> list[str]:
    """Cut every run to the samples that all have, in place; say what was left out. Raises ``RunError``: none is left."""
    sets = [set(run.predictions["id"].to_pylist()) for run in runs]
    both = set.intersection(*sets)
    if not both:
        raise RunError("these runs have no sample in common")
    wanted = pa.array(sorted(both), pa.string())
    gone = [f"{label} leaves out {len(own) - len(both)} of {len(own)} samples that not all have" for label, own in zip(labels, sets, strict=True) if len(own) > len(both)]  # fmt: skip

    def cut(table: pa.Table) -> pa.Table:
        return table.filter(pc.is_in(table["id"].cast(pa.string()), wanted))

    for place, run in enumerate(runs):
        table = scoring.check_table(cut(run.predictions), run.facts["request"]["task"])
        runs[place] = Result(run.facts, table, run.scores, run.path, [cut(one) for one in run.draws])
    return [f"compared on the {len(both)} samples that all runs have: {'; '.join(gone)}"] if gone else []


def _labels(runs: Sequence[Result]) -> list[str]:
    """Name each run by its model, of one model by how it was asked, and further by dataset and folder where that is not enough."""
    requests = [{**run.facts["request"], "model": run.model} for run in runs]
    one_model = len({r["model"] for r in requests}) == 1
    tries = (
        [r["model"] for r in requests],
        [re.split("[@#]", r["dataset"])[-1] for r in requests] if one_model else [],
        [f"{r['model']} on {r['dataset']}" for r in requests],
        [f"{r['model']} ({run.path.name if run.path else 'in memory'})" for r, run in zip(requests, runs, strict=True)],
        [f"{r['model']} (run {i})" for i, r in enumerate(requests, 1)],
    )
    return next(names for names in tries if names and len(set(names)) == len(names))


def _facts(one: _Aligned) -> dict[str, Any]:
    request = one.run.facts["request"]
    path = str(one.run.path) if one.run.path else None
    return {
        "label": one.label,
        "model": one.run.model,
        "dataset": request["dataset"],
        "task": request["task"],
        "path": path,
        "fitted_on": one.run.facts.get("fitted", {}).get("fitted_on") or request.get("fitted_on"),
    }


def _align(runs: Sequence[Result], labels: Sequence[str]) -> list[_Aligned]:
    """Put every run's rows into the order of the first's, and its metrics beside them."""
    order = runs[0].predictions["id"].to_pylist()
    classes = _classes(runs)
    found = []
    for run, label in zip(runs, labels, strict=True):
        task = run.facts["request"]["task"]
        place = {name: row for row, name in enumerate(run.predictions["id"].to_pylist())}
        rows = [place[name] for name in order]
        table = scoring.check_table(run.predictions, task).take(rows)
        draws = tuple(scoring.check_table(one, task).take(rows) for one in run.draws)
        found.append(_aligned(label, run, table, draws, classes))
    return found


def _aligned(
    label: str, run: Result, table: pa.Table, draws: tuple[pa.Table, ...], classes: Sequence[str] | None
) -> _Aligned:
    task = run.facts["request"]["task"]
    many = [scoring.statistics_of(one, task, classes) for one in draws or (table,)]
    return _Aligned(label, run, table, over(many) if draws else many[0], draws)


def _classes(runs: Sequence[Result]) -> list[str] | None:
    """The label space of all runs together, in the first's order."""
    spaces = [run.scores.get("classes") or [] for run in runs]
    return list(dict.fromkeys(itertools.chain.from_iterable(spaces))) or None


# Differences ----------------------------------------------------------------------------------------------------------


def _metric(name: str, aligned: Sequence[_Aligned], seed: int) -> dict[str, Any]:
    """Return the ranking and the pairs of one metric."""
    patients = scoring.patients_of(aligned[0].table)
    pairs = [(a, b, _difference(name, a, b, seed)) for a, b in itertools.combinations(aligned, 2)]
    adjusted = holm([d.p for _, _, d in pairs])
    lower = aligned[0].statistics[name].lower_is_better
    told = [
        {
            "first": a.label, "second": b.label, "first_value": a.statistics[name].value, "second_value": b.statistics[name].value,
            **d.asdict(), "p_holm": p, "says": _says(name, a, b, d, p, len(pairs), lower),
        }
        for (a, b, d), p in zip(pairs, adjusted, strict=True)
    ]  # fmt: skip
    best = sorted(aligned, key=lambda one: one.statistics[name].value, reverse=not lower)
    ranking = [
        {
            "rank": rank, "run": one.label, **estimate({name: one.statistics[name]}, patients, seed)[name],
            "not_told_apart_from": [
                pair["second"] if pair["first"] == one.label else pair["first"]
                for pair in told if one.label in (pair["first"], pair["second"]) and pair["p_holm"] >= ALPHA
            ],
        }
        for rank, one in enumerate(best, 1)
    ]  # fmt: skip
    return {"lower_is_better": lower, "ranking": ranking, "pairs": told}


def _difference(name: str, a: _Aligned, b: _Aligned, seed: int) -> Difference:
    sides = Side(a.table, a.statistics), Side(b.table, b.statistics)
    try:
        return paired(
            name, *sides, a.run.facts["request"]["task"], _classes([a.run, b.run]), seed, _same_draws(a.run, b.run)
        )
    except ValueError as error:
        raise RunError(f"{a.label} and {b.label}: {error}") from None


def _same_draws(a: Result, b: Result) -> bool:
    """Say whether two runs drew the same examples each time: from the same samples, as many, with the same seed."""
    return all(
        a.facts["request"].get(key) == b.facts["request"].get(key) for key in ("items", "fit_on", "shots", "seed")
    )


def _says(name: str, a: _Aligned, b: _Aligned, d: Difference, p_holm: float, pairs: int, lower: bool) -> str:
    """Say a pair's result in one or two sentences."""
    metric = name.replace("_", "-")
    values = f"{metric} {a.statistics[name].value:.3f} and {b.statistics[name].value:.3f}"
    over = f"; {_p(p_holm)} after Holm over {pairs} pairs" if pairs > 1 else ""
    numbers = f"difference {d.value:+.3f}, {in_words(d.asdict())}, {_p(d.p)}{over}"
    if p_holm < ALPHA:
        better, worse = (a, b) if (d.value > 0) != lower else (b, a)
        return f"{better.label} is better than {worse.label} ({values}; {numbers})."
    power = (
        f"A true difference of {d.detectable:.3f} would have been found in {POWER:.0%} of comparisons like this one, smaller ones less often."
        if d.detectable is not None
        else "This comparison cannot say what it would have found: the runs differ on no sample, or there are too few samples."
    )
    alone = f" once {pairs} pairs are tested" if d.p < ALPHA else ""
    return f"No difference is shown{alone} between {a.label} and {b.label} ({values}; {numbers}). {power}"


def _p(value: float) -> str:
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}"


def _subgroups(name: str, aligned: Sequence[_Aligned], seed: int) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the pairs of one metric within each group, adjusted over a column's groups and pairs; and what was left out."""
    found, notes = [], []
    of_each = [scoring.groups_of(one.table) for one in aligned]
    for column, groups in of_each[0].items():
        if any(other.get(column) != groups for other in of_each):
            notes.append(f"{column}: not every run has these subgroups, so they are not compared")
            continue
        rows = [
            row for group in sorted({g for g in groups if g is not None})
            for row in _group(name, column, group, [i for i, g in enumerate(groups) if g == group], aligned, seed)
        ]  # fmt: skip
        tested = [row for row in rows if row["p"] is not None]
        for row, p in zip(tested, holm([row["p"] for row in tested]), strict=True):
            row["p_holm"] = p
        found += rows
    return found, notes


def _group(
    name: str, column: str, group: str, within: Sequence[int], aligned: Sequence[_Aligned], seed: int
) -> list[dict[str, Any]]:
    classes = _classes([one.run for one in aligned])
    cut = [
        _aligned(one.label, one.run, one.table.take(within), tuple(d.take(within) for d in one.draws), classes)
        for one in aligned
    ]
    rows = []
    for a, b in itertools.combinations(cut, 2):
        row: dict[str, Any] = {
            "subgroup": column, "group": group, "first": a.label, "second": b.label,
            "n": len(within), "too_few": len(within) < SMALL_GROUP, "p": None, "p_holm": None,
        }  # fmt: skip
        if name in a.statistics and name in b.statistics:
            row |= {"first_value": a.statistics[name].value, "second_value": b.statistics[name].value}
            try:
                row |= _difference(name, a, b, seed).asdict()
            except RunError:
                row["test"] = "not defined in this group"
        rows.append(row)
    return rows
