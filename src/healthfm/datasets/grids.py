"""Images and masks on one grid: files joined by case, a mask held against its image's shape and affine, label maps by the card's values."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt

from healthfm.cards.schema import Labels
from healthfm.datasets.locate import Files
from healthfm.errors import DatasetError, NotAnnotated
from healthfm.formats import volume
from healthfm.formats.source import Source
from healthfm.records import Volume

ENDINGS = re.compile(r"\.(?:nii|mha)(?:\.gz)?$")
OFF = 1e-2  # millimetres (and their cosines) by which two grids may differ and still be one
Masks = Mapping[str, Callable[[], npt.NDArray[Any]]]


def stem(source: Source) -> str:
    """Return a file's name without .nii, .nii.gz or .mha: names may be full of dots."""
    return ENDINGS.sub("", source.name)


def folder(source: Source, up: int = 1) -> str:
    """Return the name of the folder a file stands in, or one further up."""
    return PurePosixPath(source.member or source.path.as_posix()).parts[-1 - up]


@functools.lru_cache(maxsize=2)
def _map(path: Any, member: str | None, written: int) -> npt.NDArray[Any]:
    return volume.voxels(Source(path, member))


@functools.lru_cache(maxsize=2)
def _held(path: Any, member: str | None, written: int) -> frozenset[str]:
    return frozenset(f"{value:g}" for value in np.unique(_map(path, member, written)).tolist())


def stored(mask: Source, image: Source | None) -> npt.NDArray[Any]:
    """Return a mask's voxels. Raises ``DatasetError``: another grid than its image's."""
    found = _map(mask.path, mask.member, mask.path.stat().st_mtime_ns)
    if image is not None and not np.allclose(volume.affine(mask), volume.affine(image), atol=OFF):
        raise DatasetError(f"{mask}: its affine is not that of {image.name}; a mask must lie on its image's grid")
    return found


def _on(grid: npt.NDArray[Any], mask: Source, image: Source | None) -> None:
    if image is not None and grid.shape[:3] != (shape := _shape(image)):
        raise DatasetError(
            f"{mask}: {list(grid.shape[:3])} voxels, {image.name} has {list(shape)}; a mask must lie on its image's grid"
        )


def _shape(image: Source) -> tuple[int, ...]:
    from healthfm.formats import nifti

    return (nifti.shape(image) if ".nii" in image.name else volume.voxels(image).shape)[:3]


def one_label(
    mask: Source, image: Source | None, space: Labels, name: str, partial: bool = False
) -> npt.NDArray[np.bool_]:
    """Return where a label map holds a class. Raises ``DatasetError``: a value that the card does not know, another grid.

    ``partial``: a value that is not in the map was not annotated in this case, which is no absence: that raises too.
    """
    grid = stored(mask, image)
    _on(grid, mask, image)
    held = _held(mask.path, mask.member, mask.path.stat().st_mtime_ns)
    if strange := sorted(held - set(space.codes.values())):
        raise DatasetError(
            f"{mask}: it holds {', '.join(strange[:5])}, which are none of the values of '{space.name}' on the card"
        )
    if partial and space.codes[name] not in held:
        raise NotAnnotated(
            f"{mask}: '{name}' is not annotated in this case; the set's labels are partial, so that is no absence"
        )
    return np.asarray(grid == float(space.codes[name]))


def one_file(mask: Source, image: Source | None) -> npt.NDArray[np.bool_]:
    """Return a mask of two values, 0 and another. Raises ``DatasetError``: more of them, another grid."""
    grid = stored(mask, image)
    _on(grid, mask, image)
    if len(values := np.unique(grid[grid != 0])) > 1:
        raise DatasetError(f"{mask}: {len(values) + 1} values, a mask of one structure was expected")
    return np.asarray(grid != 0)


def labelled(mask: Source, image: Source | None, space: Labels, partial: bool = False) -> Masks:
    """Return the masks of a label map by class, the background left out."""
    return {
        name: functools.partial(one_label, mask, image, space, name, partial)
        for name in space.classes
        if space.codes[name] != "0"
    }


def record(id: str, split: str, images: Mapping[str, Source], masks: Masks | None = None, **more: Any) -> Volume:
    """Return a volume of one file, or of several channels that must share a grid, by their names in order."""
    sources = list(images.values())
    return Volume(
        id=id, split=split, load=functools.partial(_channels, sources), place=functools.partial(volume.affine, sources[0]),
        channels=tuple(images) if len(images) > 1 else (), masks=masks or {}, **more,
    )  # fmt: skip


def _channels(sources: Sequence[Source]) -> npt.NDArray[Any]:
    if len(sources) == 1:
        return volume.voxels(sources[0])
    grids = [volume.voxels(one) for one in sources]
    for one, grid in zip(sources[1:], grids[1:], strict=True):
        if grid.shape != grids[0].shape or not np.allclose(volume.affine(one), volume.affine(sources[0]), atol=OFF):
            raise DatasetError(f"{one}: another grid than {sources[0].name}, with which it is one volume")
    return np.stack(grids, axis=-1)


def paired(
    files: Files, split: str, images: Mapping[str, Source], masks: Mapping[str, Source], *, space: str | None = None, modality: str = "CT",
    partial: bool = False, needed: bool = True, about: Callable[[str, Source], Mapping[str, Any]] = lambda case, image: {},
) -> Iterator[Volume]:  # fmt: skip
    """Yield a record a case, images and label maps joined by its name. ``needed``: an image without a mask is a problem of the set.

    A mask without an image is a problem always. ``about`` gives more fields of a case.
    """
    labels = files.space(space) if space else None
    for case, image in sorted(images.items()):
        mask = masks.get(case)
        if mask is None and masks and needed:
            files.problems.add(DatasetError(f"{image}: no mask of {case} beside it"))
            continue
        held = {} if mask is None or labels is None else labelled(mask, image, labels, partial)
        yield record(case, split, {"": image}, held, modality=modality, **{"patient": case, **about(case, image)})
    for case in sorted(set(masks) - set(images)):
        files.problems.add(DatasetError(f"{masks[case]}: a mask without an image"))


def by(sources: Sequence[Source], name: Callable[[Source], str]) -> dict[str, Source]:
    """Return files by the case they are of. Raises ``DatasetError``: two of one case."""
    found: dict[str, Source] = {}
    for source in sources:
        if (case := name(source)) in found:
            raise DatasetError(f"{source}: a second file of {case}, beside {found[case]}")
        found[case] = source
    return found
