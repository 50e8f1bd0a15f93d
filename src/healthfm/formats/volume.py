"""Volumes of any format to voxels and an affine: NIfTI, MHA, MHD, NRRD, a DICOM series folder or multi-frame DICOM.

One convention for all of them, nibabel's: voxels [i, j, k(, channels)], and an affine [4, 4] from indices to millimetres
towards the patient's right, anterior and superior (RAS). A plane is a volume of one slice; axes of one beyond the third, which
some tools write, are dropped. ``to_ras`` turns the axes themselves.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt

from healthfm.errors import DatasetError, MissingExtra
from healthfm.formats import nifti
from healthfm.formats.dicom import file as dicom
from healthfm.formats.dicom import series as dicom_series
from healthfm.formats.source import Source

ITK_SUFFIXES = (".mha", ".mhd", ".nrrd")
SUFFIXES = (*nifti.SUFFIXES, *ITK_SUFFIXES)
FLAT = 1e-6  # of the volume that the three steps could span: less, and they lie in one plane
Voxels = npt.NDArray[Any]
Affine = npt.NDArray[np.float64]


def voxels(source: Source) -> Voxels:
    """Return the voxels in the file's own grid. Raises ``DatasetError``: not a volume, damaged, no even stack, complex numbers."""
    array = _read(source)
    if array.dtype.kind == "c":
        raise DatasetError(f"{source}: complex voxels; save their magnitude or their phase")
    return three_axes(array)


def three_axes(array: Voxels) -> Voxels:
    """Return voxels as [i, j, k] where that is possible: axes of one beyond the third dropped, a plane as one slice."""
    while array.ndim > 3 and array.shape[-1] == 1:
        array = array[..., 0]
    return array.reshape(*array.shape, *[1] * (3 - array.ndim)) if array.ndim < 3 else array


def _read(source: Source) -> Voxels:
    if _is_nifti(source):
        return nifti.voxels(source)
    if _is_dicom(source):
        return dicom_series.voxels(source.path)
    image = _by_itk(source, pixels=True)
    import SimpleITK as sitk  # noqa: N813  the name its manual uses

    array = sitk.GetArrayFromImage(image)
    axes = tuple(reversed(range(image.GetDimension())))
    return np.asarray(array).transpose(axes if array.ndim == len(axes) else (*axes, len(axes)))


def affine(source: Source) -> Affine:
    """Return the matrix [4, 4] from indices to millimetres (RAS), from the header or headers alone.

    Raises ``DatasetError`` for one that places no volume: numbers that are not finite, or axes of no length or in one plane.
    """
    matrix = _read_affine(source)
    if not np.isfinite(matrix).all():
        raise DatasetError(f"{source}: its affine (directions, spacing, origin) holds numbers that are not finite")
    lengths = np.linalg.norm(matrix[:3, :3], axis=0)
    if abs(np.linalg.det(matrix[:3, :3])) <= FLAT * np.prod(lengths):
        raise DatasetError(
            f"{source}: its affine (directions, spacing) is singular: it does not say where the voxels lie"
        )
    return matrix


def _read_affine(source: Source) -> Affine:
    if _is_nifti(source):
        return nifti.affine(source)
    if _is_dicom(source):
        return dicom_series.affine(source.path)
    image = _by_itk(source, pixels=False)
    size = min(3, image.GetDimension())
    direction = np.array(image.GetDirection()).reshape(image.GetDimension(), -1)[:size, :size]
    matrix = np.eye(4)
    matrix[:size, :size] = direction * np.array(image.GetSpacing()[:size])
    matrix[:size, 3] = image.GetOrigin()[:size]
    return dicom_series.TO_RAS @ matrix


def spacing(matrix: Affine) -> tuple[float, float, float]:
    """Return the distance between neighbours along each axis, in millimetres."""
    x, y, z = np.linalg.norm(matrix[:3, :3], axis=0)
    return float(x), float(y), float(z)


def to_ras(array: Voxels, matrix: Affine) -> tuple[Voxels, Affine]:
    """Return voxels and affine with the axes permuted and flipped to lie nearest to right, anterior, superior.

    No voxel is resampled; axes beyond the third stay.
    """
    try:
        from nibabel.orientations import apply_orientation, inv_ornt_aff, io_orientation
    except ImportError:
        raise MissingExtra("imaging", "nibabel") from None
    turn = io_orientation(matrix)
    return apply_orientation(array, turn), matrix @ inv_ornt_aff(turn, array.shape[:3])


def _is_nifti(source: Source) -> bool:
    return source.name.lower().endswith((".nii", ".hdr"))


def _is_dicom(source: Source) -> bool:
    return source.member is None and (source.path.is_dir() or dicom.is_dicom(source.path))


def _by_itk(source: Source, pixels: bool) -> Any:
    if not source.name.lower().endswith(ITK_SUFFIXES):
        raise DatasetError(f"{source}: not a volume healthfm reads ({', '.join(SUFFIXES)}, a DICOM series folder)")
    if source.member is not None:
        raise DatasetError(f"{source}: unpack the archive to read {Path(source.name).suffix} files")
    try:
        import SimpleITK as sitk  # noqa: N813
    except ImportError:
        raise MissingExtra("imaging", "SimpleITK") from None
    _stays_beside(source)
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    reader = sitk.ImageFileReader()
    reader.SetImageIO("NrrdImageIO" if source.name.lower().endswith(".nrrd") else "MetaImageIO")  # suffixes in any case
    reader.SetFileName(str(source.path))
    try:
        if pixels:
            return reader.Execute()
        reader.ReadImageInformation()
    except RuntimeError:
        raise DatasetError(f"{source}: not a readable volume, or cut short") from None
    return reader


def _stays_beside(source: Source) -> None:
    """Refuse a header whose data file lies elsewhere: it could name any file of this machine."""
    with source.path.open("rb") as handle:
        head = handle.read(1 << 16)
    for line in head.decode("latin-1").splitlines():
        name, _, value = line.replace("=", ":", 1).partition(":")
        if name.strip().lower() in ("elementdatafile", "data file", "datafile"):
            beside = PurePosixPath(value.strip().replace("\\", "/"))
            if beside.is_absolute() or ".." in beside.parts:
                raise DatasetError(f"{source}: its data file lies outside its own folder; refused")
