"""What the keys of published configuration files mean to the code that reads them: data for ``stated``.

``HARMLESS``: keys that change no number of ours, with the reason. ``HELD``: keys whose other values the networks here cannot
honour, with the one value that they have. Everything else must be a number of the network, or is refused.
"""

from __future__ import annotations

from typing import Any

FILE = "says how the file was made, not what the network computes"
CODE = "code and classes are never taken from a file"
PRECISION = "the number format is healthfm's: float32 on the CPU, the card's on a GPU"
TRAINING = "acts in training only"
OUTPUT = "what a call of transformers returns"
KERNEL = "how the same numbers are computed"
HEAD = "names of a head's classes, which the tensors show"

HARMLESS: dict[str, str] = {
    "architectures": CODE, "auto_map": CODE, "tokenizer_class": CODE, "feature_extractor_type": CODE, "custom_pipelines": CODE,
    "_name_or_path": FILE, "name_or_path": FILE, "transformers_version": FILE, "_commit_hash": FILE, "model_name": FILE,
    "unsloth_version": FILE, "unsloth_fixed": FILE, "_diffusers_version": FILE,
    "model_max_length": "the tokenizer's own", "max_sequence_length": "LLaMA's first conversion: max_position_embeddings decides",
    "torch_dtype": PRECISION, "dtype": PRECISION, "use_bfloat16": PRECISION, "fp16": PRECISION, "bf16": PRECISION,
    "fp32": PRECISION, "params_dtype": PRECISION, "softmax_in_fp32": PRECISION, "attention_softmax_in_fp32": PRECISION,
    "apply_query_key_layer_scaling": PRECISION, "fp32_residual_connection": PRECISION,
    "masked_softmax_fusion": KERNEL, "bias_dropout_fusion": KERNEL, "attn_implementation": KERNEL,
    "_attn_implementation": KERNEL, "_attn_implementation_autoset": KERNEL, "_attn_implementation_internal": KERNEL,
    "_experts_implementation_internal": KERNEL, "_flash_attn_2_enabled": KERNEL, "use_flash_attn": KERNEL,
    "use_cache_kernel": KERNEL, "use_cache": KERNEL, "pretraining_tp": KERNEL, "slow_but_exact": KERNEL, "onnx_safe": KERNEL,
    "torchscript": KERNEL, "skip_bias_add": KERNEL, "skip_bias_add_qkv": KERNEL, "unk_token_id": "the tokenizer's own",
    "initializer_range": TRAINING, "initializer_factor": TRAINING, "gradient_checkpointing": TRAINING, "label_smoothing": TRAINING,
    "seed": TRAINING, "tf_legacy_loss": TRAINING, "keys_to_ignore_at_inference": TRAINING, "rescale_layers": TRAINING,
    "router_aux_loss_coef": TRAINING, "output_past": OUTPUT, "output_attentions": OUTPUT, "output_hidden_states": OUTPUT,
    "return_dict": OUTPUT, "task_specific_params": "settings of pipelines, which healthfm has not", "prefix": "settings of pipelines, which healthfm has not",
    "id2label": HEAD, "label2id": HEAD, "_num_labels": HEAD, "num_labels": HEAD, "finetuning_task": HEAD, "problem_type": HEAD,
    "xla_device": FILE, "n_ctx": "GPT-2's old word: n_positions decides", "eos_token_ids": "of transformers 2: eos_token_id decides",
    "sep_token_id": "the tokenizer's own", "cls_token_id": "the tokenizer's own", "mask_token_id": "the tokenizer's own",
    "pooler_fc_size": "BERT's pooler is one layer of the hidden size", "pooler_num_attention_heads": "BERT's pooler has no attention",
    "pooler_num_fc_layers": "BERT's pooler is one layer of the hidden size", "pooler_size_per_head": "BERT's pooler has no attention",
    "directionality": "BERT reads both ways",
    "use_dynamic_ntk": "Qwen's positions change only beyond seq_length, where texts are refused",
    "use_logn_attn": "Qwen's attention changes only beyond seq_length, where texts are refused",
    "use_cache_quantization": KERNEL, "max_window_layers": "of no layer here, as no window is used",
}  # fmt: skip

HELD: dict[str, Any] = {
    "position_embedding_type": "absolute", "pooler_type": "first_token_transform", "pruned_heads": {}, "is_causal": True,
    "tie_encoder_decoder": False, "cross_attention_hidden_size": None,
    "no_bias": True, "rotary_pct": 1.0, "scale_attn_weights": True, "rmsnorm": True, "post_layer_norm": True,
    "multi_query_attention": True, "add_bias_linear": False, "apply_residual_connection_post_layernorm": False,
    "original_rope": True, "interleaved_qkv": False, "prefix_projection": False, "pre_seq_len": None, "quantization_bit": 0,
    "attention_bias": False, "mlp_bias": False, "use_sliding_window": False, "partial_rotary_factor": 1.0, "is_decoder": True,
    "add_cross_attention": False, "offset_alibi": 100,
}  # fmt: skip

MODEL_TYPES: dict[str, tuple[str, ...]] = {  # a network's own name in ``config.json``, and its owners' that hold the same network
    "llama": ("llama", "internlm", "internlm2", "mistral"), "mistral": ("mistral",), "bloom": ("bloom",), "biogpt": ("biogpt",),
    "qwen2": ("qwen2", "qwen"), "glm": ("glm", "chatglm"), "gpt2": ("gpt2",), "phi": ("phi",), "t5": ("t5",), "bert": ("bert",),
}  # fmt: skip

ROPE: dict[str, tuple[str, ...]] = {  # the numbers of each way of stretching rotary positions
    "default": (), "linear": ("factor",), "dynamic": ("factor", "original_max_position_embeddings"),
    "yarn": (
        "factor", "original_max_position_embeddings", "attention_factor", "beta_fast", "beta_slow", "mscale", "mscale_all_dim",
        "truncate",
    ),
    "llama3": ("factor", "original_max_position_embeddings", "low_freq_factor", "high_freq_factor"),
    "longrope": ("factor", "original_max_position_embeddings", "attention_factor", "short_factor", "long_factor"),
}  # fmt: skip
OWNERS: dict[str, set[str]] = {  # numbers that a class of transformers' takes beside its declared fields, or that are ours
    "T5Config": {"tie_word_embeddings", "dense_act_fn", "is_gated_act", "max_position_embeddings", "scale_decoder_outputs"},
    "BloomConfig": {"seq_length", "n_embed"},
}  # fmt: skip
PARTLY_ROTARY = ("GlmConfig", "PhiConfig")  # networks that turn a part of each head, as ``partial_rotary_factor`` says

# generation_config.json ----------------------------------------------------------------------------------------------------

HONOURED = ("eos_token_id", "bos_token_id", "pad_token_id", "decoder_start_token_id")
DECIDED = (  # the caller and the card's prompts decide how text is drawn or searched; a file's wishes are named in a notice
    "do_sample", "temperature", "top_k", "top_p", "min_p", "typical_p", "top_h", "epsilon_cutoff", "eta_cutoff", "max_length", "max_new_tokens",
    "min_length", "min_new_tokens", "num_beams", "early_stopping", "length_penalty", "repetition_penalty", "num_return_sequences",
    "max_time", "stop_strings", "num_beam_groups", "diversity_penalty", "penalty_alpha", "use_mtp",
)  # fmt: skip
BESIDE: dict[str, str] = {
    **dict.fromkeys(("_from_model_config", "transformers_version", "chat_format", "max_window_size", "user_token_id", "assistant_token_id"), FILE),
    **dict.fromkeys(("output_scores", "output_logits", "return_dict_in_generate", "output_attentions", "output_hidden_states"), OUTPUT),
    **dict.fromkeys(
        (
            "use_cache", "cache_implementation", "cache_config", "max_cache_len", "return_legacy_cache", "compile_config", "disable_compile",
            "low_memory", "prefill_chunk_size", "continuous_batching_config", "renormalize_logits", "is_assistant", "num_assistant_tokens",
            "num_assistant_tokens_schedule", "assistant_confidence_threshold", "prompt_lookup_num_tokens", "max_matching_ngram_size",
            "assistant_early_exit", "assistant_lookbehind", "target_lookbehind", "assistant_ensemble_weight", "speculation_type",
        ),
        KERNEL,
    ),
}  # fmt: skip
