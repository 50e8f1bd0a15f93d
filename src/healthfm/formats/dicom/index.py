"""An index of DICOM headers: what sorts files into studies and series, read by a parser of the few bytes that matter.

The parser walks the elements of little-endian files up to group 0028 and keeps ``TAGS``; whatever is odd (another byte order,
deflated, no preamble, a value that is not plain ASCII or of another shape) goes to pydicom, so that the values are always
pydicom's. Encoding: DICOM PS3.5 section 7.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from healthfm.errors import DatasetError
from healthfm.formats.archive import stream_of
from healthfm.formats.dicom import file as dicom
from healthfm.formats.source import DAMAGE, Problems, Source
from healthfm.formats.walk import walk

FIRST_BYTES = 8192  # holds nearly every header; the rest is read when it does not
LAST_GROUP = 0x28
UNDEFINED = 0xFFFFFFFF
ITEM, ITEM_END, SEQUENCE_END = 0xE000FFFE, 0xE00DFFFE, 0xE0DDFFFE  # element << 16 | group, as little-endian bytes read
LONG = frozenset((b"OB", b"OW", b"OF", b"OD", b"OL", b"OV", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"))
SHORT = frozenset(
    (b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FL", b"FD", b"IS", b"LO", b"LT", b"PN", b"SH", b"SL", b"SS", b"ST", b"TM", b"UI", b"UL", b"US")
)  # fmt: skip
IMPLICIT = "1.2.840.10008.1.2"
NOT_HERE = ("1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99")  # big-endian, deflated
explicit_head = struct.Struct("<I2sH").unpack_from
implicit_head = struct.Struct("<II").unpack_from
long_length = struct.Struct("<I").unpack_from
WHOLE_SLIDE = "1.2.840.10008.5.1.4.1.1.77.1.6"  # VL Whole Slide Microscopy Image Storage
Row = dict[str, Any]


class Odd(Exception):
    """Something that pydicom shall read."""


def _text(raw: bytes) -> str:
    text = raw.rstrip(b" \0").decode("ascii")
    if "\\" in text or text[:1] == " ":
        raise Odd
    return text


def _integer(raw: bytes) -> int | None:
    text = raw.strip(b" \0")
    return int(text) if text else None


def _integers(raw: bytes) -> tuple[int, ...] | None:
    text = raw.strip(b" \0")
    return tuple(map(int, text.split(b"\\"))) if text else None


def _decimals(raw: bytes) -> tuple[float, ...] | None:
    text = raw.strip(b" \0")
    return tuple(map(float, text.split(b"\\"))) if text else None


def _decimal(raw: bytes) -> float | None:
    text = raw.strip(b" \0")
    return float(text) if text else None


def _short(raw: bytes) -> int | None:
    if len(raw) not in (0, 2):
        raise Odd
    return int.from_bytes(raw, "little") if raw else None


class Tag(NamedTuple):
    """What is kept of one element."""

    keyword: str
    vr: bytes
    convert: Callable[[bytes], Any]


def _tag(group: int, element: int, keyword: str, vr: bytes, convert: Callable[[bytes], Any]) -> tuple[int, Tag]:
    return element << 16 | group, Tag(keyword, vr, convert)


TAGS: Mapping[int, Tag] = dict(
    (
        _tag(0x0002, 0x0010, "TransferSyntaxUID", b"UI", _text),
        _tag(0x0008, 0x0016, "SOPClassUID", b"UI", _text),
        _tag(0x0008, 0x0018, "SOPInstanceUID", b"UI", _text),
        _tag(0x0008, 0x0060, "Modality", b"CS", _text),
        _tag(0x0008, 0x103E, "SeriesDescription", b"LO", _text),
        _tag(0x0010, 0x0020, "PatientID", b"LO", _text),
        _tag(0x0018, 0x0050, "SliceThickness", b"DS", _decimal),
        _tag(0x0018, 0x0086, "EchoNumbers", b"IS", _integers),
        _tag(0x0020, 0x000D, "StudyInstanceUID", b"UI", _text),
        _tag(0x0020, 0x000E, "SeriesInstanceUID", b"UI", _text),
        _tag(0x0020, 0x0013, "InstanceNumber", b"IS", _integer),
        _tag(0x0020, 0x0032, "ImagePositionPatient", b"DS", _decimals),
        _tag(0x0020, 0x0037, "ImageOrientationPatient", b"DS", _decimals),
        _tag(0x0020, 0x0100, "TemporalPositionIdentifier", b"IS", _integer),
        _tag(0x0028, 0x0002, "SamplesPerPixel", b"US", _short),
        _tag(0x0028, 0x0004, "PhotometricInterpretation", b"CS", _text),
        _tag(0x0028, 0x0008, "NumberOfFrames", b"IS", _integer),
        _tag(0x0028, 0x0010, "Rows", b"US", _short),
        _tag(0x0028, 0x0011, "Columns", b"US", _short),
        _tag(0x0028, 0x0030, "PixelSpacing", b"DS", _decimals),
        _tag(0x0028, 0x0101, "BitsStored", b"US", _short),
    )
)
KEYWORDS = tuple(tag.keyword for tag in TAGS.values())


def read(path: Path | str) -> Row:
    """Return a file's values of ``TAGS`` by keyword; absent ones are left out, empty ones are None.

    Raises ``DatasetError``: not DICOM, or damaged.
    """
    if stream_of(os.fspath(path)) is not None:
        return _packed(Path(path))
    try:
        handle = os.open(path, os.O_RDONLY)
        try:
            data = os.read(handle, FIRST_BYTES)
            try:
                return _parse(data)
            except (struct.error, IndexError):  # the header is longer than that
                return _parse(data + os.read(handle, 1 << 24))
        finally:
            os.close(handle)
    except (Odd, struct.error, IndexError, ValueError):
        return by_pydicom(Path(path))
    except OSError as error:
        raise DatasetError(f"{path}: cannot be opened: {error.strerror}") from None


def _packed(path: Path) -> Row:
    """Return the same row of a file that is packed."""
    try:
        with Source(path).open() as handle:
            data = handle.read(FIRST_BYTES)
            try:
                return _parse(data)
            except (struct.error, IndexError):
                return _parse(data + handle.read(1 << 24))
    except (Odd, struct.error, IndexError, ValueError):
        return by_pydicom(path)
    except DAMAGE as error:
        raise DatasetError(f"{path}: damaged or cut short ({type(error).__name__})") from None


def by_pydicom(path: Path) -> Row:
    """Return the same row read by pydicom."""
    source = Source(path)
    data = dicom.header(source)
    row: Row = {}
    with dicom.reading(source):
        for keyword in KEYWORDS:
            holder = data.file_meta if keyword == "TransferSyntaxUID" else data
            if keyword in holder:
                row[keyword] = _plain(holder[keyword])
    return row


def _plain(element: Any) -> Any:
    value = element.value
    if value is None or value == "":
        return "" if element.VR in ("UI", "CS", "LO") else None
    if element.VR == "DS":
        several = element.VM > 1 or element.keyword != "SliceThickness"
        return tuple(map(float, value if element.VM > 1 else [value])) if several else float(value)
    if element.keyword == "EchoNumbers":
        return tuple(map(int, value if element.VM > 1 else [value]))
    return int(value) if element.VR in ("IS", "US") else str(value)


def _parse(data: bytes) -> Row:
    """Walk the elements of a header. Raises ``Odd``; ``struct.error`` or ``IndexError`` where the bytes end too early."""
    if data[128:132] != b"DICM":
        raise Odd
    row: Row = {}
    tags, long, short, size = TAGS, LONG, SHORT, len(data)
    at = 132
    while True:
        tag, vr, length = explicit_head(data, at)
        group = tag & 0xFFFF
        if group > 2 and row.get("TransferSyntaxUID") == IMPLICIT:
            return _parse_implicit(data, at, row)
        if group > LAST_GROUP:
            break
        if vr in short:
            at += 8
        elif vr in long:
            (length,) = long_length(data, at + 8)
            at += 12
            if length == UNDEFINED:
                if vr != b"SQ":
                    raise Odd
                at = _past_sequence(data, at, True)
                continue
        else:
            raise Odd
        if tag in tags:
            keyword, expected, convert = tags[tag]
            if at + length > size:
                raise IndexError
            if vr != expected:
                raise Odd
            row[keyword] = convert(data[at : at + length])
            if group == 2 and row[keyword] in NOT_HERE:
                raise Odd
        at += length
    if "TransferSyntaxUID" not in row:
        raise Odd
    return row


def _parse_implicit(data: bytes, at: int, row: Row) -> Row:
    while True:
        tag, length = implicit_head(data, at)
        if tag & 0xFFFF > LAST_GROUP:
            return row
        at += 8
        if length == UNDEFINED:
            at = _past_sequence(data, at, False)
            continue
        if tag in TAGS:
            if at + length > len(data):
                raise IndexError
            row[TAGS[tag].keyword] = TAGS[tag].convert(data[at : at + length])
        at += length


def _past_sequence(data: bytes, at: int, explicit: bool) -> int:
    """Return where a sequence of undefined length ends: past its delimiter, items of undefined length walked through."""
    while True:
        tag, length = implicit_head(data, at)
        at += 8
        if tag == SEQUENCE_END:
            return at
        if tag != ITEM:
            raise Odd
        at = _past_item(data, at, explicit) if length == UNDEFINED else at + length


def _past_item(data: bytes, at: int, explicit: bool) -> int:
    while True:
        tag, length = implicit_head(data, at)
        at += 8
        if tag == ITEM_END:
            return at
        if explicit:
            vr = data[at - 4 : at - 2]
            if vr in SHORT:
                length >>= 16
            elif vr in LONG:
                (length,) = long_length(data, at)
                at += 4
                if length == UNDEFINED and vr != b"SQ":
                    raise Odd
            else:
                raise Odd
        at = _past_sequence(data, at, explicit) if length == UNDEFINED else at + length


def without_pixels(row: Row) -> bool:
    """Whether a file is of a class that has no pixels (a report, a plan, an index). An image whose header lacks its size is not."""
    from pydicom.uid import UID_dictionary

    name = UID_dictionary.get(row.get("SOPClassUID") or "", ("Image Storage",))[0]
    return not row.get("Rows") and "Image Storage" not in name


def _files_first(path: Path) -> list[tuple[bool, str]]:
    """Sort a folder's files before what lies in folders below it."""
    return [*((True, part) for part in path.parts[:-1]), (False, path.name)]


def index(
    folder: Path, problems: Problems | None = None, others: list[Path] | None = None
) -> Iterator[tuple[Path, Row]]:  # fmt: skip
    """Yield (file, row) of every DICOM file below a folder, in sorted order; other files are passed over, or listed in ``others``.

    A file that is DICOM, by its content or its name, but that cannot be read goes to ``problems``.
    """
    problems = problems or Problems()
    for path, reason, problem in sorted(walk(folder), key=lambda one: _files_first(one.path)):
        if problem is not None:
            problems.add(DatasetError(f"{path}: {problem}"))
        if reason is not None or problem is not None or path.name == "DICOMDIR":
            continue
        if not dicom.is_dicom(path):
            if others is not None:
                others.append(path)
            continue
        try:
            row = read(path)
        except DatasetError as error:
            problems.add(error)
            continue
        yield path, row
