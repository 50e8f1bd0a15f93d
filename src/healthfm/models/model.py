"""``Model``: one set of verbs for every family, and for objects of the caller's."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from healthfm.cards.schema import ModelCard, Transform
from healthfm.errors import CapabilityError, RunError
from healthfm.models.language.rendered import Asked, Rendered, text_given
from healthfm.models.prepared import Prepared
from healthfm.records import Record

if TYPE_CHECKING:
    import torch


Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
VERBS = ("preprocess", "forward", "logits", "score", "generate", "embed", "embed_tokens", "fill", "classify", "tag")
NO_SETTINGS = (
    "card",
    "variant",
    "network",
    "tokenizer",
    "provenance",
    "client",
    "kept_prefix",
)  # told by others, or no settings


class Model:
    """A loaded model. ``capabilities`` names the verbs it has; the others raise ``CapabilityError``.

    ``network`` is the torch module itself, ``provenance`` says which weights, in which precision, on which device.

    ``takes``: the kinds of records that it embeds (classes of ``healthfm.records``; a slide tile by tile); none for an object of which
    nothing is known. ``transform``: how pictures become its inputs, where it takes pictures. ``stacks``: ``network`` itself takes inputs
    of one shape stacked, float32 [n, ...], and returns (tokens, vectors [n, d]), so that others than torch can compute it. ``together``: how
    many pictures, and how many texts, ``embed_prepared`` takes at once on a CPU, none filled up to the length of another.
    """

    capabilities: frozenset[str] = frozenset()
    takes: tuple[type[Record], ...] = ()
    transform: Transform | None = None
    stacks: bool = False
    together: tuple[int, int] = (1, 1)

    def __init__(self, card: ModelCard, variant: str | None = None) -> None:
        self.card = card
        self.variant = variant
        self.network: torch.nn.Module | None = None
        self.provenance: dict[str, Any] = {}

    @property
    def name(self) -> str:
        """``slug[:variant]``."""
        return self.card.slug + (f":{self.variant}" if self.variant else "")

    def __repr__(self) -> str:
        return f"<Model {self.name}: {', '.join(sorted(self.capabilities)) or 'no verbs'}>"

    def settings(self) -> dict[str, Any]:
        """Return everything but the inputs that changes this model's numbers, as plain data: tensors by their digest, the rest of
        the network, architecture, preprocessing, pooling, precision, tokenizer. Equal settings and equal inputs give equal numbers.

        Taken from what the model is now, whatever was done to it since it was loaded. Attributes whose names begin with "_" are
        caches, and no settings. Of an object of the caller's nothing is known.
        """
        from healthfm.models import state

        own = {
            name: state.plain(value) for name, value in vars(self).items() if name not in NO_SETTINGS and name[0] != "_"
        }
        run = self.card.runner(self.variant) if self.card.run is not None else None
        found = {"model": self.name, "run": state.plain(run), "dtype": self.provenance.get("dtype"), **own}
        if hasattr(self.network, "state_dict"):
            assert self.network is not None
            found |= {"tensors": state.tensors(self.network), "network": state.structure(self.network)}
        return found

    def _cannot(self, verb: str) -> CapabilityError:
        return CapabilityError(
            f"{self.name} cannot {verb}; it can {', '.join(sorted(self.capabilities)) or 'do nothing'}"
        )

    def preprocess(self, items: Sequence[Any]) -> dict[str, torch.Tensor]:
        """Return exactly what the network sees for ``items``."""
        raise self._cannot("preprocess")

    def forward(self, batch: Mapping[str, Any]) -> dict[str, Float32]:
        """Run the network on a batch of ``preprocess``; output names are fixed per family."""
        raise self._cannot("forward")

    def logits(self, token_ids: Sequence[Sequence[int]]) -> list[Float32]:
        """Return next-token logits for each list of token ids: float32 [length, vocabulary]."""
        raise self._cannot("logits")

    def score(self, prompts: Sequence[str | Rendered], options: Sequence[Sequence[str]]) -> list[Float64]:
        """Return, for each prompt, the summed log-likelihood of each of its options (natural log).

        The boundary rule is lm-evaluation-harness's: white space at the prompt's end moves to the option.
        """
        raise self._cannot("score")

    def generate(
        self,
        prompts: Sequence[Asked],
        max_new_tokens: int | None = 256,
        temperature: float | None = 0,
        stop: Sequence[str] | None = None,
        seed: int = 0,
        stream: bool = False,
    ) -> Any:
        """Return the text generated for each prompt (a str, a list of ``Message``, or what a card's template made); the likeliest at temperature 0.

        None means what the prompt's owner does, as the card says: of ``max_new_tokens``, ``temperature``, and ``stop``, whose
        strings end a text and are not part of it. With ``stream`` and one prompt, return an
        iterator over pieces of text instead.
        """
        raise self._cannot("generate")

    def embed(self, items: Sequence[Any], output: str = "pooled", batch_size: int | str = "auto") -> Any:
        """Return "pooled" vectors, float32 [n, d], pooled as the card says; or "tokens", a list of [length, d]."""
        raise self._cannot("embed")

    def embed_tokens(self, token_ids: Sequence[Sequence[int]]) -> Float32:
        """Return pooled vectors, float32 [n, d], of token ids, before any tokenizer."""
        raise self._cannot("embed_tokens")

    def prepare(self, content: Any) -> Prepared:
        """Return what the network is given for one item: a text (str), a record of a kind in ``takes``, or, of pictures, also an array,
        a PIL image or a path. Raises ``HealthfmError``: it cannot be read.

        An object of which nothing is known is given the item itself.
        """
        told = content if isinstance(content, str) else repr(content)
        if isinstance(content, Record) and not content.stacked:
            told = content.digest()
        return Prepared([content], hashlib.sha256(told.encode()).hexdigest(), lone=True)

    def embed_prepared(self, inputs: Sequence[Any]) -> Float32:
        """Return the vectors, float32 [n, d], of inputs as ``prepare`` gives them."""
        return np.asarray(self.embed(list(inputs)), np.float32)

    def fill(self, texts: Sequence[str], top_k: int = 5) -> list[list[tuple[str, float]]]:
        """Return, for each text with one mask token, the ``top_k`` (token, probability) that fit it best."""
        raise self._cannot("fill")

    def classify(
        self, items: Sequence[Any], classes: Sequence[str], templates: Any = None, logits: bool = False
    ) -> Float32:
        """Return a probability (or logit) of each class for each item, float32 [n, classes]."""
        raise self._cannot("classify")

    def tag(self, texts: Sequence[Sequence[str]]) -> list[list[str]]:
        """Return the tag of each word of texts that are given as their words, as the head's own labels name it ("B-Disease", "O")."""
        raise self._cannot("tag")

    def show_between(self, black: float, white: float) -> None:
        """Show the slices of volumes with voxels from ``black`` to ``white`` (CT: Hounsfield units). Raises ``RunError``."""
        raise RunError(f"a window is for the slices of volumes; {self.name} reads no pictures")


class External(Model):
    """Any object with methods named like the verbs, or a function that is one of them, with a card of the caller's."""

    def __init__(self, card: ModelCard, target: Any, verb: str | None) -> None:
        super().__init__(card)
        found: dict[str, Callable[..., Any]] = {
            v: getattr(target, v) for v in VERBS if callable(getattr(target, v, None))
        }
        if verb is not None and verb not in found and callable(target):
            found[verb] = target
        if not found:
            raise CapabilityError(
                f"{card.slug}: the object has none of the methods {', '.join(VERBS)}; for a plain function say which verb it is: load_model(f, card=..., verb='score')"
            )
        self.capabilities = frozenset(found)
        for name, method in found.items():
            setattr(self, name, _given_texts(method) if name in ("generate", "score") else method)
        self.provenance = {"weights": "the caller's own object", "device": "the caller's", "dtype": "the caller's"}

    def settings(self) -> dict[str, Any]:
        """Return all that is known of the caller's object: its name."""
        return {"model": self.name, "weights": self.provenance["weights"]}


def _given_texts(method: Callable[..., Any]) -> Callable[..., Any]:
    """Return a caller's method that is given plain texts where prompts were made by a card's template."""

    @functools.wraps(method)
    def call(prompts: Any, *more: Any, **named: Any) -> Any:
        made = isinstance(prompts, list | tuple) and any(isinstance(one, Rendered) for one in prompts)
        return method([text_given(one) for one in prompts] if made else prompts, *more, **named)

    return call
