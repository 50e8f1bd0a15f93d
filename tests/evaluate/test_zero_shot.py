"""Classes by their names: the prediction is the paper's rule, each prompt's score is that of the prompt, and controls leave nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from healthfm import CapabilityError, RunError, evaluate, load_model, load_run, open_dataset
from healthfm.cards import catalog
from healthfm.cards.schema import DatasetCard, ZeroShot
from healthfm.engine.pipeline import ordered
from healthfm.engine.store import RunFolder
from healthfm.evaluate import prompts, zero_shot
from healthfm.records import UNCERTAIN, Image
from healthfm.report.export import to_csv
from healthfm.report.run import Run
from healthfm.score import prompts as spread
from healthfm.score import scoring
from tests.cli.command import run as command
from tests.evaluate.pairs import chest_mnist, weights
from tests.models.vision.test_vision_road import class_folders

DRAWN = 53  # the model's own sentence and those that are for any picture, with one name of each class
CLASSES = ["heart_failure", "lung", "no lung"]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return weights(tmp_path_factory.mktemp("pair") / "weights")


@pytest.fixture(scope="module")
def made(pair: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Path, Any]:
    """A finished run on class folders, the folders, and the model."""
    root = tmp_path_factory.mktemp("zero-shot")
    pictures = class_folders(root / "tiles", 64, classes=3, each=4)
    for split in ("train", "test"):
        for i, name in enumerate(CLASSES):
            (pictures / split / f"class{i}").rename(pictures / split / name)
    model = load_model("pathasst", pair, device="cpu")
    return evaluate(model, pictures, task="zero-shot", seed=3, output=root / "run"), pictures, model


def test_the_prediction_is_the_models_rule_and_each_prompts_score_is_its_own(made: tuple[Run, Path, Any]) -> None:
    run, pictures, model = made
    rows = run.predictions.to_pylist()
    files = [pictures / row["id"] for row in rows]
    names = ["heart failure", "lung", "no lung"]  # a folder's underscore is a blank
    assert rows[0]["options"] == CLASSES and [row["target"] for row in rows] == [one.parent.name for one in files]
    assert np.allclose([row["probabilities"] for row in rows], model.classify(files, names), atol=1e-5)
    found = run.scores["prompts"]
    assert len(found["draws"]) == len({json.dumps(one) for one in found["draws"]}) == DRAWN >= 50
    truth = np.array([CLASSES.index(row["target"]) for row in rows])
    for one in found["draws"][::20]:
        likely = model.classify(files, one["names"], one["templates"][0])
        assert one["value"] == (likely.argmax(1) == truth).mean()
    every = {text.replace("{}", name) for one in found["draws"] for text in one["templates"] for name in one["names"]}
    stored = RunFolder(run.path).predictions("embeddings")  # type: ignore[arg-type]
    assert stored.num_rows == found["texts"] + len(rows) and len(every) < found["texts"]  # each text once
    mean = model.embed(sorted(every))
    order = {text: i for i, text in enumerate(sorted(every))}
    together = [
        np.mean([mean[order[text]] for text in {one["templates"][0].replace("{}", name) for one in found["draws"]}], 0)
        for name in names
    ]
    unit = np.stack([one / np.linalg.norm(one) for one in together])
    assert found["ensemble"]["value"] == ((model.embed(files) @ unit.T).argmax(1) == truth).mean()
    assert found["own"]["value"] == run.metrics["accuracy"]["value"]
    assert found["spread"]["least"] <= found["spread"]["median"] <= found["spread"]["most"] == found["best"][0]["value"]


def test_controls_are_of_shuffled_pictures_and_of_words_that_mean_nothing(made: tuple[Run, Path, Any]) -> None:
    run, pictures, model = made
    found = run.scores["prompts"]
    assert found["shuffled"]["n"] == prompts.SHUFFLES and found["nonsense"]["n"] == 6  # three words, dealt in every way
    assert abs(found["shuffled"]["value"] - 1 / 3) < 0.2
    words = prompts.nonsense([("{}",)], 3, 3)
    files = [pictures / row["id"] for row in run.predictions.to_pylist()]
    truth = np.array([CLASSES.index(one.parent.name) for one in files])
    template = run.facts["fitted"]["zero_shot"]["templates"][0][0]
    values = [(model.classify(files, one.names, template).argmax(1) == truth).mean() for one in words]
    assert found["nonsense"]["value"] == pytest.approx(np.mean(values)) and len({one.names for one in words}) == 6
    asked = [(one["templates"], one["names"]) for one in found["draws"]] + [([template], one.names) for one in words]
    texts = {text.replace("{}", name) for some, names in asked for text in some for name in names}
    assert found["texts"] == len(texts)  # those of words that mean nothing were read as well
    said = " ".join(found["says"])
    assert f"{DRAWN} prompts" in said and "pictures shuffled" in said and "words that mean nothing" in said


def test_its_page_and_its_table_have_the_words_and_it_goes_on_without_the_model(made: tuple[Run, Path, Any]) -> None:
    run, pictures, model = made
    page = run.report().read_text(encoding="utf-8")
    assert (
        "Would other words change it?" in page
        and "words without a meaning" in page
        and "Answering only when sure" in page
    )
    assert sum(line.startswith("words,") for line in to_csv(run).splitlines()) == DRAWN + 3
    assert {one["name"] for one in run.scores["baselines"]["rivals"]} >= {"majority", "thumbnail"}
    assert load_run(run.path).scores["prompts"]["draws"] == run.scores["prompts"]["draws"]  # type: ignore[arg-type]
    again = evaluate(model, pictures, task="zero-shot", seed=3, output=run.path)
    assert again.predictions.equals(run.predictions)
    with pytest.raises(RunError, match="other"):
        evaluate(model, pictures, task="zero-shot", seed=4, output=run.path)


@pytest.fixture(scope="module")
def chest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return chest_mnist(tmp_path_factory.mktemp("chest"))


def test_findings_are_asked_each_for_itself_and_named_as_the_card_says(
    pair: Path, chest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prompts, "DRAWS", 4)  # fewer texts to encode
    folder = weights(tmp_path / "chexzero", "chexzero")
    heads = {"image": {"num_heads": 1}, "text": {"num_heads": 2}}
    both = load_model("chexzero", folder, config=heads, device="cpu")
    run = evaluate(
        both, "medmnist-v2:chestmnist", root=chest, task="zero-shot", output=tmp_path / "pair", baseline=False
    )
    assert run.facts["request"]["task"] == "multi-label-zero-shot" and run.scores["headline"] == "macro_auroc"
    card = catalog.card("medmnist-v2", "dataset")
    assert isinstance(card, DatasetCard)
    naming = next(one for one in card.zero_shot if one.label == "chestmnist")
    names = [one[0] for one in naming.names.values()]
    assert names[4] == "lung mass" and run.facts["fitted"]["zero_shot"]["names"] == names
    records = list(open_dataset("medmnist-v2:chestmnist", chest)["test"])
    likely = np.array(run.predictions["probabilities"].to_pylist())
    assert np.allclose(likely, both.classify(records, names), atol=1e-5)
    assert len(run.scores["per_class"]) == 14 and "auroc" in run.scores["per_class"]["hernia"]
    plain = load_model("pathasst", pair, device="cpu")
    soft = evaluate(
        plain, "medmnist-v2:chestmnist", root=chest, task="zero-shot", output=tmp_path / "soft", baseline=False
    )
    there, absent = (plain.embed([f"An image of {word}{name}" for name in names]) for word in ("", "no "))
    apart = np.exp(4.0) * plain.embed(records) @ (there - absent).T
    assert np.allclose(np.array(soft.predictions["probabilities"].to_pylist()), 1 / (1 + np.exp(-apart)), atol=1e-4)


def test_by_a_sigmoid_each_of_several_labels_is_asked_alone(
    pair: Path, chest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prompts, "DRAWS", 4)
    rule = {"templates": ["An image of {}"], "rule": "sigmoid"}
    model: Any = load_model("pathasst", pair, config={"zero_shot": rule}, device="cpu")
    run = evaluate(model, "medmnist-v2:chestmnist", root=chest, task="zero-shot", output=tmp_path / "run", baseline=False)  # fmt: skip
    names = run.facts["fitted"]["zero_shot"]["names"]
    records = list(open_dataset("medmnist-v2:chestmnist", chest)["test"])
    scaled = np.exp(4.0) * model.embed(records) @ model.embed([f"An image of {name}" for name in names]).T
    likely = np.array(run.predictions["probabilities"].to_pylist())
    assert np.allclose(likely, 1 / (1 + np.exp(-scaled)), atol=1e-4)
    assert np.allclose(likely, model.classify(records, names), atol=1e-5)
    for told, kinds in (("sigmoid", 1), ("softmax", 2)):  # nothing is said of the absence
        one = prompts.own(ZeroShot(rule=told), [("a",), ("b",)], True)  # type: ignore[arg-type]
        assert {len(kind) for kind in one.templates} == {kinds}


def test_chexperts_five_times_two_hundred_are_frontal_and_have_one_finding() -> None:
    card = catalog.card("chexpert", "dataset")
    assert isinstance(card, DatasetCard)
    naming = prompts.naming_of(card, "5x200")
    space = next(one for one in card.labels if one.name == "observations")
    assert naming is not None and naming.each == 200 and naming.single

    def right(*found: str, view: str = "Frontal", label: Any = None) -> Any:
        record = Image(id="a", load=lambda: np.zeros((2, 2), np.uint8), labels={"observations": label or frozenset(found)}, meta={"Frontal/Lateral": view})  # fmt: skip
        return zero_shot.right(record, None, space, naming, False)  # type: ignore[arg-type]

    assert right("Edema") == "Edema" and right("Edema", "No Finding") == "Edema"
    assert right("Edema", view="Lateral") is None and right("Edema", "Support Devices") is None
    assert right("Edema", "Atelectasis") is None and right("Fracture") is None and right() is None
    assert right(label=UNCERTAIN) is None
    with pytest.raises(RunError, match="no naming of classes '@6x200'"):
        prompts.naming_of(card, "6x200")


def test_the_cards_names_and_sets_of_sentences_fit_their_classes() -> None:
    named = [card for card in catalog.all_cards("dataset") if isinstance(card, DatasetCard) and card.zero_shot]
    assert {"nct-crc-he", "lc25000", "chestx-ray14", "chexpert", "medmnist-v2"} <= {card.slug for card in named}
    for card in named:
        for naming in card.zero_shot:
            space = next(one for one in card.labels if one.name == naming.label)
            names = prompts.called(space, naming.classes or space.classes, naming)
            one = card.model_copy(update={"labels": (space,)})
            several = space.kind == "multi-label" and not naming.single
            pool, _ = prompts.pool(one, ZeroShot(), naming, several)
            drawn = prompts.draws(pool, names, 0)
            assert len(drawn) >= 50, (card.slug, naming.label)
            assert all(
                len(template) == 1 + several and all(text.count("{}") == 1 for text in template) for template in pool
            )


def test_the_score_of_a_prompt_is_the_metric_of_its_predictions() -> None:
    draw = np.random.default_rng(1)
    chances = draw.dirichlet(np.ones(4), 30).round(1) + 0.025  # with ties
    truth = draw.integers(0, 4, (30, 4)) > 1
    truth[:, 3] = False
    table = scoring.check_table(
        _table(chances, [[f"c{j}" for j in np.flatnonzero(row)] for row in truth]), "multi-label"
    )
    stated = scoring.statistics_of(table, "multi-label", ["c0", "c1", "c2", "c3"])
    assert spread.value("macro_auroc", truth, chances) == pytest.approx(stated["macro_auroc"].value)
    one = scoring.check_table(_table(chances, [f"c{row.argmax()}" for row in truth]), "multi-class")
    assert spread.value("accuracy", truth.argmax(1), chances) == pytest.approx(scoring.statistics_of(one, "multi-class")["accuracy"].value)  # fmt: skip


def _table(chances: Any, targets: list[Any]) -> Any:
    import pyarrow as pa

    names = [[f"c{j}" for j in range(4)]] * len(chances)
    return pa.table({"id": [str(i) for i in range(len(chances))], "target": targets, "options": names, "probabilities": chances.tolist()})  # fmt: skip


def test_what_cannot_be_asked_is_said_in_a_line(
    pair: Path, made: tuple[Run, Path, Any], pubmedqa_root: Path, tmp_path: Path
) -> None:
    _, pictures, model = made
    for folder in ("a b", "a_b"):
        (tmp_path / "twins" / folder).mkdir(parents=True)
        PIL.Image.new("RGB", (8, 8)).save(tmp_path / "twins" / folder / "x.png")
    with pytest.raises(RunError, match="'a b', 'a_b' have one name in the sentences"):
        evaluate(model, tmp_path / "twins", task="zero-shot", output=tmp_path / "run")
    with pytest.raises(RunError, match="zero-shot is for pictures, these are MultipleChoice"):
        evaluate(model, "pubmedqa", root=pubmedqa_root, task="zero-shot", output=tmp_path / "run")
    with pytest.raises(RunError, match="one class each"):
        evaluate(model, pictures, task="multi-label-zero-shot", output=tmp_path / "run")
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "weights").symlink_to(pair)
    done = command(
        "evaluate", "uni", pictures, "--task", "zero-shot", "--weights", "random", "--output", tmp_path / "uni"
    )
    assert (
        done.returncode == 2
        and "cannot classify, which zero-shot needs" in done.stderr
        and "Traceback" not in done.stderr
    )
    with pytest.raises(CapabilityError, match="no space that pictures and texts share"):
        from healthfm.models.joint.zero_shot import spaces

        spaces(load_model(lambda x: x, verb="embed", card={"slug": "own", "name": "Own"}))


def test_texts_that_threads_prepare_are_each_cut_and_counted(pair: Path) -> None:
    """A fast tokenizer keeps how it cuts as a state of its own, which one thread would change under another."""
    model: Any = load_model("pathasst", pair, device="cpu")
    texts = ["a tumour of the lung " * (1 if i % 2 else 60) for i in range(400)]
    made = list(ordered(model.prepare, texts, 8, 16))
    assert max(len(one.inputs[0]) for one in made) == model.longest
    assert [one.cut for one in made] == [i % 2 == 0 for i in range(len(texts))]
