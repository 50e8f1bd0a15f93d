"""What every family of vision models shares: pixels as the card says, a tower from pixels to tokens, a vector out of them.

A tower keeps the published key names, or says in ``dialects`` how those become its own.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch

from healthfm.cards.schema import ModelCard, Runner, Transform
from healthfm.errors import CapabilityError, CheckpointError, RunError
from healthfm.models.files import checkpoint, recognise
from healthfm.models.files.checkpoint import Checkpoint, Tensors
from healthfm.models.files.opening import open_weights, place, provenance
from healthfm.models.merge import FILES, merged
from healthfm.models.model import Float32, Model
from healthfm.models.prepared import Prepared
from healthfm.models.vision import config_keys as vision_keys
from healthfm.models.vision import heads, pictures, transform
from healthfm.records import Image, Slide, Video, Volume

WORDS = ("transform", "pooling", *FILES)  # of [run], that a tower reads
TRAINED = ("model", "state_dict")  # under what training scripts save a network, whatever it was trained from
SPREAD = "module."
PIXELS_PER_BATCH = 32 * 224 * 224
Weights = Path | str | Mapping[str, torch.Tensor] | None
Dialects = Mapping[str, Callable[[Tensors, Any], Tensors]]
AnyNumbers = TypeVar("AnyNumbers")


class Tower(torch.nn.Module):
    """Pixels [n, 3, height, width] to tokens [n, t, d] and one vector a picture; the first ``prefix`` tokens are no patches.

    ``num_classes``: those of a trained head, which most published towers lack; ``head_width``: how many numbers it takes, ``head_name``:
    where it stands.
    """

    prefix = 0
    num_classes = 0
    head_width = 0
    head_name = "head"
    pooling = "mean"
    poolings: tuple[str, ...] = ("mean",)

    def tokens(self, pixels: torch.Tensor, layer: int | None = None) -> torch.Tensor:
        """Return the tokens after the last norm; or those that leave block ``layer`` (-1: the last), before that norm."""
        raise NotImplementedError

    def pool(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return one vector a picture: "cls" or "first" (the first token), "mean" (of the patches) or "cls+mean" (joined)."""
        if self.pooling in ("cls", "first"):
            return tokens[:, 0]
        mean = tokens[:, self.prefix :].mean(1)
        return torch.cat((tokens[:, 0], mean), -1) if self.pooling == "cls+mean" else mean

    def logits(self, pooled: torch.Tensor) -> torch.Tensor:
        """Return the head's class scores [n, classes]."""
        raise NotImplementedError

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        tokens = self.tokens(pixels)
        return tokens, self.pool(tokens)


class VisionModel(Model):
    """A tower with its transform. Items are paths, arrays [height, width(, channels)], PIL images, or records of pixels.

    Without a transform they are what the network takes: float32 arrays [channels, rows, columns]. With a trained head it classifies;
    ``classes``: the head's names, where the files give them.
    """

    capabilities = frozenset({"preprocess", "forward", "embed"})
    takes = (Image, Volume, Slide, Video)
    stacks = True
    network: Tower
    classes: tuple[str, ...] = ()
    several = False
    vector = "pooled"  # the output of forward that embed gives

    def __init__(self, card: ModelCard, variant: str | None, network: Tower, rule: Transform | None) -> None:
        super().__init__(card, variant)
        self.network = network
        self.transform = rule
        if network.num_classes:
            self.capabilities = self.capabilities | {"classify"}

    def show_between(self, black: float, white: float) -> None:
        """Show the slices of volumes with voxels from ``black`` to ``white`` (CT: Hounsfield units). Raises ``RunError``."""
        if self.transform is None or not black < white:
            raise RunError(
                f"{self.name}: a window is two values, black and white, the smaller first; it is for pictures"
            )
        self.transform = self.transform.model_copy(update={"window": (black, white)})

    def preprocess(self, items: Sequence[Any]) -> dict[str, torch.Tensor]:
        """Return ``pixels``, float32 [n, 3, height, width], one for each picture that an item stands for.

        Where an item is several (a volume's slices, a film's frames), also ``item``, int64 [n]: the number of the item that each
        picture is of. Raises ``RunError``: pictures that come out in different sizes.
        """
        counts: list[int] = []
        arrays = list(self._pixels(items, counts))
        sizes = {array.shape for array in arrays}
        if len(sizes) > 1:
            listed = ", ".join(f"{height} x {width}" for _, height, width in sorted(sizes)[:3])
            raise RunError(
                f"{self.name} does not crop, and these pictures become {listed}: pass those of one shape together"
            )
        found = {"pixels": torch.from_numpy(np.stack(arrays))}
        if len(arrays) != len(items):
            found["item"] = torch.repeat_interleave(torch.tensor(counts))
        return found

    @torch.inference_mode()
    def forward(self, batch: Mapping[str, torch.Tensor]) -> dict[str, Float32]:
        """Return ``tokens`` [n, t, d], those that are no patches first, and ``pooled`` [n, d], pooled as the card says.

        With a trained head also ``logits`` [n, classes].
        """
        first = next(self.network.parameters())
        tokens, pooled = self.network(batch["pixels"].to(first.device, first.dtype))
        found = {"tokens": tokens, "pooled": pooled}
        if self.network.num_classes:
            found["logits"] = self.network.logits(pooled)
        return {name: value.float().cpu().numpy() for name, value in found.items()}

    def embed(self, items: Sequence[Any], output: str = "pooled", batch_size: int | str = "auto") -> Any:
        """Return "pooled" vectors, float32 [n, d], or "tokens": a list of float32 [t, d].

        Pictures are decoded as they are needed; an item that stands for several (see ``pictures.pictures``) has the mean of their vectors,
        and the tokens of all of them.
        """
        if output not in ("pooled", "tokens"):
            raise CapabilityError(f"output is '{output}'; use pooled or tokens")
        groups = self.each(items, self.vector if output == "pooled" else output, batch_size)
        if output == "tokens":
            return [np.concatenate(group) for group in groups]
        if not groups:
            return np.zeros((0, 0), np.float32)
        return np.stack([group[0] if len(group) == 1 else np.mean(group, 0) for group in groups])

    def classify(
        self, items: Sequence[Any], classes: Sequence[str], templates: Any = None, logits: bool = False
    ) -> Float32:
        """Return a probability or logit of each class for each item, float32 [n, classes] (see ``heads.answers``).

        An item that stands for several pictures has the mean of their logits.
        """
        if "classify" not in self.capabilities:
            raise self._cannot("classify")
        values = np.zeros((0, self.network.num_classes), np.float32)
        if groups := self.each(items, "logits"):
            values = np.stack([np.mean(group, 0) for group in groups])
        return heads.answers(self.name, values, classes, self.classes, self.several, templates, logits)

    def prepare(self, content: Any) -> Prepared:
        """Return an item's pictures as the network takes them, each float32 [3, height, width] (see ``Model.prepare``)."""
        if self.transform is None:
            return Prepared(list(self.preprocess([content])["pixels"].numpy()))
        return pictures.prepared(content, self.transform)

    def embed_prepared(self, inputs: Sequence[Float32]) -> Float32:
        """Return the vectors of pictures as the network takes them, one at a time, float32 [n, d]."""
        return np.stack([self.forward({"pixels": torch.from_numpy(one[None])})[self.vector][0] for one in inputs])

    def each(self, items: Sequence[Any], output: str, batch_size: int | str = "auto") -> list[list[Float32]]:
        """Return an output of ``forward`` for each picture of each item: what every verb of pictures is made of."""
        counts: list[int] = []
        rows: list[Float32] = []
        for batch in batches(self._pixels(items, counts), batch_size):
            rows.extend(self.forward({"pixels": torch.from_numpy(np.stack(batch))})[output])
        ends = list(itertools.accumulate(counts))
        return [rows[end - count : end] for count, end in zip(counts, ends, strict=True)]

    def _pixels(self, items: Sequence[Any], counts: list[int]) -> Iterator[Float32]:
        for item in items:
            count = 0
            for picture in pictures.pictures(item, self.transform):
                count += 1
                yield self._array(picture)
            counts.append(count)

    def _array(self, picture: Any) -> Float32:
        if self.transform is not None:
            return transform.pixels(picture, self.transform)
        if not isinstance(picture, np.ndarray | torch.Tensor):
            raise CapabilityError(
                f"{self.name}: its card has no [run.transform], which says how a picture becomes what the network takes; arrays are taken as they are"
            )
        array = np.asarray(picture, np.float32)
        if array.ndim != 3:
            raise RunError(f"{self.name} takes arrays [channels, rows, columns], not {list(array.shape)}")
        return array


def batches(arrays: Iterator[Float32], batch_size: int | str) -> Iterator[list[Float32]]:
    """Yield neighbours of one shape: ``batch_size`` at a time, or ("auto") up to ``PIXELS_PER_BATCH``."""
    batch: list[Float32] = []
    for array in arrays:
        most = (
            max(1, PIXELS_PER_BATCH // (array.shape[1] * array.shape[2])) if batch_size == "auto" else int(batch_size)
        )
        if batch and (len(batch) >= most or batch[0].shape != array.shape):
            yield batch
            batch = []
        batch.append(array)
    if batch:
        yield batch


# Loading ----------------------------------------------------------------------------------------------------------------


def load_tower(
    card: ModelCard, variant: str | None, weights: Weights, config: Mapping[str, Any], device: str, dtype: str,
    build: Callable[[Runner], Tower], dialects: Dialects, stated: Callable[[Mapping[str, Any]], dict[str, Any]],
    headed: Callable[[Tensors, Runner, Mapping[str, Any]], tuple[dict[str, Any], list[str]]] | None = None,
) -> VisionModel:  # fmt: skip
    """Load a row whose network is one tower in one checkpoint. ``stated``: the numbers that a ``config.json`` beside it gives.

    ``headed``: what a head's checkpoint shows of the pooling before it, as words of ``config``, and what to say of it.
    """
    found = open_weights(card, variant, weights)
    beside = stated(found.config)
    said = recognise.check(card, variant, found.tensors, config, beside) if found.tensors else []
    run = settings(card, variant, beside, config)
    if found.tensors:
        bare = state(found.tensors, run)
        run, more = heads.chosen(run, bare, config.get("num_classes"))
        said += more
        if headed is not None and run.config.get("num_classes") and not {"pooling", "fc_norm"} & config.keys():
            words, more = headed(bare, run, found.config)
            run, said = (
                settings(card, variant, beside, {**config, "num_classes": run.config["num_classes"], **words}),
                said + more,
            )
    names = functools.partial(published, run=run, dialects=dialects)
    return filled(card, variant, run, found, weights == "random", device, dtype, build, names, said)


def filled(
    card: ModelCard, variant: str | None, run: Runner, found: Checkpoint, random: bool, device: str, dtype: str,
    build: Callable[[Runner], Tower], own_names: Callable[[Mapping[str, Any], Any], Tensors], said: Sequence[str] = (),
) -> VisionModel:  # fmt: skip
    """Build the network, fill it strictly (``random``: by torch's own rule, seed 0), place it; return its model with ``said``, its notices."""
    if random:
        network = seeded(lambda: build(run))
    else:
        with torch.device("meta"):
            network = build(run)
        tensors = own_names(found.tensors, network)
        if network.num_classes:
            heads.check_width(card.slug, tensors, network.head_width)
        network.to_empty(device="cpu")
        checkpoint.load_strict(network, tensors, run.ignore_keys)
    set_pooling(network, run, card.slug)
    place(network, run, device, dtype)
    model = VisionModel(card, variant, network, run.transform)
    model.classes, model.several = heads.names(found.config, network.num_classes), heads.several(found.config)
    model.provenance = {**provenance(found, network), "notices": list(said)}
    return model


def set_pooling(network: Tower, run: Runner, name: str) -> None:
    """Let a tower pool as [run] says. Raises ``CheckpointError``: it cannot."""
    network.pooling = run.pooling or network.pooling
    if network.pooling not in network.poolings:
        raise CheckpointError(f"{name}: pooling is '{run.pooling}'; use {', '.join(network.poolings)}")


def settings(card: ModelCard, variant: str | None, stated: Mapping[str, Any], overrides: Mapping[str, Any]) -> Runner:
    """Return [run] of a row whose network is one tower (see ``merge.merged``)."""
    return merged(card, variant, stated, overrides, WORDS)


def numbers(kind: type[AnyNumbers], config: Mapping[str, Any]) -> AnyNumbers:
    """Return architecture numbers as the family's dataclass. Raises ``CheckpointError`` for a name it does not know."""
    known = [field.name for field in fields(kind)]  # type: ignore[arg-type]
    strange = [name for name in config if name not in known]
    if strange:
        raise CheckpointError(f"'{strange[0]}' is no number of this family; it has {', '.join(known)}")
    try:
        return kind(**{name: tuple(v) if isinstance(v, list) else v for name, v in config.items()})
    except TypeError as error:  # names the numbers that are missing
        raise CheckpointError(f"the architecture is not complete: {str(error).partition('() ')[2]}") from None


def model_args(kind: type[Any], config: Mapping[str, Any], parts: Iterable[str] = ()) -> dict[str, Any]:
    """Return the family's numbers, and those of ``parts`` by their names, among timm's ``model_args`` of a ``config.json``.

    Raises ``CheckpointError``: one it has not.
    """
    known = {*(field.name for field in fields(kind)), *parts}
    vision_keys.check_timm(config, known)
    return {name: value for name, value in config.get("model_args", {}).items() if name in known}


def published(tensors: Mapping[str, Any], network: Tower, run: Runner, dialects: Dialects) -> Tensors:
    """Return a checkpoint's tensors under the tower's names. Raises ``CheckpointError``: no such state or dialect."""
    bare = state(tensors, run)
    bare = heads.whole(bare, network.head_name) if network.num_classes else heads.without(bare)
    if run.dialect is None:
        return bare
    if run.dialect not in dialects:
        raise CheckpointError(f"key dialect is '{run.dialect}'; this family reads {', '.join(dialects) or 'none'}")
    return dialects[run.dialect](bare, network)


def state(tensors: Mapping[str, Any], run: Runner) -> dict[str, torch.Tensor]:
    """Return what stands under the card's ``state`` (or where training scripts keep it), without ``strip``; a mapping of tensors
    alone is taken as the state itself.
    """
    if any(not isinstance(value, torch.Tensor) for value in tensors.values()):
        place = next((key for key in (run.state, *TRAINED) if isinstance(tensors.get(key or ""), Mapping)), None)
        if place is None and run.state is not None:
            raise CheckpointError(f"the weights should stand under '{run.state}'; found {', '.join(list(tensors)[:6])}")
        tensors = tensors if place is None else tensors[place]
    spread = all(key.startswith(SPREAD) for key in tensors)  # as training on several devices leaves it
    prefixes = (SPREAD, *run.strip) if spread else run.strip
    plain = {unprefixed(key, prefixes): value for key, value in tensors.items() if isinstance(value, torch.Tensor)}
    return heads.folded(plain)


def unprefixed(key: str, prefixes: Sequence[str]) -> str:
    """Take prefixes off a key name, in order."""
    for prefix in prefixes:
        key = key.removeprefix(prefix)
    return key


def seeded(build: Callable[[], Tower]) -> Tower:
    """Build a network with torch's own initial weights, the same every time."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return build()


def learned(*shape: int) -> torch.nn.Parameter:
    """Return a small random parameter (positions, class tokens)."""
    return torch.nn.Parameter(torch.randn(shape) * 0.02)
