"""What cheap rivals see of biology: fingerprints of molecules, plain statistics of leads, components of the most variable features."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.decomposition import PCA

from healthfm.datasets.splits import key_of
from healthfm.formats import molecules
from healthfm.records import Molecule, Profile, Record, Signal

VARIABLE, COMPONENTS = 2_000, 50  # features kept by their variance, and components of these


def ecfp(records: Sequence[Record], count: int) -> Any:
    """Return Morgan fingerprints of radius 2, [n, 2048]; one that rdkit refuses is all zero."""
    return molecules.fingerprints([one.smiles for one in records if isinstance(one, Molecule)])


def leads(records: Sequence[Record], count: int) -> Any:
    """Return seven numbers of each lead, [n, 7 leads]: mean, spread, ends, mean step, skewness and share of its power below 5 Hz.

    The leads are those of the first record to fit on; one that a record has not is zero.
    """
    first = records[0]
    assert isinstance(first, Signal)
    return np.stack([_of_leads(one, first.channels) for one in records if isinstance(one, Signal)])


def _of_leads(record: Signal, names: Sequence[str]) -> Any:
    samples = np.nan_to_num(record.samples.astype(np.float64))
    spread = samples.std(axis=1)
    centred = samples - samples.mean(axis=1, keepdims=True)
    power = np.abs(np.fft.rfft(centred, axis=1)) ** 2
    slow = np.fft.rfftfreq(samples.shape[1], 1 / record.rate) < 5
    made = np.stack([
        samples.mean(axis=1), spread, samples.min(axis=1), samples.max(axis=1), np.abs(np.diff(samples, axis=1)).mean(axis=1) if samples.shape[1] > 1 else 0 * spread,
        (centred**3).mean(axis=1) / np.maximum(spread, 1e-12) ** 3, power[:, slow].sum(axis=1) / np.maximum(power.sum(axis=1), 1e-12),
    ], axis=1)  # fmt: skip
    place = {name: i for i, name in enumerate(record.channels)}
    return np.concatenate([made[place[name]] if name in place else np.zeros(made.shape[1]) for name in names])


def variable_components(records: Sequence[Record], count: int) -> Any:
    """Return the principal components of the most variable features of those to fit on, [n, at most 50].

    Counts (whole numbers from 0 on) are first put to the same total a record and to log(1 + x). Features are those of the first record, by name.
    """
    first = records[0]
    assert isinstance(first, Profile)
    rows = np.stack([_aligned(one, first.features) for one in records if isinstance(one, Profile)])
    if (rows >= 0).all() and (rows == np.round(rows)).all():
        totals = rows.sum(axis=1, keepdims=True)
        rows = np.log1p(rows / np.maximum(totals, 1) * np.median(totals[totals > 0]) if totals.any() else rows)
    spread = rows[:count].std(axis=0)
    chosen = np.sort(np.argsort(-spread, kind="stable")[:VARIABLE])
    rows = rows[:, chosen]
    size = min(COMPONENTS, count - 1, rows.shape[1])
    return (
        PCA(size, svd_solver="full" if count < 500 else "randomized", random_state=0).fit(rows[:count]).transform(rows)
    )


def no_answer_among(record: Record) -> bool:
    """Whether none of a profile's features is what is to be predicted of it."""
    return isinstance(record, Profile) and not set(record.labels) & set(record.features)


def drug_and_line(records: Sequence[Record], count: int) -> Any:
    """Return which drug and which cell line a response is of, [n, drugs and lines to fit on]; a new one is none of them."""
    names = [[key_of(one, what) for one in records] for what in ("drug", "cell line")]
    parts = []
    for some in names:
        known = {name: i for i, name in enumerate(dict.fromkeys(name for name in some[:count] if name is not None))}
        part = np.zeros((len(records), len(known)))
        for row, name in enumerate(some):
            if name in known:
                part[row, known[name]] = 1.0
        parts.append(part)
    return np.hstack(parts)


def _aligned(record: Profile, names: Sequence[str]) -> Any:
    values = np.nan_to_num(record.values.astype(np.float64))
    if record.features == tuple(names):
        return values
    place = {name: i for i, name in enumerate(record.features)}
    return np.array([values[place[name]] if name in place else 0.0 for name in names])


def letters(records: Sequence[Record], count: int) -> Any:
    """Return the share of each letter of a sequence and its length, [n, 27]."""
    found = []
    for one in records:
        text = "".join(getattr(one, "chains", ())).upper()
        found.append([text.count(chr(65 + i)) / max(len(text), 1) for i in range(26)] + [np.log1p(len(text))])
    return np.array(found)
