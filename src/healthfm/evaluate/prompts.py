"""Sentences that ask for classes by their names: a model's own, those that are drawn to see how much the words matter, and words without a meaning.

Templates and names are data: ``[run.zero_shot]`` of a model's card, ``[[zero_shot]]`` of a dataset's, the sets of ``cards/prompts.toml``. Nothing
here needs the model.
"""

from __future__ import annotations

import itertools
import math
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

import numpy as np

from healthfm.cards.schema import DatasetCard, Labels, Naming, ZeroShot
from healthfm.errors import RunError

SLOT = "{}"
NOT = "no {}"  # what stands for a name that is not there, where nobody says another sentence
DRAWS = 64  # prompts that are drawn
SHUFFLES = 20  # of the pictures, and of words without a meaning among the classes
GENERAL = "general"
SETS: dict[str, Any] = tomllib.loads((resources.files("healthfm.cards") / "prompts.toml").read_text(encoding="utf-8"))
OF_GROUPS = {"pathology": "pathology"}  # the set of a dataset whose card names none, by its group
ONSETS, VOWELS, ENDS = "bdfgklmnprtvz", "aeiou", ("x", "k", "n", "rf", "lm", "sk")

Template = tuple[
    str, ...
]  # a sentence of each kind: of a class that is there and, where classes are asked for themselves, of one that is not


@dataclass(frozen=True)
class Prompt:
    """A way to ask for classes: by every template of ``templates`` with what each class is called in ``names``."""

    templates: tuple[Template, ...]
    names: tuple[str, ...]

    @property
    def kinds(self) -> list[list[list[str]]]:
        """The sentences of each kind, of each class, by each template."""
        every = range(len(self.templates[0]))
        return [[[one[kind].replace(SLOT, name) for one in self.templates] for name in self.names] for kind in every]

    @property
    def texts(self) -> list[str]:
        """All of its sentences."""
        return [text for kind in self.kinds for texts in kind for text in texts]


def naming_of(card: DatasetCard, asked: str | None) -> Naming | None:
    """Return what a card says its classes are called: that of a name behind @, else the first without a name; None where it says nothing.

    Raises ``RunError``: no such name.
    """
    here = [one for one in card.zero_shot if any(space.name == one.label for space in card.labels)]
    found = next((one for one in here if one.name == asked), None)
    if found is None and asked is not None:
        known = ", ".join(f"@{one.name}" for one in here if one.name) or "none"
        raise RunError(f"{card.slug}: no naming of classes '@{asked}' for zero-shot (namings: {known})")
    return found


def called(space: Labels | None, classes: Sequence[str], naming: Naming | None) -> list[tuple[str, ...]]:
    """Return what each class may be called, first what it is called where one name is used. Raises ``RunError``: two are called alike."""
    known = naming.names if naming is not None else {}
    found = [known.get(one) or (plain(one),) for one in classes]
    first = [one[0] for one in found]
    if twice := next((one for one in first if first.count(one) > 1), None):
        of = ", ".join(f"'{one}'" for one, name in zip(classes, first, strict=True) if name == twice)
        raise RunError(f"the classes {of} have one name in the sentences, '{twice}': give them names that differ")
    return found


def plain(name: str) -> str:
    """Return the name of a class as a sentence has it: a folder's underscores are blanks."""
    return " ".join(name.replace("_", " ").split()) or name


def own(rule: ZeroShot, names: Sequence[Sequence[str]], several: bool) -> Prompt:
    """Return the prompt of the model's card. ``several``: each class is asked for itself, against what is said of its absence."""
    return Prompt(_of_rule(rule, several), tuple(one[0] for one in names))


def _of_rule(rule: ZeroShot, several: bool) -> tuple[Template, ...]:
    if rule.absent:
        count = max(len(rule.templates), len(rule.absent))
        return tuple((rule.templates[i % len(rule.templates)], rule.absent[i % len(rule.absent)]) for i in range(count))
    return tuple((one, one.replace(SLOT, NOT)) if _paired(rule, several) else (one,) for one in rule.templates)


def _paired(rule: ZeroShot, several: bool) -> bool:
    """Whether each class is set against what is said of its absence: by the rule itself, or where one over all classes says nothing of one."""
    return rule.rule == "pair" or (several and rule.rule == "softmax")


def pool(card: DatasetCard, rule: ZeroShot, naming: Naming | None, several: bool) -> tuple[list[Template], list[str]]:
    """Return the templates that prompts are drawn from, the model's own first, and where they are from. Raises ``RunError``: no such set."""
    paired = _paired(rule, several)
    found = dict.fromkeys(_of_rule(rule, several))
    sources = ["the model's card"]
    first = (naming.sentences if naming is not None else None) or OF_GROUPS.get(card.group, GENERAL)
    for name in dict.fromkeys((first, GENERAL)):
        if name not in SETS:
            raise RunError(f"{card.slug}: no set of sentences '{name}' (sets: {', '.join(SETS)})")
        held = [tuple(one) for one in SETS[name].get("pairs", ())]
        held += [(one, one.replace(SLOT, NOT)) for one in SETS[name].get("templates", ())]
        found |= dict.fromkeys(one if paired else one[:1] for one in held)
        sources.append(f"{name} ({SETS[name]['source']})")
    return list(found), sources


def draws(templates: Sequence[Template], names: Sequence[Sequence[str]], seed: int) -> list[Prompt]:
    """Return ``DRAWS`` prompts, each of one template and a name of each class, no two alike; all there are, where those are fewer."""
    if len(templates) * math.prod(len(one) for one in names) <= DRAWS:
        return [Prompt((template,), tuple(some)) for template in templates for some in itertools.product(*names)]
    random, found = np.random.default_rng(seed), dict[Prompt, None]()
    order = random.permutation(len(templates))
    while len(found) < DRAWS:
        template = templates[order[len(found) % len(order)]]
        found[Prompt((template,), tuple(one[int(random.integers(len(one)))] for one in names))] = None
    return list(found)


def nonsense(templates: Sequence[Template], count: int, seed: int) -> list[Prompt]:
    """Return prompts by the same templates with ``count`` words that mean nothing, dealt to the classes in several ways."""
    random, words = np.random.default_rng(seed), dict[str, None]()
    while len(words) < count:
        syllables = [random.choice(list(ONSETS)) + random.choice(list(VOWELS)) for _ in range(2)]
        words["".join(syllables) + str(random.choice(ENDS))] = None
    dealt = dict.fromkeys(tuple(random.permutation(list(words)).tolist()) for _ in range(SHUFFLES))
    return [Prompt(tuple(templates), one) for one in dealt]
