"""Drawings of records that are no pictures: a molecule's structure, a recording's strip. Each is SVG in a data URI."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

import numpy as np

from healthfm.formats import molecules
from healthfm.records import Molecule, Record, Signal

STANDARD = ("I", "II", "III", "AVR", "AVL", "AVF", "V1", "V2", "V3", "V4", "V5", "V6")
COLUMNS, PART = 4, 2.5  # of twelve leads: as they are printed, two and a half seconds each
LEADS, SECONDS = 6, 10.0  # of other recordings
CELL, ROW = 150, 46  # points of a lead's part, across and down
FOOT = 16  # of the line below them
STEPS = 150  # a lead's part is drawn by the lowest and the highest value of as many steps at most


def of_record(record: Record) -> str:
    """Return a drawing of a molecule or a recording, "" of anything else. Raises ``HealthfmError``: it cannot be decoded."""
    if isinstance(record, Molecule):
        return _uri(molecules.drawn(record.smiles, 220, 140) or "")
    return _uri(strip(record)) if isinstance(record, Signal) else ""


def _uri(svg: str) -> str:
    return f"data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()}" if svg else ""


def strip(record: Signal) -> str:
    """Return twelve standard leads as an ECG is printed, in three rows of four; of other recordings the first channels below each other."""
    samples, names = record.samples, [one.upper() for one in record.channels]
    if set(STANDARD) <= set(names):
        length = max(1, min(round(PART * record.rate), samples.shape[1] // COLUMNS))  # of a short one a quarter each
        cells = [
            (i % 3, i // 3, lead, samples[names.index(lead)][(i // 3) * length : (i // 3 + 1) * length])
            for i, lead in enumerate(STANDARD)
        ]
        return _drawn(cells, 3, COLUMNS, CELL, length / record.rate)
    length = round(SECONDS * record.rate)
    cells = [(i, 0, record.channels[i], samples[i][:length]) for i in range(min(LEADS, len(samples)))]
    return _drawn(cells, len(cells), 1, CELL * COLUMNS, min(length, samples.shape[1]) / record.rate)


def _drawn(cells: Sequence[tuple[int, int, str, Any]], rows: int, columns: int, width: int, seconds: float) -> str:
    """Return leads in a grid, all on one scale up to the widest of them, and below them how long each part is."""
    known = np.concatenate(
        [np.nan_to_num(one[3] - np.nanmedian(one[3])) if np.isfinite(one[3]).any() else np.zeros(1) for one in cells]
    )
    top = float(np.percentile(np.abs(known), 99.5)) or 1.0
    marks = "".join(_lead(row * ROW, column * width, width, name, values, top) for row, column, name, values in cells)
    high = rows * ROW + FOOT
    scale = f'<text x="3" y="{high - 4}" font-size="11" font-family="sans-serif" fill="#555">{seconds:.3g} s across each, all to one scale</text>'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {columns * width} {high}" width="{columns * width}" height="{high}">'
        f'<rect width="100%" height="100%" fill="#fff"/>{marks}{scale}</svg>'
    )


def _lead(y: int, x: int, width: int, name: str, values: Any, top: float) -> str:
    label = name.replace("&", "&amp;").replace("<", "&lt;")
    said = f'<text x="{x + 3}" y="{y + 9}" font-size="9" font-family="sans-serif" fill="#555" paint-order="stroke" stroke="#fff" stroke-width="3">{label}</text>'
    if not np.isfinite(values).any():
        return said
    values = np.nan_to_num(values - np.nanmedian(values))
    ends = [(part.min(), part.max()) for part in np.array_split(values, min(STEPS, len(values)))]
    heights = np.clip(np.array(ends) / top, -1, 1).ravel()
    across = x + np.linspace(0, width, len(heights))
    points = " ".join(f"{a:.1f},{y + ROW / 2 - b * (ROW / 2 - 3):.1f}" for a, b in zip(across, heights, strict=True))
    return f'<polyline points="{points}" fill="none" stroke="#1b1b1b" stroke-width="0.8"/>{said}'
