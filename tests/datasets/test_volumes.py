"""Volumes with masks in their owners' layouts: names, splits, channels and label values as the files that each card cites have them."""

from __future__ import annotations

import gzip
import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from healthfm import open_dataset
from healthfm.errors import DatasetError

ProvesWith = Callable[..., None]
AFFINE = np.diag([1.0, 1.0, 3.0, 1.0])
GRID = np.arange(24, dtype=np.int16).reshape(2, 3, 4)


def put(root: Path, name: str, values: Any = None, affine: Any = AFFINE) -> None:
    """Write a volume of 2 x 3 x 4 voxels; ``values``: those of its first voxels, the rest is 0 (None: an image)."""
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    grid = GRID
    if values is not None:
        grid = np.zeros((2, 3, 4), np.uint8)
        grid.reshape(-1)[: len(values)] = values
    if name.endswith(".mha"):
        import SimpleITK as sitk  # noqa: N813

        sitk.WriteImage(sitk.GetImageFromArray(grid.astype(np.int16)), str(path))
    else:
        nibabel.Nifti1Image(grid, affine).to_filename(path)


def records(name: str, root: Path, split: str | None = None, on_error: Any = "raise") -> list[Any]:
    return list(open_dataset(name, root, split, on_error=on_error))


SUBJECT = "Totalsegmentator_dataset/s0000"
META = "image_id;age;gender;institute;study_type;split\n"


@pytest.mark.evidence("totalsegmentator", "layout")
@pytest.mark.evidence("totalsegmentatorv2", "layout")
@pytest.mark.parametrize(
    ("slug", "top"), [("totalsegmentator", "Totalsegmentator_dataset/"), ("totalsegmentatorv2", "")]
)
def test_a_subject_is_in_the_split_of_the_table_and_a_structure_is_a_file(tmp_path: Path, slug: str, top: str) -> None:
    for name in ("s0000", "s0001"):
        put(tmp_path, f"{top}{name}/ct.nii.gz")
        put(tmp_path, f"{top}{name}/segmentations/liver.nii.gz", [1, 1])
        put(tmp_path, f"{top}{name}/segmentations/spleen.nii.gz", [])
    (tmp_path / top / "meta.csv").write_text(
        META + "s0000;50;m;A;CT;train\ns0001;60;f;B;CT;test\ns0002;60;f;B;CT;test\n"
    )
    (one,) = records(slug, tmp_path, "train")
    assert (one.id, one.patient, one.site, one.modality, sorted(one.masks)) == (
        "s0000",
        "s0000",
        "A",
        "CT",
        ["liver", "spleen"],
    )
    assert one.masks["liver"]().sum() == 2 and not one.masks["spleen"]().any() and np.array_equal(one.voxels, GRID)
    dataset = open_dataset(slug, tmp_path, "test", on_error="collect")
    assert [two.id for two in dataset] == ["s0001"] and "s0002 is listed, its scan is not here" in str(
        dataset.errors[0]
    )


@pytest.mark.evidence("totalsegmentatorv2", "sample", where="reference")
def test_the_owners_scan_with_its_own_structures_in_a_subjects_folder(
    reference_data: Path, tmp_path: Path, proves_with: ProvesWith
) -> None:
    folder = reference_data / "totalsegmentator_examples/tests/reference_files"
    proves_with(folder / "example_ct_sm.nii.gz", folder / "example_seg_fast")
    (tmp_path / "s0000").mkdir()
    shutil.copy(folder / "example_ct_sm.nii.gz", tmp_path / "s0000/ct.nii.gz")
    shutil.copytree(folder / "example_seg_fast", tmp_path / "s0000/segmentations")
    (tmp_path / "meta.csv").write_text(META + "s0000;;;;;train\n")
    (one,) = records("totalsegmentatorv2", tmp_path, "train")
    assert len(one.masks) == 117
    theirs = nibabel.load(folder / "example_seg_fast/liver.nii.gz")
    assert np.array_equal(one.masks["liver"](), np.asarray(theirs.dataobj) > 0) and one.masks["liver"]().any()
    assert np.array_equal(one.voxels, np.asarray(nibabel.load(folder / "example_ct_sm.nii.gz").dataobj))


@pytest.mark.evidence("autopet", "layout")
def test_pet_and_the_ct_on_its_grid_are_two_channels_and_the_patient_is_the_outer_folder(tmp_path: Path) -> None:
    for day in ("01-01-2000-NA-PET", "02-01-2001-NA-PET"):
        for name, values in (("SUV", None), ("CTres", None), ("SEG", [1])):
            put(tmp_path, f"FDG-PET-CT-Lesions/PETCT_0a1/{day}/{name}.nii.gz", values)
    one, two = records("autopet", tmp_path)
    assert (
        one.patient == two.patient == "PETCT_0a1" and one.channels == ("SUV", "CT") and one.voxels.shape == (2, 3, 4, 2)
    )
    assert one.masks["tumour lesion"]().sum() == 1
    for name, values in (
        ("imagesTr/petct_ab_x_0000", None),
        ("imagesTr/petct_ab_x_0001", None),
        ("labelsTr/petct_ab_x", [0, 1]),
    ):
        put(tmp_path / "nn", f"{name}.nii.gz", values)
    (three,) = records("autopet:nnunet", tmp_path / "nn")
    assert (three.id, three.patient, three.channels) == ("petct_ab_x", "petct_ab", ("SUV", "CT"))


PAIRS = [
    ("uls", None, "ULS23/novel_data/ULS23_Radboudumc_Bone/images/a.nii.gz", "ULS23/novel_data/ULS23_Radboudumc_Bone/labels/a.nii.gz", "ULS23_Radboudumc_Bone/a", {"lesion": 1}),
    ("flare-2022", "train", "Training/FLARE22_LabeledCase50/images/FLARE22_Tr_0001_0000.nii.gz", "Training/FLARE22_LabeledCase50/labels/FLARE22_Tr_0001.nii.gz", "FLARE22_Tr_0001",
     {"liver": 1, "left kidney": 13}),
    ("flare-2023", "train", "imagesTr2200/FLARE23_0001_0000.nii.gz", "labelsTr2200/FLARE23_0001.nii.gz", "FLARE23_0001", {"tumour": 14}),
    ("abdomenct-1k", None, "AbdomenCT-1K-ImagePart1/Case_00001_0000.nii.gz", "Mask/Case_00001.nii.gz", "Case_00001", {"pancreas": 4}),
    ("abdomenct-1k:nnunet", None, "imagesTr/Case_00001_0000.nii.gz", "labelsTr/Case_00001.nii.gz", "Case_00001", {"kidney": 2}),
    ("ctspine1k", None, "data/colon/1.3.6.1.4.1.9328.50.4.0001.nii.gz", "label/conlon/1.3.6.1.4.1.9328.50.4.0001_seg.nii.gz", "1.3.6.1.4.1.9328.50.4.0001", {"L6": 25, "C1": 1}),
    ("ctpelvic1k", None, "d/dataset6_CLINIC_0001_data.nii.gz", "m/dataset6_CLINIC_0001_mask_4label.nii.gz", "dataset6_CLINIC_0001", {"left hip": 2}),
    ("atlas-v2", "train", "ATLAS_2/Training/R001/sub-r001s001/ses-1/anat/sub-r001s001_ses-1_space-MNI152NLin2009aSym_T1w.nii.gz",
     "ATLAS_2/Training/R001/sub-r001s001/ses-1/anat/sub-r001s001_ses-1_space-MNI152NLin2009aSym_label-L_desc-T1lesion_mask.nii.gz", "sub-r001s001", {"stroke lesion": 1}),
]  # fmt: skip


@pytest.mark.evidence("uls", "layout")
@pytest.mark.evidence("flare-2022", "layout")
@pytest.mark.evidence("flare-2023", "layout")
@pytest.mark.evidence("abdomenct-1k", "layout")
@pytest.mark.evidence("ctspine1k", "layout")
@pytest.mark.evidence("ctpelvic1k", "layout")
@pytest.mark.evidence("atlas-v2", "layout")
@pytest.mark.parametrize(("name", "split", "image", "mask", "case", "values"), PAIRS, ids=[one[0] for one in PAIRS])
def test_image_and_label_map_join_by_their_names_and_values_get_their_meaning(
    tmp_path: Path, name: str, split: str | None, image: str, mask: str, case: str, values: dict[str, int]
) -> None:
    put(tmp_path, image)
    put(tmp_path, mask, list(values.values()))
    (one,) = records(name, tmp_path, split)
    assert one.id == case and np.array_equal(one.voxels, GRID) and np.allclose(one.affine, AFFINE)
    for place, label in enumerate(values):
        assert np.flatnonzero(one.masks[label]()).tolist() == [place], label
    put(tmp_path, mask, [77])
    (two,) = records(name, tmp_path, split)
    with pytest.raises(DatasetError, match="holds 77, which are none of the values"):
        two.masks[next(iter(values))]()
    put(tmp_path, mask, list(values.values()), np.diag([2.0, 1, 3, 1]))
    (three,) = records(name, tmp_path, split)
    with pytest.raises(DatasetError, match="must lie on its image's grid"):
        three.masks[next(iter(values))]()


def test_a_class_that_a_partly_annotated_case_lacks_is_no_absence(tmp_path: Path) -> None:
    put(tmp_path, "imagesTr2200/FLARE23_0001_0000.nii.gz")
    put(tmp_path, "labelsTr2200/FLARE23_0001.nii.gz", [1])
    (one,) = records("flare-2023", tmp_path, "train")
    assert one.masks["liver"]().sum() == 1
    with pytest.raises(DatasetError, match="'spleen' is not annotated in this case"):
        one.masks["spleen"]()
    put(tmp_path, "Training/FLARE22_LabeledCase50/images/FLARE22_Tr_0001_0000.nii.gz")
    put(tmp_path, "Training/FLARE22_LabeledCase50/labels/FLARE22_Tr_0001.nii.gz", [1])
    (whole,) = records("flare-2022", tmp_path, "train")
    assert not whole.masks["spleen"]().any()  # there, it is


def test_an_image_without_a_mask_and_a_mask_without_an_image_are_named_and_the_rest_goes_on(tmp_path: Path) -> None:
    for number in (1, 2):
        put(tmp_path, f"AbdomenCT-1K-ImagePart1/Case_0000{number}_0000.nii.gz")
    for number in (2, 3):
        put(tmp_path, f"Mask/Case_0000{number}.nii.gz", [1])
    dataset = open_dataset("abdomenct-1k", tmp_path, on_error="collect")
    assert [one.id for one in dataset] == ["Case_00002"]
    assert ["no mask of Case_00001" in str(dataset.errors[0]), "a mask without an image" in str(dataset.errors[1])] == [
        True,
        True,
    ]


def test_of_parts_without_images_the_record_is_the_mask_alone(tmp_path: Path) -> None:
    put(tmp_path, "CTPelvic1K_dataset1/dataset1_ABDOMEN_0001_mask_4label.nii.gz", [2, 3])
    (one,) = records("ctpelvic1k:masks-only", tmp_path)
    assert one.masks["left hip"]().sum() == 1 and one.meta["scan"].startswith("elsewhere")


@pytest.mark.evidence("msd", "layout")
def test_a_decathlon_task_is_what_its_index_says(tmp_path: Path) -> None:
    """dataset.json as MONAI's DecathlonDataset reads it: modality, labels, training pairs, test paths."""
    top = tmp_path / "Task01_BrainTumour"
    for case in ("BRATS_001", "BRATS_003"):
        (top / "imagesTr").mkdir(parents=True, exist_ok=True)
        nibabel.Nifti1Image(np.stack([GRID] * 4, -1), AFFINE).to_filename(top / f"imagesTr/{case}.nii.gz")
        put(top, f"labelsTr/{case}.nii.gz", [3])
    (top / "imagesTr/._BRATS_001.nii.gz").write_bytes(b"AppleDouble")
    index = {"modality": {"0": "FLAIR", "1": "T1w", "2": "t1gd", "3": "T2w"}, "labels": {"0": "background", "1": "edema", "2": "non-enhancing tumor", "3": "enhancing tumour"},
             "training": [{"image": f"./imagesTr/{c}.nii.gz", "label": f"./labelsTr/{c}.nii.gz"} for c in ("BRATS_001", "BRATS_002")], "test": []}  # fmt: skip
    (top / "dataset.json").write_text(json.dumps(index))
    dataset = open_dataset("msd:task01-brain-tumour", tmp_path, "train", on_error="collect")
    (one,) = dataset
    assert one.channels == ("FLAIR", "T1w", "t1gd", "T2w") and one.voxels.shape == (2, 3, 4, 4)  # type: ignore[attr-defined]
    assert one.masks["enhancing tumour"]().sum() == 1 and set(one.masks) == {
        "edema",
        "non-enhancing tumor",
        "enhancing tumour",
    }  # type: ignore[attr-defined]
    said = " ".join(map(str, dataset.errors))
    assert "BRATS_002 is listed, but not here" in said and "BRATS_003 is here, but not listed" in said


@pytest.mark.evidence("brats21", "layout")
@pytest.mark.evidence("brats2023-men", "layout")
def test_enhancing_tumour_is_4_in_one_edition_and_3_in_the_other(tmp_path: Path) -> None:
    """Names as neuro-ml/amid's brats2021.py and torch-em's brats.py have them."""
    old = "RSNA_ASNR_MICCAI_BraTS2021_TrainingData/BraTS2021_00000/BraTS2021_00000_{}.nii.gz"
    new = "ASNR-MICCAI-BraTS2023-GLI-Challenge-TrainingData/BraTS-GLI-00000-000/BraTS-GLI-00000-000-{}.nii.gz"
    men = "ASNR-MICCAI-BraTS2023-MEN-Challenge-TrainingData/BraTS-MEN-00004-001/BraTS-MEN-00004-001-{}.nii.gz"
    for pattern, names, value in (
        (old, ("flair", "t1", "t1ce", "t2"), 4),
        (new, ("t1n", "t1c", "t2w", "t2f"), 3),
        (men, ("t1n", "t1c", "t2w", "t2f"), 3),
    ):
        for name in names:
            put(tmp_path, pattern.format(name))
        put(tmp_path, pattern.format("seg"), [value])
    (one,), (two,), (three,) = (
        records(name, tmp_path, "train") for name in ("brats21", "brats21:brats2023-gli", "brats2023-men")
    )
    assert one.channels == ("flair", "t1", "t1ce", "t2") and two.channels == ("t1n", "t1c", "t2w", "t2f")
    assert [r.masks["enhancing tumour"]().sum() for r in (one, two, three)] == [1, 1, 1]
    assert (one.patient, two.patient, three.patient) == ("BraTS2021_00000", "BraTS-GLI-00000", "BraTS-MEN-00004")
    put(tmp_path, old.format("seg"), [3])
    (mixed,) = records("brats21", tmp_path, "train")
    with pytest.raises(DatasetError, match="holds 3, which are none"):
        mixed.masks["enhancing tumour"]()
    (tmp_path / old.format("t2")).unlink()
    with pytest.raises(DatasetError, match="BraTS2021_00000 lacks t2"):
        records("brats21", tmp_path, "train")


@pytest.mark.evidence("pi-cai", "layout")
def test_each_sequence_has_its_own_grid_and_lesions_lie_on_the_axial_t2(tmp_path: Path) -> None:
    """Names as DIAGNijmegen/picai_labels and the public images have them."""
    for sequence in ("t2w", "adc"):
        put(tmp_path, f"picai_public_images_fold0/10417/10417_1000424_{sequence}.mha")
    put(tmp_path, "csPCa_lesion_delineations/human_expert/resampled/10417_1000424.nii.gz", [3])
    sheet = tmp_path / "clinical_information/marksheet.csv"
    sheet.parent.mkdir()
    sheet.write_text("patient_id,study_id,psa,case_ISUP,case_csPCa,center\n10417,1000424,5,3,YES,RUMC\n")
    with zipfile.ZipFile(tmp_path / "picai_public_images_fold1.zip", "w") as archive:  # whose members say no fold
        archive.write(tmp_path / "picai_public_images_fold0/10417/10417_1000424_adc.mha", "10999/10417_1000424_adc.mha")
        archive.writestr("10999/._10417_1000424_adc.mha", b"of macOS")
    assert [one.id for one in records("pi-cai", tmp_path, "fold-1")] == ["10417_1000424_adc"]
    adc, t2 = records("pi-cai", tmp_path, "fold-0")
    assert (t2.id, t2.patient, t2.site, t2.labels) == ("10417_1000424_t2w", "10417", "RUMC", {"case_csPCa": "YES"})
    assert not adc.masks and "ISUP 3" in t2.masks


@pytest.mark.evidence("abdomenatlas-8k", "layout")
def test_a_folder_a_scan_with_a_file_a_structure(tmp_path: Path) -> None:
    put(tmp_path, "BDMAP_00000001/ct.nii.gz")
    put(tmp_path, "BDMAP_00000001/segmentations/postcava.nii.gz", [1, 0, 1])
    put(tmp_path, "BDMAP_00000001/segmentations/odd.nii.gz", [1, 2])
    (one,) = records("abdomenatlas-8k", tmp_path)
    assert one.masks["postcava"]().sum() == 2
    with pytest.raises(DatasetError, match="3 values, a mask of one structure"):
        one.masks["odd"]()


@pytest.mark.evidence("sat-ds", "layout")
def test_a_line_of_the_index_names_scan_mask_and_labels(tmp_path: Path) -> None:
    """Lines as in the owners' data/jsonl, whose scans lie two to eight folders below nii; ct.nii.gz is every scan's name in some sets."""
    line = {"image": "data/nii/MSD/Task03_Liver/imagesTr/liver_39.nii.gz", "mask": "data/nii/MSD/Task03_Liver/labelsTr/liver_39.nii.gz", "label": ["liver", "liver tumor"],
            "modality": "CT", "dataset": "MSD_Liver", "official_split": "train", "patient_id": "liver_39.nii.gz"}  # fmt: skip
    other = {
        **line,
        "image": "data/nii/Totalsegmentator_dataset/s0000/ct.nii.gz",
        "mask": "no",
        "dataset": "TotalSegmentator_Ribs",
        "modality": "MRI FLAIR",
    }
    lines = [line, other, {**other, "image": "data/nii/Totalsegmentator_dataset/s0001/ct.nii.gz"}]
    (tmp_path / "data/jsonl").mkdir(parents=True)
    (tmp_path / "data/jsonl/MSD_Liver.jsonl").write_text("".join(json.dumps(one) + "\n" for one in lines))
    bare = open_dataset("sat-ds", tmp_path)
    assert (bare.splits, [one.id for one in bare][1:]) == (
        ("all",),
        ["TotalSegmentator_Ribs:s0000/ct", "TotalSegmentator_Ribs:s0001/ct"],
    )
    assert bare.notices == ["sat-ds: no scan is here; the index alone is read"]
    with pytest.raises(DatasetError, match="row 1: its scan is not here"):
        _ = bare[0].voxels  # type: ignore[attr-defined]
    put(tmp_path, line["image"])
    put(tmp_path, line["mask"], [1, 0, 1])
    put(tmp_path, other["image"])
    dataset = open_dataset("sat-ds", tmp_path, on_error="collect")
    one, two = dataset
    assert (one.id, one.patient, one.site, one.meta["label"]) == (
        "MSD_Liver:Task03_Liver/imagesTr/liver_39",
        "MSD_Liver:liver_39.nii.gz",
        "MSD_Liver",
        ["liver", "liver tumor"],
    )  # type: ignore[attr-defined]
    assert (
        one.masks["as stored"]().sum() == 2
        and one.voxels.size
        and (two.modality, two.meta["modality"], dict(two.masks)) == ("MR", "MRI FLAIR", {})
    )  # type: ignore[attr-defined]
    assert "row 3" in str(dataset.errors[0]) and "its image is not here" in str(dataset.errors[0])


def test_a_damaged_mask_is_said_when_it_is_decoded(tmp_path: Path) -> None:
    put(tmp_path, "BDMAP_00000001/ct.nii.gz")
    path = tmp_path / "BDMAP_00000001/segmentations/liver.nii.gz"
    put(tmp_path, "BDMAP_00000001/segmentations/liver.nii.gz", [1])
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes())[:360]))
    (one,) = records("abdomenatlas-8k", tmp_path)
    with pytest.raises(DatasetError, match=r"cut short|not a readable NIfTI"):
        one.masks["liver"]()
