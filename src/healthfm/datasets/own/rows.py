"""What all rows of a user's own tables show together: splits, spellings of classes, how answers are given, words for nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from healthfm.cards.schema import Labels
from healthfm.datasets.own import options as own_options
from healthfm.datasets.own import values as own_values
from healthfm.datasets.own.closed import MOST, Answers, in_order
from healthfm.datasets.own.folders import SPLIT_WORDS, SPLITS
from healthfm.datasets.own.options import Asked, Options
from healthfm.errors import BadValue
from healthfm.formats.source import Row
from healthfm.spelling import clash

PROSE = ("text", "context", "question")  # where a word for nothing is no cell's whole meaning
NAMED = 5  # how many rows a notice names
HINT = "write it in one way, or name the classes in a dataset.toml ([[labels]] name, kind, classes)"


def split_of(row: Row, column: str | None) -> str:
    """Return the split of a row: test where no column says one. Raises ``BadValue`` where the column says none for this row."""
    if column is None:
        return "test"
    word = own_values.name(row.get(column))
    if word is None:
        raise BadValue(f"the column '{column}', which says the split, is empty")
    return SPLIT_WORDS.get(word.lower(), word.lower())


class Seen:
    """What the rows looked at show. A row that cannot be read is left for the reader to tell."""

    def __init__(
        self, record: str, columns: Mapping[str, str], labels: Mapping[str, str], spaces: Mapping[str, Labels], options: Options | None
    ) -> None:  # fmt: skip
        self.answers: list[tuple[Any, Asked]] = []
        self._split, self._answer = columns.get("split"), columns.get("answer")
        self._labels, self._spaces = labels, spaces
        self._options = options if record == "MultipleChoice" else None
        answers = [columns[name] for name in ("answer", "answers") if name in columns]
        self.written = Answers(answers[0]) if record == "QA" and len(answers) == 1 else None
        self._splits: set[str] = set()
        self._spellings: dict[str, Counter[str]] = {name: Counter() for name in labels}
        self._sets: set[str] = set()
        self._words: dict[tuple[str, str], list[str]] = {}
        self._same: list[str] = []
        declared = {column for name, column in labels.items() if name in spaces and spaces[name].classes}
        self._watched = [column for name, column in columns.items() if name not in PROSE]
        self._watched += [column for column in labels.values() if column not in declared]
        self._watched += self._options.columns if self._options is not None else ()

    def look(self, row: Row, divided: bool, file: str) -> None:
        """Take a row in. ``divided``: its split is what its column says; ``file``: its table, where there are several."""
        place = f"{file} {row.number}".strip()
        for column in self._watched:
            for one in _entries(row.get(column)):
                if isinstance(one, str) and one.strip().lower() in own_values.NOTHING:
                    self._words.setdefault((column, one.strip()), []).append(place)
        try:
            if self.written is not None:
                self.written.look(row.get(self.written.column), place)
            if divided:
                self._splits.add(split_of(row, self._split))
            for name, column in self._labels.items():
                self._spell(row.get(column), name)
            if self._options is not None:
                asked = Asked(*own_options.read(row, self._options), self._options.numbers)
                self._same += [place] if len(set(asked.options.values())) < len(asked.options) else []
                if self._answer is not None and own_options.undecided(row.get(self._answer), asked):
                    self.answers.append((row.get(self._answer), asked))
        except BadValue:
            return

    def _spell(self, value: Any, name: str) -> None:
        space = self._spaces.get(name)
        if space is not None and (space.classes or space.kind in ("number", "text")):
            return
        found = own_values.label(value, space)
        self._sets |= {name} if isinstance(found, frozenset) else set()
        self._spellings[name].update(
            found if isinstance(found, frozenset) else (found,) if isinstance(found, str) else ()
        )

    def classes(self, name: str) -> tuple[str, ...]:
        """Return the classes that a label without declared ones has, where it is one of a few that recur; else ()."""
        counts = self._spellings[name]
        few = 1 < len(counts) <= MOST and 2 * len(counts) <= sum(counts.values())
        return in_order({one: one for one in counts}) if few and name not in {*self._spaces, *self._sets} else ()

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits, train, validation and test before others."""
        order = sorted(self._splits, key=lambda one: (SPLITS.index(one) if one in SPLITS else len(SPLITS), one))
        return tuple(order) or ("test",)

    @property
    def faults(self) -> tuple[str, ...]:
        """What must be mended before labels can be used: a class in two spellings, a binary label with more than two."""
        found = []
        for name, counts in self._spellings.items():
            told = clash(counts)
            if told is not None:
                found.append(f"the label '{name}': {told}; {HINT}")
            if name in self._spaces and self._spaces[name].kind == "binary" and len(counts) > 2:
                found.append(
                    f"the label '{name}' is binary and has {len(counts)} classes: {', '.join(sorted(counts)[:NAMED])}"
                )
        return tuple(found)

    @property
    def remarks(self) -> tuple[str, ...]:
        """What may be meant, and should be known."""
        words = [
            f"the column {column} says '{word}' ({_rows(rows)}): that is text here; leave a cell empty where there is nothing"
            for (column, word), rows in self._words.items()
        ]
        return (*words, *([f"two options have the same text ({_rows(self._same)})"] if self._same else []))


def _entries(value: Any) -> Iterable[Any]:
    return value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else (value,)


def _rows(places: list[str]) -> str:
    more = f" and {len(places) - NAMED} more" if len(places) > NAMED else ""
    return f"rows {', '.join(places[:NAMED])}{more}"
