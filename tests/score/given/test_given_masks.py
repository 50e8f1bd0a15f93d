"""Masks of a user's own folder against a set's records: matched, brought to the grid or refused, and every file accounted for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from healthfm import RunError, evaluate_predictions, load_run
from healthfm.cards.schema import Evaluation
from healthfm.score.masks import Pair, measure
from tests.cli.command import run
from tests.datasets.drawn import picture, put

AFFINE = np.diag([1.5, 1.5, 3.0, 1.0])
SHAPE = (10, 9, 8)
TOP = "Totalsegmentator_dataset"


def block(*slices: slice, shape: tuple[int, ...] = SHAPE, value: int = 1) -> Any:
    grid = np.zeros(shape, np.uint8)
    grid[slices] = value
    return grid


LIVER, SPLEEN = block(slice(2, 6), slice(2, 6), slice(1, 5)), block(slice(6, 9), slice(5, 8), slice(4, 7))


def save(path: Path, grid: Any, affine: Any = AFFINE) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.Nifti1Image(grid, affine).to_filename(path)


@pytest.fixture
def official(tmp_path: Path) -> Path:
    """Three subjects with liver, spleen and a structure out of view, in TotalSegmentator's layout."""
    root = tmp_path / "official"
    for name in ("s1", "s2", "s3"):
        save(root / TOP / name / "ct.nii.gz", np.arange(np.prod(SHAPE), dtype=np.int16).reshape(SHAPE))
        for label, grid in (("liver", LIVER), ("spleen", SPLEEN), ("brain", 0 * LIVER)):
            save(root / TOP / name / "segmentations" / f"{label}.nii.gz", grid)
    rows = "".join(f"{name};50;m;A;CT;test\n" for name in ("s1", "s2", "s3"))
    (root / TOP / "meta.csv").write_text(
        "image_id;age;gender;institute;study_type;split\n" + rows + "s9;50;m;A;CT;train\n"
    )
    return root


def against(
    folder: Path, root: Path, name: str = "totalsegmentator", **more: Any
) -> tuple[Any, dict[str, dict[str, Any]]]:
    done = evaluate_predictions(folder, against=name, root=root, **more)
    return done, {row["id"]: row for row in done.predictions.to_pylist()}


def test_every_file_of_a_folder_is_scored_or_named(official: Path, tmp_path: Path) -> None:
    """s1 is right but for a shift of the spleen, s2 lacks the spleen's file and sees a brain, s3 has no file; one file is of nobody."""
    mine = tmp_path / "mine"
    save(mine / "s1/liver.nii.gz", LIVER)
    save(mine / "s1/spleen.nii.gz", np.roll(SPLEEN, 1, axis=0))
    save(mine / "s2/segmentations/liver.nii.gz", 255 * LIVER)
    save(mine / "s2/segmentations/brain.nii.gz", SPLEEN)
    save(mine / "s8/liver.nii.gz", LIVER)
    done, rows = against(mine, official)
    assert {name: row["dice"] for name, row in rows.items()} == {
        "s1/liver": 1, "s1/spleen": pytest.approx(2 / 3), "s1/brain": None, "s2/liver": 1, "s2/spleen": 0, "s2/brain": None,
        "s3/liver": 0, "s3/spleen": 0, "s3/brain": None,
    }  # fmt: skip
    states = {name: row["state"] for name, row in rows.items() if row["state"]}
    assert (states["s2/spleen"], states["s2/brain"], states["s3/liver"]) == ("no file", "no reference", "no file")
    assert rows["s1/spleen"]["nsd"] == 1 and rows["s1/spleen"]["hd95"] == 1.5  # a shift of one voxel, 3 mm of tolerance
    assert rows["s3/liver"]["hd95"] == pytest.approx(np.linalg.norm([9 * 1.5, 8 * 1.5, 7 * 3]))  # the grid's diagonal
    assert done.metrics["dice"]["value"] == pytest.approx(
        (2 / 3 + (2 / 3) / 3) / 2
    )  # of each label over cases, then of labels
    assert "patient" in done.metrics["dice"]["method"] and done.metrics["dice"]["n"] == 6
    said = " | ".join(done.scores["rules"])
    for words in ("not scored: 1 file for no record or label here: s8/liver.nii.gz", "no file was given for 1 record, which counts as masks without a voxel: s3",
                  "rule reference-only", "left out: split train", "1 of 9 rows: the reference has no voxel", "worst cases by Dice: s2/spleen (0.000)"):  # fmt: skip
        assert words in said


def test_a_mask_on_another_grid_is_refused_and_resampled_when_asked(official: Path, tmp_path: Path) -> None:
    """The same mask, its first axis the other way round with the affine that says so, and of twice as many slices."""
    mine = tmp_path / "mine"
    turned = AFFINE @ np.array([[-1, 0, 0, SHAPE[0] - 1], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    save(mine / "s1/liver.nii.gz", LIVER[::-1], turned)
    for name, message in (("s1/liver", "another affine"), ("s1/spleen", r"\[10, 9, 16\] voxels for \[10, 9, 8\]")):
        with pytest.raises(RunError, match=rf"{name}.nii.gz: not on the grid of s1: {message}.*--resample nearest"):
            against(mine, official)
        (mine / "s1/liver.nii.gz").unlink(missing_ok=True)
        save(
            mine / "s1/spleen.nii.gz",
            np.repeat(SPLEEN, 2, axis=2),
            AFFINE @ np.diag([1, 1, 0.5, 1]) + np.eye(4, k=3) * 0,
        )
    save(mine / "s1/liver.nii.gz", LIVER[::-1], turned)
    done, rows = against(mine, official, resample="nearest")
    assert rows["s1/liver"]["dice"] == 1 and rows["s1/liver"]["resampled"]
    assert 0.8 < rows["s1/spleen"]["dice"] <= 1
    assert "resampled by nearest neighbour: 1 case " in " ".join(done.scores["rules"])
    save(
        mine / "s1/spleen.nii.gz", SPLEEN, AFFINE + 0.004
    )  # headers in float32 are off by less than a hundredth of a millimetre
    assert against(mine, official, resample="nearest")[1]["s1/spleen"]["dice"] == 1


def flare(root: Path) -> Path:
    """Two scans of FLARE 2023: of the first liver and aorta are annotated, of the second the liver alone."""
    aorta = block(slice(8, 9), slice(1, 2), slice(2, 7), value=5)
    for name, grid in (("0001", LIVER + aorta), ("0002", LIVER)):
        save(root / f"imagesTr2200/FLARE23_{name}_0000.nii.gz", np.zeros(SHAPE, np.int16))
        save(root / f"labelsTr2200/FLARE23_{name}.nii.gz", grid)
    return root


def test_a_label_map_is_read_by_the_cards_values_and_partial_labels_are_no_absence(tmp_path: Path) -> None:
    root, mine = flare(tmp_path / "flare"), tmp_path / "mine"
    aorta = block(slice(8, 9), slice(1, 2), slice(0, 8), value=5)  # beyond the slices that the reference has it in
    save(mine / "FLARE23_0001_0000.nii.gz", LIVER + aorta)  # as the image's file is called
    save(mine / "FLARE23_0002.nii.gz", LIVER + aorta)
    done, rows = against(mine, root, "flare-2023")
    assert rows["FLARE23_0001/aorta"]["dice"] == rows["FLARE23_0002/liver"]["dice"] == 1
    assert (rows["FLARE23_0002/aorta"]["state"], rows["FLARE23_0002/aorta"]["dice"]) == ("not annotated", None)
    said = " ".join(done.scores["rules"])
    assert (
        "scored in the reference's slices only" in said and "liver 5" in said and "not annotated in this case" in said
    )
    save(mine / "FLARE23_0002.nii.gz", LIVER + 40 * SPLEEN)
    with pytest.raises(RunError, match=r"FLARE23_0002.nii.gz: it holds 40, which is the value of no label"):
        against(mine, root, "flare-2023")
    save(mine / "FLARE23_0002.nii.gz", 40 * LIVER)
    save(mine / "FLARE23_0001_0000.nii.gz", 40 * LIVER)
    (mine / "dataset.json").write_text(json.dumps({"labels": {"background": 0, "Liver": 40}}))
    assert against(mine, root, "flare-2023")[1]["FLARE23_0001/liver"]["dice"] == 1
    (mine / "dataset.json").write_text(json.dumps({"labels": {"background": 0, "heart": 40}}))
    with pytest.raises(RunError, match=r"dataset.json: heart: no label of flare-2023"):
        against(mine, root, "flare-2023")


def test_regions_are_made_of_classes_and_two_files_of_one_case_are_refused(tmp_path: Path) -> None:
    """BraTS scores three regions: oedema that is called necrosis costs the core, not the whole tumour; its lesions are counted."""
    root, mine, case = tmp_path / "brats", tmp_path / "mine", "BraTS2021_00000"
    for part in ("flair", "t1", "t1ce", "t2"):
        save(root / f"RSNA_ASNR_MICCAI_BraTS2021_TrainingData/{case}/{case}_{part}.nii.gz", np.zeros(SHAPE, np.int16))
    save(root / f"RSNA_ASNR_MICCAI_BraTS2021_TrainingData/{case}/{case}_seg.nii.gz", 2 * LIVER + 4 * SPLEEN)
    save(mine / f"{case}.nii.gz", LIVER + 4 * SPLEEN)
    done, rows = against(mine, root, "brats21:brats2021")
    found = {name.split("/")[1]: row for name, row in rows.items()}
    assert {name: row["dice"] for name, row in found.items()} == {
        "whole tumour": 1, "tumour core": pytest.approx(2 * 27 / (27 + 27 + 64)), "enhancing tumour": 1,
    }  # fmt: skip
    assert set(done.scores["per_class"]) == set(found)
    assert [found["tumour core"][name] for name in ("lesions", "lesions_found", "lesions_false", "lesion_f1")] == [
        1,
        1,
        0,
        1,
    ]
    assert done.metrics["lesion_sensitivity"]["value"] == 1 and "joined by 3 steps" in " ".join(done.scores["rules"])
    save(mine / f"again/{case}.nii", LIVER)
    with pytest.raises(RunError, match=r"both are named after BraTS2021_00000; keep one"):
        against(mine, root, "brats21:brats2021")


@pytest.mark.parametrize(
    ("rule", "both", "reference", "prediction"),
    [("left-out", (None, None), (0, 5), (0, 5)), ("perfect", (1, 0), (0, 5), (0, 5)), ("reference-only", (None, None), (None, None), (0, 5))],
)  # fmt: skip
def test_empty_masks_follow_the_named_rule(rule: Any, both: Any, reference: Any, prediction: Any) -> None:
    """Dice and HD95 where both are empty, the reference alone, the prediction alone; on a grid of 4 x 5 the diagonal is 5."""
    empty, full = np.zeros((4, 5), bool), np.ones((4, 5), bool)
    how = Evaluation(task="segmentation", empty=rule)
    for one, other, expected in ((empty, empty, both), (empty, full, reference), (full, empty, prediction)):
        found = measure(Pair("a", one, other, (1.0, 1.0)), how)
        assert (found["dice"], found["hd95"]) == expected
    missing = measure(Pair("a", empty, None, (1.0, 1.0)), how)
    assert (missing["state"], missing["dice"]) == ("no file", 0 if rule == "perfect" else None)
    assert measure(Pair("a", full, empty, (1.0, 1.0)), Evaluation(task="segmentation", farthest=374))["hd95"] == 374


def test_pictures_have_masks_of_two_values_and_pixels_for_units(tmp_path: Path) -> None:
    marked = np.zeros((16, 24), np.uint8)
    marked[4:8, 8:16] = 255
    for name in ("p1", "p2"):
        picture(tmp_path / f"k/segmented-images/images/{name}.jpg", size=(16, 24), colour=True)
        put(tmp_path / f"k/segmented-images/masks/{name}.jpg", np.repeat(marked[..., None], 3, axis=2))
    box = {"height": 16, "width": 24, "bbox": [{"label": "polyp", "xmin": 8, "ymin": 4, "xmax": 16, "ymax": 8}]}
    (tmp_path / "k/segmented-images/bounding-boxes.json").write_text(json.dumps({"p1": box, "p2": box}))
    put(tmp_path / "mine/p1.png", np.roll(marked, 2, axis=1))
    put(tmp_path / "mine/p2.png", marked // 255)
    done, rows = against(tmp_path / "mine", tmp_path / "k", "hyperkvasir:segmented-images", tolerance=1)
    assert (rows["p1/polyp"]["dice"], rows["p1/polyp"]["hd95"], rows["p2/polyp"]["dice"]) == (0.75, 2, 1)
    assert "NSD tolerance (pixels): all 1" in " ".join(done.scores["rules"])
    put(tmp_path / "mine/p2.png", marked[:8])
    with pytest.raises(RunError, match=r"p2.png: \[8, 24\] pixels, its picture's mask has \[16, 24\]"):
        against(tmp_path / "mine", tmp_path / "k", "hyperkvasir:segmented-images")


def test_the_command_line_writes_a_page_with_outlines_in_words(official: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    save(mine / "s1/liver.nii.gz", np.roll(LIVER, 2, axis=1))
    words = (
        "report",
        "--predictions",
        mine,
        "--against",
        "totalsegmentator",
        "--root",
        official,
        "--output",
        tmp_path / "run",
    )
    done = run(*words)
    assert done.returncode == 0 and "worst cases by Dice: s1/spleen" in done.stdout, done.stderr
    page = (tmp_path / "run/report.html").read_text()
    for part in (
        "Case by case",
        "Where it is wrong",
        "Solid green line: true; dashed red line: given",
        "counted from the feet",
        "data:image/jpeg",
    ):
        assert part in page
    for more, message in ((("--task", "detection"), "a folder is one of masks"), (("--resample", "linear"), "resample is 'linear'"), (("--classes", "a"), "--against goes with")):  # fmt: skip
        failed = run(*words[:-2], *more)
        assert failed.returncode == 2 and message in failed.stderr and "Traceback" not in failed.stderr
    (official / TOP / "meta.csv").unlink()
    assert "are not here, or have changed" in load_run(tmp_path / "run").report().read_text()


def test_pictures_of_a_set_that_may_not_be_shown_are_not(tmp_path: Path) -> None:
    root, mine = flare(tmp_path / "flare"), tmp_path / "mine"
    save(mine / "FLARE23_0001.nii.gz", np.roll(LIVER, 1, axis=0))
    done = evaluate_predictions(mine, against="flare-2023", root=root, output=tmp_path / "run")
    assert "data:image/jpeg" not in done.report().read_text()
    page = done.report(show_inputs=True).read_text()
    assert "data:image/jpeg" in page and "may not be shared" in page
