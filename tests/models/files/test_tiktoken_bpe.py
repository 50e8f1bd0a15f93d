"""Tokenizers built here: Qwen's and GLM-4's ranks as tiktoken reads them, sentencepiece's models as sentencepiece reads them."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import unicodedata
from dataclasses import replace
from pathlib import Path

import pytest
import sentencepiece
import tiktoken
import transformers

from healthfm import CheckpointError
from healthfm.models.files import sentencepiece_bpe, tiktoken_bpe
from healthfm.models.language import text_model as text
from tests.models import published as pub

HARD = [
    "In 2024, the patient's BP was 120/80.\n\n  Temp 38.5°C; naïve β-blocker…",
    "  leading and trailing  ",
    "don't DON'T we'll\tTAB\r\nCRLF  \n \n\n  x",
    "高血压 15mg/kg 🫀 <b>x</b> \x00\x07",
    "1234567890 3.14159 1e-9",
    "aaaaaaaaaa ........ ------- ======",
    "ﬁne ½ ＡＢＣ e\u0301 한국어 مرحبا",
    "下面是一个问题，运用医学知识来正确回答提问.\n### 问题:\n肝癌患者会出现什么症状？\n### 回答:\n",
    " ",
    "",
]
SPECIAL = ["<|endoftext|>Question<|endoftext|>", "<|im_start|>user\nhello<|im_end|>\n", "a<|extra_204|> b<|extra_205|>"]
# The special tokens of the owners' own tokenizer, huggingface.co/Qwen/Qwen-7B tokenization_qwen.py (its PAT_STR cuts numbers digit by digit)
QWENS_SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *(f"<|extra_{i}|>" for i in range(205))]
EXPECTED = pub.EXPECTED / "causal_qwen_tokens.json"


def sample() -> list[str]:
    return HARD + pub.texts()[::14]


# Qwen ----------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small ranks file in the real format, trained on PubMedQA's text: numbers of several digits are tokens, so that the cut decides."""
    folder = tmp_path_factory.mktemp("qwen")
    pub.qwen_ranks(folder, 1500, pub.THREES)
    return folder / "qwen.tiktoken"


@pytest.fixture(scope="module")
def oracle(ranks: Path):  # type: ignore[no-untyped-def]
    """tiktoken itself, on the same file."""
    lines = [line.split() for line in ranks.read_bytes().splitlines()]
    mergeable = {base64.b64decode(token): int(rank) for token, rank in lines}
    special = {token: len(mergeable) + i for i, token in enumerate(QWENS_SPECIAL)}
    return tiktoken.Encoding("Qwen", pat_str=pub.DIGITS, mergeable_ranks=mergeable, special_tokens=special)


def test_ids_equal_tiktokens(ranks: Path, oracle) -> None:  # type: ignore[no-untyped-def]
    ours = tiktoken_bpe.load(ranks)
    for one in sample() + SPECIAL + ["<|extra_0|><|extra_204|>", "10 mg, 100 mg, 1000000 IU"]:
        composed = unicodedata.normalize("NFC", one)  # as tokenization_qwen.py does before it asks tiktoken
        assert ours.encode(one) == oracle.encode(composed, allowed_special="all")


def test_text_comes_back(ranks: Path) -> None:
    ours = tiktoken_bpe.load(ranks)
    for one in sample() + SPECIAL:
        assert ours.decode(ours.encode(one)) == unicodedata.normalize("NFC", one)


def test_special_tokens_stand_behind_the_ranks(ranks: Path, oracle) -> None:  # type: ignore[no-untyped-def]
    ours = tiktoken_bpe.load(ranks)
    assert len(ours) == oracle.n_vocab
    assert ours.eos_token_id == oracle.eot_token
    assert ours.convert_tokens_to_ids("<|im_end|>") == oracle.eot_token + 2
    assert ours.convert_tokens_to_ids("<|extra_204|>") == oracle.n_vocab - 1


@pytest.mark.parametrize("spoil", ["cut", "norm"])
def test_another_cut_or_no_composition_would_differ(
    spoil: str, ranks: Path, oracle  # type: ignore[no-untyped-def]
) -> None:  # fmt: skip
    """Negative control: cut as GPT-2 cuts, or without composing characters first, some ids differ."""
    gpt2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
    kind = replace(tiktoken_bpe.QWEN, **({"cut": gpt2} if spoil == "cut" else {"compose": False}))
    wrong = tiktoken_bpe.load(ranks, kind)
    assert any(
        wrong.encode(x) != oracle.encode(unicodedata.normalize("NFC", x), allowed_special="all") for x in sample()
    )


def digest(tokenizer: transformers.PreTrainedTokenizerBase) -> str:
    """sha256 over the ids of the sample's texts."""
    return hashlib.sha256(json.dumps([tokenizer.encode(x) for x in sample() + SPECIAL]).encode()).hexdigest()


@pytest.mark.skipif("QWEN_TIKTOKEN" not in os.environ, reason="needs the owner's qwen.tiktoken: QWEN_TIKTOKEN=PATH")
def test_ids_of_the_owners_ranks_equal_the_owners_tokenizer() -> None:
    made = json.loads(EXPECTED.read_text(encoding="utf-8"))
    path = Path(os.environ["QWEN_TIKTOKEN"])
    assert hashlib.sha256(path.read_bytes()).hexdigest() == made["ranks"]
    assert digest(tiktoken_bpe.load(path)) == made["ids"]


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda data: data[: len(data) // 2], r"not a readable|do not run"),
        (lambda data: b"", "do not run"),
        (lambda data: data.replace(b" 5\n", b" 6\n", 1), "do not run"),
        (lambda data: b"!!" + data, "not a readable"),
        (lambda data: data.split(b"\n", 1)[1], "do not run"),
        (lambda data: data + b"AAECAwQF %d\n" % data.count(b"\n"), "cannot be merged from tokens of lower ranks"),
    ],
)
def test_a_damaged_ranks_file_is_refused(ranks: Path, tmp_path: Path, spoil, says: str) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "qwen.tiktoken"
    path.write_bytes(spoil(ranks.read_bytes()))
    with pytest.raises(CheckpointError, match=says):
        tiktoken_bpe.load(path)


# GLM-4 ---------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def glm4(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small ``tokenizer.model`` of GLM-4's kind, with its configuration."""
    folder = tmp_path_factory.mktemp("glm4")
    pub.glm4_ranks(folder, size=1500)
    return folder


def test_glm4s_ids_equal_tiktokens_behind_its_opening(glm4: Path) -> None:
    lines = [line.split() for line in (glm4 / "tokenizer.model").read_bytes().splitlines()]
    mergeable = {base64.b64decode(token): int(rank) for token, rank in lines}
    names = [  # as tokenizer_config.json lists them
        "<|endoftext|>", "[MASK]", "[gMASK]", "[sMASK]", "<sop>", "<eop>", "<|system|>", "<|user|>", "<|assistant|>", "<|observation|>",
        "<|begin_of_image|>", "<|end_of_image|>", "<|begin_of_video|>", "<|end_of_video|>",
    ]  # fmt: skip
    special = {token: len(mergeable) + i for i, token in enumerate(names)}
    theirs = tiktoken.Encoding("GLM-4", pat_str=pub.THREES, mergeable_ranks=mergeable, special_tokens=special)
    ours = text.read_tokenizer(glm4)
    assert ours is not None and ours.eos_token_id == special["<|endoftext|>"]
    for one in [*sample(), "<|user|>\nWhy?<|assistant|>"]:
        assert ours.encode(one) == [special["[gMASK]"], special["<sop>"], *theirs.encode(one, allowed_special="all")]
        assert ours.decode(ours.encode(one, add_special_tokens=False)) == one
    qwens = tiktoken_bpe.load(glm4 / "tokenizer.model", tiktoken_bpe.QWEN)  # cuts numbers into digits, composes
    assert any(qwens.encode(one) != ours.encode(one, add_special_tokens=False) for one in sample())


def test_glm4s_chat_template_is_its_configurations(glm4: Path) -> None:
    ours = text.read_tokenizer(glm4)
    assert ours is not None
    made = ours.apply_chat_template([{"role": "user", "content": "Why?"}], tokenize=False, add_generation_prompt=True)
    assert made == "[gMASK]<sop><|user|>\nWhy?<|assistant|>"


# sentencepiece -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=sorted(pub.SENTENCEPIECE))
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp(request.param)
    pub.sentencepiece_model(folder, request.param)
    return folder / "tokenizer.model"


def test_ids_and_texts_equal_sentencepieces(model: Path) -> None:
    theirs = sentencepiece.SentencePieceProcessor(model_file=str(model))
    ours = text.read_tokenizer(model.parent)
    assert ours is not None
    for one in sample():
        ids = theirs.encode(one)
        assert ours.encode(one) == [theirs.bos_id(), *ids], one[:40]
        assert ours.decode(ids) == theirs.decode(ids)


def test_a_blank_before_the_text_is_the_models_own_choice(tmp_path: Path) -> None:
    """InternLM's models put none: built as LLaMA's, the first id would differ."""
    pub.internlm_model(tmp_path)
    pieces = sentencepiece_bpe.parse(tmp_path / "tokenizer.model")
    right = sentencepiece_bpe.build(pieces, {}).encode("Fever")
    pieces.prefix = True
    assert sentencepiece_bpe.build(pieces, {}).encode("Fever") != right


def test_special_tokens_and_policy_come_from_the_files_beside(tmp_path: Path) -> None:
    size = pub.padded_model(tmp_path)
    config = tmp_path / "tokenizer_config.json"
    stated = {"bos_token": {"content": "<s>"}, "pad_token": "[PAD]", "add_bos_token": False, "add_eos_token": True}
    config.write_text(json.dumps(stated))
    ours = sentencepiece_bpe.load(tmp_path / "tokenizer.model")
    assert (ours.bos_token_id, ours.eos_token_id, ours.pad_token_id) == (1, 2, size - 1)
    assert ours.encode("fever")[-1] == 2
    assert ours.encode("fever")[0] not in (1, 2)
    assert ours.encode("[PAD]", add_special_tokens=False) == [size - 1]


def test_an_added_token_with_another_id_is_refused(tmp_path: Path) -> None:
    size = pub.sentencepiece_model(tmp_path)
    (tmp_path / "added_tokens.json").write_text(json.dumps({"[PAD]": size + 5}))
    with pytest.raises(CheckpointError, match=rf"\[PAD\] has the id {size + 5}, but {size} is next"):
        sentencepiece_bpe.load(tmp_path / "tokenizer.model")


@pytest.mark.parametrize("keep", [0, 1, 50, 3000, -3])
def test_a_truncated_model_is_refused(tmp_path: Path, keep: int) -> None:
    pub.sentencepiece_model(tmp_path)
    path = tmp_path / "tokenizer.model"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(CheckpointError, match=r"tokenizer\.model: not a readable sentencepiece model, or cut short"):
        sentencepiece_bpe.load(path)


def test_a_unigram_model_is_not_mistaken_for_bpe(tmp_path: Path) -> None:
    out = open(tmp_path / "tokenizer.model", "wb")  # noqa: PTH123, SIM115
    with out:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(pub.texts()[:300]), model_writer=out, vocab_size=300, model_type="unigram",
            minloglevel=2, hard_vocab_limit=False, max_sentence_length=20000,
        )  # fmt: skip
    with pytest.raises(CheckpointError, match="of another kind than BPE"):
        sentencepiece_bpe.load(tmp_path / "tokenizer.model")
