"""Text models of any class of transformers', from a folder (``models.files.folder``): causal, encoder-decoder, encoders, classifiers.

Nothing is assumed of how such a class computes: options are scored by the network's own logits, one row an option, unless it is one of
the classes that the catalogue's rows run by.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import transformers

from healthfm.cards.schema import ModelCard
from healthfm.errors import CapabilityError, CheckpointError, RunError
from healthfm.models.files import stated
from healthfm.models.files.folder import Opened
from healthfm.models.files.opening import place
from healthfm.models.language import framing, generation
from healthfm.models.language.causal_lm import ARCHITECTURES, CausalLM, check_vocabulary
from healthfm.models.language.masked_lm import batches, likeliest, mean_of
from healthfm.models.language.seq2seq import Seq2SeqLM
from healthfm.models.language.sequence_classifier import SequenceClassifier
from healthfm.models.language.text_model import TextModel, read_tokenizer
from healthfm.models.model import Float32
from healthfm.models.vision import heads
from healthfm.records import Message

KNOWN = frozenset(name for _, name in ARCHITECTURES.values())
POOLINGS = {"cls_token": "cls", "mean_tokens": "mean", "lasttoken": "last"}  # in sentence-transformers' words
CAUSAL_NOISE = 1e-4  # what two passes over the same tokens may differ by, of the largest logit


class NativeCausalLM(CausalLM):
    """A causal language model of a class that no row runs by: every number is of the network's own forward."""

    packs = False

    def generate(
        self, prompts: Sequence[str | Sequence[Message]], max_new_tokens: int | None = 256, temperature: float | None = 0,
        stop: Sequence[str] | None = None, seed: int = 0, stream: bool = False,
    ) -> Any:  # fmt: skip
        """Return the text generated for each prompt (see ``generation.generate``)."""
        return generation.generate(self, begin, prompts, max_new_tokens, temperature, stop, seed, stream)


def begin(model: TextModel, ids: Sequence[int]) -> tuple[generation.Step, list[int], int]:
    """``begin`` of any causal network: with a cache where transformers gives it one, else the whole text for every token."""
    room = model.max_length - len(ids)
    if room < 1:
        raise RunError(f"a prompt has {len(ids)} tokens; {model.name} takes {model.max_length}: shorten it")
    network, cached = model.network, model.network._supports_default_dynamic_cache()
    last = {"logits_to_keep": 1} if "logits_to_keep" in inspect.signature(network.forward).parameters else {}
    cache = transformers.DynamicCache(config=network.config) if cached else None
    seen: list[int] = []

    def step(newest: Sequence[int]) -> torch.Tensor:
        seen.extend(newest)
        given = torch.tensor([list(newest) if cached else seen], device=network.device)
        past = {"past_key_values": cache, "use_cache": True} if cached else {"use_cache": False}
        return network(input_ids=given, **past, **last).logits[0, -1]  # type: ignore[no-any-return]

    return step, list(ids), room


def causal(card: ModelCard, opened: Opened, device: str, dtype: str) -> CausalLM:
    """Return a causal language model. Raises ``CheckpointError``: the class looks at what comes, so that its likelihoods are none."""
    check_causal(opened)
    place(opened.network, card.runner(None), device, dtype)
    tokenizer = read_tokenizer(opened.path)
    check_vocabulary(opened.network, tokenizer)
    kind = CausalLM if opened.architecture in KNOWN else NativeCausalLM
    model = kind(card, None, opened.network, tokenizer)
    model.provenance = opened.provenance()
    if tokenizer is not None:
        opened.said.extend(framing.notices(tokenizer.convert_ids_to_tokens(list(model.frame.end))))
    model.take_generation(stated.generation(opened.stated, stated.generation_file(opened.path)))
    return model


@torch.inference_mode()
def check_causal(opened: Opened) -> None:
    """Raise ``CheckpointError`` where what a network says of a token depends on those behind it."""
    rows = int(opened.network.config.get_text_config().vocab_size)
    one = torch.tensor([[5 % rows, 7 % rows, 11 % rows, 13 % rows]])
    other = one.clone()
    other[0, -1] = 17 % rows
    first, second = (opened.network(input_ids=ids, use_cache=False).logits[0, :-1] for ids in (one, other))
    if float((first - second).abs().max()) > CAUSAL_NOISE * float(first.abs().max()):
        raise CheckpointError(
            f"{opened.path}: {opened.architecture} as its config.json has it looks at the tokens to come (is_decoder?): no causal model"
        )


def seq2seq(card: ModelCard, opened: Opened, device: str, dtype: str) -> Seq2SeqLM:
    """Return an encoder-decoder language model."""
    place(opened.network, card.runner(None), device, dtype)
    tokenizer = read_tokenizer(opened.path)
    check_vocabulary(opened.network, tokenizer)
    model = Seq2SeqLM(card, None, opened.network, tokenizer)
    model.provenance = opened.provenance()
    model.take_generation(stated.generation(opened.stated, stated.generation_file(opened.path)))
    return model


def classifier(card: ModelCard, opened: Opened, device: str, dtype: str) -> SequenceClassifier:
    """Return a text classifier with its head's own classes."""
    place(opened.network, card.runner(None), device, dtype)
    tokenizer = read_tokenizer(opened.path)
    check_vocabulary(opened.network, tokenizer)
    model = NativeClassifier(card, None, opened.network, tokenizer)
    count = int(opened.network.config.num_labels)
    model.classes, model.several = heads.names(opened.stated, count), heads.several(opened.stated)
    model.provenance = opened.provenance()
    return model


class NativeClassifier(SequenceClassifier):
    """A text classifier of any class of transformers'. Texts end as the tokenizer ends them, cut to ``max_length``."""

    def encode(self, text: str) -> list[int]:
        return cut(super().encode(text), self.max_length)

    @torch.inference_mode()
    def forward(self, batch: Mapping[str, torch.Tensor]) -> dict[str, Float32]:
        """Return ``logits``, float32 [n, classes], one text at a time."""
        rows = zip(batch["input_ids"], batch["attention_mask"], strict=True)
        texts = [ids[mask.bool()][None].to(self.network.device) for ids, mask in rows]
        return {"logits": torch.cat([self.network(input_ids=ids).logits for ids in texts]).float().cpu().numpy()}


# Encoders ---------------------------------------------------------------------------------------------------------------


class Encoder(TextModel):
    """A text encoder of any class of transformers'. ``pooling``: "mean" (of all tokens), "cls" (the first) or "last".

    ``provenance["truncated"]`` counts the texts cut to ``max_length`` so far.
    """

    capabilities = frozenset({"preprocess", "forward", "embed", "embed_tokens"})
    pooling = "mean"
    normalise = False

    def encode(self, text: str) -> list[int]:
        """Return the token ids of a text, as its tokenizer begins and ends it, cut to ``max_length``."""
        ids, was_cut = self.whole(text)
        if was_cut:
            self.provenance["truncated"] = self.provenance.get("truncated", 0) + 1
        return ids

    def whole(self, text: str) -> tuple[list[int], bool]:
        """Return the token ids of a text, cut to ``max_length``, and whether it was longer."""
        ids = super().encode(text)
        return cut(ids, self.max_length), len(ids) > self.max_length

    @torch.inference_mode()
    def forward(self, batch: Mapping[str, torch.Tensor]) -> dict[str, Float32]:
        """Return ``last_hidden_state`` [n, length, d] and, with a masked-language head, ``logits`` [n, length, vocabulary]."""
        given = {name: value.to(self.network.device) for name, value in batch.items()}
        found = {"last_hidden_state": self.network.base_model(**given).last_hidden_state}
        if "fill" in self.capabilities:
            found["logits"] = self.network(**given).logits
        return {name: value.float().cpu().numpy() for name, value in found.items()}

    def embed(self, items: Sequence[str], output: str = "pooled", batch_size: int | str = "auto") -> Any:
        """Return "pooled" vectors, float32 [n, d], or "tokens": a list of float32 [length, d]."""
        if output not in ("pooled", "tokens"):
            raise CapabilityError(f"output is '{output}'; use pooled or tokens")
        return self._run([self.encode(item) for item in items], output, batch_size)

    def embed_tokens(self, token_ids: Sequence[Sequence[int]]) -> Float32:
        """Return pooled vectors, float32 [n, d], of token ids as they are (special tokens are the caller's)."""
        longest = max(map(len, token_ids), default=0)
        if longest > self.max_length:
            raise RunError(f"{longest} tokens; {self.name} takes {self.max_length}")
        pooled: Float32 = self._run(token_ids, "pooled", "auto")
        return pooled

    @torch.inference_mode()
    def fill(self, texts: Sequence[str], top_k: int = 5) -> list[list[tuple[str, float]]]:
        """Return the ``top_k`` (piece, probability) for each text's one mask token; special tokens are left out."""
        if "fill" not in self.capabilities:
            raise self._cannot("fill")
        filled = []
        for text in texts:
            ids = self.encode(text)
            assert self.tokenizer is not None
            masks = [i for i, token in enumerate(ids) if token == self.tokenizer.mask_token_id]
            if len(masks) != 1:
                raise RunError(
                    f"fill needs one {self.tokenizer.mask_token} in the first {self.max_length} tokens of a text, not {len(masks)}"
                )
            given = {name: value.to(self.network.device) for name, value in self.pad([ids]).items()}
            filled.append(likeliest(self.tokenizer, self.network(**given).logits[0, masks[0]], top_k))
        return filled

    @torch.inference_mode()
    def _run(self, rows: Sequence[Sequence[int]], output: str, batch_size: int | str) -> Any:
        """Run rows in batches of like length; return their results in the order given."""
        if any(not len(row) for row in rows):
            raise RunError("a text has no tokens")
        found: list[Any] = [None] * len(rows)
        for batch in batches([len(row) for row in rows], batch_size):
            inputs = {name: one.to(self.network.device) for name, one in self.pad([rows[i] for i in batch]).items()}
            hidden = self.network.base_model(**inputs).last_hidden_state
            values = hidden if output == "tokens" else self._pool(hidden, inputs["attention_mask"])
            for i, value in zip(batch, values.float().cpu().numpy(), strict=True):
                found[i] = value[: len(rows[i])] if output == "tokens" else value
        if output == "tokens":
            return found
        return np.stack(found) if found else np.zeros((0, 0), np.float32)

    def _pool(self, hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        if self.pooling == "mean":
            pooled = mean_of(hidden, mask)
        else:
            at = torch.zeros_like(mask[:, 0]) if self.pooling == "cls" else mask.sum(1) - 1
            pooled = hidden[torch.arange(len(hidden), device=hidden.device), at]
        return torch.nn.functional.normalize(pooled, dim=-1) if self.normalise else pooled


def encoder(card: ModelCard, opened: Opened, fills: bool, pooling: str | None, device: str, dtype: str) -> Encoder:
    """Return a text encoder; ``fills``: it has a masked-language head. Its pooling is the caller's, the folder's, else the mean."""
    if (
        opened.network.config.is_encoder_decoder
        and hasattr(opened.network, "get_decoder")
        and hasattr(opened.network, "decoder")
    ):
        raise CapabilityError(
            f"{opened.path}: {opened.architecture} is an encoder and a decoder without a head: no verb here reads it"
        )
    place(opened.network, card.runner(None), device, dtype)
    tokenizer = read_tokenizer(opened.path)
    check_vocabulary(opened.network, tokenizer)
    model = Encoder(card, None, opened.network, tokenizer)
    model.capabilities = model.capabilities | ({"fill"} if fills else set())
    own, model.normalise, longest = sentence_files(opened)
    if pooling is not None and pooling not in POOLINGS.values():
        raise CapabilityError(f"pooling is '{pooling}'; use {', '.join(POOLINGS.values())}")
    model.pooling = pooling or own or "mean"
    if pooling is None and own is None:
        opened.said.append(
            "the folder does not say how a text becomes one vector: the mean of all its tokens (config={'pooling': 'cls'} takes the first)"
        )
    limits = (model.max_length, longest, getattr(tokenizer, "model_max_length", None))
    model.max_length = int(min(one for one in limits if one))
    model.provenance = {
        **opened.provenance(),
        "pooling": model.pooling + (", scaled to length 1" if model.normalise else ""),
    }
    return model


def sentence_files(opened: Opened) -> tuple[str | None, bool, int | None]:
    """Return what sentence-transformers' files say: the pooling, whether vectors are scaled to length 1, the longest text in tokens.

    Raises ``CheckpointError`` that names a part of them which is not followed here.
    """
    parts = _json(opened, "modules.json") or []
    kinds = [str(one.get("type", "")).rpartition(".")[2] for one in parts]
    if strange := [kind for kind in kinds if kind not in ("Transformer", "Pooling", "Normalize")]:
        raise CheckpointError(f"{opened.path}: modules.json has a part that is not run here: {', '.join(strange)}")
    place_of = next(
        (one.get("path", "") for one, kind in zip(parts, kinds, strict=True) if kind == "Pooling"), "1_Pooling"
    )
    said = _json(opened, f"{place_of}/config.json") or {}
    chosen = [
        key.removeprefix("pooling_mode_")
        for key, value in said.items()
        if key.startswith("pooling_mode_") and value is True
    ]
    if isinstance(said.get("pooling_mode"), str):
        chosen = [{"cls": "cls_token", "mean": "mean_tokens"}.get(said["pooling_mode"], said["pooling_mode"])]
    if len(chosen) > 1 or any(one not in POOLINGS for one in chosen):
        raise CheckpointError(f"{opened.path}: its pooling is {', '.join(chosen)}; known are {', '.join(POOLINGS)}")
    limits = _json(opened, "sentence_bert_config.json") or {}
    if limits.get("do_lower_case"):
        raise CheckpointError(f"{opened.path}: sentence_bert_config.json lowers texts, which is not done here")
    return POOLINGS[chosen[0]] if chosen else None, "Normalize" in kinds, limits.get("max_seq_length")


def _json(opened: Opened, name: str) -> Any:
    path = opened.path / name
    if not path.is_file():
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError):
        raise CheckpointError(f"{path}: not valid JSON") from None


def cut(ids: list[int], longest: int) -> list[int]:
    """Return token ids cut to a length, the last of them as it was: the end token."""
    return ids if len(ids) <= longest else [*ids[: longest - 1], ids[-1]]
