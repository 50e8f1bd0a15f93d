"""Key layouts: same weights, same logits as the reference implementations; every key of the full-size networks; the traps."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from healthfm import CheckpointError, load_model
from healthfm.cards import catalog
from healthfm.models.files import checkpoint
from healthfm.models.language import causal_lm
from healthfm.models.language import published_keys as remap
from healthfm.models.language.causal_lm import CausalLM
from tests.models.published import EXPECTED
from tests.references.recipe_weights import fill, recipe_array

MANIFESTS = EXPECTED.parent / "manifests"
ROWS = {  # reference -> a row that loads its layout
    "internlm2": "mmedlm-2", "qwen": "taiyi", "chatglm": "taiyi:taiyi-2", "internlm": "chatdoctor",
}  # fmt: skip


def reference(name: str) -> dict[str, Any]:
    return dict(json.loads((EXPECTED / f"causal_{name}.json").read_text(encoding="utf-8")))


def recipe(keys: Mapping[str, list[int]]) -> dict[str, torch.Tensor]:
    return {key: torch.from_numpy(recipe_array(key, tuple(shape))) for key, shape in keys.items()}


def load(name: str, tensors: Mapping[str, torch.Tensor]) -> CausalLM:
    """Load the reference's tensors and configuration as a checkpoint of the row."""
    config = {**remap.config(reference(name)["config"], tensors), "pad_token_id": 0}
    return load_model(ROWS[name], tensors, config, device="cpu")  # type: ignore[return-value]


def assert_reference_logits(name: str, tensors: Mapping[str, torch.Tensor]) -> None:
    made = reference(name)
    for ours, theirs in zip(load(name, tensors).logits(made["tokens"]), map(np.array, made["logits"]), strict=True):
        assert np.linalg.norm(ours - theirs) <= 1e-4 * np.linalg.norm(theirs)
        assert np.abs(ours - theirs).max() <= 1e-3 * np.sqrt(np.mean(theirs**2))


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("internlm2", marks=pytest.mark.evidence("mmedlm-2", "network")),
        pytest.param("qwen", marks=pytest.mark.evidence("taiyi", "network")),
        pytest.param("chatglm", marks=pytest.mark.evidence("taiyi", "network")),
        "internlm",
    ],
)
def test_logits_equal_the_reference_implementations(name: str) -> None:
    assert_reference_logits(name, recipe(reference(name)["keys"]))


# Negative controls: each wrong reading of a layout must miss the reference --------------------------------------------


def packed_in_three(value: torch.Tensor) -> torch.Tensor:
    """Rows of InternLM 2's wqkv rearranged so that all queries come first, then keys, then values: the usual packing."""
    c = reference("internlm2")["config"]
    keys, width = c["num_key_value_heads"], c["hidden_size"] // c["num_attention_heads"]
    parts = value.reshape(keys, -1, width, value.shape[1]).split([c["num_attention_heads"] // keys, 1, 1], dim=1)
    return torch.cat([part.reshape(-1, value.shape[1]) for part in parts])


def swap(tensors: dict[str, torch.Tensor], first: str, second: str) -> None:
    for key in [key for key in tensors if first in key]:
        other = key.replace(first, second)
        tensors[key], tensors[other] = tensors[other], tensors[key]


def wrong_packing(tensors: dict[str, torch.Tensor]) -> None:
    tensors.update({k: packed_in_three(v) for k, v in tensors.items() if "wqkv" in k})


def values_before_keys(tensors: dict[str, torch.Tensor]) -> None:
    c = reference("chatglm")["config"]
    rows = [c[n] * c["kv_channels"] for n in ("num_attention_heads", "multi_query_group_num", "multi_query_group_num")]
    for key in [key for key in tensors if "query_key_value" in key]:
        queries, keys, values = tensors[key].split(rows)
        tensors[key] = torch.cat([queries, values, keys])


def up_before_gate(tensors: dict[str, torch.Tensor]) -> None:
    tensors.update({k: torch.cat(v.chunk(2)[::-1]) for k, v in tensors.items() if "dense_h_to_4h" in k})


def wrong_gate(tensors: dict[str, torch.Tensor]) -> None:
    swap(
        tensors,
        *(("feed_forward.w1", "feed_forward.w3") if any("wqkv" in k for k in tensors) else ("mlp.w1", "mlp.w2")),
    )


def wrong_rotary(tensors: dict[str, torch.Tensor]) -> None:
    tensors.update(
        {k: remap.halves(v, 4) for k, v in tensors.items() if k.endswith(("q_proj.weight", "k_proj.weight"))}
    )


def no_bias(tensors: dict[str, torch.Tensor]) -> None:
    tensors.update({k: torch.zeros_like(v) for k, v in tensors.items() if k.endswith(".bias")})


@pytest.mark.parametrize(
    ("name", "spoil"),
    [
        ("internlm2", wrong_packing), ("internlm2", wrong_gate), ("qwen", wrong_gate), ("qwen", no_bias),
        ("chatglm", values_before_keys), ("chatglm", up_before_gate), ("chatglm", no_bias),
        ("internlm", wrong_rotary), ("internlm", no_bias),
    ],
)  # fmt: skip
def test_a_wrong_reading_misses_the_reference(name: str, spoil: Any) -> None:
    tensors = recipe(reference(name)["keys"])
    spoil(tensors)
    with pytest.raises(AssertionError):
        assert_reference_logits(name, tensors)


def test_the_layout_is_told_by_names_whatever_the_configuration_calls_itself(tmp_path: Path) -> None:
    """MMedLM 2 7B says ``internlm`` and holds InternLM 2; 1.8B says ``internlm2``."""
    made = reference("internlm2")
    torch.save(recipe(made["keys"]), tmp_path / "pytorch_model.bin")
    found = []
    for said in ("internlm", "internlm2"):
        config = {**made["config"], "model_type": said, "architectures": ["InternLM2ForCausalLM"]}
        (tmp_path / "config.json").write_text(json.dumps(config))
        model = load_model("mmedlm-2", tmp_path, device="cpu")
        found.append(model.logits(made["tokens"])[0])
    assert np.array_equal(*found)
    assert np.linalg.norm(found[0] - made["logits"][0]) <= 1e-4 * np.linalg.norm(made["logits"][0])


def test_other_layouts_are_left_alone() -> None:
    gpt2 = {"transformer.h.0.attn.c_attn.weight": torch.zeros(4, 12), "transformer.wte.weight": torch.zeros(3, 4)}
    assert remap.layout(gpt2) == "plain"
    assert dict(remap.to_transformers(gpt2, {})).keys() == gpt2.keys()


# Every key of the full-size networks, on the meta device ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "variant"),
    [
        pytest.param("mmedlm-2", "7b", marks=pytest.mark.evidence("mmedlm-2", "keys")),
        pytest.param("mmedlm-2", "1-8b", marks=pytest.mark.evidence("mmedlm-2", "keys")),
        pytest.param("taiyi", "taiyi-1", marks=pytest.mark.evidence("taiyi", "keys")),
        pytest.param("taiyi", "taiyi-2", marks=pytest.mark.evidence("taiyi", "keys")),
    ],
)
def test_the_full_layout_loads_strictly(name: str, variant: str, proves_with: Any) -> None:
    path = MANIFESTS / f"causal_{variant if name == 'taiyi' else f'{name}-{variant}'}.json.gz"
    manifest = json.loads(gzip.decompress(path.read_bytes()))
    card = catalog.card(name, "model")
    with torch.device("meta"):
        tensors = {key: torch.empty(shape) for key, shape in manifest["keys"].items()}
        network = causal_lm.build(card, variant, {})  # type: ignore[arg-type]
        numbers = causal_lm.numbers_of(card, variant)  # type: ignore[arg-type]
        checkpoint.load_strict(network, remap.to_transformers(tensors, numbers))
    published = manifest.get("index", sorted(manifest["keys"]))  # Qwen: the owner's own index file
    assert {key for key in published if "inv_freq" not in key} == {
        key for key in manifest["keys"] if "inv_freq" not in key
    }
    proves_with(path)


def test_the_numbers_of_a_published_configuration_give_the_cards() -> None:
    """Qwen-7B's ``config.json``: the width it states counts both halves of the gated unit."""
    manifest = json.loads(gzip.decompress((MANIFESTS / "causal_taiyi-1.json.gz").read_bytes()))
    names = {"transformer.h.0.attn.c_attn.weight": torch.empty(0), "transformer.h.0.mlp.w2.weight": torch.empty(0)}
    ours = remap.config({**manifest["config"], "layer_norm_epsilon": 1e-6, "rotary_emb_base": 10000}, names)
    card = catalog.card("taiyi", "model").run.config  # type: ignore[union-attr]
    for key in (
        "vocab_size",
        "hidden_size",
        "intermediate_size",
        "num_hidden_layers",
        "num_key_value_heads",
        "rms_norm_eps",
        "rope_theta",
    ):
        assert ours[key] == card[key], key


# LLaMA's original files --------------------------------------------------------------------------------------------------


def to_meta(tensors: Mapping[str, torch.Tensor], heads: Mapping[str, int]) -> dict[str, torch.Tensor]:
    """Write Llama tensors as ``consolidated.00.pth`` holds them: rotary pairs side by side."""
    names = {
        "model.embed_tokens": "tok_embeddings", "model.norm": "norm", "lm_head": "output", "self_attn.q_proj": "attention.wq",
        "self_attn.k_proj": "attention.wk", "self_attn.v_proj": "attention.wv", "self_attn.o_proj": "attention.wo",
        "mlp.gate_proj": "feed_forward.w1", "mlp.down_proj": "feed_forward.w2", "mlp.up_proj": "feed_forward.w3",
        "input_layernorm": "attention_norm", "post_attention_layernorm": "ffn_norm", "model.layers": "layers",
    }  # fmt: skip
    found = {}
    for key, value in tensors.items():
        kind = next((kind for kind in heads if f"{kind}_proj" in key), None)
        if kind is not None:
            half = value.shape[0] // heads[kind] // 2
            value = value.reshape(heads[kind], 2, half, -1).swapaxes(1, 2).reshape(value.shape)
        for old, new in names.items():
            key = key.replace(old, new)
        found[key] = value.contiguous()
    return {**found, "rope.freqs": torch.zeros(4)}


def meta_folder(folder: Path) -> tuple[Path, transformers.LlamaForCausalLM]:
    config = transformers.LlamaConfig(
        vocab_size=97, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, rms_norm_eps=1e-5, tie_word_embeddings=False,
    )  # fmt: skip
    network = transformers.LlamaForCausalLM(config).eval()
    fill(network.state_dict())
    torch.save(to_meta(network.state_dict(), {"q": 4, "k": 2}), folder / "consolidated.00.pth")
    params = {
        "dim": 32,
        "n_layers": 2,
        "n_heads": 4,
        "n_kv_heads": 2,
        "norm_eps": 1e-5,
        "vocab_size": -1,
        "multiple_of": 32,
    }
    (folder / "params.json").write_text(json.dumps(params))
    return folder, network


def test_llamas_original_pth_and_params_load(tmp_path: Path) -> None:
    folder, network = meta_folder(tmp_path)
    ours = load_model("me-llama", folder, device="cpu").logits([[5, 6, 7, 8, 9]])[0]
    with torch.inference_mode():
        theirs = network(torch.tensor([[5, 6, 7, 8, 9]])).logits[0].numpy()
    assert np.linalg.norm(ours - theirs) <= 1e-5 * np.linalg.norm(theirs)


def test_without_the_rotary_reordering_the_original_files_give_other_logits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, _ = meta_folder(tmp_path)
    right = load_model("me-llama", folder, device="cpu").logits([[5, 6, 7, 8, 9]])[0]
    monkeypatch.setattr(remap, "halves", lambda weight, heads: weight)
    wrong = load_model("me-llama", folder, device="cpu").logits([[5, 6, 7, 8, 9]])[0]
    assert np.linalg.norm(wrong - right) > 0.05 * np.linalg.norm(right)


# Damage ------------------------------------------------------------------------------------------------------------------


def test_a_packed_matrix_of_another_size_is_named() -> None:
    tensors = recipe(reference("internlm2")["keys"])
    key = "model.layers.0.attention.wqkv.weight"
    tensors[key] = tensors[key][:-8]
    with pytest.raises(
        CheckpointError, match=r"wqkv\.weight has 72 rows, 6 heads over 2 key-value heads of width 8 need 80"
    ):
        load("internlm2", tensors)


def test_chatglms_packed_matrix_of_another_size_is_named() -> None:
    tensors = recipe(reference("chatglm")["keys"])
    key = "transformer.encoder.layers.1.self_attention.query_key_value.weight"
    tensors[key] = tensors[key][:-8]
    with pytest.raises(CheckpointError, match=r"has 72 rows, 6 heads and 2 key-value heads of width 8 need 80"):
        load("chatglm", tensors)


def test_chatglms_rotary_base_is_10000_times_its_ratio() -> None:
    tensors = recipe(reference("chatglm")["keys"])
    stated = {**remap.config(reference("chatglm")["config"], tensors), "pad_token_id": 0}
    assert stated["rope_theta"] == 5_000_000
    wrong = load_model("taiyi:taiyi-2", tensors, {**stated, "rope_theta": 10000.0}, device="cpu")
    theirs = np.array(reference("chatglm")["logits"][0])
    assert np.linalg.norm(wrong.logits(reference("chatglm")["tokens"])[0] - theirs) > 1e-3 * np.linalg.norm(theirs)


def test_qwens_packed_matrix_must_fall_into_three() -> None:
    tensors = recipe(reference("qwen")["keys"])
    key = "transformer.h.1.attn.c_attn.weight"
    tensors[key] = tensors[key][:-1]
    with pytest.raises(CheckpointError, match=r"c_attn\.weight has 95 rows, which is not three equal parts"):
        load("qwen", tensors)


def test_a_key_no_layout_knows_is_unexpected() -> None:
    tensors = {**recipe(reference("qwen")["keys"]), "transformer.h.0.mlp.w9.weight": torch.zeros(2)}
    with pytest.raises(CheckpointError, match=r"1 unexpected keys: .*w9"):
        load("qwen", tensors)
