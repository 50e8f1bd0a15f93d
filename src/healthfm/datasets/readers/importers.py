"""Sets that were never released: readers of the user's own data in a layout of the field, which the card describes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

from healthfm.datasets import media
from healthfm.datasets.locate import Files
from healthfm.datasets.reader import dataset
from healthfm.errors import BadValue, DatasetError
from healthfm.formats import batches, jsonl, table
from healthfm.formats.slide import tile_files
from healthfm.formats.source import Row, Source
from healthfm.records import Conversation, Document, Image, Message, MultipleChoice, Record, Slide

SPEAKER = re.compile(
    r"(?:^|\n|\\n)(病人|医生)："
)  # a turn begins a line; the owners' sample writes some line ends as \ and n
ROLES = {"病人": "user", "医生": "assistant"}
LLAVA = {"human": "user", "gpt": "assistant", "system": "system"}
CHAT = {**LLAVA, "user": "user", "assistant": "assistant"}
PLACE = "<image>"


def _text(row: Mapping[str, Any], key: str) -> str:
    if not isinstance(row[key], str):
        raise BadValue(f"'{key}' is not text")
    return str(row[key])


def _numbered(files: Files, role: str) -> Iterator[tuple[str, Row]]:
    """Yield the rows of every file of a role, each with an id made of the file's name and the row's number."""
    for source in files.all(role):
        for row in jsonl.objects(source):
            yield f"{source.name.partition('.')[0]}-{row.number}", row


# Texts ------------------------------------------------------------------------------------------------------------------


@dataset("gap-replay", record=Document)
def gap_replay(files: Files, split: str) -> Iterator[Document]:
    """JSON lines of a corpus that was rebuilt by the owners' recipe: text, and the source it came from."""
    for name, row in _numbered(files, "rebuilt texts"):
        with row:
            yield Document(
                id=name, split=split, text=_text(row, "text"), meta={one: row[one] for one in row if one != "text"}
            )


@dataset("gatortron-ehrs", record=Document)
def gatortron(files: Files, split: str) -> Iterator[Document]:
    """Notes of a hospital's own: the NOTE table of OMOP, or JSON lines of note_id and text, with patient_id where it is known."""
    if files.variant == "omop":
        rows = (values for batch in batches.batches(files["notes"]) for values in batch.to_pylist())
        for number, values in enumerate(rows, 1):
            with Row(values, files["notes"], number) as row:
                kept = {
                    one: row[one]
                    for one in row
                    if one not in ("note_text", "note_id", "person_id") and row[one] is not None
                }
                yield Document(
                    id=_text(row, "note_id"),
                    split=split,
                    patient=row["person_id"],
                    text=_text(row, "note_text"),
                    meta=kept,
                )
        return
    for _, row in _numbered(files, "notes"):
        with row:
            patient = row.get("patient_id")
            yield Document(
                id=str(row["note_id"]),
                split=split,
                patient=None if patient is None else str(patient),
                text=_text(row, "text"),
            )


# Conversations ----------------------------------------------------------------------------------------------------------


@dataset("md-ehr", record=Conversation)
def md_ehr(files: Files, split: str) -> Iterator[Conversation]:
    """A record (a text, or sections by name) and its diagnosis: what is told to the model, and what it is to say."""
    for name, row in _numbered(files, "records"):
        with row:
            told = row["record"]
            if isinstance(told, Mapping):
                told = "\n".join(f"{part}：{_text(told, part)}" for part in told)
            patient = row.get("patient_id")
            yield Conversation(
                id=str(row.get("id", name)), split=split, patient=None if patient is None else str(patient),
                turns=(Message("user", told), Message("assistant", _text(row, "diagnosis"))),
            )  # fmt: skip


@dataset("bianquecorpus", record=Conversation)
def bianque(files: Files, split: str) -> Iterator[Conversation]:
    """The sample's format: in input all turns, each behind 病人： or 医生：, and at the end 医生： alone; target is what the doctor says."""
    for row in table.rows(files["dialogues"]):
        with row:
            before, *parts = SPEAKER.split(row["input"])
            turns = [Message(ROLES[who], said.strip()) for who, said in zip(parts[::2], parts[1::2], strict=True)]
            if before.strip() or not turns or turns[-1].role != "assistant" or turns[-1].content:
                raise BadValue("'input' is not turns behind 病人： or 医生：, with 医生： alone at the end")
            yield Conversation(
                id=f"{split}-{row.number}", split=split, turns=(*turns[:-1], Message("assistant", row["target"].strip())),
                meta={one: row[one] for one in ("answer_choice", "type") if one in row},
            )  # fmt: skip


@dataset("bimed1-3m", record=Conversation)
def bimed(files: Files, split: str) -> Iterator[Record]:
    """Chats (conversations of from and value, or messages of role and content), or questions with options and answer."""
    for name, row in _numbered(files, "rows"):
        with row:
            common: dict[str, Any] = {
                "id": str(row.get("id", name)),
                "split": split,
                "meta": {one: row[one] for one in ("language", "source") if one in row},
            }
            if "options" in row:
                yield MultipleChoice(
                    question=_text(row, "question"), options=row["options"], answer=row["answer"], **common
                )
            else:
                yield Conversation(
                    turns=tuple(_turn(one) for one in (row["messages"] if "messages" in row else row["conversations"])),
                    **common,
                )


def _turn(one: Mapping[str, Any]) -> Message:
    role, said = ("role", "content") if "role" in one else ("from", "value")
    if one[role] not in CHAT:
        raise BadValue(f"a turn is from none of {', '.join(CHAT)}")
    return Message(CHAT[one[role]], _text(one, said))


# Pixels -----------------------------------------------------------------------------------------------------------------


@dataset("mass-100k", record=Slide)
def mass_100k(files: Files, split: str) -> Iterator[Slide]:
    """Slides in slides/, and the tiles that CLAM or TRIDENT found on them in patches/, by the slide's name."""
    tiles = {source.path.name: source.path for source in files.all("tiles")}
    for source in files.all("slides"):
        name = source.path.stem
        mine = [tiles.pop(one) for one in (form.format(name) for form in tile_files.NAMES) if one in tiles]
        with Row({}, source, name):
            if len(mine) > 1:
                raise BadValue(f"{' and '.join(one.name for one in mine)} speak of it; keep the one that is meant")
            made = media.fields_of("Slide", source)
            yield Slide(
                id=name,
                split=split,
                meta={"tiles": str(mine[0]) if mine else None, "tile_count": _count(mine[0], made) if mine else None},
                **made,
            )
    for left in tiles.values():
        files.problems.add(DatasetError(f"{left}: tiles of a slide that is not here"))


def _count(path: Any, made: Mapping[str, Any]) -> int:
    return len(tile_files.read_coords(path, made["open"]()))


@dataset("retfound-data", record=Image)
def retfound(files: Files, split: str) -> Iterator[Image]:
    """A folder a class, as the owners' fine-tuning reads them (torchvision's ImageFolder)."""
    for source in files.all("images"):
        with Row({}, source, source.name):
            place = PurePosixPath(source.member) if source.member else PurePosixPath(source.path.as_posix())
            name = place.parent.name
            yield Image(
                id=f"{split}/{name}/{source.name}",
                split=split,
                labels={"class": files.label("class", name)},
                **media.fields_of("Image", source),
            )


@dataset("pathchatinstruct", record=Conversation)
def pathchat(files: Files, split: str) -> Iterator[Conversation]:
    """LLaVA's JSON: image names a file, and <image> says where in a turn it stands."""
    pictures = {source.name: source for source in files.all("images")}
    for _, row in _numbered(files, "conversations"):
        with row:
            shown = (
                []
                if row.get("image") is None
                else [row["image"]]
                if isinstance(row["image"], str)
                else list(row["image"])
            )
            images = [_image(one, pictures) for one in shown]
            turns = tuple(_placed(one, images) for one in row["conversations"])
            if images:
                raise BadValue(f"'image' names {len(images)} more than {PLACE} stands in the turns")
            media_ = tuple(
                part
                for turn in turns
                if isinstance(turn.content, tuple)
                for part in turn.content
                if isinstance(part, Image)
            )
            yield Conversation(id=str(row["id"]), split=split, turns=turns, media=media_)


def _image(name: str, pictures: Mapping[str, Source]) -> Image:
    if PurePosixPath(name).name not in pictures:
        raise BadValue("'image' names a file that is not in images/")
    return Image(id=name, **media.fields_of("Image", pictures[PurePosixPath(name).name]))


def _placed(turn: Mapping[str, Any], images: list[Image]) -> Message:
    """Return a turn with the next images in the places that it leaves for them."""
    if turn["from"] not in LLAVA:
        raise BadValue(f"a turn is from none of {', '.join(LLAVA)}")
    pieces = _text(turn, "value").split(PLACE)
    if len(pieces) - 1 > len(images):
        raise BadValue(f"{PLACE} stands more often in the turns than 'image' names files")
    content: list[str | Image] = []
    for number, piece in enumerate(pieces):
        content += [images.pop(0)] if number else []
        content += [piece.strip("\n")] if piece.strip() else []
    return Message(
        LLAVA[turn["from"]], content[0] if len(content) == 1 and isinstance(content[0], str) else tuple(content)
    )
