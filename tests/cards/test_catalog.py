"""Finding cards: by words, by filters, by any spelling of a name; and the cache that makes it quick."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import healthfm as hfm
from healthfm.cards import catalog, files, search
from healthfm.errors import CardError

WriteCard = Callable[..., Path]


def slugs(text: str = "", **filters: Any) -> list[str]:
    return [entry["slug"] for entry in search.search(text, **filters)]


# Finding --------------------------------------------------------------------------------------------------------------


def test_find_returns_validated_cards_of_both_kinds() -> None:
    found = hfm.find("pubmedqa")
    assert found[0].slug == "pubmedqa"
    assert {card.kind for card in found} == {"model", "dataset"}
    assert all(isinstance(card, hfm.ModelCard | hfm.DatasetCard) for card in found)


def test_word_in_the_name_beats_word_in_the_summary(own_cards: WriteCard) -> None:
    own_cards("model", "aardvark", summary="A zebrafish encoder.")
    own_cards("model", "quokka", name="Zebrafish")
    own_cards("model", "wombat", obstacles=["Nothing about zebrafish."])
    assert slugs("zebrafish") == ["quokka", "aardvark", "wombat"]


def test_whole_word_beats_the_beginning_of_a_word(own_cards: WriteCard) -> None:
    own_cards("model", "aardvark", name="Zebrafishes")
    own_cards("model", "quokka", name="Zebrafish")
    assert slugs("zebrafish") == ["quokka", "aardvark"]


def test_every_word_must_occur(own_cards: WriteCard) -> None:
    own_cards("model", "quokka", name="Zebrafish", tasks=["counting"])
    own_cards("model", "wombat", name="Zebrafish")
    assert slugs("COUNTING zebrafish") == ["quokka"]
    assert slugs("zebrafish nosuchword") == []


def test_chinese_words_are_found(own_cards: WriteCard) -> None:
    own_cards("model", "quokka", aliases=["斑马鱼"])
    assert slugs("斑马鱼") == ["quokka"]


def test_place_of_a_card_on_the_disk_is_not_searched(own_cards: WriteCard) -> None:
    path = own_cards("model", "quokka")
    for part in path.parts[1:-2]:
        assert "quokka" not in slugs(part), part


def test_empty_search_finds_every_card() -> None:
    assert len(slugs()) == len(files.card_files())


@pytest.mark.parametrize(
    ("filters", "holds"),
    [
        ({"kind": "model"}, lambda c: c.kind == "model"),
        ({"kind": "dataset"}, lambda c: c.kind == "dataset"),
        ({"group": "Vision"}, lambda c: c.group == "vision"),
        ({"modality": "slide"}, lambda c: "slide" in c.modalities),
        ({"task": "Segmentation"}, lambda c: any("segmentation" in task.lower() for task in c.tasks)),
        ({"access": "gated"}, lambda c: c.access == "gated"),
        ({"access": "Credentialed"}, lambda c: c.access == "credentialed"),
        ({"licence": "apache"}, lambda c: any("apache" in one.name.lower() for one in c.licences)),
        ({"has_runner": True}, lambda c: c.has_runner),
        ({"has_runner": False}, lambda c: not c.has_runner),
        ({"kind": "dataset", "group": "text", "has_runner": True},
         lambda c: c.kind == "dataset" and c.group == "text" and c.has_runner),
    ],
)  # fmt: skip
def test_filter_keeps_exactly_the_cards_it_names(filters: dict[str, Any], holds: Callable[[Any], bool]) -> None:
    expected = {(card.kind, card.slug) for card in catalog.all_cards() if holds(card)}
    found = [(card.kind, card.slug) for card in hfm.find(**filters)]
    assert expected and set(found) == expected and len(found) == len(expected)


def test_words_and_filters_work_together() -> None:
    found = hfm.find("slide", kind="model", group="vision", access="open")
    assert "hipt" in {card.slug for card in found}
    assert {(card.kind, card.group, card.access) for card in found} == {("model", "vision", "open")}


def test_unknown_kind_is_refused() -> None:
    for ask in (lambda: hfm.find(kind="modle"), lambda: hfm.card("uni", "modle")):
        with pytest.raises(CardError, match="no kind is called 'modle'"):
            ask()


def test_has_runner_means_a_run_table_or_a_reader(own_cards: WriteCard) -> None:
    own_cards("model", "quokka", run={"family": "causal_lm", "architecture": "llama"})
    own_cards("dataset", "wombat", reader="multiple_choice")
    own_cards("dataset", "numbat")
    runs = set(slugs(has_runner=True))
    assert {"quokka", "wombat"} <= runs and "numbat" not in runs
    assert catalog.card("quokka").has_runner and catalog.card("wombat").has_runner


# Names ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["esm-2", "ESM-2", "esm2", "ESM 2", "Esm_2", "medqa-usmle", "MedQA", "Med QA", "pmc_llama_13b", " medqa "]
)
def test_every_spelling_of_a_name_is_understood(name: str) -> None:
    meant = {"e": "esm-2", "m": "medqa", "p": "pmc-llama"}[name.strip()[0].lower()]
    assert catalog.card(name).slug == meant


def test_every_card_is_found_by_its_slug_its_name_and_its_aliases() -> None:
    for (kind, slug), entry in files.entries().items():
        for name in (slug, entry["name"], entry["name"].upper(), *entry.get("aliases", ())):
            assert catalog.lookup(name, kind)["slug"] == slug, name


def test_unknown_name_gives_near_names() -> None:
    with pytest.raises(CardError, match=r"'medqaa'; near names: medqa\b") as error:
        catalog.card("medqaa")
    assert "\n" not in str(error.value)


def test_name_like_no_other_gives_no_near_names() -> None:
    with pytest.raises(CardError, match="'xqzjvkwy'") as error:
        catalog.card("xqzjvkwy")
    assert "near" not in str(error.value)


def test_near_names_are_of_the_kind_asked_for() -> None:
    with pytest.raises(CardError, match="no model is called 'medqa'") as error:
        catalog.card("medqa", "model")
    near = str(error.value).partition("near names: ")[2].partition(" (")[0].split(", ")
    assert near and all(("model", slug) in files.entries() for slug in near)


def test_known_variant_and_protocol_are_accepted() -> None:
    assert catalog.card("medqa:us-4-options@letters").slug == "medqa"
    assert catalog.split_name("medqa:us-4-options@letters") == ("medqa", "us-4-options", "letters")
    assert catalog.split_name("medqa@letters") == ("medqa", None, "letters")
    assert catalog.split_name("medqa") == ("medqa", None, None)


def test_unknown_variant_lists_the_known_ones() -> None:
    with pytest.raises(CardError, match=r"medqa has no variant 'us-9-options' \(variants: .*us-4-options"):
        catalog.card("medqa:us-9-options")
    with pytest.raises(CardError, match=r"no variant 'large' \(variants: none\)"):
        catalog.card("medc-i:large")


def test_unknown_protocol_lists_the_known_ones() -> None:
    with pytest.raises(CardError, match=r"medqa has no protocol 'aloud' \(protocols: .*letters"):
        catalog.card("medqa@aloud")
    with pytest.raises(CardError, match=r"no protocol 'letters' \(protocols: none\)"):
        catalog.card("uni@letters")


def test_name_of_a_model_and_a_dataset_asks_for_the_kind(own_cards: WriteCard) -> None:
    own_cards("model", "quokka", aliases=["Zebra"])
    own_cards("dataset", "quokka")
    own_cards("dataset", "wombat", aliases=["zebra"])
    with pytest.raises(CardError, match="'quokka' is both: model quokka, dataset quokka; say which kind"):
        catalog.card("quokka")
    with pytest.raises(CardError, match="'zebra' is both: dataset wombat, model quokka; say which kind"):
        catalog.card("zebra")
    assert catalog.card("quokka", "model").kind == "model"
    assert catalog.card("quokka", "dataset").kind == "dataset"
    assert catalog.card("zebra", "dataset").slug == "wombat"


def test_slug_wins_over_an_alias_of_the_other_kind() -> None:
    assert (catalog.card("retfound").kind, catalog.card("retfound").slug) == ("model", "retfound")
    assert catalog.card("retfound", "dataset").slug == "retfound-data"
    assert {"retfound", "retfound-data"} <= {card.slug for card in hfm.find("retfound")}


# Own cards ------------------------------------------------------------------------------------------------------------


def test_own_cards_stand_beside_the_shipped_ones(own_cards: WriteCard) -> None:
    own_cards("model", "quokka")
    assert catalog.card("Quokka").kind == "model"
    assert catalog.card("uni").slug == "uni"


def test_several_folders_of_own_cards(tmp_path: Path, own_cards: WriteCard, monkeypatch: pytest.MonkeyPatch) -> None:
    first = own_cards("model", "quokka").parent.parent
    second = tmp_path / "more" / "datasets"
    second.mkdir(parents=True)
    own_cards("dataset", "wombat").rename(second / "wombat.toml")
    monkeypatch.setenv("HEALTHFM_CARDS", os.pathsep.join((str(first), str(second.parent))))
    assert catalog.card("quokka").kind == "model" and catalog.card("wombat").kind == "dataset"


def test_missing_folder_of_own_cards_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEALTHFM_CARDS", str(tmp_path / "nowhere"))
    with pytest.raises(CardError, match=r"HEALTHFM_CARDS: no folder .*nowhere"):
        catalog.card("uni")


def test_folder_without_models_or_datasets_is_refused(own_cards: WriteCard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEALTHFM_CARDS", str(own_cards("model", "quokka").parent))
    with pytest.raises(CardError, match="neither a folder models nor a folder datasets"):
        catalog.card("uni")


def test_same_slug_in_two_folders_names_both_files(own_cards: WriteCard) -> None:
    path = own_cards("model", "uni")
    with pytest.raises(CardError, match="model 'uni' already has a card") as error:
        catalog.card("uni")
    assert str(path) in str(error.value) and str(files.SHIPPED) in str(error.value)


def test_wrong_own_card_is_named_and_stands_in_the_way_of_itself_alone(own_cards: WriteCard) -> None:
    path = own_cards("model", "quokka", name=None)
    with pytest.warns(UserWarning, match="left out: .*quokka.toml: name: "):
        assert hfm.find("uni")
    assert hfm.card("uni").slug == "uni" and hfm.lineage("uni", "medqa") is not None
    with pytest.raises(CardError) as error:
        hfm.card("quokka")
    assert f"{path}: name: " in str(error.value)


def test_hidden_files_are_not_cards(own_cards: WriteCard) -> None:
    path = own_cards("model", "quokka")
    path.with_name(".#quokka.toml").symlink_to("nowhere")
    path.with_name("._quokka.toml").write_bytes(b"\x00\x05\x16\x07")
    assert catalog.card("quokka").slug == "quokka"


# The cache ------------------------------------------------------------------------------------------------------------


def caches(home: Path) -> list[Path]:
    return list((home / "cache").glob("cards-*.json"))


def in_a_new_process() -> None:
    """Forget what this process has read, as a new one would."""
    files.told.cache_clear()


def test_cards_are_read_from_the_cache(own_cards: WriteCard, own_home: Path) -> None:
    own_cards("model", "quokka")
    files.entries()
    (cache,) = caches(own_home)
    listed = json.loads(cache.read_text(encoding="utf-8"))
    assert len(listed) == len(files.card_files())
    next(entry for entry in listed if entry["slug"] == "quokka")["name"] = "From the cache"
    cache.write_text(json.dumps(listed), encoding="utf-8")
    in_a_new_process()
    assert catalog.lookup("quokka")["name"] == "From the cache"


def test_changed_card_is_read_anew_and_the_old_cache_goes(own_cards: WriteCard, own_home: Path) -> None:
    own_cards("model", "quokka", summary="Before.")
    assert catalog.card("quokka").summary == "Before."
    (before,) = caches(own_home)
    own_cards("model", "quokka", summary="Afterwards.")
    assert catalog.card("quokka").summary == "Afterwards."
    assert slugs("afterwards quokka") == ["quokka"]
    (after,) = caches(own_home)
    assert after != before


def test_added_and_removed_cards_are_noticed(own_cards: WriteCard) -> None:
    files.entries()
    path = own_cards("model", "quokka")
    assert catalog.card("quokka").slug == "quokka"
    path.unlink()
    with pytest.raises(CardError, match="quokka"):
        catalog.card("quokka")


@pytest.mark.parametrize("content", ["", "{", "null", "[]", "[1]", '[{"kind": "model"}]', '{"a": 1}', "\x00"])
def test_damaged_cache_is_read_anew_and_replaced(own_cards: WriteCard, own_home: Path, content: str) -> None:
    own_cards("model", "quokka")
    files.entries()
    (cache,) = caches(own_home)
    cache.write_text(content, encoding="utf-8")
    in_a_new_process()
    assert catalog.lookup("quokka")["slug"] == "quokka"
    assert len(json.loads(cache.read_text(encoding="utf-8"))) == len(files.card_files())


def test_home_that_cannot_be_written_only_costs_time(
    own_cards: WriteCard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "home"
    file.write_text("a file, so nothing can be written below it", encoding="utf-8")
    monkeypatch.setenv("HEALTHFM_HOME", str(file))
    own_cards("model", "quokka")
    in_a_new_process()
    assert catalog.card("quokka").slug == "quokka"
    assert file.is_file()


def test_card_with_a_value_json_has_not_is_not_cached_but_refused(own_cards: WriteCard) -> None:
    path = own_cards("model", "quokka")
    path.write_text(path.read_text(encoding="utf-8") + "released = 2024-01-01\n", encoding="utf-8")
    with pytest.raises(CardError, match="released: "):
        catalog.card("quokka")
