"""Metrics of numbers under counts of rows [resamples, n], and the concordance index of survival times."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from healthfm.score.metrics.arrays import Array, Bools, Floats, ratio

LIMIT = 1.96  # standard deviations of the differences, between which 95 % of them lie where they are normal


def errors(target: Floats, guess: Floats, counts: Array) -> dict[str, Floats]:
    """Return ``mae``, ``rmse``, ``r2`` and ``pearson`` [resamples], the last two NaN where a side does not vary; and of the differences

    (prediction less target) their mean ``bias`` and the limits of agreement (Bland and Altman 1986), NaN of one row.
    """
    x, y = target - target.mean(), guess - guess.mean()
    off = guess - target
    moments = np.stack([np.ones_like(x), x, y, x * x, y * y, x * y, np.abs(off), off**2], axis=1)
    n, sx, sy, sxx, syy, sxy, away, square = (counts @ moments).T
    rows = np.maximum(n, 1)
    shift = ratio(sy - sx, n) + float(off.mean())
    apart = LIMIT * np.sqrt(ratio(np.maximum(square - rows * shift**2, 0), n - 1))
    spread_x, spread_y = _spread(sxx - sx * sx / rows, sxx), _spread(syy - sy * sy / rows, syy)
    return {
        "mae": ratio(away, n), "rmse": np.sqrt(ratio(square, n)), "r2": 1 - ratio(square, spread_x),
        "pearson": ratio(sxy - sx * sy / rows, np.sqrt(spread_x * spread_y)),
        "bias": shift, "agreement_low": shift - apart, "agreement_high": shift + apart,
    }  # fmt: skip


class Spearman:
    """The correlation of ranks, tied values sharing the mean of their ranks."""

    def __init__(self, target: Floats, guess: Floats) -> None:
        self.sides = [_steps(target), _steps(guess)]

    def at(self, drawn: Array) -> Floats:
        """Return the correlation [resamples] for counts as ``lanes`` makes them; NaN where a side does not vary."""
        n = drawn.sum(axis=0, dtype=np.int64)
        away = []
        for rows, step in self.sides:
            size = np.asarray(rows @ drawn.astype(np.int64))
            away.append((np.cumsum(size, axis=0) - (size - 1) / 2 - (n + 1) / 2)[step])  # rank less the mean rank
        one, other = away
        spread = [_spread((drawn * side**2).sum(axis=0), n.astype(float) ** 3) for side in away]
        return ratio((drawn * one * other).sum(axis=0), np.sqrt(spread[0] * spread[1]))


class Concordance:
    """Harrell's C (1982): of the pairs whose order in ``time`` is known, the share that ``score`` orders alike.

    ``score`` rises with time (give minus the risk). ``event`` is False where a time was cut off (censored): such a pair is
    known only when the earlier of the two times is an event, a tie of an event and a censored time counting as the event
    being earlier. A tie in ``score`` counts half. Memory grows with n squared.
    """

    def __init__(self, time: Floats, score: Floats, event: Bools | None = None) -> None:
        happened = np.ones(len(time), bool) if event is None else event
        before = (time[:, None] < time) | ((time[:, None] == time) & ~happened)
        known = before & happened[:, None]
        won = known * (0.5 * (score[:, None] == score) + (score[:, None] < score))
        self.known, self.won = known.astype(np.float32), won.astype(np.float32)  # halves and small sums: exact

    def at(self, counts: Array) -> Floats:
        """Return the index [resamples] for counts [resamples, n]; NaN without a known pair."""
        drawn = counts.astype(np.float32)
        won, known = (np.einsum("rn,rn->r", drawn @ m, drawn, dtype=np.float64) for m in (self.won, self.known))
        return ratio(won, known)


def concordance(time: Floats, score: Floats, event: Bools | None = None) -> float:
    """Return Harrell's C of one sample: see ``Concordance``."""
    return float(Concordance(time, score, event).at(np.ones((1, len(time))))[0])


def _steps(values: Floats) -> tuple[sparse.csr_array, Array]:
    steps, step = np.unique(values, return_inverse=True)
    n = len(values)
    return sparse.csr_array((np.ones(n, np.int64), (step, np.arange(n))), (len(steps), n)), step


def _spread(value: Floats, scale: Floats) -> Floats:
    """Return a sum of squares, 0 where rounding alone keeps it from it."""
    return np.where(value > 1e-12 * scale, value, 0.0)
