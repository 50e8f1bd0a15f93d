"""One's own data: a folder with a ``dataset.toml``, a manifest, a folder of class folders or files, a glob, an npz.

Own data never leaves the machine: its card says so (access "own"), and reports on it show ids only.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from healthfm.datasets import contents, folders, media
from healthfm.datasets.dataset import Dataset
from healthfm.datasets.folders import SPLIT_WORDS, SPLITS, OnError
from healthfm.datasets.own_card import Manifest, own_card, told
from healthfm.errors import BadValue, DatasetError
from healthfm.formats import table
from healthfm.formats.source import Problems, Row, Source
from healthfm.records import QA, Document, MultipleChoice, Record

FIELDS = (
    "id", "split", "patient", "site", "labels", "question", "context", "options", "answer", "answers", "text",
    "image", "volume", "slide", "video", "mpp",
)  # fmt: skip


def open_own(path: Path, columns: Mapping[str, Any] | None, on_error: OnError) -> Dataset:
    """Open a ``dataset.toml`` folder, a manifest or npz file, one file of pixels, a folder of them, or a glob."""
    path = path.expanduser()
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
        return _open_manifest(folder, _load_toml(folder / "dataset.toml"), on_error, folder.name)
    if not folder.is_dir():
        raise DatasetError(f"no file or folder {path}")
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
    columns = dict(manifest.columns)
    unknown = sorted(set(columns) - set(FIELDS))
    if unknown:
        raise DatasetError(f"{folder}: columns: no field is called {', '.join(unknown)} (fields: {', '.join(FIELDS)})")
    if not isinstance(columns.get("labels", {}), Mapping):
        raise DatasetError(f"{folder}: columns: labels maps label names to columns, e.g. labels.diagnosis=dx")
    record = manifest.record or _guess_record(Source(folder / next(iter(files.values()))), columns)
    splits = tuple(files) if "*" not in files else _splits_in(Source(folder / files["*"]), columns)

    def read(split: str, problems: Problems) -> Iterator[Record]:
        source = Source(folder / files.get(split, files.get("*", "")), problems=problems)
        for row in table.rows(source):
            with row:
                if "*" in files and len(splits) > 1 and _split_of(row, columns) != split:
                    continue
                yield _record(record, row, columns, split, folder)

    try:
        card = own_card(name, record, splits, manifest)
    except ValidationError as error:
        raise DatasetError(f"{folder}: {told(error)}") from None
    return Dataset(card, read, splits, root=folder, protocol=None, on_error=on_error)


def _split_of(row: Row, columns: Mapping[str, Any]) -> str:
    named = columns.get("split", "split")
    word = str((row[named] if "split" in columns else row.get(named)) or "test").lower()
    return SPLIT_WORDS.get(word, word)


def _splits_in(source: Source, columns: Mapping[str, Any]) -> tuple[str, ...]:
    found = {_split_of(row, columns) for row in table.rows(Source(source.path, problems=Problems("collect")))}
    return tuple(sorted(found, key=lambda s: (SPLITS.index(s) if s in SPLITS else len(SPLITS), s))) or ("test",)


def _guess_record(source: Source, columns: Mapping[str, Any]) -> str:
    row = next(iter(table.rows(source)), None)
    if row is None:
        raise DatasetError(f"{source}: no rows")
    mapped = set(columns) | set(row)
    if "question" in mapped:
        return "MultipleChoice" if "options" in mapped or {"A", "B"} <= set(row) else "QA"
    if "text" in mapped:
        return "Document"
    for kind in media.VISUAL:
        if kind.lower() in mapped:
            return kind
    raise DatasetError(
        f"{source}: which columns hold the record? It has {', '.join(row)}; name them question (with options or A, B, ...), "
        "text, image, volume, slide or video, or map them: columns question=stem,answer=key"
    )


def _record(kind: str, row: Row, columns: Mapping[str, Any], split: str, folder: Path) -> Record:
    used: set[str] = set()

    def take(field: str, required: bool = False) -> Any:
        name = columns.get(field, field)
        used.add(name)
        value = row[name] if required or field in columns else row.get(name)
        return None if value == "" else value

    common: dict[str, Any] = {
        "id": str(take("id") or row.number), "split": split,
        "patient": _text(take("patient")), "site": _text(take("site")),
    }  # fmt: skip
    labels = columns.get("labels", {"label": "label"} if "label" in row else {})
    common["labels"] = {name: row[column] for name, column in labels.items()}
    used |= set(labels.values()) | {columns.get("split", "split")}
    if kind == "MultipleChoice":
        body: dict[str, Any] = {
            "question": take("question", True), "context": take("context") or "",
            "options": _options(row, columns, used), "answer": _answer(take("answer")),
        }  # fmt: skip
    elif kind == "QA":
        answers = take("answers") if "answers" in (*columns, *row) else take("answer")
        body = {"question": take("question", True), "context": take("context") or "", "answers": _strings(answers)}
    elif kind == "Document":
        body = {"text": take("text", True)}
    else:
        mpp = take("mpp") if kind == "Slide" else None
        source = Source(folder / str(take(kind.lower(), True)), problems=row.source.problems)
        if kind == "Volume" and source.path.is_dir():
            source.problems.passed.extend(contents.beside_slices(source.path))
        body = media.fields_of(kind, source, None if mpp is None else float(mpp))
    meta = {key: value for key, value in row.items() if key not in used}
    record = {"MultipleChoice": MultipleChoice, "QA": QA, "Document": Document, **media.VISUAL}[kind]
    return record(**common, **body, meta=meta)


def _options(row: Row, columns: Mapping[str, Any], used: set[str]) -> dict[str, str]:
    named = columns.get("options", "options")
    if isinstance(named, Mapping):
        used |= set(named.values())
        return {key: str(row[column]) for key, column in named.items() if row[column] not in (None, "")}
    if named in row or "options" in columns:
        used.add(named)
        value = row[named]
        value = json.loads(value) if isinstance(value, str) else value
        if isinstance(value, list):
            return {chr(65 + i): str(one) for i, one in enumerate(value)}
        if not isinstance(value, Mapping):
            raise BadValue("options are neither a mapping nor a list")
        return {str(key): str(one) for key, one in value.items() if one is not None}
    letters = [c for c in "ABCDEFGHIJ" if row.get(c) not in (None, "")]
    used |= set(letters)
    return {letter: str(row[letter]) for letter in letters}


def _answer(value: Any) -> str | tuple[str, ...] | None:
    if value is None or isinstance(value, str):
        return value
    return tuple(str(one) for one in value) if isinstance(value, list) else str(value)


def _strings(value: Any) -> tuple[str, ...]:
    return () if value is None else tuple(map(str, value)) if isinstance(value, list) else (str(value),)


def _text(value: Any) -> str | None:
    return None if value is None else str(value)
