"""Volumes with masks: NIfTI and MHA pairs. A mask must lie on its image's grid; a label map holds only values that the card names."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any

from healthfm.cards.schema import Labels
from healthfm.datasets.grids import ENDINGS, by, folder, labelled, one_file, paired, record, stem, stored
from healthfm.datasets.locate import Files
from healthfm.datasets.reader import dataset
from healthfm.errors import BadValue, DatasetError
from healthfm.formats import delimited, jsonl, volume
from healthfm.formats.source import Row, Source
from healthfm.records import Volume


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


@dataset("sat-ds", record=Volume)
def sat_ds(files: Files, split: str) -> Iterator[Volume]:
    """A line a scan. How names meet the values or channels of a mask differs set by set (the owners' loader.py): the mask is given as stored.

    The index is the owners', the scans come from others: where none is here the index alone is read, and asking for voxels says so.
    """
    paths = [(one.member or one.path.as_posix(), one) for one in files.all("images")]
    here = {_below_nii(path): one for path, one in paths if "nii" in path.split("/")[:-1]}
    if not here:
        files.problems.notices.append("sat-ds: no scan is here; the index alone is read")
    for source in files.all("index"):
        for row in jsonl.rows(source):
            with row:
                place = _below_nii(row["image"])
                image, mask = here.get(place), here.get(_below_nii(row["mask"]))
                if here and image is None:
                    raise BadValue("its image is not here")
                held = source if image is None else image
                modality = row["modality"].split(" ")[0]
                made = record(
                    f"{row['dataset']}:{ENDINGS.sub('', place.partition('/')[2])}", split, {"": held}, {} if mask is None else {"as stored": functools.partial(stored, mask, None)},
                    modality={"MRI": "MR", "PET": "PT"}.get(modality, modality), site=row["dataset"],
                    patient=f"{row['dataset']}:{row['patient_id']}" if row.get("patient_id") else None,
                    meta={key: row.get(key) for key in ("label", "official_split", "modality", "image", "mask")},
                )  # fmt: skip
                gone = functools.partial(_not_here, source, row.number)
                yield made if image is not None else replace(made, load=gone, place=gone)


def _below_nii(path: str) -> str:
    """Return the part of a path below the folder ``nii``, where the owners' index has every set."""
    return path.replace("\\", "/").rpartition("/nii/")[2] if "/nii/" in path else path.removeprefix("nii/")


def _not_here(index: Source, number: int | str) -> Any:
    raise DatasetError(f"{index}, row {number}: its scan is not here; it comes from its own owners")
