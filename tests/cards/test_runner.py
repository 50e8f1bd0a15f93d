"""How a model runs, variant by variant: what a card says once, and what each variant changes."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from healthfm import CardError
from healthfm.cards import catalog, files
from healthfm.cards.schema import FAMILIES, ModelCard, Weights
from tests.cards.conftest import WriteCard

FACTS = {
    "kind": "model", "slug": "own", "name": "Own", "summary": "A model.", "group": "vision", "modalities": ["image"], "access": "closed",
    "architecture": "a tower", "default_variant": "a",
}  # fmt: skip
RUN = {
    "family": "vit", "architecture": "vit", "dialect": "mae", "pooling": "mean", "config": {"depth": 2, "embed_dim": 8},
    "transform": {"resize": 5},
}  # fmt: skip


def card(**special: object) -> ModelCard:
    variants = {"a": {"summary": "one"}, "b": {"summary": "another", **special}}
    return ModelCard.model_validate({**FACTS, "run": RUN, "variants": variants})


def test_a_variant_overrides_single_numbers_and_whole_fields() -> None:
    made = card(config={"depth": 3}, run={"pooling": "cls", "dialect": "dinov2", "transform": {"crop": 4}})
    run = made.runner("b")
    assert (run.config, run.pooling, run.dialect) == ({"depth": 3, "embed_dim": 8}, "cls", "dinov2")
    assert run.transform is not None and (run.transform.resize, run.transform.crop) == (None, 4)
    assert made.runner(None) == made.runner("a") == made.run
    assert made.run is not None and made.run.config["depth"] == 2


def test_a_variant_that_does_not_fit_is_an_error_of_the_card() -> None:
    with pytest.raises(ValueError, match="Extra inputs are not permitted"):
        card(run={"poling": "cls"})
    with pytest.raises(ValueError, match="mean and std go together"):
        card(run={"transform": {"mean": [0.5] * 3}})


@pytest.mark.parametrize(
    "where", [{"architecture": "resnet"}, {"run": {"architecture": "resnet"}}, {"run": {"family": "resnet"}}]
)
def test_a_variant_of_another_architecture_has_numbers_of_its_own(where: dict[str, Any]) -> None:
    """Whichever place says so; the card's other words still hold."""
    run = card(**where, config={"width": 2}).runner("b")
    assert (run.config, run.dialect, run.pooling) == ({"width": 2}, "mae", "mean")


@pytest.mark.parametrize(
    ("special", "says"),
    [
        ({"run": {"config": {"depth": 3}}}, r"variants\.b\.run\.config: a variant's numbers stand in its own \[config\]"),
        ({"run": {"architecture": "c"}, "architecture": "d"}, r"variants\.b\.run\.architecture: it stands beside the variant's summary too"),
        ({"run": {"family": "vitt"}}, r"variants\.b\.run\.family: no family 'vitt' \(families: causal_lm, .*vit\)"),
        ({"run": {"poling": "cls"}}, r"variants\.b\.run\.poling: Extra inputs are not permitted"),
        ({"run": {"parts": 3}}, r"variants\.b\.run\.parts: a table was expected"),
    ],
)  # fmt: skip
def test_what_a_variant_cannot_say_is_one_line_that_names_the_field(
    special: dict[str, Any], says: str, own_cards: WriteCard
) -> None:
    variants = {"a": {"summary": "one"}, "b": {"summary": "another", **special}}
    path = own_cards("model", "own", run=RUN, variants=variants, default_variant="a")
    with pytest.raises(CardError, match=f"^{path}: .*{says}$") as caught:
        catalog.card("own")
    assert "\n" not in str(caught.value)


def test_a_card_without_a_runner_says_so() -> None:
    with pytest.raises(ValueError, match=r"own has no \[run\]"):
        ModelCard.model_validate({**FACTS, "variants": {"a": {"summary": "one"}}}).runner(None)


def test_every_vision_card_runs_in_each_variant() -> None:
    slugs = [slug for (kind, slug), entry in files.entries().items() if kind == "model" and entry["group"] == "vision"]
    assert len(slugs) >= 20
    for slug in slugs:
        made = catalog.card(slug, "model")
        assert isinstance(made, ModelCard)
        for variant in made.variants or (None,):
            assert made.runner(variant).pooling is not None


# Parts ------------------------------------------------------------------------------------------------------------------

IMAGE = {
    "family": "vit", "architecture": "vit", "dialect": "mae", "pooling": "cls", "config": {"depth": 2, "embed_dim": 8},
    "transform": {"resize": 224, "crop": 224}, "projection": {"widths": [4], "bias": False, "normalise": True},
}  # fmt: skip
TEXT = {
    "family": "masked_lm", "architecture": "bert", "state": "text_encoder", "pooling": "cls", "config": {"hidden_size": 8, "lower_case": True},
    "tokenizer": {"length": 77, "padded": True}, "projection": {"widths": [6, 4], "activation": "gelu"},
}  # fmt: skip
TWO = {
    "family": "hierarchical", "architecture": "two towers", "state": "model", "strip": ["module."], "ignore_keys": ["*head.*"],
    "dtype": "float16", "config": {"scale": 3}, "parts": {"image": IMAGE, "text": TEXT},
}  # fmt: skip


def pair(**special: Any) -> ModelCard:
    variants = {"a": {"summary": "one"}, "b": {"summary": "another", **special}}
    return ModelCard.model_validate({**FACTS, "run": TWO, "variants": variants})


def test_a_variant_overrides_single_fields_of_a_part() -> None:
    """Numbers one by one, words as a whole; the other part, and the card itself, stay."""
    made = pair(
        run={"parts": {"image": {"config": {"depth": 3}, "pooling": "mean", "transform": {"crop": 4}}}},
        config={"scale": 5},
    )
    run, plain = made.runner("b"), made.runner("a")
    image = run.parts["image"]
    assert (image.config, image.pooling, image.dialect) == ({"depth": 3, "embed_dim": 8}, "mean", "mae")
    assert image.transform is not None and (image.transform.resize, image.transform.crop) == (None, 4)
    assert image.projection == plain.parts["image"].projection and run.parts["text"] == plain.parts["text"]
    assert (run.config, plain.config) == ({"scale": 5}, {"scale": 3})
    assert made.run == plain and plain.parts["image"].config == {"depth": 2, "embed_dim": 8}


def test_a_part_of_another_family_has_numbers_of_its_own_and_a_variant_of_another_family_parts_of_its_own() -> None:
    other = pair(run={"parts": {"image": {"family": "resnet", "config": {"width": 1}}}}).runner("b")
    assert (other.parts["image"].config, other.parts["image"].pooling) == ({"width": 1}, "cls")
    alone = pair(run={"family": "vit"}, config={"depth": 1}).runner("b")
    assert (dict(alone.parts), alone.config, alone.state) == ({}, {"depth": 1}, "model")


def test_a_part_runs_as_a_model_alone() -> None:
    """What it leaves out of where its tensors stand is the whole's; of all else nothing is."""
    image, text = (pair().runner("a").part(name) for name in ("image", "text"))
    assert (image.family, image.state, image.strip, image.pooling) == ("vit", "model", ("module.",), "cls")
    assert (image.ignore_keys, image.dtype, image.config, image.parts) == (("*head.*",), "float16", IMAGE["config"], {})
    assert (text.state, text.strip, text.dialect, text.transform) == ("text_encoder", ("module.",), None, None)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"image": {**IMAGE, "poling": "cls"}}, r"run\.parts\.image\.poling: Extra inputs are not permitted"),
        ({"image": {**IMAGE, "family": "vitt"}}, r"run\.parts\.image\.family: no family 'vitt' \(families: causal_lm, .*vit\)"),
        ({"image": {"architecture": "vit"}}, r"run\.parts\.image\.family: Field required"),
        ({"image": {**IMAGE, "tokenizer": {}}}, r"run\.parts\.image: a part has a transform \(pictures\) or a tokenizer \(text\), not both"),
        ({"image": {**IMAGE, "projection": {"widths": [6, 4]}}}, r"run\.parts\.image\.projection: activation stands between two layers.*"),
        ({"image": {**IMAGE, "projection": {"widths": []}}}, r"run\.parts\.image\.projection: a projection without layers .*"),
        ({"text": {**TEXT, "tokenizer": {"padded": True}}}, r"run\.parts\.text\.tokenizer: padded needs the length that texts are filled up to"),
        ({"image": {**IMAGE, "parts": {"text": TEXT}}}, r"run\.parts\.image\.parts: Extra inputs are not permitted"),
        ({"scale": IMAGE}, r"run: parts\.scale: a part needs another name than a number of config or a word of \[run\]"),
        ({"pooling": IMAGE}, r"run: parts\.pooling: a part needs another name .*"),
    ],
)  # fmt: skip
def test_what_a_part_cannot_say_is_one_line_that_names_card_and_field(
    changes: dict[str, Any], says: str, own_cards: WriteCard
) -> None:
    path = own_cards("model", "own", run={**TWO, "parts": {"image": IMAGE, "text": TEXT, **changes}})
    with pytest.raises(CardError, match=f"^{path}: {says}$"):
        catalog.card("own")


@pytest.mark.parametrize(
    ("run", "says"),
    [
        ({"parts": {"image": {"poling": "cls"}}}, r"parts\.image\.poling: Extra inputs are not permitted"),
        ({"parts": {"image": {"family": "vitt"}}}, r"parts\.image\.family: no family 'vitt' \(families: .*"),
        ({"parts": {"imge": {"pooling": "mean"}}}, r"parts\.imge: \[run\] has no such part \(its parts: image, text\); a new one states its family"),
        ({"parts": {"image": 3}}, r"parts\.image: Input should be .*"),
        ({"parts": {"image": {"config": 3}}}, r"config: a table was expected"),
        ({"family": "vit", "parts": {"image": {"pooling": "mean"}}}, r"parts\.image\.family: Field required.*"),
    ],
)  # fmt: skip
def test_what_a_variant_cannot_say_of_a_part_is_one_line_too(
    run: dict[str, Any], says: str, own_cards: WriteCard
) -> None:
    variants = {"a": {"summary": "one"}, "b": {"summary": "another", "run": run}}
    path = own_cards("model", "own", run=TWO, variants=variants, default_variant="a")
    with pytest.raises(CardError, match=rf"^{path}: card: variants\.b\.run\.{says}$"):
        catalog.card("own")


def test_a_variant_may_have_a_part_more() -> None:
    assert list(pair(run={"parts": {"fusion": TEXT}}).runner("b").parts) == ["image", "text", "fusion"]


def test_files_say_which_part_they_hold() -> None:
    weights = {"source": "the owner", "format": "pth", "access": "open"}
    ModelCard.model_validate({**FACTS, "default_variant": None, "run": TWO, "weights": [{**weights, "part": "text"}]})
    with pytest.raises(ValueError, match=r"weights: part 'imge' is not among \[run\.parts\]"):
        ModelCard.model_validate(
            {**FACTS, "default_variant": None, "run": TWO, "weights": [{**weights, "part": "imge"}]}
        )


def test_a_model_of_one_network_says_nothing_of_parts() -> None:
    """Digests of cards, and with them the requests of old run folders, rest on what a card says."""
    made = catalog.card("uni", "model")
    assert isinstance(made, ModelCard) and made.run is not None
    assert list(json.loads(made.run.model_dump_json())) == [
        "family", "architecture", "native", "dialect", "state", "strip", "config", "ignore_keys", "transform", "pooling", "dtype",
    ]  # fmt: skip
    assert "part" not in Weights(source="the owner", format="pth", access="open").model_dump_json()
    assert ModelCard.model_validate(pair().model_dump()) == pair()


def test_the_example_of_a_model_of_parts_is_a_card() -> None:
    """As CONTRIBUTING.md prints it: its parts, and what its variant changes of one."""
    text = (Path(__file__).parents[2] / "CONTRIBUTING.md").read_text(encoding="utf-8")
    [example] = [one for one in re.findall(r"```toml\n(.*?)```", text, re.S) if "[run.parts" in one]
    made = ModelCard.model_validate({**FACTS, **tomllib.loads(example), "default_variant": "deep"})
    assert made.run is not None and made.run.parts["region"].config["depth"] == 6
    assert made.runner("deep").parts["region"].config == {**made.run.parts["region"].config, "depth": 12}


def test_families_are_known_without_torch() -> None:
    """Cards are found, shown and checked where no torch is installed; each family's module is where the table says."""
    program = "import sys; from healthfm.cards import catalog; print(len(list(catalog.all_cards('model')))); sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert int(done.stdout) > 50
    root = files.SHIPPED.parent / "models"
    assert all((root / f"{module.replace('.', '/')}.py").is_file() for module in FAMILIES.values())
