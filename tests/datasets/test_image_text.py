"""Pictures with captions, questions and conversations, in their owners' layouts."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from healthfm import open_dataset
from healthfm.errors import DatasetError
from tests.datasets.laid import lay

ProvesWith = Callable[..., None]


def jpg(value: int = 100) -> bytes:
    held = io.BytesIO()
    PIL.Image.fromarray(np.full((4, 6, 3), value, np.uint8)).save(held, "PNG")
    return held.getvalue()


def packed(*names: str) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        for name in names:
            archive.writestr(name, jpg())
    return held.getvalue()


def records(name: str, root: Path, split: str | None = None, on_error: Any = "raise") -> list[Any]:
    return list(open_dataset(name, root, split, on_error=on_error))


def shown(record: Any) -> tuple[int, ...]:
    return record.media[0].pixels.shape


@pytest.mark.evidence("roco", "files", where="reference")
@pytest.mark.parametrize(("variant", "count"), [("radiology", 8179), ("non-radiology", 612)])
def test_rocos_own_test_captions_with_their_concepts(
    reference_data: Path, proves_with: ProvesWith, variant: str, count: int
) -> None:
    root = reference_data / "roco"
    proves_with(root / "data/test" / variant)
    dataset = open_dataset(f"roco:{variant}", root, "test")
    found = list(dataset)
    assert len(found) == count and not dataset.errors and not dataset.notices
    first = (root / f"data/test/{variant}/captions.txt").read_text().splitlines()[0].split("\t")
    assert (found[0].id, found[0].text) == (first[0], first[1].strip()) and not found[0].media  # type: ignore[attr-defined]
    assert all(one.meta["figure"].startswith("PMC") for one in found if one.meta["figure"])
    assert sum(bool(one.labels["cuis"]) for one in found) > count / 2
    if variant == "radiology":  # its semtypes.txt: T060 and its name, T047 and its name ...
        assert found[1].id == "ROCO_00006" and found[1].meta["semantic types"]["T060"] == "Diagnostic Procedure"


@pytest.mark.evidence("roco", "layout")
def test_a_caption_gets_the_picture_that_was_fetched_for_it(tmp_path: Path) -> None:
    top = "data/test/radiology"
    lay(tmp_path, {f"{top}/captions.txt": "ROCO_00001\t Computed tomography.\nROCO_00002\t MRI.\nno tab\n", f"{top}/cuis.txt": "ROCO_00001\t\tC0040405\tC1\nROCO_00002\n",
                   f"{top}/licences.txt": "ROCO_ID,PMC_ID,CC\nROCO_00001,PMC4083729_AMHSR-4-14-g002.jpg,CC BY\n", f"{top}/images/ROCO_00001.jpg": jpg()})  # fmt: skip
    dataset = open_dataset("roco", tmp_path, "test", on_error="collect")
    one, two = dataset
    assert (one.text, one.labels["cuis"], one.meta["figure"], shown(one)) == (
        "Computed tomography.",
        {"C0040405", "C1"},
        "PMC4083729_AMHSR-4-14-g002",
        (4, 6, 3),
    )  # type: ignore[attr-defined]
    assert two.labels["cuis"] == frozenset() and not two.media and "row 3" in str(dataset.errors[0])  # type: ignore[attr-defined]


@pytest.mark.evidence("imageclef2018", "layout")
def test_imageclefs_tables_have_no_header_and_the_test_set_no_captions(tmp_path: Path) -> None:
    lay(tmp_path, {"CaptionTraining2018/PMC1_f1.jpg": jpg(), "CaptionTraining2018/PMC9_f9.jpg": jpg(), "CaptionPredictionTraining2018-Captions.csv": "PMC1_f1\ta caption\n",
                   "ConceptDetectionTraining2018-Concepts.csv": "PMC1_f1\tC1;C2\n", "CaptionTest2018/PMC2_f1.jpg": jpg()})  # fmt: skip
    dataset = open_dataset("imageclef2018", tmp_path, "train")
    (one,) = dataset
    assert (one.text, one.labels, one.meta["figure"]) == ("a caption", {"concepts": {"C1", "C2"}}, "PMC1_f1") and shown(
        one
    ) == (4, 6, 3)  # type: ignore[attr-defined]
    assert dataset.passed_over[0][0] == "PMC9_f9"
    (test,) = records("imageclef2018", tmp_path, "test")
    assert test.text == "" and shown(test) == (4, 6, 3)


@pytest.mark.evidence("openpath", "layout")
def test_openpath_is_links_and_what_the_user_fetched(tmp_path: Path) -> None:
    lay(
        tmp_path,
        {
            "dataframe_208K_rows.csv": "11,Twitter,#dermpath,https://t/1,a,b\n12,LAION,,https://t/2,,\n",
            "images/11.jpg": jpg(),
        },
    )
    one, two = records("openpath", tmp_path)
    assert shown(one) == (4, 6, 3) and not two.media and two.meta["link"] == "https://t/2" and one.text == ""


@pytest.mark.evidence("pathvqa", "layout")
def test_pathvqa_from_the_hubs_tables_and_from_the_owners_pickles(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    (tmp_path / "data").mkdir()
    rows = [
        {"image": {"bytes": jpg(), "path": "x.jpg"}, "question": "where?", "answer": "in the wall"},
        {"image": {"bytes": None, "path": "y"}, "question": "q", "answer": "no"},
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "data/test-00000-of-00001.parquet")
    dataset = open_dataset("pathvqa", tmp_path, "test", on_error="collect")
    (one,) = dataset
    assert (one.question, one.answers, shown(one)) == (
        "where?",
        ("in the wall",),
        (4, 6, 3),
    ) and "its picture is no bytes" in str(dataset.errors[0])  # type: ignore[attr-defined]
    lay(
        tmp_path / "o",
        {
            "split/images/test/test_0001.jpg": jpg(),
            "split/qas/test/test_qa.pkl": pickle.dumps([{"image": "test_0001", "question": "is it?", "answer": "yes"}]),
        },
    )
    (two,) = records("pathvqa:owners", tmp_path / "o", "test")
    assert (two.answers, shown(two)) == (("yes",), (4, 6, 3))
    lay(
        tmp_path / "e",
        {"split/images/test/test_0001.jpg": jpg(), "split/qas/test/test_qa.pkl": b"cos\nsystem\n(S'true'\ntR."},
    )
    with pytest.raises(DatasetError):
        records("pathvqa:owners", tmp_path / "e", "test")


QUILT = "caption,image_path,subset,split,pathology,roi_text,noisy_text,corrected_text,med_umls_ids,magnification,height,width\n"


@pytest.mark.evidence("quilt-1m", "layout")
def test_quilt_has_several_captions_a_picture_and_lists_as_text(tmp_path: Path) -> None:
    rows = "one,a.jpg,quilt,train,x,\"['r1', 'r2']\",,,\"['C1']\",20,4,6\ntwo,a.jpg,quilt,train,x,,,,,,4,6\nthree,a.jpg,openpath,val,x,,,,,,4,6\nfour,a.jpg,quilt,train,x,__import__('os'),,,,,4,6\n"
    dataset = open_dataset(
        "quilt-1m",
        lay(tmp_path, {"quilt_1M_lookup.csv": QUILT + rows, "quilt_1m/a.jpg": jpg()}),
        "train",
        on_error="collect",
    )
    one, two = dataset
    assert (one.text, one.meta["roi_text"], one.meta["umls"], two.text) == (
        "one",
        ["r1", "r2"],
        ["C1"],
        "two",
    ) and one.id != two.id  # type: ignore[attr-defined]
    assert "a cell is no list" in str(dataset.errors[0])
    assert [r.text for r in records("quilt-1m", tmp_path, "validation")] == ["three"]


@pytest.mark.evidence("patchgastricadc22", "layout")
def test_a_slide_is_one_record_with_all_of_its_patches(tmp_path: Path) -> None:
    captions = (
        'id,subtype,text\ns_1,Moderately differentiated tubular adenocarcinoma,"line one\nline two"\ns_2,x,none here\n'
    )
    lay(
        tmp_path,
        {
            "captions.csv": captions,
            "patches_captions/s_1_aa.jpg": jpg(),
            "patches_captions/s_1_bb.jpg": jpg(),
            "patches_captions/s_9_cc.jpg": jpg(),
        },
    )
    dataset = open_dataset("patchgastricadc22", tmp_path, on_error="collect")
    (one,) = dataset
    assert (one.text, one.patient, len(one.media)) == ("line one\nline two", "s_1", 2)  # type: ignore[attr-defined]
    assert [
        "no patch of s_2" in str(dataset.errors[0]),
        "1 patches of s_9, which has no caption" in str(dataset.errors[1]),
    ] == [True, True]


@pytest.mark.evidence("medicat", "layout")
@pytest.mark.evidence("pmc-oa", "layout")
@pytest.mark.evidence("pathcap", "layout")
def test_captions_by_the_line_find_their_pictures_packed_or_not(tmp_path: Path) -> None:
    figure = {"pdf_hash": "ab", "fig_key": "Figure1", "fig_uri": "2-Figure1-1.png", "s2_caption": "Axial CT.", "s2orc_references": ["see Fig. 1"], "radiology": True, "scope": "medical",
              "predicted_type": "Medical images", "oa_info": {"license": "CC BY"}}  # fmt: skip
    lay(
        tmp_path / "m",
        {
            "release/s2_full_figures_oa_nonroco_combined_medical_top4_public.jsonl": json.dumps(figure) + "\n",
            "release/figures/ab_2-Figure1-1.png": jpg(),
        },
    )
    (one,) = records("medicat", tmp_path / "m")
    assert (one.text, one.labels["predicted_type"], one.meta["references"], shown(one)) == (
        "Axial CT.",
        "Medical images",
        ["see Fig. 1"],
        (4, 6, 3),
    )
    lines = (
        json.dumps({"image": "PMC212319_Fig3_4.jpg", "caption": "A. Real time image."})
        + "\n"
        + json.dumps({"image": "PMC1_gone.jpg", "caption": "x"})
        + "\n"
    )
    lay(
        tmp_path / "p",
        {
            "pmc_oa.jsonl": lines,
            "images.zip": packed("caption_T060_filtered_top4_sep_v0_subfigures/PMC212319_Fig3_4.jpg"),
        },
    )
    dataset = open_dataset("pmc-oa", tmp_path / "p", on_error="collect")
    two = next(iter(dataset))
    assert (two.meta["figure"], shown(two)) == ("PMC212319_Fig3_4", (4, 6, 3))
    lay(
        tmp_path / "c",
        {
            "data.json": json.dumps([{"caption": "H&E.", "pmc_id": "PMC7", "figure_fn": "f1", "image": "PMC7_f1.jpg"}]),
            "images.zip": packed("images/PMC7_f1.jpg"),
        },
    )
    (three,) = records("pathcap", tmp_path / "c")
    assert (three.text, three.meta["pmc_id"], shown(three)) == ("H&E.", "PMC7", (4, 6, 3))


@pytest.mark.evidence("chimed-vl", "layout")
@pytest.mark.evidence("pathinstruct", "layout")
def test_a_picture_stands_in_the_turn_where_its_mark_is(tmp_path: Path) -> None:
    said = {
        "id": 7,
        "image": "PMC7_f1.jpg",
        "conversations": [{"from": "human", "value": "<image>\nWhat is it?"}, {"from": "gpt", "value": "A lesion."}],
    }
    odd = {**said, "id": 8, "conversations": [{"from": "robot", "value": "x"}]}
    lay(
        tmp_path / "i",
        {"instruction_tuning_phase1.json": json.dumps([said, odd]), "images.zip": packed("images/PMC7_f1.jpg")},
    )
    dataset = open_dataset("pathinstruct", tmp_path / "i", on_error="collect")
    (one,) = dataset
    first, second = one.turns  # type: ignore[attr-defined]
    assert (
        first.role == "user"
        and first.content[0].pixels.shape == (4, 6, 3)
        and first.content[1] == "What is it?"
        and second.content == "A lesion."
    )
    assert "neither human nor gpt" in str(dataset.errors[0])
    lay(tmp_path / "c", {"ChiMed-VL-Alignment.jsonl": json.dumps(said) + "\n"})
    (two,) = records("chimed-vl", tmp_path / "c")
    assert not two.media and two.turns[0].content == "What is it?" and two.meta["image"] == "PMC7_f1.jpg"


@pytest.mark.evidence("pmc-vqa", "layout")
def test_in_one_version_the_answer_is_the_text_and_in_the_other_the_letter(tmp_path: Path) -> None:
    head = "Figure_path,Question,Answer,Choice A,Choice B,Choice C,Choice D,Answer_label\n"
    row = "PMC1_f1.jpg,What?,Lung, A:Liver, B:Lung, C:Heart, D:Brain,B\n"
    lay(
        tmp_path / "1",
        {"test_clean.csv": head + row + row.replace(",B\n", ",C\n"), "images.zip": packed("figures/PMC1_f1.jpg")},
    )
    dataset = open_dataset("pmc-vqa", tmp_path / "1", "test-clean", on_error="collect")
    (one,) = dataset
    assert (one.options["B"], one.answer, shown(one)) == ("Lung", "B", (4, 6, 3)) and "do not agree" in str(
        dataset.errors[0]
    )  # type: ignore[attr-defined]
    lay(tmp_path / "2", {"test_2.csv": "index,Figure_path,Caption,Question,Choice A,Choice B,Choice C,Choice D,Answer,split\n0,PMC1_f1.jpg,cap,What?, A:Liver, B:Lung, C:Heart, D:Brain,B,test\n",
                         "images_2.zip": packed("figures/PMC1_f1.jpg")})  # fmt: skip
    (two,) = records("pmc-vqa:v2", tmp_path / "2", "test")
    assert (two.answer, two.meta["caption"], two.meta["figure"]) == ("B", "cap", "PMC1_f1")


@pytest.mark.evidence("omnimedvqa", "layout")
def test_the_answer_is_an_options_text_and_there_may_be_two_options(tmp_path: Path) -> None:
    base = {"dataset": "ACRIMA", "question_id": "ACRIMA_0000", "question_type": "Disease Diagnosis", "question": "What?", "gt_answer": "Glaucoma", "image_path": "Images/ACRIMA/Im1.png",
            "option_A": "Normal", "option_B": "Glaucoma", "modality_type": "Fundus Photography"}  # fmt: skip
    other = {**{k: v for k, v in base.items() if k != "modality_type"}, "question_id": "ACRIMA_0001", "modality": "CT"}
    lay(
        tmp_path,
        {
            "OmniMedVQA/QA_information/Open-access/ACRIMA.json": json.dumps(
                [base, other, {**base, "question_id": "x", "gt_answer": "Cataract"}]
            ),
            "OmniMedVQA/Images/ACRIMA/Im1.png": jpg(),
        },
    )
    dataset = open_dataset("omnimedvqa", tmp_path, on_error="collect")
    one, two = dataset
    assert (one.answer, list(one.options), one.site, shown(one), two.meta["modality"]) == (
        "B",
        ["A", "B"],
        "ACRIMA",
        (4, 6, 3),
        "CT",
    )  # type: ignore[attr-defined]
    assert "0 of its options are the answer" in str(dataset.errors[0])


@pytest.mark.evidence("med-mmhl", "layout")
@pytest.mark.evidence("medmd", "layout")
def test_lists_of_pictures_written_as_text(tmp_path: Path) -> None:
    path = "/images/2023-05-09_fakenews/LeadStories/551_32.png"
    lay(
        tmp_path / "f",
        {
            "fakenews_article/test.csv": f"content,det_fake_label,image\nA claim.,1,\"['{path}']\"\nPlain.,0,\n",
            f"images{path.removeprefix('/images')}": jpg(),
        },
    )
    one, two = records("med-mmhl", tmp_path / "f", "test")
    assert (one.labels, shown(one), two.media) == ({"det_fake_label": "fake"}, (4, 6, 3), ())
    lay(
        tmp_path / "r",
        {
            "data_csv/case_report_test.csv": "PMC_id,img_ref,context,question,answer\nPMC1,\"['F1', 'F2']\",A case.,What?,A cyst.\n"
        },
    )
    (three,) = records("medmd", tmp_path / "r", "test")
    assert (three.context, three.answers, three.meta["images"], three.meta["figure"]) == (
        "A case.",
        ("A cyst.",),
        ["F1", "F2"],
        "PMC1_F1",
    )


def test_texts_whose_pictures_are_not_here_at_all_are_read_alone_and_it_is_said(tmp_path: Path) -> None:
    """As the owners' repositories give them out: MedICaT's sample, PatchGastricADC22's captions; a picture that is missing among others stays an error."""
    line = {"pdf_hash": "26491a", "fig_uri": "3-Figure4-1.png", "s2_caption": "Figure 4. A lesion.", "s2orc_references": None, "radiology": True, "scope": False, "predicted_type": "Medical images"}  # fmt: skip
    lay(tmp_path, {"m/sample/sample.jsonl": json.dumps(line) + "\n", "p/captions.csv": 'id,subtype,text\na1,"Poor, solid type","Two\nlines."\n',
                   "q/figures/other.jpg": jpg(), "q/test_2.csv": "index,Figure_path,Caption,Question,Choice A,Choice B,Choice C,Choice D,Answer,split\n0,PMC1_F1.jpg,c,Which? , A:x, B:y, C:z, D:w,B,test\n"})  # fmt: skip
    for root, name, text in (("m", "medicat", "Figure 4. A lesion."), ("p", "patchgastricadc22", "Two\nlines.")):
        dataset = open_dataset(name, tmp_path / root)
        (one,) = dataset
        assert (one.text, one.media, dataset.notices) == (
            text,
            (),
            [f"{name}: no pictures are here; the texts are read alone"],
        )  # type: ignore[attr-defined]
    dataset = open_dataset("pmc-vqa", tmp_path / "q", on_error="collect")
    assert (dataset.name, dataset.splits, list(dataset)) == ("pmc-vqa:v2", ("test",), [])
    assert "no file 'PMC1_F1.jpg' among the 1 here" in str(dataset.errors[0])
