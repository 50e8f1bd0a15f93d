"""Which files are slides, and the parts of a DICOM slide that are never shown."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import tifffile

from healthfm.datasets import media
from healthfm.errors import DatasetError
from healthfm.formats.slide import files as slide_files
from healthfm.formats.slide.pyramid import SlideFile
from healthfm.formats.source import Source
from tests.formats.test_slide import dicom_level
from tests.real_files import SLIDE

PIXELS = np.random.default_rng(0).integers(0, 255, (600, 800, 3), dtype=np.uint8)
QUARTER = {"resolution": (40000, 40000), "resolutionunit": "CENTIMETER"}


def tiff(path: Path, *pages: np.ndarray, **how: Any) -> Path:
    """Write pages, tiled unless told otherwise, without the flag that calls one a smaller copy."""
    how = {"tile": (256, 256), "photometric": "rgb", "metadata": None, **how}
    with tifffile.TiffWriter(path, ome=how.pop("ome", False)) as file:
        for page in pages:
            file.write(page, **how)
    return path


@pytest.mark.parametrize(("how", "pages", "kind"), [
    (QUARTER, 1, "Slide"), ({"resolution": (101600, 101600), "resolutionunit": "INCH"}, 1, "Slide"), (QUARTER, 3, "Slide"), ({}, 3, "Slide"),
    ({**QUARTER, "compression": "webp"}, 1, "Slide"),  # a slide that OpenSlide does not read is refused as one
    ({}, 1, "Image"), ({"resolution": (300, 300), "resolutionunit": "INCH"}, 1, "Image"), ({**QUARTER, "tile": None}, 1, "Image"),
    ({**QUARTER, "tile": (1024, 1024)}, 1, "Image"),  # one stored tile: a picture cut from a slide
])  # fmt: skip
def test_a_tiff_is_a_slide_where_it_is_tiles_at_a_microscopes_resolution_or_of_a_pyramid(
    how: dict[str, Any], pages: int, kind: str, tmp_path: Path
) -> None:
    copies = [np.ascontiguousarray(PIXELS[:: 2**i, :: 2**i]) for i in range(pages)]
    path = tiff(tmp_path / "a.tif", *copies, **how)
    assert media.kind_of(path) == kind
    if kind == "Slide" and "compression" in how:
        with pytest.raises(DatasetError, match=r"a\.tif: not a (readable )?slide"):
            SlideFile(path)
    elif kind == "Slide":
        shutil.copy(path, tmp_path / "a.svs")
        with SlideFile(path) as one, SlideFile(tmp_path / "a.svs") as other:
            np.testing.assert_array_equal(one.read(0, 3, 5, 300, 200), other.read(0, 3, 5, 300, 200))


def test_a_real_slide_is_one_by_any_name(tmp_path: Path) -> None:
    shutil.copy(SLIDE, tmp_path / "a.TIF")
    assert media.kind_of(tmp_path / "a.TIF") == "Slide"


def test_a_stack_of_planes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"a\.tif: 3 pictures of 800 x 600 pixels .* not one slide"):
        SlideFile(tiff(tmp_path / "a.tif", PIXELS, PIXELS, PIXELS, **QUARTER))


def test_an_ome_tiff_has_the_resolution_of_its_own_header(tmp_path: Path) -> None:
    about = {
        "axes": "YXS",
        "PhysicalSizeX": 250,
        "PhysicalSizeXUnit": "nm",
        "PhysicalSizeY": 0.25,
        "PhysicalSizeYUnit": "um",
    }
    path = tmp_path / "a.ome.tif"
    with tifffile.TiffWriter(path, ome=True) as file:
        file.write(PIXELS, tile=(256, 256), photometric="rgb", metadata=about)
    assert media.kind_of(path) == "Slide"
    with SlideFile(path) as slide:
        assert slide.mpp == pytest.approx(0.25)


def test_a_resolution_that_cannot_be_is_refused(tmp_path: Path) -> None:
    for mpp in (0.0, -1.0, float("nan")):
        with pytest.raises(DatasetError, match="micrometres per pixel cannot be"):
            SlideFile(SLIDE, mpp=mpp)


# DICOM ----------------------------------------------------------------------------------------------------------------


def part(folder: Path, name: str, flavour: str = "VOLUME", series: str = "1.2.3.4", **more: Any) -> Path:
    """Write one instance of a DICOM slide."""
    folder.mkdir(exist_ok=True)
    side = 512 if flavour == "VOLUME" else 256
    dicom_level(folder / name, np.full((side, side, 3), 200, np.uint8), 1)
    data = pydicom.dcmread(folder / name)
    data.ImageType = ["ORIGINAL", "PRIMARY", flavour, "NONE"]
    data.SeriesInstanceUID, data.SOPInstanceUID, data.ContainerIdentifier = (
        series,
        f"{series}.{sum(name.encode())}",
        series,
    )
    for key, value in more.items():
        setattr(data, key, value)
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
    data.save_as(folder / name)
    return folder / name


def test_a_dicom_slide_is_its_folder_and_each_file_of_its_levels(tmp_path: Path) -> None:
    folder = tmp_path / "slide"
    level, label = part(folder, "level.dcm"), part(folder, "a_label.dcm", "LABEL")
    overview = part(folder, "overview.dcm", "OVERVIEW")
    assert media.kind_of(folder) == media.kind_of(level) == media.kind_of(label) == "Slide"
    assert slide_files.standing(sorted(folder.iterdir())) == [folder]
    for opened in (folder, level):
        with SlideFile(opened) as slide:
            assert slide.size == (512, 512)
    for path, flavour in ((label, "label"), (overview, "overview")):
        with pytest.raises(
            DatasetError, match=f"the {flavour} image of a slide.* can hold a name and is never embedded"
        ):
            SlideFile(path)
        with pytest.raises(DatasetError, match=f"the {flavour} image of a slide"):
            media.picture(Source(path))
    with pytest.raises(DatasetError, match=r"level\.dcm: a slide .*, not one picture"):
        media.picture(Source(level))


def test_a_label_is_not_read_from_any_class_of_dicom(tmp_path: Path) -> None:
    path = part(tmp_path / "a", "label.dcm", "LABEL")
    data = pydicom.dcmread(path)
    data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.77.1.3"
    data.save_as(path)
    with pytest.raises(DatasetError, match="label or overview image of a slide; it can hold a name"):
        media.picture(Source(path))


def test_a_label_alone_is_kept_in_a_walk_and_refused(tmp_path: Path) -> None:
    label = part(tmp_path / "a", "label.dcm", "LABEL")
    assert slide_files.standing([label]) == [label]
    with pytest.raises(DatasetError, match="the label image of a slide"):
        SlideFile(tmp_path / "a")


def test_several_slides_in_a_folder_are_told_apart(tmp_path: Path) -> None:
    one, two = part(tmp_path / "a", "one.dcm"), part(tmp_path / "a", "two.dcm", series="1.2.3.5")
    part(tmp_path / "a", "label.dcm", "LABEL")
    assert sorted(slide_files.standing(sorted((tmp_path / "a").iterdir()))) == [one, two]
    with pytest.raises(
        DatasetError, match=r"holds 2 slides \(DICOM series\); name one file of each: one\.dcm, two\.dcm"
    ):
        SlideFile(tmp_path / "a")
    with SlideFile(two) as slide:
        assert slide.properties["dicom.SeriesInstanceUID"] == "1.2.3.5"


def test_a_concatenation_and_a_series_of_several_containers_are_refused(tmp_path: Path) -> None:
    part(tmp_path / "a", "one.dcm", ConcatenationUID="1.2.9")
    with pytest.raises(DatasetError, match="a DICOM concatenation"):
        SlideFile(tmp_path / "a")
    part(tmp_path / "b", "one.dcm")
    part(tmp_path / "b", "two.dcm", ContainerIdentifier="other")
    with pytest.raises(DatasetError, match="several containers"):
        SlideFile(tmp_path / "b")
