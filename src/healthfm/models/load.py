"""``load_model``: the door to every family, to servers, and to the caller's own models."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from healthfm.cards import catalog, files
from healthfm.cards.schema import ModelCard
from healthfm.errors import CapabilityError, CheckpointError
from healthfm.models import own
from healthfm.models.families import family_of
from healthfm.models.files.recognise import OtherVariant
from healthfm.models.model import External, Model

if TYPE_CHECKING:
    import torch

    from healthfm.models.remote.client import Client, Endpoint

DTYPES = ("auto", "float32", "bfloat16", "float16")
DEVICES = ("auto", "cpu", "cuda")


def own_model_card(facts: ModelCard | Mapping[str, Any] | None, target: Any) -> ModelCard:
    """Return the card of a caller's model: a ``ModelCard``, or one made from the few facts given."""
    if isinstance(facts, ModelCard):
        return facts
    name = getattr(target, "__name__", type(target).__name__)
    plain = "".join(c if c.isalnum() else "-" for c in name.lower()).strip("-") or "own"
    defaults = {
        "kind": "model", "slug": plain, "name": name, "summary": "A model of the caller's.", "group": "general",
        "modalities": ["text"], "access": "closed", "architecture": "the caller's", "path": "the caller's card",
    }  # fmt: skip
    card = files.validate({**defaults, **(facts or {})})
    assert isinstance(card, ModelCard)
    return card


def check_placement(device: str, dtype: str) -> None:
    """Raise ``CapabilityError`` for a device or precision healthfm does not know."""
    if device.partition(":")[0] not in DEVICES:
        raise CapabilityError(f"device is '{device}'; use {', '.join(DEVICES)}")
    if dtype not in DTYPES:
        raise CapabilityError(f"dtype is '{dtype}'; use {', '.join(DTYPES)}")


def load_model(
    model: str | torch.nn.Module | Callable[..., Any], weights: Path | str | Mapping[str, torch.Tensor] | None = None,
    config: Mapping[str, Any] | None = None, device: str = "auto", dtype: str = "auto", *,
    card: ModelCard | Mapping[str, Any] | None = None, verb: str | None = None, endpoint: str | Endpoint | Client | None = None,
) -> Model:  # fmt: skip
    """Load a model by name, or wrap one of the caller's.

    ``model``: ``slug[:variant]``; a model without a card, ``hf:FOLDER``, ``endpoint:URL[#MODEL]`` or ``python:MODULE:OBJECT[:VERB]``
    (``healthfm.models.own``); or an object of the caller's with a ``card`` (and ``verb`` for a plain function).
    ``weights``: None = this machine's copy (never a download); a Path (file or folder in the published layout); a
    mapping from published key names to tensors; or "random". ``config`` overrides the card's architecture numbers.
    ``endpoint``: an OpenAI-compatible server that holds the weights, ``http(s)://HOST[:PORT][#MODEL]``; ``weights`` may then
    be the folder with the row's tokenizer files. Nothing is sent before a verb is called but a few fixed words.
    ``device``: "auto", "cpu", "cuda"; ``dtype``: "auto" (float32 on CPU, the card's on GPU), "float32", "bfloat16", "float16".
    Where no variant is named and the tensors are those of another than the default, that one is loaded and a notice says so; a
    variant that is named is refused with the name of the one it is.
    Raises ``CardError``, ``CheckpointError``, ``CapabilityError`` (the row has no runner yet), ``MissingExtra``.
    """
    if not isinstance(model, str):
        return External(own_model_card(card, model), model, verb)
    check_placement(device, dtype)
    if own.form(model) is not None:
        return _load_own(model, weights, config, device, dtype, endpoint)
    found = catalog.card(model, "model")
    assert isinstance(found, ModelCard)
    _, variant, _ = catalog.split_name(model)
    if isinstance(weights, str) and weights != "random":
        weights = Path(weights)
    if endpoint is not None:
        from healthfm.models.remote.endpoint import load as load_served

        return load_served(found, variant or found.default_variant, endpoint, weights)
    if found.run is None:
        why = f": {found.obstacles[0]}" if found.obstacles else ""
        raise CapabilityError(
            f"healthfm cannot run {found.slug} yet{why} (healthfm show {found.slug} says what is known)"
        )
    if isinstance(weights, Path) and not weights.expanduser().exists():
        raise CheckpointError(f"no weights at {weights}")
    try:
        return _load(found, variant or found.default_variant, weights, config, device, dtype)
    except OtherVariant as other:  # a name that was spelled out is not replaced
        if variant is not None or len(other.variants) != 1:
            raise
        try:
            loaded = _load(found, other.variants[0], weights, config, device, dtype)
        except CheckpointError as error:
            raise CheckpointError(f"{other}: {error}") from None
        said = f"the weights are those of {loaded.name}, not of {found.slug}:{found.default_variant}, which is meant where no variant is named: loaded as {loaded.name}"
        loaded.provenance["loaded_as"] = loaded.name
        loaded.provenance["notices"] = [said, *loaded.provenance.get("notices", [])]
        return loaded


def _load_own(
    model: str, weights: Path | str | Mapping[str, torch.Tensor] | None, config: Mapping[str, Any] | None,
    device: str, dtype: str, endpoint: str | Endpoint | Client | None,
) -> Model:  # fmt: skip
    """Load a model without a card by its name (see ``own``)."""
    kind = own.form(model)
    if kind == "endpoint":
        from healthfm.models.remote.endpoint import load as load_served

        return load_served(
            own.card(model), None, endpoint or own.rest(model), Path(weights) if isinstance(weights, str) else weights
        )
    if endpoint is not None:
        raise CapabilityError(f"{model} runs here; a server's model is endpoint:URL#NAME")
    if weights is not None:
        raise CapabilityError(f"{model} says where the model is; weights= is for rows of the catalogue")
    if kind == "baseline":
        from healthfm.models.counts import Counts
        from healthfm.models.rival import Rival

        return Counts(own.card(model)) if own.baseline(model) == own.COUNTS else Rival(own.card(model))
    if kind == "hf":
        return _load(own.card(model), None, own.folder(model), config, device, dtype)
    made = External(own.card(model), *own.code(model))
    made.provenance["weights"] = f"the user's own code, {model}"
    return made


def _load(
    card: ModelCard, variant: str | None, weights: Path | str | Mapping[str, torch.Tensor] | None,
    config: Mapping[str, Any] | None, device: str, dtype: str,
) -> Model:  # fmt: skip
    family = family_of(card, variant)
    loaded = family.load(card, variant, weights, dict(config or {}), device, dtype)
    assert isinstance(loaded, Model)
    loaded.provenance["variant"] = loaded.variant
    return loaded
