"""Pairs of towers, one for pictures and one for texts, into one space: the network and the model. ``pair`` loads one, ``towers`` builds its sides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import transformers
from torch import nn

from healthfm.cards.schema import ModelCard, Projection, Tokenizer, Transform, ZeroShot
from healthfm.errors import CapabilityError, CheckpointError, RunError
from healthfm.models.joint import clip_text, token_rows, zero_shot
from healthfm.models.joint.bert_tower import OVER_PADDING
from healthfm.models.joint.towers.kind import Made
from healthfm.models.language.text_model import TURN
from healthfm.models.model import Float32, Model
from healthfm.models.prepared import Prepared
from healthfm.models.vision.native import DualModel
from healthfm.models.vision.vision_model import Tower, VisionModel

BETWEEN = {"gelu": nn.GELU, "relu": nn.ReLU, "tanh": nn.Tanh}  # two layers of a projection


class Side(nn.Module):
    """A tower, called as transformers' are (see ``towers.Made``), and the projection of its one vector (None: the vector itself)."""

    def __init__(self, made: Made, projection: Projection | None) -> None:
        super().__init__()
        self.tower = made.network
        self.normalise = projection is not None and projection.normalise
        self.width = made.width
        layers: list[nn.Module] = []
        if projection is not None:
            for wide in projection.widths:
                between = [BETWEEN[projection.activation or ""]()] if layers else []
                layers += [*between, nn.Linear(self.width, wide, bias=projection.bias)]
                self.width = wide
        self.projection = nn.Sequential(*layers)

    def joint(self, pooled: torch.Tensor) -> torch.Tensor:
        """Return vectors [n, d] in the space that both sides share, as the paper compares them."""
        made: torch.Tensor = self.projection(pooled)
        return made / made.norm(dim=-1, keepdim=True) if self.normalise else made


class DualEncoder(Tower):
    """Both sides and the scale of their similarities. As a tower: pictures to the image tower's tokens and its one vector."""

    prefix = 1
    pooling = "cls"
    poolings = ("cls",)

    def __init__(self, image: Side, text: Side, prefix: int = 1, biased: bool = False) -> None:
        super().__init__()
        if prefix != self.prefix:
            self.prefix = prefix
        self.image = image
        self.text = text
        self.logit_scale = nn.Parameter(torch.tensor(np.log(1 / 0.07), dtype=torch.float32))
        if biased:
            self.logit_bias = nn.Parameter(torch.tensor(-10.0))

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        out = self.image.tower(pixel_values=pixels)
        return out.last_hidden_state, out.pooler_output

    def of_pictures(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return the vectors [n, d] of pictures, without their tokens."""
        tower: Any = self.image.tower
        pooled = tower.vectors(pixels) if hasattr(tower, "vectors") else tower(pixel_values=pixels).pooler_output
        return self.image.joint(pooled)

    def of_texts(self, ids: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        """Return the vectors [n, d] of token ids [n, length]."""
        joint: torch.Tensor = self.text.joint(self.text.tower(input_ids=ids, attention_mask=mask).pooler_output)
        return joint


class DualEncoderModel(DualModel):
    """Pictures and texts in one space, by a card (see ``DualModel``). ``embed`` gives what the paper compares.

    ``rule``: how classes are told by their names. ``longest``: tokens that a text is cut to; ``places``: ids that the network takes. ``words``: how texts become token ids. ``provenance["texts_cut"]`` counts the texts that
    were longer than the context.
    """

    capabilities = VisionModel.capabilities | {"embed_tokens", "classify"}
    network: DualEncoder
    vector = "image_embedding"

    def __init__(
        self, card: ModelCard, variant: str | None, network: DualEncoder, rule: Transform | None,
        tokenizer: transformers.PreTrainedTokenizerBase | None, told: ZeroShot, longest: int, places: int, words: Tokenizer,
    ) -> None:  # fmt: skip
        super().__init__(card, network, rule, tokenizer, variant)
        self.rule = told
        self.longest, self.places = longest, places
        self.words = words

    @torch.inference_mode()
    def forward(self, batch: Mapping[str, torch.Tensor]) -> dict[str, Float32]:
        """Return, of ``pixels``, ``tokens``, ``pooled`` (before the projection) and ``image_embedding`` [n, d]; of ``token_ids`` (and
        ``attention_mask``) ``text_embedding`` [n, d].
        """
        first = next(self.network.parameters())
        found = {}
        if "token_ids" in batch:
            mask = batch.get("attention_mask")
            ids = torch.as_tensor(batch["token_ids"]).to(first.device)
            mask = torch.ones_like(ids) if self.words.attended else mask
            found["text_embedding"] = self.network.of_texts(
                ids, None if mask is None else torch.as_tensor(mask).to(first.device)
            )
        if "pixels" in batch:
            tokens, pooled = self.network(torch.as_tensor(batch["pixels"]).to(first.device, first.dtype))
            found |= {"tokens": tokens, "pooled": pooled, "image_embedding": self.network.image.joint(pooled)}
        if not found:
            raise CapabilityError(
                f"{self.name}: forward takes pixels or token_ids, not {', '.join(batch) or 'nothing'}"
            )
        return {name: value.float().cpu().numpy() for name, value in found.items()}

    def embed_tokens(self, token_ids: Any, attention_mask: Any = None) -> Float32:
        """Return the vectors, float32 [n, d], of token ids: an array [n, length], or lists of several lengths; ``attention_mask`` like them."""
        tables = (one for one in self.network.text.modules() if isinstance(one, nn.Embedding))
        vocabulary = next((one.num_embeddings for one in tables), None)
        rows = token_rows.checked(self.name, token_ids, self.places, vocabulary)
        if not rows:
            return np.zeros((0, self.network.text.width), np.float32)
        ids = nn.utils.rnn.pad_sequence(rows, batch_first=True)
        if attention_mask is None and len({len(one) for one in rows}) == 1:
            return self.forward({"token_ids": ids})["text_embedding"]
        if attention_mask is None:
            attention_mask = [[1] * len(one) for one in rows]
        seen = token_rows.seen(self.name, attention_mask, rows)
        mask = nn.utils.rnn.pad_sequence(seen, batch_first=True)
        return self.forward({"token_ids": ids, "attention_mask": mask})["text_embedding"]

    def classify(
        self, items: Sequence[Any], classes: Sequence[str], templates: Any = None, logits: bool = False
    ) -> Float32:
        """Return each class's probability (or logit) for each item, float32 [n, classes], by the paper's own rule (see ``ZeroShot``).

        An item that stands for several pictures, or is a list of them (a slide's tiles), has the mean of their similarities, or of the largest
        (``ZeroShot.top``). Raises ``RunError``: see ``zero_shot``.
        """
        names = zero_shot.checked(classes)
        made = zero_shot.written(self.rule, names, templates)
        vectors = zero_shot.of_classes(lambda texts: np.asarray(self.embed(texts)), made, self.unit, self.rule.by_class)
        groups = self._pictures_of(items)
        wide = next((len(group[0]) for group in groups if len(group)), vectors[0].shape[1])
        if wide != vectors[0].shape[1]:
            raise CheckpointError(
                f"{self.name}: these weights give texts {vectors[0].shape[1]} numbers and pictures {wide}, so they cannot be compared"
            )
        likeness = [
            np.array([zero_shot.pooled(group, one, self.rule.top) for group in groups]).reshape(-1, len(names))
            for one in vectors
        ]
        return zero_shot.scores(self.rule.rule, likeness, self.scale, logits, self.bias)

    @property
    def scale(self) -> float:
        """What similarities are multiplied by: the exponential of what was learned, within the rule's limits."""
        learned = self.network.logit_scale.detach()
        return float((learned if self.rule.limits is None else learned.clamp(*self.rule.limits)).exp())

    @property
    def bias(self) -> float:
        """What is added to similarities behind the scale; 0 where none was learned."""
        return zero_shot.bias_of(self.network)

    @property
    def unit(self) -> bool:
        """Whether a class's mean vector is scaled to length 1."""
        return self.network.text.normalise and self.rule.average == "vectors"

    def embed(self, items: Sequence[Any], output: str = "pooled", batch_size: int | str = "auto") -> Any:
        """Return vectors of pictures or of texts (see ``DualModel.embed``). Where the mean goes over padding too, texts that are given
        together go in together, filled up to the longest, as the release does: their vectors depend on each other.
        """
        together = self._fills_count and bool(items) and all(isinstance(one, str) for one in items)
        return super().embed(items, output, len(items) if together and batch_size == "auto" else batch_size)

    @property
    def _fills_count(self) -> bool:
        return getattr(self.network.text.tower, "pooling", None) == OVER_PADDING

    def _pictures_of(self, items: Sequence[Any]) -> list[list[Float32]]:
        """Return the vectors of the pictures of each item."""
        if isinstance(items, str) or not hasattr(items, "__iter__"):
            raise RunError("classify takes a list of items: one picture goes in as a list of one")
        several = [list(one) if isinstance(one, list | tuple) else [one] for one in items]
        every = iter(self.each([picture for one in several for picture in one], self.vector))
        return [[vector for _ in one for vector in next(every)] for one in several]

    @property
    def _fills(self) -> bool:
        return self.words.padded

    @property
    def _longest(self) -> int:
        return self.longest

    def prepare(self, content: Any) -> Prepared:
        """Return an item's pictures, or a text's token ids (see ``DualModel.prepare``)."""
        if not isinstance(content, str):
            return super().prepare(content)
        made = self._encoded([content])
        return Prepared([made["input_ids"][0].numpy()], cut=self._beyond([self._plain(content)], made) > 0)

    def _together(self, inputs: Sequence[Any]) -> list[list[int]]:
        if getattr(self.network.text.tower, "packs", False) and all(one.ndim == 1 for one in inputs):
            return [
                sorted(range(len(inputs)), key=lambda i: inputs[i].tolist())
            ]  # those that begin the same are neighbours
        return super()._together(inputs)

    def _plain(self, text: str) -> str:
        return clip_text.repaired(text) if self.words.repaired else text

    def _encoded(self, texts: Sequence[str]) -> Any:
        texts = [self._plain(text) for text in texts]
        made = super()._encoded(texts)
        with TURN:  # threads count together
            self.provenance["texts_cut"] = self.provenance.get("texts_cut", 0) + self._beyond(texts, made)
        return made

    def _beyond(self, texts: Sequence[str], made: Any) -> int:
        """Return how many of the texts that became these ids were longer than the context."""
        full = [
            text for text, mask in zip(texts, made["attention_mask"], strict=True) if int(mask.sum()) >= self.longest
        ]
        if not full:  # else most are cut; those that just fit are told apart
            return 0
        with TURN:
            return sum(len(ids) > self.longest for ids in self.tokenizer(full, verbose=False)["input_ids"])  # type: ignore[misc]

    @torch.inference_mode()
    def _of_pixels(self, pixels: torch.Tensor) -> Float32:
        if self.vector != "image_embedding":  # a family that builds on this one and gives others
            return super()._of_pixels(pixels)
        first = next(self.network.parameters())
        return self.network.of_pictures(pixels.to(first.device, first.dtype)).float().cpu().numpy()

    def _of_ids(self, ids: torch.Tensor, mask: torch.Tensor) -> Float32:
        return self.forward({"token_ids": ids, "attention_mask": mask})["text_embedding"]


class Ensemble(Model):
    """Several checkpoints of one network: the mean of their probabilities. A vector is one member's alone, so none is given."""

    capabilities = frozenset({"preprocess", "classify"})
    takes = VisionModel.takes

    def __init__(self, members: Sequence[DualEncoderModel]) -> None:
        super().__init__(members[0].card, members[0].variant)
        self.members = tuple(members)
        self.transform = members[0].transform
        self.network = nn.ModuleList([one.network for one in members])

    def settings(self) -> dict[str, Any]:
        """Return what every member's numbers rest on."""
        return {"model": self.name, "members": [one.settings() for one in self.members]}

    def preprocess(self, items: Sequence[Any]) -> dict[str, torch.Tensor]:
        """Return ``pixels`` (see ``VisionModel.preprocess``)."""
        return self.members[0].preprocess(items)

    def classify(
        self, items: Sequence[Any], classes: Sequence[str], templates: Any = None, logits: bool = False
    ) -> Float32:
        """Return the mean of the members' probabilities (``logits``: its log, or by a rule that asks for each class its log odds), float32 [n, classes]."""
        mean = np.mean([one.classify(items, classes, templates) for one in self.members], 0, dtype=np.float64)
        if logits:
            mean = np.log(mean) - (np.log1p(-mean) if self.members[0].rule.rule != "softmax" else 0)
        return np.asarray(mean, np.float32)
