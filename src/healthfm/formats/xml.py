"""XML with nothing of the outside world: no external entity, no DTD, no network."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO, Any

from lxml import etree

from healthfm.errors import BadValue, DatasetError
from healthfm.formats.source import DAMAGE, Made, Row, Source

ALONE: dict[str, Any] = {"resolve_entities": False, "no_network": True, "load_dtd": False, "huge_tree": False}


def root(source: Source, opened: IO[bytes] | None = None) -> etree._Element:
    """Return the root element of a file, which may be ``opened`` already. Raises ``DatasetError``: not well-formed, or it names entities of its own."""
    parser = etree.XMLParser(**ALONE)
    try:
        with opened or source.open() as handle:
            found = etree.parse(handle, parser).getroot()
    except etree.XMLSyntaxError as error:  # its message can repeat the text
        raise DatasetError(f"{source}: not well-formed XML, near line {error.lineno}") from None
    except DAMAGE as error:
        raise DatasetError(f"{source}: the file is damaged or cut short ({type(error).__name__})") from None
    if next(found.iter(etree.Entity), None) is not None:
        raise DatasetError(f"{source}: it uses entities that it defines itself; they are not expanded here")
    return found


def elements(source: Source, tag: str) -> Iterator[tuple[Row, etree._Element]]:
    """Yield the elements of a tag in document order, each with an empty row that says where an error was."""
    try:
        found = root(source)
    except DatasetError as error:
        source.problems.add(error)
        return
    for number, element in enumerate(found.iter(tag), 1):
        yield _row(source, number), element


def _row(source: Source, number: int) -> Row:
    row: Row = Made()
    row.source, row.number = source, number
    return row


def stream(source: Source, *tags: str, top: bool = False) -> Iterator[tuple[Row, etree._Element]]:
    """Yield the elements of some tags in document order, one in memory at a time, each with an empty row that says where.

    For files too large to hold; an element is emptied once the next is asked for. ``top``: those right below the root alone; one of the
    same tag further in is theirs. Damage is a problem of the file; what came before it stands.
    """
    number, declares = 0, True
    try:
        with source.open() as handle:
            parsed = etree.iterparse(handle, tag=tags, **ALONE)
            for _, element in parsed:
                above = element.getparent()
                if top and (above is None or above.getparent() is not None):
                    continue
                number += 1
                row = _row(source, number)
                if number == 1:  # a file that declares nothing can name no entity: that is not well-formed
                    declares = element.getroottree().docinfo.internalDTD is not None
                if not declares or next(element.iter(etree.Entity), None) is None:
                    yield row, element
                else:
                    source.problems.add(
                        row.error("it uses entities that its file defines itself; they are not expanded here")
                    )
                element.clear()
                while element.getprevious() is not None:
                    del element.getparent()[0]
    except etree.XMLSyntaxError as error:  # its message can repeat the text
        source.problems.add(
            DatasetError(f"{source}, after row {number}: not well-formed XML, near line {error.lineno}")
        )
    except DAMAGE as error:
        source.problems.add(
            DatasetError(f"{source}, after row {number}: the file is damaged or cut short ({type(error).__name__})")
        )


def text(element: etree._Element, path: str) -> str:
    """Return the text of the one element at a path below, white space at its ends dropped. Raises ``BadValue`` where there is none."""
    found = element.find(path)
    if found is None:
        raise BadValue(f"no {path} element")
    return "".join(found.itertext()).strip()


def attribute(element: etree._Element, path: str, name: str) -> str:
    """Return an attribute of the one element at a path below. Raises ``BadValue`` where there is none."""
    found = element.find(path)
    value = None if found is None else found.get(name)
    if value is None:
        raise BadValue(f"no {name} on a {path} element")
    return str(value)
