"""Lines of a text file, of which many are decoded at once and some can be put back."""

from __future__ import annotations

import codecs
import io
from collections.abc import Iterator

from healthfm.errors import DatasetError
from healthfm.formats.source import Source

UNSEEN = "\ufeff\u200b"  # marks of byte order and blanks of no width: a program that reads one as text writes a second
BLOCK = 1 << 14  # bytes of whole lines that are read at once: what is made of them stays in a processor's cache


def texts(source: Source, encoding: str, errors: str) -> Iterator[tuple[str, bool]]:
    """Yield a file's text, some whole lines at a time, and whether it is known to be sound: all of the encoding, no NUL in it.

    To decode many lines at once takes half the time. ``errors``: as for ``open``.
    Raises ``DatasetError``: it cannot be opened, or ``encoding`` is none that Python knows; what damaged bytes raise (``DAMAGE``) is the caller's.
    """
    try:
        name = codecs.lookup(encoding).name
    except LookupError:
        raise DatasetError(f"{source}: there is no text encoding '{encoding}'") from None
    if name.startswith(("utf-16", "utf-32", "utf-7")):  # a line's end is not one byte
        with source.text(encoding, errors=errors) as handle:
            while held := handle.readlines(BLOCK):
                yield "".join(held), False
        return
    kept = list[bytes]()
    with source.open() as raw:
        while data := raw.read(BLOCK):
            end = data.rfind(b"\n") + 1
            if end:
                yield _decoded(b"".join([*kept, data[:end]]), name, errors)
                kept.clear()
            kept.append(data[end:])
    if rest := b"".join(kept):
        yield _decoded(rest, name, errors)


def _decoded(raw: bytes, encoding: str, errors: str) -> tuple[str, bool]:
    """Return the text of some bytes, and whether it is sound; most GB18030 is GBK, a part of it that is decoded in two thirds of the time."""
    for one in ("gbk", encoding) if encoding == "gb18030" else (encoding,):
        try:
            return raw.decode(one), b"\0" not in raw
        except UnicodeDecodeError:
            continue
    return raw.decode(encoding, errors), False


class Lines:
    """The lines of a file, counted; ``held`` are those taken since it was last cleared, which can be put back.

    ``text``: the text of which lines are taken now, ``fresh`` while it is whole, ``sound`` as ``texts`` says.
    """

    def __init__(self, texts: Iterator[tuple[str, bool]]) -> None:
        self.texts, self.number = texts, 0
        self.text, self.sound, self.fresh = "", False, False
        self.block, self.place = list[str](), 0
        self.held: list[str] = []
        self.waiting: list[str] = []  # put back, the next one last

    def __iter__(self) -> Lines:
        return self

    def __next__(self) -> str:
        if self.waiting:
            line = self.waiting.pop()
        elif self.more():
            line = self.lines()[self.place]
            self.place += 1
        else:
            raise StopIteration
        self.number += 1
        self.held.append(line)
        return line

    def more(self) -> bool:
        """Whether there are lines that were not read; the next text is taken where this one's are used up."""
        while not self.fresh and self.place == len(self.block):
            text, self.sound = next(self.texts, (None, False))
            if text is None:
                return False
            self.text = text if self.number else text.lstrip(UNSEEN)
            self.fresh = bool(self.text)
        return True

    def lines(self) -> list[str]:
        """Return the lines of the text, of which ``place`` are read."""
        if self.fresh:
            self.block, self.place, self.fresh = list(io.StringIO(self.text, newline="")), 0, False
        return self.block

    def pass_over(self, number: int) -> None:
        """Take a fresh text as read, up to the line of this number."""
        self.block, self.place, self.fresh, self.number = [], 0, False, number

    def put_back(self, count: int) -> None:
        """Take the last ``count`` lines as not read."""
        for _ in range(count):
            self.waiting.append(self.held.pop())
            self.number -= 1
