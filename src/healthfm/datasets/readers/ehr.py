"""Hospital databases as timelines. What their tables mean stands in ``healthfm.datasets.ehr.layouts``."""

from __future__ import annotations

from collections.abc import Iterator

from healthfm.datasets.ehr.database import Database
from healthfm.datasets.ehr.layout import layout
from healthfm.datasets.locate import Files
from healthfm.datasets.reader import dataset
from healthfm.formats.source import Source
from healthfm.records import Timeline


def _timelines(name: str, files: Files, split: str) -> Iterator[Timeline]:
    """Yield the timelines of all tables found, whatever their role, as a layout declares them."""
    declared = layout(name)
    tables: dict[str, Source] = {}
    for role in files.found:
        tables |= {source.name.rpartition(".")[0].lower(): source for source in files.all(role)}
    official = declared.rows.get(files.variant or "", {})
    yield from Database(declared, tables, files.problems, official).timelines(split)


@dataset("mimic-iii", record=Timeline)
def mimic_iii(files: Files, split: str) -> Iterator[Timeline]:
    """A timeline a patient; billing codes stand where the stay ended."""
    return _timelines("mimic-iii", files, split)


@dataset("mimic-iv", record=Timeline)
def mimic_iv(files: Files, split: str) -> Iterator[Timeline]:
    """A timeline a patient; billing codes stand where the stay ended."""
    return _timelines("mimic-iv", files, split)


@dataset("eicu-crdv2-0", record=Timeline)
def eicu(files: Files, split: str) -> Iterator[Timeline]:
    """A timeline a unit stay, whose admission is its zero; the person is ``patient``, the hospital ``site``."""
    return _timelines("eicu", files, split)
