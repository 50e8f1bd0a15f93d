"""Every key of a GGUF header is used, known to be harmless, or refused by name."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
import transformers

from healthfm import CheckpointError, load_model
from healthfm.models.language import generation
from healthfm.models.language.causal_lm import CausalLM
from tests.models.files.test_gguf_llama import written
from tests.references.small_tokenizer import byte_level

PLAIN = {"rope_type": "default", "rope_theta": 10000.0}
TEXTS = ["Question: is aspirin given for pain?\nAnswer: yes", "the patient has a fever of 38.5"]
IDS = [[5, 60, 300, 41, 7, 9, 222, 17] * 12]
Header = Callable[[gguf.GGUFWriter], Any]


def network(rope: dict[str, Any], **more: Any) -> transformers.LlamaForCausalLM:
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=600, hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
        max_position_embeddings=512, tie_word_embeddings=False, rms_norm_eps=1e-6, rope_parameters=rope, **more,
    )  # fmt: skip
    made = transformers.LlamaForCausalLM(config).eval()
    for parameter in made.parameters():
        parameter.data *= 4
    return made


def write(
    path: Path, made: transformers.LlamaForCausalLM, header: Header = lambda w: None, factors: Any = None, pre: str = "gpt-2", kinds: dict[int, int] | None = None,
) -> Path:  # fmt: skip
    words = byte_level(TEXTS * 8)
    vocabulary = sorted(words.get_vocab(), key=words.get_vocab().__getitem__)
    vocabulary += [f"<unused{i}>" for i in range(600 - len(vocabulary))]
    w = gguf.GGUFWriter(path, "llama")
    w.add_block_count(2)
    w.add_context_length(512)
    w.add_embedding_length(64)
    w.add_feed_forward_length(96)
    w.add_head_count(4)
    w.add_head_count_kv(2)
    w.add_layer_norm_rms_eps(1e-6)
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre(pre)
    w.add_token_list(vocabulary)
    w.add_token_types([(kinds or {}).get(i, 3 if one == "</s>" else 1) for i, one in enumerate(vocabulary)])
    w.add_token_merges([" ".join(pair) for pair in merges(words)])
    w.add_eos_token_id(words.eos_token_id)
    header(w)
    if factors is not None:
        w.add_tensor("rope_freqs.weight", np.asarray(factors, np.float32))
    for name, value in made.state_dict().items():
        w.add_tensor(*written(name, value))
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
    return path


def merges(words: transformers.PreTrainedTokenizerFast) -> list[tuple[str, str]]:
    return [tuple(pair) for pair in json.loads(words.backend_tokenizer.to_str())["model"]["merges"]]


def load(path: Path) -> CausalLM:
    return load_model("medalpaca", path, device="cpu")  # type: ignore[return-value]


def assert_same_logits(path: Path, made: transformers.LlamaForCausalLM) -> None:
    with torch.inference_mode():
        theirs = made(torch.tensor(IDS)).logits[0].numpy()
        plain = network(PLAIN)(torch.tensor(IDS)).logits[0].numpy()
    ours = load(path).logits(IDS)[0]
    assert np.linalg.norm(ours - theirs) <= 1e-5 * np.linalg.norm(theirs)
    if made.config.rope_parameters != PLAIN:
        assert np.linalg.norm(ours - plain) > 0.05 * np.linalg.norm(plain)


def test_a_linear_factor_stretches_positions(tmp_path: Path) -> None:
    made = network({"rope_type": "linear", "rope_theta": 10000.0, "factor": 4.0})
    typed = write(
        tmp_path / "a.gguf",
        made,
        lambda w: (w.add_rope_scaling_type(gguf.RopeScalingType.LINEAR), w.add_rope_scaling_factor(4.0)),
    )
    assert_same_logits(typed, made)
    assert_same_logits(
        write(tmp_path / "b.gguf", made, lambda w: w.add_rope_scaling_factor(4.0)), made
    )  # llama.cpp's default type
    assert_same_logits(write(tmp_path / "c.gguf", made, lambda w: w.add_float32("llama.rope.scale_linear", 4.0)), made)


def test_yarn_is_transformers_own(tmp_path: Path) -> None:
    made = network({"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "original_max_position_embeddings": 128})

    def header(w: gguf.GGUFWriter) -> None:
        w.add_rope_scaling_type(gguf.RopeScalingType.YARN)
        w.add_rope_scaling_factor(4.0)
        w.add_rope_scaling_orig_ctx_len(128)

    assert_same_logits(write(tmp_path / "a.gguf", made, header), made)


def test_llama_3s_factors_divide_the_frequencies(tmp_path: Path) -> None:
    rope = {
        "rope_type": "llama3", "rope_theta": 10000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 64,
    }  # fmt: skip
    made = network(rope)
    plain = network(PLAIN).model.rotary_emb.inv_freq
    factors = (plain / made.model.rotary_emb.inv_freq).numpy()
    assert_same_logits(write(tmp_path / "a.gguf", made, factors=factors), made)
    with pytest.raises(CheckpointError, match=r"rope_freqs\.weight does not fit the heads"):
        load(write(tmp_path / "b.gguf", made, factors=factors[:-1]))


def test_heads_as_wide_as_the_header_says(tmp_path: Path) -> None:
    made = network(PLAIN, head_dim=32)
    assert_same_logits(write(tmp_path / "a.gguf", made, lambda w: (w.add_key_length(32), w.add_value_length(32))), made)


@pytest.mark.parametrize(
    ("header", "says"),
    [
        (lambda w: w.add_rope_scaling_type(gguf.RopeScalingType.LONGROPE), r"rope\.scaling\.type is 'longrope'"),
        (lambda w: w.add_expert_count(8), r"llama\.expert_count = 8"),
        (lambda w: w.add_sliding_window(128), r"llama\.attention\.sliding_window = 128"),
        (lambda w: w.add_attn_logit_softcapping(50.0), r"llama\.attn_logit_softcapping = 50"),
        (lambda w: w.add_final_logit_softcapping(30.0), r"llama\.final_logit_softcapping = 30"),
        (lambda w: w.add_logit_scale(0.25), r"llama\.logit_scale = 0\.25"),
        (lambda w: w.add_rope_dimension_count(8), r"llama\.rope\.dimension_count is 8, only 16 is read"),
        (lambda w: w.add_value_length(8), r"llama\.attention\.value_length is 8, only 16 is read"),
        (lambda w: w.add_vocab_size(599), r"llama\.vocab_size is 599, only 600 is read"),
        (lambda w: w.add_causal_attention(False), r"llama\.attention\.causal = False"),
        (lambda w: w.add_bool("llama.something.new", True), r"llama\.something\.new = True"),
        (lambda w: w.add_bool("tokenizer.ggml.something_new", True), r"tokenizer\.ggml\.something_new = True"),
        (lambda w: w.add_add_space_prefix(True), "is not read from GGUF"),
        (lambda w: w.add_add_bos_token(True), "shall have its bos token, but the header names none"),
    ],
)  # fmt: skip
def test_what_would_be_passed_over_is_refused_by_name(header: Header, says: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=says):
        load(write(tmp_path / "a.gguf", network(PLAIN), header))


def test_harmless_keys_load(tmp_path: Path) -> None:
    def header(w: gguf.GGUFWriter) -> None:
        w.add_name("small")
        w.add_file_type(0)
        w.add_expert_count(0)
        w.add_rope_scaling_type(gguf.RopeScalingType.NONE)
        w.add_rope_scaling_factor(4.0)

    assert_same_logits(write(tmp_path / "a.gguf", network(PLAIN), header), network(PLAIN))


def test_start_and_end_tokens_are_the_headers(tmp_path: Path) -> None:
    made = network(PLAIN)
    bare = load(write(tmp_path / "a.gguf", made))
    ids = bare.encode("the patient")
    first = load(write(tmp_path / "b.gguf", made, lambda w: (w.add_bos_token_id(7), w.add_add_bos_token(True))))
    assert first.encode("the patient") == [7, *ids]
    last = load(write(tmp_path / "c.gguf", made, lambda w: w.add_add_eos_token(True)))
    assert last.tokenizer.encode("the patient") == [*ids, last.tokenizer.eos_token_id]  # type: ignore[union-attr]
    assert last.encode("the patient") == ids
    assert "the tokenizer ends every text with </s>" in last.provenance["notices"][0]
    np.testing.assert_array_equal(
        last.score(["the"], [[" patient", " fever"]]), bare.score(["the"], [[" patient", " fever"]])
    )


def test_llama_3s_cut_opens_every_text_and_takes_whole_words(tmp_path: Path) -> None:
    """llama.cpp's rules for ``llama-bpe``: a start token where the header is silent, and a word of the vocabulary is never merged."""
    model = load(write(tmp_path / "a.gguf", network(PLAIN), lambda w: w.add_bos_token_id(7), pre="llama-bpe"))
    assert model.encode("the")[0] == 7
    silent = load(
        write(
            tmp_path / "b.gguf",
            network(PLAIN),
            lambda w: (w.add_bos_token_id(7), w.add_add_bos_token(False)),
            pre="llama-bpe",
        )
    )
    assert silent.encode("the") == model.encode("the")[1:]
    assert silent.tokenizer.backend_tokenizer.model.ignore_merges  # type: ignore[union-attr]


def test_tokens_of_the_users_own_are_never_cut(tmp_path: Path) -> None:
    model = load(write(tmp_path / "a.gguf", network(PLAIN), kinds={599: 4}))
    mark = model.tokenizer.convert_ids_to_tokens(599)  # type: ignore[union-attr]
    assert 599 in model.encode(f"the {mark} patient")


def test_ends_of_turns_end_texts(tmp_path: Path) -> None:
    model = load(write(tmp_path / "a.gguf", network(PLAIN), lambda w: w.add_eot_token_id(9)))
    assert 9 in generation.end_ids(model)
