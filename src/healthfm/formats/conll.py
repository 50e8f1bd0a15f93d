"""CoNLL columns: a token a line, its tag in the last column, an empty line after each sentence.

Specification: the CoNLL-2003 shared task (https://aclanthology.org/W03-0419) with IOB tags; -DOCSTART- alone in a sentence begins a
document and is no token of it. Columns are parted by tabs, or by blanks where the line has no tab.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate

from healthfm.errors import BadValue, DatasetError
from healthfm.formats.source import Row, Source, lines

START = "-DOCSTART-"


def sentences(source: Source) -> Iterator[Row]:
    """Yield one ``Row`` a sentence: tokens, tags, ``document`` (the id that -DOCSTART- gives, or None) and ``documents`` (how many began).

    It is numbered by the line of its first token. A line with other columns than the first has is a problem of its sentence.
    """
    columns = 0
    marks: list[str | None] = []
    block: list[list[str]] = []
    first = 1
    for number, line in lines(source):
        bare = line.rstrip("\r\n")
        fields = bare.split("\t") if "\t" in bare else bare.split()
        starts = bool(fields) and fields[0] == START
        if not starts and bare.strip():
            columns = columns or len(fields)
            first = first if block else number
            block.append(fields)
            continue
        yield from _sentence(block, columns, marks, source, first)
        block = []
        if starts:
            marks.append(next((one.strip("()") for one in fields[1:] if one.startswith("(") or one.isdecimal()), None))
    yield from _sentence(block, columns, marks, source, first)


def _sentence(
    block: list[list[str]], columns: int, marks: list[str | None], source: Source, number: int
) -> Iterator[Row]:
    if not block:
        return
    if columns < 2 or any(len(fields) != columns or not fields[0].strip() for fields in block):
        source.problems.add(
            DatasetError(
                f"{source}, row {number}: a line of its sentence has not a token and {columns - 1} more columns"
            )
        )
        return
    tokens, tags = [fields[0] for fields in block], [fields[-1] for fields in block]
    document = marks[-1] if marks else None
    yield Row({"tokens": tokens, "tags": tags, "document": document, "documents": len(marks)}, source, number)


def chunks(tags: Sequence[str]) -> list[tuple[int, int, str]]:
    """Return the chunks that IOB tags mean, each as (first, behind the last, type) in numbers of tags.

    A chunk begins at B-, and at an I- that does not go on a chunk of its type: so the CoNLL scorer reads IOB1 and IOB2. B and I alone
    are of the type "", where there is but one. Raises ``BadValue``: a tag is of another scheme.
    """
    found: list[tuple[int, int, str]] = []
    open_type: str | None = None
    for at, tag in enumerate(tags):
        mark, _, kind = tag.partition("-")
        if tag not in ("O", "B", "I") and not (mark in ("B", "I") and kind):
            raise BadValue("a tag is not one of the IOB scheme (O, B-type, I-type, or B and I alone)")
        if mark == "I" and kind == open_type:
            found[-1] = (found[-1][0], at + 1, kind)
        elif tag != "O":
            found.append((at, at + 1, kind))
        open_type = None if tag == "O" else kind
    return found


def spans(tokens: Sequence[str], tags: Sequence[str]) -> tuple[str, list[tuple[int, int, str]]]:
    """Return the tokens joined by single blanks, and each chunk as (start, end, type) in characters of that text."""
    starts = list(accumulate((len(token) + 1 for token in tokens), initial=0))
    return " ".join(tokens), [(starts[first], starts[behind] - 1, kind) for first, behind, kind in chunks(tags)]
