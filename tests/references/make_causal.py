"""Make ``tests/data/expected/causal_*.json`` and ``tests/data/manifests/causal_*.json.gz`` from the reference implementations.

    python -m tests.references.make_causal internlm  FOLDER COMMIT   modeling_internlm.py, configuration_internlm.py
    python -m tests.references.make_causal internlm2 FOLDER COMMIT   modeling_internlm2.py, unchanged but for its place
    python -m tests.references.make_causal qwen      FOLDER COMMIT   modeling_qwen.py
    python -m tests.references.make_causal chatglm   FOLDER COMMIT   modeling_chatglm.py, whose vision tower is left out
    python -m tests.references.make_causal qwen_tokens FOLDER COMMIT tokenization_qwen.py, qwen.tiktoken (``causal_qwen_tokens.json``)

``FOLDER`` is a checkout of the repository named in ``SOURCES``. InternLM 2 and Qwen need einops beside the project's own
environment. Files that a reference imports and its copy lacks are stubbed here.
"""

from __future__ import annotations

import gzip
import hashlib
import importlib
import json
import sys
import types
from pathlib import Path
from typing import Any

import torch
import transformers

from tests.references.recipe_weights import fill

DATA = Path(__file__).parent.parent / "data"
SOURCES = {
    "internlm": "github.com/Pentahill/llm-example, a copy of the hub's internlm/internlm-chat-7b",
    "internlm2": "github.com/IntMeGroup/HarmonyIQA, a copy of InternVL2-8B's modeling_internlm2.py; the logits are its output layer on its model's last state",
    "chatglm": "github.com/XuRui314/GLM4v-Finetune, a copy of the hub's THUDM/glm-4v-9b with other masks for images; its text part is GLM-4-9B's",
    "qwen": "github.com/zhangningboo/Qwen-7B, a copy of the hub's Qwen/Qwen-7B",
}
TOKENS = [[1, 17, 42, 5, 99, 3, 64, 8, 23, 77, 11, 2], [1, 90, 4, 31]]
SMALL = {
    "internlm": {
        "vocab_size": 101, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
        "max_position_embeddings": 64, "rms_norm_eps": 1e-6, "bias": True,
    },
    "internlm2": {
        "vocab_size": 101, "hidden_size": 48, "intermediate_size": 56, "num_hidden_layers": 2, "num_attention_heads": 6,
        "num_key_value_heads": 2, "max_position_embeddings": 64, "rms_norm_eps": 1e-5, "rope_theta": 1000000.0, "bias": False,
    },
    "qwen": {
        "vocab_size": 101, "hidden_size": 32, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4,
        "kv_channels": 8, "max_position_embeddings": 64, "seq_length": 64, "layer_norm_epsilon": 1e-6, "rotary_emb_base": 10000,
    },
    "chatglm": {
        "padded_vocab_size": 101, "hidden_size": 48, "ffn_hidden_size": 56, "num_layers": 2, "num_attention_heads": 6, "kv_channels": 8,
        "multi_query_group_num": 2, "seq_length": 64, "layernorm_epsilon": 1.5625e-07, "rope_ratio": 500, "add_qkv_bias": True,
    },
}  # fmt: skip
FULL = {
    "chatglm:taiyi-2": {
        "padded_vocab_size": 151552, "hidden_size": 4096, "ffn_hidden_size": 13696, "num_layers": 40, "num_attention_heads": 32,
        "kv_channels": 128, "multi_query_group_num": 2, "seq_length": 131072, "layernorm_epsilon": 1.5625e-07, "rope_ratio": 500,
    },
    "internlm2:mmedlm-2-7b": {
        "vocab_size": 92544, "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32,
        "num_attention_heads": 32, "num_key_value_heads": 8,
    },
    "internlm2:mmedlm-2-1-8b": {
        "vocab_size": 92544, "hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 24,
        "num_attention_heads": 16, "num_key_value_heads": 8,
    },
    "qwen:taiyi-1": {
        "vocab_size": 151936, "hidden_size": 4096, "intermediate_size": 22016, "num_hidden_layers": 32,
        "num_attention_heads": 32, "kv_channels": 128, "seq_length": 8192,
    },
}  # fmt: skip


def module(name: str, folder: Path) -> types.ModuleType:
    """Import the reference's modelling file as a package of its own, with what newer transformers lack put back."""
    transformers.PreTrainedModel.get_head_mask = lambda self, mask, layers, *_: [None] * layers
    package = types.ModuleType("reference")
    package.__path__ = [str(folder)]
    sys.modules["reference"] = package
    sys.path.insert(0, str(folder))
    if name == "internlm2" and not (folder / "configuration_internlm2.py").is_file():
        stub = types.ModuleType("reference.configuration_internlm2")
        stub.InternLM2Config = transformers.PreTrainedConfig
        sys.modules["reference.configuration_internlm2"] = stub
    if name == "chatglm":
        for lacked, holds in (("configuration_chatglm", "ChatGLMConfig"), ("visual", "EVA2CLIPModel")):
            stub = types.ModuleType(f"reference.{lacked}")
            setattr(stub, holds, transformers.PreTrainedConfig if holds == "ChatGLMConfig" else lambda _: None)
            sys.modules[f"reference.{lacked}"] = stub
    return importlib.import_module(f"reference.modeling_{name}")


def internlm2_config(numbers: dict[str, Any]) -> transformers.PreTrainedConfig:
    """The hub's configuration class is not part of the copy: its defaults that the modelling file reads."""
    config = transformers.PreTrainedConfig()
    defaults = {
        "hidden_act": "silu", "initializer_range": 0.02, "rope_scaling": None, "attn_implementation": "eager", "pad_token_id": 2,
        "pretraining_tp": 1, "rope_theta": 10000.0, "rms_norm_eps": 1e-5, "max_position_embeddings": 2048, "bias": False, "use_cache": False,
    }  # fmt: skip
    for key, value in {**defaults, **numbers}.items():
        setattr(config, key, value)
    return config


def chatglm_config(numbers: dict[str, Any]) -> transformers.PreTrainedConfig:
    """As ``internlm2_config``: what GLM-4's configurations on the hub state and its modelling file reads."""
    config = transformers.PreTrainedConfig()
    defaults = {
        "hidden_dropout": 0.0, "attention_dropout": 0.0, "apply_residual_connection_post_layernorm": False, "post_layer_norm": True,
        "add_bias_linear": False, "add_qkv_bias": True, "bias_dropout_fusion": True, "multi_query_attention": True, "rmsnorm": True,
        "apply_query_key_layer_scaling": True, "attention_softmax_in_fp32": True, "fp32_residual_connection": False,
        "pre_seq_len": None, "prefix_projection": False, "original_rope": True, "torch_dtype": torch.float32, "use_cache": False,
        "max_length": 20, "num_hidden_layers": numbers["num_layers"],
    }  # fmt: skip
    for key, value in {**defaults, **numbers}.items():
        setattr(config, key, value)
    return config


def build(name: str, source: types.ModuleType, numbers: dict[str, Any]) -> torch.nn.Module:
    """Build the reference network."""
    if name == "qwen":
        config = source.QWenConfig(**numbers, no_bias=True, use_flash_attn=False, bf16=False, fp16=False, fp32=True)
        return source.QWenLMHeadModel(config)
    if name == "internlm":
        return source.InternLMForCausalLM(source.InternLMConfig(**numbers))
    if name == "chatglm":
        return source.ChatGLMForConditionalGeneration(chatglm_config(numbers), empty_init=False)
    network = source.InternLM2ForCausalLM(internlm2_config(numbers))
    del network.mlpfinal  # the copy's own addition
    return network


@torch.inference_mode()
def logits(name: str, network: torch.nn.Module, ids: list[int]) -> list[list[float]]:
    """Return the reference's logits."""
    tokens = torch.tensor([ids])
    if name == "internlm2":
        found = network.output(network.model(input_ids=tokens, use_cache=False)[0])
    elif name == "chatglm":
        found = network.transformer.output_layer(
            network.transformer(input_ids=tokens, use_cache=False, return_dict=True)[0]
        )
    else:
        found = network(input_ids=tokens, use_cache=False)[0]
    return found[0].float().tolist()


def qwen_tokens(folder: Path, commit: str) -> None:
    """Write the digest of the ids that the owner's tokenizer gives the tests' texts, and of its ranks."""
    from tests.models.files.test_tiktoken_bpe import EXPECTED, SPECIAL, sample

    base = transformers.PreTrainedTokenizer
    transformers.PreTrainedTokenizer = type("PreTrainedTokenizer", (), {"__init__": lambda self, **_: None})
    sys.path.insert(0, str(folder))
    theirs = importlib.import_module("tokenization_qwen").QWenTokenizer(str(folder / "qwen.tiktoken"))
    transformers.PreTrainedTokenizer = base
    ids = [theirs.convert_tokens_to_ids(theirs.tokenize(text)) for text in sample() + SPECIAL]
    made = {
        "source": SOURCES["qwen"] + " (tokenization_qwen.py)", "commit": commit, "texts": len(ids),
        "ranks": hashlib.sha256((folder / "qwen.tiktoken").read_bytes()).hexdigest(),
        "ids": hashlib.sha256(json.dumps(ids).encode()).hexdigest(),
    }  # fmt: skip
    EXPECTED.write_text(json.dumps(made) + "\n", encoding="utf-8")


def main(name: str, folder: Path, commit: str) -> None:
    """Write what one reference says."""
    source = module(name, folder)
    torch.manual_seed(0)
    network = build(name, source, SMALL[name]).float().eval()
    network.load_state_dict(fill(network.state_dict()))
    keys = {key: list(value.shape) for key, value in network.state_dict().items()}
    facts = {
        "source": SOURCES[name],
        "commit": commit,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }
    expected = {**facts, "config": SMALL[name], "keys": keys, "tokens": TOKENS, "logits": [[[round(x, 7) for x in row] for row in logits(name, network, ids)] for ids in TOKENS]}  # fmt: skip
    (DATA / "expected").mkdir(parents=True, exist_ok=True)
    (DATA / "expected" / f"causal_{name}.json").write_text(json.dumps(expected) + "\n", encoding="utf-8")
    for full, numbers in FULL.items():
        if not full.startswith(name + ":"):
            continue
        with torch.device("meta"):
            large = build(name, source, numbers)
        manifest = {
            **facts,
            "config": numbers,
            "keys": {key: list(value.shape) for key, value in large.state_dict().items()},
        }
        index = folder / "model.safetensors.index.json"
        if index.is_file():
            manifest["index"] = sorted(json.loads(index.read_text(encoding="utf-8"))["weight_map"])
        path = DATA / "manifests" / f"causal_{full.partition(':')[2]}.json.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress(json.dumps(manifest).encode(), mtime=0))


if __name__ == "__main__":
    if sys.argv[1] == "qwen_tokens":
        qwen_tokens(Path(sys.argv[2]), sys.argv[3])
    else:
        main(sys.argv[1], Path(sys.argv[2]), sys.argv[3])
