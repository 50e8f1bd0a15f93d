"""Variables of SavedModels and npz archives come back under their names; damaged ones are refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from healthfm import CheckpointError
from healthfm.formats import tf_variables
from tests.references.recipe_weights import recipe_array

DATA = Path(__file__).parent.parent / "data"


def test_a_savedmodels_variables_have_the_names_of_its_graph() -> None:
    found = tf_variables.saved_model(DATA / "bit_savedmodel")
    assert len(found) == 23 and "resnet/block1/unit01/a/proj/standardized_conv2d/kernel" in found
    for name, value in found.items():
        assert np.array_equal(value, recipe_array(name, value.shape))


def test_one_exported_from_tensorflow_1_has_its_tensors_under_their_names(tmp_path: Path) -> None:
    (tmp_path / "variables").mkdir()
    for path in (DATA / "tf1_bert").glob("model.ckpt-10.*"):
        shutil.copy(path, tmp_path / "variables" / path.name.replace("model.ckpt-10", "variables"))
    assert "bert/embeddings/word_embeddings" in tf_variables.saved_model(tmp_path)


def test_a_damaged_graph_or_a_missing_shard_is_named(tmp_path: Path) -> None:
    shutil.copytree(DATA / "bit_savedmodel", tmp_path / "a")
    shard = tmp_path / "a" / "variables" / "variables.data-00000-of-00001"
    data = bytearray(shard.read_bytes())
    graph = data.find(b"VARIABLE_VALUE")
    data[graph - 2 : graph] = b"\xff\xff"
    shard.write_bytes(bytes(data))
    with pytest.raises(CheckpointError, match="its object graph cannot be read"):
        tf_variables.saved_model(tmp_path / "a")
    shard.unlink()
    with pytest.raises(CheckpointError, match="1 shards are missing"):
        tf_variables.saved_model(tmp_path / "a")


def test_an_npz_gives_its_arrays_and_a_pickle_in_it_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", **{"resnet/x/kernel": np.arange(3)})
    assert tf_variables.npz(tmp_path / "a.npz")["resnet/x/kernel"].tolist() == [0, 1, 2]
    np.savez(tmp_path / "b.npz", x=np.array([{"a": 1}], dtype=object))
    (tmp_path / "c.npz").write_bytes((tmp_path / "a.npz").read_bytes()[:50])
    for name in ("b.npz", "c.npz"):
        with pytest.raises(CheckpointError, match=f"{name}: not a readable npz archive of plain arrays"):
            tf_variables.npz(tmp_path / name)
