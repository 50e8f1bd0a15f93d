"""Every causal language model's road: its published files on disk, the command line, a finished report.

The networks are reduced (2 layers of width 32 to 48, recipe weights); file formats, sharding, key names and tokenizer formats are
the published ones.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import peft
import pytest
import torch
import transformers

from healthfm import CapabilityError, CheckpointError, MissingExtra, RunError, load_model
from healthfm.models.language import generation
from healthfm.models.language.causal_lm import CausalLM
from tests.forked import Server
from tests.models import published as pub
from tests.models import road

FULL: dict[str, tuple[Any, ...]] = {  # name: network, tokenizer, file format, shards
    "mmedlm-2": (pub.INTERNLM2, pub.internlm_model, "bin", 4),
    "mmedlm-2:1-8b": (pub.INTERNLM2, pub.internlm_model, "safetensors", 1),
    "me-llama:13b-chat": (pub.LLAMA, pub.sentencepiece_model, "safetensors", 3),
    "me-llama:70b": (pub.GROUPED, pub.sentencepiece_model, "safetensors", 3),
    "biomistral": (pub.MISTRAL, pub.sentencepiece_model, "bin", 1),
    "pulse": (pub.LLAMA, pub.internlm_model, "bin", 2),
    "pulse:7b": (pub.BLOOM, pub.byte_level_json, "bin", 2),
    "meditron": (pub.LLAMA, pub.padded_model, "bin", 2),
    "meditron:70b": (pub.GROUPED, pub.padded_model, "bin", 3),
    "taiyi": (pub.QWEN, pub.qwen_ranks, "bin", 2),
    "taiyi:taiyi-2": (pub.CHATGLM, pub.glm4_ranks, "safetensors", 4),
    "biomedgpt": (pub.LLAMA, pub.sentencepiece_model, "bin", 3),
    "pmc-llama": (pub.LLAMA, pub.sentencepiece_model, "bin", 2),
    "pmc-llama:7b": (pub.LLAMA, pub.sentencepiece_model, "bin", 2),
    "medalpaca": (pub.LLAMA, pub.sentencepiece_model, "bin", 3),
    "chatdoctor": (pub.LLAMA, pub.padded_model, "bin", 2),
    "biogpt": (pub.BIOGPT, pub.biogpt_files, "bin", 1),
    "biogpt:large": (pub.BIOGPT, pub.biogpt_files, "bin", 1),
    "chemdfm": (pub.LLAMA, pub.padded_model, "safetensors", 6),
    "chemdfm:v1-5-8b": (pub.GROUPED, pub.byte_level_json, "safetensors", 4),
    "omnina": (pub.LLAMA, pub.byte_level_json, "bin", 1),
}
OWN_LAYOUTS = (pub.INTERNLM2, pub.QWEN, pub.CHATGLM)  # their owners' key names, which no class of transformers has
ADAPTERS: dict[str, tuple[Any, ...]] = {  # name: base network, base tokenizer, name of the base, adapted matrices
    "bentsao": (pub.LLAMA, pub.sentencepiece_model, "decapoda-research/llama-7b-hf", ["q_proj", "v_proj"]),
    "bentsao:alpaca-med": (pub.LLAMA, pub.padded_model, "chinese-alpaca-7b", ["q_proj", "v_proj"]),
    "bentsao:bloom": (pub.BLOOM, pub.byte_level_json, "bigscience/bloom-7b1", ["query_key_value"]),
    "medalpaca:13b-lora": (pub.LLAMA, pub.sentencepiece_model, "decapoda-research/llama-13b-hf", ["q_proj", "v_proj"]),
}


def checkpoint(name: str, folder: Path) -> Path:
    """Write the row's checkpoint in its published form."""
    if name in FULL:
        return pub.publish(folder / "weights", *FULL[name])
    network, tokenizer, base_name, targets = ADAPTERS[name]
    base = pub.publish(folder / "base-of-it", network, tokenizer)
    return pub.publish_adapter(folder / "weights", base, base_name, targets)


def words(name: str, weights: Path, root: Path) -> list[object]:
    return [name, "pubmedqa", "--root", root, "--weights", weights]


def reference(name: str, weights: Path) -> torch.nn.Module | None:
    """The network of published files as transformers (and peft) load it; None where its layout is not theirs."""
    if name in ADAPTERS:
        base = transformers.AutoModelForCausalLM.from_pretrained(weights / "base", dtype=torch.float32)
        return peft.PeftModel.from_pretrained(base, weights).eval()
    if FULL[name][0] in OWN_LAYOUTS:
        return None
    return transformers.AutoModelForCausalLM.from_pretrained(weights, dtype=torch.float32).eval()


@pytest.mark.filterwarnings("ignore:Unexpected keyword arguments")  # peft's words for a configuration of 2023
@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.evidence(n.partition(":")[0], "road")) for n in (*FULL, *ADAPTERS)]
)
def test_published_files_go_the_whole_road(name: str, tmp_path: Path, few_pubmedqa: Path) -> None:
    """The stored numbers are the reference's of these files; other weights, or the adapter's base alone, give other numbers."""
    weights = checkpoint(name, tmp_path)
    rows = road.evaluated(tmp_path / "run", *words(name, weights, few_pubmedqa))
    model, theirs = load(name, weights), reference(name, weights)

    def logits(context: list[int], option: list[int]) -> Any:
        ids = [*context, *option[:-1]]
        if theirs is None:  # the layout's own tests hold these logits against the owners' code
            return model.logits([ids])[0][-len(option) :]
        with torch.inference_mode():
            return theirs(torch.tensor([ids])).logits[0, -len(option) :].float()

    road.assert_scored(rows, few_pubmedqa, model.encode, logits)

    def moved(others: Path) -> None:
        """The same questions by other weights: what stands in the run is by these."""
        road.assert_moved(road.scores(rows), np.stack(load(name, others).score(*road.asked(rows, few_pubmedqa))))

    if name in ADAPTERS:
        moved(weights / "base")
    moved(road.disturb(weights))


def test_the_command_itself_goes_the_road(forked: Server, tmp_path: Path, few_pubmedqa: Path) -> None:
    """What another process stores is what this one does."""
    asked = words("taiyi", checkpoint("taiyi", tmp_path), few_pubmedqa)
    here = road.evaluated(tmp_path / "here", *asked)
    command = ["evaluate", *asked, "--output", tmp_path / "run", "--device", "cpu"]
    with (tmp_path / "said").open("w") as said:
        code = forked.fork(command, said.fileno(), said.fileno()).wait(300)
    assert code == 0, (tmp_path / "said").read_text()
    assert "<html" in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    there = [row for part in road.parts(tmp_path / "run" / "predictions") for row in part]
    assert there == here


def load(name: str, weights: Any, **options: Any) -> CausalLM:
    return load_model(name, weights, device="cpu", **options)  # type: ignore[return-value]


# What the road loads is what was saved -----------------------------------------------------------------------------------

IDS = [[5, 6, 7, 8, 9, 10, 300, 41], [11, 3]]


def assert_equal_logits(model: CausalLM, network: torch.nn.Module) -> None:
    for ids, ours in zip(IDS, model.logits(IDS), strict=True):
        with torch.inference_mode():
            theirs = network(torch.tensor([ids])).logits[0].float().numpy()
        assert np.linalg.norm(ours - theirs) <= 1e-4 * np.linalg.norm(theirs)
        assert np.abs(ours - theirs).max() <= 1e-3 * np.sqrt(np.mean(theirs**2))


@pytest.mark.parametrize("name", ["me-llama:70b", "biomistral", "pulse:7b", "biogpt", "chemdfm", "omnina"])
def test_logits_equal_transformers_own_loading(name: str, tmp_path: Path) -> None:
    weights = checkpoint(name, tmp_path)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(weights, dtype=torch.float32).eval()
    assert_equal_logits(load(name, weights), theirs)


@pytest.mark.filterwarnings("ignore:Unexpected keyword arguments")  # peft's words for a configuration of 2023
@pytest.mark.parametrize("name", ["bentsao", "bentsao:bloom"])
@pytest.mark.parametrize("merge", [True, False])
def test_an_adapter_on_its_base_equals_pefts(name: str, merge: bool, tmp_path: Path) -> None:
    from peft import PeftModel

    weights = checkpoint(name, tmp_path)
    base = transformers.AutoModelForCausalLM.from_pretrained(weights / "base", dtype=torch.float32)
    bare = load(name, weights / "base").logits(IDS)[0]
    model = load(name, weights, config={"merge_adapter": merge})
    assert any("lora" in key for key in model.network.state_dict()) != merge
    assert np.linalg.norm(model.logits(IDS)[0] - bare) > 0.05 * np.linalg.norm(bare)
    assert_equal_logits(model, PeftModel.from_pretrained(base, weights).eval())


def test_stacked_adapters_add_up(tmp_path: Path) -> None:
    """A clinical adapter and a task adapter on it, as Clinical LLaMA-LoRA stacks them: base + both differences."""
    base = pub.publish(tmp_path / "base", pub.LLAMA, pub.sentencepiece_model)
    clinical = pub.publish_adapter(tmp_path / "clinical", base, "llama-7b", ["q_proj", "v_proj"], seed=1)
    task = pub.publish_adapter(tmp_path / "task", clinical, "llama-7b", ["q_proj", "v_proj"], seed=2)
    key = "model.layers.1.self_attn.v_proj.weight"
    weights = [load("clinical-llama-lora", folder).network.state_dict()[key] for folder in (base, clinical, task)]
    sums = []
    for folder in (clinical, task):
        saved = torch.load(folder / "adapter_model.bin", weights_only=True)
        stem = f"base_model.model.{key.removesuffix('.weight')}"
        sums.append(2 * saved[f"{stem}.lora_B.weight"] @ saved[f"{stem}.lora_A.weight"])
    torch.testing.assert_close(weights[1], weights[0] + sums[0])
    torch.testing.assert_close(weights[2], weights[0] + sums[0] + sums[1])


@pytest.mark.parametrize("extra", ["rotary_emb.inv_freq", "self_attn.rotary_emb.inv_freq"])
def test_old_rotary_frequencies_are_dropped(extra: str, tmp_path: Path) -> None:
    weights = pub.publish(tmp_path, pub.LLAMA, pub.sentencepiece_model, shards=1)
    plain = load("omnina", weights).logits(IDS)[0]
    tensors = torch.load(weights / "pytorch_model.bin", weights_only=True)
    pub.write(weights, {**tensors, f"model.layers.0.{extra}": torch.zeros(4)}, "bin")
    assert np.array_equal(load("omnina", weights).logits(IDS)[0], plain)


def test_the_vocabulary_is_taken_from_the_tensors_where_no_configuration_states_it(tmp_path: Path) -> None:
    """Meditron, PMC-LLaMA, ChemDFM and ChatDoctor may have gained tokens."""
    tensors, config = pub.LLAMA(613)
    sizes = {
        key: config[key]
        for key in (
            "hidden_size",
            "intermediate_size",
            "num_hidden_layers",
            "num_attention_heads",
            "num_key_value_heads",
        )
    }
    assert load("meditron", tensors, config=sizes).network.config.vocab_size == 613


@pytest.mark.parametrize("name", ["medalpaca", "pmc-llama"])
def test_llamas_first_conversion_names_ids_that_no_network_has(name: str, tmp_path: Path) -> None:
    """Their published ``config.json``: start 0, end 1, padding -1, and the context under another name."""

    def first(vocabulary: int) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        tensors, config = pub.LLAMA(vocabulary)
        del config["max_position_embeddings"]
        return tensors, {
            **config,
            "bos_token_id": 0,
            "eos_token_id": 1,
            "pad_token_id": -1,
            "max_sequence_length": 2048,
        }

    model = load(name, pub.publish(tmp_path, first, pub.sentencepiece_model))
    prompts, options = ["Is it?", "A longer question: is it so?"], [["yes", "no"], ["yes, it is", "no"]]
    together = model.score(prompts, options)
    for one, choices, scores in zip(prompts, options, together, strict=True):
        np.testing.assert_allclose(model.score([one], [choices])[0], scores, atol=1e-4)
    assert model.max_length == 2048 and model.preprocess(prompts)["input_ids"].min() >= 0
    assert generation.end_ids(model) == {1, 2}
    assert isinstance(model.generate(["Is it?"], 4)[0], str)


def test_blooms_own_release_lacks_a_prefix(tmp_path: Path) -> None:
    tensors, config = pub.BLOOM(601)
    bare = {key.removeprefix("transformer."): value for key, value in tensors.items()}
    numbers = {key: config[key] for key in ("hidden_size", "n_layer", "n_head", "seq_length") if key in config}
    ours = [load("pulse:7b", found, config=numbers).logits(IDS)[0] for found in (tensors, bare)]
    assert np.array_equal(*ours)


# Bad checkpoints: one clear error each ------------------------------------------------------------------------------------


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    weights = checkpoint("mmedlm-2", tmp_path)
    (weights / "pytorch_model-00003-of-00004.bin").unlink()
    with pytest.raises(CheckpointError, match=r"1 of 4 shards are missing: pytorch_model-00003-of-00004\.bin"):
        load("mmedlm-2", weights)


@pytest.mark.parametrize("name", ["taiyi", "chemdfm", "biogpt"])
def test_a_wrong_vocabulary_size_is_named(name: str, tmp_path: Path) -> None:
    weights = checkpoint(name, tmp_path)
    config = json.loads((weights / "config.json").read_text())
    (weights / "config.json").write_text(json.dumps({**config, "vocab_size": config["vocab_size"] + 7}))
    with pytest.raises(CheckpointError, match=r"wrong shapes: .*embed_tokens\.weight is \(\d+, 32\)"):
        load(name, weights)


def test_a_tokenizer_of_another_model_is_refused(tmp_path: Path) -> None:
    weights = checkpoint("pmc-llama", tmp_path)
    pub.sentencepiece_model(weights, size=900)
    with pytest.raises(CheckpointError, match="the tokenizer has 900 tokens, the network 600"):
        load("pmc-llama", weights)


@pytest.mark.parametrize("file", ["pytorch_model-00001-of-00002.bin", "tokenizer.model"])
@pytest.mark.parametrize("keep", [0, 40, -400])
def test_a_truncated_file_is_refused(file: str, keep: int, tmp_path: Path) -> None:
    weights = checkpoint("chatdoctor", tmp_path)
    content = (weights / file).read_bytes()
    (weights / file).write_bytes(content[:keep])
    with pytest.raises(CheckpointError, match=f"{file}: not a readable .*, or cut short"):
        load("chatdoctor", weights)


def test_a_truncated_ranks_file_is_refused(tmp_path: Path) -> None:
    weights = checkpoint("taiyi", tmp_path)
    lines = (weights / "qwen.tiktoken").read_bytes()
    (weights / "qwen.tiktoken").write_bytes(lines[: len(lines) // 2 - 1])
    with pytest.raises(
        CheckpointError, match=r"qwen\.tiktoken: (not a readable file of tiktoken ranks|its ranks do not run)"
    ):
        load("taiyi", weights)


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("chemdfm:v1-5-8b", "tokenizer.json"), ("chemdfm:v1-5-8b", "tokenizer_config.json"), ("biogpt", "vocab.json"),
        ("biogpt", "merges.txt"),
    ],
)  # fmt: skip
def test_a_damaged_or_missing_tokenizer_file_is_refused(name: str, file: str, tmp_path: Path) -> None:
    weights = checkpoint(name, tmp_path)
    content = (weights / file).read_bytes()
    (weights / file).write_bytes(content[:30])
    if file == "merges.txt":
        (weights / file).unlink()
    with pytest.raises(CheckpointError, match="the tokenizer cannot be read: a file of it is damaged or missing"):
        load(name, weights)


def settings(weights: Path, **changes: Any) -> None:
    path = weights / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_an_adapter_on_a_base_of_another_size_is_refused(tmp_path: Path) -> None:
    weights = checkpoint("bentsao", tmp_path)
    other = pub.publish(
        tmp_path / "other", pub.native("Llama", **{**pub.SMALL, "hidden_size": 64}), pub.sentencepiece_model
    )
    (weights / "base").unlink()
    (weights / "base").symlink_to(other)
    with pytest.raises(
        CheckpointError,
        match=r"does not fit this base \(it was trained on 'decapoda-research/llama-7b-hf'\): 8 wrong shapes",
    ):
        load("bentsao", weights)


def test_an_adapter_on_a_base_of_another_depth_is_refused(tmp_path: Path) -> None:
    weights = checkpoint("bentsao", tmp_path)
    other = pub.publish(
        tmp_path / "other", pub.native("Llama", **{**pub.SMALL, "num_hidden_layers": 3}), pub.sentencepiece_model
    )
    (weights / "base").unlink()
    (weights / "base").symlink_to(other)
    with pytest.raises(CheckpointError, match=r"does not fit this base .*: 4 missing keys"):
        load("bentsao", weights)


def test_an_adapter_on_another_architecture_is_refused(tmp_path: Path) -> None:
    weights = checkpoint("bentsao", tmp_path)
    settings(weights, target_modules=["query_key_value"])
    with pytest.raises(CheckpointError, match=r"does not fit this base .*query_key_value"):
        load("bentsao", weights)


def test_an_adapter_on_a_base_of_another_name_is_refused(tmp_path: Path) -> None:
    """Chinese-Alpaca has LLaMA's shapes where the adapter sits, and another vocabulary: the names tell them apart."""
    weights = checkpoint("bentsao:alpaca-med", tmp_path)
    config = json.loads((weights / "base" / "config.json").read_text())
    (weights / "base" / "config.json").write_text(json.dumps({**config, "_name_or_path": "huggyllama/llama-7b"}))
    with pytest.raises(
        CheckpointError, match="trained on 'chinese-alpaca-7b', the base calls itself 'huggyllama/llama-7b'"
    ):
        load("bentsao:alpaca-med", weights)
    settings(weights, base_model_name_or_path="somebody/Llama-7B")
    load("bentsao:alpaca-med", weights)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda w: (w / "base").unlink(), "needs its base 'decapoda-research/llama-7b-hf': put the base's files"),
        (lambda w: (w / "adapter_model.bin").unlink(), "no adapter weights"),
        (lambda w: torch.save({}, w / "adapter_model.bin"), "holds no LoRA tensors"),
        (lambda w: os.truncate(w / "adapter_model.bin", 900), "not a readable PyTorch checkpoint"),
        (lambda w: (w / "adapter_config.json").write_text("{"), "adapter_config.json: not valid JSON"),
        (lambda w: settings(w, peft_type="IA3"), "an adapter of type 'IA3', only LORA is read"),
    ],
)
def test_a_damaged_adapter_is_refused(spoil: Any, says: str, tmp_path: Path) -> None:
    weights = checkpoint("bentsao", tmp_path)
    spoil(weights)
    with pytest.raises(CheckpointError, match=says):
        load("bentsao", weights)


def test_a_variant_of_another_architecture_says_what_it_is() -> None:
    with pytest.raises(CapabilityError, match="cannot run biomedgpt:10b: architecture 'llama with gin and esm-2'"):
        load("biomedgpt:10b", "random")


# Clinical LLaMA-LoRA: no weights were published; the architecture and the owners' recipe run ------------------------------


def train(network: Any, ids: list[list[int]], labels: list[int]) -> list[float]:
    """A few steps of what the owners' trainer does: AdamW on the adapter and the head, the base frozen. Returns the losses."""
    optimizer = torch.optim.AdamW([p for p in network.parameters() if p.requires_grad], lr=0.02)
    losses = []
    for _ in range(15):
        loss = sum(
            network(input_ids=torch.tensor([i]), labels=torch.tensor([k])).loss
            for i, k in zip(ids, labels, strict=True)
        ) / len(ids)  # type: ignore[misc]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


@pytest.mark.filterwarnings("ignore:Unexpected keyword arguments")
@pytest.mark.evidence("clinical-llama-lora", "architecture")
def test_a_classifier_trained_on_a_stack_of_adapters_is_read_back(tmp_path: Path) -> None:
    """Base, clinical adapter (rank 16, alpha 32), task adapter (rank 8, alpha 4) and head, as the owners' configurations state them."""
    from peft import LoraConfig, PeftModel, get_peft_model

    base = pub.publish(tmp_path / "base", pub.LLAMA, pub.sentencepiece_model)
    clinical = pub.publish_adapter(tmp_path / "clinical", base, "llama-7b", ["q_proj", "v_proj"])
    settings(clinical, lora_alpha=32)
    tokenizer = load("clinical-llama-lora", clinical).tokenizer
    texts = ["The patient died in hospital.", "Discharged home in good health.", "He died.", "She went home well."]
    ids, labels = [tokenizer.encode(text) for text in texts], [1, 0, 1, 0]  # type: ignore[union-attr]
    inner = transformers.AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    merged = PeftModel.from_pretrained(inner, clinical).merge_and_unload()
    network = transformers.LlamaForSequenceClassification(transformers.LlamaConfig.from_pretrained(base, num_labels=2))
    network.model.load_state_dict(merged.model.state_dict())
    tuned = get_peft_model(network, LoraConfig(task_type="SEQ_CLS", r=8, lora_alpha=4, lora_dropout=0.1, target_modules=["q_proj", "v_proj"]))  # fmt: skip
    losses = train(tuned, ids, labels)
    assert losses[-1] < 0.5 * losses[0]
    tuned.eval().save_pretrained(tmp_path / "task")
    (tmp_path / "task" / "base").symlink_to(clinical)
    model = load_model("clinical-llama-lora", tmp_path / "task", device="cpu")
    assert model.capabilities == {"preprocess", "forward", "classify"}
    with torch.inference_mode():
        theirs = np.stack([tuned(input_ids=torch.tensor([i])).logits[0].numpy() for i in ids])
    np.testing.assert_allclose(model.classify(texts, ["alive", "dead"], logits=True), theirs, atol=1e-4)
    found = model.classify(texts, ["alive", "dead"])
    np.testing.assert_allclose(found.sum(1), 1, atol=1e-6)
    assert found.argmax(1).tolist() == theirs.argmax(1).tolist() == labels
    alone = load_model("clinical-llama-lora", tmp_path / "task", device="cpu", config={"merge_adapter": False})
    np.testing.assert_allclose(alone.classify(texts, ["alive", "dead"]), found, atol=1e-4)
    with pytest.raises(RunError, match="a head of 2 classes; 3 were named"):
        model.classify(texts, ["a", "b", "c"])


def test_a_missing_package_of_a_tokenizer_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = checkpoint("biogpt", tmp_path)
    monkeypatch.setitem(sys.modules, "sacremoses", None)
    with pytest.raises(MissingExtra, match=r"this needs sacremoses: pip install 'healthfm\[models\]'"):
        load("biogpt", weights)
