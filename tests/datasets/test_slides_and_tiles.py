"""Slides with outlines and tiles with masks, in their owners' layouts; every coordinate and colour is one that could be read wrongly."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow
from scipy.io import savemat

from healthfm import open_dataset
from healthfm.errors import DatasetError
from healthfm.records import Polygon
from tests.datasets.drawn import picture, put, text
from tests.datasets.laid import lay
from tests.real_files import SLIDE

# SNOW -------------------------------------------------------------------------------------------------------------------------

INSTANCES = np.array([[0, 2, 2], [5, 0, 0]], np.int32)


def nuclei(path: Path, **more: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    savemat(path, {"inst_map": INSTANCES, "inst_uid": [[5, 2]], "inst_type": [[1], [4]], **more})


@pytest.mark.evidence("snow", "layout")
def test_the_type_of_a_nucleus_is_that_of_its_number_and_not_of_its_place(tmp_path: Path) -> None:
    """SNOW_Dataset_20k/Image/seed0000.png and Mask/seed0000.mat, as the owners' README has them; names in the mat are HoVer-Net's."""
    pixels = picture(tmp_path / "SNOW_Dataset_20k/Image/seed0000.png", size=(2, 3), colour=True)
    nuclei(tmp_path / "SNOW_Dataset_20k/Mask/seed0000.mat")
    (one,) = open_dataset("snow", tmp_path)
    assert one.id == "seed0000" and np.array_equal(one.pixels, pixels)
    assert np.array_equal(one.masks["instances"](), INSTANCES) and one.masks["nuclei"]().sum() == 3
    assert one.masks["types"]().tolist() == [[0, 4, 4], [1, 0, 0]]


def test_pictures_of_outlines_are_no_tiles_and_masks_on_another_grid_are_refused(tmp_path: Path) -> None:
    picture(tmp_path / "tiles/seed0000.png", size=(2, 4), colour=True)
    picture(tmp_path / "tiles/seed0001.png", size=(2, 3), colour=True)
    nuclei(tmp_path / "m/mat/seed0000.mat")
    picture(tmp_path / "seed0000.png", size=(2, 4), colour=True)
    with zipfile.ZipFile(tmp_path / "mask_0_5000.zip", "w") as packed:
        packed.write(tmp_path / "m/mat/seed0000.mat", "x/mat/seed0000.mat")
        packed.write(tmp_path / "seed0000.png", "overlay/seed0000.png")
    (tmp_path / "m/mat/seed0000.mat").unlink()
    (tmp_path / "seed0000.png").unlink()
    opened = open_dataset("snow:zenodo", tmp_path, on_error="collect")
    (one,) = opened
    assert (
        one.id == "seed0000"
        and "outlines on a tile" in opened.passed_over[0][1]
        and "seed0001" in str(opened.errors[0])
    )
    with pytest.raises(DatasetError, match=r"a mask of 3 x 2, its picture has 4 x 2"):
        one.masks["nuclei"]()
    lay(tmp_path, {"m/mat/seed0001.mat": b"no mat"})
    damaged = next(one for one in open_dataset("snow:zenodo", tmp_path, on_error="collect") if one.id == "seed0001")
    with pytest.raises(DatasetError, match="not a MATLAB file"):
        damaged.masks["nuclei"]()


# DeepLIIF ---------------------------------------------------------------------------------------------------------------------


def panels(path: Path) -> np.ndarray:
    """Write six panels of 4 x 4; of the last a row is red, a row blue, a row green and a row too dark to be any."""
    pixels = np.repeat(np.arange(6, dtype=np.uint8), 4)[None, :, None] * np.ones((4, 1, 3), np.uint8)
    pixels[:, 20:] = 0
    pixels[0, 20:, 0] = pixels[1, 20:, 2] = pixels[2, 20:, 1] = 250
    pixels[3, 20:] = 100
    return put(path, pixels)


@pytest.mark.evidence("deepliif", "layout")
def test_the_first_panel_is_the_picture_and_the_colours_of_the_last_are_the_cells(tmp_path: Path) -> None:
    """Panels, colours and folders of constantinpape/torch-em deepliif.py."""
    panels(tmp_path / "DeepLIIF_Training_Set/Lung_1.png")
    panels(tmp_path / "DeepLIIF_Testing_Set/Bladder_2.png")
    (one,) = open_dataset("deepliif", tmp_path, "train")
    assert (
        one.id == "Lung_1" and one.meta["tissue"] == "Lung" and one.pixels.shape == (4, 4, 3) and not one.pixels.any()
    )
    rows = {name: mask().any(axis=1).tolist() for name, mask in one.masks.items()}
    assert rows == {"positive": [1, 0, 0, 0], "negative": [0, 1, 0, 0], "boundary": [0, 0, 1, 0]}
    panels(tmp_path / "b/BC-DeepLIIF_Validation_Set/7.png")
    assert [one.meta["tissue"] for one in open_dataset("deepliif:breast", tmp_path / "b", "validation")] == ["Breast"]


def test_the_owners_sample_is_read_and_a_last_panel_that_is_no_mask_is_refused(tmp_path: Path) -> None:
    """Names of nadeemlab/DeepLIIF Datasets/Sample_Dataset, whose pictures for testing repeat the stained tissue six times."""
    panels(tmp_path / "Datasets/Sample_Dataset/train/Lung1.png")
    put(tmp_path / "Datasets/Sample_Dataset/test/22_2.png", np.full((4, 24, 3), 230, np.uint8))
    dataset = open_dataset("deepliif", tmp_path)
    train, test = dataset
    assert (dataset.name, train.meta["tissue"], test.meta["tissue"], int(train.masks["positive"]().sum())) == (
        "deepliif:sample",
        "Lung",
        None,
        4,
    )
    assert (
        "'lung-bladder', which is meant where none is named, is not in" in dataset.notices[0]
        and "'sample' is, and is read" in dataset.notices[0]
    )
    with pytest.raises(DatasetError, match="its last panel is no mask"):
        test.masks["positive"]()
    panels(tmp_path / "BC-DeepLIIF_Training_Set/1.png")
    with pytest.raises(
        DatasetError, match=r"'lung-bladder' is not in .*, but breast, sample are: name one \(deepliif:breast\)"
    ):
        open_dataset("deepliif", tmp_path)


def test_a_folder_of_one_split_is_not_read_as_another_and_other_shapes_are_refused(tmp_path: Path) -> None:
    panels(tmp_path / "DeepLIIF_Training_Set/Lung_1.png")
    with pytest.raises(DatasetError, match="not in DeepLIIF_Testing_Set"):
        list(open_dataset("deepliif", tmp_path / "DeepLIIF_Training_Set", "test"))
    Pillow.fromarray(np.zeros((4, 20, 3), np.uint8)).save(tmp_path / "DeepLIIF_Training_Set/Lung_0.png")
    opened = open_dataset("deepliif", tmp_path, "train", on_error="collect")
    assert [one.id for one in opened] == ["Lung_1"] and "20 x 4 pixels are no 6 square panels" in str(opened.errors[0])


# TissueNet --------------------------------------------------------------------------------------------------------------------

NAMES = ("C01_B001_S01.tif", "C02_B107_S11.tif", "C03_B003_S01.tif")


def biopsies(
    root: Path, *labels: str, geometry: str = "POLYGON ((10 5, 20 5, 20 25, 10 5), (12 6, 13 6, 13 7, 12 6))"
) -> Path:
    for name in NAMES[:2]:
        lay(root, {f"train/{name}": SLIDE})
    text(
        root / "train_metadata_eRORy1H.csv",
        "filename,width,height,resolution,magnification",
        *(f"{name},200,100,0.25,40" for name in NAMES),
    )
    text(
        root / "train_labels.csv",
        "filename,0,1,2,3",
        *(f"{name},{row}" for name, row in zip(NAMES, labels, strict=False)),
    )
    text(
        root / "train_annotations_lbzOVuS.csv",
        "annotation_id,filename,geometry,annotation_class,us_jpeg_url",
        f'a1,{NAMES[0]},"{geometry}",2,s3://x',
    )
    return root


@pytest.mark.evidence("tissuenet", "layout")
def test_outlines_are_turned_from_an_axis_that_points_up_and_one_column_is_the_class(tmp_path: Path) -> None:
    """Columns of train_metadata, train_labels and train_annotations as solutions of the challenge read them; holes are apart."""
    one, two = open_dataset("tissuenet", biopsies(tmp_path, "0,0,0,1", "1,0,0,0"), "train")
    assert (one.id, one.site, one.labels, two.labels) == (
        "C01_B001_S01",
        "C01",
        {"lesion class": "3"},
        {"lesion class": "0"},
    )
    assert one.polygons == (
        Polygon("2", ((10, 95), (20, 95), (20, 75), (10, 95))), Polygon("2 hole", ((12, 94), (13, 94), (13, 93), (12, 94))),
    )  # fmt: skip
    assert two.polygons == () and one.meta["height"] == "100"


def test_two_classes_no_slide_and_another_geometry_are_errors_of_their_rows(tmp_path: Path) -> None:
    opened = open_dataset(
        "tissuenet",
        biopsies(tmp_path, "1,0,0,0", "1,1,0,0", "0,1,0,0", geometry="POINT (1 2)"),
        "train",
        on_error="collect",
    )
    assert not list(opened)
    for error, words in zip(
        opened.errors, ("annotation a1 is no POLYGON", "2 classes are set", "no file"), strict=True
    ):
        assert words in str(error)
    with pytest.raises(DatasetError, match=r"train_labels\.csv, row 2: .*no POLYGON"):
        list(open_dataset("tissuenet", tmp_path, "train"))


def test_the_other_set_of_the_same_name_is_said_to_be_unread(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="deepcell: this part is not read yet"):
        open_dataset("tissuenet:deepcell", biopsies(tmp_path, "1,0,0,0"))


# PAIP -------------------------------------------------------------------------------------------------------------------------


def region(points: str, hole: int = 0) -> str:
    vertices = "".join(f'<Vertex X="{x}" Y="{y}" Z="0"/>' for x, y in (one.split(",") for one in points.split()))
    return f'<Region Id="1" NegativeROA="{hole}"><Vertices>{vertices}</Vertices></Region>'


@pytest.mark.evidence("paip", "layout")
def test_outlines_of_whole_and_viable_tumour_join_their_slide_by_folder(tmp_path: Path) -> None:
    """Names of Training_phase_1_001; the owners' XML is Aperio's, 1 is whole and 2 is viable; one slide's files say rescan."""
    layers = '<Annotations><Annotation Id="{}"><Regions>{}</Regions></Annotation><Annotation Id="2"><Regions>{}</Regions></Annotation></Annotations>'
    whole, viable, hole = region("1,2 3,4 5,1"), region("2,2 3,3 4,2"), region("2,2 3,2 2,3", 1)
    lay(tmp_path, {
        "Training_phase_1_001/01_01_0083.svs": SLIDE, "Training_phase_1_001/01_01_0083.xml": layers.format(1, whole, viable + hole),
        "Training_phase_1_001/01_01_0083_viable.tif": b"large", "Training_phase_2_002/01_01_0111_rescan.svs": SLIDE,
        "Training_phase_2_002/01_01_0111.xml": layers.format(1, whole, ""), "Training_phase_2_003/01_01_0112.svs": SLIDE,
        "Training_phase_2_004/01_01_0113.svs": SLIDE, "Training_phase_2_004/01_01_0113.xml": layers.format(3, whole, ""),
    })  # fmt: skip
    opened = open_dataset("paip", tmp_path, on_error="collect")
    one, two = opened
    assert one.polygons == (
        Polygon("whole", ((1, 2), (3, 4), (5, 1))), Polygon("viable", ((2, 2), (3, 3), (4, 2))), Polygon("viable hole", ((2, 2), (3, 2), (2, 3))),
    )  # fmt: skip
    assert one.meta["viable masks"].endswith("01_01_0083_viable.tif") and (two.id, len(two.polygons)) == (
        "01_01_0111_rescan",
        1,
    )
    assert "no annotation lies beside it" in str(opened.errors[0]) and "does not know" in str(opened.errors[1])


def test_a_slide_inside_an_archive_is_named_and_not_opened(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "Training_phase_1_001.zip", "w") as packed:
        packed.writestr("Training_phase_1_001/01_01_0083.svs", b"slide")
        packed.writestr("Training_phase_1_001/01_01_0083.xml", "<Annotations/>")
    with pytest.raises(DatasetError, match="a slide inside an archive; unpack it"):
        list(open_dataset("paip", tmp_path))
