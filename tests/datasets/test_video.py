"""Films of the heart: EchoNet's tables, tracings and calipers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from healthfm import open_dataset
from healthfm.errors import DatasetError
from healthfm.formats import notices
from healthfm.records import MISSING, Polygon, Video
from tests.datasets.drawn import film, text

pytest.importorskip("av")
LIST = "FileName,EF,ESV,EDV,FrameHeight,FrameWidth,FPS,NumberOfFrames,Split"


def dynamic(root: Path, *more: str, tracings: tuple[str, ...] = ()) -> Path:
    top = root / "EchoNet-Dynamic"
    for name in ("0X100009310A3BD7FC", "0X1002E8FBACD08477", "0X1005D03EED19C65B"):
        film(top / f"Videos/{name}.avi", 4)
    text(
        top / "FileList.csv", LIST, "0X100009310A3BD7FC,78.498406,14.881368,69.210534,112,112,50,4,VAL",
        "0X1002E8FBACD08477,59.101988,40.383876,98.742884,112,112,50,4,TRAIN", "0X1005D03EED19C65B,62.363798,14.267784,37.909734,112,112,62,4,TRAIN", *more,
    )  # fmt: skip
    small = ("5,0,5,9,2", "4,1,6,1,2", "3,5,7,5,2", "4,8,6,8,2")  # the long axis, then three chords
    large = ("5,0,5,9,0", "3,1,7,1,0", "1,5,9,5,0", "3,8,7,8,0")
    rows = tracings or tuple(f"0X1002E8FBACD08477.avi,{row}" for row in (*small, *large))
    text(top / "VolumeTracings.csv", "FileName,X1,Y1,X2,Y2,Frame", *rows)
    return root


@pytest.mark.evidence("echonet-dynamic", "layout")
def test_echonet_names_its_films_with_and_without_a_suffix_and_its_first_chord_is_the_long_axis(tmp_path: Path) -> None:
    """echonet/datasets/echo.py: FileList.csv, VolumeTracings.csv, Videos/, the outline of LargeTrace and SmallTrace."""
    opened = open_dataset("echonet-dynamic", dynamic(tmp_path))
    traced, untraced = opened["train"]
    assert isinstance(traced, Video) and traced.labels == {"EF": 59.101988, "ESV": 40.383876, "EDV": 98.742884}
    small = ((4.0, 1.0), (3.0, 5.0), (4.0, 8.0), (6.0, 8.0), (7.0, 5.0), (6.0, 1.0))
    large = ((3.0, 1.0), (1.0, 5.0), (3.0, 8.0), (7.0, 8.0), (9.0, 5.0), (7.0, 1.0))
    assert traced.polygons == (Polygon("left ventricle", large, 0), Polygon("left ventricle", small, 2))
    assert (traced.meta["systole"], traced.meta["diastole"], traced.meta["rate"]) == (
        2,
        0,
        50.0,
    )  # by area, not by order
    assert untraced.polygons == () and untraced.meta["systole"] is None and untraced.labels["EF"] == 62.363798
    assert [r.id for r in opened["validation"]] == ["0X100009310A3BD7FC"]
    assert len(list(traced.frames())) == 4 and next(traced.frames()).shape == (16, 16, 3)


def test_echonet_rows_that_are_not_the_layout_are_named(tmp_path: Path) -> None:
    more = (
        "0XA,1,1,1,112,112,50,4,TRAIN",
        "0X1002E8FBACD08477,high,1,1,112,112,50,4,TRAIN",
        "0XB,1,1,1,112,112,50,4,LATER",
    )
    late = ("0X1005D03EED19C65B.avi,1,1,2,2,4",) + ("0X1005D03EED19C65B.avi,1,1,2,2,4",) * 3
    opened = open_dataset(
        "echonet-dynamic", dynamic(tmp_path, *more, tracings=(*late, "0XC.avi,1,2,3,4,0")), "train", on_error="collect"
    )
    assert [r.id for r in opened] == ["0X1002E8FBACD08477"]
    assert [str(e).rpartition("FileList.csv, ")[2] for e in opened.errors[:-1]] == [
        "row 4: cannot be read: a tracing of a frame behind the last", "row 5: cannot be read: no file '0XA' among the 3 here",
        "row 6: cannot be read: 'EF' is no number", "row 7: cannot be read: 'Split' is none of TRAIN, VAL and TEST",
    ]  # fmt: skip
    assert "VolumeTracings.csv: 1 films that FileList.csv does not list: 0XC" in str(opened.errors[-1])


def test_a_film_of_another_length_than_its_table_says_is_told(tmp_path: Path) -> None:
    root = dynamic(tmp_path)
    film(root / "EchoNet-Dynamic/Videos/0X1005D03EED19C65B.avi", 3)
    whole, short = open_dataset("echonet-dynamic", root, "train")
    with notices.listening() as heard:
        assert len(list(whole.frames())) == 4 and heard == []
        assert len(list(short.frames())) == 3
    assert heard == ["a film has another number of frames than the owners' table says"]


def test_a_film_cut_short_is_named(tmp_path: Path) -> None:
    root = dynamic(tmp_path)
    (root / "EchoNet-Dynamic/Videos/0X1005D03EED19C65B.avi").write_bytes(b"RIFF")
    *_, last = open_dataset("echonet-dynamic", root, "train")
    with pytest.raises(DatasetError, match=r"0X1005D03EED19C65B\.avi: not a readable video"):
        list(last.frames())


LVH = ",HashedFileName,Calc,CalcValue,Frame,X1,X2,Y1,Y2,Frames,FPS,Width,Height,split"


def lvh(root: Path, *more: str) -> Path:
    for place, name in ((1, "0X1017E31C6AF9B48F"), (4, "0X2A")):
        film(root / f"Batch{place}/{name}.avi", 4)
    rows = ("0,0X1017E31C6AF9B48F,IVSd,1.2,2,10,11,20,30,4,59.0,16,16,train", "1,0X1017E31C6AF9B48F,IVSd,1.0,3,10,12,20,30,4,59.0,16,16,train",
            "2,0X1017E31C6AF9B48F,LVIDd,4.5,2,10,12,30,60,4,59.0,16,16,train", "3,0X2A,LVIDs,3.1,1,1,2,3,4,4,50,16,16,val")  # fmt: skip
    text(root / "MeasurementsList.csv", LVH, *rows, *more)
    return root


@pytest.mark.evidence("echonet-lvh", "layout")
def test_echonet_lvh_has_a_row_a_pair_of_calipers(tmp_path: Path) -> None:
    """tue-bmd/zea, converter of echonetlvh: MeasurementsList.csv (an unnamed first column, HashedFileName, Calc, split), Batch1 to 4."""
    opened = open_dataset("echonet-lvh", lvh(tmp_path))
    [train], [validation] = opened["train"], opened["validation"]
    assert train.id == "0X1017E31C6AF9B48F" and train.labels == {
        "IVSd": pytest.approx(1.1),
        "LVIDd": 4.5,
        "LVPWd": MISSING,
        "LVIDs": MISSING,
    }
    assert train.polygons[0] == Polygon("IVSd", ((10, 20), (11, 30)), 2) and [p.plane for p in train.polygons] == [
        2,
        3,
        2,
    ]
    assert validation.labels["LVIDs"] == 3.1 and validation.meta["size"] == (16, 16)
    assert next(train.frames()).dtype == np.uint8


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("4,0X2A,LVIDs,3.1,1,1,2,3,4,4,50,16,16,test", "the rows of one film name two splits"),
        ("4,0X2A,EPSS,3.1,1,1,2,3,4,4,50,16,16,val", "1 kinds of length in 'Calc' that the card does not know"),
        ("4,0X2A,LVIDs,3.1,4,1,2,3,4,4,50,16,16,val", "calipers on a frame behind the last"),
    ],
)
def test_echonet_lvh_rows_that_are_not_the_layout_are_named(tmp_path: Path, row: str, reason: str) -> None:
    with pytest.raises(DatasetError, match=f"MeasurementsList.csv, row 5: cannot be read: {reason}"):
        list(open_dataset("echonet-lvh", lvh(tmp_path, row), "validation"))
