"""``verify``: a published number of a row, measured again on the owner's weights, and the evidence file that says so."""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from healthfm.cards import catalog
from healthfm.cards.schema import DatasetCard, ModelCard, Recipe
from healthfm.datasets.dataset import split_name
from healthfm.datasets.open import open_dataset
from healthfm.engine.steps import Progress
from healthfm.engine.store import RunFolder
from healthfm.errors import CardError, CheckpointError, RunError
from healthfm.evaluate import provenance
from healthfm.evaluate.runner import evaluate
from healthfm.models.load import load_model
from healthfm.models.model import Model

FORMAT = 1
DIGEST = re.compile(r"(sha256|sampled):[0-9a-f]{64}")
FIELDS = (
    "format", "row", "variant", "digest", "digest_on_card", "published", "measured", "tolerance", "dataset", "split", "shots",
    "official_records", "verdict", "dtype", "device", "versions", "hardware", "cards", "date",
)  # fmt: skip


@dataclass(frozen=True)
class Verdict:
    """What came of a verification: the ``evidence`` as it stands in the file at ``path``, and the run's folder."""

    evidence: Mapping[str, Any]
    path: Path
    run: Path

    @property
    def agrees(self) -> bool:
        """Whether the number came out as published (on a sample: as far as that tells)."""
        return self.evidence["verdict"] in ("reproduced", "sample agrees")


def verify(
    model: str, *, weights: Path | str | None = None, root: Path | str | None = None, dataset: str | None = None,
    limit: int | None = None, device: str = "auto", dtype: str = "auto", output: Path | str | None = None,
    progress: Progress | None = None,
) -> Verdict:  # fmt: skip
    """Load a row's weights strictly, compare their digest with the card's, measure one published number again.

    ``dataset`` chooses among the card's recipes (None: the variant's first); ``root`` holds its official files. The number is
    reproduced when it lies in the measured 95 % interval or within the recipe's tolerance, on every record of the official
    split; ``limit`` looks at a sample and proves nothing. ``evidence.json`` is written into the run folder.

    Raises ``CardError`` (no recipe), ``DatasetError`` or ``RunError`` (the data) before the weights are read, and
    ``CheckpointError`` (weights that do not fit, or are not those the card names) before anything is measured.
    """
    card, recipe = choose_recipe(model, dataset)
    opened = open_dataset(recipe.dataset, root)
    split = split_name(opened.card, recipe.split)
    if split not in opened.splits:
        raise RunError(
            f"{opened.name}: split '{split}' is absent in {opened.root}; present: {', '.join(opened.splits)}"
        )
    loaded = load_model(model, weights, device=device, dtype=dtype)
    if "loaded_as" in loaded.provenance:
        raise CheckpointError(f"{loaded.provenance['notices'][0]}; verify it by that name")
    digest, stated = check_digest(loaded)
    run = evaluate(
        loaded, opened, split=split, shots=recipe.shots, limit=limit, output=output, progress=progress, device=device, dtype=dtype,
        baseline=False,
    )  # fmt: skip
    assert run.path is not None
    measured = run.metrics[recipe.metric]
    official = official_records(opened.card, opened.variant, split)
    result = card.published(recipe)
    number = as_fraction(result.value, result.unit)
    published = {
        "value": number, "as_printed": f"{result.value:g}{result.unit}",
        "metric": result.metric, "source": result.source, "checked": result.checked,
    }  # fmt: skip
    whole = limit is None and measured["n"] == official
    evidence = {
        "format": FORMAT, "row": card.slug, "variant": loaded.variant, "digest": digest, "digest_on_card": stated,
        "published": published, "measured": {key: measured[key] for key in ("value", "low", "high", "level", "method", "n")},
        "tolerance": recipe.tolerance, "dataset": run.facts["request"]["dataset"], "split": split, "shots": recipe.shots,
        "official_records": official, "verdict": verdict(number, measured, recipe.tolerance, whole),
        "dtype": loaded.provenance["dtype"], "device": loaded.provenance["device"], "versions": provenance.versions(),
        "hardware": provenance.hardware(), "cards": run.facts["request"]["cards"], "date": datetime.date.today().isoformat(),
    }  # fmt: skip
    with RunFolder(run.path) as folder:
        folder.write_json("evidence.json", evidence)
    return Verdict(evidence, run.path / "evidence.json", run.path)


def choose_recipe(model: str, dataset: str | None = None) -> tuple[ModelCard, Recipe]:
    """Return a row's card and the recipe to follow. Raises ``CardError`` that lists what there is."""
    card = catalog.card(model, "model")
    assert isinstance(card, ModelCard)
    variant = catalog.split_name(model)[1] or card.default_variant
    mine = [one for one in card.verify if one.variant in (None, variant)]
    wanted = catalog.lookup(dataset, "dataset")["slug"] if dataset is not None else None
    fitting = [one for one in mine if wanted in (None, one.data)]
    if not fitting:
        others = [f"{card.slug}{f':{one.variant}' if one.variant else ''} on {one.data}" for one in card.verify]
        raise CardError(
            f"{card.slug}{f':{variant}' if variant else ''}: its card has no recipe to verify a number{f' on {wanted}' if wanted else ''} "
            f"(recipes: {', '.join(others) or 'none; no published number whose protocol is known'})"
        )
    return card, fitting[0]


def check_digest(model: Model) -> tuple[str, bool]:
    """Return the digest of loaded weights, and whether the card states it. Raises ``CheckpointError`` where it states another."""
    found = model.provenance.get("digest")
    if not isinstance(found, str) or not DIGEST.fullmatch(found):
        raise CheckpointError(f"{model.name}: only weights from files can be verified (--weights PATH)")
    stated = stated_digests(model.card, model.variant)
    if stated and found not in stated:
        raise CheckpointError(
            f"{model.name}: these are not the weights its card names (their digest is {found[:19]}...)"
        )
    return found, bool(stated)


def stated_digests(card: ModelCard, variant: str | None) -> set[str]:
    """Return the digests that a card states for a variant's weights."""
    return {one.digest for one in card.weights if one.digest is not None and one.variant in (None, variant)}


def official_records(card: DatasetCard, variant: str | None, split: str) -> int | None:
    """Return how many records the owners' split has, by the card."""
    return card.counts.get(variant or "default", {}).get(split)


def as_fraction(value: float, unit: str) -> float:
    """Return a printed number as a fraction of 1."""
    return value / 100 if unit == "%" else value


def verdict(published: float, measured: Mapping[str, Any], tolerance: float, whole: bool) -> str:
    """Return "reproduced" or "not reproduced"; of less than the official split, "sample agrees" or "sample differs"."""
    slack = 1e-9  # a printed number has few digits; binary rounding must not decide
    agrees = (measured["low"] is not None and measured["low"] - slack <= published <= measured["high"] + slack) or abs(
        measured["value"] - published
    ) <= tolerance + slack
    if whole:
        return "reproduced" if agrees else "not reproduced"
    return "sample agrees" if agrees else "sample differs"


# Contributed evidence -------------------------------------------------------------------------------------------------


def problems(evidence: Any) -> list[str]:
    """Return why a contributed evidence file does not count; [] when it does.

    It counts when its fields are complete, they agree with one another, and the row's card still states the recipe, the
    published number and, where it has one, the digest.
    """
    if not isinstance(evidence, Mapping) or set(FIELDS) - set(evidence):
        absent = sorted(set(FIELDS) - set(evidence)) if isinstance(evidence, Mapping) else ["everything"]
        return [f"it lacks {', '.join(absent)}"]
    try:
        return _disagreements(evidence)
    except CardError as error:
        return [str(error)]
    except (KeyError, TypeError, ValueError, AttributeError):
        return ["a field is not in the form that healthfm verify writes"]


def _disagreements(evidence: Mapping[str, Any]) -> list[str]:
    row, variant, dataset = evidence["row"], evidence["variant"], evidence["dataset"]
    card, recipe = choose_recipe(row + (f":{variant}" if variant else ""), dataset.partition("@")[0])
    data = catalog.card(dataset, "dataset")
    assert isinstance(data, DatasetCard)
    data_variant = catalog.split_name(dataset)[1] or data.default_variant
    protocol = catalog.split_name(dataset)[2]
    result, measured = card.published(recipe), evidence["measured"]
    value, n = float(measured["value"]), measured["n"]
    right = round(value * n)
    asked = (catalog.split_name(recipe.dataset)[1] or data.default_variant, catalog.split_name(recipe.dataset)[2] or data.default_protocol)  # fmt: skip
    stated = stated_digests(card, variant)
    published = as_fraction(result.value, result.unit)
    datetime.date.fromisoformat(evidence["date"])
    checks = {
        "it is of another format": evidence["format"] == FORMAT,
        "its row is in neither survey list": card.listed,
        "its digest is not one of whole weight files": DIGEST.fullmatch(evidence["digest"]) is not None,
        "its weights are not those the card names": not stated or evidence["digest"] in stated,
        "its published number is not the card's": evidence["published"]["value"] == published
        and evidence["published"]["metric"] == result.metric,
        "it follows another recipe than the card's": (data_variant, protocol) == asked
        and (evidence["split"], evidence["shots"], evidence["tolerance"])
        == (split_name(data, recipe.split), recipe.shots, recipe.tolerance),
        "it did not use every record of the official split": n == evidence["official_records"]
        == official_records(data, data_variant, evidence["split"]),
        "its numbers do not fit together": abs(value * n - right) < 1e-6
        and (measured["low"] is measured["high"] is None or 0 <= measured["low"] <= value <= measured["high"] <= 1),
        "it did not reproduce the number": evidence["verdict"] == verdict(published, measured, recipe.tolerance, True) == "reproduced",
    }  # fmt: skip
    return [problem for problem, fine in checks.items() if not fine]
