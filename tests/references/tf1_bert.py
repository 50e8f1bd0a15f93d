"""Write a TensorFlow 1 BERT checkpoint and its outputs with an owner's own graph code.

    python tests/references/tf1_bert.py REPOSITORY SLUG      (in an environment with tensorflow_cpu==2.21.0, tf_keras==2.21.0)

REPOSITORY: dmis-lab/biobert at e283eaab (SLUG biobert) or ncbi-nlp/bluebert at f4b8af9d (SLUG bluebert). Their ``modeling.py`` and ``run_pretraining.py`` are imported as they are. Two things that TensorFlow 2 has dropped are put back: ``tf.layers.dense``
is its own Keras 2 layer, ``tf.contrib.layers.layer_norm`` is written here from its documentation (moments over the last axis, epsilon 1e-12).

Writes: for biobert a small checkpoint with optimiser slots, as pre-training leaves it, to ``tests/data/tf1_bert/``; the variables of the
full-size graphs to ``tests/data/manifests/SLUG.tf1_bert.json.gz``; outputs of the small graph to ``tests/data/expected/SLUG.tf1_bert.json``.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import sys
import types
from pathlib import Path
from typing import Any

os.environ["TF_USE_LEGACY_KERAS"] = "1"

import numpy as np
import tensorflow

sys.path.insert(0, str(Path(__file__).parent))
from bert_texts import vocabulary

DATA = Path(__file__).parent.parent / "data"
SMALL = {
    "vocab_size": len(vocabulary()), "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 32,
    "max_position_embeddings": 512, "type_vocab_size": 2, "hidden_act": "gelu", "initializer_range": 0.02,
    "hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1,
}  # fmt: skip
BASE = {**SMALL, "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072}  # fmt: skip
LARGE = {**BASE, "hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096}
FULL = {
    "biobert": {"base": {**BASE, "vocab_size": 28996}, "large-v1-1": {**LARGE, "vocab_size": 58996}},
    "bluebert": {"base": {**BASE, "vocab_size": 30522}, "large": {**LARGE, "vocab_size": 30522}},
}
IDS = [[2, 17, 99, 4, 5, 64, 31, 3], [2, 8, 4, 3, 0, 0, 0, 0]]
MASK = [[1] * 8, [1, 1, 1, 1, 0, 0, 0, 0]]


def layer_norm(inputs: Any, begin_norm_axis: int, begin_params_axis: int, scope: str | None) -> Any:
    """tf.contrib.layers.layer_norm over the last axis."""
    tf = tensorflow.compat.v1
    with tf.variable_scope(scope, default_name="LayerNorm"):
        size = inputs.shape[-1]
        beta = tf.get_variable("beta", [size], initializer=tf.zeros_initializer())
        gamma = tf.get_variable("gamma", [size], initializer=tf.ones_initializer())
        mean, variance = tf.nn.moments(inputs, [-1], keepdims=True)
        return tf.nn.batch_normalization(inputs, mean, variance, beta, gamma, 1e-12)


def import_owner(repository: Path) -> tuple[Any, Any]:
    """Import the owner's modeling.py and run_pretraining.py under TensorFlow 1 names."""
    v1 = tensorflow.compat.v1
    v1.disable_v2_behavior()
    old = types.ModuleType("tensorflow")
    old.__dict__.update({name: getattr(v1, name) for name in dir(v1)})
    old.contrib = types.SimpleNamespace(layers=types.SimpleNamespace(layer_norm=layer_norm))
    sys.modules["tensorflow"] = old
    sys.path[:0] = [str(repository), str(repository / "bert")]
    import modeling
    import run_pretraining

    return modeling, run_pretraining


def graph(modeling: Any, pretraining: Any, numbers: dict[str, Any], batch: int, length: int) -> dict[str, Any]:
    """Build the owner's pre-training graph; return its placeholders and outputs."""
    tf = tensorflow.compat.v1
    tf.reset_default_graph()
    config = modeling.BertConfig.from_dict(numbers)
    ids, mask = (tf.placeholder(tf.int32, [batch, length]) for _ in range(2))
    model = modeling.BertModel(
        config=config, is_training=False, input_ids=ids, input_mask=mask, use_one_hot_embeddings=False
    )
    positions = tf.constant([list(range(length))] * batch)
    labels = tf.zeros([batch, length], tf.int32)
    _, _, log_probs = pretraining.get_masked_lm_output(
        config, model.get_sequence_output(), model.get_embedding_table(), positions, labels, tf.ones([batch, length])
    )
    pretraining.get_next_sentence_output(config, model.get_pooled_output(), tf.zeros([batch, 1], tf.int32))
    return {
        "ids": ids, "mask": mask, "last_hidden_state": model.get_sequence_output(), "pooler_output": model.get_pooled_output(),
        "every_37th_log_prob": tf.reshape(log_probs, [batch, length, -1])[..., ::37],
    }  # fmt: skip


def recipe(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Values for a variable from its name alone (see recipe_weights.py; a kernel here is stored input first)."""
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")
    values = np.random.Generator(np.random.PCG64(seed)).standard_normal(shape, dtype=np.float32)
    if len(shape) == 2:
        return 0.5 * values if "embeddings" in name else values / np.float32(np.sqrt(shape[0]))
    return (1 if name.endswith("gamma") else 0) + np.float32(0.1) * values


def write_small(built: dict[str, Any], slug: str, source: str) -> None:
    """Give the small graph its weights, run it, and save it as pre-training does (biobert only)."""
    tf = tensorflow.compat.v1
    variables = tf.global_variables()
    values = {v.op.name: recipe(v.op.name, tuple(v.shape.as_list())) for v in variables}
    slots = [
        tf.get_variable(f"{v.op.name}/adam_{kind}", v.shape, initializer=tf.zeros_initializer(), trainable=False)
        for v in variables if "layer_0/attention/self/query" in v.op.name for kind in "mv"
    ]  # fmt: skip
    step = tf.Variable(10, trainable=False, name="global_step", dtype=tf.int64)
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        for variable in variables:
            variable.load(values[variable.op.name], session)
        outputs = {name: built[name] for name in ("last_hidden_state", "pooler_output", "every_37th_log_prob")}
        found = session.run(outputs, {built["ids"]: IDS, built["mask"]: MASK})
        if slug == "biobert":
            folder = DATA / "tf1_bert"
            folder.mkdir(exist_ok=True)
            tf.train.Saver([*variables, *slots, step]).save(
                session, str(folder / "model.ckpt"), global_step=10, write_meta_graph=False, write_state=False
            )
            (folder / "bert_config.json").write_text(json.dumps(SMALL, indent=1) + "\n")
            reader = tf.train.load_checkpoint(str(folder / "model.ckpt-10"))
            read = {
                name: {"shape": shape, "dtype": reader.get_tensor(name).dtype.name, "sha256": hashlib.sha256(np.ascontiguousarray(reader.get_tensor(name)).tobytes()).hexdigest()}
                for name, shape in reader.get_variable_to_shape_map().items()
            }  # fmt: skip
            (DATA / "expected" / "tf_checkpoint.json").write_text(
                json.dumps({"source": f"tf.train.load_checkpoint of tensorflow_cpu {tensorflow.__version__}", "tensors": read}, indent=1) + "\n"
            )  # fmt: skip
    expected = {"source": source, "config": SMALL, "input_ids": IDS, "attention_mask": MASK}
    expected |= {name: np.round(value.astype(np.float64), 6).tolist() for name, value in found.items()}
    (DATA / "expected" / f"{slug}.tf1_bert.json").write_text(json.dumps(expected) + "\n")


def main(repository: Path, slug: str) -> None:
    """Write the files named above."""
    modeling, pretraining = import_owner(repository)
    commits = {"biobert": "dmis-lab/biobert@e283eaab", "bluebert": "ncbi-nlp/bluebert@f4b8af9d bert"}
    source = f"github.com/{commits[slug]}/modeling.py and run_pretraining.py, tensorflow_cpu {tensorflow.__version__}"
    for folder in ("expected", "manifests"):
        (DATA / folder).mkdir(exist_ok=True)
    manifests = {}
    for variant, numbers in FULL[slug].items():
        graph(modeling, pretraining, numbers, 1, 8)
        manifests[variant] = {v.op.name: v.shape.as_list() for v in tensorflow.compat.v1.global_variables()}
    packed = json.dumps({"source": source, "variants": manifests}).encode()
    (DATA / "manifests" / f"{slug}.tf1_bert.json.gz").write_bytes(gzip.compress(packed, mtime=0))
    write_small(graph(modeling, pretraining, SMALL, len(IDS), len(IDS[0])), slug, source)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
