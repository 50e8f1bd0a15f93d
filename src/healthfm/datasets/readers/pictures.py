"""Pictures whose class is the name of their folder, and pictures with one table of labels."""

from __future__ import annotations

import re
from collections.abc import Iterator

from healthfm.datasets import media
from healthfm.datasets.locate import Files
from healthfm.datasets.pictures import Pictures, named
from healthfm.datasets.reader import dataset
from healthfm.errors import BadValue, DatasetError
from healthfm.formats import table
from healthfm.records import Image

LIMUC = re.compile(r"UC_patient_(\d+)_\d+\.bmp")


def class_folders(files: Files, split: str, space: str) -> Iterator[Image]:
    """Yield the pictures of CLASS/file; the card knows what a folder's name stands for."""
    for source in files.all("images"):
        with named(source, 2) as row:
            folder = str(row.number).split("/")[0]
            yield Image(
                id=str(row.number), split=split, labels={space: files.label(space, folder)}, **media.fields_of("Image", source)
            )  # fmt: skip


@dataset("retinal-oct-c8", record=Image)
def retinal_oct_c8(files: Files, split: str) -> Iterator[Image]:
    """One folder a class in each split; the files say no patient."""
    return class_folders(files, split, "class")


@dataset("lc25000", record=Image)
def lc25000(files: Files, split: str) -> Iterator[Image]:
    """One folder a class below those of the organs; neither split, nor patient, nor original of a copy is known."""
    return class_folders(files, split, "class")


@dataset("nct-crc-he", record=Image)
def nct_crc_he(files: Files, split: str) -> Iterator[Image]:
    """One folder a tissue; the 7,180 tiles for testing are of other patients, none of whom is numbered."""
    return class_folders(files, split, "tissue")


@dataset("limuc", record=Image)
def limuc(files: Files, split: str) -> Iterator[Image]:
    """``Mayo k`` folders, one set a split or one set a patient; the patient's number is in the file's name."""
    space, parts = "Mayo endoscopic score", 3 if files.variant == "by-patient" else 2
    for source in files.all("images"):
        with named(source, parts) as row:
            *_, grade, name = str(row.number).split("/")
            found = LIMUC.fullmatch(name)
            if found is None:
                raise BadValue("its name is not UC_patient_{patient}_{image}.bmp")
            yield Image(
                id=str(row.number), split=split, patient=found[1], labels={space: files.label(space, grade)},
                **media.fields_of("Image", source),
            )  # fmt: skip


@dataset("airogs", record=Image)
def airogs(files: Files, split: str) -> Iterator[Image]:
    """Folders 0 to 5 of pictures, and one table that says whether a glaucoma is to be referred."""
    pictures = Pictures(files, bare=True)
    for row in pictures.named_by(table.rows(files["labels"])):
        with row:
            name = row["challenge_id"]
            pictures.know(name)
            yield Image(
                id=name, split=split, labels={"class": files.label("class", row["class"])}, **pictures.fields(name)
            )  # fmt: skip


@dataset("fetal-planes", record=Image)
def fetal_planes(files: Files, split: str) -> Iterator[Image]:
    """One folder of pictures; the table, divided by semicolons, names them without their suffix and says the split."""
    pictures = Pictures(files, bare=True)
    for row in pictures.named_by(table.rows(files["labels"])):
        with row:
            name = row["Image_name"].strip()
            pictures.know(name)
            flag = row["Train"].strip()
            if flag not in files.card.splits.values():
                raise BadValue("'Train' is neither 1 nor 0")
            if flag != files.card.splits[split]:
                continue
            yield Image(
                id=name, split=split, patient=row["Patient_num"].strip(),
                labels={space: files.label(space, row[space]) for space in ("Plane", "Brain_plane")},
                meta={key: row[key] for key in ("Operator", "US_Machine")}, **pictures.fields(name),
            )  # fmt: skip


@dataset("isic-2020", record=Image)
def isic_2020(files: Files, split: str) -> Iterator[Image]:
    """A table of patients and pictures; the second edition of it, where it lies there, also says the lesion. Test labels are withheld."""
    pictures = Pictures(files, bare=True)
    twins = dict[str, list[str]]()
    for source in files.all("duplicates"):
        for row in table.rows(source):
            with row:
                pair = row["image_name_1"], row["image_name_2"]
                for one, other in (pair, pair[::-1]):
                    twins.setdefault(one, []).append(other)
    seen = set()
    for row in pictures.named_by(table.rows(files.all("labels")[-1])):
        with row:
            name = row["image_name"] if split == "train" else row.get("image_name") or row["image"]
            seen.add(name)
            pictures.know(name)
            target = files.label("target", row["target"] if split == "train" else None)
            if split == "train" and row["benign_malignant"] != target:
                raise BadValue("'target' and 'benign_malignant' differ")
            yield Image(
                id=name, split=split, patient=(row["patient_id"] if split == "train" else row.get("patient_id") or row.get("patient")) or None,
                labels={"target": target}, **pictures.fields(name),
                meta={**{key: one for key, one in row.items() if key not in ("target", "benign_malignant")}, "duplicates": twins.get(name, [])},
            )  # fmt: skip
    if strange := sorted(set(twins) - seen):
        files.problems.add(
            DatasetError(f"{files['duplicates']}: {len(strange)} pictures that the labels do not name: {', '.join(strange[:3])}")
        )  # fmt: skip


@dataset("isic-archive", record=Image)
def isic_archive(files: Files, split: str) -> Iterator[Image]:
    """What ``isic image download`` writes; what the table says of a diagnosis changed in 2024, and is read by its header."""
    pictures = Pictures(files, bare=True)
    for row in pictures.named_by(table.rows(files["metadata"])):
        with row:
            name = row["isic_id"]
            pictures.know(name)
            spaces = [space.name for space in files.card.labels if space.name in row]
            if not spaces:
                raise BadValue("neither benign_malignant nor diagnosis_1 says what it is")
            yield Image(
                id=name, split=split, patient=row.get("patient_id") or row.get("lesion_id") or None,
                labels={space: files.label(space, row[space]) for space in spaces},
                meta={key: one for key, one in row.items() if key not in spaces}, **pictures.fields(name),
            )  # fmt: skip
