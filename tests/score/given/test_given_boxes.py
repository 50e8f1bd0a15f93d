"""Boxes of a user's own file against a set's pictures: from a table or JSON, by file name, every box accounted for."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from healthfm import RunError, evaluate_predictions
from healthfm.report import outlines
from tests.cli.command import run
from tests.datasets.drawn import picture
from tests.datasets.test_radiographs import BOXES, nih

HEAD = "image,label,score,x,y,w,h\n"


@pytest.fixture
def polyps(tmp_path: Path) -> Path:
    """Two pictures with a polyp each, in HyperKvasir's layout."""
    top = tmp_path / "k/segmented-images"
    for name in ("p1", "p2"):
        picture(top / f"images/{name}.jpg", size=(16, 24), colour=True)
        picture(top / f"masks/{name}.jpg", size=(16, 24))
    box = {"height": 16, "width": 24, "bbox": [{"label": "polyp", "xmin": 8, "ymin": 4, "xmax": 16, "ymax": 8}]}
    (top / "bounding-boxes.json").write_text(json.dumps({"p1": box, "p2": box}))
    return tmp_path / "k"


COCO = [
    {"image_id": 7, "category_id": 1, "bbox": [8, 4, 8, 4], "score": 0.9},
    {"image_id": 8, "category_id": 1, "bbox": [0, 0, 4, 4], "score": 0.8},
]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("mine.csv", HEAD + "p1.jpg,polyp,0.9,8,4,8,4\np2.jpg,Polyp,0.8,0,0,4,4\n"),
        ("mine.json", json.dumps([{**one, "image_id": f"p{one['image_id'] - 6}.jpg"} for one in COCO])),
        ("mine.json", json.dumps({"images": [{"id": 7, "file_name": "p1.jpg"}, {"id": 8, "file_name": "p2.jpg"}], "annotations": COCO,
                                  "categories": [{"id": 1, "name": "polyp"}]})),
    ],
)  # fmt: skip
def test_a_table_and_json_as_cocos_mean_the_same(polyps: Path, tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content)
    done = evaluate_predictions(tmp_path / name, against="hyperkvasir:segmented-images", root=polyps)
    assert done.facts["request"]["task"] == "detection"
    assert done.metrics["ap_50"]["value"] == pytest.approx(51 / 101)  # one of two is found, and it comes first
    assert done.predictions["prediction"].to_pylist()[0] == [{"label": "polyp", "corners": [8, 4, 16, 8], "score": 0.9}]


def test_pictures_that_nobody_looked_at_for_boxes_are_left_out_and_told(tmp_path: Path) -> None:
    """ChestX-ray14: of the test list's two pictures one has a box; what is given for the other cannot be called false."""
    root = nih(tmp_path / "nih", side=1024)
    (root / "BBox_List_2017.csv").write_text(f"{BOXES}\n00000001_000.png,Cardiomegaly,100,100,200,200,,,\n")
    mine = tmp_path / "mine.csv"
    mine.write_text(
        HEAD
        + "00000001_000.png,Cardiomegaly,0.4,150,150,100,100\n00000001_001.png,Mass,0.9,1,1,9,9\nelse.png,Mass,0.9,1,1,9,9\n"
    )
    done = run(
        "report", "--predictions", mine, "--against", "chestx-ray14", "--root", root, "--output", tmp_path / "run"
    )
    assert done.returncode == 0, done.stderr
    for said in (
        "localised-0.9",
        "left out: 1 picture without a true box",
        "not scored: boxes of 1 picture that is no record here: else",
        "left out: split train",
    ):
        assert said in done.stdout
    page = (tmp_path / "run/report.html").read_text()
    assert "Solid green line: true; dashed red line: given, with its score" in page and "data:image/jpeg" in page


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            HEAD + "p1,polyp,0.9,8,4,0,4\np2,polyp,,8,4,2,4\n",
            "2 boxes have no picture, label, score or inside: number 1, 2",
        ),
        (HEAD + "p1,cyst,0.9,8,4,2,4\n", r"1 labels are none of hyperkvasir:segmented-images's \(polyp\): cyst"),
        (HEAD + "q9,polyp,0.9,8,4,2,4\n", "no box is of a picture of hyperkvasir:segmented-images"),
        ("image,score,x,y\np1,0.9,8,4\n", "the table lacks w, h, label"),
    ],
)
def test_boxes_that_fit_nothing_are_one_line(polyps: Path, tmp_path: Path, rows: str, message: str) -> None:
    (tmp_path / "mine.csv").write_text(rows)
    with pytest.raises(RunError, match=message):
        evaluate_predictions(tmp_path / "mine.csv", against="hyperkvasir:segmented-images", root=polyps)


def test_json_that_is_none_and_options_of_masks_are_one_line(polyps: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine.json"
    mine.write_text(
        json.dumps([*COCO[:1], {"image_id": "p1", "category_id": 2, "bbox": [1, 1, 2, 2], "score": 1}]).replace(
            "7", '"p1"'
        )
    )
    more: dict[str, Any] = {"against": "hyperkvasir:segmented-images", "root": polyps}
    with pytest.raises(RunError, match="'categories' in the JSON says what each category_id is"):
        evaluate_predictions(mine, **more)
    with pytest.raises(RunError, match="--resample and --tolerance are for masks"):
        evaluate_predictions(mine, tolerance=2, **more)
    mine.write_text('{"boxes": []}')
    with pytest.raises(RunError, match="not JSON as COCO's results are"):
        evaluate_predictions(mine, **more)


def test_names_of_boxes_that_lie_on_each_other_are_moved_apart() -> None:
    box, taken = (10.0, 20.0, 60.0, 31.0), list[outlines.Place]()
    for _ in range(4):
        taken.append(outlines.free(box, taken, 100))
    tops = [one[1] for one in taken]
    assert tops == [20, 33, 7, 46] and all(abs(a - b) > 11 for a, b in itertools.combinations(tops, 2))
    assert outlines.free((70.0, 20.0, 90.0, 31.0), taken, 100) == (70, 20, 90, 31)  # beside them
    assert outlines.free(box, [(0, 0, 100, 100)], 100) == box  # no room at all
