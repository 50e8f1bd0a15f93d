"""Molecules by texts and texts by molecules: what belongs together among all of a split's, both ways, and as one of T."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from healthfm.errors import CapabilityError, RunError
from healthfm.evaluate import protocols
from healthfm.evaluate.job import Ask, Job, cut_parts, left_out, need_split, subgroup_columns
from healthfm.evaluate.matching import Matched
from healthfm.evaluate.probes import PICTURE
from healthfm.models.model import Model
from healthfm.records import Molecule, TextRecord, unit_of
from healthfm.score.kinds.matches import MOLECULES
from healthfm.spelling import counted

TASK = "molecule-text-retrieval"


@dataclass(frozen=True, kw_only=True)
class Told(Matched):
    """Molecules, the first ``count`` inputs, and texts about them."""

    ways: Sequence[str] = tuple(MOLECULES)
    nouns: tuple[str, str] = ("molecules", "texts")

    def fits(self, model: Model) -> None:
        """Raise ``CapabilityError``: the model says what it takes, and molecules or texts are not among it."""
        both = any(issubclass(one, Molecule) for one in model.takes) and any(
            issubclass(one, TextRecord) for one in model.takes
        )
        if model.takes and not both:
            raise CapabilityError(f"{model.name} has no space that molecules and texts share, which this task needs")


def prepare(ask: Ask) -> Job:
    """Return the job of ranking the texts of a split for each of its molecules, and the molecules for each text.

    ``label`` names the kind of text; None: the one that most molecules have. Equal texts are one, which belongs to the molecules of all of them,
    and so are molecules with one SMILES. A limit draws molecules, and what is ranked is theirs alone.
    """
    split = need_split(ask.opened, ask.split)
    read = list(split)
    every = [one for one in read if isinstance(one, Molecule)]
    if strange := next((one for one in read if not isinstance(one, Molecule)), None):
        raise RunError(f"{TASK} is of molecules with texts; here is a {strange.noun}")
    kind = _kind(ask, every)
    whole = [one for one in every if one.reason is None and one.texts.get(kind, "").strip()]
    kept = set(map(id, whole))
    lost = left_out(
        [one for one in every if id(one) not in kept],
        f"molecule has no structure, or no text '{kind}',",
        f"molecules have no structure, or no text '{kind}',",
    )
    chosen = [whole[i] for i in protocols.sample(len(whole), ask.request.limit, ask.request.seed)]
    molecules: dict[str, Molecule] = {}
    texts: dict[str, Molecule] = {}
    pairs: dict[tuple[str, str], None] = {}
    for one in chosen:
        text, own = one.texts[kind].strip(), unit_of(one)
        molecules.setdefault(one.smiles, replace(one, patient=own))
        texts.setdefault(text, replace(one, id=f"{one.id}#{kind}", patient=own))
        pairs[one.smiles, text] = None
    place = [{key: i for i, key in enumerate(side)} for side in (molecules, texts)]
    joined = [(place[0][a], place[1][b]) for a, b in pairs]
    rows = [*molecules.values(), *texts.values()]
    targets: list[list[str]] = [[] for _ in rows]
    for a, b in joined:
        targets[a].append(rows[len(molecules) + b].id)
        targets[len(molecules) + b].append(rows[a].id)
    inputs: list[Any] = [*molecules.values(), *texts]
    same = len(chosen) - min(len(molecules), len(texts))
    said = [
        f"the texts '{kind}' of {len(molecules):,} molecules",
        *([f"{counted(same, 'record has', 'records have')} a molecule or a text that another has too: one with it"] if same else []),
        *([f"what is ranked is of {len(chosen):,} of {len(whole):,} molecules: among fewer all is found earlier"] if len(chosen) < len(whole) else []),
    ]  # fmt: skip
    return Told(
        task=TASK, name=f"{ask.opened.name}#{TASK}", records=rows, total=len(whole), inputs=inputs, count=len(molecules), pairs=joined, sources=None, targets=targets,
        columns=subgroup_columns(rows, ask.request.subgroups), parts=cut_parts([len(one) if isinstance(one, str) else PICTURE for one in inputs]),
        content=[list(molecules), list(texts), joined, [row.id for row in rows]], facts={"notices": [*split.notices, *lost, *said], "noun": "query"},
    )  # fmt: skip


def _kind(ask: Ask, every: Sequence[Molecule]) -> str:
    """Return the kind of text that is asked about. Raises ``RunError``: no molecule has a text, or none of the kind that is named."""
    counts: dict[str, int] = {}
    for one in every:
        for name, text in one.texts.items():
            counts[name] = counts.get(name, 0) + bool(one.reason is None and text.strip())
    kinds = [name for name, count in counts.items() if count]
    if not kinds:
        raise RunError(f"{ask.opened.name}: no molecule of split '{ask.split}' has a structure and a text")
    named = ask.request.label
    if named is not None and named not in kinds:
        raise RunError(f"{ask.opened.name}: no molecule has a text '{named}' (texts: {', '.join(kinds)})")
    return named if named is not None else max(kinds, key=lambda one: counts[one])
