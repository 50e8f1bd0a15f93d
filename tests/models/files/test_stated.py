"""What a file states is used or refused: config.json, adapters, generation settings, tokenizer flags, vision networks."""

from __future__ import annotations

import html
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from healthfm import CheckpointError, evaluate, load_model
from healthfm.models.files import sentencepiece_bpe, stated
from healthfm.models.language import generation
from healthfm.models.language import published_keys as remap
from healthfm.models.language.causal_lm import CausalLM
from healthfm.models.vision import vision_model as vision
from healthfm.models.vision import vit
from tests.models import published as pub

IDS = [[5, 6, 7, 8, 9, 10, 300, 41] * 8]
CONFIGS = {
    "llama": "LlamaConfig", "mistral": "MistralConfig", "bloom": "BloomConfig", "biogpt": "BioGptConfig", "qwen2": "Qwen2Config",
    "glm": "GlmConfig", "gpt2": "GPT2Config", "phi": "PhiConfig", "t5": "T5Config", "bert": "BertConfig",
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return pub.publish(tmp_path / "weights", pub.GROUPED, pub.byte_level_json, shards=1)


def change(folder: Path, file: str = "config.json", **changes: Any) -> Path:
    path = folder / file
    before = json.loads(path.read_text()) if path.is_file() else {}
    path.write_text(json.dumps({**before, **changes}))
    return folder


def load(folder: Path, **options: Any) -> CausalLM:
    return load_model("omnina", folder, device="cpu", **options)  # type: ignore[return-value]


# config.json ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "config"), CONFIGS.items())
def test_what_transformers_writes_is_read(name: str, config: str) -> None:
    whole = getattr(transformers, config)().to_dict()
    stated.check_model_type(whole, name)
    kept = stated.numbers(config, {k: v for k, v in whole.items() if k not in ("architectures", "model_type", "dtype")})
    again = getattr(transformers, config)(**kept).to_dict()
    assert again == whole


@pytest.mark.parametrize(
    "changes",
    [
        {"attn_logit_softcapping": 50.0}, {"sliding_window": 8}, {"logit_scale": 0.5}, {"num_experts": 8}, {"residual_multiplier": 0.2},
        {"quantization_config": {"bits": 4}}, {"qk_norm": True}, {"partial_rotary_factor": 0.5}, {"use_sliding_window": True},
        {"alibi": True}, {"head_dimension": 16},
    ],
)  # fmt: skip
def test_a_key_that_the_network_has_not_is_refused_by_name(changes: dict[str, Any], folder: Path) -> None:
    with pytest.raises(CheckpointError, match=f"config.json.*'{next(iter(changes))}' is not understood here"):
        load(change(folder, **changes))


def test_harmless_and_empty_keys_load(folder: Path) -> None:
    right = load(folder).logits(IDS)[0]
    told = {
        "torch_dtype": "float16", "transformers_version": "4.28.1", "use_cache": False, "sliding_window": None, "max_sequence_length": 2048,
        "pretraining_tp": 2, "resid_pdrop": 0.1, "auto_map": {"AutoModel": "x.Y"}, "_name_or_path": "a/b", "partial_rotary_factor": 1.0,
    }  # fmt: skip
    np.testing.assert_array_equal(load(change(folder, **told)).logits(IDS)[0], right)


def test_a_misspelt_number_of_the_callers_is_refused(folder: Path) -> None:
    with pytest.raises(CheckpointError, match="'num_hiden_layers' is not understood"):
        load(folder, config={"num_hiden_layers": 1})


@pytest.mark.parametrize("said", ["gemma", "granite", "cohere", "qwen3"])
def test_another_network_of_the_same_shapes_is_refused(said: str, folder: Path) -> None:
    with pytest.raises(CheckpointError, match=f"its model_type is '{said}'; the network of this row is llama"):
        load(change(folder, model_type=said))


@pytest.mark.parametrize(
    "rope",
    [
        {"type": "linear", "factor": 4.0}, {"rope_type": "dynamic", "factor": 2.0},
        {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64},
        {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 32},
    ],
)  # fmt: skip
def test_stretched_positions_are_transformers_own(rope: dict[str, Any], folder: Path) -> None:
    told = json.loads((folder / "config.json").read_text())
    del told["rope_parameters"]
    (folder / "config.json").write_text(json.dumps({**told, "rope_theta": 5000.0, "rope_scaling": rope}))
    theirs = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.inference_mode():
        expected = theirs(torch.tensor(IDS)).logits[0].numpy()
    np.testing.assert_allclose(load(folder).logits(IDS)[0], expected, atol=1e-5 * float(np.abs(expected).max()))


@pytest.mark.parametrize(
    ("rope", "says"),
    [
        ({"type": "hyper", "factor": 2.0}, "of type 'hyper'"), ({"type": "linear", "factor": 2.0, "alpha": 3.0}, "'alpha' is not understood"),
        ({"rope_type": "default", "partial_rotary_factor": 0.5}, "'partial_rotary_factor' is not understood"),
        ({"full_attention": {"rope_type": "default"}}, "is not one set of numbers"),
    ],
)  # fmt: skip
def test_an_unknown_way_of_stretching_is_refused(rope: dict[str, Any], says: str, folder: Path) -> None:
    with pytest.raises(CheckpointError, match=says):
        load(change(folder, rope_scaling=rope))


def test_frequencies_stay_exact_in_sixteen_bits(folder: Path) -> None:
    exact = load(folder).network.model.rotary_emb.inv_freq
    halved = load(folder, dtype="bfloat16").network
    assert halved.dtype == torch.bfloat16
    assert torch.equal(halved.model.rotary_emb.inv_freq, exact)


def test_params_json_of_llama_3_1_is_refused(tmp_path: Path) -> None:
    made = json.loads((pub.EXPECTED / "causal_internlm2.json").read_text())["config"]
    params = {"dim": made["hidden_size"], "n_layers": 2, "n_heads": 6, "norm_eps": 1e-5, "use_scaled_rope": True}
    with pytest.raises(CheckpointError, match=r"params\.json: 'use_scaled_rope'"):
        remap.meta_config(params, {})


# Adapters ---------------------------------------------------------------------------------------------------------------------


def adapter(folder: Path, **settings: Any) -> tuple[Path, np.ndarray]:
    """Write an adapter with peft itself, its matrices loud; return its folder and the logits that peft's model gives."""
    from peft import LoraConfig, get_peft_model

    base = pub.publish(folder / "base-of-it", pub.GROUPED, pub.byte_level_json, shards=1)
    inner = transformers.AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    torch.manual_seed(0)
    told = {"r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "v_proj"], "task_type": "CAUSAL_LM", **settings}
    tuned = get_peft_model(inner, LoraConfig(**told)).eval()
    for name, value in tuned.named_parameters():
        if value.requires_grad:
            value.data = value.data + 0.3 * torch.randn_like(value) * ("magnitude" not in name)
    tuned.save_pretrained(folder / "weights")
    (folder / "weights" / "base").symlink_to(base)
    with torch.inference_mode():
        return folder / "weights", tuned(torch.tensor(IDS)).logits[0].numpy()


@pytest.mark.parametrize(
    "settings",
    [
        {"use_rslora": True}, {"use_dora": True}, {"rank_pattern": {"q_proj": 2}, "alpha_pattern": {"v_proj": 32}},
        {"layers_to_transform": [1]}, {"modules_to_save": ["lm_head"]}, {"bias": "lora_only", "lora_bias": False},
        {"target_modules": "all-linear", "exclude_modules": ["o_proj"]},
    ],
)  # fmt: skip
def test_an_adapters_settings_are_pefts(settings: dict[str, Any], tmp_path: Path) -> None:
    weights, expected = adapter(tmp_path, **settings)
    np.testing.assert_allclose(
        load_model("bentsao", weights, device="cpu").logits(IDS)[0], expected, atol=1e-4 * float(np.abs(expected).max())
    )


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"alora_invocation_tokens": [5]}, "'alora_invocation_tokens' is not understood"), ({"use_qalora": True}, "'use_qalora' is not understood"),
        ({"something_new": 2}, "'something_new' is not understood"), ({"init_lora_weights": "pissa"}, "init_lora_weights is 'pissa'"),
        ({"arrow_config": {"top_k": 1}}, "'arrow_config' is not understood"),
    ],
)  # fmt: skip
def test_an_adapters_setting_that_is_not_followed_is_refused(
    changes: dict[str, Any], says: str, tmp_path: Path
) -> None:
    base = pub.publish(tmp_path / "base", pub.LLAMA, pub.byte_level_json, shards=1)
    weights = pub.publish_adapter(tmp_path / "adapter", base, "a base", ["q_proj"])
    with pytest.raises(CheckpointError, match=says):
        load_model("bentsao", change(weights, "adapter_config.json", **changes), device="cpu")


# Generation -------------------------------------------------------------------------------------------------------------------


def test_the_files_end_tokens_end_texts(folder: Path) -> None:
    change(
        folder, "generation_config.json", eos_token_id=[2, 300], transformers_version="4.40.0", _from_model_config=True
    )
    assert generation.end_ids(load(folder)) >= {2, 300}


@pytest.mark.parametrize("file", ["generation_config.json", "config.json"])
@pytest.mark.parametrize(
    ("key", "value"), [("suppress_tokens", [5]), ("no_repeat_ngram_size", 3), ("bad_words_ids", [[7]]), ("forced_bos_token_id", 9)]
)  # fmt: skip
def test_a_choice_of_tokens_that_is_not_made_stops_generating_only(
    file: str, key: str, value: Any, folder: Path
) -> None:
    model = load(change(folder, file, **{key: value}))
    assert model.score(["ACGT"], [["A", "C"]])[0].shape == (2,)
    with pytest.raises(CheckpointError, match=f"states {key}, which generate does not follow"):
        model.generate(["ACGT"], 3)


def test_wishes_that_the_card_decides_are_named(folder: Path) -> None:
    model = load(change(folder, "generation_config.json", temperature=0.6, do_sample=True, repetition_penalty=1.0))
    assert model.provenance["generation_notices"][0].endswith(
        "the call and the card decide: temperature 0.6, do_sample True"
    )
    assert isinstance(model.generate(["ACGT"], 3)[0], str)


# Tokenizers -------------------------------------------------------------------------------------------------------------------


def test_an_end_token_that_the_files_add_is_left_off_and_told(tmp_path: Path, few_pubmedqa: Path) -> None:
    plain = pub.publish(tmp_path / "plain", pub.LLAMA, pub.sentencepiece_model, shards=1)
    ended = pub.publish(tmp_path / "ended", pub.LLAMA, pub.sentencepiece_model, shards=1)
    change(ended, "tokenizer_config.json", add_eos_token=True)
    runs = [
        evaluate(
            "medalpaca",
            "pubmedqa",
            root=few_pubmedqa,
            weights=one,
            output=tmp_path / f"run-{one.name}",
            limit=4,
            device="cpu",
        )
        for one in (plain, ended)
    ]
    assert load_model("medalpaca", ended, device="cpu").tokenizer.encode("a")[-1] == 2  # type: ignore[attr-defined]
    assert runs[0].predictions["log_likelihoods"].to_pylist() == runs[1].predictions["log_likelihoods"].to_pylist()
    says = "the tokenizer ends every text with </s>; it was left off"
    assert says in json.dumps(runs[1].facts) and says not in json.dumps(runs[0].facts)
    assert says in html.unescape(runs[1].report().read_text(encoding="utf-8"))


def sentencepiece_folder(folder: Path, **flags: Any) -> transformers.PreTrainedTokenizerFast:
    pub.sentencepiece_model(folder)
    return sentencepiece_bpe.load(change(folder, "tokenizer_config.json", **flags) / "tokenizer.model")


def test_the_blank_before_a_text_is_as_the_files_say(tmp_path: Path) -> None:
    told = sentencepiece_folder(tmp_path, add_prefix_space=False)
    assert told.convert_ids_to_tokens(told.encode("the", add_special_tokens=False))[0][0] != "▁"
    plain = sentencepiece_folder(tmp_path, add_prefix_space=True)
    assert plain.convert_ids_to_tokens(plain.encode("the", add_special_tokens=False))[0][0] == "▁"


def test_what_follows_a_special_token_has_no_blank_where_legacy_is_off(tmp_path: Path) -> None:
    texts = ["</s>the patient", "the </s> patient", "a  b"]
    old, new = (sentencepiece_folder(tmp_path, legacy=value) for value in (True, False))
    assert old.convert_ids_to_tokens(old.encode(texts[0]))[2][0] == "▁"
    assert new.convert_ids_to_tokens(new.encode(texts[0]))[2][0] != "▁"
    assert old.encode(texts[2]) == new.encode(texts[2])


@pytest.mark.parametrize(
    "flags",
    [
        {"do_lower_case": True},
        {"sp_model_kwargs": {"enable_sampling": True}},
        {"new_flag": 1},
        {"split_special_tokens": True},
    ],
)
def test_a_tokenizers_flag_that_is_not_followed_is_refused(flags: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=rf"tokenizer_config\.json: '{next(iter(flags))}' is not understood"):
        sentencepiece_folder(tmp_path, **flags)


# Vision -----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"hidden_act": "quick_gelu"}, "'hidden_act' is not understood"), ({"model_type": "clip_vision_model"}, "its model_type is 'clip_vision_model'"),
        ({"qkv_bias": False}, "'qkv_bias' is not understood"), ({"something_new": 1}, "'something_new' is not understood"),
    ],
)  # fmt: skip
def test_a_vision_networks_key_is_not_passed_over(changes: dict[str, Any], says: str, tmp_path: Path) -> None:
    small = transformers.Dinov2Config(
        hidden_size=32, num_hidden_layers=1, num_attention_heads=2, image_size=32, patch_size=8
    )
    transformers.Dinov2Model(small).save_pretrained(tmp_path)
    rule = {"transform": {"resize": [32, 32], "mean": [0.5] * 3, "std": [0.5] * 3}}
    load_model("rad-dino", tmp_path, config=rule, device="cpu")
    with pytest.raises(CheckpointError, match=says):
        load_model("rad-dino", change(tmp_path, **changes), config=rule, device="cpu")


@pytest.mark.parametrize(
    "told", [{"act_layer": "torch.nn.SiLU"}, {"mlp_layer": "timm.layers.GluMlp"}, {"qk_norm": True}, {"new": 1}]
)
def test_timms_arguments_are_not_passed_over(told: dict[str, Any]) -> None:
    fine = {"embed_dim": 32, "init_values": 1e-5, "dynamic_img_size": True, "act_layer": "torch.nn.GELU"}
    assert vision.model_args(vit.ViTNumbers, {"model_args": fine}) == {"embed_dim": 32}
    with pytest.raises(CheckpointError, match=f"model_args: '{next(iter(told))} = "):
        vision.model_args(vit.ViTNumbers, {"model_args": told})
