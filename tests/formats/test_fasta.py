"""FASTA in blocks: the same entries wherever a block ends."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest

from healthfm.errors import DatasetError
from healthfm.formats import fasta
from healthfm.formats.source import Problems, Source


def plainly(raw: bytes) -> list[tuple[str, str | None]] | None:
    """Return header and letters (None: they are none) of a whole file, read in the simplest way; None: it is no FASTA."""
    raw = raw.replace(b"\r\n", b"\n").replace(b"\r", b"\n").lstrip()
    if raw[:1] not in (b"", b">"):
        return None
    found = []
    for entry in re.split(rb"\n>", raw[1:]) if raw else ():
        head, _, body = entry.partition(b"\n")
        try:
            header = head.decode()
        except UnicodeDecodeError:
            header = head.decode("latin-1")
        letters = body.translate(None, b"\n\r\t ")
        found.append((header.strip("\n\r\t "), letters.decode() if re.fullmatch(rb"[A-Za-z*.-]+", letters) else None))
    return found


def test_entries_are_the_same_wherever_a_block_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draw, path = random.Random(0), tmp_path / "x.fa"
    for _ in range(400):
        monkeypatch.setattr(fasta, "BLOCK", draw.choice([1, 2, 3, 5, 17, 64]))
        raw = (b">" if draw.random() < 0.9 else b"") + bytes(
            draw.choice(b">>\n\n\r ACGTac*1\xc3\xa9") for _ in range(draw.randrange(40))
        )
        path.write_bytes(raw)
        expected, problems = plainly(raw), Problems("collect")
        if expected is None:
            with pytest.raises(DatasetError, match="not FASTA"):
                list(fasta.pairs(Source(path)))
            continue
        found = list(fasta.pairs(Source(path, None, problems)))
        assert found == [(n, *one) for n, one in enumerate(expected, 1) if one[1] is not None], raw
        assert len(problems.found) == len(expected) - len(found)
