"""What the keys of a GGUF header mean to ``gguf_llama``: data. A key that is neither used nor listed here is refused by name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from healthfm.models.files.stated import refuse_strange

USED = frozenset((
    "llama.vocab_size", "llama.context_length", "llama.embedding_length", "llama.block_count", "llama.feed_forward_length",
    "llama.attention.head_count", "llama.attention.head_count_kv", "llama.attention.key_length", "llama.attention.value_length",
    "llama.attention.layer_norm_rms_epsilon", "llama.rope.dimension_count", "llama.rope.freq_base", "llama.rope.scale_linear",
    "llama.rope.scaling.type", "llama.rope.scaling.factor", "llama.rope.scaling.original_context_length",
    "llama.rope.scaling.yarn_beta_fast", "llama.rope.scaling.yarn_beta_slow",
    *(f"tokenizer.ggml.{name}" for name in (
        "model", "pre", "tokens", "token_type", "scores", "merges", "add_bos_token", "add_eos_token", "add_space_prefix",
        "bos_token_id", "eos_token_id", "eot_token_id", "eom_token_id", "unknown_token_id", "padding_token_id",
    )),
    "tokenizer.chat_template",
))  # fmt: skip
HARMLESS = (  # beginnings of keys that change no number
    "GGUF.", "general.", "quantize.imatrix.",  # how the file was made
    "llama.rope.scaling.finetuned",  # says of the weights what the other numbers of the scaling do with them
    "llama.pooling_type",  # of embeddings, which these rows do not make
    "tokenizer.chat_template.", "tokenizer.chat_templates",  # further templates, by name; the plain one is used
    "tokenizer.huggingface.json",  # a copy of what the vocabulary here says
    "tokenizer.ggml.token_type_count", "tokenizer.ggml.fim_", "tokenizer.ggml.prefix_token_id", "tokenizer.ggml.suffix_token_id",
    "tokenizer.ggml.middle_token_id", "tokenizer.ggml.mask_token_id", "tokenizer.ggml.seperator_token_id", "tokenizer.ggml.cls_token_id",
    "split.no", "split.tensors.count",
)  # fmt: skip
HELD: dict[str, tuple[Any, ...]] = {  # the values that say what a Llama does anyhow
    "llama.expert_count": (0,), "llama.expert_used_count": (0,), "llama.attention.sliding_window": (0,),
    "llama.attention.causal": (True,), "llama.attention.clamp_kqv": (0,), "llama.attention.max_alibi_bias": (0,),
    "llama.attention.scale": (0,), "llama.attn_logit_softcapping": (0,), "llama.final_logit_softcapping": (0,),
    "llama.logit_scale": (0, 1), "llama.residual_scale": (0, 1), "llama.embedding_scale": (0, 1),
    "llama.use_parallel_residual": (False,), "llama.tensor_data_layout": ("Meta AI original pth",),
    "llama.rope.scaling.attn_factor": (1,), "llama.rope.scaling.yarn_attn_factor": (1,), "llama.rope.scaling.yarn_ext_factor": (1, -1),
    "llama.rope.scaling.yarn_log_multiplier": (0,), "tokenizer.ggml.add_sep_token": (False,),
    "tokenizer.ggml.remove_extra_whitespaces": (False,), "tokenizer.ggml.precompiled_charsmap": ([],), "split.count": (0, 1),
}  # fmt: skip


def check(path: Path, header: Mapping[str, Any]) -> None:
    """Raise ``CheckpointError`` that names the keys of a header which could change the network or its tokens and are not used."""

    def fine(key: str, value: Any) -> bool:
        return key in USED or key.startswith(HARMLESS) or any(value == one for one in HELD.get(key, ()))

    refuse_strange(str(path), [f"{k} = {v}"[:80] for k, v in header.items() if not fine(k, v)])
