"""Reading NIfTI volumes against nibabel, and indexing DICOM headers against pydicom, in one alternating run on one thread.

``.nii.gz``: our reader and nibabel's ``np.asanyarray(img.dataobj)`` (its best: no conversion to float64; ``get_fdata`` is timed
too) on a made-up CT (smooth anatomy with noise, int16), a map of labels and a small 4D series; arrays and affines must be equal.
The limit of a gzip stream is the inflating itself: libdeflate's rate on the same bytes is measured beside it.

DICOM: ``dicom_index.read`` and a loop of ``pydicom.dcmread(stop_before_pixels=True)`` that takes the same keywords, on files
made from one that pydicom ships; every row must be equal. Ratios are of processor time.

    python benchmarks/formats.py
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import imagecodecs
import nibabel as nib
import numpy as np
import pydicom
from memory import peak_mib
from pydicom.data import get_testdata_file
from scipy.ndimage import gaussian_filter

from healthfm.formats import nifti
from healthfm.formats.dicom import index as dicom_index
from healthfm.formats.source import Source

TARGETS = {"nii.gz": 4, "dicom index": 8}
ROUNDS = 7


def ct(side: int) -> np.ndarray:
    """Return smooth tissue in air with the noise of a scanner, int16."""
    draw = np.random.default_rng(0)
    smooth = gaussian_filter(draw.normal(0, 1, (side, side, side // 4)), 12)
    body = smooth > np.quantile(smooth, 0.5)
    inside = 40 + 900 * smooth / smooth.std() / 10 + draw.normal(0, 12, smooth.shape)
    return np.where(body, inside, -1000).astype(np.int16)


def volumes(folder: Path, side: int) -> dict[str, Path]:
    """Write the volumes and return their paths."""
    scan = ct(side)
    arrays = {
        "CT": scan,
        "label map": (np.digitize(gaussian_filter(scan.astype(np.float32), 3), (-500, 0, 60, 120))).astype(np.uint8),
        "4D series": np.stack([scan[: side // 4, : side // 4] + n for n in range(8)], -1),
    }
    paths = {}
    for name, array in arrays.items():
        paths[name] = folder / f"{name.replace(' ', '-')}.nii.gz"
        nib.save(nib.Nifti1Image(array, np.diag([0.8, 0.8, 2.5, 1])), paths[name])
    return paths


def alternate(calls: dict[str, Callable[[], object]], rounds: int = ROUNDS) -> dict[str, float]:
    """Return the best processor seconds of each call, the calls taking turns."""
    best = dict.fromkeys(calls, float("inf"))
    for _ in range(rounds):
        for name, call in calls.items():
            start = time.process_time()
            call()
            best[name] = min(best[name], time.process_time() - start)
    return best


def nifti_case(path: Path) -> dict[str, object]:
    """Time one volume."""
    peer = nib.load(path)
    found = nifti.voxels(Source(path))
    assert found.dtype == peer.get_data_dtype() and np.array_equal(found, np.asanyarray(peer.dataobj))
    assert np.array_equal(nifti.affine(Source(path)), peer.affine)
    data = path.read_bytes()
    out = np.empty(int.from_bytes(data[-4:], "little"), np.uint8)
    seconds = alternate(
        {
            "healthfm": lambda: nifti.voxels(Source(path)),
            "nibabel dataobj": lambda: np.asanyarray(nib.load(path).dataobj),
            "nibabel get_fdata": lambda: nib.load(path).get_fdata(),
            "libdeflate alone": lambda: imagecodecs.gzip_decode(data, out=out),
        }
    )
    ours = seconds["healthfm"]
    return {
        "shape": list(found.shape), "dtype": str(found.dtype), "packed_mb": round(len(data) / 1e6, 2),
        "milliseconds": {name: round(1000 * s, 2) for name, s in seconds.items()},
        "ratio": round(seconds["nibabel dataobj"] / ours, 2), "ratio_get_fdata": round(seconds["nibabel get_fdata"] / ours, 2),
        "share_of_limit": round(seconds["libdeflate alone"] / ours, 2),
    }  # fmt: skip


def dicom_files(folder: Path, count: int) -> list[Path]:
    """Write slices that differ in position and identifiers."""
    data = pydicom.dcmread(get_testdata_file("CT_small.dcm"))
    paths = []
    for number in range(count):
        data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{number}"
        data.InstanceNumber, data.ImagePositionPatient = number, [-158.1, -179.0, -75.7 + number]
        paths.append(folder / f"{number}.dcm")
        data.save_as(paths[-1])
    return paths


def by_pydicom(path: Path) -> list[object]:
    """Read the same keywords with pydicom."""
    data = pydicom.dcmread(path, stop_before_pixels=True)
    return [data.file_meta.TransferSyntaxUID if k == "TransferSyntaxUID" else data.get(k) for k in dicom_index.KEYWORDS]


def dicom_case(folder: Path, count: int) -> dict[str, object]:
    """Time the index of a folder."""
    paths = dicom_files(folder, count)
    assert all(dicom_index.read(path) == dicom_index.by_pydicom(path) for path in paths)
    seconds = alternate(
        {
            "healthfm": lambda: [dicom_index.read(path) for path in paths],
            "pydicom": lambda: [by_pydicom(path) for path in paths],
        }
    )
    return {
        "files": count, "keywords": len(dicom_index.KEYWORDS),
        "microseconds_a_file": {name: round(1e6 * s / count, 1) for name, s in seconds.items()},
        "ratio": round(seconds["pydicom"] / seconds["healthfm"], 2),
    }  # fmt: skip


def main() -> None:
    """Run the cases and store the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=512, help="width of the made-up CT")
    parser.add_argument("--files", type=int, default=500)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    result: dict[str, object] = {"target": TARGETS, "rounds": ROUNDS}
    with tempfile.TemporaryDirectory() as folder:
        result["nii.gz"] = {name: nifti_case(path) for name, path in volumes(Path(folder), arguments.side).items()}
        result["dicom index"] = dicom_case(Path(folder), arguments.files)
    result["peak_memory_mib"] = peak_mib()
    (Path(__file__).parent / "results" / "formats.json").write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
