"""By which ways data can have reached a model: every kind of path, and what must not count as one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import healthfm as hfm
from healthfm.cards import search
from healthfm.cards.lineage import KINDS, MAX_STEPS, Overlap, lineage, web_crawls, web_sentence
from healthfm.errors import CardError
from tests.cards.conftest import write_card


def link(dataset: str, **more: Any) -> dict[str, Any]:
    return {"dataset": dataset, "what": f"rows of {dataset}", "source": f"paper on {dataset}", **more}


def saw(dataset: str, **more: Any) -> dict[str, Any]:
    return {"dataset": dataset, "name": dataset.title(), "source": f"table of {dataset}", **more}


# A mixture made from two sources, a collection of two parts, a chain of wholes, a pair that overlaps.
DATASETS: dict[str, dict[str, Any]] = {
    "part-a": {}, "part-b": {}, "source-a": {}, "source-b": {}, "stranger": {}, "benchmark": {},
    "collection": {"contains": [link("part-a", splits=["train"], key="row id"), link("part-b")]},
    "mixture": {"derived_from": [link("source-a", splits=["train"]), link("source-b")]},
    "retelling": {"derived_from": [link("source-a", checked="read")]},
    "cousin": {"overlaps": [link("source-b")]},
    "second-collection": {"contains": [link("part-a")]},
    "shelf": {"contains": [link("cousin")]},
    "rack": {"contains": [link("source-b")]},
    "mixture-with-parts": {"derived_from": [link("stranger")], "contains": [link("benchmark")]},
    "step-0": {}, **{f"step-{i + 1}": {"contains": [link(f"step-{i}")]} for i in range(6)},
}  # fmt: skip
MODELS: dict[str, dict[str, Any]] = {
    "on-part-a": {"trained_on": [saw("part-a", splits=["train"], checked="read")]},
    "on-collection": {"trained_on": [saw("collection")]},
    "on-source-a": {"trained_on": [saw("source-a", splits=["train"])]},
    "on-source-b": {"trained_on": [saw("source-b")]},
    "on-mixture": {"trained_on": [saw("mixture")]},
    "on-cousin": {"trained_on": [saw("cousin")]},
    "on-shelf": {"trained_on": [saw("shelf")]},
    "on-stranger": {"trained_on": [saw("stranger"), {"name": "notes of a hospital", "source": "its paper"}]},
    "on-benchmark": {"trained_on": [saw("benchmark")]},
    "on-both": {"trained_on": [saw("collection"), saw("part-a", splits=["test"])]},
    "on-chain": {"trained_on": [saw("step-6")]},
    "on-chain-middle": {"trained_on": [saw("step-6"), saw("step-3")]},
    "child": {"base_models": ["on-part-a"], "trained_on": [saw("stranger")]},
    "grandchild": {"base_models": ["child"]},
    "ouroboros": {"base_models": ["ouroboros", "on-part-a"]},
    "on-read-source": {"trained_on": [saw("source-a", checked="read")]},
    "surfer": {
        "trained_on": [saw("stranger"), {"name": "FineWeb, 10 TB", "source": "its paper"}],
        "base": ["LLaMA-7B", "BERT"],
    },
    "child-of-surfer": {"base_models": ["surfer"], "base": ["LLaMA architecture, trained from scratch"]},
}


@pytest.fixture(scope="module")
def small_world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lineage")
    for slug, fields in DATASETS.items():
        write_card(folder, "dataset", slug, **fields)
    for slug, fields in MODELS.items():
        write_card(folder, "model", slug, **fields)
    return folder


@pytest.fixture
def ask(small_world: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """``lineage`` in the small world."""
    monkeypatch.setenv("HEALTHFM_CARDS", str(small_world))
    return lineage


def only(found: list[Overlap]) -> Overlap:
    assert len(found) == 1, found
    one = found[0]
    assert len(one.steps) == len(one.evidence) == len(one.path) - 1
    assert all(one.steps) and all(one.evidence)
    return one


def test_dataset_trained_on_is_direct(ask: Any) -> None:
    found = only(ask("on-part-a", "part-a"))
    assert (found.kind, found.path, found.splits) == ("direct", ("on-part-a", "part-a"), ("train",))
    assert found.evidence == ("table of part-a [read]",)


def test_part_of_what_was_trained_on_is_contained(ask: Any) -> None:
    found = only(ask("on-collection", "part-a"))
    assert (found.kind, found.path) == ("contained", ("on-collection", "collection", "part-a"))
    assert found.splits == ("train",)
    assert "train split only" in found.steps[1] and "row id" in found.steps[1]
    assert found.evidence == ("table of collection [unverified]", "paper on part-a [unverified]")
    assert only(ask("on-collection", "part-b")).splits == ()


def test_what_was_made_from_training_data_is_contained_whatever_its_split(ask: Any) -> None:
    found = only(ask("on-source-a", "mixture"))
    assert (found.kind, found.path) == ("contained", ("on-source-a", "source-a", "mixture"))
    assert found.splits == ()  # the link's train is a split of the source, not of the mixture
    assert found.concerns("test")


def test_whole_of_which_a_part_was_trained_on_is_part(ask: Any) -> None:
    found = only(ask("on-part-a", "second-collection"))
    assert (found.kind, found.path) == ("part", ("on-part-a", "part-a", "second-collection"))
    assert found.splits == ()


def test_source_of_what_was_trained_on_is_part(ask: Any) -> None:
    assert only(ask("on-mixture", "source-b")).kind == "part"


def test_collections_with_a_common_part_share(ask: Any) -> None:
    found = only(ask("on-collection", "second-collection"))
    assert found.kind == "shared"
    assert found.path == ("on-collection", "collection", "part-a", "second-collection")


def test_products_of_one_source_are_siblings(ask: Any) -> None:
    found = only(ask("on-mixture", "retelling"))
    assert (found.kind, found.path) == ("sibling", ("on-mixture", "mixture", "source-a", "retelling"))
    assert found.evidence[-1] == "paper on source-a [read]"


def test_overlap_is_found_from_both_sides(ask: Any) -> None:
    assert only(ask("on-cousin", "source-b")).kind == "overlap"
    assert only(ask("on-source-b", "cousin")).kind == "overlap"


def test_overlap_is_followed_on_one_straight_way(ask: Any) -> None:
    found = only(ask("on-cousin", "mixture"))
    assert (found.kind, found.path) == ("overlap", ("on-cousin", "cousin", "source-b", "mixture"))
    assert ask("on-cousin", "source-a") == []
    assert only(ask("on-shelf", "source-b")).kind == "overlap"
    assert ask("on-shelf", "rack") == []


def test_sources_of_one_mixture_have_nothing_to_do_with_each_other(ask: Any) -> None:
    assert ask("on-source-a", "source-b") == []
    assert ask("on-source-b", "source-a") == []


def test_parts_of_one_collection_have_nothing_to_do_with_each_other(ask: Any) -> None:
    assert ask("on-part-a", "part-b") == []


def test_source_of_a_mixture_and_a_part_of_it_have_nothing_to_do_with_each_other(ask: Any) -> None:
    assert ask("on-stranger", "benchmark") == []
    assert ask("on-benchmark", "stranger") == []


def test_unrelated_dataset_gives_no_path(ask: Any) -> None:
    assert ask("on-part-a", "stranger") == []


def test_training_data_without_a_card_gives_no_path(ask: Any) -> None:
    assert only(ask("on-stranger", "stranger")).kind == "direct"


def test_data_of_base_models_counts(ask: Any) -> None:
    found = only(ask("child", "part-a"))
    assert (found.kind, found.path, found.splits) == ("direct", ("child", "on-part-a", "part-a"), ("train",))
    assert found.steps[0] == "child was built on on-part-a"
    assert "child" in found.evidence[0]
    assert only(ask("grandchild", "part-a")).path == ("grandchild", "child", "on-part-a", "part-a")
    assert only(ask("grandchild", "stranger")).path == ("grandchild", "child", "stranger")


def test_model_named_as_its_own_base_does_not_loop(ask: Any) -> None:
    assert only(ask("ouroboros", "part-a")).path == ("ouroboros", "on-part-a", "part-a")


def test_strongest_path_comes_first(ask: Any) -> None:
    found = ask("on-both", "part-a")
    assert [one.kind for one in found] == ["direct", "contained"]
    assert [one.splits for one in found] == [("test",), ("train",)]


def test_path_has_at_most_max_steps_ties(ask: Any) -> None:
    found = only(ask("on-chain", f"step-{6 - MAX_STEPS}"))
    assert len(found.path) == 2 + MAX_STEPS
    assert ask("on-chain", f"step-{6 - MAX_STEPS - 1}") == []


def test_path_does_not_pass_other_training_data(ask: Any) -> None:
    assert only(ask("on-chain-middle", "step-2")).path == ("on-chain-middle", "step-3", "step-2")


def test_what_a_path_proves_is_said_with_less_where_a_link_was_not_verified(ask: Any) -> None:
    thought = only(ask("on-cousin", "source-b"))
    assert (
        thought.meaning
        == "the model was trained on something that is thought to overlap this dataset (a link is not verified)"
    )
    known = Overlap("overlap", ("m", "a", "b"), ("s", "t"), ("paper [read]", "list [run]"))
    assert known.verified and known.meaning == "the model was trained on something that overlaps this dataset"
    assert only(ask("on-part-a", "part-a")).meaning == KINDS["direct"]
    assert only(ask("on-source-a", "source-a")).meaning == f"{KINDS['direct']} (a link is not verified)"
    assert only(ask("on-read-source", "retelling")).verified


def test_web_text_of_a_model_and_of_what_it_was_built_on_is_named(
    small_world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEALTHFM_CARDS", str(small_world))
    assert web_crawls("surfer") == ["FineWeb, 10 TB", "the pre-training data of LLaMA-7B"]
    assert web_crawls("child-of-surfer") == web_crawls("surfer")
    assert web_crawls("on-stranger") == web_crawls("ouroboros") == []
    assert "(FineWeb, 10 TB; the pre-training data of LLaMA-7B)" in web_sentence(web_crawls("surfer"))
    with pytest.raises(CardError, match="no model is called"):
        web_crawls("nobody")


def test_the_cards_name_the_web_text_that_their_models_saw() -> None:
    """Read from the cards themselves: general language models did, encoders of abstracts and of cells did not."""
    assert any("FineWeb" in one for one in web_crawls("smollm2-135m-instruct"))
    assert any("RedPajama" in one for one in web_crawls("meditron")) and web_crawls("chatdoctor") == [
        "the pre-training data of LLaMA-7B"
    ]
    assert not any(web_crawls(slug) for slug in ("pubmedbert", "biogpt", "uni", "esm-2", "clinicalbert"))


def test_splits_say_whom_a_path_concerns() -> None:
    some = Overlap("direct", ("m", "d"), ("s",), ("e",), ("train",))
    assert some.concerns("train") and some.concerns(None) and not some.concerns("test")
    assert Overlap("direct", ("m", "d"), ("s",), ("e",)).concerns("test")
    assert some.meaning == KINDS["direct"]


def test_unknown_model_or_dataset_is_refused() -> None:
    with pytest.raises(CardError, match="no model is called 'medqa'"):
        lineage("medqa", "medqa")
    with pytest.raises(CardError, match="no dataset is called 'uni'"):
        lineage("uni", "uni")


# The shipped cards ----------------------------------------------------------------------------------------------------


def test_pmc_llama_saw_the_train_questions_of_medqa() -> None:
    found = {one.path: one for one in hfm.lineage("PMC-LLaMA", "medqa:us-4-options")}
    assert found["pmc-llama", "medqa"].kind == "direct"
    assert found["pmc-llama", "medc-i", "medqa"].kind == "contained"
    for path in (("pmc-llama", "medqa"), ("pmc-llama", "medc-i", "medqa")):
        assert found[path].splits == ("train",)
        assert not found[path].concerns("test")


def test_pmc_clip_saw_what_pmc_vqa_was_made_from() -> None:
    found = {one.path: one for one in lineage("pmc-clip", "pmc-vqa")}
    assert found["pmc-clip", "pmc-oa", "pmc-vqa"].kind == "contained"
    assert found["pmc-clip", "pmc-oa", "pmc-vqa"].concerns("test")


def test_cards_show_no_way_from_medqa_to_smollm2() -> None:
    assert lineage("smollm2", "medqa") == []


@pytest.mark.parametrize("dataset", ["medqa", "pmc-vqa", "mimic-cxr", "tcga", "pubmed"])
def test_every_step_has_its_evidence(dataset: str) -> None:
    found = [one for entry in search.search(kind="model") for one in lineage(entry["slug"], dataset)]
    assert found
    for one in found:
        assert one.kind in KINDS
        assert len(one.steps) == len(one.evidence) == len(one.path) - 1, one
        assert all(isinstance(text, str) and text.strip() for text in (*one.steps, *one.evidence)), one
