"""Plots as small SVG text. Colours are classes of the page's style sheet, so that they follow light, dark and print."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

WIDTH, HEIGHT = 340, 290
LEFT, RIGHT, TOP, BOTTOM = 46, 14, 12, 44
BAR, BAR_HEIGHT = 200, 18

SIGNS = {  # outlines about a point, by name: told apart without colour
    "circle": "m-3 0a3 3 0 1 0 6 0a3 3 0 1 0-6 0z", "square": "m-2.7-2.7h5.4v5.4h-5.4z", "triangle": "m0-3.6l3.5 6h-7z",
    "diamond": "m0-3.9l3.3 3.9l-3.3 3.9l-3.3-3.9z", "drop": "m0 3.6l3.5-6h-7z", "plus": "m-1.1-3.4h2.2v2.3h2.3v2.2h-2.3v2.3h-2.2v-2.3h-2.3v-2.2h2.3z",
}  # fmt: skip


@dataclass(frozen=True)
class Axis:
    """What an axis says and its ends."""

    label: str
    low: float = 0.0
    high: float = 1.0

    def place(self, value: float) -> float:
        """Return where a value lies between the ends, as 0 to 1; what lies beyond stays at the end."""
        return min(1.0, max(0.0, (value - self.low) / ((self.high - self.low) or 1.0)))

    def ticks(self, about: int = 5) -> list[float]:
        """Return round values between the ends."""
        step = _round((self.high - self.low) / about) or 1.0
        first = math.ceil(self.low / step - 1e-9)
        return [i * step for i in range(first, math.floor(self.high / step + 1e-9) + 1)]


def covering(values: Sequence[float], label: str = "", around: float | None = None) -> Axis:
    """Return an axis that covers values and, where given, a value they are measured from, with some room."""
    all_of_them = [v for v in [*values, *([] if around is None else [around])] if v == v and math.isfinite(v)] or [
        0.0,
        1.0,
    ]
    low, high = min(all_of_them), max(all_of_them)
    room = 0.06 * ((high - low) or abs(high) or 1.0)
    return Axis(label, low - room, high + room)


def _round(step: float) -> float:
    """Return the round number (1, 2 or 5 times a power of ten) at or above a step."""
    if step <= 0:
        return 0.0
    power = 10.0 ** math.floor(math.log10(step))
    return next(m * power for m in (1, 2, 5, 10) if m * power >= step * (1 - 1e-9))


@dataclass(frozen=True)
class PlotArea:
    """The area of a plot between two axes. Its methods return marks; ``svg`` puts them together."""

    x: Axis
    y: Axis
    width: int = WIDTH
    height: int = HEIGHT
    bottom: int = BOTTOM

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Return a point in the picture's units."""
        across, up = self.width - LEFT - RIGHT, self.height - TOP - self.bottom
        return LEFT + across * self.x.place(x), self.height - self.bottom - up * self.y.place(y)

    def line(self, xs: Sequence[float], ys: Sequence[float], kind: str, steps: bool = False) -> Markup:
        """Return points joined, by ``steps`` or straight."""
        path = "M"
        for i, (x, y) in enumerate(zip(xs, ys, strict=True)):
            px, py = self.at(x, y)
            path += f"{'H' + _n(px) + 'V' + _n(py) if steps and i else ('L' if i else '') + _n(px) + ' ' + _n(py)}"
        return Markup('<path class="line {}" d="{}"/>').format(kind, path)

    def dots(
        self, xs: Sequence[float], ys: Sequence[float], sizes: Sequence[float] | None = None, kind: str = "c1"
    ) -> Markup:
        """Return a dot at each point."""
        places = [self.at(x, y) for x, y in zip(xs, ys, strict=True)]
        return _join(
            f'<circle class="dot {escape(kind)}" cx="{_n(x)}" cy="{_n(y)}" r="{_n(r)}"/>'
            for (x, y), r in zip(places, sizes or [4.0] * len(places), strict=True)
        )

    def squares(self, places: Sequence[tuple[float, float, float]], side: float) -> Markup:
        """Return a square of a ``side`` at each (left, lower end, shade from 0 to 1)."""
        marks = []
        for x, y, shade in places:
            left, low = self.at(x, y)
            right, high = self.at(x + side, y + side)
            marks.append(
                f'<rect class="cloud" fill="currentColor" style="opacity:{0.12 + 0.88 * shade:.2f}" x="{_n(left)}" y="{_n(high)}" width="{_n(right - left)}" height="{_n(low - high)}"/>'
            )
        return _join(marks)

    def signs(self, xs: Sequence[float], ys: Sequence[float], sign: str, kind: str) -> Markup:
        """Return a sign (a key of ``SIGNS``) at each point, all in one path."""
        places = [self.at(x, y) for x, y in zip(xs, ys, strict=True)]
        return Markup('<path class="point {}" d="{}"/>').format(
            kind, "".join(f"M{_n(x)} {_n(y)}{SIGNS[sign]}" for x, y in places)
        )

    def whiskers(self, xs: Sequence[float], lows: Sequence[float], highs: Sequence[float], kind: str = "c1") -> Markup:
        """Return an upright interval at each point, in the colour of its line."""
        found = []
        for x, low, high in zip(xs, lows, highs, strict=True):
            (px, bottom), (_, top) = self.at(x, low), self.at(x, high)
            found.append(f'<path class="whisker {kind}" d="M{_n(px)} {_n(bottom)}V{_n(top)}"/>')
        return _join(found)

    def band(self, xs: Sequence[float], lows: Sequence[float], highs: Sequence[float]) -> Markup:
        """Return the area between two lines."""
        there = [self.at(x, y) for x, y in zip(xs, highs, strict=True)]
        back = [self.at(x, y) for x, y in zip(xs, lows, strict=True)][::-1]
        return Markup('<path class="band" d="M{}Z"/>').format("L".join(f"{_n(x)} {_n(y)}" for x, y in [*there, *back]))

    def words(self, x: float, y: float, text: str, anchor: str = "start", kind: str = "") -> Markup:
        """Return a word beside a point."""
        px, py = self.at(x, y)
        return Markup('<text class="{}" x="{}" y="{}" text-anchor="{}">{}</text>').format(
            kind, _n(px), _n(py), anchor, text
        )

    def svg(self, name: str, says: str, *marks: Markup, upright: bool = True) -> Markup:
        """Return the plot: axes (the ``upright`` one too), marks, and for those who do not see it its name and what it says."""
        (left, bottom), (right, top) = self.at(self.x.low, self.y.low), self.at(self.x.high, self.y.high)
        axes = [f'<path class="axis" d="M{_n(left)} {_n(top if upright else bottom)}V{_n(bottom)}H{_n(right)}"/>']
        for value in self.x.ticks():
            px, _ = self.at(value, self.y.low)
            axes.append(
                f'<text class="tick" x="{_n(px)}" y="{_n(bottom + 16)}" text-anchor="middle">{_tick(value)}</text>'
            )
        for value in self.y.ticks() if upright else ():
            _, py = self.at(self.x.low, value)
            axes.append(f'<path class="grid" d="M{_n(left)} {_n(py)}H{_n(right)}"/>')
            axes.append(
                f'<text class="tick" x="{_n(left - 6)}" y="{_n(py + 4)}" text-anchor="end">{_tick(value)}</text>'
            )
        names = Markup('<text x="{}" y="{}" text-anchor="middle">{}</text>').format(
            _n((left + right) / 2), _n(bottom + 36), self.x.label
        ) + Markup('<text transform="translate(11 {}) rotate(-90)" text-anchor="middle">{}</text>').format(
            _n((top + bottom) / 2), self.y.label
        )
        head = Markup('<svg class="plot" role="img" viewBox="0 0 {} {}"><title>{}</title><desc>{}</desc>')
        return (
            head.format(self.width, self.height, name, says)
            + _join(axes)
            + names
            + Markup("").join(marks)
            + Markup("</svg>")
        )


def bar(
    axis: Axis, value: float | None, low: float | None, high: float | None, mark: float | None = None, kind: str = "c1"
) -> Markup:
    """Return one row of a forest plot: an interval with its value on an axis that all rows share, a dashed line at ``mark``.

    The row's cells hold the same numbers, so it is hidden from screen readers.
    """
    parts = [] if mark is None else [f'<path class="mark" d="M{_x(axis, mark)} 0V{BAR_HEIGHT}"/>']
    if low is not None and high is not None:
        parts.append(f'<path class="interval {escape(kind)}" d="M{_x(axis, low)} 9H{_x(axis, high)}"/>')
    if value is not None:
        parts.append(f'<circle class="dot {escape(kind)}" cx="{_x(axis, value)}" cy="9" r="5"/>')
    return (
        Markup('<svg class="bar" aria-hidden="true" viewBox="0 0 {} {}">').format(BAR, BAR_HEIGHT)
        + _join(parts)
        + Markup("</svg>")
    )


def scale(axis: Axis) -> Markup:
    """Return the axis under the rows of a forest plot."""
    ticks = axis.ticks()
    parts = [f'<path class="axis" d="M6 1H{BAR - 6}"/>']
    for value in ticks:
        x = 6 + (BAR - 12) * axis.place(value)
        anchor = "start" if x < 16 else "end" if x > BAR - 16 else "middle"
        parts.append(f'<path class="axis" d="M{_n(x)} 1V5"/>')
        parts.append(f'<text class="tick" x="{_n(x)}" y="17" text-anchor="{anchor}">{_tick(value)}</text>')
    return (
        Markup('<svg class="bar" aria-hidden="true" viewBox="0 0 {} 20">').format(BAR) + _join(parts) + Markup("</svg>")
    )


def _x(axis: Axis, value: float) -> str:
    return _n(6 + (BAR - 12) * axis.place(value))


def _n(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def _tick(value: float) -> str:
    return f"{round(value, 10):,.10g}" if abs(value) < 1e6 else f"{value:.0e}"


def _join(parts: Sequence[str] | object) -> Markup:
    return Markup("".join(parts))  # type: ignore[arg-type]  # every part is numbers and escaped names
