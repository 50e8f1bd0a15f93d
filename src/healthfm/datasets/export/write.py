"""Records written for other programs: the one list of formats, by the word of ``--to``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from healthfm.datasets import meds
from healthfm.datasets.dataset import Dataset
from healthfm.datasets.export import croissant, files, webdataset
from healthfm.errors import DatasetError


def _meds(dataset: Dataset, path: Path) -> Path:
    """Write timelines as MEDS; what a reader of it should know becomes notices of the dataset."""
    dataset.notices += meds.write(dataset, path)
    return path


WRITERS: dict[str, Callable[[Dataset, Path], Path]] = {
    "parquet": files.parquet,
    "jsonl": files.jsonl,
    "webdataset": webdataset.webdataset,
    "croissant": croissant.croissant,
    "meds": _meds,
}


def export_dataset(dataset: Dataset, to: str, path: Path | str) -> Path:
    """Write the selected records in one of the formats of ``WRITERS``, and return the path. Raises ``DatasetError``: no such format, no records."""
    if to not in WRITERS:
        raise DatasetError(f"no format is called '{to}' (formats: {', '.join(WRITERS)})")
    return WRITERS[to](dataset, Path(path).expanduser())
