"""Query decoders: the vectors of texts ask the tokens of a picture, and each is answered by two logits, absent and present (KAD, MedKLIP).

Sources: xiaoman-zhang/KAD ``A3_CLIP/models/clip_tqn.py``; MediaBrain-SJTU/MedKLIP ``models/model_MedKLIP.py``. The decoder is torch's own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from healthfm.cards.schema import ModelCard, Runner, ZeroShot
from healthfm.errors import CapabilityError, CheckpointError, RunError
from healthfm.models.files import checkpoint, recognise
from healthfm.models.files.checkpoint import Checkpoint
from healthfm.models.files.opening import open_weights, place, provenance
from healthfm.models.files.recognise import Match
from healthfm.models.files.weights import locate
from healthfm.models.joint import bert_tower, query_keys, zero_shot
from healthfm.models.joint.bert_tower import BertNumbers
from healthfm.models.joint.dual_encoder import DualEncoderModel, Side
from healthfm.models.joint.towers import Made
from healthfm.models.merge import merged
from healthfm.models.model import Float32, Model
from healthfm.models.vision import resnet
from healthfm.models.vision import vision_model as vision
from healthfm.models.vision.vision_model import Tower, Weights

READS = ("state", "strip", "zero_shot")
PARTS = {"image": ("transform", "projection"), "text": ("tokenizer", "pooling", "projection")}
ARCHITECTURE = "query-decoder"
COUNTERS = ("*num_batches_tracked",)
PAD = 0
TEXT = "text"  # the name of the text side's own tensors, where they stand in no checkpoint of the decoder


@dataclass(frozen=True, kw_only=True)
class DecoderNumbers:
    """The decoder's numbers. ``shared_norm``: its last norm acts before the first layer too, on tokens and queries.

    ``asks``: the width of the texts' vectors, where a linear layer makes queries of them. ``entities``: the names of the queries that
    the model always asks with; ``called``: other names of theirs. ``descriptions``: the file of the texts that those queries are made of.
    """

    embed_dim: int = 768
    depth: int = 4
    num_heads: int = 4
    mlp_dim: int = 1024
    shared_norm: bool = False
    asks: int | None = None
    entities: tuple[str, ...] = ()
    called: Mapping[str, str] = field(default_factory=dict)
    descriptions: str | None = None


WHOLE = {ARCHITECTURE: DecoderNumbers}


class QueryDecoder(Tower):
    """A ResNet's map to tokens, and a decoder of texts' queries over them. As a tower: the tokens and their mean."""

    poolings = ("mean",)

    def __init__(self, n: DecoderNumbers, image: Side, text: Side | None, text_pooling: str) -> None:
        super().__init__()
        self.n = n
        self.image, self.text, self.text_pooling = image, text, text_pooling
        layer = nn.TransformerDecoderLayer(n.embed_dim, n.num_heads, n.mlp_dim, norm_first=True, batch_first=True)
        self.decoder = nn.TransformerDecoder(layer, n.depth, nn.LayerNorm(n.embed_dim))
        self.ask = nn.Linear(n.asks, n.embed_dim) if n.asks else nn.Identity()
        self.head = nn.Linear(n.embed_dim, 2)

    def tokens(self, pixels: torch.Tensor, layer: int | None = None) -> torch.Tensor:
        if layer is not None:
            raise CapabilityError("tokens of inner layers are not read of a query decoder")
        found: torch.Tensor = self.image.projection(self.image.tower.tokens(pixels))  # type: ignore[operator]
        return found

    def of_texts(self, ids: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        """Return the vectors [n, d] of token ids [n, length], with which ``answers`` asks."""
        if self.text is None:
            raise CheckpointError("these weights have no text encoder: texts cannot be read, and queries must be given")
        seen = (ids != PAD).long() if mask is None else mask
        found: torch.Tensor = self.text.projection(bert_tower.pooled(self.text.tower, ids, seen, self.text_pooling))  # type: ignore[arg-type]
        return found

    def answers(self, tokens: torch.Tensor, queries: torch.Tensor) -> torch.Tensor:
        """Return logits [n, q, 2] of tokens [n, t, d] asked with [q, d]: the queries see each other, so all that are asked together count."""
        asked = queries if queries.shape[-1] == self.n.embed_dim != self.n.asks else self.ask(queries)
        if self.n.shared_norm:
            tokens, asked = self.decoder.norm(tokens), self.decoder.norm(asked)  # type: ignore[misc]
        made = self.decoder(asked.expand(len(tokens), *asked.shape), tokens)
        return self.head(made)  # type: ignore[no-any-return]


class QueryDecoderModel(DualEncoderModel):
    """A query decoder by a card. ``embed`` gives pictures' mean tokens, and of texts the vectors that ``queries`` are.

    ``queries``: those that the model asks with of its own, float32 [q, d], where it has such and its texts were beside the weights.
    """

    network: QueryDecoder  # type: ignore[assignment]
    vector = "pooled"
    queries: Float32 | None = None

    @torch.inference_mode()
    def forward(self, batch: Mapping[str, Any]) -> dict[str, Float32]:
        """Return, of ``pixels``, ``tokens`` [n, t, d], their mean ``pooled`` (``image_embedding``) and, asked with ``queries`` [q, d]
        (else the model's own), ``logits`` [n, q, 2]; of ``token_ids`` (and ``attention_mask``) ``text_embedding`` [n, d].
        """
        first = next(self.network.parameters())
        found: dict[str, torch.Tensor] = {}
        if "token_ids" in batch:
            ids, mask = torch.as_tensor(batch["token_ids"]).to(first.device), batch.get("attention_mask")
            seen = None if mask is None else torch.as_tensor(mask).to(first.device)
            found["text_embedding"] = self.network.of_texts(ids, seen)
        if "pixels" in batch:
            tokens, pooled = self.network(torch.as_tensor(batch["pixels"]).to(first.device, first.dtype))
            found |= {"tokens": tokens, "pooled": pooled, "image_embedding": pooled}
            queries = batch.get("queries", self.queries)
            if queries is not None:
                found["logits"] = self.network.answers(tokens, self._asked(queries).to(first.device, first.dtype))
        if not found:
            raise CapabilityError(
                f"{self.name}: forward takes pixels (and queries) or token_ids, not {', '.join(batch) or 'nothing'}"
            )
        return {name: value.float().cpu().numpy() for name, value in found.items()}

    def _asked(self, queries: Any) -> torch.Tensor:
        found = torch.as_tensor(np.asarray(queries, np.float32))
        n = self.network.n
        known = {n.embed_dim, n.asks or n.embed_dim}
        if found.ndim != 2 or not len(found) or found.shape[1] not in known:
            raise RunError(
                f"{self.name}: queries are [number of questions, {' or '.join(map(str, sorted(known)))}], not {list(found.shape)}"
            )
        return found

    def classify(
        self, items: Sequence[Any], classes: Sequence[str], templates: Any = None, logits: bool = False
    ) -> Float32:
        """Return each class's probability (``logits``: its log odds), float32 [n, classes]: the second of its query's two softmax values.

        Classes are asked together, and each by itself may hold. A model with queries of its own is always asked with all of them, and
        a class is the name of one; else a class is the text that it is asked by. An item of several pictures has the mean of their log odds.
        Raises ``RunError``: a class that a model with its own queries does not know, or templates for it.
        """
        names = zero_shot.checked(classes)
        if self.network.n.entities:
            queries, chosen = self._own(names, templates)
        else:
            [kind] = zero_shot.sentences(self.rule, templates)
            if len(kind) > 1:
                raise RunError(f"{self.name} asks by one text a class: one template was expected, not {len(kind)}")
            queries, chosen = np.asarray(self.embed([kind[0].replace("{}", name) for name in names])), slice(None)
        counts: list[int] = []
        rows: list[Float32] = []
        for batch in vision.batches(self._pixels(items, counts), "auto"):
            made = self.forward({"pixels": torch.from_numpy(np.stack(batch)), "queries": queries})["logits"]
            rows.extend((made[..., 1] - made[..., 0])[:, chosen])
        ends = np.cumsum(counts)
        odds = np.array([np.mean(rows[end - count : end], 0) for end, count in zip(ends, counts, strict=True)])
        odds = odds.reshape(-1, len(names)).astype(np.float32)
        return odds if logits else np.asarray(1 / (1 + np.exp(-odds)), np.float32)

    def _own(self, names: Sequence[str], templates: Any) -> tuple[Float32, list[int]]:
        """Return the model's own queries and the places of the classes among them."""
        n = self.network.n
        if templates is not None:
            raise RunError(
                f"{self.name} asks with the {len(n.entities)} queries that it was trained with: it takes no templates"
            )
        if self.queries is None:
            raise CheckpointError(
                f"{self.name}: its queries are made of {len(n.entities)} written descriptions ({n.descriptions}) by a BERT, and both were "
                "expected beside the weights (the BERT in a folder of its own); forward takes queries that are given"
            )
        places = {name: i for i, name in enumerate(n.entities)}
        found = []
        for name in names:
            word = name.strip().lower()
            place = places.get(n.called.get(word, word))
            if place is None:
                raise RunError(f"{self.name} has no query for '{name}'; it knows {', '.join(n.entities)}")
            found.append(place)
        return self.queries, found

    def _encoded(self, texts: Sequence[str]) -> Any:
        rule = self.card.runner(self.variant).parts["text"].tokenizer
        if rule is None or rule.closed or self.tokenizer is None:
            return super()._encoded(texts)
        made = self.tokenizer(list(texts), add_special_tokens=False)["input_ids"]
        first = [[self.tokenizer.cls_token_id, *ids] for ids in made]
        self.provenance["texts_cut"] = self.provenance.get("texts_cut", 0) + sum(
            len(one) > self.longest for one in first
        )
        return self.tokenizer.pad({"input_ids": [one[: self.longest] for one in first]}, return_tensors="pt")


# Loading ----------------------------------------------------------------------------------------------------------------


def settings(card: ModelCard, variant: str | None, stated: Mapping[str, Any], overrides: Mapping[str, Any]) -> Runner:
    """Return [run] (see ``merge.merged``)."""
    return merged(card, variant, stated, overrides, READS, PARTS)


def build(run: Runner, text: bool = True, initial: bool = False) -> QueryDecoder:
    """Build the network; without ``text``, its text side is left off. Raises ``CheckpointError``: another architecture."""
    image, words = run.part("image"), run.part("text")
    for where, one, known in (
        ("", run, ARCHITECTURE),
        ("parts.image: ", image, "resnet-50"),
        ("parts.text: ", words, "bert"),
    ):
        if one.architecture != known:
            raise CheckpointError(f"{where}the architecture '{one.architecture}' is not read ({known} is)")
    n = vision.numbers(DecoderNumbers, run.config)
    trunk = resnet.build(image)
    side = None
    if text:
        numbers = vision.numbers(BertNumbers, words.config)
        bert = bert_tower.build(numbers, initial)
        if words.pooling == "cls":  # the layer over [CLS] is not used
            bert.pooler = None
        side = Side(Made(bert, numbers.hidden_size), run.parts["text"].projection)
    return QueryDecoder(
        n, Side(Made(trunk, trunk.head_width), run.parts["image"].projection), side, words.pooling or "cls"
    )


def own_names(tensors: Mapping[str, Any], run: Runner) -> dict[str, torch.Tensor]:
    """Return a checkpoint's tensors under our names: of KAD's three states, or of MedKLIP's one, with those of ``TEXT`` beside it."""
    parts = query_keys.states(tensors)
    if parts:
        found: dict[str, torch.Tensor] = {}
        for one in parts.values():
            found |= query_keys.own_names({k: v for k, v in one.items() if isinstance(v, torch.Tensor)})
        return found
    beside = tensors.get(TEXT)
    rest = {key: value for key, value in tensors.items() if key != TEXT}
    found = query_keys.own_names(vision.state(rest, run))
    if isinstance(beside, Mapping):
        bert = bert_tower.published(beside)
        found |= {f"text.tower.{k}": v for k, v in bert.items() if not k.startswith("pooler.")}
    return found


def match(card: ModelCard, variant: str | None, tensors: Mapping[str, Any], config: Mapping[str, Any]) -> Match:
    """Return how far published tensors go with a variant (see ``recognise``)."""
    run = settings(card, variant, {}, config)
    seen = query_keys.shown(own_names(tensors, run))
    n, trunk = (
        vision.numbers(DecoderNumbers, run.config),
        vision.numbers(resnet.ResNetNumbers, run.parts["image"].config),
    )
    image = run.parts["image"].projection
    shown = {**seen["decoder"], **seen["image"]}
    own = {
        "embed_dim": n.embed_dim, "depth": n.depth, "mlp_dim": n.mlp_dim, "base": trunk.base, "stages": trunk.stages,
        "depths": trunk.depths[: trunk.stages], "widths": image.widths if image is not None else None,
    }  # fmt: skip
    if (n.asks is None) != (shown["asks"] is None):
        return Match.OTHER
    return recognise.compared(shown, own, ("stages",))


def load(
    card: ModelCard, variant: str | None, weights: Weights, config: Mapping[str, Any], device: str, dtype: str
) -> Model:  # fmt: skip
    """Load a query decoder; see ``healthfm.load_model``. ``config``: numbers of the decoder, {"image": {...}, "text": {...}}."""
    plain = card.runner(variant)
    found = _opened(card, variant, weights)
    run, said = settings(card, variant, {}, config), []
    if weights == "random":
        network: QueryDecoder = vision.seeded(lambda: build(run, initial=True))  # type: ignore[assignment, arg-type, return-value]
    else:
        tensors = own_names(found.tensors, run)
        said = recognise.check(card, variant, found.tensors, config)
        seen = query_keys.shown(tensors)
        run = _sized(settings(card, variant, _stated(plain, seen), config), seen, config)
        network = build(run, text="text" in seen)
        checkpoint.load_strict(network, tensors, (*run.ignore_keys, *COUNTERS))
    place(network, run, device, dtype)
    limit, words = run.parts["text"].tokenizer, run.parts["text"].config
    tokenizer = bert_tower.read_tokenizer(_text_folder(found.folder) or found.folder, limit)
    longest = (limit.length if limit is not None else None) or int(words["max_position_embeddings"])
    told = run.zero_shot or ZeroShot()
    model = QueryDecoderModel(card, variant, network, run.parts["image"].transform, tokenizer, told, longest)  # type: ignore[arg-type]
    model.provenance = {**provenance(found, network), "notices": said}
    model.queries = _queries(model, found.folder)
    return model


def _stated(plain: Runner, seen: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return what the tensors show, as numbers that stand over the card's."""
    image = {name: value for name, value in seen["image"].items() if name != "widths"}
    image["depths"] = (*image["depths"], *(1,) * (4 - image["stages"]))
    found: dict[str, Any] = {**seen["decoder"], "image": image}
    if "text" in seen:
        sizes = {name: value for name, value in seen["text"].items() if name != "widths"}
        found["text"] = bert_tower.heads(sizes, plain.parts["text"].config)
    return found


def _sized(run: Runner, seen: Mapping[str, Mapping[str, Any]], config: Mapping[str, Any]) -> Runner:
    """Return [run] with the widths of the linear layers that the tensors show, where the caller gave none."""
    parts = dict(run.parts)
    for name, part in run.parts.items():
        if part.projection is not None and name in seen and "projection" not in (config.get(name) or {}):
            changed = part.projection.model_copy(update={"widths": seen[name]["widths"]})
            parts[name] = part.model_copy(update={"projection": changed})
    return run.model_copy(update={"parts": parts})


# Files ------------------------------------------------------------------------------------------------------------------


def _opened(card: ModelCard, variant: str | None, weights: Weights) -> Checkpoint:
    """Return the checkpoint, with the tensors of a BERT that lies in a folder of its own beside it where the card's has none."""
    if weights is None:
        weights = locate(card, variant)
    found = open_weights(card, variant, weights)
    folder = _text_folder(found.folder)
    if folder is None or query_keys.states(found.tensors):
        return found
    text = checkpoint.read(folder)
    return replace(found, tensors={**found.tensors, TEXT: text.tensors}, files=(*found.files, *text.files))  # type: ignore[dict-item]


def _text_folder(folder: Path | None) -> Path | None:
    """Return the one folder beside a checkpoint that holds a BERT. Raises ``CheckpointError``: several do."""
    found = sorted(one.parent for one in folder.glob("*/config.json")) if folder is not None else []
    if len(found) > 1:
        raise CheckpointError(
            f"{folder}: one folder with a text encoder was expected; found {', '.join(one.name for one in found)}"
        )
    return found[0] if found else None


def _queries(model: QueryDecoderModel, folder: Path | None) -> Float32 | None:
    """Return the vectors of a model's own descriptions, where they, their BERT and its vocabulary lie beside the weights."""
    n = model.network.n
    path = folder / n.descriptions if folder is not None and n.descriptions is not None else None
    if path is None or not path.is_file() or model.network.text is None or model.tokenizer is None:
        return None
    try:
        texts = list(json.loads(path.read_text(encoding="utf-8")).values())
    except (ValueError, AttributeError, OSError) as error:
        raise CheckpointError(
            f"{path}: an object of texts by their names was expected ({type(error).__name__})"
        ) from None
    if len(texts) != len(n.entities) or not all(isinstance(one, str) for one in texts):
        raise CheckpointError(f"{path}: {len(n.entities)} texts were expected, {len(texts)} stand there")
    return np.asarray(model.embed(texts), np.float32)
