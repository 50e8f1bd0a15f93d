"""Volumes with masks: NIfTI and MHA pairs. A mask must lie on its image's grid; a label map holds only values that the card names."""

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
from healthfm.datasets.reader import dataset
from healthfm.errors import BadValue, DatasetError, NotAnnotated
from healthfm.formats import delimited, jsonl, volume
from healthfm.formats.source import Row, Source
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


def _stored(mask: Source, image: Source | None) -> npt.NDArray[Any]:
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
    grid = _stored(mask, image)
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
    grid = _stored(mask, image)
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


def _image(source: Source) -> str:
    return stem(source).removesuffix("_0000")


@dataset("totalsegmentator", record=Volume)
def totalsegmentator(files: Files, split: str) -> Iterator[Volume]:
    """A file a structure, an empty one where it is out of view; meta.csv, with semicolons, says which split a subject is in."""
    yield from _subjects(files, split, {row["image_id"]: row for row in delimited.rows(files["metadata"], ";")})


@dataset("totalsegmentatorv2", record=Volume)
def totalsegmentator_v2(files: Files, split: str) -> Iterator[Volume]:
    """As the first edition; its structures have other names."""
    yield from _subjects(files, split, {row["image_id"]: row for row in delimited.rows(files["metadata"], ";")})


@dataset("abdomenatlas-8k", record=Volume)
def abdomen_atlas(files: Files, split: str) -> Iterator[Volume]:
    """A folder a scan; most masks come from models."""
    yield from _subjects(files, split, None)


def _subjects(files: Files, split: str, about: Mapping[str, Row] | None) -> Iterator[Volume]:
    """Yield folders of one scan and a mask file a structure, in the split that a table gives them (None: all)."""
    parts: dict[str, dict[str, Source]] = {}
    for mask in files.all("masks"):
        parts.setdefault(folder(mask, 2), {})[stem(mask)] = mask
    images = by(files.all("images"), folder)
    for name, image in sorted(images.items()):
        row = None if about is None else about.get(name)
        if about is not None and row is None:
            files.problems.add(DatasetError(f"{image}: {name} is not in {files['metadata'].name}"))
        elif row is None or row["split"] == files.card.splits[split]:
            masks = {
                part: functools.partial(one_file, mask, image) for part, mask in sorted(parts.get(name, {}).items())
            }
            said = {} if row is None else dict(row)
            yield record(
                name,
                split,
                {"": image},
                masks,
                modality="CT",
                patient=name,
                site=said.get("institute") or None,
                meta=said,
            )
    for name in sorted(set(about or {}) - set(images)):
        if (about or {})[name]["split"] == files.card.splits[split]:
            files.problems.add(DatasetError(f"{files['metadata']}: {name} is listed, its scan is not here"))


@dataset("autopet", record=Volume)
def autopet(files: Files, split: str) -> Iterator[Volume]:
    """PET in SUV with the CT resampled to it, as two channels. One patient (the PETCT_ folder) may have several examinations."""
    nifti = files.variant == "nifti"
    case: Callable[[Source], str] = (
        (lambda one: f"{folder(one, 2)}/{folder(one)}") if nifti else lambda one: re.sub(r"_000[01]$", "", stem(one))
    )
    pet, ct, masks = (by(files.all(role), case) for role in ("pet", "ct" if nifti else "images", "masks"))
    for name, image in sorted(pet.items()):
        if name not in ct or name not in masks:
            files.problems.add(DatasetError(f"{image}: no CT or no mask of {name} beside it"))
            continue
        patient = name.split("/")[0] if nifti else "_".join(name.split("_")[:2])
        yield record(
            name, split, {"SUV": image, "CT": ct[name]}, labelled(masks[name], image, files.space("lesion")), modality="PT", patient=patient,
        )  # fmt: skip


@dataset("uls", record=Volume)
def uls(files: Files, split: str) -> Iterator[Volume]:
    """Volumes of one lesion; images and labels come from two places and join by set and name."""

    def name(one: Source) -> str:
        return f"{folder(one, 2)}/{stem(one)}"

    yield from paired(
        files, split, by(files.all("images"), name), by(files.all("masks"), name), space="lesion", about=lambda case, _: {"patient": None, "site": case.split("/")[0]},
    )  # fmt: skip


@dataset("flare-2022", record=Volume)
def flare_2022(files: Files, split: str) -> Iterator[Volume]:
    """Image names end in _0000, label names do not; unlabelled and tuning scans have no masks."""
    yield from paired(files, split, by(files.all("images"), _image), by(files.all("masks"), stem), space="organs")


@dataset("flare-2023", record=Volume)
def flare_2023(files: Files, split: str) -> Iterator[Volume]:
    """Labels are partial: a class that a case's map lacks was not annotated there, and asking for it says so."""
    yield from paired(
        files,
        split,
        by(files.all("images"), _image),
        by(files.all("masks"), stem),
        space="organs and tumour",
        partial=True,
    )


@dataset("abdomenct-1k", record=Volume)
def abdomenct_1k(files: Files, split: str) -> Iterator[Volume]:
    """The owner's zips and nnU-Net mirrors; both kidneys share a value."""
    yield from paired(files, split, by(files.all("images"), _image), by(files.all("masks"), stem), space="organs")


@dataset("ctspine1k", record=Volume)
def ctspine1k(files: Files, split: str) -> Iterator[Volume]:
    """Masks are named after the scan with _seg behind it; the owner's folders of images and labels are spelled differently."""
    masks = by(files.all("masks"), lambda one: stem(one).removesuffix("_seg"))
    yield from paired(
        files,
        split,
        by(files.all("images"), stem),
        masks,
        space="vertebrae",
        about=lambda _, image: {"site": folder(image)},
    )


@dataset("ctpelvic1k", record=Volume)
def ctpelvic1k(files: Files, split: str) -> Iterator[Volume]:
    """Parts 6 and 7 have images; of parts 1 to 5 a record is the mask alone, on the grid of a scan that is elsewhere."""

    def case(one: Source) -> str:
        return re.sub(r"_(?:data|mask_4label)$", "", stem(one)).removeprefix("dataset7_")

    masks = by(files.all("masks"), case)
    if files.variant != "masks-only":
        images = by(files.all("images"), case)
        yield from paired(
            files,
            split,
            images,
            {k: m for k, m in masks.items() if k in images or "dataset7" not in m.name},
            space="bones",
            needed=files.variant == "clinic",
        )
        return
    for name, mask in sorted(masks.items()):
        yield record(
            name,
            split,
            {"": mask},
            labelled(mask, None, files.space("bones")),
            patient=name,
            meta={"scan": "elsewhere; these voxels are the mask"},
        )


@dataset("msd", record=Volume)
def msd(files: Files, split: str) -> Iterator[Volume]:
    """dataset.json names channels, labels and cases; what it lists and is not here, and the reverse, is a problem."""
    index = jsonl.load(files["index"])
    space = Labels(
        name="structures",
        kind="mask",
        classes=tuple(index["labels"].values()),
        codes={name: value for value, name in index["labels"].items()},
    )
    listed = {
        _case(one["image"] if isinstance(one, dict) else one)
        for one in index["training" if split == "train" else "test"]
    }
    images, masks = by(files.all("images"), stem), by(files.all("masks"), stem)
    for case in sorted(listed ^ set(images)):
        files.problems.add(
            DatasetError(
                f"{files['index']}: {case} is {'listed, but not here' if case in listed else 'here, but not listed'}"
            )
        )
    channels = tuple(index["modality"].values())
    for case in sorted(listed & set(images)):
        if split == "train" and case not in masks:
            files.problems.add(DatasetError(f"{images[case]}: no mask of {case} beside it"))
            continue
        yield Volume(
            id=case, split=split, patient=case, load=functools.partial(volume.voxels, images[case]), place=functools.partial(volume.affine, images[case]),
            channels=channels if len(channels) > 1 else (), modality=channels[0] if len(channels) == 1 else "MR",
            masks=labelled(masks[case], images[case], space) if case in masks else {}, codes=space.codes,
        )  # fmt: skip


def _case(path: str) -> str:
    return ENDINGS.sub("", PurePosixPath(path).name)


BRATS = {
    "brats2021": (("flair", "t1", "t1ce", "t2"), "tumour parts 2021"),
    "brats2023-gli": (("t1n", "t1c", "t2w", "t2f"), "tumour parts 2023"),
}


@dataset("brats21", record=Volume)
def brats21(files: Files, split: str) -> Iterator[Volume]:
    """Four sequences as channels. Enhancing tumour is 4 in the names of 2021 and 3 in those of 2023: each variant has its own codes."""
    yield from _brats(files, split, *BRATS[str(files.variant)])


@dataset("brats2023-men", record=Volume)
def brats2023_men(files: Files, split: str) -> Iterator[Volume]:
    """Meningioma; the folder's name ends in the time point, the patient's does not."""
    yield from _brats(files, split, BRATS["brats2023-gli"][0], "tumour parts")


def _brats(files: Files, split: str, channels: Sequence[str], space: str) -> Iterator[Volume]:
    held: dict[str, dict[str, Source]] = {}
    for source in files.all("images"):
        case, channel = re.fullmatch(r"(.+)[-_](\w+)", stem(source)).groups()  # type: ignore[union-attr]
        held.setdefault(case, {})[channel] = source
    masks = by(files.all("masks"), lambda one: re.sub(r"[-_]seg$", "", stem(one)))
    for case, images in sorted(held.items()):
        absent = [name for name in channels if name not in images]
        if absent or (split == "train" and case not in masks):
            files.problems.add(
                DatasetError(f"{next(iter(images.values()))}: {case} lacks {', '.join(absent) or 'its mask'}")
            )
            continue
        parts = labelled(masks[case], images[channels[0]], files.space(space)) if case in masks else {}
        patient = re.sub(r"-\d{3}$", "", case) if case.startswith("BraTS-") else case
        yield record(case, split, {name: images[name] for name in channels}, parts, modality="MR", patient=patient)


@dataset("atlas-v2", record=Volume)
def atlas_v2(files: Files, split: str) -> Iterator[Volume]:
    """BIDS names: the site is R and its number, the subject holds it too."""

    def case(one: Source) -> str:
        return stem(one).split("_ses-")[0]

    yield from paired(
        files, split, by(files.all("images"), case), by(files.all("masks"), case), space="lesion", modality="MR",
        about=lambda name, _: {"site": f"R{name[5:8]}" if re.match(r"sub-r\d{3}s", name) else None},
    )  # fmt: skip


@dataset("pi-cai", record=Volume)
def pi_cai(files: Files, split: str) -> Iterator[Volume]:
    """A sequence a record, each on its own grid; the lesion masks fit the axial T2 scan. The outcome is the study's, the folds are by patient."""
    sheet = {f"{row['patient_id']}_{row['study_id']}": row for row in delimited.rows(files["metadata"], ",")}
    masks = by(files.all("lesion masks"), stem)
    for source in sorted(files.all("images"), key=lambda one: one.name):
        with Row({}, source, source.name):
            study, _, sequence = stem(source).rpartition("_")
            if study not in sheet:
                raise BadValue(f"{study} is not in the marksheet")
            row = sheet[study]
            parts = (
                labelled(masks[study], source, files.space("lesion")) if sequence == "t2w" and study in masks else {}
            )
            yield record(
                f"{study}_{sequence}", split, {"": source}, parts, modality="MR", patient=row["patient_id"], site=row.get("center"),
                labels={"case_csPCa": files.label("case_csPCa", row["case_csPCa"])}, meta={**row, "sequence": sequence, "study": study},
            )  # fmt: skip


@dataset("sat-ds", record=Volume)
def sat_ds(files: Files, split: str) -> Iterator[Volume]:
    """A line a scan. How names meet the values or channels of a mask differs set by set (the owners' loader.py): the mask is given as stored."""
    here = {
        "/".join(PurePosixPath(one.member or one.path.as_posix()).parts[-4:]): one
        for one in [*files.all("images"), *files.all("masks")]
    }
    for source in files.all("index"):
        for row in jsonl.rows(source):
            with row:
                image, mask = (
                    next((one for key, one in here.items() if row[role].endswith(key)), None)
                    for role in ("image", "mask")
                )
                if image is None:
                    raise BadValue("its image is not here")
                yield record(
                    f"{row['dataset']}:{_case(row['image'])}", split, {"": image}, {} if mask is None else {"as stored": functools.partial(_stored, mask, None)},
                    modality={"CT": "CT", "MRI": "MR", "PET": "PT"}.get(row["modality"], row["modality"]), site=row["dataset"],
                    patient=f"{row['dataset']}:{row['patient_id']}" if row.get("patient_id") else None, meta={"label": row["label"], "official_split": row.get("official_split")},
                )  # fmt: skip
