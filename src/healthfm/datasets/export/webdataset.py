"""Records as WebDataset shards: tar files in which the members of a record share a key and differ in their extension.

Specification: github.com/webdataset/webdataset, "The WebDataset Format". The same records give the same bytes.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from healthfm.datasets.dataset import Dataset, as_row
from healthfm.datasets.export.files import empty_folder, published
from healthfm.errors import DatasetError, MissingExtra
from healthfm.records import Image, Record, Visual

SHARD = 1000  # records of a shard


def webdataset(dataset: Dataset, path: Path) -> Path:
    """Write a folder of shards ``SPLIT-000000.tar`` of ``SHARD`` records: ``KEY.json`` (columns of ``to_arrow``), and ``KEY.png`` of an image.

    What an image carries goes along: ``KEY.mask.NAME.png`` for each mask, ``KEY.media.N.png`` for the images of a text record.
    Raises ``DatasetError``: no records, pixels that PNG does not hold, or a record of a kind without a form here.
    """
    empty_folder(path)
    written = 0
    for split in dataset.selected:
        records = enumerate(dataset[split])
        for shard, first in enumerate(records):
            with (
                published(path / f"{split}-{shard:06d}.tar") as draft,
                tarfile.open(draft, "w", format=tarfile.USTAR_FORMAT) as tar,
            ):
                for number, record in _up_to(first, records, SHARD):
                    written += 1
                    for end, data in _members(record):
                        entry = tarfile.TarInfo(
                            f"{split}-{number:09d}.{end}"
                        )  # no time, no owner: the same records are the same bytes
                        entry.size, entry.mode = len(data), 0o644
                        tar.addfile(entry, io.BytesIO(data))
    if not written:
        raise DatasetError(f"{dataset.name}: no records to convert")
    return path


def _up_to(first: tuple[int, Record], others: Iterator[tuple[int, Record]], count: int) -> Iterator[tuple[int, Record]]:
    yield first
    for _, one in zip(range(count - 1), others, strict=False):
        yield one


def _members(record: Record) -> Iterator[tuple[str, bytes]]:
    yield "json", json.dumps(as_row(record), ensure_ascii=False, sort_keys=True).encode()
    if isinstance(record, Visual):
        yield from _pictures(record, "")
    for number, one in enumerate(getattr(record, "media", ())):
        yield from _pictures(one, f"media.{number}.")


def _pictures(record: Visual, before: str) -> Iterator[tuple[str, bytes]]:
    if not isinstance(record, Image):
        raise DatasetError(f"record {record.id}: a {record.noun} has no form in WebDataset here; images and texts have")
    yield f"{before}png", _png(record.pixels, record.id)
    for name, mask in record.masks.items():
        if not name.replace("_", "").replace("-", "").isalnum():
            raise DatasetError(f"record {record.id}: the name of a mask cannot be one of a file")
        found = mask()
        yield f"{before}mask.{name}.png", _png(found.astype(np.uint8) if found.dtype == bool else found, record.id)


def _png(pixels: npt.NDArray[Any], name: str) -> bytes:
    try:
        import imagecodecs
    except ImportError:
        raise MissingExtra("imaging", "imagecodecs") from None
    shape = pixels.shape[2:] if pixels.ndim == 3 else ()
    if (
        pixels.dtype not in (np.uint8, np.uint16)
        or pixels.ndim not in (2, 3)
        or shape not in ((), (1,), (2,), (3,), (4,))
    ):
        raise DatasetError(
            f"record {name}: pixels of {pixels.dtype} {list(pixels.shape)} do not go into a PNG file as they are"
        )
    return bytes(imagecodecs.png_encode(np.ascontiguousarray(pixels)))
