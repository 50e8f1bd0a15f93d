"""Closed answers: a column without options beside it that holds a few answers again and again is a choice among them."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from healthfm.datasets.own.values import missing, opened, text
from healthfm.errors import BadValue

WORDS = (  # a row that answers with one of these is asked that set, whatever the other rows say of it
    ("yes", "no"), ("yes", "no", "maybe"), ("true", "false"), ("y", "n"), ("ja", "nein"), ("ja", "nein", "vielleicht"), ("oui", "non"),
    ("oui", "non", "peut-être"), ("sí", "no"), ("si", "no"), ("sì", "no"), ("sim", "não"), ("ja", "nee"), ("ja", "nej"), ("tak", "nie"),
    ("да", "нет"), ("是", "否"), ("はい", "いいえ"),
)  # fmt: skip
MOST = 20  # different answers
LONGEST = 40  # characters of one
REPEATED = 3  # rows that have an answer, before it is one of a few
STRAYS = (
    0.05  # of the rows, at most, that have none of those: then somebody must say what they are (one row always may)
)
MIXED = 0.2  # of the rows that have such words, from which that is said of open answers
NAMED = 5


@dataclass(frozen=True)
class Closed:
    """What an answer column is. ``options``: the answers there are, () where they are open. ``remark``: what was taken for granted,
    ``words`` whether they are ``WORDS``.
    ``doubt``: what must be said before the questions are asked, as nearly all answers are closed.
    """

    options: tuple[str, ...] = ()
    remark: str = ""
    doubt: str = ""
    words: bool = False


@dataclass
class Answers:
    """The answers of a column, by what all spellings of one have in common."""

    column: str
    spellings: dict[str, Counter[str]] = field(default_factory=dict)
    rows: dict[str, list[str]] = field(default_factory=dict)
    open: bool = False

    def look(self, value: Any, place: str) -> None:
        """Take a cell in; several accepted answers, or what no answer can be read of, are no choice."""
        try:
            value = opened(value)
            if isinstance(value, list) and len(value) == 1:
                value = value[0]
            if missing(value):
                return
            said = str(text(value)).strip()
        except BadValue:
            self.open = True
            return
        self.spellings.setdefault(same(said), Counter())[said] += 1
        self.rows.setdefault(same(said), []).append(place)

    @property
    def found(self) -> Closed:
        """What all of them show."""
        count = sum(map(len, self.rows.values()))
        if self.open or not count:
            return Closed()
        known = [one for one in WORDS if self.rows.keys() <= set(one)]
        if known:
            return Closed(known[0], self._taken(known[0]), words=True)
        for words in WORDS:
            both = [one for one in words if one in self.rows]
            if len(both) > 1 and self._nearly(both, count):
                return Closed(doubt=self._doubt(words, both))
        usual = [one for one, rows in self.rows.items() if len(rows) >= REPEATED]
        few = len(usual) > 1 and len(usual) <= MOST and all(len(one) <= LONGEST for one in usual)
        if not few or not (len(usual) == len(self.rows) or self._nearly(usual, count)):
            return Closed(remark=self._mixed(count))
        names = in_order({one: self.spellings[one].most_common(1)[0][0] for one in usual})
        if len(usual) < len(self.rows):
            return Closed(doubt=self._doubt(names, usual))
        if _gap(usual):
            return Closed(doubt=(
                f"the column {self.column} holds {len(names)} numbers again and again, with gaps: they may be grades or measurements; "
                f"{self._mending(names)}"
            ))  # fmt: skip
        return Closed(names, self._taken(names))

    def _nearly(self, usual: Sequence[str], count: int) -> bool:
        strays = count - sum(len(self.rows[one]) for one in usual)
        return strays <= max(1, STRAYS * count) and count - strays >= REPEATED

    def _taken(self, options: Sequence[str]) -> str:
        written = [one for spelled in self.spellings.values() if len(spelled) > 1 for one in sorted(spelled)]
        ways = f"; spellings of one answer: {', '.join(map(repr, written[:NAMED]))}" if written else ""
        unseen = [one for one in options if same(one) not in self.rows]
        lacks = f"; no row answers {', '.join(unseen)}" if unseen else ""
        return (
            f"the column {self.column} holds {', '.join(options)} only, so that each question is asked as a choice among them{ways}{lacks}. "
            "--task free-text asks for open answers"
        )

    def _mixed(self, count: int) -> str:
        best = max(WORDS, key=lambda words: sum(len(self.rows.get(one, ())) for one in words))
        some = sum(len(self.rows.get(one, ())) for one in best)
        if some < MIXED * count:
            return ""
        return f"{some} of {count} answers in the column {self.column} are {' or '.join(best)}, the others are not: all are asked as open questions"

    def _doubt(self, options: Sequence[str], usual: Iterable[str]) -> str:
        known = set(usual)
        strays = [place for one, places in self.rows.items() if one not in known for place in places]
        shown = ", ".join(strays[:NAMED]) + (f" and {len(strays) - NAMED} more" if len(strays) > NAMED else "")
        return f"the column {self.column} holds {', '.join(options)}, but not in row {shown}: correct it, or {self._mending(options)}"

    def _mending(self, options: Sequence[str]) -> str:
        names = ", ".join(f'"{one}"' for one in options)
        return (
            f'say which answers there are in a dataset.toml ([[labels]] name = "answer", kind = "multi-class", classes = [{names}]), '
            "or ask for open answers (--task free-text)"
        )


def same(said: str) -> str:
    """Return what all spellings of an answer have in common: without case, width, blanks around and a full stop."""
    plain = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", said).casefold())
    return " ".join(plain.split()).rstrip(" .!。")


def in_order(names: dict[str, str]) -> tuple[str, ...]:
    """Return answers as they are offered, by what is the ``same`` of each: numbers by size, others by the alphabet."""
    numbers = all(one.isdecimal() for one in names)
    return tuple(names[one] for one in sorted(names, key=lambda one: (int(one) if numbers else 0, one)))


def _gap(usual: Sequence[str]) -> bool:
    """Whether answers are numbers that do not follow on one another, so that nothing shows which others there are."""
    try:
        values = sorted(float(one) for one in usual)
    except ValueError:
        return False
    return any(one != values[0] + i for i, one in enumerate(values))
