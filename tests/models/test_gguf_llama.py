"""SmolLM2 from its GGUF file: tokens as llama.cpp cuts them, logits as transformers' own GGUF loader gives them."""

from __future__ import annotations

import json
import shutil
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

from healthfm import CheckpointError, load_model, open_dataset
from healthfm.formats.gguf import GGUF
from healthfm.models import gguf_llama
from healthfm.models.causal_lm import CausalLM
from healthfm.models.weights import locate

HARD = [
    "In 2024, the patient's BP was 120/80.\n\n  Temp 38.5°C; naïve β-blocker…",
    "  leading and trailing  ",
    "don't DON'T we'll\tTAB\r\nCRLF",
    "高血压 15mg/kg 🫀 <b>x</b>",
    "1234567890 3.14159 1e-9",
    "<|im_start|>user\nhello<|im_end|>",
]


@pytest.fixture(scope="module")
def path(smollm2: CausalLM) -> Path:
    return locate(smollm2.card, None)


@pytest.fixture(scope="module")
def llama_cpp(path: Path) -> Iterator[Callable[[str], list[int]]]:
    """llama.cpp's own tokenizer, asked through its server on this machine."""
    import xllamacpp

    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(path)
    parameters.n_ctx, parameters.warmup, parameters.verbosity = 512, False, -1
    server = xllamacpp.Server(parameters)

    def tokenize(text: str) -> list[int]:
        body = json.dumps({"content": text, "parse_special": True}).encode()
        request = urllib.request.Request(
            f"{server.listening_address}/tokenize", body, {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return list(json.load(answer)["tokens"])

    yield tokenize


def test_tokens_equal_llama_cpps(smollm2: CausalLM, llama_cpp: Callable[[str], list[int]], pubmedqa_root: Path) -> None:
    texts = [record.context + "\n" + record.question for record in open_dataset("pubmedqa", pubmedqa_root, "test")]  # type: ignore[attr-defined]
    for text in HARD + texts[:100]:
        assert smollm2.encode(text) == llama_cpp(text)


def test_another_models_cut_would_differ(path: Path, llama_cpp: Callable[[str], list[int]]) -> None:
    """Negative control: cut as Llama 3 cuts, some of the texts come out as other tokens."""
    gguf = GGUF(path)
    gguf.metadata["tokenizer.ggml.pre"] = "llama-bpe"
    wrong = gguf_llama.tokenizer(gguf)
    assert any(wrong.encode(text) != llama_cpp(text) for text in HARD)


def test_logits_equal_transformers_own_gguf_loader(smollm2: CausalLM, path: Path) -> None:
    theirs = transformers.AutoModelForCausalLM.from_pretrained(
        path.parent, gguf_file=path.name, dtype=torch.float32
    ).eval()
    ids = [smollm2.encode(text) for text in HARD]
    for tokens, ours in zip(ids, smollm2.logits(ids), strict=True):
        with torch.inference_mode():
            reference = theirs(torch.tensor([tokens])).logits[0].numpy()
        assert np.linalg.norm(ours - reference) <= 1e-4 * np.linalg.norm(reference)
        assert np.abs(ours - reference).max() <= 1e-3 * np.sqrt(np.mean(reference**2))


def test_without_undoing_the_head_order_logits_are_wrong(
    smollm2: CausalLM, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Negative control of the rotary permutation."""
    monkeypatch.setattr(gguf_llama, "unpermute", lambda weight, heads: weight)
    wrong = load_model("smollm2-135m-instruct", device="cpu")
    ids = [smollm2.encode(HARD[0])]
    right = smollm2.logits(ids)[0]
    assert np.linalg.norm(wrong.logits(ids)[0] - right) > 0.05 * np.linalg.norm(right)


def test_it_knows_the_capital_of_france(smollm2: CausalLM) -> None:
    last = smollm2.logits([smollm2.encode("The capital of France is")])[0][-1]
    assert smollm2.tokenizer.decode([int(last.argmax())]) == " Paris"  # type: ignore[union-attr]


@pytest.mark.parametrize("keep", [0, 3, 4096, 5_000_000, -1000])
def test_a_truncated_gguf_is_refused(path: Path, tmp_path: Path, keep: int) -> None:
    short = tmp_path / "short.gguf"
    shutil.copy(path, short)
    with short.open("rb+") as handle:
        handle.truncate(keep if keep >= 0 else path.stat().st_size + keep)
    with pytest.raises(CheckpointError, match=r"short\.gguf: (not a readable GGUF file|cut short)"):
        load_model("smollm2-135m-instruct", short)


def test_an_unknown_tokenizer_cut_is_refused_not_guessed(path: Path) -> None:
    gguf = GGUF(path)
    gguf.metadata["tokenizer.ggml.pre"] = "something-new"
    with pytest.raises(CheckpointError, match="pre-tokenizer 'something-new'"):
        gguf_llama.tokenizer(gguf)


def test_an_unknown_tensor_is_refused(path: Path) -> None:
    class Stranger(GGUF):
        def __iter__(self) -> Iterator[str]:
            yield "blk.0.attn_sinks.weight"

        def __getitem__(self, name: str) -> np.ndarray:
            return np.zeros((2, 2), np.float32)

    with pytest.raises(CheckpointError, match=r"blk\.0\.attn_sinks\.weight"):
        gguf_llama.to_published(Stranger(path))
