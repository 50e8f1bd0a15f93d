"""What a stored vector is found by: all that changes it, and nothing else."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from healthfm import RunError, evaluate, load_model
from healthfm.embed import engines
from healthfm.embed.embedder import Embedder
from healthfm.embed.key import key_of
from healthfm.evaluate.provenance import weights_digest
from healthfm.models.vision.vision_model import VisionModel
from tests.embed.conftest import small
from tests.models.language.test_masked_lm import hub_folder

TEXTS = ["The patient had no fever.", "BIOPSY showed a melanoma", "A text without anything"]


@pytest.fixture
def bert(tmp_path: Path) -> Path:
    return hub_folder(tmp_path / "bert", "biolinkbert")


def other_words(bert: Path) -> Path:
    """The same weights beside another vocabulary of the same length."""
    folder = shutil.copytree(bert, bert.with_name("other"))
    pieces = (bert / "vocab.txt").read_text(encoding="utf-8").split("\n")[:-1]
    words = [i for i, piece in enumerate(pieces) if not piece.startswith("[")]
    swapped = {i: pieces[j] for i, j in zip(words, reversed(words), strict=True)}
    (folder / "vocab.txt").write_text(
        "\n".join(swapped.get(i, one) for i, one in enumerate(pieces)) + "\n", encoding="utf-8"
    )
    return folder


def load(folder: Path, **config: Any) -> Any:
    return load_model("biolinkbert", folder, config=config, device="cpu")


@pytest.mark.parametrize("change", ["vocabulary", "case", "length", "pooling"])
def test_equal_weights_that_read_texts_otherwise_share_no_vectors(bert: Path, change: str) -> None:
    first = load(bert)
    before = Embedder(first)(TEXTS)
    changed = {
        "vocabulary": lambda: load(other_words(bert)), "case": lambda: load(bert, lower_case=not first.rules.lower_case),
        "length": lambda: load(bert, max_length=6), "pooling": lambda: load(bert, pooling="mean"),
    }[change]()  # fmt: skip
    found = Embedder(changed)(TEXTS)
    np.testing.assert_allclose(found, changed.embed(TEXTS), atol=1e-5)
    assert not np.allclose(found, before, atol=1e-4)


def test_equal_models_share_wherever_they_lie(bert: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = Embedder(load(bert))(TEXTS)
    again = Embedder(load(shutil.copytree(bert, bert.with_name("copy"))))
    again(TEXTS[:1])
    monkeypatch.setattr(again._network, "work", lambda items: 1 / 0)
    assert np.array_equal(again(TEXTS), before)


def test_a_tokenizer_that_was_changed_after_loading_is_another(bert: Path) -> None:
    model = load(bert)
    Embedder(model)(TEXTS)
    model.tokenizer = load(other_words(bert)).tokenizer
    np.testing.assert_allclose(Embedder(model)(TEXTS), model.embed(TEXTS), atol=1e-5)


def test_a_run_by_name_knows_the_vocabulary_beside_the_weights(bert: Path, tmp_path: Path) -> None:
    rows = [f"{i},{TEXTS[i % 2]} {i},{'ab'[i % 2]},{'train' if i < 12 else 'test'}" for i in range(20)]
    (tmp_path / "own.csv").write_text("\n".join(["id,text,label,split", *rows]))
    asked: dict[str, Any] = {"task": "knn", "output": tmp_path / "run", "device": "cpu"}
    evaluate("biolinkbert", tmp_path / "own.csv", weights=bert, **asked)
    other = other_words(bert)
    with pytest.raises(RunError, match="weights differ"):
        evaluate("biolinkbert", tmp_path / "own.csv", weights=other, **asked)
    copy = shutil.copytree(bert, tmp_path / "elsewhere")
    assert evaluate("biolinkbert", tmp_path / "own.csv", weights=copy, **asked).path == tmp_path / "run"


def test_the_base_below_an_adapter_counts_as_its_weights_do(tmp_path: Path) -> None:
    from healthfm.cards import catalog

    card = catalog.card("biolinkbert", "model")
    (tmp_path / "base").mkdir()
    (tmp_path / "adapter_model.safetensors").write_bytes(b"adapter")
    (tmp_path / "base" / "model.safetensors").write_bytes(b"one")
    before = weights_digest("biolinkbert", card, tmp_path)  # type: ignore[arg-type]
    (tmp_path / "base" / "model.safetensors").write_bytes(b"two")
    assert weights_digest("biolinkbert", card, tmp_path) != before  # type: ignore[arg-type]


# Model.settings -------------------------------------------------------------------------------------------------------------


class Scaled(torch.nn.Module):
    """As adapters are that were not merged: a scale in a dict, a switch, a tensor that is not registered."""

    def __init__(self) -> None:
        super().__init__()
        self.scaling = {"default": 2.0}
        self._disabled = False
        self.shift = torch.zeros(2)


@pytest.mark.parametrize(
    "change", ["scale", "switch", "shift", "training", "weight", "window", "transform", "pooling", "function"]
)
def test_whatever_changes_the_numbers_changes_the_settings(change: str) -> None:
    model = small()
    model.network.more = Scaled()
    before, key = model.settings(), key_of(model, engines.by_torch(model))
    more: Any = model.network.more
    assert model.transform is not None
    if change == "scale":
        more.scaling["default"] = 1.0
    elif change == "switch":
        more._disabled = True
    elif change == "shift":
        more.shift = torch.ones(2)
    elif change == "training":
        model.network.train()
    elif change == "weight":
        with torch.no_grad():
            next(model.network.parameters()).view(-1)[0] += 1
    elif change == "window":
        model.show_between(-160, 240)
    elif change == "transform":
        model.transform = model.transform.model_copy(update={"interpolation": "nearest"})
    elif change == "pooling":
        model.network.pooling = "mean" if model.network.pooling != "mean" else "cls"
    else:
        model.network.pool = torch.nn.functional.relu  # type: ignore[method-assign,assignment]
    assert model.settings() != before
    assert key_of(model, engines.by_torch(model)) != key


def test_settings_are_plain_equal_for_equal_models_and_no_use_of_a_model_changes_them(
    tower: VisionModel, bert: Path
) -> None:
    first = tower.settings()
    assert json.loads(json.dumps(first)) == first == small().settings()
    Embedder(tower)([np.zeros((8, 8), np.uint8)])
    tower.embed([np.zeros((8, 8), np.uint8)])
    assert tower.settings() == first
    model = load(bert)
    before = model.settings()
    model.embed(["word " * 700])
    model.tokenizer(["a", "b c"], padding=True, truncation=True, max_length=4)
    assert model.settings() == before == load(bert).settings()


def test_where_functions_of_the_callers_work_inside_a_network_nothing_is_shared(own_home: Path) -> None:
    model = small()
    model.network.blocks[0].register_forward_hook(lambda module, given, made: made + 1)  # type: ignore[index,union-attr]
    assert key_of(model, engines.by_torch(model)) is None
    Embedder(model)([np.zeros((8, 8), np.uint8)])
    assert not (own_home / "embeddings").exists()


def test_a_change_that_no_setting_tells_is_seen_in_what_the_network_is_given(tower: VisionModel, monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    from healthfm.models.vision import transform

    picture = np.random.default_rng(0).integers(0, 255, (40, 40, 3), dtype=np.uint8)
    before = Embedder(tower)([picture])
    real = transform.pixels
    monkeypatch.setattr(transform, "pixels", lambda item, rule: real(item, rule) * 2)
    assert not np.allclose(Embedder(tower)([picture]), before)


def test_other_numbers_of_rows_than_inputs_are_refused() -> None:
    model = load_model(lambda texts: np.zeros((1, 2), np.float32), card={"slug": "few"}, verb="embed")
    with pytest.raises(RunError, match="another number of embeddings"):
        Embedder(model)(["a", "b"])
