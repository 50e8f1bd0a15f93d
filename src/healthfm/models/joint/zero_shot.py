"""Classes told by their names: sentences made of them, their vectors, and the papers' rules from similarities to scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from healthfm.cards.schema import ZeroShot
from healthfm.errors import CapabilityError, RunError
from healthfm.models.model import Float32, Model

SLOT = "{}"


def checked(classes: Sequence[str]) -> list[str]:
    """Return the names of classes. Raises ``RunError``: none, one that is empty or no text, or one twice."""
    names = [classes] if isinstance(classes, str) else list(classes or ())
    if not names:
        raise RunError("no classes were named: zero-shot classification needs the name of each")
    if any(not isinstance(one, str) or not one.strip() for one in names):
        raise RunError(
            "the name of a class is a text that is not empty: it stands in the sentences that the model reads"
        )
    if twice := next((one for one in names if names.count(one) > 1), None):
        raise RunError(f"the class '{twice}' is named twice")
    return names


def sentences(rule: ZeroShot, templates: Any) -> list[tuple[str, ...]]:
    """Return the templates of each kind of sentence: those of a class and, by the rule "pair", of its absence.

    ``templates``: None (the card's), one or several texts with {} for the name; by the rule "pair" one or several pairs of them.
    What says that no class is there may do without a name. Raises ``RunError``: none, no pairs, or a text without the place for the name.
    """
    if templates is not None and (isinstance(templates, Mapping) or not isinstance(templates, str | Sequence)):
        raise RunError(
            "templates are a text with {} for a class's name, or a list of such; sentences for each class go where the rule has one kind of them"
        )
    if templates is None:
        kinds = [rule.templates, rule.absent] if rule.rule == "pair" else [rule.templates]
    elif rule.rule == "pair":
        pairs = (
            [templates] if len(templates) == 2 and all(isinstance(one, str) for one in templates) else list(templates)
        )
        if not pairs or any(not isinstance(one, list | tuple) or len(one) != 2 for one in pairs):
            raise RunError(
                "this model's rule sets what is there against what is not: templates are pairs, ('{}', 'no {}')"
            )
        kinds = [tuple(one[0] for one in pairs), tuple(one[1] for one in pairs)]
    else:
        kinds = [(templates,) if isinstance(templates, str) else tuple(templates)]
    for one, least in ((text, 1 - i) for i, kind in enumerate(kinds) for text in kind):
        if not isinstance(one, str) or not least <= one.count(SLOT) <= 1:
            raise RunError(
                f"the template {one!r} has no place, or several, for a class's name: {SLOT} stands in it once"
            )
    if not all(kinds):
        raise RunError("no templates were given: one text at least, with {} for a class's name")
    return kinds


def written(rule: ZeroShot, names: Sequence[str], templates: Any) -> list[list[list[str]]]:
    """Return the sentences of each kind, of each class. ``templates``: see ``sentences``; or, by a rule of one kind of sentence, the sentences
    themselves, a list for each class's name. Raises ``RunError``: a class without any, or see ``sentences``.
    """
    if isinstance(templates, Mapping) and rule.rule != "pair":
        lost = next((name for name in names if not _texts(templates.get(name))), None)
        if lost is not None:
            raise RunError(f"the class '{lost}' has no list of sentences of its own")
        return [[list(templates[name]) for name in names]]
    used = [name.lower() for name in names] if rule.lower_names else list(names)
    return [[[one.replace(SLOT, name) for one in kind] for name in used] for kind in sentences(rule, templates)]


def _texts(given: Any) -> bool:
    return isinstance(given, list | tuple) and bool(given) and all(isinstance(one, str) for one in given)


def of_classes(
    embed: Callable[[list[str]], Float32], made: Sequence[Sequence[Sequence[str]]], unit: bool, apart: bool
) -> list[Float32]:  # fmt: skip
    """Return the vectors of the classes by each kind of sentence (see ``written``), [classes, d]: the mean over a class's sentences, of
    length 1 if ``unit``. Each text is encoded once; or, if the classes stand ``apart``, each class's texts together.
    """
    if not apart:
        every = list(dict.fromkeys(text for kind in made for texts in kind for text in texts))
        return means(dict(zip(every, embed(every), strict=True)), made, unit)
    found = [np.stack([embed(list(texts)).mean(0) for texts in kind]) for kind in made]
    return [one / np.linalg.norm(one, axis=-1, keepdims=True) if unit else one for one in found]


def means(vectors: Mapping[str, Float32], made: Sequence[Sequence[Sequence[str]]], unit: bool) -> list[Float32]:
    """Return the vectors of the classes by each kind of sentence, [classes, d]: the mean of each one's sentences ``made``, of length 1 if ``unit``."""
    found = [np.stack([np.stack([vectors[text] for text in texts]).mean(0) for texts in kind]) for kind in made]
    return [one / np.linalg.norm(one, axis=-1, keepdims=True) if unit else one for one in found]


def pooled(vectors: Sequence[Float32], classes: Float32, top: int | None) -> Float32:
    """Return the similarity of an item to each of ``classes`` [classes, d], [classes]: of its pictures' ``vectors`` the mean of all, or of each
    class's ``top`` largest. Raises ``RunError``: there are no pictures.
    """
    if not len(vectors):
        raise RunError("an item has no pictures: at least one is needed")
    likeness = np.stack(vectors) @ classes.T
    kept = likeness if top is None else np.sort(likeness, 0)[-top:]
    return np.asarray(kept.mean(0), np.float32)


def scores(rule: str, likeness: Sequence[Float32], scale: float, logits: bool, bias: float = 0) -> Float32:
    """Return probabilities or logits [n, classes] of similarities [n, classes], one array a kind of sentence (see ``ZeroShot``)."""
    if rule == "pair":
        apart = likeness[0] - likeness[1]
        return np.asarray(apart if logits else 1 / (1 + np.exp(-apart)), np.float32)
    values = scale * likeness[0] + np.float32(bias)
    if rule == "sigmoid" and not logits:
        return np.asarray(_sigmoid(values), np.float32)
    if not logits:
        values = np.exp(values - values.max(-1, keepdims=True))
        values = values / values.sum(-1, keepdims=True)
    return np.asarray(values, np.float32)


def chances(
    rule: str, likeness: Sequence[Float32], scale: float, several: bool, bias: float = 0
) -> Float32:  # fmt: skip
    """Return probabilities [n, classes] of similarities: of one class a row, or (``several``) of each class for itself.

    A rule over all classes says nothing of one of several: that is softmax over its two sentences, times the learned scale. Of a rule
    that asks for each class, those of one class a row are its scores as shares of their sum.
    """
    if several and rule == "softmax":
        return np.asarray(1 / (1 + np.exp(-scale * (likeness[0] - likeness[1]))), np.float32)
    if several or rule == "softmax":
        return scores(rule, likeness, scale, False, bias)
    found = np.float64(1) * scores(rule, likeness, scale, True, bias)
    found = -np.logaddexp(0, -found)  # the logarithm of each class's probability, however small
    found = np.exp(found - found.max(-1, keepdims=True))
    return np.asarray(found / found.sum(-1, keepdims=True), np.float32)


def _sigmoid(values: Float32) -> Float32:
    return np.exp(-np.logaddexp(0, -values.astype(np.float64)))


def bias_of(network: Any) -> float:
    """Return the number that a network learned to add to every similarity; 0 for none."""
    learned = getattr(network, "logit_bias", None)
    return 0.0 if learned is None else float(learned.detach())


def entity(name: str, entities: Sequence[str], called: Mapping[str, str]) -> int | None:
    """Return the place of a class among the ``entities`` that a model knows, of which some are ``called`` otherwise; None for no such."""
    word = name.strip().lower()
    word = called.get(word, word)
    return list(entities).index(word) if word in entities else None


def spaces(model: Model) -> list[Mapping[str, Any]]:
    """Return, of each member of a model (itself, where it is no ensemble), how its vectors of pictures and texts are compared: the ``scale``
    of their similarities and the ``bias`` behind it, whether texts have length 1 (``unit``), and whether pictures come
    as they are compared (``ready``) or are to be made of length 1 first.

    Raises ``CapabilityError``: it has no space that pictures and texts share.
    """
    found = []
    for one in members(model):
        network: Any = getattr(one.network, "network", one.network)
        learned = getattr(network, "logit_scale", None)
        if learned is None or "embed" not in one.capabilities:
            raise CapabilityError(
                f"{model.name} has no space that pictures and texts share, which this task needs; it can {', '.join(sorted(model.capabilities))}"
            )
        own: Any = one if hasattr(network, "text") else None  # a pair by a card, whose rule the model itself has
        scale = float(learned.detach().exp()) if own is None else own.scale
        found.append(
            {"scale": scale, "bias": bias_of(network), "unit": own is None or own.unit, "ready": own is not None}
        )
    return found


def members(model: Model) -> Sequence[Model]:
    """Return the models of an ensemble; a model alone is one."""
    return getattr(model, "members", (model,))
