"""What pictures are by a prompt: from vectors in a space that they share with texts, or from the answers of a model that asks pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from healthfm.cards.schema import ModelCard
from healthfm.errors import RunError
from healthfm.evaluate.prompts import Prompt
from healthfm.models.model import Model

if TYPE_CHECKING:
    from healthfm.embed.embedder import Embedder

ASKS = "query_decoder"  # the family of models that are asked with all classes of a prompt at once
Floats = npt.NDArray[Any]


@dataclass(frozen=True)
class Tool:
    """What parts are computed with: the ``members`` of a model, the embedder of each, and how their vectors are compared."""

    members: Sequence[Model]
    embedders: Sequence[Embedder]
    spaces: Sequence[Mapping[str, Any]]


def tool(model: Model, settled: Mapping[str, Any] | None, asked: Sequence[Prompt] | None) -> Tool:
    """Return the tool; ``asked``: the prompts that a model which asks pictures answers in place of vectors."""
    from healthfm.embed.embedder import Embedder  # needs torch, which statistics alone do not
    from healthfm.models.joint import zero_shot

    known = (settled or {}).get("arithmetic")
    if asked is None:
        spaces, members = zero_shot.spaces(model), zero_shot.members(model)
        return Tool(members, [Embedder(one, settled=known) for one in members], spaces)
    ready, places = model.asking([_said(one) for one in asked])  # type: ignore[attr-defined]
    return Tool([ready], [Embedder(ready, settled=known)], [{"places": places}])


class ByPrompt(Protocol):
    """Pictures' probabilities, float64 [n, classes], by a prompt or by several together."""

    def __call__(self, prompt: Prompt) -> Floats: ...

    def together(self, prompts: Sequence[Prompt]) -> Floats: ...


@dataclass(frozen=True)
class Scored:
    """By vectors of pictures and of ``texts``, of every member of an ensemble one behind the other."""

    rule: str
    spaces: Sequence[Mapping[str, Any]]
    texts: Sequence[str]
    of_texts: Floats
    of_pictures: Floats
    several: bool

    def __call__(self, prompt: Prompt) -> Floats:
        return self._by(prompt.kinds)

    def together(self, prompts: Sequence[Prompt]) -> Floats:
        """By the sentences of all prompts, each once."""
        kinds, classes = range(len(prompts[0].templates[0])), range(len(prompts[0].names))
        return self._by([
            [list(dict.fromkeys(text for one in prompts for text in one.kinds[kind][number])) for number in classes] for kind in kinds
        ])  # fmt: skip

    def _by(self, kinds: Sequence[Sequence[Sequence[str]]]) -> Floats:
        from healthfm.models.joint import zero_shot

        place = {text: i for i, text in enumerate(self.texts)}
        size, found = self.of_texts.shape[1] // len(self.spaces), []
        for number, space in enumerate(self.spaces):
            part = slice(number * size, (number + 1) * size)
            texts, pictures = self.of_texts[:, part], self.of_pictures[:, part]
            if not space["ready"]:
                texts, pictures = (one / np.linalg.norm(one, axis=-1, keepdims=True) for one in (texts, pictures))
            known = {text: texts[place[text]] for kind in kinds for some in kind for text in some}
            likeness = [pictures @ one.T for one in zero_shot.means(known, kinds, space["unit"])]
            found.append(zero_shot.chances(self.rule, likeness, space["scale"], self.several, space["bias"]))
        mean: Floats = np.asarray(np.mean(found, 0, dtype=np.float64))
        return mean


@dataclass(frozen=True)
class Answered:
    """By the log odds [n, q] with which a model answered each of ``prompts``, all classes of one asked together; ``places``: where they stand."""

    prompts: Sequence[Prompt]
    odds: Floats
    places: Sequence[int]
    several: bool

    def __call__(self, prompt: Prompt) -> Floats:
        return self._chances(self._of(prompt))

    def together(self, prompts: Sequence[Prompt]) -> Floats:
        """By the mean of all prompts' log odds."""
        return self._chances(np.stack([self._of(one) for one in prompts]).mean(0, dtype=np.float64))

    def _of(self, prompt: Prompt) -> Floats:
        size = len(prompt.names)
        start = list(self.prompts).index(prompt) * size
        return self.odds[:, list(self.places[start : start + size])]

    def _chances(self, odds: Floats) -> Floats:
        found: Floats = 1 / (1 + np.exp(-odds.astype(np.float64)))
        return found if self.several else found / found.sum(-1, keepdims=True)


def _said(prompt: Prompt) -> list[str]:
    """Return the one text that each class is asked by."""
    if len(prompt.templates) != 1:
        raise RunError(
            f"a model that asks pictures has one text a class, and its card {len(prompt.templates)} templates"
        )
    return [texts[0] for texts in prompt.kinds[0]]


def asking(card: ModelCard, variant: str | None) -> Mapping[str, Any] | None:
    """Return the numbers of a model that asks pictures (see ``query_network``); None for one that compares vectors."""
    run = card.runner(variant) if card.run is not None else None
    return run.config if run is not None and run.family == ASKS else None


def known(
    names: Sequence[tuple[str, ...]], classes: Sequence[str], numbers: Mapping[str, Any]
) -> list[tuple[str, ...]]:
    """Return, for each class, the one of its names (or itself) that a model with queries of its own knows.

    Raises ``RunError``: it knows none of them.
    """
    from healthfm.models.joint import zero_shot

    found: list[tuple[str, ...]] = []
    entities, called = numbers["entities"], numbers.get("called") or {}
    for some, one in zip(names, classes, strict=True):
        fitting = [name for name in (*some, one) if zero_shot.entity(name, entities, called) is not None]
        if not fitting:
            raise RunError(
                f"this model knows the findings that it was trained with, and none is '{one}' (nor {', '.join(some)}): {', '.join(entities)}"
            )
        found.append((fitting[0],))
    return found
