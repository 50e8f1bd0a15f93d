"""One's own data: a folder with a ``dataset.toml``, a manifest, a folder of class folders or files, a glob, an npz.

Own data never leaves the machine: its card says so (access "own"), and reports on it show ids only.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from healthfm.cards.schema import Labels
from healthfm.datasets import media
from healthfm.datasets.dataset import Dataset
from healthfm.datasets.own import closed, contents, folders, omop
from healthfm.datasets.own import options as own_options
from healthfm.datasets.own import values as own_values
from healthfm.datasets.own.card import ANSWER, Manifest, own_card, stated_card, told
from healthfm.datasets.own.folders import OnError
from healthfm.datasets.own.layout import Layout, lay_out
from healthfm.datasets.own.options import Asked
from healthfm.datasets.own.rows import split_of
from healthfm.errors import BadValue, DatasetError
from healthfm.formats import table
from healthfm.formats.source import Problems, Row, Source
from healthfm.records import QA, Document, MultipleChoice, Record


def open_own(path: Path, columns: Mapping[str, Any] | None, on_error: OnError) -> Dataset:
    """Open a ``dataset.toml`` folder, OMOP tables, a manifest or npz file, one file of pixels, a folder of them, or a glob."""
    path = path.expanduser()
    tabled = (path / "dataset.toml").is_file() or (path.is_file() and path.suffix != ".npz" and not media.kind_of(path))
    if columns and not tabled and path.exists():
        raise DatasetError(f"{path}: columns are those of a table, and this is none")
    if set(str(path)) & set("*?[") and not path.exists():
        return folders.open_glob(path, on_error)
    if path.is_file() and path.suffix == ".npz":
        return folders.open_npz(path, on_error)
    if path.is_file() and media.kind_of(path):
        if (reason := contents.unfit(path)) is not None:
            raise DatasetError(f"{path}: {reason}: no record can be made of it")
        return folders.open_files(path.parent, [path], on_error)
    if path.is_file() and path.name != "dataset.toml":
        return _open_manifest(path.parent, Manifest(files={"*": path.name}, columns=columns or {}), on_error, path.stem)
    folder = path.parent if path.name == "dataset.toml" else path
    if (folder / "dataset.toml").is_file():
        manifest = _load_toml(folder / "dataset.toml")
        manifest = manifest.model_copy(update={"columns": {**manifest.columns, **(columns or {})}})
        return _open_manifest(folder, manifest, on_error, folder.name)
    if not folder.is_dir():
        raise DatasetError(f"no file or folder {path}")
    if omop.is_omop(folder):
        return omop.open_omop(folder, on_error)
    return folders.open_folder(folder, on_error)


def _load_toml(path: Path) -> Manifest:
    try:
        return Manifest(**tomllib.loads(path.read_text(encoding="utf-8")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path}: not valid TOML: {error}") from None
    except ValidationError as error:
        raise DatasetError(f"{path}: {told(error)}") from None


# Manifests ------------------------------------------------------------------------------------------------------------


def _open_manifest(folder: Path, manifest: Manifest, on_error: OnError, name: str) -> Dataset:
    files = dict(manifest.files)
    if not files:
        raise DatasetError(f'{folder / "dataset.toml"}: [files] names no manifest, e.g. test = "questions.csv"')
    for file in files.values():
        if not (folder / file).is_file():
            raise DatasetError(f"{folder}: no file '{file}'")
    layout = lay_out(manifest, {split: folder / file for split, file in files.items()})
    splits = layout.splits if "*" in files else tuple(files)

    def read(split: str, problems: Problems) -> Iterator[Record]:
        for fault in layout.faults:
            problems.add(DatasetError(f"{folder / files.get(split, files.get('*', ''))}: {fault}"))
        seen: dict[str, int | str] = {}
        for row in table.rows(Source(folder / files.get(split, files.get("*", "")), problems=problems)):
            with row:
                if "*" in files and split_of(row, layout.columns.get("split")) != split:
                    continue
                record = _record(layout, row, split, folder)
                if record.id in seen:
                    raise BadValue(f"the id '{record.id}' occurs twice, first in row {seen[record.id]}")
                seen[record.id] = row.number
                yield record

    try:
        card = own_card(name, layout.record, splits, manifest, bool(layout.closed), layout.guessed)
    except ValidationError as error:
        raise DatasetError(f"{folder}: {told(error)}") from None
    return Dataset(
        card,
        read,
        splits,
        root=folder,
        protocol=None,
        on_error=on_error,
        remarks=layout.remarks,
        doubt=layout.doubt,
        stated=stated_card(card, manifest),
    )


def _record(layout: Layout, row: Row, split: str, folder: Path) -> Record:
    def take(field: str, read: Callable[[Any], Any], required: bool = False) -> Any:
        column = layout.columns.get(field)
        value = None if column is None else _told(column, read, row.get(column))
        if required and value is None:
            raise BadValue(f"the column '{column or field}' is empty")
        return value

    kind = layout.record
    common: dict[str, Any] = {
        "id": take("id", own_values.name, required=True) if "id" in layout.columns else str(row.number), "split": split,
        "patient": take("patient", own_values.name), "site": take("site", own_values.name),
        "labels": {
            name: _told(column, lambda value, name=name: own_values.label(value, layout.spaces.get(name)), row.get(column))
            for name, column in layout.labels.items()
        },
    }  # fmt: skip
    if kind in ("MultipleChoice", "QA"):
        body: dict[str, Any] = {
            "question": take("question", own_values.text, True), "context": take("context", own_values.passage) or "",
        }  # fmt: skip
    if kind == "MultipleChoice" and layout.closed:
        offered = layout.spaces.get(ANSWER) or Labels(name=ANSWER, kind="multi-class", classes=layout.closed)
        body |= {
            "options": {one: one for one in layout.closed},
            "answer": take(
                "answer" if "answer" in layout.columns else "answers", lambda value: _chosen(value, offered)
            ),
        }
    elif kind == "MultipleChoice":
        assert layout.options is not None
        options, places = _told(
            ", ".join(layout.options.columns), lambda _: own_options.read(row, layout.options), None
        )
        asked = Asked(options, places, layout.options.numbers)
        body |= {
            "options": options,
            "answer": take("answer", lambda value: own_options.answer(value, asked, layout.style)),
        }
    elif kind == "QA":
        body |= {"answers": take("answers", own_values.several) or take("answer", own_values.several) or ()}
    elif kind == "Document":
        body = {"text": take("text", own_values.text, True)}
    else:
        source = Source(folder / take(kind.lower(), own_values.name, True), problems=row.source.problems)
        body = _pixels(kind, source, take("mpp", own_values.number))
    meta = {key: value for key, value in row.items() if key not in layout.used}
    record = {"MultipleChoice": MultipleChoice, "QA": QA, "Document": Document, **media.VISUAL}[kind]
    return record(**common, **body, meta=meta)


def _chosen(value: Any, offered: Labels) -> str | tuple[str, ...] | None:
    """Return which of the answers that there are a cell means, or several; None where it holds nothing."""
    given = own_values.several(value)
    found = tuple(
        next((one for one in offered.classes if closed.same(one) == closed.same(said)), None)
        or own_values.class_of(said, offered)
        for said in given
    )
    return found[0] if len(found) == 1 else found or None


def _told(column: str, read: Callable[[Any], Any], value: Any) -> Any:
    """Return a cell as read. Raises ``BadValue`` that names its column."""
    try:
        return read(value)
    except BadValue as error:
        raise BadValue(f"column '{column}': {error}") from None


def _pixels(kind: str, source: Source, mpp: float | None) -> dict[str, Any]:
    if not source.path.exists():
        raise BadValue(f"no file '{source.path.name}'")
    if mpp is not None and mpp <= 0:
        raise BadValue("mpp is not above 0")
    if kind == "Volume" and source.path.is_dir():
        source.problems.passed.extend(contents.beside_slices(source.path))
    return media.fields_of(kind, source, mpp)
