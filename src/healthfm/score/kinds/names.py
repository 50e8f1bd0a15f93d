"""One class, one name, in a table of predictions: what the declared classes make one is one, any other double is refused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pyarrow as pa

from healthfm.errors import RunError
from healthfm.score.kinds import kind
from healthfm.score.tasks import TASKS
from healthfm.spelling import clash, fit, fold

COLUMNS = ("target", "prediction", "options", "uncertain")
NEVER = {"nan", "<na>", "nat"}  # no class is called so
SELDOM = {"none", "null", "na", "n/a"}  # a class may be, where targets say it too
ENDING = "; write it in one way, or name the classes (--classes)"


def unify(table: pa.Table, task: str, classes: Sequence[str] | None) -> pa.Table:
    """Return the table with every class under one name: of the declared ``classes``, whose every spelling is theirs.

    Raises ``RunError``: a class that is written in several ways and not declared, or a word that stands for nothing.
    """
    columns = {name: table[name].to_pylist() for name in COLUMNS if name in table.column_names}
    if TASKS[task].letters:
        _refuse_within_rows(columns)
        return table
    counts: Counter[str] = Counter()
    for row in zip(*columns.values(), strict=True):
        counts.update({name for cell in row for name in _names(cell)})
    if classes is None:
        _refuse_words(columns)
        told = clash(counts)
        if told is not None:
            raise RunError(told + ENDING)
        return table
    known = {name: fit(name, classes) or name for name in counts}
    if all(name == new for name, new in known.items()):
        return table
    for name, cells in columns.items():
        table = table.set_column(
            table.column_names.index(name), name, pa.array([_renamed(one, known.__getitem__) for one in cells])
        )
    return table


def _names(cell: Any) -> Iterator[str]:
    for one in cell if isinstance(cell, list) else (cell,):
        name = kind.label(one)
        if name is not None:
            yield name


def _renamed(cell: Any, rename: Callable[[str], str]) -> Any:
    if isinstance(cell, list):
        return [_renamed(one, rename) for one in cell]
    name = kind.label(cell)
    return None if name is None else rename(name)


def _refuse_words(columns: dict[str, list[Any]]) -> None:
    """Raise ``RunError`` where a class is called by a word that programs write for nothing."""
    meant = {name.lower() for cell in columns.get("target", ()) for name in _names(cell)}
    for column, cells in columns.items():
        for word in sorted({name for cell in cells for name in _names(cell)}):
            if word.lower() in NEVER or (word.lower() in SELDOM and word.lower() not in meant):
                rows = sum(word in _names(cell) for cell in cells)
                raise RunError(
                    f"{rows} rows say '{word}' in {column}: leave the cell empty where there is nothing, or name it among the classes (--classes)"
                )


def _refuse_within_rows(columns: dict[str, list[Any]]) -> None:
    """Raise ``RunError`` where a question's target, prediction and options write one key in several ways."""
    pairs: Counter[tuple[str, ...]] = Counter()
    for row in zip(*columns.values(), strict=True):
        by_fold: dict[str, set[str]] = {}
        for name in {name for cell in row for name in _names(cell)}:
            by_fold.setdefault(fold(name), set()).add(name)
        pairs.update(tuple(sorted(names)) for names in by_fold.values() if len(names) > 1)
    if pairs:
        names, rows = pairs.most_common(1)[0]
        raise RunError(
            f"{rows} rows write one option in several ways, {' and '.join(map(repr, names))}; write it in one way"
        )
