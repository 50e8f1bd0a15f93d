"""Lookup tables and padding of DICOM: descriptors that contradict their data, words and bytes, signs, segments."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.pixels import apply_color_lut
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRBigEndian

from healthfm.errors import DatasetError
from healthfm.formats import notices
from healthfm.formats.dicom import picture as dicom_picture
from healthfm.formats.source import Source
from tests.formats.test_dicom import shown, written
from tests.real_files import elsewhere

RAMP = np.arange(4096, dtype=np.uint16).reshape(64, 64)
STORED12 = {"BitsStored": 12, "HighBit": 11}


def item(entries: object, first: int, bits: int, count: int | None = None, **tags: object) -> Dataset:
    """Return an item of a LUT sequence; ``entries`` are numbers (US) or bytes (OW)."""
    made = Dataset()
    length = count if count is not None else len(entries)  # type: ignore[arg-type]
    made.add_new(0x00283002, "SS" if first < 0 else "US", [length, first, bits])
    made.add_new(0x00283006, "OW" if isinstance(entries, bytes) else "US", entries)
    for name, value in tags.items():
        setattr(made, name, value)
    return made


def words(values: object) -> bytes:
    return np.asarray(values, "<u2").tobytes()


def heard(path: Path) -> tuple[np.ndarray, list[str]]:
    with notices.listening() as said:
        return shown(path), said


# VOI LUT --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("declared", "top"), [(16, 4095), (12, 4095), (8, 4095), (16, 1023), (12, 1023), (16, 255), (10, 1023)]
)
def test_white_of_a_voi_lut_is_the_range_of_its_own_entries(tmp_path: Path, declared: int, top: int) -> None:
    entries = np.arange(4096) * top // 4095
    path = written(
        tmp_path / "a.dcm", RAMP, **STORED12, VOILUTSequence=Sequence([item(words(entries), 0, declared, 4096)])
    )
    found, said = heard(path)
    np.testing.assert_array_equal(found, np.rint(entries.reshape(64, 64) * (65535 / top)))
    assert bool(said) == (1 << declared != top + 1)


def test_a_voi_lut_that_uses_its_bits_is_not_stretched(tmp_path: Path) -> None:
    entries = np.arange(4096) * 3000 // 4095
    path = written(tmp_path / "a.dcm", RAMP, **STORED12, VOILUTSequence=Sequence([item(words(entries), 0, 12, 4096)]))
    found, said = heard(path)
    assert found.max() == round(3000 * 65535 / 4095) and said == []


def test_entries_of_eight_bits_lie_in_bytes_or_in_words(tmp_path: Path) -> None:
    entries, array = np.array([0, 50, 100, 255], np.uint8), np.array([[0, 1, 2, 3, 9]], np.uint8)
    for name, data in (
        ("bytes", entries.tobytes()),
        ("words", words(entries)),
        ("numbers", [0, 50, 100, 255]),
        ("packed", [50 << 8, 100 | 255 << 8]),
    ):
        path = written(tmp_path / f"{name}.dcm", array, VOILUTSequence=Sequence([item(data, 0, 8, 4)]))
        assert shown(path).tolist() == [[0, 50, 100, 255, 255]], name


def test_entries_of_a_big_endian_file_are_swapped(tmp_path: Path) -> None:
    data = pydicom.dcmread(written(tmp_path / "a.dcm", RAMP, **STORED12))
    data.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    data.PixelData = RAMP.astype(">u2").tobytes()
    data.VOILUTSequence = Sequence([item(np.arange(4096, dtype=">u2").tobytes(), 0, 12, 4096)])
    pydicom.dcmwrite(tmp_path / "b.dcm", data, little_endian=False, implicit_vr=False)
    np.testing.assert_array_equal(shown(tmp_path / "b.dcm"), np.rint(RAMP * (65535 / 4095)))


def test_the_first_value_of_a_voi_lut_is_signed_where_its_input_may_be(tmp_path: Path) -> None:
    array = np.array([[0, 24, 1024, 2000]], np.uint16)  # -1024, -1000, 0, 976
    table = Sequence([item(words([0, 1000, 2000, 4095]), 65536 - 1002, 12, 4)])  # -1002 to -999, written as unsigned
    path = written(tmp_path / "a.dcm", array, RescaleSlope=1, RescaleIntercept=-1024, VOILUTSequence=table)
    assert shown(path)[0].tolist() == [0, round(2000 * 65535 / 4095), 65535, 65535]
    high = Sequence([item(words([0, 1000, 2000, 4095]), 40000, 12, 4)])
    upper = np.array([[0, 40001, 40003, 65535]], np.uint16)
    assert shown(written(tmp_path / "b.dcm", upper, VOILUTSequence=high))[0].tolist() == [
        0,
        round(1000 * 65535 / 4095),
        65535,
        65535,
    ]


def test_a_count_of_zero_stands_for_65536_entries(tmp_path: Path) -> None:
    array = np.array([[0, 1, 65535]], np.uint16)
    table = Sequence([item(words(np.arange(65536)[::-1]), 0, 16, 0)])
    assert shown(written(tmp_path / "a.dcm", array, VOILUTSequence=table)).tolist() == [[65535, 65534, 0]]


@pytest.mark.parametrize("count", [3, 5, 4096])
def test_a_table_of_another_length_than_it_says_is_refused(tmp_path: Path, count: int) -> None:
    table = Sequence([item(words([0, 1, 2, 3]), 0, 12, count)])
    with pytest.raises(DatasetError, match="does not hold the entries its descriptor says"):
        shown(written(tmp_path / "a.dcm", RAMP, **STORED12, VOILUTSequence=table))


def test_of_several_windows_and_luts_the_first_is_used_and_that_is_said(tmp_path: Path) -> None:
    plain, none = heard(written(tmp_path / "a.dcm", RAMP, **STORED12, WindowCenter=2000, WindowWidth=400))
    two, said = heard(written(tmp_path / "b.dcm", RAMP, **STORED12, WindowCenter=[2000, 40], WindowWidth=[400, 80]))
    np.testing.assert_array_equal(two, plain)
    assert none == [] and len(said) == 1
    tables = [item(words(np.arange(4096)), 0, 12, 4096), item(words(np.arange(4096)[::-1]), 0, 12, 4096)]
    first, said = heard(written(tmp_path / "c.dcm", RAMP, **STORED12, VOILUTSequence=Sequence(tables)))
    np.testing.assert_array_equal(first, np.rint(RAMP * (65535 / 4095)))
    assert len(said) == 1


def test_an_unknown_function_a_width_below_zero_and_a_slope_of_zero_are_refused(tmp_path: Path) -> None:
    for name, tags, message in (
        ("a", {"WindowCenter": 5, "WindowWidth": 9, "VOILUTFunction": "LOG"}, "VOILUTFunction is none of"),
        ("b", {"WindowCenter": 5, "WindowWidth": -9}, "width must be at least 1"),
        ("c", {"WindowCenter": 5, "WindowWidth": 0, "VOILUTFunction": "SIGMOID"}, "width must be above 0"),
        ("d", {"RescaleSlope": 0, "RescaleIntercept": 5}, "RescaleSlope is 0"),
    ):
        with pytest.raises(DatasetError, match=message):
            shown(written(tmp_path / f"{name}.dcm", RAMP, **STORED12, **tags))


# Modality LUT ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", [8, 10, 12, 16])
def test_a_modality_lut_of_any_bits_is_applied(tmp_path: Path, bits: int) -> None:
    entries = np.arange(4096)[::-1] >> max(0, 12 - bits)
    path = written(
        tmp_path / "a.dcm",
        RAMP,
        **STORED12,
        ModalityLUTSequence=Sequence([item(words(entries), 0, bits, 4096, ModalityLUTType="US")]),
    )
    np.testing.assert_array_equal(dicom_picture.values(Source(path)), entries.reshape(64, 64))


# Padding --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize(("value", "limit"), [(-2000, -1500), (-1500, -2000)])
def test_a_range_of_padding_is_no_part_of_the_contrast_and_black(
    tmp_path: Path, kind: str, value: int, limit: int
) -> None:
    array = np.array([[-2000, -1700, -1500, 0, 50, 100]], np.int16)
    path = written(
        tmp_path / "a.dcm", array, PixelPaddingValue=value, PixelPaddingRangeLimit=limit, PhotometricInterpretation=kind
    )
    tissue = [0, 32768, 65535] if kind == "MONOCHROME2" else [65535, 32767, 0]
    assert shown(path)[0].tolist() == [0, 0, 0, *tissue]


def test_padding_whose_sign_is_written_otherwise_is_that_of_the_pixels(tmp_path: Path) -> None:
    path = written(tmp_path / "a.dcm", np.array([[-2000, 0, 50, 100]], np.int16))
    data = pydicom.dcmread(path)
    data.add_new(0x00280120, "US", 65536 - 2000)
    pydicom.dcmwrite(path, data)
    assert shown(path)[0].tolist() == [0, 0, 32768, 65535]


def test_padding_brighter_than_the_window_is_black_too(tmp_path: Path) -> None:
    array = np.array([[0, 50, 100, 4095]], np.uint16)
    path = written(tmp_path / "a.dcm", array, **STORED12, PixelPaddingValue=4095, WindowCenter=50.5, WindowWidth=101)
    assert shown(path)[0].tolist() == [0, 32768, 65535, 0]


# Palettes -------------------------------------------------------------------------------------------------------------------

COLOURS = np.random.default_rng(0).integers(0, 256, (3, 256), dtype=np.uint8)
INDICES = np.arange(256, dtype=np.uint8).reshape(16, 16)


def palette(
    data: list[bytes], first: int = 0, bits: int = 8, count: int = 256, segmented: bool = False
) -> dict[str, object]:
    tags: dict[str, object] = {"PhotometricInterpretation": "PALETTE COLOR"}
    for colour, entries in zip(("Red", "Green", "Blue"), data, strict=True):
        tags[f"{colour}PaletteColorLookupTableDescriptor"] = [count, first, bits]
        tags[f"{'Segmented' if segmented else ''}{colour}PaletteColorLookupTableData"] = entries
    return tags


@pytest.mark.parametrize(
    ("name", "entries", "bits", "said"),
    [
        ("bytes", [one.tobytes() for one in COLOURS], 8, 0), ("words", [words(one) for one in COLOURS], 8, 0),
        ("sixteen", [words(one.astype(np.uint16) << 8) for one in COLOURS], 16, 0), ("eight called sixteen", [words(one) for one in COLOURS], 16, 1),
        ("sixteen called eight", [words(one.astype(np.uint16) << 8) for one in COLOURS], 8, 1),
    ],
)  # fmt: skip
def test_a_palette_is_read_by_its_own_bits(
    tmp_path: Path, name: str, entries: list[bytes], bits: int, said: int
) -> None:
    found, notes = heard(written(tmp_path / "a.dcm", INDICES, **palette(entries, bits=bits)))
    np.testing.assert_array_equal(found, COLOURS.T[INDICES])
    assert found.dtype == np.uint8 and len(notes) == said


def test_a_palette_begins_at_its_first_value_and_may_have_more_than_256_entries_of_8_bits(tmp_path: Path) -> None:
    many = np.random.default_rng(1).integers(0, 256, (3, 1000), dtype=np.uint8)
    array = np.array([[0, 100, 101, 700, 1099, 4000]], np.uint16)
    found = shown(written(tmp_path / "a.dcm", array, **palette([one.tobytes() for one in many], 100, 8, 1000)))
    np.testing.assert_array_equal(found[0], many.T[[0, 0, 1, 600, 999, 999]])


@pytest.mark.parametrize("bits", [8, 16])
def test_segments_are_expanded_as_pydicom_does(tmp_path: Path, bits: int) -> None:
    top = 2**bits - 1
    segments = [
        [0, 2, 0, 10, 1, 200, top, 0, 54, *range(54)],
        [0, 1, top, 1, 255, 0],
        [0, 6, 1, 2, 3, 4, 5, 6, 1, 250, top // 2],
    ]
    kind = np.uint8 if bits == 8 else "<u2"
    tags = palette([np.array(one, kind).tobytes() for one in segments], bits=bits, segmented=True)
    path = written(tmp_path / "a.dcm", INDICES, **tags)
    expected = apply_color_lut(INDICES, pydicom.dcmread(path))
    np.testing.assert_array_equal(shown(path), expected if bits == 8 else expected >> 8)


def test_a_segment_that_repeats_others_is_copied_from_its_byte_offset(tmp_path: Path) -> None:
    segments = [0, 128, *range(128), 2, 1, 0, 0]  # one segment from byte 0
    tags = palette(
        [np.array([v << 8 if 1 < i < 130 else v for i, v in enumerate(segments)], "<u2").tobytes()] * 3,
        bits=16,
        segmented=True,
    )
    found = shown(written(tmp_path / "a.dcm", INDICES, **tags))
    np.testing.assert_array_equal(found[..., 0].ravel(), np.tile(np.arange(128), 2))


def test_values_from_a_supplemental_palette_on_are_colours_the_others_grey(tmp_path: Path) -> None:
    array = np.array([[0, 50, 100, 1000, 1001, 1002]], np.uint16)
    tags = palette([words([v << 8 for v in one]) for one in ((10, 20, 30), (40, 50, 60), (70, 80, 90))], 1000, 16, 3)
    tags |= {"PhotometricInterpretation": "MONOCHROME2", "PixelPresentation": "COLOR"}
    found = shown(written(tmp_path / "a.dcm", array, **STORED12, **tags))
    assert found[0, :3, 0].tolist() == [0, 32768, 65535] and (found[0, :3, 0] == found[0, :3, 2]).all()
    assert (found[0, 3:] // 257).tolist() == [[10, 40, 70], [20, 50, 80], [30, 60, 90]]


def test_a_real_supplemental_palette_shows_brains_in_colour() -> None:
    path = elsewhere("pydicom_data/data_store/data/eCT_Supplemental.dcm")
    found = shown(path)
    assert found.shape == (2, 512, 512, 3)
    assert (found[..., 0] != found[..., 2]).mean() > 0.1
