"""TensorFlow checkpoints read without TensorFlow: the values are TensorFlow's own, and damage is noticed."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from healthfm.errors import CheckpointError
from healthfm.formats import tf_checkpoint
from healthfm.formats.tf_checkpoint import TensorBundle, crc32c

DATA = Path(__file__).parent.parent / "data"
PREFIX = "model.ckpt-10"


@pytest.fixture
def index(tmp_path: Path) -> Path:
    """A copy of a checkpoint that TensorFlow 2.21 wrote from BioBERT's graph (tests/references/tf1_bert.py)."""
    for path in (DATA / "tf1_bert").glob(f"{PREFIX}.*"):
        shutil.copy(path, tmp_path)
    return tmp_path / f"{PREFIX}.index"


def shard(index: Path) -> Path:
    return index.with_suffix(".data-00000-of-00001")


def change(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 0x40
    path.write_bytes(content)


def test_every_value_is_the_one_tensorflow_reads(index: Path) -> None:
    expected = json.loads((DATA / "expected" / "tf_checkpoint.json").read_text())["tensors"]
    bundle = TensorBundle(index)
    assert set(bundle) == set(expected) and len(bundle) == 51
    for name, facts in expected.items():
        value = bundle[name]
        assert list(value.shape) == list(bundle.shape(name)) == facts["shape"]
        assert value.dtype.name == facts["dtype"]
        assert hashlib.sha256(value.tobytes()).hexdigest() == facts["sha256"]
    assert bundle["global_step"] == 10


@pytest.mark.parametrize("keep", [0, 40, 47, 500, -1, -9])
def test_a_truncated_index_is_refused(index: Path, keep: int) -> None:
    index.write_bytes(index.read_bytes()[:keep])
    with pytest.raises(CheckpointError, match=r"model\.ckpt-10\.index: not a readable TensorFlow checkpoint index"):
        TensorBundle(index)


@settings(max_examples=150, deadline=None)
@given(at=st.integers(0, 2013))
def test_a_changed_byte_in_the_index_is_noticed(at: int) -> None:
    """Every byte of the blocks stands under a checksum."""
    content = bytearray((DATA / "tf1_bert" / f"{PREFIX}.index").read_bytes())
    content[at] ^= 0x11
    whole = dict(tf_checkpoint._table((DATA / "tf1_bert" / f"{PREFIX}.index").read_bytes()))
    with contextlib.suppress(tf_checkpoint.Damaged):
        assert dict(tf_checkpoint._table(bytes(content))) == whole  # in the metaindex block, which is not used


def test_a_changed_value_is_noticed_and_named(index: Path) -> None:
    bundle = TensorBundle(index)
    entry = bundle._entries["bert/pooler/dense/bias"]
    change(shard(index), entry.offset + 5)
    with pytest.raises(CheckpointError, match=r"tensor 'bert/pooler/dense/bias' is damaged"):
        bundle["bert/pooler/dense/bias"]
    assert bundle["bert/pooler/dense/kernel"].shape == (16, 16)


def test_a_missing_and_a_short_shard_are_named(index: Path) -> None:
    content = shard(index).read_bytes()
    shard(index).write_bytes(content[:-1])
    with pytest.raises(CheckpointError, match=rf"cut short: {len(content) - 1} bytes, its index needs {len(content)}"):
        TensorBundle(index)
    shard(index).unlink()
    with pytest.raises(CheckpointError, match=r"1 shards are missing: model\.ckpt-10\.data-00000-of-00001"):
        TensorBundle(index)


def test_another_kind_of_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.index"
    path.write_bytes(b"not a table at all" * 40)
    with pytest.raises(CheckpointError, match="no table footer"):
        TensorBundle(path)


def test_the_checksum_is_crc32c() -> None:
    """Check values: RFC 3720 appendix B.4, and the usual "123456789"."""
    assert crc32c(b"123456789") == 0xE3069283
    assert crc32c(bytes(32)) == 0x8A9136AA
    assert crc32c(bytes([0xFF] * 32)) == 0x62A8AB43
    assert crc32c(bytes(range(32))) == 0x46DD794E


@pytest.mark.parametrize("size", [262_143, 262_144, 262_145, 1_000_003])
def test_lanes_give_the_checksum_of_a_single_pass(size: int) -> None:
    data = np.random.default_rng(size).bytes(size)
    assert crc32c(data) == crc32c(data, lanes=size)
