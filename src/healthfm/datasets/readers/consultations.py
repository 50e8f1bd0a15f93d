"""Consultations whose turns are annotated: entities, symptoms and intentions stand with the turn they are said in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from healthfm.datasets.locate import Files
from healthfm.datasets.reader import dataset
from healthfm.errors import BadValue, DatasetError
from healthfm.formats import conll, jsonl, pickled
from healthfm.formats.source import Row, Source, encoding_of, lines
from healthfm.records import MISSING, Conversation, Label, Message, Span
from healthfm.spelling import counted

SPEAKERS = {"患者": "user", "病人": "user", "医生": "assistant", "patient": "user", "doctor": "assistant"}
PARTIES = {"Patients": "user", "Patient": "user", "Doctor": "assistant"}
DIAGNOSIS = "Diagnosis and suggestions"  # of a doctor, behind a Chinese dialogue
PARTS = {"Description": "description", "Dialogue": "turns", DIAGNOSIS: "diagnosis"}
SYMPTOM = "symptom"
KINDS_OF_ENTITY = ("Symptom", "Medicine", "Test", "Attribute", "Disease")  # of MedDG


def role_of(speaker: str) -> str:
    """Return the role of a speaker by the owner's word for him. Raises ``BadValue``: it is of neither."""
    if speaker not in SPEAKERS:
        raise BadValue("a turn is said by neither patient nor doctor")
    return SPEAKERS[speaker]


@dataset("imcs-21", record=Conversation)
def imcs_21(files: Files, split: str) -> Iterator[Conversation]:
    """A mapping from consultation to its sentences, each a turn; what is withheld in a copy is MISSING, not nothing."""
    for row in jsonl.items(files["consultations"]):
        with row:
            report = (
                row["self_report"] if "self_report" in row else row["self-report"]
            )  # the files' and the README's spelling
            yield Conversation(
                id=str(row.number), split=split, turns=tuple(_sentence(files, one) for one in row["dialogue"]),
                labels={"diagnosis": files.label("diagnosis", row.get("diagnosis"))},
                meta={
                    "self_report": report, "sentences": [str(one["sentence_id"]) for one in row["dialogue"]],
                    **{key: row[key] for key in ("report", "explicit_info", "implicit_info") if key in row},
                },
            )  # fmt: skip


def _sentence(files: Files, one: Mapping[str, Any]) -> Message:
    """Return a sentence with the intention and the entities in it. ``BIO_label`` has a tag for each of its characters."""
    said, speaker = one["sentence"], role_of(one["speaker"])
    act = files.label("dialogue act", one.get("dialogue_act"))
    if one.get("BIO_label") is None:
        return Message(speaker, said, {"dialogue act": act, "entities": MISSING})
    tags = one["BIO_label"].split()
    if len(tags) != len(said):
        raise BadValue(f"a sentence of {len(said)} characters has {len(tags)} tags")
    spans = [Span(start, end, files.one("entity", kind)) for start, end, kind in conll.chunks(tags)]
    return Message(speaker, said, {"dialogue act": act}, _with_symptoms(files, spans, one))


def _with_symptoms(files: Files, spans: Sequence[Span], one: Mapping[str, Any]) -> tuple[Span, ...]:
    """Return the spans, each symptom with its normalised name and whether the patient has it: both lists follow the order of the symptoms."""
    names, types = one.get("symptom_norm"), one.get("symptom_type")
    places = [n for n, span in enumerate(spans) if span.type == SYMPTOM]
    if names is None or types is None:
        return tuple(spans)
    if not len(places) == len(names) == len(types):
        raise BadValue(f"{len(places)} symptoms are marked in a sentence, {len(names)} named, {len(types)} judged")
    told = dict(zip(places, zip(names, types, strict=True), strict=True))
    return tuple(
        Span(span.start, span.end, span.type, (told[n][0],), status=files.one("symptom_type", told[n][1])) if n in told else span
        for n, span in enumerate(spans)
    )  # fmt: skip


@dataset("meddg", record=Conversation)
def meddg(files: Files, split: str) -> Iterator[Conversation]:
    """A list of dialogues, each a list of turns; of the test part without labels, a mapping with "history", texts that say who speaks."""
    source = files["dialogues"]
    for row, dialogue in _dialogues(source):
        with row:
            if isinstance(dialogue, Mapping):
                turns = tuple(prefixed(one, "：") for one in dialogue["history"])
                yield Conversation(
                    id=str(dialogue.get("id", f"{split}-{row.number}")), split=split, turns=tuple(Message(t.role, t.content, {"entities": MISSING}) for t in turns),
                    meta={"response": dialogue.get("response")},
                )  # fmt: skip
                continue
            yield Conversation(
                id=f"{split}-{row.number}", split=split, turns=tuple(_entities(files, one) for one in dialogue)
            )


def _dialogues(source: Source) -> Iterator[tuple[Row, Any]]:
    """Yield the dialogues of a pickle or of JSON, each with a row that says where an error was."""
    if source.name.endswith(".pk"):
        return pickled.items(source)
    return jsonl.values(source)


def _entities(files: Files, turn: Mapping[str, Any]) -> Message:
    """Return a turn with the entities that it names, by kind; the owners' code calls a test an examination."""
    held = {kind: turn["Examination" if kind == "Test" and "Test" not in turn else kind] for kind in KINDS_OF_ENTITY}
    labels: dict[str, Label] = {kind.lower(): files.label(kind.lower(), list(names)) for kind, names in held.items()}
    if turn["id"] not in PARTIES:
        raise BadValue("a turn is said by neither Patients nor Doctor")
    return Message(PARTIES[turn["id"]], turn["Sentence"], labels)


def prefixed(said: str, colon: str) -> Message:
    """Return a turn that begins with who says it and a colon; a colon behind the first is text."""
    speaker, found, text = said.partition(colon)
    if not found:
        raise BadValue("a turn does not begin with who says it")
    return Message(role_of(speaker.strip()), text.strip())


@dataset("meddialog", record=Conversation)
def meddialog(files: Files, split: str) -> Iterator[Conversation]:
    """Processed: JSON, in Chinese a list of turns, in English a mapping of description and turns. Raw: blocks of text."""
    if str(files.variant).endswith("-raw"):
        silent = 0
        for source in files.all("dialogues"):
            for row in _blocks(source):
                if row["turns"] is None:
                    silent += 1
                    continue
                with row:
                    yield Conversation(
                        id=f"{source.name.removesuffix('.txt')}/{row['id']}", split=split,
                        turns=tuple(Message(role_of(who), "\n".join(said)) for who, said in row["turns"]),
                        meta={part: "\n".join(row[part]) for part in ("description", "diagnosis")} | {"head": row["head"]},
                    )  # fmt: skip
        if silent:
            files.problems.notices.append(
                f"meddialog: {counted(silent, 'block has no dialogue and is no record', 'blocks have no dialogue and are no records')}"
            )
        return
    english = str(files.variant).startswith("en")
    for row, value in jsonl.values(files["dialogues"]):
        if row.number == 1 and isinstance(value, dict) != english:
            other = "zh" if english else "en"
            raise DatasetError(
                f"{files['dialogues']}: its dialogues are not {files.variant}: open meddialog:{other}-processed"
            )
        with row:
            turns = tuple(
                prefixed(one.strip(), ":" if english else "：") for one in (value["utterances"] if english else value)
            )
            yield Conversation(
                id=f"{split}-{row.number}", split=split, turns=turns, meta={"description": value["description"]} if english else {},
            )  # fmt: skip


def _blocks(source: Source) -> Iterator[Row]:
    """Yield the blocks of a raw file: "id=", an address, and parts by their headings; in "Dialogue", "Patient:" or "Doctor:" opens a turn.

    Files of Chinese dialogues are UTF-8 or GB18030; there the text may follow the speaker on his line, and a later consultation of
    the same two goes on in the block under headings of its own. ``turns`` is None where no heading opens a dialogue.
    """
    block: Row | None = None
    part, blank = "head", True
    for number, line in lines(source, encoding_of(source, "utf-8", "gb18030")):
        bare = line.strip()
        if bare.startswith("id="):
            if block is not None:
                yield block
            block = Row(
                {"id": bare[3:].strip(), "head": [], "description": [], "turns": None, "diagnosis": []}, source, number
            )
            part = "head"
        elif block is None and bare:
            source.problems.add(DatasetError(f"{source}, line {number}: text before the first id="))
        elif block is not None and bare in PARTS and (part != "turns" or blank or bare == DIAGNOSIS):
            part = PARTS[bare]
            if part == "turns":
                block["turns"] = block["turns"] or []
        elif block is not None and bare:
            _take(bare, block) if part == "turns" else block[part].append(bare)
        blank = not bare
    if block is not None:
        yield block


def _take(line: str, block: Row) -> None:
    """Take a line into the last turn of a block, or as a new one where it says who speaks."""
    who, colon, said = line.partition("：" if line.startswith(("病人：", "医生：")) else ":")
    if colon == "：" or (line in ("Patient:", "Doctor:")):
        block["turns"].append((who.lower(), [said] if said else []))
    elif block["turns"]:
        block["turns"][-1][1].append(line)
    else:
        block["description"].append(line)
