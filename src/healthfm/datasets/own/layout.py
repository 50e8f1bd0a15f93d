"""How a user's own tables are laid out: which column is which field, and what all rows together show. Read once, when opened."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from healthfm.cards.schema import Labels
from healthfm.datasets import media
from healthfm.datasets.own import options as own_options
from healthfm.datasets.own.card import ANSWER, Manifest
from healthfm.datasets.own.closed import Closed
from healthfm.datasets.own.options import Options, Style
from healthfm.datasets.own.rows import Seen
from healthfm.errors import DatasetError
from healthfm.formats import table
from healthfm.formats.source import Problems, Source, plain_name

FIELDS = (
    "id", "split", "patient", "site", "labels", "question", "context", "options", "answer", "answers", "text",
    "image", "volume", "slide", "video", "mpp",
)  # fmt: skip
USED = {
    "MultipleChoice": ("question", "context", "answer"), "QA": ("question", "context", "answer", "answers"), "Document": ("text",),
    "Slide": ("slide", "mpp"), **{kind: (kind.lower(),) for kind in ("Image", "Volume", "Video")},
}  # fmt: skip
COMMON = ("id", "split", "patient", "site")


@dataclass(frozen=True)
class Layout:
    """Which column each field of the records is in, the options and labels too, how answers are given, and the splits.

    ``closed`` are the answers that every question without options of its own offers, ``guessed`` the spaces that rows show and nobody declared. ``remarks`` are for the reader of ``check`` and of reports, ``faults`` what must be mended before the tables can
    be used, ``doubt`` before the questions are asked by default.
    """

    record: str
    columns: Mapping[str, str]
    options: Options | None
    labels: Mapping[str, str]
    spaces: Mapping[str, Labels]
    splits: tuple[str, ...] = ()
    style: Style = field(default_factory=Style)
    remarks: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()
    closed: tuple[str, ...] = ()
    guessed: tuple[Labels, ...] = ()
    doubt: str = ""

    @property
    def used(self) -> frozenset[str]:
        """The columns that become fields; the others are kept as ``meta``."""
        return frozenset(
            (*self.columns.values(), *self.labels.values(), *(self.options.columns if self.options else ()))
        )


def lay_out(manifest: Manifest, files: Mapping[str, Path]) -> Layout:
    """Return the layout of these tables, by split or all in one ("*"). Raises ``DatasetError``: columns that say too little or too much."""
    names: dict[str, None] = {}
    for file in files.values():
        names.update(dict.fromkeys(_columns(file)))
    where = next(iter(files.values())) if len(files) == 1 else next(iter(files.values())).parent
    try:
        found = _fields(manifest, tuple(names))
    except DatasetError as error:
        raise DatasetError(f"{where}: {error}") from None
    seen = Seen(found.record, found.columns, found.labels, found.spaces, found.options)
    for split, file in files.items():
        for row in table.rows(Source(file, problems=Problems("collect"))):
            seen.look(row, split == "*", file.name if len(files) > 1 else "")
    said = seen.written.found if seen.written is not None and manifest.record is None else Closed()
    guessed = [_space(ANSWER, said.options[::-1] if said.words else said.options)] if said.options else []
    if found.record == "Document":
        guessed += [_space(name, classes) for name in found.labels if (classes := seen.classes(name))]
    classified = [
        f"the column {found.labels[one.name]} holds the classes {', '.join(one.classes)}"
        for one in guessed
        if one.name != ANSWER
    ]
    return replace(
        found, record="MultipleChoice" if said.options else found.record, closed=said.options or found.closed, guessed=tuple(guessed), splits=seen.splits,
        style=found.style if found.style.stated else own_options.style_of(seen.answers), faults=seen.faults, doubt=said.doubt,
        remarks=(*found.remarks, *filter(None, [said.remark or said.doubt]), *classified, *seen.remarks),
    )  # fmt: skip


def _space(name: str, classes: tuple[str, ...]) -> Labels:
    return Labels(name=name, kind="multi-class" if len(classes) > 2 else "binary", classes=classes)


def _columns(file: Path) -> list[str]:
    """Return the names of a table's columns. Raises ``DatasetError``: no rows."""
    names: dict[str, None] = {}
    problems = Problems("collect")
    for row in table.rows(Source(file, problems=problems)):
        names.update(dict.fromkeys(row))
        if not plain_name(file.name).lower().endswith(".jsonl"):  # the others have the same in every row
            break
    if not names:
        raise problems.found[0] if problems.found else DatasetError(f"{file}: no rows")
    return list(names)


# Which column is which field ------------------------------------------------------------------------------------------


def _fields(manifest: Manifest, names: tuple[str, ...]) -> Layout:
    mapped = {name: _bare(column) for name, column in manifest.columns.items()}
    base = None
    if isinstance(mapped.get("answer"), Mapping):
        ((first, mapped["answer"]),) = mapped["answer"].items() if len(mapped["answer"]) == 1 else ((None, None),)
        if first not in own_options.COUNTED:
            raise DatasetError(
                f"columns: answer is a column, or one of {', '.join(f'answer.{one}=COLUMN' for one in own_options.COUNTED)}"
            )
        base = own_options.COUNTED[first]
    unknown = sorted(set(mapped) - set(FIELDS))
    if unknown:
        raise DatasetError(f"columns: no field is called {', '.join(unknown)} (fields: {', '.join(FIELDS)})")
    if not isinstance(mapped.get("labels", {}), Mapping):
        raise DatasetError("columns: labels maps label names to columns, e.g. labels.diagnosis=dx")
    asked = [
        one for column in mapped.values() for one in (column.values() if isinstance(column, Mapping) else (column,))
    ]
    absent = [one for one in asked if one not in names]
    if absent:
        raise DatasetError(f"no column '{absent[0]}' (it has: {', '.join(names)})")
    columns, remarks = _named(mapped, names)
    offered = next((space for space in manifest.labels if space.name == ANSWER and space.classes), None)
    labels = _labels(manifest, mapped.get("labels"), names, asked)
    taken = {*columns.values(), *labels.values(), *asked}
    options, remark = None, None
    if "question" in columns and manifest.record in (None, "MultipleChoice"):
        options, remark = own_options.find(names, mapped.get("options"), taken)
    record = manifest.record or _guess(columns, options, names)
    closed: tuple[str, ...] = ()
    if (
        offered is not None
        and options is None
        and {"answer", "answers"} & set(columns)
        and record in ("QA", "MultipleChoice")
    ):
        record, closed = "MultipleChoice", offered.classes
        labels = {name: column for name, column in labels.items() if name != ANSWER}
    lost = [space.name for space in manifest.labels if space.name not in labels]
    if lost and record != "MultipleChoice":  # there a space may name the keys of the options
        raise DatasetError(
            f"no column for the label '{lost[0]}' (it has: {', '.join(names)}); map it: labels.{lost[0]} = COLUMN"
        )
    if record == "MultipleChoice" and options is None and not closed:
        raise DatasetError(
            "the questions have no options: a column options, columns A, B, ..., or --columns options.A=COLUMN; answers that are the same "
            'for all stand in a dataset.toml ([[labels]] name = "answer", classes = [...])'
        )
    used = (*COMMON, *USED[record], *(("answers",) if closed else ()))
    fields = {name: column for name, column in columns.items() if name in used}
    needed = USED[record][0]
    if needed not in fields:
        raise DatasetError(f"no column '{needed}' (it has: {', '.join(names)}); map it: --columns {needed}=COLUMN")
    return Layout(
        record, fields, options, labels, {space.name: space for space in manifest.labels}, closed=closed,
        style=Style() if base is None else Style(base=base, stated=True), remarks=(*remarks, *([remark] if remark else [])),
    )  # fmt: skip


def _bare(column: Any) -> Any:
    return (
        {key: str(one).strip() for key, one in column.items()} if isinstance(column, Mapping) else str(column).strip()
    )


def _named(mapped: Mapping[str, Any], names: Collection[str]) -> tuple[dict[str, str], list[str]]:
    """Return the column of each field: the one it is mapped to, the one of its name, or the only one of its name in another case."""
    found: dict[str, str] = {name: column for name, column in mapped.items() if isinstance(column, str)}
    remarks = []
    for name in FIELDS:
        if name in mapped or name in ("labels", "options"):
            continue
        alike = [name] if name in names else [one for one in names if one.lower() == name]
        alike = [one for one in alike if one not in found.values()]
        if len(alike) > 1:
            raise DatasetError(f"{' and '.join(alike)} may both be {name}; say which: --columns {name}=COLUMN")
        if alike:
            found[name] = alike[0]
            remarks += [f"the column {alike[0]} is taken as {name}"] if alike[0] != name else []
    return found, remarks


def _labels(manifest: Manifest, mapped: Any, names: Collection[str], asked: Collection[str]) -> dict[str, str]:
    """Return the column of each label: those that are mapped, those of declared names, or the column label."""
    if mapped:
        return dict(mapped)
    label = [one for one in names if one.lower() == "label" and one not in asked]
    label = ["label"] if "label" in label else label
    if len(label) > 1:
        raise DatasetError(f"{' and '.join(label)} may both be the label; say which: --columns labels.NAME=COLUMN")
    declared = [space.name for space in manifest.labels]
    found = {name: name for name in declared if name in names}
    if not found and len(declared) == 1 and label:
        return {declared[0]: label[0]}
    return found or ({"label": label[0]} if label else {})


def _guess(columns: Mapping[str, str], options: Options | None, names: Iterable[str]) -> str:
    if "question" in columns:
        return "MultipleChoice" if options is not None else "QA"
    if "text" in columns:
        return "Document"
    for kind in media.VISUAL:
        if kind.lower() in columns:
            return kind
    raise DatasetError(
        f"which columns hold the record? It has {', '.join(names)}; name them question (with options or A, B, ...), "
        "text, image, volume, slide or video, or map them: columns question=stem,answer=key"
    )
