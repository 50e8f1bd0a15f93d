"""The plots of a run: what is drawn from ``metrics.json``. Each says in words what it shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup

from healthfm.report.svg import Axis, PlotArea, covering
from healthfm.report.words import NO_INTERVAL, number, span, word

COLOURS = 6  # as many classes are told apart by colour and dashes; of more, the best and the worst
MOST_DOTS = 1_500
AT_LEAST_CHANCE = ("auroc", "macro_auroc", "c_index")
Facts = Mapping[str, Any]


def headline(name: str, one: Facts, baseline: float | None) -> Markup:
    """Return the headline on its scale: the interval, the value, the baseline as a dashed line."""
    scale = word(name)
    known = scale.worst is not None and scale.best is not None
    axis = (
        Axis("", min(scale.worst or 0, scale.best or 0), max(scale.worst or 0, scale.best or 0))
        if known
        else covering(_ends(one))
    )
    if name in AT_LEAST_CHANCE and min(_ends(one)) >= 0.5:
        axis = Axis("", 0.4, 1)
    frame = PlotArea(axis, Axis(""), height=92, bottom=24)
    left, y, right = frame.at(axis.low, 0)[0], 48, frame.at(axis.high, 0)[0]
    value = frame.at(one["value"], 0)[0]
    low, high = (frame.at(end, 0)[0] for end in (min(_ends(one)), max(_ends(one))))
    marks = f'<path class="grid" d="M{left:.1f} {y}H{right:.1f}"/>'
    if baseline is not None:
        x = frame.at(baseline, 0)[0]
        anchor = "start" if x < left + 60 else "end" if x > right - 60 else "middle"
        marks += f'<path class="mark" d="M{x:.1f} 22V60"/><text class="said" x="{x:.1f}" y="15" text-anchor="{anchor}">commonest class {baseline:.0%}</text>'
    marks += f'<path class="interval c1" style="stroke-width:7" d="M{low:.1f} {y}H{high:.1f}"/><circle class="dot c1" cx="{value:.1f}" cy="{y}" r="8"/>'
    says = (
        f"{number(one['value'])}, 95 percent interval {span(one)}."
        if one["low"] is not None
        else f"{number(one['value'])}, {NO_INTERVAL}."
    )
    return frame.svg(f"{scale.label} with its 95 percent interval", says, Markup(marks), upright=False)


def _ends(one: Facts) -> list[float]:
    """Return a value with the ends of its interval, where it has one."""
    return [one[key] for key in ("low", "value", "high") if one[key] is not None]


def calibration(found: Facts) -> Markup:
    """Return the reliability curve: accuracy against confidence in bins, with intervals; the area of a dot is its count."""
    bins = found["bins"]
    frame = PlotArea(Axis("confidence"), Axis("share right"))
    x, y, most = [b["confidence"] for b in bins], [b["accuracy"] for b in bins], max(b["n"] for b in bins)
    above = sum(b["confidence"] > b["accuracy"] for b in bins)
    says = f"{len(bins)} bins; in {above} of them confidence is higher than accuracy. Expected calibration error {number(found['ece'])}."
    return frame.svg(
        "Calibration: accuracy against confidence", says, frame.line([0, 1], [0, 1], "guide"),
        frame.whiskers(x, [b["low"] for b in bins], [b["high"] for b in bins]), frame.line(x, y, "c1"),
        frame.dots(x, y, [2.5 + 3.5 * (b["n"] / most) ** 0.5 for b in bins]),
    )  # fmt: skip


def risk(curve: Sequence[Facts], smooth: Facts | None, fitted: Facts | None, positive: str) -> Markup:
    """Return the calibration curve of one class's risk: the observed share smoothed and by bins of risk, with intervals, and the logistic fit."""
    frame = PlotArea(Axis(f"stated risk of '{_short(positive)}'"), Axis("share observed"))
    x, y, most = [b["risk"] for b in curve], [b["observed"] for b in curve], max(b["n"] for b in curve)
    above = sum(b["risk"] > b["observed"] for b in curve)
    marks = [frame.line([0, 1], [0, 1], "guide")]
    if fitted is not None:
        odds = np.linspace(-7, 7, 120)
        again = 1 / (1 + np.exp(-(fitted["with_intercept"] + fitted["value"] * odds)))
        marks.append(frame.line((1 / (1 + np.exp(-odds))).tolist(), again.tolist(), "c2"))
    if smooth is not None:
        marks.append(frame.line(smooth["risk"], smooth["observed"], "c1"))
    says = f"{len(curve)} bins of risk; in {above} of them the risk is higher than the share observed."
    return frame.svg(
        f"Calibration of the risk of {positive}", says, *marks, frame.whiskers(x, [b["low"] for b in curve], [b["high"] for b in curve]),
        frame.dots(x, y, [2.5 + 3.5 * (b["n"] / most) ** 0.5 for b in curve]),
    )  # fmt: skip


def decision(found: Facts, threshold: float | None) -> Markup:
    """Return the decision curve: net benefit by threshold of the model with its interval, of treating everyone and no one."""
    at, model, everyone = (np.asarray(found[key]) for key in ("thresholds", "model", "all"))
    top = max(float(np.max(found["high"])), found["prevalence"], 1e-3)
    low = min(-0.25 * top, 1.1 * float(np.min(found["low"])))
    frame = PlotArea(Axis("threshold of risk", 0, float(at[-1])), Axis("net benefit", low, 1.08 * top))
    seen = everyone >= low
    across, up = at[seen].tolist(), everyone[seen].tolist()
    if 0 < len(up) < len(at):  # down to where it leaves the picture
        i = len(up)
        part = (up[-1] - low) / (up[-1] - everyone[i])
        across, up = [*across, float(at[i - 1] + part * (at[i] - at[i - 1]))], [*up, low]
    best = int((model > np.maximum(everyone, 0)).sum())
    says = f"The model's net benefit is above that of treating everyone and of treating no one at {best} of {len(at)} thresholds."
    mark = [frame.line([threshold] * 2, [low, 1.08 * top], "mark")] if threshold is not None else []
    return frame.svg(
        "Decision curve", says, frame.band(at.tolist(), found["low"], found["high"]), frame.line([0, float(at[-1])], [0, 0], "guide"), *mark,
        frame.line(across, up, "c2"), frame.line(at.tolist(), model.tolist(), "c1"),
    )  # fmt: skip


def _short(name: str) -> str:
    return name if len(name) <= 24 else f"{name[:23]}…"


def shown(curves: Sequence[Facts], by: str) -> list[tuple[Facts, str]]:
    """Return each curve with its colour: the first few, or of many the best and the worst; the others stay grey."""
    if len(curves) <= COLOURS:
        return [(one, f"c{i}") for i, one in enumerate(curves, 1)]
    order = sorted(curves, key=lambda one: -one[by])
    told = [*order[:3], *order[-3:]]
    grey = [(one, "rest") for one in order if not any(one is other for other in told)]
    return [*grey, *((one, f"c{i}") for i, one in enumerate(told, 1))]


def roc(curves: Sequence[Facts]) -> Markup:
    """Return the ROC curve of each class."""
    frame = PlotArea(Axis("1 - specificity"), Axis("sensitivity"))
    lines = [frame.line(one["fpr"], one["tpr"], kind) for one, kind in shown(curves, "auroc")]
    return frame.svg("ROC", _areas("AUROC", curves, "auroc"), frame.line([0, 1], [0, 1], "guide"), *lines)


def precision_recall(curves: Sequence[Facts]) -> Markup:
    """Return the precision-recall curve of each class."""
    frame = PlotArea(Axis("recall (sensitivity)"), Axis("precision"))
    lines = [frame.line(one["recall"], one["precision"], kind) for one, kind in shown(curves, "average_precision")]
    return frame.svg("Precision and recall", _areas("Average precision", curves, "average_precision"), *lines)


def _areas(name: str, curves: Sequence[Facts], by: str) -> str:
    areas = sorted((one[by], one["class"]) for one in curves)
    if len(areas) == 1:
        return f"{name} {number(areas[0][0])} for {areas[0][1]}."
    return f"{name} from {number(areas[0][0])} ({areas[0][1]}) to {number(areas[-1][0])} ({areas[-1][1]})."


def risk_coverage(found: Facts) -> Markup:
    """Return the share of wrong answers among the surest share of rows."""
    frame = PlotArea(Axis("share answered, the surest first"), Axis("share of those wrong"))
    coverage, risk = [0.0, *found["coverage"]], [found["risk"][0], *found["risk"]]
    says = f"Answering all, {risk[-1]:.1%} are wrong; answering the surest half, {at_half(found):.1%}."
    return frame.svg(
        "Risk and coverage", says, frame.line([0, 1], [risk[-1], risk[-1]], "guide"), frame.line(coverage, risk, "c1")
    )


def at_half(found: Facts) -> float:
    """Return the risk when the surest half is answered."""
    return float(np.interp(0.5, found["coverage"], found["risk"]))


CELLS = 28  # squares along each side where rows are too many for dots


def numbers(target: Sequence[float], prediction: Sequence[float]) -> Markup:
    """Return predicted against true numbers: a dot a row, or of many rows how many lie in each square."""
    x, y = np.asarray(target, float), np.asarray(prediction, float)
    low, high = float(min(x.min(), y.min())), float(max(x.max(), y.max()))
    frame = PlotArea(Axis("target", low, high), Axis("prediction", low, high))
    over = float((y > x).mean())
    if len(x) <= MOST_DOTS:
        marks, dense = frame.dots(x.tolist(), y.tolist(), [2.2] * len(x), "cloud"), ""
    else:
        counts, _, _ = np.histogram2d(x, y, CELLS, [[low, high], [low, high]])
        side = (high - low) / CELLS or 1.0
        squares = [
            (low + i * side, low + j * side, counts[i, j] / counts.max())
            for i, j in zip(*np.nonzero(counts), strict=True)
        ]
        marks, dense = (
            frame.squares(squares, side),
            f" The darker a square, the more rows lie in it (up to {int(counts.max()):,}).",
        )
    return frame.svg(
        "Predicted against true", f"{len(x):,} rows; {over:.0%} are predicted above their target.{dense}",
        frame.line([low, high], [low, high], "guide"), marks,
    )  # fmt: skip


def prompts(found: Facts) -> tuple[Markup, list[tuple[Facts, str]]]:
    """Return the score of every prompt, the best first, between those of the model's own, of all together and of the controls; and its key."""
    values = sorted((one["value"] for one in found["draws"] if one["value"] == one["value"]), reverse=True)
    named = (("own", "the model's own", "c1"), ("ensemble", "all together", "c2"), ("nonsense", "words without a meaning", "c3"), ("shuffled", "pictures shuffled", "c4"))  # fmt: skip
    lines: list[tuple[Facts, str]] = [({"class": says, "value": found[name]["value"]}, kind) for name, says, kind in named if found[name]]  # fmt: skip
    scale, own = word(found["metric"]), found["own"]
    seen = [*values, *(one["value"] for one, _ in lines), *_ends(own)]
    known = covering(seen)
    frame = PlotArea(Axis("prompts, the best first", 0, len(values) + 1), Axis(scale.label, max(known.low, 0), min(known.high, 1)))  # fmt: skip
    ends = [0.0, len(values) + 1.0]
    band = [frame.band(ends, [own["low"]] * 2, [own["high"]] * 2)] if own["low"] is not None else []
    says = f"{len(values)} prompts, {scale.label} from {number(values[-1])} to {number(values[0])}; the model's own {number(own['value'])}."
    drawn = frame.svg(
        f"{scale.label} by prompt", says, *band, *(frame.line(ends, [one["value"]] * 2, kind) for one, kind in lines),
        frame.dots([i + 1.0 for i in range(len(values))], values, [2.5] * len(values), "cloud"),
    )  # fmt: skip
    return drawn, lines


def few_labels(found: Facts) -> tuple[Markup, list[tuple[Facts, str]]]:
    """Return accuracy by the number of labels a class: what is fitted on them, a probe, and zero-shot, which needs none; and the key."""
    zero, by = found["zero"], {name: [one for one in found["points"] if one["by"] == name] for name in found["by"]}
    kinds = dict(zip([*by], ("c1", "c2"), strict=False))
    last = float(found["points"][-1]["shots"])
    known = covering([end for one in (zero, *found["points"]) for end in _ends(one)])
    frame = PlotArea(Axis("labels a class", 0, 1.05 * last), Axis("accuracy", max(known.low, 0), min(known.high, 1)))
    ends = [0.0, 1.05 * last]
    band = [frame.band(ends, [zero["low"]] * 2, [zero["high"]] * 2)] if zero["low"] is not None else []
    lines: list[tuple[Facts, str]] = [({"class": "zero-shot", "value": zero["value"]}, "c3"), *(({"class": name, "value": some[-1]["value"]}, kinds[name]) for name, some in by.items())]  # fmt: skip
    marks = []
    for shift, (name, some) in zip((-0.004, 0.004), by.items(), strict=False):
        xs, values = [one["shots"] + shift * last for one in some], [one["value"] for one in some]
        marks += [
            frame.whiskers(xs, [one["low"] for one in some], [one["high"] for one in some], kinds[name]),
            frame.line(xs, values, kinds[name]), frame.dots(xs, values, [3.5] * len(xs), kinds[name]),
        ]  # fmt: skip
    says = f"Zero-shot {number(zero['value'])}; " + ", ".join(f"{name} {number(some[0]['value'])} to {number(some[-1]['value'])}" for name, some in by.items())  # fmt: skip
    return frame.svg(
        "Accuracy by labels a class", f"{says}.", *band, frame.line(ends, [zero["value"]] * 2, "c3"), *marks
    ), lines


def agreement(target: Sequence[float], prediction: Sequence[float], metrics: Mapping[str, Facts]) -> Markup:
    """Return Bland and Altman's plot: differences against means, with their bias and limits of agreement; of many rows an even sample."""
    keep = np.unique(np.linspace(0, len(target) - 1, min(MOST_DOTS, len(target))).round().astype(int))
    x, y = np.asarray(target, float)[keep], np.asarray(prediction, float)[keep]
    mean, off = (x + y) / 2, y - x
    bias, low, high = (metrics[name]["value"] for name in ("bias", "agreement_low", "agreement_high"))
    across = covering(mean.tolist())
    up = covering([*off.tolist(), low, high, 0.0])
    ends = [across.low, across.high]
    outside = float(((off < low) | (off > high)).mean())
    frame = PlotArea(Axis("mean of target and prediction", *ends), Axis("prediction less target", up.low, up.high))
    lines = {"bias": metrics["bias"], "lower limit": metrics["agreement_low"], "upper limit": metrics["agreement_high"]}
    above = 0.015 * (up.high - up.low)
    bands = [frame.band(ends, [one["low"]] * 2, [one["high"]] * 2) for one in lines.values() if one["low"] is not None]
    words = [frame.words(across.high, max(_ends(one)) + above, f"{name} {number(one['value'])}", "end") for name, one in lines.items()]  # fmt: skip
    return frame.svg(
        "Bland and Altman: difference against mean",
        f"Bias {number(bias)}, limits of agreement {number(low)} and {number(high)}; {outside:.1%} of the rows lie outside the limits.",
        *bands, frame.line(ends, [0, 0], "guide"), frame.line(ends, [bias] * 2, "c1"), frame.line(ends, [low] * 2, "c2"), frame.line(ends, [high] * 2, "c2"),
        frame.dots(mean.tolist(), off.tolist(), [2.2] * len(x), "cloud"), *words,
    )  # fmt: skip


def learning_curve(points: Sequence[Facts], metric: str) -> Markup:
    """Return a metric with its interval against the number of samples fitted on, on the part of its scale where it lies."""
    sizes, values = [float(one["size"]) for one in points], [one["value"] for one in points]
    known = covering([end for one in points for end in _ends(one)])
    scale = word(metric)
    if scale.worst is not None and scale.best is not None:
        known = Axis("", max(known.low, min(scale.worst, scale.best)), min(known.high, max(scale.worst, scale.best)))
    frame = PlotArea(Axis("samples fitted on", 0, 1.05 * max(sizes)), Axis(scale.label, known.low, known.high))
    sure = [one for one in points if one["low"] is not None]
    says = f"{scale.label} from {number(values[0])} at {sizes[0]:,.0f} samples to {number(values[-1])} at {sizes[-1]:,.0f}."
    return frame.svg(
        "Learning curve", says,
        frame.whiskers([float(one["size"]) for one in sure], [one["low"] for one in sure], [one["high"] for one in sure]),
        frame.line(sizes, values, "c1"), frame.dots(sizes, values),
    )  # fmt: skip
