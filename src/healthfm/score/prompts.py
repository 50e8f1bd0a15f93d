"""How much the words matter: the score over many prompts beside that of the model's own, and what is left of it without pictures or without names."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from healthfm.errors import RunError
from healthfm.score import scoring
from healthfm.score.metrics.arrays import midranks
from healthfm.score.pairing import Side, paired
from healthfm.score.statistics import estimate, in_words

ROOM = "prompts"  # of the run folder: the predictions of all prompts together; its metadata has the values of each
FACTS = "prompts"
NAMES = {"classes": "accuracy", "labels": "macro_auroc"}  # the metric of every prompt, by the kind of table
SHOWN = 3  # prompts that are named, of the best and of the worst
FIXED = "The model asks with queries that it was trained with: no other words can be put to it."
ALIKE = 0.02  # a difference under this is called none


def value(metric: str, truth: npt.NDArray[Any], chances: npt.NDArray[Any]) -> float:
    """Return the accuracy, or the macro-AUROC, of probabilities [n, classes].

    ``truth``: the number of each row's class [n], or which classes each row has [n, classes]. Classes that all or no rows have are left out.
    """
    if metric == "accuracy":
        return float((chances.argmax(1) == truth).mean())
    there = truth.astype(bool)
    both = there.any(0) & ~there.all(0)
    if not both.any():
        return float("nan")
    there, ranks = there[:, both], np.column_stack([midranks(one) for one in chances[:, both].T])
    positives = there.sum(0)
    above = (ranks * there).sum(0) - positives * (positives + 1) / 2
    return float((above / (positives * (len(there) - positives))).mean())


def read(
    table: pa.Table, room: pa.Table, task: str, classes: Sequence[str] | None, headline: str, seed: int
) -> dict[str, Any]:  # fmt: skip
    """Return what prompts gave beside the model's own (``table``, checked): each one's value, their spread, the ensemble of all with its
    interval and its paired difference to the model's own, and the controls. ``says`` has it in sentences.
    """
    told = json.loads((room.schema.metadata or {})[FACTS.encode()])
    values = np.array([one["value"] for one in told["draws"]])
    found: dict[str, Any] = {**told, "metric": headline, "ensemble": None, "against": None}
    checked = scoring.check_table(room.append_column("patient", table["patient"]), task, classes, named=True)
    mine, theirs = (scoring.statistics_of(one, task, classes) for one in (table, checked))
    if headline in mine and headline in theirs:
        own, found["ensemble"] = (
            estimate({headline: one[headline]}, scoring.patients_of(table), seed)[headline] for one in (mine, theirs)
        )
        found["own"] = own
        try:
            pair = paired(headline, Side(checked, theirs), Side(table, mine), task, classes, seed)
            found["against"] = pair.asdict()
        except (ValueError, RunError):
            found["against"] = None
    else:
        found["own"] = None
    known = values[~np.isnan(values)]
    for name in ("shuffled", "nonsense"):
        some = np.array(told[name])
        found[name] = {"value": float(some.mean()), "least": float(some.min()), "most": float(some.max()), "n": len(some)} if len(some) else None  # fmt: skip
    if not len(values) and found["own"] is not None:
        return {**found, "spread": None, "says": [FIXED, *_controls(found)]}
    if not len(known) or found["own"] is None:
        return {
            **found,
            "spread": None,
            "says": ["The prompts cannot be told apart here: their scores are not defined."],
        }
    quartiles = [float(one) for one in np.quantile(known, (0, 0.25, 0.5, 0.75, 1))]
    below = float((known < found["own"]["value"]).mean())
    found["spread"] = {"least": quartiles[0], "lower": quartiles[1], "median": quartiles[2], "upper": quartiles[3], "most": quartiles[4], "below_own": below}  # fmt: skip
    order = sorted(range(len(values)), key=lambda i: -values[i])
    found["best"], found["worst"] = ([told["draws"][i] for i in some] for some in (order[:SHOWN], order[-SHOWN:][::-1]))
    return {**found, "says": [_words(found), *_controls(found)]}


def _words(found: Mapping[str, Any]) -> str:
    """Say how far prompts lie apart, and whether that is more than what other samples would change."""
    s, own, many = found["spread"], found["own"], found["ensemble"]
    said = (
        f"Over {len(found['draws'])} prompts ({found['texts']:,} sentences, each encoded once) {found['metric'].replace('_', '-')} goes from {s['least']:.3f} to "
        f"{s['most']:.3f}, half of them from {s['lower']:.3f} to {s['upper']:.3f}; the model's own gives {own['value']:.3f}, more than {s['below_own']:.0%} of them, "
        f"all together {many['value']:.3f} ({in_words(many, '.3f')})."
    )
    if own["low"] is None:
        return said
    wider = s["upper"] - s["lower"] > own["high"] - own["low"]
    return said + (
        " The choice of words moves it more than the draw of samples does: judge no model by one prompt."
        if wider
        else " Half of the prompts lie closer together than its interval is wide."
    )


def _controls(found: Mapping[str, Any]) -> list[str]:
    """Say what is left with the pictures shuffled, and with words that mean nothing in place of the names."""
    own, said = found["own"]["value"], []
    if one := found["shuffled"]:
        said.append(f"With the pictures shuffled {one['value']:.3f} is left ({one['least']:.3f} to {one['most']:.3f}).")
    if one := found["nonsense"]:
        gain = own - one["value"]
        means = "the names add nothing to that" if gain < ALIKE else f"what the names mean is worth {gain:.3f}"
        said.append(
            f"With words that mean nothing in place of the names {one['value']:.3f} is left ({one['least']:.3f} to {one['most']:.3f}): {means}."
        )
    return said
