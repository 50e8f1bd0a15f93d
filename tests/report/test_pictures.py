"""Pictures of errors: thumbnails only where inputs may be seen, of what was asked and nothing else; options marked in words."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import lxml.html
import numpy as np
import PIL.Image
import pytest

from healthfm.records import Volume
from healthfm.report import pictures
from healthfm.report.page import render
from healthfm.report.samples import options
from tests.report.made import COLOURS, by_hand, image_run, own_run, text_of


def decoded(uri: str) -> PIL.Image.Image:
    head, _, body = uri.partition(",")
    assert head == "data:image/jpeg;base64"
    raw = base64.b64decode(body)
    assert len(raw) <= pictures.MOST_BYTES
    return PIL.Image.open(io.BytesIO(raw)).convert("RGB")


def test_errors_and_confusions_are_shown_as_pictures_of_the_right_records(tmp_path: Path) -> None:
    run = image_run(tmp_path)
    html = render(run, show_inputs=True)
    tree = lxml.html.fromstring(html)
    assert tree.find_class("stamp")
    for picture in tree.xpath("//img"):
        name = picture.get("alt").split("/")[-2]
        shown = decoded(picture.get("src"))
        assert max(shown.size) <= pictures.SIDE and shown.size[0] == pytest.approx(1.5 * shown.size[1], abs=1)
        assert np.asarray(shown).mean(axis=(0, 1)) == pytest.approx(COLOURS[name], abs=12)
    gallery = html.partition('id="gallery"')[2].partition('id="samples"')[0]
    assert gallery.index("cyst") < gallery.index("normal")  # the commonest first
    assert "✗ called polyp" in gallery and "6 times" in gallery and gallery.count("<img") == 4 + 3
    errors = html.partition('id="errors"')[2].partition('id="gallery"')[0]
    assert errors.count("<img") == 9
    samples = html.partition('id="samples"')[2]
    assert samples.count("<img") == 9  # those that are decoded already, and no other
    assert len(html) < 500_000


def test_pictures_that_may_not_be_shared_are_shown_only_when_asked(tmp_path: Path) -> None:
    run = image_run(tmp_path)
    hidden = render(run)
    assert "<img" not in hidden and "--show-inputs shows them" in hidden and 'class="stamp"' not in hidden
    run.facts["data"]["shareable_inputs"] = True  # type: ignore[index]
    shared = render(run)
    assert "<img" in shared and 'class="stamp"' not in shared


def test_pictures_that_changed_or_went_are_not_shown_as_those_that_were_asked(tmp_path: Path) -> None:
    run = image_run(tmp_path)
    changed = tmp_path / "pictures/test/cyst/0.png"
    PIL.Image.new("RGB", (90, 60), (0, 0, 0)).save(changed)
    tree = lxml.html.fromstring(render(run, show_inputs=True))
    assert not any(one.get("alt").endswith("cyst/0.png") for one in tree.xpath("//img")) and tree.xpath("//img")
    (tmp_path / "pictures").rename(tmp_path / "elsewhere")
    gone = render(run, show_inputs=True)
    assert "<img" not in gone and "are not here, or have changed" in gone and 'class="stamp"' not in gone


def test_deep_pictures_and_volumes_have_a_thumbnail_too() -> None:
    deep = np.linspace(0, 60_000, 64 * 48).reshape(64, 48).astype(np.uint16)
    shown = np.asarray(decoded(pictures.data_uri(pictures.of_array(deep))))
    assert shown[:8].mean() < 40 and shown[-8:].mean() > 200
    voxels = np.random.default_rng(0).normal(-500, 300, (20, 30, 9)).astype(np.float32)
    voxels[..., 4] = np.where(np.arange(20)[:, None] < 10, -1000, 500)
    volume = Volume(id="v", split="test", load=lambda: voxels, place=lambda: np.eye(4))
    middle = pictures.of_record(volume)
    assert middle is not None and middle.size == (20, 30)
    assert np.asarray(middle).reshape(30, 20, 3)[:, :9].mean() != np.asarray(middle)[:, 11:].mean()
    assert set(pictures.nth(volume, {0, 8}, (-1000, 500))) == {0, 8}


def test_a_noisy_picture_stays_under_its_bytes() -> None:
    noise = PIL.Image.fromarray(np.random.default_rng(0).integers(0, 255, (900, 900, 3), dtype=np.uint8))
    assert max(decoded(pictures.data_uri(noise)).size) == pictures.SIDE


def test_options_say_in_words_which_is_right_and_which_was_chosen(tmp_path: Path) -> None:
    run, _ = own_run(tmp_path, "Which")
    row = run.predictions.to_pylist()[0]
    assert [(one.key, one.right, one.chosen) for one in options({**row, "target": "B"})] == [
        ("A", False, True),
        ("B", True, False),
    ]
    rows = run.predictions.to_pylist()
    wrong = by_hand(
        tmp_path / "wrong",
        {**{name: [one[name] for one in rows] for name in rows[0]}, "target": ["A", "B", "B"], "probabilities": [[0.8, 0.2]] * 3},
        dataset="mine@letters", data=run.facts["data"], classes=["A", "B"], root=str(tmp_path), majority=None,
    )  # fmt: skip
    wrong.facts["request"]["task"] = "multiple-choice"  # type: ignore[index]
    page = text_of(render(wrong, show_inputs=True))
    assert "A. one ✗ chosen0.80" in page and "B. two ✓ right0.20" in page and "A. one ✓ right, chosen0.80" in page
    assert "✗ chosen" not in text_of(render(wrong))  # a private question's options are not shown


def test_of_many_options_the_likeliest_and_the_right_one_are_shown() -> None:
    names = [f"c{i}" for i in range(20)]
    row = {"options": names, "probabilities": [i / 190 for i in range(20)], "target": "c0", "prediction": "c19"}
    assert [one.key for one in options(row)] == ["c19", "c18", "c17", "c16", "c15", "c14", "c0"]
