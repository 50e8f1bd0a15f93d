"""What labels are worth: accuracy by their number, of a classifier that is fitted on them with the classes' names, of a probe, and of zero-shot."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from healthfm.errors import RunError
from healthfm.score import scoring
from healthfm.score.pairing import Side, paired
from healthfm.score.statistics import estimate, in_words
from healthfm.score.statistics.draws import over as over_draws

ROOM = "few-labels"  # of the run folder: zero-shot's predictions; its metadata has the accuracy of every fit
FACTS = "few_labels"
PROBE = "linear probe"
METRIC = "accuracy"
ALIKE = 0.02  # a difference under this is called none


def sizes(shots: int) -> list[int]:
    """Return the numbers of examples a class that are fitted on: 1, 2, 4 and so on, and ``shots``."""
    return [*(2**i for i in range(shots.bit_length()) if 2**i < shots), shots]


def over(values: Any) -> dict[str, Any]:
    """Return the mean of draws, where 95 % of them lie, and each."""
    low, high = np.quantile(values, [0.025, 0.975])
    return {"mean": float(np.mean(values)), "low": float(low), "high": float(high), "draws": [float(one) for one in values]}  # fmt: skip


def read(
    table: pa.Table, zero: pa.Table, draws: Sequence[pa.Table], task: str, classes: Sequence[str] | None, seed: int
) -> dict[str, Any]:  # fmt: skip
    """Return accuracy at each number of labels (``points``: the mean over draws, and where 95 % of them lie), that of zero-shot with its
    interval (``zero``), the paired difference to it (``against``; None where it cannot be told), and the controls. ``says`` has it in sentences.

    ``table``, ``draws``: the predictions of the classifier, and of every draw, checked; ``zero``: those of zero-shot, of the same rows.
    """
    told = json.loads((zero.schema.metadata or {})[FACTS.encode()])
    checked = scoring.check_table(zero.append_column("patient", table["patient"]), task, classes, named=True)
    plain = scoring.statistics_of(checked, task, classes)
    many = [scoring.statistics_of(one, task, classes) for one in draws]
    found: dict[str, Any] = {
        "metric": METRIC, "by": [told["by"], PROBE], "zero": estimate({METRIC: plain[METRIC]}, scoring.patients_of(table), seed)[METRIC],
        "points": [{"by": one["by"], "shots": one["shots"], "n": table.num_rows, **_spread(one["draws"])} for one in told["points"]],
        "nonsense": _spread(told["nonsense"]), "shuffled": _spread(told["shuffled"]), "against": None,
        "method": f"where 95 % of {len(draws)} draws of examples lie",
        "note": f"Each number is the mean over {len(draws)} draws of examples; those of fewer labels are among those of more. {PROBE.capitalize()}: logistic regression on the same pictures' vectors.",
    }  # fmt: skip
    with contextlib.suppress(ValueError, RunError):
        found["against"] = paired(METRIC, Side(table, over_draws(many)), Side(checked, plain), task, classes, seed).asdict()  # fmt: skip
    return {**found, "says": _says(found)}


def _spread(values: Sequence[float]) -> dict[str, Any]:
    one = over(values)
    return {"value": one["mean"], "low": one["low"], "high": one["high"], "draws": one["draws"]}


def _says(found: Mapping[str, Any]) -> list[str]:
    """Say what labels change, from how many on a probe is better than none, and what is left without names and without pictures."""
    mine, theirs = ([one for one in found["points"] if one["by"] == name] for name in found["by"])
    zero, by, last = found["zero"], found["by"][0], mine[-1]
    said = [
        f"Without a label (zero-shot) accuracy is {zero['value']:.3f} ({in_words(zero, '.3f')}); with {last['shots']} a class the {by} reaches {last['value']:.3f}, "
        f"a linear probe {theirs[-1]['value']:.3f}."
    ]
    if against := found["against"]:
        sure = against["low"] is not None and (against["low"] > 0 or against["high"] < 0)
        what = ("better" if against["value"] > 0 else "worse") if sure else "not surely another"
        said.append(
            f"On the same samples the {by} is {what} than zero-shot: {against['value']:+.3f} ({in_words(against)})."
        )
    passes = next((one["shots"] for one in theirs if one["value"] > zero["value"]), None)
    said.append(
        f"The probe passes zero-shot at {passes} {'label' if passes == 1 else 'labels'} a class."
        if passes is not None
        else f"Up to {last['shots']} labels a class the probe does not reach zero-shot."
    )
    empty, gain = found["nonsense"], last["value"] - found["nonsense"]["value"]
    means = "the names add nothing to what the labels teach" if gain < ALIKE else f"what the names mean is worth {gain:.3f}"  # fmt: skip
    said.append(f"With words that mean nothing in place of the names {empty['value']:.3f} is left: {means}.")
    return [*said, f"With the pictures shuffled {found['shuffled']['value']:.3f} is left."]
