"""Pictures with captions or conversations. Pictures stay packed and lazy; one that a table names and is not here is its row's error.

``meta["figure"]`` is the name of a figure as its paper's archive has it (PMCID and file), where it is known: the key that tells the same
figure in several sets.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

from healthfm.datasets.locate import Files
from healthfm.datasets.pictures import Pictures
from healthfm.datasets.reader import dataset
from healthfm.errors import BadValue, DatasetError
from healthfm.formats import delimited, jsonl, table
from healthfm.formats.source import Row, Source, lines
from healthfm.records import Conversation, Document, Image, Message

PMC = re.compile(r"PMC\d+[^/]*?(?=\.\w+$)")
ROLES = {"human": "user", "gpt": "assistant", "user": "user", "assistant": "assistant"}


def listed(text: str) -> list[str]:
    """Return a Python list written as text, which is read, never run; "" is none. Raises ``BadValue``: it is no list of texts."""
    if not text.strip():
        return []
    try:
        found = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        raise BadValue("a cell is no list") from None
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
        raise BadValue("a cell is no list of texts")
    return found


def picture(pictures: Pictures, name: str, split: str) -> Image:
    """Return the picture of a row, by the last part of the path that the row gives. Raises ``BadValue``: it is not here."""
    plain = PurePosixPath(name.replace("\\", "/")).name
    return Image(id=plain, split=split, **pictures.fields(plain))


def shown(files: Files, parts: int = 1, bare: bool = False) -> Pictures | None:
    """Return the pictures that are here; None, with a notice, where there is not one: the texts are read alone."""
    if files.all("images"):
        return Pictures(files, parts=parts, bare=bare)
    files.problems.notices.append(f"{files.card.slug}: no pictures are here; the texts are read alone")
    return None


def rows_of(pictures: Pictures | None, rows: Iterable[Row]) -> Iterator[Row]:
    """Yield a table's rows; the pictures that none of them names are passed over by name."""
    yield from rows if pictures is None else pictures.named_by(rows)


def figure(name: str) -> str | None:
    """Return PMCID and figure from a picture's name; None where it holds none."""
    found = PMC.search(PurePosixPath(name).name)
    return found[0] if found else None


def pictured(pictures: Pictures | None, name: str, split: str) -> tuple[Image, ...]:
    """Return the picture of a row as its media; nothing where no picture is here at all. Raises ``BadValue``: others are, and not this one."""
    return () if pictures is None else (picture(pictures, name, split),)


def _caption(row: Row, pictures: Pictures | None, split: str, id: str, name: str, text: str, **more: Any) -> Document:
    return Document(
        id=id, split=split, text=text, media=pictured(pictures, name, split), labels=more.pop("labels", {}), patient=more.pop("patient", None),
        meta={"image": name, "figure": figure(name), **more},
    )  # fmt: skip


@dataset("roco", record=Document)
def roco(files: Files, split: str) -> Iterator[Document]:
    """A caption a line by ROCO's id. The pictures are fetched figure by figure and may be fewer; a caption whose picture is not here has none."""
    about = {role: dict(_by_id(files.all(role))) for role in ("concepts", "keywords", "semantic types")}
    figures = {
        row["ROCO_ID"]: row["PMC_ID"].rpartition(".")[0] or row["PMC_ID"]
        for one in files.all("licences")
        for row in delimited.rows(one, ",")
    }
    here = Pictures(files, bare=True) if files.all("images") else None
    for number, line in lines(files["captions"]):
        row = Row({}, files["captions"], number)
        with row:
            id, tab, caption = line.rstrip("\r\n").partition("\t")
            if not tab or not caption.strip():
                raise BadValue("no caption behind a tab")
            media = () if here is None or not here.has(id) else (Image(id=id, split=split, **here.fields(id)),)
            yield Document(
                id=id, split=split, text=caption.strip(), media=media, labels={"cuis": frozenset(about["concepts"].get(id, ()))},
                meta={"figure": figures.get(id), "keywords": about["keywords"].get(id, []), "semantic types": _coded(about["semantic types"].get(id, []))},
            )  # fmt: skip


def _coded(values: list[str]) -> dict[str, str]:
    """Return names by code, which stand in turn."""
    return dict(zip(values[::2], values[1::2], strict=False))


def _by_id(sources: Iterable[Source]) -> Iterator[tuple[str, list[str]]]:
    """Yield ROCO's lists: an id, an empty column, then a value a column."""
    for source in sources:
        for _, line in lines(source):
            id, *values = line.rstrip("\r\n").split("\t")
            yield id, [one.strip() for one in values if one.strip()]


@dataset("imageclef2018", record=Document)
def imageclef2018(files: Files, split: str) -> Iterator[Document]:
    """Captions and concepts by figure id, in tables without a header; the test set has neither."""
    concepts = {
        row["id"]: row["concepts"]
        for one in files.all("concepts")
        for row in delimited.rows(one, "\t", names=["id", "concepts"])
    }
    pictures = shown(files, bare=True)
    for source in files.all("captions"):
        for row in rows_of(pictures, delimited.rows(source, "\t", names=["id", "caption"])):
            with row:
                found = frozenset(filter(None, re.split(r"[;,]", concepts.get(row["id"], ""))))
                media = () if pictures is None else (Image(id=row["id"], split=split, **pictures.fields(row["id"])),)
                yield Document(
                    id=row["id"], split=split, text=row["caption"], media=media, labels={"concepts": found}, meta={"figure": row["id"]}
                )  # fmt: skip
    if not files.all("captions") and pictures is not None:
        for id, fields in pictures.each():
            yield Document(
                id=id, split=split, text="", media=(Image(id=id, split=split, **fields),), meta={"figure": id}
            )


@dataset("openpath", record=Document)
def openpath(files: Files, split: str) -> Iterator[Document]:
    """Links alone are given out: a record has its text's address, and its picture where the user has fetched it under the row's id."""
    here = Pictures(files, bare=True) if files.all("images") else None
    for row in delimited.rows(files["pairs"], ",", names=["id", "source", "hashtag", "link", "fifth", "sixth"]):
        with row:
            media = (
                ()
                if here is None or not here.has(row["id"])
                else (Image(id=row["id"], split=split, **here.fields(row["id"])),)
            )
            yield Document(
                id=f"{row.number}:{row['id']}",
                split=split,
                text="",
                media=media,
                meta={"text": "not given out: see the link", **row},
            )


def _literal(text: str) -> Any:
    """Return what Python wrote as text, which is read, never run; the text itself where it is no such thing."""
    try:
        return ast.literal_eval(text) if text.strip() else []
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text


@dataset("quilt-1m", record=Document)
def quilt_1m(files: Files, split: str) -> Iterator[Document]:
    """A caption a row; one picture has several. Lists are Python's, written as text."""
    pictures = shown(files)
    for row in delimited.rows(files["pairs"], ","):
        if pictures is not None:
            pictures.know(row["image_path"])
        if row["split"] != files.card.splits[split]:
            continue
        with row:
            yield _caption(
                row, pictures, split, f"{row.number}", row["image_path"], row["caption"], subset=row["subset"], magnification=row["magnification"],
                roi_text=listed(row["roi_text"]), umls=_literal(row["med_umls_ids"]), pathology=row["pathology"],
            )  # fmt: skip


@dataset("patchgastricadc22", record=Document)
def patchgastric(files: Files, split: str) -> Iterator[Document]:
    """A slide a record: its caption, and as media all of its patches, whose names begin with its id."""
    patches: dict[str, list[Source]] = {}
    some = shown(files) is not None
    for source in files.all("images"):
        patches.setdefault(source.name.rpartition("_")[0], []).append(source)
    for row in table.rows(files["captions"]):
        with row:
            mine = patches.pop(row["id"], [])
            if some and not mine:
                raise BadValue(f"no patch of {row['id']} is here")
            yield Document(
                id=row["id"], split=split, patient=row["id"], text=row["text"], labels={"subtype": files.label("subtype", row["subtype"])},
                media=tuple(Image(id=one.name, split=split, **Pictures.of(one)) for one in sorted(mine, key=lambda one: one.name)),
            )  # fmt: skip
    for left, sources in sorted(patches.items()):
        files.problems.add(DatasetError(f"{sources[0]}: {len(sources)} patches of {left}, which has no caption"))


@dataset("medicat", record=Document)
def medicat(files: Files, split: str) -> Iterator[Document]:
    """A figure a line; its file is the paper's hash and the figure's name. What is written of it in the text is in ``meta``."""
    pictures = shown(files)
    for row in rows_of(pictures, jsonl.rows(files["figures"])):
        with row:
            name = f"{row['pdf_hash']}_{row['fig_uri']}"
            yield _caption(
                row, pictures, split, name, name, row.get("s2_caption") or row.get("s2orc_caption") or "",
                references=row.get("s2orc_references") or [], oa_info=row.get("oa_info"), scope=row.get("scope"),
                labels={"predicted_type": files.label("predicted_type", row["predicted_type"]), "radiology": files.label("radiology", str(row["radiology"]).lower())},
            )  # fmt: skip


@dataset("pmc-oa", record=Document)
def pmc_oa(files: Files, split: str) -> Iterator[Document]:
    """A (sub)figure and its caption a line; pictures are read inside the zip."""
    pictures = shown(files)
    for row in rows_of(pictures, jsonl.rows(files["pairs"])):
        with row:
            yield _caption(
                row,
                pictures,
                split,
                row["image"],
                row["image"],
                row["caption"],
                **{k: v for k, v in row.items() if k not in ("image", "caption")},
            )


@dataset("pathcap", record=Document)
def pathcap(files: Files, split: str) -> Iterator[Document]:
    """A list of captions with PMCID and figure; the picture's name is in ``img_fn``, or what the row calls ``image``."""
    pictures = shown(files)
    for row in rows_of(pictures, jsonl.items(files["captions"])):
        with row:
            name = row["img_fn"] if "img_fn" in row else row["image"]
            yield _caption(
                row,
                pictures,
                split,
                f"{row.number}",
                name,
                row["caption"],
                pmc_id=row.get("pmc_id"),
                figure_fn=row.get("figure_fn"),
            )


@dataset("chimed-vl", record=Conversation)
def chimed_vl(files: Files, split: str) -> Iterator[Conversation]:
    """Conversations as LLaVA writes them; the pictures are those of PMC-OA and PMC-VQA, and may not be here."""
    yield from _llava(files, split, "pairs" if files.variant == "alignment" else "conversations")


@dataset("pathinstruct", record=Conversation)
def pathinstruct(files: Files, split: str) -> Iterator[Conversation]:
    """Conversations as LLaVA writes them."""
    yield from _llava(files, split, "conversations")


def _llava(files: Files, split: str, role: str) -> Iterator[Conversation]:
    """Yield id, image, conversations of from and value; ``<image>`` marks the picture's place and is no word of the turn."""
    pictures = shown(files)
    source = files[role]
    for row in jsonl.objects(source):
        with row:
            name = row.get("image")
            image = None if pictures is None or not name else picture(pictures, name, split)
            yield Conversation(
                id=str(row["id"]), split=split, turns=tuple(_turn(one, image) for one in row["conversations"]),
                media=() if image is None else (image,), meta={"image": name, "figure": figure(name or "")},
            )  # fmt: skip


def _turn(said: Mapping[str, Any], image: Image | None) -> Message:
    """Return a turn; the picture stands where ``<image>`` marks its place, which is no word of the turn."""
    if said["from"] not in ROLES:
        raise BadValue("a turn is from neither human nor gpt")
    before, mark, after = said["value"].partition("<image>")
    if not mark or image is None:
        return Message(ROLES[said["from"]], f"{before}{after}".strip())
    return Message(ROLES[said["from"]], tuple(one for one in (before.strip(), image, after.strip()) if one != ""))


@dataset("med-mmhl", record=Document)
def med_mmhl(files: Files, split: str) -> Iterator[Document]:
    """A text with the word of fact checkers; pictures by paths in a list written as text. Tweets are ids until the user has fetched them."""
    pictures = shown(files, parts=2)
    for row in table.rows(files["texts"]):
        with row:
            names = listed(row.get("image") or "")
            media = () if pictures is None else tuple(
                Image(id=name, split=split, **pictures.fields("/".join(PurePosixPath(name).parts[-2:]))) for name in names
            )  # fmt: skip
            yield Document(
                id=f"{files.variant}-{split}-{row.number}", split=split, text=row["content"], media=media,
                labels={"det_fake_label": files.label("det_fake_label", row["det_fake_label"])}, meta={"images": names},
            )  # fmt: skip
