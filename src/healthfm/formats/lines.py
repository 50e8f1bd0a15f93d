"""Lines of a text file, of which many are decoded at once and some can be put back."""

from __future__ import annotations

import codecs
import io
from collections.abc import Iterator

from healthfm.errors import DatasetError
from healthfm.formats.source import Source

UNSEEN = "\ufeff\u200b"  # marks of byte order and blanks of no width: a program that reads one as text writes a second
BLOCK = 1 << 16  # bytes of whole lines that are read at once


def texts(source: Source, encoding: str, errors: str) -> Iterator[str]:
    """Yield a file's text, some whole lines at a time: to decode many lines at once takes half the time. ``errors``: as for ``open``.

    Raises ``DatasetError``: it cannot be opened, or ``encoding`` is none that Python knows; what damaged bytes raise (``DAMAGE``) is the caller's.
    """
    try:
        name = codecs.lookup(encoding).name
    except LookupError:
        raise DatasetError(f"{source}: there is no text encoding '{encoding}'") from None
    if name.startswith(("utf-16", "utf-32", "utf-7")):  # a line's end is not one byte
        with source.text(encoding, errors=errors) as handle:
            while held := handle.readlines(BLOCK):
                yield "".join(held)
        return
    kept = list[bytes]()
    with source.open() as raw:
        while data := raw.read(BLOCK):
            end = data.rfind(b"\n") + 1
            if end:
                yield b"".join([*kept, data[:end]]).decode(encoding, errors)
                kept.clear()
            kept.append(data[end:])
    if rest := b"".join(kept):
        yield rest.decode(encoding, errors)


class Lines:
    """The lines of a file, counted; ``held`` are those taken since it was last cleared, which can be put back."""

    def __init__(self, texts: Iterator[str]) -> None:
        self.texts, self.number = texts, 0
        self.text, self.block, self.place, self.fresh = "", list[str](), 0, False
        self.held: list[str] = []
        self.waiting: list[str] = []  # put back, the next one last

    def __iter__(self) -> Lines:
        return self

    def __next__(self) -> str:
        if self.waiting:
            line = self.waiting.pop()
        elif self.more():
            line = self.block[self.place]
            self.place += 1
        else:
            raise StopIteration
        self.number += 1
        self.held.append(line)
        return line

    def more(self) -> bool:
        """Whether there are lines that were not read; the next text is taken where this one's are used up."""
        while self.place == len(self.block):
            text = next(self.texts, None)
            if text is None:
                return False
            text = text if self.number else text.lstrip(UNSEEN)
            self.text, self.block, self.place, self.fresh = text, list(io.StringIO(text, newline="")), 0, True
        return True

    def put_back(self, count: int) -> None:
        """Take the last ``count`` lines as not read."""
        for _ in range(count):
            self.waiting.append(self.held.pop())
            self.number -= 1
