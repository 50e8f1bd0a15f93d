"""A corpus as a stream of documents: a file or folder of text, JSON or Parquet (also .gz, .zst, .bz2), or another dataset.

Memory does not grow with the corpus, but for .json, which cannot be read in pieces. A table of text (CSV) is searched as the
text it is; JSON and Parquet by row, all strings of a row together.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from healthfm.datasets.dataset import Dataset
from healthfm.errors import RunError
from healthfm.formats import jsonl, table
from healthfm.formats.source import Problems, Source
from healthfm.records import QA, Conversation, Document, MultipleChoice, Pair, Record

TEXT = (".txt", ".md", ".csv", ".tsv")
ROWS = (".jsonl", ".json", ".parquet")
SAYING = ("Document", "Conversation", "Pair", "QA", "MultipleChoice")  # records that ``text_of`` reads
CHUNK = 1 << 19  # characters of a long document held at a time, or twice the overlap


@dataclass
class Corpus:
    """Documents to search, read once. ``files``, ``skipped`` (of other kinds) and ``problems`` (rows not read) fill meanwhile.

    ``overlap``: how many characters the pieces of a long document share, so that no text is cut apart.
    """

    origin: Path | Dataset
    overlap: int = 1 << 14
    files: int = 0
    skipped: list[str] = field(default_factory=list)
    problems: Problems = field(default_factory=lambda: Problems("collect"))

    @property
    def name(self) -> str:
        """What was searched, in a word."""
        return self.origin.name if isinstance(self.origin, Dataset) else str(self.origin)

    def __iter__(self) -> Iterator[tuple[str, int, str]]:
        """Yield (document's name, character at which the piece begins, text)."""
        if isinstance(self.origin, Dataset):
            for split in self.origin.selected:
                for record in self.origin[split]:
                    yield from self._pieces(f"{split}/{record.id}", io.StringIO(text_of(record)))
            return
        for path in _files(self.origin):
            name = path.relative_to(self.origin).as_posix() if path != self.origin else path.name
            source = Source(path, problems=self.problems)
            suffix = Path(source.name).suffix.lower()
            if suffix not in (*TEXT, *ROWS):
                self.skipped.append(name)
                continue
            self.files += 1
            if suffix in TEXT:
                with io.TextIOWrapper(source.open(), encoding="utf-8-sig", errors="replace", newline="") as handle:
                    yield from self._pieces(name, handle)
                continue
            for number, row in enumerate(_rows(source, suffix), 1):
                yield from self._pieces(f"{name}:{number}", io.StringIO("\n".join(_strings(row))))

    def _pieces(self, name: str, handle: io.TextIOBase) -> Iterator[tuple[str, int, str]]:
        start, kept, size = 0, "", max(CHUNK, 2 * self.overlap)
        while True:
            more = handle.read(size)
            if more or not start:
                yield name, start, kept + more
            if len(more) < size:
                return
            text = kept + more
            kept = text[-self.overlap :]
            start += len(text) - len(kept)


def open_corpus(place: Path | Dataset, check: bool = True) -> Corpus:
    """Open a corpus. Raises ``RunError``: nothing is there; with ``check``, nothing that could be searched for texts."""
    if isinstance(place, Path):
        place = place.expanduser()
        if not place.exists():
            raise RunError(f"no file or folder {place}")
        if check and not holds_text(place):
            raise RunError(
                f"{place}: holds no text to search (healthfm reads {', '.join((*TEXT, *ROWS))}, also .gz, .zst, .bz2), and no picture that was looked for"
            )
    return Corpus(place)


def holds_text(place: Path | Dataset) -> bool:
    """Whether a set's records, or files of a folder, are texts or rows of them."""
    if isinstance(place, Dataset):
        return place.card.record in SAYING
    return any(Path(Source(path).name).suffix.lower() in (*TEXT, *ROWS) for path in _files(place.expanduser()))


def _files(place: Path) -> Iterator[Path]:
    if place.is_file():
        yield place
        return
    yield from sorted(path for path in place.rglob("*") if path.is_file() and not path.name.startswith("."))


def _rows(source: Source, suffix: str) -> Iterator[Any]:
    if suffix == ".json":
        value = jsonl.load(source)
        yield from value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else [value]
    else:
        yield from table.rows(source)


def text_of(record: Record) -> str:
    """Return everything a text record says: question, options or answers, context; a conversation's turns."""
    if isinstance(record, Document):
        return record.text
    if isinstance(record, Conversation):
        return "\n".join(turn.text for turn in record.turns)
    if isinstance(record, Pair):
        return record.as_text
    if isinstance(record, QA | MultipleChoice):
        more = record.options.values() if isinstance(record, MultipleChoice) else record.answers
        return "\n".join([record.question, *more, record.context])
    raise RunError(f"a {type(record).__name__} has no text to search")


def _strings(value: Any) -> Iterator[str]:
    """Yield every text within a row, in order, also those in lists and mappings."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for one in value.values():
            yield from _strings(one)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _strings(one)
