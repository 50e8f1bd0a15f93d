"""BERT encoders: embeddings and masked tokens. The network is transformers' own BERT; this module knows keys, files and rules.

A card's [run.config] holds BERT's numbers and, beside them, the rules by which its owner uses the model (``Rules``).
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

from healthfm.cards.schema import ModelCard, Runner
from healthfm.errors import CapabilityError, CardError, CheckpointError, RunError
from healthfm.models.files import bert_files, checkpoint, recognise
from healthfm.models.files.checkpoint import Checkpoint, Tensors
from healthfm.models.files.opening import open_weights, place, provenance
from healthfm.models.files.weights import locate
from healthfm.models.language.text_model import TextModel, build_network, published_config
from healthfm.models.merge import merged
from healthfm.models.model import Float32
from healthfm.models.vision import heads

TOKENS_PER_BATCH = 8192
ARCHITECTURES = ("bert",)
PARTS = ("bert.pooler", "cls.predictions", "cls.seq_relationship")  # what a published BERT may lack


@dataclass(frozen=True, kw_only=True)
class Rules:
    """How a model's owner uses it; a variant's [config] and ``load_model``'s ``config`` override the card's. ``pooling`` may stand in
    [run] instead.

    ``lower_case``: lower the text and strip its accents. ``pooling``: "cls" (last hidden state of [CLS]), "pooler" (the
    trained tanh layer over it) or "mean" (of all tokens, [CLS] and [SEP] too). ``normalise``: scale to length 1.
    ``max_length``: the first so many pieces are kept, the last of them [SEP] (None: as many as there are positions).
    ``residues``: the text is a protein, each letter a token, "_" a mask. ``own_vocabulary``: BERT's uncased vocabulary, which
    has the same size, is not this model's.
    """

    lower_case: bool
    pooling: str = "cls"
    normalise: bool = False
    max_length: int | None = None
    residues: bool = False
    own_vocabulary: bool = False


class MaskedLM(TextModel):
    """A BERT encoder with its tokenizer. ``provenance["truncated"]`` counts the texts cut to ``max_length`` so far.

    With a trained head it classifies too; ``classes``: the head's names, where the files give them.
    """

    capabilities = frozenset({"preprocess", "forward", "embed", "embed_tokens", "fill"})
    classes: tuple[str, ...] = ()
    several = False

    def __init__(
        self,
        card: ModelCard,
        variant: str | None,
        network: transformers.BertForPreTraining,
        tokenizer: transformers.BertTokenizer | None,
        rules: Rules,
    ) -> None:
        super().__init__(card, variant, network, tokenizer)
        self.rules = rules
        self.max_length = min(rules.max_length or self.max_length, self.max_length)
        if not self.has_head:
            self.capabilities = self.capabilities - {"fill"}
        if hasattr(network, "classifier"):
            self.capabilities = self.capabilities | {"classify"}

    @property
    def has_head(self) -> bool:
        """Whether the checkpoint holds the masked-language head."""
        return getattr(self.network.cls, "predictions", None) is not None

    def encode(self, text: str) -> list[int]:
        """Return the token ids of a text, [CLS] first and [SEP] last, cut to ``max_length``."""
        ids, cut = self.whole(text)
        if cut:
            self.provenance["truncated"] = self.provenance.get("truncated", 0) + 1
        return ids

    def whole(self, text: str) -> tuple[list[int], bool]:
        """Return the token ids of a text, cut to ``max_length``, and whether it was longer."""
        if self.rules.residues:
            text = " ".join("[MASK]" if letter == "_" else letter for letter in text)
        ids = super().encode(text)
        if len(ids) <= self.max_length:
            return ids, False
        return [*ids[: self.max_length - 1], ids[-1]], True

    @torch.inference_mode()
    def forward(self, batch: Mapping[str, torch.Tensor]) -> dict[str, Float32]:
        """Return ``last_hidden_state`` [n, length, d] and, where the checkpoint has them, ``pooler_output``, ``logits`` (of tokens)
        and ``class_logits`` [n, classes].
        """
        out = self._encoder(batch)
        found = {"last_hidden_state": out.last_hidden_state}
        if out.pooler_output is not None:
            found["pooler_output"] = out.pooler_output
        if self.has_head:
            found["logits"] = self.network.cls.predictions(out.last_hidden_state)
        if "classify" in self.capabilities:
            found["class_logits"] = self.network.classifier(out.pooler_output)
        return {name: value.float().cpu().numpy() for name, value in found.items()}

    def embed(self, items: Sequence[str], output: str = "pooled", batch_size: int | str = "auto") -> Any:
        """Return "pooled" vectors, float32 [n, d], or "tokens": a list of float32 [length, d] with [CLS] and [SEP]."""
        if output not in ("pooled", "tokens"):
            raise CapabilityError(f"output is '{output}'; use pooled or tokens")
        return self._run([self.encode(item) for item in items], output, batch_size)

    def embed_tokens(self, token_ids: Sequence[Sequence[int]]) -> Float32:
        """Return pooled vectors, float32 [n, d], of token ids as they are (special tokens are the caller's)."""
        longest = max(map(len, token_ids), default=0)
        if longest > self.network.config.max_position_embeddings:
            raise RunError(f"{longest} tokens; {self.name} has {self.network.config.max_position_embeddings} positions")
        pooled: Float32 = self._run(token_ids, "pooled", "auto")
        return pooled

    def classify(
        self, items: Sequence[str], classes: Sequence[str], templates: Any = None, logits: bool = False
    ) -> Float32:
        """Return a probability or logit of each class for each text, float32 [n, classes] (see ``heads.answers``)."""
        if "classify" not in self.capabilities:
            raise self._cannot("classify")
        values = self._run([self.encode(item) for item in items], "classes", "auto")
        return heads.answers(self.name, values, classes, self.classes, self.several, templates, logits)

    @torch.inference_mode()
    def fill(self, texts: Sequence[str], top_k: int = 5) -> list[list[tuple[str, float]]]:
        """Return the ``top_k`` (piece, probability) for each text's one mask token; special tokens are left out."""
        if not self.has_head:
            raise CapabilityError(f"{self.name}: these weights have no masked-language head, so it cannot fill")
        filled = []
        for text in texts:
            ids = self.encode(text)
            assert self.tokenizer is not None
            masks = [i for i, token in enumerate(ids) if token == self.tokenizer.mask_token_id]
            if len(masks) != 1:
                word = "_" if self.rules.residues else self.tokenizer.mask_token
                raise RunError(
                    f"fill needs one {word} in the first {self.max_length} tokens of a text, not {len(masks)}"
                )
            hidden = self._encoder(self.pad([ids])).last_hidden_state[0, masks[0]]
            filled.append(likeliest(self.tokenizer, self.network.cls.predictions(hidden), top_k))
        return filled

    def _encoder(self, batch: Mapping[str, torch.Tensor]) -> Any:
        return self.network.bert(**{k: v.to(self.network.device) for k, v in batch.items()})

    @torch.inference_mode()
    def _run(self, rows: Sequence[Sequence[int]], output: str, batch_size: int | str) -> Any:
        """Run rows in batches of like length; return their results in the order given."""
        found: list[Any] = [None] * len(rows)
        for batch in batches([len(row) for row in rows], batch_size):
            inputs = self.pad([rows[i] for i in batch])
            out = self._encoder(inputs)
            if output == "classes":
                values = self.network.classifier(out.pooler_output)
            else:
                values = self._pool(out, inputs["attention_mask"]) if output == "pooled" else out.last_hidden_state
            for i, value in zip(batch, values.float().cpu().numpy(), strict=True):
                found[i] = value[: len(rows[i])] if output == "tokens" else value
        if output == "tokens":
            return found
        width = self.network.classifier.out_features if output == "classes" else self.network.config.hidden_size
        return np.stack(found) if found else np.zeros((0, width), np.float32)

    def _pool(self, out: Any, mask: torch.Tensor) -> torch.Tensor:
        pooling = self.rules.pooling
        if pooling == "pooler" and out.pooler_output is None:
            raise CapabilityError(
                f"{self.name}: these weights have no pooler layer; load_model(..., config={{'pooling': 'cls'}}) takes [CLS] itself"
            )
        hidden: torch.Tensor = out.last_hidden_state
        if pooling == "mean":
            pooled = mean_of(hidden, mask)
        else:
            pooled = out.pooler_output if pooling == "pooler" else hidden[:, 0]
        return torch.nn.functional.normalize(pooled, dim=-1) if self.rules.normalise else pooled


def mean_of(hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Return the mean [n, d] of the tokens [n, length, d] that a mask [n, length] shows."""
    weight = mask.to(hidden)[..., None]
    return (hidden * weight).sum(1) / weight.sum(1)


def likeliest(
    tokenizer: transformers.PreTrainedTokenizerBase, logits: torch.Tensor, top_k: int
) -> list[tuple[str, float]]:
    """Return the ``top_k`` (piece, probability) by the logits [vocabulary] of one place; special tokens are left out."""
    chances = logits.float().softmax(-1)
    special = [one for one in tokenizer.all_special_ids if one < len(chances)]
    chances[special] = -1
    best = chances.topk(min(top_k, len(chances) - len(special)))
    return list(zip(tokenizer.convert_ids_to_tokens(best.indices.tolist()), best.values.tolist(), strict=True))


def batches(lengths: Sequence[int], batch_size: int | str) -> Iterator[list[int]]:
    """Yield row numbers, shortest rows first: ``batch_size`` rows at a time, or ("auto") up to ``TOKENS_PER_BATCH`` tokens."""
    batch: list[int] = []
    for i in sorted(range(len(lengths)), key=lambda i: lengths[i]):
        full = (
            (len(batch) + 1) * lengths[i] > TOKENS_PER_BATCH if batch_size == "auto" else len(batch) >= int(batch_size)
        )
        if batch and full:
            yield batch
            batch = []
        batch.append(i)
    if batch:
        yield batch


def load(
    card: ModelCard, variant: str | None, weights: Path | str | Mapping[str, torch.Tensor] | None,
    config: dict[str, Any], device: str, dtype: str,
) -> MaskedLM:  # fmt: skip
    """Load a BERT from its card (see ``healthfm.load_model``): Hugging Face or TensorFlow 1 files, packed or not."""
    if isinstance(weights, Mapping) or weights == "random":
        return _assemble(card, variant, open_weights(card, variant, weights), None, config, device, dtype)
    path = Path(weights).expanduser() if weights is not None else locate(card, variant)
    with tempfile.TemporaryDirectory(prefix="healthfm-") as room:
        found, vocabulary = bert_files.read(path, Path(room), bert_files.names(card, variant))
        return _assemble(card, variant, found, vocabulary, config, device, dtype)


def _assemble(
    card: ModelCard, variant: str | None, found: Checkpoint, vocabulary: Mapping[str, int] | None,
    config: dict[str, Any], device: str, dtype: str,
) -> MaskedLM:  # fmt: skip
    said = recognise.check(card, variant, found.tensors, config) if found.tensors else []
    run = card.runner(variant)
    rules, numbers = settings(card, variant, published_config(found.config, "bert"), config)
    flags = bert_files.flags(found.folder)
    tokenizer = _tokenizer(card, vocabulary, rules, numbers["vocab_size"], flags) if vocabulary is not None else None
    network = build(numbers)
    if found.tensors:
        said += fit(network, found.tensors, run.ignore_keys)
    else:
        torch.manual_seed(0)
        network.init_weights()
    place(network, run, device, dtype)
    model = MaskedLM(card, variant, network, tokenizer, rules)
    if "classify" in model.capabilities:
        model.classes = heads.names(found.config, network.classifier.out_features)  # type: ignore[union-attr]
        model.several = heads.several(found.config)
    model.provenance = {**provenance(found, network), "notices": said}
    return model


def settings(
    card: ModelCard, variant: str | None, stated: Mapping[str, Any], overrides: Mapping[str, Any]
) -> tuple[Rules, dict[str, Any]]:
    """Return the rules and BERT's numbers: the card's, its variant's, the checkpoint's own (``stated``), the caller's."""
    name, own = recognise.named(card, variant), card.runner(variant)
    if own.pooling and "pooling" in own.config:
        raise CardError(f"{name}: pooling stands in [run] and in [run.config]; state it once")
    words = {field.name for field in fields(Rules)}
    numbers = {key: value for key, value in stated.items() if key not in words}
    return parted(merged(card, variant, numbers, overrides, ("pooling",)), name)


def parted(run: Runner, name: str) -> tuple[Rules, dict[str, Any]]:
    """Return the rules and BERT's numbers that stand in [run]. Raises ``CapabilityError``, ``CardError``, ``CheckpointError``."""
    if run.architecture not in ARCHITECTURES:
        raise CapabilityError(
            f"healthfm cannot run {name}: architecture '{run.architecture}' is not one of {', '.join(ARCHITECTURES)}"
        )
    every = {**run.config, **({"pooling": run.pooling} if run.pooling else {})}
    if "lower_case" not in every:
        raise CardError(f"{name}: [run.config] lacks lower_case")
    rules = Rules(**{word.name: every.pop(word.name) for word in fields(Rules) if word.name in every})
    if rules.pooling not in ("cls", "pooler", "mean"):
        raise CheckpointError(f"{name}: pooling is '{rules.pooling}'; use cls, pooler or mean")
    return rules, every


def match(
    card: ModelCard, variant: str | None, tensors: Mapping[str, Any], config: Mapping[str, Any]
) -> recognise.Match:
    """Return how far published tensors go with a variant (see ``recognise``). A vocabulary of another size is another model's."""
    try:
        _, numbers = settings(card, variant, {}, config)
    except CapabilityError:
        return recognise.Match.OTHER
    words = recognise.shape(tensors, "embeddings.word_embeddings.weight")
    inner, places = (
        recognise.shape(tensors, "intermediate.dense.weight"),
        recognise.shape(tensors, "position_embeddings.weight"),
    )
    shown = {
        "layers": recognise.numbered(tensors, r"(?:^|\.)encoder\.layer\.(\d+)\.attention\.self\."),
        "hidden_size": words[-1] if words else None, "vocab_size": words[0] if words else None,
        "intermediate_size": inner[0] if inner else None, "max_position_embeddings": places[0] if places else None,
    }  # fmt: skip
    own = {**numbers, "layers": numbers.get("num_hidden_layers")}
    if not words or not shown["layers"] or not any("token_type_embeddings" in key for key in tensors):
        return recognise.Match.OTHER
    return recognise.compared(shown, {name: own.get(name) for name in shown}, ())


def build(numbers: Mapping[str, Any]) -> transformers.BertForPreTraining:
    """Build the network, uninitialised. ``with torch.device("meta")`` around it costs no memory."""
    network = build_network("BertConfig", "BertForPreTraining", numbers)
    assert isinstance(network, transformers.BertForPreTraining)
    network.tie_weights()
    return network


def fit(network: transformers.BertForPreTraining, tensors: Tensors, ignored: Sequence[str]) -> list[str]:
    """Load published tensors strictly but for those ``ignored``; a part of ``PARTS`` of which the file has nothing is taken off the network.

    A classifier's head on the pooler is put on; return what must be said of a head that is left off.
    """
    given = bert_files.modern_names(tensors)
    for part in PARTS:
        if not any(key.startswith(part + ".") for key in given):
            parent, _, name = part.rpartition(".")
            setattr(network.get_submodule(parent), name, None)
    if network.cls.predictions is not None:
        _untie_what_differs(network, given)
    said = _take_head(network, given)
    checkpoint.load_strict(network, given, ignored)
    return said


def _take_head(network: transformers.BertForPreTraining, given: dict[str, torch.Tensor]) -> list[str]:
    """Put a sequence classifier's head on the network; drop one over tokens from ``given`` and say so."""
    for name in ("classifier", "qa_outputs"):
        weight = given.get(f"{name}.weight")
        if weight is None:
            continue
        if name == "classifier" and network.bert.pooler is not None:
            classes, width = weight.shape
            network.classifier = torch.nn.Linear(width, classes, bias="classifier.bias" in given)
            continue
        for key in (f"{name}.weight", f"{name}.bias"):
            given.pop(key, None)
        return [
            f"a head over tokens of {len(weight)} classes ({name}.weight) was left off: hf:FOLDER tags words by it (token-classification)"
        ]
    return []


def _untie_what_differs(network: transformers.BertForPreTraining, given: dict[str, torch.Tensor]) -> None:
    """Drop the file's decoder where it repeats the word embeddings and the bias; one that differs is kept, untied.

    transformers 5 reads such a file so; version 4 tied it all the same.
    """
    decoder = network.cls.predictions.decoder
    for name, of in (("weight", "bert.embeddings.word_embeddings.weight"), ("bias", "cls.predictions.bias")):
        key = f"cls.predictions.decoder.{name}"
        if key not in given or given[key].is_meta or (of in given and torch.equal(given[key], given[of])):
            given.pop(key, None)
        else:
            setattr(decoder, name, torch.nn.Parameter(torch.empty_like(getattr(decoder, name))))


def _tokenizer(
    card: ModelCard, vocabulary: Mapping[str, int], rules: Rules, rows: int, flags: Mapping[str, Any]
) -> transformers.BertTokenizer:  # fmt: skip
    """Return BERT's tokenizer over the published vocabulary, with the card's case: hub files often state the wrong one."""
    if max(vocabulary.values()) + 1 != rows:
        raise CheckpointError(
            f"{card.slug}: the vocabulary beside the weights has {max(vocabulary.values()) + 1} pieces, the network {rows}"
        )
    absent = [piece for piece in bert_files.SPECIAL if piece not in vocabulary]
    if absent:
        raise CheckpointError(f"{card.slug}: the vocabulary beside the weights lacks '{absent[0]}'")
    if rules.own_vocabulary and bert_files.is_bert_uncased(vocabulary):
        raise CheckpointError(f"{card.slug}: the vocabulary beside the weights is BERT's; this model has its own")
    return transformers.BertTokenizer(vocab=dict(vocabulary), do_lower_case=rules.lower_case, **flags)
