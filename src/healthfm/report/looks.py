"""Where a model of bags looked: of some bags the pictures that weighed most and least, and of slides a heat map."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from healthfm.errors import HealthfmError
from healthfm.formats.slide.tiling import Tiles, read_tile
from healthfm.records import Slide
from healthfm.report import heat, pictures
from healthfm.report.sample import Sample
from healthfm.score.result import Result

BAGS = 3  # of the most confident errors, and one that was right
ENDS = 4  # pictures that weighed most, and as many that weighed least
MAP, MAP_BYTES = 520, 60_000  # pixels and bytes of a heat map in a page
TILE, TILE_BYTES = 112, 8_000
GONE = "Where it looked is not shown: the pictures are not here, or cannot be read."
Rows = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Piece:
    """One picture of a bag (``picture``: a data URI), and how many times as much it weighed as if all weighed the same."""

    picture: str
    times: float


@dataclass(frozen=True)
class Look:
    """One bag: what it is, the pictures that weighed ``most`` and ``least`` of ``n``, and a slide's heat map (a data URI, "" of others)."""

    sample: Sample
    n: int
    most: Sequence[Piece]
    least: Sequence[Piece]
    map: str = ""


def looks(run: Result, errors: Sequence[Sample]) -> tuple[list[Look], str]:
    """Return where the model looked in the most confident errors and in its surest right answer; and why nowhere, if pictures are gone."""
    if run.facts["request"]["task"] != "mil":
        return [], ""
    try:
        every = heat.attention(run)
        chosen = {one.id: one for one in [*errors[:BAGS], *_right(run)] if one.id in every}
        wanted = {row["record"] for name in chosen for row in every[name]}
        records = {one.id: one for one in heat.reopened(run) if one.id in wanted}
        found = [_look(run, one, every[one.id], records) for one in chosen.values()]
    except (HealthfmError, KeyError):
        return [], GONE
    return found, ""


def _right(run: Result) -> list[Sample]:
    rows = [
        row for row in run.predictions.to_pylist() if row["prediction"] == row["target"] and row.get("probabilities")
    ]
    best = max(rows, key=lambda row: max(row["probabilities"]), default=None)
    return (
        []
        if best is None
        else [Sample(best["id"], best["target"], best["prediction"], f"{max(best['probabilities']):.2f}", True)]
    )


def _look(run: Result, sample: Sample, rows: Rows, records: Mapping[str, Any]) -> Look:
    order = sorted(rows, key=lambda row: (-row["weight"], row["number"]))
    most = order[:ENDS]
    least = order[max(ENDS, len(order) - ENDS) :][::-1]
    first = records[rows[0]["record"]]
    if isinstance(first, Slide):
        shown, drawn = _of_slide(run, first, rows, [*most, *least])
    else:
        shown, drawn = _of_stack(run, [*most, *least], records), ""
    pieces = [Piece(shown[row["number"]], row["weight"] * len(rows)) for row in (*most, *least)]
    return Look(sample, len(rows), pieces[: len(most)], pieces[len(most) :], drawn)


def _of_slide(run: Result, record: Slide, rows: Rows, wanted: Rows) -> tuple[dict[int, str], str]:
    opened: Any = record.open()
    try:
        found = heat.of_slide(run, rows, opened)
        drawn = pictures.data_uri(heat.draw(opened, found, MAP), MAP, MAP_BYTES)
        tiles = Tiles(found.corners, TILE, found.span)
        place = {row["number"]: i for i, row in enumerate(rows)}
        shown = {
            row["number"]: pictures.data_uri(
                pictures.of_array(read_tile(opened, tiles, place[row["number"]])), TILE, TILE_BYTES
            )
            for row in wanted
        }
    finally:
        opened.close()
    return shown, drawn


def _of_stack(run: Result, wanted: Rows, records: Mapping[str, Any]) -> dict[int, str]:
    """Return pictures by their number in the bag: of a volume or film its own, of a patient's images each image."""
    window, found = run.facts["request"].get("window"), {}
    for name in {row["record"] for row in wanted}:
        record, numbers = records[name], {row["number"] for row in wanted if row["record"] == name}
        for number, picture in pictures.nth(record, numbers, window).items():
            found[number] = pictures.data_uri(picture, TILE, TILE_BYTES)
    return found
