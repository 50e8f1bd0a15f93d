"""DICOM segmentations, written by pydicom as the standard lays them out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pydicom
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.pixels.utils import pack_bits

STORAGE = "1.2.840.10008.5.1.4.1.1.66.4"


def code(meaning: str) -> list[Dataset]:
    found = Dataset()
    found.CodeValue, found.CodingSchemeDesignator, found.CodeMeaning = "1", "SCT", meaning
    return [found]


def segmentation(
    path: Path, scan: Path, masks: Sequence[tuple[str, npt.NDArray[Any]]], *, kind: str = "BINARY", named: bool = True, at: tuple[int, int] = (0, 0), **more: Any
) -> Path:  # fmt: skip
    """Write masks [slice of ascending position, row, column] of a folder of slices; empty planes are left out, as writers do.

    ``named``: the scan's series and slices stand in it; ``at``: row and column of the scan on which its first pixel lies.
    """
    slices = sorted(
        (pydicom.dcmread(one) for one in scan.glob("*.dcm")), key=lambda one: float(one.ImagePositionPatient[2])
    )
    head, found = slices[0], FileDataset(str(path), {}, preamble=b"\0" * 128, file_meta=FileMetaDataset())
    found.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1"
    found.SOPClassUID = found.file_meta.MediaStorageSOPClassUID = STORAGE
    found.SOPInstanceUID = found.file_meta.MediaStorageSOPInstanceUID = f"{head.SeriesInstanceUID}.77"
    found.SeriesInstanceUID, found.StudyInstanceUID = f"{head.SeriesInstanceUID}.78", head.StudyInstanceUID
    found.PatientID, found.Modality, found.SegmentationType = head.PatientID, "SEG", kind
    found.Rows, found.Columns = masks[0][1].shape[1:]
    found.SamplesPerPixel, found.PhotometricInterpretation, found.PixelRepresentation = 1, "MONOCHROME2", 0
    found.BitsAllocated = found.BitsStored = 1 if kind == "BINARY" else 8
    found.HighBit = found.BitsStored - 1
    if kind == "FRACTIONAL":
        found.SegmentationFractionalType, found.MaximumFractionalValue = "PROBABILITY", 255
    if named:
        found.ReferencedSeriesSequence = [Dataset()]
        found.ReferencedSeriesSequence[0].SeriesInstanceUID = head.SeriesInstanceUID
    shared = Dataset()
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = [Dataset()], [Dataset()]
    shared.PlaneOrientationSequence[0].ImageOrientationPatient = head.ImageOrientationPatient
    shared.PixelMeasuresSequence[0].PixelSpacing = head.PixelSpacing
    found.SharedFunctionalGroupsSequence, found.SegmentSequence = [shared], []
    groups, planes = list[Dataset](), list[npt.NDArray[Any]]()
    for number, (label, mask) in enumerate(masks, 1):
        segment = Dataset()
        segment.SegmentNumber, segment.SegmentLabel = number, label
        segment.SegmentedPropertyCategoryCodeSequence = code("Morphologically Abnormal Structure")
        segment.SegmentedPropertyTypeCodeSequence = code("Neoplasm")
        found.SegmentSequence.append(segment)
        for plane, slice_ in zip(mask, slices, strict=True):
            if kind != "BINARY" or plane.any():
                groups.append(group(number, slice_, at, named))
                planes.append(plane.astype(np.uint8))
    found.PerFrameFunctionalGroupsSequence, found.NumberOfFrames = groups, len(planes)
    stored = np.stack(planes)
    found.PixelData = pack_bits(stored) if kind == "BINARY" else stored.tobytes() + b"\0" * (stored.size % 2)
    for name, value in more.items():
        setattr(found, name, value)
    path.parent.mkdir(parents=True, exist_ok=True)
    pydicom.dcmwrite(path, found)
    return path


def group(number: int, slice_: Dataset, at: tuple[int, int], named: bool) -> Dataset:
    """Return what a frame says of itself."""
    found = Dataset()
    found.SegmentIdentificationSequence, found.PlanePositionSequence = [Dataset()], [Dataset()]
    found.SegmentIdentificationSequence[0].ReferencedSegmentNumber = number
    turn, size = np.array(slice_.ImageOrientationPatient, float), np.array(slice_.PixelSpacing, float)
    place = np.array(slice_.ImagePositionPatient, float) + turn[:3] * size[1] * at[1] + turn[3:] * size[0] * at[0]
    found.PlanePositionSequence[0].ImagePositionPatient = [round(float(one), 6) for one in place]
    if named:
        source = Dataset()
        source.ReferencedSOPInstanceUID = slice_.SOPInstanceUID
        found.DerivationImageSequence = [Dataset()]
        found.DerivationImageSequence[0].SourceImageSequence = [source]
    return found
