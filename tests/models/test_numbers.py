"""Numbers that leave every shape the same: what a card runs with, held against what its owner published.

``tests/data/numbers/SLUG.toml`` lists, for each part of a row's numbers, where it was read ("read") or why it could not be
("unverified"). That everything was read is part of the tick ``keys``; a row of which it is not so says it on its card, and is not exact.
"""

from __future__ import annotations

import dataclasses
import functools
import tomllib
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from healthfm import card
from healthfm.cards import catalog, coverage, files
from healthfm.cards.schema import ModelCard, Runner, Transform
from healthfm.models.joint import pair, query_decoder, towers
from healthfm.models.language import causal_lm, masked_lm, seq2seq
from healthfm.models.vision import hierarchical, resnet, swin, vit
from healthfm.models.vision import vision_model as vision

TABLES = Path(__file__).parent.parent / "data" / "numbers"
TABLED = ("config", "transform", "tokenizer", "projection")  # the tables of [run] and of a part that hold numbers
NOT_NUMBERS = {"source", "checked"}  # of a transform: where it was read
Numbers = dict[str, Any]


def runnable() -> list[str]:
    return sorted(slug for (kind, slug), entry in files.entries().items() if kind == "model" and "run" in entry)


@functools.cache
def table(slug: str) -> list[dict[str, Any]]:
    """The recorded numbers of a row, group by group; each says ``read`` or ``unverified``."""
    return list(tomllib.loads((TABLES / f"{slug}.toml").read_text(encoding="utf-8"))["group"])


def read(slug: str) -> bool:
    """Whether every number of a row was read at its owner's."""
    return (TABLES / f"{slug}.toml").is_file() and all("read" in group for group in table(slug))


def variants(found: ModelCard) -> list[str | None]:
    """Those that run; [None] where a card has none."""
    assert found.run is not None
    known = KNOWN.get(found.run.family)
    kinds = {name: one.architecture or found.run.architecture for name, one in found.variants.items()}
    return [name for name, kind in kinds.items() if known is None or kind in known] or [None]


def recorded(slug: str, variant: str | None) -> Numbers:
    """A variant's numbers as the table has them, named ``config.name``, ``parts.image.config.name``. None may stand in it twice."""
    found: Numbers = {}
    for group in table(slug):
        if variant in group.get("variants", [variant]):
            new = _recorded(group)
            assert not new.keys() & found.keys(), f"{slug}: twice: {sorted(new.keys() & found.keys())}"
            found |= new
    return found


def _recorded(group: Numbers) -> Numbers:
    """What a group says of [run], and in the same words of its parts."""
    found = {name: value for kind in TABLED for name, value in _named(kind, group.get(kind, {})).items()}
    found |= {"pooling": group["pooling"]} if "pooling" in group else {}
    for part, own in group.get("parts", {}).items():
        found |= {f"parts.{part}.{name}": value for name, value in _recorded(own).items()}
    return found


def used(found: ModelCard, variant: str | None, asked: Numbers) -> Numbers:
    """What the code runs a variant with: every number of a family of ours, defaults too; of a transformers network, what the card
    says and what is ``asked``. Of a part, the same as if it were a model alone, and what stands around it.
    """
    run = found.runner(variant)
    parts: Numbers = {}
    for name, part in run.parts.items():
        prefix = f"parts.{name}."
        of_it = {key.removeprefix(prefix): value for key, value in asked.items() if key.startswith(prefix)}
        own = used(_alone(found, run.part(name)), None, of_it)
        for kind in ("tokenizer", "projection"):
            around = getattr(part, kind)
            facts = {} if around is None else around.model_dump(exclude=NOT_NUMBERS)
            own |= _named(kind, facts)
        parts |= {
            prefix + key: value for key, value in own.items() if value is not None
        }  # a whole may pool for its part
    paired = run.architecture in PAIRED and run.family in ("dual_encoder", "query_decoder")
    if run.family in OURS or paired:
        numbers = OURS[run.family](run.config) if run.family in OURS else _tower(PAIRED[run.architecture], run.config)
        pooling = {} if paired and run.pooling is None else {"pooling": run.pooling}  # CLIP's towers pool in one way
        return {**_named("config", numbers), **_pixels(run), **pooling, **parts}
    names, stated, network = THEIRS[run.family](found, variant)
    names |= {name.partition(".")[2] for name in asked if name.startswith("config.")}
    return {
        **_named("config", {name: stated[name] if name in stated else _of(network, name) for name in names}),
        **parts,
    }


def _alone(found: ModelCard, part: Runner) -> ModelCard:
    """A card whose [run] is one part of another's."""
    facts = found.model_dump(include={"slug", "name", "summary", "group", "modalities", "access", "architecture"})
    return ModelCard.model_validate({**facts, "run": part.model_dump()})


def _tower(kind: Any, config: Numbers) -> Numbers:
    return dataclasses.asdict(vision.numbers(kind, config))


def _causal(found: ModelCard, variant: str | None) -> tuple[set[str], Numbers, Any]:
    numbers = causal_lm.numbers_of(found, variant)
    kind = causal_lm.ARCHITECTURES[causal_lm.architecture_of(found, variant)][0]
    return set(numbers), {}, getattr(transformers, kind)(**numbers)


def _masked(found: ModelCard, variant: str | None) -> tuple[set[str], Numbers, Any]:
    rules, numbers = masked_lm.settings(found, variant, {}, {})
    own = dataclasses.asdict(rules)
    return {*numbers, *own}, own, transformers.BertConfig(**numbers)


def _encoder_decoder(found: ModelCard, variant: str | None) -> tuple[set[str], Numbers, Any]:
    with torch.device("meta"):
        network = seq2seq.build(found, variant, {"num_layers": 1, "num_decoder_layers": 1}).config
    numbers = found.runner(variant).config
    depth = {name: numbers[name] for name in ("num_layers", "num_decoder_layers")}
    return set(numbers), {**depth, "n_positions": network.max_position_embeddings}, network


OURS = {
    "vit": functools.partial(_tower, vit.ViTNumbers), "swin": functools.partial(_tower, swin.SwinNumbers),
    "resnet": functools.partial(_tower, resnet.ResNetNumbers), "hierarchical": functools.partial(_tower, hierarchical.RegionNumbers),
}  # fmt: skip
PAIRED = (
    pair.PAIRS
    | query_decoder.WHOLE
    | {name: kind.numbers for side in towers.SIDES.values() for name, kind in side.items()}
)
KNOWN: dict[str, Any] = {"causal_lm": causal_lm.ARCHITECTURES, "dual_encoder": tuple(pair.PAIRS)}
THEIRS = {"causal_lm": _causal, "masked_lm": _masked, "seq2seq": _encoder_decoder}


def _of(network: Any, name: str) -> Any:
    """A number of transformers' configuration, rotary ones from where its networks take them."""
    rotary = getattr(network, "rope_parameters", None) or {}
    return rotary[name] if name in rotary else getattr(network, name)


def _pixels(run: Runner) -> Numbers:
    """The steps of a transform: what differs from none, and how it is resized if it is."""
    if run.transform is None:
        return {}
    default = Transform().model_dump()
    steps = {name: value for name, value in run.transform.model_dump().items() if value != default.get(name)}
    resized = {"interpolation": run.transform.interpolation} if run.transform.resize else {}
    return _named("transform", {name: value for name, value in (steps | resized).items() if name not in NOT_NUMBERS})


def _named(part: str, values: Numbers) -> Numbers:
    """Values named ``part.name`` as a table can say them: a nested one has a name a level, an absent one none."""
    found: Numbers = {}
    for name, value in values.items():
        if isinstance(value, dict):
            found |= _named(f"{part}.{name}", value)
        elif value is not None:
            found[f"{part}.{name}"] = list(value) if isinstance(value, tuple) else value
    return found


def claims_keys(slug: str) -> bool:
    """Whether a row's numbers are part of a tick: all were read, and its list of keys is held somewhere (native rows have none)."""
    return read(slug) and not catalog.lookup(slug, "model")["run"].get("native")


# The tests --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "slug",
    [
        pytest.param(slug, marks=[pytest.mark.evidence(slug, "keys")] if claims_keys(slug) else [])
        for slug in runnable()
    ],
)
def test_every_number_of_a_card_is_the_owners(slug: str) -> None:
    """No number of the card, its variants, its transform and pooling is other than published, or stands in no source."""
    found = card(slug)
    assert isinstance(found, ModelCard)
    assert variants(found)
    for variant in variants(found):
        published = recorded(slug, variant)
        assert used(found, variant, published) == published, variant


@pytest.mark.parametrize("slug", runnable())
def test_every_number_says_where_it_was_read_or_why_not(slug: str) -> None:
    known = set(card(slug).variants)  # type: ignore[union-attr]
    for group in table(slug):
        assert set(group) <= {"read", "unverified", "variants", "pooling", "parts", *TABLED}
        assert len({"read", "unverified"} & set(group)) == 1 and len(group.get("read", group.get("unverified"))) > 15
        assert set(group.get("variants", [])) <= known and group.get("variants") != []
        assert set(group) & {"pooling", "parts", *TABLED}
        assert all(set(part) <= {"pooling", *TABLED} for part in group.get("parts", {}).values())
    assert coverage.unread(catalog.lookup(slug, "model")) is not read(slug)  # the card says so too
    assert {path.stem for path in TABLES.glob("*.toml")} == set(runnable())


PLANTED: list[tuple[str, str | None, Numbers]] = [
    ("uni", None, {"num_heads": 8}), ("uni", None, {"norm_eps": 1e-5}), ("uni", None, {"positions": "dino"}),
    ("virchow", None, {"num_heads": 10}), ("virchow", None, {"mlp_ratio": 5.33334}), ("biobert", "base-v1-1", {"num_attention_heads": 16}),
    ("biobert", "large-v1-1", {"layer_norm_eps": 1e-5}), ("biobert", "base-v1-2", {"pooling": "mean"}),
    ("pmc-llama", "13b", {"num_attention_heads": 20}), ("pmc-llama", "7b", {"rms_norm_eps": 1e-5}),
    ("pmc-llama", "13b", {"rope_theta": 1e6}), ("pmc-llama", "13b", {"attention_bias": True}),
    ("clinical-t5", "base", {"feed_forward_proj": "gated-gelu"}), ("clinical-t5", "large", {"relative_attention_max_distance": 64}),
    ("clinical-t5", "base", {"layer_norm_epsilon": 1e-5}), ("clinical-t5", "base", {"tie_word_embeddings": False}), ("taiyi", "taiyi-2", {"rms_norm_eps": 1e-5}),
    ("taiyi", "taiyi-2", {"partial_rotary_factor": 1.0}), ("remedis", "cxr-50x1-remedis-m", {"eps": 1e-8}),
    ("remedis", "cxr-152x2-remedis-m", {"minus_one_to_one": False}), ("retfound", "dinov2-meh", {"positions": "dino"}),
    ("hipt", "vit-256", {"positions": "timm"}), ("ctranspath", None, {"norm_eps": 1e-6}), ("biogpt", "large", {"scale_embedding": False}),
]  # fmt: skip


@pytest.mark.parametrize(("slug", "variant", "wrong"), PLANTED)
def test_a_wrong_number_shows(slug: str, variant: str | None, wrong: Numbers) -> None:
    """Negative controls: each leaves every shape as it was."""
    found = card(slug)
    assert isinstance(found, ModelCard)
    published = recorded(slug, variant)
    assert used(_with(found, variant, {"config": wrong}), variant, published) != published


@pytest.mark.parametrize(
    ("slug", "variant", "wrong"),
    [
        ("retfound", "dinov2-meh", {"pooling": "mean"}), ("virchow", None, {"pooling": "cls"}),
        ("ctranspath", None, {"transform": {"micrometres_per_pixel": [0.5]}}), ("uni", None, {"transform": {"interpolation": "bicubic"}}),
        ("hipt", "vit-256", {"transform": {"std": [0.229, 0.224, 0.225]}}), ("retfound", "mae-meh", {"transform": {"crop": 256}}),
        ("remedis", "path-50x1-remedis-m", {"transform": {"resize": [448, 448]}}), ("uni", None, {"transform": {"grey": True}}),
        ("hipt", "hipt-4k", {"parts": {"tiles": {"pooling": "mean"}}}), ("hipt", "hipt-4k", {"parts": {"tiles": {"config": {"num_heads": 12}}}}),
        ("hipt", "hipt-4k", {"parts": {"region": {"config": {"positions": "timm"}}}}),
    ],
)  # fmt: skip
def test_a_wrong_step_shows(slug: str, variant: str | None, wrong: Numbers) -> None:
    found = card(slug)
    assert isinstance(found, ModelCard)
    published = recorded(slug, variant)
    run = found.runner(variant).model_dump()
    steps = {"transform": {**run["transform"], **wrong["transform"]}} if "transform" in wrong else wrong
    assert used(_with(found, variant, steps), variant, published) != published


def _with(found: ModelCard, variant: str | None, changes: Numbers) -> ModelCard:
    """A card with other numbers in [run], or in a variant's own."""
    facts = found.model_dump()
    if variant is None:
        config = {**facts["run"]["config"], **changes.get("config", {})}
        return ModelCard.model_validate({**facts, "run": {**facts["run"], **changes, "config": config}})
    own = facts["variants"][variant]
    own["config"] = {**own["config"], **changes.get("config", {})}
    own["run"] = {**own["run"], **{name: value for name, value in changes.items() if name != "config"}}
    return ModelCard.model_validate(facts)
