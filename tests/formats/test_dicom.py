"""DICOM: every transfer syntax against decoders we did not write, the picture against the standard's formulas."""

from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk  # noqa: N813
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.pixels import apply_color_lut, apply_modality_lut, apply_voi_lut
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian

from healthfm.errors import DatasetError
from healthfm.formats.dicom import file as dicom
from healthfm.formats.dicom import picture as dicom_picture
from healthfm.formats.source import Source
from tests.real_files import PYDICOM, elsewhere


def stored(path: Path) -> np.ndarray:
    return dicom.stored_values(Source(path))


def shown(path: Path, **arguments: object) -> np.ndarray:
    return dicom_picture.picture(Source(path), **arguments)  # type: ignore[arg-type]


def written(path: Path, array: np.ndarray, **tags: object) -> Path:
    """Write a small image with these attributes."""
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.SOPClassUID, data.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.7", "1.2.3"
    data.PatientName, data.PatientID = "Roe^Jane", "MRN-4711"
    data.Rows, data.Columns = array.shape[-2:]
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated = data.BitsStored = array.dtype.itemsize * 8
    data.HighBit, data.PixelRepresentation = data.BitsStored - 1, int(array.dtype.kind == "i")
    data.PixelData = array.tobytes()
    for name, value in tags.items():
        setattr(data, name, value)
    pydicom.dcmwrite(path, data, enforce_file_format=True)
    return path


# Stored values --------------------------------------------------------------------------------------------------------------

BY_ITK = [
    "CT_small.dcm", "MR_small_RLE.dcm", "MR_small_jp2klossless.dcm", "MR_small_jpeg_ls_lossless.dcm", "JPEG2000.dcm",
    "JPEG-lossy.dcm", "JPGExtended.dcm", "J2K_pixelrep_mismatch.dcm", "693_J2KI.dcm", "image_dfl.dcm", "MR_small_bigendian.dcm",
    "MR_small_implicit.dcm", "examples_overlay.dcm", "JPEGLSNearLossless_16.dcm",
]  # fmt: skip


@pytest.mark.parametrize("name", BY_ITK)
def test_values_are_those_of_simpleitk(name: str) -> None:
    expected = sitk.GetArrayFromImage(sitk.ReadImage(str(PYDICOM / name)))[0]
    found = dicom_picture.values(Source(PYDICOM / name))
    assert found.shape == expected.shape
    if name in (
        "JPEG-lossy.dcm",
        "JPGExtended.dcm",
        "JPEG2000.dcm",
        "693_J2KI.dcm",
    ):  # decoders of lossy streams may round apart
        assert np.abs(found.astype(int) - expected).max() <= 1
    else:
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    "name", ["693_J2KR.dcm", "JPEG-LL.dcm", "JPGLosslessP14SV1_1s_1f_8b.dcm", "JLSL_16_15_1_1F.dcm"]
)
def test_values_of_the_collection_are_those_of_simpleitk(name: str) -> None:
    path = elsewhere("pydicom_data/data_store/data") / name
    expected = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
    np.testing.assert_array_equal(dicom_picture.values(Source(path)), expected.squeeze())


@pytest.mark.parametrize(
    "name",
    [
        "SC_rgb_jpeg_dcmtk.dcm", "SC_rgb_rle_16bit_2frame.dcm", "SC_ybr_full_422_uncompressed.dcm", "examples_jpeg2k.dcm",
        "SC_rgb_small_odd_big_endian.dcm", "liver_1frame.dcm", "rtdose_rle.dcm",
    ],
)  # fmt: skip
def test_what_pydicom_reads_is_unchanged(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = pydicom.dcmread(PYDICOM / name).pixel_array
    np.testing.assert_array_equal(stored(PYDICOM / name), expected)


@pytest.mark.parametrize(
    ("name", "same_as"),
    [
        ("liver_deflate", "liver"), ("liver_rle", "liver"), ("liver_expb", "liver"), ("liver_j2k", "liver"),
        ("liver_nonbyte_aligned_rle", "liver_nonbyte_aligned"), ("liver_nonbyte_aligned_deflate", "liver_nonbyte_aligned"),
        ("liver_nonbyte_aligned_j2k", "liver_nonbyte_aligned"), ("emri_small_RLE", "emri_small"),
        ("emri_small_jpeg_2k_lossless", "emri_small"), ("emri_small_jpeg_ls_lossless", "emri_small"),
        ("emri_small_big_endian", "emri_small"), ("JLSL_RGB_ILV1", "JLSL_RGB_ILV0"), ("JLSL_RGB_ILV2", "JLSL_RGB_ILV0"),
    ],
)  # fmt: skip
def test_lossless_copies_of_one_image_hold_the_same_values(name: str, same_as: str) -> None:
    folder = elsewhere("pydicom_data/data_store/data")
    np.testing.assert_array_equal(stored(folder / f"{name}.dcm"), stored(folder / f"{same_as}.dcm"))


def test_every_image_of_the_collection_is_decoded() -> None:
    folder = elsewhere("pydicom_data/data_store/data")
    failed = {}
    for path in sorted(folder.glob("*.dcm")):
        try:
            shown(path)
        except DatasetError as error:
            failed[path.name] = str(error).partition(": ")[2]
    assert failed == {
        "emri_small_jpeg_2k_lossless_too_short.dcm": "a DICOM without pixels (of an unknown class); only images can be decoded"
    }


def test_signed_pixels_in_an_unsigned_stream_keep_their_sign() -> None:
    assert stored(PYDICOM / "J2K_pixelrep_mismatch.dcm").min() < 0


# Modality values and the picture --------------------------------------------------------------------------------------------


def test_rescale_gives_whole_numbers_where_it_can(tmp_path: Path) -> None:
    array = np.arange(12, dtype=np.uint16).reshape(3, 4) * 5000
    whole = dicom_picture.values(Source(written(tmp_path / "a.dcm", array, RescaleSlope=1, RescaleIntercept=-1024)))
    part = dicom_picture.values(Source(written(tmp_path / "b.dcm", array, RescaleSlope=0.5, RescaleIntercept=3)))
    assert (whole.dtype, part.dtype) == (np.int32, np.float32)
    np.testing.assert_array_equal(whole, array.astype(int) - 1024)
    np.testing.assert_array_equal(part, array * 0.5 + 3)


def lut(values: list[int], first: int, bits: int = 16) -> Dataset:
    item = Dataset()
    item.LUTDescriptor, item.ModalityLUTType = [len(values), first, bits], "HU"
    item.LUTData = np.array(values, "<u2").tobytes()
    return item


def test_a_modality_lut_is_applied_as_pydicom_applies_it(tmp_path: Path) -> None:
    array = np.arange(12, dtype=np.uint16).reshape(3, 4)
    path = written(tmp_path / "a.dcm", array, ModalityLUTSequence=Sequence([lut([7, 9, 40, 41], 3)]))
    found = dicom_picture.values(Source(path))
    np.testing.assert_array_equal(found, apply_modality_lut(array, pydicom.dcmread(path)))
    assert (found[0, 0], found[2, 3]) == (7, 41)


def test_a_voi_lut_goes_before_a_window(tmp_path: Path) -> None:
    array = np.arange(12, dtype=np.uint16).reshape(3, 4)
    table = Sequence([lut([0, 1000, 30000, 65535], 2)])
    found = shown(written(tmp_path / "a.dcm", array, VOILUTSequence=table, WindowCenter=5, WindowWidth=4))
    np.testing.assert_array_equal(np.unique(found), [0, 1000, 30000, 65535])


@pytest.mark.parametrize("function", [None, "LINEAR", "LINEAR_EXACT", "SIGMOID"])
@pytest.mark.parametrize(("centre", "width"), [(40, 400), (0.5, 1), (-600, 1500), (300, 7)])
def test_windows_follow_the_standard_as_pydicom_does(
    tmp_path: Path, function: str | None, centre: float, width: float
) -> None:
    array = np.arange(-1000, 1000, dtype=np.int16).reshape(40, 50)
    tags = {"WindowCenter": centre, "WindowWidth": width, **({"VOILUTFunction": function} if function else {})}
    path = written(tmp_path / "a.dcm", array, RescaleSlope=1, RescaleIntercept=0, **tags)
    expected = apply_voi_lut(array, pydicom.dcmread(path), prefer_lut=False)  # over the range of int16
    scaled = (expected + 32768) / 65535
    assert np.abs(shown(path).astype(float) - scaled * 65535).max() <= 1


def test_a_window_of_no_width_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "a.dcm", np.zeros((2, 2), np.int16), WindowCenter=1, WindowWidth=0)
    with pytest.raises(DatasetError, match="a window's width must be at least 1"):
        shown(path)


def test_the_callers_window_replaces_the_files(tmp_path: Path) -> None:
    array = np.array([[-100, 0, 50, 100, 200]], np.int16)
    path = written(tmp_path / "a.dcm", array, WindowCenter=1000, WindowWidth=10)
    assert shown(path).max() == 0
    assert shown(path, window=(50.5, 101)).tolist() == [[0, 0, 32768, 65535, 65535]]


def test_without_a_window_the_range_of_the_values_is_shown_and_padding_is_left_out(tmp_path: Path) -> None:
    array = np.array([[-2000, 0, 50, 100]], np.int16)
    assert shown(written(tmp_path / "a.dcm", array)).tolist() == [[0, 62414, 63975, 65535]]
    assert shown(written(tmp_path / "b.dcm", array, PixelPaddingValue=-2000)).tolist() == [[0, 0, 32768, 65535]]


def test_monochrome1_is_inverted(tmp_path: Path) -> None:
    array = np.array([[0, 10, 255]], np.uint8)
    upright, inverse = (
        shown(written(tmp_path / f"{kind}.dcm", array, PhotometricInterpretation=kind))
        for kind in ("MONOCHROME2", "MONOCHROME1")
    )
    assert (upright.tolist(), inverse.tolist()) == ([[0, 10, 255]], [[255, 245, 0]])


def test_palettes_become_colours() -> None:
    data = pydicom.dcmread(PYDICOM / "examples_palette.dcm")
    expected = apply_color_lut(data.pixel_array, data)
    assert expected.dtype == np.uint16
    np.testing.assert_array_equal(shown(PYDICOM / "examples_palette.dcm"), expected >> 8)


def test_one_frame_of_several_is_the_frame_of_all() -> None:
    path = PYDICOM / "examples_ybr_color.dcm"
    every = shown(path)
    assert every.shape == (30, 240, 320, 3) and every.dtype == np.uint8
    np.testing.assert_array_equal(shown(path, frame=7), every[7])
    with pytest.raises(DatasetError, match="no frame 30: it has 30"):
        shown(path, frame=30)


def test_frames_are_rescaled_and_windowed_by_their_own_groups(tmp_path: Path) -> None:
    array = np.full((2, 2, 2), 100, np.uint16)
    groups = []
    for slope, centre in ((1, 100), (3, 100)):
        values, window, group = Dataset(), Dataset(), Dataset()
        values.RescaleSlope, values.RescaleIntercept = slope, 0
        window.WindowCenter, window.WindowWidth, window.VOILUTFunction = centre, 400, "LINEAR_EXACT"
        group.PixelValueTransformationSequence, group.FrameVOILUTSequence = Sequence([values]), Sequence([window])
        groups.append(group)
    path = written(tmp_path / "a.dcm", array, NumberOfFrames=2, PerFrameFunctionalGroupsSequence=Sequence(groups))
    assert dicom_picture.values(Source(path))[:, 0, 0].tolist() == [100.0, 300.0]
    assert shown(path)[:, 0, 0].tolist() == [32768, 65535]


# Files that cannot be read --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("reportsi.dcm", r"a DICOM without pixels \(Basic Text SR Storage\)"),
        ("rtplan.dcm", r"a DICOM without pixels \(RT Plan Storage\)"),
        ("MR_truncated.dcm", "its pixels are cut short"),
        ("ExplVR_BigEndNoMeta.dcm", "not a DICOM file, or its first bytes are damaged"),
        ("badVR.dcm", r"the DICOM cannot be read \(ValueError\)"),
    ],
)
def test_what_cannot_be_decoded_is_one_line(name: str, message: str) -> None:
    with pytest.raises(DatasetError, match=rf"{name}: {message}") as caught:
        shown(PYDICOM / name)
    assert "\n" not in str(caught.value)


def test_a_file_without_preamble_is_read_and_one_of_other_bytes_is_not(tmp_path: Path) -> None:
    whole = written(tmp_path / "a.dcm", np.arange(6, dtype=np.uint8).reshape(2, 3)).read_bytes()
    (tmp_path / "bare.dcm").write_bytes(whole[132:])
    assert stored(tmp_path / "bare.dcm").tolist() == [[0, 1, 2], [3, 4, 5]]
    (tmp_path / "text.dcm").write_text("no image")
    with pytest.raises(DatasetError, match="not a DICOM file"):
        stored(tmp_path / "text.dcm")


def test_a_header_that_claims_too_much_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "a.dcm", np.zeros((2, 2), np.uint8), Rows=65535, Columns=65535, NumberOfFrames=99)
    with pytest.raises(DatasetError, match="claims more than 4 billion samples"):
        stored(path)


DAMAGE = """
import logging, sys
from pathlib import Path
from healthfm.errors import DatasetError
from healthfm.formats.dicom import index as dicom_index, picture as dicom_picture
from healthfm.formats.source import Source
logging.basicConfig(level=logging.DEBUG)
for path in map(Path, sys.argv[1:]):
    for read in (lambda: dicom_picture.picture(Source(path)), lambda: dicom_index.by_pydicom(path)):
        try:
            read()
        except DatasetError as error:
            print(error)
"""


def test_neither_errors_nor_logs_nor_warnings_repeat_the_patient(tmp_path: Path) -> None:
    whole = written(tmp_path / "a.dcm", np.zeros((2, 2), np.uint8), InstanceNumber=4711, NumberOfFrames=1).read_bytes()
    spoilt = [
        whole.replace(b"IS\x04\x004711", b"IS\x04\x00Roe^"), whole.replace(b"LO\x08\x00MRN-4711", b"DS\x08\x00MRN-4711"),
        whole.replace(b"PN", b"ZZ"), whole[:-40], whole.replace(b"PN\x08\x00Roe^Jane", b"UI\x08\x00Roe^Jane"),
        whole.replace(b"IS\x02\x001 ", b"IS\x02\x00Jo"),
    ]  # fmt: skip
    paths = []
    for number, data in enumerate(spoilt):
        assert data != whole
        paths.append(tmp_path / f"{number}.dcm")
        paths[-1].write_bytes(data)
    done = subprocess.run(
        [sys.executable, "-W", "default", "-c", DAMAGE, *map(str, paths)], capture_output=True, text=True, check=True
    )
    said = done.stdout + done.stderr
    assert said.count("cannot be read") >= 2
    assert "Roe" not in said and "4711" not in said and "Jo" not in said
