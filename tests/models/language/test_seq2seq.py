"""Encoder-decoder models: scores as lm-evaluation-harness gives them, text as transformers generates it.

The weights are random and the network is small (2 + 2 layers of 32): Clinical-T5's own need PhysioNet credentials.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import save_file

from healthfm import CheckpointError, RunError, load_model
from healthfm.models.language.seq2seq import Seq2SeqLM
from tests.models import road
from tests.references.prompt_cases import pubmedqa
from tests.references.small_tokenizer import t5_like

SMALL = {
    "d_model": 32,
    "d_kv": 8,
    "d_ff": 64,
    "num_layers": 2,
    "num_decoder_layers": 2,
    "num_heads": 4,
    "vocab_size": 400,
    "n_positions": 512,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint in the published format: pytorch_model.bin with config.json and tokenizer files."""
    path = tmp_path_factory.mktemp("clinical-t5")
    random = load_model("clinical-t5", "random", config=SMALL, device="cpu")
    tensors = {k: v * 3 for k, v in random.network.state_dict().items()}  # type: ignore[union-attr]  # loud, so that greedy text varies
    # T5's first releases carry this key, which no version of the network has
    tensors["decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"] = torch.zeros(32, 4)
    torch.save(tensors, path / "pytorch_model.bin")
    (path / "config.json").write_text(
        json.dumps({**SMALL, "model_type": "t5", "architectures": ["T5ForConditionalGeneration"]})
    )
    t5_like([q.context for q in pubmedqa()]).save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def model(folder: Path) -> Seq2SeqLM:
    return load_model("clinical-t5", folder, device="cpu")  # type: ignore[return-value]


def asked() -> tuple[list[str], list[list[str]]]:
    prompts = [f"question: {q.question} context: {q.context[:400]} answer: " for q in pubmedqa()[:6]]
    return prompts, [["yes", "no", "maybe", "it is not known"]] * len(prompts)


def test_scores_are_lm_evals(model: Seq2SeqLM) -> None:
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    harness = HFLM(
        pretrained=model.network,
        tokenizer=model.tokenizer,
        backend="seq2seq",
        batch_size=4,
        device="cpu",
        max_length=512,
    )
    prompts, options = asked()
    pairs = [(prompt, option) for prompt, choices in zip(prompts, options, strict=True) for option in choices]
    found = harness.loglikelihood(
        [Instance("loglikelihood", {}, pair, i) for i, pair in enumerate(pairs)], disable_tqdm=True
    )
    theirs = np.array([value for value, _ in found]).reshape(len(prompts), -1)
    np.testing.assert_allclose(np.stack(model.score(prompts, options)), theirs, atol=1e-3, rtol=1e-5)


def test_a_score_leaves_out_the_end_token_and_keeps_the_blank(model: Seq2SeqLM) -> None:
    """Negative controls of the boundary rule: scored with </s>, or without the prompt's blank, numbers differ."""
    prompt, option = "The answer is ", "no answer"
    right = model.score([prompt], [[option]])[0][0]
    encoded = model.encode(prompt.rstrip())

    def by_hand(target: list[int]) -> float:
        fed = torch.tensor([[0, *target[:-1]]])
        logits = torch.from_numpy(
            model.forward({"input_ids": torch.tensor([encoded]), "decoder_input_ids": fed})["logits"][0]
        )
        return float(logits.double().log_softmax(-1)[range(len(target)), target].sum())

    tokenizer = model.tokenizer
    assert tokenizer is not None
    assert right == pytest.approx(by_hand(tokenizer.encode(" " + option, add_special_tokens=False)), abs=1e-3)
    assert abs(by_hand(tokenizer.encode(" " + option)) - right) > 0.1
    assert encoded[-1] == tokenizer.eos_token_id


def test_greedy_text_is_transformers(model: Seq2SeqLM) -> None:
    """Decoded as the owners' compute_metrics (preprocess_mednli.py) does: the whole text without special tokens."""
    prompts, _ = asked()
    ours = model.generate(prompts, max_new_tokens=12)
    for prompt, text in zip(prompts, ours, strict=True):
        with torch.inference_mode():
            out = model.network.generate(
                torch.tensor([model.encode(prompt)]), max_new_tokens=12, do_sample=False, num_beams=1
            )
        assert text == model.tokenizer.batch_decode(out, skip_special_tokens=True)[0]  # type: ignore[union-attr]
    assert len(set(ours)) > 1
    assert "".join(model.generate(prompts[:1], max_new_tokens=12, stream=True)) == ours[0]


def test_too_long_an_input_is_refused_not_cut(model: Seq2SeqLM) -> None:
    for call in (lambda: model.generate(["word " * 600]), lambda: model.score(["word " * 600], [["a"]])):
        with pytest.raises(RunError, match=r"takes 512: shorten it"):
            call()
    with pytest.raises(RunError, match="empty prompt"):
        model.score([" "], [["a"]])


def test_a_checkpoint_that_lacks_a_tensor_is_refused(folder: Path, tmp_path: Path) -> None:
    tensors = torch.load(folder / "pytorch_model.bin", weights_only=True)
    shared = {k: v.clone() for k, v in tensors.items() if "decoder.final_layer_norm" not in k}
    save_file(shared, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text((folder / "config.json").read_text())
    with pytest.raises(CheckpointError, match=r"1 missing keys: decoder\.final_layer_norm\.weight"):
        load_model("clinical-t5", tmp_path)


@pytest.mark.parametrize("variant", ["base", "sci", "scratch", "large"])
def test_every_variant_has_its_size(variant: str) -> None:
    from healthfm import card
    from healthfm.models.language import seq2seq

    with torch.device("meta"):
        network = seq2seq.build(card("clinical-t5"), variant, {})  # type: ignore[arg-type]
    rows, width = network.get_input_embeddings().weight.shape
    assert (rows, width) == {
        "base": (32128, 768),
        "sci": (32128, 768),
        "scratch": (32000, 768),
        "large": (32000, 1024),
    }[variant]


@pytest.mark.evidence("clinical-t5", "road")
def test_clinical_t5_goes_the_whole_road(folder: Path, model: Seq2SeqLM, tmp_path: Path, few_pubmedqa: Path) -> None:
    """Reduced: 2 + 2 layers of 32, a Unigram vocabulary of 400. The stored numbers are those of transformers' own loading."""
    asked = ("clinical-t5", "pubmedqa@reasoning-free", "--root", few_pubmedqa, "--weights")
    rows = road.evaluated(tmp_path / "run", *asked, folder)
    reference = transformers.T5ForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval()
    assert model.tokenizer is not None

    def logits(context: list[int], option: list[int]) -> torch.Tensor:
        with torch.inference_mode():
            return reference(torch.tensor([context]), decoder_input_ids=torch.tensor([[0, *option[:-1]]])).logits[0]

    def encode(text: str) -> list[int]:
        return list(model.tokenizer.encode(text, add_special_tokens=text.startswith("Abstract")))  # type: ignore[union-attr]

    road.assert_scored(rows, few_pubmedqa, encode, logits, lambda row: row["LONG_ANSWER"], together=False)
    others = road.disturb(Path(shutil.copytree(folder, tmp_path / "other")))
    again = road.evaluated(tmp_path / "again", *asked, others)
    road.assert_moved(road.scores(rows), road.scores(again))
