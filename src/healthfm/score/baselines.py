"""Does a model beat the cheap rivals of its evaluation? The rivals' predictions scored as the model's, and the strongest tested against it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from healthfm.errors import RunError
from healthfm.score import scoring
from healthfm.score.pairing import Side, paired
from healthfm.score.statistics import estimate, in_words
from healthfm.score.statistics.draws import over
from healthfm.score.statistics.paired import ALPHA

ROOM = "baselines"  # of the run folder: the rivals' predictions
BY = "baseline"  # the column that says whose a prediction is
UNFITTED = ("majority", "context", "question", "bm25")
FACTS = "baselines"  # the table's metadata
WITHOUT_JUDGE = "token_f1"  # what answers in words are compared by where a judge looked at the model's alone


def against(
    table: pa.Table, rivals: pa.Table, task: str, headline: str, classes: Sequence[str] | None, seed: int, draws: Sequence[pa.Table] = ()
) -> dict[str, Any]:  # fmt: skip
    """Return what the rivals' predictions say: each one's headline metric with its interval, best first, and the model's paired difference to the
    best (``beats``: yes, no, or None where it cannot be tested; ``beaten``: it is shown to be worse).

    ``table``: the model's predictions, checked; ``draws`` those of every draw of few examples.
    """
    headline = WITHOUT_JUDGE if headline == "judge" else headline  # nobody judged the rivals
    told = json.loads((rivals.schema.metadata or {}).get(FACTS.encode(), b"{}"))
    made: Mapping[str, str] = told.get("made", {})
    found: dict[str, Any] = {
        "metric": headline,
        "rivals": [],
        "strongest": None,
        **{k: v for k, v in told.items() if k != "made"},
    }
    sides = {
        name: _side(rivals.filter(pc.equal(rivals[BY], name)).drop_columns([BY]), table, task, classes) for name in made
    }
    scored = {name: side for name, side in sides.items() if side is not None and headline in side.statistics}
    if not scored:
        return found
    patients = scoring.patients_of(table)
    values = {
        name: {"name": name, "says": made[name], **estimate({headline: side.statistics[headline]}, patients, seed)[headline]} for name, side in scored.items()
    }  # fmt: skip
    lower = next(iter(scored.values())).statistics[headline].lower_is_better
    order = sorted(values, key=lambda name: values[name]["value"] * (1 if lower else -1))
    many = [scoring.statistics_of(one, task, classes) for one in draws or (table,)]
    model = Side(table, over(many) if draws else many[0])
    found["rivals"] = [values[name] for name in order]
    try:
        difference = paired(headline, model, scored[order[0]], task, classes, seed)
    except (ValueError, RunError) as error:
        found["strongest"] = {"name": order[0], "beats": None, "why": str(error)}
        return found
    better = (difference.value < 0) if lower else (difference.value > 0)
    told_apart = difference.p < ALPHA
    beaten = bool(told_apart and not better and difference.value)
    found["strongest"] = {
        "name": order[0],
        "beats": bool(better and told_apart),
        "beaten": beaten,
        **difference.asdict(),
    }
    return found


def _side(rival: pa.Table, table: pa.Table, task: str, classes: Sequence[str] | None) -> Side | None:
    """Return a rival's predictions, its rows in the order of the model's; None where they are of other samples or targets."""
    place = {one: row for row, one in enumerate(rival["id"].to_pylist())}
    ids = table["id"].to_pylist()
    if any(one not in place for one in ids):
        return None
    rows = rival.take([place[one] for one in ids])
    for name in ("target", "patient", "characters", "unmeasured", "uncertain"):  # the rows are the model's own
        if name in table.column_names:
            column = rows.column_names.index(name) if name in rows.column_names else None
            rows = (
                rows.append_column(name, table[name]) if column is None else rows.set_column(column, name, table[name])
            )
    checked = scoring.check_table(rows, task, classes, named=True)
    return Side(checked, scoring.statistics_of(checked, task, classes))


def verdict(found: Mapping[str, Any] | None) -> str:
    """Say in a sentence whether the model beats the strongest rival, for who reads nothing else; "" where there is none, or no test."""
    best = (found or {}).get("strongest")
    if found is None or best is None or best["beats"] is None:
        return ""
    first = found["rivals"][0]
    beats = "It beats" if best["beats"] else "It is beaten by" if best["beaten"] else "It is not shown to beat"
    metric = "token F1 " if found["metric"] == WITHOUT_JUDGE else ""
    return f"{beats} the strongest cheap rival here ({first['says']}: {metric}{first['value']:.3f}), {_p(best['p'])}."


def _p(value: float) -> str:
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}"


def says(found: Mapping[str, Any]) -> list[str]:
    """Say whether the model beats the strongest of its cheap rivals, what the others reach, and why there are no more."""
    said, metric = [], str(found["metric"]).replace("_", "-")
    best = found["strongest"]
    if best is not None:
        first, *others = found["rivals"]
        fitted = (
            f", fitted on {found['fitted_on']:,} of split '{found['fit_on']}'"
            if "fitted_on" in found and first["name"] not in UNFITTED
            else ""
        )
        if best["beats"] is None:
            verdict = f"it cannot be tested whether the model beats it ({best['why']})"
        else:
            verdict = f"the model beats it: {'yes' if best['beats'] else 'no'} (difference {best['value']:+.3f}, {in_words(best)}, {_p(best['p'])})"
        beside = ", ".join(f"{one['name']} {one['value']:.3f}" for one in others)
        rest = f"; other rivals: {beside}" if others else ""
        said.append(f"strongest cheap rival: {first['says']}{fitted}, {metric} {first['value']:.3f}; {verdict}{rest}")
    if found.get("why_not"):
        said.append(f"cheap rivals left out: {found['why_not']}")
    return said
