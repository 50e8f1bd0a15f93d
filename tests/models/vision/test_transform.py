"""Pictures to pixels: the owners' own transforms give the same numbers, and every kind of picture comes in."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from healthfm import DatasetError, RunError
from healthfm.cards import catalog
from healthfm.cards.schema import ModelCard, Transform
from healthfm.models.vision import transform
from healthfm.records import Image, Video, Volume
from tests.references.recipe_weights import recipe_image
from tests.references.vision_pictures import PICTURES, picture, values

EXPECTED = Path(__file__).parents[2] / "data" / "expected"
PLAIN = Transform()


def rule(name: str) -> Transform:
    card = catalog.card(name, "model")
    assert isinstance(card, ModelCard)
    found = card.runner(name.partition(":")[2] or None).transform
    assert found is not None
    return found


@functools.cache
def owner(name: str) -> list[dict[str, Any]]:
    return list(json.loads((EXPECTED / f"{name}.pixels.json").read_text())["pictures"])


def differing(rule: Transform, name: str, squares: bool = False) -> list[tuple[str, int, int]]:
    """The pictures whose pixels are not, bit for bit, those of the owner's transform."""
    return [
        one for one, theirs in zip(PICTURES, owner(name), strict=True)
        if (one[1] == one[2] or not squares) and values(transform.pixels(picture(one), rule))["sha256"] != theirs["sha256"]
    ]  # fmt: skip


EXACT = ("uni", "conch-v1-5", "retfound", "hipt", "midnight-12k")


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.evidence(n, "input")) for n in EXACT])
def test_pixels_are_those_of_the_owners_transform(name: str) -> None:
    own = rule("hipt:hipt-4k" if name == "hipt" else name)
    assert differing(own, name) == []
    assert len(differing(own.model_copy(update={"mean": (0.5, 0.4, 0.5), "std": (0.2,) * 3}), name)) == len(PICTURES)
    if own.resize is not None:
        other = "bicubic" if own.interpolation == "bilinear" else "bilinear"
        assert len(differing(own.model_copy(update={"interpolation": other}), name)) >= len(PICTURES) - 4


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.evidence(n, "input")) for n in ("virchow", "ctranspath", "h-optimus-0")]
)
def test_pixels_are_the_owners_where_their_transform_does_not_crop(name: str) -> None:
    """Their networks take square tiles only; the card crops, which leaves those as they are."""
    own = rule(name)
    assert differing(own.model_copy(update={"crop": None}), name) == []
    assert differing(own, name, squares=True) == []
    other = "bicubic" if own.interpolation == "bilinear" else "bilinear"
    assert len(differing(own.model_copy(update={"crop": None, "interpolation": other}), name)) >= len(PICTURES) - 3


@pytest.mark.evidence("remedis", "input")
@pytest.mark.parametrize(("name", "side"), [("remedis:cxr-50x1-remedis-m", 448), ("remedis:path-152x2-remedis-s", 224)])
def test_remedis_pixels_are_those_of_its_tensorflow_code(name: str, side: int) -> None:
    worst: dict[str, float] = {}
    for label, own in (("own", rule(name)), ("whole", rule(name).model_copy(update={"part": 1.0})), ("pil", rule(name).model_copy(update={"interpolation": "bicubic"}))):  # fmt: skip
        for one, theirs in zip(PICTURES, owner(f"remedis-{side}"), strict=True):
            ours = values(transform.pixels(picture(one), own))
            assert ours["shape"] == theirs["shape"] == [3, side, side]
            worst[label] = max(worst.get(label, 0), float(np.abs(np.subtract(ours["values"], theirs["values"])).max()))
    assert worst["own"] <= 2e-6 < 0.05 < min(worst["whole"], worst["pil"])


def test_one_picture_in_every_form_gives_the_same_pixels(tmp_path: Path) -> None:
    array = recipe_image("forms", 40, 60)
    PIL.Image.fromarray(array).save(tmp_path / "a.png")
    own = rule("uni")
    expected = transform.pixels(array, own)
    assert expected.shape == (3, 224, 224) and expected.dtype == np.float32
    forms = (
        PIL.Image.fromarray(array),
        tmp_path / "a.png",
        Image(id="a", load=lambda: array),
        np.asfortranarray(array),
    )
    for form in forms:
        assert np.array_equal(transform.pixels(form, own), expected)


def test_depths_and_channels_come_down_to_eight_bit_rgb() -> None:
    grey = recipe_image("grey", 9, 7)[..., 0]
    three = np.repeat(grey[..., None], 3, -1)
    wide = grey.astype(np.uint16) * 257
    forms = (
        grey,
        grey[..., None],
        np.dstack((grey, grey // 2)),
        wide,
        wide.astype(np.int32),
        PIL.Image.fromarray(wide),
        np.dstack((three, grey)),
    )
    for form in forms:
        assert np.array_equal(np.asarray(transform.rgb(form)), three)
    assert np.array_equal(np.asarray(transform.rgb(grey > 90)), np.where(three > 90, 255, 0))
    assert np.asarray(transform.rgb(np.array([[128, 129]], np.uint16)))[0, :, 0].tolist() == [0, 1]


@pytest.mark.parametrize("array", [np.full((4, 4), 2.0), np.zeros((4, 4), np.int64), np.zeros((4,), np.uint8), np.zeros((2, 4, 4, 3), np.uint8), np.zeros((4, 4, 5), np.uint8), np.zeros((0, 4), np.uint8)])  # fmt: skip
def test_arrays_that_are_no_picture_are_refused_without_their_values(array: np.ndarray) -> None:
    with pytest.raises(RunError, match="picture"):
        transform.pixels(array, PLAIN)
    with pytest.raises(RunError, match="window or rescale it first"):
        transform.pixels(np.full((2, 2), -5, np.int32), PLAIN)


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"no image at .*absent\.png"):
        transform.pixels(tmp_path / "absent.png", PLAIN)
    (tmp_path / "a.jpg").write_bytes(b"no picture")
    with pytest.raises(DatasetError, match=r"a\.jpg: not a readable image"):
        transform.pixels(tmp_path / "a.jpg", PLAIN)


def test_a_picture_too_narrow_to_resize_is_refused() -> None:
    with pytest.raises(RunError, match="a picture of 1 x 9000 would become 518 x 4662000: too narrow"):
        transform.pixels(np.zeros((9000, 1), np.uint8), rule("rad-dino"))


def test_padding_puts_the_picture_in_the_middle_of_a_square() -> None:
    own = Transform(pad="square", fill=(255, 0, 0), scale=1)
    found = transform.pixels(np.full((2, 6, 3), 7, np.uint8), own)
    assert found.shape == (3, 6, 6)
    assert (found[:, 2:4] == 7).all() and (found[0, :2] == 255).all() and (found[1:, 4:] == 0).all()


def test_grey_is_the_luminance_in_three_channels() -> None:
    found = transform.pixels(np.array([[[255, 0, 0]]], np.uint8), Transform(grey=True, scale=1))
    assert found[:, 0, 0].tolist() == [76, 76, 76]


def test_a_picture_can_be_standardised_by_itself_as_retfounds_notebook_does() -> None:
    array = recipe_image("fundus", 50, 70)
    own = Transform(resize=(224, 224), interpolation="bicubic", mean="image")
    image = np.array(PIL.Image.fromarray(array).resize((224, 224))) / 255.0
    owners = (image - image.mean((0, 1))) / image.std((0, 1))
    np.testing.assert_allclose(transform.pixels(array, own), owners.transpose(2, 0, 1), atol=1e-5)


@pytest.mark.parametrize("wrong", [{"mean": [0.5] * 3}, {"std": [0.5] * 3}, {"part": 0.5}, {"interpolation": "tensorflow-bicubic", "resize": 5}, {"resize": 0}])  # fmt: skip
def test_a_transform_that_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="validation error"):
        Transform.model_validate(wrong)


# Pixels that are not square --------------------------------------------------------------------------------------------


def disc(across: float, back: float, side: float = 60) -> np.ndarray:
    """A disc of 40 mm as it stands in pixels ``across`` mm wide and ``back`` mm high, uint8 [height, width]."""
    y, x = np.ogrid[: round(side / back), : round(side / across)]
    inside = ((x + 0.5) * across - side / 2) ** 2 + ((y + 0.5) * back - side / 2) ** 2 < 20**2
    return np.asarray(inside * np.uint8(255))


def extent(picture: Any) -> tuple[int, int]:
    """Return height and width of what is bright."""
    bright = np.asarray(picture)
    bright = (bright if bright.ndim == 2 else bright[..., 0]) > 127
    return int(bright.any(1).sum()), int(bright.any(0).sum())


@pytest.mark.parametrize(("across", "back"), [(0.5, 1.0), (1.0, 0.5), (0.5, 0.8), (1, 1)])
def test_what_is_round_in_a_picture_of_any_pixels_is_round_for_the_network(across: float, back: float) -> None:
    array = disc(across, back)
    shown = transform.rgb(Image(id="a", load=lambda: array, ratio=lambda: back / across))
    assert shown.size == (round(60 / min(across, back)),) * 2
    assert extent(shown) == pytest.approx((40 / min(across, back),) * 2, abs=2)
    assert np.array_equal(Image(id="a", load=lambda: array, ratio=lambda: 2.0).pixels, array)  # the file's own
    square = transform.pixels(Image(id="a", load=lambda: array), PLAIN)
    assert (across == back) == (square.shape == transform.pixels(shown, PLAIN).shape)


@pytest.mark.parametrize("order", ["xyz", "zyx", "yzx", "zxy"])
def test_axial_slices_are_round_whichever_way_the_volume_was_acquired(order: str) -> None:
    """A cylinder along the body, 0.5 x 2 x 4 mm: a stack of axial slices, or one that axial slices are cut out of."""
    spacing = {"x": 0.5, "y": 2.0, "z": 4.0}
    body = np.repeat(disc(0.5, 2.0).T[:, :, None], 3, 2)  # x, y, z
    voxels = body.transpose(["xyz".index(axis) for axis in order])
    affine = np.zeros((4, 4))
    for column, axis in enumerate(order):
        affine["xyz".index(axis), column] = spacing[axis]
    affine[3, 3] = 1
    volume = Volume(id="v", load=lambda: voxels, place=lambda: affine)
    stack = transform.slices(volume, None)
    assert [one.shape for one in stack] == [(120, 120)] * 3
    assert extent(stack[1]) == pytest.approx((80, 80), abs=4)
    assert transform.pixel_ratio(volume) == pytest.approx(4)


def test_a_tilted_gantry_leaves_slices_as_they_are_and_a_sheared_slice_is_refused() -> None:
    voxels = np.zeros((6, 5, 4), np.uint8)
    tilted = np.array([[1, 0, 0, 0], [0, 1, 0.4, 0], [0, 0, 2.0, 0], [0, 0, 0, 1]])
    assert transform.slices(Volume(id="v", load=lambda: voxels, place=lambda: tilted), None)[0].shape == (5, 6)
    sheared = np.array([[1, 0.4, 0, 0], [0, 1, 0, 0], [0, 0, 2.0, 0], [0, 0, 0, 1]])
    with pytest.raises(RunError, match="pixels that are no rectangles"):
        transform.slices(Volume(id="v", load=lambda: voxels, place=lambda: sheared), None)


def test_voxels_that_are_no_number_are_black_and_time_points_are_refused() -> None:
    values = np.full((3, 2, 1), np.nan, np.float32)
    values[0] = np.inf
    (shown,) = transform.slices(Volume(id="v", load=lambda: values, place=lambda: np.eye(4)), (0, 1))
    assert shown.tolist() == [[0, 0, 255]] * 2  # x grows to the patient's right, which is shown at the left
    several = Volume(id="v", load=lambda: np.zeros((3, 2, 2, 4), np.uint8), place=lambda: np.eye(4))
    with pytest.raises(RunError, match=r"several channels or time points; save the one .*slicer"):
        transform.slices(several, None)


def test_a_picture_too_narrow_to_be_made_square_is_refused() -> None:
    with pytest.raises(RunError, match="its pixels are too narrow"):
        transform.rgb(Image(id="a", load=lambda: np.zeros((20_000, 20), np.uint8), ratio=lambda: 1000.0))


def test_a_films_frames_are_made_square() -> None:
    film = Video(
        id="f", frames=lambda: iter([np.zeros((10, 20, 3), np.uint8)] * 2), track=lambda: None, ratio=lambda: 2.0
    )
    assert [one.size for one in transform.frames(film)] == [(20, 20)] * 2
