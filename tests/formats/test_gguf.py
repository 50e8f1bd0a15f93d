"""GGUF files written by the format's own package."""

from __future__ import annotations

from pathlib import Path

import gguf as reference
import numpy as np
import pytest

from healthfm.errors import CheckpointError
from healthfm.formats.gguf import GGUF

FLOATS = np.random.default_rng(0).normal(size=(6, 64)).astype(np.float32)
KINDS = ("Q8_0", "Q4_0", "Q4_1", "Q5_1", "BF16", "F16")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Two float tensors and one of each kind of quantised tensor."""
    writer = reference.GGUFWriter(tmp_path / "m.gguf", "llama")
    writer.add_block_count(2)
    writer.add_name("small")
    writer.add_token_list(["<s>", "Ġa", "ü"])
    writer.add_token_types([3, 1, 1])
    writer.add_tensor("norm.weight", FLOATS[0])
    writer.add_tensor("plain.weight", FLOATS)
    for name in KINDS:
        kind = reference.GGMLQuantizationType[name]
        writer.add_tensor(f"{name}.weight", reference.quants.quantize(FLOATS, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return tmp_path / "m.gguf"


def test_metadata_are_plain_values(path: Path) -> None:
    metadata = GGUF(path).metadata
    assert metadata["general.architecture"] == "llama"
    assert metadata["general.name"] == "small"
    assert metadata["llama.block_count"] == 2
    assert metadata["tokenizer.ggml.tokens"] == ["<s>", "Ġa", "ü"]
    assert metadata["tokenizer.ggml.token_type"] == [3, 1, 1]


def test_a_file_of_a_machine_with_the_other_order_of_bytes_has_the_same_metadata(tmp_path: Path) -> None:
    writer = reference.GGUFWriter(tmp_path / "m.gguf", "llama", endianess=reference.GGUFEndian.BIG)
    writer.add_block_count(2)
    writer.add_token_list(["<s>", "Ġa", "ü", ""])
    writer.add_array("scores", [1.5, -2.0])
    writer.add_tensor("norm.weight", FLOATS[0])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    file = GGUF(tmp_path / "m.gguf")
    assert (file.metadata["llama.block_count"], file.metadata["scores"]) == (2, [1.5, -2.0])
    assert file.metadata["tokenizer.ggml.tokens"] == ["<s>", "Ġa", "ü", ""]
    assert list(file) == ["norm.weight"]


def test_a_text_that_ends_behind_the_file_is_refused(path: Path) -> None:
    whole = path.read_bytes()
    at = whole.index("Ġa".encode()) - 8
    path.write_bytes(whole[:at] + (2**40).to_bytes(8, "little") + whole[at + 8 :])
    with pytest.raises(CheckpointError, match="not a readable GGUF file, or cut short"):
        GGUF(path)


def test_float_tensors_come_back_bit_for_bit_with_rows_first(path: Path) -> None:
    file = GGUF(path)
    assert set(file) == {"norm.weight", "plain.weight", *(f"{kind}.weight" for kind in KINDS)}
    assert len(file) == 2 + len(KINDS)
    np.testing.assert_array_equal(file["plain.weight"], FLOATS)
    np.testing.assert_array_equal(file["norm.weight"], FLOATS[0])


@pytest.mark.parametrize(
    ("kind", "step"), [("Q8_0", 1 / 127), ("Q4_0", 1 / 8), ("Q4_1", 2 / 15), ("Q5_1", 2 / 31), ("BF16", 1 / 256), ("F16", 1 / 2048)]
)  # fmt: skip
def test_quantised_tensors_are_float32_within_one_step_of_what_was_written(path: Path, kind: str, step: float) -> None:
    read = GGUF(path)[f"{kind}.weight"]
    assert (read.dtype, read.shape) == (np.float32, FLOATS.shape)
    blocks = np.abs(FLOATS).reshape(6, 2, 32).max(axis=2, keepdims=True)  # one scale for 32 values
    error = np.abs(read - FLOATS).reshape(6, 2, 32)
    assert (error <= step * blocks).all()
    assert error.max() > 0


def test_the_commonest_kind_of_matrix_is_told(tmp_path: Path) -> None:
    writer = reference.GGUFWriter(tmp_path / "m.gguf", "llama")
    kind = reference.GGMLQuantizationType.Q4_1
    for n in range(2):
        writer.add_tensor(f"{n}.weight", reference.quants.quantize(FLOATS, kind), raw_dtype=kind)
        writer.add_tensor(f"{n}.norm", FLOATS[0])
    writer.add_tensor("output.weight", FLOATS)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    assert GGUF(tmp_path / "m.gguf").quantisation == "Q4_1"


@pytest.mark.parametrize("content", [b"", b"GGUF", b"GGUF\x03\0\0\0", b"GGML" + bytes(100), b"\x80\x02}q\x00." * 20])
def test_a_file_that_is_not_gguf_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "m.gguf").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"m\.gguf: not a readable GGUF file, or cut short"):
        GGUF(tmp_path / "m.gguf")


@pytest.mark.parametrize("keep", [0.02, 0.1, 0.3, 0.6, 0.9, 0.97])
def test_a_file_that_was_cut_short_is_refused(path: Path, keep: float) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * keep)])
    with pytest.raises(CheckpointError, match="cut short"):
        GGUF(path)


def test_an_absent_file_is_a_checkpoint_error(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"gone\.gguf"):
        GGUF(tmp_path / "gone.gguf")
