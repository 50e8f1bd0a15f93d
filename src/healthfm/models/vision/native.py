"""Vision towers of any class of transformers', from a folder (``models.files.folder``), and the pairs of towers of CLIP and SigLIP.

Pictures become pixels by our own transform, read from the folder's image processor and held against it on two pictures: a processor that
does anything else is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import PIL.Image
import torch
import transformers
from torch import nn

from healthfm.cards.schema import ModelCard, Transform, ZeroShot
from healthfm.errors import CapabilityError, CheckpointError
from healthfm.models.files.folder import Opened
from healthfm.models.files.opening import place
from healthfm.models.joint import siglip_words, zero_shot
from healthfm.models.language.text_model import TURN, TextModel, read_tokenizer
from healthfm.models.model import Float32
from healthfm.models.prepared import Prepared
from healthfm.models.vision import transform
from healthfm.models.vision.vision_model import Tower, VisionModel

SAME = 1e-4  # the largest difference of a pixel from the processor's own
FILTERS = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}  # PIL's numbers
TOKENS_AT_ONCE = 4096


class NativeTower(Tower):
    """A network of transformers' as a tower. ``pooling``: "pooler" (the vector that the network itself gives), "cls" or "mean"."""

    poolings: tuple[str, ...] = ("pooler", "cls", "mean")

    def __init__(self, network: transformers.PreTrainedModel) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        out = self.run(pixels)
        tokens = rows_of(out.last_hidden_state)
        pooled = given(out) if self.pooling == "pooler" else self.pool(tokens)
        assert pooled is not None
        return tokens, pooled

    def run(self, pixels: torch.Tensor) -> Any:
        """Return what the network returns of pictures."""
        return self.network(pixel_values=pixels)

    def tokens(self, pixels: torch.Tensor, layer: int | None = None) -> torch.Tensor:
        if layer is not None:
            raise CapabilityError("tokens of inner layers are not read of a folder's network")
        return rows_of(self.run(pixels).last_hidden_state)


class DualTower(NativeTower):
    """The picture side of CLIP or SigLIP, in the space that both sides share; the text side stands beside it."""

    poolings = ("pooler",)

    def run(self, pixels: torch.Tensor) -> Any:
        return self.network.get_image_features(pixel_values=pixels)


def _unit(vectors: Float32) -> Float32:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def _is_siglip(network: Any) -> bool:
    return bool(network.config.model_type == "siglip")


def _words(opened: Opened, network: Any) -> transformers.PreTrainedTokenizerBase | None:
    """Return a pair's tokenizer: SigLIP's own file first, which transformers reads with a package more."""
    own = siglip_words.read(opened.path, None) if _is_siglip(network) else None
    return own if own is not None else read_tokenizer(opened.path)


def rows_of(states: torch.Tensor) -> torch.Tensor:
    """Return tokens [n, t, d]; of a map [n, d, height, width], its places."""
    return states.flatten(2).transpose(1, 2) if states.ndim == 4 else states


def given(out: Any) -> torch.Tensor | None:
    """Return the one vector a picture that a network gives itself, [n, d]; None where it gives none."""
    found = getattr(out, "image_embeds", None)
    found = found if found is not None else getattr(out, "pooler_output", None)
    return None if found is None else found.flatten(1)


class DualModel(VisionModel):
    """Pictures and texts in one space. ``embed`` takes pictures, or texts (``str``)."""

    capabilities = VisionModel.capabilities | {"classify"}
    takes = (*VisionModel.takes, *TextModel.takes)
    stacks = False  # the network takes texts too
    together = (8, 256)

    def __init__(
        self, card: ModelCard, network: Tower, rule: Transform | None, tokenizer: transformers.PreTrainedTokenizerBase | None,
        variant: str | None = None,
    ) -> None:  # fmt: skip
        super().__init__(card, variant, network, rule)
        self.tokenizer = tokenizer
        self.rule = (card.run.zero_shot if card.run is not None else None) or ZeroShot()

    def settings(self) -> dict[str, Any]:
        """Return everything but the inputs that changes this model's numbers (see ``Model.settings``), its tokenizer with them."""
        from healthfm.models import state

        return {**super().settings(), "tokenizer": state.tokenizer(self.tokenizer)}

    def embed(self, items: Sequence[Any], output: str = "pooled", batch_size: int | str = "auto") -> Any:
        """Return vectors of pictures (see ``VisionModel.embed``), or of texts, float32 [n, d], where all items are texts."""
        if not items or not all(isinstance(one, str) for one in items):
            return super().embed(items, output, batch_size)
        if output != "pooled":
            raise CapabilityError(f"{self.name} gives one vector a text, not tokens")
        size = self.together[1] if batch_size == "auto" else int(batch_size)
        return np.concatenate([self._texts(items[i : i + size]) for i in range(0, len(items), size)])

    def classify(
        self, items: Sequence[Any], classes: Sequence[str], templates: Any = None, logits: bool = False
    ) -> Float32:
        """Return each class's probability (or logit) for each item, float32 [n, classes], of cosines times the learned scale: by softmax,
        of SigLIP by a sigmoid behind the learned bias.

        ``templates``: one or several texts with {} for the name (None: the name alone). An item that stands for several pictures has the
        cosine of their mean.
        """
        rule, network = self.rule, self.network.network
        names = zero_shot.checked(classes)
        made = zero_shot.written(rule, names, templates)
        vectors = zero_shot.of_classes(lambda texts: _unit(np.asarray(self.embed(texts))), made, True, False)
        likeness = (
            [_unit(np.asarray(self.embed(items))).reshape(len(items), -1) @ one.T for one in vectors]
            if len(items)
            else [np.zeros((0, len(names)), np.float32)]
        )
        scale = float(network.logit_scale.detach().exp())  # type: ignore[union-attr, operator]
        return zero_shot.scores(rule.rule, likeness, scale, logits, zero_shot.bias_of(network))

    def prepare(self, content: Any) -> Prepared:
        """Return an item's pictures, or a text's token ids, int64 [length], as the network takes them (see ``Model.prepare``)."""
        if not isinstance(content, str):
            return super().prepare(content)
        with TURN:
            ids = self._encoded([content])["input_ids"][0].numpy()
            return Prepared([ids], cut=len(self.tokenizer(content)["input_ids"]) > self._longest)  # type: ignore[misc]

    def embed_prepared(self, inputs: Sequence[Any]) -> Float32:
        """Return the vectors, float32 [n, d], of pictures or of token ids."""
        found: dict[int, Float32] = {}
        for rows in self._together(inputs):
            if inputs[rows[0]].ndim == 1:
                found |= self._of_rows(inputs, rows)
            else:
                made = self._of_pixels(torch.from_numpy(np.stack([inputs[i] for i in rows])))
                found |= dict(zip(rows, made, strict=True))
        return np.stack([found[i] for i in range(len(inputs))])

    def _together(self, inputs: Sequence[Any]) -> list[list[int]]:
        """Return the numbers of those that go through the network together: of one size, so that no text is filled up."""
        return [
            [i for i, one in enumerate(inputs) if one.shape == shape]
            for shape in dict.fromkeys(a.shape for a in inputs)
        ]

    def _of_rows(self, inputs: Sequence[Any], rows: Sequence[int]) -> dict[int, Float32]:
        """Return the vectors of some of the token ids, by their numbers; they are filled up to the longest."""
        ids = [torch.from_numpy(inputs[i]) for i in rows]
        size = max(TOKENS_AT_ONCE // max(map(len, ids)), 1)
        found: dict[int, Float32] = {}
        for start in range(0, len(rows), size):
            some = nn.utils.rnn.pad_sequence(ids[start : start + size], batch_first=True)
            made = self._of_ids(some, torch.ones_like(some))
            found |= dict(zip(rows[start : start + size], made, strict=True))
        return found

    @property
    def _fills(self) -> bool:
        return _is_siglip(self.network.network)

    @property
    def _longest(self) -> int:
        return int(self.network.network.config.text_config.max_position_embeddings)  # type: ignore[union-attr, arg-type]

    def _encoded(self, texts: Sequence[str]) -> Any:
        """Return the token ids and the mask of texts, cut to the longest that the text side reads; SigLIP's are padded to it, as it was trained."""
        if self.tokenizer is None:
            raise CheckpointError(f"{self.name}: no tokenizer beside the weights; it reads pictures only")
        with TURN:
            return self.tokenizer(
                list(texts), padding="max_length" if self._fills else True, truncation=True, max_length=self._longest, return_tensors="pt",
                return_attention_mask=True,
            )  # fmt: skip

    def _of_pixels(self, pixels: torch.Tensor) -> Float32:
        return self.forward({"pixels": pixels})[self.vector]

    @torch.inference_mode()
    def _of_ids(self, ids: torch.Tensor, mask: torch.Tensor) -> Float32:
        network: Any = self.network.network
        shown = {} if _is_siglip(network) else {"attention_mask": mask.to(network.device)}
        out = network.get_text_features(input_ids=ids.to(network.device), **shown)
        found = out if isinstance(out, torch.Tensor) else out.pooler_output
        return found.float().cpu().numpy()

    def _texts(self, texts: Sequence[str]) -> Float32:
        made = self._encoded(texts)
        return self._of_ids(
            made["input_ids"],
            made["attention_mask"] if "attention_mask" in made else torch.ones_like(made["input_ids"]),
        )


def load(card: ModelCard, opened: Opened, dual: bool, pooling: str | None, device: str, dtype: str) -> VisionModel:
    """Return a vision tower, or a pair of towers (``dual``). A head of classes is left off, and said."""
    processor = _processor(opened)
    rule = transform_of(opened, processor)
    network = opened.network
    if not dual and type(network).__name__.endswith("ForImageClassification"):
        opened.said.append(
            f"the head of {network.config.num_labels} classes was left off: the vectors are those of the network before it"
        )
        network = network.base_model
    tower = DualTower(network) if dual else NativeTower(network)
    pixels = torch.from_numpy(np.stack([transform.pixels(one, rule) for one in probes()[:2]]))
    _settle(tower, opened, pixels, pooling)
    place(tower, card.runner(None), device, dtype)
    model = (
        DualModel(card, tower, rule, _words(opened, network))
        if isinstance(tower, DualTower)
        else VisionModel(card, None, tower, rule)
    )
    model.provenance = {**opened.provenance(), "pooling": tower.pooling, "processor": type(processor).__name__}
    return model


@torch.inference_mode()
def _settle(tower: NativeTower, opened: Opened, pixels: torch.Tensor, pooling: str | None) -> None:
    """Choose the pooling: the caller's, else the network's own vector, the class token, or the mean. Say which.

    Raises ``CheckpointError``: the network cannot run on what its processor makes, or draws at random (MAE's masks).
    """
    tower.eval()
    try:
        out, again = tower.run(pixels), tower.run(pixels)
    except Exception as error:  # sizes that do not go together: any kind
        why = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise CheckpointError(
            f"{opened.path}: {opened.architecture} cannot run on what its image processor makes: {why}"
        ) from None
    states = getattr(out, "last_hidden_state", None)
    if states is None:
        raise CapabilityError(
            f"{opened.path}: {opened.architecture} gives no tokens, so it is no tower that is run from a folder"
        )
    if states.shape != again.last_hidden_state.shape or not torch.allclose(
        states, again.last_hidden_state, rtol=1e-4, atol=1e-5
    ):
        raise CheckpointError(
            f"{opened.path}: {opened.architecture} draws at random: the same picture has other vectors each time"
        )
    tower.prefix = _prefix(tower, states, pixels)
    own = given(out) is not None
    tower.pooling = pooling or ("pooler" if own else "cls" if tower.prefix else "mean")
    if (
        tower.pooling not in tower.poolings
        or (tower.pooling == "pooler" and not own)
        or (tower.pooling == "cls" and not tower.prefix)
    ):
        known = [*(["pooler"] if own else []), *(["cls"] if tower.prefix else []), "mean"]
        raise CapabilityError(
            f"pooling is '{tower.pooling}'; {opened.architecture} has {', '.join(known if tower.poolings[1:] else known[:1])}"
        )
    if pooling is None and not isinstance(tower, DualTower):
        words = {
            "pooler": "the network's own pooled output",
            "cls": "the class token",
            "mean": "the mean of its patches",
        }
        opened.said.append(f"a picture's vector is {words[tower.pooling]} (config={{'pooling': ...}} takes another)")


def _prefix(tower: NativeTower, states: torch.Tensor, pixels: torch.Tensor) -> int:
    """Return how many tokens stand before the patches: 0 where that cannot be told."""
    patch = getattr(getattr(tower.network.config, "vision_config", tower.network.config), "patch_size", None)
    if states.ndim != 3 or not isinstance(patch, int):
        return 0
    beyond = states.shape[1] - (pixels.shape[2] // patch) * (pixels.shape[3] // patch)
    return beyond if 0 < beyond <= 16 else 0


# Pictures to pixels -----------------------------------------------------------------------------------------------------


def _processor(opened: Opened) -> Any:
    """Return the folder's image processor, of transformers' own classes, on PIL."""
    try:
        return transformers.AutoImageProcessor.from_pretrained(
            opened.path, backend="pil", local_files_only=True, trust_remote_code=False
        )
    except (ValueError, OSError, ImportError, TypeError, KeyError, AttributeError) as error:
        why = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise CheckpointError(
            f"{opened.path}: how pictures go in is not known (preprocessor_config.json): {why}"
        ) from None


def transform_of(opened: Opened, processor: Any) -> Transform:
    """Return an image processor's steps as a ``Transform``. Raises ``CheckpointError``: it does anything else."""

    def on(step: str) -> bool:
        return bool(getattr(processor, f"do_{step}", False))

    size = _sides(getattr(processor, "size", None)) if on("resize") else None
    crop = _sides(getattr(processor, "crop_size", None)) if on("center_crop") else None
    factor = float(getattr(processor, "rescale_factor", None) or 1 / 255) if on("rescale") else 1.0
    facts: dict[str, Any] = {
        "resize": size, "crop": crop, "scale": round(1 / factor, 6), "interpolation": FILTERS.get(int(getattr(processor, "resample", None) or 0), "bilinear"),
        "source": "the folder's preprocessor_config.json",
    }  # fmt: skip
    if on("normalize"):
        facts |= {"mean": tuple(processor.image_mean), "std": tuple(processor.image_std)}
    kind = type(processor).__name__
    try:
        rule = transform.FolderTransform(**facts)
        theirs = [np.asarray(processor(images=one, return_tensors="np")["pixel_values"][0]) for one in probes()]
        ours = [transform.pixels(one, rule) for one in probes()]
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise CheckpointError(
            f"{opened.path}: its image processor {kind} cannot be followed ({type(error).__name__})"
        ) from None
    if any(a.shape != b.shape or float(np.abs(a - b).max()) > SAME for a, b in zip(theirs, ours, strict=True)):
        raise CheckpointError(
            f"{opened.path}: its image processor {kind} does more than resize, crop, scale and normalise: pictures would go in otherwise"
        )
    return rule


def _sides(size: Any) -> int | tuple[int, int] | None:
    """Return a processor's size as ``Transform`` has it: the shorter side, or (height, width); None for any other way."""
    if size is None or isinstance(size, int):
        return size
    stated = size if isinstance(size, Mapping) else vars(size)
    known = {key: int(value) for key, value in stated.items() if value}
    if set(known) == {"height", "width"}:
        return known["height"], known["width"]
    return known["shortest_edge"] if set(known) == {"shortest_edge"} else None


def probes() -> list[PIL.Image.Image]:
    """Return pictures, wide and tall, with odd and even remainders, on which every step shows."""
    random = np.random.default_rng(0)
    sizes = ((301, 207), (190, 333), (300, 211), (207, 305), (251, 199), (333, 250))
    coarse = [random.integers(0, 256, (9, 13, 3), np.uint8) for _ in sizes]
    return [
        PIL.Image.fromarray(one).resize(size, PIL.Image.Resampling.BICUBIC)
        for one, size in zip(coarse, sizes, strict=True)
    ]
