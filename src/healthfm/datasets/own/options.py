"""The options of a user's own questions: which columns hold them, what is in them, and which one an answer means."""

from __future__ import annotations

import re
import string
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from healthfm.datasets.own.closed import same
from healthfm.datasets.own.values import missing, opened, text
from healthfm.errors import BadValue, DatasetError

LETTERS = string.ascii_uppercase
COUNTED = {"from0": 0, "from1": 1}  # how a mapping says that answers are places of options
ONE_COLUMN = ("options", "choices", "endings")  # what a column that holds all options is called
ALIKE = re.compile(
    r"(?:(options?|opt|op|choices?|endings?|answers?|ans|alternatives?|candidates?)[ _.:-]*)?([a-z]|\d{1,3})", re.I
)
WORDED = re.compile(r"(option|choice|ending|alternative|candidate)s?[ _.:-]+\w+", re.I)
PAIRS = (("key", "label", "id", "letter", "name"), ("value", "text", "option", "choice", "content"))
MARKED = re.compile(r"[(\[]?\s*(.+?)\s*[)\].:]*")


@dataclass(frozen=True)
class Options:
    """Where the options of every row are: in ``one`` column, or in a column each, by the key that is offered.

    ``numbers``: the number that stands in the name of each key's column, where they are numbered.
    """

    one: str | None = None
    each: Mapping[str, str] | None = None
    numbers: Mapping[str, str] | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that are used."""
        return (self.one,) if self.one is not None else tuple((self.each or {}).values())


# Which columns --------------------------------------------------------------------------------------------------------


def find(columns: Collection[str], mapped: Any, taken: Collection[str]) -> tuple[Options | None, str | None]:
    """Return where a table's options are (None where there are none), and what to say of columns called otherwise.

    ``mapped``: what the user says of them; ``taken``: columns that are something else. Raises ``DatasetError``: several sets of
    columns look like options, or one that begins in the middle or has gaps.
    """
    if isinstance(mapped, Mapping):
        return Options(each={key: str(column) for key, column in mapped.items()}), None
    if mapped is not None:
        return Options(one=str(mapped)), None
    left = [column for column in columns if column not in taken]
    single = [column for column in left if column.lower() in ONE_COLUMN]
    families = _families(left)
    if len(single) + len(families) > 1:
        names = [[one] for one in single] + [[column for _, column in one] for one in families]
        raise _unclear(
            f"{' and '.join(', '.join(one) for one in names)} all look like options",
            dict(zip(LETTERS, names[0], strict=False)),
        )
    if single:
        return Options(one=single[0]), None if single[0] == "options" else f"the column {single[0]} holds the options"
    if families:
        return _family(families[0])
    worded = [column for column in left if WORDED.fullmatch(column)]
    if len(worded) > 1:
        raise _unclear(
            f"{', '.join(worded)} look like options, but in which order", dict(zip(LETTERS, worded, strict=False))
        )
    return None, None


def _families(columns: Sequence[str]) -> list[list[tuple[str, str]]]:
    """Return sets of columns that are alike but for a letter, or a number: (letter or number, column) of each."""
    found: dict[tuple[str, bool, bool], list[tuple[str, str]]] = {}
    for column in columns:
        match = ALIKE.fullmatch(column)
        if match is not None:
            mark = match[2]
            found.setdefault((column[: match.start(2)], mark.isdigit(), mark.isupper()), []).append((mark, column))
    return [one for (before, *_), one in found.items() if len(one) > 1 and (before or _begins(one))]


def _begins(family: Sequence[tuple[str, str]]) -> bool:
    """Whether bare letters or numbers are options, and not other columns of such names: they begin as options do."""
    marks = {mark.lower() for mark, _ in family}
    return "a" in marks or any(two <= marks for two in ({"b", "c"}, {"0", "1"}, {"1", "2"}))


def _family(family: list[tuple[str, str]]) -> tuple[Options, str | None]:
    numbered = family[0][0].isdigit()
    ordered = sorted(family, key=lambda one: int(one[0]) if numbered else one[0])
    marks = [mark.upper() for mark, _ in ordered]
    first = marks[0] if numbered and marks[0] in "01" else "A"
    due = [str(int(first) + i) if numbered else LETTERS[i] for i in range(len(marks))]
    names = [column for _, column in ordered]
    if names[0].lower().startswith("ans"):
        raise _unclear(
            f"the columns {', '.join(names)} may be options, or accepted answers",
            dict(zip(LETTERS, names, strict=False)),
        )
    if marks != due or len(marks) > len(LETTERS):
        absent = next((one for one, mark in zip(due, marks, strict=True) if one != mark), "more than 26")
        said = dict(zip(LETTERS if numbered else marks, names, strict=False))
        raise _unclear(f"the columns {', '.join(names)} look like options, but {absent} is not among them", said)
    each = dict(zip(LETTERS, names, strict=False))
    numbers = dict(zip(LETTERS, marks, strict=False)) if numbered else None
    plain = all(key == column for key, column in each.items())
    return Options(
        each=each, numbers=numbers
    ), None if plain else f"the columns {', '.join(names)} are the options {', '.join(each)}"


def _unclear(what: str, columns: Mapping[str, str]) -> DatasetError:
    pairs = ",".join(f"options.{key}={column}" for key, column in columns.items())
    return DatasetError(
        f'{what}; say which are: --columns {pairs} (or options=COLUMN), or record = "QA" in a dataset.toml'
    )


# What is in them ------------------------------------------------------------------------------------------------------


def read(row: Mapping[str, Any], where: Options) -> tuple[dict[str, str], list[str]]:
    """Return the options of a row by key, and the keys of all places: what holds nothing is no option, but keeps its place.

    Raises ``BadValue`` for values that are no options.
    """
    if where.one is None:
        return _texts([(key, row.get(column)) for key, column in (where.each or {}).items()])
    value = opened(row.get(where.one))
    if missing(value):
        raise BadValue("there are no options in it")
    if isinstance(value, Mapping):
        lists = {key: one for key, one in value.items() if isinstance(one, list)}
        if not lists:
            return _texts(list(value.items()))
        if set(lists) == {"text", "label"} == set(value) and len(lists["text"]) == len(lists["label"]):
            return _texts(list(zip(value["label"], value["text"], strict=True)))  # as ARC has it
        raise BadValue("options in a struct of lists other than text and label of one length")
    if not isinstance(value, list):
        raise BadValue("options are neither a mapping nor a list")
    if value and all(isinstance(one, Mapping) for one in value):
        return _texts([_pair(one) for one in value])
    if value and all(isinstance(one, tuple) for one in value):  # a Parquet map
        return _texts(value)
    if len(value) > len(LETTERS):
        raise BadValue(f"{len(value)} options without keys, and 26 letters; give each a key (a mapping)")
    return _texts(list(zip(LETTERS, value, strict=False)))


def _pair(one: Mapping[str, Any]) -> tuple[Any, Any]:
    found = [[name for name in names if name in one] for names in PAIRS]
    if len(one) != 2 or any(len(names) != 1 for names in found):
        raise BadValue("options in structs that are not a key and a value each")
    return one[found[0][0]], one[found[1][0]]


def _texts(pairs: Sequence[tuple[Any, Any]]) -> tuple[dict[str, str], list[str]]:
    kept = [((text(key) or "").strip(), text(value)) for key, value in pairs]
    if any(not key and value is not None for key, value in kept):
        raise BadValue("an option without a key")
    keys = [key for key, _ in kept if key]
    if len(set(keys)) < len(keys):
        raise BadValue("two options have the same key")
    options = {key: value for key, value in kept if value is not None}
    if len(options) < 2:
        raise BadValue(f"{len(options)} option(s), at least two are needed")
    return options, keys


# Which one is meant ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Style:
    """How the answers of a table are given, as all of its rows together show: as ``texts`` of options; numbers from ``base`` on.

    ``base`` is None where no row shows it, -1 where rows contradict each other. ``stated``: the user said so, and a number is nothing else.
    """

    texts: bool = False
    base: int | None = None
    stated: bool = False


@dataclass(frozen=True)
class Asked:
    """The options of a row, the keys of all its places, and the numbers that its columns bear."""

    options: Mapping[str, str]
    places: Sequence[str]
    numbers: Mapping[str, str] | None = None

    def named(self, given: str) -> str | None:
        """Return the key that an answer spells out: as it stands, in another case, or as "(b)" and "B."; or its column's number."""
        if given in self.options:
            return given
        if self.numbers and given.isdecimal():
            return next((key for key, its in self.numbers.items() if its == given and key in self.options), None)
        bare = MARKED.fullmatch(given)
        same = [key for key in self.options if bare is not None and key.lower() == bare[1].lower()]
        return same[0] if len(same) == 1 else None

    def by_text(self, given: str) -> list[str]:
        """Return the keys of the options with this text."""
        exact = [key for key, one in self.options.items() if one.strip() == given]
        return exact or [key for key, one in self.options.items() if same(one) == same(given)]

    def by_place(self, given: str) -> dict[int, str]:
        """Return the keys that a whole number may mean, by the number that the first place has (0 or 1)."""
        if self.numbers or not given.isdecimal() or not given.isascii():
            return {}
        size = len(self.places)
        return {base: self.places[int(given) - base] for base in (0, 1) if 0 <= int(given) - base < size}


def answer(value: Any, asked: Asked, style: Style) -> str | tuple[str, ...] | None:
    """Return the key, or keys, that an answer means; None where it holds nothing. Raises ``BadValue``: no option, or unclear which."""
    value = opened(value)
    if isinstance(value, list):
        found = tuple(_key(one, asked, style) for one in value if not missing(one))
        if len(set(found)) < len(found):
            raise BadValue("the answer has one option twice")
        return found or None
    return None if missing(value) else _key(value, asked, style)


def _key(value: Any, asked: Asked, style: Style) -> str:
    given, keys = str(text(value)).strip(), ", ".join(asked.options)
    if style.stated:
        return _placed(given, asked, style)
    key, alike, places = asked.named(given), asked.by_text(given), asked.by_place(given)
    if key is not None and not (style.texts and alike and alike != [key]):
        return key
    if style.base is not None:
        places = {base: place for base, place in places.items() if base == style.base}
    meant = {*alike, *places.values(), *([key] if key is not None else ())}
    if len(meant) > 1:
        counted = (
            f", or say from where it counts (--columns {' or '.join(f'answer.{one}=COLUMN' for one in COUNTED)})"
            if len(places) > 1
            else ""
        )
        raise BadValue(
            f"the answer may mean {' or '.join(sorted(meant))}; give the key of the option ({keys}){counted}"
        )
    if not meant & set(asked.options):
        raise BadValue(f"the answer is not among the options ({keys})")
    return meant.pop()


def _placed(given: str, asked: Asked, style: Style) -> str:
    """Return the key of a place that is counted as the user says. Raises ``BadValue``: no such place, or nothing is there."""
    assert style.base is not None
    place = int(given) - style.base if given.isdecimal() and given.isascii() else -1
    if not 0 <= place < len(asked.places) or asked.places[place] not in asked.options:
        raise BadValue(f"the answer is no place of an option, counted from {style.base}")
    return asked.places[place]


def undecided(value: Any, asked: Asked) -> bool:
    """Whether an answer is no key, so that others must show what it is."""
    if isinstance(value, list | dict) or missing(value):
        return False
    given = str(text(value)).strip()
    return not given.startswith("[") and asked.named(given) is None


def style_of(answers: Iterable[tuple[Any, Asked]]) -> Style:
    """Return how these answers, which are no keys, are given."""
    texts, bases = False, set()
    for value, asked in answers:
        given = str(text(value)).strip()
        if asked.by_text(given):
            texts = True
        elif len(places := asked.by_place(given)) == 1:
            bases |= set(places)
    return Style(texts, None if not bases else bases.pop() if len(bases) == 1 else -1)
