"""SmolLM2 from its GGUF file: tokens as llama.cpp cuts them, logits as transformers' own GGUF loader gives them."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

from healthfm import CheckpointError, load_model, open_dataset
from healthfm.formats.gguf import GGUF
from healthfm.models.files import gguf_llama, sentencepiece_bpe
from healthfm.models.language.causal_lm import CausalLM
from tests.llama_cpp import ask, serve
from tests.models import published
from tests.references.recipe_weights import fill

HARD = [
    "In 2024, the patient's BP was 120/80.\n\n  Temp 38.5°C; naïve β-blocker…",
    "  leading and trailing  ",
    "don't DON'T we'll\tTAB\r\nCRLF",
    "高血压 15mg/kg 🫀 <b>x</b>",
    "1234567890 3.14159 1e-9",
    "<|im_start|>user\nhello<|im_end|>",
]


@pytest.fixture(scope="module")
def path(smollm2_file: Path) -> Path:
    return smollm2_file


def cut(address: str, text: str) -> list[int]:
    """llama.cpp's own tokens, asked through its server."""
    return list(ask(address, "tokenize", {"content": text, "parse_special": True, "add_special": True})["tokens"])


def test_tokens_equal_llama_cpps(smollm2: CausalLM, llama_cpp: str, pubmedqa_root: Path) -> None:
    texts = [record.context + "\n" + record.question for record in open_dataset("pubmedqa", pubmedqa_root, "test")]  # type: ignore[attr-defined]
    for text in HARD + texts[:100]:
        assert smollm2.encode(text) == cut(llama_cpp, text)


def test_another_models_cut_would_differ(path: Path, llama_cpp: str) -> None:
    """Negative control: cut as Llama 3 cuts, some of the texts come out as other tokens."""
    gguf = GGUF(path)
    gguf.metadata["tokenizer.ggml.pre"] = "llama-bpe"
    wrong = gguf_llama.tokenizer(gguf)
    assert any(wrong.encode(text) != cut(llama_cpp, text) for text in HARD)


def test_logits_equal_transformers_own_gguf_loader(
    smollm2: CausalLM, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import gguf

    mapped = np.memmap
    monkeypatch.setattr(
        np, "memmap", lambda *words, **more: np.asarray(mapped(*words, **more))
    )  # slices of it are slow
    for name in ("GGUFReader", "get_tensor_name_map"):  # their loader makes the one twice, the other 400 times
        monkeypatch.setattr(gguf, name, functools.cache(getattr(gguf, name)))
    theirs = transformers.AutoModelForCausalLM.from_pretrained(
        path.parent, gguf_file=path.name, dtype=torch.float32
    ).eval()
    ids = [smollm2.encode(text) for text in (HARD[0], HARD[3])]
    for tokens, ours in zip(ids, smollm2.logits(ids), strict=True):
        with torch.inference_mode():
            reference = theirs(torch.tensor([tokens])).logits[0].numpy()
        assert np.linalg.norm(ours - reference) <= 1e-4 * np.linalg.norm(reference)
        assert np.abs(ours - reference).max() <= 1e-3 * np.sqrt(np.mean(reference**2))


def test_it_knows_the_capital_of_france(smollm2: CausalLM) -> None:
    last = smollm2.logits([smollm2.encode("The capital of France is")])[0][-1]
    assert smollm2.tokenizer.decode([int(last.argmax())]) == " Paris"  # type: ignore[union-attr]


@pytest.mark.parametrize("keep", [0, 3, 4096, 5_000_000, -1000])
def test_a_truncated_gguf_is_refused(path: Path, tmp_path: Path, keep: int) -> None:
    short = tmp_path / "short.gguf"
    with path.open("rb") as whole:
        short.write_bytes(whole.read(keep if keep >= 0 else path.stat().st_size + keep))
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


# sentencepiece vocabularies ------------------------------------------------------------------------------------------------

NUMBERS = {
    "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
    "max_position_embeddings": 2048, "rms_norm_eps": 1e-6, "tie_word_embeddings": False,
}  # fmt: skip


@pytest.fixture(scope="module", params=["llama", "internlm"])
def spm(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small Llama with a sentencepiece vocabulary as ``convert_hf_to_gguf.py`` writes it (LLaMA's, or InternLM's with no blank before)."""
    import gguf

    folder = tmp_path_factory.mktemp(request.param)
    size = published.sentencepiece_model(folder, request.param)
    pieces = sentencepiece_bpe.parse(folder / "tokenizer.model")
    network = transformers.LlamaForCausalLM(transformers.LlamaConfig(vocab_size=size, **NUMBERS))
    fill(network.state_dict())
    network.save_pretrained(folder)
    writer = gguf.GGUFWriter(folder / "small.gguf", "llama")
    writer.add_block_count(2)
    writer.add_context_length(2048)
    writer.add_embedding_length(64)
    writer.add_feed_forward_length(96)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_rope_dimension_count(16)
    writer.add_vocab_size(size)
    writer.add_tokenizer_model("llama")
    writer.add_token_list(pieces.texts)
    writer.add_token_scores(pieces.scores)
    writer.add_token_types(pieces.kinds)
    writer.add_add_space_prefix(pieces.prefix)
    for name, number in (("bos", 1), ("eos", 2), ("unk", 0)):
        getattr(writer, f"add_{name}_token_id")(number)
    for name, value in network.state_dict().items():
        writer.add_tensor(*written(name, value))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return folder / "small.gguf"


def written(name: str, value: torch.Tensor) -> tuple[str, np.ndarray]:
    """A tensor under GGUF's name, rotary halves interleaved."""
    top = {published: ours for ours, published in gguf_llama.TOP.items()}
    if name in top:
        return top[name], value.numpy()
    _, _, layer, rest = name.split(".", 3)
    part = next(ours for ours, published in gguf_llama.LAYER.items() if rest == f"{published}.weight")
    heads = {"attn_q": 4, "attn_k": 2}.get(part)
    if heads:
        value = value.reshape(heads, 2, -1, value.shape[1]).swapaxes(1, 2).reshape(value.shape).contiguous()
    return f"blk.{layer}.{part}.weight", value.numpy()


def test_sentencepiece_tokens_equal_llama_cpps(spm: Path, pubmedqa_root: Path) -> None:
    model = load_model("medalpaca", spm, device="cpu")
    server = serve(spm)
    texts = [record.context + "\n" + record.question for record in open_dataset("pubmedqa", pubmedqa_root, "test")]  # type: ignore[attr-defined]
    for text in HARD + texts[:100]:
        assert model.encode(text) == cut(server.listening_address, text), text[:40]  # type: ignore[attr-defined]


def test_the_same_network_from_gguf_and_from_its_folder(spm: Path) -> None:
    ids = [[1, 5, 60, 300, 41, 7]]
    ours = load_model("medalpaca", spm, device="cpu").logits(ids)[0]
    theirs = load_model("medalpaca", spm.parent / "model.safetensors", device="cpu").logits(ids)[0]
    assert np.linalg.norm(ours - theirs) <= 1e-5 * np.linalg.norm(theirs)


def test_without_undoing_the_head_order_logits_are_wrong(spm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control of the rotary permutation."""
    ids = [[1, 5, 60, 300, 41, 7]]
    right = load_model("medalpaca", spm, device="cpu").logits(ids)[0]
    monkeypatch.setattr(gguf_llama, "unpermute", lambda weight, heads: weight)
    wrong = load_model("medalpaca", spm, device="cpu").logits(ids)[0]
    assert np.linalg.norm(wrong - right) > 0.05 * np.linalg.norm(right)
