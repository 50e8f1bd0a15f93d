"""Pictures of a set in another: by what they show, by the names of figures, and what is said of them."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import healthfm as hfm
from healthfm.errors import RunError
from healthfm.evaluate.contamination.pictures import CAUTION
from healthfm.report.contamination import section
from healthfm.report.run import evaluate_predictions
from tests.cli.command import run
from tests.curate.test_fingerprints import cut, field


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """Class folders of four pictures, one of which shows nothing."""
    for name, seed in (("a/1", 1), ("a/2", 2), ("b/3", 3)):
        put(tmp_path / f"mine/{name}.png", field(seed))
    put(tmp_path / "mine/b/black.png", np.zeros((80, 80), np.uint8))
    return tmp_path / "mine"


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    """Pictures below a folder: one the same, one cut and small, two others; a damaged one, and what is none."""
    place = tmp_path / "theirs"
    put(place / "deep/er/copy.png", field(1))
    put(place / "cut.jpg", np.asarray(Image.fromarray(cut(field(3), 0.05)).resize((120, 100))))
    put(place / "other.png", field(50))
    put(place / "wide.tif", (field(51).astype(np.uint16) * 100))
    (place / "broken.png").write_bytes((place / "other.png").read_bytes()[:500])
    (place / "notes.pdf").write_bytes(b"%PDF")
    return place


def put(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def test_pictures_of_a_set_are_found_below_a_folder(mine: Path, theirs: Path) -> None:
    found = hfm.contamination(mine, theirs)
    told = {one["ids"][0]: (one["how"], one["documents"], one["places"][0]["document"]) for one in found.found}
    assert told == {"a/1.png": ("exact", 1, "deep/er/copy.png"), "b/3.png": ("near", 1, "cut.jpg")}
    assert found.found[1]["places"][0]["cut"] == 0.05 and found.found[1]["places"][0]["bits"] <= 44
    counts = found.parts["picture"]
    assert (counts["looked_for"], counts["too_short"], counts["exact"], counts["near"]) == (3, 1, 1, 1)
    assert (found.pictures, found.unread, found.skipped) == (5, 1, ("notes.pdf",))
    words = " ".join(found.says)
    for part in ("picture: 2 of 3 records", "(5 pictures)", "1 the very pixels", "1 record has pictures that show too little", "1 picture of", CAUTION):  # fmt: skip
        assert part in words, part


def test_the_command_shows_them_and_a_run_gets_its_two_scores(mine: Path, theirs: Path, tmp_path: Path) -> None:
    table = {"id": ["a/1.png", "a/2.png", "b/3.png"], "target": ["a", "a", "b"], "prediction": ["a", "b", "b"]}
    kept = evaluate_predictions(table, "text-classification", output=tmp_path / "run")
    result = run("contamination", mine, "--against", theirs, "--run", kept.path, "--split", "test")
    assert result.returncode == 0, result.stderr
    assert "2 pictures of mine found in" in result.stdout and "deep/er/copy.png" in result.stdout
    assert "accuracy is 1.000 on the 2 records found and 0.000 on the 1 others" in result.stdout
    assert any("picture: 2 of 3" in line for line in section(kept)["says"])


def test_figures_are_joined_by_the_number_of_their_paper(tmp_path: Path) -> None:
    """PMC-VQA against PMC-OA: a figure named the same, another of the same paper; a picture found under another name."""
    vqa, oa = tmp_path / "vqa", tmp_path / "oa"
    rows = "".join(f"{name},What?,Lung, A:Liver, B:Lung, C:Heart, D:Brain,B\n" for name in ("PMC1_f1.jpg", "PMC2_f1.jpg", "PMC3_f1.jpg"))  # fmt: skip
    head = "Figure_path,Question,Answer,Choice A,Choice B,Choice C,Choice D,Answer_label\n"
    vqa.mkdir()
    oa.mkdir()
    (vqa / "test_clean.csv").write_text(head + rows)
    zipped(vqa / "images.zip", {"figures/PMC1_f1.jpg": 1, "figures/PMC2_f1.jpg": 2, "figures/PMC3_f1.jpg": 3})
    lines = ({"image": name, "caption": "c"} for name in ("PMC1_f1.jpg", "PMC2_f9.jpg", "PMC8_f1.jpg"))
    (oa / "pmc_oa.jsonl").write_text("".join(json.dumps(one) + "\n" for one in lines))
    zipped(oa / "images.zip", {"caption_T060_filtered_top4_sep_v0_subfigures/PMC1_f1.jpg": 61,
                               "caption_T060_filtered_top4_sep_v0_subfigures/PMC2_f9.jpg": 62, "caption_T060_filtered_top4_sep_v0_subfigures/PMC8_f1.jpg": 3})  # fmt: skip
    found = hfm.contamination("pmc-vqa", "pmc-oa", root=vqa, corpus_root=oa, split="test-clean")
    by = {(one["part"], one["ids"][0]): one["places"][0]["document"].rpartition("/")[2] for one in found.found}
    assert {part: number for (part, _), number in by.items()}.keys() == {"picture", "figure", "paper"}
    assert len(by) == 3 and found.parts["figure"]["looked_for"] == 3
    assert ("paper", next(id for part, id in by if part == "paper")) in by
    assert {part: one["exact"] + one["near"] for part, one in found.parts.items() if part in ("picture", "figure", "paper")} == {"picture": 1, "figure": 1, "paper": 1}  # fmt: skip


def zipped(path: Path, pictures: dict[str, int]) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, seed in pictures.items():
            held = io.BytesIO()
            Image.fromarray(field(seed)).save(held, "JPEG", quality=95)
            archive.writestr(name, held.getvalue())


def test_what_has_nothing_to_search_is_refused_and_what_has_half_is_told(mine: Path, tmp_path: Path) -> None:
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts/a.txt").write_text("a text")
    with pytest.raises(RunError, match=r"has pictures to look for, and .*texts has none"):
        hfm.contamination(mine, tmp_path / "texts")
    (tmp_path / "empty").mkdir()
    with pytest.raises(RunError, match="holds no text to search"):
        hfm.contamination(mine, tmp_path / "empty")
