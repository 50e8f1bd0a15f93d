"""Query decoders (``query_network``): the model, and its loading from a card and published files."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from healthfm.cards.schema import ModelCard, Runner, Tokenizer, ZeroShot
from healthfm.errors import CapabilityError, CheckpointError, RunError
from healthfm.models.files import checkpoint, recognise
from healthfm.models.files.checkpoint import Checkpoint
from healthfm.models.files.opening import open_weights, place, provenance
from healthfm.models.files.recognise import Match
from healthfm.models.files.weights import locate
from healthfm.models.joint import bert_tower, query_keys, zero_shot
from healthfm.models.joint.bert_tower import BertNumbers
from healthfm.models.joint.dual_encoder import DualEncoderModel, Side
from healthfm.models.joint.query_network import NO_TEXTS, DecoderNumbers, QueryDecoder
from healthfm.models.joint.towers import Made
from healthfm.models.merge import merged
from healthfm.models.model import Float32, Model
from healthfm.models.vision import resnet
from healthfm.models.vision import vision_model as vision
from healthfm.models.vision.vision_model import Weights

READS = ("state", "strip", "zero_shot")
PARTS = {"image": ("transform", "projection"), "text": ("tokenizer", "pooling", "projection")}
ARCHITECTURE = "query-decoder"
COUNTERS = ("*num_batches_tracked",)
ODDS = "log_odds"
TEXT = "text"  # the name of the text side's own tensors, where they stand in no checkpoint of the decoder


WHOLE = {ARCHITECTURE: DecoderNumbers}


class QueryDecoderModel(DualEncoderModel):
    """A query decoder by a card. ``embed`` gives pictures' mean tokens, and of texts the vectors that ``queries`` are.

    ``queries``: those that the model asks with of its own, float32 [q, d], where it has such and its texts were beside the weights.
    """

    network: QueryDecoder  # type: ignore[assignment]
    vector = "pooled"
    queries: Float32 | None = None
    sets: tuple[int, ...] = ()  # how many of the queries are asked together, where they are those of several sets

    @torch.inference_mode()
    def forward(self, batch: Mapping[str, Any]) -> dict[str, Float32]:
        """Return, of ``pixels``, ``tokens`` [n, t, d], their mean ``pooled`` (``image_embedding``) and, asked with ``queries`` [q, d]
        (else the model's own), ``logits`` [n, q, 2] and their difference ``log_odds`` [n, q]; of ``token_ids`` (and ``attention_mask``) ``text_embedding`` [n, d].
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
                asked = self._asked(queries).to(first.device, first.dtype)
                found["logits"] = self.network.answers(tokens, asked, () if "queries" in batch else self.sets)
                found[ODDS] = found["logits"][..., 1] - found["logits"][..., 0]
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
        odds = self._odds(items, zero_shot.checked(classes), templates)
        return odds if logits else np.asarray(1 / (1 + np.exp(-odds)), np.float32)

    def embed_tokens(self, token_ids: Any, attention_mask: Any = None) -> Float32:
        """Return the vectors of token ids (see ``DualEncoderModel``). Raises ``CheckpointError``: the weights have no text encoder."""
        if self.network.text is None:
            raise CheckpointError(NO_TEXTS)
        return super().embed_tokens(token_ids, attention_mask)

    def _odds(self, items: Sequence[Any], names: Sequence[str], templates: Any) -> Float32:
        if self.network.n.entities:
            if templates is not None:
                raise RunError(
                    f"{self.name} asks with the {len(self.network.n.entities)} queries that it was trained with: it takes no templates"
                )
            asked = [names]
        else:
            [kind] = zero_shot.sentences(self.rule, templates)
            if len(kind) > 1:
                raise RunError(f"{self.name} asks by one text a class: one template was expected, not {len(kind)}")
            asked = [[kind[0].replace(zero_shot.SLOT, name) for name in names]]
        model, chosen = self.asking(asked)
        groups = model.each(items, ODDS)
        return np.array([np.mean(group, 0)[chosen] for group in groups], np.float32).reshape(-1, len(names))

    def asking(self, prompts: Sequence[Sequence[str]]) -> tuple[QueryDecoderModel, list[int]]:
        """Return this model set to answer one or several lists of texts, each list asked together, and where the answers stand among
        its ``log_odds`` [n, q], which ``embed`` then gives. A model with queries of its own is asked with these, whatever the texts are.

        Raises ``CheckpointError``: its own queries are not there; ``RunError``: a text that is none of theirs.
        """
        model = copy.copy(self)
        model.vector = ODDS
        if not self.network.n.entities:
            every = list(dict.fromkeys(text for some in prompts for text in some))
            places = {text: i for i, text in enumerate(every)}
            vectors = np.asarray(self.embed(every))
            model.queries = np.concatenate([vectors[[places[text] for text in some]] for some in prompts])
            model.sets = tuple(map(len, prompts))
            return model, list(range(len(model.queries)))
        n = self.network.n
        if self.queries is None:
            raise CheckpointError(
                f"{self.name}: its queries are made of {len(n.entities)} written descriptions ({n.descriptions}) by a BERT, and both were "
                "expected beside the weights (the BERT in a folder of its own); forward takes queries that are given"
            )
        found = []
        for name in (text for some in prompts for text in some):
            place = zero_shot.entity(name, n.entities, n.called)
            if place is None:
                raise RunError(f"{self.name} has no query for '{name}'; it knows {', '.join(n.entities)}")
            found.append(place)
        return model, found

    def _encoded(self, texts: Sequence[str]) -> Any:
        if self.words.closed or self.tokenizer is None:
            return super()._encoded(texts)
        made = self.tokenizer(list(texts), add_special_tokens=False, verbose=False)["input_ids"]
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
    words = run.parts["text"].tokenizer or Tokenizer()
    places = int(run.parts["text"].config["max_position_embeddings"])
    tokenizer = bert_tower.read_tokenizer(_text_folder(found.folder) or found.folder, words)
    model = QueryDecoderModel(
        card, variant, network, run.parts["image"].transform, tokenizer, run.zero_shot or ZeroShot(),  # type: ignore[arg-type]
        min(places, words.length or places), places, words,
    )  # fmt: skip
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
