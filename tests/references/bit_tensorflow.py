"""Write a small TensorFlow SavedModel of Big Transfer's ResNet, its outputs, the variables of the full-size ones, and REMEDIS's pixels.

    python tests/references/bit_tensorflow.py BIG_TRANSFER REMEDIS     (in an environment with tensorflow_cpu==2.21.0, tf_keras==2.21.0)

BIG_TRANSFER: google-research/big_transfer at 140de6e (``bit_tf2/models.py``). REMEDIS: google-research/medical-ai-research-foundations at
ca00382 (``data_util.py``). As REMEDIS's SavedModels do, the one written maps pixels to the last map; it is saved by TensorFlow 1's way, loaded and
saved by TensorFlow 2's. Only its ``variables`` are kept.
"""

from __future__ import annotations

import gzip
import hashlib
import importlib.util
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

os.environ["TF_USE_LEGACY_KERAS"] = "1"

import numpy as np
import tensorflow as tf

HERE = Path(__file__).parent
DATA = HERE.parent / "data"
sys.path.insert(0, str(HERE))
from recipe_weights import recipe_array, recipe_image  # noqa: E402
from vision_pictures import PICTURES, picture, values  # noqa: E402

BIG_TRANSFER, REMEDIS = (Path(one) for one in sys.argv[1:3])
sys.path.insert(0, str(BIG_TRANSFER))
from bit_tf2 import models  # noqa: E402


class Operation:
    """What a convolution layer runs, until its owner puts another in its place."""

    def __get__(self, layer: Any, _: Any) -> Any:
        return lambda inputs, kernel: ORIGINAL(layer, inputs, kernel)


ORIGINAL = tf.keras.layers.Conv2D.convolution_op
tf.keras.layers.Conv2D._convolution_op = Operation()  # an attribute until TensorFlow 2.6, which the owners replace
tf.keras.layers.Conv2D.convolution_op = lambda layer, inputs, kernel: layer._convolution_op(inputs, kernel)

SOURCE = "google-research/big_transfer at 140de6e, bit_tf2/models.py on TensorFlow 2.21.0"


def numbers(array: Any) -> list[float]:
    flat = np.asarray(array, np.float64).ravel()
    return np.round(flat[:: 1 + flat.size // 600], 7).tolist()


def network(units: tuple[int, ...], factor: int) -> tuple[Any, Any]:
    """Build the owner's network in the current graph, where variables get their full names; return pixels and the last map."""
    found = models.ResnetV2(
        num_units=units, num_outputs=None, filters_factor=factor, strides=(1, 2, 2, 2)[: len(units)], name="resnet"
    )
    pixels = tf.compat.v1.placeholder(tf.float32, (None, None, None, 3))
    found(tf.compat.v1.placeholder(tf.float32, (None, 64, 64, 3)))
    x = found._root(pixels)
    for block in found._blocks:
        x = block(x)
    for layer in found._pre_head[:2]:
        x = layer(x)
    return pixels, x


def variables() -> dict[str, list[int]]:
    return {v.op.name: v.shape.as_list() for v in tf.compat.v1.global_variables()}


def write_network() -> None:
    v1 = tf.compat.v1
    pixels = np.stack([recipe_image(f"network {i}", 64, 80) for i in range(2)]).astype(np.float32) / 127.5 - 1
    with tempfile.TemporaryDirectory() as folder:
        with tf.Graph().as_default(), v1.Session() as session:
            given, made = network((1, 1), 2)
            for v in v1.global_variables():
                v.load(recipe_array(v.op.name, tuple(v.shape)), session)
            grid, shapes = session.run(made, {given: pixels}), variables()
            v1.saved_model.simple_save(session, f"{folder}/first", {"pixels": given}, {"map": made})
        tf.saved_model.save(tf.saved_model.load(f"{folder}/first"), f"{folder}/second")  # now it has an object graph
        shutil.rmtree(DATA / "bit_savedmodel", ignore_errors=True)
        shutil.copytree(Path(folder) / "second" / "variables", DATA / "bit_savedmodel" / "variables")
    content = {
        "source": SOURCE, "config": {"depths": [1, 1], "base": 32, "width": 1, "stages": 2, "minus_one_to_one": False}, "shapes": shapes,
        "runs": [{"size": [64, 80], "tokens": numbers(grid), "pooled": numbers(grid.mean((1, 2)))}],
    }  # fmt: skip
    (DATA / "expected" / "remedis.vision.json").write_text(json.dumps(content) + "\n")
    full = {}
    for name, units, factor in (("50x1", (3, 4, 6, 3), 4), ("152x2", (3, 8, 36, 3), 8)):
        with tf.Graph().as_default():
            network(units, factor)
            full[name] = variables()
    packed = gzip.compress((json.dumps({"source": SOURCE, "variants": full}) + "\n").encode(), mtime=0)
    (DATA / "manifests" / "remedis.vision.json.gz").write_bytes(packed)


def write_pixels() -> None:
    """Run the owners' evaluation transform on the pictures of ``vision_pictures.py``."""
    spec = importlib.util.spec_from_file_location("data_util", REMEDIS / "data_util.py")
    assert spec is not None and spec.loader is not None
    owner = importlib.util.module_from_spec(spec)
    flags = __import__("unittest.mock", fromlist=["MagicMock"]).MagicMock()
    sys.modules.update(dict.fromkeys(("absl", "absl.flags", "tensorflow_addons", "tensorflow_addons.image"), flags))
    spec.loader.exec_module(owner)
    owner.CROP_PROPORTION = 0.875  # missing there; their notebook sets it
    for name, side in (("remedis-448", 448), ("remedis-224", 224)):
        rows = []
        for one in PICTURES:
            pixels = owner.preprocess_image(
                tf.constant(np.asarray(picture(one).convert("RGB"))), side, side, is_training=False, color_distort=False
            )
            rows.append(values(pixels.numpy().transpose(2, 0, 1)))
        (DATA / "expected" / f"{name}.pixels.json").write_text(json.dumps({"source": "google-research/medical-ai-research-foundations at ca00382, data_util.preprocess_image on TensorFlow 2.21.0", "pictures": rows}) + "\n")  # fmt: skip


if __name__ == "__main__":
    write_network()
    write_pixels()
    print(hashlib.sha256((DATA / "expected" / "remedis.vision.json").read_bytes()).hexdigest()[:12])
