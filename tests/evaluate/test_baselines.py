"""The cheap rivals of an evaluation: what they see, what they may not see, what is said of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow
from scipy import stats
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from healthfm import evaluate, load_model, load_run, open_dataset
from healthfm.adapt import baselines as rivals
from healthfm.datasets.dataset import Dataset
from healthfm.evaluate import baselines
from healthfm.records import Document, Image, MultipleChoice
from healthfm.report.run import Run
from healthfm.score.baselines import verdict
from healthfm.score.sentences import headline_notes

CARD = {"slug": "mine", "name": "Mine"}


def questions(folder: Path, rows: list[dict[str, Any]]) -> Dataset:
    (folder / "q.jsonl").write_text("".join(json.dumps({"id": str(i), **row}) + "\n" for i, row in enumerate(rows)))
    return open_dataset(folder / "q.jsonl")


def guess(prompts: Sequence[str], options: Sequence[Sequence[str]]) -> list[Any]:
    """Know nothing: the first option is a little likelier."""
    return [-np.arange(len(one), dtype=float) for one in options]


def asked(opened: Dataset, folder: Path, score: Any = guess, **how: Any) -> Run:
    return evaluate(load_model(score, verb="score", card=CARD), opened, output=folder / "run", **how)


def told(run: Run) -> str:
    return " | ".join(one for one in headline_notes(run) if "rival" in one)


def closed(n: int, split: str, start: int = 0) -> list[dict[str, Any]]:
    """Questions whose context gives the answer away and whose question does not."""
    return [
        {"question": f"Is it {start + i}?", "context": "fever and cough" if i % 2 else "no complaint", "answer": "yes" if i % 2 else "no", "split": split}
        for i in range(n)
    ]  # fmt: skip


def test_a_model_that_words_alone_beat_is_said_to_be_beaten(tmp_path: Path) -> None:
    run = asked(questions(tmp_path, [*closed(40, "train"), *closed(30, "test", 40)]), tmp_path)
    found = run.scores["baselines"]
    values = {one["name"]: one["value"] for one in found["rivals"]}
    assert values["words"] == 1 and values["majority"] == 0.5 and values["question-only"] < 0.8
    assert (found["fit_on"], found["fitted_on"], found["metric"]) == ("train", 40, "accuracy")
    assert found["strongest"]["name"] == "words" and found["strongest"]["beats"] is False
    assert found["strongest"]["p"] == pytest.approx(
        stats.binomtest(0, 15).pvalue
    )  # McNemar: 15 rows right in the rival alone
    assert "the model beats it: no (difference -0.500" in told(run) and "question-only" in told(run)
    page = run.report().read_text()
    assert (
        "the model beats it: no" in page
        and "It is beaten by the strongest cheap rival here (logistic regression on words" in page
    )


def test_a_model_that_beats_them_is_said_to(tmp_path: Path) -> None:
    rows = [*closed(40, "train"), *closed(30, "test", 40)]
    for row in rows:
        row["context"] = ""
    right = {f"Is it {40 + i}?": i % 2 for i in range(30)}

    def knows(prompts: Sequence[str], options: Sequence[Sequence[str]]) -> list[Any]:
        return [
            np.array([1.0, 0.0] if right[one.split("Question: ")[1].split("\n")[0]] else [0.0, 1.0]) for one in prompts
        ]

    run = asked(questions(tmp_path, rows), tmp_path, knows)
    best = run.scores["baselines"]["strongest"]
    assert run.metrics["accuracy"]["value"] == 1 and best["beats"] is True and best["p"] < 0.001
    assert "the model beats it: yes" in told(run)
    assert verdict(run.scores["baselines"]).startswith("It beats the strongest cheap rival here")
    assert verdict(None) == "" == verdict({"rivals": [], "strongest": None})
    assert {one["name"] for one in run.scores["baselines"]["rivals"]} == {
        "words",
        "majority",
    }  # no context: words are the question


def test_rivals_learn_from_no_patient_and_no_record_that_is_evaluated(tmp_path: Path) -> None:
    rows = [*closed(40, "train"), *closed(20, "test", 40)]
    for i, row in enumerate(rows):
        row["patient"] = (
            f"p{i}" if i >= 40 or i % 4 else f"p{40 + i // 4}"
        )  # every fourth to fit on is a patient of the test split
    rows.append({**rows[-1], "split": "train", "patient": None})  # and one is a test question word for word
    run = asked(questions(tmp_path, rows), tmp_path)
    assert (run.scores["baselines"]["fitted_on"], run.scores["baselines"]["left_out"]) == (30, 11)


def test_examples_of_patients_who_are_evaluated_are_refused(tmp_path: Path) -> None:
    from healthfm import RunError

    rows = [*closed(4, "train"), *closed(4, "test", 4)]
    for i, row in enumerate(rows):
        row["patient"] = f"p{i % 4}"
    with pytest.raises(RunError, match="2 patients of the examples are evaluated too"):
        asked(questions(tmp_path, rows), tmp_path, shots=2)


@pytest.mark.parametrize(
    ("rows", "how", "why"),
    [
        (closed(20, "test"), {}, "the split 'train' to fit on is not here (present: test)"),
        (closed(20, "test"), {"shots": 2, "shots_from": "test"}, "the split 'test' to fit on is the evaluated one"),
        ([*closed(4, "train"), *closed(20, "test", 4)], {}, "has 4 samples of 2 classes that can be used"),
        ([*closed(12, "train"), {"question": "", "answer": "yes", "split": "train"}, *closed(20, "test", 13)], {}, "cannot be used: .*row 13"),
    ],
    ids=["absent", "carved", "few", "damaged"],
)  # fmt: skip
def test_without_a_split_to_fit_on_the_majority_stays_and_the_reason_is_said(
    tmp_path: Path, rows: list[dict[str, Any]], how: dict[str, Any], why: str
) -> None:
    import re

    run = asked(questions(tmp_path, rows), tmp_path, **how)
    assert [one["name"] for one in run.scores["baselines"]["rivals"]] == ["majority"]
    assert "the commonest of this very split" in told(run)
    assert re.search(why if ".*" in why else re.escape(why), run.scores["baselines"]["why_not"])


def test_options_that_give_themselves_away_are_found(tmp_path: Path) -> None:
    """The right option is the longest: nobody needs to read the question."""
    rows = []
    for i in range(60):
        options = {key: f"thing {key}" for key in "ABCD"}
        options["ABCD"[i % 4]] = "thing with a long and careful description"
        rows.append(
            {
                "question": f"Which {i}?",
                "options": options,
                "answer": "ABCD"[i % 4],
                "split": "train" if i < 30 else "test",
            }
        )
    run = asked(questions(tmp_path, rows), tmp_path)
    assert (
        run.scores["baselines"]["strongest"]["name"] == "options-only"
        and run.scores["baselines"]["rivals"][0]["value"] == 1
    )


def test_predictions_of_rivals_are_a_file_of_their_own_made_again_when_it_is_gone(tmp_path: Path) -> None:
    opened = questions(tmp_path, [*closed(20, "train"), *closed(20, "test", 20)])
    without = asked(opened, tmp_path, baseline=False)
    file = tmp_path / "run/baselines/part-00000.parquet"
    assert not file.exists() and "baselines" not in without.scores and told(without) == ""
    run = asked(opened, tmp_path)  # the same folder, without asking the model again
    first = file.read_bytes()
    assert load_run(tmp_path / "run").scores["baselines"] == json.loads(json.dumps(run.scores["baselines"]))
    file.unlink()
    asked(opened, tmp_path, lambda p, o: pytest.fail("asked again"))
    assert file.read_bytes() == first


@pytest.mark.parametrize(("name", "most"), [("MOST", 19), ("MOST_CHARACTERS", 100)])
def test_a_count_decides_whether_they_are_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, most: int
) -> None:
    monkeypatch.setattr(baselines, name, most)
    run = asked(questions(tmp_path, [*closed(20, "train"), *closed(20, "test", 20)]), tmp_path)
    assert [one["name"] for one in run.scores["baselines"]["rivals"]] == ["majority"] and f"more than {most}" in told(
        run
    )


# Features -------------------------------------------------------------------------------------------------------------


def test_words_are_the_vectoriser_and_the_regression_of_scikit_learn_fitted_on_the_training_rows() -> None:
    fit = [Document(id=str(i), text=f"{'fever cough' if i % 2 else 'well'} {i % 3}") for i in range(12)]
    test = [Document(id="x", text="fever unseen"), Document(id="y", text="well")]
    words = rivals.BASELINES[0]
    labels = ["ill" if i % 2 else "well" for i in range(12)]
    found = rivals.predict(
        words, fit, labels, test, ["ill", "well"], ["one"] * 12, 0
    )  # one patient: no penalty is chosen
    made = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"(?u)\b\w+\b").fit(
        [one.text for one in fit]
    )
    plain = LogisticRegression(C=1.0, max_iter=2000).fit(made.transform([one.text for one in fit]), labels)
    assert found == pytest.approx(plain.predict_proba(made.transform([one.text for one in test])))
    assert "unseen" not in made.vocabulary_


def picture(name: str, pixels: Any, **more: Any) -> Image:
    return Image(id=name, load=lambda: np.asarray(pixels, np.uint8), **more)


def test_pictures_are_seen_as_colour_cells_and_components() -> None:
    rng = np.random.default_rng(0)
    grey = picture("a", rng.integers(0, 256, (16, 24)))
    red = picture("b", np.stack([np.full((5, 3), 200), np.zeros((5, 3)), np.full((5, 3), 50)], axis=2))
    mean = rivals.colour([grey, red], 1)
    assert mean[1] == pytest.approx([200 / 255, 0, 50 / 255, 0, 0, 0]) and mean[0, :3] == pytest.approx(
        grey.pixels.mean() / 255
    )
    cells = rivals.thumbnail([grey, red], 1)
    assert cells.shape == (2, 192) and cells[0].reshape(8, 8, 3)[0, 1, 0] == pytest.approx(
        grey.pixels[:2, 3:6].mean() / 255
    )
    assert cells[1].reshape(8, 8, 3)[7, 7] == pytest.approx([200 / 255, 0, 50 / 255])
    many = [picture(str(i), rng.integers(0, 256, (32, 32, 3))) for i in range(6)]
    found = rivals.components(many, 4)
    assert found.shape == (6, 3) and np.allclose(found[:4].mean(0), 0)  # centred on those to fit on, not on all


def test_a_site_that_gives_the_class_away_is_the_strongest_rival_of_pictures(tmp_path: Path) -> None:
    rng, rows = np.random.default_rng(1), ["id,image,label,site,split"]
    for i in range(60):
        Pillow.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8)).save(tmp_path / f"{i}.png")
        rows.append(f"{i},{i}.png,{'ab'[i % 2]},{'xy'[i % 2]},{'train' if i < 30 else 'test'}")
    (tmp_path / "m.csv").write_text("\n".join(rows))
    model = load_model(
        lambda seen: np.array([[one.pixels.mean()] for one in seen], np.float32), verb="embed", card=CARD
    )
    run = evaluate(model, tmp_path / "m.csv", task="linear-probe", output=tmp_path / "run")
    found = run.scores["baselines"]
    assert {one["name"] for one in found["rivals"]} == {"majority", "mean-colour", "thumbnail", "pixels-pca", "site"}
    assert found["strongest"]["name"] == "site" and found["rivals"][0]["value"] == 1 and found["fitted_on"] == 30
    assert "robustness" not in run.facts["fitted"]  # no class at two sites, and no site with two classes
    (tmp_path / "m.csv").write_text(
        "\n".join(one.replace(",x,", ",y,") if i % 3 == 0 else one for i, one in enumerate(rows))
    )
    both = evaluate(model, tmp_path / "m.csv", task="linear-probe", output=tmp_path / "both")
    index = both.facts["fitted"]["robustness"]
    assert 0 <= index["value"] <= 1 and any(
        one.startswith(f"robustness index: {index['value']:.3f}") for one in headline_notes(both)
    )


def test_a_new_kind_of_record_brings_its_rival_by_one_declaration(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    digits = rivals.Baseline(
        name="digits",
        says="the last digit",
        kinds=(MultipleChoice,),
        features=lambda rows, n: np.array([[int(one.id) % 2] for one in rows]),
    )  # type: ignore[misc]
    monkeypatch.setattr(rivals, "BASELINES", (*rivals.BASELINES, digits))
    run = asked(questions(tmp_path, [*closed(20, "train"), *closed(20, "test", 20)]), tmp_path)
    assert {one["name"]: one["value"] for one in run.scores["baselines"]["rivals"]}["digits"] == 1


def test_of_bags_the_site_alone_is_a_rival_too(tmp_path: Path) -> None:
    from healthfm.evaluate.bags import prepare
    from healthfm.evaluate.job import Ask, Request

    Pillow.new("RGB", (8, 8)).save(tmp_path / "x.png")
    rows = [
        f"{i},x.png,p{i // 2},{'ab'[i // 2 % 2]},{'xy'[i // 2 % 2]},{'train' if i < 40 else 'test'}" for i in range(80)
    ]
    for columns, names in (
        ("id,image,patient,label,site,split", ["majority", "mean-colour", "thumbnail", "pixels-pca", "site"]),
        ("id,image,patient,label,scanner,split", ["majority", "mean-colour", "thumbnail", "pixels-pca"]),
    ):
        (tmp_path / "m.csv").write_text("\n".join([columns, *rows]))
        opened = open_dataset(tmp_path / "m.csv")
        ask = Ask(
            request=Request(model="", dataset=opened),
            opened=opened,
            card=load_model(guess, verb="score", card=CARD).card,
            task="mil",
            protocol=None,
            split="test",
        )
        found = baselines.predictions(ask, prepare(ask))
        told = json.loads(found.schema.metadata[b"baselines"])
        assert list(told["made"]) == names and (told["fit_on"], told["fitted_on"]) == ("train", 20)
        assert told["why_not"] == "" and found.num_rows == 20 * len(names)


# Volumes, slides, films, several images -------------------------------------------------------------------------------


def ruled(opened: Dataset, task: str) -> tuple[dict[str, float], dict[str, Any]]:
    """Return each rival's share of right answers, and what is said of all, without a model."""
    from healthfm.evaluate.job import Ask, Request
    from healthfm.evaluate.runner import WAYS
    from healthfm.score.tasks import TASKS

    card = load_model(guess, verb="score", card=CARD).card
    ask = Ask(
        request=Request(model="", dataset=opened), opened=opened, card=card, task=task, protocol=None, split="test"
    )
    way = TASKS[task].way
    assert way is not None
    table = baselines.predictions(ask, WAYS[way](ask))
    found = table.to_pylist()
    names = list(dict.fromkeys(one["baseline"] for one in found))
    right = {
        name: float(np.mean([one["prediction"] == one["target"] for one in found if one["baseline"] == name]))
        for name in names
    }
    return right, json.loads(table.schema.metadata[b"baselines"])


def laid(folder: Path, column: str, make: Any, groups: int = 1) -> Dataset:
    """A table of 32 files of two classes, half to fit on; ``groups`` files are of one patient."""
    rows = [f"id,{column},patient,label,split"]
    for i in range(32 * groups):
        kind = i // groups % 2
        name = make(folder, i, kind)
        rows.append(f"{i},{name},p{i // groups},{'ab'[kind]},{'train' if i < 16 * groups else 'test'}")
    (folder / "m.csv").write_text("\n".join(rows))
    return open_dataset(folder / "m.csv")


def volume(folder: Path, i: int, kind: int, size: int = 6) -> str:
    """Voxels of noise around 100; of the second class four more."""
    import nibabel

    rng = np.random.default_rng(i)
    voxels = (rng.normal(100 + 4 * kind, 3, (size, 6, 6))).astype(np.int16)
    nibabel.save(nibabel.Nifti1Image(voxels, np.diag([1.0, 1, 2, 1])), folder / f"{i}.nii")  # type: ignore[no-untyped-call]
    return f"{i}.nii"


@pytest.mark.parametrize("task", ["linear-probe", "mil"])
def test_volumes_are_told_by_their_values_and_by_how_large_they_are(tmp_path: Path, task: str) -> None:
    (tmp_path / "bright").mkdir()
    (tmp_path / "large").mkdir()
    right, said = ruled(laid(tmp_path / "bright", "volume", volume), task)
    assert (
        set(right) == {"majority", "values", "thumbnail", "size"} and said["fitted_on"] == 16 and said["why_not"] == ""
    )
    assert right["values"] == 1 and right["size"] == 0.5
    right, _ = ruled(laid(tmp_path / "large", "volume", lambda folder, i, kind: volume(folder, i, 0, 6 + kind)), task)
    assert right["size"] == 1 and right["values"] < 0.9  # a class that another machine took


def test_a_volume_is_seen_as_numpy_sees_it_and_a_slide_without_its_glass() -> None:
    from healthfm.records import Slide, Volume

    voxels = np.random.default_rng(0).normal(size=(9, 16, 8))
    one = Volume(id="v", load=lambda: voxels, place=lambda: np.diag([1.0, 2, 4, 1]))
    seen = rivals.values([one], 1)[0]
    assert seen == pytest.approx(
        [voxels.mean(), voxels.std(), *np.quantile(voxels, [0.05, 0.25, 0.5, 0.75, 0.95])], abs=1e-6
    )
    assert np.exp(rivals.size([one], 1)[0]) == pytest.approx([9, 16, 8, 1, 2, 4])
    small = rivals.thumbnail([one], 1)[0].reshape(8, 8, 8)
    assert small[7, 3, 5] == pytest.approx(voxels[7:9, 6:8, 5].mean(), abs=1e-6)

    class Flat:
        size, levels, mpp = (600, 300), (), 1.0

        def thumbnail(self, downsample: float) -> Any:
            pixels = np.full((40, 80, 3), 250, np.uint8)
            pixels[:4, :5] = (200, 80, 160)
            return pixels

        def close(self) -> None:
            pass

    assert rivals.colour([Slide(id="s", open=Flat)], 1)[0] == pytest.approx([200 / 255, 80 / 255, 160 / 255, 0, 0, 0])  # type: ignore[arg-type]


def test_of_a_patients_images_the_mean_of_what_each_shows_is_a_rival(tmp_path: Path) -> None:
    def pixels(folder: Path, i: int, kind: int) -> str:
        level = 100 + 60 * kind * (i % 2)  # of the second class every other image is bright
        Pillow.new("RGB", (9, 9), (level, level, level)).save(folder / f"{i}.png")
        return f"{i}.png"

    right, said = ruled(laid(tmp_path, "image", pixels, groups=2), "mil")
    assert set(right) == {"majority", "mean-colour", "thumbnail", "pixels-pca"} and said["fitted_on"] == 16
    assert right["mean-colour"] == 1


def test_counts_of_voxels_and_of_a_patients_images_decide(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baselines, "MOST_VOXELS", 6 * 6 * 6 * 32 - 1)
    right, said = ruled(laid(tmp_path, "volume", volume), "linear-probe")
    assert set(right) == {"majority"} and "about 6,912 voxels, more than 6,911" in said["why_not"]


# Answers in words -----------------------------------------------------------------------------------------------------


def open_questions(n: int) -> list[dict[str, Any]]:
    """Half to fit on; the answer to a test question is that of the training question with the same drug."""
    drugs = [f"drug{i}" for i in range(n // 2)]
    return [
        {"question": f"What does {drug} {'do' if fit else 'treat'}?", "answer": f"It lowers marker {i} at night", "split": "train" if fit else "test"}
        for fit in (True, False) for i, drug in enumerate(drugs)
    ]  # fmt: skip


def writes(text: str) -> Any:
    return load_model(lambda prompts, **_: [text] * len(prompts), verb="generate", card=CARD)


def test_answers_in_words_are_held_against_the_answer_to_the_question_most_alike(tmp_path: Path) -> None:
    run = evaluate(
        writes("no idea"), questions(tmp_path, open_questions(40)), task="free-text", output=tmp_path / "run"
    )
    found = run.scores["baselines"]
    values = {one["name"]: one["value"] for one in found["rivals"]}
    assert set(values) == {"nearest", "question"} and values["nearest"] == 1 and values["question"] < 0.2
    assert (found["metric"], found["fitted_on"], found["strongest"]["beats"]) == ("token_f1", 20, False)
    assert "the model beats it: no" in told(
        run
    ) and "the question most alike (TF-IDF), fitted on 20 of split 'train'" in told(run)
    (tmp_path / "b").mkdir()
    alone = evaluate(
        writes("marker at night"),
        questions(tmp_path / "b", open_questions(40)[20:]),
        task="free-text",
        output=tmp_path / "alone",
    )
    assert [one["name"] for one in alone.scores["baselines"]["rivals"]] == ["question"]
    assert alone.scores["baselines"]["strongest"][
        "beats"
    ] is True and "the split 'train' to fit on is not here" in told(alone)


def test_a_judges_score_is_not_compared_with_words_and_the_page_says_of_what_its_number_is(tmp_path: Path) -> None:
    judge = load_model(
        lambda prompts, **_: ["Verdict: correct"] * len(prompts), verb="generate", card={"slug": "j", "name": "J"}
    )
    run = evaluate(
        writes("no idea"),
        questions(tmp_path, open_questions(40)),
        task="free-text",
        judge=judge,
        output=tmp_path / "run",
    )
    assert run.scores["headline"] == "judge" and run.scores["baselines"]["metric"] == "token_f1"
    assert "token F1 1.000" in verdict(run.scores["baselines"]) and verdict(run.scores["baselines"]).startswith(
        "It is beaten by"
    )


def test_the_sentence_of_a_context_that_shares_most_words_is_a_rival() -> None:
    from healthfm.records import QA

    text = "She was well. The fever began on Monday. Nothing else."
    assert (
        rivals.sentence(QA(id="a", question="When did the fever begin?", context=text)) == "The fever began on Monday."
    )
    assert rivals.sentence(QA(id="a", question="When?")) == "When?"


def letters(seen: Sequence[Any]) -> Any:
    """Know how long a text is, and nothing else."""
    return np.array([[len(one if isinstance(one, str) else one.as_text), 1] for one in seen], np.float32)


def test_words_that_texts_share_are_the_rival_of_embeddings_of_texts(tmp_path: Path) -> None:
    rows = [
        {"question": f"dose of drug{i} for a child?", "context": f"Of drug{i} a child is given {i} mg.", "answer": str(i % 2)}
        for i in range(16)
    ]  # fmt: skip
    model = load_model(letters, verb="embed", card=CARD)
    run = evaluate(model, questions(tmp_path, rows), task="retrieval", output=tmp_path / "run")
    found = run.scores["baselines"]
    assert [(one["name"], one["value"]) for one in found["rivals"]] == [("words", 1.0)]
    assert found["strongest"]["beats"] is False and "the model beats it: no" in told(run)
    assert rivals.overlap("The fever rose.", "the fever fell") == pytest.approx(2 / 4) and rivals.overlap("", "") == 0
    assert rivals.ranked(["a cough", "the fever", "fever fever"], ["fever", "nothing here"], 2) == [[2, 1], [0, 1]]
