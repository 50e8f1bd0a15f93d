"""One's own data: a folder with a ``dataset.toml``, a folder of class folders, or a manifest.

Own data never leaves the machine: its card says so (access "own"), and reports on it show ids only.
"""

from __future__ import annotations

import functools
import json
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from healthfm.cards.schema import DatasetCard, Labels, Protocol
from healthfm.datasets.dataset import Dataset
from healthfm.errors import BadValue, DatasetError
from healthfm.formats import image, table
from healthfm.formats.source import Problems, Row, Source
from healthfm.records import QA, Document, Image, MultipleChoice, Record

Read = Callable[[str, Problems], Iterator[Record]]
OnError = Literal["raise", "collect"]
SPLITS = ("train", "validation", "test")
FIELDS = (
    "id", "split", "patient", "site", "labels", "question", "context", "options", "answer", "answers", "text", "image"
)  # fmt: skip
SPLIT_WORDS = {"val": "validation", "valid": "validation", "dev": "validation", "training": "train", "testing": "test"}
PROMPTED = "Question: {{ question }}\n{% for key, text in options.items() %}{{ key }}. {{ text }}\n{% endfor %}Answer:"


class Manifest(BaseModel):
    """A ``dataset.toml``: which record, which manifest file a split (or one with a split column), which columns."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str | None = None
    summary: str = "The user's own data."
    record: Literal["Document", "QA", "MultipleChoice", "Image"] | None = None
    files: Mapping[str, str] = Field(default_factory=dict)
    columns: Mapping[str, Any] = Field(default_factory=dict)
    labels: tuple[Labels, ...] = ()
    protocols: Mapping[str, Protocol] = Field(default_factory=dict)
    default_protocol: str | None = None


def open_own(path: Path, columns: Mapping[str, Any] | None, on_error: OnError) -> Dataset:
    """Open a ``dataset.toml`` folder, a manifest file, or a folder of class folders."""
    path = path.expanduser()
    if path.is_file() and path.name != "dataset.toml":
        return _open_manifest(path.parent, Manifest(files={"*": path.name}, columns=columns or {}), on_error, path.stem)
    folder = path.parent if path.name == "dataset.toml" else path
    if (folder / "dataset.toml").is_file():
        return _open_manifest(folder, _load_toml(folder / "dataset.toml"), on_error, folder.name)
    if not folder.is_dir():
        raise DatasetError(f"no file or folder {path}")
    return _open_class_folders(folder, on_error)


def _load_toml(path: Path) -> Manifest:
    try:
        return Manifest(**tomllib.loads(path.read_text(encoding="utf-8")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path}: not valid TOML: {error}") from None
    except ValidationError as error:
        raise DatasetError(f"{path}: {_told(error)}") from None


def _told(error: ValidationError) -> str:
    return "; ".join(
        f"{'.'.join(map(str, e['loc'])) or 'dataset.toml'}: {e['msg'].removeprefix('Value error, ')}"
        for e in error.errors(include_url=False, include_input=False)
    )


def own_card(name: str, record: str, splits: tuple[str, ...], manifest: Manifest) -> DatasetCard:
    """Return the card of a user's own data: nothing may be shared or sent out."""
    protocols, default = manifest.protocols, manifest.default_protocol
    if record == "MultipleChoice" and not protocols:
        letters = Protocol(
            summary="The options are listed in the prompt; the letter is scored.", task="multiple-choice",
            options="letters", template=PROMPTED, follows="healthfm's default for own questions",
        )  # fmt: skip
        protocols, default = {"letters": letters}, "letters"
    return DatasetCard(
        slug=re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "own", name=manifest.name or name, summary=manifest.summary,
        group="own", modalities=("image",) if record == "Image" else ("text",), record=record, owner="the user", access="own",
        shareable_inputs=False, shareable_outputs=False, remote_ok=False, splits={s: s for s in splits},
        labels=manifest.labels, protocols=protocols, default_protocol=default,
    )  # fmt: skip


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
        raise DatasetError(f"{folder}: {_told(error)}") from None
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
    if "image" in mapped:
        return "Image"
    raise DatasetError(
        f"{source}: which columns hold the record? It has {', '.join(row)}; name them question (with options or A, B, ...), "
        "text or image, or map them: columns question=stem,answer=key"
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
        body = {"load": functools.partial(image.pixels, Source(folder / str(take("image", True))))}
    meta = {key: value for key, value in row.items() if key not in used}
    record = {"MultipleChoice": MultipleChoice, "QA": QA, "Document": Document, "Image": Image}[kind]
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


# Class folders --------------------------------------------------------------------------------------------------------


def _open_class_folders(folder: Path, on_error: OnError) -> Dataset:
    tops = sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))
    by_split = {SPLIT_WORDS.get(p.name.lower(), p.name.lower()): p for p in tops}
    places = by_split if tops and set(by_split) <= set(SPLITS) else {"test": folder}
    if places is by_split and len(by_split) < len(tops):
        raise DatasetError(f"{folder}: two folders mean the same split: {', '.join(p.name for p in tops)}")
    classes = sorted(
        {c.name for place in places.values() for c in place.iterdir() if c.is_dir() and not c.name.startswith(".")}
    )
    suffixes = {
        f.suffix.lower() for place in places.values() for c in place.iterdir() if c.is_dir() for f in c.iterdir()
    }
    if len(classes) < 2:
        raise DatasetError(
            f"{folder}: neither a dataset.toml nor class folders (CLASS/file or train/CLASS/file, two classes or more); "
            f"found folders: {', '.join(p.name for p in tops[:6]) or 'none'}"
        )
    record = "Image" if suffixes & set(image.SUFFIXES) else "Document" if ".txt" in suffixes else None
    if record is None:
        raise DatasetError(
            f"{folder}: class folders hold {', '.join(sorted(suffixes)[:6])}; healthfm reads {', '.join(image.SUFFIXES)} and .txt there"
        )

    def read(split: str, problems: Problems) -> Iterator[Record]:
        for file in sorted(places[split].glob("*/*")):
            if file.name.startswith("."):
                continue
            source = Source(file, problems=problems)
            name = file.relative_to(folder).as_posix()
            with Row({}, source, name):
                if file.is_dir():
                    raise BadValue("a folder inside a class folder; files are read from CLASS/file only")
                if file.suffix.lower() not in (image.SUFFIXES if record == "Image" else (".txt",)):
                    raise BadValue(f"not {'an image' if record == 'Image' else 'a text'} file healthfm reads here")
                labels = {"class": file.parent.name}
                if record == "Image":
                    yield Image(id=name, split=split, labels=labels, load=functools.partial(image.pixels, source))
                else:
                    yield Document(id=name, split=split, labels=labels, text=file.read_text(encoding="utf-8"))

    space = Labels(name="class", kind="multi-class" if len(classes) > 2 else "binary", classes=tuple(classes))
    splits = tuple(s for s in SPLITS if s in places)
    card = own_card(folder.name, record, splits, Manifest(labels=(space,)))
    return Dataset(card, read, splits, root=folder, on_error=on_error)
