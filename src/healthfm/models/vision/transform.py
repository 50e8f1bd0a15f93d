"""Pictures to pixels, as the card's [run.transform] says. PIL and numpy; equal to torchvision's transforms on PIL images.

The steps and their order: ``healthfm.cards.schema.Transform``. Resizing is PIL's, which always filters (antialias). Before any of
them, pixels that their header says are not square become square (``square``): what is round in the patient is round.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from healthfm.cards.schema import Transform
from healthfm.errors import BadValue, DatasetError, MissingExtra, RunError
from healthfm.formats import image
from healthfm.formats.source import Source
from healthfm.formats.volume import three_axes, to_ras
from healthfm.records import Image, Video, Volume

try:
    import PIL.Image
except ImportError:
    raise MissingExtra("imaging", "Pillow") from None

Float32 = npt.NDArray[np.float32]
Picture = Path | npt.NDArray[Any] | PIL.Image.Image | Image
FILTERS = {
    "nearest": PIL.Image.Resampling.NEAREST, "bilinear": PIL.Image.Resampling.BILINEAR,
    "bicubic": PIL.Image.Resampling.BICUBIC, "lanczos": PIL.Image.Resampling.LANCZOS,
}  # fmt: skip
LARGEST = 1 << 28  # pixels that one picture may be resized to
SQUARE = 0.005  # pixels whose height and width differ by less are square
ASKEW = 0.05  # cosine between the sides of a slice's pixels beyond which they are no rectangles
COLOUR = ("RGB", "RGBA", "RGBX", "P", "CMYK", "YCbCr", "HSV", "LAB", "L", "LA", "PA", "1")


class FolderTransform(Transform):
    """The steps of an image processor of transformers': as on cards, but the middle of an odd remainder lies half a pixel lower."""


def pixels(item: Picture, rule: Transform) -> Float32:
    """Return a picture as the network sees it: float32 [3, height, width].

    Raises ``DatasetError`` for a file that cannot be read, ``RunError`` for an array that is no picture.
    """
    picture = rgb(item)
    if rule.grey_first:
        picture = picture.convert("L").convert("RGB")
    if rule.fit is not None:
        picture = _fitted(picture, rule.fit, rule.fill)
    if rule.pad is not None:
        picture = _padded(picture, rule)
    if rule.part is not None and isinstance(rule.resize, tuple):
        picture = _part(picture, rule.resize, rule.part)
    if isinstance(rule.resize, tuple) and rule.interpolation == "tensorflow-bicubic":
        values = tensorflow_bicubic(np.asarray(picture).astype(np.float32) / np.float32(rule.scale), rule.resize)
        return _normalised(values.clip(0, 1), rule)
    if isinstance(rule.resize, tuple) and rule.interpolation == "torch-bicubic":
        picture = picture.convert("L").convert("RGB") if rule.grey else picture
        values = torch_bicubic(np.asarray(picture).astype(np.float32) / np.float32(rule.scale), rule.resize)
        return _normalised(values, rule)
    if rule.resize is not None:
        picture = _resized(picture, rule)
    if rule.crop is not None:
        crop = (rule.crop, rule.crop) if isinstance(rule.crop, int) else rule.crop
        picture = _middle(picture, crop, isinstance(rule, FolderTransform))
    if rule.grey:
        picture = picture.convert("L").convert("RGB")
    return _normalised(np.asarray(picture).astype(np.float32) / np.float32(rule.scale), rule)


def _normalised(values: Float32, rule: Transform) -> Float32:
    if rule.mean == "image":
        wide = values.astype(np.float64)
        values = np.divide(wide - wide.mean((0, 1)), wide.std((0, 1))).astype(np.float32)
    elif rule.mean is not None:
        values = (values - np.array(rule.mean, np.float32)) / np.array(rule.std, np.float32)
    return np.ascontiguousarray(values.transpose(2, 0, 1))


def rgb(item: Picture) -> PIL.Image.Image:
    """Return any picture as 8 bit RGB, by the rule of ``formats.image.rgb8``. Raises ``RunError`` for an array that is no picture."""
    if isinstance(item, PIL.Image.Image):
        if item.mode in COLOUR:
            return item.convert("RGB")
        item = np.asarray(item)
    elif isinstance(item, str):
        raise RunError("a str is text; a picture's file is a pathlib.Path")
    elif isinstance(item, Path):
        if not item.is_file():
            raise DatasetError(f"no image at {item}")
        item = image.pixels(Source(item))
    tall = pixel_ratio(item)
    if isinstance(item, Image):
        item = item.pixels
    try:
        return square(PIL.Image.fromarray(image.rgb8(np.asarray(item))), tall)
    except BadValue as error:
        raise RunError(str(error)) from None


def pixel_ratio(item: Any) -> float:
    """Return how tall a pixel of an item's pictures is, over its width: 1 where they are square, or where nothing says otherwise.

    An image's and a film's header says it, a volume's affine: of its axial slices, which may be reslices. Raises ``RunError`` for a
    volume whose axial slices have pixels that are no rectangles.
    """
    if isinstance(item, Volume):
        across, back = _in_plane(item.affine)
        return float(np.linalg.norm(back) / np.linalg.norm(across))
    return item.aspect if isinstance(item, Image | Video) else 1.0


def is_square(ratio: float) -> bool:
    """Whether pixels of this height over their width are taken as square."""
    return abs(ratio - 1) <= SQUARE


def square(picture: PIL.Image.Image, ratio: float) -> PIL.Image.Image:
    """Return a picture with square pixels, of the shorter side of its own: the longer side is interpolated (bilinear).

    ``ratio``: a pixel's height over its width. Raises ``RunError`` where that would be too large a picture.
    """
    if is_square(ratio):
        return picture
    width, height = picture.size
    width, height = (width, round(height * ratio)) if ratio > 1 else (round(width / ratio), height)
    if width * height > LARGEST:
        raise RunError(
            f"a picture of {picture.width} x {picture.height} would become {width} x {height}: its pixels are too narrow"
        )
    return picture.resize((width, height), PIL.Image.Resampling.BILINEAR)


def _in_plane(affine: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return the steps, in millimetres, along the axes of a volume that lie nearest to left-right and to front-back."""
    from nibabel.orientations import io_orientation

    turn = [int(axis) for axis in io_orientation(affine)[:, 0]]
    across, back = (np.asarray(affine[:3, turn.index(axis)]) for axis in (0, 1))
    if abs(across @ back) > ASKEW * np.linalg.norm(across) * np.linalg.norm(back):
        raise RunError(
            "its axial slices have pixels that are no rectangles (a sheared affine); resample the volume first"
        )
    return across, back


def slices(volume: Volume, window: tuple[float, float] | None) -> list[npt.NDArray[np.uint8]]:
    """Return the axial slices of a volume, feet first, each uint8 [height, width] as radiologists look at them: the front at the
    top, the patient's right at the left; with square pixels.

    ``window``: the values that become black and white; what is no number is black. Raises ``RunError``: no window for voxels of more
    than 8 bits, or several channels or time points.
    """
    tall = pixel_ratio(volume)
    voxels, _ = to_ras(three_axes(volume.voxels), volume.affine)
    if voxels.ndim != 3:
        raise RunError(
            f"a volume of shape {list(voxels.shape)} has several channels or time points; save the one that is wanted as a file "
            "of three axes (nibabel: image.slicer[..., 0])"
        )
    if window is not None:
        low, high = window
        shares = np.nan_to_num(np.clip((voxels.astype(np.float32) - low) / (high - low), 0, 1), nan=0.0)
        voxels = np.rint(shares * 255).astype(np.uint8)
    elif voxels.dtype != np.uint8:
        raise RunError(
            f"voxels of {voxels.dtype} need a window, the values that become black and white (CT of soft tissue: -160 240): "
            "model.show_between(black, white), --window BLACK WHITE, or window in [run.transform] of the card"
        )
    stack = np.ascontiguousarray(voxels[::-1, ::-1].transpose(2, 1, 0))
    return list(stack) if is_square(tall) else [np.asarray(square(PIL.Image.fromarray(one), tall)) for one in stack]


def frames(film: Video) -> Iterator[PIL.Image.Image]:
    """Yield a film's frames, with square pixels, one at a time."""
    tall = pixel_ratio(film)
    for frame in film.frames():
        yield square(PIL.Image.fromarray(frame), tall)


def with_neighbours(stack: Sequence[npt.NDArray[np.uint8]]) -> list[npt.NDArray[np.uint8]]:
    """Return slices, feet first, as "2.5D" pictures, uint8 [height, width, 3]: the slice below, itself, the slice above.

    At the ends the slice itself stands for the neighbour that is not there. The order is that of 3DCE on DeepLesion (Yan et al.,
    MICCAI 2018; CADLab ``lesion_detector_3DCE/rcnn/fio/load_ct_img.py``: previous, current, next); the winners of RSNA 2019 hemorrhage
    repeated the ends (SeuTao ``2DNet/src/dataset/dataset.py``) and trained on both orders.
    """
    last = len(stack) - 1
    return [np.stack((stack[max(i - 1, 0)], one, stack[min(i + 1, last)]), -1) for i, one in enumerate(stack)]


def _fitted(picture: PIL.Image.Image, side: int, fill: tuple[int, int, int]) -> PIL.Image.Image:
    """Return a picture in the middle of a square of ``side`` that its longer side fills (CheXzero ``data_process.preprocess``)."""
    ratio = side / max(picture.size)
    width, height = (max(int(one * ratio), 1) for one in picture.size)
    ground = PIL.Image.new("RGB", (side, side), fill)
    ground.paste(picture.resize((width, height), FILTERS["lanczos"]), ((side - width) // 2, (side - height) // 2))
    return ground


def _padded(picture: PIL.Image.Image, rule: Transform) -> PIL.Image.Image:
    """Return a picture in the middle of a larger one (see ``Transform.pad``); an odd rest goes below and to the right."""
    least = rule.pad_least or 0
    longer = max(picture.size) if rule.pad == "square" else 0
    width, height = (max(one, longer, least) for one in picture.size)
    padded = PIL.Image.new("RGB", (width, height), rule.fill)
    padded.paste(picture, ((width - picture.width) // 2, (height - picture.height) // 2))
    return padded


def _resized(picture: PIL.Image.Image, rule: Transform) -> PIL.Image.Image:
    width, height = picture.size
    if isinstance(rule.resize, tuple):
        height, width = rule.resize
    elif rule.resize is not None:  # the shorter side; the other is cut to a whole number, as torchvision does
        side = rule.resize
        width, height = (side, int(side * height / width)) if width <= height else (int(side * width / height), side)
    if width * height > LARGEST:
        raise RunError(f"a picture of {picture.width} x {picture.height} would become {width} x {height}: too narrow")
    return picture.resize((width, height), FILTERS[rule.interpolation])


def _middle(picture: PIL.Image.Image, size: tuple[int, int], down: bool = False) -> PIL.Image.Image:
    """Return the middle, on a black ground where the picture is smaller; halves round to even, as torchvision's do, or ``down``."""
    height, width = size
    if picture.width < width or picture.height < height:
        across, down = max(width - picture.width, 0), max(height - picture.height, 0)
        ground = PIL.Image.new("RGB", (picture.width + across, picture.height + down))
        ground.paste(picture, (across // 2, down // 2))
        picture = ground
    over = (picture.height - height, picture.width - width)
    top, left = (one // 2 if down else round(one / 2) for one in over)
    return picture.crop((left, top, left + width, top + height))


def _part(picture: PIL.Image.Image, shape: tuple[int, int], share: float) -> PIL.Image.Image:
    """Return the middle with the shape's ratio of sides (REMEDIS ``data_util.center_crop``)."""
    ratio = shape[1] / shape[0]
    if ratio > picture.width / picture.height:
        height, width = round(share / ratio * picture.width), round(share * picture.width)
    else:
        height, width = round(share * picture.height), round(share * ratio * picture.height)
    height, width = max(height, 1), max(width, 1)
    top, left = (picture.height - height + 1) // 2, (picture.width - width + 1) // 2
    return picture.crop((left, top, left + width, top + height))


def tensorflow_bicubic(values: Float32, size: tuple[int, int]) -> Float32:
    """Resize [height, width, 3] as TensorFlow 1's ``resize_bicubic`` does: no filter, corners first, 1,024 steps between places."""
    for axis, length in enumerate(size):
        given = values.shape[axis]
        place = np.arange(length, dtype=np.float32) * np.float32(given / length)
        start = np.floor(place).astype(np.int64)
        step = np.rint((place - start) * 1024) / 1024
        values = np.moveaxis(_interpolated(np.moveaxis(values, axis, 0), start, step), 0, axis)
    return values


def torch_bicubic(values: Float32, size: tuple[int, int]) -> Float32:
    """Resize [height, width, 3] as ``torch.nn.functional.interpolate`` does: no filter, the middles of pixels."""
    for axis, length in enumerate(size):
        place = (np.arange(length) + 0.5) * (values.shape[axis] / length) - 0.5
        start = np.floor(place).astype(np.int64)
        step = (place - start).astype(np.float32)
        values = np.moveaxis(_interpolated(np.moveaxis(values, axis, 0), start, step), 0, axis)
    return values


def _interpolated(values: Float32, start: npt.NDArray[np.int64], step: npt.NDArray[np.float32]) -> Float32:
    far = 1 + np.stack([step, 1 - step])
    near = np.stack([step, 1 - step])
    outer = ((-0.75 * far + 3.75) * far - 6) * far + 3
    inner = (1.25 * near - 2.25) * near * near + 1
    weights = np.stack([outer[0], inner[0], inner[1], outer[1]]).astype(np.float32)
    rows = np.clip(start + np.arange(-1, 3)[:, None], 0, len(values) - 1)
    mixed: Float32 = np.einsum("kl,kl...->l...", weights, values[rows], dtype=np.float32)
    return mixed
