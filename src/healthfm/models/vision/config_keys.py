"""What the keys of a vision network's ``config.json`` mean: data, and the check that none is passed over."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from healthfm.errors import CheckpointError
from healthfm.models.files.known_keys import HARMLESS, HELD
from healthfm.models.files.stated import refuse_strange

VITS = (
    "vit",
    "vit_mae",
    "dinov2",
    "dinov2_with_registers",
    "dinov3_vit",
)  # transformers' networks that the towers here are
BACKBONE, SHAPES = "which layers transformers returns", "the tensors' shapes show it"
TRANSFORMERS: dict[str, str] = {  # keys of transformers' that change no number, beside those of every network
    **dict.fromkeys(("out_features", "out_indices", "stage_names", "apply_layernorm", "reshape_hidden_states", "pooler_output_size", "pooler_act"), BACKBONE),
    **dict.fromkeys(("layerscale_value", "intermediate_size", "encoder_stride", "use_mask_token", "chunk_size_feed_forward", "is_encoder_decoder"), SHAPES),
    **dict.fromkeys(("pos_embed_shift", "pos_embed_jitter", "pos_embed_rescale", "mask_ratio", "norm_pix_loss"), "acts in training only"),
    **dict.fromkeys(
        ("decoder_hidden_size", "decoder_num_hidden_layers", "decoder_num_attention_heads", "decoder_intermediate_size"), "of MAE's decoder, which is left out"
    ),
}  # fmt: skip
SAME: dict[str, tuple[Any, ...]] = {  # the values that the towers have
    "hidden_act": ("gelu", "silu"), "qkv_bias": (True,), "query_bias": (True,), "key_bias": (True, False), "value_bias": (True,),
    "proj_bias": (True,), "mlp_bias": (True,), "num_channels": (3,), "rope_theta": (100.0,), "use_swiglu_ffn": (True, False),
    "use_gated_mlp": (True, False),
}  # fmt: skip
TIMM = (  # model_args of timm that change no number
    "init_values", "dynamic_img_size", "dynamic_img_pad", "global_pool", "pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "features_only", "checkpoint_path",
    "img_size", "num_classes", "class_token", "patch_size", "strict_img_size", "scriptable", "exportable", "cache_dir",
)  # fmt: skip
TIMM_SAME: dict[str, tuple[Any, ...]] = {
    "in_chans": (3,), "qkv_bias": (True,), "qk_norm": (False,), "pre_norm": (False,), "final_norm": (True,), "patch_norm": (True,), "ape": (False,),
    "proj_bias": (True,),
}  # fmt: skip
PLAIN, GATED = ("mlp", "gelu"), ("swiglupacked", "silu")  # what mlp_layer and act_layer of timm's may name


def check_transformers(config: Mapping[str, Any], used: Iterable[str]) -> None:
    """Raise ``CheckpointError``: a configuration of transformers' for another network, or a key that would be passed over."""
    if config.get("model_type", "vit") not in VITS:
        raise CheckpointError(f"config.json: its model_type is '{config['model_type']}'; {', '.join(VITS)} are read")
    known = {*used, "model_type", *HARMLESS, *TRANSFORMERS}

    def fine(key: str, value: Any) -> bool:
        return (
            key in known
            or value is None
            or "drop" in key
            or value in SAME.get(key, ())
            or (key in HELD and value == HELD[key])
        )

    gated = bool(config.get("use_swiglu_ffn") or config.get("use_gated_mlp"))
    strange = [key for key, value in config.items() if not fine(key, value)]
    if config.get("hidden_act") == "silu" and not gated:
        strange.append("hidden_act")
    refuse_strange("config.json", strange)


def check_timm(config: Mapping[str, Any], used: Collection[str]) -> None:
    """Raise ``CheckpointError`` that names a ``model_args`` of timm's which would be passed over.

    A gated layer shows in its tensors: fc1 is as wide as two.
    """
    gated = "SwiGLU" in str(config.get("model_args", {}).get("mlp_layer"))

    def fine(key: str, value: Any) -> bool:
        if key in ("mlp_layer", "act_layer"):
            return str(value).rpartition(".")[2].lower() in (GATED if gated else PLAIN)
        return key in used or key in TIMM or value is None or "drop" in key or value in TIMM_SAME.get(key, ())

    refuse_strange(
        "config.json, model_args",
        [f"{key} = {value}" for key, value in config.get("model_args", {}).items() if not fine(key, value)],
    )
