"""What a folder holds: each file is a record, or it is passed over for a reason that is said. Nothing is left out in silence."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from healthfm.datasets import media
from healthfm.errors import DatasetError
from healthfm.formats import archive, table
from healthfm.formats.dicom import file as dicom
from healthfm.formats.dicom import index as dicom_index
from healthfm.formats.source import plain_name
from healthfm.formats.walk import VOXELS, Passed, walk

TEXTS = (".txt",)
HEADERS = (".mhd", ".nhdr", ".hdr", ".hdr.gz")
PACKED = (*archive.SUFFIXES, ".gz", ".7z", ".rar", ".bz2", ".xz", ".zst")
KNOWN = {
    ".txt": "text", ".md": "text", ".html": "text", ".htm": "text", ".pdf": "document", ".doc": "document", ".docx": "document",
    ".rtf": "document", ".json": "JSON", ".xml": "XML", ".yaml": "settings", ".yml": "settings", ".toml": "settings", ".ini": "settings",
    ".cfg": "settings", ".xlsx": "spreadsheet", ".xls": "spreadsheet", ".gif": "GIF", ".svg": "drawing", ".npz": "npz archive",
    ".npy": "array", ".bvec": "diffusion gradients", ".bval": "diffusion gradients",
}  # fmt: skip


def unfit(path: Path, texts: bool = False) -> str | None:
    """Return why a file of a folder is no record, or None where it is one: of pixels, or with ``texts`` a text."""
    if texts:
        return None if path.suffix.lower() in TEXTS else "no text"
    if media.kind_of(path) is None:
        return _other(path)
    return _without_pixels(path) if path.is_file() and dicom.holds_dicom(path) else None


def _without_pixels(path: Path) -> str | None:
    """Return why a DICOM is no picture: an index, a report; None where it has pixels or cannot be told."""
    if path.name.upper() == "DICOMDIR":
        return "DICOMDIR, an index"
    try:
        return "DICOM without pixels, such as a report" if dicom_index.without_pixels(dicom_index.read(path)) else None
    except DatasetError:
        return None


def _other(path: Path) -> str:
    """Return what a file is that holds no pixels, by its name."""
    if path.is_dir():
        return "folder"
    name, suffix = path.name.lower(), Path(plain_name(path.name)).suffix.lower()
    try:
        if not path.stat().st_size:
            return "empty"
    except OSError:
        pass
    if suffix in media.BESIDE:
        return VOXELS if beside_header(path) else "voxels without a header"
    if plain_name(name).endswith(table.SUFFIXES):
        return "table: name it to read what it lists"
    if name.endswith(PACKED):
        return "archive: unpack it to read what is in it"
    return KNOWN.get(suffix, f"unknown kind ({suffix or 'no suffix'})")


def beside_header(path: Path) -> bool:
    """Whether a file holds the voxels of a header that lies beside it (MHD, NRRD, NIfTI pairs)."""
    name = plain_name(path.name)
    stem, _, suffix = name.rpartition(".")
    return f".{suffix.lower()}" in media.BESIDE and any(path.with_name(stem + one).exists() for one in HEADERS)


def beside_slices(folder: Path) -> Iterator[Passed]:
    """Yield the files of a folder of DICOM slices that are none, each with the reason."""
    for entry in walk(folder):
        reason = entry.problem or entry.reason
        if reason is None and not dicom.is_dicom(entry.path):
            reason = unfit(entry.path) or "no slice of the series"
        if reason is not None:
            yield str(entry.path), reason
