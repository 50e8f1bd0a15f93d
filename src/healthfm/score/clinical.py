"""The clinical reading of a table with risks: is the positive class's risk right, what is a threshold worth, and for whom.

What TRIPOD+AI (Collins et al. 2024) and STARD-AI ask of a model's evaluation: calibration, discrimination, sensitivity and specificity
at a threshold that was named beforehand, predictive values at the prevalence meant, net benefit, and all of it by subgroup.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from scipy import special

from healthfm.errors import RunError
from healthfm.score.kinds import kind
from healthfm.score.kinds.classes import ranking
from healthfm.score.metrics.arrays import midranks, ratio
from healthfm.score.scoring import groups_of, patients_of
from healthfm.score.statistics import decision, recalibration, subgroups, widest
from healthfm.score.statistics.bootstrap import RESAMPLES
from healthfm.score.statistics.estimate import estimate, number_patients
from healthfm.score.statistics.intervals import Interval, clopper_pearson, wilson_ends
from healthfm.score.statistics.statistic import Bools, Cells, Floats, Ints, Statistic, of_cells, of_counts
from healthfm.score.tasks import TASKS
from healthfm.spelling import counted, fit

ENOUGH = 100  # rows of a class that calibration asks for (Vergouwe et al. 2005; Collins, Ogundimu and Altman 2016)
SMALL_SIDE = 5  # rows of a class under which a group is not called the worst
FEWEST_RISKS = 10  # that a smooth curve is drawn through
SMOOTHED = 100  # risks at which it is computed, at most
BY_GROUP = ("auroc", "sensitivity", "o_e")
NO_CLASS = "which class is positive is not known: name it (--positive CLASS, positive=...); the classes are {}"


@dataclass(frozen=True)
class Asked:
    """What the reader asks: which class is ``positive`` (None: whatever ``stated`` it), from which risk it is called, and the share of
    positives in the population meant. ``stated``: the positive class and who named it, where a card or declared classes did.
    """

    positive: str | None = None
    threshold: float | None = None
    prevalence: float | None = None
    stated: tuple[str, str] | None = None

    @property
    def anything(self) -> bool:
        """Whether the reader asked for a clinical reading at all."""
        return (self.positive, self.threshold, self.prevalence) != (None, None, None)

    def checked(self) -> Asked:
        """Return itself. Raises ``RunError``: a threshold or a prevalence that is none."""
        for name, value in (("threshold", self.threshold), ("prevalence", self.prevalence)):
            if value is not None and not 0 < value < 1:
                raise RunError(f"{name} is {value:g}; it is a share between 0 and 1, such as 0.3")
        return self


def asked_of(facts: Mapping[str, Any], asked: Asked) -> Asked:
    """Return what was asked, completed by what a run's facts say: as ``evaluate_predictions`` was asked, and who named a positive class.

    A card names one (``positive`` of its label space); of a table made elsewhere the second of two declared classes is the one.
    """
    before, classes = facts.get("clinical") or {}, facts.get("classes")
    stated = None
    if facts.get("positive"):
        stated = (str(facts["positive"]), "by the dataset's card")
    elif "split" not in facts["request"] and classes and len(classes) == 2:
        stated = (classes[1], "as the second of the declared classes")

    def either(value: Any, name: str) -> Any:
        return before.get(name) if value is None else value

    return Asked(
        either(asked.positive, "positive"),
        either(asked.threshold, "threshold"),
        either(asked.prevalence, "prevalence"),
        stated,
    )


def unasked(facts: Mapping[str, Any], table: pa.Table) -> bool:
    """Say whether a page has the clinical reading though nobody asked: a table of the task ``binary`` with risks of a class that was named."""
    named = asked_of(facts, Asked()).stated is not None
    return named and facts["request"]["task"] == "binary" and "probabilities" in table.column_names


@dataclass(frozen=True)
class _Rows:
    """Rows with a known class: is it positive, what risk was stated of it, whose rows they are, and their places in the table."""

    truth: Bools
    risk: Floats
    patients: Sequence[Any]
    places: Ints

    def take(self, chosen: Bools) -> _Rows:
        """Return some of the rows."""
        who = [one for one, there in zip(self.patients, chosen, strict=True) if there]
        return _Rows(self.truth[chosen], self.risk[chosen], who, self.places[chosen])


def clinical(table: pa.Table, task: str, classes: Sequence[str], asked: Asked, seed: int) -> dict[str, Any]:
    """Return the clinical reading of a checked table as plain data. ``classes``: those of the run.

    ``metrics`` (as ``estimate`` gives them), ``curve`` (calibration by bins of risk), ``smooth`` (the same by lowess), ``decision``, ``subgroups``, ``worst``, and
    ``says``: what could not be computed and why, what was left out, which rules applied. Raises ``RunError``: nobody said which class
    is positive, there are no risks, or the task has no classes that recur.
    """
    asked = asked.checked()
    positive, by = _positive(table, task, classes, asked)
    rows = _rows(table, positive)
    if not len(rows.truth):
        raise RunError(f"no row says whether '{positive}' is there")
    says: list[str] = []
    clusters = number_patients(rows.patients)
    metrics = estimate(_defined(_statistics(rows, asked), says), rows.patients, seed)
    metrics |= _recalibrated(rows, clusters, says)
    found: dict[str, Any] = {
        "positive": positive, "chosen_by": by, "against": [one for one in classes if one != positive], "threshold": asked.threshold,
        "prevalence": asked.prevalence, "n": len(rows.truth), "positives": int(rows.truth.sum()), "share": float(rows.truth.mean()),
        "patients": None if clusters is None else int(clusters.max()) + 1, "cells": None, "metrics": metrics, "curve": _curve(rows, clusters), "smooth": _smooth(rows, says),
        "decision": _decision(rows, asked, seed, clusters), "subgroups": _by_group(table, rows, asked, seed), "says": says,
    }  # fmt: skip
    if asked.threshold is not None:
        names = ("true negatives", "false positives", "false negatives", "true positives")
        counts = np.bincount(decision.cells(rows.truth, decision.called(rows.risk, asked.threshold)), minlength=4)
        found["cells"] = dict(zip(names, counts.tolist(), strict=True))
        if asked.prevalence is not None:
            metrics |= _at_prevalence(rows, counts, asked, seed, clusters, says)
    if len(classes) == 2 and positive == classes[0]:
        says.append(f"the other metrics of this run take '{classes[1]}' as positive, this reading '{positive}'")
    says += _rules(found, rows)
    found["worst"] = worst(found["subgroups"], asked.threshold)
    return found


# Whose risk -----------------------------------------------------------------------------------------------------------


def _positive(table: pa.Table, task: str, classes: Sequence[str], asked: Asked) -> tuple[str, str]:
    """Return the positive class and who named it."""
    kind_of = TASKS[task].kind
    if kind_of not in ("classes", "ordinal", "labels") or TASKS[task].letters:
        raise RunError(f"a clinical report is of a class that recurs, which {task} has not")
    if "probabilities" not in table.column_names:
        raise RunError("a clinical report needs the risk of each row: a column of probabilities (probability.CLASS)")
    shown = ", ".join(classes[: kind.NAMED]) + (", ..." if len(classes) > kind.NAMED else "")
    if asked.positive is not None:
        named = fit(asked.positive, classes)
        if named is None:
            raise RunError(f"the positive class '{asked.positive}' is none of the classes {shown}")
        return named, "as asked"
    if asked.stated is None:
        raise RunError(NO_CLASS.format(shown))
    return asked.stated


def _rows(table: pa.Table, positive: str) -> _Rows:
    """Return the rows of which it is known whether the class is there, with its risk. Raises ``RunError`` where one has none."""
    options, chances, targets = (table[name].to_pylist() for name in ("options", "probabilities", "target"))
    ids = table["id"].to_pylist()
    kind.refuse(
        f"state no probability of '{positive}'", [i for i, o in zip(ids, options, strict=True) if positive not in o]
    )
    unsure = table["uncertain"].to_pylist() if "uncertain" in table.column_names else [()] * len(ids)
    several = [one if isinstance(one, list) else [one] for one in targets]
    found = _Rows(
        np.array([positive in one for one in several]),
        np.clip(np.array([p[o.index(positive)] for p, o in zip(chances, options, strict=True)], np.float64), 0, 1),
        patients_of(table), np.arange(len(ids)),
    )  # fmt: skip
    return found.take(np.array([positive not in (one or ()) for one in unsure]))


# Numbers --------------------------------------------------------------------------------------------------------------


def _statistics(rows: _Rows, asked: Asked) -> list[Statistic]:
    truth, risk = rows.truth, rows.risk
    found = [one for one in ranking({"": (truth, risk)}, {}, single=True) if one.name == "auroc"]
    found.append(of_counts("o_e", len(truth), lambda counts: ratio(counts @ truth.astype(np.float64), counts @ risk)))
    if asked.threshold is None:
        return found
    threshold = asked.threshold
    call = decision.called(risk, threshold)
    place = decision.cells(truth, call)
    shares = {
        "sensitivity": (decision.sensitivity, call, truth), "specificity": (decision.specificity, ~call, ~truth),
        "ppv": (decision.ppv, truth, call), "npv": (decision.npv, ~truth, ~call),
    }  # fmt: skip
    found += [
        of_cells(name, Cells(place, 4, formula), hits=hits, among=among)
        for name, (formula, hits, among) in shares.items()
    ]
    worth = Cells(place, 4, lambda counts: decision.net_benefit(counts, threshold, asked.prevalence))
    return [*found, of_cells("net_benefit", worth)]


WHY = {
    "auroc": "there are rows of one class only", "o_e": "every risk is 0", "sensitivity": "no row is positive", "specificity": "no row is negative",
    "ppv": "no risk reaches the threshold", "npv": "every risk reaches the threshold", "net_benefit": "it needs rows of both classes",
}  # fmt: skip


def _defined(statistics: Sequence[Statistic], says: list[str]) -> dict[str, Statistic]:
    """Return the statistics that have a value; say of the others why not."""
    for one in statistics:
        if np.isnan(one.value):
            says.append(f"{_called(one.name)} is not defined: {WHY[one.name]}")
    return {one.name: one for one in statistics if not np.isnan(one.value)}


def _called(name: str) -> str:
    return {"auroc": "AUROC", "o_e": "O/E", "ppv": "PPV", "npv": "NPV"}.get(name, name.replace("_", " "))


def _recalibrated(rows: _Rows, clusters: Ints | None, says: list[str]) -> dict[str, dict[str, Any]]:
    """Return calibration intercept and slope, where they are finite."""
    inside = (rows.risk > 0) & (rows.risk < 1)
    left, truth = int((~inside).sum()), rows.truth[inside]
    if left:
        wrong = int(((rows.risk == 0) & rows.truth).sum() + ((rows.risk == 1) & ~rows.truth).sum())
        says.append(
            f"{counted(left, 'row states', 'rows state')} a risk of exactly 0 or 1, whose log-odds are infinite; {wrong} of these {'is' if wrong == 1 else 'are'} wrong. Such rows are left out of the calibration "
            "intercept and slope, and of nothing else"
        )
    if truth.all() or not truth.any():
        what = "no row" if not len(truth) else "one class only"
        says.append(f"calibration intercept and slope are not defined: {what} is there to fit on")
        return {}
    odds, who = special.logit(rows.risk[inside]), None if clusters is None else clusters[inside]

    def plain(value: float, interval: Interval) -> dict[str, Any]:
        return {"value": value, **interval.asdict(), "n": len(truth)}

    found = {"calibration_intercept": plain(*recalibration.intercept(truth, odds, who))}
    if np.ptp(odds) == 0:
        says.append("calibration slope is not defined: every risk is the same")
    elif not recalibration.overlap(truth, odds):
        says.append(
            "calibration slope is not defined: the risks of the two classes do not overlap (perfect separation), so that no finite slope fits best"
        )
    else:
        start, value, interval = recalibration.slope(truth, odds, who)
        found["calibration_slope"] = plain(value, interval) | {"with_intercept": start}
    return found


def _at_prevalence(
    rows: _Rows, counts: Ints, asked: Asked, seed: int, clusters: Ints | None, says: list[str]
) -> dict[str, dict[str, Any]]:
    """Return PPV and NPV at the prevalence meant, by Bayes' rule."""
    prevalence = asked.prevalence
    assert prevalence is not None and asked.threshold is not None
    if rows.truth.all() or not rows.truth.any():
        says.append("PPV and NPV at the prevalence are not defined: Bayes' rule needs rows of both classes")
        return {}
    place = decision.cells(rows.truth, decision.called(rows.risk, asked.threshold))
    found: dict[str, dict[str, Any]] = {}
    for name, formula in (("ppv", decision.ppv), ("npv", decision.npv)):
        one = of_cells(f"{name}_at_prevalence", Cells(place, 4, lambda table, f=formula: f(table, prevalence)))  # type: ignore[misc]
        if np.isnan(one.value):
            says.append(f"{_called(name)} at the prevalence is not defined: {WHY[name]}")
        elif clusters is not None:
            found |= estimate({one.name: one}, rows.patients, seed)
        else:
            interval = decision.predictive_interval(counts, prevalence, name == "ppv")
            found[one.name] = {"value": one.value, **interval.asdict(), "n": len(rows.truth)}
    return found


def _curve(rows: _Rows, clusters: Ints | None) -> list[dict[str, float]]:
    """Return mean risk, observed share with its interval, and count, by bins of risk of about equal mass, in rising order.

    Equal risks stay in one bin. Ten bins, fewer where they would hold under ten rows.
    """
    n = len(rows.risk)
    bins = max(1, min(10, n // 10))
    place = np.ceil(midranks(rows.risk) / n * bins - 1e-9).astype(int)
    curve = []
    for number in np.unique(place):
        inside = place == number
        truth, size = rows.truth[inside], int(inside.sum())
        if clusters is None:
            exact = clopper_pearson(int(truth.sum()), size)
            low, high = exact.low, exact.high
        else:
            share = widest.rate(truth, clusters[inside])
            assert share is not None and share.patients is not None
            low, high = wilson_ends(share.value, share.size, float(special.stdtrit(max(1, share.patients - 1), 0.975)))
        curve.append(
            {
                "risk": float(rows.risk[inside].mean()),
                "observed": float(truth.mean()),
                "low": low,
                "high": high,
                "n": size,
            }
        )
    return curve


def _smooth(rows: _Rows, says: list[str]) -> dict[str, list[float]] | None:
    """Return the smoothed share observed at some of the risks, in rising order (lowess, cut to 0 and 1); None where there are too few."""
    known = np.unique(rows.risk)
    if len(known) < FEWEST_RISKS:
        says.append(f"the smoothed calibration curve needs {FEWEST_RISKS} different risks, there are {len(known)}")
        return None
    spread = np.quantile(rows.risk, np.linspace(0, 1, SMOOTHED), method="nearest") if len(known) > SMOOTHED else known
    at = np.unique(spread)
    return {"risk": at.tolist(), "observed": np.clip(recalibration.smooth(rows.truth, rows.risk, at), 0, 1).tolist()}


def _decision(rows: _Rows, asked: Asked, seed: int, clusters: Ints | None) -> dict[str, Any] | None:
    """Return the decision curve: net benefit of the model, of treating all (of treating none it is 0), interventions avoided a row."""
    if asked.prevalence is not None and (rows.truth.all() or not rows.truth.any()):
        return None
    share = float(rows.truth.mean()) if asked.prevalence is None else asked.prevalence
    thresholds = decision.grid(asked.threshold, share)
    model, low, high = decision.curve(rows.truth, rows.risk, thresholds, asked.prevalence, seed, clusters)
    everyone = decision.treat_all(share, np.array(thresholds))
    units = "rows" if clusters is None else "whole patients"
    return {
        "thresholds": thresholds, "model": model.tolist(), "low": low.tolist(), "high": high.tolist(), "all": everyone.tolist(),
        "avoided": decision.avoided(model, everyone, np.array(thresholds)).tolist(), "prevalence": share,
        "method": f"percentile bootstrap of {units} at each threshold, {RESAMPLES:,} resamples, seed {seed}",
    }  # fmt: skip


# For whom -------------------------------------------------------------------------------------------------------------


def _by_group(table: pa.Table, rows: _Rows, asked: Asked, seed: int) -> dict[str, list[dict[str, Any]]]:
    """Return AUROC, sensitivity at the threshold and O/E of each group with intervals, and the first two's gaps to the rest."""
    found: dict[str, list[dict[str, Any]]] = {}
    for column, names in groups_of(table).items():
        groups = np.array([names[i] for i in rows.places], object)
        known = rows.take(np.array([one is not None for one in groups]))
        whole = {one.name: one for one in _statistics(known, asked) if not np.isnan(one.value)}
        held = [names[i] for i in known.places]
        for group in sorted({str(one) for one in held}):
            inside = np.array([one == group for one in held])
            some = known.take(inside)
            values = estimate(
                {one.name: one for one in _statistics(some, asked) if one.name in BY_GROUP and not np.isnan(one.value)}, some.patients, seed
            )  # fmt: skip
            gaps = {
                name: subgroups.gap(whole[name], inside, known.patients, seed)
                for name in BY_GROUP[:2] if name in values and name in whole and not inside.all()
            }  # fmt: skip
            positives = int(some.truth.sum())
            row = subgroups.row(group, list(BY_GROUP), values, len(some.truth), gaps)
            few = row["too_few"] or min(positives, len(some.truth) - positives) < SMALL_SIDE
            found.setdefault(column, []).append({**row, "positives": positives, "too_few": few})
    return found


def worst(groups: Mapping[str, Sequence[Mapping[str, Any]]], threshold: float | None) -> list[str]:
    """Say in which group AUROC, and sensitivity at the threshold, is lowest, of all groupings whose groups are large enough to say."""
    said = []
    for name in BY_GROUP[:2]:
        cells = [
            (one if one["metric"] == name else one["beside"][name], one, column)
            for column, rows in groups.items() if sum(not one["too_few"] for one in rows) > 1 for one in rows if not one["too_few"]
        ]  # fmt: skip
        cells = [one for one in cells if one[0]["value"] is not None]
        if not cells:
            continue
        cell, row, column = min(cells, key=lambda one: (one[0]["value"], one[2], one[1]["group"]))
        ends = "no interval" if cell["low"] is None else f"95 % interval {cell['low']:.3f} to {cell['high']:.3f}"
        told = subgroups.apart({**cell, "too_few": False})
        said.append(
            f"{_called(name)}{f' from a risk of {threshold:.3g} on' if name == 'sensitivity' else ''} is lowest in {column} = {row['group']}: {cell['value']:.3f} ({ends}; {counted(row['n'], 'row')}, {row['positives']:,} positive), "
            f"{'and told apart from the rest' if told else 'which is not told apart from the rest'}"
        )
    return said


def _rules(found: Mapping[str, Any], rows: _Rows) -> list[str]:
    """Return the rules that applied, as sentences."""
    positives, n = found["positives"], found["n"]
    fewer = min(positives, n - positives)
    says = []
    if positives in (0, n):
        says.append(f"{'every' if positives else 'no'} row is positive: what needs both classes is not given")
    elif fewer < ENOUGH:
        side = "positive" if positives <= n - positives else "negative"
        says.append(
            f"{counted(fewer, 'row is', 'rows are')} {side}: calibration is hardly told with fewer than {ENOUGH} of each class"
        )
    if found["threshold"] is None:
        says.append(
            "no threshold was named (--threshold), so there is no sensitivity, specificity or predictive value here"
        )
    elif ties := int((np.abs(rows.risk - found["threshold"]) <= decision.ROUNDING).sum()):
        says.append(f"{ties} risks equal the threshold; from the threshold on a row is called positive")
    if found["prevalence"] is not None:
        says.append(
            f"at a prevalence of {found['prevalence']:.3g} by Bayes' rule from sensitivity and specificity (these rows: {found['share']:.3g}): it holds where "
            "positives and negatives there are like these, and so does net benefit, which is of that prevalence"
        )
    if found["curve"] and len(found["curve"]) < max(1, min(10, n // 10)):
        says.append("equal risks stay in one bin of the calibration curve, which has fewer bins for it")
    return says
