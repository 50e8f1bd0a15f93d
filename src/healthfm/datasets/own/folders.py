"""One's own files without a manifest: class folders, loose files, globs, and npz archives in MedMNIST's layout."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from healthfm.cards.schema import Labels
from healthfm.datasets import media
from healthfm.datasets.dataset import Dataset
from healthfm.datasets.own import contents
from healthfm.datasets.own.card import Manifest, own_card
from healthfm.errors import BadValue, DatasetError
from healthfm.formats import image
from healthfm.formats.npz import Arrays
from healthfm.formats.slide import files as slide_files
from healthfm.formats.source import Problems, Row, Source
from healthfm.formats.walk import Passed, by_name, told, walk
from healthfm.records import Document, Image, Label, Record, Volume
from healthfm.spelling import clash

OnError = Literal["raise", "collect"]
SPLITS = ("train", "validation", "test")
SPLIT_WORDS = {"val": "validation", "valid": "validation", "dev": "validation", "training": "train", "testing": "test"}
FORMATS = f"{', '.join(image.SUFFIXES)}, DICOM, NIfTI, MHA, NRRD, slides, video, and .txt"


def open_folder(folder: Path, on_error: OnError) -> Dataset:
    """Open a folder of class folders (CLASS/file, or SPLIT/CLASS/file), or one that holds files of pixels directly.

    Inside a class folder, a folder of DICOM files is one volume. Raises ``DatasetError``: neither, or nothing healthfm reads.
    """
    tops = _folders(folder)
    by_split = {SPLIT_WORDS.get(p.name.lower(), p.name.lower()): p for p in tops}
    places = by_split if tops and set(by_split) <= set(SPLITS) else {"test": folder}
    if places is by_split and len(by_split) < len(tops):
        raise DatasetError(f"{folder}: two folders mean the same split: {', '.join(p.name for p in tops)}")
    classes = sorted({c.name for place in places.values() for c in _folders(place)})
    files = Counter(
        {name: sum(len(_entries(p / name)) for p in places.values() if (p / name).is_dir()) for name in classes}
    )
    if (double := clash(files, "files")) is not None:
        raise DatasetError(f"{folder}: {double}; give the folders of a class one name")
    if len(classes) < 2 and _loose(folder):
        found = [f for f in _entries(folder) if f.is_file()]
        return open_files(folder, found, on_error, [*_left(folder, found)])
    if len(classes) < 2:
        why = told(list(_left(folder, ())))
        raise DatasetError(
            f"{folder}: neither a dataset.toml nor class folders (CLASS/file or train/CLASS/file, two classes or more), nor "
            f"files of pixels; found folders: {', '.join(p.name for p in tops[:6]) or 'none'}{f'; {why}' if why else ''}"
        )
    entries = {split: [f for c in _folders(place) for f in _entries(c)] for split, place in places.items()}
    record = _commonest(folder, [f for files in entries.values() for f in files])
    outside = {split: _loose(place) for split, place in places.items()}
    if places is by_split:
        outside[next(iter(places))] = [*_loose(folder), *outside[next(iter(places))]]
    known = [file for some in (*entries.values(), *outside.values()) for file in some]

    def read(split: str, problems: Problems) -> Iterator[Record]:
        for file in outside[split]:
            problems.add(DatasetError(f"{file}: lies outside the class folders"))
        for file in entries[split]:
            yield from _record(record, file, folder, split, problems, {"class": file.parent.name})

    space = Labels(name="class", kind="multi-class" if len(classes) > 2 else "binary", classes=tuple(classes))
    splits = tuple(s for s in SPLITS if s in places)
    card = own_card(folder.name, record, splits, Manifest(labels=(space,)))
    return Dataset(card, read, splits, root=folder, on_error=on_error, passed_over=[*_left(folder, known)])


def open_glob(pattern: Path, on_error: OnError) -> Dataset:
    """Open the files that a path with ``*``, ``?`` or ``[...]`` matches (``**`` for any depth), without labels."""
    parts = pattern.parts
    fixed = next(i for i, part in enumerate(parts) if set(part) & set("*?["))
    root = Path(*parts[:fixed])
    found = sorted(root.glob("/".join(parts[fixed:])))
    within = {above for f in found for above in f.parents}  # a folder whose files match too stands for none
    files = [f for f in found if f not in within and by_name(f.name) is None]
    if not files:
        raise DatasetError(f"{pattern}: matches no file")
    left = [(f.relative_to(root).as_posix(), reason) for f in found if (reason := by_name(f.name)) is not None]
    return open_files(root, files, on_error, left)


def open_files(root: Path, files: Sequence[Path], on_error: OnError, left: Sequence[Passed] = ()) -> Dataset:
    """Open files (or DICOM series folders) of one kind, without labels; the id is the path below ``root``.

    ``left``: files that were passed over before.
    """
    record = _commonest(root, files)

    def read(split: str, problems: Problems) -> Iterator[Record]:
        for file in files:
            yield from _record(record, file, root, split, problems, {})

    card = own_card(root.name, record, ("test",), Manifest())
    return Dataset(card, read, ("test",), root=root, on_error=on_error, passed_over=left)


def _folders(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.is_dir() and by_name(p.name) is None)


def _loose(folder: Path) -> list[Path]:
    return [f for f in _entries(folder) if f.is_file() and contents.unfit(f) is None]


def _entries(folder: Path) -> list[Path]:
    """Return what a folder holds, without hidden files and without what belongs to a header or slide beside it."""
    found = sorted(p for p in folder.iterdir() if by_name(p.name) is None and not contents.beside_header(p))
    names = {p.name.lower() for p in found}
    return slide_files.standing([p for p in found if not (p.is_dir() and f"{p.name}.mrxs".lower() in names)])


def _left(folder: Path, known: Sequence[Path]) -> Iterator[Passed]:
    """Yield the files below a folder that are none of the ``known`` ones nor lie in one, each with the reason."""
    there = set(known)
    for entry in walk(folder):
        if entry.path in there or not there.isdisjoint(entry.path.parents):
            continue
        reason = (
            entry.problem or entry.reason or contents.unfit(entry.path) or "in a folder below; FOLDER/**/* reads it"
        )
        yield entry.path.relative_to(folder).as_posix(), reason


def _kind(file: Path) -> str | None:
    return "Document" if file.suffix.lower() == ".txt" else media.kind_of(file)


def _commonest(folder: Path, files: Sequence[Path]) -> str:
    counts = Counter(kind for kind in map(_kind, files) if kind)
    if not counts:
        seen = ", ".join(sorted({f.suffix.lower() or "(no suffix)" for f in files})[:6]) or "no files"
        raise DatasetError(f"{folder}: class folders hold {seen}; healthfm reads {FORMATS} there")
    return counts.most_common(1)[0][0]


def _record(
    record: str, file: Path, root: Path, split: str, problems: Problems, labels: dict[str, Label]
) -> Iterator[Record]:
    source = Source(file, problems=problems)
    name = file.relative_to(root).as_posix()
    with Row({}, source, name):
        kind = _kind(file)
        reason = None if file.is_dir() or kind == record == "Document" else contents.unfit(file)
        if reason is not None:
            problems.passed.append((name, reason))
            return
        if kind != record:
            if file.is_dir() and record in ("Document", "Image", "Video"):
                raise BadValue("a folder inside a class folder; files are read from CLASS/file only")
            what = {"Document": "a text file", "Image": "an image file"}.get(record, f"a {record.lower()}")
            raise BadValue(f"not {what} healthfm reads here")
        if record == "Document":
            yield Document(id=name, split=split, labels=labels, text=file.read_text(encoding="utf-8"))
        else:
            if record == "Volume" and file.is_dir():
                problems.passed.extend(contents.beside_slices(file))
            fields = media.fields_of(record, source)
            yield media.VISUAL[record](id=name, split=split, labels=labels, **fields)


# npz in MedMNIST's layout ---------------------------------------------------------------------------------------------------

NPZ_SPLITS = {"train": "train", "val": "validation", "test": "test"}


def open_npz(path: Path, on_error: OnError) -> Dataset:
    """Open an npz with ``train_images``, ``train_labels``, ``val_images`` ... (any of the splits; labels may be absent)."""
    arrays = Arrays(Source(path))
    splits = tuple(ours for theirs, ours in NPZ_SPLITS.items() if f"{theirs}_images" in arrays)
    if not splits:
        raise DatasetError(f"{path}: no train_images, val_images or test_images in it (has: {', '.join(arrays)[:200]})")
    shape = arrays.shape(f"{next(t for t, ours in NPZ_SPLITS.items() if ours == splits[0])}_images")
    record = "Image" if len(shape) == 3 or (len(shape) == 4 and shape[3] in (1, 3, 4)) else "Volume"

    def read(split: str, problems: Problems) -> Iterator[Record]:
        yield from npz_records(Arrays(Source(path, problems=problems)), split, record)

    return Dataset(own_card(path.stem, record, splits, Manifest()), read, splits, root=path.parent, on_error=on_error)


def npz_records(
    arrays: Arrays, split: str, record: str, label: str = "label", names: Sequence[str] = (), several: bool = False
) -> Iterator[Record]:
    """Yield the records of one split, with the class that one column numbers or the set of those that several columns mark.

    ``names`` are the classes by number; without them the number stands for itself. ``several``: even one column marks a set.
    """
    theirs = next(t for t, ours in NPZ_SPLITS.items() if ours == split)
    pictures, targets = arrays[f"{theirs}_images"], arrays.get(f"{theirs}_labels")
    if targets is not None and len(targets) != len(pictures):
        raise DatasetError(f"{arrays.source}: {len(pictures)} images and {len(targets)} labels in '{theirs}'")
    for number, picture in enumerate(pictures):
        with Row({}, arrays.source, f"{theirs} {number}"):
            labels = {} if targets is None else {label: _label(np.atleast_1d(targets[number]), names, several)}
            common: dict[str, Any] = {
                "id": f"{theirs}-{number}", "split": split, "labels": labels, "load": functools.partial(_same, picture)
            }  # fmt: skip
            yield Image(**common) if record == "Image" else Volume(**common, place=_unit)


def _label(row: npt.NDArray[Any], names: Sequence[str], several: bool) -> Label:
    if names and len(row) not in (1, len(names)):
        raise BadValue(f"{len(row)} columns of labels, {len(names)} classes")

    def named(index: int) -> str:
        if index < 0 or (names and index >= len(names)):
            raise BadValue("its label is the number of no class")
        return names[index] if names else str(index)

    return frozenset(named(int(i)) for i in np.flatnonzero(row)) if several or len(row) > 1 else named(int(row[0]))


def _same(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return array


def _unit() -> npt.NDArray[np.float64]:
    """Return the affine of voxels that nobody placed: one millimetre a side."""
    return np.eye(4)
