"""Questions about pictures, with options or with free answers. Pictures stay packed and lazy, as in ``image_text``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

from healthfm.datasets.locate import Files
from healthfm.datasets.pictures import Pictures
from healthfm.datasets.reader import dataset
from healthfm.datasets.readers.image_text import figure, listed, pictured, shown
from healthfm.errors import BadValue
from healthfm.formats import delimited, jsonl, pickled, table
from healthfm.formats.source import Held, Row
from healthfm.records import QA, Image, MultipleChoice

LETTERS = ("A", "B", "C", "D")


@dataset("pathvqa", record=QA)
def pathvqa(files: Files, split: str) -> Iterator[QA]:
    """The hub's tables hold the pictures; the owners' pickles, of plain data alone, name them."""
    owners = files.variant == "owners"
    pictures = shown(files) if owners else None
    for source in files.all("questions"):
        rows: Iterable[Row] = (
            table.rows(source)
            if not owners
            else (Row(one, source, number) for number, one in enumerate(pickled.load(source), 1))
        )
        for row in rows:
            with row:
                if owners:
                    media = pictured(pictures, f"{row['image']}.jpg", split)
                else:
                    media = (Image(id=f"{split}-{row.number}", split=split, **_held(row)),)
                yield QA(
                    id=f"{source.name.split('.')[0]}-{row.number}",
                    split=split,
                    question=row["question"],
                    answers=(str(row["answer"]),),
                    media=media,
                )


def _held(row: Row) -> dict[str, Any]:
    """Return the fields of a picture that a cell of the hub's tables holds as bytes."""
    raw = row["image"].get("bytes") if isinstance(row["image"], Mapping) else None
    if not isinstance(raw, bytes):
        raise BadValue("its picture is no bytes")
    return Pictures.of(Held(row.source.path, f"row {row.number}", raw=raw))


@dataset("pmc-vqa", record=MultipleChoice)
def pmc_vqa(files: Files, split: str) -> Iterator[MultipleChoice]:
    """Options carry their letter before a colon. Answer is the letter in version 2; in version 1 it is the text, and Answer_label the letter."""
    pictures = shown(files)
    for row in delimited.rows(files["questions"], ","):
        with row:
            options = {
                letter: re.sub(rf"^\s*{letter}\s*:\s*", "", row[f"Choice {letter}"]).strip() for letter in LETTERS
            }
            letter = row["Answer_label" if files.variant == "v1" else "Answer"].strip()
            if files.variant == "v1" and options.get(letter) != row["Answer"].strip():
                raise BadValue("Answer and Answer_label do not agree")
            yield MultipleChoice(
                id=f"{split}-{row.number}", split=split, question=row["Question"].strip(), options=options, answer=files.answer("answer", letter),
                media=pictured(pictures, row["Figure_path"], split), meta={"figure": figure(row["Figure_path"]), "caption": row.get("Caption")},
            )  # fmt: skip


@dataset("omnimedvqa", record=MultipleChoice)
def omnimedvqa(files: Files, split: str) -> Iterator[MultipleChoice]:
    """Two to four options; the answer is an option's text. Pictures of the restricted sets are their owners' and are not here."""
    pictures = shown(files, parts=2) if files.variant == "open-access" else None
    for source in files.all("questions"):
        for row in jsonl.items(source):
            with row:
                options = {one: row[f"option_{one}"] for one in LETTERS if row.get(f"option_{one}") not in (None, "")}
                right = [key for key, text in options.items() if str(text).strip() == str(row["gt_answer"]).strip()]
                if len(right) != 1:
                    raise BadValue(f"{len(right)} of its options are the answer, not one")
                path = "/".join(PurePosixPath(row["image_path"]).parts[-2:])
                media = () if pictures is None else (Image(id=path, split=split, **pictures.fields(path)),)
                yield MultipleChoice(
                    id=row["question_id"], split=split, site=row["dataset"], question=row["question"], options=options, answer=right[0], media=media,
                    labels={"question_type": row["question_type"]}, meta={"image": row["image_path"], "modality": row["modality_type"] if "modality_type" in row else row["modality"]},
                )  # fmt: skip


@dataset("medmd", record=QA)
def medmd(files: Files, split: str) -> Iterator[QA]:
    """Case reports' questions: the figures that a question is of are a list written as text. Other parts have layouts of their own."""
    for source in files.all("questions"):
        for row in delimited.rows(source, ","):
            with row:
                images = listed(row["img_ref"])
                yield QA(
                    id=f"{split}-{row.number}", split=split, question=row["question"], context=row["context"], answers=(row["answer"],),
                    meta={"PMC_id": row["PMC_id"], "images": images, "figure": f"{row['PMC_id']}_{images[0]}" if images else None},
                )  # fmt: skip
