"""Nothing that a report says lives only in memory: a run that was stopped anywhere ends as one that never was."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from healthfm import evaluate, load_model
from healthfm.adapt.few_shot import few_shot
from healthfm.engine.store import RunFolder
from healthfm.models.model import Model
from healthfm.score.sentences import headline_notes
from tests.embed.conftest import small
from tests.models.language.test_masked_lm import hub_folder

TEXTS = 12


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def stopped(run: Callable[[Path], Any], folder: Path, at: int, after: bool) -> bool:
    """Run until the file number ``at`` is about to be written, or just was; return whether it came so far."""
    real, count = RunFolder._publish, [0]

    def publish(self: RunFolder, path: Path, write: Any) -> None:
        count[0] += 1
        if count[0] == at and not after:
            raise KeyboardInterrupt
        real(self, path, write)
        if count[0] == at:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as broken:
        broken.setattr(RunFolder, "_publish", publish)
        try:
            run(folder)
        except KeyboardInterrupt:
            return True
    return False


class Asked(Model):
    """What embeds by counting letters, and counts what it was asked, as a server's client does."""

    capabilities = frozenset({"embed", "score"})

    def embed(self, items: Sequence[Any], output: str = "pooled", batch_size: int | str = "auto") -> Any:
        self._ask(len(items))
        return np.array([[one.count(letter) for letter in "aeiou"] for one in items], np.float32)

    def _ask(self, count: int) -> None:
        usage = self.provenance.setdefault(
            "usage", dict.fromkeys(("requests", "prompt_tokens", "completion_tokens"), 0)
        )
        usage["requests"] += count
        usage["prompt_tokens"] += 7 * count


def counting() -> Model:
    card = load_model(len, card={"slug": "asked"}, verb="embed").card
    model = Asked(card)
    model.provenance = {"weights": "a server's", "device": "cpu", "dtype": "float32"}
    return model


def texts(folder: Path, length: int = 3) -> Path:
    rows = [
        f"{i},{'sea' if i % 2 else 'bio'} {'word ' * length}{i},{'ab'[i % 2]},{'train' if i < TEXTS else 'test'}"
        for i in range(TEXTS + 6)
    ]
    (folder / "own.csv").write_text("\n".join(["id,text,label,split", *rows]))
    return folder / "own.csv"


@pytest.mark.parametrize("task", ["knn", "linear-probe", "few-shot"])
def test_a_run_stopped_at_any_file_ends_with_the_same_files(tmp_path: Path, task: str, monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    monkeypatch.setattr("healthfm.evaluate.job.CHARACTERS_PER_PART", 250)
    monkeypatch.setattr(few_shot, "__defaults__", (5,))  # draws: more of them are more of the same
    data = texts(tmp_path)

    def run(folder: Path) -> Any:
        return evaluate(counting(), data, task=task, shots=2 if task == "few-shot" else None, output=folder)

    whole = run(tmp_path / "whole")
    assert whole.facts["usage"]["requests"] == TEXTS + 6
    whole.report()
    expected, at = files(tmp_path / "whole"), 1
    while stopped(run, tmp_path / str(at), at, after=False):  # then as much is there as after the file before it
        run(tmp_path / str(at)).report()
        assert files(tmp_path / str(at)) == expected, at
        at += 1
    assert at > 6 and stopped(run, tmp_path / "last", at - 1, after=True)
    run(tmp_path / "last").report()
    assert files(tmp_path / "last") == expected


def volumes(folder: Path) -> Path:
    rng = np.random.default_rng(1)
    for split, count in (("train", 3), ("test", 2)):
        for name, low in (("dark", 0), ("light", 120)):
            (folder / split / name).mkdir(parents=True)
            for i in range(count):
                voxels = rng.integers(low, low + 130, (12, 10, 2), dtype=np.uint8) * np.uint8(i > 0)
                nibabel.save(nibabel.Nifti1Image(voxels, np.eye(4)), folder / split / name / f"{i}.nii")
    return folder


@pytest.mark.parametrize("at", ["embeddings", "finish"])
def test_the_arithmetic_its_check_and_blank_volumes_outlive_a_kill(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: str) -> None:  # fmt: skip
    data, tower = volumes(tmp_path / "mine"), small()

    def run(folder: Path) -> Any:
        home = folder.with_name(f"{folder.name}-home")  # nothing is found that another run made
        monkeypatch.setenv("HEALTHFM_HOME", str(home))
        return evaluate(tower, data, task="knn", output=folder, device="cpu")

    whole = run(tmp_path / "whole")
    fitted = whole.facts["fitted"]
    assert fitted["arithmetic"]["precision"] == "float32" and len(fitted["blank"]) == 4
    number = 9 if at == "embeddings" else 14  # run.json three times, then a part a volume
    assert stopped(run, tmp_path / "killed", number, after=True)
    found = run(tmp_path / "killed")
    assert found.facts == whole.facts and headline_notes(found) == headline_notes(whole)
    assert any("all black or all white" in one for one in headline_notes(found))
    assert files(tmp_path / "killed") == files(tmp_path / "whole")


def test_texts_that_were_cut_are_counted_also_by_a_run_that_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    data = texts(tmp_path, length=40)
    model = load_model(
        "biolinkbert", hub_folder(tmp_path / "bert", "biolinkbert"), config={"max_length": 16}, device="cpu"
    )
    model.embed(["word " * 30])  # what was cut before is no matter of the run's
    monkeypatch.setattr("healthfm.evaluate.job.CHARACTERS_PER_PART", 1000)

    def run(folder: Path) -> Any:
        return evaluate(model, data, task="knn", output=folder, device="cpu")

    whole = run(tmp_path / "whole")
    assert whole.facts["fitted"]["cut"] == TEXTS + 6
    assert "longer than the model reads: of 18 texts the end is not in their vectors" in headline_notes(whole)
    assert stopped(run, tmp_path / "killed", 6, after=True)
    assert run(tmp_path / "killed").facts == whole.facts
    assert len(whole.facts["environments"]) == 1
