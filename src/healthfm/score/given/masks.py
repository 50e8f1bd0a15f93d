"""Masks that were given for a dataset's records, label by label in a table: geometry checked, missing and extra files named."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from scipy import ndimage

from healthfm.cards.schema import Evaluation
from healthfm.datasets.dataset import Dataset
from healthfm.errors import DatasetError, NotAnnotated, RunError
from healthfm.formats import image, volume
from healthfm.formats.source import Source
from healthfm.records import Image, Visual, Volume
from healthfm.score import masks
from healthfm.score.given.files import INDEX, Files, Folder, folder, some, told
from healthfm.score.metrics.arrays import Bools
from healthfm.spelling import counted, fold

NEAREST = "nearest"  # the one way to bring a mask onto the reference's grid
OFF = 1e-2  # millimetres (and their cosines) by which two grids may differ and still be one
COLUMNS = (
    "dice", "iou", "nsd", "hd95", "tolerance", "reference_volume", "given_volume", "lesions", "lesions_found", "lesions_false", "lesion_f1",
    "lesion_dice", "lesion_hd95", "missed_volume", "false_volume",
)  # fmt: skip
Grid = npt.NDArray[Any]
Affine = npt.NDArray[np.float64]
Part = Callable[[str], Bools | None]


@dataclass
class Seen:
    """What a reading of given masks came to, beside its rows."""

    resampled: set[str] = field(default_factory=set)
    missing: set[str] = field(default_factory=set)
    without: int = 0
    problems: list[str] = field(default_factory=list)
    splits: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Reader:
    """Masks given in a ``folder`` for the records of a dataset: ``how`` they are scored, and whether one on another grid is resampled."""

    folder: Folder
    opened: Dataset
    how: Evaluation
    resample: bool = False

    def labels(self, record: Visual) -> dict[str, tuple[str, ...]]:
        """Return what is scored of a record, each with the masks of the record that it is made of."""
        if not self.how.regions:
            return {name: (name,) for name in record.masks}
        absent = {one for parts in self.how.regions.values() for one in parts} - set(record.masks)
        return {name: tuple(one for one in parts if one not in absent) for name, parts in self.how.regions.items()}

    def values(self, record: Visual) -> dict[str, tuple[str, ...]]:
        """Return the values of each mask of a record in a label map; {} where nothing says them. Raises ``RunError``: names of none."""
        spelled = {fold(one): one for one in (*record.masks, *self.how.regions)}
        if self.folder.values:
            if strange := [one for one in self.folder.values if fold(one) not in spelled]:
                raise RunError(
                    f"{self.folder.path / INDEX}: {some(strange)}: no label of {self.opened.name} (it has {some(list(record.masks))})"
                )
            return {spelled[fold(name)]: values for name, values in self.folder.values.items()}
        spaces = [space.codes for space in self.opened.card.labels if space.kind == "mask" and space.codes]
        held = next((one for one in (record.codes, *spaces) if set(record.masks) <= set(one)), {})
        return {name: (value,) for name, value in held.items() if name in record.masks}

    def given(self, record: Visual, files: Files) -> tuple[Part, bool]:
        """Return how to get each label's mask from what was given for a record (None: no file of it), and whether it was resampled."""
        if files.whole is not None:
            grid, moved = self._on_grid(record, files.whole)
            return _of_map(grid, files.whole, self.values(record), list(record.masks)), moved
        grids = {name: self._on_grid(record, source) for name, source in files.parts.items()}
        moved = any(one for _, one in grids.values())
        return lambda name: None if name not in grids else grids[name][0] != 0, moved

    def pair(self, record: Visual, label: str) -> tuple[Bools, Bools | None]:
        """Return the reference of a label of a record, and what was given for it on the same grid; None where nothing was."""
        made_of = self.labels(record)[label]
        reference = np.logical_or.reduce([record.masks[one]() for one in made_of])
        files = self.folder.of(record, {*record.masks, *self.how.regions})
        return reference, _union(self.given(record, files)[0], label, made_of) if files else None

    def _on_grid(self, record: Visual, source: Source) -> tuple[Grid, bool]:
        """Return a given mask on the record's grid, and whether it was brought there. Raises ``RunError``: another grid, and nobody asked for that."""
        if not isinstance(record, Volume):
            return _picture(source, _shape(record)), False
        try:
            grid, affine = volume.voxels(source), volume.affine(source)
        except DatasetError as error:
            raise RunError(str(error)) from None
        shape, place = _shape(record), record.affine
        if grid.ndim != 3:
            raise RunError(
                f"{source}: {grid.ndim} axes; a mask is one value a voxel, give a file a label where labels overlap"
            )
        if grid.shape == shape and np.allclose(affine, place, atol=OFF):
            return grid, False
        if not self.resample:
            what = (
                f"{list(grid.shape)} voxels for {list(shape)}"
                if grid.shape != shape
                else "another affine (origin, spacing or directions)"
            )
            raise RunError(
                f"{source}: not on the grid of {record.id}: {what}; --resample nearest brings it there, and the report says so"
            )
        return onto(grid, affine, shape, place), True


def onto(grid: Grid, affine: Affine, shape: tuple[int, ...], place: Affine) -> Grid:
    """Return a mask on another grid: of each of its voxels' centres the value of the nearest voxel given, 0 outside of them."""
    back = np.linalg.inv(affine) @ place
    found = ndimage.affine_transform(
        grid, back[:3, :3], back[:3, 3], output_shape=shape, order=0, mode="grid-constant", cval=0, prefilter=False
    )
    return np.asarray(found)


def _shape(record: Visual) -> tuple[int, ...]:
    mask = next(iter(record.masks.values()), None)
    if mask is not None:
        try:
            return tuple(mask().shape)
        except NotAnnotated:
            pass
    pixels = record.voxels if isinstance(record, Volume) else record.pixels  # type: ignore[attr-defined]
    return tuple(pixels.shape[: 3 if isinstance(record, Volume) else 2])


def _picture(source: Source, shape: tuple[int, ...]) -> Grid:
    try:
        found = image.pixels(source)
    except DatasetError as error:
        raise RunError(str(error)) from None
    if found.ndim == 3:
        if (found[..., :1] != found[..., :3]).any():
            raise RunError(f"{source}: a picture in colours; a mask has one value a pixel")
        found = found[..., 0]
    if found.shape != shape:
        raise RunError(
            f"{source}: {list(found.shape)} pixels, its picture's mask has {list(shape)}; a mask must lie on its picture's grid"
        )
    return found


def _of_map(grid: Grid, source: Source, values: Mapping[str, tuple[str, ...]], labels: list[str]) -> Part:
    held = {f"{value:g}" for value in np.unique(grid).tolist()} - {"0"}
    if not values and len(labels) == 1 and len(held) <= 1:
        return lambda name: np.asarray(grid != 0)
    if not values and len(labels) == 1:
        raise RunError(
            f"{source}: {len(held)} values besides 0; a mask of '{labels[0]}' has one (JPEG does not keep values: save PNG)"
        )
    if not values:
        raise RunError(
            f"{source}: which value is which of {some(labels)}? Put a {INDEX} with 'labels' beside the masks, as nnU-Net writes it, or give a folder a case with a file a label"
        )
    if strange := held - {one for value in values.values() for one in value}:
        raise RunError(
            f"{source}: it holds {some(strange)}, which is the value of no label; {INDEX} beside the masks says what each value is"
        )
    return lambda name: np.isin(grid, [float(one) for one in values[name]]) if name in values else None


def reader_of(path: Path, opened: Dataset, resample: bool = False) -> Reader:
    """Return the masks of a folder beside the records that they are for. Raises ``RunError``: there is none."""
    return Reader(folder(path), opened, opened.card.evaluation or masks.PLAIN, resample)


def table(
    path: Path, opened: Dataset, resample: bool = False, tolerance: float | None = None
) -> tuple[pa.Table, dict[str, Any]]:
    """Return the table of given masks (``kinds.masks``), and what a run must say of how it came about.

    Raises ``RunError``: no mask at all, a mask on another grid, a value or a file that cannot be understood.
    """
    reader = reader_of(path, opened, resample)
    seen = Seen()
    rows = [row for record, files in _matched(reader, seen) for row in _rows(reader, record, files, seen, tolerance)]
    if not rows:
        raise RunError(
            f"{path}: no file is named after a record of {opened.name} that has masks (a record's id, or its image's file name){told(seen.problems)}"
        )
    said = _rules(reader, seen, tolerance)
    columns = {
        name: [row.get(name) for row in rows]
        for name in ("id", "case", "patient", "site", "label", "state", "resampled", *COLUMNS)
    }
    return pa.table({**columns, "rule": ["; ".join(said), *[None] * (len(rows) - 1)]}), {
        "splits": seen.splits,
        "notices": said,
    }


def _matched(reader: Reader, seen: Seen) -> Iterator[tuple[Visual, Files]]:
    """Yield the records that have masks, with what was given for each; of a split for which nothing was, none."""
    for split in reader.opened.selected:
        part = reader.opened[split]
        held = [one for one in part if isinstance(one, Visual) and isinstance(one, Volume | Image)]
        seen.problems += [str(one) for one in part.errors]
        masked = [one for one in held if one.masks]
        pairs = [(one, reader.folder.of(one, {*one.masks, *reader.how.regions})) for one in masked]
        if any(files for _, files in pairs):
            seen.splits.append(split)
            seen.without += len(held) - len(masked)
            yield from pairs


def _rows(
    reader: Reader, record: Visual, files: Files, seen: Seen, tolerance: float | None
) -> Iterator[dict[str, Any]]:
    """Yield a row a label of one record; a record whose own masks cannot be read is a problem of the set, which is told."""
    spacing = record.spacing if isinstance(record, Volume) else (record.aspect, 1.0)
    if not files:
        seen.missing.add(record.id)
    try:
        part, moved = reader.given(record, files) if files else (None, False)
        if moved:
            seen.resampled.add(record.id)
        for label, made_of in reader.labels(record).items():
            try:
                reference = np.logical_or.reduce([record.masks[one]() for one in made_of])
            except NotAnnotated:
                measured = masks.unknown("not annotated")
            else:
                mine = None if part is None else _union(part, label, made_of)
                measured = masks.measure(masks.Pair(label, reference, mine, spacing), reader.how, tolerance)
            about = {"case": record.id, "patient": record.patient or record.id, "site": record.site, "label": label}
            yield {"id": f"{record.id}/{label}", **about, "resampled": moved, **measured}
    except DatasetError as error:
        seen.problems.append(str(error))


def _union(part: Part, label: str, made_of: tuple[str, ...]) -> Bools | None:
    whole = part(label)
    if whole is not None or made_of == (label,):
        return whole
    held = [one for one in map(part, made_of) if one is not None]
    return np.logical_or.reduce(held) if held else None


def _rules(reader: Reader, seen: Seen, tolerance: float | None) -> list[str]:
    """Say how masks were scored, and what of the files and of the set was not."""
    how, folder_ = reader.how, reader.folder
    unit = "mm" if reader.opened.card.record == "Volume" else "pixels"
    limits = (
        {f"{name} {value:g}" for name, value in how.tolerances.items()} if tolerance is None else {f"all {tolerance:g}"}
    )
    said = [
        f"surfaces by {how.surface} ({'elements weighed by area, as google-deepmind surface-distance' if how.surface == 'areas' else 'border voxels, as MONAI'})",
        f"empty masks, rule {how.empty}: {masks.EMPTY[how.empty].replace('; ', ', ')}",
        f"HD95 where one mask is empty: {f'{how.farthest:g} mm' if how.farthest else 'the diagonal of the grid'}",
        f"NSD tolerance ({unit}): {', '.join(sorted(limits))}"
        if limits
        else f"NSD is not given: the card of {reader.opened.name} has no tolerance (--tolerance gives one)",
    ]
    if how.slices:
        said.append(
            f"scored in the reference's slices only, from the first to before the last, as the owners' script cuts: {', '.join(how.slices)}"
        )
    if how.lesions:
        said.append(_lesion_rule(how))
    if seen.resampled:
        said.append(
            f"resampled by nearest neighbour: {counted(len(seen.resampled), 'case whose masks', 'cases whose masks')} lay on another grid: {some(seen.resampled)}"
        )
    if seen.missing:
        said.append(
            f"no file was given for {counted(len(seen.missing), 'record, which counts', 'records, which count')} as masks without a voxel: {some(seen.missing)}"
        )
    if extra := folder_.unused():
        said.append(f"not scored: {counted(len(extra), 'file')} for no record or label here: {some(extra)}")
    if seen.without:
        said.append(f"left out: {counted(seen.without, 'record that has', 'records that have')} no masks")
    if left := [one for one in reader.opened.selected if one not in seen.splits]:
        said.append(f"left out: split {', '.join(left)}, for whose records there is no file")
    if seen.problems:
        said.append(
            f"left out: {counted(len(seen.problems), 'row or file', 'rows or files')} of the set that cannot be read: {' | '.join(seen.problems[:3])}"
        )
    return [one.replace("; ", ", ") for one in said]


def _lesion_rule(how: Evaluation) -> str:
    rule = how.lesions
    assert rule is not None
    if rule.rule == "overlap":
        return f"lesions: parts by {rule.connectivity} neighbours, found where one voxel of the given mask lies in it, false where a given part has no voxel of the reference"
    return f"lesions as BraTS counts them: joined by {rule.dilation} steps of dilation, those above {rule.smallest:g} mm3, mean Dice and HD95 with false parts as the worst"
