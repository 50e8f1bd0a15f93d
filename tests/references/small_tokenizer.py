"""Small real tokenizers, trained at once and always alike, for code that builds prompts out of token ids."""

from __future__ import annotations

from collections.abc import Iterable

import transformers
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers


def sentencepiece_like(texts: Iterable[str]) -> transformers.PreTrainedTokenizerFast:
    """A BPE that writes blanks as ▁, puts one before every text, and adds the start token <s>, as LLaMA's does."""
    core = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=False))
    core.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always", split=True)
    core.decoder = decoders.Metaspace(prepend_scheme="always")
    trainer = trainers.BpeTrainer(vocab_size=600, special_tokens=["<unk>", "<s>", "</s>"], show_progress=False)
    core.train_from_iterator(texts, trainer)
    core.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=core, unk_token="<unk>", bos_token="<s>", eos_token="</s>", pad_token="</s>"
    )


def byte_level(texts: Iterable[str], end: str = "</s>") -> transformers.PreTrainedTokenizerFast:
    """A byte-level BPE that adds no special tokens, as BLOOM's and Qwen's do not."""
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=600, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False,
        special_tokens=[AddedToken(end, special=True, normalized=False)],
    )  # fmt: skip
    core.train_from_iterator(texts, trainer)
    return transformers.PreTrainedTokenizerFast(tokenizer_object=core, eos_token=end, pad_token=end)


def t5_like(texts: Iterable[str]) -> transformers.PreTrainedTokenizerFast:
    """A Unigram with T5's special tokens, trained as the owners of Clinical-T5 train theirs; adds </s> at the end."""
    core = Tokenizer(models.Unigram())
    core.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    core.decoder = decoders.Metaspace(prepend_scheme="always")
    trainer = trainers.UnigramTrainer(
        vocab_size=400, special_tokens=["<pad>", "</s>", "<unk>"], unk_token="<unk>", show_progress=False
    )
    core.train_from_iterator(texts, trainer)
    core.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    )
