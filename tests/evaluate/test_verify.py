"""A published number, measured again: it comes out where it should, and only there."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from healthfm import CardError, CheckpointError, RunError, card, open_dataset
from healthfm.cards import catalog, coverage
from healthfm.evaluate import verify as verification
from healthfm.evaluate.protocols import make_items, sample
from healthfm.evaluate.verify import problems, verdict, verify
from healthfm.models.files.weights import locate
from healthfm.models.language.causal_lm import CausalLM
from tests.evidence import record as evidence_record

WHOLE = "pubmedqa@reasoning-free"  # the protocol with the shortest texts: all 500 records are asked
NOTHING: dict[str, Any] = {"claims": [], "collected": []}  # what a run that proved nothing found
TINY = {
    "vocab_size": 2000, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 8192,
}  # fmt: skip


def write_card(folder: Path, slug: str, value: float, dataset: str, digest: str | None = None) -> None:
    """A listed model's card with one published number and the recipe for it."""
    data = dataset.partition("@")[0]
    numbers = "\n".join(f"{key} = {value}" for key, value in TINY.items())
    weights = (
        f'\n[[weights]]\nsource = "its owner"\nformat = "any"\naccess = "open"\ndigest = "{digest}"\n' if digest else ""
    )
    path = folder / "models/general" / f"{slug}.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"""
slug = "{slug}"
name = "{slug}"
summary = "A model for this test."
group = "general"
modalities = ["text"]
access = "open"
architecture = "Llama"

[[lists]]
list = "zhang-2024"
entry = "{slug}"
section = "Language Models"
{weights}
[[results]]
dataset = "{data}"
metric = "accuracy"
value = {value}
source = "lm-evaluation-harness 0.4.13 in this test"
checked = "run"

[run]
family = "causal_lm"
architecture = "llama"

[run.config]
{numbers}

[[verify]]
dataset = "{dataset}"
tolerance = 0.005
follows = "lm-evaluation-harness"
""")


def lm_eval_accuracy(network: Any, tokenizer: Any, dataset: str, root: Path, limit: int | None) -> float:
    """lm-evaluation-harness's accuracy on the same questions."""
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    opened = open_dataset(dataset, root, "test")
    records = list(opened)
    card = opened.card
    protocol = card.protocols[dataset.partition("@")[2] or card.default_protocol or ""]
    items = make_items([records[i] for i in sample(len(records), limit, 0)], protocol)
    pairs = [(item.prompt, option) for item in items for option in item.continuations]
    harness = HFLM(pretrained=network, tokenizer=tokenizer, batch_size=32, device="cpu")
    flat = iter([v for v, _ in harness.loglikelihood([Instance("loglikelihood", {}, p, i) for i, p in enumerate(pairs)], disable_tqdm=True)])  # fmt: skip
    right = [i.keys[int(np.argmax([next(flat) for _ in i.continuations]))] == i.target for i in items]
    return float(np.mean(right))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory, pubmedqa_root: Path) -> Path:
    """A small untrained Llama in the published file format, with a tokenizer trained on the questions' abstracts."""
    from tokenizers import ByteLevelBPETokenizer

    folder = tmp_path_factory.mktemp("tiny")
    torch.manual_seed(7)
    transformers.LlamaForCausalLM(transformers.LlamaConfig(**TINY)).save_pretrained(folder)
    trained = ByteLevelBPETokenizer()
    texts = [record.context for record in list(open_dataset("pubmedqa", pubmedqa_root, "test"))[:80]]  # type: ignore[attr-defined]
    trained.train_from_iterator(texts, vocab_size=TINY["vocab_size"], show_progress=False)
    transformers.PreTrainedTokenizerFast(tokenizer_object=trained._tokenizer, eos_token="Ġ").save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def accuracy(tiny: Path, pubmedqa_root: Path) -> float:
    network = transformers.AutoModelForCausalLM.from_pretrained(tiny, dtype=torch.float32).eval()
    return lm_eval_accuracy(network, transformers.AutoTokenizer.from_pretrained(tiny), WHOLE, pubmedqa_root, None)


@pytest.fixture
def cards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = tmp_path / "cards"
    (folder / "models").mkdir(parents=True)
    monkeypatch.setenv("HEALTHFM_CARDS", str(folder))
    yield folder


# The real model -------------------------------------------------------------------------------------------------------


def test_smollm2s_own_number_comes_out_and_a_wrong_one_does_not(
    smollm2: CausalLM, short_medqa: Path, medqa_root: Path, small_folder: Path, cards: Path, tmp_path: Path
) -> None:
    path = locate(smollm2.card, None)
    measured = lm_eval_accuracy(smollm2.network, smollm2.tokenizer, "medqa", short_medqa, 2)
    digest = smollm2.provenance["digest"]
    write_card(cards, "right", measured, "medqa@letters", digest)
    write_card(cards, "wrong", 0.99, "medqa@letters")
    right = verify("right", weights=path, root=short_medqa, limit=2, output=tmp_path / "right")
    assert right.evidence["verdict"] == "sample agrees"
    assert right.agrees
    assert right.evidence["measured"]["value"] == measured
    assert right.evidence["digest"] == digest
    assert right.evidence["digest_on_card"] is True
    wrong = verify("wrong", weights=small_folder, root=medqa_root, limit=6, output=tmp_path / "wrong")
    assert wrong.evidence["verdict"] == "sample differs"
    assert not wrong.agrees
    for found in (right, wrong):
        assert "it did not use every record of the official split" in problems(json.loads(found.path.read_text()))


def test_other_weights_than_the_cards_are_refused_before_anything_is_measured(
    small_folder: Path, medqa_root: Path, cards: Path, tmp_path: Path
) -> None:
    write_card(cards, "other", 0.3, "medqa@letters", "sha256:" + "0" * 64)
    with pytest.raises(CheckpointError, match="not the weights its card names"):
        verify("other", weights=small_folder, root=medqa_root, limit=2, output=tmp_path / "run")
    assert not (tmp_path / "run").exists()


# A whole split --------------------------------------------------------------------------------------------------------


@pytest.fixture
def evidence(tiny: Path, accuracy: float, cards: Path, pubmedqa_root: Path, tmp_path: Path) -> dict[str, Any]:
    write_card(cards, "tiny", accuracy, WHOLE)
    found = verify("tiny", weights=tiny, root=pubmedqa_root, output=tmp_path / "run")
    return dict(json.loads(found.path.read_text()))


def test_every_record_of_the_official_split_makes_evidence(
    evidence: dict[str, Any], accuracy: float, cards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert evidence["verdict"] == "reproduced"
    assert evidence["measured"]["n"] == evidence["official_records"] == 500
    assert abs(evidence["measured"]["value"] - accuracy) <= 0.005
    assert evidence["digest_on_card"] is False
    assert evidence["dataset"] == "pubmedqa:pqa-l@reasoning-free"
    assert {"torch", "healthfm"} <= set(evidence["versions"])
    assert str(tmp_path) not in json.dumps(evidence)
    assert problems(evidence) == []

    given = tmp_path / "given"
    given.mkdir()
    (given / "tiny.json").write_text(json.dumps(evidence))
    (given / "broken.json").write_text("{")
    (given / "empty.json").write_text("{}")
    claims, wrong = evidence_record.contributed(given)
    assert [claim["slug"] for claim in claims] == ["tiny"]
    assert len(wrong) == 2
    rows = {row["slug"]: row for row in coverage.rows(tuple(claims))}
    assert rows["tiny"]["evidence"] == "reproduced"
    assert rows["tiny"]["where"] == {"reproduced": "contributed"}
    assert {row["evidence"] for slug, row in rows.items() if slug != "tiny"} == {"none"}

    real = evidence_record.contributed
    monkeypatch.setattr(evidence_record, "contributed", lambda: real(given))
    assert not any("tiny" in one and "record" in one for one in evidence_record.overclaims(claims, NOTHING))
    write_card(cards, "tiny", accuracy + 0.01, WHOLE)  # the card now states another number
    assert any("no contributed evidence file proves it" in one for one in evidence_record.overclaims(claims, NOTHING))

    changes: list[tuple[str, Any, str]] = [
        ("verdict", "not reproduced", "did not reproduce"), ("digest", "random", "digest is not one"),
        ("digest", "sha256:12", "digest is not one"), ("official_records", 499, "every record"), ("split", "train", "another recipe"),
        ("shots", 5, "another recipe"), ("tolerance", 0.04, "another recipe"), ("dataset", "pubmedqa@reasoning-required", "another recipe"),
        ("dataset", "medqa@letters", "no recipe"), ("row", "nobody", "no model"), ("date", "yesterday", "not in the form"),
        ("published", {"value": 0.99, "metric": "accuracy"}, "not the card's"), ("format", 2, "another format"),
        ("measured", {**evidence["measured"], "n": 499}, "every record"),
        ("measured", {**evidence["measured"], "value": 0.1234567}, "fit together"),
        ("measured", {**evidence["measured"], "low": 0.0, "high": 2.0}, "fit together"), ("measured", None, "not in the form"),
    ]  # fmt: skip
    write_card(cards, "tiny", accuracy, WHOLE)
    for name, value, says in changes:
        assert says in "; ".join(problems({**copy.deepcopy(evidence), name: value})), (name, value)
    for name in verification.FIELDS:
        assert problems({k: v for k, v in evidence.items() if k != name}) == [f"it lacks {name}"]
    assert problems([]) == ["it lacks everything"]
    write_card(cards, "tiny", accuracy + 0.1, WHOLE)
    assert "it did not reproduce the number" in problems(evidence)
    write_card(cards, "tiny", accuracy, WHOLE, "sha256:" + "0" * 64)  # the card now names other weights
    assert problems(evidence) == ["its weights are not those the card names"]


# What cannot be verified ----------------------------------------------------------------------------------------------


def test_what_cannot_be_verified_is_said_before_the_weights_are_read(
    cards: Path, medqa_root: Path, pubmedqa_root: Path, tiny: Path, tmp_path: Path
) -> None:
    nowhere = tmp_path / "nowhere"
    with pytest.raises(CardError, match="smollm2-135m-instruct: its card has no recipe"):
        verify("smollm2-135m-instruct", weights=nowhere, root=medqa_root)
    with pytest.raises(CardError, match=r"meditron:7b: its card has no recipe .*meditron:70b on pubmedqa"):
        verify("meditron", weights=nowhere, root=medqa_root)
    write_card(cards, "tiny", 0.5, "medqa@letters")
    with pytest.raises(CardError, match="no recipe to verify a number on pubmedqa"):
        verify("tiny", weights=nowhere, root=pubmedqa_root, dataset="pubmedqa")
    with pytest.raises(CheckpointError, match="no weights at"):
        verify("tiny", weights=nowhere, root=medqa_root)
    empty = tmp_path / "data_clean/questions/US/4_options"
    empty.mkdir(parents=True)
    source = next(medqa_root.rglob("*_test.jsonl"))
    shutil.copy(source, empty / source.name.replace("test", "dev"))
    with pytest.raises(RunError, match="split 'test' is absent"):
        verify("tiny", weights=nowhere, root=tmp_path)
    with pytest.raises(CheckpointError, match="only weights from files can be verified"):
        verify("tiny", weights="random", root=medqa_root, output=tmp_path / "run")


def test_weights_that_do_not_fit_are_refused(cards: Path, tiny: Path, medqa_root: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    shutil.copytree(tiny, tmp_path / "cut")
    tensors = load_file(tmp_path / "cut/model.safetensors")
    tensors.pop("model.norm.weight")
    save_file(tensors, tmp_path / "cut/model.safetensors")
    write_card(cards, "tiny", 0.5, "medqa@letters")
    with pytest.raises(CheckpointError, match=r"missing keys: model\.norm\.weight"):
        verify("tiny", weights=tmp_path / "cut", root=medqa_root, output=tmp_path / "run")


def test_a_recipe_must_repeat_one_result(cards: Path) -> None:
    write_card(cards, "tiny", 0.5, "medqa@letters")
    path = cards / "models/general/tiny.toml"
    path.write_text(path.read_text().replace('dataset = "medqa"\n', 'dataset = "medmcqa"\n'))
    with pytest.raises(CardError, match="0 results are medqa, accuracy, None; a recipe repeats one"):
        card("tiny", "model")


def test_every_recipe_of_the_catalogue_names_a_split_and_protocol_that_can_be_read() -> None:
    from healthfm.cards.schema import DatasetCard, ModelCard

    found = [(c, r) for c in catalog.all_cards("model") if isinstance(c, ModelCard) for r in c.verify]
    assert {c.slug for c, _ in found} >= {"biomistral", "meditron", "medalpaca"}
    for model, recipe in found:
        data = card(recipe.dataset, "dataset")
        assert isinstance(data, DatasetCard)
        assert data.reader is not None
        assert data.protocols
        assert data.counts[data.default_variant or "default"][recipe.split] > 0
        assert model.published(recipe).value > 0
        assert model.run is not None


@pytest.mark.parametrize(
    ("published", "whole", "expected"),
    [
        (0.71, True, "reproduced"), (0.67, True, "reproduced"), (0.75, True, "reproduced"), (0.669, True, "not reproduced"),
        (0.765, True, "not reproduced"), (0.71, False, "sample agrees"), (0.5, False, "sample differs"),
    ],
)  # fmt: skip
def test_the_verdict_is_the_interval_or_the_tolerance(published: float, whole: bool, expected: str) -> None:
    assert verdict(published, {"value": 0.71, "low": 0.67, "high": 0.75}, 0.01, whole) == expected


def test_the_tolerance_counts_where_the_interval_is_narrower() -> None:
    narrow = {"value": 0.71, "low": 0.709, "high": 0.711}
    assert verdict(0.73, narrow, 0.02, True) == "reproduced"
    assert verdict(0.7301, narrow, 0.02, True) == "not reproduced"
