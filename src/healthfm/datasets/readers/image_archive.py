"""Downloads of LONI's Image and Data Archive: a folder an image, and the table of the search that chose them."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from pathlib import PurePosixPath

from healthfm.datasets.locate import Files
from healthfm.datasets.reader import dataset
from healthfm.errors import BadValue, DatasetError
from healthfm.formats import delimited, volume
from healthfm.formats.source import Row, Source
from healthfm.records import Volume

NAMED = re.compile(
    r"_I(\d+)\.(?:dcm|nii)$"
)  # a file's name ends in the image's number; that of its folder may be the series'
KEY = "Image Data ID"


@dataset("adni", record=Volume)
def adni(files: Files, split: str) -> Iterator[Volume]:
    """Images with the row of the search table; the tables of visits join by other keys and are not read."""
    yield from _images(files, split)


@dataset("ppmi", record=Volume)
def ppmi(files: Files, split: str) -> Iterator[Volume]:
    """As ADNI."""
    yield from _images(files, split)


def _images(files: Files, split: str) -> Iterator[Volume]:
    """Yield an image a record. One that is listed and not here, or the reverse, and one in another's folder are problems."""
    rows, images = _listed(files), dict[str, list[Source]]()
    for source in dict.fromkeys(files.all("images")):
        found = NAMED.search(source.name)
        if found is None:
            files.problems.add(DatasetError(f"{source}: its name does not end in the number of an image (_I12345)"))
        else:
            images.setdefault(found[1], []).append(source)
    owner = {
        source.path.parent: number for number, sources in images.items() for source in sources if source.member is None
    }
    for number, sources in images.items():
        with Row({}, sources[0], f"I{number}"):
            row = rows.pop(number, None)
            if row is None:
                raise BadValue("the image is in no search table")
            subject = PurePosixPath(sources[0].member or sources[0].path.as_posix()).parts[-5]
            if subject != row["Subject"]:
                raise BadValue("its folder is of another subject than the search table says")
            held = _whole(sources, {owner.get(one.path.parent) for one in sources} == {number})
            yield Volume(
                id=f"I{number}", split=split, patient=subject, labels={"Group": files.label("Group", row["Group"])}, modality=row["Modality"] or None,
                load=functools.partial(volume.voxels, held), place=functools.partial(volume.affine, held), meta=dict(row),
            )  # fmt: skip
    for row in rows.values():
        files.problems.add(row.error("its image is not here"))


def _whole(sources: list[Source], alone: bool) -> Source:
    """Return what holds an image: its one NIfTI file, or the folder of its slices."""
    if sources[0].name.endswith(".nii"):
        if len(sources) > 1:
            raise BadValue(f"{len(sources)} files of one image")
        return sources[0]
    if any(one.member is not None for one in sources):
        raise BadValue("DICOM inside an archive; unpack it")
    if len({one.path.parent for one in sources}) > 1 or not alone:
        raise BadValue("its slices do not fill one folder alone")
    return Source(sources[0].path.parent)


def _listed(files: Files) -> dict[str, Row]:
    """Return the rows of the search tables by the image's number, which is written with or without its I."""
    rows = dict[str, Row]()
    for source in files.all("search table"):
        for row in delimited.rows(source, ","):
            if KEY not in row:
                files.problems.passed.append((source.name, "a table without images"))
                break
            with row:
                number = str(row[KEY]).strip().removeprefix("I")
                if not number.isdigit() or rows.setdefault(number, row)["Subject"] != row["Subject"]:
                    raise BadValue(f"'{KEY}' is no number of an image, or that of an image of another subject")
    if not rows:
        raise DatasetError(
            f"{files.card.slug}: none of the tables here has a column '{KEY}': keep the one of the search beside the images"
        )
    return rows
