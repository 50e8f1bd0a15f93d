"""The clinical reading of a run as pages, Markdown and terminals show it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from healthfm.report import plots
from healthfm.report.words import listed, number, span, word

Found = Mapping[str, Any]
CALIBRATION = ("auroc", "o_e", "calibration_intercept", "calibration_slope")
AT_THRESHOLD = ("sensitivity", "specificity", "ppv", "npv", "ppv_at_prevalence", "npv_at_prevalence", "net_benefit")
BY_GROUP = ("auroc", "sensitivity", "o_e")
WORTH = AT_THRESHOLD[-1]
SHOWN = 6  # thresholds of the decision curve that a table has


def context(found: Found | None) -> dict[str, Any]:
    """Return what a page shows of a clinical reading; none where there is none."""
    if not found:
        return {"clinical": None}
    return {
        "clinical": found, "clinical_says": sentences(found), "clinical_tables": tables(found), "clinical_intervals": methods(found),
        "risk_plot": plots.risk(found["curve"], found.get("smooth"), found["metrics"].get("calibration_slope"), found["positive"]),
        "decision_plot": plots.decision(found["decision"], found["threshold"]) if found["decision"] else Markup(""),
        "decision_rows": decision_rows(found), "by_group": BY_GROUP,
    }  # fmt: skip


def label(name: str, found: Found) -> str:
    """Return a metric's name, with the prevalence where it is at one."""
    if name.endswith("_at_prevalence"):
        return f"{name[:3].upper()} at a prevalence of {100 * found['prevalence']:.3g} %"
    return word(name).label


def tables(found: Found) -> list[tuple[str, list[tuple[str, str, Found]]]]:
    """Return a title and rows (label, meaning, value with interval) of each group of metrics that has any."""
    groups: list[tuple[str, tuple[str, ...]]] = [("Calibration and ranking", CALIBRATION)]
    if found["threshold"] is not None:
        groups.append((f"Called '{found['positive']}' from a risk of {found['threshold']:.3g} on", AT_THRESHOLD))
    rows = [
        (title, [(label(name, found), word(name).meaning, found["metrics"][name]) for name in names if name in found["metrics"]])
        for title, names in groups
    ]  # fmt: skip
    return [(title, some) for title, some in rows if some]


def methods(found: Found) -> list[str]:
    """Return how the intervals were made, each way once with the metrics it made."""
    ways: dict[str, list[str]] = {}
    for name, one in found["metrics"].items():
        ways.setdefault(one["method"], []).append(label(name, found))
    if found["decision"]:
        ways.setdefault(found["decision"]["method"], []).append("the decision curve")
    return [
        f"{'No interval' if way.startswith('degenerate') else 'Interval'} of {listed(names)}: {way}." for way, names in ways.items()
    ]  # fmt: skip


def sentences(found: Found) -> list[str]:
    """Say the clinical reading for somebody who does not read tables, the worst group last."""
    share = f"{found['positives']:,} of {found['n']:,} rows ({found['share']:.1%}) are '{found['positive']}', positive {found['chosen_by']}"
    said = [f"{share}; the risk is the probability stated of it."]
    if one := found["metrics"].get("o_e"):
        sure = one["low"] is not None and not one["low"] <= 1 <= one["high"]
        how = "" if not sure else f": its risks are too {'high' if one['value'] < 1 else 'low'} on average"
        said.append(
            f"For every 100 positives that its risks add up to, {100 * one['value']:.0f} occurred ({_ends(one, 100)}){how}."
        )
    if found["cells"]:
        said.append(_at_threshold(found))
    said += [f"{one[:1].upper()}{one[1:]}." for one in found["worst"]]
    if found["subgroups"] and not found["worst"]:
        said.append("No grouping has two groups that are large enough to say in which of them it is worst.")
    return said


def _ends(one: Found, times: float = 1) -> str:
    if one["low"] is None:
        return "no interval"
    return f"95 % interval {times * one['low']:.0f} to {times * one['high']:.0f}"


def _at_threshold(found: Found) -> str:
    cells, metrics = found["cells"], found["metrics"]
    said = (
        f"Called from {found['threshold']:.3g} on: {cells['true positives']:,} of {found['positives']:,} positives are found, "
        f"{cells['false positives']:,} of {found['n'] - found['positives']:,} negatives are called too"
    )
    ppv = metrics.get("ppv_at_prevalence")
    if ppv is not None:
        said += f"; at a prevalence of {100 * found['prevalence']:.3g} % about {100 * ppv['value']:.0f} of 100 called would be positive (by Bayes' rule)"
    if found["decision"]:
        place = found["decision"]["thresholds"].index(found["threshold"])
        model, everyone = found["decision"]["model"][place], found["decision"]["all"][place]
        best = max(0.0, everyone)
        worth = "more" if model > best else "no more"
        said += f". Its net benefit, {model:.3f}, is {worth} than that of treating {'everyone' if everyone > 0 else 'no one'} ({best:.3f})"
    return said + "."


def decision_rows(found: Found) -> list[dict[str, Any]]:
    """Return some thresholds of the decision curve, the asked one among them (``asked``)."""
    curve, asked = found["decision"], found["threshold"]
    if not curve:
        return []
    last = len(curve["thresholds"]) - 1
    places = {round(i * last / (SHOWN - 1)) for i in range(SHOWN)}
    if asked is not None:
        places.add(curve["thresholds"].index(asked))
    names = {
        "threshold": "thresholds",
        "value": "model",
        "low": "low",
        "high": "high",
        "all": "all",
        "avoided": "avoided",
    }
    rows = [{key: curve[column][i] for key, column in names.items()} for i in sorted(places)]
    ends = {key: found["metrics"][WORTH][key] for key in ("low", "high")} if WORTH in found["metrics"] else {}
    return [{**row, "asked": row["threshold"] == asked, **(ends if row["threshold"] == asked else {})} for row in rows]


def to_markdown(found: Found | None) -> list[tuple[str, Sequence[str], Sequence[tuple[str, ...]]]]:
    """Return titles, columns and rows of the clinical reading's tables."""
    if not found:
        return []
    made: list[tuple[str, Sequence[str], Sequence[tuple[str, ...]]]] = [
        (title, ("metric", "value", "95 % interval", "n"), [(name, number(one["value"]), span(one), f"{one['n']:,}") for name, _, one in rows])
        for title, rows in tables(found)
    ]  # fmt: skip
    rows = [
        (f"{100 * one['threshold']:.3g} %", number(one["value"]), span(one), number(one["all"]), f"{100 * one['avoided']:.1f}")
        for one in decision_rows(found)
    ]  # fmt: skip
    if rows:
        made.append(
            ("Net benefit", ("threshold", "model", "95 % interval", "treat all", "interventions avoided of 100"), rows)
        )
    for column, groups in found["subgroups"].items():
        lines = [
            (
                one["group"],
                f"{one['n']:,}",
                f"{one['positives']:,}",
                *_cells(one),
                "too few to say" if one["too_few"] else "",
            )
            for one in groups
        ]
        made.append(
            (f"The risk by {column}", ("group", "n", "positive", *(word(name).label for name in BY_GROUP), ""), lines)
        )
    return made


def _cells(row: Found) -> list[str]:
    every = [row, *row["beside"].values()]
    return ["-" if one["value"] is None else f"{number(one['value'])} ({span(one)})" for one in every]
