"""XML with nothing of the outside world: no external entity, no DTD, no network."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO

from lxml import etree

from healthfm.errors import BadValue, DatasetError
from healthfm.formats.source import DAMAGE, Row, Source


def root(source: Source, opened: IO[bytes] | None = None) -> etree._Element:
    """Return the root element of a file, which may be ``opened`` already. Raises ``DatasetError``: not well-formed, or it names entities of its own."""
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)
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
        yield Row({}, source, number), element


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
