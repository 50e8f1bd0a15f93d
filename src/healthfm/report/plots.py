"""Plots as inline SVG whose colours are the page's CSS variables, so that they follow light and dark."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib.figure import Figure

COLOURS = {"#111111": "var(--ink)", "#777777": "var(--muted)", "#0b6bcb": "var(--accent)", "#c2410c": "var(--warn)"}
INK, MUTED, ACCENT, WARN = COLOURS
STYLE = {"svg.fonttype": "none", "svg.hashsalt": "healthfm", "font.family": "sans-serif", "font.size": 11}


def _svg(figure: Figure, label: str) -> str:
    buffer = io.StringIO()
    figure.savefig(
        buffer, format="svg", transparent=True, bbox_inches="tight", metadata={"Date": None, "Creator": None}
    )
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    for colour, variable in COLOURS.items():
        text = text.replace(colour, variable)
    return text.replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1)


def _axes(width: float, height: float) -> tuple[Figure, Any]:
    figure = Figure(figsize=(width, height))
    axes = figure.add_subplot()
    axes.tick_params(colors=MUTED, labelcolor=INK)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(MUTED)
    return figure, axes


def intervals(metrics: Mapping[str, Mapping[str, Any]], baseline: float | None) -> str:
    """Return each metric as a point with its interval on a scale from 0 to 1; the majority baseline as a dashed line."""
    with matplotlib.rc_context(STYLE):
        figure, axes = _axes(4.0, 0.7 + 0.45 * len(metrics))
        names = list(metrics)[::-1]
        for y, name in enumerate(names):
            one = metrics[name]
            axes.plot(
                [one["low"], one["high"]], [y, y], color=ACCENT, linewidth=3, solid_capstyle="round", clip_on=False
            )
            axes.plot(one["value"], y, "o", color=ACCENT, markersize=8, clip_on=False)
        if baseline is not None:
            axes.axvline(baseline, color=WARN, linestyle="--", linewidth=1)
            axes.text(
                baseline, len(names) - 0.35, "majority accuracy", color=WARN, ha="center", va="bottom", fontsize=10
            )
        axes.set_yticks(range(len(names)), [name.replace("_", "-") for name in names])
        axes.set_xlim(0, 1)
        axes.set_ylim(-0.6, len(names) - 0.4)
        return _svg(figure, "Metrics with 95 percent intervals")


def calibration(bins: Sequence[Mapping[str, float]]) -> str:
    """Return the reliability curve: accuracy against confidence in equal-mass bins, the area of a dot its count."""
    with matplotlib.rc_context(STYLE):
        figure, axes = _axes(4.2, 4.0)
        axes.plot([0, 1], [0, 1], color=MUTED, linestyle="--", linewidth=1)
        x, y = [b["confidence"] for b in bins], [b["accuracy"] for b in bins]
        most = max(b["n"] for b in bins)
        axes.plot(x, y, color=ACCENT, linewidth=1.5)
        axes.scatter(x, y, s=[20 + 60 * b["n"] / most for b in bins], color=ACCENT, zorder=3, clip_on=False)
        axes.set_xlim(0, 1)
        axes.set_ylim(-0.02, 1.02)
        axes.set_xlabel("confidence", color=INK)
        axes.set_ylabel("accuracy", color=INK)
        return _svg(figure, "Calibration: accuracy against confidence")
