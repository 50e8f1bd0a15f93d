"""What labels are worth: CLIP-Adapter and tuned prompts beside a probe and zero-shot, by the number of labels, to a report."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch

from healthfm import RunError, evaluate, load_model, load_run
from healthfm.adapt.adapter import RATIO, adapted
from healthfm.adapt.few_shot import draw
from healthfm.adapt.tuning import tuned
from healthfm.engine.store import RunFolder
from healthfm.evaluate import few_labels
from healthfm.models.joint.contexts import Contexts
from healthfm.models.model import Model
from healthfm.report.export import to_csv, to_markdown
from healthfm.report.page import asked_for
from healthfm.score.few_labels import ROOM, sizes
from tests.evaluate.pairs import weights

CLASSES = ["lung", "heart failure"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Model]:
    """Pictures of two classes that their shade tells, and a small pair of towers."""
    root, random = tmp_path_factory.mktemp("few"), np.random.default_rng(0)
    for split, each in (("train", 9), ("test", 10)):
        for place, name in enumerate(CLASSES):
            folder = root / "tiles" / split / name.replace(" ", "_")
            folder.mkdir(parents=True)
            for i in range(each):
                shade = random.integers(90 + 40 * place, 150 + 40 * place, (32, 32, 3), np.uint8)
                PIL.Image.fromarray(shade).save(folder / f"{split}{i}.png")
    return root / "tiles", load_model("pathasst", weights(root / "weights"), device="cpu")


def test_an_adapter_is_held_beside_a_probe_and_zero_shot_by_the_number_of_labels(
    made: tuple[Path, Model], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures, model = made
    monkeypatch.setitem(few_labels.DRAWS, "adapter", 2)
    run = evaluate(model, pictures, task="clip-adapter", shots=6, output=tmp_path / "run")
    assert dict(asked_for(run))["fitted on"] and "examples" not in dict(asked_for(run))
    found = run.scores["few_labels"]
    assert [(one["by"], one["shots"]) for one in found["points"]] == [
        (by, size) for size in (1, 2, 4, 6) for by in ("linear probe", "CLIP-Adapter")
    ]
    zero = evaluate(model, pictures, task="zero-shot", output=tmp_path / "zero", baseline=False)
    assert found["zero"] == zero.metrics["accuracy"]
    assert np.allclose(
        RunFolder(tmp_path / "run").predictions(ROOM)["probabilities"].to_pylist(),
        zero.predictions["probabilities"].to_pylist(), atol=1e-6,
    )  # fmt: skip
    last = found["points"][-1]
    assert last["value"] == pytest.approx(run.metrics["accuracy"]["value"]) and len(last["draws"]) == 2
    assert found["against"]["value"] == pytest.approx(last["value"] - found["zero"]["value"])
    assert found["points"][-2]["value"] > 0.9 > found["shuffled"]["value"]  # the probe sees the shade
    stored = RunFolder(tmp_path / "run").predictions("embeddings")
    assert stored.num_rows <= 20 + 18 + 2 * 2 * len(run.facts["fitted"]["zero_shot"]["templates"])
    page = run.report().read_text(encoding="utf-8")
    assert "What is a label worth?" in page and "labels a class" in page and "12 samples, 2 times on others" in page
    assert sum(line.startswith("labels,") for line in to_csv(run).splitlines()) == 11
    assert "| linear probe | 4 |" in to_markdown(run)
    assert load_run(tmp_path / "run").scores == run.scores
    assert evaluate(model, pictures, task="clip-adapter", shots=6, output=tmp_path / "run").scores == run.scores


def test_an_adapter_is_the_papers_and_begins_at_the_vector_itself() -> None:
    random = np.random.default_rng(1)
    x, z, w = (random.normal(size=(n, 8)).astype(np.float32) for n in (12, 5, 3))
    y = [0, 1, 2] * 4
    torch.manual_seed(0)
    found = adapted(x, y, z, w, 10.0, seed=4)
    assert np.array_equal(found, adapted(x, y, z, w, 10.0, seed=4)) and np.allclose(found.sum(1), 1)
    torch.manual_seed(4)  # the paper's own network, written out
    down, up = torch.nn.Linear(8, 2, bias=False), torch.nn.Linear(2, 8, bias=False)
    unit = torch.nn.functional.normalize
    vx, vz, vw = (unit(torch.as_tensor(one), dim=1) for one in (x, z, w))

    def logits(v: torch.Tensor) -> torch.Tensor:
        return 10 * unit(RATIO * up(down(v).relu()).relu() + (1 - RATIO) * v, dim=1) @ vw.T

    optimiser = torch.optim.Adam([*down.parameters(), *up.parameters()], 1e-3)
    for _ in range(100):
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(logits(vx), torch.as_tensor(y)).backward()
        optimiser.step()
    assert np.allclose(found, logits(vz).softmax(1).detach().numpy(), atol=1e-5)


def test_a_prompt_is_tuned_from_the_models_own_sentence_and_its_weights_stand_still(
    made: tuple[Path, Model], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures, model = made
    assert model.network is not None
    monkeypatch.setitem(few_labels.DRAWS, "prompts", 2)
    before = {name: one.clone() for name, one in model.network.state_dict().items()}
    context = Contexts(model, CLASSES, ["{}", "An image of {}"])
    assert context.template == "An image of {}" and context.start == 1
    files = sorted((pictures / "train").rglob("*.png"))
    x, y = model.embed(files), [CLASSES.index(one.parent.name.replace("_", " ")) for one in files]
    scale = model.scale  # type: ignore[attr-defined]
    plain = tuned(context, context.shape, x, y, x, scale, steps=0)
    assert np.allclose(plain, model.classify(files, CLASSES, "An image of {}"), atol=1e-5)  # the sentence itself
    learned = tuned(context, context.shape, x, y, x, scale)
    loss = [-np.log(one[range(len(y)), y]).mean() for one in (plain, learned)]
    assert loss[1] < loss[0] - 0.01
    run = evaluate(model, pictures, task="prompt-tuning", shots=2, output=tmp_path / "run", baseline=False)
    assert run.facts["fitted"]["tuned_from"] == "An image of {}" and run.facts["fitted"]["draws"] == 2
    assert run.metrics["accuracy"]["value"] == pytest.approx(run.scores["few_labels"]["points"][-1]["value"])
    assert "tuned prompt" in run.report().read_text(encoding="utf-8")
    assert all(torch.equal(one, before[name]) for name, one in model.network.state_dict().items())


def test_fewer_examples_are_among_those_of_more_and_what_cannot_be_asked_is_said(
    made: tuple[Path, Model], tmp_path: Path
) -> None:
    pictures, model = made
    assert sizes(1) == [1] and sizes(6) == [1, 2, 4, 6] and sizes(8) == [1, 2, 4, 8]
    y, who = np.array([0, 1] * 8), [f"p{i % 7}" for i in range(16)]
    more, fewer = (draw(y, who, n, np.random.default_rng([3, 1]), ["a", "b"]).reshape(2, n) for n in (5, 2))
    assert np.array_equal(more[:, :2], fewer)
    with pytest.raises(RunError, match="clip-adapter needs the number of examples a class"):
        evaluate(model, pictures, task="clip-adapter", output=tmp_path / "run")
    with pytest.raises(RunError, match="kad asks pictures by texts, which clip-adapter does not change"):
        evaluate("kad", pictures, task="clip-adapter", shots=2, weights="random", output=tmp_path / "run")
    with pytest.raises(RunError, match="has 9 examples to fit on, 10 are asked for"):
        evaluate(model, pictures, task="clip-adapter", shots=10, output=tmp_path / "run")
