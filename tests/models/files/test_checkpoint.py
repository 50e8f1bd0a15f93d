"""Weights in every published layout load the same; damaged, unfitting and unsafe ones say so in one line."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from healthfm import CapabilityError, CheckpointError, load_model
from healthfm.models.language.causal_lm import CausalLM

TINY = {
    "vocab_size": 97, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 64, "rope_theta": 10000.0, "rms_norm_eps": 1e-6, "tie_word_embeddings": False,
    "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
TOKENS = [[5, 6, 7, 8, 9, 10], [11, 3]]


@pytest.fixture(scope="module")
def reference() -> transformers.LlamaForCausalLM:
    """A small Llama of transformers' own making."""
    torch.manual_seed(7)
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(**TINY)).eval()


@pytest.fixture
def folder(reference: transformers.LlamaForCausalLM, tmp_path: Path) -> Path:
    """Its checkpoint as transformers saves it: config.json and model.safetensors."""
    reference.save_pretrained(tmp_path / "published")
    return tmp_path / "published"


def load(weights: object, **options: object) -> CausalLM:
    return load_model("smollm2-135m-instruct", weights, device="cpu", **options)  # type: ignore[arg-type,return-value]


def expected(reference: transformers.LlamaForCausalLM) -> list[np.ndarray]:
    with torch.inference_mode():
        return [reference(torch.tensor([ids])).logits[0].numpy() for ids in TOKENS]


def assert_equal_logits(model: CausalLM, reference: transformers.LlamaForCausalLM) -> None:
    for ours, theirs in zip(model.logits(TOKENS), expected(reference), strict=True):
        assert ours.dtype == np.float32
        assert np.linalg.norm(ours - theirs) <= 1e-5 * np.linalg.norm(theirs)


def test_a_safetensors_folder_with_its_config(folder: Path, reference: transformers.LlamaForCausalLM) -> None:
    assert_equal_logits(load(folder), reference)


def test_a_sharded_safetensors_folder(reference: transformers.LlamaForCausalLM, tmp_path: Path) -> None:
    reference.save_pretrained(tmp_path, max_shard_size="20KB")
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 1
    assert_equal_logits(load(tmp_path), reference)


def test_a_pytorch_bin_folder(folder: Path, reference: transformers.LlamaForCausalLM) -> None:
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    assert_equal_logits(load(folder), reference)


def test_a_sharded_pytorch_bin_folder(folder: Path, reference: transformers.LlamaForCausalLM) -> None:
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(tensors)
    where = {name: f"pytorch_model-0000{1 + i % 2}-of-00002.bin" for i, name in enumerate(names)}
    for shard in set(where.values()):
        torch.save({name: tensors[name] for name in names if where[name] == shard}, folder / shard)
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": where}))
    assert_equal_logits(load(folder), reference)


def test_a_mapping_of_tensors_and_a_config(reference: transformers.LlamaForCausalLM) -> None:
    assert_equal_logits(load(reference.state_dict(), config=TINY), reference)


def test_the_callers_config_wins_over_the_folders(folder: Path) -> None:
    with pytest.raises(CheckpointError, match="wrong shapes"):
        load(folder, config={"intermediate_size": 64})


def test_other_weights_give_other_logits(folder: Path, reference: transformers.LlamaForCausalLM) -> None:
    tensors = load_file(folder / "model.safetensors")
    tensors["model.layers.1.mlp.up_proj.weight"] += 0.05
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(AssertionError):
        assert_equal_logits(load(folder), reference)


def test_random_weights_are_the_same_every_time() -> None:
    first, second = (load("random", config=TINY).logits(TOKENS)[0] for _ in range(2))
    assert np.array_equal(first, second)
    assert first.std() > 0


def test_missing_and_unexpected_keys_are_named(reference: transformers.LlamaForCausalLM) -> None:
    tensors = dict(reference.state_dict())
    tensors["model.layers.0.mlp.stranger.weight"] = tensors.pop("model.layers.0.mlp.up_proj.weight")
    with pytest.raises(
        CheckpointError, match=r"1 missing keys: model\.layers\.0\.mlp\.up_proj\.weight; 1 unexpected keys: .*stranger"
    ):
        load(tensors, config=TINY)


def test_a_missing_shard_is_named(reference: transformers.LlamaForCausalLM, tmp_path: Path) -> None:
    reference.save_pretrained(tmp_path, max_shard_size="20KB")
    lost = sorted(tmp_path.glob("model-*.safetensors"))[1]
    lost.unlink()
    with pytest.raises(CheckpointError, match=rf"shards are missing: {lost.name}"):
        load(tmp_path)


def test_a_shard_that_lacks_its_tensors_is_named(reference: transformers.LlamaForCausalLM, tmp_path: Path) -> None:
    reference.save_pretrained(tmp_path, max_shard_size="20KB")
    shard = sorted(tmp_path.glob("model-*.safetensors"))[0]
    save_file({"other": torch.zeros(1)}, shard)
    with pytest.raises(CheckpointError, match=rf"{shard.name}: \d+ tensors of the index are not in it"):
        load(tmp_path)


def test_a_shard_path_out_of_the_folder_is_refused(folder: Path) -> None:
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": "../../etc/passwd"}}))
    with pytest.raises(CheckpointError, match="leaves the folder"):
        load(folder)


@pytest.mark.parametrize("keep", [0, 5, 300, -40])
def test_a_truncated_safetensors_file_is_refused(folder: Path, keep: int) -> None:
    path = folder / "model.safetensors"
    content = path.read_bytes()
    path.write_bytes(content[:keep])
    with pytest.raises(CheckpointError, match=r"model\.safetensors: not a readable safetensors file"):
        load(folder)


@pytest.mark.parametrize("keep", [0, 10, 2000])
def test_a_truncated_pytorch_file_is_refused(folder: Path, keep: int) -> None:
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    path = folder / "pytorch_model.bin"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(CheckpointError, match="not a readable PyTorch checkpoint"):
        load(folder)


class Runs:
    """Pickles as a call of os.system."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (self.command,)


@pytest.mark.parametrize("save", [torch.save, lambda value, path: Path(path).write_bytes(pickle.dumps(value))])
def test_a_pickle_that_wants_to_run_code_is_refused_and_does_not_run(
    folder: Path, tmp_path: Path, save: object
) -> None:
    (folder / "model.safetensors").unlink()
    mark = tmp_path / "it-ran"
    save({"weight": Runs(f"touch {mark}")}, folder / "pytorch_model.bin")  # type: ignore[operator]
    with pytest.raises(CheckpointError, match=r"wants to run code .*refused|not a readable PyTorch checkpoint"):
        load(folder)
    assert not mark.exists()


def test_two_checkpoints_in_one_folder_are_ambiguous(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "a.safetensors")
    (folder / "b.safetensors").write_bytes((folder / "a.safetensors").read_bytes())
    with pytest.raises(CheckpointError, match=r"found a\.safetensors, b\.safetensors"):
        load(folder)


def test_an_empty_folder_says_what_was_expected(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no weight files"):
        load(tmp_path)


def test_a_wrong_vocabulary_size_is_named(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "vocab_size": 100}))
    with pytest.raises(CheckpointError, match=r"embed_tokens\.weight is \(97, 32\), \(100, 32\) fits"):
        load(folder)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"hidden_size": "many"}, "cannot have the architecture numbers of card and config.json: .*int"),
        ({"num_attention_heads": 7}, "cannot have the architecture numbers of card and config.json: .*7"),
        ({"num_attention_heads": 0}, "cannot have the architecture numbers of card and config.json: .*zero"),
    ],
)
def test_architecture_numbers_that_cannot_be_are_refused(folder: Path, changes: dict[str, object], says: str) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **changes}))
    with pytest.raises(CheckpointError, match=says):
        load(folder)


@pytest.mark.parametrize(
    ("file", "content", "says"),
    [
        ("config.json", "[1]", r"config\.json: holds a list, an object was expected"),
        ("config.json", '{"vocab_size": 9', r"config\.json: not valid JSON"),
        ("model.safetensors.index.json", '{"weight_map": [1]}', r"index\.json: not a readable shard index"),
        ("model.safetensors.index.json", '{"weight_map"', r"index\.json: not a readable shard index"),
        ("model.safetensors", "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "a pointer of Git LFS"),
        ("model.safetensors", "<html>404</html>", "not a readable safetensors file"),
        ("pytorch_model.bin", "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "a pointer of Git LFS"),
        ("pytorch_model.bin", "<html>404</html>", "not a readable PyTorch checkpoint"),
    ],
)  # fmt: skip
def test_a_file_that_is_something_else_says_so(folder: Path, file: str, content: str, says: str) -> None:
    if file == "pytorch_model.bin":
        (folder / "model.safetensors").unlink()
    (folder / file).write_text(content)
    with pytest.raises(CheckpointError, match=says):
        load(folder)


def test_absent_weights_say_where_they_are_published() -> None:
    with pytest.raises(CheckpointError, match=r"no weights at"):
        load(Path("nowhere"))


def test_a_row_without_a_runner_says_so() -> None:
    with pytest.raises(CapabilityError, match="cannot run med-palm yet"):
        load_model("med-palm")


def test_weights_are_looked_for_in_healthfm_home(own_home: Path, reference: transformers.LlamaForCausalLM) -> None:
    reference.save_pretrained(own_home / "models" / "smollm2-135m-instruct")
    assert_equal_logits(load(None), reference)


def test_text_without_a_tokenizer_is_refused_clearly(folder: Path) -> None:
    with pytest.raises(CheckpointError, match="no tokenizer beside the weights"):
        load(folder).score(["a"], [["b", "c"]])
