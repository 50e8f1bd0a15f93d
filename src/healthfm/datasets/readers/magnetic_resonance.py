"""Volumes of magnetic resonance: several sequences of one examination, as the channels of one volume or as records of their own."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from healthfm.datasets.grids import by, labelled, paired, record, stem
from healthfm.datasets.locate import Files
from healthfm.datasets.reader import dataset
from healthfm.errors import BadValue, DatasetError
from healthfm.formats import delimited
from healthfm.formats.source import Row, Source
from healthfm.records import Volume

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
    fold = f"fold{files.card.splits[split]}"
    for source in sorted(files.all("images"), key=lambda one: one.name):
        if source.member is not None and split != "all" and fold not in source.path.name:
            continue  # of another fold's archive, which says its fold by its name alone
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
                labels={"case_csPCa": files.label("case_csPCa", row.get("case_csPCa"))}, meta={**row, "sequence": sequence, "study": study},
            )  # fmt: skip
