"""The 207 rows of the two survey lists each have a card, and what the cards name exists."""

from __future__ import annotations

import csv
import importlib
import pkgutil
import re
from pathlib import Path

import pytest

from healthfm.cards import catalog, files
from healthfm.cards.schema import DatasetCard, ModelCard
from healthfm.datasets import readers
from healthfm.datasets.reader import READERS, reader_of

ROWS = Path(__file__).parent.parent / "data" / "rows.tsv"


def models() -> list[ModelCard]:
    return [card for card in catalog.all_cards("model") if isinstance(card, ModelCard)]


def datasets() -> list[DatasetCard]:
    return [card for card in catalog.all_cards("dataset") if isinstance(card, DatasetCard)]


def test_every_listed_row_has_a_card_of_its_kind_and_name() -> None:
    with ROWS.open(encoding="utf-8", newline="") as file:
        rows = {(row["kind"], row["slug"]): row["name"] for row in csv.DictReader(file, delimiter="\t")}
    listed = {key: entry["name"] for key, entry in files.entries().items() if entry.get("lists")}
    assert len(rows) == 207
    assert listed == rows


def test_63_models_and_144_datasets_are_listed() -> None:
    assert sum(card.listed for card in models()) == 63
    assert sum(card.listed for card in datasets()) == 144


def test_every_card_is_valid_and_stands_in_the_folder_of_its_group() -> None:
    cards = list(catalog.all_cards())
    assert len(cards) == len(files.card_files())
    for card in cards:
        path = Path(catalog.lookup(card.slug, card.kind)["path"])
        assert path.parent.parent.name == f"{card.kind}s" and path.parent.name == card.group, path


@pytest.mark.parametrize("field", ["contains", "overlaps", "derived_from"])
def test_tied_datasets_have_cards(field: str) -> None:
    known = {card.slug for card in datasets()}
    ties = [(card.slug, link.dataset) for card in datasets() for link in getattr(card, field)]
    assert ties
    assert [tie for tie in ties if tie[1] not in known] == []
    assert [tie for tie in ties if tie[0] == tie[1]] == []


def test_training_data_and_base_models_have_cards() -> None:
    known = {card.slug for card in datasets()}
    named = {(card.slug, one.dataset) for card in models() for one in card.trained_on if one.dataset is not None}
    assert named and {pair for pair in named if pair[1] not in known} == set()
    bases = {(card.slug, base) for card in models() for base in card.base_models}
    assert bases and {pair for pair in bases if pair[1] not in {card.slug for card in models()}} == set()


def test_two_cards_do_not_contain_each_other() -> None:
    contains = {(card.slug, link.dataset) for card in datasets() for link in card.contains}
    assert [pair for pair in contains if pair[::-1] in contains] == []


def test_every_tie_exposure_and_result_names_its_source() -> None:
    facts = [(c.slug, link) for c in datasets() for link in (*c.contains, *c.overlaps, *c.derived_from)]
    facts += [(c.slug, fact) for c in models() for fact in (*c.trained_on, *c.results)]
    assert len(facts) > 500
    for slug, fact in facts:
        assert any(character.isalpha() for character in fact.source), (slug, fact)
        assert "memory" not in fact.source or fact.checked == "unverified", (slug, fact)


def test_restricted_data_may_not_leave_this_machine() -> None:
    restricted = [card for card in datasets() if card.access in {"credentialed", "registration", "own"}]
    assert {"mimic-iii", "mimic-iv", "mimic-cxr", "uk-biobank"} <= {card.slug for card in restricted}
    assert [card.slug for card in restricted if card.remote_ok] == []


def test_every_reader_a_card_names_is_registered() -> None:
    named = [card for card in datasets() if card.reader is not None]
    assert {"medqa", "pubmedqa"} <= {card.slug for card in named}
    for card in named:
        assert callable(reader_of(card)), card.slug


def test_every_registered_reader_has_a_card_that_names_its_module() -> None:
    for module in pkgutil.iter_modules(readers.__path__):
        importlib.import_module(f"healthfm.datasets.readers.{module.name}")
    shipped = {
        slug: reader.__module__
        for slug, reader in READERS.items()
        if reader.__module__.startswith("healthfm.datasets.")
    }
    named = {card.slug: f"healthfm.datasets.readers.{card.reader}" for card in datasets() if card.reader is not None}
    assert shipped == named


def test_reader_makes_the_record_its_card_names() -> None:
    for card in datasets():
        if card.reader is not None:
            assert reader_of(card).record.__name__ == card.record, card.slug  # type: ignore[attr-defined]


def test_source_of_a_layout_is_a_source() -> None:
    for card in datasets():
        assert not [one for one in card.layout_source if one.lower().startswith("none")], card.slug
        assert card.layout_source or card.layout_checked == "unverified", card.slug


def test_cards_speak_to_their_readers_only() -> None:
    stray = re.compile(r"/work\b|\bfacts file|\[[RMT]\]|\[mem\]|\[repo\]|✓|\b(oracle|TODO|FIXME)\b")
    found = {
        p.name: m.group() for p in map(Path, files.card_files()) if (m := stray.search(p.read_text(encoding="utf-8")))
    }
    assert found == {}
