"""Records as one file: Parquet, or JSON lines (jsonlines.org: one object a record, with the columns of ``Dataset.to_arrow``)."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from healthfm.datasets.dataset import Dataset, as_row
from healthfm.errors import DatasetError

ENDS = {ord(one): f"\\u{ord(one):04x}" for one in "\x85\u2028\u2029"}  # what some programs take for the end of a line


@contextmanager
def published(path: Path) -> Iterator[Path]:
    """Give a draft beside a path, which takes its place when it is whole. Raises ``DatasetError``: it cannot be written there."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield draft
        draft.chmod(0o600)
        os.replace(draft, path)  # noqa: PTH105
    except OSError as error:
        raise DatasetError(f"{path}: cannot be written ({error.strerror or type(error).__name__})") from None
    finally:
        draft.unlink(missing_ok=True)


def parquet(dataset: Dataset, path: Path) -> Path:
    """Write one Parquet file."""
    with published(path) as draft:
        dataset.to_parquet(draft)
    return path


def jsonl(dataset: Dataset, path: Path) -> Path:
    """Write one JSON object a line: what Parquet holds, record by record."""
    with published(path) as draft, draft.open("w", encoding="utf-8", newline="\n") as out:
        for record in dataset:
            out.write(json.dumps(as_row(record), ensure_ascii=False).translate(ENDS) + "\n")
        if not out.tell():
            raise DatasetError(f"{dataset.name}: no records to convert")
    return path


def empty_folder(path: Path) -> Path:
    """Make a folder for what is written. Raises ``DatasetError``: it holds something already, or cannot be made."""
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        if any(path.iterdir()):
            raise DatasetError(f"{path}: it is not empty; name a new folder")
    except OSError as error:
        raise DatasetError(f"{path}: cannot be written ({error.strerror or type(error).__name__})") from None
    return path
