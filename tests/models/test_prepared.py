"""What models take and what they make of an item before the network sees it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from healthfm import load_model
from healthfm.formats import notices
from healthfm.models.language.text_model import TextModel
from healthfm.models.model import Model
from healthfm.models.prepared import Prepared
from healthfm.models.vision.vision_model import VisionModel
from healthfm.records import Document, Image, MultipleChoice, Slide, Video, Volume
from tests.embed.conftest import small
from tests.models.language.test_masked_lm import hub_folder

PIXELS = np.random.default_rng(0).integers(0, 255, (40, 36, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def tower() -> VisionModel:
    return small()


def test_every_family_says_what_it_takes() -> None:
    assert set(VisionModel.takes) == {Image, Volume, Slide, Video}
    assert {Document, MultipleChoice} < set(TextModel.takes)
    assert Model.takes == load_model(len, card={"slug": "own"}, verb="embed").takes == ()


def test_a_picture_is_prepared_as_preprocess_says(tower: VisionModel) -> None:
    expected = tower.preprocess([PIXELS])["pixels"].numpy()
    for item in (PIXELS, Image(id="x", load=lambda: PIXELS)):
        made = tower.prepare(item)
        np.testing.assert_array_equal(made.inputs, expected)
        assert (made.digest, made.ratio, made.blank, made.lone) == (Prepared(list(expected)).digest, 1, False, False)
    np.testing.assert_array_equal(tower.embed_prepared(made.inputs), tower.embed([PIXELS]))
    tall = tower.prepare(Image(id="x", load=lambda: PIXELS, ratio=lambda: 2.0))
    assert tall.ratio == 2 and tall.digest != made.digest


def test_a_volume_is_its_slices_and_what_a_report_says_of_them(tower: VisionModel) -> None:
    def load() -> np.ndarray:
        notices.say("its first window is used")
        return np.zeros((8, 9, 3), np.uint8)

    volume = Volume(id="v", load=load, place=lambda: np.diag([1.0, 3.0, 1.0, 1.0]))
    made = tower.prepare(volume)
    np.testing.assert_array_equal(made.inputs, tower.preprocess([volume])["pixels"].numpy())
    assert (len(made.inputs), made.blank, made.ratio, made.notices) == (3, True, 3, ("its first window is used",))


def test_a_film_is_prepared_without_being_held(tower: VisionModel) -> None:
    frames = [np.full((40, 48, 3), 9 * n, np.uint8) for n in range(4)]
    made = tower.prepare(Video(id="f", frames=lambda: iter(frames), track=lambda: None))
    assert not isinstance(made.inputs, list) and len(made.inputs) == 4
    assert (
        made.digest
        == Prepared(list(made.inputs)).digest
        == Prepared(list(tower.preprocess(frames)["pixels"].numpy())).digest
    )


def test_a_text_is_its_token_ids_and_whether_it_was_cut(tmp_path: Path) -> None:
    model = load_model("biolinkbert", hub_folder(tmp_path / "bert", "biolinkbert"), device="cpu")
    short, long = model.prepare("BIOPSY showed"), model.prepare("word " * 700)
    assert short.inputs[0].tolist() == model.encode("BIOPSY showed") and not short.cut  # type: ignore[attr-defined]
    assert len(long.inputs[0]) == model.max_length and long.cut  # type: ignore[attr-defined]
    assert "truncated" not in model.provenance
    np.testing.assert_array_equal(model.embed_prepared(short.inputs), model.embed(["BIOPSY showed"]))


def test_an_object_of_which_nothing_is_known_is_given_the_item_itself() -> None:
    model = load_model(lambda items: [[len(one)] for one in items], card={"slug": "own"}, verb="embed")
    made = model.prepare("abc")
    assert made.inputs == ["abc"] and made.lone and made.digest != model.prepare("abd").digest
    assert model.embed_prepared(made.inputs).tolist() == [[3]]
    image = Image(id="x", load=lambda: PIXELS)
    assert model.prepare(image).digest == model.prepare(Image(id="y", load=lambda: PIXELS.copy())).digest


def test_inputs_are_told_apart_by_type_shape_and_values() -> None:
    one = np.arange(6, dtype=np.int64)
    others = [[one.reshape(2, 3)], [one.astype(np.int32)], [one.view(np.float64)], [one[:3], one[3:]], [one + 1]]
    assert len({Prepared(inputs).digest for inputs in ([one], *others)}) == 6
    assert Prepared([np.asfortranarray(one.reshape(2, 3))]).digest == Prepared(others[0]).digest
