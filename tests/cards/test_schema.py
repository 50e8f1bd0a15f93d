"""A card that says something wrong is refused, and the message names the file and the field."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from healthfm.cards import catalog, files
from healthfm.cards.schema import Labels
from healthfm.errors import CardError

WriteCard = Callable[..., Path]
LINK = {"dataset": "medqa", "what": "questions", "source": "its paper"}
RESULT = {"dataset": "medqa", "metric": "accuracy", "value": 0.5, "source": "its paper"}


def refused(path: Path) -> str:
    """Return the message with which the card at ``path`` is refused."""
    with pytest.raises(CardError) as error:
        files.validate(files.parse(path))
    assert str(path) in str(error.value)
    return str(error.value)


def without(fact: dict[str, Any], field: str) -> dict[str, Any]:
    return {key: value for key, value in fact.items() if key != field}


@pytest.mark.parametrize("kind", ["model", "dataset"])
def test_smallest_card_is_valid(own_cards: WriteCard, kind: str) -> None:
    card = files.validate(files.parse(own_cards(kind, "tiny")))
    assert (card.kind, card.slug, card.listed, card.has_runner) == (kind, "tiny", False, False)


def test_cards_are_frozen() -> None:
    card = catalog.card("medqa")
    with pytest.raises(ValueError, match="frozen"):
        card.remote_ok = False  # type: ignore[misc, union-attr]


@pytest.mark.parametrize("kind", ["model", "dataset"])
@pytest.mark.parametrize("field", ["name", "summary", "group", "modalities", "access"])
def test_missing_field_is_named(own_cards: WriteCard, kind: str, field: str) -> None:
    assert f"{field}: " in refused(own_cards(kind, "tiny", **{field: None}))


@pytest.mark.parametrize("field", ["shareable_inputs", "shareable_outputs", "remote_ok", "record", "owner"])
def test_dataset_card_must_say_who_may_see_it_and_what_it_holds(own_cards: WriteCard, field: str) -> None:
    assert f"{field}: " in refused(own_cards("dataset", "tiny", **{field: None}))


def test_unknown_field_is_named(own_cards: WriteCard) -> None:
    assert "acess: " in refused(own_cards("model", "tiny", acess="open"))


def test_unknown_field_inside_a_table_is_named(own_cards: WriteCard) -> None:
    assert "contains.0.split: " in refused(own_cards("dataset", "tiny", contains=[{**LINK, "split": "test"}]))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("parameters", "many"), ("aliases", "just-one"), ("group", "radiology"), ("access", "free"), ("summary", ""),
        ("modalities", ["x-ray"]), ("homepage", "example.org"), ("kind", "network"), ("base_models", ["Not A Slug"]),
    ],
)  # fmt: skip
def test_wrong_value_is_named(own_cards: WriteCard, field: str, value: Any) -> None:
    assert field in refused(own_cards("model", "tiny", **{field: value})).split(".toml: ")[1]


def test_every_problem_of_a_card_is_in_one_message(own_cards: WriteCard) -> None:
    message = refused(own_cards("model", "tiny", name=None, group="radiology"))
    assert "name: " in message and "group: " in message and "\n" not in message


def test_slug_must_be_the_file_name(own_cards: WriteCard) -> None:
    path = own_cards("model", "tiny")
    other = path.rename(path.with_name("small.toml"))
    message = refused(other)
    assert "slug" in message and "'tiny'" in message and "'small'" in message


def test_missing_slug_is_named(own_cards: WriteCard) -> None:
    assert "slug" in refused(own_cards("model", "tiny", slug=None))


def test_slug_is_lower_case_with_hyphens(own_cards: WriteCard) -> None:
    assert "slug: " in refused(own_cards("model", "Tiny_Model"))


def test_broken_toml_is_refused(own_cards: WriteCard) -> None:
    path = own_cards("model", "tiny")
    path.write_text(path.read_text(encoding="utf-8") + "summary = \n", encoding="utf-8")
    assert "not valid TOML" in refused(path)


def test_card_that_is_not_utf8_is_refused(own_cards: WriteCard) -> None:
    path = own_cards("model", "tiny")
    path.write_bytes(path.read_bytes() + b'homepage = "\xff"\n')
    assert "not valid TOML" in refused(path)


def test_file_that_cannot_be_read_is_refused(own_cards: WriteCard) -> None:
    path = own_cards("model", "tiny")
    path.unlink()
    assert "cannot be read" in refused(path)


@pytest.mark.parametrize("field", ["contains", "overlaps", "derived_from"])
def test_tie_between_datasets_needs_a_source(own_cards: WriteCard, field: str) -> None:
    path = own_cards("dataset", "tiny", **{field: [without(LINK, "source")]})
    assert f"{field}.0.source: " in refused(path)


def test_exposure_and_result_need_a_source(own_cards: WriteCard) -> None:
    path = own_cards("model", "tiny", trained_on=[{"name": "notes"}], results=[without(RESULT, "source")])
    message = refused(path)
    assert "trained_on.0.source: " in message and "results.0.source: " in message


def test_blank_source_is_no_source(own_cards: WriteCard) -> None:
    assert "results.0.source: " in refused(own_cards("model", "tiny", results=[{**RESULT, "source": "  "}]))


def test_fact_is_unverified_until_the_card_says_how_it_was_checked(own_cards: WriteCard) -> None:
    card = files.validate(files.parse(own_cards("model", "tiny", results=[RESULT])))
    assert card.results[0].checked == "unverified"  # type: ignore[union-attr]


@pytest.mark.parametrize("access", ["credentialed", "registration", "own"])
def test_data_of_named_people_may_not_be_sent_away(own_cards: WriteCard, access: str) -> None:
    assert "remote_ok" in refused(own_cards("dataset", "tiny", access=access))
    files.validate(files.parse(own_cards("dataset", "tiny", access=access, remote_ok=False)))


@pytest.mark.parametrize(
    ("space", "said"),
    [
        ({"codes": {"c": "1"}}, "'stage' has codes for what is none of its classes: c"),
        ({"codes": {"a": "1", "b": "1"}}, "'stage' gives two classes the same code"),
        ({"variant": "other"}, "variant 'other' is not among [variants]"),
    ],
)
def test_codes_name_one_class_each_and_a_label_space_a_known_variant(
    own_cards: WriteCard, space: dict[str, object], said: str
) -> None:
    labels = [{"name": "stage", "kind": "multi-class", "classes": ["a", "b"], **space}]
    assert said in refused(own_cards("dataset", "tiny", labels=labels))


def test_a_label_space_is_written_without_the_fields_that_say_nothing() -> None:
    """The digest of a card that does not use the later fields stays what it was."""
    assert "missing" not in Labels(name="stage", kind="text").model_dump_json()
    assert Labels(name="stage", kind="text", missing=("-1",)).model_dump()["missing"] == ("-1",)


@pytest.mark.parametrize(
    ("access", "flag", "free"),
    [("open", True, True), ("open", False, False), ("credentialed", True, False), ("registration", True, False), ("own", True, False),
     ("ids-only", True, True), ("own", False, False)],
)  # fmt: skip
def test_the_card_says_of_its_data_what_may_be_sent_and_shown_by_access_and_by_flag(
    access: str, flag: bool, free: bool
) -> None:
    card = catalog.card("medqa", "dataset")
    sent, shown = (
        card.model_copy(update={"access": access, "remote_ok": flag, "shareable_inputs": True}),
        card.model_copy(update={"access": access, "remote_ok": True, "shareable_inputs": flag}),
    )
    assert sent.stays_in_house is not free and shown.may_show_inputs is free  # type: ignore[union-attr]


def test_default_variant_must_exist(own_cards: WriteCard) -> None:
    variants = {"small": {"summary": "the small one"}}
    assert "default_variant" in refused(own_cards("model", "tiny", variants=variants))
    message = refused(own_cards("model", "tiny", variants=variants, default_variant="large"))
    assert "default_variant 'large'" in message


@pytest.mark.parametrize("field", ["weights", "results"])
def test_facts_may_only_name_variants_the_card_has(own_cards: WriteCard, field: str) -> None:
    facts = {"weights": {"source": "hub", "format": "safetensors", "access": "open"}, "results": RESULT}
    message = refused(own_cards("model", "tiny", **{field: [{**facts[field], "variant": "large"}]}))
    assert f"{field}: variant 'large'" in message


def test_counts_and_files_may_only_name_variants_and_splits_the_card_has(own_cards: WriteCard) -> None:
    file = {"role": "questions", "path": "{split}.json", "format": "json"}
    assert "counts.large" in refused(own_cards("dataset", "tiny", counts={"large": {"test": 3}}))
    assert "files: variant 'large'" in refused(own_cards("dataset", "tiny", files=[{**file, "variant": "large"}]))
    assert "splits ['dev']" in refused(
        own_cards("dataset", "tiny", files=[{**file, "splits": ["dev"]}], splits={"test": "test"})
    )
    own_cards(
        "dataset", "tiny", counts={"default": {"test": 3}}, files=[{**file, "splits": ["test"]}], splits={"test": "t"}
    )
    assert catalog.card("tiny").counts["default"]["test"] == 3  # type: ignore[union-attr]


def test_default_protocol_must_exist(own_cards: WriteCard) -> None:
    protocol = {"summary": "s", "task": "multiple-choice", "template": "t", "options": "letters", "follows": "a paper"}
    message = refused(own_cards("dataset", "tiny", protocols={"letters": protocol}, default_protocol="text"))
    assert "default_protocol" in message
