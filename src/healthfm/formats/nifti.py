"""NIfTI-1 and NIfTI-2 in one file (``.nii``, ``.nii.gz``) or a pair (``.hdr``, ``.img``): nibabel's values and affine, in less time.

The time goes into inflating: libdeflate (through imagecodecs) does it at once into memory of the size that the header names.
What is rare (pairs of files, complex or colour voxels, several gzip members) goes to nibabel. Beyond nibabel, the header's unit
of length is heeded (the affine is in millimetres) and a sform that is all zero is none. Format: nifti1.h, nifti2.h.
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from healthfm.errors import BadValue, DatasetError, MissingExtra
from healthfm.formats import archive
from healthfm.formats.source import DAMAGE, Source

SUFFIXES = (".nii", ".nii.gz")
PAIRED = (".hdr", ".hdr.gz")
MILLIMETRES = {
    1: 1000.0,
    2: 1.0,
    3: 0.001,
}  # the lower three bits of xyzt_units: metre, millimetre, micrometre; 0 is unknown
DTYPES = {2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4", 1024: "i8", 1280: "u8"}
CIFTI = 30  # hundreds of the intent codes of surfaces and matrices
MAX_RATIO = 1100  # deflate packs at most about 1030 to 1
NO_FORM = "its sform is said to be set but is all zero, and it has no qform: it does not say where its voxels lie"
Voxels = npt.NDArray[Any]


class Odd(Exception):
    """Something that nibabel shall read."""


@dataclass(frozen=True, slots=True)
class Header:
    """What the voxels need of a header."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    offset: int
    slope: float
    intercept: float
    affine: npt.NDArray[np.float64]

    @property
    def end(self) -> int:
        """The number of bytes up to the last voxel."""
        return self.offset + math.prod(self.shape) * self.dtype.itemsize


def voxels(source: Source) -> Voxels:
    """Return the voxels [x, y, z, ...] as nibabel's ``np.asarray(img.dataobj)``: scaled ones in float64, others as stored.

    Raises ``DatasetError``: not NIfTI, damaged or cut short.
    """
    try:
        if source.member is None and source.name == source.path.name:
            with source.path.open("rb") as handle:
                head = parse(handle.read(544))
            if source.path.stat().st_size < head.end:
                raise DatasetError(
                    f"{source}: cut short: {source.path.stat().st_size} bytes, its header needs {head.end}"
                )
            raw: Voxels = np.memmap(source.path, head.dtype, "c", head.offset, head.shape, "F")
            return _scaled(raw, head)
        data = _packed(source)
        head = parse(_first(data))
        plain = _inflate(source, data, head) if data[:2] == b"\x1f\x8b" else np.frombuffer(data, np.uint8)
        if len(plain) < head.end:
            raise DatasetError(f"{source}: cut short: {len(plain)} bytes, its header needs {head.end}")
        return _scaled(plain[head.offset : head.end].view(head.dtype).reshape(head.shape, order="F"), head)
    except Odd:
        image = _by_nibabel(source)
        try:
            return _channels(np.asanyarray(image.dataobj))
        except Exception as error:  # nibabel raises many kinds
            raise _unreadable(source, error) from None
    except BadValue as error:
        raise DatasetError(f"{source}: {error}") from None
    except (struct.error, *DAMAGE) as error:
        raise _unreadable(source, error) from None


def affine(source: Source) -> npt.NDArray[np.float64]:
    """Return the matrix [4, 4] from voxel indices to millimetres (RAS), reading the header alone."""
    return _facts(source)[1]


def shape(source: Source) -> tuple[int, ...]:
    """Return the shape of the voxels, reading the header alone."""
    return _facts(source)[0]


def is_header(path: Path) -> bool:
    """Whether a file begins with the header of a NIfTI pair, or of Analyze 7.5, from which that comes."""
    try:
        with Source(path).open() as handle:
            start = handle.read(4)
    except (DatasetError, *DAMAGE):
        return False
    return start in {size.to_bytes(4, order) for size in (348, 540) for order in ("little", "big")}


def _facts(source: Source) -> tuple[tuple[int, ...], npt.NDArray[np.float64]]:
    try:
        with source.open() as handle:
            head = parse(handle.read(544))
        return head.shape, head.affine
    except Odd:
        return _facts_of(source, _by_nibabel(source))
    except BadValue as error:
        raise DatasetError(f"{source}: {error}") from None
    except (struct.error, *DAMAGE) as error:
        raise _unreadable(source, error) from None


def _facts_of(source: Source, image: Any) -> tuple[tuple[int, ...], npt.NDArray[np.float64]]:
    """Return shape and affine of what nibabel has opened, by the rules of ``_affine``."""
    head = image.header
    shape = tuple(int(n) for n in image.shape)
    matrix = np.asarray(image.affine, np.float64)
    if int(head["sform_code"]) > 0 and not np.any(matrix[:3]):
        if int(head["qform_code"]) <= 0:
            raise DatasetError(f"{source}: {NO_FORM}")
        matrix = np.asarray(head.get_qform(), np.float64)
    return shape, _in_millimetres(_thick(matrix, shape), int(head["xyzt_units"]))


def _channels(array: Voxels) -> Voxels:
    """Return colours, which nibabel gives as records of R, G, B (and A), as a last axis."""
    if array.dtype.names is None:
        return array
    return np.stack([array[name] for name in array.dtype.names], axis=-1)


def _unreadable(source: Source, error: Exception) -> DatasetError:
    return DatasetError(f"{source}: not a readable NIfTI file, or cut short ({type(error).__name__})")


def _packed(source: Source) -> bytes:
    """Return a packed file's bytes, gzip's as they are: ``_inflate`` is quicker than reading the stream."""
    if archive.stream_of(source.member or source.path.name) not in (None, ".gz"):
        with source.open() as handle:
            return handle.read()
    if source.member is None:
        return source.path.read_bytes()
    with archive.open_member(source.path, source.member) as handle:
        return handle.read()


def _first(data: bytes) -> bytes:
    if data[:2] != b"\x1f\x8b":
        return data[:544]
    head = zlib.decompressobj(31).decompress(data[:8192], 544)
    return head if len(head) == 544 else gzip.decompress(data)[:544]  # a first member that ends inside the header


def _inflate(source: Source, data: bytes, head: Header) -> npt.NDArray[np.uint8]:
    """Inflate a gzip stream whose last bytes confirm the size that the header names; else the slow, sure way."""
    if head.end > MAX_RATIO * len(data):
        raise DatasetError(f"{source}: cut short: {len(data)} packed bytes cannot hold the {head.end} of its header")
    if int.from_bytes(data[-4:], "little") == head.end % 2**32:
        try:
            import imagecodecs
        except ImportError:
            raise MissingExtra("imaging", "imagecodecs") from None
        out = np.empty(head.end, np.uint8)
        try:
            imagecodecs.gzip_decode(data, out=out.data)
            return out
        except RuntimeError:  # several members, or damage: gzip says which
            pass
    return np.frombuffer(gzip.decompress(data), np.uint8)


def _scaled(raw: Voxels, head: Header) -> Voxels:
    if (head.slope, head.intercept) == (1.0, 0.0):
        return raw
    return raw * np.float64(head.slope) + np.float64(head.intercept)


def _by_nibabel(source: Source) -> Any:
    try:
        import nibabel
    except ImportError:
        raise MissingExtra("imaging", "nibabel") from None
    if source.member is not None:
        raise DatasetError(f"{source}: unpack the archive to read this kind of NIfTI file")
    try:
        image = nibabel.load(source.path)
        if isinstance(image, nibabel.Nifti1Pair):
            return image
        if isinstance(image, nibabel.AnalyzeImage):
            raise DatasetError(
                f"{source}: Analyze 7.5, which does not say which side is left; convert it to NIfTI with a tool that you tell"
            )
        raise DatasetError(f"{source}: a NIfTI file of surfaces or matrices, not of a volume")
    except DatasetError:
        raise
    except Exception as error:  # nibabel raises many kinds
        raise DatasetError(f"{source}: not a readable NIfTI file ({type(error).__name__})") from None


# The header ---------------------------------------------------------------------------------------------------------------


def parse(data: bytes) -> Header:
    """Read a NIfTI-1 or -2 header. Raises ``Odd`` for what only nibabel reads, ``struct.error`` when it is cut short."""
    order = next((o for o in "<>" if struct.unpack_from(o + "i", data)[0] in (348, 540)), None)
    if order is None:
        raise Odd
    second = struct.unpack_from(order + "i", data)[0] == 540
    if second:
        magic, code = data[4:8], struct.unpack_from(order + "h", data, 12)[0]
        dims = struct.unpack_from(order + "8q", data, 16)
        pixdim, (offset,) = struct.unpack_from(order + "8d", data, 104), struct.unpack_from(order + "q", data, 168)
        slope, intercept = struct.unpack_from(order + "2d", data, 176)
        codes, quaternion = struct.unpack_from(order + "2i", data, 344), struct.unpack_from(order + "6d", data, 352)
        rows, (units,) = struct.unpack_from(order + "12d", data, 400), struct.unpack_from(order + "i", data, 500)
    else:
        magic, code = data[344:348], struct.unpack_from(order + "h", data, 70)[0]
        dims = struct.unpack_from(order + "8h", data, 40)
        pixdim, (offset,) = struct.unpack_from(order + "8f", data, 76), struct.unpack_from(order + "f", data, 108)
        slope, intercept = struct.unpack_from(order + "2f", data, 112)
        codes, quaternion = struct.unpack_from(order + "2h", data, 252), struct.unpack_from(order + "6f", data, 256)
        rows, units = struct.unpack_from(order + "12f", data, 280), data[123]
    sizes = dims[1 : 1 + dims[0]] if 1 <= dims[0] <= 7 else ()
    intent = struct.unpack_from(order + "i", data, 504)[0] if second else 0
    if (
        magic not in (b"n+1\0", b"n+2\0")
        or intent // 100 == CIFTI
        or code not in DTYPES
        or not sizes
        or min(sizes) < 1
        or not offset >= 348
    ):
        raise Odd
    scaled = math.isfinite(slope) and slope != 0
    if scaled and not math.isfinite(intercept):
        raise Odd
    matrix = _affine(codes, rows, quaternion, pixdim, sizes)
    return Header(
        tuple(int(n) for n in sizes), np.dtype(DTYPES[code]).newbyteorder(order), int(offset),  # type: ignore[arg-type]
        slope if scaled else 1.0, intercept if scaled else 0.0, _in_millimetres(_thick(matrix, sizes), units),
    )  # fmt: skip


def _affine(
    codes: tuple[int, ...], rows: tuple[float, ...], quaternion: tuple[float, ...], pixdim: tuple[float, ...], sizes: tuple[int, ...]
) -> npt.NDArray[np.float64]:  # fmt: skip
    """Return nibabel's affine: the sform if it is set, else the qform, else the voxel sizes about the centre, x flipped.

    A sform whose rows are all zero is none: the qform counts. Raises ``BadValue`` where there is no qform either.
    """
    matrix = np.eye(4)
    zero = codes[1] > 0 and not any(rows)
    if zero and codes[0] <= 0:
        raise BadValue(NO_FORM)
    if codes[1] > 0 and not zero:
        matrix[:3] = np.array(rows).reshape(3, 4)
        return matrix
    if codes[0] > 0:
        b, c, d = quaternion[:3]
        rest = 1 - (b * b + c * c + d * d)
        if rest < -1e-6 or pixdim[0] not in (-1, 1) or min(pixdim[1:4]) < 0:
            raise Odd
        a = math.sqrt(max(rest, 0.0))
        turn = np.array([
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
        ])  # fmt: skip
        matrix[:3, :3] = turn * np.array([pixdim[1], pixdim[2], pixdim[3] * pixdim[0]])
        matrix[:3, 3] = quaternion[3:6]
        return matrix
    if not min(pixdim[1:4]) >= 0:
        raise Odd
    steps = np.array([*pixdim[1 : 1 + min(3, len(sizes))], 1.0, 1.0][:3])
    steps[0] *= -1
    matrix[:3, :3] = np.diag(steps)
    matrix[:3, 3] = -steps * (np.array([*sizes, 1, 1][:3]) - 1) / 2
    return matrix


def _thick(matrix: npt.NDArray[np.float64], sizes: Sequence[int]) -> npt.NDArray[np.float64]:
    """Return the affine with an axis of one voxel that has no step, as 2D files have, one unit along the others' normal."""
    steps = np.array(matrix)
    lacking = [i for i in range(3) if (i >= len(sizes) or sizes[i] == 1) and not np.any(steps[:3, i])]
    for i in lacking:
        normal = np.cross(steps[:3, (i + 1) % 3], steps[:3, (i + 2) % 3])
        length = np.linalg.norm(normal)
        if length > 0 and np.isfinite(length):
            steps[:3, i] = normal / length
    return steps


def _in_millimetres(matrix: npt.NDArray[np.float64], units: int) -> npt.NDArray[np.float64]:
    """Return the affine in millimetres: of a header in metres or micrometres, its first three rows scaled."""
    scaled = np.array(matrix)
    scaled[:3] *= MILLIMETRES.get(units & 7, 1.0)
    return scaled
